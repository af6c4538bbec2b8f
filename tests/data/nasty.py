"""The worst files by name: each would once have crashed, hung or bloated something, or might."""

from __future__ import annotations

import base64
import io
import pickle
import struct
import zipfile
import zlib
from collections.abc import Callable

import numpy as np

from tests.data.damaged import END, NOTE, SCORE, delta, header, midi_seeds, npy_header, npz, track, zipped

MIB = 1 << 20


def _one_track(body: bytes, ticks_per_quarter: int = 96) -> tuple[str, bytes]:
    return ".mid", header(1, ticks_per_quarter) + track(body + END)


def _programs(n_chunks: int) -> tuple[str, bytes]:
    """Chunks in each of which every channel plays a note on many programs: a track for each."""
    body = b"".join(
        bytes([0, 0xC0 | channel, program, 0, 0x90 | channel, 60, 64, 1, 60, 0]) for channel in range(16)
        for program in range(128)
    )
    return ".mid", header(n_chunks) + track(body + END) * n_chunks


def _channels() -> tuple[str, bytes]:
    body = b"".join(bytes([0, 0x90 | channel, 60, 64, 1, 60, 0]) for channel in range(16))
    return ".mid", header(65535) + track(body + END) * 65535


def _off_grid(n_notes: int) -> tuple[str, bytes]:
    """Notes at random times: no pulse fits them."""
    gaps = np.random.default_rng(0).integers(1, 70, n_notes)
    return _one_track(b"".join(delta(int(gap)) + b"\x90\x3c\x40\0\x3c\0" for gap in gaps), 480)


def _dense(n_quarters: int, n_channels: int) -> tuple[str, bytes]:
    """Every pitch sounds from the start to the end."""
    starts = b"".join(bytes([0, 0x90 | channel]) + b"\0".join(bytes([pitch, 64]) for pitch in range(128))
                      for channel in range(n_channels))
    ends = b"".join(bytes([0, 0x80 | channel]) + b"\0".join(bytes([pitch, 64]) for pitch in range(128))
                    for channel in range(n_channels))
    return _one_track(starts + delta(n_quarters) + b"\xb0\1\1" + ends, 1)


def _many_tracks_many_notes() -> tuple[str, bytes]:
    notes = b"\0".join(b"\x3c\x40\0\x3c\0" for _ in range(1000))
    body = b"".join(bytes([0, 0xC0 | c, p, 0, 0x90 | c]) + notes for c in range(8) for p in range(100))
    return _one_track(body)


def _same_names(n: int) -> tuple[str, bytes]:
    """A zip of one small file under one name, many times, each entry the same bytes."""
    file = zipped([("a.mid", b"MThd")], zipfile.ZIP_STORED)
    at = file.rindex(b"PK\1\2")
    entry = file[at : file.rindex(b"PK\5\6")]
    directory = entry * n
    end = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, min(n, 65535), min(n, 65535), len(directory), at, 0)
    if n > 65535:
        record = struct.pack("<4sQ2H2L4Q", b"PK\6\6", 44, 45, 45, 0, 0, n, n, len(directory), at)
        locator = struct.pack("<4sLQL", b"PK\6\7", 0, at + len(directory), 1)
        end = record + locator + struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 0xFFFF, 0xFFFF, 0xFFFFFFFF, 0xFFFFFFFF, 0)
    return ".zip", file[:at] + directory + end


def _overlapping(n: int, size: int) -> tuple[str, bytes]:
    """A zip whose entries of different names share one compressed stream."""
    file = zipped([("0000.mid", b"MThd" + bytes(size))])
    at = file.rindex(b"PK\1\2")
    entry = file[at : file.rindex(b"PK\5\6")]
    directory = b"".join(entry.replace(b"0000.mid", b"%04d.mid" % i) for i in range(n))
    return ".zip", file[:at] + directory + struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, n, n, len(directory), at, 0)


