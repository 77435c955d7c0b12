"""The errors that a user should ever see."""


class InputError(ValueError):
    """Something the user gave can't work. The message is one sentence: what, where, what to do."""


class RunFailed(Exception):
    """A cell of a notebook failed; the message names the error and the executed notebook."""
