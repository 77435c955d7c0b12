"""Fill the holes of any picture with a trained generator, computing only what lies around them."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from inpaintkit.config import resolve_device
from inpaintkit.errors import InputError
from inpaintkit.inspection.pictures import AnyPicture, Hole, hole_batch, is_left, picture_batch
from inpaintkit.inspection.windows import WINDOW, WindowSet, predict_windows
from inpaintkit.model import LightInpaintV1, load_model
from inpaintkit.model.generator import HIDDEN_ABOVE, PATCH, SIZE_STEP
from inpaintkit.model.layers import next_multiple

REACH = 64
"""How far around the soft mask, in px, the encoder computes: one window further on every side.

Through shifted windows and convolutions a pixel depends on others up to 280 px away, but on those beyond 64 px by less than
1/255; ``benchmarks/bench_inpainter.py CHECKPOINT`` measures that for a checkpoint.
"""

DECODER_REACH = 8
"""The two 3x3 convolutions after the decoder's windows look one cell of 4 px further each."""

BLOCK = 32
"""Windows along each side of the part of a picture that is worked on at once (2048 px): bounds the memory."""

MINIMUM_SIDE = 16
GRAIN = 8
"""Distances to the soft mask are rounded up to this many px."""


class Inpainter:
    """Fills holes with a generator: a `fills.Fill` for pictures of any kind and any size from 16 px.

    Inside holes the result equals the generator's on the whole frame within 1/255; where the soft mask is 0 every pixel
    stays as it is, bit for bit.
    """

    def __init__(self, checkpoint: str | Path | nn.Module, device: str = "cpu") -> None:
        """Take a model file (ours or iw3's) or a generator. Raises `InputError` for anything else."""
        self.device = resolve_device(device)
        model = checkpoint if isinstance(checkpoint, nn.Module) else load_model(checkpoint)[0]
        if not isinstance(model, LightInpaintV1):
            raise InputError(
                f"checkpoint: a {type(model).__name__} can't fill holes here; give a {LightInpaintV1.name}"
            )
        self.model = model.to(self.device).eval()
        self.reach = REACH

    @torch.inference_mode()
    def __call__(
        self,
        picture: AnyPicture,
        hole: Hole,
        eye: str = "right",
        closing: bool = True,
        inner_dilation: int = 0,
        outer_dilation: int = 0,
        base_width: int | None = None,
    ) -> AnyPicture:
        """Return `picture` with `hole` filled, of the same kind.

        Args:
            picture: float (B, 3, H, W) or (3, H, W), 0..1, or uint8 (H, W, 3); what it holds inside the hole doesn't matter.
            hole: bool (True = missing) or numbers (above 0 = missing): (B, 1, H, W), (1, H, W) or (H, W).
            eye: ``"right"``: background right of the hole; ``"left"``: the other way round (filled mirrored).
            closing: fill cracks and pinholes of the hole first.
            inner_dilation: px by which the hole grows towards the near object.
            outer_dilation: px by which the hole grows towards the background.
            base_width: picture width in px that the dilations are meant for, None: this picture's.

        Raises `InputError` for other shapes or types and for pictures under 16 px.
        """
        batch, restore = picture_batch(picture)
        missing = hole_batch(hole, batch)
        left = is_left(eye)
        if min(batch.shape[-2:]) < MINIMUM_SIDE:
            raise InputError(
                f"picture: {batch.shape[-1]}x{batch.shape[-2]} px is too small; give {MINIMUM_SIDE} px or more"
            )
        filled = batch.clone()
        for number in missing.flatten(1).any(dim=1).nonzero()[:, 0].tolist():
            x = mirrored(batch[number], left).to(self.device)
            gap: Tensor = mirrored(missing[number], left).to(self.device)
            # The generator's own preprocessing of a white picture is white outside the hole: what is left to be seen.
            seen, soft = self.model.preprocess(
                gap.new_ones((1, *gap.shape), dtype=torch.float32),
                gap[None],
                closing,
                inner_dilation,
                outer_dilation,
                base_width,
            )
            done = self._fill(x, seen[0], soft[0])
            filled[number] = mirrored(done, left).to(filled.device)
        return restore(filled)

    def _fill(self, x: Tensor, seen: Tensor, soft: Tensor) -> Tensor:
        """Return picture x (3, H, W) filled by `soft` (1, H, W), 0..1; `seen` (1, H, W) is 0 in the hole, else 1."""
        height, width = soft.shape[-2:]
        to_grid = (0, next_multiple(width, SIZE_STEP) - width, 0, next_multiple(height, SIZE_STEP) - height)
        hidden = F.max_pool2d(F.pad(soft[None], to_grid, mode="replicate"), PATCH)[0] > HIDDEN_ABOVE
        area = F.max_pool2d(F.pad((soft > 0).float(), to_grid), GRAIN)

        def pixels(places: Tensor) -> tuple[Tensor, Tensor]:
            visible = cut_windows(x, places, WINDOW).float() * cut_windows(seen, places, WINDOW)
            return visible * 2 - 1, cut_windows(hidden, places, WINDOW // PATCH)

        filled = x.clone()
        for wide, near, wanted in blocks(
            touched_windows(area, self.reach), touched_windows(area, DECODER_REACH), self.reach
        ):
            predictions = predict_windows(self.model, pixels, wide, near)[wanted]
            for (row, column), prediction in zip((near.places[wanted] * WINDOW).tolist(), predictions, strict=True):
                here = (..., slice(row, row + WINDOW), slice(column, column + WINDOW))
                filled[here] = blend(x[here], seen[here], soft[here], prediction)
        return filled


def blocks(wide: Tensor, near: Tensor, reach: int) -> Iterator[tuple[WindowSet, WindowSet, Tensor]]:
    """Cut the work into blocks of `BLOCK` x `BLOCK` windows.

    `wide` and `near`: bool (rows, columns), windows of the whole picture to encode and to predict. Yields the same for
    each block, its surroundings included, and which of the predicted windows lie inside it: bool (windows,).
    """
    around = math.ceil(reach / WINDOW) + 1
    for top in range(0, near.shape[0], BLOCK):
        for left in range(0, near.shape[1], BLOCK):
            wanted = only(near, top, left, margin=0)
            if bool(wanted.any()):
                predicted = only(near, top, left, margin=1)
                yield WindowSet(only(wide, top, left, around)), WindowSet(predicted), wanted[predicted]


def only(chosen: Tensor, top: int, left: int, margin: int) -> Tensor:
    """Return `chosen` (rows, columns) with False outside the block at `top`, `left` and a `margin` of windows around it."""
    inside = torch.zeros_like(chosen)
    inside[max(top - margin, 0) : top + BLOCK + margin, max(left - margin, 0) : left + BLOCK + margin] = True
    return chosen & inside


def mirrored(values: Tensor, turn: bool) -> Tensor:
    """Return `values` (..., W) with left and right exchanged if `turn`."""
    return values.flip(-1) if turn else values


def touched_windows(area: Tensor, reach: int) -> Tensor:
    """Return the windows within `reach` px of `area` (1, h, w), which has one value for `GRAIN` px: bool (rows, columns)."""
    steps = math.ceil(reach / GRAIN)
    grown = F.max_pool2d(area, 2 * steps + 1, stride=1, padding=steps)
    return F.max_pool2d(grown, WINDOW // GRAIN)[0] > 0


def cut_windows(values: Tensor, places: Tensor, side: int) -> Tensor:
    """Return the squares of `side` of `values` (C, H, W) at `places` (n, 2) of their grid, (n, C, side, side).

    Beyond the lower and right border the last row and column repeat.
    """
    steps = torch.arange(side, device=places.device)
    y = (places[:, :1] * side + steps).clamp(max=values.shape[-2] - 1)
    x = (places[:, 1:] * side + steps).clamp(max=values.shape[-1] - 1)
    return values[:, y[:, :, None], x[:, None, :]].transpose(0, 1)


def blend(x: Tensor, seen: Tensor, soft: Tensor, prediction: Tensor) -> Tensor:
    """Return x (3, h, w) where `soft` (1, h, w) is 0, elsewhere x and the prediction (3, 64, 64) mixed by it, 0..1."""
    prediction = prediction[:, : soft.shape[-2], : soft.shape[-1]]
    mixed = (x.float() * seen * (1 - soft) + prediction * soft).clamp(0, 1)
    return torch.where(soft > 0, mixed.to(x.dtype), x)
