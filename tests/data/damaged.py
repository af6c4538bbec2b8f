"""Files that nobody should meet, made from a seed and a number: mutated, lying and random MIDI, arrays, scores, zips."""

from __future__ import annotations

import functools
import io
import struct
import warnings
import zipfile
from random import Random
from typing import NamedTuple

import numpy as np
import pypianoroll

from musegan.data.pianorolls import to_multitrack
from musegan.data.midi import load_midi
from musegan.resources import dataset_path
from tests.data.songs import midi, scale

END = b"\0\xff\x2f\0"
NOTE = b"\0\x90\x3c\x40\x60\x3c\0"    # a quarter note at 96 ticks; leaves the status of a note-on running
INTERESTING = (0, 1, 2, 0x2F, 0x3C, 0x51, 0x58, 0x7F, 0x80, 0x90, 0x99, 0xB0, 0xC0, 0xE0, 0xF0, 0xF7, 0xFF)
Rng = np.random.Generator


class Case(NamedTuple):
    """A file to be read."""

    kind: str
    suffix: str
    content: bytes


def header(n_tracks: int = 1, ticks_per_quarter: int = 96, kind: int = 1, length: int = 6) -> bytes:
    """A MIDI file's first chunk; the numbers may lie."""
    return b"MThd" + struct.pack(">IHHH", length, kind, n_tracks & 0xFFFF, ticks_per_quarter & 0xFFFF)


def track(body: bytes, length: int | None = None) -> bytes:
    """A chunk of events, whose length may lie."""
    return b"MTrk" + struct.pack(">I", len(body) if length is None else length & 0xFFFFFFFF) + body


def delta(ticks: int) -> bytes:
    """A time difference as a quantity of variable length."""
    parts = [ticks & 0x7F]
    while ticks := ticks >> 7:
        parts.insert(0, ticks & 0x7F | 0x80)
    return bytes(parts)


