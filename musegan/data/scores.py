"""Scores as songs, parsed by music21: MusicXML (.musicxml, .xml, .mxl) and Humdrum kern (.krn).

music21 is an optional dependency, imported only when a score is read. Its parsers are called on bytes, past
`music21.converter`, which keeps pickles of what it parsed in a temporary folder and loads them.
"""

from __future__ import annotations

import contextlib
import io
import posixpath
import re
import warnings
import zipfile
from bisect import bisect_right
from collections.abc import Iterator
from xml.etree import ElementTree
from xml.parsers import expat

import numpy as np

from musegan.data.events import Notes, Signature, Song, SongError, TempoMap, bar_lines, check_length, steady_tempo
from musegan.data.sources import MAX_FILE_BYTES, UNPACKING_ERRORS
from musegan.errors import one_line
from musegan.roll import N_MIDI_PITCHES, Track

TICKS_PER_QUARTER = 10080    # 2^5 * 3^2 * 5 * 7: exact to 128ths, and for triplets, nonuplets, quintuplets, septuplets
DEFAULT_VELOCITY = 90
VOICE_PROGRAM = 52    # choir, as in the preset "satb"; music21 gives singers 53
MAX_ELEMENTS = 1 << 21    # of a MusicXML file, about 200,000 notes: music21 takes a minute
MAX_KERN_COST = 1 << 30    # lines times tokens of a kern file: music21 takes a minute, a second for a usual one
_LOUDNESS = ("ppp", "pp", "p", "mp", "mf", "f", "ff", "fff")    # dynamics that last; "sfz" and the like do not
# Where a drum is written in a staff, for files that do not say what it sounds like (MuseScore's default drum set).
_DRUM_AT = {"D4": 44, "F4": 36, "A4": 41, "C5": 38, "D5": 45, "E5": 48, "F5": 51, "G5": 42, "A5": 49}
_NAMES = (("C", 0), ("C", 1), ("D", 0), ("E", -1), ("E", 0), ("F", 0), ("F", 1), ("G", 0), ("A", -1), ("A", 0),
          ("B", -1), ("B", 0))    # step and alter of the twelve pitch classes
MAX_BEATS = 64    # in a bar: music21 takes time as the square of it


class _Part:
    """What is gathered of a part; a piano's two staves are one. Times are in ticks."""

    def __init__(self, track: Track):
        self.track = track
        self.notes: list[tuple[int, int, int, int | None, str | None]] = []    # start, end, pitch, velocity, tie
        self.loudness: list[tuple[int, int]] = []    # tick, velocity from there on


class _Frame:
    """What the parts of a score have in common; in ticks."""

    def __init__(self):
        self.tempos: dict[int, float] = {}
        self.measures: dict[int, int] = {}    # start: length by the time signature
        self.signatures: dict[int, Signature] = {}


def load_scores(content: bytes, suffix: str) -> list[Song]:
    """Reads a score: one song, or as many as a kern file has pieces (named "1", "2", ...).

    A track for each part, its program the instrument's (from its name where no number is given; 52 for singers), drum
    where it is unpitched or plays on MIDI channel 10. Pitches are the sounding ones, whatever the instrument's
    transposition. Tied notes are one. A note is as loud as the last dynamic before it says, 90 where there is none.
    Bars are the score's measures: a pick-up is a short first bar, and a bar written as two (at a repeat inside it) is
    one. Tempos are the metronome marks, 120 bpm before the first.

    Left out: grace notes, and chord symbols. Repeats are not played: each measure comes once, in the order written.

    Args:
        content: of a file.
        suffix: the end of its name: ".krn" for kern, any other for MusicXML, packed (a zip) or not.
    Raises:
        SongError: music21 is missing, or the file is no such score, damaged, without notes, too big or too long.
    """
    if len(content) > MAX_FILE_BYTES:
        raise SongError(f"larger than {MAX_FILE_BYTES >> 20} MiB")
    with _quiet_music21():
        try:
            scores, drum_parts = (_kern(content), set()) if suffix == ".krn" else _musicxml(content)
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


@contextlib.contextmanager
def _quiet_music21() -> Iterator[None]:
    """music21 without its warnings, some of which it writes to stderr itself."""
    try:
        import music21    # noqa: F401
    except ImportError as err:
        raise SongError('needs music21: pip install "musegan[scores]"') from err
    with warnings.catch_warnings(), contextlib.redirect_stderr(io.StringIO()):
        warnings.simplefilter("ignore")
        yield


