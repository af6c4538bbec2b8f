"""The nearest phrase over all keys, against sets compared one by one."""

import math

import pytest
import torch

from musegan.keys import transpose
from musegan.metrics.music import Music
from musegan.metrics.originality import Index, near_duplicates, nearest_others
from musegan.ops import roll_from_notes
from musegan.roll import PRESETS, Roll, RollSpec, Track
from tests.models.test_layout import random_roll

SPEC = RollSpec((Track("drums", is_drum=True), Track("piano"), Track("bass", program=33)), n_pitches=30, lowest_pitch=40)
BARS = 2
DRUMS, PIANO, BASS = 0, 1, 2


def phrases(*lists):
    """One phrase of each list of (track, step, MIDI pitch); notes last a step."""
    table = [(i, track, pitch - 40, step, step + 1) for i, notes in enumerate(lists) for track, step, pitch in notes]
    table = torch.tensor(table, dtype=torch.int64).view(-1, 5)
    return Music(roll_from_notes(table, len(lists), 3, BARS, 16, 30), SPEC)


def cells(music):
    found = [set() for _ in range(music.n)]
    columns = (music.sample, music.track, music.start, music.pitch)
    for sample, *cell in zip(*(column.tolist() for column in columns)):
        found[sample].add(tuple(cell))
    return found


def by_sets(queries, corpus, query_groups=None, corpus_groups=None):
    """As the definition has it: each phrase, each move, each pair."""
    result = []
    for i, query in enumerate(cells(queries)):
        ranked = []
        for j, other in enumerate(cells(corpus)):
            if not query or query_groups is not None and query_groups[i] == corpus_groups[j]:
                continue
            for s in range(-12, 13):
                moved = {(k, t, p if SPEC.tracks[k].is_drum else p + s) for k, t, p in query}
                ranked.append((-len(moved & other) / len(moved | other), abs(s), s, j))
        result.append((-min(ranked)[0], min(ranked)[3], min(ranked)[2]) if ranked else (math.nan, -1, 0))
    return result


def check(found, expected):
    assert found.similarity.dtype == torch.float64
    similarity = torch.tensor([row[0] for row in expected], dtype=torch.float64)
    torch.testing.assert_close(found.similarity, similarity, rtol=0, atol=0, equal_nan=True)
    assert found.phrase.tolist() == [row[1] for row in expected]
    assert found.semitones.tolist() == [row[2] for row in expected]