def zipped(entries: list[tuple[str, bytes]], compression: int = zipfile.ZIP_DEFLATED) -> bytes:
    """A zip; names may be alike."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", compression) as archive:
        for name, content in entries:
            info = zipfile.ZipInfo(name, (2000, 1, 1, 0, 0, 0))
            info.compress_type = compression
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")    # that a name is there already
                archive.writestr(info, content)
    return file.getvalue()


def npy(array: np.ndarray, pickled: bool = False) -> bytes:
    """An array file."""
    file = io.BytesIO()
    np.save(file, array, allow_pickle=pickled)
    return file.getvalue()


def npy_header(text: str, data: bytes = b"") -> bytes:
    """An array file whose header is any text."""
    text += " " * (-(len(text) + 11) % 64) + "\n"
    return b"\x93NUMPY\1\0" + struct.pack("<H", len(text)) + text.encode() + data


def npz(compressed: bool = False, **arrays: np.ndarray) -> bytes:
    """Arrays in a zip."""
    file = io.BytesIO()
    (np.savez_compressed if compressed else np.savez)(file, **arrays)
    return file.getvalue()


# Whole files, from which damaged ones are made.


@functools.cache
def midi_seeds() -> tuple[bytes, ...]:
    """The embedded music, and small files."""
    made = [
        midi([(0, False, scale(4))]),
        midi([(0, False, scale(4)), (33, False, scale(2)), (0, True, [(i * 480, 10, 36) for i in range(16)])]),
        midi([(5, False, scale(3))], 96, ((0, 100.0), (300, 33.0)), ((0, 3, 4), (288, 6, 8), (900, 7, 8))),
        header() + track(NOTE * 64 + END),
        header() + track(b"\0\xff\x51\3\x07\xa1\x20\0\xff\x58\4\3\2\x18\x08\0\xc0\x05" + NOTE * 40 + END),
    ]
    return (*made, *(path.read_bytes() for path in sorted(dataset_path("freedoom").glob("*.mid"))))


@functools.cache
def array_seeds() -> tuple[tuple[str, bytes], ...]:
    """Multitracks of pypianoroll, and phrases as arrays of numpy."""
    rng = np.random.default_rng(0)
    multitracks = []
    for content in midi_seeds()[:2] + midi_seeds()[10:12]:
        file = io.BytesIO()
        pypianoroll.save(file, to_multitrack(load_midi(content), 24))
        multitracks.append((".npz", file.getvalue()))
    phrases = rng.random((3, 4, 48, 84, 5)) < 0.02
    shape = np.array(phrases.shape)
    return (
        *multitracks,
        (".npy", npy(phrases)),
        (".npy", npy(phrases[0].astype(np.float32))),
        (".npy", npy(np.packbits(phrases, axis=-1))),
        (".npz", npz(nonzero=np.array(phrases.nonzero()), shape=shape)),
        (".npz", npz(True, nonzero=np.array(phrases.nonzero()), shape=shape)),
        (".npz", npz(phrases=phrases)),
    )


SCORE = """<?xml version="1.0" encoding="UTF-8"?>
<!DOCTYPE score-partwise PUBLIC "-//Recordare//DTD MusicXML 4.0 Partwise//EN" "http://www.musicxml.org/dtds/partwise.dtd">
<score-partwise version="4.0"><part-list><score-part id="P1"><part-name>Soprano</part-name></score-part></part-list>
<part id="P1">MEASURES</part></score-partwise>
"""
_MEASURE = """<measure number="1"><attributes><divisions>4</divisions><time><beats>4</beats><beat-type>4</beat-type></time>
</attributes><note><pitch><step>C</step><octave>4</octave></pitch><duration>8</duration></note><backup><duration>4</duration>
</backup><note><chord/><pitch><step>E</step><alter>-1</alter><octave>4</octave></pitch><duration>8</duration>
<tie type="start"/></note><barline><repeat direction="backward" times="2"/></barline></measure>"""
HUMDRUM = b"**kern\t**kern\n*M4/4\t*M4/4\n=1\t=1\n4C\t4e-\n8.D\t4f\n16E\t.\n=2\t=2\n1G\t[1g\n*-\t*-\n"


@functools.cache
def score_seeds() -> tuple[tuple[str, bytes], ...]:
    """Scores in the forms they come in."""
    text = SCORE.replace("MEASURES", _MEASURE * 3).encode()
    container = b'<container><rootfiles><rootfile full-path="score.xml"/></rootfiles></container>'
    mxl = zipped([("META-INF/container.xml", container), ("score.xml", text)])
    return (".musicxml", text), (".xml", text), (".mxl", mxl), (".krn", HUMDRUM)


@functools.cache
def zip_seeds() -> tuple[bytes, ...]:
    """Zips of music."""
    songs = midi_seeds()
    return (
        zipped([("a.mid", songs[0]), ("b/c.mid", songs[10]), ("readme.txt", b"hello")]),
        zipped([("a.mid", songs[1])], zipfile.ZIP_STORED),
        zipped([(f"{i}.mid", songs[i]) for i in range(4)], zipfile.ZIP_BZIP2),
        zipped([("a.mid", songs[2]), ("s.krn", HUMDRUM), ("t.npz", array_seeds()[0][1])]),
    )


# What is done to them.


def mutate(content: bytes, rng: Rng) -> bytes:
    """One to a few of: bits flipped, bytes set, put in, taken out, repeated, zeroed, moved; the end cut off."""
    data = bytearray(content)
    for _ in range(int(rng.choice((1, 1, 2, 3, 8, 40)))):
        if not data:
            break
        # The first bytes matter most.
        at = int(rng.integers(len(data)) if rng.random() < 0.85 else rng.integers(min(len(data), 64)))
        size = int(rng.choice((1, 1, 2, 4, 8, 100)))
        match int(rng.integers(9)):
            case 0:
                data[at] ^= 1 << int(rng.integers(8))
            case 1:
                data[at] = int(rng.choice(INTERESTING))
            case 2:
                data[at] = int(rng.integers(256))
            case 3:
                data[at:at] = rng.bytes(size)
            case 4:
                del data[at : at + size]
            case 5:
                data[at:at] = bytes(data[at : at + int(rng.choice((4, 32, 1000)))]) * int(rng.choice((1, 2, 20)))
            case 6:
                data[at : at + size] = bytes([int(rng.choice((0, 0x7F, 0x80, 0xFF)))]) * size
            case 7:
                to = int(rng.integers(len(data)))
                data[to : to + size] = data[at : at + size]
            case 8 if rng.random() < 0.3:
                del data[at:]
    return bytes(data)


def splice(content: bytes, other: bytes, rng: Rng) -> bytes:
    """The beginning of one file and the end of another."""
    return content[: int(rng.integers(len(content)))] + other[int(rng.integers(len(other))) :]


def random_events(random: Random, n_events: int, wrong: float) -> bytes:
    """A track's body: events of every kind, a share of them wrong."""
    parts = [b"\0\x90\x3c\x40"]
    for _ in range(n_events):
        ticks = random.choice((0, 0, 1, 24, 96, 480, 5000)) if random.random() >= wrong else random.randrange(1 << 28)
        parts.append(delta(ticks) if random.random() >= wrong else b"\xff\xff\xff\xff")
        pair = random.randbytes(2) if random.random() < wrong else bytes((random.randrange(48, 64), random.randrange(128)))
        channel = random.choice((0, 0, 0, 1, 9))
        match random.randrange(16):
            case 0 | 1 | 2 | 3 | 4:
                parts.append(bytes([0x90 | channel]) + pair)
            case 5 | 6:
                parts.append(bytes([0x80 | channel]) + pair)
            case 7 | 8 | 9:
                parts.append(pair)    # running status
            case 10:
                parts.append(bytes([0xC0 | channel, pair[0], 0, 0x90 | channel]) + pair)
            case 11:
                parts.append(bytes([random.choice((0xA0, 0xB0, 0xE0)) | channel]) + pair)
            case 12:
                parts.append(bytes([0xFF, random.choice((0x51, 0x58))])
                             + _lying(random.randbytes(random.randrange(6)), random, wrong))
            case 13:
                parts.append(bytes([0xFF, random.randrange(1, 16)])
                             + _lying(random.randbytes(random.randrange(20)), random, wrong))
            case 14:
                parts.append(b"\xf0" + _lying(random.randbytes(random.randrange(9)) + b"\xf7", random, wrong)
                             + b"\0\x90\x3c\x40")
            case 15:
                parts.append(bytes([random.randrange(0xF0, 0x100)]) if random.random() < wrong else b"\x90\x3c\x40")
    return b"".join(parts)


