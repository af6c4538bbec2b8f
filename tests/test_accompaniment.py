"""Accompaniment: the given tracks stay to the bit, in any key and of any length, and the others listen."""

import pytest
import torch

from musegan.accompaniment import _held, accompany
from musegan.decoding import Decoding
from musegan.errors import UserError
from musegan.keys import transpose
from musegan.metrics.condition import condition_test
from musegan.models import Facts, Layout
from musegan.roll import Roll, RollSpec, Track
from musegan.sampling import GivenRoll, sample
from tests.models.test_compact import pair
from tests.models.test_layout import random_roll
from tests.test_latents import Fixed

SPEC = RollSpec((Track("drums", is_drum=True), Track("piano"), Track("bass", program=33)), n_pitches=48, lowest_pitch=36)
LAYOUT = Layout(SPEC, (2, 12, 8), (3, 24, 24), ("poly", "poly", "poly"))
DRUMS, BASS = torch.tensor([True, False, False]), torch.tensor([False, False, True])
DRAWN = Decoding("bernoulli")


def player(key_shifts=(1,) * 12, is_fixed=False):
    generator, _ = pair(LAYOUT, facts=Facts((0.3, 2.4, 2.4), (1.0, 0.5, 0.5), key_shifts), accompaniment=True)
    with torch.no_grad():
        for skip in generator.encoder.skips:
            skip.weight *= 8    # listens, though untrained
    if is_fixed:
        generator.__class__ = Fixed
    return generator.eval()


def tune(bars=2, n=2, seed=0):
    """Phrases in whatever key, with notes outside the layout's ranges too."""
    return random_roll(SPEC, n=n, bars=bars, density=0.03, seed=seed)


@pytest.mark.parametrize("is_fixed", [False, True])
@pytest.mark.parametrize("bars", [1, 2, 5, 7])
def test_given_tracks_stay_to_the_bit(is_fixed, bars):
    roll = tune(bars)
    outside = roll.frame[:, 2, ..., 40:]
    made = accompany(player(is_fixed=is_fixed), roll, BASS, 3, decoding=DRAWN)
    assert outside.any() and made.frame.shape == roll.frame.shape
    for plane, own in zip(made, roll):
        assert torch.equal(plane[:, 2], own[:, 2])
    assert made.frame[:, :2].any((0, 2, 3, 4)).all() and not torch.equal(made.frame[:, 1], roll.frame[:, 1])
    assert not (made.onset & ~made.frame).any()


@pytest.mark.parametrize("is_fixed", [False, True])
def test_the_same_again_and_otherwise_to_another_track(is_fixed):
    model, roll = player(is_fixed=is_fixed), tune(4)
    made, again = (accompany(model, roll, BASS, 3, decoding=DRAWN).frame for _ in range(2))
    assert torch.equal(made, again)
    alone = roll.map(lambda plane: plane[1:])
    assert torch.equal(accompany(model, alone, BASS, 3, [1], DRAWN).frame, made[1:])    # whatever is made beside it
    other = accompany(model, tune(4, seed=5), BASS, 3, decoding=DRAWN).frame
    assert not torch.equal(other[:, 1], made[:, 1])
    assert not torch.equal(accompany(model, roll, BASS, 4, decoding=DRAWN).frame[:, 1], made[:, 1])
    silent = Roll(*(plane * torch.tensor([0, 0, 1]).bool()[:, None, None, None] for plane in roll))
    assert torch.equal(accompany(model, silent, BASS, 3, decoding=DRAWN).frame[:, 1],
                       made[:, 1])    # what is not given does not count


def test_the_key_follows_what_is_given():
    """A scale, and the same three semitones higher: so is its accompaniment."""
    frame = torch.zeros(1, 3, 2, 16, 48, dtype=torch.bool)
    for step, pitch in enumerate((12, 16, 19, 24, 19, 16, 12, 14)):
        frame[:, 2, :, 2 * step : 2 * step + 2, pitch] = True
    roll, model = Roll(frame, frame.clone()), player()
    made = accompany(model, roll, BASS, 0, decoding=DRAWN)
    higher = accompany(model, transpose(roll, torch.tensor([3]), SPEC), BASS, 0, decoding=DRAWN)
    assert torch.equal(higher.frame, transpose(made, torch.tensor([3]), SPEC).frame)
    assert torch.equal(higher.frame[:, 0], made.frame[:, 0])
    left = accompany(player(key_shifts=()), transpose(roll, torch.tensor([3]), SPEC), BASS, 0, decoding=DRAWN)
    assert not torch.equal(left.frame[:, 1], higher.frame[:, 1])


