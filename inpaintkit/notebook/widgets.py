"""Widgets: sliders wired to pure functions that return pictures. The only file that imports ipywidgets."""

from __future__ import annotations

import io
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import cv2
import ipywidgets as ipw
import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from inpaintkit.data import read_picture
from inpaintkit.depth import DepthModel
from inpaintkit.inspection.figures import Figure, depth_and_hole
from inpaintkit.synthesis import HOLE_METHODS, MAPPERS, Preview, preview

PREVIEW_SHORT_SIDE = 1080
SHOWN_WIDTH = 420
KEPT_DEPTHS = 16
JPEG_QUALITY = 85

Pixels = NDArray[np.uint8]


class MaskPreview:
    """Depth, left view and hole of any of some pictures, as functions of the warp's parameters.

    Pictures and their depth are kept (the last 16), so that a moved slider only warps again.
    """

    def __init__(self, pictures: Sequence[Path], depth_model: DepthModel) -> None:
        self.pictures = list(pictures)
        self.depth_model = depth_model
        self._load = lru_cache(KEPT_DEPTHS)(self._load_uncached)

    def _load_uncached(self, path: Path) -> tuple[Pixels, torch.Tensor]:
        pixels = read_picture(path, PREVIEW_SHORT_SIDE)
        batch = torch.from_numpy(pixels).permute(2, 0, 1)[None] / 255
        return pixels, self.depth_model.infer(batch).cpu()

    def compute(
        self,
        picture: Path,
        divergence: float = 2.5,
        convergence: float = 0.5,
        mapper: str = "none",
        edge_dilation: int = 0,
        hole_method: str = "occlusion",
    ) -> Preview:
        """Return the preview of `picture`; arguments as of `synthesis.preview`."""
        return preview(*self._load(picture), divergence, convergence, mapper, edge_dilation, hole_method)

    def figure(self, picture: Path, divergence: float = 2.5, convergence: float = 0.5) -> Figure:
        """Return what the widget shows as a static figure, for headless runs."""
        pixels, depth = self._load(picture)
        shown = self.compute(picture, divergence, convergence)
        hole = np.any(shown.hole_overlay != pixels, axis=2)
        return depth_and_hole(pixels, depth, hole)

    def widget(self) -> ipw.Widget:
        """Return sliders above the three pictures."""
        controls = {
            "picture": ipw.Dropdown(options=[(path.name, path) for path in self.pictures], description="picture"),
            "divergence": _slider(2.5, 0.0, 11.0, 0.5, "divergence", "strength of the 3D effect, % of the width"),
            "convergence": _slider(0.5, 0.0, 1.0, 0.05, "convergence", "depth on the screen plane: 0 far, 1 near"),
            "mapper": ipw.Dropdown(options=list(MAPPERS), value="none", description="mapper"),
            "edge_dilation": ipw.IntSlider(
                0, 0, 4, description="edge dilation", tooltip="rounds", continuous_update=False
            ),
            "hole_method": ipw.Dropdown(options=list(HOLE_METHODS), description="hole method"),
        }
        panes = [ipw.Image(format="jpeg", width=SHOWN_WIDTH) for _ in range(3)]
        caption = ipw.Label()

        def refresh(change: object = None) -> None:
            values = {name: control.value for name, control in controls.items()}
            shown = self.compute(**values)
            for pane, pixels in zip(panes, (shown.depth, shown.left_view, shown.hole_overlay), strict=True):
                pane.value = jpeg(pixels, SHOWN_WIDTH)
            caption.value = (
                f"depth (light = near) · left view · hole in magenta, {shown.hole_fraction:.2%} of the picture"
            )

        for control in controls.values():
            control.observe(refresh, names="value")
        refresh()
        rows = list(controls.values())
        return ipw.VBox([ipw.HBox(rows[:3]), ipw.HBox(rows[3:]), ipw.HBox(panes), caption])


def _slider(value: float, low: float, high: float, step: float, name: str, tooltip: str) -> ipw.FloatSlider:
    return ipw.FloatSlider(value, min=low, max=high, step=step, description=name, tooltip=tooltip)


def jpeg(pixels: Pixels, width: int) -> bytes:
    """Return `pixels` (H, W, 3) as JPEG, scaled down to `width`."""
    height = max(round(pixels.shape[0] * width / pixels.shape[1]), 1)
    small = cv2.resize(pixels, (width, height), interpolation=cv2.INTER_AREA)
    data = io.BytesIO()
    Image.fromarray(small).save(data, format="JPEG", quality=JPEG_QUALITY)
    return data.getvalue()
