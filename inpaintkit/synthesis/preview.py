"""Pictures of what the synthesis makes of one picture and its depth, fast enough for a slider."""

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
    # A copy: OpenCV works on views from right to left by copying them, slowly, each time.
    turned: Picture = cv2.flip(picture, 1)
    return turned


@dataclass(frozen=True)
class Preview:
    """uint8 pictures (H, W, 3): `depth` in colours, light = near; the filled `view` of the eye, true to half a pixel; the
    picture with its hole.

    `hole_fraction`: hole pixels / all pixels.
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
    """Show depth, an eye's view and the hole of `picture` (H, W, 3) with `depth` (1, 1, h, w) of any size, 0..1, 1 = near.

    `divergence` is in percent of the width, `convergence` the depth on the screen plane; the rest as in `HoleDraw`.
    `size` (height, width): that of the photo whose hole is wanted, where `picture` is a smaller copy to look at; what
    is shown then has the copy's size, the hole is still found pixel by pixel. `edges` as of `find_hole`, where `depth` isn't the
    estimator's own map but has been prepared. The hole is what that eye cannot see: with the left one that of a training record, with the
    right one that of its mirror image's record, mirrored back. Raises `InputError` for another kind of picture or depth, an unknown eye and for
    values that can't work.
    """
    if picture.dtype != np.uint8 or picture.ndim != 3 or picture.shape[2] != 3:
        raise InputError(f"picture: expected uint8 (H, W, 3), got {picture.dtype} {picture.shape}")
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
    # Not a mean: halfway between near and far lies nothing.
    shown = ready if size is None else F.interpolate(ready, picture.shape[:2], mode="nearest")
    return Preview(
        depth=colour_depth(shown[0, 0]),
        view=_gathered(picture, seen_from_left(shown, divergence, convergence)),
        hole_overlay=_painted(picture, missing),
        hole_fraction=np.count_nonzero(missing) / missing.size,
    )


def _painted(picture: Picture, missing: NDArray[np.bool_]) -> Picture:
    """Return `picture` (h, w, 3) in the hole's colour, as much as is `missing` (H, W) of each of its pixels."""
    height, width = picture.shape[:2]
    percent = cv2.resize(missing.view(np.uint8) * np.uint8(100), (width, height), interpolation=cv2.INTER_AREA)
    places = np.nonzero(percent)
    share = percent[places][:, None] / 100
    painted = picture.copy()
    painted[places] = np.rint(picture[places] * (1 - share) + np.array(HOLE_COLOUR) * share)
    return painted


def _gathered(picture: Picture, columns: Tensor) -> Picture:
    """Return `picture` (H, W, 3) with each pixel taken from one of its row's `columns` (1, 1, H, W)."""
    # Four bytes per pixel are one number, so that one gather moves all colours.
    packed = torch.from_numpy(cv2.cvtColor(picture, cv2.COLOR_RGB2RGBA).view(np.int32)[..., 0])
    moved = packed.gather(-1, columns[0, 0].cpu()).numpy()
    taken: Picture = cv2.cvtColor(moved[..., None].view(np.uint8), cv2.COLOR_RGBA2RGB)
    return taken


def colour_depth(depth: Tensor) -> Picture:
    """Return depth (H, W), 0..1, as a uint8 picture (H, W, 3): dark = far, light = near, ever lighter in between."""
    levels = (depth * 255).round_().clamp_(0, 255).to(torch.uint8).cpu().numpy()
    coloured: Picture = cv2.cvtColor(cv2.applyColorMap(levels, cv2.COLORMAP_INFERNO), cv2.COLOR_BGR2RGB)
    return coloured
