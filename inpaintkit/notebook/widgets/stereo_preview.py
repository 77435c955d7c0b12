"""Stereo preview: a pair made from a photo, as anaglyph, wiggle picture or side by side, updated as sliders move."""

import threading
from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path

import ipywidgets as ipw
import torch

from inpaintkit.config import StereoConfig
from inpaintkit.depth import DepthModel
from inpaintkit.inspection.figures import Figure, stereo_panel
from inpaintkit.inspection.fills import FILLS, Fill
from inpaintkit.inspection.pictures import Pixels, picture_batch, to_uint8
from inpaintkit.inspection.stereo import StereoPair, depth_like, stereo_pair
from inpaintkit.inspection.stereo_files import stereo_fill
from inpaintkit.notebook.widgets import parts
from inpaintkit.notebook.widgets.photos import KEPT_PHOTOS, PhotoDepths, depth_sliders, fit_width

LONGER_SIDE = 960  # px, of an upright photo the height: more can't be seen, and is too slow to follow a slider
REST_SECONDS = 0.4
"""How long the controls must rest before the network fills the holes instead of row fill."""

STEREO_VIEWS: dict[str, tuple[str, Callable[[StereoPair], list[Pixels]]]] = {
    "anaglyph": ("for red-cyan glasses, red on the left eye", lambda pair: [pair.anaglyph()]),
    "wiggle": (
        "swings between the eyes: near things move against far ones",
        lambda pair: [to_uint8(pair.left[0]), to_uint8(pair.right[0])],
    ),
    "side by side": (
        "left | right: for a headset, or look through the screen into the distance",
        lambda pair: [pair.side_by_side()],
    ),
}
"""Ways to view a pair: a hint, and a function that returns frames (H, W, 3), a still one or two to swing between."""


def stereo_frames(pair: StereoPair, view: str, width: int) -> list[Pixels]:
    """Return the frames of `view`, one of `STEREO_VIEWS`, at most `width` px wide."""
    return [fit_width(frame, width) for frame in STEREO_VIEWS[view][1](pair)]


class StereoPreview:
    """Stereo pairs of several pictures, small enough for a screen, as functions of divergence and convergence."""

    def __init__(
        self,
        pictures: Sequence[Path],
        depth_model: DepthModel,
        fill: Fill | None = None,
        options: StereoConfig | None = None,
    ) -> None:
        """Take picture files, the initial depth model, and the fill (None: the one in `options`).

        `options` also set where the sliders start and by how much near edges of depth grow. Raises `InputError` if
        there are no pictures.
        """
        self.photos = PhotoDepths(pictures, depth_model)
        self.options = options or StereoConfig()
        self.fill = fill or stereo_fill(self.options)
        self._prepared = lru_cache(KEPT_PHOTOS)(self._prepare)

    def pair(
        self,
        picture: Path,
        divergence: float,
        convergence: float,
        depth_model: str | None = None,
        fill: Fill | None = None,
    ) -> StereoPair:
        """Return the pair of `picture`, its longer side at most `LONGER_SIDE` px.

        `depth_model` is a name, or None for the initial model; a `fill` of None is the preview's own. Raises
        `InputError` for a picture that can't be read.
        """
        small, depth = self._prepared(picture, depth_model or self.photos.depth_model.name)
        return stereo_pair(small, depth, divergence, convergence, fill or self.fill)

    def _prepare(self, picture: Path, depth_model: str) -> tuple[torch.Tensor, torch.Tensor]:
        photo = self.photos.load(picture, depth_model)
        height, width = photo.size
        small = picture_batch(fit_width(photo.pixels, LONGER_SIDE * width // max(height, width)))
        return small, depth_like(photo.depth, small, self.options.edge_dilation, photo.mapper)

    def figure(self) -> Figure:
        """Return a figure of both views of the first picture, the anaglyph, and what was filled."""
        return stereo_panel(self.pair(self.photos.pictures[0], self.options.divergence, self.options.convergence))

    def widget(self) -> ipw.Widget:
        """Return the widget: the controls and the ways to view the pair, above the picture."""
        return _StereoPanel(self)


class _StereoPanel(parts.Panel):
    """The widget of a `StereoPreview`: row fill while the controls move, the network's fill when they rest."""

    def __init__(self, preview: StereoPreview) -> None:
        super().__init__()
        self.preview = preview
        self.pane = parts.Pane("stereo pair")
        self.controls = preview.photos.choosers() | depth_sliders(
            preview.options.divergence, preview.options.convergence, "longer side"
        )
        self.view = ipw.ToggleButtons(options=list(STEREO_VIEWS), tooltips=[hint for hint, _ in STEREO_VIEWS.values()])
        self.made: tuple[StereoPair, str] | None = None  # and how it was filled
        self._rest: threading.Timer | None = None
        self.on_change(self.controls.values(), self._move)
        self.on_change([self.view], self._show)
        self.arrange(parts.box("controls", self.controls.values()), self.view, self.pane, self.caption)
        self.answer(self.fill)

    def _values(self) -> dict[str, object]:
        return {name: control.value for name, control in self.controls.items()}

    def _move(self) -> None:
        if self._rest is not None:
            self._rest.cancel()
        self.made = None
        with parts.one_thread():
            made = self.preview.pair(**self._values(), fill=FILLS["row"])  # type: ignore[arg-type]
            self._take(made, "filled along rows while the controls move")
        self._rest = threading.Timer(REST_SECONDS, lambda: self.answer(self.fill))
        self._rest.start()

    def fill(self) -> None:
        """Show the pair filled by the network, unless the controls have moved meanwhile."""
        values = self._values()
        made = self.preview.pair(**values)  # type: ignore[arg-type]
        if values == self._values() and self.comm is not None:
            self._take(made, "holes filled by the model")

    def _take(self, pair: StereoPair, how: str) -> None:
        self.made = pair, how
        self._show()

    def _show(self) -> None:
        if self.made is None:  # the caption says why
            return
        (pair, how), view = self.made, self.view.value
        self.pane.show(stereo_frames(pair, view, LONGER_SIDE), f"{Path(self.controls['picture'].value).name} as {view}")
        holes = float(pair.left_hole.float().mean() + pair.right_hole.float().mean()) / 2
        self.say(f"{view}: {STEREO_VIEWS[view][0]}", f"{holes:.2%} of each view had to be made up, {how}.")
