"""Draw at random how a hole is made, and make it: edge dilation, depth curve, resizing, finding the hole, closing."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from torch import Tensor
from torch.nn import functional as F

from inpaintkit.config import HOLE_METHODS, require_known
from inpaintkit.errors import InputError
from inpaintkit.synthesis.mappers import map_depth
from inpaintkit.synthesis.morphology import close_hole, dilate_edge
from inpaintkit.synthesis.occlusion import edge_width, hidden_hole, split_ramps
from inpaintkit.synthesis.warp import warp_back_hole

_Choice = TypeVar("_Choice")

USUAL_CHANCE = 0.7
"""Probability that a draw takes one of the values that people use most."""

USUAL_CONVERGENCES = (0.0, 0.5, 1.0)
USUAL_MAPPER = {True: "div_6", False: "none"}
"""Mapper that turns depth into disparity, by whether depth is a negated distance."""

OTHER_MAPPERS = {
    True: ("none", "div_25", "div_10", "div_4", "div_2", "div_1"),
    False: ("inv_mul_1", "inv_mul_2", "inv_mul_3", "mul_1", "mul_2", "mul_3"),
}
FINE_DEPTH = 512  # px, short side from which a depth map counts as fine
EDGE_DILATIONS = {True: (0, 0, 0, 0, 0, 0, 1, 1, 1, 2, 3, 4), False: (0, 0, 0, 1, 1, 2)}
LARGEST_SHIFT = 32
"""Largest shift in px of depth 1 against depth 0 in one eye that an evenly drawn divergence gives, so that no hole
becomes too wide for the network. The usual divergences may exceed it in wide pictures."""

NARROWEST_RANGE = 0.1  # percent


@dataclass(frozen=True)
class DivergenceRange:
    """How divergence (percent) is drawn: one of `usual`, or evenly in `lowest`..`highest` (less in wide pictures)."""

    highest: float
    lowest: float
    usual: tuple[float, ...]


DIVERGENCE_LEVELS = {
    1: DivergenceRange(5.0, 0.0, (2.0, 2.5, 3.0, 4.0)),
    2: DivergenceRange(8.0, 3.0, (4.0, 5.0, 6.0)),
    3: DivergenceRange(11.0, 6.0, (7.0, 8.0, 9.0)),
}


@dataclass(frozen=True)
class HoleDraw:
    """Everything random about one hole, as plain values that a manifest can store.

    `mapper`: a name for `map_depth`; `convergence`: 0..1; `edge_dilation`: rounds of `dilate_edge`; `divergence`:
    percent of the width; `mirrored`: whether `warp_back_hole` works on the mirrored picture.
    """

    mapper: str
    convergence: float
    edge_dilation: int
    divergence: float
    mirrored: bool


def find_hole(
    method: str,
    depth: Tensor,
    divergence: float,
    convergence: float,
    mirrored: bool = False,
    edges: Tensor | None = None,
) -> Tensor:
    """Return the final hole, bool (B, 1, H, W), True = missing, for depth as `prepare_depth` makes it.

    `method` is one of `config.HOLE_METHODS`. `mirrored` only matters for ``warp_back``, see `warp_back_hole`. `edges`
    (B,) only matters for ``auto``: the edge width of the estimator's map in px, see `edges_of_map`; None measures it in
    `depth`. Raises `InputError` for an unknown method, and as `warp_back_hole` does.
    """
    require_known("hole_method", method, HOLE_METHODS)
    if method == "warp_back":
        return close_hole(warp_back_hole(depth, divergence, convergence, mirrored))
    if method == "auto":
        depth = split_ramps(depth, edges)
    return close_hole(hidden_hole(depth, divergence, convergence))


class HoleSampler:
    """Random holes, drawn as iw3 does when it makes training data; see `draw` and `apply`."""

    def __init__(self, divergence_level: int, metric: bool, hole_method: str = "auto") -> None:
        """Take a divergence level (1, 2, 3), whether depth is a negated distance (`metric`) and a hole method's name.

        Raises `InputError` for an unknown level or method.
        """
        if divergence_level not in DIVERGENCE_LEVELS:
            raise InputError(f"divergence_level: {divergence_level} is unknown; choose 1, 2 or 3")
        self.divergence_level = divergence_level
        self.metric = metric
        require_known("hole_method", hole_method, HOLE_METHODS)
        self.hole_method = hole_method

    def draw(self, rng: np.random.Generator, width: int, depth_resolution: int) -> HoleDraw:
        """Draw one hole for a picture `width` px wide whose depth map has a short side of `depth_resolution` px."""
        mapper = _draw_usual(rng, (USUAL_MAPPER[self.metric],))
        convergence = _draw_usual(rng, USUAL_CONVERGENCES)
        return HoleDraw(
            mapper=_pick(rng, OTHER_MAPPERS[self.metric]) if mapper is None else mapper,
            convergence=float(rng.uniform()) if convergence is None else convergence,
            edge_dilation=_pick(rng, EDGE_DILATIONS[depth_resolution >= FINE_DEPTH]),
            divergence=_draw_divergence(rng, DIVERGENCE_LEVELS[self.divergence_level], width),
            mirrored=bool(rng.integers(2)),
        )

    def apply(self, depth: Tensor, draw: HoleDraw, size: tuple[int, int]) -> Tensor:
        """Return the hole (B, 1, H, W), bool, True = missing, of a picture of `size` (H, W) with depth (B, 1, h, w).

        Nothing here is random. Raises `InputError` as `dilate_edge`, `map_depth` and `warp_back_hole` do.
        """
        ready = prepare_depth(depth, draw.mapper, draw.edge_dilation, size)
        edges = edges_of_map(depth, size)
        return find_hole(self.hole_method, ready, draw.divergence, draw.convergence, draw.mirrored, edges)


def prepare_depth(depth: Tensor, mapper: str, edge_dilation: int, size: tuple[int, int]) -> Tensor:
    """Return depth (B, 1, h, w) with edges grown, mapped by `mapper`, resized to `size`: float32 (B, 1, H, W)."""
    ready = map_depth(dilate_edge(depth, edge_dilation), mapper)
    return resize_depth(ready, size)


def edges_of_map(depth: Tensor, size: tuple[int, int]) -> Tensor:
    """Return the `edge_width` of a picture's map (B, 1, h, w), in px of the picture, which has `size` (H, W): (B,)."""
    return edge_width(depth) * (size[1] / depth.shape[-1])


