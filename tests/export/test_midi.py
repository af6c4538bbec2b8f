"""MIDI: what other libraries read is what the roll says."""

import io

import mido
import music21
import pretty_midi
import pytest
import symusic
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from musegan.errors import UserError
from musegan.export import write_midi
from musegan.export.midi import midi_bytes, score
from musegan.export.phrase import phrase_notes
from musegan.roll import PRESETS, Roll, RollSpec, Track


def expected(roll: Roll, spec: RollSpec) -> list[tuple]:
    """Notes in quarter notes: (track name, program, is_drum, pitch, start, end)."""
    found = []
    for track, pitch, start_step, end_step in phrase_notes(roll, spec).tolist():
        part = spec.tracks[track]
        program = 0 if part.is_drum else part.program
        start, end = (step * 4 / (spec.steps_per_beat * spec.beat_unit) for step in (start_step, end_step))
        found.append((part.name, program, part.is_drum, pitch, start, end))
    return sorted(found)


def read_symusic(midi: bytes) -> list[tuple]:
    music = symusic.Score.from_midi(midi)
    per_quarter = music.ticks_per_quarter
    return sorted(
        (track.name, track.program, track.is_drum, note.pitch, note.start / per_quarter, note.end / per_quarter)
        for track in music.tracks
        for note in track.notes
    )


def read_pretty_midi(midi: bytes) -> list[tuple]:
    music = pretty_midi.PrettyMIDI(io.BytesIO(midi))
    quarters = lambda seconds: music.time_to_tick(seconds) / music.resolution    # noqa: E731
    return sorted(
        (track.name, track.program, track.is_drum, note.pitch, quarters(note.start), quarters(note.end))
        for track in music.instruments
        for note in track.notes
    )


def read_music21(path) -> list[tuple[str, int, float, float]]:
    """(track name, pitch, start, end) in quarter notes; music21 keeps neither program nor channel as such."""
    music = music21.converter.parse(path, format="midi", forceSource=True, quantizePost=False)
    found = []
    for part in music.parts:
        for event in part.stripTies().flatten().notes:    # it splits notes at bar lines
            for note in getattr(event, "notes", [event]):
                drum = isinstance(note, music21.note.Unpitched)
                pitch = note.storedInstrument.percMapPitch if drum else note.pitch.midi
                found.append((part.partName, pitch, float(event.offset), float(event.offset + event.quarterLength)))
    return sorted(found)


@st.composite
def music(draw):
    """(roll, spec) of any shape."""
    tracks = draw(st.lists(st.tuples(st.integers(0, 127), st.booleans()), min_size=1, max_size=4))
    beat_unit = draw(st.sampled_from([1, 2, 4, 8, 16, 32]))
    whole_in_a_quarter = [n for n in (1, 2, 3, 4, 7, 8, 12, 24) if n * beat_unit % 4 == 0]
    spec = RollSpec(
        tuple(Track(f"track {index}", program, drum) for index, (program, drum) in enumerate(tracks)),
        steps_per_beat=draw(st.sampled_from(whole_in_a_quarter)),
        beats_per_bar=draw(st.integers(1, 5)),
        lowest_pitch=draw(st.integers(0, 40)),
        n_pitches=draw(st.integers(1, 88)),
        beat_unit=beat_unit,
    )
    shape = (spec.n_tracks, draw(st.integers(1, 3)), spec.steps_per_bar, spec.n_pitches)
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**32 - 1)))
    frame = torch.rand(shape, generator=generator) < draw(st.sampled_from([0.01, 0.1, 0.8]))
    return Roll(frame, frame & (torch.rand(shape, generator=generator) < 0.5)), spec


@settings(max_examples=25, deadline=None)
@given(music(), st.floats(30, 300))
def test_symusic_and_pretty_midi_read_the_notes_of_the_roll(music, tempo_bpm):
    roll, spec = music
    midi = midi_bytes(roll, spec, tempo_bpm)
    assert read_symusic(midi) == expected(roll, spec)
    assert read_pretty_midi(midi) == expected(roll, spec)
    (sign,) = symusic.Score.from_midi(midi).time_signatures
    assert (sign.time, sign.numerator, sign.denominator) == (0, spec.beats_per_bar, spec.beat_unit)
    assert midi_bytes(roll, spec, tempo_bpm) == midi


@pytest.mark.parametrize("case", ["band", "waltz", "jig", "seven", "march"])
def test_music21_reads_the_notes_of_the_roll(case, request, tmp_path):
    spec, _, roll = request.getfixturevalue(case)
    write_midi(tmp_path / "song.mid", roll, spec)
    notes = [(name, pitch, start, end) for name, _, _, pitch, start, end in expected(roll, spec)]
    got = read_music21(tmp_path / "song.mid")
    assert [note[:2] for note in got] == [note[:2] for note in notes]
    assert got == [(*note[:2], pytest.approx(note[2]), pytest.approx(note[3])) for note in notes]


