"""Make a stereo pair from one picture and its depth, and arrange it in the usual formats for viewing."""

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from PIL import Image

from inpaintkit.errors import InputError
from inpaintkit.inspection.fills import Fill
from inpaintkit.inspection.pictures import AnyPicture, bands, picture_batch, swinging_gif, to_uint8
from inpaintkit.synthesis import close_hole, prepare_depth, warp_to_eye
from inpaintkit.synthesis.warp import MAX_DIVERGENCE, Eye

LARGEST_DEPTH = 2.0
"""Largest value accepted in a depth of 0..1: rounding exceeds 1 by a little, 8-bit levels and metres by far."""

BORDER_SURROUNDINGS = 256
"""Columns of the view that a fill sees on each side of what comes from beyond the border."""

DUBOIS_LEFT = ((0.437, 0.449, 0.164), (-0.062, -0.062, -0.024), (-0.048, -0.050, -0.017))
DUBOIS_RIGHT = ((-0.011, -0.032, -0.007), (0.377, 0.761, 0.009), (-0.026, -0.093, 1.234))
"""Linear RGB of one eye -> its share of the red-cyan picture (E. Dubois, ICASSP 2001; his sRGB matrices)."""

_LEVELS, _LIGHTS = np.arange(256) / 255, np.arange(1 << 14) / ((1 << 14) - 1)

LINEAR = np.where(_LEVELS <= 0.04045, _LEVELS / 12.92, ((_LEVELS + 0.055) / 1.055) ** 2.4).astype(np.float32)
"""sRGB level 0..255 -> linear light 0..1 (IEC 61966-2-1)."""

_AS_SEEN = np.where(_LIGHTS <= 0.0031308, _LIGHTS * 12.92, 1.055 * _LIGHTS ** (1 / 2.4) - 0.055)
SRGB = (255 * _AS_SEEN).round().astype(np.uint8)
"""Linear light in 16384 steps, the darkest of which is a fifth of a level -> sRGB level."""

Tell = Callable[[str], None]
"""Called with a short message on what is being done."""


def say_nothing(what: str) -> None:
    pass


