"""Note events, piano-rolls and packed bits of the same music: there and back, in any metre."""

import re
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pypianoroll
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from benchmarks.data import losses, reading
from musegan.data.bars import Bars, cut_bars
from musegan.data.events import Notes, Song, TempoMap, bar_lines, steady_tempo
from musegan.data.pianorolls import from_multitrack, to_multitrack
from musegan.data.midi import load_midi
from musegan.data.dataset import PackedDataset
from musegan.data.packed import pack, write_shard
from musegan.data.tracks import PRESETS, Feed, Preset
from musegan.export import write_npz
from musegan.export.midi import midi_bytes
from musegan.ops.bits import pack as pack_bits
from musegan.ops.notes import notes, roll_from_notes
from musegan.resources import dataset_path
from musegan.roll import Roll, RollSpec, Track, check_roll

METRES = [(4, 4), (3, 4), (5, 4), (1, 4), (6, 8), (7, 8), (9, 8), (2, 2), (3, 2)]
round_trip = settings(max_examples=60, deadline=None)


@st.composite
def presets(draw):
    """Any metre, grid and range of pitches; tracks are found again by their names."""
    beats, unit = draw(st.sampled_from(METRES))
    steps = draw(st.integers(1, 12).filter(lambda n: n * unit % 4 == 0))
    drums = draw(st.lists(st.booleans(), min_size=1, max_size=5))
    tracks = tuple(Track(f"track {k}", draw(st.integers(0, 127)), is_drum) for k, is_drum in enumerate(drums))
    n_pitches = draw(st.integers(1, 20) | st.just(84))
    lowest = draw(st.integers(0, 128 - n_pitches))
    spec = RollSpec(tracks, steps, beats, lowest, n_pitches, unit)
    return Preset(spec, tuple(Feed(names=(track.name,)) for track in tracks))


@st.composite
def music(draw):
    """A preset and a phrase [1, K, B, T, P] with a note at least."""
    preset = draw(presets())
    spec, n_bars = preset.spec, draw(st.integers(1, 3))
    n_steps = n_bars * spec.steps_per_bar
    # Few pitches, so that notes follow at once, overlap and are struck together.
    pitches = st.integers(0, min(spec.n_pitches, 3) - 1) | st.integers(0, spec.n_pitches - 1)
    starts = st.integers(0, min(n_steps, 10) - 1) | st.integers(0, n_steps - 1)
    note = st.tuples(st.just(0), st.integers(0, spec.n_tracks - 1), pitches, starts, st.integers(1, 5))
    rows = [
        [sample, track, pitch, start, start + 1 if spec.tracks[track].is_drum else min(start + length, n_steps)]
        for sample, track, pitch, start, length in draw(st.lists(note, min_size=1, max_size=40))
    ]
    shape = (1, spec.n_tracks, n_bars, spec.steps_per_bar, spec.n_pitches)
    roll = roll_from_notes(torch.tensor(rows), *shape)
    check_roll(roll, spec)
    return preset, roll


def song_of(roll: Roll, spec: RollSpec, ticks_per_step: int = 1) -> Song:
    """The note events of a phrase."""
    _, track, pitch, start, end = notes(roll).numpy().T
    n_steps = roll.frame.shape[2] * spec.steps_per_bar
    return Song(
        ticks_per_quarter=spec.steps_per_quarter * ticks_per_step,
        tracks=spec.tracks,
        notes=Notes(track, start * ticks_per_step, end * ticks_per_step, pitch + spec.lowest_pitch, 1 + start % 127),
        tempo=steady_tempo(97.0),
        downbeats=np.arange(0, n_steps + 1, spec.steps_per_bar) * ticks_per_step,
    )


def tells_its_bars(roll: Roll, spec: RollSpec) -> bool:
    """Whether a multitrack of the phrase does: pypianoroll's own mark step 0 alone, so one downbeat means 4/4."""
    return roll.frame.shape[2] > 1 or spec.quarters_per_bar <= 4


