"""The fill comparer and the stereo preview."""

import io
import time
from collections.abc import Callable
from pathlib import Path

import ipywidgets as ipw
import numpy as np
import pytest
import torch
from PIL import Image
from toy_files import write_record
from widget_tools import alts, caption, control, kept_after, parts, pictures

from inpaintkit.config import StereoConfig
from inpaintkit.data import InpaintDataset, read_picture
from inpaintkit.depth import create_depth_model
from inpaintkit.errors import InputError
from inpaintkit.inspection import FILLS, stereo_from_file, stereo_pair
from inpaintkit.inspection.pictures import picture_batch
from inpaintkit.inspection.zoom import enlarged, with_box, zoom_boxes
from inpaintkit.notebook import FillComparer, StereoPreview
from inpaintkit.notebook.widgets import close_all, stereo_preview
from inpaintkit.notebook.widgets.stereo_preview import STEREO_VIEWS, stereo_frames
from inpaintkit.synthesis import map_depth

SIDE = 160


@pytest.fixture(scope="module")
def records(tmp_path_factory: pytest.TempPathFactory) -> InpaintDataset:
    """Return two records: a slanted ramp of grey with a large hole at the right and a small one at the left."""
    folder = tmp_path_factory.mktemp("data") / "eval"
    ramp = ((np.arange(SIDE)[:, None] + np.arange(SIDE)[None]) % 256).astype(np.uint8)
    for number in range(2):
        hole = np.zeros((SIDE, SIDE), np.uint8)
        hole[30:70, 110:122] = 255
        hole[100:120, 30 + number : 36] = 255
        write_record(folder, f"r{number}", np.repeat(ramp[..., None], 3, axis=2), hole)
    return InpaintDataset(folder, training=False, crop_size=128)


@pytest.fixture
def comparer(records: InpaintDataset) -> FillComparer:
    return FillComparer(records, {"row": FILLS["row"], "telea": FILLS["telea"]})


def two_holes() -> torch.Tensor:
    hole = torch.zeros(200, 200, dtype=torch.bool)
    hole[20:40, 20:24] = True
    hole[120:170, 150:160] = True
    return hole


def test_boxes_lie_around_each_hole_the_largest_first() -> None:
    (top, left, side), second = zoom_boxes(two_holes())
    assert top <= 120 < 170 <= top + side
    assert left <= 150 < 160 <= left + side
    assert second[0] <= 20 < 40 <= second[0] + second[2]


def test_specks_and_holes_within_the_same_square_get_no_box_of_their_own() -> None:
    hole = two_holes()
    hole[60, 60] = True
    hole[172:174, 150:162] = True
    assert len(zoom_boxes(hole)) == 2
    assert len(zoom_boxes(torch.zeros(90, 120, dtype=torch.bool))) == 1


def test_the_outline_surrounds_the_hole_and_can_be_left_out() -> None:
    picture, hole = torch.full((3, 200, 200), 0.5), two_holes()[None]
    box = zoom_boxes(hole[0])[1]
    plain = enlarged(picture, hole, box, 448, outline=False)
    lined = enlarged(picture, hole, box, 448, outline=True)
    assert (plain == 128).all()
    line = (lined == (255, 0, 255)).all(axis=2)
    times = plain.shape[0] // box[2]
    assert line.sum() == 2 * (20 * times + 4 * times) - 4
    assert not line[(20 - box[0]) * times + 3, (20 - box[1]) * times + 3], "inside the hole the fill is seen"


def test_the_overview_frames_the_zoomed_square() -> None:
    shown = with_box(torch.zeros(3, 200, 200), two_holes()[None], (100, 100, 60))
    assert (shown[100, 100:160] == 255).all()
    assert (shown[130, 155] == (255, 0, 255)).all()


def test_the_slider_goes_from_the_hole_over_the_fills_to_the_truth(comparer: FillComparer) -> None:
    box = comparer.widget()
    slider = control(box, "filled by")
    assert [label for label, _ in slider.options] == ["hole", "row fill", "Telea", "truth"]
    seen = []
    for label, stage in slider.options:
        slider.value = stage
        seen.append(pictures(box)[0])
        assert label in alts(box)[0]
    assert len(set(seen)) == 4
    close_all(box)


