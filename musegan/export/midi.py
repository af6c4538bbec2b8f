"""Rolls to Standard MIDI files, ready for a sequencer; written by symusic."""

from __future__ import annotations

import io
import os
from collections.abc import Sequence

import mido
import numpy as np
import symusic

from musegan.export.phrase import DEFAULT_VELOCITY, bar_tempos, check_sound, phrase_notes
from musegan.files import atomic_write
from musegan.roll import Roll, RollSpec

MIN_TICKS_PER_QUARTER = 480


def write_midi(
    path: str | os.PathLike[str],
    roll: Roll,
    spec: RollSpec,
    tempo_bpm: float | Sequence[float] = 120.0,
    velocity: int = DEFAULT_VELOCITY,
) -> None:
    """Writes one phrase as a Standard MIDI file; see `midi_bytes`.

    Raises:
        ValueError, TypeError: see `score`.
        UserError: the file cannot be written.
    """
    content = midi_bytes(roll, spec, tempo_bpm, velocity)
    with atomic_write(path) as temporary:
        temporary.write_bytes(content)


def midi_bytes(
    roll: Roll,
    spec: RollSpec,
    tempo_bpm: float | Sequence[float] = 120.0,
    velocity: int = DEFAULT_VELOCITY,
    tail_quarters: int = 0,
) -> bytes:
    """The content of a Standard MIDI file (format 1) of one phrase.

    Every track of `spec` is there with its name and program, silent ones too, and lasts all bars of the phrase,
    whatever its last note. Drums play on channel 10. The same roll gives the same bytes.

    Args:
        roll, spec, tempo_bpm, velocity: see `score`.
        tail_quarters: silent quarter notes after the last bar.
    Raises:
        ValueError, TypeError: see `score`.
    """
    music = score(roll, spec, tempo_bpm, velocity)
    n_bars = roll.frame.shape[1]
    ticks_per_step = music.ticks_per_quarter // spec.steps_per_quarter
    length_ticks = n_bars * spec.steps_per_bar * ticks_per_step + tail_quarters * music.ticks_per_quarter
    return _lasting(music.dumps_midi(), length_ticks)


def score(
    roll: Roll, spec: RollSpec, tempo_bpm: float | Sequence[float] = 120.0, velocity: int = DEFAULT_VELOCITY
) -> symusic.Score:
    """One phrase as a symusic score in ticks.

    Args:
        roll: planes [K, B, T, P] bool that fit `spec`; B = 0 gives a score without notes.
        spec: says tracks, metre (the time signature) and pitches. symusic hands out 15 channels to
            pitched tracks and starts over with the 16th, whose program then also changes the first one's.
        tempo_bpm: quarter notes a minute, whatever `spec.beat_unit`; 4 to 1000; or a list of them, one for each bar.
        velocity: of all notes, 1 to 127.
    Raises:
        ValueError: the roll does not fit `spec`, or tempo or velocity is out of range.
        TypeError: a plane is not bool.
    """
    check_sound(tempo_bpm, velocity)
    found = phrase_notes(roll, spec).numpy()    # [n, 4]
    ticks_per_step = -(-MIN_TICKS_PER_QUARTER // spec.steps_per_quarter)
    music = symusic.Score(ticks_per_step * spec.steps_per_quarter)
    tempos = bar_tempos(tempo_bpm, roll.frame.shape[1]) or bar_tempos(tempo_bpm, 1)
    for bar, bpm in enumerate(tempos):
        if bar == 0 or bpm != tempos[bar - 1]:
            music.tempos.append(symusic.Tempo(bar * spec.steps_per_bar * ticks_per_step, bpm))
    music.time_signatures.append(symusic.TimeSignature(0, spec.beats_per_bar, spec.beat_unit))
    for index, track in enumerate(spec.tracks):
        _, pitch, start_step, end_step = found[found[:, 0] == index].T
        part = symusic.Track(track.name, 0 if track.is_drum else track.program, track.is_drum)
        part.notes = symusic.Note.from_numpy(
            (start_step * ticks_per_step).astype(np.int32),
            ((end_step - start_step) * ticks_per_step).astype(np.int32),
            pitch.astype(np.int8),
            np.full(len(pitch), velocity, np.int8),
        )
        music.tracks.append(part)
    return music


def _lasting(midi: bytes, length_ticks: int) -> bytes:
    """The file with each track's end moved to `length_ticks`; symusic puts it one tick after the last event."""
    file = mido.MidiFile(file=io.BytesIO(midi))
    for track in file.tracks:
        track[-1].time += length_ticks - sum(message.time for message in track)
    content = io.BytesIO()
    file.save(file=content)
    return content.getvalue()
