"""Curves that redistribute depth before it is turned into disparity, under iw3's names.

Curves and constants were read off iw3's (nagadomi/nunif) results. Every curve keeps 0 and 1 in place.
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from inpaintkit.config import nearest_name
from inpaintkit.errors import InputError

Curve = Callable[[Tensor], Tensor]

_HINGE = 12.0
_SHIFT_FAR = 16.0


def _softplus(bias: float) -> Curve:
    """Return a soft hinge: flat below `bias`, linear above."""
    low, high = (math.log1p(math.exp((end - bias) * _HINGE)) for end in (0.0, 1.0))
    return lambda depth: (F.softplus((depth - bias) * _HINGE) - low) / (high - low)


def _inverse_softplus(bias: float, scale: float) -> Curve:
    """Return the inverse of a soft hinge: steep near 0, then linear."""
    low, high = (math.log(math.expm1((end - bias) * scale)) for end in (0.0, 1.0))
    return lambda depth: (torch.log(torch.expm1((depth - bias) * scale)) - low) / (high - low)


def _reciprocal(offset: float) -> Curve:
    """Return the curve from negated metric distance to disparity, which is 1 / (distance + `offset`)."""
    return lambda depth: offset * depth / (offset + 1.0 - depth)


def _shifted_camera(nearest: float) -> Curve:
    """Return the curve of a camera moved along its axis: the nearest point goes from distance `nearest` to 1."""
    before, after = 1.0 / (nearest + _SHIFT_FAR), 1.0 / (1.0 + _SHIFT_FAR)  # disparities of the farthest point

    def curve(depth: Tensor) -> Tensor:
        distance = 1.0 / (before + (1.0 / nearest - before) * depth) + (1.0 - nearest)
        return (1.0 / distance - after) / (1.0 - after)

    return curve


_TABLE: dict[str, tuple[Curve, str]] = {
    "none": (lambda depth: depth, "depth as it was estimated"),
    "mul_1": (_softplus(0.343), "near things stand out a little more, the background is flatter"),
    "mul_2": (_softplus(0.515), "near things stand out more, the background is flatter"),
    "mul_3": (_softplus(0.687), "near things stand out most, the background is almost flat"),
    "inv_mul_1": (
        _inverse_softplus(-0.002102, 7.8788),
        "near things stand out a little less, the background has more depth",
    ),
    "inv_mul_2": (_inverse_softplus(-0.0003, 6.2626), "near things stand out less, the background has more depth"),
    "inv_mul_3": (_inverse_softplus(-0.0001, 3.4343), "near things stand out least, the background has most depth"),
    "shift_045": (_shifted_camera(0.45), "as from much further away: near things stand out least"),
    "shift_06": (_shifted_camera(0.6), "as from further away: near things stand out less"),
    "shift_08": (_shifted_camera(0.8), "as from a little further away"),
    "shift_14": (_shifted_camera(1.4), "as from a little closer"),
    "shift_20": (_shifted_camera(2.0), "as from closer: near things stand out more"),
    "shift_30": (_shifted_camera(3.0), "as from much closer: near things stand out most"),
    "div_25": (_reciprocal(2.5), "for metric depth: distance to disparity, near things stand out a little more"),
    "div_10": (_reciprocal(1.0), "for metric depth: distance to disparity, near things stand out more"),
    "div_6": (_reciprocal(0.6), "for metric depth: distance to disparity, the usual curve"),
    "div_4": (_reciprocal(0.4), "for metric depth: distance to disparity, the background flatter than usual"),
    "div_2": (_reciprocal(0.2), "for metric depth: distance to disparity, the background much flatter"),
    "div_1": (_reciprocal(0.1), "for metric depth: distance to disparity, only the nearest things stand out"),
    "pow2": (torch.square, "depth squared: everything but the nearest moves back"),
    "softplus": (_softplus(0.5), "the far half flat, the near half stretched over the whole range"),
    "softplus2": (
        lambda depth: _softplus(0.5)(depth).square(),
        "the far half flat, and in the near half only the nearest stands out",
    ),
}

MAPPERS = tuple(_TABLE)
"""Names of the single curves, in the order in which users see them; see `map_depth`."""

MAPPER_MEANINGS = {name: meaning for name, (_, meaning) in _TABLE.items()}
"""What each curve does to the picture's depth."""


def map_depth(depth: Tensor, name: str) -> Tensor:
    """Return `depth` (any shape, 0..1, 1 = near) redistributed by the curve `name`; 0 and 1 stay.

    `name` is one of `MAPPERS`; a mix ``a+b=w``, which is ``(1 - w) * a + w * b`` (``a+b=`` means w = 0.5); or a chain
    ``x:y``, which applies x first. float16 and bfloat16 are converted to float32. Raises `InputError` for any other
    name.
    """
    curves = [_parse_link(link, name) for link in name.split(":")]
    if depth.dtype in (torch.float16, torch.bfloat16):
        depth = depth.to(torch.float32)
    for curve in curves:
        depth = curve(depth)
    return depth


def _parse_link(link: str, name: str) -> Curve:
    """Return the curve of one `link` of a chain (a name or a mix); `name` is the whole chain, for the error message."""
    if "+" not in link:
        return _find_curve(link, name)
    first, _, rest = link.partition("+")
    second, equals, weight_text = rest.partition("=")
    try:
        weight = float(weight_text) if weight_text else 0.5
    except ValueError:
        weight = math.nan
    if not equals or not 0 <= weight <= 1:
        raise InputError(f"mapper: {name!r} has a mix without a weight 0..1; write it as a+b=w, e.g. none+mul_1=0.3")
    a, b = _find_curve(first, name), _find_curve(second, name)
    return lambda depth: a(depth) * (1.0 - weight) + b(depth) * weight


def _find_curve(single: str, name: str) -> Curve:
    if single not in _TABLE:
        where = "" if single == name else f" in {name!r}"
        hint = nearest_name(single, MAPPERS)
        raise InputError(f"mapper: {single!r}{where} is unknown{hint}; choose one of {', '.join(MAPPERS)}")
    return _TABLE[single][0]
