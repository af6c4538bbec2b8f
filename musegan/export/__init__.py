"""Rolls to files that others open: MIDI, pypianoroll .npz, pictures, audio."""

from musegan.export.midi import write_midi
from musegan.export.npz import write_npz
from musegan.export.phrase import MAX_TEMPO_BPM, MIN_TEMPO_BPM, check_sound
from musegan.export.png import LINE_BARS, write_png
from musegan.export.wav import write_wav

__all__ = ["LINE_BARS", "MAX_TEMPO_BPM", "MIN_TEMPO_BPM", "check_sound", "write_midi", "write_npz", "write_png", "write_wav"]
