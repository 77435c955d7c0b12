"""Curves that redistribute depth before it is turned into disparity, by iw3's names.

Curves and constants read from iw3's (nagadomi/nunif) results. All keep 0 and 1 in place.
"""

import math
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor
from torch.nn import functional as F

from inpaintkit.config import nearest_name
from inpaintkit.errors import InputError

Curve = Callable[[Tensor], Tensor]

_SHIFT_FAR = 16.0


def _softplus(depth: Tensor, bias: float, scale: float) -> Tensor:
    """A soft hinge: flat below `bias`, straight above."""
    low, high = (math.log1p(math.exp((end - bias) * scale)) for end in (0.0, 1.0))
    return (F.softplus((depth - bias) * scale) - low) / (high - low)


def _inverse_softplus(depth: Tensor, bias: float, scale: float) -> Tensor:
    """The inverse of a soft hinge: steep near 0, then straight."""
    low, high = (math.log(math.expm1((end - bias) * scale)) for end in (0.0, 1.0))
    return (torch.log(torch.expm1((depth - bias) * scale)) - low) / (high - low)


def _reciprocal(depth: Tensor, offset: float) -> Tensor:
    """Negated metric distance to disparity: the reciprocal of the distance plus `offset`."""
    return offset * depth / (offset + 1.0 - depth)


def _shifted_camera(depth: Tensor, nearest: float) -> Tensor:
    """Disparity from a camera moved along its axis: the nearest point goes from distance `nearest` to 1."""
    farthest = nearest + _SHIFT_FAR
    far_disparity = 1.0 / farthest
    distance = 1.0 / (far_disparity + (1.0 / nearest - far_disparity) * depth) + (1.0 - nearest)
    far_disparity = 1.0 / (1.0 + _SHIFT_FAR)
    return (1.0 / distance - far_disparity) / (1.0 - far_disparity)


_CURVES: dict[str, Curve] = {
    "pow2": torch.square,
    "softplus": partial(_softplus, bias=0.5, scale=12.0),
    "softplus2": lambda depth: _softplus(depth, bias=0.5, scale=12.0).square(),
    "inv_mul_3": partial(_inverse_softplus, bias=-0.0001, scale=3.4343),
    "inv_mul_2": partial(_inverse_softplus, bias=-0.0003, scale=6.2626),
    "inv_mul_1": partial(_inverse_softplus, bias=-0.002102, scale=7.8788),
    "none": lambda depth: depth,
    "mul_1": partial(_softplus, bias=0.343, scale=12.0),
    "mul_2": partial(_softplus, bias=0.515, scale=12.0),
    "mul_3": partial(_softplus, bias=0.687, scale=12.0),
    "div_25": partial(_reciprocal, offset=2.5),
    "div_10": partial(_reciprocal, offset=1.0),
    "div_6": partial(_reciprocal, offset=0.6),
    "div_4": partial(_reciprocal, offset=0.4),
    "div_2": partial(_reciprocal, offset=0.2),
    "div_1": partial(_reciprocal, offset=0.1),
    "shift_045": partial(_shifted_camera, nearest=0.45),
    "shift_06": partial(_shifted_camera, nearest=0.6),
    "shift_08": partial(_shifted_camera, nearest=0.8),
    "shift_14": partial(_shifted_camera, nearest=1.4),
    "shift_20": partial(_shifted_camera, nearest=2.0),
    "shift_30": partial(_shifted_camera, nearest=3.0),
}
MAPPERS = tuple(_CURVES)
"""Names of the single curves, see `map_depth`."""

MAPPER_MEANINGS = {
    "none": "depth as it was estimated",
    "mul_1": "near things stand out a little more, the background is flatter",
    "mul_2": "near things stand out more, the background is flatter",
    "mul_3": "near things stand out most, the background is almost flat",
    "inv_mul_1": "near things stand out a little less, the background has more depth",
    "inv_mul_2": "near things stand out less, the background has more depth",
    "inv_mul_3": "near things stand out least, the background has most depth",
    "shift_045": "as from much further away: near things stand out least",
    "shift_06": "as from further away: near things stand out less",
    "shift_08": "as from a little further away",
    "shift_14": "as from a little closer",
    "shift_20": "as from closer: near things stand out more",
    "shift_30": "as from much closer: near things stand out most",
    "div_25": "for metric depth: distance to disparity, near things stand out a little more",
    "div_10": "for metric depth: distance to disparity, near things stand out more",
    "div_6": "for metric depth: distance to disparity, the usual curve",
    "div_4": "for metric depth: distance to disparity, the background flatter than usual",
    "div_2": "for metric depth: distance to disparity, the background much flatter",
    "div_1": "for metric depth: distance to disparity, only the nearest things stand out",
    "pow2": "depth squared: everything but the nearest moves back",
    "softplus": "the far half flat, the near half as it was",
    "softplus2": "the far half flat, and in the near half only the nearest stands out",
}
"""What each curve does to the picture's depth, by name, in the order in which they are offered to a person."""


def map_depth(depth: Tensor, name: str) -> Tensor:
    """Return `depth` (any shape, 0..1, 1 = near) redistributed by the curve `name`; 0 and 1 stay.

    Names: one of `MAPPERS`; a mix ``a+b=w`` is ``(1 - w) * a + w * b`` (``a+b=`` means w = 0.5); a chain ``x:y``
    applies x first. float16 and bfloat16 are computed in, and returned as, float32. Raises `InputError` for an
    unknown name.
    """
    curves = [_parse_link(link, name) for link in name.split(":")]
    if depth.dtype in (torch.float16, torch.bfloat16):
        depth = depth.to(torch.float32)
    for curve in curves:
        depth = curve(depth)
    return depth


def _parse_link(link: str, name: str) -> Curve:
    """Return the curve for one link of a chain, a name or a mix; `name` is the whole chain, for the error."""
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
    if single not in _CURVES:
        where = "" if single == name else f" in {name!r}"
        hint = nearest_name(single, MAPPERS)
        raise InputError(f"mapper: {single!r}{where} is unknown{hint}; choose one of {', '.join(MAPPERS)}")
    return _CURVES[single]
