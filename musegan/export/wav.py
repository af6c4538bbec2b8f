"""Rolls to audio, played by midirenderer with the SoundFont that pretty_midi ships."""

from __future__ import annotations

import functools
import importlib.util
import io
import os
import wave
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from musegan.errors import UserError
from musegan.export.midi import midi_bytes
from musegan.export.phrase import DEFAULT_VELOCITY, bar_tempos
from musegan.files import atomic_write
from musegan.roll import Roll, RollSpec

PEAK = 10 ** (-1 / 20)    # -1 dB of full scale: midirenderer alone is 25 to 35 dB quieter
TAIL_SECONDS = 2.0    # for the last notes to die away


def write_wav(
    path: str | os.PathLike[str],
    roll: Roll,
    spec: RollSpec,
    tempo_bpm: float | Sequence[float] = 120.0,
    velocity: int = DEFAULT_VELOCITY,
) -> None:
    """Writes one phrase as a 16-bit stereo WAV file at 48 kHz, with about two seconds of silence to die away in.

    Args:
        roll: planes [K, B, T, P] bool that fit `spec`.
        tempo_bpm: quarter notes a minute, whatever `spec.beat_unit`; 4 to 1000; or a list of them, one for each bar.
        velocity: of all notes, 1 to 127.
    Raises:
        ValueError: the roll does not fit `spec`, or tempo or velocity is out of range.
        TypeError: a plane is not bool.
        UserError: midirenderer or its SoundFont is missing, or the file cannot be written.
    """
    last_bpm = bar_tempos(tempo_bpm, max(roll.frame.shape[1], 1))[-1]
    tail_quarters = round(TAIL_SECONDS * last_bpm / 60)
    content = wav_bytes(midi_bytes(roll, spec, tempo_bpm, velocity, tail_quarters))
    with atomic_write(path) as temporary:
        temporary.write_bytes(content)


def wav_bytes(midi: bytes) -> bytes:
    """Plays the content of a MIDI file.

    Returns:
        The content of a WAV file, stereo, 16 bit, 48 kHz, loudest sample 1 dB under full scale; silence if
        the MIDI has no notes.
    Raises:
        ValueError: not MIDI.
        UserError: midirenderer or its SoundFont is missing.
    """
    try:
        import midirenderer
    except ImportError as err:
        raise UserError("audio needs midirenderer: pip install midirenderer") from err
    try:
        played = midirenderer.render_wave_from(_soundfont(), midi)
    except RuntimeError as err:
        raise ValueError(f"cannot play this MIDI: {err}") from err
    with wave.open(io.BytesIO(played)) as file:
        parameters = file.getparams()
        samples = np.frombuffer(file.readframes(file.getnframes()), "<i2").astype(np.float32)
    peak = np.abs(samples).max(initial=1.0)
    content = io.BytesIO()
    with wave.open(content, "wb") as file:
        file.setparams(parameters)
        file.writeframes((samples * (PEAK * 32767 / peak)).round().astype("<i2").tobytes())
    return content.getvalue()


@functools.cache
def _soundfont() -> bytes:
    """The SoundFont TimGM6mb.sf2 (6 MB, General MIDI)."""
    package = importlib.util.find_spec("pretty_midi")
    if package is None or not package.submodule_search_locations:
        raise UserError("audio needs the SoundFont that pretty_midi ships: pip install pretty_midi")
    path = Path(package.submodule_search_locations[0]) / "TimGM6mb.sf2"
    try:
        return path.read_bytes()
    except OSError as err:
        raise UserError(f"cannot read the SoundFont {path}: {err.strerror}; pip install pretty_midi") from err
