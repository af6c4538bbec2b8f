"""`musegan generate --phrase`: a file becomes latents, these are changed, and music comes out in the file's key."""

import copy
import json

import pytest
import torch

from musegan import cli, requests
from musegan.data.piece import read_pieces
from musegan.data.sources import Source
from musegan.errors import UserError
from musegan.export import write_midi
from musegan.keys import Key, key_shifts, transpose
from musegan.models import PhraseEncoder, save_model
from musegan.models.folder import ENCODER
from musegan.reconstruction import Autoencoder, strung
from musegan.requests import Request, make
from tests.models.test_compact import latents
from tests.test_requests import LAYOUT, SPEC, generate, no_pictures, same, untrained    # noqa: F401

# C major: scale and chords, on all tracks; two bars, as the model's phrases
TONES = {"piano": [60, 64, 67, 72], "guitar": [55, 60, 64, 67], "bass": [36, 43, 48, 43], "strings": [64, 65, 67, 64]}


@pytest.fixture(scope="module")
def autoencoder():
    """An untrained one, whose weights are large enough for phrases to differ."""
    decoder = untrained()
    torch.manual_seed(1)
    encoder = PhraseEncoder(LAYOUT, 8, 16, 8, 1, ("density", "register")).eval()
    with torch.no_grad():
        for weight in encoder.parameters():
            weight.mul_(3)
        decoder.to_gate.bias.add_(3)
        for head in decoder.heads:
            head.step.bias.add_(1.25)    # cells are undecided, and sound where the latents say so
        encoder.directions.normal_()
        encoder.thresholds[0].fill_(0.6)
    return decoder, encoder


@pytest.fixture
def model(autoencoder, tmp_path):
    decoder, encoder = autoencoder
    save_model(decoder, tmp_path / "model")
    save_model(encoder, tmp_path / "model" / ENCODER)
    return tmp_path / "model"


def phrase(path, semitones=0, n_bars=2, seed=0):
    """A file of random steps through the tones, with a drum on every beat."""
    rng = torch.Generator().manual_seed(seed)
    frame = torch.zeros(5, n_bars, 16, 84, dtype=torch.bool)
    for k, name in enumerate(("drums", *TONES)):
        for bar in range(n_bars):
            for beat in range(4):
                if name == "drums":
                    frame[k, bar, 4 * beat, 36 - SPEC.lowest_pitch] = True
                else:
                    pitch = TONES[name][int(torch.randint(4, (), generator=rng))] + semitones
                    frame[k, bar, 4 * beat : 4 * beat + 3, pitch - SPEC.lowest_pitch] = True
    onset = frame & ~frame.flatten(1, 2).roll(1, dims=1).view_as(frame)
    write_midi(path, requests.Roll(frame, onset), SPEC, 97.0)
    return path


def made(pair, **request):
    return list(make(pair[0], Request(**request), say=lambda line: None, encoder=pair[1]))


def rolls(pair, **request):
    return [each.roll for each in made(pair, **request)]


def test_alone_it_is_the_reconstruction_at_the_latents_mean(autoencoder, tmp_path):
    path = phrase(tmp_path / "a.mid")
    (found,) = made(autoencoder, phrase=(path,))
    (piece,) = read_pieces(Source("a", str(path)), SPEC)
    shift = key_shifts(piece.roll.frame, SPEC)
    decoder, encoder = (network.double() for network in map(copy.deepcopy, autoencoder))
    home = transpose(piece.roll, -shift, SPEC)
    mean = encoder(LAYOUT.crop(home).double()).mean
    expected = decoder(mean).frame > torch.tensor(0.6, dtype=torch.float64).logit()    # the encoder's threshold
    assert torch.equal(found.roll.frame, transpose(requests.Roll(expected, expected), shift, SPEC).frame[0])
    assert 0.02 < found.roll.frame[1:].float().mean() < 0.3
    assert found.tempo_bpm == pytest.approx([97, 97], abs=0.01) and found.about["file"] == "a.mid"


def test_variations_by_nothing_are_the_reconstruction(autoencoder, tmp_path):
    path = phrase(tmp_path / "a.mid")
    (alone,) = rolls(autoencoder, phrase=(path,))
    assert all(same(each, alone) for each in rolls(autoencoder, phrase=(path,), vary=0.0, n=3))
    near, far = (sum(int((each.frame ^ alone.frame).sum()) for each in rolls(autoencoder, phrase=(path,), vary=amount, n=4))
                 for amount in (0.1, 1.0))
    assert 0 < near < far
    one, other = rolls(autoencoder, phrase=(path,), vary=0.5, n=2)
    assert not same(one, other)


