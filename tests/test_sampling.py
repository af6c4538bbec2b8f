"""Sampling: frames first, one note at a time where asked, and the same music however it is cut up."""

from dataclasses import replace

import pytest
import torch

from musegan import sampling
from musegan.decoding import Decoding, binarize, scores
from musegan.keys import Key, key_shifts, pitch_class_weights
from musegan.latents import draw, piece, reroll
from musegan.models import Facts, Layout, RollLogits
from musegan.roll import Roll, RollSpec, Track
from musegan.sampling import GivenRoll, in_key, render, sample
from tests.models.test_compact import pair
from tests.models.test_layout import random_roll

SPEC = RollSpec((Track("drums", is_drum=True), Track("bass")), n_pitches=4, lowest_pitch=36, beats_per_bar=1)
MONO = Layout(SPEC, (0, 0), (4, 4), ("poly", "mono"))
INF = torch.inf


def logits(frame_p, onset_p):
    """[T, P] probabilities of the bass -> logits of one phrase with silent drums."""
    frame, onset = (torch.tensor(p).double().logit()[None, None, None] for p in (frame_p, onset_p))
    return RollLogits(torch.cat([torch.full_like(frame, -INF), frame], 1),
                      torch.cat([torch.full_like(onset, INF), onset], 1))


def test_a_start_is_a_likely_onset_or_sound_after_silence():
    p = [[0.9, 0, 0, 0]] * 3 + [[0.1, 0, 0, 0]]
    onset = [[0.1, 0, 0, 0], [0.1, 0, 0, 0], [0.8, 0, 0, 0], [0.9, 0, 0, 0]]
    roll = binarize(logits(p, onset), MONO, "threshold")
    assert roll.frame[0, 1, 0, :, 0].tolist() == [True, True, True, False]
    assert roll.onset[0, 1, 0, :, 0].tolist() == [True, False, True, False]


@pytest.mark.parametrize("at, sounding", [(0.5, 1), (0.25, 2), (0.05, 3), (0.95, 0)])
def test_a_lower_threshold_gives_more_notes(at, sounding):
    layout = Layout(SPEC, (0, 0), (4, 4), ("poly", "poly"))
    roll = binarize(logits([[0.9, 0.3, 0.1, 0]] * 4, [[0.5] * 4] * 4), layout, "threshold", torch.full((2, 2), at))
    assert roll.frame[0, 1, 0, 0].sum() == sounding


@pytest.mark.parametrize("p, expected", [
    ([0.4, 0.3, 0.1, 0.1], 0),       # the likeliest, though below a half
    ([0.2, 0.3, 0.05, 0.05], None),  # the rest is likelier: 0.4
    ([0.0, 0.0, 0.0, 0.9], 3),
])
def test_mono_threshold_takes_the_likeliest_of_pitches_and_rest(p, expected):
    frame = binarize(logits([p] * 4, [p] * 4), MONO, "threshold").frame[0, 1, 0, 0]
    assert frame.nonzero().flatten().tolist() == ([] if expected is None else [expected])


POLY = Layout(SPEC, (0, 0), (4, 4), ("poly", "poly"))


@pytest.mark.parametrize("layout", [POLY, MONO])
@pytest.mark.parametrize("dip, steadiness, sounds", [
    (0.3, 0.0, False),
    (0.3, 2.0, True),     # log-odds of -0.85 and, of neighbours that sound for sure, 2
    (0.05, 2.0, False),   # -2.9: decided
])
def test_a_steady_note_outlasts_a_step_of_doubt(layout, dip, steadiness, sounds):
    p = [[0.999, 0, 0, 0], [dip, 0, 0, 0], [0.999, 0, 0, 0], [0.001, 0, 0, 0]]
    roll = binarize(logits(p, [[0.1] * 4] * 4), layout, "threshold", steadiness=[0.0, steadiness])
    assert roll.frame[0, 1, 0, :, 0].tolist() == [True, sounds, True, False]
    assert roll.onset[0, 1, 0, :, 0].tolist() == [True, False, not sounds, False]


@pytest.mark.parametrize("layout", [POLY, MONO])
def test_a_step_that_is_likely_alone_is_less_so_where_the_steps_beside_it_are_silent(layout):
    p = [[0.01, 0, 0, 0], [0.7, 0, 0, 0], [0.01, 0, 0, 0], [0.01, 0, 0, 0]]
    for steadiness, sounds in ((0.0, True), (0.5, True), (1.0, False)):    # log-odds of 0.85, and as much less
        frame = binarize(logits(p, p), layout, "threshold", steadiness=[0.0, steadiness]).frame
        assert frame[0, 1, 0, :, 0].tolist() == [False, sounds, False, False]


def test_a_steady_line_does_not_turn_for_a_step_and_back():
    p = [[0.9, 0.05, 0, 0], [0.4, 0.5, 0, 0], [0.9, 0.05, 0, 0], [0.9, 0.05, 0, 0]]
    for steadiness, pitches in ((0.0, [0, 1, 0, 0]), (1.0, [0, 0, 0, 0])):
        frame = binarize(logits(p, p), MONO, "threshold", steadiness=[0.0, steadiness]).frame[0, 1, 0]
        assert frame.nonzero().tolist() == [[step, pitch] for step, pitch in enumerate(pitches)]


