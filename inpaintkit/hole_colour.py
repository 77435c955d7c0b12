"""How a hole is shown everywhere: magenta, a colour that photos hardly have."""

import torch
from torch import Tensor

HOLE_COLOUR = (255, 0, 255)


def paint_hole(picture: Tensor, hole: Tensor, colour: tuple[float, float, float] | None = None) -> Tensor:
    """Return `picture` (..., 3, H, W), 0..1, with `hole` (..., 1, H, W), True = missing, in a colour (0..1); None: `HOLE_COLOUR`."""
    shown = torch.tensor(colour or [value / 255 for value in HOLE_COLOUR], dtype=picture.dtype, device=picture.device)
    return torch.where(hole.bool(), shown[:, None, None], picture)
