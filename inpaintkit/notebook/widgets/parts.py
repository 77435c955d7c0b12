"""What the widgets are built of: panes for pictures, controls with one look, and tidying up after them."""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Protocol

import ipywidgets as ipw
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from inpaintkit.errors import InputError
from inpaintkit.inspection.figures import Figure
from inpaintkit.inspection.stereo import WIGGLE_MS

Pixels = NDArray[np.uint8]

JPEG_QUALITY = 88
HIGHEST_PANE = "62vh"  # a widget with its controls fits on a screen
LABEL_WIDTH = "96px"
PANE_CLASS = "inpaintkit-pane"
SIGNATURES = {"png": b"\x89PNG", "gif": b"GIF8"}


class View(Protocol):
    """Something to play with and, where nobody watches, to look at."""

    def widget(self) -> ipw.Widget:
        """Return new controls and panes; `close_all` frees them."""
        ...

    def figure(self) -> Figure:
        """Return what the untouched widget shows."""
        ...


def encoded(frames: Sequence[Pixels]) -> bytes:
    """Return one frame (H, W, 3) as JPEG, several as a GIF that swings between them for ever."""
    data, images = io.BytesIO(), [Image.fromarray(frame) for frame in frames]
    if len(images) == 1:
        images[0].save(data, format="JPEG", quality=JPEG_QUALITY)
    else:
        images[0].save(data, format="GIF", save_all=True, append_images=images[1:], duration=WIGGLE_MS, loop=0)
    return data.getvalue()


def pane() -> ipw.HTML:
    """Return a place for a picture; fill it with `show`."""
    place = ipw.HTML()
    place.add_class(PANE_CLASS)
    return place


def show(place: ipw.HTML, data: bytes, alt: str) -> None:
    """Put an encoded picture into `place`, never higher than the screen; `alt` says in words what it shows."""
    # Not an Image widget: that has no alternative text, and its tooltip breaks the page.
    kind = next((kind for kind, start in SIGNATURES.items() if data.startswith(start)), "jpeg")
    source = f"data:image/{kind};base64,{base64.b64encode(data).decode()}"
    style = f"display:block;max-width:100%;max-height:{HIGHEST_PANE}"
    place.value = f'<img src="{source}" alt="{html.escape(alt)}" style="{style}">'


def titled(title: str, place: ipw.Widget, share: int = 1) -> ipw.Widget:
    """Return `place` under a title, taking `share` parts of a row's width."""
    heading = ipw.HTML(f"<b>{html.escape(title)}</b>")
    return ipw.VBox([heading, place], layout=ipw.Layout(flex=f"{share} {share} 0%", min_width="0", padding="0 8px 0 0"))


def row(children: Iterable[ipw.Widget]) -> ipw.Widget:
    """Return `children` side by side, wrapped where the page is narrow."""
    return ipw.HBox(list(children), layout=ipw.Layout(flex_flow="row wrap", align_items="center"))


def panes(children: Iterable[ipw.Widget]) -> ipw.Widget:
    """Return titled panes side by side, as wide as the page."""
    return ipw.HBox(list(children), layout=ipw.Layout(width="100%", align_items="flex-start"))


def labelled(kind: Callable[..., ipw.Widget], description: str, tooltip: str, **options: Any) -> ipw.Widget:
    """Return a control of the given `kind` with its name beside it and help on hovering."""
    style = {"description_width": LABEL_WIDTH}
    return kind(description=description, tooltip=tooltip, style=style, **options)


def button(description: str, tooltip: str, action: Callable[[], object]) -> ipw.Button:
    """Return a button that calls `action`."""
    made = ipw.Button(description=description, tooltip=tooltip, layout=ipw.Layout(width="auto"))
    made.on_click(lambda _: action())
    return made


def line(text: str, colour: str = "inherit") -> str:
    """Return `text` as one line of HTML."""
    return f'<span style="color:{colour}">{html.escape(text)}</span>'


def guarded(action: Callable[[], None], caption: ipw.HTML) -> Callable[[object], None]:
    """Return a callback that runs `action` and puts an `InputError` into `caption` instead of a hidden log."""

    def react(change: object = None) -> None:
        try:
            action()
        except InputError as error:
            caption.value = line(str(error), "var(--jp-error-color1, #b00020)")

    return react


def close_all(widget: ipw.Widget) -> None:
    """Close `widget` with all that hangs on it: ipywidgets itself keeps every widget until it is closed, closed or not shown."""
    for name in widget.trait_names():
        value = getattr(widget, name)
        for part in value if isinstance(value, list | tuple) else (value,):
            if isinstance(part, ipw.Widget) and part.comm is not None:
                close_all(part)
    widget.unobserve_all()
    widget.close()
