"""The colour in which holes are shown everywhere: magenta, which is rare in photos."""

import torch
from torch import Tensor

HOLE_COLOUR = (255, 0, 255)


def paint_hole(picture: Tensor, hole: Tensor, colour: tuple[float, float, float] | None = None) -> Tensor:
    """Return `picture` (..., 3, H, W), 0..1, with its `hole` (..., 1, H, W), True = missing, painted over.

    `colour`: RGB in 0..1; None: `HOLE_COLOUR`.
    """
    shown = torch.tensor(colour or [value / 255 for value in HOLE_COLOUR], dtype=picture.dtype, device=picture.device)
    return torch.where(hole.bool(), shown[:, None, None], picture)
