"""Row fill: the fill that a trained network has to beat."""

import torch
from torch import Tensor

from inpaintkit.config import require_known
from inpaintkit.neighbours import nearest_known


def row_fill(picture: Tensor, hole: Tensor, eye: str = "right") -> Tensor:
    """Fill each hole pixel with the nearest known pixel of its row on the background side.

    That side is the right one in right-eye orientation, which all records have, and the left one for the left eye.
    Where the hole reaches the picture's border, the other side is used; a row without any known pixel stays as it is.

    Args:
        picture: float (B, 3, H, W), 0..1.
        hole: bool (B, 1, H, W), True = missing.
        eye: ``"right"`` or ``"left"``.

    Raises `InputError` for any other `eye`.
    """
    require_known("eye", eye, ("left", "right"))
    left, right = nearest_known(hole)
    width = hole.shape[-1]
    source = torch.where(left >= 0, left, right) if eye == "left" else torch.where(right < width, right, left)
    own = torch.arange(width, device=hole.device)
    source = torch.where((source >= 0) & (source < width), source, own)
    return picture.gather(-1, source.expand_as(picture))
