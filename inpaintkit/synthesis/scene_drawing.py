"""Draw layered scenes: shapes by formulas with surfaces of noise and photos, and pieces of one photo before another."""

import math
from collections.abc import Sequence

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from inpaintkit.errors import InputError
from inpaintkit.synthesis.scenes import Layer, Outline, Scene, blob, ellipse, everywhere, polygon, twig, values_at

MOST_LAYERS = 6
_SMALLEST_SIDE = 32
_NOISE_CELLS = (4, 16, 64)
_THINNEST_TWIG = 0.8  # px, half its thickness

PIECE_BLUR = 5.0
"""Standard deviation in px of the blur before a photo is split into light and dark: keeps contours, drops grain."""

PIECE_SHARE = (0.08, 0.4)
"""Smallest and largest share of the picture that a piece may cover."""

PIECE_TRIES = 30


def draw_scene(
    rng: np.random.Generator, size: tuple[int, int], textures: Sequence[Tensor] = (), layers: int | None = None
) -> Scene:
    """Draw a scene of `size` (H, W): a slanted background and `layers` (None: 2 to 6) things in front of it.

    Things are ellipses, polygons, blobs and twigs, hard- or soft-edged, level or slanted. `textures` (3, h, w), 0..1,
    are photos to cut surfaces from; without them, and sometimes even with them, surfaces are noise. Raises `InputError`
    for a size under 32 px.
    """
    if min(size) < _SMALLEST_SIDE:
        raise InputError(f"size: {size} is too small for a scene; give {_SMALLEST_SIDE} px or more")
    count = int(rng.integers(2, MOST_LAYERS + 1)) if layers is None else layers
    background = Layer(
        everywhere,
        _draw_plane(rng, 0.15, (size[1] / 2, size[0] / 2), max(size), 0.1),
        _draw_texture(rng, size, textures),
    )
    return Scene(size, (background, *(_draw_layer(rng, size, textures) for _ in range(count))))


def draw_photo_scene(rng: np.random.Generator, size: tuple[int, int], photos: Sequence[Tensor]) -> Scene:
    """Draw a scene of `size` (H, W) from `photos` (3, h, w), 0..1: a piece of one in front of another.

    A single photo is used for both. The piece is cut along its photo's own contours: it is what is lighter, or darker,
    than the rest. So both sides of a hole are photographed surfaces, and the border between them is a real contour. If
    no such piece is found, a blob is cut instead.
    """
    chosen = int(rng.integers(len(photos)))
    middle = (size[1] / 2, size[0] / 2)
    behind = _cut(rng, size, photos[chosen])
    background = Layer(everywhere, _draw_plane(rng, float(rng.uniform(0.05, 0.2)), middle, max(size), 0.1), behind)
    others = [photo for number, photo in enumerate(photos) if number != chosen]
    before, outline = _draw_piece(rng, size, others or photos)
    plane = _draw_plane(rng, float(rng.uniform(0.4, 0.85)), middle, max(size), float(rng.choice([0.0, 0.1])))
    return Scene(size, (background, Layer(outline, plane, before, float(rng.uniform(1.0, 3.0)))))


def _draw_piece(rng: np.random.Generator, size: tuple[int, int], photos: Sequence[Tensor]) -> tuple[Tensor, Outline]:
    """Return a photo (3, H, W) of `size` and the outline of a part of it."""
    for _ in range(PIECE_TRIES):
        photo = _cut(rng, size, photos[int(rng.integers(len(photos)))])
        piece = _piece(photo)
        if PIECE_SHARE[0] <= float(piece.mean()) <= PIECE_SHARE[1]:
            return photo, piece_outline(piece)
    centre = (float(rng.uniform(0, size[1])), float(rng.uniform(0, size[0])))
    return photo, _draw_blob(rng, centre, min(size) / 3)[0]


def _piece(photo: Tensor) -> np.ndarray:
    """Return the smaller of the light and the dark part of `photo` (3, H, W), no specks, no pinholes: bool (H, W)."""
    grey = cv2.GaussianBlur((photo.mean(dim=0) * 255).byte().numpy(), (0, 0), PIECE_BLUR)
    _, light = cv2.threshold(grey, 0, 1, cv2.THRESH_BINARY + cv2.THRESH_OTSU)
    smaller = light if light.mean() < 0.5 else 1 - light
    round_ = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (9, 9))
    whole = cv2.morphologyEx(cv2.morphologyEx(smaller, cv2.MORPH_OPEN, round_), cv2.MORPH_CLOSE, round_)
    piece: np.ndarray = whole.astype(bool)
    return piece