def _kern(content: bytes) -> list:
    from music21.humdrum.spineParser import HumdrumDataCollection
    from music21.stream import Opus

    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = content.decode("latin-1")
    if not re.search(r"^(\S+\t+)*\*\*kern\b", text, re.MULTILINE):
        raise SongError("not a kern file: no **kern in it")
    n_lines, n_tokens = text.count("\n"), len(text.split())
    if n_lines * n_tokens > MAX_KERN_COST:
        raise SongError(f"too long for music21: {n_lines:,} lines, {n_tokens:,} tokens")
    music = re.sub(r"^!.*$", "", text, flags=re.MULTILINE)
    if long := re.search(r"\d{6,}|\d\.{5,}", music):
        raise SongError(f"damaged score: {long[0][:20]} in line {music.count(chr(10), 0, long.start()) + 1}")
    for signature in re.findall(r"^(?:\S+\t+)*\*M(\d\S*?)/", music, re.MULTILINE):
        _check_count("metre", signature, MAX_BEATS)
    with contextlib.redirect_stderr(io.StringIO()) as complaints:
        parsed = HumdrumDataCollection(text.splitlines()).parse()
    # music21 leaves out a note that it cannot read, and says so here; "*..." are tandem interpretations, as clefs.
    if lost := re.search(r"Error in parsing event \('(?![*!])(.*)'\) at line (\d+)", complaints.getvalue()):
        raise SongError(f"damaged score: {lost[1][:40]} in line {lost[2]}")
    return list(parsed.scores) if isinstance(parsed, Opus) else [parsed]


def _musicxml(content: bytes) -> tuple[list, set[str]]:
    """One score, and the ids of parts that are drums."""
    from music21.musicxml.xmlToM21 import MusicXMLImporter

    if content.startswith(b"PK\x03\x04"):
        content = _unpacked(content)
    try:
        _check_xml(content)
        root = ElementTree.fromstring(content)
    except (expat.ExpatError, ElementTree.ParseError, LookupError, ValueError) as err:
        raise err if isinstance(err, SongError) else SongError(f"damaged XML: {err}") from err
    drum_parts = _pitch_drums(root)
    importer = MusicXMLImporter()
    importer.xmlRoot = root
    importer.xmlRootToScore(root, importer.stream)
    return [importer.stream], drum_parts


