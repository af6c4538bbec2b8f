"""Files of notation as music21's scores: MusicXML and Humdrum kern, checked before music21 sees them.

Its parsers are called on bytes, past `music21.converter`, which keeps pickles of what it parsed in a temporary folder
and loads them.
"""

from __future__ import annotations

import contextlib
import io
import posixpath
import re
import warnings
import zipfile
from collections.abc import Iterator
from xml.etree import ElementTree
from xml.parsers import expat

from musegan.data.events import SongError
from musegan.data.sources import MAX_FILE_BYTES, UNPACKING_ERRORS
from musegan.errors import one_line
from musegan.roll import N_MIDI_PITCHES

MAX_ELEMENTS = 1 << 21    # of a MusicXML file, about 200,000 notes: music21 takes a minute
MAX_KERN_COST = 1 << 30    # lines times tokens of a kern file: music21 takes a minute, a second for a usual one
MAX_BEATS = 64    # in a bar: music21 takes time as the square of it
# Where a drum is written in a staff, for files that do not say what it sounds like (MuseScore's default drum set).
_DRUM_AT = {"D4": 44, "F4": 36, "A4": 41, "C5": 38, "D5": 45, "E5": 48, "F5": 51, "G5": 42, "A5": 49}
_NAMES = (("C", 0), ("C", 1), ("D", 0), ("E", -1), ("E", 0), ("F", 0), ("F", 1), ("G", 0), ("A", -1), ("A", 0),
          ("B", -1), ("B", 0))    # step and alter of the twelve pitch classes


@contextlib.contextmanager
def quiet_music21() -> Iterator[None]:
    """music21 without its warnings, some of which it writes to stderr itself."""
    try:
        import music21    # noqa: F401
    except ImportError as err:
        raise SongError('needs music21: pip install "musegan[scores]"') from err
    with warnings.catch_warnings(), contextlib.redirect_stderr(io.StringIO()):
        warnings.simplefilter("ignore")
        yield


def parse_kern(content: bytes) -> list:
    """The scores (`music21.stream.Score`) of a kern file.

    Raises:
        SongError: no kern, a note that music21 cannot read, or too long for it. (music21 raises others too.)
    """
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


def parse_musicxml(content: bytes) -> tuple[list, set[str]]:
    """The one score of a MusicXML file, packed or not, and the ids of parts that are drums.

    Raises:
        SongError: not MusicXML, damaged, or too long for music21. (music21 raises others too.)
    """
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
            place = "".join((unpitched.findtext(tag) or "").strip() for tag in ("display-step", "display-octave"))
            instrument = note.find("instrument")
            own = None if instrument is None else sounds.get(instrument.get("id"))
            pitch = own if own is not None else _DRUM_AT.get(place, sounds.get(part.get("id"), 38))
            unpitched[:], unpitched.tag = (), "pitch"
            step, alter = _NAMES[pitch % 12]
            for tag, value in (("step", step), ("alter", alter), ("octave", pitch // 12 - 1)):
                ElementTree.SubElement(unpitched, tag).text = str(value)
    return drum_parts
