"""Thresholds: tracks sound, and start notes, as often as in the data the generator was trained on."""

import pytest
import torch

from musegan.models import CompactGenerator, Facts, Layout, RollLogits
from musegan.models.bmusegan import BMuseganGenerator
from musegan.ops import notes
from musegan.reconstruction import Autoencoder, strung
from musegan.roll import Roll, RollSpec, Track
from musegan.sampling import GivenRoll, sample
from musegan.training.calibration import calibrate, calibrate_reconstructions
from tests.models.test_compact import pair
from tests.models.test_layout import SPEC, random_roll
from tests.models.test_vae import pair as autoencoder
from tests.models.test_vae import phrases

# [K] pitches that sound at a step, where the outputs of a new generator with these facts start somewhere else
WANTED = Facts((0.3, 1.2, 0.6), (1.0, 0.97, 0.95))
POLY = Layout(SPEC, (0, 0, 0), (12, 12, 12), ("poly", "poly", "poly"))
LEVELS = torch.tensor([-1.0, 0.5, 0.0])    # by which drums, piano and bass that are given move frames, and onsets against it


class Moved(CompactGenerator):
    """Hears of given tracks which they are, and nothing else."""

    kind = "moved"

    def forward(self, latents, given=None):
        frame, onset = super().forward(latents, given)
        if given is None:
            return RollLogits(frame, onset)
        level = (given.tracks * LEVELS).sum(1)[:, None, None, None, None]
        return RollLogits(frame + level, onset - level)


def moved(facts=WANTED):
    generator, _ = pair(POLY, facts=facts, accompaniment=True)
    with torch.no_grad():
        for skip in generator.encoder.skips:
            skip.weight.zero_(), skip.bias.zero_()
        for head in generator.heads:    # so that no thresholds lie at the ends of their range
            head.step.weight.mul_(6)
    generator.__class__ = Moved
    return generator.eval()


def given(track, n=64, roll=None):
    roll = random_roll(n=n) if roll is None else roll
    return GivenRoll(roll, (torch.arange(3) == track).expand(n, -1))


def densities(generator, given=None):
    roll = sample(generator, 64, seed=3, given=given, in_training_key=True)
    cells = roll.frame.sum((0, 2, 3, 4)).double()
    steps = 64 * 2 * generator.spec.steps_per_bar
    return (cells / steps).tolist(), (roll.onset.sum((0, 2, 3, 4)) / cells).tolist()


def test_tracks_sound_as_often_as_in_the_data():
    generator, _ = pair(facts=WANTED)
    generator.eval()
    with torch.no_grad():    # decided cells, at another density
        for layer in (head.step for head in generator.heads):
            layer.weight.mul_(6), layer.bias.sub_(0.3)
    before, _ = densities(generator)
    calibrate(generator, seed=0)
    after, starts = densities(generator)
    for k, wanted in enumerate(WANTED.frame_density):
        assert after[k] == pytest.approx(wanted, rel=0.15) and abs(before[k] - wanted) > abs(after[k] - wanted)
    assert starts == pytest.approx(WANTED.onset_density, abs=0.03)


def test_thresholds_are_kept_with_the_model_and_differ_by_track():
    generator, _ = pair(facts=WANTED)
    calibrate(generator.eval(), seed=0)
    assert generator.state_dict()["thresholds"].shape == (2, 3)
    assert len(set(generator.thresholds[0].tolist())) == 3
    assert ((generator.thresholds > 0) & (generator.thresholds < 1)).all()


def held(length, n=128):
    """Phrases of SPEC in which piano and bass play notes of one length in steps, one after the other."""
    frame = torch.zeros(n, 3, 2, SPEC.steps_per_bar, SPEC.n_pitches, dtype=torch.bool)
    onset = frame.clone()
    for step in range(2 * SPEC.steps_per_bar):
        bar, place = divmod(step, SPEC.steps_per_bar)
        pitch = step // length % SPEC.n_pitches
        frame[:, 1:, bar, place, pitch] = True
        onset[:, 1:, bar, place, pitch] = step % length == 0
    return Roll(frame, onset)


def doubtful():
    """Whose notes break into fragments."""
    generator, _ = pair(POLY, facts=Facts((0.0, 1.0, 1.0), (1.0, 0.1, 0.1)))
    with torch.no_grad():
        for head in generator.heads:
            head.step.weight.mul_(6)
    return generator.eval()


