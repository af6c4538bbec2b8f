"""The vocabulary: what a spec accepts, what it says, and the checks at public borders."""

import pytest
import torch

from musegan.errors import UserError
from musegan.roll import PRESETS, Roll, RollSpec, Track, check_roll, check_shape

SPEC = RollSpec(PRESETS["lpd5"])


@pytest.mark.parametrize("tracks", PRESETS.values(), ids=PRESETS)
def test_json_gives_the_spec_back(tracks):
    spec = RollSpec(tracks, steps_per_beat=12, beats_per_bar=7, lowest_pitch=0, n_pitches=128, beat_unit=8)
    assert RollSpec.from_json(spec.to_json()) == spec


def test_json_from_before_beat_unit_counts_quarter_notes():
    text = '{"tracks":[{"name":"x"}],"steps_per_beat":12,"beats_per_bar":3,"lowest_pitch":24,"n_pitches":84}'
    assert RollSpec.from_json(text) == RollSpec((Track("x"),), steps_per_beat=12, beats_per_bar=3, beat_unit=4)


@pytest.mark.parametrize("text",
                         ["", "[]", "{}", '{"tracks": [{"nam": "x"}]}', '{"tracks": [{"name": "x"}], "colour": 3}', "3"])
def test_json_that_is_no_spec(text):
    with pytest.raises(UserError):
        RollSpec.from_json(text)


@pytest.mark.parametrize("changes, message", [
    ({"tracks": ()}, "must not be empty"),
    ({"tracks": (Track("a"), Track("a"))}, "names must differ"),
    ({"steps_per_beat": 0}, "steps_per_beat must be at least 1: got 0"),
    ({"steps_per_beat": 1025}, "a bar may have 4,096 steps: steps_per_beat=1025, beats_per_bar=4"),
    ({"beat_unit": 6}, "beat_unit must be a power of two from 1 to 32: got 6"),
    ({"beat_unit": 0}, "beat_unit must be a power of two from 1 to 32: got 0"),
    ({"beat_unit": 64}, "beat_unit must be a power of two from 1 to 32: got 64"),
    ({"beat_unit": 2, "steps_per_beat": 3}, "steps_per_quarter .* whole number: steps_per_beat=3, beat_unit=2"),
    ({"beat_unit": 1, "steps_per_beat": 2}, "steps_per_quarter .* whole number: steps_per_beat=2, beat_unit=1"),
    ({"lowest_pitch": 60}, "within MIDI's 0 to 127: lowest_pitch=60, n_pitches=84"),
    ({"lowest_pitch": -1}, "within MIDI's"),
])
def test_specs_that_mean_nothing(changes, message):
    with pytest.raises(UserError, match=message):
        RollSpec(**{"tracks": PRESETS["lpd5"], **changes})


def test_programs_are_general_midis():
    with pytest.raises(UserError, match="program must be 0 to 127: got 128 for track 'x'"):
        Track("x", program=128)


@pytest.mark.parametrize("metre, steps_per_beat, steps_per_bar, steps_per_quarter, quarters_per_bar", [
    ((4, 4), 4, 16, 4, 4),
    ((3, 4), 4, 12, 4, 3),
    ((6, 8), 2, 12, 4, 3),
    ((7, 8), 2, 14, 4, 3.5),
    ((5, 16), 1, 5, 4, 1.25),
    ((9, 32), 3, 27, 24, 1.125),
    ((2, 2), 8, 16, 4, 4),
    ((1, 1), 4, 4, 1, 4),
])
def test_a_metre_counts_in_its_own_beats(metre, steps_per_beat, steps_per_bar, steps_per_quarter, quarters_per_bar):
    spec = RollSpec(PRESETS["satb"], steps_per_beat, beats_per_bar=metre[0], beat_unit=metre[1])
    assert spec.steps_per_bar == steps_per_bar
    assert spec.steps_per_quarter == steps_per_quarter
    assert spec.quarters_per_bar == quarters_per_bar


@pytest.mark.parametrize("beat_unit, steps_per_beat", [(2, 8), (4, 4), (8, 2), (16, 1)])
def test_multitrack_resolution_is_of_a_quarter_note(beat_unit, steps_per_beat):
    assert RollSpec(PRESETS["satb"], steps_per_beat, beat_unit=beat_unit).multitrack_resolution == 28


@pytest.mark.parametrize("steps_per_beat", range(1, 49))
def test_multitrack_resolution_is_an_odd_multiple(steps_per_beat):
    odd, rest = divmod(RollSpec(PRESETS["satb"], steps_per_beat).multitrack_resolution, steps_per_beat)
    assert rest == 0 and odd % 2 == 1 and odd >= 3
    assert steps_per_beat * odd >= 24


def test_multitrack_resolutions_in_use():
    assert [RollSpec(PRESETS["satb"], n).multitrack_resolution for n in (4, 12, 24)] == [28, 36, 72]


@pytest.mark.parametrize("shape, message", [
    ((2, 5, 4, 16), "frame: expected five axes"),
    ((2, 4, 4, 16, 84), "K: expected 5, got 4 in frame"),
    ((2, 5, 4, 48, 84), "T: expected 16, got 48 in frame"),
    ((2, 5, 4, 16, 128), "P: expected 84, got 128 in frame"),
])
def test_shapes_are_checked_by_axis(shape, message):
    with pytest.raises(ValueError, match=message):
        check_shape("frame", torch.zeros(shape), SPEC)


def test_an_onset_must_sound():
    frame = torch.zeros(1, 5, 1, 16, 84, dtype=torch.bool)
    check_roll(Roll(frame, frame), SPEC)
    with pytest.raises(ValueError, match="an onset must sound"):
        check_roll(Roll(frame, ~frame), SPEC)
    with pytest.raises(TypeError, match="onset must be bool: got torch.float32"):
        check_roll(Roll(frame, frame.float()), SPEC)


def test_a_batch_splits_into_phrases():
    frame = torch.rand(3, 5, 1, 16, 84) < 0.5
    phrases = Roll(frame, frame & False).phrases()
    assert len(phrases) == 3 and torch.equal(phrases[1].frame, frame[1]) and not phrases[2].onset.any()