def roll_of(bars: Bars, like: Roll) -> Roll:
    """A phrase of cut bars, with the silent bars at its ends that cutting leaves out."""
    n_bars, n_pitches = like.frame.shape[2], like.frame.shape[-1]
    assert not bars.rejected and not bars.dropped_notes and not bars.n_out_of_range and not bars.n_merged

    def plane(packed: np.ndarray) -> torch.Tensor:
        bits = np.unpackbits(packed, axis=-1, count=n_pitches).astype(bool)    # [bars, K, T, P]
        whole = np.zeros((n_bars, *bits.shape[1:]), bool)
        whole[bars.bar_numbers] = bits
        return torch.from_numpy(whole).transpose(0, 1).unsqueeze(0)    # [1, K, B, T, P]

    return Roll(plane(bars.frame), plane(bars.onset))


def assert_equal(a: Roll, b: Roll) -> None:
    for one, other in zip(a, b):
        assert torch.equal(one, other)


@given(music(), st.floats(20, 300))
@round_trip
def test_roll_to_midi_to_roll(preset_and_roll, bpm):
    preset, roll = preset_and_roll
    song = load_midi(midi_bytes(roll.phrases()[0], preset.spec, tempo_bpm=bpm))
    bars = cut_bars(song, preset)
    assert_equal(roll_of(bars, roll), roll)
    assert bars.tempo_bpm == pytest.approx(bpm, rel=1e-4)
    again = roll_of(bars, roll).phrases()[0]
    assert midi_bytes(again, preset.spec, tempo_bpm=bpm) == midi_bytes(roll.phrases()[0], preset.spec, tempo_bpm=bpm)


@given(music(), st.integers(1, 480))
@round_trip
def test_roll_to_events_to_roll(preset_and_roll, ticks_per_step):
    preset, roll = preset_and_roll
    assert_equal(roll_of(cut_bars(song_of(roll, preset.spec, ticks_per_step), preset), roll), roll)


@given(music(), st.integers(2, 40), st.data())
@round_trip
def test_events_off_the_grid_go_to_the_nearest_step(preset_and_roll, ticks_per_step, data):
    """Onsets and releases may lie up to half a step early and just under half a step late."""
    preset, roll = preset_and_roll
    song = song_of(roll, preset.spec, ticks_per_step)
    early, late = ticks_per_step // 2, (ticks_per_step - 1) // 2
    shift = st.integers(-early, late)
    start, end = (
        np.maximum(ticks + np.array([data.draw(shift) for _ in ticks]), 0) for ticks in (song.notes.start, song.notes.end)
    )
    end = np.maximum(end, start)
    moved = replace(song, notes=song.notes._replace(start=start, end=end), downbeats=bar_lines_of(song, end))
    assert_equal(roll_of(cut_bars(moved, preset), roll), roll)


def bar_lines_of(song: Song, end: np.ndarray) -> np.ndarray:
    """Bars of the same length until the last release."""
    length = int(song.downbeats[1])
    return np.arange(0, max(int(end.max()), int(song.downbeats[-1])) + length, length)


@given(music())
@round_trip
def test_roll_to_notes_to_roll_as_bools_and_bits(preset_and_roll):
    _, roll = preset_and_roll
    shape, n_pitches = roll.frame.shape, roll.frame.shape[-1]
    assert_equal(roll_from_notes(notes(roll), *shape), roll)
    packed = roll.map(pack_bits)
    assert torch.equal(notes(packed, n_pitches), notes(roll))
    assert_equal(roll_from_notes(notes(roll), *shape, packed=True), packed)


@given(music())
@round_trip
def test_roll_to_packed_data_set_to_roll(preset_and_roll):
    preset, roll = preset_and_roll
    bars = cut_bars(song_of(roll, preset.spec), preset)
    with tempfile.TemporaryDirectory() as folder:
        write_shard(Path(folder, "shard-00000.safetensors"), preset.spec, [pack("a", [bars], preset.spec)])
        dataset = PackedDataset.open(folder)
        found = dataset.roll(torch.zeros(1, dtype=torch.int64), dataset.n_bars)
        assert dataset.spec == preset.spec
    sounding = slice(int(bars.bar_numbers[0]), int(bars.bar_numbers[-1]) + 1)
    assert_equal(found, roll.map(lambda plane: plane[:, :, sounding]))


