"""Speed of `notes` and `roll_from_notes` on band music, against numpy and pypianoroll."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pretty_midi
import pypianoroll
import torch
from torch import Tensor

from benchmarks.cases import Case, Rival, same_bits
from benchmarks.music import SPEC, Sizes, phrases
from musegan import ops
from musegan.ops.bits import pack_reference
from musegan.ops.notes import _notes_reference, _roll_from_notes_reference
from musegan.roll import N_MIDI_PITCHES, Roll

PYPIANOROLL_PHRASES = 2    # it takes some 10 ms for each


def cases(sizes: Sizes) -> Iterator[Case]:
    """One phrase, a batch, and as many steps in one phrase."""
    for size in ("phrase", "batch", "long"):
        roll = phrases(getattr(sizes, size), sizes.n_songs)
        yield _notes(size, roll)
        yield _notes_of_bits(size, roll.frame)
        yield _roll_from_notes(size, roll)


def _notes(size: str, roll: Roll) -> Case:
    frame = roll.frame
    rivals = [Rival("numpy: pad, diff, nonzero", lambda: notes_by_numpy(frame.numpy()), same_bits)]
    if size == "batch":
        rivals.append(_pypianoroll(frame))
    return Case(
        "notes", size, tuple(frame.shape), frame.dtype,
        native=lambda: ops.notes(frame),
        reference=lambda: _notes_reference(frame, None, frame.shape[-1]),
        rivals=tuple(rivals),
        bytes_read=frame.nbytes,
        bytes_written=ops.notes(frame).nbytes,
        compiled=size == "batch",
    )    # fmt: skip


def _notes_of_bits(size: str, frame: Tensor) -> Case:
    packed, n_pitches = pack_reference(frame), frame.shape[-1]
    return Case(
        "notes of bits", size, tuple(frame.shape), packed.dtype,
        native=lambda: ops.notes(packed, n_pitches),
        reference=lambda: _notes_reference(packed, None, n_pitches),
        rivals=(
            Rival(
                "numpy: unpackbits, pad, diff, nonzero",
                lambda: notes_by_numpy(np.unpackbits(packed.numpy(), axis=-1, count=n_pitches)),
                same_bits,
            ),
        ),
        bytes_read=packed.nbytes,
        bytes_written=ops.notes(frame).nbytes,
    )    # fmt: skip


def _roll_from_notes(size: str, roll: Roll) -> Case:
    table, shape = ops.notes(roll), tuple(roll.frame.shape)
    return Case(
        "roll_from_notes", size, shape, torch.bool,
        native=lambda: ops.roll_from_notes(table, *shape),
        reference=lambda: Roll(*_roll_from_notes_reference(table, list(shape), False)),
        rivals=(Rival("numpy: a slice for each note", lambda: roll_by_numpy(table.numpy(), shape), same_bits),),
        bytes_read=table.nbytes,
        bytes_written=2 * roll.frame.nbytes,
        compiled=size == "batch",
    )    # fmt: skip


def notes_by_numpy(frame: np.ndarray) -> Tensor:
    """Notes of a frame plane [N, K, B, T, P] as `musegan.ops.notes` lists them."""
    n_phrases, n_tracks, n_bars, n_steps, n_pitches = frame.shape
    cells = frame.view(np.int8).reshape(n_phrases, n_tracks, n_bars * n_steps, n_pitches)
    changes = np.diff(np.pad(cells, ((0, 0), (0, 0), (1, 1), (0, 0))), axis=2).swapaxes(2, 3)    # [N, K, P, steps]
    sample, track, pitch_index, start_step = np.nonzero(changes == 1)
    end_step = np.nonzero(changes == -1)[-1]
    order = np.lexsort((pitch_index, start_step, track, sample))
    return torch.from_numpy(np.stack([sample, track, pitch_index, start_step, end_step], axis=1)[order])


def roll_by_numpy(notes: np.ndarray, shape: tuple[int, ...]) -> Roll:
    """The roll [N, K, B, T, P] of notes that do not overlap."""
    n_phrases, n_tracks, n_bars, n_steps, n_pitches = shape
    frame = np.zeros((n_phrases, n_tracks, n_bars * n_steps, n_pitches), bool)
    onset = np.zeros_like(frame)
    for sample, track, pitch_index, start_step, end_step in notes.tolist():
        frame[sample, track, start_step:end_step, pitch_index] = True
    onset[notes[:, 0], notes[:, 1], notes[:, 3], notes[:, 2]] = True
    return Roll(torch.from_numpy(frame.reshape(shape)), torch.from_numpy(onset.reshape(shape)))


def _pypianoroll(frame: Tensor) -> Rival:
    """`to_pretty_midi` of the first phrases, which are multitracks before the clock runs."""
    some = frame[:PYPIANOROLL_PHRASES]
    music = [_multitrack(phrase.flatten(1, 2).numpy()) for phrase in some]

    def as_many_notes(ours: Tensor, midis: list[pretty_midi.PrettyMIDI]) -> bool:
        n_notes = sum(len(instrument.notes) for midi in midis for instrument in midi.instruments)
        return n_notes == int((ours[:, 0] < len(some)).sum())

    return Rival(
        "pypianoroll to_pretty_midi",
        lambda: [phrase.to_pretty_midi() for phrase in music],
        as_many_notes,
        share=len(some) / len(frame),
    )


def _multitrack(frame: np.ndarray) -> pypianoroll.Multitrack:
    """One phrase [K, steps, P]."""
    above = N_MIDI_PITCHES - SPEC.lowest_pitch - SPEC.n_pitches
    pianorolls = np.pad(frame.astype(np.uint8) * 90, ((0, 0), (0, 0), (SPEC.lowest_pitch, above)))
    return pypianoroll.Multitrack(
        resolution=SPEC.steps_per_quarter,
        tempo=np.full(frame.shape[1], 120.0),    # 1.0.4 fails on the [steps, 1] it reads, with numpy 2
        tracks=[
            pypianoroll.StandardTrack(track.name, track.program, track.is_drum, pianoroll)
            for track, pianoroll in zip(SPEC.tracks, pianorolls)
        ],
    )
