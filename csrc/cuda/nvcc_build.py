"""Builds `musegan/_C_cuda.so` with nvcc: what setup.py needs to know of CUDA.

torch's CUDAExtension cannot be used where the torch of the build has no CUDA, and that is the torch that pip gives an
isolated build. The sources use the stable ABI, so such a torch is enough.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from torch.utils.cpp_extension import TORCH_LIB_PATH, include_paths

FOLDER = Path("csrc/cuda")  # setup.py runs in the root of the source tree
SOURCES = sorted(FOLDER.glob("*.cu"))
INPUTS = [*SOURCES, *FOLDER.glob("*.cuh"), *FOLDER.glob("*.h"), *FOLDER.glob("*.py"), *Path("csrc").glob("*.h")]
ARCHITECTURES = (75, 80, 90, 100, 120)  # T4, A100, H100, B200, RTX 50; newer ones compile the PTX of the last
FLAGS = [
    "-std=c++17",
    "-O3",
    "-fmad=false",  # one rounding per step: part of the definition of a sample
    "-DTORCH_TARGET_VERSION=0x020d000000000000",  # stable ABI of torch 2.13, the first that gives a stream's handle
    "-DTORCH_STABLE_ONLY",
    "-Xcompiler=-fPIC,-fvisibility=hidden,-ffp-contract=off,-g0",
]


class NvccError(RuntimeError):
    """Why the CUDA kernels cannot be built, in one line."""


def build(library: Path, objects: Path) -> None:
    """Compiles csrc/cuda/*.cu and links `library`, unless it is newer than all it is made of.

    Args:
        objects: folder for object files.
    Raises:
        NvccError: no nvcc, or it fails.
    """
    nvcc = find_nvcc()
    if library.is_file() and all(path.stat().st_mtime < library.stat().st_mtime for path in INPUTS):
        return
    library.unlink(missing_ok=True)
    for folder in (library.parent, objects):
        folder.mkdir(parents=True, exist_ok=True)
    flags = [*FLAGS, *code_flags(nvcc), *(f"-I{path}" for path in include_paths())]
    compiled = [objects / f"{source.stem}.o" for source in SOURCES]
    commands = [[nvcc, "-c", str(source), "-o", str(to), *flags] for source, to in zip(SOURCES, compiled)]
    with ThreadPoolExecutor(int(os.environ.get("MAX_JOBS", os.cpu_count() or 1))) as pool:
        list(pool.map(run, commands))
    torch_libraries = [f"-L{TORCH_LIB_PATH}", "-ltorch_cpu", "-lc10"]  # never libtorch_cuda: it loads without it
    linked = objects / library.name
    link = ["-shared", "-cudart=static", "-Xlinker=--as-needed,--strip-all"]
    run([nvcc, *link, "-o", str(linked), *map(str, compiled), *torch_libraries])
    shutil.copyfile(linked, library)  # whole, or not at all


def find_nvcc() -> str:
    """nvcc of CUDA_HOME, or of the PATH."""
    if sys.platform != "linux":
        raise NvccError("CUDA kernels are built on Linux only")
    home = os.environ.get("CUDA_HOME")
    nvcc = shutil.which("nvcc", path=os.path.join(home, "bin")) if home else shutil.which("nvcc")
    if nvcc is None:
        raise NvccError(f"no nvcc in {home}/bin (CUDA_HOME)" if home else "no nvcc in PATH, and CUDA_HOME is not set")
    return nvcc


def code_flags(nvcc: str) -> list[str]:
    """Machine code for the architectures that this nvcc knows, and PTX of the highest."""
    known = run([nvcc, "--list-gpu-arch"]).split()
    wanted = [architecture for architecture in ARCHITECTURES if f"compute_{architecture}" in known]
    if not wanted:
        raise NvccError(f"{nvcc} knows none of the architectures {ARCHITECTURES}")
    flags = [f"-gencode=arch=compute_{a},code=sm_{a}" for a in wanted]
    return [*flags, f"-gencode=arch=compute_{wanted[-1]},code=compute_{wanted[-1]}"]


def run(command: list[str]) -> str:
    try:
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout
    except OSError as err:
        raise NvccError(f"{command[0]} cannot be run: {err}") from err
    except subprocess.CalledProcessError as err:
        output = err.stdout + err.stderr
        print(" ".join(command), output, sep="\n", file=sys.stderr)  # pip -v shows it
        lines = [line for line in output.splitlines() if "error" in line] or output.splitlines() or ["no message"]
        hint = "MUSEGAN_CUDA=1 with pip -v shows the whole output"
        raise NvccError(f"{command[0]} failed: {lines[0].strip()} ({hint})") from err
