"""The mask preview: what a moved slider shows."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from widget_tools import alts, caption, control, kept_after, pictures

from inpaintkit import synthesis
from inpaintkit.data import list_pictures
from inpaintkit.depth import DepthModel, create_depth_model
from inpaintkit.errors import InputError
from inpaintkit.notebook import MaskPreview
from inpaintkit.notebook.widgets import close_all, photos

PHOTOS = list_pictures(Path(__file__).parents[2] / "data" / "samples" / "eval")


@pytest.fixture(scope="module")
def preview() -> MaskPreview:
    return MaskPreview(PHOTOS, create_depth_model("FastDepth", resolution=128))


def test_a_wider_divergence_shows_more_hole(preview: MaskPreview) -> None:
    narrow, wide = (preview.compute(PHOTOS[0], divergence=d).hole_fraction for d in (1.0, 6.0))
    assert narrow < wide


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("divergence %", 8.0),
        ("convergence", 0.0),
        ("mapper", "mul_3"),
        ("edge dilation", 4),
        ("eye", "right"),
        ("hole method", "warp_back"),
    ],
)
def test_a_moved_control_changes_the_pictures_and_the_hole_area(preview: MaskPreview, name: str, value: object) -> None:
    box = preview.widget()
    before, said = pictures(box), caption(box)
    control(box, name).value = value
    assert pictures(box) != before
    assert caption(box) != said or name == "convergence"  # convergence moves the whole picture; holes keep their width
    close_all(box)


def test_choosing_another_photo_shows_it(preview: MaskPreview) -> None:
    box = preview.widget()
    before = pictures(box)
    control(box, "picture").value = PHOTOS[1]
    assert all(new != old for new, old in zip(pictures(box), before, strict=True))
    assert all(PHOTOS[1].name in alt for alt in alts(box))
    close_all(box)


def test_depth_is_estimated_once_per_picture_and_model() -> None:
    asked: list[int] = []

    class Counting:
        def __init__(self, model: DepthModel) -> None:
            self.model, self.name, self.metric = model, model.name, model.metric

        def infer(self, pictures: object) -> object:
            asked.append(1)
            return self.model.infer(pictures)  # type: ignore[arg-type]

    preview = MaskPreview(PHOTOS, Counting(create_depth_model("FastDepth", resolution=96)))  # type: ignore[arg-type]
    for divergence in (1.0, 2.0):
        preview.compute(PHOTOS[0], divergence=divergence)
    assert len(asked) == 1


def test_another_depth_model_is_made_when_it_is_chosen(preview: MaskPreview, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[tuple[str, str]] = []

    def create(name: str, device: str) -> DepthModel:
        made.append((name, device))
        assert "inpaintkit-busy" in box._dom_classes, "the page says that it works"
        return create_depth_model("FastDepth", resolution=96)

    monkeypatch.setattr(photos, "create_depth_model", create)
    with monkeypatch.context() as patched:
        patched.setattr(preview.photos.depth_model, "device", "cuda:1")
        looked = MaskPreview(PHOTOS, preview.photos.depth_model)
    box = looked.widget()
    before = pictures(box)
    assert not made
    control(box, "depth model").value = "Any_S"
    assert made == [("Any_S", "cuda:1")], "on the device of the first one"
    assert "inpaintkit-busy" not in box._dom_classes
    assert pictures(box) != before
    close_all(box)


def test_an_unavailable_depth_model_is_reported_on_the_page(
    preview: MaskPreview, monkeypatch: pytest.MonkeyPatch
) -> None:
    def create(name: str, device: str) -> DepthModel:
        raise InputError(f"{name} can't be had here")

    monkeypatch.setattr(photos, "create_depth_model", create)
    box = MaskPreview(PHOTOS, preview.photos.depth_model).widget()
    control(box, "depth model").value = "DepthPro"
    assert "DepthPro can't be had here" in caption(box)
    control(box, "depth model").value = "FastDepth"
    assert "eye can't see" in caption(box)
    close_all(box)


def test_a_broken_picture_says_so_on_the_page(preview: MaskPreview, tmp_path: Path) -> None:
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(b"no picture")
    box = MaskPreview([PHOTOS[0], broken], preview.photos.depth_model).widget()
    control(box, "picture").value = broken
    assert "broken.jpg" in caption(box)
    assert "choose another picture" in caption(box)
    close_all(box)


def test_a_preview_needs_pictures(preview: MaskPreview) -> None:
    with pytest.raises(InputError, match="name a folder with photos"):
        MaskPreview([], preview.photos.depth_model)


def test_one_move_computes_once_however_often_the_cell_ran(
    preview: MaskPreview, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[int] = []
    original = preview.compute
    monkeypatch.setattr(preview, "compute", lambda *a, **k: calls.append(1) or original(*a, **k))
    boxes = [preview.widget() for _ in range(2)]
    calls.clear()
    control(boxes[-1], "divergence %").value = 7.0
    assert len(calls) == 1
    for box in boxes:
        close_all(box)


def test_a_closed_widget_leaves_nothing(preview: MaskPreview) -> None:
    close_all(preview.widget())
    assert kept_after(preview.widget, 2) == (0, 0)


def test_the_static_figure_shows_the_same_hole(preview: MaskPreview) -> None:
    said = f"{preview.compute(PHOTOS[0]).hole_fraction:.2%}"
    assert any(said in axes.get_title() for axes in preview.figure().axes)


@pytest.mark.parametrize("eye", ["left", "right"])
@pytest.mark.parametrize("hole_method", ["auto", "occlusion", "warp_back"])
def test_the_widget_shows_the_hole_share_of_the_full_picture(preview: MaskPreview, eye: str, hole_method: str) -> None:
    photo = preview.photos.load(PHOTOS[0], "FastDepth")
    for mapper, edge_dilation in (("none", 0), ("mul_2", 2), ("none", 1)):
        values = {"mapper": mapper, "edge_dilation": edge_dilation, "hole_method": hole_method, "eye": eye}
        full = synthesis.preview(photo.pixels, photo.depth, 4.0, 0.5, **values)  # type: ignore[arg-type]
        shown = preview.compute(PHOTOS[0], 4.0, 0.5, **values)  # type: ignore[arg-type]
        assert shown.hole_fraction == full.hole_fraction
        height, width = shown.view.shape[:2]
        assert (
            np.abs(cv2.resize(full.view, (width, height), interpolation=cv2.INTER_AREA) - 1.0 * shown.view).mean() < 6
        )


def test_captions_and_alternative_texts_match_the_shown_eye_and_photo(preview: MaskPreview) -> None:
    box = preview.widget()
    control(box, "eye").value = "right"
    assert "The right eye can't see" in caption(box)
    assert "left eye" not in caption(box)
    assert f"{PHOTOS[0].name}: hole in magenta" in alts(box)
    close_all(box)


def test_a_mapper_is_explained(preview: MaskPreview) -> None:
    box = preview.widget()
    control(box, "mapper").value = "mul_2"
    assert f"mul_2: {synthesis.MAPPER_MEANINGS['mul_2']}" in caption(box)
    close_all(box)
