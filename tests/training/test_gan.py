"""The adversarial loop: resumes bit for bit, stops when asked, never saves what is not a number."""

import dataclasses
import json

import pytest
import torch

from musegan.config import Config, DataConfig, ModelConfig, TrainConfig
from musegan.errors import UserError
from musegan.keys import median_pitches
from musegan.models import load_generator
from musegan.sampling import GivenRoll, sample
from musegan.training import gan
from musegan.training.gan import train
from musegan.training.run_folder import RunFolder
from musegan.training.splits import split
from musegan.training.validation import given_tracks

pytestmark = pytest.mark.usefixtures("cheap_comparisons")
TINY = Config(
    data=DataConfig(n_bars=2, validation_share=0.3),
    model=ModelConfig(latent_size=8, generator_width=16, discriminator_width=16, n_blocks=1, mono_tracks=["bass"]),
    train=TrainConfig(steps=12, batch_size=8, validate_every=6, validation_samples=16, checkpoint_every=4, penalty_every=3),
)


def with_train(**changes):
    return dataclasses.replace(TINY, train=dataclasses.replace(TINY.train, **changes))


def run_in(folder):
    run = RunFolder(folder)
    run.create()
    return run


def after(n):
    """A stop request that comes after n steps."""
    asked = 0

    def stop():
        nonlocal asked
        asked += 1
        return asked >= n

    return stop


def same_state(a, b):
    if isinstance(a, torch.Tensor):
        return torch.equal(a, b)
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same_state(a[key], b[key]) for key in a)
    if isinstance(a, (list, tuple)):
        return len(a) == len(b) and all(map(same_state, a, b))
    return a == b


def test_stopped_and_resumed_equals_never_stopped(songs, tmp_path):
    whole, parts = run_in(tmp_path / "whole"), run_in(tmp_path / "parts")
    assert train(TINY, songs, whole)
    assert not train(TINY, songs, parts, stop_requested=after(5))
    assert parts.load_checkpoint()["step"] == 5
    assert train(TINY, songs, parts, resume=True)
    assert same_state(whole.load_checkpoint(), parts.load_checkpoint())
    for name in ("best", "newest"):
        one, other = ((run.path / name / "model.safetensors").read_bytes() for run in (whole, parts))
        assert one == other
    assert [{k: v for k, v in json.loads(line).items() if k != "seconds"} for line in whole.metrics.open()] == [
        {k: v for k, v in json.loads(line).items() if k != "seconds"} for line in parts.metrics.open()]


RECIPES = {
    "wasserstein": {"penalty": "gradient", "penalty_weight": 10.0, "penalty_every": 1, "discriminator_updates": 3},
    "hinge": {"penalty": "none", "penalty_every": TrainConfig.penalty_every, "learning_rate": 2e-4},
    "non-saturating": {"penalty": "real", "learning_rate_halving": 4},
    "classic": {"penalty": "real", "silence_track": True, "shift_beats": True},
    "least-squares": {"penalty": "real", "augment_target": 0.5, "slope_growth": 1.5},
}


@pytest.mark.parametrize("loss", RECIPES)
def test_every_recipe_trains_and_resumes(loss, songs, tmp_path, monkeypatch):
    monkeypatch.setattr(gan, "ADAPT_EVERY", 2)
    model = dataclasses.replace(TINY.model, spectral_norm=loss == "hinge", accompaniment=loss == "non-saturating")
    config = dataclasses.replace(with_train(steps=6, validate_every=3, loss=loss, **RECIPES[loss]), model=model)
    whole, parts = run_in(tmp_path / "whole"), run_in(tmp_path / "parts")
    assert train(config, songs, whole)
    assert not train(config, songs, parts, stop_requested=after(4))
    assert train(config, songs, parts, resume=True)
    assert same_state(whole.load_checkpoint(), parts.load_checkpoint())
    assert any("penalty" in json.loads(line) for line in whole.metrics.open()) == (loss != "hinge")


