"""`cut_bars` against bars cut by hand, note by note, from its docstring; and the way through a multitrack."""

from fractions import Fraction
from math import ceil, floor

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from musegan.data.bars import cut_bars
from musegan.data.events import Notes, Signature, Song, TempoMap, bar_lines, round_half_up, steady_tempo
from musegan.data.pianorolls import from_multitrack, to_multitrack
from musegan.data.tracks import Feed, Preset, assign
from musegan.roll import RollSpec, Track
from tests.data.songs import song_of, unpacked

METRES = ((4, 4), (3, 4), (6, 8), (7, 8), (2, 2), (5, 4), (9, 8), (1, 4), (5, 16), (1, 16), (3, 32))


def cut_by_hand(song, preset, max_silence):
    """Kept bars, the sets of (bar, track, step, pitch index) of frame and onset, and the first and last bar that sounds."""
    spec, downbeats = preset.spec, song.downbeats.tolist()
    n_bars, ticks, steps = len(downbeats) - 1, song.ticks_per_quarter, spec.steps_per_quarter
    bar_ticks = Fraction(4 * spec.beats_per_bar, spec.beat_unit) * ticks
    lengths = [end - start for start, end in zip(downbeats, downbeats[1:])]
    fits = [length in (floor(bar_ticks), ceil(bar_ticks)) for length in lengths]
    fits.append(fits[-1])
    n_steps = [spec.steps_per_bar if fit else ceil(Fraction(length * steps, ticks)) for fit, length in zip(fits, lengths)]
    places = [(bar, step) for bar, count in enumerate([*n_steps, spec.steps_per_bar]) for step in range(count)]

    def index(tick):
        bar = max(b for b in range(n_bars + 1) if downbeats[b] <= tick)
        step = floor(Fraction((tick - downbeats[bar]) * steps, ticks) + Fraction(1, 2))
        return places.index((bar, step) if (bar, step) in places else (bar + 1, 0))

    place = assign(song.tracks, preset)
    frame, onset, onsets = set(), set(), []
    for track, start, end, pitch, _ in zip(*(column.tolist() for column in song.notes)):
        k, p = place[track], pitch - spec.lowest_pitch
        if k is None or not 0 <= p < spec.n_pitches:
            continue
        first = index(start)
        stop = first + 1 if spec.tracks[k].is_drum else max(index(end), first + 1)
        onsets.append((k, p, first))
        for i in range(first, stop):
            bar, step = places[i]
            frame.add((bar, k, step, p))
        onset.add((places[first][0], k, places[first][1], p))
    if not onsets:
        return [], frame, onset, 0, (0, -1)
    sounding = {bar for bar, *_ in frame}
    first, last = min(sounding), max(sounding)
    kept, silent = [], []
    for bar in range(first, last + 2):
        fit = bar <= last and fits[bar]
        if fit and bar not in sounding:
            silent.append(bar)
            continue
        if max_silence is None or len(silent) <= max_silence:
            kept += silent
        silent = []
        if fit:
            kept.append(bar)
    return kept, frame, onset, len(onsets) - len(set(onsets)), (first, last)


def mean_tempo(song, bar):
    """Quarter notes a minute of a bar, from its parts of one tempo each."""
    start, end = (int(tick) for tick in song.downbeats[bar : bar + 2])
    changes = [*song.tempo.tick.tolist(), 1 << 60]
    minutes = 0.0
    for a, b, bpm in zip(changes, changes[1:], song.tempo.bpm.tolist()):
        minutes += max(min(b, end) - max(a, start), 0) / song.ticks_per_quarter / bpm
    return (end - start) / song.ticks_per_quarter / minutes


