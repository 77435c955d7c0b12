"""A progress bar in plain HTML: its width stays the same from the start, and a saved notebook still shows it."""

import math
import time

from IPython.display import display

from inpaintkit import text
from inpaintkit.notebook.widgets.still import html_output
from inpaintkit.text import duration
from inpaintkit.training.callbacks import TimeLeft

EVERY = 0.25
"""Shortest time between two updates of a bar (s)."""

_TRACK = (
    "display:inline-block;vertical-align:middle;width:min(320px,40%);height:10px;margin-right:10px;border-radius:5px;"
    "overflow:hidden;background:var(--jp-layout-color3,#ddd)"
)
_LONGEST_MESSAGE = 80


class HtmlProgress:
    """Progress bar in the output of the cell that creates it."""

    def __init__(self, description: str, unit: str = "") -> None:
        """Show an empty bar."""
        self._description, self._unit, self._total = description, unit, 0
        self._started = time.monotonic()
        self._shown = -math.inf
        self._clock = TimeLeft()
        self._left = ""
        self._handle = display(self._page(0, ""), raw=True, display_id=True)

    def update(self, done: int, total: int, message: str = "") -> None:
        """Show the progress of the work; a `total` of 0 is not known yet, `message` names the current item."""
        now = time.monotonic()
        other = total != self._total
        self._left = self._clock.left(done, total) or ""
        self._total = total
        if other or done >= total or now - self._shown >= EVERY:
            self._shown = now
            if self._handle is not None:
                self._handle.update(self._page(done, message), raw=True)

    def _page(self, done: int, message: str) -> dict[str, str]:
        share = min(done / self._total, 1.0) if self._total else 0.0
        colour = "var(--jp-success-color1,#388e3c)" if share == 1 else "var(--jp-brand-color1,#1976d2)"
        bar = f'<span style="display:block;height:100%;width:{share:.1%};background:{colour}"></span>'
        label = f'role="progressbar" aria-label="{text.html(self._description)}" aria-valuenow="{100 * share:.0f}"'
        said = text.html(f"{self._description}: {' · '.join(self._words(done, message))}")
        return html_output(f'<span {label} style="{_TRACK}">{bar}</span>{said}', f"{self._description}: {share:.0%}")

    def _words(self, done: int, message: str) -> list[str]:
        if not self._total:
            return [text.shown(message, _LONGEST_MESSAGE) or "starting"]
        words = [f"{done} of {self._total} {self._unit}".rstrip()]
        elapsed = duration(time.monotonic() - self._started)
        if done >= self._total and self._clock.made:
            words.append(f"took {elapsed}")
        elif self._left:
            words.append(f"{elapsed}, {self._left}")
        if message and done < self._total:
            words.append(text.shown(message, _LONGEST_MESSAGE))
        return words
