"""Change the colours of training samples as torchvision's ColorJitter does, on 8-bit pixels.

In 8 bits, lookup tables and OpenCV's vectorised code take a tenth of the time that floats take, and the values stay
levels that a picture file can hold, as in samples without colour changes.
"""

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

BRIGHTNESS, CONTRAST, SATURATION = 0.4, 0.4, 0.2
HUES = 256  # OpenCV's "full" hue: the colour circle in one byte
HUE_STEPS = 25  # the largest change: a tenth of the circle
LUMINANCE = np.array([0.299, 0.587, 0.114], np.float32)
ALL_LUMINANCE = np.tile(LUMINANCE, (3, 1))
SAME = np.eye(3, dtype=np.float32)
LEVELS = np.arange(256, dtype=np.float32)

Picture8 = NDArray[np.uint8]
"""A picture (H, W, 3), RGB, 0..255."""

Changes = Sequence[tuple[str, float]]
"""The colour changes of a picture as (name, amount), in order of application; may be empty."""


def change_colours(picture: Picture8, changes: Changes) -> Picture8:
    """Return `picture` with `changes` applied in order."""
    for change, amount in changes:
        picture = CHANGES[change](picture, amount)
    return picture


def draw_jitter(rng: np.random.Generator) -> Changes:
    """Draw one change each of brightness, contrast, saturation and hue, in random order."""

    def around_one(reach: float) -> float:
        return float(rng.uniform(1 - reach, 1 + reach))

    changes = [
        ("brightness", around_one(BRIGHTNESS)),
        ("contrast", around_one(CONTRAST)),
        ("saturation", around_one(SATURATION)),
        ("hue", int(rng.integers(-HUE_STEPS, HUE_STEPS, endpoint=True)) / HUES),
    ]
    return [changes[place] for place in rng.permutation(len(changes))]


def to_grey(picture: Picture8, _: float) -> Picture8:
    """Return the luminance (ITU-R BT.601) of `picture` in three equal channels; the amount is ignored."""
    return _array(cv2.merge([cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)] * 3))


def adjust_brightness(picture: Picture8, factor: float) -> Picture8:
    """Return `picture` times `factor`."""
    return _levels(picture, LEVELS * np.float32(factor))


def adjust_contrast(picture: Picture8, factor: float) -> Picture8:
    """Return `picture` with each value's distance from the mean luminance multiplied by `factor`."""
    mean = float(np.dot(cv2.mean(picture)[:3], LUMINANCE))
    return _levels(picture, (LEVELS - np.float32(mean)) * np.float32(factor) + np.float32(mean))


def adjust_saturation(picture: Picture8, factor: float) -> Picture8:
    """Return `picture` with each value's distance from its pixel's luminance multiplied by `factor`."""
    return _array(cv2.transform(picture, SAME * np.float32(factor) + ALL_LUMINANCE * np.float32(1 - factor)))


def adjust_hue(picture: Picture8, turns: float) -> Picture8:
    """Return `picture` with its hue moved by `turns` of the colour circle (-0.5..0.5), in steps of 1/256."""
    hsv = cv2.cvtColor(picture, cv2.COLOR_RGB2HSV_FULL)
    hsv[..., 0] += np.uint8(round(turns * HUES) % HUES)  # a byte wraps around as the circle does
    return _array(cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB_FULL))


def _levels(picture: Picture8, table: NDArray[np.float32]) -> Picture8:
    """Return `picture` with each value replaced by its entry in `table` (256,), rounded and clipped."""
    return _array(cv2.LUT(picture, table.round().clip(0, LEVELS[-1]).astype(np.uint8)))


def _array(picture: object) -> Picture8:
    return np.asarray(picture, dtype=np.uint8)


CHANGES = {
    "brightness": adjust_brightness,
    "contrast": adjust_contrast,
    "saturation": adjust_saturation,
    "hue": adjust_hue,
    "grey": to_grey,
}
"""The colour changes by name."""
