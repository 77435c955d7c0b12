"""Change the holes of training samples: grow them, thin them, or put the border of the picture there."""

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from inpaintkit.model import LightInpaintV1
from inpaintkit.neighbours import nearest_known

MARGIN = LightInpaintV1.i2i_offset
"""Px on each side of a sample that neither loss nor evaluation counts: the network sees too little around them."""

THIN_MAX = 3  # px


def grow_hole(hole: NDArray[np.bool_], *, left: int, right: int) -> NDArray[np.bool_]:
    """Return `hole` (H, W), True = missing, grown by `right` px to the right and `left` px to the left.

    >>> grow_hole(np.array([[False, False, True, False, False]]), left=1, right=2)[0].tolist()
    [False, True, True, True, True]
    """
    if not (right or left):
        return hole
    reach = np.ones((1, right + 1 + left), np.uint8)
    grown: NDArray[np.bool_] = cv2.dilate(hole.view(np.uint8), reach, anchor=(right, 0)).view(np.bool_)
    return grown


def grow_holes(holes: Tensor, *, left: Tensor, right: Tensor) -> Tensor:
    """Return `holes` (B, H, W) bool, each grown by its `left` and `right` px (B,); `grow_hole` is faster for one."""
    columns = torch.arange(holes.shape[-1], device=holes.device)
    before, after = nearest_known(~holes)
    from_left = (before >= 0) & (columns - before <= right[:, None, None])
    return from_left | ((after < len(columns)) & (after - columns <= left[:, None, None]))


def thin_holes(holes: Tensor, widths: Tensor) -> Tensor:
    """Return `holes` (B, H, W) bool with only the leftmost `widths` (B,) px of each run in a row; 0: as they are.

    `widths` are at most `THIN_MAX`. What is left lies next to the near object: the hole if the object had moved less.

    >>> thin_holes(torch.tensor([[[False, True, True, True, False, True]]]), torch.tensor([2])).int().tolist()
    [[[0, 1, 1, 0, 0, 1]]]
    """
    thin, beyond = holes, holes
    for width in range(1, THIN_MAX + 1):
        beyond = beyond & F.pad(holes, (width, 0))[..., :-width]
        thin = torch.where((widths == width)[:, None, None], holes & ~beyond, thin)
    return thin


def border_columns(holes: Tensor, lefts: Tensor, width: int, picks: Tensor, insets: Tensor) -> Tensor:
    """Return the columns (B, S) of records `width` px wide that crops show, int64, if the picture is to end at a hole.

    `holes` (B, S, S) bool: those of the crops, which begin at column `lefts` (B,). The border of the picture is put at
    the column of one hole pixel, chosen by `picks` (B,); beyond it, that column repeats, as where the network pads
    pictures. `insets` (B,): number of columns of the crop beyond the right border, or if negative beyond the left one;
    0: there is no border. The crop is moved so that the border is in its place; outside of the record, the record is
    mirrored. A crop without a hole stays as it is.

    >>> holes = torch.tensor([[[False, False, True, False]]]).expand(2, -1, -1)
    >>> border_columns(holes, torch.tensor([1, 1]), 6, torch.tensor([0, 0]), torch.tensor([1, -1])).tolist()
    [[1, 2, 3, 3], [3, 3, 4, 5]]
    """
    size = holes.shape[-1]
    steps = torch.arange(size, device=holes.device)
    counted = holes.sum(dim=1).cumsum(dim=-1)
    total = counted[:, -1]
    border = (counted <= (picks % total.clamp(min=1))[:, None]).sum(dim=-1)
    place = torch.where(insets > 0, size - 1 - insets, -insets)
    seam = (lefts + border)[:, None]
    moved = (lefts + border - place)[:, None] + steps
    at_right = torch.minimum(moved, seam).abs()
    at_left = width - 1 - (width - 1 - torch.maximum(moved, seam)).abs()
    shown = torch.where((insets > 0)[:, None], at_right, at_left)
    return torch.where(((insets == 0) | (total == 0))[:, None], lefts[:, None] + steps, shown)
