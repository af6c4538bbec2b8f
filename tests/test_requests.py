"""`musegan generate` for composers: pieces, changes of a sample, accompaniments, keys; and what goes with what."""

import json
import zipfile

import pypianoroll
import pytest
import symusic
import torch

from musegan import cli, requests, resources, sampling
from musegan.data.piece import read_pieces
from musegan.data.sources import Source
from musegan.export import write_midi
from musegan.keys import pitch_class_weights
from musegan.models import Facts, Layout, load_generator, save_model
from musegan.models.generator import CALIBRATED
from musegan.requests import Request, make
from musegan.roll import PRESETS, RollSpec
from musegan.sampling import sample
from tests.data.test_piece import midi
from tests.models.test_compact import pair
from tests.models.test_layout import random_roll
from tests.test_latents import Fixed

SPEC = RollSpec(PRESETS["lpd5"])
LAYOUT = Layout(SPEC, (12, 30, 30, 10, 30), (6, 24, 24, 20, 24), ("poly",) * 5)
FACTS = Facts((0.6, 2.4, 2.4, 2.0, 2.4), (1.0, 0.5, 0.5, 0.5, 0.5), (1,) * 12, 115.0)


def untrained(**settings):
    generator, _ = pair(LAYOUT, facts=FACTS, **settings)
    for name in set(CALIBRATED[:2]) & set(generator.state_dict()):
        getattr(generator, name).fill_(0.13)    # as if calibrated: some cells of an untrained model sound
    return generator.eval()


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("model")
    save_model(untrained(), folder)
    return folder


@pytest.fixture(scope="module")
def player(tmp_path_factory):
    folder = tmp_path_factory.mktemp("player")
    save_model(untrained(accompaniment=True), folder)
    return folder


@pytest.fixture
def no_pictures(monkeypatch):
    """Pictures take most of the time."""
    monkeypatch.setattr("musegan.generate.write_png", lambda path, *arguments, **options: path.write_bytes(b""))


def generate(*arguments):
    return cli.main(["generate", *map(str, arguments)])


def rolls(generator, **request):
    return [made.roll for made in make(generator, Request(**request), say=lambda line: None)]


def same(a, b):
    return all(torch.equal(x, y) for x, y in zip(a, b))


@pytest.mark.parametrize("change", [{"reroll": "guitar"}, {"vary": 0.8}])
def test_versions_of_a_piece_keep_its_form(change, monkeypatch):
    seen = []

    def render(model, z, *arguments):
        seen.append(z)
        return sampling.render(model, z, *arguments)

    monkeypatch.setattr(requests, "render", render)
    first, second = rolls(untrained(), n=2, bars=9, form="ABA", **change)
    (z,) = seen    # [2, rows, 2, 9, Z]
    assert torch.equal(z[:, :, :, :3], z[:, :, :, 6:]) and not torch.equal(z[:, :, :, :3], z[:, :, :, 3:6])
    assert not torch.equal(z[0], z[1]) and not same(first, second)


def test_samples_of_a_seed_by_number():
    generator = untrained()
    expected = sample(generator, 5, 7).phrases()
    assert all(map(same, rolls(generator, n=5, seed=7), expected))
    assert all(map(same, rolls(generator, n=2, seed=7, sample=3), expected[3:]))


def test_a_reroll_leaves_the_other_tracks_to_the_bit():
    generator = untrained()
    (original,) = rolls(generator, n=1, seed=7, sample=2)
    new = rolls(generator, n=4, seed=7, sample=2, reroll="guitar")
    for phrase in new:
        assert same([plane[[0, 1, 3, 4]] for plane in phrase], [plane[[0, 1, 3, 4]] for plane in original])
    assert len({phrase.frame[2].numpy().tobytes() for phrase in [original, *new]}) == 5


def test_variations_move_away_as_far_as_they_are_told():
    generator = untrained()
    (original,) = rolls(generator, n=1, sample=2)
    assert same(rolls(generator, n=1, sample=2, vary=0.0)[0], original)
    near, far = (sum(int((made.frame ^ original.frame).sum()) for made in rolls(generator, n=6, sample=2, vary=amount))
                 for amount in (0.1, 1.0))
    assert 0 < near < far


@pytest.mark.parametrize("bars", [None, 6])
def test_an_interpolation_ends_in_the_two_samples(bars):
    generator = untrained()
    ends = [rolls(generator, n=1, seed=seed, sample=1, bars=bars)[0] for seed in (0, 9)]
    steps = rolls(generator, n=5, seed=0, interpolate=9, sample=1, bars=bars)
    assert len(steps) == 5 and same(steps[0], ends[0]) and same(steps[-1], ends[1])
    assert not same(steps[1], steps[2])


