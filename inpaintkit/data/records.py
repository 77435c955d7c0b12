"""Make records from one picture: draw a view of it, make its holes, and cut the crops with the largest holes."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from inpaintkit.data.sampling import crop_candidates, largest_hole
from inpaintkit.depth.protocol import min_max
from inpaintkit.seeds import Key, numpy_rng
from inpaintkit.synthesis import HoleDraw, HoleSampler

TURN_CHANCE = 0.5
MAX_ANGLE = 45.0  # degrees; the centre square of side short/sqrt(2) stays inside the picture at any angle
SHORT_SIDES = (720, 1080, 1080)  # px: 720 with probability 1/3, 1080 with 2/3
RESAMPLING = {"bicubic": Image.Resampling.BICUBIC, "bilinear": Image.Resampling.BILINEAR}
CROP_TRIALS = 8
MIN_HOLE_AREA = 301  # px; a crop with a smaller hole teaches the network nothing
IMAGES_PER_VIEW = 2  # the picture and its mirror image

Picture = NDArray[np.uint8]


@dataclass(frozen=True)
class View:
    """How a picture is turned (degrees, counter-clockwise; None: not at all) and scaled (short side in px, filter)."""

    angle: float | None
    short_side: int
    resample: str

    @property
    def source_side(self) -> int:
        """Short side (px) that the source needs so that it isn't enlarged unnecessarily."""
        return self.short_side if self.angle is None else math.ceil(self.short_side * math.sqrt(2))


def draw_view(rng: np.random.Generator, size: int) -> View:
    """Draw a random view; its short side is at least that of a crop, `size` px."""
    angle = float(rng.uniform(-MAX_ANGLE, MAX_ANGLE)) if rng.random() < TURN_CHANCE else None
    short_side = max(int(rng.choice(SHORT_SIDES)), size)
    return View(angle, short_side, str(rng.choice(list(RESAMPLING))))


def turn(image: Image.Image, angle: float | None) -> Image.Image:
    """Return the centre square (side: short side / sqrt 2) of `image` turned by `angle` degrees, bilinear.

    None: return the whole `image` as it is.
    """
    if angle is None:
        return image
    side = int(min(image.size) / math.sqrt(2))
    cos, sin = math.cos(math.radians(angle)), math.sin(math.radians(angle))
    half = side / 2
    across = (cos, -sin, image.width / 2 - half * (cos - sin))
    down = (sin, cos, image.height / 2 - half * (sin + cos))
    return image.transform((side, side), Image.Transform.AFFINE, across + down, Image.Resampling.BILINEAR)


def apply_view(picture: Picture, view: View) -> Picture:
    """Return `picture` (H, W, 3) turned and scaled as `view` says (scaling is antialiased)."""
    image = turn(Image.fromarray(picture), view.angle)
    scale = view.short_side / min(image.size)
    size = (max(view.short_side, round(image.width * scale)), max(view.short_side, round(image.height * scale)))
    return np.asarray(image.resize(size, RESAMPLING[view.resample]))


def turn_depth(depth: Tensor, angle: float | None) -> Tensor:
    """Return the `depth` (1, 1, h, w) of a whole picture turned like it by `turn`, rescaled to 0..1; None: as it is."""
    if angle is None:
        return depth
    turned = np.array(turn(Image.fromarray(depth[0, 0].float().cpu().numpy()), angle))
    return min_max(torch.from_numpy(turned)[None, None]).to(depth.device)


@dataclass(frozen=True)
class Crop:
    """One record: picture (S, S, 3), hole (S, S) True = missing, and where and how it was made.

    `image` is 0 for the picture, 1 for its mirror image; `left` and `top` are the crop's corner in that image, px.
    """

    picture: Picture
    hole: NDArray[np.bool_]
    image: int
    number: int
    left: int
    top: int
    draw: HoleDraw

    @property
    def hole_pixels(self) -> int:
        return int(np.count_nonzero(self.hole))


def make_crops(
    picture: Picture, depth: Tensor, sampler: HoleSampler, size: int, count: int, key: tuple[Key, ...]
) -> Iterator[Crop]:
    """Yield `count` crops of `picture` (H, W, 3) with depth (1, 1, h, w), and as many of its mirror image.

    Each is the one with the largest hole among `CROP_TRIALS` random crops, however small that hole is. `key`, the image
    and the crop's number determine all random choices.
    """
    height, width = picture.shape[:2]
    for image, (pixels, near) in enumerate([(picture, depth), (picture[:, ::-1], depth.flip(-1))]):
        draw = sampler.draw(numpy_rng(*key, "hole", image), width, min(depth.shape[2:]))
        hole = sampler.apply(near, draw, (height, width))[0, 0].cpu().numpy()
        for number in range(count):
            rng = numpy_rng(*key, "crop", image, number)
            top, left = largest_hole(hole, crop_candidates(height, width, size, rng, CROP_TRIALS), size)
            window = np.s_[top : top + size, left : left + size]
            yield Crop(pixels[window], hole[window], image, number, left, top, draw)