@st.composite
def presets(draw):
    beats, unit = draw(st.sampled_from(METRES))
    per_quarter = draw(st.sampled_from([1, 2, 3, 4, 6, 8, 12]))
    steps_per_beat = max(per_quarter * 4 // unit, 1) if unit > 4 else per_quarter
    while steps_per_beat * unit % 4:
        steps_per_beat += 1
    lowest, n_pitches = draw(st.sampled_from([(0, 128), (24, 84), (58, 9), (60, 5), (62, 1)]))
    tracks = draw(st.lists(st.booleans(), min_size=1, max_size=3))
    spec = RollSpec(tuple(Track(str(k), is_drum=d) for k, d in enumerate(tracks)), steps_per_beat, beats, lowest,
                    n_pitches, unit)
    feeds = tuple(draw(st.sampled_from([Feed(), Feed(), Feed(order=1), Feed(order=2), Feed(programs=(0, 1))]))
                  for _ in tracks)
    return Preset(spec, feeds)


@st.composite
def songs(draw, preset, per_quarter=(1, 2, 24, 89, 96, 480)):
    ticks = draw(st.sampled_from(per_quarter))
    own = (preset.spec.beats_per_bar, preset.spec.beat_unit)
    signatures, tick = [], 0
    for metre in draw(st.lists(st.one_of(st.just(own), st.just(own), st.sampled_from(METRES)), max_size=3)) + [own]:
        signatures.append(Signature(tick, *metre))
        tick += draw(st.integers(0, 3)) * 4 * ticks * metre[0] // metre[1] + draw(st.sampled_from([0, 0, 1, ticks // 3]))
    tracks = tuple(Track("", draw(st.integers(0, 3)), draw(st.booleans())) for _ in range(draw(st.integers(2, 4))))
    reach = tick + 12 * ticks
    lines = bar_lines(tuple(signatures), reach, ticks)
    near = st.builds(lambda line, by: max(int(line) + by, 0), st.sampled_from(lines.tolist()),
                     st.integers(-ticks // 4, ticks // 4))
    tight = st.integers(0, 30).map(lambda step: step * ticks // 28)    # notes that follow each other closely
    start = st.one_of(tight, tight, near, st.integers(0, reach))
    length = st.one_of(tight, tight, st.integers(0, 6 * ticks))
    note = st.tuples(st.integers(0, len(tracks) - 1), start, length, st.sampled_from([60, 60, 60, 59, 62, 66]))
    notes = []
    for track, begin, first, pitch in draw(st.lists(note, min_size=1, max_size=6)):
        notes.append((track, begin, first, pitch))
        # Then the same pitch again: while it sounds, as it ends, or after a short rest.
        for rest, again in draw(st.lists(st.tuples(st.sampled_from([-(first // 2), 0, 0, 0, ticks // 28, ticks // 14]),
                                                   tight), max_size=3)):
            begin, first = max(begin + first + rest, 0), again
            notes.append((track, begin, first, pitch))
    table = np.array(sorted(notes))
    track, start, length, pitch = table.T
    last = max(int((start + length).max()), 1)
    tempo = TempoMap(np.array([0, 1 + draw(st.integers(0, last))]), np.array(draw(st.tuples(*[st.floats(20, 300)] * 2))))
    notes = Notes(track, start, start + length, pitch, np.full(len(table), 90))
    return Song(ticks, tracks, notes, tempo, bar_lines(tuple(signatures), last, ticks), tuple(signatures))


def with_notes_only(song):
    """The song without tracks that have no notes, as readers of MIDI give it."""
    used, track = np.unique(song.notes.track, return_inverse=True)
    tracks = tuple(song.tracks[k] for k in used)
    return Song(song.ticks_per_quarter, tracks, song.notes._replace(track=track), song.tempo, song.downbeats)


@given(st.data())
@settings(max_examples=150, deadline=None)
def test_bars_are_those_cut_by_hand(data):
    preset = data.draw(presets())
    song = data.draw(songs(preset))
    max_silence = data.draw(st.sampled_from([None, 0, 1, 2]))
    bars, spec = cut_bars(song, preset, max_silence), preset.spec
    kept, frame, onset, n_merged, (first, last) = cut_by_hand(with_notes_only(song), preset, max_silence)
    assert bars.bar_numbers.tolist() == kept
    for plane, wanted in ((bars.frame, frame), (bars.onset, onset)):
        assert plane.shape == (len(kept), spec.n_tracks, spec.steps_per_bar, -(-spec.n_pitches // 8))
        found = np.argwhere(unpacked(plane, spec)).tolist()
        assert {(kept[row], *rest) for row, *rest in found} == {cell for cell in wanted if cell[0] in kept}
    assert np.array_equal(bars.sounding, unpacked(bars.frame, spec).any((2, 3)))
    assert bars.n_merged == n_merged
    assert bars.n_notes + sum(bars.dropped_notes.values()) == len(song.notes.start)
    assert bars.n_notes - bars.n_out_of_range == len([1 for _ in onset]) + n_merged
    runs = [[]]
    for bar in kept:
        if runs[-1] and bar != runs[-1][-1] + 1:
            runs.append([])
        runs[-1].append(bar)
    assert bars.run_offsets.tolist() == np.cumsum([0, *map(len, runs if kept else [])]).tolist()
    # Each bar from the first to the last that sounds is kept, or left out with a reason.
    n_bars = len(song.downbeats) - 1
    left_out = [bar - 1 for _, a, b in bars.rejected for bar in range(a, b + 1)]
    assert sorted([*kept, *left_out]) == [bar for bar in range(first, last + 1) if bar < n_bars or bar in kept]
    for bar, tempo in zip(kept, bars.tempo_bpm.tolist()):
        assert np.isclose(tempo, mean_tempo(song, min(bar, n_bars - 1)), rtol=1e-5)


def a_multitrack_holds(song, resolution):
    """Whether a multitrack of `resolution` fine steps loses nothing that bars are cut from.

    It does not where a bar line lies between two fine steps; where two notes of a pitch and track start in
    neighbouring fine steps (no step is left for the earlier), or one rests for a single fine step before the next (the
    mark of a note struck again); where the last bar is longer than the one before it, or than 4/4 if there is none; or,
    perhaps, where a note starts, rounded, at the end of the last bar. Tempo changes are put on fine steps.
    """
    if (song.downbeats * resolution % song.ticks_per_quarter).any():
        return False
    lines = song.downbeats * resolution // song.ticks_per_quarter
    lengths = [4 * resolution, *np.diff(lines)]    # before a bar that is the only one, from_multitrack takes 4/4
    if lengths[-1] > lengths[-2]:
        return False
    start, end = (round_half_up(ticks * resolution, song.ticks_per_quarter) for ticks in song.notes[1:3])
    if start.max() >= lines[-1]:
        return False
    is_drum = np.array([track.is_drum for track in song.tracks])[song.notes.track]
    end = np.where(is_drum, start + 1, np.maximum(end, start + 1))
    ends: dict[tuple[int, int], tuple[int, int]] = {}    # of a track and pitch: the latest start and end so far
    for track, pitch, a, b in sorted(zip(song.notes.track, song.notes.pitch, start, end)):
        before, until = ends.get((track, pitch), (a, b))
        if a - before == 1 or a - until == 1:
            return False
        ends[track, pitch] = (a, max(b, until))
    return True


@given(st.data())
@settings(max_examples=60, deadline=None)
def test_bars_are_the_same_through_a_multitrack_that_holds_the_song(data):
    preset = data.draw(presets())
    song = data.draw(songs(preset, per_quarter=(24, 96, 480)))
    song = Song(song.ticks_per_quarter, song.tracks, song.notes, steady_tempo(97.0), song.downbeats)
    resolution = preset.spec.multitrack_resolution
    assume(a_multitrack_holds(song, resolution))
    max_silence = data.draw(st.sampled_from([None, 1]))
    direct = cut_bars(song, preset, max_silence)
    through = cut_bars(from_multitrack(to_multitrack(song, resolution)), preset, max_silence)
    for name in ("frame", "onset", "bar_numbers", "sounding"):
        assert np.array_equal(getattr(direct, name), getattr(through, name)), name
    assert np.allclose(direct.tempo_bpm, through.tempo_bpm)
    assert direct.rejected == through.rejected and direct.dropped_notes.keys() == through.dropped_notes.keys()


# At 28 ticks in a quarter note a tick is a fine step, and seven are a step. Notes of one pitch, and bar lines.
NOT_HELD = {
    "starts in neighbouring fine steps, of two steps": ([(0, 10), (10, 50), (11, 60)], [0, 112]),
    "a rest of one fine step": ([(0, 10), (11, 60)], [0, 112]),
    "a last bar that is longer than the one before": ([(0, 10), (100, 190)], [0, 84, 196]),
    "an only bar that is longer than 4/4": ([(0, 130)], [0, 140]),
}


@pytest.mark.parametrize("name", NOT_HELD)
def test_what_a_multitrack_does_not_hold(name):
    notes, downbeats = NOT_HELD[name]
    beats = 5 if downbeats == [0, 140] else 4
    preset = Preset(RollSpec((Track("all"),), beats_per_bar=beats, lowest_pitch=60, n_pitches=1), (Feed(),))
    song = song_of((Track(""),), [(0, start, end, 60) for start, end in notes], downbeats, ticks_per_quarter=28)
    assert preset.spec.multitrack_resolution == 28 and not a_multitrack_holds(song, 28)
    direct, through = (cut_bars(each, preset) for each in (song, from_multitrack(to_multitrack(song, 28))))
    assert not (np.array_equal(direct.frame, through.frame) and np.array_equal(direct.onset, through.onset))