def test_the_memory_is_of_one_state_of_the_discriminator(songs, tmp_path, monkeypatch):
    """What the probability adapts to are scores by the discriminator as it is after its update."""
    monkeypatch.setattr(gan, "ADAPT_EVERY", 2)
    scored, expected = [], []

    class Watched(gan.Pair):
        def update_generator(self, parts, seen):
            score = lambda music: self.score(music, seen)    # noqa: E731
            with torch.no_grad():
                scored_now = [[score(part.music) for part in parts], [score(self.generate(part)) for part in parts]]
            expected.append([torch.cat(each) for each in scored_now])
            return super().update_generator(parts, seen)

    def adapt(strength, training, held_out, generated):
        scored.append((training, generated))
        return 0.0

    monkeypatch.setattr(gan, "Pair", Watched)
    monkeypatch.setattr(gan.Strength, "adapt", adapt)
    train(with_train(steps=4, augment_target=0.5, accumulate=2), songs, run_in(tmp_path))
    assert len(scored) == 2
    for of_adapt, of_update in zip(scored, expected[1::2]):
        for a, b in zip(of_adapt, of_update):
            torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-6)


def test_the_discriminator_is_updated_as_often_as_asked(songs, tmp_path):
    counts = {}
    for updates in (1, 3):
        run = run_in(tmp_path / str(updates))
        train(with_train(steps=4, discriminator_updates=updates), songs, run)
        state = run.load_checkpoint()
        counts[updates] = [int(state[f"{name} optimizer"]["state"][0]["step"]) for name in ("generator", "discriminator")]
    assert counts == {1: [4, 4], 3: [4, 12]}


def test_schedules(songs, tmp_path):
    config = with_train(steps=12, batch_size=64, learning_rate=1e-3, learning_rate_halving=5, slope_growth=1.5,
                        max_slope=10.0)
    run = run_in(tmp_path)
    train(config, songs, run)
    state = run.load_checkpoint()
    last_rate = state["generator optimizer"]["param_groups"][0]["lr"]
    assert last_rate == pytest.approx(1e-3 * 0.5 ** (11 / 5))
    epochs = 11 * 64 // len(split(config.data, songs).training)
    assert state["generator"]["slope"].item() == min(3 * 1.5**epochs, 10) > 3


def test_a_slope_that_grows_beyond_all_numbers_ends_where_it_should(songs, tmp_path):
    train(with_train(steps=7, batch_size=256, slope_growth=1e300, max_slope=50.0), songs, run_in(tmp_path))    # 3rd epoch
    assert run_in(tmp_path).load_checkpoint()["generator"]["slope"] == 50


def test_the_refiner_comes_behind_a_generator_that_stays(songs, tmp_path):
    settings = dataclasses.replace(
        TINY.train, steps=6, refine_from=3, validate_every=3, checkpoint_every=3, batch_size=4, validation_samples=4)
    model = ModelConfig(kind="bmusegan", latent_size=8, generator_width=32, discriminator_width=32)
    config = Config(TINY.data, model, settings)
    whole, parts = run_in(tmp_path / "whole"), run_in(tmp_path / "parts")
    states = []
    assert not train(config, songs, parts, stop_requested=after(3))
    states.append(parts.load_checkpoint())
    assert train(config, songs, parts, resume=True)
    states.append(parts.load_checkpoint())
    changed = {name.split(".")[0] for name, value in states[1]["generator"].items()
               if not torch.equal(value, states[0]["generator"][name])}    # fmt: skip
    assert changed == {"refiner", "refines", "body_fixed"}
    assert train(config, songs, whole)
    assert same_state(whole.load_checkpoint(), states[1])
    with pytest.raises(UserError, match="refine_from means nothing"):
        with_train(refine_from=3)


def test_given_tracks_are_seen_by_the_discriminator_as_they_are(songs, tmp_path):
    """An accompaniment run and one without are different runs, and the generator ends up reading what is given."""
    run = run_in(tmp_path)
    config = dataclasses.replace(with_train(steps=3), model=dataclasses.replace(TINY.model, accompaniment=True))
    train(config, songs, run)
    model = load_generator(run.newest)
    phrases = split(config.data, songs).training.sample(4, 0)
    everything = split(config.data, songs).training.sample(10_000, 0).frame
    assert model.facts.median_pitch == tuple(median_pitches(everything.sum((0, 2, 3)), songs.spec).tolist())
    tracks = torch.zeros(4, songs.spec.n_tracks, dtype=torch.bool)
    tracks[:, 0] = True
    given = GivenRoll(phrases, tracks)
    made = sample(model, 4, 0, in_training_key=True, given=given)
    assert torch.equal(made.frame[:, 0], phrases.frame[:, 0]) and torch.equal(made.onset[:, 0], phrases.onset[:, 0])
    with pytest.raises(ValueError, match="accompanies"):
        sample(model, 4, 0, given=given)


