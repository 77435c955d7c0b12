"""Finding what a person would touch on a widget, and what ipywidgets still keeps."""

import gc
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import ipywidgets as ipw
from ipywidgets.widgets import widget as registry

from inpaintkit.notebook.widgets import close_all


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


def pictures(box: ipw.Widget) -> list[bytes]:
    return [part.value for part in parts(box) if isinstance(part, ipw.Image)]


def alts(box: ipw.Widget) -> list[str]:
    """Return the alternative text of each picture that is shown."""
    return [part.tooltip for part in parts(box) if isinstance(part, ipw.Image) and part.value]


def caption(box: ipw.Widget) -> str:
    """Return all text on the widget."""
    return " ".join(part.value for part in parts(box) if isinstance(part, ipw.HTML))


def kept_after(make: Callable[[], ipw.Widget], times: int) -> tuple[int, int]:
    """Make and close a widget `times` times; return how many widgets ipywidgets still lists, and how many parts still live."""
    before, made = set(registry._instances), []
    for _ in range(times):
        box = make()
        made += [weakref.ref(part) for part in parts(box)]
        close_all(box)
        del box
    gc.collect()
    return len(set(registry._instances) - before), sum(part() is not None for part in made)
