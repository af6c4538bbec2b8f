"""Rebuilds this folder's music from Debian's `freedoom` package, or checks that it is what the package holds.

    python rebuild.py [--check] PACKAGE.deb|FOLDER [--into FOLDER]

PACKAGE.deb is `freedoom_0.12.1-2_all.deb`; FOLDER is that package unpacked, or any folder with the two WAD files.
A WAD is an archive of named lumps; those named `D_*` are music, stored as plain MIDI. Only the standard library
is used.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import io
import struct
import sys
import tarfile
from pathlib import Path

WADS = {"freedoom1.wad": "phase1", "freedoom2.wad": "phase2"}
DOCUMENTS = {"copyright": "LICENSE", "CREDITS.gz": "CREDITS"}


def music_lumps(wad: bytes) -> dict[str, bytes]:
    """The MIDI files of a WAD by lump name, e.g. `D_E1M1`.

    Raises:
        ValueError: not a WAD, a directory or lump beyond the end, or a music lump that is not MIDI.
    """
    if len(wad) < 12 or wad[:4] not in (b"IWAD", b"PWAD"):
        raise ValueError(f"not a WAD: begins with {wad[:4]!r}")
    n_lumps, directory = struct.unpack_from("<II", wad, 4)
    if directory + 16 * n_lumps > len(wad):
        raise ValueError(f"the WAD's directory of {n_lumps} lumps lies beyond its end")
    lumps = {}
    for position, size, name in struct.iter_unpack("<II8s", wad[directory : directory + 16 * n_lumps]):
        name = name.rstrip(b"\0").decode("ascii", "replace")
        if not name.startswith("D_"):
            continue
        lumps[name] = wad[position : position + size]
        if len(lumps[name]) < size or not lumps[name].startswith(b"MThd"):
            raise ValueError(f"lump {name} is not MIDI")
    return lumps


def midi_name(wad_name: str, lump: str) -> str:
    """File name of a lump: `D_E1M1` of freedoom1.wad is phase1-e1m1.mid, and back the same way."""
    return f"{WADS[wad_name]}-{lump.removeprefix('D_').lower()}.mid"


def package_files(source: Path) -> dict[str, bytes]:
    """The WADs and documents of a .deb or of a folder, by their names without folders.

    Raises:
        ValueError: not a Debian archive with an xz or gz inside.
    """
    wanted = {*WADS, *DOCUMENTS}
    if source.is_dir():
        return {path.name: path.read_bytes() for path in sorted(source.rglob("*")) if path.name in wanted}
    deb = source.read_bytes()
    if not deb.startswith(b"!<arch>\n"):
        raise ValueError("not a .deb")
    at = 8
    while at + 60 <= len(deb):    # ar: 60-byte headers, bodies padded to even length
        name, size = deb[at : at + 16].strip(b" /"), int(deb[at + 48 : at + 58])
        if name.startswith(b"data.tar"):
            with tarfile.open(fileobj=io.BytesIO(deb[at + 60 : at + 60 + size])) as tar:
                members = [m for m in tar if m.isfile() and Path(m.name).name in wanted]
                return {Path(member.name).name: tar.extractfile(member).read() for member in members}
        at += 60 + size + size % 2
    raise ValueError("the .deb has no data.tar")


def folder_files(source: Path) -> dict[str, bytes]:
    """What this folder must hold, by file name, SHA256SUMS included.

    Raises:
        ValueError: a WAD is missing or broken.
    """
    package = package_files(source)
    files = {}
    for wad_name in WADS:
        if wad_name not in package:
            raise ValueError(f"{wad_name} is missing")
        files |= {midi_name(wad_name, lump): midi for lump, midi in music_lumps(package[wad_name]).items()}
    for name, target in DOCUMENTS.items():
        if name in package:
            files[target] = gzip.decompress(package[name]) if name.endswith(".gz") else package[name]
    sums = "".join(f"{hashlib.sha256(files[name]).hexdigest()}  {name}\n" for name in sorted(files))
    return files | {"SHA256SUMS": sums.encode()}


def differences(files: dict[str, bytes], folder: Path) -> list[str]:
    """One line for each file that is missing, differs, or is a MIDI file too many."""
    lines = []
    for name, data in sorted(files.items()):
        path = folder / name
        if not path.is_file():
            lines.append(f"missing: {name}")
        elif path.read_bytes() != data:
            lines.append(f"differs: {name}")
    return lines + [f"unknown: {path.name}" for path in sorted(folder.glob("*.mid")) if path.name not in files]


def main(argv: list[str] | None = None) -> int:
    """Runs the command; returns its exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", type=Path, help="the .deb, or a folder with freedoom1.wad and freedoom2.wad")
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 if the folder differs")
    parser.add_argument("--into", type=Path, default=Path(__file__).parent, help="the folder (default: this one)")
    args = parser.parse_args(argv)
    try:
        files = folder_files(args.source)
    except (OSError, ValueError, tarfile.TarError) as err:
        print(f"{args.source}: {err}", file=sys.stderr)
        return 1
    if args.check:
        lines = differences(files, args.into)
        print("\n".join(lines) or f"identical: {len(files)} files")
        return 1 if lines else 0
    args.into.mkdir(parents=True, exist_ok=True)
    for name, data in files.items():
        (args.into / name).write_bytes(data)
    print(f"wrote {len(files)} files")
    return 0


if __name__ == "__main__":
    sys.exit(main())
