"""Files that are there whole or not at all."""

from __future__ import annotations

import contextlib
import os
import re
import secrets
from collections.abc import Iterator
from pathlib import Path

from musegan.errors import UserError


def is_temporary(name: str) -> bool:
    """Whether a file is named as those are that `atomic_write` leaves where its process is killed."""
    return re.fullmatch(r"\.[0-9a-f]{8}-.+", name) is not None


@contextlib.contextmanager
def atomic_write(path: str | os.PathLike[str], sync: bool = True) -> Iterator[Path]:
    """Lets the caller write a temporary file that takes the place of `path` when all went well.

    The temporary file lies in the folder of `path` and ends like it. On leaving the block it is synced to
    disk and renamed; on an error it is removed and an older file at `path` stays as it was.

        with atomic_write("song.mid") as temporary:
            temporary.write_bytes(midi)

    Args:
        path: where the file shall be; its folder must exist.
        sync: wait until the disk has it. Without, a process that is killed still leaves the old file or the new one,
            a machine that loses power may not.
    Yields:
        The temporary path, which does not exist yet. The block must create a file there.
    Raises:
        UserError: the system refuses (no such folder, no permission, disk full); names `path` and the reason.
    """
    path = Path(path)
    temporary = path.with_name(f".{secrets.token_hex(4)}-{path.name}")
    try:
        yield temporary
        if sync:
            with open(temporary, "rb+") as file:
                os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as err:
        raise UserError(f"cannot write {path}: {err.strerror or err}") from err
    finally:
        # Nothing is left after the rename; what is left after an error may be unreachable too.
        with contextlib.suppress(OSError):
            temporary.unlink()