def test_steadiness_is_by_track_and_across_bar_lines():
    """Against the sum written out, step by step."""
    both = [torch.randn(2, 3, 4, 4, generator=torch.Generator().manual_seed(seed)).double() for seed in (0, 1)]
    for x in both:
        p, found = x.sigmoid().flatten(1, 2), scores(x, "poly", 1.5).flatten(1, 2)
        for step in range(12):
            beside = [2 * p[:, other] - 1 for other in (step - 1, step + 1) if 0 <= other < 12]
            assert torch.allclose(found[:, step], x.flatten(1, 2)[:, step] + 1.5 * sum(beside) / 2)
    roll = RollLogits(torch.stack(both, 1), torch.zeros(2, 2, 3, 4, 4).double())
    drums_as_they_are = binarize(roll, POLY, "threshold", steadiness=[0.0, 5.0]).frame
    assert torch.equal(drums_as_they_are[:, 0], both[0] > 0) and not torch.equal(drums_as_they_are[:, 1], both[1] > 0)


def test_mono_bernoulli_draws_one_note_or_none_with_the_right_odds():
    """5 outcomes of 40,000 draws within 4.9 standard deviations: false alarm about 5e-6."""
    p = torch.tensor([0.4, 0.3, 0.1, 0.05])
    layout = MONO
    frame = p.logit().expand(10_000, 1, 1, 4, 4)
    both = RollLogits(torch.cat([torch.full_like(frame, -INF), frame], 1), torch.full((10_000, 2, 1, 4, 4), -INF))
    drawn = binarize(both, layout, "bernoulli", seed=5).frame[:, 1].reshape(-1, 4)
    assert drawn.sum(1).max() == 1
    n = len(drawn)
    for share, target in zip([*(drawn.float().mean(0)), 1 - drawn.any(1).float().mean()], [*p, 0.15]):
        assert abs(share - target) < 4.9 * (target * (1 - target) / n) ** 0.5


@pytest.mark.parametrize("method", ["threshold", "bernoulli"])
def test_a_sample_does_not_depend_on_how_many_are_made(method, monkeypatch):
    generator, _ = pair(facts=Facts((2.1, 8.4, 0.5), (1.0, 0.5, 0.25)))
    many = sample(generator, 7, seed=3, method=method)
    few = sample(generator, 2, seed=3, method=method)
    monkeypatch.setattr(sampling, "_BATCH", 3)
    split = sample(generator, 7, seed=3, method=method)
    for plane, first, again in zip(many, few, split):
        assert torch.equal(plane[:2], first) and torch.equal(plane, again)
    assert many.frame.any()


def test_each_phrase_has_the_thresholds_of_what_it_is_given(monkeypatch):
    """To drums the piano is silent, to the bass it plays, and in between to both, whatever is made beside it."""
    generator, _ = pair(accompaniment=True)
    generator.thresholds.fill_(0.13)
    for row, at in zip(generator.given_thresholds, (0.99, 0.13, 0.01, 0.12)):
        row.fill_(at)
    tracks = torch.tensor([[0, 0, 0], [1, 0, 0], [0, 0, 1], [1, 0, 1]] * 2).bool()
    given = GivenRoll(random_roll(n=8), tracks)
    whole = sample(generator, 8, 1, in_training_key=True, given=given).frame
    counts = whole[:, 1].flatten(1).sum(1).view(2, 4).sum(0)
    assert counts[1] == 0 < counts[0] and counts[3] < counts[2]
    monkeypatch.setattr(sampling, "_BATCH", 3)
    assert torch.equal(sample(generator, 8, 1, in_training_key=True, given=given).frame, whole)
    for i in range(8):
        alone = sample(generator, 1, 1, in_training_key=True, first_sample=i, given=given[i : i + 1]).frame
        assert torch.equal(alone, whole[i : i + 1])
    assert torch.equal(sample(generator, 1, 1, in_training_key=True).frame, whole[:1])


def test_thresholds_of_each_phrase_are_its_own():
    both = logits([[0.9, 0.3, 0.1, 0]] * 4, [[0.5] * 4] * 4)
    layout = Layout(SPEC, (0, 0), (4, 4), ("poly", "poly"))
    thresholds = torch.tensor([[0.2, 0.6], [0.5, 0.4], [0.95, 0.6]])[:, :, None].expand(-1, -1, 2)    # [3, frame onset, K]
    roll = binarize(RollLogits(*(plane.repeat(3, 1, 1, 1, 1) for plane in both)), layout, "threshold", thresholds)
    assert roll.frame[:, 1].sum((1, 2)).tolist() == [[4, 4, 0, 0], [4, 0, 0, 0], [0, 0, 0, 0]]
    assert roll.onset[:, 1].sum((1, 2)).tolist() == [[1, 1, 0, 0], [4, 0, 0, 0], [0, 0, 0, 0]]


def test_another_seed_is_other_music():
    generator, _ = pair()
    assert not torch.equal(sample(generator, 2, 0, "bernoulli").frame, sample(generator, 2, 1, "bernoulli").frame)