def test_a_reroll_leaves_the_other_tracks_of_the_phrase(autoencoder, tmp_path):
    path = phrase(tmp_path / "a.mid")
    (alone,) = rolls(autoencoder, phrase=(path,))
    others = [0, 1, 3, 4]
    for each in rolls(autoencoder, phrase=(path,), reroll="guitar", n=3):
        assert same([plane[others] for plane in each], [plane[others] for plane in alone])
        assert not torch.equal(each.frame[2], alone.frame[2])


def test_steadiness_is_for_what_comes_from_no_phrase(autoencoder):
    """Cells of a reconstruction count by themselves; a track that is drawn anew is made as samples are."""
    decoder, encoder = copy.deepcopy(autoencoder)
    decoder.thresholds.copy_(encoder.thresholds)
    z = latents(decoder, n=2).double()
    one = Autoencoder(decoder, encoder)
    decoder.steadiness.fill_(3.0)
    other = Autoencoder(decoder, encoder)
    assert same(one.decode(z), other.decode(z))
    one, other = (own.decode(z, drawn=2).frame for own in (one, other))
    assert [torch.equal(one[:, k], other[:, k]) for k in range(5)] == [True, True, False, True, True]


def test_an_interpolation_ends_in_the_two_reconstructions(autoencoder, tmp_path):
    paths = phrase(tmp_path / "a.mid", seed=0), phrase(tmp_path / "b.mid", seed=1)
    ends = [rolls(autoencoder, phrase=(path,))[0] for path in paths]
    steps = made(autoencoder, phrase=paths, n=5)
    assert len(steps) == 5 and same(steps[0].roll, ends[0]) and same(steps[-1].roll, ends[1])
    assert not same(steps[0].roll, steps[-1].roll)
    assert steps[1].about == {"from_file": "a.mid", "to_file": "b.mid", "share": 0.25}


@pytest.mark.parametrize("change", [{}, {"vary": 0.3, "n": 2}, {"reroll": "bass", "n": 1}])
def test_a_fourth_higher_the_same_comes_out_a_fourth_higher(autoencoder, change, tmp_path):
    low, high = (rolls(autoencoder, phrase=(phrase(tmp_path / f"{i}.mid", semitones=i),), **change) for i in (0, 5))
    for one, other in zip(low, high):
        up = transpose(one.map(lambda plane: plane[None]), torch.tensor([5]), SPEC)
        assert same([plane[0] for plane in up], other)


def test_longer_files_are_windows_made_in_one_go(autoencoder, tmp_path):
    path = phrase(tmp_path / "a.mid", n_bars=5)
    (found,) = rolls(autoencoder, phrase=(path,))
    assert found.frame.shape[1] == 5
    own = Autoencoder(*autoencoder)
    encoded = own.read(path)
    assert [window.shape[2] - 1 for window in encoded.windows] == [2, 2, 1]
    home = transpose(encoded.piece.roll, -encoded.shift, SPEC)
    (middle,) = own.encode(home.map(lambda plane: plane[:, :, 2:4]))    # [1, 1 + K, 1 + 2, Z]
    z = strung(encoded.windows)    # [1, 1 + K, 2, 5, Z]
    assert torch.equal(z[:, :, 1, 2:4], middle[:, :, 1:])
    assert torch.equal(z[:, :, 0, 2:4], middle[:, :, :1].expand(-1, -1, 2, -1))


def test_more_of_an_attribute_moves_along_its_direction(autoencoder):
    own = Autoencoder(*autoencoder)
    z = latents(own.model, n=2).double()
    assert torch.equal(own.more(z, {}), z) and torch.equal(own.more(z, {"density": 0.0}), z)
    moved = own.more(z, {"density": 2.0, "register": -1.0}) - z
    expected = 2 * own.encoder.directions[0] - own.encoder.directions[1]    # [1 + K, 2, Z]
    assert torch.allclose(moved[0, :, 0], expected[:, 0]) and torch.allclose(moved[1, :, 2], expected[:, 1])