def test_versions_do_not_depend_on_the_batch(monkeypatch):
    asked = [{"reroll": "bass"}, {"vary": 0.5}, {"interpolate": 3}, {"bars": 5}]
    generator = untrained()
    whole = [rolls(generator, n=5, **each) for each in asked]
    monkeypatch.setattr(requests, "_BATCH", 2)
    for each, before in zip(asked, whole):
        assert all(map(same, rolls(generator, n=5, **each), before)), each


def test_sections_that_come_back_sound_alike():
    """But for the bar before and after another one: there, notes lead over."""
    (made,) = rolls(untrained(), n=1, bars=24, form="AABA")
    sections = [section[:, 1:-1] for section in made.frame.split(6, dim=1)]
    assert torch.equal(sections[0], sections[1]) and torch.equal(sections[0], sections[3])
    assert not torch.equal(sections[0], sections[2])
    assert rolls(untrained(), n=1, form="ABC")[0].frame.shape[1] == 6    # phrases of two bars


def test_bars_between_phrases_are_no_more_silent_than_others():
    pieces = rolls(untrained(), n=12, bars=32)
    silent = torch.stack([~made.frame.flatten(2).any(2) for made in pieces]).float()    # [N, K, B]
    first, last = silent[..., ::2].mean(), silent[..., 1::2].mean()
    phrases = torch.stack([~made.frame.flatten(2).any(2) for made in rolls(untrained(), n=192)]).float().mean()
    assert max(first, last) <= phrases + 0.02


def test_truncation_makes_phrases_alike():
    generator = untrained()
    drawn, typical = ([made.frame for made in rolls(generator, n=4, truncation=psi)] for psi in (1.0, 0.0))
    home = [frame[0] for frame in typical]    # drums, which no key moves
    assert all(torch.equal(home[0], other) for other in home) and not torch.equal(drawn[0][0], drawn[1][0])


def test_files_of_a_piece_in_a_key(model, tmp_path, capsys):
    options = ("--model", model, "--bars", 8, "--form", "AB", "--key", "F#m", "--in-scale", "--n", 1, "--out", tmp_path,
               "--max-pitches", "piano=2")
    assert generate(*options) == 0
    assert "1 piece of 8 bars at 115 bpm" in capsys.readouterr().out
    assert {path.name for path in tmp_path.iterdir()} == {
        "samples.png", "request.json", "sample-000.mid", "sample-000.npz", "sample-000.png"}
    (piece,) = read_pieces(Source("a", str(tmp_path / "sample-000.mid")), SPEC)
    classes = pitch_class_weights(piece.roll.frame, SPEC)[0].nonzero().flatten().tolist()
    assert len(classes) > 4 and set(classes) <= {6, 8, 9, 11, 1, 2, 4}    # F# G# A B C# D E
    assert piece.roll.frame[0, 1].sum(-1).max() <= 2
    assert len(pypianoroll.load(tmp_path / "sample-000.npz").tempo) == 8 * 4 * SPEC.multitrack_resolution


