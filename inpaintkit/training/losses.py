"""Training losses: clamp-L1, DCT, LPIPS, DINOv2 and the grid term, summed with fixed weights."""

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from inpaintkit.config import LOSSES, registry, require_known
from inpaintkit.data.colours import LUMINANCE
from inpaintkit.errors import InputError
from inpaintkit.training.augment import augment_pair, rotate
from inpaintkit.training.dinov2 import DinoDistance
from inpaintkit.training.loss_log import BatchLosses
from inpaintkit.training.perceptual import Lpips
from inpaintkit.training.repetition import grid_term

# A little of the unclamped difference pulls values outside 0..1 back.
UNCLAMPED_WEIGHT = 0.001
PAD_MULTIPLE = 16
ROTATION_DEGREES = 45.0


@dataclass(frozen=True)
class DctPart:
    """One part of the DCT loss.

    `share` is its weight; `window` the side of the blocks in px (None: the whole picture); `overlap` adds blocks
    shifted by half a window; `rotated` adds the pair turned by 45 degrees.
    """

    share: float = 1.0
    window: int | None = None
    overlap: bool = False
    rotated: bool = False


@dataclass(frozen=True)
class Recipe:
    """Weights of the terms of a named loss, and the parts of its DCT term."""

    weights: dict[str, float]
    dct_parts: tuple[DctPart, ...] = ()


RECIPES = registry(
    LOSSES,
    {
        "l1lpips": Recipe({"l1": 1.0, "lpips": 0.4}),
        "dct": Recipe(
            {"dct": 1.0}, (DctPart(0.2, window=4), DctPart(0.2, window=24, rotated=True), DctPart(0.6, rotated=True))
        ),
        "l1dctlpips": Recipe({"dct": 0.5, "l1": 0.5, "lpips": 0.2}, (DctPart(window=32, overlap=True),)),
        # the weight is ours: it gives both terms gradients of similar length on a blurred fill
        "l1dinov2": Recipe({"l1": 1.0, "dinov2": 0.4}),
    },
)


class TrainingLoss(nn.Module):
    """Loss of a batch of pictures; made by `create_loss`. It has no trainable parameters."""

    def __init__(
        self,
        recipe: Recipe,
        perceptual: str,
        hole_l1_weight: float,
        perceptual_path: str | Path | None = None,
        grid_weight: float = 0.0,
    ) -> None:
        super().__init__()
        self.recipe = recipe
        self.weights = recipe.weights | ({"grid": grid_weight} if grid_weight else {})
        self.hole_l1_weight = hole_l1_weight
        self.lpips = Lpips(perceptual, perceptual_path) if "lpips" in recipe.weights else None
        self.dinov2 = DinoDistance(perceptual_path) if "dinov2" in recipe.weights else None
        self.multiple = self.dinov2.patch if self.dinov2 else PAD_MULTIPLE if self.lpips else 1

    def forward(
        self, output: Tensor, target: Tensor, hole: Tensor | None = None, generator: torch.Generator | None = None
    ) -> tuple[Tensor, BatchLosses]:
        """Return (total, losses): the loss of the batch, with gradient, and its parts, detached.

        Args:
            output: pictures (B, 3, H, W), also outside 0..1.
            target: their truth (B, 3, H, W), 0..1.
            hole: (B, 1, H, W) bool, True = missing; needed with a `grid_weight`, or a `hole_l1_weight` other than 1.
            generator: random generator of the pair augmentation (`augment_pair`); None, as in evaluation, turns it off.

        ``losses.terms`` holds ``total`` and those of the unweighted scalars ``l1``, ``dct``, ``lpips``, ``dinov2`` and
        ``grid`` that the loss has; their weighted sum is the total. ``losses.per_sample`` (B,) holds the total of each
        sample; their mean is the total.
        """
        output, target = output.float(), target.float()
        grid = {}
        if "grid" in self.weights:
            if hole is None:
                raise ValueError("grid_weight needs the hole")
            # before augmentation: in rotated pictures the grid would no longer lie along rows and columns
            grid["grid"] = grid_term(output, target, hole)
        if self.hole_l1_weight == 1:
            hole = None
        elif hole is None:
            raise ValueError("hole_l1_weight other than 1 needs the hole")
        if generator is not None:
            output, target, hole = augment_pair(output, target, generator, hole)
        values = self._terms(output, target, hole) | grid
        weighted = [self.weights[name] * value for name, value in values.items()]
        per_sample = torch.stack(weighted).sum(dim=0)
        total = per_sample.mean()
        terms = {name: value.detach().mean() for name, value in values.items()}
        return total, BatchLosses({"total": total.detach(), **terms}, per_sample.detach())

    def _terms(self, output: Tensor, target: Tensor, hole: Tensor | None) -> dict[str, Tensor]:
        """Return each term per sample, (B,), with gradient."""
        output, target = pad_to_multiple(output, self.multiple), pad_to_multiple(target, self.multiple)
        terms = {}
        if "l1" in self.weights:
            weights = None
            if hole is not None:
                weights = 1 + (self.hole_l1_weight - 1) * pad_to_multiple(hole.float(), self.multiple)
            terms["l1"] = clamp_l1(output, target, weights)
        if "dct" in self.weights:
            parts = [part.share * dct_loss(output, target, part) for part in self.recipe.dct_parts]
            terms["dct"] = torch.stack(parts).sum(dim=0)
        if self.lpips is not None:
            terms["lpips"] = self.lpips(output, target)
        if self.dinov2 is not None:
            terms["dinov2"] = self.dinov2(output, target)
        return terms


