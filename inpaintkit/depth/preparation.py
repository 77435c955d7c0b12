"""Prepare pictures for depth networks: sizes, borders and colour normalisation."""

import math

import torch.nn.functional as F
from torch import Tensor

MAX_ASPECT = 4.0
IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
CENTRED = ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
BORDER_FACTOR = 3  # ZoeDepth's border is 3 * sqrt(side / 2) px


def network_size(height: int, width: int, resolution: int, multiple: int) -> tuple[int, int]:
    """Return the (height, width) in px to which a picture is resized for a network.

    The short side is `resolution` rounded up to a multiple of `multiple`; the long side keeps the aspect ratio, to the
    nearest multiple. Pictures longer than 4:1 are squeezed to 4:1.
    """
    short = math.ceil(resolution / multiple) * multiple
    aspect = min(max(height, width) / min(height, width), MAX_ASPECT)
    long = max(short, round(short * aspect / multiple) * multiple)
    return (short, long) if height <= width else (long, short)


def limited_size(height: int, width: int, resolution: int) -> tuple[int, int]:
    """Return (height, width) with the short side reduced to `resolution` px, never enlarged; the aspect ratio stays."""
    scale = min(1.0, resolution / min(height, width))
    return max(1, round(height * scale)), max(1, round(width * scale))


def normalise(pictures: Tensor, scale: tuple[tuple[float, ...], tuple[float, ...]]) -> Tensor:
    """Return (pictures - mean) / deviation for `scale` = (mean, deviation), per channel of (B, 3, H, W)."""
    mean, deviation = (pictures.new_tensor(values)[None, :, None, None] for values in scale)
    return (pictures - mean) / deviation


def border_widths(height: int, width: int) -> tuple[int, int]:
    """Return how many rows and columns of mirrored border ZoeDepth needs on each side of a picture of that size."""
    rows, columns = (int(math.sqrt(side / 2) * BORDER_FACTOR) for side in (height, width))
    return min(rows, height - 1), min(columns, width - 1)


def add_border(pictures: Tensor) -> Tensor:
    """Return `pictures` (B, 3, H, W) with ZoeDepth's mirrored border, which keeps errors at the edge out of them."""
    rows, columns = border_widths(pictures.shape[2], pictures.shape[3])
    return F.pad(pictures, (columns, columns, rows, rows), mode="reflect")


def remove_border(depth: Tensor, height: int, width: int) -> Tensor:
    """Return `depth` (B, 1, h, w), of any size, without the border that `add_border` added at `height` x `width`."""
    rows, columns = border_widths(height, width)
    top = round(rows / (height + 2 * rows) * depth.shape[2])
    left = round(columns / (width + 2 * columns) * depth.shape[3])
    return depth[:, :, top : depth.shape[2] - top, left : depth.shape[3] - left]
