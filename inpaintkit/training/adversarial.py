"""The parts of GAN fine-tuning that are arithmetic: losses, weights, noise."""

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from inpaintkit.config import ADVERSARIAL_LOSSES, registry
from inpaintkit.model.discriminator import CELL, CUT_CELLS
from inpaintkit.training.distributed import Group

STE_OVERSHOOT = 0.1
WEIGHT_LIMITS = (1e-3, 10.0)
WEIGHT_MOMENTUM = 0.99
WARMUP_STEEPNESS = 4.0
WARMUP_CUTOFF = 0.1
MASK_EPS = 1e-4
HALF_STEP_8BIT = 0.5 / 255
SMALLEST_CELLS = 2 * CUT_CELLS + 1  # of which one is judged


Mean = Callable[[Tensor], Tensor]
"""Mean of values (B, 1, h, w) where they count."""


def masked_mean(values: Tensor, mask: Tensor, group: Group) -> Tensor:
    """Return the mean of `values` where `mask`, of the same shape, is > 0 (so bool and soft masks do).

    The number of counted values is its mean over all processes of the `group`, so that several processes with small batches
    have the loss of one with all of them.
    """
    values, counted = values.float(), mask > 0
    return (values * counted).sum() / (group.mean(counted.sum(dtype=values.dtype)) + MASK_EPS)


def paired(real: Tensor, fake: Tensor, mean: Mean) -> tuple[Tensor, Tensor]:
    """Return both losses of the game in which the truth shall be rated above the fill of the same place by at least 1.

    What a whole picture adds to its logits falls out of the differences (relativistic pairing: Jolicoeur-Martineau, "The
    relativistic discriminator", 2018, of pictures drawn independently).
    """
    return mean(torch.relu(1 + real.detach() - fake)), mean(torch.relu(1 + fake - real))


def hinge(real: Tensor, fake: Tensor, mean: Mean) -> tuple[Tensor, Tensor]:
    """Return both losses of the game in which the truth shall be rated above 1 and the fill below -1 (Lim & Ye, "Geometric GAN", 2017)."""
    return mean(-fake), 0.5 * (mean(torch.relu(1 - real)) + mean(torch.relu(1 + fake)))


ADVERSARIAL: dict[str, Callable[[Tensor, Tensor, Mean], tuple[Tensor, Tensor]]] = registry(
    ADVERSARIAL_LOSSES, {"paired": paired, "hinge": hinge}
)
"""Functions of a patch discriminator's logits (B, 1, h, w) of truth and fill: the generator's loss, and the discriminator's."""


def moved_window(height: int, width: int, rng: torch.Generator) -> tuple[slice, slice]:
    """Return rows and columns of a window that begins up to 7 px inside a picture, so that cells of 8 px lie anywhere.

    Its sides are multiples of 8; a small picture leaves less room to move, as it must keep a cell to judge.
    """
    ways = []
    for side in (height, width):
        kept = max((side - CELL + 1) // CELL, SMALLEST_CELLS) * CELL
        start = int(torch.randint(min(side - kept, CELL - 1) + 1, (), generator=rng))
        ways.append(slice(start, start + kept))
    return ways[0], ways[1]


def ste_clamp(x: Tensor) -> Tensor:
    """Clamp to 0..1, but let the share `STE_OVERSHOOT` of the gradient through outside (straight-through estimator)."""
    clamped = x.clamp(0, 1)
    surrogate = clamped + STE_OVERSHOOT * (x - clamped)
    return surrogate + (clamped - surrogate).detach()


def dequantisation_noise(shape: Sequence[int], generator: torch.Generator) -> Tensor:
    """Return uniform noise of ± half an 8-bit step of pictures of `shape`, float32, on the generator's device.

    Added to output and target alike, so that the discriminator can't tell them apart by the target's 8-bit steps.
    """
    noise = torch.rand(shape, generator=generator, device=generator.device, dtype=torch.float32)
    return (2 * noise - 1) * HALF_STEP_8BIT


def warmup_weight(iteration: int, warmup: int) -> float:
    """Return the weight 0..1 of the adversarial term after `iteration` optimiser steps.

    It rises exponentially to 1 at `warmup`; below `WARMUP_CUTOFF` it counts as 0.
    """
    if iteration >= warmup:
        return 1.0
    weight = math.expm1(WARMUP_STEEPNESS * iteration / warmup) / math.expm1(WARMUP_STEEPNESS)
    return weight if weight >= WARMUP_CUTOFF else 0.0


class AdaptiveWeight:
    """Weight that gives reconstruction and adversarial loss gradients of equal length at the last layer.

    The ratio of gradient lengths (Esser et al., "Taming Transformers", 2021) is clamped to 1e-3..10 and averaged
    exponentially, the newest value counting 1 %.
    """

    def __init__(self) -> None:
        self.average: float | None = None

    def update(self, ratio: float) -> float | None:
        """Average a ratio of gradient lengths in and return the weight; None for NaN, which changes nothing."""
        if math.isnan(ratio):
            return None
        ratio = min(max(ratio, WEIGHT_LIMITS[0]), WEIGHT_LIMITS[1])
        if self.average is None:
            self.average = ratio
        else:
            self.average = WEIGHT_MOMENTUM * self.average + (1 - WEIGHT_MOMENTUM) * ratio
        return self.average

    def state_dict(self) -> dict[str, float | None]:
        return {"average": self.average}

    def load_state_dict(self, state: dict[str, float | None]) -> None:
        self.average = state["average"]