def _zip64_offset(offset: int) -> tuple[str, bytes]:
    """A zip whose entry claims to lie at an offset of 64 bits."""
    file = zipped([("a.mid", midi_seeds()[0])], zipfile.ZIP_STORED)
    at = file.rindex(b"PK\1\2")
    entry = bytearray(file[at : file.rindex(b"PK\5\6")])
    extra = struct.pack("<HHQ", 1, 8, offset)
    entry[30:32] = struct.pack("<H", len(extra))
    entry[42:46] = b"\xff" * 4
    entry += extra
    return ".zip", file[:at] + entry + struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 1, 1, len(entry), at, 0)


def _encrypted() -> tuple[str, bytes]:
    file = bytearray(zipped([("a.mid", midi_seeds()[0])]))
    file[6] |= 1
    file[file.rindex(b"PK\1\2") + 8] |= 1
    return ".zip", bytes(file)


def _method(number: int, packed: bytes) -> tuple[str, bytes]:
    """A zip whose entry is packed by some method, and claims a size of 1000."""
    file = bytearray(zipped([("a.mid", packed)], zipfile.ZIP_STORED))
    at = file.rindex(b"PK\1\2")
    for place, value, form in ((8, number, "<H"), (at + 10, number, "<H"), (22, 1000, "<L"), (at + 24, 1000, "<L")):
        struct.pack_into(form, file, place, value)
    return ".zip", bytes(file)


def _lzma_dictionary() -> tuple[str, bytes]:
    """An LZMA stream that asks for a dictionary of 4 GiB."""
    file = zipped([("a.mid", midi_seeds()[0])], zipfile.ZIP_LZMA)
    at = file.index(b"a.mid") + 5    # version, length of properties, properties
    return ".zip", file[: at + 5] + b"\xff\xff\xff\xff" + file[at + 9 :]


class _Opens:
    """Would make a file, unpickled."""

    def __reduce__(self):
        return open, ("/tmp/musegan-unpickled", "w")


def _pickled() -> bytes:
    return npy_header(repr({"descr": "|O", "fortran_order": False, "shape": ()}), pickle.dumps(_Opens()))


def _claims(shape: tuple[int, ...], descr: str = "|u1") -> bytes:
    return npy_header(repr({"descr": descr, "fortran_order": False, "shape": shape}), b"\1" * 100)


def _sparse(shape: list[int], index: list[list[int]]) -> tuple[str, bytes]:
    return ".npz", npz(nonzero=np.array(index, np.int64), shape=np.array(shape))


def _score(measures: str, suffix: str = ".musicxml") -> tuple[str, bytes]:
    return suffix, SCORE.replace("MEASURES", measures).encode()


# "MThd" and zeros, packed by bzip2 and by zlib once more.
_BZIP2_OF_1100_MIB = (
    "c-nJ{%CIzaj8qGbyeoCIoVCuvo#6lj0}~4aivt6P0z*IoQ`TZ%V~-V_Ws^L#)}_5)5yG-BscDnXvQ09=NB1%9muX;ZU|<k%U`S+`)zj+W9VE)AH!43WKm6s"
    "Vt0ZeML>o3R9)QTt;0pHT()4W!^s3lBN%K%ko8HuoI{+Nq7BK"
)

_LAUGHS = "".join(f'<!ENTITY l{i} "{f"&l{i - 1};" * 10 if i else "ha"}">' for i in range(10))