def piece_outline(piece: np.ndarray) -> Outline:
    """Return the outline of `piece`, bool (H, W), True = inside; beyond the picture it continues as at the border."""
    inside, outside = (cv2.distanceTransform(part.astype(np.uint8), cv2.DIST_L2, 5) for part in (piece, ~piece))
    distance = torch.from_numpy(cv2.GaussianBlur(outside - inside, (0, 0), 1.0))[None]
    return lambda x, y: values_at(distance, x, y, "border")[0]


def _draw_layer(rng: np.random.Generator, size: tuple[int, int], textures: Sequence[Tensor]) -> Layer:
    height, width = size
    centre = (float(rng.uniform(0, width)), float(rng.uniform(0, height)))
    radius = float(min(size) * rng.uniform(0.06, 0.3))
    draw_outline = (_draw_ellipse, _draw_polygon, _draw_blob, _draw_twig)[int(rng.integers(4))]
    outline, reach = draw_outline(rng, centre, radius)
    slant = float(rng.choice([0.0, 0.12]))
    plane = _draw_plane(rng, float(rng.uniform(0.3, 0.85)), centre, reach, slant)
    softness = float(rng.choice([1.0, rng.uniform(2, 6)]))
    return Layer(outline, plane, _draw_texture(rng, size, textures), softness)


def _draw_plane(
    rng: np.random.Generator, depth: float, centre: tuple[float, float], reach: float, slant: float
) -> tuple[float, float, float]:
    """Return a plane that is `depth` at `centre` and changes by at most `slant` within `reach` px of it."""
    angle = rng.uniform(0, 2 * math.pi)
    per_x, per_y = slant / reach * math.cos(angle), slant / reach * math.sin(angle)
    return float(depth - per_x * centre[0] - per_y * centre[1]), float(per_x), float(per_y)


def _draw_ellipse(rng: np.random.Generator, centre: tuple[float, float], radius: float) -> tuple[Outline, float]:
    radii = (radius, radius * float(rng.uniform(0.3, 1)))
    return ellipse(centre, radii, float(rng.uniform(0, math.pi))), radius


def _draw_polygon(rng: np.random.Generator, centre: tuple[float, float], radius: float) -> tuple[Outline, float]:
    count = int(rng.integers(3, 9))
    angles = np.sort(rng.uniform(0, 2 * math.pi, count))
    distances = radius * rng.uniform(0.5, 1, count)
    corners = [
        (centre[0] + r * math.cos(a), centre[1] + r * math.sin(a)) for r, a in zip(distances, angles, strict=True)
    ]
    return polygon([(float(x), float(y)) for x, y in corners]), radius


def _draw_blob(rng: np.random.Generator, centre: tuple[float, float], radius: float) -> tuple[Outline, float]:
    waves = [(float(rng.uniform(0, 0.15)), float(rng.uniform(0, 2 * math.pi))) for _ in range(4)]
    return blob(centre, radius / 1.6, waves), radius


def _draw_twig(rng: np.random.Generator, centre: tuple[float, float], radius: float) -> tuple[Outline, float]:
    heading = float(rng.uniform(0, 2 * math.pi))
    step = radius * 0.6
    points = [centre]
    for _ in range(4):
        points.append((points[-1][0] + step * math.cos(heading), points[-1][1] + step * math.sin(heading)))
        heading += float(rng.normal(0, 0.4))
    return twig(points, float(rng.uniform(_THINNEST_TWIG, max(_THINNEST_TWIG, 0.1 * radius)))), radius * 3


def _draw_texture(rng: np.random.Generator, size: tuple[int, int], textures: Sequence[Tensor]) -> Tensor:
    """Return a surface (3, H, W) of `size`: a piece of a photo, enlarged if need be, or noise of many grain sizes."""
    height, width = size
    which = int(rng.integers(len(textures) + 1))
    if which == len(textures):
        noise = torch.from_numpy(rng.uniform(0, 1, (3, 1, 1)).astype(np.float32)).expand(3, height, width)
        for cells in _NOISE_CELLS:
            grid = torch.from_numpy(rng.normal(0, 0.1, (1, 3, cells, cells)).astype(np.float32))
            noise = noise + F.interpolate(grid, size, mode="bilinear", antialias=True)[0]
        return noise.clamp(0, 1)
    return _cut(rng, size, textures[which])


def _cut(rng: np.random.Generator, size: tuple[int, int], photo: Tensor) -> Tensor:
    """Return a random piece (3, H, W), of `size`, of a photo (3, h, w), enlarged if need be."""
    height, width = size
    scale = max(height / photo.shape[1], width / photo.shape[2], 1.0)
    if scale > 1:
        larger = [math.ceil(side * scale) for side in photo.shape[1:]]
        photo = F.interpolate(photo[None], larger, mode="bilinear", antialias=True)[0]
    top = int(rng.integers(photo.shape[1] - height + 1))
    left = int(rng.integers(photo.shape[2] - width + 1))
    return photo[:, top : top + height, left : left + width]
