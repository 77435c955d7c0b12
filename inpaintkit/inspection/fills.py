"""Classical ways to fill a hole, which any trained network has to beat, and fills by name.

A fill is any function ``(picture, hole, eye) -> picture``, for instance an `Inpainter`. A function of your own, in a
file, is named ``mine.py:my_fill`` wherever fills are named, see `make_fills` and docs/evaluation.md.
"""

import importlib.util
import itertools
import os
import re
import sys
from collections.abc import Callable, Container
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import torch

from inpaintkit.config import (
    ALL_FILLS,
    FILL_NAMES,
    InspectConfig,
    check_fill_name,
    fill_names,
    is_fill_function,
    registry,
)
from inpaintkit.errors import InputError
from inpaintkit.inspection.inpainter import Inpainter
from inpaintkit.inspection.pictures import UINT8_MAX, bands, is_left
from inpaintkit.model import LightInpaintV1
from inpaintkit.neighbours import nearest_known
from inpaintkit.synthesis import dilate_inner, dilate_outer
from inpaintkit.text import shown
from inpaintkit.training import row_fill

Fill = Callable[[torch.Tensor, torch.Tensor, str], torch.Tensor]
"""(picture (B, 3, H, W) 0..1, hole (B, 1, H, W) bool, eye) -> picture with its hole filled.

Known pixels should stay as they are.
"""

THIN_SHARES = {1: 1.0, 2: 0.5, 3: 0.5}
"""Share of row fill that is mixed into a hole, by the hole's width in px."""

SAME_COLOUR = 0.05
"""Difference of colours, 0..1, at which their agreement has fallen to 1/e."""

OPENCV_RADIUS = 3
"""Radius in px of the neighbourhood that a pixel is filled from, the value of OpenCV's own examples."""


def solved_by(solve: Callable[[np.ndarray, np.ndarray], np.ndarray]) -> Fill:
    """Return the fill that takes hole pixels from `solve`, called with RGB (H, W, 3), float, and hole (H, W), bool.

    It treats both sides of a hole alike, whatever the eye.
    """

    def fill(picture: torch.Tensor, hole: torch.Tensor, eye: str = "right") -> torch.Tensor:
        is_left(eye)
        filled = picture.clone()
        for index, missing in enumerate(hole[:, 0]):
            if bool(missing.any()) and not bool(missing.all()):
                rgb = picture[index].detach().float().clamp(0, 1).permute(1, 2, 0).contiguous().cpu().numpy()
                answer = torch.from_numpy(solve(rgb, missing.cpu().numpy())).permute(2, 0, 1)
                filled[index] = torch.where(missing, answer.to(picture), picture[index])
        return filled

    return fill


def _opencv(rgb: np.ndarray, missing: np.ndarray, method: int) -> np.ndarray:
    # Where a hole touches the picture's border, OpenCV reads pixels inside the hole; a repeated border prevents that.
    border = (OPENCV_RADIUS + 1,) * 4
    levels = cv2.copyMakeBorder(np.rint(rgb * UINT8_MAX).astype(np.uint8), *border, cv2.BORDER_REPLICATE)
    mask = cv2.copyMakeBorder(missing.astype(np.uint8), *border, cv2.BORDER_REPLICATE)
    filled = cv2.inpaint(levels, mask, OPENCV_RADIUS, method)
    inside = slice(border[0], -border[0])
    return np.asarray(filled[inside, inside], dtype=np.float32) / UINT8_MAX


def _biharmonic(rgb: np.ndarray, missing: np.ndarray) -> np.ndarray:
    try:
        from skimage.restoration import inpaint_biharmonic
    except ImportError as error:
        raise InputError(
            "fills: biharmonic needs scikit-image; run `pip install scikit-image` or leave this fill out"
        ) from error
    return np.asarray(inpaint_biharmonic(rgb, missing, channel_axis=-1, split_into_regions=True))


