"""The torch library `musegan`: schemas, reference kernels, and the loading of the native ones.

Python owns every schema and registers a plain-torch reference as the general kernel; importing
`musegan._C` adds CPU kernels, which the dispatcher prefers, and where there is a GPU, loading
`_C_cuda.so` adds CUDA kernels. `MUSEGAN_NATIVE` chooses at import: `auto` (the default) takes the
native kernels where they were built, `require` insists on those for the CPU, `off` leaves all out.
A library that is present but broken is always an error.
"""

from __future__ import annotations

import importlib
import os
import struct
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from importlib.machinery import PathFinder
from pathlib import Path
from types import ModuleType

import torch
from torch import Tensor

import musegan
from musegan.errors import UserError

_LIBRARY = torch.library.Library("musegan", "DEF")
_MODULE = "musegan._C"
_CUDA_FILE = "_C_cuda.so"
_CUDA_TORCH = (2, 13)  # csrc/cuda/nvcc_build.py: TORCH_TARGET_VERSION
_OPS: list[str] = []


class NativeError(UserError, ImportError):
    """The native library is not as `MUSEGAN_NATIVE` wants it, or broken."""


@dataclass(frozen=True)
class NativeStatus:
    """Whether the native kernels run, and which."""

    loaded: bool
    """True where `musegan._C` was loaded."""
    reason: str
    """Why it was not loaded; empty where it was."""
    path: str = ""
    """The library's file."""
    cpu_level: str = ""
    """Instruction sets the kernels may use: generic, avx2 or avx512."""
    build: dict[str, str] = field(default_factory=dict)
    """Compiler, flags, torch of the build and lowest torch it runs with."""
    cuda_path: str = ""
    """The file of the CUDA kernels; empty where they were not loaded."""
    cuda_reason: str = ""
    """Why they were not loaded; empty where they were."""


def define(schema: str, reference: Callable, fake: Callable, autograd: tuple[Callable, Callable] | None = None) -> None:
    """Adds an op: `schema` as torch writes it, its kernel in plain torch, and its shape function.

    Under `vmap` it runs once for each example, so that each result is that of a call of its own.

    Args:
        autograd: the functions `setup_context` and `backward` of `torch.library.register_autograd`, where the op
            has a gradient.
    """
    name = schema.partition("(")[0]
    _LIBRARY.define(schema, tags=torch.Tag.pt2_compliant_tag)
    _LIBRARY.impl(name, reference, "CompositeExplicitAutograd")
    torch.library.register_fake(f"musegan::{name}", fake, lib=_LIBRARY)
    if autograd is not None:
        torch.library.register_autograd(f"musegan::{name}", autograd[1], setup_context=autograd[0], lib=_LIBRARY)
    torch.library.register_vmap(f"musegan::{name}", partial(_one_by_one, name), lib=_LIBRARY)
    _OPS.append(name)


def _one_by_one(name: str, info, in_dims: tuple, *arguments):
    """The vmap rule of op `name`: one call for each example, stacked along a new first axis."""

    def example(argument, dim, i: int):
        if isinstance(argument, (list, tuple)) and isinstance(dim, (list, tuple)):
            return [example(a, d, i) for a, d in zip(argument, dim)]
        return argument if dim is None else argument.select(dim, i)

    op = getattr(torch.ops.musegan, name)
    results = [op(*(example(a, d, i) for a, d in zip(arguments, in_dims))) for i in range(info.batch_size)]
    if not results:
        raise ValueError(f"{name} under vmap needs at least one example: got none")
    try:
        if isinstance(results[0], Tensor):
            return torch.stack(results), 0
        return tuple(torch.stack(parts) for parts in zip(*results)), (0,) * len(results[0])
    except RuntimeError as err:
        raise ValueError(f"{name} cannot run under vmap where examples give results of different sizes") from err


def native_status() -> NativeStatus:
    """How the native library was loaded when this process began."""
    return _STATUS


def op_backends() -> dict[str, dict[str, str]]:
    """For each op, the kernel that runs on each device: `native (LEVEL)` or `reference`."""
    levels = {"CPU": _NATIVE.cpu_level() if _NATIVE else "", "CUDA": "cuda"}
    backends = {}
    for op in _OPS:
        by_device = {}
        for device in ("CPU", "CUDA"):
            native = torch._C._dispatch_has_kernel_for_dispatch_key(f"musegan::{op}", device)
            by_device[device.lower()] = f"native ({levels[device]})" if native else "reference"
        backends[op] = by_device
    return backends