def resize_depth(depth: Tensor, size: tuple[int, int]) -> Tensor:
    """Return depth (B, 1, h, w) resized to `size` (H, W): bilinear, antialiased, as iw3 does.

    torch ignores half of `align_corners` when it antialiases: an enlarged map lies up to half a pixel (of its own) too
    far right and down. This is kept because iw3's networks see holes shifted in the same way.
    """
    if tuple(depth.shape[-2:]) == tuple(size):
        return depth
    return F.interpolate(depth, size, mode="bilinear", align_corners=True, antialias=True)


def _draw_divergence(rng: np.random.Generator, allowed: DivergenceRange, width: int) -> float:
    usual = _draw_usual(rng, allowed.usual)
    if usual is not None:
        return usual
    highest = min(LARGEST_SHIFT / (width / 2) * 100, allowed.highest)
    lowest = max(0.0, min(highest - NARROWEST_RANGE, allowed.lowest))
    return float(rng.uniform(lowest, highest))


def _draw_usual(rng: np.random.Generator, usual: Sequence[_Choice]) -> _Choice | None:
    """Return one of `usual` with `USUAL_CHANCE`, else None."""
    return _pick(rng, usual) if rng.random() < USUAL_CHANCE else None


def _pick(rng: np.random.Generator, choices: Sequence[_Choice]) -> _Choice:
    return choices[int(rng.integers(len(choices)))]