@given(music())
@round_trip
def test_roll_to_multitrack_to_roll(preset_and_roll):
    """Through pypianoroll's frames alone: a note struck again at once is two, by the gap between."""
    preset, roll = preset_and_roll
    assume(tells_its_bars(roll, preset.spec))
    song = song_of(roll, preset.spec)
    multitrack = to_multitrack(song, preset.spec.multitrack_resolution)
    back = from_multitrack(multitrack)
    assert_equal(roll_of(cut_bars(back, preset), roll), roll)
    before, after = (n.take(np.lexsort((n.pitch, n.start, n.track))) for n in (song.notes, back.notes))
    assert np.array_equal(after.velocity, before.velocity)
    fine = preset.spec.multitrack_resolution // preset.spec.steps_per_quarter
    is_drum = np.array([track.is_drum for track in preset.spec.tracks])[before.track]
    assert np.array_equal(after.start, before.start * fine)
    assert np.array_equal(after.end, np.where(is_drum, after.start + 1, before.end * fine))
    assert back.tempo.bpm.tolist() == [97.0]


@given(music(), st.floats(20, 300))
@round_trip
def test_roll_to_npz_to_roll(preset_and_roll, bpm):
    preset, roll = preset_and_roll
    assume(tells_its_bars(roll, preset.spec))
    with tempfile.TemporaryDirectory() as folder:
        write_npz(Path(folder, "song.npz"), roll.phrases()[0], preset.spec, tempo_bpm=bpm)
        bars = cut_bars(from_multitrack(pypianoroll.load(Path(folder, "song.npz"))), preset)
    assert_equal(roll_of(bars, roll), roll)
    assert bars.tempo_bpm == pytest.approx(bpm, rel=1e-6)


# What each of them cannot hold: `docs/representations.md`.


def preset_of(is_drum: bool = False, steps_per_beat: int = 4) -> Preset:
    return Preset(RollSpec((Track("part", is_drum=is_drum),), steps_per_beat), (Feed(),))


def song(*rows, is_drum=False, tracks=1, ticks=48) -> Song:
    """Rows of start and end in ticks, pitch, velocity, and track; a quarter note has 48 ticks."""
    start, end, pitch, velocity, track = np.array([(*row, *(90, 0)[len(row) - 3 :]) for row in rows]).T
    end_of_bars = bar_lines((), int(end.max()), ticks)
    parts = tuple(Track(f"part {k}", program=k, is_drum=is_drum) for k in range(tracks))
    return Song(ticks, parts, Notes(track, start, end, pitch, velocity), steady_tempo(), end_of_bars)


def cells(bars: Bars, pitch: int) -> tuple[list[int], list[int]]:
    """Steps of the first bars in which a pitch sounds, and in which it starts."""
    index = pitch - 24
    planes = (np.unpackbits(plane, axis=-1)[:, 0, :, index].ravel() for plane in (bars.frame, bars.onset))
    return tuple(np.flatnonzero(plane).tolist() for plane in planes)


def test_a_roll_does_not_tell_velocities():
    loud, soft = (cut_bars(song((0, 24, 60, velocity)), preset_of()) for velocity in (120, 3))
    assert np.array_equal(loud.frame, soft.frame) and np.array_equal(loud.onset, soft.onset)


def test_a_roll_joins_notes_that_start_in_one_step_and_pitch():
    bars = cut_bars(song((0, 24, 60), (5, 12, 60)), preset_of())
    assert cells(bars, 60) == ([0, 1], [0]) and bars.n_merged == 1
    assert cells(cut_bars(song((0, 24, 60), (5, 12, 60)), preset_of(steps_per_beat=12)), 60)[1] == [0, 1]


def test_a_roll_joins_notes_that_overlap_on_one_pitch_and_keeps_both_onsets():
    assert cells(cut_bars(song((0, 96, 60), (24, 48, 60)), preset_of()), 60) == (list(range(8)), [0, 2])
    # Which of the two ends first is lost.
    assert cells(cut_bars(song((0, 48, 60), (24, 96, 60)), preset_of()), 60) == (list(range(8)), [0, 2])


