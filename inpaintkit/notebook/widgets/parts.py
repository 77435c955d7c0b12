"""Parts that all widgets are built from: panes for pictures, controls of one look, a busy sign, and clean-up."""

import base64
import contextlib
import io
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import anywidget
import ipywidgets as ipw
import torch
from PIL import Image

from inpaintkit import text
from inpaintkit.errors import InputError
from inpaintkit.inspection.figures import Figure
from inpaintkit.inspection.pictures import Pixels, swinging_gif

JPEG_QUALITY = 88
LABEL_WIDTH = "104px"
PANE_CLASS = "inpaintkit-pane"
HERE = Path(__file__).parent
LOOK = (HERE / "widgets.css").read_text(encoding="utf-8")


class Showable(Protocol):
    """Something that can be shown as a widget, and as a figure in headless runs."""

    def widget(self) -> ipw.Widget:
        """Return new controls and panes; `close_all` frees them."""
        ...

    def figure(self) -> Figure:
        """Return a figure that stands for the widget where it isn't alive."""
        ...


def encoded(frames: Sequence[Pixels]) -> bytes:
    """Return one frame (H, W, 3) as JPEG, or several as a GIF that swings between them forever."""
    if len(frames) > 1:
        return swinging_gif(frames)
    data = io.BytesIO()
    Image.fromarray(frames[0]).save(data, format="JPEG", quality=JPEG_QUALITY)
    return data.getvalue()


def enlarged_within(pixels: Pixels, side: int) -> Pixels:
    """Return `pixels` (H, W, 3) enlarged by a whole factor to at most `side` px in width; wider ones stay as they are.

    Pixels stay sharp squares.
    """
    times = max(1, side // pixels.shape[1])
    return pixels.repeat(times, axis=0).repeat(times, axis=1)


def picture_html(data: bytes, alt: str, style: str = "") -> str:
    """Return an encoded picture as an HTML element; `alt` describes it in words."""
    with Image.open(io.BytesIO(data)) as image:
        width, height = image.size
        kind = str(image.format).lower()
    source = f"data:image/{kind};base64,{base64.b64encode(data).decode()}"
    # With a known size and synchronous decoding, replacing one picture by another neither jumps nor flashes.
    size = f'width="{width}" height="{height}" decoding="sync"'
    return f'<img src="{source}" alt="{text.html(alt)}" {size} style="{style}">'


class Pane(ipw.VBox):  # type: ignore[misc]  # ipywidgets has no types
    """A place for a picture, under a title."""

    def __init__(self, title: str) -> None:
        self.title = title
        # Not an Image widget: that has no alternative text, and its tooltip breaks the page.
        self.place = ipw.HTML()
        self.place.add_class(PANE_CLASS)
        super().__init__([ipw.HTML(f'<span class="inpaintkit-title">{text.html(title)}</span>'), self.place])
        self.clear()

    def show(self, frames: Sequence[Pixels], alt: str) -> None:
        """Show one frame (H, W, 3), or swing between several; `alt` describes the picture in words."""
        self.show_file(encoded(frames), alt)

    def show_file(self, data: bytes, alt: str) -> None:
        """Show an encoded picture."""
        self.place.value = picture_html(data, alt)
        self.layout.display = ""

    def clear(self) -> None:
        """Hide the pane, title included."""
        self.place.value, self.layout.display = "", "none"


class SliderNames(anywidget.AnyWidget):
    """Invisible widget that gives the sliders of all panels on the page names for screen readers."""

    _esm = (HERE / "slider_names.js").read_text(encoding="utf-8")


class Panel(ipw.VBox):  # type: ignore[misc]  # as above
    """Outer box of a widget, with a caption. It shows a busy sign while an action runs, and its error."""

    def __init__(self) -> None:
        super().__init__()
        self.add_class("inpaintkit")
        self.caption = ipw.HTML()
        self.caption.add_class("inpaintkit-caption")

    def arrange(self, *children: ipw.Widget) -> None:
        """Set the content of the box to `children`."""
        names = SliderNames(layout=ipw.Layout(display="none"))
        self.children = (ipw.HTML(f"<style>{LOOK}</style>"), names, *children)

    def say(self, *lines: str) -> None:
        """Set the caption to sentences, of which the second and later ones are notes."""
        first, *notes = (text.html(line, 2 * text.LONGEST) for line in lines)
        self.caption.value = first + "".join(f'<br><span class="inpaintkit-note">{note}</span>' for note in notes)

    def answer(self, action: Callable[[], object]) -> None:
        """Run `action` with a busy sign; report bad input and unreadable files in the caption, not in a hidden log."""
        self.add_class("inpaintkit-busy")
        try:
            action()
        except (InputError, OSError) as error:
            self.caption.value = f'<span class="inpaintkit-error">{text.html(error, 2 * text.LONGEST)}</span>'
        finally:
            self.remove_class("inpaintkit-busy")

    def on_change(self, controls: Iterable[ipw.Widget], action: Callable[[], object]) -> None:
        """Run `action` whenever the value of one of `controls` changes.

        A slider that the page has just drawn reports 2.5000000000000004 for 2.5, which doesn't count as a change.
        """

        def react(change: Mapping[str, Any]) -> None:
            if not (isinstance(change["new"], float) and math.isclose(change["old"], change["new"])):
                self.answer(action)

        for control in controls:
            control.observe(react, names="value")

    def button(self, description: str, tooltip: str, action: Callable[[], object], **options: Any) -> ipw.Button:
        """Return a button that runs `action`."""
        made = ipw.Button(description=description, tooltip=tooltip, layout=ipw.Layout(width="auto"), **options)
        made.on_click(lambda _: self.answer(action))
        return made


def box(kind: str, children: Iterable[ipw.Widget]) -> ipw.Widget:
    """Return `children` laid out as ``widgets.css`` says: ``controls`` in columns, ``row`` and ``panes`` side by side.

    ``sides`` is for two children, of which a box of panes gets twice the width of the other. On narrow pages they wrap.
    """
    made = ipw.Box(list(children))
    made.add_class(f"inpaintkit-{kind}")
    return made


def labelled(kind: Callable[..., ipw.Widget], description: str, tooltip: str, **options: Any) -> ipw.Widget:
    """Return a control of the given `kind` with its name beside it and a tooltip."""
    style = {"description_width": LABEL_WIDTH}
    return kind(description=description, tooltip=tooltip, style=style, layout=ipw.Layout(width="auto"), **options)


def checkbox(description: str, value: bool = False) -> ipw.Checkbox:
    """Return a checkbox no wider than its label."""
    return ipw.Checkbox(value=value, description=description, indent=False, layout=ipw.Layout(width="auto"))


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """Compute on one thread within the context.

    Work of some 50 ms gains little from a second thread, and on a busy machine threads that wait for each other take
    ten times as long.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def close_all(widget: ipw.Widget) -> None:
    """Close `widget` and all widgets that it refers to: ipywidgets keeps every widget in memory until it is closed."""
    for name in widget.trait_names():
        value = getattr(widget, name)
        for part in value if isinstance(value, list | tuple) else (value,):
            if isinstance(part, ipw.Widget) and part.comm is not None:
                close_all(part)
    widget.unobserve_all()
    widget.close()