def require_picture(name: str, answer: object, picture: torch.Tensor, what: str) -> torch.Tensor:
    """Return `answer`, the result of the fill `name`; raise `InputError` unless it is a finite float picture.

    It must have the shape of `picture` (B, 3, H, W); `what` names the picture in the message.
    """
    if not isinstance(answer, torch.Tensor) or answer.shape != picture.shape:
        got = tuple(answer.shape) if isinstance(answer, torch.Tensor) else type(answer).__name__
        raise InputError(f"fills: {name} returned {got}; a fill must return a tensor {tuple(picture.shape)}")
    if not answer.is_floating_point():
        raise InputError(
            f"fills: {name} returned {answer.dtype}; a fill must return numbers of 0..1, so divide 0..255 by 255"
        )
    if not bool(answer.isfinite().all()):
        raise InputError(f"fills: {name} returned numbers that aren't finite for {what}; check it")
    return answer


def on_grown_hole(fill: Fill, outer_dilation: int) -> Fill:
    """Return a fill that grows the hole by `outer_dilation` px to the background side and then runs `fill`.

    That also replaces the mixed border. Raises `InputError` for a negative number.
    """
    if outer_dilation < 0:
        raise InputError(f"outer_dilation: {outer_dilation} is negative; give 0 or more px")
    if not outer_dilation:
        return fill

    def fill_more(picture: torch.Tensor, hole: torch.Tensor, eye: str = "right") -> torch.Tensor:
        grow = dilate_inner if is_left(eye) else dilate_outer
        grown = grow(hole, outer_dilation)
        return fill(picture.masked_fill(grown, 0), grown, eye)

    return fill_more


def simple_in_thin_holes(fill: Fill) -> Fill:
    """Return `fill` with simpler fills mixed in where a hole is at most 3 px wide.

    Trained networks do worse than these there, except at the picture's left and right border. Row fill continues the
    background; `THIN_SHARES` gives its share. Where the colours on both sides agree, one surface continues behind the
    hole, and the row is interpolated. Measured: docs/decisions/0021. The result of `fill` is changed in place, because
    pictures can be large.
    """

    @torch.inference_mode()
    def mix(picture: torch.Tensor, hole: torch.Tensor, eye: str = "right") -> torch.Tensor:
        filled = fill(picture, hole, eye)
        for rows in bands(picture.shape[-2]):
            here, seen, there = filled[..., rows, :], picture[..., rows, :], hole[..., rows, :]
            left, right = nearest_known(there)
            inside = there & (left >= 0) & (right < there.shape[-1])
            share = torch.zeros_like(there, dtype=filled.dtype)
            for width, weight in THIN_SHARES.items():
                share.masked_fill_(inside & (right - left == width + 1), weight)
            mixed = torch.lerp(here, row_fill(seen, there, eye), share)
            here.copy_(torch.where(share > 0, torch.lerp(mixed, *_interpolated(seen, left, right)), here))
        return filled

    return mix


