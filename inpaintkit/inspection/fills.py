"""Classical ways to fill a hole: what any trained network has to beat.

A fill is any function ``(picture, hole, eye) -> picture``; an `Inpainter` is one too. To compare your own::

    def mine(picture, hole, eye):  # float (B, 3, H, W) 0..1; bool (B, 1, H, W), True = missing; "left" | "right"
        return torch.where(hole, picture.mean((2, 3), keepdim=True), picture)
    FILLS["mine"] = mine
"""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
import torch

from inpaintkit.errors import InputError
from inpaintkit.inspection.pictures import UINT8_MAX, is_left

Fill = Callable[[torch.Tensor, torch.Tensor, str], torch.Tensor]
"""(picture (B, 3, H, W) 0..1, hole (B, 1, H, W) bool, eye) -> picture, changed in the hole only."""

OPENCV_RADIUS = 3
"""Neighbourhood of a filled pixel in px, the value of OpenCV's own examples."""


def row_fill(picture: torch.Tensor, hole: torch.Tensor, eye: str = "right") -> torch.Tensor:
    """Give each hole pixel the nearest valid pixel of its row on the background side.

    That side is the right one in right-eye orientation, the left one for the left eye. Where the hole reaches the
    picture's border, the other side serves; a row without any valid pixel stays as it is.

    Args:
        picture: float (B, 3, H, W), 0..1.
        hole: bool (B, 1, H, W), True = missing.
        eye: ``"right"`` or ``"left"``.
    """
    width = hole.shape[-1]
    columns = torch.arange(width, device=hole.device).expand_as(hole)
    from_right = columns.masked_fill(hole, width).flip(-1).cummin(-1).values.flip(-1)
    from_left = columns.masked_fill(hole, -1).cummax(-1).values
    if is_left(eye):
        source = torch.where(from_left >= 0, from_left, from_right)
    else:
        source = torch.where(from_right < width, from_right, from_left)
    source = torch.where((source >= 0) & (source < width), source, columns)
    return picture.gather(-1, source.expand_as(picture))


def telea_fill(picture: torch.Tensor, hole: torch.Tensor, eye: str = "right") -> torch.Tensor:
    """Fill by fast marching (Telea 2004, OpenCV), which knows no background side. Arguments as in `row_fill`."""
    is_left(eye)
    return _fill_each(picture, hole, lambda rgb, missing: _opencv(rgb, missing, cv2.INPAINT_TELEA))


def navier_stokes_fill(picture: torch.Tensor, hole: torch.Tensor, eye: str = "right") -> torch.Tensor:
    """Fill by fluid dynamics (Bertalmio et al. 2001, OpenCV). Arguments as in `row_fill`."""
    is_left(eye)
    return _fill_each(picture, hole, lambda rgb, missing: _opencv(rgb, missing, cv2.INPAINT_NS))


def biharmonic_fill(picture: torch.Tensor, hole: torch.Tensor, eye: str = "right") -> torch.Tensor:
    """Fill by the biharmonic equation (Damelin and Hoang 2018, scikit-image). Arguments as in `row_fill`.

    Raises `InputError` where scikit-image is not installed.
    """
    is_left(eye)
    try:
        from skimage.restoration import inpaint_biharmonic
    except ImportError as error:
        raise InputError(
            "fills: biharmonic needs scikit-image; run `pip install scikit-image` or leave this fill out"
        ) from error

    def solve(rgb: np.ndarray, missing: np.ndarray) -> np.ndarray:
        return np.asarray(inpaint_biharmonic(rgb, missing, channel_axis=-1, split_into_regions=True))

    return _fill_each(picture, hole, solve)


def _opencv(rgb: np.ndarray, missing: np.ndarray, method: int) -> np.ndarray:
    # Where a hole touches the picture's border OpenCV reads what lies in the hole; a repeated border keeps it off.
    border = (OPENCV_RADIUS + 1,) * 4
    levels = cv2.copyMakeBorder(np.rint(rgb * UINT8_MAX).astype(np.uint8), *border, cv2.BORDER_REPLICATE)
    mask = cv2.copyMakeBorder(missing.astype(np.uint8), *border, cv2.BORDER_REPLICATE)
    filled = cv2.inpaint(levels, mask, OPENCV_RADIUS, method)
    inside = slice(border[0], -border[0])
    return np.asarray(filled[inside, inside], dtype=np.float32) / UINT8_MAX


def _fill_each(
    picture: torch.Tensor, hole: torch.Tensor, solve: Callable[[np.ndarray, np.ndarray], np.ndarray]
) -> torch.Tensor:
    """Run `solve` (float RGB (H, W, 3), bool (H, W)) on every picture and take its answer inside the hole only."""
    filled = picture.clone()
    for index in range(len(picture)):
        missing = hole[index, 0]
        if bool(missing.any()) and not bool(missing.all()):
            rgb = picture[index].detach().float().clamp(0, 1).permute(1, 2, 0).contiguous().cpu().numpy()
            answer = torch.from_numpy(solve(rgb, missing.cpu().numpy())).permute(2, 0, 1)
            filled[index] = torch.where(missing, answer.to(picture), picture[index])
    return filled


FILLS: dict[str, Fill] = {
    "row": row_fill,
    "telea": telea_fill,
    "navier_stokes": navier_stokes_fill,
    "biharmonic": biharmonic_fill,
}
"""Fills by name. Add your own: ``FILLS["mine"] = my_function``."""
