"""Evaluate a task on the evaluation records: figures of each record, their means, and pictures to look at."""

import itertools
import math
from collections.abc import Iterable, Mapping
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from inpaintkit.files import atomic_path
from inpaintkit.hole_colour import paint_hole
from inpaintkit.training.distributed import Group
from inpaintkit.training.metrics import HIGHEST_PSNR
from inpaintkit.training.setup import Setup

Figures = dict[str, float]

GAP = 4  # px between the pictures of a strip


def mean_figures(records: Iterable[Mapping[str, float]]) -> Figures:
    """Return the mean of each figure over all records; NaN if no record has it.

    Figures of holes are NaN for records without a hole, which are left out of their mean. A NaN loss isn't left out: it
    must show. A PSNR above `HIGHEST_PSNR`, as the infinite one of a perfect fill, counts as `HIGHEST_PSNR`.
    """
    columns: dict[str, list[float]] = {}
    for figures in records:
        for name, value in figures.items():
            columns.setdefault(name, []).append(min(value, HIGHEST_PSNR) if "psnr" in name else value)
    known = {name: [x for x in values if name == "total" or not math.isnan(x)] for name, values in columns.items()}
    return {name: math.fsum(values) / len(values) if values else math.nan for name, values in known.items()}


def evaluate_records(setup: Setup, group: Group, strips: Path, save_every: int, epoch: int) -> Figures:
    """Return the mean figures of the evaluation records of `setup`; each process of `group` evaluates its share.

    For every `save_every`-th batch of the first process a picture is saved in the folder `strips`.
    """
    mine: list[Figures] = []
    for number, batch in enumerate(setup.eval_feed.batches(setup.eval_records[group.rank :: group.size])):
        x, hole, y, _ = batch
        output, figures = setup.task.evaluate(batch)
        values = torch.stack([value.float() for value in figures.values()], dim=1).tolist()
        mine += [dict(zip(figures, row, strict=True)) for row in values]
        if number % save_every == 0 and group.leads:
            save_strips(x, hole, output, y, strips / f"epoch{epoch:04}_batch{number:04}.png")
    return mean_figures(itertools.chain.from_iterable(group.gather(mine)))


def save_strips(x: Tensor, hole: Tensor, output: Tensor, y: Tensor, path: Path) -> None:
    """Save one row per record: input with its hole in magenta, output, target.

    x (B, 3, S, S) and hole (B, 1, S, S) may carry a margin that output and y (B, 3, s, s) lack.
    """
    margin = (x.shape[-1] - y.shape[-1]) // 2
    columns = [F.pad(paint_hole(x, hole), [-margin] * 4), output, y]
    row = torch.cat([F.pad(column, (0, GAP, 0, GAP), value=1.0) for column in columns], dim=-1)
    sheet = torch.cat(list(row.clamp(0, 1)), dim=-2)[:, :-GAP, :-GAP]
    pixels = (sheet * 255).round().byte().permute(1, 2, 0).cpu().numpy()
    with atomic_path(path) as temporary:
        Image.fromarray(pixels).save(temporary, format="PNG")