def _interpolated(picture: torch.Tensor, left: torch.Tensor, right: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return `picture` (B, 3, H, W) interpolated along its rows, and how well the colours on both sides agree, 0..1.

    `left` and `right` (B, 1, H, W) are the columns of the known pixels to interpolate between. Where one lies outside
    the picture, the results are meaningless.
    """
    width = picture.shape[-1]
    before, after = (picture.gather(-1, side.clamp(0, width - 1).expand_as(picture)) for side in (left, right))
    agreement = torch.exp(-((after - before).abs().amax(1, keepdim=True) / SAME_COLOUR).square())
    share = (torch.arange(width, device=picture.device) - left) / (right - left).clamp(min=1)
    return torch.lerp(before, after, share.to(picture.dtype)), agreement


FILLS: dict[str, Fill] = registry(
    FILL_NAMES,
    {
        "row": row_fill,
        "telea": solved_by(partial(_opencv, method=cv2.INPAINT_TELEA)),  # fast marching (Telea 2004)
        "navier_stokes": solved_by(partial(_opencv, method=cv2.INPAINT_NS)),  # fluid dynamics (Bertalmio et al. 2001)
        "biharmonic": solved_by(_biharmonic),  # Damelin and Hoang 2018, scikit-image
    },
)
"""The built-in fills by name."""


MODEL = "model"
"""Name of the judged checkpoint among the fills."""

_SPECIAL_CHARACTERS = re.compile(r"[^\w .+=()-]")


def compared_fills(config: InspectConfig) -> tuple[dict[str, Fill], str | None]:
    """Return the fills that `config` compares, by their names in tables, and the name of `compare_with`, if given.

    The checkpoint is named `MODEL`. All fills get their holes grown by `config.outer_dilation`. Raises `InputError` as
    `make_fills` does.
    """
    fills = make_fills(config.fills, config.device)
    before = None
    if config.compare_with is not None:
        before = _own_label(_label_of(config.compare_with), fills, config.compare_with)
        fills[before] = Inpainter(config.compare_with, config.device)
    fills[MODEL] = Inpainter(config.checkpoint, config.device)
    return {name: on_grown_hole(fill, config.outer_dilation) for name, fill in fills.items()}, before


def make_fills(names: str, device: str = "auto") -> dict[str, Fill]:
    """Return fills by their names in tables.

    Args:
        names: separated by commas: ``all`` (every built-in one that can run here, in the order of `FILLS`), names of
            built-in ones, model files (``some/model.pth``, ours or iw3's; named after the file, or after the folder for
            a run's model, with special characters replaced), and functions of yours (``mine.py:my_fill``; named after
            the function). If a name is already taken, as ``row`` and ``model`` are, a number is added, with a message.
        device: where model files run.

    Raises `InputError` for unknown names, and for files that can't be read or hold no such function.
    """
    found: dict[str, Fill] = {}
    for name in fill_names(names):
        for label, fill in fills_named(name, device).items():
            found[label if FILLS.get(label) is fill else _own_label(label, found, name)] = fill
    return found


def fills_named(name: str, device: str, amp: str = "off") -> dict[str, Fill]:
    """Return the fills that a single one of the `names` of `make_fills` stands for; here a path may hold a comma.

    `amp`: precision of a model, see `Inpainter`.
    """
    if name == ALL_FILLS:
        has_skimage = importlib.util.find_spec("skimage") is not None
        return {label: fill for label, fill in FILLS.items() if has_skimage or label != "biharmonic"}
    if name in FILLS:
        return {name: FILLS[name]}
    check_fill_name("fills", name, ALL_FILLS)
    if is_fill_function(name):
        file, _, function = name.rpartition(":")
        print(f"{shown(name)} runs the file {shown(file)}", flush=True)
        return {_label(function): _load_function(Path(file), function)}
    return {_label_of(name): Inpainter(name, device, amp)}


def _label_of(model_file: str) -> str:
    """Return a model file's name in tables: its own, or its folder's if it is named as the models of all runs are."""
    path = Path(os.path.abspath(model_file))
    return _label(path.parent.name if path.stem == LightInpaintV1.name and path.parent.name else path.stem)


def _label(name: str) -> str:
    """Return `name` for tables, figures and pages: characters that might mean something there become underscores."""
    return _SPECIAL_CHARACTERS.sub("_", shown(name))


def _own_label(label: str, taken: Container[str], what: str) -> str:
    """Return `label`, with a number added if it is in `taken` or names a built-in fill or the checkpoint."""
    labels = itertools.chain([label], (f"{label} ({number})" for number in itertools.count(2)))
    own = next(name for name in labels if name not in taken and name not in FILLS and name != MODEL)
    if own != label:
        print(f"{shown(what)} is called {own} here, because {label} is another fill", flush=True)
    return own


def _load_function(file: Path, name: str) -> Fill:
    """Run the Python file `file` and return its function `name`; raise `InputError` if that fails."""
    spec = importlib.util.spec_from_file_location(f"inpaintkit_fill_{file.stem}", file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # where dataclasses look up the module that defines them
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:  # a user's file can raise anything
        raise InputError(f"fills: {file} fails when it is run: {type(error).__name__}: {error}") from error
    fill = getattr(module, name, None)
    if not callable(fill):
        raise InputError(f"fills: {file} has no function {name}; write FILE.py:FUNCTION")
    function: Fill = fill
    return function
