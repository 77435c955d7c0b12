"""Draw all random choices of a training sample in one place; `InpaintDataset` and `ResidentRecords` only apply them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from inpaintkit.data.colours import Changes, draw_jitter
from inpaintkit.data.hole_changes import MARGIN, THIN_MAX
from inpaintkit.data.mixed_border import draw_mixed_border
from inpaintkit.data.sampling import crop_candidates

GROW_RIGHT_CHANCE, GROW_RIGHT_MAX = 0.5, 20  # px
GROW_LEFT_CHANCE, GROW_LEFT_MAX = 0.25, 4  # px
JITTER_CHANCE = 0.25
GREY_CHANCE = 0.05
BEYOND_MAX = 48
"""Most px of repeated border that the loss sees; with `MARGIN`, the most px by which the network pads a picture: 64."""

PICKS = 2**31


@dataclass(frozen=True)
class Chances:
    """Probabilities, 0..1, of three augmentations that imitate what real conversions have and records lack.

    iw3's recipe has none of them. Evaluation samples get mixed borders with the same probability; their holes are left
    as they are.
    """

    mixed_border: float = 0.0
    thin_hole: float = 0.0
    border_hole: float = 0.0


@dataclass(frozen=True)
class SampleDraw:
    """The random choices of one training sample.

    `right`, `left`: px by which the hole grows; `width`: px to which it is thinned, 0: it isn't; `crops`: (top, left)
    of the crops to choose from; `pick`, `inset`: where the picture ends, see `hole_changes.border_columns`; `colours`:
    the colour changes; `shares`: (crop size, 4), see `draw_mixed_border`.
    """

    right: int
    left: int
    width: int
    crops: list[tuple[int, int]]
    pick: int
    inset: int
    colours: Changes
    shares: NDArray[np.float32]


def draw_sample(rng: np.random.Generator, height: int, width: int, crop_size: int, chances: Chances) -> SampleDraw:
    """Draw the random choices for a sample of a record of `height` x `width` px.

    An augmentation with probability 0 draws no random numbers, so that it doesn't change the other choices.
    """
    right = int(rng.integers(1, GROW_RIGHT_MAX + 1)) if rng.random() < GROW_RIGHT_CHANCE else 0
    left = int(rng.integers(1, GROW_LEFT_MAX + 1)) if rng.random() < GROW_LEFT_CHANCE else 0
    thin = int(rng.integers(1, THIN_MAX + 1)) if _happens(rng, chances.thin_hole) else 0
    crops = crop_candidates(height, width, crop_size, rng)
    pick, inset = _draw_border_hole(rng) if _happens(rng, chances.border_hole) else (0, 0)
    jitter = draw_jitter(rng) if rng.random() < JITTER_CHANCE else []
    colours = [*jitter, ("grey", 1.0)] if rng.random() < GREY_CHANCE else jitter
    shares = draw_mixed_border(rng, chances.mixed_border, crop_size)
    return SampleDraw(right, left, thin, crops, pick, inset, colours, shares)


def _happens(rng: np.random.Generator, chance: float) -> bool:
    return chance > 0 and bool(rng.random() < chance)


def _draw_border_hole(rng: np.random.Generator) -> tuple[int, int]:
    inset = MARGIN + int(rng.integers(BEYOND_MAX + 1))
    return int(rng.integers(PICKS)), inset if rng.random() < 0.5 else -inset