def _unpacked(content: bytes) -> bytes:
    """The score in a packed MusicXML file, a zip whose META-INF/container.xml names it."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            name = _root_file(archive)
            if archive.getinfo(name).file_size > MAX_FILE_BYTES:
                raise SongError(f"larger than {MAX_FILE_BYTES >> 20} MiB unpacked")
            with archive.open(name) as file:
                unpacked = file.read(MAX_FILE_BYTES + 1)
    except SongError:
        raise
    except (*UNPACKING_ERRORS, KeyError, NotImplementedError) as err:
        raise SongError(f"cannot be unpacked: {one_line(err)}") from err
    if len(unpacked) > MAX_FILE_BYTES:
        raise SongError(f"larger than {MAX_FILE_BYTES >> 20} MiB unpacked")
    return unpacked


def _root_file(archive: zipfile.ZipFile) -> str:
    names = archive.namelist()
    if "META-INF/container.xml" in names:
        with archive.open("META-INF/container.xml") as file:
            named = re.search(rb"full-path\s*=\s*[\"']([^\"']*)", file.read(1 << 16))
        if named and (name := named[1].decode("utf-8", "replace")) in names:
            return name
    for name in names:
        if not name.startswith("META-INF") and posixpath.splitext(name)[1].lower() in (".xml", ".musicxml"):
            return name
    raise SongError("holds no score")


def _check_xml(content: bytes) -> None:
    """Refuses what is not MusicXML, and what would take for ever: entities, too many elements, huge counts.

    No score declares entities; a file that does may unfold to any size, which expat stops by itself only from 2.4.1 on.
    """
    cost, depth, n_measures, pieces = 0, 0, 0, []

    def start(tag, attributes):
        nonlocal depth
        if not depth and tag != "score-partwise":
            raise SongError(f"not a MusicXML score that can be read: its root is <{tag[:40]}>, not <score-partwise>")
        spend(1)
        depth += 1
        pieces.clear()
        if depth > 100:
            raise SongError("damaged XML: nested too deep")
        if tag == "ending":
            _check_count(tag, attributes.get("number", ""), 999)

    def end(tag):
        nonlocal depth, n_measures
        depth -= 1
        if tag == "measure":
            n_measures += 1
        elif tag == "part":
            spend(n_measures**2 // 16)    # music21 looks at all measures before to place the next
            n_measures = 0
        elif tag in ("beats", "fifths"):
            spend(_check_count(tag, "".join(pieces), MAX_BEATS) ** 2)
        pieces.clear()

    def spend(elements):
        nonlocal cost
        cost += elements
        if cost > MAX_ELEMENTS:
            raise SongError(f"too long for music21: more than {MAX_ELEMENTS:,} elements, or 5,000 measures")

    def entity(name, *_):
        raise SongError(f"declares XML entities ({name[:40]}), which no score needs")

    parser = expat.ParserCreate()
    parser.StartElementHandler, parser.EndElementHandler, parser.CharacterDataHandler = start, end, pieces.append
    parser.EntityDeclHandler = entity
    parser.Parse(content, True)


def _check_count(what: str, text: str, most: int) -> int:
    """The sum of the numbers in a text, which music21 would count up to.

    Raises:
        SongError: more than `most`.
    """
    numbers = re.findall(r"\d+", text)
    total = sum(map(int, numbers)) if all(len(number) < 10 for number in numbers) else most + 1
    if total > most:
        raise SongError(f"damaged score: {what} {text.strip()[:20]}")
    return total


def _pitch_drums(root: ElementTree.Element) -> set[str]:
    """Gives unpitched notes the pitches of their drums, which music21 does not keep apart, and returns their parts."""
    drum_parts, sounds = set(), {}
    for part in root.iterfind("part-list/score-part"):
        if any((channel.text or "").strip() == "10" for channel in part.iterfind("midi-instrument/midi-channel")):
            drum_parts.add(part.get("id"))
        for instrument in part.iterfind("midi-instrument"):
            sound = (instrument.findtext("midi-unpitched") or "").strip()
            if sound.isdecimal() and 1 <= int(sound) <= N_MIDI_PITCHES:
                sounds[instrument.get("id")] = sounds[part.get("id")] = int(sound) - 1
    for part in root.iterfind("part"):
        for note in part.iterfind("measure/note"):
            unpitched = note.find("unpitched")
            if unpitched is None:
                continue
            drum_parts.add(part.get("id"))
            place = (unpitched.findtext("display-step") or "").strip() + (unpitched.findtext("display-octave") or "").strip()
            instrument = note.find("instrument")
            own = None if instrument is None else sounds.get(instrument.get("id"))
            pitch = own if own is not None else _DRUM_AT.get(place, sounds.get(part.get("id"), 38))
            unpitched[:], unpitched.tag = (), "pitch"
            step, alter = _NAMES[pitch % 12]
            for tag, value in (("step", step), ("alter", alter), ("octave", pitch // 12 - 1)):
                ElementTree.SubElement(unpitched, tag).text = str(value)
    return drum_parts


def _song(score, drum_parts: set[str], name: str) -> Song:
    score.toSoundingPitch(inPlace=True)
    parts: dict[object, _Part] = {}
    frames = []
    for part in score.parts:
        instrument = part.getInstrument()
        key = getattr(instrument, "partId", None) or part
        if key not in parts:
            is_drum = getattr(instrument, "partId", None) in drum_parts
            label = part.partName or instrument.partName or instrument.instrumentName or ""
            parts[key] = _Part(Track(" ".join(str(label).split()), 0 if is_drum else _program(instrument, label), is_drum))
        frame = _Frame()
        _gather(part, 0, parts[key], frame)
        frames.append(frame)
    columns = [_columns(part, index) for index, part in enumerate(parts.values())]
    if not sum(map(len, columns)):
        raise SongError("has no notes")
    notes = Notes(*np.concatenate([column for column in columns if len(column)]).T.astype(np.int64))
    last = max(int(notes.end.max()), 1)
    check_length(last / TICKS_PER_QUARTER)
    # The parts agree in their measures; the one that goes on longest has them all.
    frame = max(frames, key=lambda frame: max(frame.measures, default=-1))
    signatures = tuple(signature for _, signature in sorted(frame.signatures.items()))
    return Song(
        ticks_per_quarter=TICKS_PER_QUARTER,
        tracks=tuple(part.track for part in parts.values()),
        notes=notes,
        tempo=_tempo_map({tick: bpm for frame in reversed(frames) for tick, bpm in frame.tempos.items()}),
        downbeats=_downbeats(frame.measures, signatures, last),
        signatures=signatures,
        name=name,
    )


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


def _gather(stream, offset, part: _Part, frame: _Frame) -> None:
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
                frame.measures[_ticks(at)] = full
            _gather(element, at, part, frame)
        elif isinstance(element, (note.Note, chord.Chord)) and not isinstance(element, harmony.Harmony):
            _gather_notes(element, at, part)
        elif isinstance(element, meter.TimeSignature):
            frame.signatures[_ticks(at)] = Signature(_ticks(at), int(element.numerator), int(element.denominator))
        elif isinstance(element, tempo.MetronomeMark):
            bpm = element.getQuarterBPM()
            if bpm and np.isfinite(bpm) and bpm > 0:
                frame.tempos[_ticks(at)] = float(bpm)
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


def _columns(part: _Part, index: int) -> np.ndarray:
    """[n, 5] track, start, end, pitch, velocity of a part's notes, tied ones as one."""
    loudness = sorted(part.loudness)
    rows, ties = [], {}
    for start, end, pitch, velocity, tie in sorted(part.notes, key=lambda note: note[:3]):
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