def line(pitches, gap=0):
    """A bass line [1, 3, 2, 16, 48] of four steps a note, its last `gap` steps silent."""
    frame = torch.zeros(1, 3, 2, 16, 48, dtype=torch.bool)
    onset = frame.clone()
    for note, pitch in enumerate(pitches):
        bar, step = divmod(4 * note, 16)
        frame[:, 2, bar, step : step + 4 - gap, pitch - SPEC.lowest_pitch] = True
        onset[:, 2, bar, step, pitch - SPEC.lowest_pitch] = True
    return Roll(frame, onset)


def listener(bass_density=0.5):
    """Its bass plays one note at a time, around C4 in training."""
    layout = Layout(SPEC, (2, 12, 8), (3, 24, 40), ("poly", "poly", "mono"))
    facts = Facts((0.3, 2.4, bass_density), (1.0, 0.5, 0.5), (1,) * 12, median_pitch=(0, 60, 60))
    generator, _ = pair(layout, facts=facts, accompaniment=True)
    with torch.no_grad():
        for skip in generator.encoder.skips:
            skip.weight *= 8
    return generator.eval()


TUNE = (60, 62, 64, 65, 67, 65, 64, 60)    # in C, of median 64


@pytest.mark.parametrize("octaves", [-2, -1, 1])
def test_a_line_is_heard_in_its_octave(octaves):
    heard = accompany(listener(), line(TUNE), BASS, 0, decoding=DRAWN)
    moved = line([pitch + 12 * octaves for pitch in TUNE])
    made = accompany(listener(), moved, BASS, 0, decoding=DRAWN)
    assert torch.equal(made.frame[:, :2], heard.frame[:, :2]) and heard.frame[:, 1].any()
    assert torch.equal(made.frame[:, 2], moved.frame[:, 2])    # and stays where it is
    as_is = accompany(listener(), moved, BASS, 0, decoding=DRAWN, in_training_key=True)
    assert not torch.equal(as_is.frame[:, 1], heard.frame[:, 1])


def test_a_line_that_never_rests_is_heard_without_short_rests():
    whole, short = line(TUNE), line(TUNE, gap=2)
    short.frame[:, 2, 1, 14:, 60 - SPEC.lowest_pitch] = True    # nothing follows the last note, which is not held
    held, rests = (accompany(listener(density), short, BASS, 0, decoding=DRAWN) for density in (0.97, 0.5))
    assert torch.equal(held.frame[:, :2], accompany(listener(0.97), whole, BASS, 0, decoding=DRAWN).frame[:, :2])
    assert torch.equal(held.frame[:, 2], short.frame[:, 2])
    assert not torch.equal(rests.frame[:, 1], held.frame[:, 1])


def test_a_rest_of_a_bar_is_one():
    roll = line(TUNE[:1] * 8)
    for plane in roll:
        plane[:, :, :, 4:] = False    # a beat, three of rest, a beat
    long = roll.map(torch.clone)
    for plane in long:
        plane[:, :, 1, :4] = False
    filled, left = (_held(each.frame[:, 2:]).flatten(2, 3).any(-1)[0, 0] for each in (roll, long))
    assert filled.tolist() == [True] * 20 + [False] * 12 and left.tolist() == [True] * 4 + [False] * 28
    apart = torch.zeros_like(roll.frame[:, 2:])
    apart[:, :, 0, 0], apart[:, :, 1, 1] = roll.frame[:, 2:, 0, 0], roll.frame[:, 2:, 0, 0]    # 16 steps of rest between
    assert torch.equal(_held(apart), apart)


def test_a_key_that_is_said_overrides_the_one_that_is_found():
    model, roll = player(), line(TUNE)
    up_five = accompany(model, roll, BASS, 0, decoding=DRAWN, shifts=torch.tensor([5]))
    at_home = accompany(model, transpose(roll, torch.tensor([-5]), SPEC), BASS, 0, decoding=DRAWN, in_training_key=True)
    assert torch.equal(up_five.frame[:, 1], transpose(at_home, torch.tensor([5]), SPEC).frame[:, 1])
    assert not torch.equal(up_five.frame[:, 1], accompany(model, roll, BASS, 0, decoding=DRAWN).frame[:, 1])


