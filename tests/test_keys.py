"""Keys of phrases, and moving between them."""

import pytest
import torch

from musegan.errors import UserError
from musegan.keys import (
    Key, in_scale, key_shifts, median_pitches, name_of_shift, nearest_shift, pitch_class_weights, shifts_of_weights, transpose,
)    # fmt: skip
from musegan.roll import PRESETS, Roll, RollSpec, Track
from tests.models.test_layout import random_roll

SPEC = RollSpec(PRESETS["lpd5"])
C_MAJOR, A_MINOR = (0, 2, 4, 5, 7, 9, 11), (9, 0, 4)


def phrase(pitches, track=1):
    """One bar in which the given MIDI pitches sound throughout."""
    frame = torch.zeros(1, 5, 1, 16, 84, dtype=torch.bool)
    frame[0, track, 0, :, [pitch - SPEC.lowest_pitch for pitch in pitches]] = True
    return frame


@pytest.mark.parametrize("shift", range(-5, 7))
@pytest.mark.parametrize("chord", [(60, 64, 67, 72), (57, 60, 64, 69)], ids=["C major", "A minor"])
def test_shift_of_a_tonic_chord(chord, shift):
    assert key_shifts(phrase([pitch + shift for pitch in chord]), SPEC).tolist() == [shift]


def test_octaves_fold_to_one_class():
    weights = pitch_class_weights(phrase([36, 48, 60, 61]), SPEC)[0]
    assert weights.nonzero().flatten().tolist() == [0, 1] and weights[0] == 3 * weights[1]


def test_drums_have_no_key():
    assert key_shifts(phrase([37, 41, 44], track=0), SPEC).tolist() == [0]


@pytest.mark.parametrize("semitones", [-7, -1, 0, 3, 90])
def test_transposition_moves_pitch_not_time_and_never_drums(semitones):
    roll = random_roll(SPEC, n=2)
    moved = transpose(roll, torch.tensor([semitones, 0]), SPEC)
    for before, after in zip(roll, moved):
        assert torch.equal(after[1], before[1]) and torch.equal(after[0, 0], before[0, 0])
        expected = torch.zeros_like(before[0, 1:])
        for p in range(84):
            if 0 <= p - semitones < 84:
                expected[..., p] = before[0, 1:, ..., p - semitones]
        assert torch.equal(after[0, 1:], expected)


def test_there_and_back_cuts_only_what_left_the_range():
    roll = random_roll(SPEC, n=3)
    shift = torch.tensor([5, -4, 0])
    back = transpose(transpose(roll, shift, SPEC), -shift, SPEC)
    assert torch.equal(back.frame[..., 5:-5], roll.frame[..., 5:-5])
    assert not (back.frame & ~roll.frame).any()


def test_a_transposed_phrase_shifts_its_key():
    roll = Roll(phrase([60, 64, 67, 72]), phrase([60, 64, 67, 72]))
    assert key_shifts(transpose(roll, torch.tensor([4]), SPEC).frame, SPEC).tolist() == [4]


@pytest.mark.parametrize("classes", [(0, 3, 6, 9), (0, 4, 8), (0, 6), range(0, 12, 2)])
def test_the_key_of_a_chord_that_fits_several_does_not_depend_on_its_place(classes):
    weights = torch.zeros(1, 12)
    weights[0, list(classes)] = 7
    others = torch.randint(50, (17, 12), generator=torch.Generator().manual_seed(0)).float()
    alone = shifts_of_weights(weights)
    for n in range(1, 17):
        assert shifts_of_weights(torch.cat([others[:n], weights]))[-1] == alone
        assert shifts_of_weights(torch.cat([weights, others[:n]]))[0] == alone


@pytest.mark.parametrize("text, tonic, is_minor, shift", [
    ("C major", 0, False, 0), ("A minor", 9, True, 0), ("F#m", 6, True, -3), ("Bb", 10, False, -2), ("g min", 7, True, -2),
    ("E♭ major", 3, False, 3), ("F# major", 6, False, 6), ("Cb", 11, False, -1), ("DM", 2, False, 2),
    ("D#-minor", 3, True, 6),
])
def test_names_of_keys(text, tonic, is_minor, shift):
    assert Key.parse(text) == (tonic, is_minor) and Key.parse(text).shift == shift


@pytest.mark.parametrize("text", ["", "H", "C dorian", "major", "A minor B", "C###"])
def test_what_is_no_key(text):
    with pytest.raises(UserError, match='no key .*: write one as "A minor"'):
        Key.parse(text)


@pytest.mark.parametrize("shift", range(-5, 7))
def test_the_name_of_a_shift_is_that_of_its_keys(shift):
    major, minor = name_of_shift(shift).split(" / ")
    assert Key.parse(major).shift == Key.parse(minor).shift == shift
    assert (Key.parse(major).is_minor, Key.parse(minor).is_minor) == (False, True)


def test_the_median_pitch():
    spec = RollSpec((Track("drums", is_drum=True), Track("bass"), Track("horn")), lowest_pitch=20, n_pitches=50)
    weights = torch.zeros(3, 50)
    weights[0, 3], weights[1, 10], weights[1, 30], weights[1, 31] = 5, 2, 2, 1
    assert median_pitches(weights, spec).tolist() == [0, 50, 0]    # half sounds below: 2 of 5 do at 30, 4 of 5 at 50
    assert median_pitches(torch.stack([weights, 0 * weights]), spec).tolist() == [[0, 50, 0], [0, 0, 0]]


def test_the_shortest_way():
    assert nearest_shift(torch.arange(-12, 13)).tolist() == [*range(7), *range(-5, 7), *range(-5, 1)]


def test_only_notes_of_the_scale_stay_and_all_drums():
    roll = Roll(torch.ones(2, 5, 1, 16, 84, dtype=torch.bool), torch.ones(2, 5, 1, 16, 84, dtype=torch.bool))
    left = in_scale(roll, torch.tensor([0, 2]), SPEC)
    classes = pitch_class_weights(left.frame, SPEC)
    assert classes[0].nonzero().flatten().tolist() == sorted(C_MAJOR)
    assert classes[1].nonzero().flatten().tolist() == sorted((c + 2) % 12 for c in C_MAJOR)
    assert left.frame[:, 0].all() and torch.equal(left.frame, left.onset)
