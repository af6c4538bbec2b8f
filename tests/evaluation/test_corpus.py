"""Sets of phrases: the right bars, of the right pieces, in a random order that the seed decides."""

import pytest
import torch

from musegan.data.dataset import PackedDataset
from musegan.data.packed import ShardWriter, read_pieces
from musegan.data.preparation import Rules, prepare
from musegan.data.tracks import PRESETS
from musegan.errors import UserError
from musegan.evaluation import corpus as corpora
from musegan.evaluation.corpus import CHUNK, Corpus
from musegan.ops import notes
from musegan.roll import Roll, RollSpec
from tests.data.songs import midi
from tests.evaluation.music import BAND
from tests.models.test_layout import random_roll


def keys(roll):
    return sorted(bytes(torch.cat([plane.flatten() for plane in phrase]).numpy()) for phrase in roll.phrases())


def test_it_holds_every_phrase_once(songs):
    corpus, starts = Corpus.of_dataset(songs, 4), songs.phrase_starts(4)
    assert keys(corpus.unpacked()) == keys(songs.roll(starts, 4))
    assert corpus.piece.bincount().tolist() == songs.piece_of(starts).bincount().tolist()


def test_a_phrase_keeps_its_piece(songs):
    corpus, starts = Corpus.of_dataset(songs, 4), songs.phrase_starts(4)
    for piece in range(len(songs.pieces)):
        own = starts[songs.piece_of(starts) == piece]
        assert keys(corpus.take(corpus.piece == piece).unpacked()) == keys(songs.roll(own, 4))


def test_pieces_can_be_chosen(songs):
    assert set(Corpus.of_dataset(songs, 2, pieces=[1, 4]).piece.tolist()) == {1, 4}


def test_the_seed_decides_order_and_choice(songs):
    first, again, other = (Corpus.of_dataset(songs, 4, limit=40, seed=seed) for seed in (1, 1, 2))
    assert len(first) == 40
    assert torch.equal(first.roll.onset, again.roll.onset) and torch.equal(first.piece, again.piece)
    assert keys(first.unpacked()) != keys(other.unpacked())


def test_quiet_phrases_can_be_left_out(songs):
    corpus = Corpus.of_dataset(songs, 4, min_tracks=5)
    every = songs.roll(songs.phrase_starts(4), 4)
    assert len(corpus) == int((every.frame.flatten(2).any(2).sum(1) >= 5).sum()) < len(every.frame)


@pytest.fixture(scope="module")
def chords(tmp_path_factory):
    """Two pieces, the second a tone higher: a chord over a bass of two bars, a tune above it in the second bar, then drums."""
    folder = tmp_path_factory.mktemp("chords")
    for up in (0, 2):
        drums = [(480 * beat, 120, 36) for beat in range(12)]
        piano = [(0, 960, pitch + up) for pitch in (60, 64, 67)] + [(0, 3840, 48 + up)]
        strings = [(2160, 480, 72 + up), (2640, 1200, 74 + up)]
        (folder / f"{up}.mid").write_bytes(midi([(0, True, drums), (0, False, piano), (48, False, strings)]))
    prepare([folder / "0.mid", folder / "2.mid"], folder / "dataset", Rules(PRESETS["lpd5"], min_tracks=1, duplicates="exact"))
    return PackedDataset.open(folder / "dataset")


@pytest.mark.parametrize("line, n_bars, lines", [
    ("lead", 1, [[(67, 0, 8)], [(48, 0, 2), (72, 2, 6), (74, 6, 16)]]),    # of each phrase by itself; no third one: it is silent
    ("lead", 3, [[(67, 0, 8), (72, 18, 22), (74, 22, 32)]]),
    ("piano", 2, [[(67, 0, 8)], [(48, 0, 16)]]),
    ("strings", 1, [[(72, 2, 6), (74, 6, 16)]]),
])
def test_one_line_by_hand(chords, line, n_bars, lines):
    corpus = Corpus.of_dataset(chords, n_bars, line=line)
    assert [track.name for track in corpus.spec.tracks] == [line]
    found = {0: [], 1: []}
    for piece, phrase in zip(corpus.piece.tolist(), corpus.unpacked().phrases()):
        table = notes(phrase.map(lambda plane: plane[None])) + torch.tensor([0, 0, corpus.spec.lowest_pitch - 2 * piece, 0, 0])
        found[piece].append([tuple(note) for note in table[:, 2:].tolist()])
    assert sorted(found[0]) == sorted(found[1]) == sorted(lines)
    assert len(Corpus.of_dataset(chords, n_bars, line=line, limit=1)) == 1


def test_a_line_that_there_is_not(chords):
    with pytest.raises(UserError, match="no pitched track named 'flute'; there are lead, piano"):
        Corpus.of_dataset(chords, 1, line="flute")


def test_shards_are_read_through(songs_folder, tmp_path):
    """A data set of many shards gives the same phrases."""
    whole = PackedDataset.open(songs_folder)
    for i, shard in enumerate(sorted(songs_folder.glob("shard-*"))):
        for j, piece in enumerate(read_pieces(shard)):
            part = tmp_path / "parts"
            part.mkdir(exist_ok=True)
            writer = ShardWriter(part, whole.spec, f"shard-{i:02d}{j:03d}")
            writer.add(piece)
            writer.close()
    parts = PackedDataset.open(tmp_path / "parts")
    assert len(list((tmp_path / "parts").iterdir())) == len(whole.pieces)
    assert keys(Corpus.of_dataset(parts, 4).unpacked()) == keys(Corpus.of_dataset(whole, 4).unpacked())


def test_a_roll_goes_in_and_out():
    roll = random_roll(BAND, n=5)
    corpus = Corpus.of_roll(roll, BAND)
    assert all(map(torch.equal, corpus.unpacked(), roll))
    assert corpus.n_pieces == len(corpus) == 5 and corpus.n_bars == roll.frame.shape[2]


def test_chunks_are_the_whole(songs):
    corpus = Corpus.of_dataset(songs, 4)
    assert len(corpus) > CHUNK
    parts = list(corpus.chunks())
    assert torch.equal(torch.cat([part.roll.frame for part in parts]), corpus.roll.frame)
    assert max(map(len, parts)) == CHUNK


def test_no_phrases_are_an_empty_corpus(songs):
    corpus = Corpus.of_dataset(songs, 100_000)
    assert len(corpus) == 0 and list(corpus.chunks()) == []


def test_a_roll_that_is_none_is_refused():
    roll = random_roll(BAND)
    with pytest.raises(ValueError, match="an onset must sound"):
        Corpus.of_roll(Roll(torch.zeros_like(roll.frame), roll.onset), BAND)


def test_no_more_of_a_data_set_is_read_than_is_wanted(songs, monkeypatch):
    read = []
    monkeypatch.setattr(corpora, "CHUNK", 8)
    monkeypatch.setattr(corpora, "_read", lambda *arguments, _read=corpora._read: read.append(1) or _read(*arguments))
    assert len(Corpus.of_dataset(songs, 4, limit=16)) == 16
    assert len(read) == 4    # two planes of two chunks


def test_chunks_of_large_phrases_are_small():
    bits = torch.zeros(20, 5, 64, 256, 11, dtype=torch.uint8)
    spec = RollSpec(BAND.tracks, steps_per_beat=64)
    parts = list(Corpus(Roll(bits, bits), torch.arange(20), spec).chunks())
    assert [len(part) for part in parts] == [9, 9, 2]    # 6.9 million cells each