def test_notes_of_the_hand_made_band(band):
    spec, notes, roll = band
    music = score(roll, spec)
    found = [
        (index, note.pitch, note.start // 120, note.end // 120)
        for index, track in enumerate(music.tracks)
        for note in track.notes
    ]
    assert sorted(found) == sorted(notes)
    assert music.ticks_per_quarter == 480


def test_tracks_are_named_with_program_and_drums_on_channel_10(band):
    spec, _, roll = band
    file = mido.MidiFile(file=io.BytesIO(midi_bytes(roll, spec)))
    assert [track.name for track in file.tracks] == ["drums", "piano", "guitar", "bass", "strings"]
    changes = [next(event for event in track if event.type == "program_change") for track in file.tracks]
    assert [change.program for change in changes] == [0, 0, 25, 33, 48]
    assert changes[0].channel == 9    # counted from 0
    assert 9 not in [change.channel for change in changes[1:]]


def test_a_note_is_released_before_it_is_struck_again(band):
    spec, _, roll = band
    bass = mido.MidiFile(file=io.BytesIO(midi_bytes(roll, spec))).tracks[3]
    kinds = [event.type for event in bass if event.type.startswith("note")]
    assert kinds == ["note_on", "note_off"] * 9


@pytest.mark.parametrize(("case", "quarters"), [
    ("band", 8), ("waltz", 9), ("silence", 16), ("jig", 6), ("seven", 7), ("march", 8),
])
def test_every_track_lasts_all_bars(case, quarters, request):
    spec, _, roll = request.getfixturevalue(case)
    file = mido.MidiFile(file=io.BytesIO(midi_bytes(roll, spec)))
    assert len(file.tracks) == spec.n_tracks
    assert {sum(event.time for event in track) for track in file.tracks} == {quarters * file.ticks_per_beat}


@pytest.mark.parametrize("n_bars", [0, 1, 40, 3000])    # ends that take one to four bytes
def test_length_of_silence(phrase, n_bars):
    spec = RollSpec(PRESETS["satb"], steps_per_beat=1, beats_per_bar=2, n_pitches=1)
    file = mido.MidiFile(file=io.BytesIO(midi_bytes(phrase(spec, [], n_bars), spec)))
    assert sum(event.time for event in file.tracks[-1]) == n_bars * 2 * 480


@pytest.mark.parametrize(("case", "metre", "quarters"), [
    ("jig", (6, 8), [0, 1.5, 2, 5.25]),
    ("seven", (7, 8), [0, 3.5, 3.75]),
    ("march", (2, 2), [0, 2, 4]),
])
def test_a_metre_is_written_as_such(case, metre, quarters, request):
    spec, _, roll = request.getfixturevalue(case)
    music = symusic.Score.from_midi(midi_bytes(roll, spec, tempo_bpm=90))
    assert [(sign.time, sign.numerator, sign.denominator) for sign in music.time_signatures] == [(0, *metre)]
    assert music.ticks_per_quarter == 480
    assert [note.start / 480 for note in music.tracks[1].notes] == quarters
    assert music.tempos[0].qpm == pytest.approx(90)    # quarter notes, whatever the beat
    read = music21.converter.parseData(midi_bytes(roll, spec), format="midi")
    bars = read.parts[0].getElementsByClass(music21.stream.Measure)
    assert [bar.offset for bar in bars] == [0, 4 * metre[0] / metre[1]]


def test_the_tail_counts_quarter_notes(seven):
    spec, _, roll = seven
    file = mido.MidiFile(file=io.BytesIO(midi_bytes(roll, spec, tail_quarters=3)))
    assert {sum(event.time for event in track) for track in file.tracks} == {(7 + 3) * 480}


def test_tempo_time_signature_and_velocity(waltz):
    spec, _, roll = waltz
    music = symusic.Score.from_midi(midi_bytes(roll, spec, tempo_bpm=93.5, velocity=33))
    assert [(tempo.time, round(tempo.qpm, 3)) for tempo in music.tempos] == [(0, 93.5)]
    assert [(sign.time, sign.numerator, sign.denominator) for sign in music.time_signatures] == [(0, 3, 4)]
    assert {note.velocity for track in music.tracks for note in track.notes} == {33}


def test_a_batch_splits_into_phrases(band):
    spec, _, roll = band
    pair = roll.map(lambda plane: torch.stack([torch.zeros_like(plane), plane]))
    silent, sounding = pair.phrases()
    assert midi_bytes(sounding, spec) == midi_bytes(roll, spec)
    assert read_symusic(midi_bytes(silent, spec)) == []


def test_an_older_file_is_replaced(band, tmp_path):
    spec, _, roll = band
    path = tmp_path / "song.mid"
    path.write_text("old")
    write_midi(path, roll, spec)
    assert path.read_bytes() == midi_bytes(roll, spec)
    assert [file.name for file in tmp_path.iterdir()] == ["song.mid"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"tempo_bpm": 0}, "tempo_bpm must be 4 to 1000: got 0"),
        ({"tempo_bpm": float("nan")}, "tempo_bpm must be 4 to 1000: got nan"),
        ({"velocity": 128}, "velocity must be 1 to 127: got 128"),
    ],
)
def test_tempo_and_velocity_out_of_range(band, arguments, message):
    spec, _, roll = band
    with pytest.raises(ValueError, match=message):
        score(roll, spec, **arguments)


def test_rolls_that_do_not_fit(band, waltz):
    spec, _, roll = band
    with pytest.raises(ValueError, match=r"frame: expected one phrase \[K, B, T, P\], got \[1, 5, 2, 16, 84\]"):
        score(roll.map(lambda plane: plane[None]), spec)
    with pytest.raises(ValueError, match="K: expected 3, got 5"):
        score(roll, waltz[0])
    with pytest.raises(TypeError, match="must be bool: got torch.float32"):
        score(roll.map(lambda plane: plane.float()), spec)


def test_a_folder_that_is_not_there(band, tmp_path):
    spec, _, roll = band
    with pytest.raises(UserError, match=r"cannot write .*song\.mid: No such file or directory"):
        write_midi(tmp_path / "no" / "song.mid", roll, spec)
