"""Scores as songs, parsed by music21: MusicXML (.musicxml, .xml, .mxl) and Humdrum kern (.krn).

music21 is an optional dependency, imported only when a score is read.
"""

from __future__ import annotations

import contextlib
from bisect import bisect_right

import numpy as np

from musegan.data.events import NoNotes, Notes, Signature, Song, SongError, TempoMap, bar_lines, check_length, steady_tempo
from musegan.data.notation import parse_kern, parse_musicxml, quiet_music21
from musegan.data.sources import MAX_FILE_BYTES
from musegan.errors import one_line
from musegan.roll import N_MIDI_PITCHES, Track

TICKS_PER_QUARTER = 10080    # 2^5 * 3^2 * 5 * 7: exact to 128ths, and for triplets, nonuplets, quintuplets, septuplets
DEFAULT_VELOCITY = 90
VOICE_PROGRAM = 52    # choir, as in the preset "satb"; music21 gives singers 53
_LOUDNESS = ("ppp", "pp", "p", "mp", "mf", "f", "ff", "fff")    # dynamics that last; "sfz" and the like do not


class _Part:
    """What is gathered of a part, or of one staff of a piano's; times in ticks."""

    def __init__(self):
        self.notes: list[tuple[int, int, int, int | None, str | None]] = []    # start, end, pitch, velocity, tie
        self.loudness: list[tuple[int, int]] = []    # tick, velocity from there on
        self.tempos: dict[int, float] = {}
        self.measures: dict[int, int] = {}    # start: length by the time signature
        self.signatures: dict[int, Signature] = {}

    def move(self, starts: list[int]) -> None:
        """Puts the measures, and what is in them, to other starts."""
        before = sorted(self.measures)

        def moved(tick: int) -> int:
            which = max(bisect_right(before, tick) - 1, 0)
            return tick + starts[which] - before[which]

        self.notes = [(moved(start), moved(start) + end - start, *rest) for start, end, *rest in self.notes]
        self.loudness = [(moved(tick), velocity) for tick, velocity in self.loudness]
        self.tempos = {moved(tick): bpm for tick, bpm in self.tempos.items()}
        self.signatures = {moved(tick): s._replace(tick=moved(tick)) for tick, s in self.signatures.items()}
        self.measures = {moved(tick): full for tick, full in self.measures.items()}


def load_scores(content: bytes, suffix: str) -> list[Song]:
    """Reads a score: one song, or as many as a kern file has pieces (named "1", "2", ...).

    A track for each part, its program the instrument's (from its name where no number is given; 52 for singers), drum
    where it is unpitched or plays on MIDI channel 10. Pitches are the sounding ones, whatever the instrument's
    transposition. Tied notes are one. A note is as loud as the last dynamic before it says, 90 where there is none.
    Bars are the score's measures: a pick-up is a short first bar, and a bar written as two (at a repeat inside it) is
    one. Measures start together in all parts, also where one part's is too long or too short. Tempos are the metronome
    marks, 120 bpm before the first.

    Left out: grace notes, and chord symbols. Repeats are not played: each measure comes once, in the order written.

    Args:
        content: of a file.
        suffix: the end of its name: ".krn" for kern, any other for MusicXML, packed (a zip) or not.
    Raises:
        SongError: music21 is missing, or the file is no such score, damaged, without notes, too big or too long.
    """
    if len(content) > MAX_FILE_BYTES:
        raise SongError(f"larger than {MAX_FILE_BYTES >> 20} MiB")
    with quiet_music21():
        try:
            scores, drum_parts = (parse_kern(content), set()) if suffix == ".krn" else parse_musicxml(content)
            songs, problem = [], "has no notes"
            for number, score in enumerate(scores, 1):
                try:
                    songs.append(_song(score, drum_parts, str(number) if len(scores) > 1 else ""))
                except SongError as err:
                    problem = str(err)
        except SongError:
            raise
        except Exception as err:    # of whatever kind music21 runs into
            raise SongError(f"damaged score: {one_line(err, 120)}") from err
    if not songs:
        raise SongError(problem)
    return songs


def _song(score, drum_parts: set[str], name: str) -> Song:
    score.toSoundingPitch(inPlace=True)
    tracks: dict[object, Track] = {}
    parts: list[_Part] = []
    keys = []    # of each part's track: a piano's two staves share one
    for stream in score.parts:
        instrument = stream.getInstrument()
        part_id = getattr(instrument, "partId", None)
        keys.append(part_id or stream)
        if keys[-1] not in tracks:
            label = " ".join(str(stream.partName or instrument.partName or instrument.instrumentName or "").split())
            is_drum = part_id in drum_parts
            tracks[keys[-1]] = Track(label, 0 if is_drum else _program(instrument, label), is_drum)
        parts.append(_Part())
        _gather(stream, 0, parts[-1])
    _align(parts)
    columns = [_columns([part for part, own in zip(parts, keys) if own == key], k) for k, key in enumerate(tracks)]
    if not sum(map(len, columns)):
        raise NoNotes
    notes = Notes(*np.concatenate([column for column in columns if len(column)]).T.astype(np.int64))
    last = max(int(notes.end.max()), 1)
    check_length(last / TICKS_PER_QUARTER)
    # The parts agree in their measures; the one that goes on longest has them all.
    longest = max(parts, key=lambda part: max(part.measures, default=-1))
    signatures = tuple(signature for _, signature in sorted(longest.signatures.items()))
    return Song(
        ticks_per_quarter=TICKS_PER_QUARTER,
        tracks=tuple(tracks.values()),
        notes=notes,
        tempo=_tempo_map({tick: bpm for part in reversed(parts) for tick, bpm in part.tempos.items()}),
        downbeats=_downbeats(longest.measures, signatures, last),
        signatures=signatures,
        name=name,
    )


