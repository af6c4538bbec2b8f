"""Melodies and their warping, against the table of sums written from the definition."""

import math
import random

from dtaidistance import dtw
import numpy as np
import pytest
import torch
from dtaidistance.exceptions import CythonException

from musegan.metrics.melody import MIN_NOTES, alignment, melodies, nearest_melody
from musegan.metrics.music import Music
from musegan.ops import roll_from_notes
from musegan.roll import RollSpec, Track

SPEC = RollSpec((Track("drums", is_drum=True), Track("piano"), Track("bass", program=33)), n_pitches=40, lowest_pitch=40)
TUNE = [60, 62, 64, 60, 67, 65, 64, 62]


def melody(*pitches):
    return np.array(pitches, dtype=np.float64)


def by_table(first, second):
    """Smallest sum over all warpings and the moves around where the centres meet, over the longer length."""
    centre = [sorted(set(side))[(len(set(side)) - 1) // 2] for side in (first, second)]
    sums = []
    for move in (-2, -1, 0, 1, 2):
        a = [pitch + centre[1] - centre[0] + move for pitch in first]
        table = [[math.inf] * (len(second) + 1) for _ in range(len(a) + 1)]
        table[0][0] = 0
        for i in range(len(a)):
            for j in range(len(second)):
                before = min(table[i][j], table[i][j + 1], table[i + 1][j])
                table[i + 1][j + 1] = abs(a[i] - second[j]) + before
        sums.append(table[-1][-1])
    return min(sums) / max(len(first), len(second))


def random_melodies(n, seed):
    rng = random.Random(seed)
    return [melody(*(rng.randint(50, 70) for _ in range(rng.randint(MIN_NOTES + 3, 20)))) for _ in range(n)]


def test_the_table_says_the_same():
    queries, corpus = random_melodies(40, seed=0), random_melodies(30, seed=1)    # more queries than go at once
    found = nearest_melody(queries, corpus)
    for i, query in enumerate(queries):
        expected = [by_table(query, other) for other in corpus]
        assert found.distance[i] == min(expected)
        assert found.melody[i] == expected.index(min(expected))
        assert alignment(query, corpus[found.melody[i]]).distance == min(expected)
        assert alignment(corpus[found.melody[i]], query).distance == min(expected)


@pytest.mark.parametrize(
    "same",
    [
        [pitch + 7 for pitch in TUNE],
        [pitch - 30 for pitch in TUNE],
        [pitch for pitch in TUNE for _ in range(2)],
        [pitch + 1 for i, pitch in enumerate(TUNE) for _ in range(1 + 3 * (i in (0, 4)))],
    ],
    ids=["up", "far down", "every note twice", "up, two notes repeated"],
)
def test_key_and_repeated_notes_do_not_matter(same):
    assert alignment(melody(*TUNE), melody(*same)).distance == 0
    assert nearest_melody([melody(*TUNE)], [melody(*TUNE[::-1]), melody(*same)]).melody.item() == 1


def test_one_other_note_counts_over_all_notes():
    other = [*TUNE[:4], 70, *TUNE[5:]]    # the median of the pitches stays 64
    assert alignment(melody(*TUNE), melody(*other)).distance == 3 / 8


def test_one_other_note_may_change_the_centre():
    other = [*TUNE[:4], 59, *TUNE[5:]]    # the median falls from 64 to 62
    found = alignment(melody(*TUNE), melody(*other))
    assert found.semitones == 0
    # 67 becomes 59: nearest to what stands before it, 60, it is one semitone away, and 67 two from 65.
    assert found.distance == 3 / 8


def test_another_melody_is_farther():
    assert alignment(melody(*TUNE), melody(*TUNE[::-1])).distance > 0
    assert alignment(melody(*TUNE), melody(60, 72, 60, 72, 60, 72, 60, 72)).distance > 1


def test_the_path_holds_the_same_notes_against_each_other():
    longer = [pitch + 5 for i, pitch in enumerate(TUNE) for _ in range(1 + (i == 2))]
    found = alignment(melody(*TUNE), melody(*longer))
    assert found.semitones == 5
    assert found.path.tolist() == [[0, 0], [1, 1], [2, 2], [2, 3], *([i, i + 1] for i in range(3, 8))]


def test_the_path_costs_the_distance():
    for first, second in zip(random_melodies(20, seed=2), random_melodies(20, seed=3)):
        found = alignment(first, second)
        i, j = found.path.T
        assert np.abs(first[i] + found.semitones - second[j]).sum() / max(len(first), len(second)) == found.distance
        assert found.path[0].tolist() == [0, 0]
        assert found.path[-1].tolist() == [len(first) - 1, len(second) - 1]
        assert set(map(tuple, np.diff(found.path, axis=0).tolist())) <= {(0, 1), (1, 0), (1, 1)}


def phrases(n, notes):
    table = torch.tensor([(sample, track, pitch - 40, start, end) for sample, track, pitch, start, end in notes])
    return Music(roll_from_notes(table.view(-1, 5), n, 3, 2, 16, 40), SPEC)


def test_a_melody_is_the_highest_note_that_starts():
    music = phrases(
        3,
        [
            (0, 1, 60, 0, 16), (0, 1, 64, 0, 2), (0, 1, 55, 4, 6), (0, 1, 55, 20, 22),    # chord; under a held note; bar 2
            (0, 2, 45, 2, 4), (0, 2, 70, 4, 6), (0, 0, 79, 0, 1), (0, 0, 79, 8, 9),
            (2, 2, 50, 31, 32),
        ],
    )
    assert [list(m) for m in melodies(music)] == [[64, 45, 70, 55], [], [50]]
    assert [list(m) for m in melodies(music, 1)] == [[64, 55, 55], [], []]
    assert [list(m) for m in melodies(music, 2)] == [[45, 70], [], [50]]
    assert all(m.dtype == np.float64 for m in melodies(music))


@pytest.mark.parametrize("track", [0, -1, 3])
def test_drums_have_no_melody(track):
    with pytest.raises(ValueError, match=rf"pitched one, of \[1, 2\]: got {track}"):
        melodies(phrases(1, [(0, 0, 60, 0, 1)]), track)


def test_short_melodies_are_left_out():
    short, long = melody(60, 60, 62, 62, 60, 60), melody(60, 62, 60, 62)
    found = nearest_melody([short, long, melody()], [short, melody(), long])
    torch.testing.assert_close(found.distance, torch.tensor([math.nan, 0, math.nan]).double(), equal_nan=True)
    assert found.melody.tolist() == [-1, 2, -1]
    assert nearest_melody([long], []).melody.tolist() == [-1]
    assert nearest_melody([], [long]).distance.shape == (0,)


def test_own_group_is_passed_over():
    tune, like, far = melody(*TUNE), melody(*TUNE[:4], 70, *TUNE[5:]), melody(*TUNE[::-1])
    corpus, groups = [far, tune, like], torch.tensor([3, 5, 9])
    found = nearest_melody([tune] * 3, corpus, torch.tensor([5, 9, 1]), groups)
    assert found.melody.tolist() == [2, 1, 1]
    assert found.distance.tolist() == [3 / 8, 0, 0]
    alone = nearest_melody([tune], [tune], torch.tensor([1]), torch.tensor([1]))
    assert alone.melody.item() == -1
    assert alone.distance.isnan().item()


def test_a_part_of_a_large_corpus_is_drawn():
    queries, corpus = random_melodies(30, seed=4), [melody(60), *random_melodies(25, seed=5)]
    groups = torch.full((30,), -1), torch.arange(26)
    one, again, other = (nearest_melody(queries, corpus, *groups, max_corpus=5, seed=seed) for seed in (0, 0, 1))
    assert torch.equal(one.melody, again.melody)
    assert torch.equal(one.distance, again.distance)
    assert len(one.melody.unique()) <= 5
    assert not torch.equal(one.melody, other.melody)
    for i in range(30):
        assert alignment(queries[i], corpus[one.melody[i]]).distance == one.distance[i]
    assert (nearest_melody(queries, corpus).distance <= one.distance).all()


def test_progress_counts_melodies():
    told = []
    queries = [melody(60), *random_melodies(40, seed=6)]
    nearest_melody(queries, random_melodies(2, seed=7), progress=lambda *numbers: told.append(numbers))
    assert told == [(32, 40), (40, 40)]


def test_what_does_not_fit_is_refused():
    one = [melody(*TUNE)]
    with pytest.raises(ValueError, match="or for neither"):
        nearest_melody(one, one, torch.tensor([1]))
    with pytest.raises(ValueError, match=r"corpus_groups must be one for each of 1 melodies: got \[2\]"):
        nearest_melody(one, one, torch.tensor([1]), torch.tensor([1, 2]))
    with pytest.raises(ValueError, match="must have notes: got 8 and 0"):
        alignment(one[0], melody())


def test_the_slow_library_never_takes_over(monkeypatch):
    monkeypatch.setattr(dtw, "dtw_cc", None)
    one = [melody(*TUNE)]
    with pytest.raises(CythonException, match="C library is not available"):
        nearest_melody(one, one)
    with pytest.raises(CythonException, match="C library is not available"):
        alignment(one[0], one[0])


def test_real_melodies_are_found_in_another_key(songs):
    starts = songs.phrase_starts(4)
    corpus = melodies(Music(songs.roll(starts, 4), songs.spec))
    chosen = [i for i in range(0, len(corpus), 9) if len(set(corpus[i])) > 4]
    assert len(chosen) > 10
    pieces = songs.piece_of(starts)
    found = nearest_melody([corpus[i] + 4 for i in chosen], corpus)
    assert (found.distance == 0).all()
    others = nearest_melody([corpus[i] + 4 for i in chosen], corpus, pieces[chosen], pieces)
    assert (pieces[others.melody] != pieces[chosen]).all()
    assert others.distance.median() > 0.3