def test_notes_last_as_long_as_in_the_data():
    """Where the data's notes are long they are held, where they are short they are not."""
    generator, lengths = doubtful(), {}
    for wanted in (1, 8):
        calibrate(generator, seed=0, real=held(wanted))
        drums, *pitched = generator.steadiness.tolist()
        assert drums == 0 and (max(pitched) == 0) == (wanted == 1)
        made = notes(sample(generator, 64, seed=3, in_training_key=True))
        lengths[wanted] = (made[:, 4] - made[:, 3])[made[:, 1] > 0].double().mean()
    assert lengths[8] > 1.08 * lengths[1]
    calibrate(generator, seed=0)
    assert not generator.steadiness.any()    # without real phrases


def test_a_track_that_never_sounds_in_the_data_is_no_steadier():
    generator, silent = doubtful(), held(8)
    for plane in silent:
        plane[:, 2] = False
    calibrate(generator, seed=0, real=silent)
    assert generator.steadiness[2] == 0 < generator.steadiness[1]


def test_without_facts_thresholds_stay_one_half():
    generator, _ = pair(facts=Facts())
    calibrate(generator.eval(), seed=0)
    assert (generator.thresholds == 0.5).all()


def test_a_silent_generator_is_not_an_error():
    generator, _ = pair(facts=WANTED)
    with torch.no_grad():
        generator.to_gate.bias.fill_(-60)
    calibrate(generator.eval(), seed=0)
    assert torch.isfinite(generator.thresholds).all()
    assert sample(generator, 2, seed=0).frame.sum() == 0


@pytest.mark.parametrize("stage, decided", [("pretrain", False), ("joint", True)])
def test_binary_neurons_keep_their_threshold(stage, decided):
    torch.manual_seed(0)
    layout = Layout.whole(SPEC)
    generator = BMuseganGenerator(layout, 1, WANTED, latent_size=8, width=32).eval()
    generator.enter(stage)
    for weight in generator.parameters():
        torch.nn.init.normal_(weight, std=0.3)
    calibrate(generator, seed=0)
    assert bool((generator.thresholds == 0.5).all()) == decided


def test_tracks_sound_as_often_as_in_the_data_whatever_is_given():
    """Where all real tracks sound in all phrases, as often with a track given as with nothing."""
    generator, real = moved(Facts((4.8,) * 3, (1.0, 0.5, 0.5))), random_roll(n=200, density=0.4)
    more = random_roll(n=200, density=0.6, seed=1)
    real = Roll(real.frame, real.onset | real.frame & more.frame)    # 0.5 + 0.5 * 0.6 = 0.8 of the cells are starts
    generator.facts = Facts((4.8,) * 3, (1.0, 0.8, 0.8))
    calibrate(generator, seed=0)
    assert densities(generator, given(0))[0][1] < 3.6    # what the thresholds with nothing given make of it
    calibrate(generator, seed=0, real=real)
    for track in (None, 0, 1, 2):
        found, starts = densities(generator, None if track is None else given(track))
        for k in {0, 1, 2} - {track}:
            assert found[k] == pytest.approx(4.8, rel=0.1)
            assert starts[k] == pytest.approx((1.0, 0.8, 0.8)[k], abs=0.03)
    cuts = generator.given_thresholds.logit()
    moves = cuts - generator.thresholds.logit()
    assert torch.allclose(moves[:3, 0], LEVELS[:, None].expand(-1, 3), atol=0.15)
    both = torch.tensor([[True, True, False]])
    assert torch.allclose(generator.thresholds_for(both)[0].logit(), cuts[3].double(), atol=1e-5)
    found, starts = densities(generator, GivenRoll(random_roll(n=64, density=0.4), both.expand(64, 3)))
    assert found[2] == pytest.approx(4.8, rel=0.1) and starts[2] == pytest.approx(0.8, abs=0.03)


def test_thresholds_to_several_tracks_lie_between_those_to_each_and_those_to_all():
    spec = RollSpec(tuple(Track(f"voice {k}") for k in range(5)), n_pitches=12, lowest_pitch=36)
    generator = CompactGenerator(Layout.whole(spec), 1, width=8, track_width=8, accompaniment=True)
    cuts = torch.tensor([-4.0, -2.0, 0.0, 2.0, 4.0, 8.0])[:, None, None]
    generator.given_thresholds.copy_(cuts.expand(-1, 2, 5).sigmoid())
    tracks = torch.tensor([[1, 1, 0, 0, 0], [1, 1, 1, 0, 0], [1, 1, 1, 1, 0], [0, 0, 1, 0, 0], [1, 1, 1, 1, 1]]).bool()
    wanted = (-3 * 2 / 3 + 8 / 3, -2 / 3 + 8 * 2 / 3, 8.0, 0.0, 8.0)
    assert generator.thresholds_for(tracks).logit()[:, 0, 0].tolist() == pytest.approx(wanted, abs=1e-4)


