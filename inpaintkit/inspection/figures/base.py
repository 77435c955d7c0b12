"""What all figures share: style, grids of pictures, and saving as PNG."""

import io
import warnings
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.font_manager import fontManager
from matplotlib.text import Text
from PIL import Image

from inpaintkit import text
from inpaintkit.errors import InputError
from inpaintkit.files import atomic_path
from inpaintkit.inspection.pictures import to_uint8

INK, QUIET, GRID = "#1f2328", "#6a737d", "#e3e6ea"
LEFT_HOLE_COLOUR, RIGHT_HOLE_COLOUR = (0.90, 0.62, 0.0), (0.34, 0.71, 0.91)
TITLE_SIZE, TEXT_SIZE, SMALL_SIZE = 11, 9, 8
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")

DPI = 110

TILE_INCHES = 2.1
LONGEST_NAME = 26  # characters

USUAL_FONT = "DejaVu Sans"
WIDE_FONTS = (
    "Noto Sans CJK JP", "Noto Sans CJK SC", "Hiragino Sans", "PingFang SC", "Arial Unicode MS", "WenQuanYi Zen Hei",
    "IPAGothic", "Droid Sans Fallback",
)  # fmt: skip
"""Fonts of Linux and macOS with Chinese, Japanese and Korean characters, which matplotlib's own font lacks."""


class KitFigure(Figure):
    """A figure that notebooks show without pyplot."""

    def _repr_png_(self) -> bytes:
        return png_bytes(self)


def png_bytes(figure: Figure) -> bytes:
    """Return `figure` as an opaque RGB PNG."""
    # Not by savefig, which draws everything twice if it has to compute a layout.
    canvas = FigureCanvasAgg(figure)
    dpi = figure.dpi
    figure.set_facecolor("white")
    figure.set_dpi(DPI)
    for label in figure.findobj(Text):
        if not label.get_text().isascii():  # type: ignore[attr-defined]
            label.set_family(_fonts())  # type: ignore[attr-defined]
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Glyph .* missing")  # a box in a name needs no warning in a notebook
            canvas.draw()  # type: ignore[no-untyped-call]
        picture = Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB")  # type: ignore[no-untyped-call]
    finally:
        figure.set_dpi(dpi)
    small = io.BytesIO()
    # Level 9 would make files 2 % smaller and take five times as long.
    picture.save(small, format="PNG", compress_level=7)
    return small.getvalue()


def _fonts() -> list[str]:
    """Return the usual font and those of `WIDE_FONTS` that are installed, for the characters that it lacks."""
    here = {font.name for font in fontManager.ttflist}
    return [USUAL_FONT, *(name for name in WIDE_FONTS if name in here)]


def save_figure(figure: Figure, path: str | Path) -> Path:
    """Write `figure` as PNG, atomically; raise `InputError` where that is impossible."""
    path = Path(path)
    if path.suffix.lower() != ".png":
        raise InputError(f"path: {path} does not end in .png; figures are saved as PNG")
    with atomic_path(path) as temporary:
        temporary.write_bytes(png_bytes(figure))
    return path


def image_grid(rows: int, columns: int, aspect: float = 1.0, inches: float = TILE_INCHES) -> tuple[Figure, np.ndarray]:
    figure = KitFigure(figsize=(inches * columns, (inches * aspect + 0.5) * rows), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False)
    for ax in axes.flat:
        ax.set_xticks([])
        ax.set_yticks([])
        ax.spines[:].set_visible(False)
    return figure, axes


def set_titles(axes: Iterable[Axes], titles: Iterable[str], size: int = TITLE_SIZE) -> None:
    """Write `titles` above `axes`; surplus ones of either are ignored."""
    for ax, title in zip(axes, titles, strict=False):
        ax.set_title(title, fontsize=size, color=INK)


def set_heading(figure: Figure, heading: str) -> None:
    """Write `heading` above all of `figure`, to tell it from others of its kind."""
    figure.suptitle(text.figure(heading), fontsize=TITLE_SIZE, fontweight="bold", color=INK)


def show_picture(ax: Axes, picture: torch.Tensor) -> None:
    ax.imshow(to_uint8(picture), interpolation="nearest" if picture.shape[-1] < 300 else "antialiased")


def short(name: str) -> str:
    """Return a record's name, shortened and escaped, to label its picture."""
    return text.figure(name, LONGEST_NAME)


def label_axes(ax: Axes, title: str, x: str, y: str) -> None:
    ax.set_title(title, fontsize=TITLE_SIZE, color=INK, loc="left")
    ax.set_xlabel(x, fontsize=TEXT_SIZE, color=QUIET)
    ax.set_ylabel(y, fontsize=TEXT_SIZE, color=QUIET)
    ax.tick_params(which="both", labelsize=SMALL_SIZE, colors=QUIET, length=3)
    ax.spines[["top", "right"]].set_visible(False)
    ax.spines[["left", "bottom"]].set_color(QUIET)
    ax.grid(axis="y", color=GRID, linewidth=0.8)
    ax.set_axisbelow(True)
