"""Music of a data set: the highest line, or all tracks, whole, in its key; windows that hold each note once."""

import numpy as np
import pytest
import torch

from musegan.data.dataset import PackedDataset
from musegan.data.preparation import Rules, prepare
from musegan.data.sequences import IGNORED, Passage, Windows, cut, read_passages, tracks_of, voices
from musegan.data.tracks import PRESETS
from musegan.errors import UserError
from musegan.roll import RollSpec, Track
from musegan.tokens import BEGIN, END, FIRST_PITCH, LineVocabulary, TrackVocabulary, vocabulary_of
from tests.data.songs import midi

T = 16


@pytest.fixture(scope="module")
def tunes(tmp_path_factory):
    """Two pieces of soprano and alto: quarter notes of a scale in D major, over whole notes; nobody sings tenor."""
    folder = tmp_path_factory.mktemp("tunes")
    files = []
    for i, n_bars in enumerate((3, 6)):
        scale = [74 + (0, 2, 4, 5, 7, 9, 11, 12)[(t + i) % 8] for t in range(4 * n_bars)]
        soprano = [(480 * t, 480, pitch) for t, pitch in enumerate(scale)]
        alto = [(1920 * b, 1920, 50 if b % 2 else 57) for b in range(n_bars)]
        files.append(folder / f"{i}.mid")
        files[-1].write_bytes(midi([(52, False, soprano), (52, False, alto)]))
    prepare(files, folder / "dataset", Rules(PRESETS["satb"], min_tracks=1, duplicates="exact"))
    return PackedDataset.open(folder / "dataset")


def test_a_track_or_all_of_them(tunes):
    soprano = read_passages(tunes, [0, 1], "soprano", normalize_key=False)
    assert [(line.n_bars, line.piece, len(line.notes)) for line in soprano] == [(3, 0, 12), (6, 1, 24)]
    assert soprano[0].notes[:3].tolist() == [[50, 0, 4], [52, 4, 8], [54, 8, 12]]    # 74 is 50 above the lowest, 24
    lead = read_passages(tunes, [0, 1], "lead", normalize_key=False)
    np.testing.assert_array_equal(lead[1].notes, soprano[1].notes)    # the alto begins beneath it
    assert len(read_passages(tunes, [0, 1], "alto", False)[1].notes) == 6
    assert read_passages(tunes, [0, 1], "tenor", False) == []
    assert tracks_of(tunes, "lead", "grid") == (Track("lead"),) and tracks_of(tunes, "bass", "events") == (Track("bass", 52),)
    with pytest.raises(UserError, match="data.track: no pitched track named 'flute'; there are lead, soprano, alto"):
        read_passages(tunes, [0], "flute", False)


def test_the_key_is_that_of_the_whole_piece(tunes):
    line, there = (read_passages(tunes, [1], "soprano", normalize)[0] for normalize in (True, False))
    assert (line.shift, there.shift) == (2, 0)    # D is two above C
    np.testing.assert_array_equal(line.notes + [2, 0, 0], there.notes)


def test_a_cut_note_starts_where_its_bars_do():
    line = Passage(np.array([[5, 10, 40], [7, 40, 50]]), 4, 0, 0)
    assert cut(line, 1, 2, T).notes.tolist() == [[5, 0, 24], [7, 24, 32]]
    assert cut(line, 0, 1, T).notes.tolist() == [[5, 10, 16]]
    assert line.notes.tolist() == [[5, 10, 40], [7, 40, 50]]


@pytest.mark.parametrize("encoding", ["grid", "events"])
def test_windows_hold_each_bar_once_or_start_at_each(encoding, tunes):
    vocabulary, lines = LineVocabulary(84, T, encoding), read_passages(tunes, [0, 1], "soprano", False)
    once, every = (Windows(lines, vocabulary, 4, every_bar) for every_bar in (False, True))
    assert (len(once), once.n_steps, once.n_notes) == (3, 9 * T, 36)    # bars 3, 4 + 2
    assert len(every) == 1 + 3
    rows = [row[:n].tolist() for row, n in zip(once.tokens, once.lengths)]
    assert [row[0] for row in rows] == [BEGIN] * 3 and [row[-1] == END for row in rows] == [True, False, True]
    np.testing.assert_array_equal(vocabulary.decode(rows[2]), cut(lines[1], 4, 2, T).notes)


def test_targets_are_the_next_tokens_and_what_is_filled_up_does_not_count(tunes):
    melodies = Windows(read_passages(tunes, [0, 1], "soprano", False), LineVocabulary(84, T, "grid"), 4, every_bar=False)
    given, targets = melodies.rows(torch.arange(3))
    counts = targets != IGNORED
    assert counts.sum(1).tolist() == [3 * T + 1, 4 * T, 2 * T + 1] and (given >= 0).all()
    assert torch.equal(given[0, 1 : 3 * T + 1], targets[0, : 3 * T])


def test_transposition_moves_pitches_alone_and_stays_within_them(tunes):
    melodies = Windows(read_passages(tunes, [0], "soprano", False), LineVocabulary(84, T, "events"), 4, every_bar=False)
    (plain, _), (up, _), (far, _) = (melodies.rows(torch.tensor([0]), torch.tensor([n])) for n in (0, 5, 100))
    is_pitch = (plain >= FIRST_PITCH) & (plain < FIRST_PITCH + 84)
    assert torch.equal(up, plain + 5 * is_pitch)
    assert far[is_pitch].max() == FIRST_PITCH + 83
    assert torch.equal(far, plain + (far - plain).max() * is_pitch)    # all as far as the highest may


