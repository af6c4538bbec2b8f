"""Counts of a data set that was made by hand, and the same counts taken another way."""

import numpy as np
import pytest
import torch

from musegan.data.dataset import PackedDataset
from musegan.data.preparation import Rules, prepare
from musegan.data.statistics import PHRASE_BARS, count, examples, runs
from musegan.data.tracks import PRESETS
from tests.data.songs import midi

BAR = 1920
C1 = 24    # the spec's lowest pitch
# Six bars; the third is in 3/4 and left out, so that there are runs of two and of three bars.
SIGNATURES = ((0, 4, 4), (2 * BAR, 3, 4), (2 * BAR + 1440, 4, 4))
LATER = 2 * BAR + 1440
PIANO = [(0, 480, 60), (480, 240, 64), (BAR, 120, 60), (LATER, 2 * BAR, 67), (LATER + 2 * BAR, 1920, 60)]
KICKS = [(0, 10, 36), (960, 10, 36), (LATER, 10, 36)]


@pytest.fixture
def made(tmp_path):
    (tmp_path / "one.mid").write_bytes(midi([(0, False, PIANO), (0, True, KICKS)], signatures=SIGNATURES))
    prepare([tmp_path / "one.mid"], tmp_path / "set", Rules(PRESETS["lpd5"]))
    return PackedDataset.open(tmp_path / "set")


def nonzero(counts: np.ndarray) -> dict[int, int]:
    return {int(i): int(counts[i]) for i in np.flatnonzero(counts)}


def test_hand_counts(made):
    found = count(made)
    drums, piano = 0, 1
    assert (found.n_bars, found.every) == (5, 1)
    assert nonzero(found.pitches[drums]) == {36 - C1: 3}
    assert nonzero(found.pitches[piano]) == {60 - C1: 3, 64 - C1: 1, 67 - C1: 1}
    assert nonzero(found.onset_steps[drums]) == {0: 2, 8: 1}
    assert nonzero(found.onset_steps[piano]) == {0: 4, 4: 1}
    # A sixteenth, an eighth, a quarter, a bar, and two bars, which are longer than one.
    assert nonzero(found.lengths[piano]) == {0: 1, 1: 1, 3: 1, 15: 1, 16: 1}
    assert nonzero(found.notes_in_bar[drums]) == {1: 1, 2: 1}
    assert nonzero(found.notes_in_bar[piano]) == {0: 1, 1: 3, 2: 1}
    assert not found.pitches[2:].any() and not found.sounding_tracks.any()    # no run has four bars


def test_runs_and_their_bar_numbers(made):
    starts, n_bars = runs(made)
    assert (starts.tolist(), n_bars.tolist()) == ([0, 2], [2, 3])
    assert made.bar_numbers(torch.arange(5)).tolist() == [0, 1, 3, 4, 5]


def test_examples_are_shorter_where_no_run_is_long_enough(made):
    starts, n_bars = examples(made, 8)
    assert (starts.tolist(), n_bars) == ([2], 3)


def test_real_music_counted_by_its_planes(songs):
    found, spec = count(songs), songs.spec
    assert found.n_bars == songs.n_bars
    phrases = songs.roll(songs.phrase_starts(PHRASE_BARS), PHRASE_BARS)
    sounding = phrases.frame.flatten(2).any(2).sum(1)
    assert found.sounding_tracks.tolist() == torch.bincount(sounding, minlength=spec.n_tracks + 1).tolist()
    bars = songs.roll(songs.phrase_starts(1), 1)
    assert found.notes_in_bar.sum(1).tolist() == bars.frame.flatten(2).any(2).sum(0).tolist()
    # Each note is an onset but where a run begins within it.
    onsets = bars.onset.sum((0, 2, 3)).numpy()
    assert (found.pitches >= onsets).all() and found.pitches.sum() - onsets.sum() < 0.01 * onsets.sum()
    for counts in (found.onset_steps, found.lengths):
        assert counts.sum(1).tolist() == found.pitches.sum(1).tolist()


def test_a_sample_of_a_large_set_is_every_nth_run(songs):
    found = count(songs, max_bars=songs.n_bars // 3)
    starts, n_bars = runs(songs)
    assert found.every in (3, 4) and found.n_bars == int(n_bars[:: found.every].sum()) < songs.n_bars
    rows = torch.cat([torch.arange(start, start + n)
                      for start, n in zip(starts.tolist()[:: found.every], n_bars.tolist()[:: found.every])])
    sounding = songs.roll(rows, 1).frame.flatten(2).any(2).sum(0)
    assert found.notes_in_bar.sum(1).tolist() == sounding.tolist()


@pytest.mark.parametrize("n", [1, 3, 8, 20])
def test_examples_are_spread_over_the_pieces(songs, n):
    starts, n_bars = examples(songs, n)
    assert n_bars == PHRASE_BARS and torch.isin(starts, songs.phrase_starts(n_bars)).all()
    assert (starts.diff() >= n_bars).all()
    assert len(songs.piece_of(starts).unique()) == min(n, len(songs.pieces))
    assert n > 8 or len(starts) == n
