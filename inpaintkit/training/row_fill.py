"""Row fill: the fill that a trained network has to beat."""

from __future__ import annotations

import torch
from torch import Tensor

from inpaintkit.neighbours import nearest_known


def row_fill(picture: Tensor, hole: Tensor) -> Tensor:
    """Give each hole pixel the nearest known pixel to its right in the row: the background of a record.

    Where the hole reaches the picture's border, the left side serves; a row without any known pixel stays as it is.

    Args:
        picture: float (B, 3, H, W), 0..1, in right-eye orientation as all records.
        hole: bool (B, 1, H, W), True = missing.
    """
    left, right = nearest_known(hole)
    width = hole.shape[-1]
    columns = torch.arange(width, device=hole.device).expand_as(hole)
    source = torch.where(right < width, right, left)
    source = torch.where(source >= 0, source, columns)
    return picture.gather(-1, source.expand_as(picture))