def test_tracks_sound_as_often_as_beside_the_given_one():
    """Half of the real phrases are for piano with a busy bass, half for drums with a sparse one."""
    generator, real, busy = moved(), random_roll(n=200, density=0.03), random_roll(n=200, density=0.1, seed=1)
    even = torch.arange(200) % 2 == 0
    for plane, own in zip(real, busy):
        plane[even, 2] = own[even, 2]
        plane[even, 0], plane[~even, 1] = False, False
    calibrate(generator, seed=0, real=real)
    assert densities(generator, given(0))[0][2] == pytest.approx(0.03 * 12, rel=0.2)
    assert densities(generator, given(1))[0][2] == pytest.approx(0.1 * 12, rel=0.2)


def test_a_track_that_is_sure_to_be_silent_beside_another_sounds_nevertheless(monkeypatch):
    monkeypatch.setitem(globals(), "LEVELS", torch.tensor([-4.0, 0.0, 0.0]))
    generator = moved()
    calibrate(generator, seed=0, real=random_roll(n=200, density=0.03))
    assert generator.given_thresholds[0, 0].max() < 0.1
    assert densities(generator, given(0))[0][1:] == pytest.approx([0.03 * 12] * 2, rel=0.2)


def test_given_phrases_are_of_all_pieces():
    """Of those that follow each other, not the first ones."""
    generator, real = moved(), random_roll(n=300)
    seen, features = [], POLY.crop(real)
    generator.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[1]))
    calibrate(generator, seed=0, real=real)
    for i, heard in enumerate(seen[1:]):    # to each track, and to the others
        tracks = given(i // 2, n=128).tracks
        assert torch.equal(heard.tracks, ~tracks if i % 2 else tracks)
        places = [(features == each.bool()).flatten(1).all(1).nonzero().item() for each in heard.features]
        assert places == sorted(set(places)) and places[0] == 0 and places[-1] >= 297
    assert len(seen) == 1 + 2 * 3


@pytest.mark.parametrize("real", [None, Roll(*(torch.zeros(4, 3, 2, 16, 12, dtype=torch.bool) for _ in range(2)))])
def test_to_a_track_that_never_sounds_thresholds_are_those_with_nothing_given(real):
    generator = moved()
    generator.given_thresholds.fill_(0.9)
    calibrate(generator, seed=0, real=real)
    assert torch.equal(generator.given_thresholds, generator.thresholds.expand(4, -1, -1))


def test_without_facts_thresholds_to_given_tracks_stay_one_half():
    generator = moved(Facts())
    generator.given_thresholds.fill_(0.9)
    calibrate(generator, seed=0, real=random_roll())
    assert (generator.given_thresholds == 0.5).all()


def test_the_same_seed_and_phrases_are_the_same_thresholds():
    found = []
    for batch in (200, 200, 150):
        generator = moved()
        calibrate(generator, seed=0, real=random_roll(n=200, density=0.05).map(lambda plane: plane[:batch]))
        found.append(generator.given_thresholds)
    assert torch.equal(found[0], found[1]) and not torch.equal(found[0], found[2])


def test_reconstructions_sound_as_often_as_the_phrases():
    decoder, encoder = autoencoder()
    decoder.steadiness.fill_(2.0)    # of samples: here it does not count
    with torch.no_grad():    # decided cells, at another density
        for head in decoder.heads:
            head.step.weight.mul_(6), head.step.bias.add_(0.3)
    layout = decoder.layout
    real = Roll(*(plane.bool() for plane in layout.expand(layout.crop(phrases(n=64)).float(), outside=0.0)))
    calibrate_reconstructions(decoder, encoder, real)
    own = Autoencoder(decoder, encoder)
    made = own.decode(strung(own.encode(real)))
    for k, (wanted, found) in enumerate(zip(*(roll.frame.sum((0, 2, 3, 4)).tolist() for roll in (real, made)))):
        assert found == pytest.approx(wanted, rel=0.1), k
    assert len(set(encoder.thresholds[0].tolist())) == 3 and decoder.thresholds.eq(0.5).all()
