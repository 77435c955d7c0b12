"""The arithmetic of GAN fine-tuning: adversarial losses, their weights, and noise."""

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
SMALLEST_CELLS = 2 * CUT_CELLS + 1  # per side of the smallest picture; one of them is judged


Mean = Callable[[Tensor], Tensor]
"""Function that returns the mean of values (B, 1, h, w) over the places that count."""


def masked_mean(values: Tensor, mask: Tensor, group: Group) -> Tensor:
    """Return the mean of `values` where `mask`, of the same shape, is > 0; the mask may be bool or soft.

    The sum is divided by the number of counted values averaged over all processes of `group`, so that several processes
    with small batches get the same loss as one with the whole batch.
    """
    values = values.float()
    counted = mask > 0
    return (values * counted).sum() / (group.mean(counted.sum(dtype=values.dtype)) + MASK_EPS)


def paired(real: Tensor, fake: Tensor, mean: Mean) -> tuple[Tensor, Tensor]:
    """Return the losses of generator and discriminator when truth and fill are rated in pairs.

    The discriminator has to rate the truth above the fill of the same place by at least 1, the generator aims for the
    reverse. An offset that depends on the picture as a whole cancels in the difference (relativistic pairing:
    Jolicoeur-Martineau, "The relativistic discriminator", 2018, there of pictures drawn independently).
    """
    return mean(torch.relu(1 + real.detach() - fake)), mean(torch.relu(1 + fake - real))


def hinge(real: Tensor, fake: Tensor, mean: Mean) -> tuple[Tensor, Tensor]:
    """Return the losses of generator and discriminator when truth and fill are rated separately.

    The discriminator has to rate the truth above 1 and the fill below -1 (Lim & Ye, "Geometric GAN", 2017).
    """
    return mean(-fake), 0.5 * (mean(torch.relu(1 - real)) + mean(torch.relu(1 + fake)))


ADVERSARIAL: dict[str, Callable[[Tensor, Tensor, Mean], tuple[Tensor, Tensor]]] = registry(
    ADVERSARIAL_LOSSES, {"paired": paired, "hinge": hinge}
)
"""Loss functions by name: from a patch discriminator's logits (B, 1, h, w) of truth and fill, and a `Mean`.

Each returns the loss of the generator and that of the discriminator.
"""


def moved_window(height: int, width: int, rng: torch.Generator) -> tuple[slice, slice]:
    """Return rows and columns of a random window that starts up to 7 px inside a picture.

    The discriminator's cells of 8 px then lie anywhere in the picture. The window's sides are multiples of 8. In a
    small picture the window moves less, because at least one cell must remain to be judged.
    """
    ways = []
    for side in (height, width):
        kept = max((side - CELL + 1) // CELL, SMALLEST_CELLS) * CELL
        start = int(torch.randint(min(side - kept, CELL - 1) + 1, (), generator=rng))
        ways.append(slice(start, start + kept))
    return ways[0], ways[1]


def ste_clamp(x: Tensor) -> Tensor:
    """Clamp to 0..1, but let a share `STE_OVERSHOOT` of the gradient pass outside (straight-through estimator)."""
    clamped = x.clamp(0, 1)
    surrogate = clamped + STE_OVERSHOOT * (x - clamped)
    return surrogate + (clamped - surrogate).detach()


def dequantisation_noise(shape: Sequence[int], generator: torch.Generator) -> Tensor:
    """Return uniform noise within ± half an 8-bit step, as float32 pictures of `shape` on the device of `generator`.

    It is added to output and target alike, so that the discriminator can't tell them apart by the target's 8-bit steps.
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
    """Weight of the adversarial loss; with it both losses have gradients of equal length at the last layer.

    The ratio of gradient lengths (Esser et al., "Taming Transformers", 2021) is clamped to 1e-3..10 and averaged
    exponentially; the newest value counts 1 %.
    """

    def __init__(self) -> None:
        self.average: float | None = None

    def update(self, ratio: float) -> float | None:
        """Include a ratio of gradient lengths in the average and return it; NaN changes nothing and returns None."""
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
