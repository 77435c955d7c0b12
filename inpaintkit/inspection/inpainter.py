"""Fill the holes of any picture with a trained generator, computing only what lies around them."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from inpaintkit.config import enough_memory, resolve_device
from inpaintkit.errors import InputError
from inpaintkit.inspection.pictures import AnyPicture, Hole, as_given, hole_batch, is_left, picture_batch
from inpaintkit.inspection.windows import GRAIN, REACH, WINDOW, WindowSet, chunked, predict_windows, touched_windows
from inpaintkit.model import LightInpaintV1, load_model
from inpaintkit.model.generator import HIDDEN_ABOVE, PATCH, SIZE_STEP
from inpaintkit.model.layers import next_multiple
from inpaintkit.neighbours import local_max
from inpaintkit.synthesis import close_hole
from inpaintkit.training.amp import autocast, choose_amp

BLOCK = 2048
"""Side in px of the parts of a picture that are processed one after the other, which bounds the memory."""

MINIMUM_SIDE = 16


class Inpainter:
    """A `fills.Fill` by a trained generator, for pictures of any kind and of any size from 16 px.

    Inside holes the result equals that of the generator on the whole picture within 1/255. Where the soft mask is 0,
    every finite value stays as it is, bit for bit.

    Args:
        checkpoint: a model file (ours or iw3's) or a generator. Raises `InputError` for anything else.
        device: where the network runs.
        amp: its precision: ``off`` (fp32), ``bf16``, ``fp16`` or ``auto``, the fastest on `device`. In bf16 holes
            differ from fp32 by up to 2/255, and by a third of 1/255 on average.
    """

    def __init__(self, checkpoint: str | Path | nn.Module, device: str = "cpu", amp: str = "off") -> None:
        self.device = resolve_device(device)
        model = checkpoint if isinstance(checkpoint, nn.Module) else load_model(checkpoint)[0]
        if not isinstance(model, LightInpaintV1):
            raise InputError(
                f"checkpoint: a {type(model).__name__} can't fill holes here; give a {LightInpaintV1.name}"
            )
        self.model = model.to(self.device).eval()
        self.reach = REACH
        self.amp = choose_amp(amp, self.device)[0]

    @torch.inference_mode()
    def __call__(self, picture: AnyPicture, hole: Hole, eye: str = "right", closing: bool = True) -> AnyPicture:
        """Return `picture` with `hole` filled, in the kind that was given.

        Args:
            picture: float (B, 3, H, W) or (3, H, W), 0..1, or uint8 (H, W, 3); its values inside the hole don't matter.
                Elsewhere, if there is a hole, NaN becomes 0, and infinity 0 or 1, by its sign.
            hole: bool (True = missing) or numbers (above 0 = missing): (B, 1, H, W), (1, H, W) or (H, W).
            eye: ``"right"``: background right of the hole; ``"left"``: the other way round (filled mirrored).
            closing: make cracks and pinholes part of the hole first. To dilate it as well, see `fills.on_grown_hole`.

        Raises `InputError` for other shapes or types and for pictures under 16 px, `RunFailed` if a GPU runs out of
        memory.
        """
        batch = picture_batch(picture)
        missing = hole_batch(hole, batch)
        left = is_left(eye)
        if min(batch.shape[-2:]) < MINIMUM_SIDE:
            raise InputError(
                f"picture: {batch.shape[-1]}x{batch.shape[-2]} px is too small; give {MINIMUM_SIDE} px or more"
            )
        filled = []
        for picture_one, missing_one in zip(batch, missing, strict=True):
            if not bool(missing_one.any()):
                filled.append(picture_one.clone())
                continue
            with enough_memory(self.device, lambda: "give a smaller picture or device=cpu"):
                gap: Tensor = mirror_if(missing_one, left).to(self.device)
                gap = close_hole(gap) if closing else gap
                x = mirror_if(picture_one, left).to(self.device, copy=True)
                # a single NaN would spread over everything whose receptive field holds it
                x.nan_to_num_(nan=0.0, posinf=1.0, neginf=0.0)
                self._fill(x, gap)
                filled.append(mirror_if(x, left).to(batch.device))
        # a single picture, which can be large, isn't copied
        return as_given(filled[0][None] if len(filled) == 1 else torch.stack(filled), picture)

    def _fill(self, x: Tensor, gap: Tensor) -> None:
        """Fill `gap` (1, H, W), bool, True = missing, in x (3, H, W) in place."""
        everywhere = self._soft_area(gap)
        softened = WindowSet(touched_windows(everywhere))
        soft = chunked(lambda part: self._soften(gap, softened.places[part]), len(softened), gap.device)
        hidden_cells = F.max_pool2d(soft, PATCH) > HIDDEN_ABOVE

        def pixels(places: Tensor) -> tuple[Tensor, Tensor]:
            slots = softened.slots(places)
            picture = cut_windows(x, places).float().masked_fill_(cut_windows(gap, places), 0)
            hidden = hidden_cells[slots.clamp(min=0)] & (slots >= 0)[:, None, None, None]
            return picture.mul_(2).sub_(1), hidden

        found: list[tuple[Tensor, Tensor]] = []  # written at the end, because blocks read each other's pixels
        for origin, area in blocks(everywhere, self.reach + WINDOW):
            with autocast(self.amp, self.device):
                places, predictions = predict_windows(self.model, pixels, area, self.reach, origin)
            wanted = touched_windows(area)[places[:, 0], places[:, 1]]
            places = places[wanted] + origin
            found.append((places, blend(cut_windows(x, places), soft[softened.slots(places)], predictions[wanted])))
        for places, mixed in found:
            for (row, column), window in zip((places * WINDOW).tolist(), mixed, strict=True):
                here = x[:, row : row + WINDOW, column : column + WINDOW]
                here.copy_(window[:, : here.shape[1], : here.shape[2]])

    def _soft_area(self, gap: Tensor) -> Tensor:
        """Return the area, see `windows.touched_windows`, where the soft mask of `gap` (1, H, W) is above 0."""
        height, width = gap.shape[-2:]
        to_grid = (0, next_multiple(width, SIZE_STEP) - width, 0, next_multiple(height, SIZE_STEP) - height)
        soft = local_max(gap, self.model.mask_blur.radius).float()
        return F.max_pool2d(F.pad(soft, to_grid, mode="replicate"), GRAIN)

    def _soften(self, gap: Tensor, places: Tensor) -> Tensor:
        """Return the generator's own soft mask of `gap` (1, H, W) in the windows at `places` (n, 2): (n, 1, 64, 64)."""
        radius = self.model.mask_blur.radius
        height, width = gap.shape[-2:]
        # Beyond the lower and right border the soft mask repeats, not the hole: it is computed inside, then repeated.
        inside = torch.tensor([max(height - WINDOW, 0), max(width - WINDOW, 0)], device=places.device)
        origin = torch.minimum(places * WINDOW, inside)
        hole = cut_squares(gap, origin - radius, WINDOW + 2 * radius)
        soft = self.model.preprocess(torch.zeros_like(hole, dtype=torch.float32), hole)[1]
        steps = places[:, :, None] * WINDOW - origin[:, :, None] + torch.arange(WINDOW, device=places.device)
        y = steps[:, 0].clamp(max=min(height, WINDOW) - 1) + radius
        x = steps[:, 1].clamp(max=min(width, WINDOW) - 1) + radius
        number = torch.arange(len(places), device=places.device)[:, None, None]
        return soft[number, 0, y[:, :, None], x[:, None, :]][:, None]


def blocks(area: Tensor, reach: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Cut `area` (1, h, w) into blocks of `BLOCK` px and yield those that aren't empty.

    Each is yielded as the row and column (2,) of its first window and the block, with zeros for at least `reach` px
    around it, as far as `area` extends.
    """
    side, margin = BLOCK // GRAIN, math.ceil(reach / WINDOW) * WINDOW // GRAIN
    for top in range(0, area.shape[1], side):
        for left in range(0, area.shape[2], side):
            inside = (0, slice(top, top + side), slice(left, left + side))
            if bool(area[inside].any()):
                block = torch.zeros_like(area)
                block[inside] = area[inside]
                first = (max(top - margin, 0), max(left - margin, 0))
                cut = block[:, first[0] : top + side + margin, first[1] : left + side + margin]
                yield torch.tensor(first, device=area.device) * GRAIN // WINDOW, cut


def mirror_if(values: Tensor, turn: bool) -> Tensor:
    """Return `values` (..., W) with left and right exchanged if `turn`."""
    return values.flip(-1) if turn else values


def cut_windows(values: Tensor, places: Tensor) -> Tensor:
    """Return the windows of `values` (C, H, W) at `places` (n, 2) of the window grid: (n, C, 64, 64).

    Beyond a border the last row or column repeats.
    """
    rows, columns = values.shape[1] // WINDOW, values.shape[2] // WINDOW
    inside = (places[:, 0] < rows) & (places[:, 1] < columns)
    windows = values.new_empty(len(places), len(values), WINDOW, WINDOW)
    if rows and columns:
        # A view of whole windows is several times faster to index than single pixels.
        whole = values.unfold(1, WINDOW, WINDOW).unfold(2, WINDOW, WINDOW)
        windows[inside] = whole[:, places[inside, 0], places[inside, 1]].transpose(0, 1)
    windows[~inside] = cut_squares(values, places[~inside] * WINDOW, WINDOW)
    return windows


def cut_squares(values: Tensor, origin: Tensor, side: int) -> Tensor:
    """Return squares of `side` px of `values` (C, H, W), (n, C, side, side); `origin` (n, 2) is their top and left.

    Beyond a border the last row or column repeats.
    """
    steps = torch.arange(side, device=origin.device)
    y = (origin[:, :1] + steps).clamp(0, values.shape[-2] - 1)
    x = (origin[:, 1:] + steps).clamp(0, values.shape[-1] - 1)
    return values[:, y[:, :, None], x[:, None, :]].transpose(0, 1)


def blend(x: Tensor, soft: Tensor, prediction: Tensor) -> Tensor:
    """Return x blended with the prediction (n, 3, 64, 64) by the soft mask (n, 1, 64, 64), 0..1.

    Where the mask is 0, x stays as it is. Where it is 1, as in the whole hole, x has no influence, even if it is NaN.
    """
    mixed = (x.float().masked_fill(soft == 1, 0) * (1 - soft) + prediction * soft).clamp(0, 1)
    return torch.where(soft > 0, mixed.to(x.dtype), x)