def create_loss(
    name: str,
    perceptual: str = "vgg",
    hole_l1_weight: float = 1.0,
    perceptual_path: str | Path | None = None,
    grid_weight: float = 0.0,
) -> TrainingLoss:
    """Return the loss `name`: ``l1lpips``, ``dct``, ``l1dctlpips`` or ``l1dinov2``.

    `perceptual` is the network of LPIPS; `perceptual_path` is a local copy of the perceptual network: a file for LPIPS,
    a folder for DINOv2. `hole_l1_weight` multiplies the clamp-L1 inside the hole; 1 is the reference's loss.
    `grid_weight` is the weight of `grid_term`, which the reference doesn't have; 0 leaves it out. Raises `InputError`
    for an unknown name, for a hole weight without an L1 term, and if the perceptual network can't be loaded.
    """
    require_known("loss", name, RECIPES)
    recipe = RECIPES[name]
    if hole_l1_weight != 1 and "l1" not in recipe.weights:
        raise InputError(f"hole_l1_weight: the loss {name} has no L1 term; use 1 or the loss l1lpips")
    return TrainingLoss(recipe, perceptual, hole_l1_weight, perceptual_path, grid_weight)


def pad_to_multiple(picture: Tensor, multiple: int = PAD_MULTIPLE) -> Tensor:
    """Pad (B, C, H, W) by reflection, evenly on both sides, to the next multiple of `multiple` px.

    The padding is detached, so that border pixels don't count twice in the gradient.
    """
    height, width = picture.shape[-2:]
    rows, columns = -height % multiple, -width % multiple
    if not rows and not columns:
        return picture
    top, left = rows // 2, columns // 2
    padded = F.pad(picture.detach(), (left, columns - left, top, rows - top), mode="reflect")
    padded[..., top : top + height, left : left + width] = picture
    return padded


def clamp_l1(output: Tensor, target: Tensor, weights: Tensor | None = None) -> Tensor:
    """Return the mean L1 distance of each sample, (B,): of values clamped to 0..1, plus 0.001 of the unclamped one.

    `weights` (B, 1, H, W) multiply the distance of each pixel.
    """
    difference = (output.clamp(0, 1) - target.clamp(0, 1)).abs() + UNCLAMPED_WEIGHT * (output - target).abs()
    if weights is not None:
        difference = difference * weights
    return difference.mean(dim=(1, 2, 3))


def dct_loss(output: Tensor, target: Tensor, part: DctPart) -> Tensor:
    """Return the mean L1 distance of the DCTs of luma, R, G and B for each sample, (B,), computed as `part` specifies.

    Values are clamped to 0..1; 0.001 of the L1 distance of the unclamped pixels is added. Luma is that of the clamped
    picture.
    """
    output, target = _with_luma(output), _with_luma(target)
    loss = _dct_distance(output, target, part)
    if part.rotated:
        turned_output, turned_target = (rotate(p, ROTATION_DEGREES, expand=True) for p in (output, target))
        loss = 0.5 * loss + _dct_distance(turned_output, turned_target, part)
    return loss


def _with_luma(picture: Tensor) -> Tensor:
    weights = _luma(picture.device)
    return torch.cat([(picture.clamp(0, 1) * weights).sum(dim=1, keepdim=True), picture], dim=1)


def _dct_distance(output: Tensor, target: Tensor, part: DctPart) -> Tensor:
    # The DCT is linear: one transform of the difference instead of two transforms.
    clamped, plain = output.clamp(0, 1) - target.clamp(0, 1), output - target
    distance = _windowed_distance(clamped, plain, part.window)
    if part.overlap and part.window:
        clamped, plain = (F.pad(x, (part.window // 2,) * 4) for x in (clamped, plain))
        distance = 0.5 * (distance + _windowed_distance(clamped, plain, part.window))
    return distance


def _windowed_distance(clamped: Tensor, plain: Tensor, window: int | None) -> Tensor:
    if window is not None:
        clamped, plain = (_windows(x, window) for x in (clamped, plain))
    return _mean_l1(_dct2(clamped)) + UNCLAMPED_WEIGHT * _mean_l1(plain)


def _windows(x: Tensor, window: int) -> Tensor:
    """Cut (B, C, H, W) into windows (B, C, rows, columns, window, window).

    The picture is first padded with zeros, evenly on both sides, to the next multiple of `window`.
    """
    rows, columns = (-size % window for size in x.shape[-2:])
    padded = F.pad(x, (columns // 2, columns - columns // 2, rows // 2, rows - rows // 2))
    batch, channels, height, width = padded.shape
    blocks = padded.reshape(batch, channels, height // window, window, width // window, window)
    return blocks.transpose(-3, -2)


def _mean_l1(x: Tensor) -> Tensor:
    return x.abs().flatten(1).mean(dim=1)


def _dct2(x: Tensor) -> Tensor:
    """Return the orthonormal two-dimensional DCT-II of the last two axes."""
    rows, columns = (_dct_matrix(n, x.device) for n in x.shape[-2:])
    # in bf16 the gradient would be off by some 5 %
    with torch.autocast(x.device.type, enabled=False):
        transformed: Tensor = rows @ x @ columns.T
    return transformed


# Constants are kept on the device: copying them there in each step would make the host wait. They are made outside
# inference mode, so that training can use them even if the first loss is computed in inference mode.
@lru_cache(maxsize=2)
@torch.inference_mode(False)
def _luma(device: torch.device) -> Tensor:
    return torch.tensor(LUMINANCE, device=device).view(1, 3, 1, 1)


@lru_cache(maxsize=16)
@torch.inference_mode(False)
def _dct_matrix(size: int, device: torch.device) -> Tensor:
    n = torch.arange(size, dtype=torch.float64)
    matrix: Tensor = torch.cos(torch.pi / size * (n + 0.5) * n[:, None]) * (2 / size) ** 0.5
    matrix[0] *= 0.5**0.5
    return matrix.float().to(device)
