"""Errors that a person can mend, in a notebook: one sentence instead of a traceback."""

from __future__ import annotations

from typing import Any

from IPython.core.getipython import get_ipython
from IPython.display import HTML, display

from inpaintkit.errors import LONGEST_MESSAGE, InputError, RunFailed
from inpaintkit.text import html

STYLE = "border-left:4px solid #d33;padding:.4em .8em;background:#d331;max-width:60em"


def show_errors_in_one_line() -> None:
    """From now on cells end with a sentence where a person can mend what is wrong, or interrupted it."""
    shell = get_ipython()
    if shell is not None:
        shell.set_custom_exc((InputError, RunFailed, KeyboardInterrupt), _show)


def _show(
    shell: Any, kind: type[BaseException], error: BaseException, trace: Any, tb_offset: int | None = None
) -> None:
    words = str(error) or "interrupted"
    display(HTML(f'<div style="{STYLE}">{html(words, LONGEST_MESSAGE)}</div>'))
