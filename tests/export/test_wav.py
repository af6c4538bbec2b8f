"""Audio: sound where there are notes, silence where there are none, at a level one can hear."""

import builtins
import importlib.util
import io
import wave

import numpy as np
import pytest

import musegan.export.wav
from musegan.errors import UserError
from musegan.export import write_wav
from musegan.export.wav import wav_bytes
from musegan.roll import PRESETS, RollSpec


def samples(content) -> np.ndarray:
    """[n, 2] int16 of a 16-bit stereo file at 48 kHz."""
    with wave.open(content) as file:
        assert (file.getnchannels(), file.getsampwidth(), file.getframerate()) == (2, 2, 48000)
        return np.frombuffer(file.readframes(file.getnframes()), "<i2").reshape(-1, 2)


def test_peak_and_length(band, tmp_path):
    spec, _, roll = band
    write_wav(tmp_path / "song.wav", roll, spec, tempo_bpm=120)
    sound = samples(str(tmp_path / "song.wav"))
    assert 20 * np.log10(np.abs(sound.astype(float)).max() / 32767) == pytest.approx(-1, abs=0.05)
    assert len(sound) / 48000 == pytest.approx(4 + 2, abs=0.1)    # two bars and the tail
    assert np.abs(sound[: 4 * 48000].astype(float)).mean() > 200


def test_length_of_seven_eighths(seven, tmp_path):
    spec, _, roll = seven
    write_wav(tmp_path / "song.wav", roll, spec, tempo_bpm=60)
    assert len(samples(str(tmp_path / "song.wav"))) / 48000 == pytest.approx(2 * 3.5 + 2, abs=0.1)


def test_a_higher_note_sounds_higher(phrase):
    spec = RollSpec(PRESETS["lpd5"])
    for pitch in (57, 69):
        roll = phrase(spec, [(1, pitch, 0, 16)], 1)
        sound = samples(io.BytesIO(wav_bytes(musegan.export.wav.midi_bytes(roll, spec))))[:48000].mean(1)
        spectrum = np.abs(np.fft.rfft(sound))    # one second: a bin a hertz
        hertz = 440 * 2 ** ((pitch - 69) / 12)
        assert spectrum[:600].argmax() == pytest.approx(hertz, abs=4)


def test_silence_is_silent(silence, tmp_path):
    spec, _, roll = silence
    write_wav(tmp_path / "song.wav", roll, spec)
    sound = samples(str(tmp_path / "song.wav"))
    assert len(sound) / 48000 == pytest.approx(8 + 2, abs=0.1)
    assert not sound.any()


def test_not_midi():
    with pytest.raises(ValueError, match="cannot play this MIDI"):
        wav_bytes(b"not midi")


def test_without_midirenderer(band, tmp_path, monkeypatch):
    imports = builtins.__import__

    def without(name, *rest):
        if name == "midirenderer":
            raise ImportError(name)
        return imports(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(UserError, match="pip install midirenderer"):
        write_wav(tmp_path / "song.wav", band[2], band[0])
    assert not list(tmp_path.iterdir())


def test_without_the_soundfont(band, tmp_path, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    musegan.export.wav._soundfont.cache_clear()
    with pytest.raises(UserError, match="pip install pretty_midi"):
        write_wav(tmp_path / "song.wav", band[2], band[0])


def test_a_folder_that_is_not_there(band, tmp_path):
    with pytest.raises(UserError, match="cannot write"):
        write_wav(tmp_path / "no" / "song.wav", band[2], band[0])
