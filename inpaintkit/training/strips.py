"""Evaluation pictures: input, output and target of each record side by side."""

from __future__ import annotations

from pathlib import Path

import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from inpaintkit.files import atomic_path
from inpaintkit.hole_colour import paint_hole

GAP = 4


def save_strips(x: Tensor, hole: Tensor, output: Tensor, y: Tensor, path: str | Path) -> None:
    """Save one row per record: input with its hole in magenta, output, target.

    x (B, 3, S, S) and hole (B, 1, S, S) may carry a frame that output and y (B, 3, s, s) lack.
    """
    frame = (x.shape[-1] - y.shape[-1]) // 2
    columns = [F.pad(paint_hole(x, hole), [-frame] * 4), output, y]
    row = torch.cat([F.pad(column, (0, GAP, 0, GAP), value=1.0) for column in columns], dim=-1)
    sheet = torch.cat(list(row.clamp(0, 1)), dim=-2)[:, :-GAP, :-GAP]
    pixels = (sheet * 255).round().byte().permute(1, 2, 0).cpu().numpy()
    with atomic_path(path) as temporary:
        Image.fromarray(pixels).save(temporary, format="PNG")