def _lying(data: bytes, random: Random, wrong: float) -> bytes:
    length = len(data) if random.random() >= wrong else random.choice((0, 1, 127, 128, 1 << 20, (1 << 28) - 1))
    return delta(length) + data


def random_midi(random: Random) -> bytes:
    """A MIDI file of random events; its header and lengths may lie."""
    wrong = random.choice((0, 0, 0.002, 0.02))
    n_tracks = random.choice((1, 1, 2, 5, 40))
    claimed = n_tracks if random.random() >= 0.2 else random.choice((0, 1, 100, 0xFFFF))
    ticks = random.choice((1, 2, 3, 24, 96, 480, 960, 0x7FFF) if random.random() >= wrong else (0, 0x8000, 0xE728, 0xFFFF))
    kind = random.choice((0, 1, 1, 1, 1, 2) if random.random() >= wrong else (3, 0xFFFF))
    parts = [header(claimed, ticks, kind, 6 if random.random() >= wrong else random.randrange(20))]
    for _ in range(n_tracks):
        n_events = random.choice((0, 3, 30, 300))
        body = random_events(random, n_events, wrong) if random.random() >= wrong else random.randbytes(200)
        body += END if random.random() < 0.8 else b""
        length = len(body) if random.random() >= wrong else len(body) + random.choice((-5, -1, 1, 4, 1 << 20, 0x7FFFFFFF))
        parts.append(track(body, max(length, 0)))
        if random.random() < 0.05:
            parts.append(b"XFIH" + struct.pack(">I", 3) + b"abc")
    return b"".join(parts) + (b"" if random.random() < 0.9 else random.randbytes(random.randrange(30)))


def absurd_midi(random: Random) -> bytes:
    """A MIDI file that holds to the rules, with absurd numbers."""
    ticks = random.choice((1, 2, 5, 96, 480, 0x7FFF))
    gaps = (0, 1, 7, ticks, 4 * ticks, 40 * ticks)
    events = []
    for _ in range(random.randrange(1, 8)):
        signature = bytes((random.choice((0, 1, 3, 4, 7, 255)), random.choice((0, 1, 2, 3, 6, 7, 8, 31, 255))))
        events.append(delta(random.choice(gaps)) + b"\xff\x58\4" + signature + b"\x18\x08")
        tempo = random.choice((0, 1, 500_000, 0xFFFFFF)).to_bytes(3, "big")
        events.append(delta(random.choice(gaps)) + b"\xff\x51\3" + tempo)
    for _ in range(random.choice((1, 70, 300))):
        channel, pitch = random.choice((0, 1, 9)), random.randrange(128)
        events.append(delta(random.choice(gaps)) + bytes([0x90 | channel, pitch, 64]))
        events.append(delta(random.choice((0, 1, ticks, 9 * ticks))) + bytes([0x80 | channel, pitch, 64]))
    if random.random() < 0.5:
        random.shuffle(events)
    return header(1, ticks) + track(b"".join(events) + END)


def damaged_array(rng: Rng) -> tuple[str, bytes]:
    """An array file or a zip of arrays that is bent, lies about itself, or holds Python objects."""
    seeds = array_seeds()
    suffix, content = seeds[rng.integers(len(seeds))]
    if rng.random() < 0.3:
        return suffix, mutate(content, rng)
    if suffix == ".npz":    # one member bent before the zip is closed over it, so that its sum is right
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            members = [(name, archive.read(name)) for name in archive.namelist()]
        which = int(rng.integers(len(members)))
        name, data = members[which]
        members[which] = (name, _bent_array(data, rng) if rng.random() < 0.8 else b"")
        if rng.random() < 0.1:
            members.append(members[int(rng.integers(len(members)))])
        if rng.random() < 0.1:
            del members[int(rng.integers(len(members)))]
        return suffix, zipped(members, int(rng.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED))))
    return suffix, _bent_array(content, rng)


