"""The trained models that come with the package: small, described, and making music of all their tracks."""

import pytest
import torch

from musegan import cli, resources
from musegan.accompaniment import accompany
from musegan.keys import transpose
from musegan.models import load_generator
from musegan.roll import Roll
from musegan.sampling import sample

MAX_BYTES = 10_000_000    # all together


def test_there_are_some_and_they_are_small():
    folders = [resources.model_path(name) for name in resources.model_names()]
    assert resources.model_names() == ["accompanist", "band", "chorales"]
    assert sum(file.stat().st_size for folder in folders for file in folder.iterdir()) < MAX_BYTES


@pytest.mark.parametrize("name", resources.model_names())
def test_a_model_has_a_card_that_says_how_it_was_made(name):
    card = (resources.model_path(name) / "README.md").read_text()
    for word in (f"musegan generate --model {name}", "musegan train", "Data.", "Licence", "What it does badly"):
        assert word in card, word


@pytest.mark.parametrize("name", resources.model_names())
def test_a_model_plays_all_its_tracks_in_many_ways(name):
    model = load_generator(resources.model_path(name))
    roll = sample(model, 64, seed=0)
    cells = (roll.frame.sum((0, 2, 3, 4)) / (64 * model.n_bars * model.spec.steps_per_bar)).tolist()
    least = 0.2 if name == "accompanist" else 0.6    # which, given nothing, plays the piano little
    for made, density, track in zip(cells, model.facts.frame_density, model.spec.tracks):
        assert least * density < made < 1.6 * density, track.name
    assert len(torch.unique(roll.onset.flatten(1), dim=0)) == 64


def test_generate_finds_it_by_name(tmp_path):
    assert cli.main(["generate", "--model", "band", "--n", "1", "--out", str(tmp_path / "music")]) in (0, None)
    assert (tmp_path / "music" / "sample-000.mid").stat().st_size > 100


@pytest.mark.parametrize("name", ["accompanist", "chorales"])
def test_one_that_accompanies_plays_other_things_to_other_tracks(name):
    """And leaves what it is given as it is."""
    model = load_generator(resources.model_path(name))
    given, others = (sample(model, 16, seed=seed, in_training_key=True) for seed in (1, 2))
    last = torch.arange(model.spec.n_tracks) == model.spec.n_tracks - 1
    played = [accompany(model, roll, last, seed=3, in_training_key=True) for roll in (given, others)]
    for roll, made in zip((given, others), played):
        assert torch.equal(made.frame[:, -1], roll.frame[:, -1])
        assert made.frame[:, :-1].flatten(1).any(1).float().mean() > 0.9
    starts = [made.onset[:, :-1].flatten(1) for made in played]
    alike = (starts[0] & starts[1]).sum() / (starts[0] | starts[1]).sum()
    assert alike < 0.6    # of the same latents


@pytest.mark.parametrize("octaves", [-2, -1, 1])
def test_chorales_harmonises_a_melody_in_any_octave_with_rests(octaves):
    model = load_generator(resources.model_path("chorales"))
    melodies = sample(model, 8, seed=1, in_training_key=True)
    struck = melodies.frame & melodies.onset    # a step of each note, and rests between
    moved = transpose(Roll(struck, melodies.onset), torch.full((8,), 12 * octaves), model.spec)
    soprano = torch.arange(4) == 0
    made = accompany(model, moved, soprano)
    as_usual = accompany(model, melodies, soprano)
    assert torch.equal(made.frame[:, 0], moved.frame[:, 0])
    assert made.frame[:, 1:].flatten(2).any(2).all()
    notes, usual = (each.onset[:, 1:].sum().item() for each in (made, as_usual))
    assert 0.7 * usual < notes < 1.5 * usual    # neither silent nor wild
