"""The exceptions that a command turns into a single line."""

from __future__ import annotations


class UserError(ValueError):
    """A mistake of the user's, told in one line.

    The message names what is wrong, what came and the rule, so that a command can print it as
    `musegan: error: <message>` and end with exit code 1. It is a `ValueError`, because that is what
    a caller from Python expects of a bad value.
    """

    exit_code = 1


class UsageError(UserError):
    """A command was called or launched wrongly, whatever it was told to do: exit code 2."""

    exit_code = 2


def one_line(err: BaseException, max_length: int = 300) -> str:
    """What an exception says, on one line and not too long; its type where it says nothing."""
    text = " ".join(str(err).split()) or type(err).__name__
    return text if len(text) <= max_length else text[: max_length - 1] + "…"