def _load(mode: str) -> tuple[ModuleType | None, NativeStatus]:
    """The native module, or None and why.

    Raises:
        NativeError: `mode` is not off, auto or require; the library is required and absent, or present and broken.
    """
    if mode not in ("off", "auto", "require"):
        raise NativeError(f"MUSEGAN_NATIVE must be off, auto or require: got {mode!r}")
    if mode == "off":
        return None, NativeStatus(False, "MUSEGAN_NATIVE=off")
    spec = PathFinder.find_spec(_MODULE, musegan.__path__)  # beside this package, not of another install
    if spec is None:
        reason = _why_absent("_not_built.txt")
        if mode == "require":
            raise NativeError(f"MUSEGAN_NATIVE=require, but {_MODULE} is absent: {reason}")
        return None, NativeStatus(False, reason)
    try:
        _check_whole(Path(spec.origin))
        native = importlib.import_module(_MODULE)
        level, build = native.cpu_level(), native.build_facts()
    except ValueError as err:    # of MUSEGAN_CPU_LEVEL
        raise NativeError(str(err)) from err
    except (ImportError, OSError) as err:
        raise _broken(spec.origin, err) from err
    return native, NativeStatus(True, "", spec.origin, level, build)


def _load_cuda(mode: str) -> tuple[str, str]:
    """Registers the CUDA kernels where a GPU of NVIDIA can run them: the library's path, or "" and why not.

    Raises:
        NativeError: the library is present and broken.
    """
    if mode == "off":
        return "", "MUSEGAN_NATIVE=off"
    library = Path(__file__).parent.parent / _CUDA_FILE
    if not library.is_file():
        return "", _why_absent("_cuda_not_built.txt")
    if torch.version.cuda is None:    # ROCm's devices call themselves cuda too
        return "", f"torch {torch.__version__} is built without CUDA"
    if torch.__version__ < _CUDA_TORCH:
        return "", f"torch {torch.__version__}: the CUDA kernels run from torch {_CUDA_TORCH[0]}.{_CUDA_TORCH[1]} on"
    if torch.cuda.device_count() == 0:  # is_available() would start CUDA, and forked processes could not use it then
        return "", "torch finds no GPU"
    try:
        _check_whole(library)
        torch.ops.load_library(library)
    except (ImportError, OSError) as err:
        raise _broken(library, err) from err
    return str(library), ""


def _broken(library: Path | str, err: Exception) -> NativeError:
    return NativeError(
        f"the native library {library} is broken: {err}. "
        "Reinstall musegan, or set MUSEGAN_NATIVE=off to run on the reference kernels"
    )


def _why_absent(record_name: str) -> str:
    record = Path(__file__).parent.parent / record_name  # written by setup.py
    if record.is_file():
        return record.read_text(encoding="utf-8").strip()
    return "never built here: this is a source tree, and `pip install -e .` builds it"


def _check_whole(library: Path) -> None:
    """Raises ImportError for an ELF file shorter than its own tables say: loading it would kill the process."""
    size = library.stat().st_size
    with library.open("rb") as file:
        header = file.read(64)
    if header[:5] != b"\x7fELF\x02":  # not 64-bit ELF: left to the loader
        return
    if len(header) < 64:
        raise ImportError(f"cut short at {size} bytes")
    order = "<" if header[5] == 1 else ">"
    (sections_at,) = struct.unpack_from(f"{order}Q", header, 40)
    entry_size, n_entries = struct.unpack_from(f"{order}HH", header, 58)
    whole = sections_at + entry_size * n_entries
    if size < whole:
        raise ImportError(f"cut short: {size} of {whole} bytes")


_MODE = os.environ.get("MUSEGAN_NATIVE", "auto")
(_NATIVE, _STATUS), _CUDA = _load(_MODE), _load_cuda(_MODE)
_STATUS = replace(_STATUS, cuda_path=_CUDA[0], cuda_reason=_CUDA[1])