def test_samples_are_moved_by_the_shifts_of_real_phrases():
    up_two = [0] * 12
    up_two[5 + 2] = 9
    generator, _ = pair(facts=Facts(key_shifts=up_two))
    home = sample(generator, 3, 0, "bernoulli", in_training_key=True).frame
    moved = sample(generator, 3, 0, "bernoulli").frame
    assert torch.equal(moved[:, 0], home[:, 0])    # drums never move
    assert torch.equal(moved[:, 1:, ..., 2:], home[:, 1:, ..., :-2]) and not moved[:, 1:, ..., :2].any()


def test_no_samples_is_an_empty_roll():
    generator, _ = pair()
    assert sample(generator, 0, 0).frame.shape == (0, 3, 2, 16, 12)


@pytest.mark.parametrize("method", ["threshold", "bernoulli"])
def test_a_new_track_leaves_the_others_to_the_bit(method):
    generator, _ = pair()
    generator.thresholds.fill_(0.13)
    z = reroll(draw(generator, [5], 0).expand(4, -1, -1, -1), 1, generator, 0)
    before, after = sample(generator, 1, 0, method, first_sample=5, in_training_key=True), render(
        generator, z, 0, [5] * 4, Decoding(method))
    for old, new in zip(before, after):
        assert torch.equal(new[:, [0, 2]], old[:, [0, 2]].expand(4, -1, -1, -1, -1))
    assert len({phrase.numpy().tobytes() for phrase in after.frame[:, 1]}) == 4 and before.frame[:, 0].any()


def test_latents_of_bars_make_longer_rolls_in_smaller_batches(monkeypatch):
    generator, _ = pair()
    z = torch.cat([piece(generator, 6, seed=i) for i in range(3)])
    whole = render(generator, z, 0, decoding=Decoding("bernoulli"))
    monkeypatch.setattr(sampling, "_BATCH", 2)
    assert whole.frame.shape == (3, 3, 6, 16, 12)
    assert all(torch.equal(a, b) for a, b in zip(whole, render(generator, z, 0, decoding=Decoding("bernoulli"))))
    assert render(generator, z[:0], 0).frame.shape == (0, 3, 6, 16, 12)


def test_a_key_is_where_the_training_key_is_moved_to():
    generator, _ = pair(facts=Facts(key_shifts=(1,) * 12))
    home = sample(generator, 3, 0, "bernoulli", in_training_key=True)
    moved = sample(generator, 3, 0, "bernoulli", key=Key.parse("D major")).frame
    assert torch.equal(moved, sample(generator, 3, 0, "bernoulli", key=Key.parse("B minor")).frame)    # the relative key
    assert torch.equal(moved[:, 0], home.frame[:, 0])
    assert torch.equal(moved[:, 1:, ..., 2:], home.frame[:, 1:, ..., :-2])


def test_a_model_of_any_keys_is_moved_by_the_key_that_is_found():
    spec = replace(pair()[0].spec, n_pitches=48)
    generator, _ = pair(Layout.whole(spec), facts=Facts())
    roll = Roll(*(torch.zeros(12, 3, 2, 16, 48, dtype=torch.bool) for _ in range(2)))
    for n in range(12):    # a triad on each tonic, the tonic doubled
        for step in (0, 4, 7, 12):
            roll.frame[n, 1, :, :, 12 + n + step] = True
    found = in_key(generator, roll, 0, range(12), Key.parse("D major"))
    assert key_shifts(found.frame, spec).tolist() == [2] * 12
    assert torch.equal(in_key(generator, roll, 0, range(12)).frame, roll.frame)


def test_only_the_scale_is_left_in_whatever_key():
    generator, _ = pair(facts=Facts(key_shifts=(1,) * 12))
    roll = sample(generator, 6, 0, "bernoulli", key=Key.parse("E major"), only_scale=True)
    classes = pitch_class_weights(roll.frame, generator.spec).sum(0).nonzero().flatten().tolist()
    assert set(classes) <= {4, 6, 8, 9, 11, 1, 3} and len(classes) > 3
    drums = sample(generator, 6, 0, "bernoulli", key=Key.parse("E major")).frame[:, 0]
    assert torch.equal(roll.frame[:, 0], drums)


@pytest.mark.parametrize("density, n_sounding", [(1e308, 199), (0.5, 50)])
def test_density_of_a_model_that_is_sure_of_its_cells(monkeypatch, density, n_sounding):
    model, _ = pair(Layout(SPEC, (0, 0), (4, 4), ("poly", "poly")), facts=Facts())
    scores = torch.cat([torch.linspace(-300, -200, 100), torch.linspace(20, 30, 50), torch.linspace(36, 300, 50)])
    cells = scores.double().expand(2, 200).reshape(1, 2, 1, 50, 4)
    monkeypatch.setattr(sampling, "logits_of", lambda *arguments: RollLogits(cells, cells))
    cuts = sampling.thresholds_of(model.double(), Decoding(density=density))[0].logit()
    assert ((cells > cuts[:, None, None, None]).sum((0, 2, 3, 4)) - n_sounding).abs().max() <= 1