@dataclass(frozen=True)
class StereoPair:
    """Both views, float (1, 3, H, W), 0..1, and the hole that each had before filling, bool (1, 1, H, W)."""

    left: torch.Tensor
    right: torch.Tensor
    left_hole: torch.Tensor
    right_hole: torch.Tensor

    def side_by_side(self) -> np.ndarray:
        """Return left | right, for parallel viewing and headsets, as uint8 (H, 2W, 3)."""
        return np.concatenate([to_uint8(self.left[0]), to_uint8(self.right[0])], axis=1)

    def half_side_by_side(self) -> np.ndarray:
        """Return left | right, each squeezed to W // 2, as uint8 (H, 2 * (W // 2), 3): what 3D televisions take."""
        height, width = self.left.shape[-2:]
        views = (Image.fromarray(to_uint8(view[0])) for view in (self.left, self.right))
        return np.concatenate([view.resize((width // 2, height), Image.Resampling.BOX) for view in views], axis=1)

    def over_under(self) -> np.ndarray:
        """Return left above right as uint8 (2H, W, 3)."""
        return np.concatenate([to_uint8(self.left[0]), to_uint8(self.right[0])], axis=0)

    def anaglyph(self) -> np.ndarray:
        """Return the picture for red-cyan glasses (red on the left eye), as uint8 (H, W, 3)."""
        eyes = ((to_uint8(self.left[0]), DUBOIS_LEFT), (to_uint8(self.right[0]), DUBOIS_RIGHT))
        seen = np.empty_like(eyes[0][0])
        for rows in bands(len(seen)):
            left, right = (
                cv2.transform(cv2.LUT(eye[rows], LINEAR), np.array(shares, np.float32)) for eye, shares in eyes
            )
            seen[rows] = SRGB[((left + right).clip(0, 1) * (len(SRGB) - 1) + 0.5).astype(np.intp)]
        return seen

    def wiggle(self) -> bytes:
        """Return a GIF that endlessly swings between the eyes."""
        return swinging_gif([to_uint8(self.left[0]), to_uint8(self.right[0])])


def stereo_pair(
    picture: AnyPicture,
    depth: torch.Tensor | np.ndarray,
    divergence: float = 2.5,
    convergence: float = 0.5,
    inpainter: Fill | None = None,
    edge_dilation: int = 0,
    tell: Tell = say_nothing,
    fill_border: bool = True,
) -> StereoPair:
    """Return the left and the right view of `picture`, both synthesised, with their holes filled.

    Args:
        picture: float (1, 3, H, W) or (3, H, W), 0..1, or uint8 (H, W, 3).
        depth: (1, 1, h, w) or (h, w), 0..1, 1 = near, of any size.
        divergence: strength of the 3D effect in percent of the picture's longer side (as in iw3), shared by the two
            eyes.
        convergence: the depth that stays on the screen plane.
        inpainter: an `Inpainter` or any other fill; None leaves the holes black.
        edge_dilation: rounds by which near edges of `depth` grow first, at its own size, so that edge pixels of mixed
            colour move with the near object.
        tell: called with progress messages.
        fill_border: treat what a view shows from beyond the left or right border as hole, too; False: repeat the
            border's pixels there, as iw3 does.

    Raises `InputError` if `depth` has another shape or values far beyond 0..1, or if more than one picture is given.
    """
    batch = picture_batch(picture)
    if len(batch) != 1:
        raise InputError(f"picture: a stereo pair is made from one picture, got {len(batch)}; call once for each")
    near = depth_like(depth, batch, edge_dilation)
    # The warp takes percent of the width: in very narrow pictures, percent of the longer side may exceed what it allows.
    most = max(MAX_DIVERGENCE, divergence)
    wanted = divergence * max(batch.shape[-2:]) / batch.shape[-1]
    if wanted > most:
        tell("too narrow a picture for this divergence: it gets the strongest effect that there is")
    divergence = min(wanted, most)
    views: list[tuple[torch.Tensor, torch.Tensor]] = []
    eyes: tuple[Eye, Eye] = ("left", "right")
    for eye in eyes:
        tell(f"{eye} eye ...")
        warped, hole, beyond = warp_to_eye(batch, near, divergence, convergence, eye)
        if not fill_border:
            beyond = torch.zeros_like(beyond)
        hole = close_hole(hole) | beyond
        warped.masked_fill_(hole, 0).clamp_(0, 1)
        if inpainter is not None:
            filled = _fill_far_border(warped, hole, beyond, eye, inpainter)
            warped = inpainter(warped, hole & ~filled, eye)
        views.append((warped, hole))
    (left, left_hole), (right, right_hole) = views
    return StereoPair(left, right, left_hole, right_hole)


def _fill_far_border(
    view: torch.Tensor, hole: torch.Tensor, beyond: torch.Tensor, eye: Eye, fill: Fill
) -> torch.Tensor:
    """Fill `beyond` in place at the border on the background side: right in the right eye, left in the left eye.

    No background lies beyond that hole, so it is filled from the inside, as in the other eye. Returns bool,
    True = filled.
    """
    width = view.shape[-1]
    far = beyond.clone()
    (far[..., : width // 2] if eye == "right" else far[..., width // 2 :]).fill_(False)
    columns = far.flatten(0, 2).any(dim=0).nonzero()
    if len(columns):
        first, last = int(columns.min()) - BORDER_SURROUNDINGS, int(columns.max()) + BORDER_SURROUNDINGS
        strip = (..., slice(max(first, 0), last + 1))
        answer = fill(view[strip], hole[strip], "left" if eye == "right" else "right")
        view[strip] = torch.where(far[strip], answer, view[strip])
    return far


def depth_like(
    depth: torch.Tensor | np.ndarray, picture: torch.Tensor, edge_dilation: int = 0, mapper: str = "none"
) -> torch.Tensor:
    """Return `depth` as float (1, 1, H, W) of the picture's size, type and device, after edge dilation and mapping.

    Raises `InputError` for another shape or for values far beyond 0..1.
    """
    near = torch.as_tensor(np.ascontiguousarray(depth) if isinstance(depth, np.ndarray) else depth).to(picture)
    near = near.reshape((1,) * (4 - near.ndim) + tuple(near.shape))
    if near.ndim != 4 or tuple(near.shape[:2]) != (1, 1):
        raise InputError(f"depth: expected one map (1, 1, h, w) or (h, w), got {tuple(depth.shape)}")
    if float(near.abs().max()) > LARGEST_DEPTH:
        raise InputError(f"depth: its values reach {float(near.abs().max()):.6g}; scale them to 0..1, 1 = near")
    return prepare_depth(near, mapper, edge_dilation, (picture.shape[-2], picture.shape[-1])).to(picture)