def test_a_roll_keeps_a_note_struck_again_at_once_and_a_frame_plane_alone_does_not():
    bars = cut_bars(song((0, 24, 60), (24, 48, 60)), preset_of())
    assert cells(bars, 60) == ([0, 1, 2, 3], [0, 2])
    frame = torch.from_numpy(np.unpackbits(bars.frame, axis=-1)).bool()[:, None, :, :, :84]
    assert len(notes(frame)) == 1


def test_a_roll_lengthens_short_notes_to_a_step_and_drums_are_a_step():
    assert cells(cut_bars(song((12, 13, 60)), preset_of()), 60) == ([1], [1])
    assert cells(cut_bars(song((12, 96, 60), is_drum=True), preset_of(is_drum=True)), 60) == ([1], [1])


def test_a_roll_joins_the_programs_that_feed_a_track():
    bars = cut_bars(song((0, 24, 60, 90, 0), (0, 48, 60, 90, 1), tracks=2), preset_of())
    assert cells(bars, 60) == ([0, 1, 2, 3], [0]) and bars.n_merged == 1


def test_a_roll_leaves_out_pitches_outside_its_range():
    """None comes back on the other side: 23 and 108 are next to the range."""
    bars = cut_bars(song((0, 24, 23), (0, 24, 108), (0, 12, 24), (0, 12, 107)), preset_of())
    bits = np.unpackbits(bars.frame, axis=-1)[0, 0, :, :84]
    assert bars.n_out_of_range == 2 and np.argwhere(bits).tolist() == [[0, 0], [0, 83]]


def test_packed_bars_keep_one_tempo_a_bar():
    """The quarter notes of the bar over its minutes: two at 120 and two at 60 last 3 seconds."""
    changing = song((0, 192, 60))
    tempo = TempoMap(np.array([0, 96]), np.array([120.0, 60.0]))
    assert cut_bars(replace(changing, tempo=tempo), preset_of()).tempo_bpm.tolist() == [80.0]


def test_a_multitrack_loses_a_note_of_one_step_that_is_struck_again_in_the_next():
    quick = song((0, 12, 60), (12, 24, 60))
    assert np.flatnonzero(to_multitrack(quick, 4).tracks[0].pianoroll[:, 60]).tolist() == [1]
    assert np.flatnonzero(to_multitrack(quick, 28).tracks[0].pianoroll[:, 60]).tolist() == [*range(6), *range(7, 14)]
    strokes = song((0, 12, 60), (12, 24, 60), is_drum=True)
    assert np.flatnonzero(to_multitrack(strokes, 4).tracks[0].pianoroll[:, 60]).tolist() == [0, 1]


# The page and its numbers.


PAGE = Path(__file__).parent.parent.parent / "docs" / "representations.md"


def test_the_code_of_the_page_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (code,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(), flags=re.DOTALL)
    found = {}
    exec(code, found)
    assert found["roll"].frame.shape == (2, 5, 4, 48, 84)
    assert len(found["again"].notes.start) > 0


@pytest.mark.parametrize("command", [losses, reading])
def test_the_commands_of_the_pages_run(command, tmp_path, capsys):
    for song in ("phase1-inter", "phase1-victor"):
        (tmp_path / f"{song}.mid").symlink_to(dataset_path("freedoom") / f"{song}.mid")
    command.main([str(tmp_path)])
    assert {losses: "2 songs", reading: "all that both read"}[command] in capsys.readouterr().out


def test_losses_are_counted():
    """Two strikes in one step, one of them short; one note struck again at once."""
    counted = losses.Losses(PRESETS["lpd5"].with_spec(steps_per_beat=4))
    counted.add(song((0, 24, 60), (1, 6, 60), (24, 48, 60), (5, 17, 64)))
    assert counted.counts["pitched"] == dict(notes=4, onsets=3, merged=1, frame=1, overlap=1, short=1, range=0)
    assert sorted(np.concatenate(counted.distance_steps["pitched"]).round(3)) == [0, 0, 0.083, 0.417]
    assert np.concatenate(counted.distance_ms["pitched"]).max() == pytest.approx(1000 * 5 / 96, abs=0.1)
