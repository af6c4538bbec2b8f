"""The console script `musegan`: `musegan COMMAND ...` is `python -m musegan.COMMAND ...`."""

from __future__ import annotations

import difflib
import importlib
import opcode
import sys
from collections.abc import Callable
from types import TracebackType

from musegan import __version__
from musegan.errors import UserError, one_line

COMMANDS = {
    "prepare": "turn MIDI files, folders and zips into a packed data set",
    "train": "train a model on a data set",
    "generate": "make MIDI, .npz, pictures and audio from a trained model",
    "info": "show versions, and which kernels run the ops",
}

Command = Callable[[list[str] | None], int | None]


def main(argv: list[str] | None = None) -> int:
    """Runs one command.

    Args:
        argv: command line without the program's name; `sys.argv[1:]` where None.
    Returns:
        Exit code: 0, 1 after an error of the user's, 2 after wrong usage, 130 after Ctrl-C.
    """
    argv = sys.argv[1:] if argv is None else argv
    if not argv or argv[0] in ("-h", "--help"):
        print(_help())
        return 0 if argv else 2
    name, *rest = argv
    if name == "--version":
        print(f"musegan {__version__}")
        return 0
    if name not in COMMANDS:
        nearest = difflib.get_close_matches(name, COMMANDS, n=1)
        hint = f"did you mean {nearest[0]!r}?" if nearest else f"there are {', '.join(COMMANDS)}"
        return _fail(f"no command {name!r}: {hint}", code=2)
    sys.argv[0] = f"musegan {name}"  # what the command's --help shows
    return run(lambda arguments: importlib.import_module(f"musegan.{name}").main(arguments), rest)


def run(command: Command, argv: list[str] | None = None) -> int:
    """Calls a command's `main`, and turns what the user did wrong into one line and an exit code.

    The user's are: a `UserError`, an `OSError` about a file, and a `ValueError`, `TypeError` or
    `ImportError` that a `raise` statement of this package gave. Anything else is a bug and keeps its
    traceback. A command module ends with `sys.exit(run(main))`.

    Returns:
        Exit code, as `main`. Wrong usage leaves through `SystemExit(2)` of the argument parser.
    """
    try:
        return command(argv) or 0
    except KeyboardInterrupt:
        return _fail("interrupted", code=130)
    except Exception as err:
        if not _is_users(err):
            raise
        return _fail(one_line(err), code=1)


def _is_users(err: Exception) -> bool:
    if isinstance(err, OSError):
        return err.filename is not None
    if isinstance(err, UserError):
        return True
    return isinstance(err, (ValueError, TypeError, ImportError)) and _raised_here(err.__traceback__)


def _raised_here(traceback: TracebackType | None) -> bool:
    """Whether the exception left a `raise` statement in a module of this package."""
    while traceback is not None and traceback.tb_next is not None:
        traceback = traceback.tb_next
    if traceback is None:
        return False
    frame = traceback.tb_frame
    instruction = opcode.opname[frame.f_code.co_code[traceback.tb_lasti]]
    return instruction == "RAISE_VARARGS" and frame.f_globals.get("__name__", "").split(".")[0] == "musegan"


def _fail(message: str, code: int) -> int:
    print(f"musegan: error: {message}", file=sys.stderr)
    return code


def _help() -> str:
    width = max(map(len, COMMANDS))
    lines = [f"  {name:<{width}}  {line}" for name, line in COMMANDS.items()]
    return "\n".join(
        [
            "usage: musegan COMMAND ...",
            "",
            "Bars of multitrack music from a convolutional GAN over piano-rolls.",
            "",
            *lines,
            "",
            "`musegan COMMAND --help` explains one; `musegan --version` prints the version.",
        ]
    )


if __name__ == "__main__":
    sys.exit(main())