def test_batches_depend_on_seed_and_step_and_pass_through_all(tunes):
    melodies = Windows(read_passages(tunes, [0, 1], "soprano", False), LineVocabulary(84, T, "grid"), 2, every_bar=True)
    n = len(melodies)
    assert n == 2 + 5
    for one, other in zip(melodies.batch(3, 7, 4, 6), melodies.batch(3, 7, 4, 6)):
        assert torch.equal(one, other)
    assert not torch.equal(melodies.batch(3, 7, 4, 6)[0], melodies.batch(3, 8, 4, 6)[0])
    epoch = [tuple(row.tolist()) for step in range(n) for row in melodies.batch(step, 0, 1)[1]]
    assert sorted(epoch) == sorted(tuple(melodies.rows(torch.tensor([i]))[1][0].tolist()) for i in range(n))


def test_all_notes_of_all_tracks(tunes):
    """The alto's whole notes beside the soprano, as rows of voices; of one track alone, all its notes."""
    everything, alto = (read_passages(tunes, [1], name, False, "tracks")[0].notes for name in ("all", "alto"))
    (soprano,) = read_passages(tunes, [1], "soprano", False)
    is_soprano = everything[:, 0] < 84
    np.testing.assert_array_equal(everything[is_soprano], soprano.notes)
    np.testing.assert_array_equal(everything[~is_soprano] - [84, 0, 0], alto)
    assert alto.tolist() == [[50 - 24 if bar % 2 else 57 - 24, T * bar, T * bar + T] for bar in range(6)]
    assert tracks_of(tunes, "all", "tracks") == tunes.spec.tracks
    in_c = read_passages(tunes, [1], "all", True, "tracks")[0]
    np.testing.assert_array_equal(in_c.notes, everything - [2, 0, 0])


def test_voices_move_but_for_drums():
    table = np.array([[0, 5, 0, 1], [1, 5, 0, 4], [1, 81, 2, 4]])
    spec = RollSpec((Track("drums", is_drum=True), Track("piano")))
    assert voices(table, spec).tolist() == [[5, 0, 1], [84 + 5, 0, 4], [84 + 81, 2, 4]]
    assert voices(table, spec, 3).tolist() == [[5, 0, 1], [84 + 8, 0, 4]]    # what leaves the pitches is left out


def test_a_song_of_a_band_comes_back_from_its_tokens(songs):
    """Each bar of embedded music is in one window, whose tokens say what the data set has."""
    passages = read_passages(songs, range(len(songs.pieces)), "all", False, "tracks")
    vocabulary = vocabulary_of("tracks", songs.spec)
    windows = Windows(passages, vocabulary, 4, every_bar=False)
    for i, (tokens, length) in enumerate(zip(windows.tokens, windows.lengths)):
        notes = vocabulary.decode(tokens[:length].numpy())
        assert len(notes) and notes[:, 2].max() <= 4 * T
    assert windows.n_notes == sum(len(vocabulary.decode(row[:n].numpy())) for row, n in zip(windows.tokens, windows.lengths))
    first = passages[0]
    again = vocabulary.decode(vocabulary.encode(first.notes, first.n_bars * T))
    assert sorted(map(tuple, again.tolist())) == sorted(map(tuple, first.notes.tolist()))


def test_transposition_leaves_drums():
    spec = RollSpec((Track("drums", is_drum=True), Track("piano"), Track("bass", 33)))
    vocabulary = TrackVocabulary(84, T, (True, False, False))
    table = np.array([[0, 5, 0, 1], [1, 60, 0, 4], [2, 20, 4, 8], [0, 80, 8, 9]])
    band, alone = (Windows([Passage(voices(rows, spec), 1, 0, 0)], vocabulary, 1, every_bar=False)
                   for rows in (table, table[[0, 3]]))
    for semitones, moved in ((7, 7), (-30, -20), (30, 23)):    # as far as the lowest and the highest pitch may
        (tokens, _), n = band.rows(torch.tensor([0]), torch.tensor([semitones])), int(band.lengths[0])
        wanted = voices(table, spec, moved)
        assert sorted(map(tuple, vocabulary.decode(tokens[0, :n].numpy()))) == sorted(map(tuple, wanted.tolist()))
    tokens, _ = alone.rows(torch.tensor([0]), torch.tensor([5]))
    assert torch.equal(tokens, alone.rows(torch.tensor([0]))[0])


def test_windows_of_like_length_come_together():
    """Of windows of many lengths, a batch is filled up less than batches of any windows are; all come once in an epoch."""
    vocabulary, rng = LineVocabulary(84, T, "events"), np.random.default_rng(0)
    passages = [Passage(np.array([[0, t, t + 1] for t in range(n)]), 4, 0, 0) for n in rng.integers(1, 60, 256)]
    windows = Windows(passages, vocabulary, 4, every_bar=False)
    share = [float((windows.batch(step, 0, 8)[1] != IGNORED).double().mean()) for step in range(32)]
    anyhow = [float((windows.rows(index)[1] != IGNORED).double().mean()) for index in torch.randperm(256).split(8)]
    assert np.mean(share) > 0.9 > np.mean(anyhow)
    lengths = [(windows.batch(step, 0, 8)[1] != IGNORED).sum(1).tolist() for step in range(32)]
    assert sorted(sum(lengths, [])) == sorted((windows.lengths - 1).tolist())
