"""Find black bars around a picture (letterbox, pillarbox) by what never gets bright, and cut them off.

A dark scene must not be mistaken for bars. So a bar is black over its whole length, ends in a straight line beyond
which the picture is bright, and has a counterpart of about the same width on the opposite side; only thin bars at the
edge of a video need none. One bar of a pair may have writing in it, such as subtitles or a station's name.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

BLACK = 20  # level (0..255) up to which a pixel is black
STEP = 12  # levels by which the picture beyond a bar must be brighter than `BLACK` ...
STEP_SHARE = 0.5  # ... on this share of the bar's length ...
STEP_SHARE_ALONE = 0.75  # ... or this, for a bar without a counterpart
SOFT_EDGE = 120  # a bar's edge may be soft (compression, scaling) over 1/120 of the picture's side
ALIKE, THIN = 0.02, 0.02  # of the picture's side: by how much opposite bars may differ; how wide a single bar may be
SMALLEST_PICTURE = 0.25  # share of a side that must be left between bars
BLACK_BESIDE = 0.1  # of a bar with writing: the share of its width that must be black next to the picture ...
UNWRITTEN = 0.2  # ... and the share of its length that must be black over its whole width


class Bars(NamedTuple):
    """Widths of the black bars of a picture as it is shown, px."""

    left: int = 0
    top: int = 0
    right: int = 0
    bottom: int = 0

    def turned(self, quarter_turns: int) -> Bars:
        """Return the bars of the picture turned counter-clockwise by `quarter_turns`."""
        turns = quarter_turns % 4
        return Bars(*self[turns:], *self[:turns])

    def scaled(self, across: float, down: float) -> Bars:
        """Return the bars of the picture scaled by the factors `across` and `down`, rounded up to whole pixels."""
        return Bars(*(math.ceil(round(n * by, 3)) for n, by in zip(self, (across, down, across, down), strict=True)))

    def cut(self, pixels: NDArray[np.generic]) -> NDArray[np.generic]:
        """Return `pixels` (H, W, ...) without the bars."""
        height, width = pixels.shape[:2]
        return pixels[self.top : height - self.bottom, self.left : width - self.right]

    def __str__(self) -> str:
        sides = ", ".join(f"{width} px {side}" for side, width in self._asdict().items() if width)
        return f"black bars left out: {sides}"


NO_BARS = Bars()


def find_bars(brightest: NDArray[np.uint8], alone: bool = False) -> Bars:
    """Return the black bars of a picture (H, W), or of a video whose pixels were never brighter than `brightest`.

    `alone`: accept a thin bar without a counterpart, as at the edge of recordings; not for photos.
    """
    lit_columns = brightest.max(0) > BLACK
    top, bottom = _opposite_bars(brightest[:, lit_columns], alone)
    inner = brightest[top : len(brightest) - bottom]
    left, right = _opposite_bars(inner[inner.max(1) > BLACK].T, alone)
    return Bars(left, top, right, bottom)


def _opposite_bars(lines: NDArray[np.uint8], alone: bool) -> tuple[int, int]:
    """Return the widths of the bars at the beginning and at the end of `lines` (n, length)."""
    count = len(lines)
    if not lines.size:
        return 0, 0
    first, first_share = _bar_at_start(lines)
    last, last_share = _bar_at_start(lines[::-1])
    if first - last > _tolerance(lines):
        last, last_share = _bar_with_writing(lines[::-1], first) or (last, last_share)
    elif last - first > _tolerance(lines):
        first, first_share = _bar_with_writing(lines, last) or (first, first_share)
    if first and last and abs(first - last) <= _tolerance(lines) and min(first_share, last_share) >= STEP_SHARE:
        return (first, last) if count - first - last >= SMALLEST_PICTURE * count else (0, 0)
    kept = [
        n if alone and n <= THIN * count and share >= STEP_SHARE_ALONE else 0
        for n, share in ((first, first_share), (last, last_share))
    ]
    return kept[0], kept[1]


def _bar_at_start(lines: NDArray[np.uint8]) -> tuple[int, float]:
    """Return the width of the bar at the beginning of `lines`, and the share of its length with picture beyond it."""
    dark = lines.max(1) <= BLACK
    if not dark[0]:
        return 0, 0.0
    return _with_soft_edge(lines, int(np.argmin(dark)) if not dark.all() else len(lines))


def _bar_with_writing(lines: NDArray[np.uint8], width: int) -> tuple[int, float] | None:
    """Return what `_bar_at_start` does for a bar with writing in it, about `width` lines wide, or None."""
    near = range(max(width - _tolerance(lines), 2), min(width + _tolerance(lines), len(lines) - 1) + 1)
    dark = lines[: near.stop].max(1) <= BLACK
    ends = [n for n in near if dark[n - max(round(BLACK_BESIDE * n), 2) : n].all() and not dark[n]]
    if not ends or (lines[: ends[-1]].max(0) <= BLACK).mean() < UNWRITTEN:
        return None
    return _with_soft_edge(lines, ends[-1])


def _tolerance(lines: NDArray[np.uint8]) -> int:
    """Return by how many lines opposite bars may differ in width."""
    return max(int(ALIKE * len(lines)), 2)


def _with_soft_edge(lines: NDArray[np.uint8], black: int) -> tuple[int, float]:
    """Return the width of a bar of `black` lines plus soft edge, and the share of its length with picture beyond it."""
    reach = lines[black : black + max(len(lines) // SOFT_EDGE, 2)]
    shares = (reach > BLACK + STEP).mean(1)
    sharp = shares >= STEP_SHARE
    place = int(np.argmax(sharp)) if sharp.any() else 0
    return black + place, float(shares[place]) if len(shares) else 0.0


def bars_of_picture(pixels: NDArray[np.uint8]) -> Bars:
    """Return the black bars of a picture (H, W, 3); a pixel is black if no channel exceeds `BLACK`."""
    edges = (pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1])
    return NO_BARS if all(edge.max() > BLACK for edge in edges) else find_bars(pixels.max(2))


def bars_of_video(brightest: NDArray[np.uint8], size: tuple[int, int], turns: int) -> Bars:
    """Return the black bars of a video as it is shown; a line that is part bar and part picture counts as bar.

    `brightest` (h, w): the greatest brightness that each pixel ever had, at any resolution; `size`: (width, height) of
    the frames in square pixels; `turns`: counter-clockwise quarter turns by which they are turned to be shown.
    """
    height, width = brightest.shape
    whole = Bars(*(n and n + 1 for n in find_bars(brightest, alone=True)))
    return whole.scaled(size[0] / width, size[1] / height).turned(turns)
