"""Preview the depth, view and hole of one picture, fast enough for a slider."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from inpaintkit.config import require_known
from inpaintkit.errors import InputError
from inpaintkit.hole_colour import HOLE_COLOUR
from inpaintkit.synthesis.sampler import edges_of_map, find_hole, prepare_depth
from inpaintkit.synthesis.warp import EYES, Eye, seen_from_left

Picture = NDArray[np.uint8]


def mirrored(picture: Picture) -> Picture:
    """Return the mirror image of `picture` (H, W, 3)."""
    # A copy, not a flipped view: OpenCV would copy the view on every call, slowly.
    turned: Picture = cv2.flip(picture, 1)
    return turned


@dataclass(frozen=True)
class Preview:
    """What `preview` shows, as uint8 pictures (H, W, 3), and the share of the picture that is hole.

    `depth` is in colours, light = near; `view` is what the eye sees, filled and accurate to half a pixel;
    `hole_overlay` is the picture with its hole; `hole_fraction` is hole pixels / all pixels.
    """

    depth: Picture
    view: Picture
    hole_overlay: Picture
    hole_fraction: float

    def turned(self) -> Preview:
        return Preview(mirrored(self.depth), mirrored(self.view), mirrored(self.hole_overlay), self.hole_fraction)


def preview(
    picture: Picture,
    depth: Tensor,
    divergence: float,
    convergence: float,
    mapper: str = "none",
    edge_dilation: int = 0,
    hole_method: str = "auto",
    eye: Eye = "left",
    size: tuple[int, int] | None = None,
    edges: Tensor | None = None,
) -> Preview:
    """Return the depth, an eye's view and the hole of `picture` (H, W, 3), uint8, as pictures to look at.

    `depth` (1, 1, h, w), 0..1, 1 = near, may have any size; `divergence` is in percent of the width, `convergence` is
    the depth on the screen. `mapper` and `edge_dilation` are as in `HoleDraw`, `hole_method` as in `find_hole`; so is
    `edges`, for when `depth` isn't the estimator's own map but has been prepared. If `picture` is a smaller copy of a
    photo, `size` (height, width) is the photo's: what is shown has the copy's size, the hole is found in the photo's.

    The hole is what that eye cannot see: for the left eye that of a training record, for the right eye that of the
    mirrored picture's record, mirrored back. Raises `InputError` for another type or shape of picture or depth, an
    unknown eye and values out of range.
    """
    if picture.dtype != np.uint8 or picture.ndim != 3 or picture.shape[2] != 3:
        raise InputError(f"picture: expected uint8 (H, W, 3), got {picture.dtype} {picture.shape}")
    if depth.ndim != 4 or depth.shape[:2] != (1, 1) or depth.numel() == 0:
        raise InputError(f"depth: expected one map (1, 1, h, w), got {tuple(depth.shape)}")
    if eye == "right":
        both = mirrored(picture), depth.flip(-1)
        return preview(
            *both, divergence, convergence, mapper, edge_dilation, hole_method, size=size, edges=edges
        ).turned()
    require_known("eye", eye, EYES)
    full = size or (picture.shape[0], picture.shape[1])
    ready = prepare_depth(depth, mapper, edge_dilation, full)
    edges = edges_of_map(depth, full) if edges is None else edges
    missing = find_hole(hole_method, ready, divergence, convergence, edges=edges)[0, 0].cpu().numpy()
    # Nearest, not bilinear: nothing lies halfway between near and far.
    shown = ready if size is None else F.interpolate(ready, picture.shape[:2], mode="nearest")
    return Preview(
        depth=colour_depth(shown[0, 0]),
        view=_gathered(picture, seen_from_left(shown, divergence, convergence)),
        hole_overlay=_painted(picture, missing),
        hole_fraction=np.count_nonzero(missing) / missing.size,
    )


def _painted(picture: Picture, missing: NDArray[np.bool_]) -> Picture:
    """Return `picture` (h, w, 3) blended with the hole's colour by the share of each pixel that is `missing` (H, W)."""
    height, width = picture.shape[:2]
    percent = cv2.resize(missing.view(np.uint8) * np.uint8(100), (width, height), interpolation=cv2.INTER_AREA)
    places = np.nonzero(percent)
    share = percent[places][:, None] / 100
    painted = picture.copy()
    painted[places] = np.rint(picture[places] * (1 - share) + np.array(HOLE_COLOUR) * share)
    return painted


def _gathered(picture: Picture, columns: Tensor) -> Picture:
    """Return `picture` (H, W, 3) with each pixel taken from its row at the column given by `columns` (1, 1, H, W)."""
    # Packed into one int32 per pixel, so that one gather moves all colours.
    packed = torch.from_numpy(cv2.cvtColor(picture, cv2.COLOR_RGB2RGBA).view(np.int32)[..., 0])
    moved = packed.gather(-1, columns[0, 0].cpu()).numpy()
    taken: Picture = cv2.cvtColor(moved[..., None].view(np.uint8), cv2.COLOR_RGBA2RGB)
    return taken


def colour_depth(depth: Tensor) -> Picture:
    """Return depth (H, W), 0..1, as a uint8 picture (H, W, 3) that gets steadily lighter from far to near."""
    levels = (depth * 255).round_().clamp_(0, 255).to(torch.uint8).cpu().numpy()
    coloured: Picture = cv2.cvtColor(cv2.applyColorMap(levels, cv2.COLORMAP_INFERNO), cv2.COLOR_BGR2RGB)
    return coloured
