"""MIDI files as songs, parsed by symusic; and as `pypianoroll.Multitrack`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import symusic

from musegan.data.events import NoNotes, Notes, Signature, Song, SongError, TempoMap, bar_lines, check_size, steady_tempo
from musegan.data.pianorolls import to_multitrack
from musegan.data.sources import MAX_FILE_BYTES
from musegan.roll import N_MIDI_PITCHES, Track

if TYPE_CHECKING:
    from pypianoroll import Multitrack

MAX_CHANGES = 1 << 16    # of tempo, and of signature
_SMALL_BYTES = 1 << 18    # a file has no room for more tracks than symusic makes in 0.4 s
_MAX_PARSED_TRACKS = 1 << 16    # 12 microseconds and 5 KiB each
_END_OF_TRACK = b"\xff\x2f\0"


def load_midi(source: Path | bytes) -> Song:
    """Reads a MIDI file: types 0 and 1, any number of ticks in a quarter note.

    Tracks with notes are kept, one for each program of a channel, which a note has from its start. A drum track is
    what plays on channel 10. Of the notes that sound on one pitch, a release ends the one struck first; a note that no
    release ends is left out, as symusic does.

    Args:
        source: a path, or the bytes of a file.
    Raises:
        SongError: unreadable, too big, not MIDI, damaged, without notes, or absurdly long.
    """
    score = _score(_bytes(source))
    tracks = [track for track in score.tracks if len(track.notes)]
    if not tracks:
        raise NoNotes
    check_size(sum(len(track.notes) for track in tracks), len(tracks))
    columns = [track.notes.numpy() for track in tracks]
    start, length, pitch, velocity = (
        np.concatenate([column[key] for column in columns]).astype(np.int64)
        for key in ("time", "duration", "pitch", "velocity")
    )
    if start.min() < 0:
        raise SongError("damaged MIDI: times overflow")
    index = np.repeat(np.arange(len(tracks)), [len(column["time"]) for column in columns])
    notes = Notes(index, start, start + np.maximum(length, 0), pitch, velocity.clip(1, 127))
    if pitch.min() < 0 or pitch.max() >= N_MIDI_PITCHES:
        notes = notes.take((pitch >= 0) & (pitch < N_MIDI_PITCHES))
    signatures = tuple(Signature(s.time, s.numerator, s.denominator) for s in score.time_signatures)
    last = max(int(notes.end.max(initial=0)), 1)
    return Song(
        ticks_per_quarter=score.ticks_per_quarter,
        tracks=tuple(Track(track.name, int(track.program) % 128, bool(track.is_drum)) for track in tracks),
        notes=notes,
        tempo=_tempo_map(score),
        downbeats=bar_lines(signatures, last, score.ticks_per_quarter),
        signatures=signatures,
    )


def read_midi(source: Path | bytes, resolution: int, name: str = "") -> Multitrack:
    """Reads a MIDI file as piano-rolls: `to_multitrack(load_midi(source), resolution, name)`.

    Raises:
        SongError: the file cannot be read, is no MIDI, is damaged, empty or absurdly long.
    """
    return to_multitrack(load_midi(source), resolution, name)


def _bytes(source: Path | bytes) -> bytes:
    if isinstance(source, Path):
        try:
            with open(source, "rb") as file:
                source = file.read(min(os.fstat(file.fileno()).st_size, MAX_FILE_BYTES) + 1)
        except OSError as err:
            raise SongError(f"cannot be read: {err.strerror}") from err
    if len(source) > MAX_FILE_BYTES:
        raise SongError(f"larger than {MAX_FILE_BYTES >> 20} MiB")
    return source


def _score(content: bytes) -> symusic.Score:
    if not content.startswith(b"MThd"):
        raise SongError("not a MIDI file: does not begin with MThd")
    if len(content) > _SMALL_BYTES or not content.endswith(_END_OF_TRACK):
        content = _checked(content)
    try:
        score = symusic.Score.from_midi(content)
    except MemoryError as err:
        raise SongError("takes too much memory to read") from err
    except (RuntimeError, ValueError) as err:
        reason = str(err).removeprefix("MiniMidi: ").removesuffix(": iostream error")
        raise SongError(f"damaged MIDI: {reason}") from err
    if score.ticks_per_quarter < 1:
        raise SongError("damaged MIDI: not counted in ticks per quarter note")
    for name, changes in (("tempo", score.tempos), ("time signature", score.time_signatures)):
        if len(changes) > MAX_CHANGES:
            raise SongError(f"has {len(changes):,} changes of {name}, more than {MAX_CHANGES:,}")
    return score


def _checked(content: bytes) -> bytes:
    """The chunks of a file, safe to parse.

    An event that is cut off makes symusic 0.6.0 read up to ten bytes on, out of the file where its end is no whole
    event: so there are zeros after the last track. It sets memory aside for each program of each channel that plays
    in a track: so there is a limit to these.

    Raises:
        SongError: the header or a chunk is cut off, or too many tracks.
    """
    if len(content) < 14:
        raise SongError("damaged MIDI: the header is cut off")
    at, n_tracks, claimed = 14, 0, int.from_bytes(content[10:12], "big")
    while at + 8 <= len(content) and n_tracks < claimed:
        length = int.from_bytes(content[at + 4 : at + 8], "big")
        if length > len(content) - at - 8:
            raise SongError("damaged MIDI: a track is cut off")
        n_tracks += content.startswith(b"MTrk", at)
        at += 8 + length
    if len(content) > _SMALL_BYTES:
        # After a note, only a status byte can begin another program.
        n_programs = int(np.count_nonzero((np.frombuffer(content, np.uint8) & 0xF0) == 0xC0))
        if 16 * n_tracks + n_programs > _MAX_PARSED_TRACKS:
            raise SongError(f"too many tracks and programs: {n_tracks:,} and {n_programs:,}")
    return b"".join((content[:10], n_tracks.to_bytes(2, "big"), content[12:at], bytes(16)))


def _tempo_map(score: symusic.Score) -> TempoMap:
    tempos = score.tempos.numpy()
    tick, microseconds = tempos["time"].astype(np.int64), tempos["mspq"].astype(np.float64)
    valid = (tick >= 0) & (microseconds > 0)
    tick, bpm = tick[valid], 60e6 / microseconds[valid]
    if not len(tick):
        return steady_tempo()
    if len(tick) > 1:
        order = np.argsort(tick, kind="stable")
        tick, bpm = tick[order], bpm[order]
    if tick[0] > 0:
        start = steady_tempo()
        tick, bpm = np.append(start.tick, tick), np.append(start.bpm, bpm)
    return TempoMap(tick, bpm)
