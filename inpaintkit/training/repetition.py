"""The grid term of the loss: an error that repeats from cell to cell is the generator's pattern, not the picture's."""

import torch
import torch.nn.functional as F
from torch import Tensor

from inpaintkit.training.metrics import PERIOD

CELLS = 3
"""Side, in cells, of the squares that are compared.

Smaller squares find patterns in narrow holes worse, larger ones need wide holes.
"""

LEAST_ENERGY = 1e-5
"""Square of the amplitude (0.8 of 255) below which a pattern fades out, so that the gradient stays finite at 0."""

UNEVENNESS = 2.0
"""Weight of `unevenness`, with which both halves of the term have gradients of similar length at the output."""


def grid_term(output: Tensor, target: Tensor, hole: Tensor) -> Tensor:
    """Return for each sample, (B,), how strongly ``output`` (B, 3, H, W) shows cells of 8 x 8 px that ``target`` lacks.

    It is the amplitude of the pattern that the error repeats (`repetition`), plus `UNEVENNESS` times how differently
    fine detail is spread over the cell in both (`unevenness`). The second half finds what the first can't: dots that
    are bright in one cell, dark in the next and missing in the third, but always at the same place of the cell.
    ``hole`` is (B, 1, H, W) bool, True = missing; output and target are equal outside.
    """
    return repetition(output, target) + UNEVENNESS * unevenness(output, target, hole)


def repetition(output: Tensor, target: Tensor) -> Tensor:
    """Return for each sample, (B,), the mean amplitude of the pattern that the error of ``output`` repeats every 8 px.

    ``output`` and ``target`` are (B, 3, H, W). The error is cut into cells of 8 x 8 px, the mean of each cell is
    removed, and the cells are compared within squares of 3 x 3: the products of all pairs of different cells have the
    mean a² for a pattern of amplitude a that repeats, and 0 for whatever doesn't, however strong. So a fill isn't
    pushed to be soft, as it is by an L1 distance. The square root of that mean, 0 where it is negative, is averaged
    over all such squares. Where output and target are equal, as outside holes, the error is 0.
    """
    errors = cells(output - target).unflatten(1, (3, PERIOD**2))
    errors = (errors - errors.mean(dim=2, keepdim=True)).flatten(1, 2)
    count = CELLS**2
    mean, mean_square = (F.avg_pool2d(x, CELLS, stride=1) for x in (errors, errors.square()))
    # the square of the sum also contains the product of each cell with itself
    products = (mean.square() - mean_square / count) * (count / (count - 1))
    energy = products.mean(dim=1).relu()
    amplitude: Tensor = (energy + LEAST_ENERGY).sqrt() - LEAST_ENERGY**0.5
    return amplitude.flatten(1).mean(dim=1)


def unevenness(output: Tensor, target: Tensor, hole: Tensor) -> Tensor:
    """Return for each sample, (B,), how differently fine detail is spread over the cell in ``output`` and ``target``.

    The RMS of `fine_detail` over the hole's pixels at each of the 64 places of a cell is compared with the target's,
    which is scaled to the same mean: so a soft fill isn't pushed to be sharp, nor a sharp one to be soft. The value is
    the RMS of the difference over the hole's pixels, times the hole's share of the picture.
    """
    missing = hole.float()
    counts = cells(missing).sum(dim=(2, 3))
    shares = counts / counts.sum(dim=1, keepdim=True).clamp(min=1)
    ours, truths = (_detail_by_place(x, missing, counts) for x in (output, target))
    scale = (
        (ours * shares).sum(dim=1, keepdim=True) / (truths * shares).sum(dim=1, keepdim=True).clamp(min=LEAST_ENERGY)
    ).detach()
    difference: Tensor = torch.linalg.vector_norm((ours - scale * truths) * shares.sqrt(), dim=1)
    return difference * missing.mean(dim=(1, 2, 3))


def _detail_by_place(picture: Tensor, missing: Tensor, counts: Tensor) -> Tensor:
    """Return the RMS of the detail within the hole at each place of the cell, (B, 64)."""
    energy = fine_detail(picture).square().mean(dim=1, keepdim=True) * missing
    return (cells(energy).sum(dim=(2, 3)) / counts.clamp(min=1) + LEAST_ENERGY).sqrt()


def fine_detail(picture: Tensor) -> Tensor:
    """Return the difference of each pixel of (B, 3, H, W) from the mean of the 3 x 3 px around it."""
    return picture - F.avg_pool2d(picture, 3, stride=1, padding=1, count_include_pad=False)


def cells(x: Tensor) -> Tensor:
    """Return (B, C, H, W) cut into whole cells, (B, C * 64, H // 8, W // 8)."""
    height, width = (size // PERIOD * PERIOD for size in x.shape[-2:])
    return F.pixel_unshuffle(x[..., :height, :width], PERIOD)
