"""Builds musegan, with its native extension where that is possible.

`MUSEGAN_BUILD_EXT` chooses: 0 leaves the extension out, auto (the default) builds it and installs without it where
that fails, 1 fails with it. A build without it leaves the reason in `musegan/_not_built.txt`, for `musegan info`.
`MUSEGAN_CUDA` chooses likewise for the kernels that nvcc compiles (csrc/cuda/nvcc_build.py), where the extension is
built at all: 0, auto (the default: where there is an nvcc) or 1; the reason goes to `musegan/_cuda_not_built.txt`.
Everything that is not about building is in pyproject.toml.
"""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import pybind11
import torch
from setuptools import find_packages, setup
from torch.utils.cpp_extension import BuildExtension, CppExtension, get_cxx_compiler

sys.path.insert(0, "csrc/cuda")  # not a package: only the build needs it
import nvcc_build  # noqa: E402

MODE = os.environ.get("MUSEGAN_BUILD_EXT", "auto")
if MODE not in ("0", "auto", "1"):
    raise SystemExit(f"MUSEGAN_BUILD_EXT must be 0, auto or 1: got {MODE!r}")
CUDA_MODE = os.environ.get("MUSEGAN_CUDA", "auto")
if CUDA_MODE not in ("0", "auto", "1"):
    raise SystemExit(f"MUSEGAN_CUDA must be 0, auto or 1: got {CUDA_MODE!r}")

DEFINES = ["-DTORCH_TARGET_VERSION=0x020a000000000000", "-DTORCH_STABLE_ONLY"]  # stable ABI of torch 2.10
# For tests of memory safety: MUSEGAN_SANITIZE=1 builds with AddressSanitizer and UndefinedBehaviorSanitizer.
SANITIZE = os.environ.get("MUSEGAN_SANITIZE", "0") == "1"
SANITIZERS = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all"] if SANITIZE else []
FLAGS = [
    "-std=c++17",
    *(["-O1", "-g1", "-fno-omit-frame-pointer", *SANITIZERS] if SANITIZE else ["-O3", "-g0"]),
    "-ffp-contract=off",  # one rounding per step: part of the definition of a sample
    "-fno-trapping-math",  # changes no value: lets g++ vectorize comparisons
    "-fvisibility=hidden",
    "-Wno-uninitialized",  # g++ 12 takes its own AVX-512 headers for wrong
    "-Wno-maybe-uninitialized",
]


class OptionalBuild(BuildExtension):
    """Builds the extension and the CUDA kernels, or records why they were not built."""

    def run(self):
        self.run_nvcc()
        record = Path(self.package_path("_not_built.txt"))
        record.unlink(missing_ok=True)
        reason = "built with MUSEGAN_BUILD_EXT=0" if MODE == "0" else None
        try:
            if reason is None:
                super().run()
        except Exception as err:  # whatever stops a build, the package runs without it
            if MODE == "1":
                raise
            reason = why(err)
        if reason is not None:
            self.leave_out(record, reason)

    def run_nvcc(self):
        record, library = (Path(self.package_path(name)) for name in ("_cuda_not_built.txt", "_C_cuda.so"))
        record.unlink(missing_ok=True)
        try:
            for name, mode in (("MUSEGAN_BUILD_EXT", MODE), ("MUSEGAN_CUDA", CUDA_MODE)):
                if mode == "0":
                    raise nvcc_build.NvccError(f"built with {name}=0")
            nvcc_build.build(library, Path(self.build_temp) / "cuda")
        except nvcc_build.NvccError as err:
            if MODE != "0" and CUDA_MODE == "1":
                raise SystemExit(f"MUSEGAN_CUDA=1, but {err}") from err
            print(f"musegan: CUDA kernels left out: {err}")
            library.unlink(missing_ok=True)
            record.parent.mkdir(parents=True, exist_ok=True)
            record.write_text(f"{err}\n", encoding="utf-8")

    def leave_out(self, record: Path, reason: str):
        print(f"musegan: native extension left out: {reason}")
        for stale in record.parent.glob("_C.*"):  # of an earlier build
            if stale.suffix in (".so", ".pyd", ".dylib"):
                stale.unlink()
        self.extensions = []
        record.parent.mkdir(parents=True, exist_ok=True)
        record.write_text(reason + "\n", encoding="utf-8")

    def package_path(self, name: str) -> str:
        """Where a file of the package goes: the source tree of an editable install, else the build folder."""
        root = "" if self.inplace or self.editable_mode else self.build_lib
        return os.path.join(root, "musegan", name)


def why(err: Exception) -> str:
    """One line on a failed build."""
    compiler = get_cxx_compiler()
    if shutil.which(compiler.split()[0]) is None:
        return f"no C++ compiler: {compiler!r} not found (CXX names another)"
    first_line = (str(err) or type(err).__name__).splitlines()[0]
    return f"building with {compiler!r} failed: {first_line} (MUSEGAN_BUILD_EXT=1 with pip -v shows the whole output)"


extension = CppExtension(
    "musegan._C",
    sources=sorted(map(str, [*Path("csrc").glob("*.cpp"), *Path("csrc/cpu").glob("*.cpp")])),
    include_dirs=[pybind11.get_include()],
    extra_compile_args=[
        *DEFINES,
        *FLAGS,
        f'-DMUSEGAN_BUILD_FLAGS="{" ".join(FLAGS)}"',
        f'-DMUSEGAN_BUILD_TORCH="{torch.__version__}"',
    ],
    extra_link_args=SANITIZERS or (["-Wl,--as-needed", "-Wl,--strip-all"] if sys.platform == "linux" else []),
)

# What ships inside the package, and where it lies in the source tree; there may be no models
FOLDERS = {"musegan.configs": "configs", "musegan.embedded_data": "data", "musegan.embedded_models": "models"}
FOLDERS = {package: folder for package, folder in FOLDERS.items() if Path(folder).is_dir()}

setup(
    packages=[*find_packages(include=["musegan", "musegan.*"]), *FOLDERS],
    package_dir=FOLDERS,
    package_data={package: ["*.yaml" if package == "musegan.configs" else "**/*"] for package in FOLDERS},
    exclude_package_data={"": ["__pycache__/*"]},
    ext_modules=[extension],
    cmdclass={"build_ext": OptionalBuild},
)
