"""Rolls to pypianoroll, the object and the .npz file of the Lakh Pianoroll Dataset."""

from __future__ import annotations

import io
import os
from collections.abc import Sequence

import numpy as np
import pypianoroll

from musegan.export.phrase import DEFAULT_VELOCITY, bar_tempos, check_sound, phrase_notes
from musegan.files import atomic_write
from musegan.roll import N_MIDI_PITCHES, Roll, RollSpec


def write_npz(
    path: str | os.PathLike[str],
    roll: Roll,
    spec: RollSpec,
    tempo_bpm: float | Sequence[float] = 120.0,
    velocity: int = DEFAULT_VELOCITY,
) -> None:
    """Writes one phrase as a file that `pypianoroll.load` reads; holds no pickled objects.

    Raises:
        ValueError, TypeError: see `multitrack`.
        UserError: the file cannot be written.
    """
    # By way of memory: given a name that does not end in .npz, pypianoroll 1.0.4 writes two files.
    content = io.BytesIO()
    pypianoroll.save(content, multitrack(roll, spec, tempo_bpm, velocity))
    with atomic_write(path) as temporary:
        temporary.write_bytes(content.getvalue())


def multitrack(
    roll: Roll, spec: RollSpec, tempo_bpm: float | Sequence[float] = 120.0, velocity: int = DEFAULT_VELOCITY
) -> pypianoroll.Multitrack:
    """One phrase as a pypianoroll multitrack.

    Each step becomes several fine ones (`RollSpec.multitrack_resolution` a quarter note), and a note that is struck
    again at once ends a fine step early, so that it stays a note of its own where pypianoroll has frames only.

    Args:
        roll: planes [K, B, T, P] bool that fit `spec`.
        tempo_bpm: quarter notes a minute, whatever `spec.beat_unit`; 4 to 1000; or a list of them, one for each bar.
        velocity: of all notes, 1 to 127.
    Returns:
        A multitrack of `StandardTrack`s, pianorolls [fine steps, 128] uint8; `tempo` and `downbeat` are one
        number a fine step, the shape that `pypianoroll.write` takes.
    Raises:
        ValueError: the roll does not fit `spec`, or tempo or velocity is out of range.
        TypeError: a plane is not bool.
    """
    check_sound(tempo_bpm, velocity)
    found = phrase_notes(roll, spec)    # [n, 4]
    n_bars = roll.frame.shape[1]
    fine = spec.multitrack_resolution // spec.steps_per_quarter
    bar_length_steps = spec.steps_per_bar * fine
    n_steps = n_bars * bar_length_steps
    pianorolls = np.zeros((spec.n_tracks, n_steps, N_MIDI_PITCHES), np.uint8)
    for track, pitch, start_step, end_step in found.tolist():
        pianorolls[track, start_step * fine : end_step * fine, pitch] = velocity
        if start_step:
            pianorolls[track, start_step * fine - 1, pitch] = 0
    return pypianoroll.Multitrack(
        resolution=spec.multitrack_resolution,
        tempo=np.repeat(bar_tempos(tempo_bpm, n_bars), bar_length_steps),
        downbeat=np.arange(n_steps) % bar_length_steps == 0,
        tracks=[
            pypianoroll.StandardTrack(track.name, track.program, track.is_drum, pianoroll)
            for track, pianoroll in zip(spec.tracks, pianorolls)
        ],
    )
