"""A grid of thumbnails with keyboard control, for pages of records."""

import base64
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import anywidget
import traitlets

from inpaintkit import text


class Thumbnails(anywidget.AnyWidget):
    """Grid of `tiles`, pictures with names. `cursor` is the index of the chosen one, `marked` those of bad ones.

    Keys and clicks move the cursor; all their other requests go to the function given to `on_ask`.
    """

    _esm = (Path(__file__).parent / "thumbnails.js").read_text(encoding="utf-8")
    tiles = traitlets.List(traitlets.Dict()).tag(sync=True)
    cursor = traitlets.Int(0).tag(sync=True)
    marked = traitlets.List(traitlets.Int()).tag(sync=True)

    def fill(self, tiles: Sequence[tuple[str, bytes]], marked: Sequence[int], cursor: int) -> None:
        """Show `tiles`, (name, JPEG) each, with the `marked` ones and the `cursor` by index."""
        shown = [
            {"name": text.shown(name), "source": f"data:image/jpeg;base64,{base64.b64encode(data).decode()}"}
            for name, data in tiles
        ]
        with self.hold_sync():
            self.tiles = shown
            self.marked = list(marked)
            self.cursor = cursor

    def on_ask(self, act: Callable[[str, int], None]) -> None:
        """Call `act` with each request, ``mark``, ``delete``, ``undo`` or ``page``, and its direction, 1 or -1."""

        def hear(widget: object, message: Any, buffers: object) -> None:
            if isinstance(message, dict):
                act(str(message.get("kind")), -1 if message.get("by") == -1 else 1)

        self.on_msg(hear)