def random_music(n, density, seed):
    """Chords, drums, a silent phrase in the middle and one that comes twice, in another key."""
    roll = random_roll(SPEC, n=n, bars=BARS, density=density, seed=seed)
    for plane in roll:
        plane[n // 2] = False
        plane[-1] = plane[0]
    moves = torch.zeros(n, dtype=torch.int64)
    moves[-1] = 3
    return Music(transpose(roll, moves, SPEC), SPEC)


@pytest.mark.parametrize("density", [0.003, 0.02, 0.2])    # few notes have equals, many make chords
def test_sets_say_the_same(density):
    queries, corpus = random_music(6, density, seed=1), [random_music(n, density, seed=n) for n in (9, 1, 8)]
    all_of_it = Music(Roll(*(torch.cat(planes) for planes in zip(*(chunk.roll for chunk in corpus)))), SPEC)
    check(Index.of(corpus).nearest(queries), by_sets(queries, all_of_it))
    groups, own = torch.arange(18) % 3, torch.tensor([0, 1, 2, 0, 1, 7])
    expected = by_sets(queries, all_of_it, own.tolist(), groups.tolist())
    check(Index.of(corpus, groups).nearest(queries, own), expected)


def test_sets_say_the_same_within_a_set():
    music = random_music(10, 0.02, seed=3)
    found = nearest_others([music])
    check(found, by_sets(music, music, range(10), range(10)))
    assert (found.phrase[0], found.phrase[9], found.semitones[0]) == (9, 0, 3)


def test_a_phrase_is_found_in_another_key():
    tune = [(PIANO, 0, 50), (PIANO, 4, 54), (PIANO, 4, 57), (BASS, 0, 45), (DRUMS, 0, 45)]
    moved = [(k, t, p if k == DRUMS else p + 5) for k, t, p in tune]
    other = [(PIANO, 1, 50), (BASS, 2, 45)]
    found = Index.of([phrases(other, moved)]).nearest(phrases(tune))
    assert (found.similarity.item(), found.phrase.item(), found.semitones.item()) == (1, 1, 5)


def test_an_octave_is_the_farthest():
    for semitones, expected in ((12, 1), (-12, 1), (13, 0), (-13, 0)):
        index = Index.of([phrases([(PIANO, 0, 55 + semitones)])])
        assert index.nearest(phrases([(PIANO, 0, 55)])).similarity.item() == expected


def test_more_than_255_notes_are_counted():
    full = phrases([(k, step, pitch) for k in (DRUMS, PIANO) for step in range(32) for pitch in range(45, 60)])
    check(Index.of([full]).nearest(full), [(1, 0, 0)])


def test_drums_never_move():
    beat = [(DRUMS, 0, 45), (DRUMS, 4, 48)]
    assert Index.of([phrases([(k, t, p + 2) for k, t, p in beat])]).nearest(phrases(beat)).similarity.item() == 0
    # They stay where they are when the rest moves: the two drum notes and the one of the piano are shared.
    found = Index.of([phrases([*beat, (PIANO, 0, 57)])]).nearest(phrases([*beat, (PIANO, 0, 50)]))
    assert (found.similarity.item(), found.semitones.item()) == (1, 7)


def test_half_a_copy_counts_by_hand():
    tune = [(PIANO, step, 50 + step) for step in range(8)]
    half = [(PIANO, step, 52 + step) for step in range(4)] + [(BASS, step, 60) for step in range(4, 6)]
    found = Index.of([phrases(half)]).nearest(phrases(tune))
    assert found.similarity.item() == 4 / (8 + 6 - 4)
    assert found.semitones.item() == 2


def test_a_note_of_another_track_or_step_is_another_note():
    found = Index.of([phrases([(BASS, 3, 50), (PIANO, 4, 50)])]).nearest(phrases([(PIANO, 3, 50)]))
    assert (found.similarity.item(), found.phrase.item(), found.semitones.item()) == (0, 0, 0)


def test_of_equals_the_smallest_move_then_down_then_the_first():
    query = phrases([(PIANO, 0, 50)])
    corpus = [[(PIANO, 0, 50 + s)] for s in (3, 2, -2, -2, 1, 7)]
    found = Index.of([phrases(*corpus[:4])]).nearest(query)
    assert (found.phrase.item(), found.semitones.item()) == (2, -2)
    found = Index.of([phrases(*corpus)]).nearest(query)
    assert (found.phrase.item(), found.semitones.item()) == (4, 1)


def test_silence_has_no_nearest():
    tune, silence = [(PIANO, 0, 50)], []
    found = Index.of([phrases(silence, tune)]).nearest(phrases(silence, tune))
    check(found, [(math.nan, -1, 0), (1, 1, 0)])
    check(Index.of([phrases(silence)]).nearest(phrases(tune)), [(0, 0, 0)])
    check(Index.of([phrases()]).nearest(phrases(tune)), [(math.nan, -1, 0)])
    assert len(Index.of([phrases(tune)]).nearest(phrases()).phrase) == 0


def test_own_group_is_passed_over():
    tune, like = [(PIANO, 0, 50), (PIANO, 4, 52)], [(PIANO, 0, 50), (PIANO, 4, 53)]
    index = Index.of([phrases(tune), phrases(like)], torch.tensor([5, 9]))
    check(index.nearest(phrases(tune, tune, tune), torch.tensor([5, 9, 1])), [(1 / 3, 1, 0), (1, 0, 0), (1, 0, 0)])
    check(Index.of([phrases(tune)], torch.tensor([5])).nearest(phrases(tune), torch.tensor([5])), [(math.nan, -1, 0)])


def test_share_of_near_duplicates():
    tune = [(PIANO, step, 50 + step % 5) for step in range(19)]
    nearly = [*tune[:18], (PIANO, 18, 40)]    # 18 of 20 cells
    far, silence = [(BASS, 1, 60), (DRUMS, 3, 60)], []
    found = nearest_others([phrases(tune, far), phrases(silence), phrases(nearly)])
    assert found.phrase.tolist() == [3, 0, -1, 0]
    assert near_duplicates(found) == pytest.approx(2 / 3)
    assert near_duplicates(found, threshold=0.901) == 0
    assert math.isnan(near_duplicates(nearest_others([phrases(tune, nearly)], groups=torch.tensor([4, 4]))))
    assert math.isnan(near_duplicates(nearest_others([phrases(silence, silence)])))


def test_chunks_do_not_matter():
    music = random_music(9, 0.05, seed=5)
    parts = [Music(music.roll.map(lambda plane, part=part: plane[part]), SPEC) for part in (slice(0, 2), slice(2, 9))]
    for one, other in zip(nearest_others([music]), nearest_others(parts)):
        torch.testing.assert_close(one, other, rtol=0, atol=0, equal_nan=True)


def test_progress_counts_phrases():
    told = []
    parts = [phrases([(PIANO, 0, 50)], []), phrases([(PIANO, 0, 51)])]
    nearest_others(parts, progress=lambda done, total: told.append((done, total)))
    assert told == [(1, 3), (2, 3), (3, 3)]


def test_an_index_is_small():
    index = Index.of([random_music(20, 0.2, seed=0)])
    assert index.keys.nbytes == 4 * index.n_notes.sum()


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda music: Index.of([]), "must have a chunk"),
        (lambda music: Index.of([music], torch.zeros(3)), r"one for each of 1 phrases: got \[3\]"),
        (lambda music: Index.of([music]).nearest(music, torch.zeros(1)), "need a corpus with groups"),
        (lambda music: Index.of([music], torch.zeros(1)).nearest(music, torch.zeros(2)), "one for each of 1 phrases"),
        (lambda music: Index.of([music, other_tracks()]), "got 5 tracks of 32 steps"),
        (lambda music: Index.of([music]).nearest(other_tracks()), "the corpus has 3 of 32"),
    ],
)
def test_what_does_not_fit_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call(phrases([(PIANO, 0, 50)]))


