"""The one error class that a user should ever see."""


class InputError(ValueError):
    """Something the user gave can't work. The message is one sentence: what, where, what to do."""