def test_the_scale_is_the_songs_where_a_model_plays_in_any_key():
    in_d = line([pitch + 2 for pitch in TUNE])
    made = accompany(player(key_shifts=()), in_d, BASS, 0, decoding=DRAWN, only_scale=True)
    classes = made.frame[0, 1].flatten(0, 1).any(0).nonzero().squeeze(1).add(SPEC.lowest_pitch) % 12
    assert set(classes.tolist()) <= {2, 4, 6, 7, 9, 11, 1} and 6 in classes.tolist()


def test_to_drums_alone_the_key_is_drawn():
    up_two = tuple(9 * (shift == 2) for shift in range(-5, 7))
    roll = tune()
    here, there = (accompany(player(shifts), roll, DRUMS, 0, decoding=DRAWN).frame for shifts in ((), up_two))
    assert torch.equal(there[:, 1, ..., 2:], here[:, 1, ..., :-2])


@pytest.mark.parametrize("is_fixed", [False, True])
def test_in_the_training_key_it_is_sampling_with_a_given_track(is_fixed):
    model, roll = player(is_fixed=is_fixed), tune()
    made = accompany(model, roll, BASS, 5, decoding=DRAWN, in_training_key=True)
    again = sample(model, 2, 5, "bernoulli", in_training_key=True, given=GivenRoll(roll, BASS.expand(2, -1)))
    assert all(torch.equal(a, b) for a, b in zip(made, again))


def test_a_fixed_model_goes_phrase_by_phrase():
    model, roll = player(is_fixed=True), tune(6, n=1)
    whole = accompany(model, roll, BASS, 0, decoding=DRAWN, in_training_key=True)
    first = accompany(model, roll.map(lambda plane: plane[:, :, :2]), BASS, 0, decoding=DRAWN, in_training_key=True)
    assert torch.equal(whole.frame[:, :, :2], first.frame)
    same = Roll(*(plane[:, :, :2].repeat(1, 1, 3, 1, 1) for plane in roll))
    phrases = accompany(model, same, BASS, 0, decoding=DRAWN, in_training_key=True).frame[:, 1].split(2, dim=1)
    assert not torch.equal(phrases[0], phrases[1]) and not torch.equal(phrases[1], phrases[2])


def test_only_the_scale():
    made = accompany(player(), tune(), DRUMS, 0, decoding=DRAWN, only_scale=True)
    wild = accompany(player(), tune(), DRUMS, 0, decoding=DRAWN)
    assert 0 < made.frame[:, 1].sum() < wild.frame[:, 1].sum() and torch.equal(made.frame[:, 0], wild.frame[:, 0])


def test_the_condition_test_asks_an_accompanist():
    roll, model = tune(n=20), player()
    test = condition_test(roll, SPEC, 2,
                          lambda given: accompany(model, given, BASS, 0, decoding=DRAWN, in_training_key=True))
    assert test.changed == 1.0 and 0 < test.change < 1
    with torch.no_grad():
        for skip in model.encoder.skips:
            skip.weight.zero_()
    deaf = condition_test(roll, SPEC, 2,
                          lambda given: accompany(model, given, BASS, 0, decoding=DRAWN, in_training_key=True))
    assert deaf.changed == deaf.change == 0.0


def test_what_cannot_be():
    with pytest.raises(UserError, match="takes no given tracks"):
        accompany(pair(LAYOUT)[0], tune(), BASS)
    with pytest.raises(ValueError, match="T: expected 16"):
        accompany(player(), tune().map(lambda plane: plane[:, :, :, :8]), BASS)
    empty = tune().map(lambda plane: plane[:0])
    assert accompany(player(), empty, BASS).frame.shape == empty.frame.shape


@pytest.mark.parametrize("tracks, error, message", [
    (torch.ones(5, dtype=torch.bool), ValueError, "tracks: expected .K=3. or .N=2, K=3., got .5."),
    (torch.tensor([1, 0, 0]), TypeError, "tracks must be bool"),
])
def test_tracks_of_another_shape_or_type(tracks, error, message):
    with pytest.raises(error, match=message):
        accompany(player(), tune(), tracks)
