"""The errors that a user should ever see."""

from inpaintkit.text import shown

LONGEST_MESSAGE = 2000


class InputError(ValueError):
    """Something the user gave can't work. The message is one sentence on one line: what, where, what to do.

    What was given stands in it, file names for instance: control characters in those are escaped.
    """

    def __init__(self, message: object = "") -> None:
        super().__init__(shown(message, LONGEST_MESSAGE))


class RunFailed(Exception):
    """A cell of a notebook failed; the message names the error and the executed notebook."""
