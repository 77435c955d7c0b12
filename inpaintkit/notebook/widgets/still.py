"""Add a still picture to each live widget, for everyone who sees the notebook without its kernel.

A saved widget is only a reference to an object in the kernel, which a closed notebook, GitHub, an editor or an HTML
page can't show. So each widget leaves a picture in the same output, which is hidden as long as the widget is alive on
the page.
"""

import io
import uuid
from collections.abc import Callable
from typing import Any

import ipywidgets as ipw
from IPython.display import display
from PIL import Image

from inpaintkit import text
from inpaintkit.notebook.widgets.parts import close_all, picture_html

LARGEST_PNG = 150_000
"""Size in bytes above which a still picture becomes a JPEG, because it is saved with the notebook."""

JPEG_QUALITY = 85
WIDGET = "application/vnd.jupyter.widget-view+json"
STYLE = "width:auto;height:auto;max-width:100%;max-height:85vh;box-sizing:border-box;border:8px solid white;border-radius:8px"
"""A white sheet with margin and round corners, in dark themes, too: figures hold photos, whose colours must stay."""

NO_FORMULAS = "mathjax_ignore tex2jax_ignore"
"""CSS classes of an element in which dollar signs don't mark formulas."""

HIDE_WIDGET_ERROR = "<style>.jp-OutputArea-output.jupyter-widgets:not(:has(*)) { display: none; }</style>"
"""Hides the "Error displaying widget" that JupyterLab shows when the widget's kernel is gone."""

_shown: dict[str, Any] = {}
"""Widgets on the page by name, so that a cell that runs again can close the one it made before."""


def html_output(page: str, plain: str = "") -> dict[str, str]:
    """Return a cell's output: `page` as HTML, in which dollar signs don't mark formulas, and `plain` without HTML."""
    return {"text/html": f'<div class="{NO_FORMULAS}">{page}</div>', "text/plain": text.shown(plain)}


def place(name: str, widget: ipw.Widget) -> Callable[[bytes, str], None]:
    """Display a widget; return a function ``(png, alt)`` that sets the still picture for when it isn't alive.

    A widget displayed before under the same `name` is closed.
    """
    if name in _shown:
        close_all(_shown.pop(name))
    mark = f"inpaintkit-still-{uuid.uuid4().hex}"
    handle = display(html_output(HIDE_WIDGET_ERROR), raw=True, display_id=True)
    whole = _shown[name] = ipw.VBox([ipw.HTML(f"<style>.{mark} {{ display: none; }}</style>"), widget])
    # Only the view, no text: where the view can't be shown, the picture is there to see.
    view = {WIDGET: {"version_major": 2, "version_minor": 0, "model_id": whole.model_id}, "text/plain": ""}
    display(view, raw=True)

    def update(png: bytes, alt: str) -> None:
        page = f'<div class="{mark}">{picture_html(compact(png), alt, STYLE)}</div>'
        if handle is not None:
            handle.update(html_output(page + HIDE_WIDGET_ERROR, alt), raw=True)

    return update


def compact(png: bytes) -> bytes:
    """Return a PNG as it is, or if it is large, as the smaller of PNG and JPEG."""
    if len(png) <= LARGEST_PNG:
        return png
    data = io.BytesIO()
    with Image.open(io.BytesIO(png)) as image:
        image.convert("RGB").save(data, format="JPEG", quality=JPEG_QUALITY)
    return min(data.getvalue(), png, key=len)
