"""The grid term of the loss: an error that repeats from cell to cell is the generator's own pattern, not the picture's."""

import torch.nn.functional as F
from torch import Tensor

from inpaintkit.training.metrics import PERIOD

CELLS = 3
"""Side of the squares of cells that are compared. Fewer find patterns in narrow holes worse, more need wide ones."""

LEAST_ENERGY = 1e-5
"""Square of the amplitude (0.8 of 255) below which the term fades out, so that its gradient stays finite at 0."""


def grid_term(output: Tensor, target: Tensor) -> Tensor:
    """Return per sample, (B,), the amplitude of what the error of ``output`` (B, 3, H, W) repeats every 8 px, over all of the picture.

    Cut into cells of 8 x 8 px and without the mean of each cell, the error is compared over 3 x 3 cells: the products of all
    pairs of different cells have the mean a² for a pattern of amplitude a that repeats, and 0 for whatever doesn't, however
    strong. So a fill isn't pushed to be soft, as by an L1 distance. The square root of that mean, 0 where it is negative, is
    averaged over all such squares. Where output and target are equal, as outside holes, the error is 0.
    """
    height, width = (size // PERIOD * PERIOD for size in output.shape[-2:])
    cells = F.pixel_unshuffle((output - target)[..., :height, :width], PERIOD).unflatten(1, (3, PERIOD**2))
    cells = (cells - cells.mean(dim=2, keepdim=True)).flatten(1, 2)
    count = CELLS**2
    mean, mean_square = (F.avg_pool2d(x, CELLS, stride=1) for x in (cells, cells.square()))
    # the square of the sum holds the product of each cell with itself, too
    products = (mean.square() - mean_square / count) * (count / (count - 1))
    energy = products.mean(dim=1).relu()
    amplitude: Tensor = (energy + LEAST_ENERGY).sqrt() - LEAST_ENERGY**0.5
    return amplitude.flatten(1).mean(dim=1)