def _align(parts: list[_Part]) -> None:
    """Makes measures start together where a measure of some part is too long or too short, which music21 lets drift.

    A measure gets the length that most parts give it; of two, the one that the time signature says, then the longer.
    """
    starts = [sorted(part.measures) for part in parts]
    if len({len(own) for own in starts}) > 1 or not starts or not starts[0] or all(own == starts[0] for own in starts):
        return
    together = [min(own[0] for own in starts)]
    for i in range(len(starts[0]) - 1):
        lengths = [own[i + 1] - own[i] for own in starts]
        full = parts[0].measures[starts[0][i]]
        together.append(together[-1] + max(lengths, key=lambda n: (lengths.count(n), n == full, n)))
    for part in parts:
        part.move(together)


def _program(instrument, label: str) -> int:
    from music21.instrument import InstrumentException, Vocalist, fromString

    if instrument.midiProgram is None:
        for text in (instrument.instrumentName, label):
            with contextlib.suppress(InstrumentException):
                instrument = fromString(text or "")
                break
    if isinstance(instrument, Vocalist):
        return VOICE_PROGRAM
    return instrument.midiProgram if instrument.midiProgram in range(N_MIDI_PITCHES) else 0


def _ticks(quarters) -> int:
    """The nearest tick; times are exact, floats or fractions."""
    return round(quarters * TICKS_PER_QUARTER)


def _gather(stream, offset, part: _Part) -> None:
    """Walks through a stream that starts `offset` quarter notes from the start, and the streams in it."""
    from music21 import chord, dynamics, harmony, meter, note, tempo
    from music21.stream import Measure

    full = 4 * TICKS_PER_QUARTER
    for element in stream.elements:
        at = offset + stream.elementOffset(element)
        if element.isStream:
            if isinstance(element, Measure):
                signature = element.timeSignature
                if signature is not None:
                    full = _ticks(signature.barDuration.quarterLength)
                part.measures[_ticks(at)] = full
            _gather(element, at, part)
        elif isinstance(element, (note.Note, chord.Chord)) and not isinstance(element, harmony.Harmony):
            _gather_notes(element, at, part)
        elif isinstance(element, meter.TimeSignature):
            part.signatures[_ticks(at)] = Signature(_ticks(at), int(element.numerator), int(element.denominator))
        elif isinstance(element, tempo.MetronomeMark):
            bpm = element.getQuarterBPM()
            if bpm and np.isfinite(bpm) and bpm > 0:
                part.tempos[_ticks(at)] = float(bpm)
        elif isinstance(element, dynamics.Dynamic) and element.value in _LOUDNESS:
            part.loudness.append((_ticks(at), round(127 * element.volumeScalar)))


def _gather_notes(element, at, part: _Part) -> None:
    start, end = _ticks(at), _ticks(at + element.quarterLength)
    if end <= start:    # a grace note
        return
    for note in element.notes if hasattr(element, "notes") else (element,):
        pitch = int(np.floor(note.pitch.ps + 0.5))
        if 0 <= pitch < N_MIDI_PITCHES and start >= 0:
            volume = next((n.volume.velocity for n in (note, element) if n.hasVolumeInformation()), None)
            part.notes.append((start, end, pitch, volume, note.tie.type if note.tie is not None else None))


def _columns(parts: list[_Part], index: int) -> np.ndarray:
    """[n, 5] track, start, end, pitch, velocity of a track's notes, tied ones as one."""
    loudness = sorted(change for part in parts for change in part.loudness)
    rows, ties = [], {}
    notes = [note for part in parts for note in part.notes]
    for start, end, pitch, velocity, tie in sorted(notes, key=lambda note: note[:3]):
        before = ties.get((pitch, start)) if tie in ("stop", "continue") else None
        if before:
            row = before.pop()
            row[2] = end
        else:
            if velocity is None:
                which = bisect_right(loudness, (start, 127))
                velocity = loudness[which - 1][1] if which else DEFAULT_VELOCITY
            row = [index, start, end, pitch, min(max(int(velocity), 1), 127)]
            rows.append(row)
        if tie in ("start", "continue"):
            ties.setdefault((pitch, end), []).append(row)
    return np.array(rows, dtype=object).reshape(-1, 5)


def _tempo_map(tempos: dict[int, float]) -> TempoMap:
    if min(tempos, default=1) > 0:
        tempos = {0: float(steady_tempo().bpm[0])} | tempos
    tick = sorted(tempos)
    return TempoMap(np.array(tick, np.int64), np.array([tempos[t] for t in tick]))


def _downbeats(measures: dict[int, int], signatures: tuple[Signature, ...], last: int) -> np.ndarray:
    """Where bars start, to the end of the one in which tick `last` is; the last bar has its full length."""
    if not measures:
        return bar_lines(signatures, last, TICKS_PER_QUARTER)
    starts = sorted(measures)
    ends = [*starts[1:], starts[-1] + measures[starts[-1]]]
    bars = []    # start, end, full length
    for start, end in zip(starts, ends):
        full = measures[start]
        if len(bars) > 1 and bars[-1][1] - bars[-1][0] < full and end - bars[-1][0] == full == bars[-1][2]:
            bars[-1][1] = end
        elif start < last:
            bars.append([start, end, full])
    # A last bar cut short, as one is after a pick-up, is filled up with rests.
    final = max(bars[-1][1], bars[-1][0] + bars[-1][2] if len(bars) > 1 else 0, last)
    return np.unique([0, *(start for start, _, _ in bars), final]).astype(np.int64)
