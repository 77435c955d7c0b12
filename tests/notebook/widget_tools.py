"""Find the controls of a widget that a user would touch, and what ipywidgets still keeps of closed ones."""

import base64
import gc
import html
import re
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import ipywidgets as ipw
from ipywidgets.widgets import widget as registry

from inpaintkit.notebook.widgets import close_all
from inpaintkit.notebook.widgets.parts import PANE_CLASS


def parts(box: ipw.Widget) -> Iterator[ipw.Widget]:
    """Yield `box` and everything in it."""
    yield box
    for child in getattr(box, "children", ()):
        yield from parts(child)


def control(box: ipw.Widget, name: str) -> Any:
    """Return the control called `name`."""
    found = [part for part in parts(box) if getattr(part, "description", None) == name]
    assert len(found) == 1, f"{name}: {[getattr(part, 'description', None) for part in parts(box)]}"
    return found[0]


def panes(box: ipw.Widget) -> list[ipw.HTML]:
    return [part for part in parts(box) if PANE_CLASS in getattr(part, "_dom_classes", ())]


def pictures(box: ipw.Widget) -> list[bytes]:
    """Return the encoded picture in each pane, empty if there is none."""
    found = [re.search(r"base64,([^\"]*)", pane.value) for pane in panes(box)]
    return [base64.b64decode(match[1]) if match else b"" for match in found]


def alts(box: ipw.Widget) -> list[str]:
    """Return the alternative text of each picture shown."""
    return [html.unescape(match[1]) for pane in panes(box) if (match := re.search(r'alt="([^"]*)"', pane.value))]


def caption(box: ipw.Widget) -> str:
    """Return all text on the widget outside its panes."""
    texts = [part.value for part in parts(box) if isinstance(part, ipw.HTML) and part not in panes(box)]
    return html.unescape(re.sub("<style>.*</style>", "", " ".join(texts), flags=re.DOTALL))


def kept_after(make: Callable[[], ipw.Widget], times: int) -> tuple[int, int]:
    """Make and close a widget `times` times; return how many widgets ipywidgets still lists and how many parts live."""
    before, made = set(registry._instances), []
    for _ in range(times):
        box = make()
        made += [weakref.ref(part) for part in parts(box)]
        close_all(box)
        del box
    gc.collect()
    return len(set(registry._instances) - before), sum(part() is not None for part in made)