def test_the_key_of_a_phrase_may_be_said(autoencoder, tmp_path):
    path = phrase(tmp_path / "mine.mid")
    own = Autoencoder(*autoencoder)
    found = int(own.read(path).shift)
    for shift in (found, (found + 3 + 5) % 12 - 5):
        read = own.read(path, Key((shift + 12) % 12, is_minor=False))
        assert int(read.shift) == shift
        same = all(torch.equal(a, b) for a, b in zip(read.windows, own.read(path).windows))
        assert same == (shift == found)


def test_the_command_writes_versions_and_what_they_are(model, tmp_path, no_pictures, capsys):    # noqa: F811
    path = phrase(tmp_path / "mine.mid")
    options = ["--model", model, "--phrase", path, "--vary", 0.2, "--more", "density=0.5", "register=-1", "--n", 2]
    assert generate(*options, "--out", tmp_path / "out") == 0
    out, err = capsys.readouterr()
    assert "2 phrases of 2 bars at 97 bpm" in out
    assert "mine.mid: 2 bars; given: drums -> drums, piano -> piano" in err and "minor (another: --key)" in err
    record = json.loads((tmp_path / "out" / "request.json").read_text())
    assert record["options"]["phrase"] == [str(path)]
    assert [each["version"] for each in record["samples"]] == [0, 1]
    assert record["encoder"] == str(model / ENCODER) and record["encoder_weights_sha256"] != record["weights_sha256"]


@pytest.mark.parametrize("options, message", [
    (["--more", "density=1"], "--more changes a phrase: it needs --phrase"),
    (["--phrase", "a", "--more", "density"], "--more must be ATTRIBUTE=AMOUNT, each once: got density"),
    (["--phrase", "a", "--more", "density=" + "9" * 400], "--more must be at most 1000 times an attribute, up or down"),
    (["--phrase", "a", "--bars", 8], "--bars does not go with --phrase: the file says the length"),
    (["--phrase", "a", "--interpolate", 8], "--interpolate does not go with --phrase: a second file is what"),
    (["--phrase", "a", "--accompany", "b"], "--accompany does not go with --phrase: they are two ways"),
    (["--phrase", "a", "b", "--key", "C"], "--key says one key: --phrase has two files"),
    (["--phrase", "a", "b", "c"], "--phrase takes one file, or two to interpolate between: got 3"),
    (["--phrase", "a", "b", "--vary", 0.2], "--vary changes one phrase: --phrase has two files"),
    (["--phrase", "a", "b", "--n", 1], "--phrase with two files needs --n of 2 at least"),
    (["--phrase", "a", "--n", 3], "--n: one phrase alone is made once; --vary or --reroll makes versions of it"),
])
def test_requests_that_contradict_themselves_are_told(options, message, model, tmp_path, capsys):
    assert generate("--model", model, *options, "--out", tmp_path / "out") == 1
    assert message in capsys.readouterr().err and not (tmp_path / "out").exists()


def test_files_that_cannot_be_used_are_told(autoencoder, tmp_path):
    short, long = phrase(tmp_path / "a.mid"), phrase(tmp_path / "b.mid", n_bars=3)
    with pytest.raises(UserError, match="must have as many bars; they have 2 and 3"):
        made(autoencoder, phrase=(short, long))
    with pytest.raises(UserError, match=f"--phrase takes a file of one piece: {tmp_path} has 2"):
        made(autoencoder, phrase=(tmp_path,))
    with pytest.raises(UserError, match="--more: no attribute 'loudness'; there are density, register"):
        made(autoencoder, phrase=(short,), more={"loudness": 1.0})
    (tmp_path / "c.mid").write_bytes(b"MThd")
    with pytest.raises(UserError, match="c.mid: "):
        made(autoencoder, phrase=(tmp_path / "c.mid",))


def test_a_model_without_an_encoder_says_so(model, tmp_path, capsys):
    for file in (model / ENCODER).iterdir():
        file.unlink()
    (model / ENCODER).rmdir()
    assert cli.main(["generate", "--model", str(model), "--phrase", str(phrase(tmp_path / "a.mid"))]) == 1
    assert "has no encoder: a model that `musegan train --family vae` makes has one" in capsys.readouterr().err


def test_an_encoder_alone_makes_no_music(model, tmp_path, capsys):
    assert cli.main(["generate", "--model", str(model / ENCODER), "--out", str(tmp_path / "out")]) == 1
    assert "holds an encoder, which makes no music" in capsys.readouterr().err
