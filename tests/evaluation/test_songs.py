"""Generated music from files: every phrase as it lies in them, silence and repetition included."""

import pretty_midi
import pytest
import torch

from musegan import resources
from musegan.data.dataset import PackedDataset
from musegan.errors import UserError
from musegan.evaluation import songs
from musegan.evaluation.corpus import Corpus
from musegan.evaluation.songs import corpus_of_files
from musegan.export import write_midi, write_npz
from musegan.roll import PRESETS, Roll, RollSpec, Track
from tests.evaluation.music import BAND, DUO, scales
from tests.models.test_layout import random_roll


def written(folder, roll, spec, write=write_midi, suffix=".mid"):
    folder.mkdir(exist_ok=True)
    for i, phrase in enumerate(roll.phrases()):
        write(folder / f"sample-{i:03d}{suffix}", phrase, spec)
    return folder


def in_order(corpus):
    return corpus.take(corpus.piece.argsort())


@pytest.mark.parametrize("spec", [BAND, RollSpec(PRESETS["satb"], steps_per_beat=12), DUO], ids=["band", "satb", "own"])
def test_what_was_written_comes_back(spec, tmp_path):
    roll = random_roll(spec, n=6, density=0.01)
    roll.frame[2] = roll.onset[2] = False    # a silent phrase
    roll.frame[3, :, 0] = roll.onset[3, :, 0] = False    # silence before
    roll.frame[4, :, -1] = roll.onset[4, :, -1] = False    # and after
    roll.frame[5, 0] = roll.onset[5, 0] = False    # a silent track
    before = torch.nn.functional.pad(roll.frame.flatten(2, 3), (0, 0, 1, 0))[:, :, :-1].view_as(roll.frame)
    roll = Roll(roll.frame, roll.onset | roll.frame & ~before)
    corpus, rejected = corpus_of_files(written(tmp_path / "out", roll, spec), spec, roll.frame.shape[2])
    assert not rejected
    back = in_order(corpus).unpacked()
    assert torch.equal(back.onset, roll.onset) and torch.equal(back.frame, roll.frame)


def test_a_folder_of_two_forms_is_read_once(tmp_path):
    corpus = scales(n=12)
    folder = written(tmp_path / "out", corpus.unpacked(), DUO)
    written(folder, corpus.unpacked(), DUO, write_npz, ".npz")
    assert len(corpus_of_files(folder, DUO, 2)[0]) == 12
    for file in folder.glob("*.mid"):
        file.unlink()
    back, _ = corpus_of_files(folder, DUO, 2)
    assert torch.equal(in_order(back).roll.onset, corpus.roll.onset)


def test_the_same_phrase_twice_is_two(tmp_path):
    one = scales(n=1).unpacked()
    folder = written(tmp_path / "out", Roll(one.frame.repeat(5, 1, 1, 1, 1), one.onset.repeat(5, 1, 1, 1, 1)), DUO)
    assert len(corpus_of_files(folder, DUO, 2)[0]) == 5


def test_a_long_file_gives_every_run_of_bars(songs, tmp_path):
    roll = songs.roll(songs.phrase_starts(16)[:1], 16)
    corpus, _ = corpus_of_files(written(tmp_path / "out", roll, BAND), BAND, 4)
    assert len(corpus) == 13 and corpus.n_pieces == 1
    windows = {phrase.frame[:, :4].numpy().tobytes() for phrase in corpus.unpacked().phrases()}
    assert windows == {roll.frame[0, :, first : first + 4].contiguous().numpy().tobytes() for first in range(13)}


def test_foreign_names_go_by_instrument(tmp_path):
    song = pretty_midi.PrettyMIDI(initial_tempo=120)
    for program, is_drum, pitch in ((30, False, 52), (35, False, 40), (0, True, 36)):
        track = pretty_midi.Instrument(program, is_drum, name=f"my {program}")
        track.notes = [pretty_midi.Note(100, pitch, 0.5 * i, 0.5 * i + 0.5) for i in range(32)]
        song.instruments.append(track)
    song.write(str(tmp_path / "song.mid"))
    corpus, _ = corpus_of_files(tmp_path / "song.mid", BAND, 4)
    assert len(corpus) == 5    # eight bars
    assert corpus.unpacked().frame.any((0, 2, 3, 4)).tolist() == [True, False, True, True, False]
    with pytest.raises(UserError, match="none of its tracks is one of flute"):
        corpus_of_files(tmp_path / "song.mid", RollSpec((Track("flute", 73), Track("oboe", 68))), 4)


def test_what_cannot_be_read_is_named(tmp_path):
    folder = written(tmp_path / "out", scales(n=3).unpacked(), DUO)
    (folder / "broken.mid").write_bytes(b"MThd\0\0\0\6nonsense")
    corpus, rejected = corpus_of_files(folder, DUO, 2)
    assert len(corpus) == 3 and list(rejected) == ["broken.mid"]


def test_no_music_is_an_error(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="no music"):
        corpus_of_files(tmp_path / "empty", DUO, 2)
    with pytest.raises(UserError, match="no such file or folder"):
        corpus_of_files(tmp_path / "nowhere", DUO, 2)


def test_another_metre_is_an_error(tmp_path):
    waltz = RollSpec(DUO.tracks, beats_per_bar=3)
    folder = written(tmp_path / "out", random_roll(waltz, n=2), waltz)
    with pytest.raises(UserError, match="no phrases of 2 bars in .*3 quarter notes in a bar, not 4"):
        corpus_of_files(folder, DUO, 2)


def test_progress_and_a_limit(tmp_path):
    folder, told = written(tmp_path / "out", scales(n=12).unpacked(), DUO), []
    corpus, _ = corpus_of_files(folder, DUO, 2, limit=5, seed=1, progress=lambda done, total: told.append((done, total)))
    again, _ = corpus_of_files(folder, DUO, 2, limit=5, seed=1)
    assert len(corpus) == 5 and torch.equal(corpus.piece, again.piece)
    assert told == [(i, 12) for i in range(1, 13)]


def test_real_midi_measures_as_its_data_set(songs_folder, tmp_path):
    """The embedded files, cut here and by `prepare`, are the same bars."""
    dataset = PackedDataset.open(songs_folder)
    name = "phase1-e1m1"
    corpus, rejected = corpus_of_files(resources.dataset_path("freedoom") / f"{name}.mid", dataset.spec, 4)
    (index,) = [i for i, piece in enumerate(dataset.pieces) if name in piece]
    prepared = Corpus.of_dataset(dataset, 4, pieces=[index])
    sets = [{bytes(p.numpy().tobytes()) for p in c.roll.frame} for c in (corpus, prepared)]
    assert not rejected and sets[1] <= sets[0]


def test_no_more_phrases_are_held_than_twice_the_limit():
    drawn, held = songs._Draw(10, seed=0), []
    for piece in range(50):
        cells = torch.full((7, 2, 2, 16, 11), piece, dtype=torch.uint8)
        drawn.add(Roll(cells, cells), piece)
        held.append(sum(len(part[0]) for part in drawn._parts))
    roll, pieces = drawn.result()
    assert max(held) <= 20 and len(pieces) == 10 and len(set(pieces.tolist())) > 5
    assert torch.equal(roll.frame[:, 0, 0, 0, 0].long(), pieces)