def other_tracks():
    return Music(random_roll(RollSpec(PRESETS["lpd5"]), n=1, bars=2), RollSpec(PRESETS["lpd5"]))


def test_real_phrases_are_found_in_another_key(songs):
    starts = songs.phrase_starts(4)
    pieces = songs.piece_of(starts)
    corpus = [Music(songs.roll(part, 4), songs.spec) for part in starts.split(99)]
    index = Index.of(corpus, pieces)
    chosen = torch.linspace(0, len(starts) - 1, 40).long()
    moves = torch.arange(40) % 11 - 5
    moved = Music(songs.roll(starts[chosen], 4, moves), songs.spec)
    n_notes = torch.bincount(moved.sample, minlength=40)
    whole = (n_notes > 0) & (n_notes == torch.from_numpy(index.n_notes)[chosen])    # no note fell out of the range
    found = index.nearest(moved)
    assert (found.similarity[whole] == 1).all()
    own = whole & (found.phrase == chosen)    # a phrase that its song repeats is found where it comes first
    assert own.sum() > 20
    assert (found.semitones == -moves)[own].all()
    others = index.nearest(moved, pieces[chosen])
    assert (pieces[others.phrase] != pieces[chosen])[whole].all()
    assert others.similarity[whole].mean() < 0.5
