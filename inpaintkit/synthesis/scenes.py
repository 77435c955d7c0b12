"""Layered scenes whose picture, depth, second views and disocclusion are known exactly, to judge estimates against.

A scene is a set of flat layers, slanted or not, each with an outline given by a formula. Where a layer's point appears
in another view is then an equation that can be solved for the point, so views and visibility need no resampling of
pixels and no estimate. Coordinates: pixel centres lie at whole numbers, x points right, y down; layers continue outside
the picture.
"""

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from inpaintkit.errors import InputError
from inpaintkit.synthesis.warp import Eye

Outline = Callable[[Tensor, Tensor], Tensor]
"""(x, y) in px, broadcast against each other -> distance to the border in px, negative inside.

The sign is exact; the distance may be an approximation, since it only shapes soft borders.
"""

SUBPIXELS = 8
"""Points per pixel, along its row, at which visibility is decided."""

_NEARER = 1e-5
_BLOCK_POINTS = 1 << 18
_SERIAL_ELEMENTS = 1 << 15  # torch divides larger operations among threads


@dataclass(frozen=True)
class Layer:
    """A flat thing with an `outline`, a `texture` (3, h, w) and depth ``value + per_x * x + per_y * y`` (0..1 inside).

    The texture's pixel (0, 0) lies on the picture's; beyond its borders the texture continues mirrored. `softness`:
    width in px over which the border is blended in the picture; depth always jumps at the outline.
    """

    outline: Outline
    plane: tuple[float, float, float]
    texture: Tensor
    softness: float = 1.0

    def depth_at(self, x: Tensor, y: Tensor) -> Tensor:
        value, per_x, per_y = self.plane
        return value + per_x * x + per_y * y

    def source(self, seen_x: Tensor, y: Tensor, gain: float, convergence: float) -> Tensor:
        """Return the x of the point that is seen at `seen_x` when points move by gain * (depth - convergence)."""
        value, per_x, per_y = self.plane
        return (seen_x - gain * (value + per_y * y - convergence)) / (1 + gain * per_x)

    def colour_at(self, x: Tensor, y: Tensor) -> Tensor:
        """Return the texture's colour at `x`, `y` in px: (3, H, W), bilinear."""
        return values_at(self.texture, x, y, "reflection")


