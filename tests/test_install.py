"""What `pip install` leaves: with and without a compiler, and from any folder."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from musegan import ops

ROOT = Path(__file__).resolve().parent.parent
USE = """
import pathlib, sys, torch
import musegan
from musegan import ops, resources
assert pathlib.Path(musegan.__file__).is_relative_to(sys.argv[1]), musegan.__file__
assert resources.config_names() and resources.dataset_names()
assert any(resources.dataset_path("freedoom").glob("*.mid"))
print(ops.bernoulli(torch.linspace(-3, 3, 1000), seed=7).nonzero().flatten().tolist())
"""

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not (ROOT / "setup.py").is_file(), reason="not run from a source tree"),
]


@pytest.fixture(scope="module")
def source(tmp_path_factory) -> Path:
    """A copy of what the package is built from, so that builds leave the tree as it is."""
    copy = tmp_path_factory.mktemp("source")
    ignore = shutil.ignore_patterns("__pycache__", "*.so", "_*not_built.txt")
    for name in ("musegan", "csrc", "configs", "data", "models"):
        shutil.copytree(ROOT / name, copy / name, ignore=ignore)
    for name in ("setup.py", "pyproject.toml", "LICENSE", "MANIFEST.in", "README.md"):
        if (ROOT / name).is_file():
            shutil.copy(ROOT / name, copy)
    return copy


def pip(source: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "pip", *arguments, "--no-build-isolation", "--no-deps", "--no-index", str(source)]
    return run(command, cwd=source, **variables)


def run(command: list[str], cwd: Path, **variables: str) -> subprocess.CompletedProcess:
    env = {key: value for key, value in os.environ.items() if not key.startswith("MUSEGAN_")}
    env["MUSEGAN_CUDA"] = "0"  # half a minute each
    return subprocess.run(command, cwd=cwd, env={**env, **variables}, capture_output=True, text=True)


def use(target: Path, cwd: Path, **variables: str) -> subprocess.CompletedProcess:
    """Samples with the package installed in `target`, which may stand before an editable install."""
    cwd.mkdir(exist_ok=True)
    return run([sys.executable, "-c", USE, str(target)], cwd=cwd, PYTHONPATH=str(target), **variables)


@pytest.fixture(scope="module")
def without(source, tmp_path_factory) -> Path:
    """The package installed without the extension, because the compiler fails."""
    target = tmp_path_factory.mktemp("without")
    result = pip(source, "install", "--target", str(target), MUSEGAN_BUILD_EXT="auto", CXX="/bin/false")
    assert result.returncode == 0, result.stderr
    return target


def test_wheel_holds_modules_configs_and_data(source, tmp_path):
    result = pip(source, "wheel", "-w", str(tmp_path), MUSEGAN_BUILD_EXT="0")
    assert result.returncode == 0, result.stderr
    (wheel,) = tmp_path.glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    for path in (source / "musegan").rglob("*.py"):
        assert path.relative_to(source).as_posix() in names
    for folder, inside in (("configs", "configs"), ("data", "embedded_data"), ("models", "embedded_models")):
        for path in (source / folder).rglob("*"):
            if path.is_file():
                assert f"musegan/{inside}/{path.relative_to(source / folder).as_posix()}" in names
    assert not any(name.endswith((".so", ".cpp", ".pyc")) for name in names)
    with zipfile.ZipFile(wheel) as archive:
        for record in ("_not_built.txt", "_cuda_not_built.txt"):
            assert archive.read(f"musegan/{record}") == b"built with MUSEGAN_BUILD_EXT=0\n"
    assert not (source / "musegan" / "_not_built.txt").exists()


def test_without_a_compiler_it_installs_says_why_and_samples_the_same(without, tmp_path):
    result = use(without, tmp_path / "elsewhere")
    assert result.returncode == 0, result.stderr
    import torch

    samples = ops.bernoulli(torch.linspace(-3, 3, 1000), seed=7).nonzero().flatten().tolist()
    assert result.stdout.strip() == str(samples)

    result = run([sys.executable, "-m", "musegan", "info", "--json"], cwd=tmp_path, PYTHONPATH=str(without))
    assert "building with '/bin/false' failed" in result.stdout, result.stderr
    result = use(without, tmp_path / "elsewhere", MUSEGAN_NATIVE="require")
    assert result.returncode == 1
    assert "MUSEGAN_NATIVE=require, but musegan._C is absent: building with '/bin/false' failed" in result.stderr


def test_a_missing_compiler_is_named(source, tmp_path):
    target = tmp_path / "target"
    assert pip(source, "install", "--target", str(target), CXX="no-such-compiler").returncode == 0
    reason = (target / "musegan" / "_not_built.txt").read_text()
    assert reason == "no C++ compiler: 'no-such-compiler' not found (CXX names another)\n"


def test_a_required_build_that_fails_fails_the_install(source, tmp_path):
    result = pip(source, "install", "--target", str(tmp_path / "target"), MUSEGAN_BUILD_EXT="1", CXX="/bin/false")
    assert result.returncode != 0
    assert not (tmp_path / "target" / "musegan").exists()


def test_unknown_build_mode(source, tmp_path):
    result = pip(source, "install", "--target", str(tmp_path / "target"), MUSEGAN_BUILD_EXT="yes")
    assert result.returncode != 0
    assert "MUSEGAN_BUILD_EXT must be 0, auto or 1: got 'yes'" in result.stdout + result.stderr


@pytest.fixture
def nvcc_that_fails(tmp_path) -> Path:
    """A CUDA_HOME."""
    nvcc = tmp_path / "cuda" / "bin" / "nvcc"
    nvcc.parent.mkdir(parents=True)
    nvcc.write_text("#!/bin/sh\necho 'line 1: a note'; echo 'x.cu(7): error: this nvcc always fails' >&2; exit 3\n")
    nvcc.chmod(0o755)
    return nvcc.parent.parent


def build_ext(source: Path, folder: Path, **variables: str) -> subprocess.CompletedProcess:
    folders = ["--build-lib", str(folder), "--build-temp", str(folder / "temp")]
    command = [sys.executable, "setup.py", "build_ext", *folders]
    return run(command, cwd=source, CXX="/bin/false", **variables)


def test_unknown_cuda_mode(source, tmp_path):
    result = build_ext(source, tmp_path, MUSEGAN_CUDA="maybe")
    assert result.returncode == 1 and result.stderr == "MUSEGAN_CUDA must be 0, auto or 1: got 'maybe'\n"


def test_required_cuda_kernels_need_nvcc(source, tmp_path, nvcc_that_fails):
    result = build_ext(source, tmp_path, MUSEGAN_CUDA="1", CUDA_HOME=str(tmp_path))
    assert result.returncode == 1 and f"MUSEGAN_CUDA=1, but no nvcc in {tmp_path}/bin (CUDA_HOME)" in result.stderr
    result = build_ext(source, tmp_path, MUSEGAN_CUDA="1", CUDA_HOME=str(nvcc_that_fails))
    assert result.returncode == 1 and "bin/nvcc failed: x.cu(7): error: this nvcc always fails" in result.stderr


def test_cuda_kernels_that_cannot_be_built_are_left_out_and_said_so(source, tmp_path, nvcc_that_fails):
    record = tmp_path / "musegan" / "_cuda_not_built.txt"
    for home, reason in ((tmp_path, "no nvcc in "), (nvcc_that_fails, "error: this nvcc always fails")):
        result = build_ext(source, tmp_path, MUSEGAN_CUDA="auto", CUDA_HOME=str(home))
        assert result.returncode == 0, result.stderr
        assert reason in record.read_text() and reason in result.stdout
        assert not (tmp_path / "musegan" / "_C_cuda.so").exists()


def test_a_broken_library_is_an_error_that_names_the_way_round(without, tmp_path):
    if os.environ.get("MUSEGAN_NATIVE") == "off":
        pytest.skip("MUSEGAN_NATIVE=off")
    assert ops.native_status().loaded, ops.native_status().reason
    library = Path(ops.native_status().path)
    target = tmp_path / "target"
    shutil.copytree(without, target)
    (target / "musegan" / library.name).write_bytes(library.read_bytes()[: library.stat().st_size // 2])
    for mode in ("auto", "require"):
        result = use(target, tmp_path / "elsewhere", MUSEGAN_NATIVE=mode)
        assert result.returncode == 1
        assert "is broken: cut short" in result.stderr and "set MUSEGAN_NATIVE=off" in result.stderr
    assert use(target, tmp_path / "elsewhere", MUSEGAN_NATIVE="off").returncode == 0
