"""The embedded data set is what its sums say, and `rebuild.py` makes it from WADs."""

import gzip
import hashlib
import importlib.util
import io
import struct
import tarfile

import pytest

from musegan.resources import dataset_path

FOLDER = dataset_path("freedoom")
MIDI = b"MThd\0\0\0\6 and so on"


@pytest.fixture(scope="module")
def rebuild():
    spec = importlib.util.spec_from_file_location("rebuild", FOLDER / "rebuild.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def wad(lumps):
    bodies, directory = b"", b""
    for name, data in lumps.items():
        directory += struct.pack("<II8s", 12 + len(bodies), len(data), name.encode())
        bodies += data
    return b"IWAD" + struct.pack("<II", len(lumps), 12 + len(bodies)) + bodies + directory


@pytest.fixture
def package(tmp_path):
    """A package unpacked: two WADs and two documents, in folders."""
    folder = tmp_path / "package"
    (folder / "doc").mkdir(parents=True)
    (folder / "freedoom1.wad").write_bytes(wad({"PLAYPAL": b"colours", "D_E1M1": MIDI + b"1", "DEMO1": b""}))
    (folder / "freedoom2.wad").write_bytes(wad({"D_THE_DA": MIDI + b"2"}))
    (folder / "doc" / "copyright").write_text("do as you like")
    (folder / "doc" / "CREDITS.gz").write_bytes(gzip.compress(b"everybody"))
    return folder


def test_the_folder_is_what_its_sums_say():
    sums = dict(reversed(line.split("  ")) for line in (FOLDER / "SHA256SUMS").read_text().splitlines())
    assert {path.name for path in FOLDER.glob("*.mid")} | {"LICENSE", "CREDITS"} == set(sums)
    assert len(sums) == 67 + 2
    for name, digest in sums.items():
        assert hashlib.sha256((FOLDER / name).read_bytes()).hexdigest() == digest, name


def test_rebuild_from_a_folder_and_check(rebuild, package, tmp_path, capsys):
    into = tmp_path / "into"
    assert rebuild.main([str(package), "--into", str(into)]) == 0
    assert (into / "phase1-e1m1.mid").read_bytes() == MIDI + b"1"
    assert (into / "phase2-the_da.mid").read_bytes() == MIDI + b"2"
    assert (into / "CREDITS").read_bytes() == b"everybody"
    assert rebuild.main(["--check", str(package), "--into", str(into)]) == 0
    (into / "phase1-e1m1.mid").write_bytes(MIDI)
    (into / "phase1-new.mid").write_bytes(MIDI)
    (into / "LICENSE").unlink()
    capsys.readouterr()
    assert rebuild.main(["--check", str(package), "--into", str(into)]) == 1
    assert capsys.readouterr().out.splitlines() == [
        "missing: LICENSE",
        "differs: phase1-e1m1.mid",
        "unknown: phase1-new.mid",
    ]


def test_rebuild_from_a_deb_is_the_same(rebuild, package, tmp_path):
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w:xz") as tar:
        tar.add(package, arcname="./usr/share")
    deb = b"!<arch>\n"
    for name, body in (("debian-binary", b"2.0"), ("data.tar.xz", data.getvalue())):
        deb += f"{name:<16}{0:<12}{0:<6}{0:<6}{100644:<8}{len(body):<10}`\n".encode() + body + b"\n" * (len(body) % 2)
    path = tmp_path / "package.deb"
    path.write_bytes(deb)
    assert rebuild.folder_files(path) == rebuild.folder_files(package)


@pytest.mark.parametrize(
    "wad1, message",
    [
        (b"WAD? no", "not a WAD"),
        (b"IWAD" + struct.pack("<II", 9, 12), "directory of 9 lumps lies beyond its end"),
        (wad({"D_E1M1": b"MUS\x1a"}), "lump D_E1M1 is not MIDI"),
        (None, "freedoom1.wad is missing"),
    ],
)
def test_a_broken_package_is_told(rebuild, package, capsys, wad1, message):
    path = package / "freedoom1.wad"
    path.unlink() if wad1 is None else path.write_bytes(wad1)
    assert rebuild.main(["--check", str(package)]) == 1
    assert message in capsys.readouterr().err
