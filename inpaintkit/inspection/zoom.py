"""Enlarged views of single holes: find the holes of a picture and show them, filled or not."""

from collections.abc import Sequence

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from inpaintkit.hole_colour import HOLE_COLOUR, paint_hole
from inpaintkit.inspection.pictures import Pixels, to_uint8

Box = tuple[int, int, int]
"""(top, left, side) of a square in px."""

ZOOM_MARGIN, ZOOM_MINIMUM, ZOOM_MAXIMUM = 1.5, 56, 112
"""The side of a zoomed crop is its hole's longer side times the first, within the other two in px and the picture."""

SMALLEST_HOLE = 20
"""Parts of fewer px get no zoomed crop of their own."""

BOX_COLOUR = (255, 255, 255)


def zoom_boxes(hole: torch.Tensor) -> list[Box]:
    """Return a square around each connected part of `hole` (H, W), bool, True = missing, the largest part first.

    Leaves out parts under `SMALLEST_HOLE` px, unless there is no other, and parts whose square lies by more than half
    in an earlier one. Without any hole, returns the largest square at the top left.
    """
    _, parts, stats, _ = cv2.connectedComponentsWithStats(hole.cpu().numpy().astype(np.uint8), connectivity=8)
    boxes: list[Box] = []
    for part in 1 + np.argsort(-stats[1:, cv2.CC_STAT_AREA], kind="stable"):
        if stats[part, cv2.CC_STAT_AREA] < SMALLEST_HOLE and boxes:
            break
        box = _box_around(parts == part, stats[part])
        if not any(_overlap(box, other) > 0.5 for other in boxes):
            boxes.append(box)
    return boxes or [(0, 0, min(hole.shape))]


def _box_around(part: NDArray[np.bool_], stats: Sequence[int]) -> Box:
    """Return a square inside the picture around the whole `part` (H, W), or its thickest place if that is too long."""
    left, top, width, height = (int(stats[column]) for column in range(4))
    longer = max(width, height)
    middle = (top + height // 2, left + width // 2)
    side = min(max(int(longer * ZOOM_MARGIN), ZOOM_MINIMUM), ZOOM_MAXIMUM, *part.shape)
    if longer > side:
        thickness = cv2.distanceTransform(part.astype(np.uint8), cv2.DIST_L2, 3)
        middle = divmod(int(np.argmax(thickness)), part.shape[1])
    top, left = (min(max(m - side // 2, 0), length - side) for m, length in zip(middle, part.shape, strict=True))
    return top, left, side


def _overlap(box: Box, other: Box) -> float:
    """Return the share of `box` that lies in `other`."""
    sides = [max(0, min(a + box[2], b + other[2]) - max(a, b)) for a, b in ((box[0], other[0]), (box[1], other[1]))]
    return sides[0] * sides[1] / box[2] ** 2


def enlarged(picture: torch.Tensor, hole: torch.Tensor, box: Box, side: int, outline: bool) -> Pixels:
    """Return the square `box` of `picture` (3, H, W), 0..1, enlarged to about `side` px by repeating its pixels.

    With `outline`, a magenta line one px wide runs along the inner edge of the `hole` (1, H, W), bool, True = missing.
    Returns uint8 (s, s, 3).
    """
    top, left, length = box
    crop = (..., slice(top, top + length), slice(left, left + length))
    times = max(1, round(side / length))
    shown = to_uint8(picture[crop]).repeat(times, axis=0).repeat(times, axis=1)
    if outline:
        missing = hole[crop][0].cpu().numpy().astype(np.uint8).repeat(times, axis=0).repeat(times, axis=1)
        contours, _ = cv2.findContours(missing, cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
        cv2.drawContours(shown, contours, -1, HOLE_COLOUR, 1)
    return shown


def with_box(picture: torch.Tensor, hole: torch.Tensor, box: Box) -> Pixels:
    """Return `picture` (3, H, W), 0..1, with its `hole` (1, H, W) in magenta and a white line around `box`.

    The result is uint8 (H, W, 3).
    """
    shown = to_uint8(paint_hole(picture, hole))
    top, left, length = box
    for colour, reach in (((0, 0, 0), 1), (BOX_COLOUR, 0)):  # the dark line keeps the white one visible on white
        corner, opposite = (left - reach, top - reach), (left + length - 1 + reach, top + length - 1 + reach)
        cv2.rectangle(shown, corner, opposite, colour, 1)
    return shown