def test_calibrated_thresholds_are_no_part_of_the_average(songs, tmp_path):
    """They stay as the last comparison left them, which knows the training phrases."""
    run = run_in(tmp_path)
    config = dataclasses.replace(TINY, model=dataclasses.replace(TINY.model, accompaniment=True))
    assert not train(config, songs, run, stop_requested=after(8))    # compared at 6
    state, model = run.load_checkpoint(), load_generator(run.newest)
    for name in ("thresholds", "given_thresholds"):
        assert torch.equal(state["average"][name], getattr(model, name)) and (state["generator"][name] == 0.5).all()
    assert not torch.equal(model.given_thresholds, model.thresholds.expand_as(model.given_thresholds))


def test_given_tracks_are_a_share_and_never_all():
    tracks = given_tracks(4000, 5, share=0.5, seed=0)
    number = tracks.sum(1)
    assert number.max() == 4 and (number > 0).double().mean().item() == pytest.approx(0.5, abs=0.04)
    assert torch.allclose(tracks.double().mean(0), torch.full((5,), 0.25, dtype=torch.float64), atol=0.03)
    for n in range(1, 5):
        assert (number == n).double().mean().item() == pytest.approx(0.125, abs=0.03)
    assert not given_tracks(100, 1, share=1.0, seed=0).any()    # nothing would be left to make


def test_loader_processes_change_nothing(songs, tmp_path):
    """Neither where they are started anew at a step."""
    config = dataclasses.replace(with_train(steps=8), data=dataclasses.replace(
        TINY.data, transpose_semitones=3, track_dropout=0.2))
    alone, helped = run_in(tmp_path / "alone"), run_in(tmp_path / "helped")
    assert train(config, songs, alone)
    with_worker = dataclasses.replace(config, train=dataclasses.replace(config.train, workers=1))
    assert not train(with_worker, songs, helped, stop_requested=after(3))
    assert train(with_worker, songs, helped, resume=True)
    assert same_state(alone.load_checkpoint(), helped.load_checkpoint())


def test_augmentation_reaches_the_networks(songs, tmp_path):
    """What they see, and the pitches that they have columns for."""
    states, widths = [], []
    for i, changes in enumerate(({}, {"track_dropout": 0.5}, {"transpose_semitones": 5})):
        run = run_in(tmp_path / str(i))
        train(dataclasses.replace(with_train(steps=1), data=dataclasses.replace(TINY.data, **changes)), songs, run)
        states.append(run.load_checkpoint()["discriminator"])
        widths.append(load_generator(run.newest).layout.n_pitches)
    assert not same_state(states[0], states[1])
    drums, pitched = zip(*[(n_pitches[0], n_pitches[1:]) for n_pitches in widths])
    assert drums[0] == drums[1] == drums[2] and pitched[0] == pitched[1]
    assert all(a < b <= a + 10 for a, b in zip(pitched[0], pitched[2]))


def test_another_seed_is_another_run(songs, tmp_path):
    runs = [run_in(tmp_path / str(seed)) for seed in (0, 1)]
    for seed, run in enumerate(runs):
        train(with_train(steps=1, seed=seed), songs, run)
    assert not same_state(*(run.load_checkpoint()["generator"] for run in runs))


def test_what_a_run_leaves(songs, tmp_path):
    run = run_in(tmp_path)
    train(TINY, songs, run)
    assert load_generator(run.best).spec == songs.spec
    assert {path.name for path in run.samples.iterdir()} == {f"step-{s:06d}.{e}" for s in (6, 12) for e in ("png", "mid")}
    lines = [json.loads(line) for line in run.metrics.open()]
    assert [line["step"] for line in lines] == [1, 6, 10, 12]
    assert all(0 < lines[1][f"distance_{name}"] < 1 for name in ("held_out", "training"))
    assert any(run.tensorboard.iterdir())
    assert run.load_checkpoint()["best"] == min(line["distance_held_out"] for line in lines if "distance_held_out" in line)