NASTY: dict[str, Callable[[], tuple[str, bytes]]] = {
    # MIDI: more of everything than there can be
    "5 million notes": lambda: _one_track(b"\0\x90\x3c\x40" + b"\x01\x3c\0\0\x3c\x40" * (31 * MIB // 6)),
    "a million notes": lambda: _one_track(b"\0\x90\x3c\x40" + b"\x01\x3c\0\0\x3c\x40" * 1_000_000),
    "10 million notes without end": lambda: _one_track(NOTE + b"\x01\x3c\x40" * (31 * MIB // 3)),
    "10 million controls": lambda: _one_track(NOTE + b"\0\xb0\1\1" + b"\x01\x02\x40" * (31 * MIB // 3)),
    "5 million pedals": lambda: _one_track(NOTE + b"\0\xb0\1\1" + b"\x01\x40\x7f\x01\x40\0" * (31 * MIB // 6)),
    "6 million lyrics": lambda: _one_track(NOTE + b"\1\xff\5\1a" * (31 * MIB // 5)),
    "6 million markers": lambda: _one_track(NOTE + b"\1\xff\6\1a" * (31 * MIB // 5)),
    "8 million tempos": lambda: _one_track(NOTE + b"\1\xff\x51\0" * (31 * MIB // 4)),
    "8 million signatures": lambda: _one_track(NOTE + b"\1\xff\x58\0" * (31 * MIB // 4)),
    "a million signatures": lambda: _one_track(b"\0\x90\x3c\x40" + b"\1\xff\x58\4\4\2\x18\x08" * 1_000_000
                                               + b"\0\x3c\0", 96),
    "60,000 signatures": lambda: _one_track(b"\0\x90\x3c\x40" + b"\1\xff\x58\4\4\2\x18\x08" * 60_000 + b"\0\x90\x3c\0", 96),
    "60,000 tempos": lambda: _one_track(b"\0\x90\x3c\x40" + b"\1\xff\x51\3\0\0\1\1\xff\x51\3\xff\xff\xff" * 30_000
                                        + b"\0\x90\x3c\0"),
    "20,000 tracks": lambda: _programs(10),
    "200,000 tracks": lambda: _programs(100),
    "1,600,000 tracks": lambda: _programs(800),
    "a million tracks": _channels,
    "65,535 empty chunks": lambda: (".mid", header(65535) + track(NOTE + END) + track(b"") * 65534),
    "800 tracks of 1000 notes": _many_tracks_many_notes,
    "a long program change": lambda: _one_track(
        b"".join(bytes([0, 0xC0 | i % 16, i // 16, 0, 0x90 | i % 16, 60, 64, 1, 60, 0]) for i in range(2048))
        + b"\0\xb0\1\1" + b"\x01\x02\x40" * (8 * MIB)),
    # MIDI: where the parser could look past the end
    "ends in a tempo without value": lambda: (".mid", header() + track(NOTE + b"\0\xff\x51\0")),
    "ends in a signature without value": lambda: (".mid", header() + track(NOTE + b"\0\xff\x58\0")),
    "ends in a time": lambda: (".mid", header() + track(NOTE + b"\xff\xff\xff\xff")),
    "ends in a status": lambda: (".mid", header() + track(NOTE + b"\0\xff")),
    "ends in a system message": lambda: (".mid", header() + track(NOTE + b"\0\xf0\xff\xff\xff\x7f")),
    "a page and ends in a status": lambda: (".mid",
        header() + track(NOTE + b"\0\xf0" + delta(64 * 4096 - 80) + bytes(64 * 4096 - 80) + b"\0\xff")),
    "a track of 4 GiB": lambda: (".mid", header() + track(NOTE + END, 0xFFFFFFFF)),
    "a track longer by one": lambda: (".mid", header() + track(NOTE + END, len(NOTE + END) + 1)),
    "no tracks claimed": lambda: (".mid", header(0) + track(NOTE + END)),
    "65,535 tracks claimed": lambda: (".mid", header(65535) + track(NOTE + END)),
    "65,535 tracks claimed, rubbish behind": lambda: (".mid", header(65535) + track(NOTE + END) + b"\0\0\0"),
    "a header alone": lambda: (".mid", header()),
    "a header of another length": lambda: (".mid", header(length=0xFFFFFFFF) + track(NOTE + END)),
    "kind 65,535": lambda: (".mid", header(kind=65535) + track(NOTE + END)),
    "system messages running": lambda: _one_track(b"\0\xf0\3\1\2\3\0\1\0\1\0\1" + NOTE),
    "clocks running": lambda: _one_track(b"\0\xf8" + b"\0\0" * 1000 + NOTE),
    "running before any status": lambda: _one_track(b"\0\x3c\x40"),
    "undefined status": lambda: _one_track(b"\0\xf4\0\xf5" + NOTE),
    "pitch and velocity of 255": lambda: _one_track(b"\0\x90\xff\xff" + NOTE),
    # MIDI: absurd numbers
    "0 ticks in a quarter": lambda: _one_track(NOTE, 0),
    "1 tick in a quarter": lambda: _one_track(NOTE * 50, 1),
    "32,767 ticks in a quarter": lambda: _one_track(NOTE * 50, 32767),
    "frames of a film": lambda: _one_track(NOTE, 0xE728),
    "tempo 0": lambda: _one_track(b"\0\xff\x51\3\0\0\0" + NOTE),
    "tempo of 60 million": lambda: _one_track(b"\0\xff\x51\3\0\0\1" + NOTE * 100, 32767),
    "tempo from slowest to fastest": lambda: _one_track(
        b"\0\xff\x51\3\xff\xff\xff" + NOTE + delta(96 * 16000) + b"\xff\x51\3\0\0\1" + NOTE * 100),
    "signature 0/4": lambda: _one_track(b"\0\xff\x58\4\0\2\x18\x08" + NOTE),
    "signature 255/1": lambda: _one_track(b"\0\xff\x58\4\xff\0\x18\x08" + NOTE),
    "signature 4/2^31": lambda: _one_track(b"\0\xff\x58\4\4\x1f\x18\x08" + NOTE),
    "signature 4/2^255": lambda: _one_track(b"\0\xff\x58\4\4\xff\x18\x08" + NOTE),
    "bars of a quarter of a tick": lambda: _one_track(b"\0\xff\x58\4\1\4\x18\x08" + NOTE * 100, 1),
    "time runs over": lambda: _one_track(NOTE + b"\xff\xff\xff\x7f\x90\x3c\x40" * 20 + NOTE),
    "a note of 2^32 ticks": lambda: _one_track(b"\0\x90\x3c\x40" + b"\xff\xff\xff\x7f\xb0\1\1" * 15 + b"\0\x80\x3c\0",
                                               32767),
    "two notes two hours apart": lambda: _one_track(NOTE + delta(96 * 16000) + b"\x90\x3c\x40\1\x3c\0"),
    "all pitches for two hours": lambda: _dense(16000, 1),
    "all pitches on 16 channels": lambda: _dense(4500, 16),
    "100,000 notes off the beat": lambda: _off_grid(100_000),
    "a million notes off the beat": lambda: (".mid", header(1, 480) + track(_crowd() + END)),
    # zips
    "a bomb of 300 MiB": lambda: (".zip", _bomb(300)),
    "a bomb in bzip2": lambda: _method(zipfile.ZIP_BZIP2, zlib.decompress(base64.b85decode(_BZIP2_OF_1100_MIB))),
    "a dictionary of 4 GiB": _lzma_dictionary,
    "300 entries in one place": lambda: _overlapping(300, MIB),
    "20,000 entries of one name": lambda: _same_names(20_000),
    "an entry at 2^63": lambda: _zip64_offset(1 << 63),
    "an entry at 2^64 - 1": lambda: _zip64_offset((1 << 64) - 1),
    "an entry at 2^40": lambda: _zip64_offset(1 << 40),
    "encrypted": _encrypted,
    "packed with method 99": lambda: _method(99, midi_seeds()[0]),
    "packed with deflate64": lambda: _method(9, midi_seeds()[0]),
    "two names of one entry": lambda: (".zip",
        (lambda z: z[: z.rindex(b"a.mid")] + b"b.mid" + z[z.rindex(b"a.mid") + 5 :])(zipped([("a.mid", midi_seeds()[0])]))),
    "names that climb": lambda: (".zip", zipped([(name, midi_seeds()[0])
        for name in ("../../../tmp/x.mid", "/etc/x.mid", "C:\\x.mid", "..\\x.mid", ".mid")])),
    "a zip in a zip": lambda: (".zip", zipped([("a.zip", zipped([("a.mid", midi_seeds()[0])]))])),
    "a zip of nothing": lambda: (".zip", zipped([])),
    # arrays
    "pickled objects": lambda: (".npy", _pickled()),
    "pickled objects in a zip": lambda: (".npz", zipped([("pianoroll.npy", _pickled()), ("info.json", b"{}")])),
    "an array of 2^62": lambda: (".npy", _claims((1 << 62,))),
    "an array of 2^40 x 0": lambda: (".npy", _claims((1 << 40, 0))),
    "an array of 2^33 phrases": lambda: (".npy", _claims((1 << 33, 4, 48, 84, 5))),
    "an array of minus one": lambda: (".npy", _claims((-1, 4, 48, 84, 5))),
    "a header of brackets": lambda: (".npy", npy_header("(" * 30000)),
    "a header that computes": lambda: (".npy", npy_header("{'descr': '|u1', 'fortran_order': False, 'shape': (9**9**9,)}")),
    "zeros of 300 MiB": lambda: (".npz", _zero_npz(300)),
    "a sparse shape of 2^62": lambda: _sparse([1 << 62, 4, 48, 84, 5], [[0], [0], [0], [0], [0]]),
    "a sparse shape of 2^33 phrases": lambda: _sparse([1 << 33, 4, 48, 84, 5], [[(1 << 33) - 1], [0], [0], [0], [0]]),
    "sparse indices beyond the shape": lambda: _sparse([2, 4, 48, 84, 5], [[2], [-1], [0], [1 << 40], [0]]),
    "a sparse shape below zero": lambda: _sparse([-2, -4, 48, 84, 5], [[0], [0], [0], [0], [0]]),
    # scores
    "a billion laughs": lambda: (".musicxml", f"<!DOCTYPE x [{_LAUGHS}]><score-partwise>&l9;</score-partwise>".encode()),
    "a file from outside": lambda: (".musicxml",
        b'<!DOCTYPE x [<!ENTITY e SYSTEM "file:///etc/passwd">]><score-partwise>&e;</score-partwise>'),
    "100,000 elements deep": lambda: (".musicxml", b"<a>" * 100_000),
    "a million measures": lambda: _score("<measure/>" * 1_000_000),
    "a bar repeated a billion times": lambda: _score(
        '<measure><barline><repeat direction="backward" times="1000000000"/></barline></measure>' * 3),
    "repeats within repeats": lambda: _score(('<measure><barline><repeat direction="forward"/></barline></measure>'
        + '<measure><barline><repeat direction="backward" times="99"/></barline></measure>') * 300),
    "a note of 10^30": lambda: _score(
        "<measure><attributes><divisions>1</divisions></attributes>"
        "<note><pitch><step>C</step><octave>4</octave></pitch><duration>" + "9" * 30 + "</duration></note></measure>"),
    "divisions of a million digits": lambda: _score("<measure><attributes><divisions>" + "9" * MIB
                                                    + "</divisions></attributes></measure>"),
    "a spine split a thousand times": lambda: (".krn",
        b"**kern\n" + b"".join(b"\t".join([b"*^"] * (1 << i)) + b"\n" for i in range(12)) + b"*-\n"),
    "a kern duration of 1/10^30": lambda: (".krn", b"**kern\n" + b"9" * 5000 + b"C\n*-\n"),
    "a page of nulls": lambda: (".krn", bytes(MIB)),
    "a mxl bomb": lambda: (".mxl", _bomb(100, "score.xml")),
}    # fmt: skip


def _crowd() -> bytes:
    """A million notes within an hour, on no beat."""
    gaps = np.random.default_rng(0).integers(0, 9, 1_000_000).tolist()
    return b"\0\x90\x3c\x40\0\x3c\0" + b"".join(bytes([gap, 60, 64, 0, 60, 0]) for gap in gaps)


def _bomb(mib: int, name: str = "a.mid") -> bytes:
    """A zip of a file of that size, which is nearly all zeros."""
    file = io.BytesIO()
    with (zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive,
          archive.open(name, "w", force_zip64=True) as entry):    # fmt: skip
        entry.write(b"MThd")
        for _ in range(mib):
            entry.write(bytes(MIB))
    return file.getvalue()


def _zero_npz(mib: int) -> bytes:
    """Phrases in which nothing sounds."""
    shape = (mib * MIB // (4 * 48 * 84 * 5), 4, 48, 84, 5)
    file = io.BytesIO()
    with (zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive,
          archive.open("arr_0.npy", "w", force_zip64=True) as entry):    # fmt: skip
        entry.write(npy_header(repr({"descr": "|b1", "fortran_order": False, "shape": shape})))
        for _ in range(shape[0]):
            entry.write(bytes(4 * 48 * 84 * 5))
    return file.getvalue()
