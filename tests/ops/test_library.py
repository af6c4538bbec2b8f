"""How the native library is found, refused and reported."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from musegan import ops
from musegan.ops import _library


def test_the_native_library_is_there():
    """A failure, not a skip, where it was not built; MUSEGAN_NATIVE=off asks to go without."""
    status = ops.native_status()
    if os.environ.get("MUSEGAN_NATIVE") == "off":
        assert (status.loaded, status.reason) == (False, "MUSEGAN_NATIVE=off")
        assert all(kernel == "reference" for devices in ops.op_backends().values() for kernel in devices.values())
        return
    assert status.loaded, status.reason
    assert "-ffp-contract=off" in status.build["flags"] and status.build["torch_target"] == "2.10"
    for op in ("threshold", "bernoulli"):
        assert ops.op_backends()[op]["cpu"].startswith("native")


def test_off_loads_nothing():
    assert _library._load("off") == (None, _library.NativeStatus(False, "MUSEGAN_NATIVE=off"))


def test_unknown_mode():
    with pytest.raises(ValueError, match="MUSEGAN_NATIVE must be off, auto or require: got 'on'"):
        _library._load("on")


def test_absent_is_fine_unless_required(monkeypatch):
    monkeypatch.setattr(_library, "_MODULE", "musegan._C_of_another_name")
    native, status = _library._load("auto")
    assert native is None and not status.loaded and status.reason
    with pytest.raises(ImportError, match=r"MUSEGAN_NATIVE=require, but musegan\._C_of_another_name is absent: \w+"):
        _library._load("require")


@pytest.mark.parametrize("size", [10, 100, 5000, -1])
def test_a_cut_library_is_refused_before_it_is_loaded(tmp_path, size):
    status = ops.native_status()
    if not status.loaded or sys.platform != "linux":
        assert os.environ.get("MUSEGAN_NATIVE") == "off" or sys.platform != "linux", status.reason
        pytest.skip("no ELF library loaded here")
    whole = Path(status.path).read_bytes()
    _library._check_whole(Path(status.path))
    cut = tmp_path / "_C.so"
    cut.write_bytes(whole[:size])
    if size < 64 and size > 0:
        with pytest.raises(ImportError, match="cut short at 10 bytes"):
            _library._check_whole(cut)
    else:
        with pytest.raises(ImportError, match=rf"cut short: \d+ of {len(whole)} bytes"):
            _library._check_whole(cut)


@pytest.mark.parametrize("mode", ["auto", "require"])
def test_present_but_broken_is_an_error(tmp_path, monkeypatch, mode):
    broken = tmp_path / "broken_library.so"
    broken.write_bytes(b"not a library")
    spec = type("Spec", (), {"origin": str(broken)})
    monkeypatch.setattr(_library.PathFinder, "find_spec", lambda name, path: spec)
    monkeypatch.setattr(_library.importlib, "import_module", lambda name: raise_(ImportError("invalid ELF header")))
    with pytest.raises(ImportError, match="broken_library.so is broken: invalid ELF header.*MUSEGAN_NATIVE=off"):
        _library._load(mode)


def raise_(err):
    raise err


@pytest.mark.slow
@pytest.mark.parametrize("level, wanted", [("generic", "generic\n"), ("sse9", "must be generic, avx2 or avx512")])
def test_cpu_level_can_be_chosen(level, wanted):
    if os.environ.get("MUSEGAN_NATIVE") == "off":
        pytest.skip("MUSEGAN_NATIVE=off")
    result = subprocess.run(
        [sys.executable, "-c", "from musegan import ops; print(ops.native_status().cpu_level)"],
        env={**os.environ, "MUSEGAN_CPU_LEVEL": level},
        capture_output=True,
        text=True,
    )
    assert wanted in result.stdout + result.stderr
    assert (result.returncode == 0) == (level == "generic")