def test_the_request_is_kept_and_makes_the_same_again(model, tmp_path, no_pictures):
    for name in ("a", "b"):
        assert generate("--model", model, "--vary", 0.3, "--sample", 2, "--n", 2, "--seed", 5, "--out", tmp_path / name) == 0
    kept = json.loads((tmp_path / "a" / "request.json").read_text())
    assert kept["model"] == str(model) and len(kept["weights_sha256"]) == 64
    assert (kept["options"]["vary"], kept["options"]["seed"], kept["options"]["sample"]) == (0.3, 5, 2)
    assert kept["samples"] == [
        {"name": f"sample-00{i}", "seed": 5, "sample": 2, "version": i, "bars": 2, "tempo_bpm": 115} for i in range(2)]
    for name in ("request.json", "sample-001.mid"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def song(path, tracks=("drums", "bass"), bars=5, tempo=97.0):
    """A file of some of the model's tracks."""
    (phrase,) = random_roll(SPEC, n=1, bars=bars, density=0.02, seed=len(tracks)).phrases()
    chosen = torch.tensor([track.name in tracks for track in SPEC.tracks])
    phrase = phrase.map(lambda plane: plane & chosen[:, None, None, None])
    write_midi(path, phrase, SPEC, tempo)


def read(path):
    return next(read_pieces(Source("a", str(path)), SPEC)).roll.map(lambda plane: plane[0])


@pytest.mark.parametrize("given, kept", [((), ["drums", "bass"]), (("--given", "bass"), ["bass"])])
def test_a_file_is_accompanied_whole(player, tmp_path, no_pictures, capsys, given, kept):
    song(tmp_path / "song.mid")
    phrase = read(tmp_path / "song.mid")
    out = tmp_path / "out"
    assert generate("--model", player, "--accompany", tmp_path / "song.mid", *given, "--n", 2, "--out", out) == 0
    screen = capsys.readouterr()
    assert "2 pieces of 5 bars at 97 bpm" in screen.out and "song.mid: 5 bars; given: " in screen.err
    assert ("not used: drums" in screen.err.replace("\n", " ")) == (kept == ["bass"])
    made = [read(out / f"sample-00{i}.mid") for i in range(2)]
    for k, track in enumerate(SPEC.tracks):
        for each in made:
            assert (track.name in kept) == same([plane[k] for plane in each], [plane[k] for plane in phrase]), track.name
    assert not same(*made) and made[0].frame[1].any()
    score = symusic.Score(out / "sample-000.mid")
    assert score.tempos[0].qpm == pytest.approx(97, abs=0.01)


def test_silence_before_the_first_note_and_changes_of_tempo_stay(player, tmp_path, no_pictures):
    midi(tmp_path / "a.mid", [("x", 33, False, [(9, 1, 40), (18, 1, 41)])], tempos=((0, 100.0), (16, 150.0)))
    assert generate("--model", player, "--accompany", tmp_path / "a.mid", "--n", 1, "--out", tmp_path / "out") == 0
    score = symusic.Score(tmp_path / "out" / "sample-000.mid")
    assert [(tempo.time / 480, round(tempo.qpm)) for tempo in score.tempos] == [(0, 100), (16, 150)]
    (bass,) = (track for track in score.tracks if track.name == "bass")
    assert [note.time / 480 for note in bass.notes] == [9, 18]
    assert min(note.time for track in score.tracks for note in track.notes) >= 8 * 480
    assert generate("--model", player, "--accompany", tmp_path / "a.mid", "--n", 1, "--tempo", 80, "--out",
                    tmp_path / "b") == 0
    assert [round(tempo.qpm) for tempo in symusic.Score(tmp_path / "b" / "sample-000.mid").tempos] == [80]


def test_the_key_is_that_of_the_whole_file_unless_one_is_said(player, tmp_path, no_pictures, capsys):
    """The bass alone is in D major; with the piano, which is not kept, the file is in F major."""
    scale = [("bass", 33, False, [(k, 1, 38 + step) for k, step in enumerate((0, 4, 7, 0))]),
             ("piano", 0, False, [(k, 1, 53 + step) for k in range(4) for step in (0, 2, 4, 5, 7, 9, 11)])]
    midi(tmp_path / "f.mid", scale)
    outcomes = {}
    for key in ((), ("--key", "D"), ("--key", "b minor"), ("--key", "F")):
        options = "--accompany", tmp_path / "f.mid", "--given", "bass", "--n", 1, *key, "--overwrite", "--out", tmp_path / "out"
        assert generate("--model", player, *options) == 0
        told = capsys.readouterr().err
        assert f"key: {'D major / B minor' if key and key[1] != 'F' else 'F major / D minor'} (another: --key)" in told
        outcomes[key] = read(tmp_path / "out" / "sample-000.mid")
    assert same(outcomes["--key", "D"], outcomes["--key", "b minor"]) and same(outcomes[()], outcomes["--key", "F"])
    assert not same(outcomes[()], outcomes["--key", "D"])


def test_what_is_left_out_and_what_was_not_made_is_said(player, tmp_path, no_pictures, capsys):
    notes = [("bass", 33, False, [(0, 1, 43), (1, 4, 48), (5, 4, 43)])]
    midi(tmp_path / "song.mid", notes, ((0, 1, 4), (1, 4, 4)))
    options = "--model", player, "--accompany", tmp_path / "song.mid", "--n", 2, "--out", tmp_path / "out"
    assert generate(*options, "--max-pitches", "piano=0", "guitar=0") == 0
    screen = capsys.readouterr()
    assert "song.mid: 2 bars; " in screen.err and "2 pieces of 3 bars" in screen.out
    assert ("bar 1 is left out, a whole silent bar in its place: 1 quarter note in a bar, not 4") in screen.err
    silent = [line for line in screen.err.splitlines() if "no notes were made" in line]
    assert silent == [f"song.mid: no notes were made for {track}" for track in ("piano", "guitar")]


def test_given_tracks_with_commas_or_spaces(player, tmp_path, no_pictures, capsys):
    song(tmp_path / "song.mid", ("drums", "piano", "bass"), bars=1)
    for given in (("drums,bass",), ("drums", "bass"), ("drums,", "bass")):
        options = "--accompany", tmp_path / "song.mid", "--given", *given, "--n", 1, "--overwrite", "--out", tmp_path / "out"
        assert generate("--model", player, *options) == 0
        assert "not used: piano" in capsys.readouterr().err


def test_a_picture_of_long_pieces_shows_the_first(model, tmp_path, monkeypatch):
    drawn = []
    monkeypatch.setattr("musegan.generate.write_png",
                        lambda path, rolls, spec, **options: drawn.append((rolls, options)) or path.write_bytes(b""))
    monkeypatch.setattr("musegan.generate._N_LINES_SHOWN", 3)
    assert generate("--model", model, "--bars", 17, "--n", 2, "--out", tmp_path / "out") == 0
    rolls, options = drawn[-1]    # two lines each
    assert len(rolls) == 1 and options["titles"] == ["sample-000"]


def test_one_version_of_each_file_of_a_folder(player, tmp_path, no_pictures, capsys):
    songs = tmp_path / "songs"
    songs.mkdir()
    song(songs / "a.mid", bars=2), song(songs / "c.mid", bars=3)
    midi(songs / "b.mid", [("x", 33, False, [(0, 1, 40)])], ((0, 3, 4),))
    assert generate("--model", player, "--accompany", songs, "--out", tmp_path / "out") == 0
    screen = capsys.readouterr()
    assert "2 pieces of 2 to 3 bars" in screen.out and "left out b.mid: bar 1 has 3 quarter notes in a bar" in screen.err
    made = json.loads((tmp_path / "out" / "request.json").read_text())["samples"]
    assert [(each["file"], each["bars"]) for each in made] == [("a.mid", 2), ("c.mid", 3)]


@pytest.mark.parametrize("kind, n", [("file", requests.DEFAULT_N), ("folder", 1), ("zip", 1)])
def test_one_version_of_the_only_file_of_a_folder(player, tmp_path, kind, n):
    """As of one of many: what a command makes does not change with the second file."""
    path = {"file": tmp_path / "songs" / "a.mid", "folder": tmp_path / "songs", "zip": tmp_path / "songs.zip"}[kind]
    (tmp_path / "songs").mkdir()
    song(tmp_path / "songs" / "a.mid", bars=2)
    with zipfile.ZipFile(tmp_path / "songs.zip", "w") as archive:
        archive.write(tmp_path / "songs" / "a.mid", "a.mid")
    assert len(rolls(load_generator(player), accompany=path)) == n
    assert len(rolls(load_generator(player), accompany=path, n=2)) == 2


def test_a_file_of_one_unclear_track(player, tmp_path, no_pictures):
    midi(tmp_path / "hum.mid", [("", 0, False, [(k, 1, 40 + k) for k in range(8)])])
    options = "--model", player, "--accompany", tmp_path / "hum.mid", "--n", 1, "--overwrite", "--out", tmp_path / "out"
    assert generate(*options, "--as", "bass") == 0
    bass = next(track for track in symusic.Score(tmp_path / "out" / "sample-000.mid").tracks if track.name == "bass")
    assert [note.pitch for note in bass.notes] == list(range(40, 48))


def test_models_by_name(model, tmp_path, monkeypatch, capsys, no_pictures):
    def shipped(installed, in_source):
        return tmp_path / in_source

    monkeypatch.setattr(resources, "_folder", shipped)
    assert resources.model_names() == []    # no such folder
    assert generate("--model", "small", "--out", tmp_path / "out") == 1
    assert capsys.readouterr().err.rstrip().endswith("--model: no folder small")
    save_model(load_generator(model), tmp_path / "models" / "small")
    (tmp_path / "models" / "README.md").write_text("no model")
    assert resources.model_names() == ["small"] and resources.model_path("small") == tmp_path / "models" / "small"
    assert generate("--model", "small", "--n", 1, "--out", tmp_path / "out") == 0
    assert cli.main(["info"]) == 0
    assert "small" in capsys.readouterr().out
    assert generate("--model", "smal", "--out", tmp_path / "out") == 1
    assert "no folder smal; models that come with musegan: small" in capsys.readouterr().err
    with pytest.raises(Exception, match="no model 'smal' comes with musegan: there are small; did you mean 'small'"):
        resources.model_path("smal")


MISTAKES = [
    (["--n", 0], "--n must be at least 1"),
    (["--sample", -1], "--sample must be at least 0"),
    (["--sample", 10**15, "--sampling", "bernoulli"], "--sample must be at least 0, and at most 2147483647"),
    (["--max-pitches", 10**30], "max_pitches must be at least 0, and below 2^63"),
    (["--max-gap", 10**30], "max_gap_steps must be at least 0, and below 2^63"),
    (["--reroll", "flute"], "--reroll: the model has no track 'flute'; there are drums, piano"),
    (["--reroll", "bass", "--vary", 0.2], "--reroll and --vary are two ways to change a sample: choose one"),
    (["--vary", 0.2, "--interpolate", 1], "--vary and --interpolate are two ways"),
    (["--vary", 2], "--vary must lie in [0, 1]: got 2"),
    (["--interpolate", 1, "--n", 1], "--interpolate needs --n of 2 at least"),
    (["--truncation", 1.5], "--truncation must lie in [0, 1]: got 1.5"),
    (["--bars", 0], "1 to 1024 bars: got 0"),
    (["--bars", 9, "--form", "AABA"], "9 bars are no 4 sections of equal length"),
    (["--form", ""], "a form is a letter for each section, such as AABA: got ''"),
    (["--given", "bass"], "--given says what a file's tracks are: it needs --accompany"),
    (["--as", "bass"], "--as says what a file's tracks are: it needs --accompany"),
    (["--accompany", "song.mid"], "this model takes no given tracks; --model accompanist does"),
    (["--key", "H minor"], "no key 'H minor': write one as"),
    (["--density", 2, "--sampling", "bernoulli"], "threshold and density are for sampling by threshold"),
    (["--threshold", 0.3, "--sampling", "bernoulli"], "threshold and density are for sampling by threshold"),
    (["--max-pitches", 3, "piano=2"], "--max-pitches must be one number, or TRACK=N for some tracks: got 3 piano=2"),
    (["--max-pitches", "many"], "--max-pitches must be one number, or TRACK=N"),
    (["--max-pitches", "flute=2"], "max_pitches: no track 'flute'"),
    (["--max-pitches", "piano=2", "piano=3"], "--max-pitches says two numbers for one track: got piano=2 piano=3"),
    (["--min-steps", 0], "min_steps must be at least 1"),
]


@pytest.mark.parametrize("options, message", MISTAKES)
def test_mistakes_are_one_line_and_leave_nothing(model, tmp_path, capsys, options, message):
    assert generate("--model", model, "--out", tmp_path / "out", *options) == 1
    assert message in capsys.readouterr().err.splitlines()[-1]
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("options, message", [
    (["--accompany", "nowhere.mid"], "no such file or folder: nowhere.mid"),
    (["--given", "piano"], "song.mid: has no notes for piano (--given); it has some for drums, bass"),
    (["--given", ","], "--given names no track"),
    (["--given", "flute"], "--given: the model has no track 'flute'"),
    (["--as", "flute"], "--as: the model has no track 'flute'"),
    (["--bars", 3], "--bars does not go with --accompany: the file says the length"),
    (["--reroll", "bass"], "--reroll does not go with --accompany: it makes versions already"),
    (["--accompany", "waltz.mid"], "waltz.mid: bars 1 to 2 have 3 quarter notes in a bar, not 4: the model's metre is 4/4"),
    (["--accompany", "full.mid"], "full.mid: has notes for every track: say with --given which are kept"),
    (["--accompany", "long.mid"], "long.mid: has 1025 bars, more than 1024"),
    (["--accompany", "broken.mid"], "broken.mid: not a MIDI file"),
    (["--accompany", "empty.mid"], "empty.mid: has no notes"),
])
def test_files_that_cannot_be_accompanied(player, tmp_path, monkeypatch, capsys, options, message):
    monkeypatch.chdir(tmp_path)
    song(tmp_path / "song.mid")
    song(tmp_path / "full.mid", [track.name for track in SPEC.tracks])
    song(tmp_path / "empty.mid", [])
    midi(tmp_path / "waltz.mid", [("x", 33, False, [(0, 1, 40), (5, 1, 40)])], ((0, 3, 4),))
    midi(tmp_path / "long.mid", [("bass", 33, False, [(0, 1, 40), (4 * 1024, 1, 40)])])
    (tmp_path / "broken.mid").write_bytes(b"no music")
    first = [] if "--accompany" in options else ["--accompany", "song.mid"]
    assert generate("--model", player, "--out", "out", *first, *options) == 1
    assert message in capsys.readouterr().err.splitlines()[-1]
    assert not (tmp_path / "out").exists()


def test_a_model_of_fixed_length_makes_no_pieces():
    generator = untrained()
    generator.__class__ = Fixed
    with pytest.raises(Exception, match="makes phrases of 2 bars, no others .kind fixed"):
        rolls(generator, bars=8)
