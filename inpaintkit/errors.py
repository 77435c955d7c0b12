"""The kit's errors that are meant for users."""

from inpaintkit.text import shown

LONGEST_MESSAGE = 2000


class InputError(ValueError):
    """Error in the user's input. The message is one sentence on one line: what is wrong, where, and what to do.

    The message quotes the input, file names for instance, so control characters in it are escaped.
    """

    def __init__(self, message: object = "") -> None:
        super().__init__(shown(message, LONGEST_MESSAGE))


class RunFailed(Exception):
    """Failure during a run. If a cell of a notebook failed, the message names the error and the executed notebook."""
