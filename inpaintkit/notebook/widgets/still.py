"""A still picture beside a live widget, for all who see the notebook without its kernel.

A saved widget is only a reference to an object in the kernel: a closed notebook, GitHub, an editor and an HTML page have nothing to show
for it. So each widget leaves a picture in the same output, and hides it for as long as the widget itself is alive on the page.
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
"""Bytes from which a still picture is kept as JPEG: it is saved with the notebook."""

JPEG_QUALITY = 85
WIDGET = "application/vnd.jupyter.widget-view+json"
STYLE = "width:auto;height:auto;max-width:100%;max-height:85vh;box-sizing:border-box;border:8px solid white;border-radius:8px"
"""A sheet of white paper with a margin and round corners, in dark themes too: half of what figures show are photos, whose colours stay."""

NO_FORMULAS = "mathjax_ignore tex2jax_ignore"
"""Classes of an element in which dollar signs are no formulas."""

NO_COMPLAINT = "<style>.jp-OutputArea-output.jupyter-widgets:not(:has(*)) { display: none; }</style>"
"""JupyterLab writes "Error displaying widget" where the kernel that had the widget is gone."""

_shown: dict[str, Any] = {}
"""Widgets on the page by name: a cell that runs again closes the one it made before."""


def html_output(page: str, plain: str = "") -> dict[str, str]:
    """Return what a cell shows of `page`, HTML, and in words where there is no HTML; dollar signs in it are no formulas."""
    return {"text/html": f'<div class="{NO_FORMULAS}">{page}</div>', "text/plain": text.shown(plain)}


def place(name: str, widget: ipw.Widget) -> Callable[[bytes, str], None]:
    """Display a widget; return what exchanges the still picture, PNG and words, that is seen where the widget isn't alive.

    One that was displayed before under the same `name` is closed.
    """
    if name in _shown:
        close_all(_shown.pop(name))
    mark = f"inpaintkit-still-{uuid.uuid4().hex}"
    handle = display(html_output(NO_COMPLAINT), raw=True, display_id=True)
    whole = _shown[name] = ipw.VBox([ipw.HTML(f"<style>.{mark} {{ display: none; }}</style>"), widget])
    # Nothing beside the view: where that can't be shown, the picture is what there is to see.
    view = {WIDGET: {"version_major": 2, "version_minor": 0, "model_id": whole.model_id}, "text/plain": ""}
    display(view, raw=True)

    def update(png: bytes, alt: str) -> None:
        page = f'<div class="{mark}">{picture_html(compact(png), alt, STYLE)}</div>'
        if handle is not None:
            handle.update(html_output(page + NO_COMPLAINT, alt), raw=True)

    return update


def compact(png: bytes) -> bytes:
    """Return a PNG, or the same picture as JPEG where that is large."""
    if len(png) <= LARGEST_PNG:
        return png
    data = io.BytesIO()
    with Image.open(io.BytesIO(png)) as image:
        image.convert("RGB").save(data, format="JPEG", quality=JPEG_QUALITY)
    return min(data.getvalue(), png, key=len)
