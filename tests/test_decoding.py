"""How logits become notes: more or fewer by density, playable by cleaning."""

import pytest
import torch

from musegan.decoding import Decoding
from musegan.errors import UserError
from musegan.latents import draw
from musegan.sampling import render, sample, thresholds_of
from tests.models.test_compact import pair

FACTORS = (0.25, 0.5, 1, 2, 4)


@pytest.fixture(scope="module")
def generator():
    made, _ = pair()
    made.thresholds.fill_(0.13)    # as if calibrated: some cells of an untrained model sound
    return made.eval()


def test_density_multiplies_what_sounds(generator):
    frames = [sample(generator, 40, 1, density=factor, in_training_key=True).frame for factor in FACTORS]
    counts = torch.stack([frame.sum((0, 2, 3, 4)) for frame in frames]).double()    # [factors, K]
    assert (counts[1:, :2] > counts[:-1, :2]).all()
    for less, more in zip(frames, frames[1:]):
        # Nothing falls silent; a note may end where the likeliest pitch changes in bass
        assert not (less & ~more)[:, :2].any()
    ratio = counts[:, :2] / counts[2, :2]
    assert torch.allclose(ratio, torch.tensor(FACTORS).double()[:, None].expand(-1, 2), rtol=0.25)
    assert counts[-1, 2] <= 40 * 2 * 16    # one note at a time, whatever the density


def test_density_is_the_same_for_a_phrase_alone(generator):
    many, one = (sample(generator, n, 1, density=2.0).frame for n in (5, 1))
    assert torch.equal(many[:1], one)


def test_density_one_leaves_the_models_thresholds(generator):
    assert torch.equal(thresholds_of(generator, Decoding()), generator.thresholds.double())
    assert thresholds_of(generator, Decoding(at=0.3))[0].tolist() == [0.3] * 3


def test_density_moves_thresholds_to_given_tracks_as_far():
    model, _ = pair(accompaniment=True)
    model.thresholds.fill_(0.13)
    model.given_thresholds.copy_(torch.tensor([0.2, 0.3, 0.4, 0.5])[:, None, None])
    none, both = torch.zeros(1, 3, dtype=torch.bool), torch.tensor([[True, False, True]])
    tracks = torch.cat([none, torch.eye(3, dtype=torch.bool), both])
    cuts = {density: thresholds_of(model.double().eval(), Decoding(density=density), tracks).logit() for density in (1, 2)}
    levels = torch.tensor([0.13, 0.2, 0.3, 0.4]).double().logit().tolist()
    for row, level in zip(cuts[1], [*levels, 0.0]):
        assert torch.allclose(row, torch.full_like(row, level), atol=1e-6)
    moves = cuts[2] - cuts[1]
    assert torch.allclose(moves, moves[:1].expand(5, -1, -1), atol=1e-9)
    assert (moves[:, 0, :2] < -0.1).all() and not moves[:, 1].any()
    assert torch.allclose(moves[0, 0], thresholds_of(model, Decoding(density=2))[0].logit() - levels[0], atol=1e-9)
    everywhere = thresholds_of(model, Decoding(at=0.3), tracks)
    assert (everywhere[:, 0] == 0.3).all() and torch.allclose(everywhere[:, 1].logit(), cuts[1][:, 1])
    assert model.thresholds.tolist() == [[pytest.approx(0.13)] * 3] * 2    # as it was


def test_cleaning_makes_notes_long_and_few(generator):
    wild = render(generator, draw(generator, range(8), 0), 0, decoding=Decoding("bernoulli"))
    tame = render(generator, draw(generator, range(8), 0), 0, decoding=Decoding(
        "bernoulli", min_steps=3, max_gap_steps=1, max_pitches={"piano": 1, "drums": 1}))
    assert wild.frame[:, 1].sum(-1).max() > 1 and wild.frame[:, 0].sum(-1).max() > 1
    assert tame.frame[:, :2].sum(-1).max() == 1
    assert torch.equal(tame.frame[:, 0], tame.onset[:, 0]) and tame.frame[:, 0].any()    # strokes stay strokes
    sounding = tame.frame[:, 1].flatten(1, 2).transpose(1, 2).flatten(0, 1).int()    # [lines, steps]
    onset = tame.onset[:, 1].flatten(1, 2).transpose(1, 2).flatten(0, 1)
    for line, starts in zip(sounding, onset):
        lengths = torch.diff(torch.cat([starts.nonzero().flatten(), torch.tensor([len(line)])]))
        assert not starts.any() or lengths.min() >= 3


def test_one_number_limits_pitched_tracks(generator):
    roll = sample(generator, 8, 0, "bernoulli", max_pitches=1, in_training_key=True)
    assert roll.frame[:, 1].sum(-1).max() == 1 < roll.frame[:, 0].sum(-1).max()


@pytest.mark.parametrize("settings, message", [
    ({"at": 1.5}, "threshold must lie between 0 and 1: got 1.5"),
    ({"density": 0.0}, "density must be above 0, and finite: got 0.0"),
    ({"density": float("nan")}, "density must be above 0, and finite: got nan"),
    ({"method": "bernoulli", "density": 2.0}, "bernoulli draws each cell by its probability"),
    ({"method": "bernoulli", "at": 0.2}, "bernoulli draws each cell by its probability"),
    ({"method": "dice"}, "the method must be threshold or bernoulli: got 'dice'"),
    ({"min_steps": 0}, "min_steps must be at least 1, and below 2.63: got 0"),
    ({"max_gap_steps": -1}, "max_gap_steps must be at least 0, and below 2.63: got -1"),
    ({"max_pitches": -1}, "max_pitches must be at least 0, and below 2.63: got -1"),
    ({"max_pitches": {"flute": 2}}, "no track 'flute'; there are drums, piano, bass"),
])
def test_mistakes(generator, settings, message):
    with pytest.raises(UserError, match=message):
        render(generator, draw(generator, [0], 0), 0, decoding=Decoding(**settings))