def _bent_array(data: bytes, rng: Rng) -> bytes:
    shape = tuple(int(rng.choice((0, 1, 5, 84, 128, 1 << 20, 1 << 31, 1 << 62))) for _ in range(rng.integers(7)))
    dtype = str(rng.choice(("|b1", "|u1", "<f8", "<f4", "<i8", ">i2", "|O", "<U9", "|V7", "<M8[s]", "<c16", "<f2", "no")))
    match int(rng.integers(6)):
        case 0 | 1:
            return mutate(data, rng)
        case 2:
            return npy_header(repr({"descr": dtype, "fortran_order": bool(rng.integers(2)), "shape": shape}), data[128:])
        case 3:
            return npy(np.array([{"a": 1}, None, [3]], object), True)
        case 4:
            return npy_header("(" * int(rng.integers(200)) + "1" * int(rng.integers(60000)))
        case _:
            values = rng.choice((0.0, 1.0, np.nan, np.inf, -1.0, 1e300, 1e-320, 2.0**63),
                                rng.integers(0, 9, rng.integers(5)))
            with np.errstate(all="ignore"):
                return npy(values.astype(rng.choice((bool, np.uint8, np.int64, np.float64, np.float32))))


def damaged_score(rng: Rng) -> tuple[str, bytes]:
    """A score with bytes or numbers changed."""
    seeds = score_seeds()
    suffix, content = seeds[rng.integers(len(seeds))]
    if suffix == ".mxl" and rng.random() < 0.7:
        bent = _bent_score(score_seeds()[0][1], rng)
        return suffix, zipped([("META-INF/container.xml",
            b'<container><rootfiles><rootfile full-path="s.xml"/></rootfiles></container>'), ("s.xml", bent)])
    return suffix, _bent_score(content, rng) if suffix != ".mxl" else mutate(content, rng)


def _bent_score(content: bytes, rng: Rng) -> bytes:
    if rng.random() < 0.5:
        return mutate(content, rng)
    digits = [i for i, byte in enumerate(content) if 48 <= byte < 58]
    at = int(rng.choice(digits))
    number = str(rng.choice(("0", "-1", "1e9", "999999999999", "1/0", "", "nan", "0.0001", "9" * 5000)))
    return content[:at] + number.encode() + content[at + 1 :]


def damaged_zip(rng: Rng) -> bytes:
    """A zip with bytes changed, or with names and contents that should not be."""
    if rng.random() < 0.5:
        seeds = zip_seeds()
        return mutate(seeds[rng.integers(len(seeds))], rng)
    names = ("a.mid", "../../a.mid", "/etc/a.mid", "..\\a.mid", "a\n.mid", ".mid", "\x1b[2J.mid", "a.mid", "é/ü.mid",
             "x.npz", "x.krn",
             "C:\\a.mid", "a" * 3000 + ".mid", "b.zip", "//.mid", "a.mid/", "con.mid", "x.mxl")    # fmt: skip
    songs = midi_seeds()
    entries = [(str(rng.choice(names)), mutate(songs[rng.integers(len(songs))], rng)) for _ in range(rng.integers(1, 6))]
    method = int(rng.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA)))
    return zipped(entries, method) if rng.random() < 0.7 else mutate(zipped(entries, method), rng)


def make(seed: int, number: int) -> Case:
    """The file of a number: the same for the same seed."""
    rng = np.random.default_rng((seed, number))
    songs = midi_seeds()
    song = songs[rng.integers(len(songs))]
    place = number % 100
    if place < 30:
        return Case("mutated midi", ".mid", mutate(song, rng))
    if place < 35:
        return Case("spliced midi", ".mid", splice(song, songs[rng.integers(len(songs))], rng))
    if place < 55:
        return Case("random midi", ".mid", random_midi(Random(int(rng.integers(1 << 62)))))
    if place < 68:
        return Case("absurd midi", ".mid", absurd_midi(Random(int(rng.integers(1 << 62)))))
    if place < 70:
        return Case("random bytes", str(rng.choice((".mid", ".npz", ".npy", ".mxl", ".xml", ".krn", ".zip"))),
                    rng.bytes(int(rng.choice((0, 1, 14, 500, 20000)))))
    if place < 80:
        return Case("damaged array", *damaged_array(rng))
    if place < 87:
        return Case("damaged score", *damaged_score(rng))
    return Case("damaged zip", ".zip", damaged_zip(rng))
