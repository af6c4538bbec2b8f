"""The console script `musegan`: `musegan COMMAND ...` is `python -m musegan.COMMAND ...`."""

from __future__ import annotations

import difflib
import importlib
import sys
from collections.abc import Callable

from musegan import __version__
from musegan.errors import UserError, one_line

COMMANDS = {
    "prepare": "turn MIDI files, folders and zips into a packed data set",
    "train": "train a model on a data set",
    "generate": "make MIDI, .npz, pictures and audio from a trained model",
    "evaluate": "compare generated music with real music: tables, JSON and a page",
    "inspect": "show what a file of music or a data set holds, and draw its bars",
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

    The user's are a `UserError` and an `OSError` about a file; anything else is a bug and keeps its traceback. A
    command module ends with `sys.exit(run(main))`.

    Returns:
        Exit code, as `main`. Wrong usage leaves through `SystemExit(2)` of the argument parser.
    """
    try:
        return command(argv) or 0
    except KeyboardInterrupt:
        return _fail("interrupted", code=130)
    except UserError as err:
        return _fail(one_line(err, max_length=1000), code=err.exit_code)
    except OSError as err:
        if err.filename is None:
            raise
        return _fail(one_line(err), code=1)


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
