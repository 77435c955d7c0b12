"""Stereo preview: a pair as anaglyph, as a wiggle picture or side by side."""

from __future__ import annotations

import ipywidgets as ipw

from inpaintkit.inspection.figures import Figure, stereo_panel
from inpaintkit.inspection.stereo import StereoPair
from inpaintkit.inspection.stereo_views import STEREO_VIEWS, stereo_frames
from inpaintkit.notebook.widgets import parts

SHOWN_WIDTH = 960
HINTS = {
    "anaglyph": "for red-cyan glasses, red on the left eye",
    "wiggle": "swings between the eyes: near things move against far ones",
    "side by side": "left | right: for a headset, or look through the screen into the distance",
}


class StereoPreview:
    """The ways to look at one stereo pair."""

    def __init__(self, pair: StereoPair) -> None:
        self.pair = pair

    def figure(self) -> Figure:
        """Return both views, the anaglyph, and what was filled."""
        return stereo_panel(self.pair)

    def widget(self) -> ipw.Widget:
        """Return buttons for the ways to look above the picture."""
        views = ipw.ToggleButtons(options=list(STEREO_VIEWS), tooltips=[HINTS[view] for view in STEREO_VIEWS])
        place, caption = parts.pane(), ipw.HTML()

        def refresh(change: object = None) -> None:
            frames = stereo_frames(self.pair, views.value, SHOWN_WIDTH)
            parts.show(place, parts.encoded(frames), f"stereo pair as {views.value}")
            caption.value = parts.line(HINTS[views.value])

        views.observe(refresh, names="value")
        refresh()
        return ipw.VBox([views, place, caption])
