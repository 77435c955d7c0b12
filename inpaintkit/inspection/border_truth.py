"""Holes at the picture's border as a truth: scenes cut so that their left or right border runs through a hole."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from inpaintkit.inspection.truths import Case, Truth
from inpaintkit.neighbours import nearest_known
from inpaintkit.seeds import numpy_rng

LEAST_SHARE = 0.25
"""Share of a picture's width that is left of it, unless it has no hole in its middle."""


def border_truth(truth: Truth, seed: int = 0, cut: bool = True) -> Truth:
    """Return the cases of `truth`, by turns cut at the right and at the left, so that a hole touches that border.

    What counts is the hole that the border cuts; behind it nothing is known any more. The border runs through a pixel
    drawn from those that count, and each case's name says at which side. `cut=False`: the same pixels count, but the pictures go on
    beyond, so the difference is what the border costs.
    """

    names = [f"{name}_{'left' if index % 2 else 'right'}" for index, name in enumerate(truth.names)]

    def load(index: int) -> Case:
        case = truth.load(index)
        if not bool(case.judged.any()):
            return replace(case, name=names[index])
        at_right = index % 2 == 0
        column = _draw_border(case.judged, numpy_rng("border", seed, index), at_right)
        window = (..., slice(column + 1) if at_right else slice(column, None))
        counts = torch.zeros_like(case.judged)
        left, right = nearest_known(case.hole[window])
        touches = (right == right.shape[-1]) if at_right else (left < 0)
        counts[window] = case.judged[window] & touches
        bare = replace(case, name=names[index], judged=counts, left_view=None, right_view=None, exact_hole=None)
        if not cut:
            return bare
        parts = {part: getattr(bare, part)[window] for part in ("picture", "hole", "truth", "judged")}
        return replace(bare, **parts)

    return Truth("holes at the border", names, load)


def _draw_border(judged: Tensor, rng: np.random.Generator, at_right: bool) -> int:
    """Draw the column of a pixel that counts in the middle half of `judged`, bool (1, 1, H, W).

    Where none does, return that which leaves the larger part of the picture.
    """
    width = judged.shape[-1]
    columns = judged[0, 0].nonzero()[:, 1]
    middle = columns[(columns >= LEAST_SHARE * width) & (columns < (1 - LEAST_SHARE) * width)]
    if len(middle):
        return int(middle[int(rng.integers(len(middle)))])
    return int(columns.max() if at_right else columns.min())
