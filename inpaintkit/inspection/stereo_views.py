"""Ways to look at a stereo pair on a screen, as frames small enough to be sent to a browser."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import cv2

from inpaintkit.config import require_known
from inpaintkit.inspection.pictures import Pixels, to_uint8
from inpaintkit.inspection.stereo import StereoPair

STEREO_VIEWS: Mapping[str, Callable[[StereoPair], list[Pixels]]] = {
    "anaglyph": lambda pair: [pair.anaglyph()],
    "wiggle": lambda pair: [to_uint8(pair.left[0]), to_uint8(pair.right[0])],
    "side by side": lambda pair: [pair.side_by_side()],
}
"""Name -> function that returns the frames, one to stand still or two to swing between."""


def stereo_frames(pair: StereoPair, view: str, width: int) -> list[Pixels]:
    """Return the frames (h, w, 3), uint8, of `view`, one of `STEREO_VIEWS`, at most `width` px wide. Raises `InputError`."""
    require_known("view", view, STEREO_VIEWS)
    return [fit_width(frame, width) for frame in STEREO_VIEWS[view](pair)]


def fit_width(pixels: Pixels, width: int) -> Pixels:
    """Return `pixels` (H, W, 3) scaled down to `width` px; narrower ones stay as they are."""
    if pixels.shape[1] <= width:
        return pixels
    height = max(round(pixels.shape[0] * width / pixels.shape[1]), 1)
    smaller: Pixels = cv2.resize(pixels, (width, height), interpolation=cv2.INTER_AREA)
    return smaller
