"""Mask preview: depth, an eye's view and the hole of a picture, updated while the warp's parameters are moved."""

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import ipywidgets as ipw
import torch

from inpaintkit.config import HOLE_METHODS
from inpaintkit.depth import DepthModel
from inpaintkit.inspection.figures import Figure, depth_and_hole
from inpaintkit.notebook.widgets import parts
from inpaintkit.notebook.widgets.parts import labelled
from inpaintkit.notebook.widgets.photos import PhotoDepths, depth_sliders
from inpaintkit.synthesis import MAPPER_MEANINGS, Preview, dilate_edge, edges_of_map, prepare_depth, preview
from inpaintkit.synthesis.warp import Eye

START_DIVERGENCE = 4.0  # strong enough to make holes visible in a small picture
KEPT_DEPTHS = 8  # in the picture's size, one for each setting of mapper and edge dilation


class MaskPreview:
    """Depth, view and hole of several pictures, as functions of the warp's parameters.

    Recent pictures are cached with their depth, and so is depth for recent settings of mapper and edge dilation, so
    that another divergence or convergence only repeats the warp.
    """

    def __init__(self, pictures: Sequence[Path], depth_model: DepthModel) -> None:
        """Take the arguments of `PhotoDepths`. Raises `InputError` if there are no pictures."""
        self.photos = PhotoDepths(pictures, depth_model)
        self._grown = lru_cache(KEPT_DEPTHS)(self._grow)
        self._ready = lru_cache(KEPT_DEPTHS)(self._prepare)

    def _grow(self, path: Path, model_type: str, eye: str, rounds: int) -> torch.Tensor:
        """Return depth with edges grown by `rounds`, each from the cached one before; mirrored for the right eye."""
        if rounds:
            return dilate_edge(self._grown(path, model_type, eye, rounds - 1), 1)
        depth = self.photos.load(path, model_type).depth
        return depth.flip(-1) if eye == "right" else depth

    def _prepare(
        self, path: Path, model_type: str, eye: str, mapper: str, rounds: int
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return depth in the photo's size, and the width in px of the edges of its map."""
        photo = self.photos.load(path, model_type)
        grown = self._grown(path, model_type, eye, rounds)
        ready = prepare_depth(grown, mapper, 0, photo.size)
        return ready.flip(-1) if eye == "right" else ready, edges_of_map(photo.depth, photo.size)

    def compute(
        self,
        picture: Path,
        divergence: float = START_DIVERGENCE,
        convergence: float = 0.5,
        mapper: str = "none",
        edge_dilation: int = 0,
        hole_method: str = "auto",
        eye: Eye = "left",
        depth_model: str | None = None,
    ) -> Preview:
        """Return small pictures of depth, view and hole; the hole is found at the larger size of `Photo.pixels`.

        `depth_model` is a name, or None for the initial model; the other arguments are those of `synthesis.preview`.
        Raises as that function, and `InputError` for a picture that can't be read.
        """
        model = depth_model or self.photos.depth_model.name
        photo = self.photos.load(picture, model)
        with parts.one_thread():
            ready, edges = self._ready(picture, model, eye, mapper, edge_dilation)
            how = (divergence, convergence, "none", 0, hole_method, eye)
            return preview(photo.small, ready, *how, photo.size, edges)

    def figure(self) -> Figure:
        """Return a figure of the first picture, its depth and its hole."""
        photo = self.photos.load(self.photos.pictures[0], self.photos.depth_model.name)
        shown = preview(photo.pixels, photo.depth, START_DIVERGENCE, 0.5)
        return depth_and_hole(photo.pixels, photo.depth, (shown.hole_overlay != photo.pixels).any(axis=2))

    def widget(self) -> ipw.Widget:
        """Return the widget: controls above depth, view and hole."""
        panel = parts.Panel()
        controls = self.photos.choosers() | _warp_controls()
        panes = [parts.Pane(title) for title in ("depth, light = near", "view", "hole in magenta")]

        def refresh() -> None:
            values: dict[str, Any] = {name: control.value for name, control in controls.items()}
            shown = self.compute(**values)
            for pane, pixels in zip(panes, (shown.depth, shown.view, shown.hole_overlay), strict=True):
                pane.show([pixels], f"{values['picture'].name}: {pane.title}")
            height, width = self.photos.load(values["picture"], values["depth_model"]).size
            method = HOLE_METHODS[values["hole_method"]].replace("left eye", f"{values['eye']} eye")
            panel.say(
                f"The {values['eye']} eye can't see {shown.hole_fraction:.2%} of this {width} × {height} px picture.",
                f"mapper {values['mapper']}: {MAPPER_MEANINGS[values['mapper']]}",
                f"hole method {values['hole_method']}: {method}",
            )

        panel.on_change(controls.values(), refresh)
        panel.arrange(parts.box("controls", controls.values()), parts.box("panes", panes), panel.caption)
        panel.answer(refresh)
        return panel


def _warp_controls() -> dict[str, ipw.Widget]:
    return {
        "eye": labelled(ipw.Dropdown, "eye", "whose view is made", options=["left", "right"]),
        **depth_sliders(START_DIVERGENCE),
        "edge_dilation": labelled(ipw.IntSlider, "edge dilation", "rounds by which near edges grow", value=0, max=4),
        "mapper": labelled(
            ipw.Dropdown,
            "mapper",
            "curve applied to depth before warping",
            options=[(f"{name}: {meaning}", name) for name, meaning in MAPPER_MEANINGS.items()],
        ),
        "hole_method": labelled(ipw.Dropdown, "hole method", "how holes are found", options=list(HOLE_METHODS)),
    }