@dataclass(frozen=True)
class Scene:
    """A set of `layers` in any order, of which the nearer hide the farther, and the `size` (H, W) of its picture.

    One of the layers should have the outline `everywhere`.
    """

    size: tuple[int, int]
    layers: tuple[Layer, ...]

    def render(self) -> tuple[Tensor, Tensor]:
        """Return the picture (1, 3, H, W), 0..1, and its depth (1, 1, H, W), 0..1, 1 = near."""
        x, y = self._grid(1)
        depth = torch.cat([self._nearest(x, block, 0.0, 0.0)[0] for block in self._row_blocks(y)])
        return self._compose(0.0, 0.0), depth[None, None]

    def view(self, eye: Eye, divergence: float, convergence: float) -> Tensor:
        """Return the picture (1, 3, H, W), 0..1, that one eye sees, including what the scene's own picture hides.

        Points move as in `forward_warp`: by 0.5 * divergence / 100 * W * (depth - convergence) px, to the right for the
        left eye.
        """
        gain = self._gain(divergence)
        return self._compose(gain if eye == "left" else -gain, convergence)

    def hidden_from_left(self, divergence: float, convergence: float) -> Tensor:
        """Return the exact hole (1, 1, H, W), bool: pixels of the picture of which the left eye sees less than half.

        It doesn't see a point if a nearer layer lands where the point does. Points that leave the picture's frame count
        as seen, as in `warp_back_hole`.
        """
        gain = self._gain(divergence)
        height, width = self.size
        x, y = self._grid(SUBPIXELS)
        rows = max(1, _BLOCK_POINTS // x.numel())
        parts = [self._hidden(x, block, 0.0, gain, convergence) for block in y.split(rows)]
        share = torch.cat(parts).reshape(height, width, SUBPIXELS).float().mean(dim=-1)
        return (share > 0.5)[None, None]

    def hidden_in_right_view(self, divergence: float, convergence: float) -> Tensor:
        """Return the exact hole (1, 1, H, W), bool: pixels of the right view whose centre the picture doesn't show."""
        return self._hidden(*self._grid(1), -self._gain(divergence), 0.0, convergence)[None, None]

    def _gain(self, divergence: float) -> float:
        """Return how many px depth 1 moves further than depth 0; raise `InputError` if a slanted layer turns over."""
        gain = 0.5 * divergence * 0.01 * self.size[1]
        if not all(1 + sign * gain * layer.plane[1] > 0 for layer in self.layers for sign in (-1, 1)):
            raise InputError(f"divergence: {divergence} turns a slanted layer of this scene over; give less")
        return gain

    def _grid(self, subpixels: int) -> tuple[Tensor, Tensor]:
        """Return x (1, W * subpixels), spaced evenly within pixels, and y (H, 1)."""
        height, width = self.size
        x = (torch.arange(width * subpixels, dtype=torch.float32) + 0.5) / subpixels - 0.5
        return x[None], torch.arange(height, dtype=torch.float32)[:, None]

    def _row_blocks(self, y: Tensor) -> Sequence[Tensor]:
        """Split rows into blocks too small for torch to use threads, whose number would change results' last bits."""
        return list(y.split(max(1, _SERIAL_ELEMENTS // (3 * self.size[1]))))

    def _nearest(self, seen_x: Tensor, y: Tensor, gain: float, convergence: float) -> tuple[Tensor, Tensor]:
        """Return the depth of what is seen at `seen_x` (1, N), `y` (M, 1), and the x where it lay before: (M, N) each.

        Points have moved by gain * (depth - convergence). The depth is -inf where nothing is seen.
        """
        nearest = torch.full((y.shape[0], seen_x.shape[1]), -torch.inf)
        place = torch.zeros(y.shape[0], seen_x.shape[1])
        for layer in self.layers:
            x = layer.source(seen_x, y, gain, convergence)
            depth = layer.depth_at(x, y)
            wins = (layer.outline(x, y) < 0) & (depth > nearest)
            nearest, place = torch.where(wins, depth, nearest), torch.where(wins, x, place)
        return nearest, place

    def _hidden(self, seen_x: Tensor, y: Tensor, here: float, there: float, convergence: float) -> Tensor:
        """Return where what gain `here` shows at `seen_x` (1, N), `y` (M, 1) is hidden by gain `there`: bool (M, N)."""
        nearest, place = self._nearest(seen_x, y, here, convergence)
        seen_there = place + there * (nearest - convergence)
        hidden = torch.zeros_like(nearest, dtype=torch.bool)
        for layer in self.layers:
            x = layer.source(seen_there, y, there, convergence)
            hidden |= (layer.outline(x, y) < 0) & (layer.depth_at(x, y) > nearest + _NEARER)
        return hidden

    def _compose(self, gain: float, convergence: float) -> Tensor:
        """Return the picture (1, 3, H, W) in which points have moved by gain * (depth - convergence)."""
        seen_x, y = self._grid(1)
        rows = [self._compose_rows(seen_x, block, gain, convergence) for block in self._row_blocks(y)]
        return torch.cat(rows, dim=1)[None]

    def _compose_rows(self, seen_x: Tensor, y: Tensor, gain: float, convergence: float) -> Tensor:
        """Return the rows `y` (h, 1) of the picture at `seen_x` (1, W): (3, h, W)."""
        size = (y.shape[0], seen_x.shape[1])
        depths, colours, opacities = [], [], []
        for layer in self.layers:
            x = layer.source(seen_x, y, gain, convergence)
            distance = layer.outline(x, y)
            depths.append(layer.depth_at(x, y).expand(size))
            opacities.append((0.5 - distance / layer.softness).clamp(0, 1).expand(size))
            colours.append(layer.colour_at(x, y))
        farthest_first = torch.stack(depths).argsort(dim=0)
        opacity = torch.stack(opacities).gather(0, farthest_first)
        colour = torch.stack(colours).gather(0, farthest_first[:, None].expand(-1, 3, -1, -1))
        picture = torch.zeros(3, *size)
        for above, cover in zip(colour, opacity, strict=True):
            picture = torch.lerp(picture, above, cover)
        return picture


def values_at(values: Tensor, x: Tensor, y: Tensor, beyond: str) -> Tensor:
    """Return `values` (C, h, w) at `x`, `y` in px, which are broadcast to (H, W): (C, H, W), bilinear.

    `beyond` is the padding mode of `F.grid_sample`.
    """
    height, width = values.shape[-2:]
    x, y = torch.broadcast_tensors(x, y)
    grid = torch.stack([2 * x / (width - 1) - 1, 2 * y / (height - 1) - 1], dim=-1)[None]
    return F.grid_sample(values[None], grid, padding_mode=beyond, align_corners=True)[0]


def degrade_depth(depth: Tensor, blur: float = 0.0, factor: float = 1.0) -> Tensor:
    """Return depth (B, 1, H, W) as an estimator would give it, in the same size.

    `blur`: standard deviation in px of a Gaussian that softens edges; `factor`: how many times smaller the estimator's
    map is (shrunk with antialiasing, enlarged bilinearly).
    """
    if blur > 0:
        blurred = [cv2.GaussianBlur(one.numpy(), (0, 0), blur, borderType=cv2.BORDER_REPLICATE) for one in depth[:, 0]]
        depth = torch.from_numpy(np.stack(blurred))[:, None]
    if factor > 1:
        small = [max(1, round(side / factor)) for side in depth.shape[-2:]]
        shrunk = F.interpolate(depth, small, mode="bilinear", antialias=True)
        depth = F.interpolate(shrunk, depth.shape[-2:], mode="bilinear")
    return depth


def everywhere(x: Tensor, y: Tensor) -> Tensor:
    """Return the outline of a background: minus infinity at every point."""
    return torch.full(torch.broadcast_shapes(x.shape, y.shape), -torch.inf)


def ellipse(centre: tuple[float, float], radii: tuple[float, float], angle: float) -> Outline:
    """Return the outline of an ellipse turned by `angle` radians."""
    cos, sin = math.cos(angle), math.sin(angle)

    def outline(x: Tensor, y: Tensor) -> Tensor:
        dx, dy = x - centre[0], y - centre[1]
        along, across = (dx * cos + dy * sin) / radii[0], (dy * cos - dx * sin) / radii[1]
        return ((along.square() + across.square()).sqrt() - 1) * min(radii)

    return outline


def polygon(corners: Sequence[tuple[float, float]]) -> Outline:
    """Return the outline of a polygon, possibly concave, with straight sides between `corners`."""
    sides = list(zip(corners, [*corners[1:], corners[0]], strict=True))

    def outline(x: Tensor, y: Tensor) -> Tensor:
        inside = torch.zeros(torch.broadcast_shapes(x.shape, y.shape), dtype=torch.bool)
        distance = torch.full(inside.shape, torch.inf)
        for (x0, y0), (x1, y1) in sides:
            distance = torch.minimum(distance, _distance_to_line(x, y, (x0, y0), (x1, y1)))
            if y0 != y1:
                crossing = x0 + (y - y0) * ((x1 - x0) / (y1 - y0))
                inside ^= ((y < y0) != (y < y1)) & (x < crossing)
        return torch.where(inside, -distance, distance)

    return outline


def blob(centre: tuple[float, float], radius: float, waves: Sequence[tuple[float, float]]) -> Outline:
    """Return the outline of a wavy disc: entry n of `waves`, (share of the radius, phase), adds n + 2 waves to it."""

    def outline(x: Tensor, y: Tensor) -> Tensor:
        dx, dy = x - centre[0], y - centre[1]
        angle = torch.atan2(dy, dx)
        border = 1 + sum(share * torch.cos((n + 2) * angle + phase) for n, (share, phase) in enumerate(waves))
        return torch.hypot(dx, dy) - radius * border

    return outline


def twig(points: Sequence[tuple[float, float]], radius: float) -> Outline:
    """Return the outline of a bent line of thickness 2 * `radius` with round ends: twigs, cables, poles."""

    def outline(x: Tensor, y: Tensor) -> Tensor:
        distance = torch.full(torch.broadcast_shapes(x.shape, y.shape), torch.inf)
        for start, end in itertools.pairwise(points):
            distance = torch.minimum(distance, _distance_to_line(x, y, start, end))
        return distance - radius

    return outline


def _distance_to_line(x: Tensor, y: Tensor, start: tuple[float, float], end: tuple[float, float]) -> Tensor:
    """Return the distance from points to the line segment between `start` and `end`."""
    side_x, side_y = end[0] - start[0], end[1] - start[1]
    dx, dy = x - start[0], y - start[1]
    length = max(side_x * side_x + side_y * side_y, 1e-9)
    along = ((dx * side_x + dy * side_y) / length).clamp(0, 1)
    return torch.hypot(dx - along * side_x, dy - along * side_y)