def test_fills_never_see_the_truth_and_the_caption_says_how_close_they_come(comparer: FillComparer) -> None:
    case = comparer.case("r0")
    row, truth = comparer.filled("r0", "row"), comparer.filled("r0", "truth")
    assert torch.equal(torch.where(case.hole, truth, row), truth)
    assert not torch.equal(row, truth)
    box = comparer.widget()
    assert f"PSNR in all holes {comparer.psnr('r0', 'row'):.2f} dB" in caption(box)
    close_all(box)


def test_next_hole_goes_round(comparer: FillComparer) -> None:
    box = comparer.widget()
    first = pictures(box)
    control(box, "next hole").click()
    assert "r0, hole 2 of 2" in caption(box), "which record: names may be longer than their dropdown"
    assert pictures(box)[0] != first[0]
    control(box, "next hole").click()
    assert pictures(box) == first
    control(box, "outline the hole").value = False
    assert pictures(box)[0] != first[0]
    control(box, "next hole").click()
    control(box, "record").value = "r1"
    assert "r1, hole 1 of 2" in caption(box), "another record is looked at from its largest hole on"
    close_all(box)


def test_the_wipe_uncovers_what_the_fill_is_compared_with(comparer: FillComparer) -> None:
    box = comparer.widget()
    control(box, "filled by").value = "telea"
    fill = decoded(box)
    control(box, "against").value = "truth"
    control(box, "wipe %").value = 0
    truth = decoded(box)
    control(box, "wipe %").value = 50
    half, width = decoded(box), fill.shape[1]
    assert "Telea left of the line, truth right of it" in caption(box)
    close = 6.0  # of 255: JPEG's error
    assert np.abs(half[:, : width // 2 - 16] - fill[:, : width // 2 - 16]).mean() < close
    assert np.abs(half[:, width // 2 + 16 :] - truth[:, width // 2 + 16 :]).mean() < close
    close_all(box)


def decoded(box: object) -> np.ndarray:
    """Return the zoomed picture, decoded."""
    with Image.open(io.BytesIO(pictures(box)[0])) as image:
        return np.asarray(image, dtype=np.float32)


def test_each_fill_is_computed_once(records: InpaintDataset) -> None:
    calls: list[int] = []

    def counted(picture: torch.Tensor, hole: torch.Tensor, eye: str) -> torch.Tensor:
        calls.append(1)
        return FILLS["row"](picture, hole, eye)

    box = FillComparer(records, {"mine": counted}).widget()
    for stage in ("hole", "mine", "truth", "mine"):
        control(box, "filled by").value = stage
    assert len(calls) == 1
    control(box, "record").value = "r1"
    assert len(calls) == 2
    close_all(box)


def test_unknown_records_are_refused(records: InpaintDataset) -> None:
    with pytest.raises(InputError, match="r9"):
        FillComparer(records, FILLS, ["r9"])


@pytest.fixture(scope="module")
def stereo(tmp_path_factory: pytest.TempPathFactory) -> StereoPreview:
    """Return a stereo preview of two photos of 160 x 120 px, with a fill that paints white."""
    folder, rng = tmp_path_factory.mktemp("photos"), np.random.default_rng(0)
    for name in "ab":
        blocks = rng.integers(0, 256, (6, 8, 3)).astype(np.uint8).repeat(20, axis=0).repeat(20, axis=1)
        Image.fromarray(blocks).save(folder / f"{name}.png")
    white = lambda picture, hole, eye: torch.where(hole, 1.0, picture)  # noqa: E731
    return StereoPreview(
        sorted(folder.glob("*.png")),
        create_depth_model("FastDepth", resolution=96),
        white,
        StereoConfig(divergence=10.0),
    )


def test_each_view_is_what_it_says(stereo: StereoPreview) -> None:
    pair = stereo.pair(stereo.photos.pictures[0], 10.0, 0.0)
    shapes = {view: [frame.shape for frame in stereo_frames(pair, view, 960)] for view in STEREO_VIEWS}
    assert shapes == {
        "anaglyph": [(120, 160, 3)],
        "wiggle": [(120, 160, 3), (120, 160, 3)],
        "side by side": [(120, 320, 3)],
    }
    assert stereo_frames(pair, "side by side", 80)[0].shape == (30, 80, 3)


def test_the_pair_is_the_one_that_is_saved(stereo: StereoPreview) -> None:
    photo = stereo.photos.pictures[0]
    options = StereoConfig(str(photo), divergence=10.0, outer_dilation=3, device="cpu")
    shown = StereoPreview([photo], create_depth_model("FastDepth"), options=options).pair(photo, 10.0, 0.5)
    saved = stereo_from_file(options)
    assert torch.equal(shown.left, saved.left)
    assert torch.equal(shown.right, saved.right)


def test_a_pair_of_an_upright_photo_is_no_larger_than_one_of_a_wide_photo(
    stereo: StereoPreview, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stereo_preview, "LONGER_SIDE", 80)
    shapes = []
    for name, size in {"wide": (160, 120), "upright": (120, 160)}.items():
        Image.new("RGB", size).save(tmp_path / f"{name}.png")
        shapes.append(tuple(stereo.pair(tmp_path / f"{name}.png", 2.0, 0.5).left.shape[-2:]))
    assert shapes == [(60, 80), (80, 60)]


def test_distances_of_a_metric_model_become_disparity_first(
    stereo: StereoPreview, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the curve that training uses most and iw3 uses too: plain distance would pull the background apart."""
    photo, model = stereo.photos.pictures[0], create_depth_model("FastDepth")
    batch = picture_batch(read_picture(photo))
    expected = stereo_pair(batch, map_depth(model.infer(batch), "div_6"), 10.0, 0.5, FILLS["row"])
    model.metric = True  # type: ignore[misc]
    monkeypatch.setattr("inpaintkit.inspection.stereo_files.create_depth_model", lambda name, device: model)
    options = StereoConfig(str(photo), fill="row", divergence=10.0, edge_dilation=0, device="cpu")
    assert torch.equal(stereo_from_file(options).left, expected.left)
    assert torch.equal(StereoPreview([photo], model, options=options).pair(photo, 10.0, 0.5).left, expected.left)


def test_buttons_change_the_picture_and_wiggle_moves(stereo: StereoPreview) -> None:
    box = stereo.widget()
    looks = next(part for part in parts(box) if isinstance(part, ipw.ToggleButtons))
    seen = set(pictures(box))
    for view in ("wiggle", "side by side"):
        looks.value = view
        seen |= set(pictures(box))
        assert view in alts(box)[0]
        if view == "wiggle":
            with Image.open(io.BytesIO(pictures(box)[0])) as image:
                assert (image.format, image.n_frames) == ("GIF", 2)
    assert len(seen) == 3
    close_all(box)


def test_an_unreadable_photo_is_reported_and_another_view_changes_nothing(
    stereo: StereoPreview, tmp_path: Path
) -> None:
    (tmp_path / "broken.png").write_bytes(b"")
    pictures_of = [tmp_path / "broken.png", *stereo.photos.pictures]
    box = StereoPreview(pictures_of, stereo.photos.depth_model, FILLS["row"]).widget()
    next(part for part in parts(box) if isinstance(part, ipw.ToggleButtons)).value = "wiggle"
    assert "choose another picture" in caption(box)
    control(box, "picture").value = pictures_of[1]
    assert alts(box) == ["a.png as wiggle"]
    close_all(box)


@pytest.mark.parametrize(("name", "place"), [("divergence %", 2.0), ("convergence", 1.0), ("picture", 1)])
def test_a_moved_control_shows_another_pair_at_once_and_the_models_fill_when_it_rests(
    stereo: StereoPreview, name: str, place: float
) -> None:
    box = stereo.widget()
    first = pictures(box)
    assert "% of the longer side" in control(box, "divergence %").tooltip, "as the command's divergence"
    control(box, "divergence %").value += 2e-15  # as JupyterLab does when it has drawn a slider
    assert "holes filled by the model" in caption(box)
    control(box, name).value = stereo.photos.pictures[1] if name == "picture" else place
    assert pictures(box) != first
    assert "filled along rows while the controls move" in caption(box)
    deadline = time.monotonic() + 30
    while "along rows" in caption(box) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert "holes filled by the model" in caption(box)
    close_all(box)


@pytest.mark.parametrize("which", ["comparer", "stereo"])
def test_closed_widgets_leave_nothing(which: str, request: pytest.FixtureRequest) -> None:
    make: Callable[[], object] = request.getfixturevalue(which).widget
    close_all(make())
    assert kept_after(make, 3) == (0, 0)


def test_static_figures_show_the_same(comparer: FillComparer, stereo: StereoPreview, tmp_path: Path) -> None:
    titles = {axes.get_title() for axes in comparer.figure().axes}
    assert {"hole", "row fill", "Telea", "truth"} <= titles
    assert any("anaglyph" in axes.get_title() for axes in stereo.figure().axes)
