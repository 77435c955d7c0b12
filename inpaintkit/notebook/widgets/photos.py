"""Photos with their depth, for the widgets that warp them, and the sliders that control the warp."""

from collections.abc import Sequence
from functools import lru_cache, partial
from pathlib import Path
from typing import NamedTuple

import cv2
import ipywidgets as ipw
import torch

from inpaintkit import text
from inpaintkit.data import UnreadablePicture, read_picture
from inpaintkit.depth import DEPTH_MODELS, DepthModel, create_depth_model, depth_of_file
from inpaintkit.errors import InputError
from inpaintkit.inspection.pictures import Pixels, picture_batch
from inpaintkit.notebook.widgets.parts import labelled
from inpaintkit.synthesis.sampler import USUAL_MAPPER

PHOTO_SHORT_SIDE = 1080
SMALL_WIDTH = 560
KEPT_PHOTOS = 16
KEPT_MODELS = 2  # depth networks are large


class Photo(NamedTuple):
    """A picture's `pixels` (H, W, 3), a `small` copy for display, its `depth` (1, 1, h, w) and depth's usual mapper.

    A large JPEG is read smaller, with a short side of `PHOTO_SHORT_SIDE` or more.
    """

    pixels: Pixels
    small: Pixels
    depth: torch.Tensor
    mapper: str

    @property
    def size(self) -> tuple[int, int]:
        """Height and width in px."""
        return self.pixels.shape[0], self.pixels.shape[1]


def fit_width(pixels: Pixels, width: int) -> Pixels:
    """Return `pixels` (H, W, 3) scaled down to `width` px; narrower ones stay as they are."""
    if pixels.shape[1] <= width:
        return pixels
    height = max(round(pixels.shape[0] * width / pixels.shape[1]), 1)
    smaller: Pixels = cv2.resize(pixels, (width, height), interpolation=cv2.INTER_AREA)
    return smaller


class PhotoDepths:
    """Photos and their depth by any model; recent ones are cached."""

    def __init__(self, pictures: Sequence[Path], depth_model: DepthModel) -> None:
        """Take picture files and the initial depth model; other models run on its device.

        Raises `InputError` if there are no pictures.
        """
        if not pictures:
            raise InputError("pictures: none given; name a folder with photos")
        self.pictures = list(dict.fromkeys(pictures))
        self.depth_model = depth_model
        device = str(getattr(depth_model, "device", "cpu"))  # maps from files have none
        self._model = lru_cache(KEPT_MODELS)(partial(create_depth_model, device=device))
        self.load = lru_cache(KEPT_PHOTOS)(self._load)

    def _load(self, path: Path, model_type: str) -> Photo:
        try:
            pixels = read_picture(path, PHOTO_SHORT_SIDE)
        except UnreadablePicture as error:
            raise InputError(f"{text.shown(path.name)} {text.shown(error)}; choose another picture") from None
        batch = picture_batch(pixels)
        model = self.depth_model if model_type == self.depth_model.name else self._model(model_type)
        depth = depth_of_file(model, path, batch).cpu()
        return Photo(pixels, fit_width(pixels, SMALL_WIDTH), depth, USUAL_MAPPER[model.metric])

    def choosers(self) -> dict[str, ipw.Widget]:
        """Return controls that choose the picture and the depth model."""
        photos = [(text.shown(path.name), path) for path in self.pictures]
        models = list(dict.fromkeys([self.depth_model.name, *DEPTH_MODELS]))
        hint = "models other than FastDepth and File are downloaded on first use"
        return {
            "picture": labelled(ipw.Dropdown, "picture", "a photo", options=photos),
            "depth_model": labelled(ipw.Dropdown, "depth model", hint, options=models),
        }


def depth_sliders(divergence: float, convergence: float = 0.5, side: str = "width") -> dict[str, ipw.Widget]:
    """Return the sliders for divergence, in percent of the picture's `side`, and convergence, at these values."""
    strength = f"strength of the 3D effect in % of the {side}"
    screen = "depth on the screen plane, 0 far, 1 near"
    return {
        "divergence": labelled(ipw.FloatSlider, "divergence %", strength, value=divergence, max=11, step=0.5),
        "convergence": labelled(ipw.FloatSlider, "convergence", screen, value=convergence, max=1, step=0.05),
    }