def test_a_loss_that_is_no_number_stops_and_keeps_the_last_checkpoint(songs, tmp_path):
    run = run_in(tmp_path)
    train(with_train(steps=4), songs, run)
    before = run.checkpoint.read_bytes()
    state = run.load_checkpoint()
    state["generator"]["heads.0.step.weight"].fill_(float("nan"))
    run.save_checkpoint(state)
    poisoned = run.checkpoint.read_bytes()
    with pytest.raises(UserError, match="step 5: .*not a number"):
        train(with_train(steps=8, checkpoint_every=1), songs, run, resume=True)
    assert run.checkpoint.read_bytes() == poisoned != before


def test_weights_that_are_no_number_are_never_saved(songs, tmp_path):
    run = run_in(tmp_path)
    with pytest.raises(UserError, match="not a number"):
        train(with_train(steps=50, learning_rate=1e38, checkpoint_every=1), songs, run)
    if run.checkpoint.exists():
        assert all(torch.isfinite(value).all() for value in run.load_checkpoint()["generator"].values())


def test_a_checkpoint_of_another_shape_is_an_error(songs, tmp_path):
    run = run_in(tmp_path)
    train(with_train(steps=1), songs, run)
    other = dataclasses.replace(TINY, model=dataclasses.replace(TINY.model, generator_width=24))
    with pytest.raises(UserError, match="checkpoint.pt does not fit this run: .*size mismatch"):
        train(other, songs, run, resume=True)


def test_resuming_on_other_data_is_an_error(songs, tmp_path):
    run = run_in(tmp_path)
    train(with_train(steps=1), songs, run)
    fewer = dataclasses.replace(TINY, data=dataclasses.replace(TINY.data, min_tracks=4))
    with pytest.raises(UserError, match="its data set has changed since"):
        train(fewer, songs, run, resume=True)


def test_damaged_lines_of_the_log_are_dropped(tmp_path):
    run = run_in(tmp_path)
    for rest in ('{"step": 3', "\0\0\0\n", '{"step": 30}\n'):
        run.metrics.write_text('{"step": 1}\n{"step": 2}\n' + rest)
        run.rewind_metrics(step=5)
        assert run.metrics.read_text() == '{"step": 1}\n{"step": 2}\n'


@pytest.mark.parametrize("damage", [
    lambda content: content[: len(content) // 2],
    lambda content: b"",
    lambda content: b"hello",
    lambda content: content.replace(b"generator", b"generatol"),
])
def test_a_damaged_checkpoint_is_an_error(songs, tmp_path, damage):
    run = run_in(tmp_path)
    train(with_train(steps=1), songs, run)
    run.checkpoint.write_bytes(damage(run.checkpoint.read_bytes()))
    with pytest.raises(UserError, match="cannot read the checkpoint|does not fit this run"):
        train(TINY, songs, run, resume=True)


def test_too_little_data_says_so(songs, tmp_path):
    too_long = dataclasses.replace(TINY, data=dataclasses.replace(TINY.data, n_bars=400))
    with pytest.raises(UserError, match="no phrases to train on: none of the . pieces for it has 400 bars"):
        train(too_long, songs, run_in(tmp_path))


@pytest.mark.slow
def test_training_brings_samples_closer_to_the_music(songs, tmp_path):
    """Seen with seeds 0, 1, 2 after 10 and 150 steps: 0.48, 0.49, 0.47 and 0.32, 0.31, 0.30.

    The training pieces are the measure: so few songs are held out that they are 0.5 away from everything else.
    """
    run = run_in(tmp_path)
    model = dataclasses.replace(TINY.model, latent_size=32, generator_width=48, discriminator_width=48)
    for steps in (10, 150):    # compared at the end of each
        settings = with_train(steps=steps, batch_size=16, validate_every=1000, validation_samples=128).train
        train(dataclasses.replace(TINY, train=settings, model=model), songs, run, resume=True)
    distances = [line["distance_training"] for line in map(json.loads, run.metrics.open()) if "distance_training" in line]
    assert len(distances) == 2 and distances[1] < 0.75 * distances[0]
