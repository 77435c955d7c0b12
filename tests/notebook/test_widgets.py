"""The mask preview: what a moved slider shows."""

from pathlib import Path

import ipywidgets as ipw
import numpy as np
import pytest

from inpaintkit.data import list_pictures
from inpaintkit.depth import create_depth_model
from inpaintkit.notebook import MaskPreview

PHOTOS = list_pictures(Path(__file__).parents[2] / "data" / "samples" / "eval")


@pytest.fixture(scope="module")
def preview() -> MaskPreview:
    return MaskPreview(PHOTOS, create_depth_model("FastDepth"))


def controls(box: ipw.Widget) -> dict[str, ipw.Widget]:
    return {child.description: child for row in box.children[:2] for child in row.children}


def panes(box: ipw.Widget) -> list[bytes]:
    return [pane.value for pane in box.children[2].children]


def test_a_wider_divergence_shows_more_hole(preview: MaskPreview) -> None:
    narrow, wide = (preview.compute(PHOTOS[0], divergence=d).hole_fraction for d in (1.0, 6.0))
    assert narrow < wide


@pytest.mark.parametrize(
    ("name", "value"), [("divergence", 8.0), ("convergence", 0.0), ("mapper", "mul_3"), ("edge dilation", 4)]
)
def test_a_moved_slider_changes_the_pictures(preview: MaskPreview, name: str, value: object) -> None:
    box = preview.widget()
    before = panes(box)
    controls(box)[name].value = value
    assert panes(box) != before


def test_choosing_another_photo_shows_it(preview: MaskPreview) -> None:
    box = preview.widget()
    before = panes(box)
    controls(box)["picture"].value = PHOTOS[1]
    assert all(new != old for new, old in zip(panes(box), before, strict=True))


def test_making_the_widget_again_piles_up_nothing(preview: MaskPreview) -> None:
    calls = []
    original = preview.compute
    preview.compute = lambda *a, **k: calls.append(1) or original(*a, **k)  # type: ignore[method-assign]
    try:
        boxes = [preview.widget() for _ in range(3)]
        calls.clear()
        controls(boxes[-1])["divergence"].value = 7.0
        assert len(calls) == 1
    finally:
        preview.compute = original  # type: ignore[method-assign]


def test_the_static_figure_shows_the_same_hole(preview: MaskPreview) -> None:
    shown = preview.compute(PHOTOS[0], 4.0, 0.5)
    figure = preview.figure(PHOTOS[0], 4.0, 0.5)
    assert any(f"{shown.hole_fraction:.2%}" in axes.get_title() for axes in figure.axes)
    assert np.any(shown.hole_overlay == (255, 0, 255))
