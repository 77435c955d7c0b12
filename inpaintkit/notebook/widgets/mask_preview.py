"""Mask preview: depth, an eye's view and the hole of a picture while the warp's parameters move."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import ipywidgets as ipw
import numpy as np
import torch
from numpy.typing import NDArray

from inpaintkit.data import UnreadablePicture, read_picture
from inpaintkit.depth import DEPTH_MODELS, DepthModel, create_depth_model, depth_of_file
from inpaintkit.errors import InputError
from inpaintkit.inspection.figures import Figure, depth_and_hole
from inpaintkit.inspection.stereo_views import fit_width
from inpaintkit.notebook.widgets import parts
from inpaintkit.synthesis import HOLE_METHODS, MAPPERS, Preview, dilate_edge, prepare_depth, preview
from inpaintkit.synthesis.preview import mirrored

PREVIEW_SHORT_SIDE = 1080
SHOWN_WIDTH = 560
START_DIVERGENCE = 4.0  # strong enough that holes are seen on a picture as small as here
KEPT_DEPTHS = 16
KEPT_READY = 8  # depth maps in the picture's size, one for each setting of mapper and edge dilation
KEPT_MODELS = 2  # depth networks are large

Pixels = NDArray[np.uint8]


class Photo(NamedTuple):
    """A picture `pixels` (H, W, 3), a `small` copy of it to look at, and its `depth` (1, 1, h, w)."""

    pixels: Pixels
    small: Pixels
    depth: torch.Tensor

    @property
    def size(self) -> tuple[int, int]:
        """Return height and width in px."""
        return self.pixels.shape[0], self.pixels.shape[1]


class MaskPreview:
    """Depth, view and hole of any of some pictures, as functions of the warp's parameters.

    Pictures and their depth are kept (the last 16), and depth as the last settings of mapper and edge dilation made it,
    so that a moved slider only warps again.
    """

    def __init__(
        self,
        pictures: Sequence[Path],
        depth_model: DepthModel,
        create: Callable[[str], DepthModel] = create_depth_model,
    ) -> None:
        """Take picture files, the depth model to start with, and what makes the others by name.

        Raises `InputError` if there are no pictures.
        """
        if not pictures:
            raise InputError("pictures: none given; name a folder with photos")
        self.pictures = list(pictures)
        self.depth_model = depth_model
        self._model = lru_cache(KEPT_MODELS)(create)
        self._load = lru_cache(KEPT_DEPTHS)(self._load_uncached)
        self._grown = lru_cache(KEPT_READY)(self._grown_uncached)
        self._ready = lru_cache(KEPT_READY)(self._ready_uncached)

    def _load_uncached(self, path: Path, model_type: str) -> Photo:
        try:
            pixels = read_picture(path, PREVIEW_SHORT_SIDE)
        except UnreadablePicture as error:
            raise InputError(f"{path.name} {error}; choose another picture") from None
        batch = torch.from_numpy(pixels).permute(2, 0, 1)[None] / 255
        model = self.depth_model if model_type == self.depth_model.name else self._model(model_type)
        return Photo(pixels, fit_width(pixels, SHOWN_WIDTH), depth_of_file(model, path, batch).cpu())

    def _grown_uncached(self, path: Path, model_type: str, eye: str, rounds: int) -> torch.Tensor:
        """Return depth with grown edges, mirrored for the right eye; each round goes on from the one before."""
        if rounds:
            return dilate_edge(self._grown(path, model_type, eye, rounds - 1), 1)
        depth = self._load(path, model_type).depth
        return depth.flip(-1) if eye == "right" else depth

    def _ready_uncached(self, path: Path, model_type: str, eye: str, mapper: str, rounds: int) -> torch.Tensor:
        grown = self._grown(path, model_type, eye, rounds)
        return prepare_depth(grown, mapper, 0, self._load(path, model_type).size)

    def shown(
        self,
        picture: Path,
        divergence: float,
        convergence: float,
        mapper: str,
        edge_dilation: int,
        hole_method: str,
        eye: str,
        depth_model: str,
    ) -> Preview:
        """Return what `compute` does as the widget shows it: a smaller picture, but the full one's hole."""
        photo, right = self._load(picture, depth_model), eye == "right"
        ready = self._ready(picture, depth_model, eye, mapper, edge_dilation)
        small = mirrored(photo.small) if right else photo.small
        made = preview(small, ready, divergence, convergence, hole_method=hole_method, size=photo.size)
        return made.turned() if right else made

    def compute(
        self,
        picture: Path,
        divergence: float = START_DIVERGENCE,
        convergence: float = 0.5,
        mapper: str = "none",
        edge_dilation: int = 0,
        hole_method: str = "occlusion",
        eye: str = "left",
        depth_model: str | None = None,
    ) -> Preview:
        """Return the preview of `picture`; `depth_model` by name, None: the first one; the rest as of `synthesis.preview`."""
        pixels, _, depth = self._load(picture, depth_model or self.depth_model.name)
        return preview(pixels, depth, divergence, convergence, mapper, edge_dilation, hole_method, eye)  # type: ignore[arg-type]

    def figure(
        self, picture: Path | None = None, divergence: float = START_DIVERGENCE, convergence: float = 0.5
    ) -> Figure:
        """Return picture, depth and hole of `picture`, None: the first one."""
        pixels, _, depth = self._load(picture or self.pictures[0], self.depth_model.name)
        shown = preview(pixels, depth, divergence, convergence)
        return depth_and_hole(pixels, depth, np.any(shown.hole_overlay != pixels, axis=2))

    def widget(self) -> ipw.Widget:
        """Return the controls above depth, view and hole."""
        controls, caption = self._controls(), ipw.HTML()
        places = {name: parts.pane() for name in ("depth, light = near", "view", "hole in magenta")}

        def refresh() -> None:
            values = {name: control.value for name, control in controls.items()}
            shown = self.shown(**values)
            height, width = self._load(values["picture"], values["depth_model"]).size
            pictures = (shown.depth, shown.view, shown.hole_overlay)
            for (name, place), pixels in zip(places.items(), pictures, strict=True):
                parts.show(place, parts.encoded([pixels]), f"{name} of {values['picture'].name}")
            caption.value = parts.line(
                f"The {values['eye']} eye can't see {shown.hole_fraction:.2%} of this {width} × {height} px picture."
            )

        react = parts.guarded(refresh, caption)
        for control in controls.values():
            control.observe(react, names="value")
        react(None)
        columns = parts.panes(parts.titled(name, place) for name, place in places.items())
        return ipw.VBox([parts.row(controls.values()), columns, caption])

    def _controls(self) -> dict[str, ipw.Widget]:
        models = list(dict.fromkeys([self.depth_model.name, *DEPTH_MODELS]))
        choices = {
            "picture": ("picture", "a photo of the data set", [(path.name, path) for path in self.pictures]),
            "depth_model": ("depth model", "others than FastDepth are downloaded on first use", models),
            "mapper": ("mapper", "curve applied to depth before warping", list(MAPPERS)),
            "hole_method": ("hole method", "how holes are found", list(HOLE_METHODS)),
            "eye": ("eye", "whose view is made", ["left", "right"]),
        }
        made = {
            name: parts.labelled(ipw.Dropdown, label, tooltip, options=options)
            for name, (label, tooltip, options) in choices.items()
        }
        made["mapper"].value = "none"
        sliders = {
            "divergence": parts.labelled(
                ipw.FloatSlider,
                "divergence %",
                "strength of the 3D effect in % of the width",
                value=START_DIVERGENCE,
                max=11,
                step=0.5,
            ),
            "convergence": parts.labelled(
                ipw.FloatSlider, "convergence", "depth on the screen plane, 0 far, 1 near", value=0.5, max=1, step=0.05
            ),
            "edge_dilation": parts.labelled(
                ipw.IntSlider, "edge dilation", "rounds by which near edges grow", value=0, max=4
            ),
        }
        order = ("picture", "depth_model", "eye", "divergence", "convergence", "edge_dilation", "mapper", "hole_method")
        return {name: (made | sliders)[name] for name in order}
