"""The one exception that a command turns into a single line."""

from __future__ import annotations


class UserError(ValueError):
    """A mistake of the user's, told in one line.

    The message names what is wrong, what came and the rule, so that a command can print it as
    `musegan: error: <message>` and end with exit code 1. It is a `ValueError`, because that is what
    a caller from Python expects of a bad value.
    """
