"""Stereo pairs given by users: read correctly, checked for sign and unit, judged only where disparity is measured."""

import io
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from inpaintkit.errors import InputError
from inpaintkit.inspection import evaluate, row_fill, save_scores, stereo_truth
from inpaintkit.inspection.pictures import to_uint8
from inpaintkit.inspection.stereo_truth import WIDEST, between, fill_unmeasured, read_disparity, stereo_case
from inpaintkit.seeds import torch_rng
from inpaintkit.synthesis import Layer, Scene
from inpaintkit.synthesis.scenes import everywhere, polygon

pytestmark = pytest.mark.attack

HEIGHT, WIDTH = 72, 120
NEAR, FAR = 9.0, 1.0
DIVERGENCE = 200 * 10 / WIDTH  # depth 1 moves 10 px


def rendered() -> tuple[Tensor, Tensor, Tensor]:
    """Return both pictures (1, 3, H, W) of a post (disparity 9) before a wall (1), and the left one's disparity."""
    wall, front = (torch.rand(3, HEIGHT, WIDTH, generator=torch_rng("stereo", n)) for n in range(2))
    outline = polygon([(49.5, -9.0), (69.5, -9.0), (69.5, 99.0), (49.5, 99.0)])
    layers = Layer(everywhere, (FAR / 10, 0.0, 0.0), wall), Layer(outline, (NEAR / 10, 0.0, 0.0), front)
    scene = Scene((HEIGHT, WIDTH), layers)
    left, depth = scene.render()
    return left, scene.view("right", DIVERGENCE, 0.0), depth * 10


def save_pair(folder: Path, stems: tuple[str, str] = ("left", "right")) -> Path:
    folder.mkdir(parents=True)
    for stem, picture in zip(stems, rendered()[:2], strict=True):
        Image.fromarray(to_uint8(picture[0])).save(folder / f"{stem}.png")
    return folder


def npy_header(shape: tuple[int, int]) -> bytes:
    """Return the beginning of a NumPy file that claims to hold float64 of that shape."""
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(file, {"descr": "<f8", "fortran_order": False, "shape": shape})
    return file.getvalue()


def columns(mask: Tensor) -> list[int]:
    return mask[0, 0].any(0).nonzero().flatten().tolist()


def test_the_hole_is_where_the_post_was_and_holds_the_right_picture() -> None:
    left, right, disparity = rendered()
    case = stereo_case(left, right, disparity, "post")
    # The post at 50..69 is seen at 41..60; the wall's 70 at 69; 61..68 between them are unknown.
    assert columns(case.hole) == columns(case.judged) == list(range(61, 69))
    inside = case.hole.expand_as(right)
    assert torch.equal(case.truth[inside], right[inside])
    assert (case.picture - right).abs()[..., 2:40].max() < 1e-3
    assert (case.picture - right).abs()[..., 42:60].max() < 1e-3


def test_edge_dilation_makes_the_hole_begin_further_from_the_post() -> None:
    case = stereo_case(*rendered(), "post", edge_dilation=2)
    assert columns(case.hole)[0] > 61
    inside = case.hole.expand_as(case.truth)
    assert torch.equal(case.truth[inside], rendered()[1][inside])


def test_holes_beside_unmeasured_pixels_do_not_count() -> None:
    left, right, disparity = rendered()
    disparity[:, :, :30, 70:90] = torch.nan
    case = stereo_case(left, right, disparity, "post")
    assert case.hole[..., :30, 63:67].all()
    assert not case.judged[..., :30, :].any()
    assert case.judged[..., 30:, 61:69].all()


def test_the_strip_that_only_the_right_eye_sees_does_not_count() -> None:
    # The post reaches the right border: what comes into view beside it lies outside the left picture.
    case = stereo_case(*_to_the_border(), "border")
    assert not case.judged.any()


def _to_the_border() -> tuple[Tensor, Tensor, Tensor]:
    wall, front = (torch.rand(3, HEIGHT, WIDTH, generator=torch_rng("stereo", n)) for n in range(2))
    outline = polygon([(99.5, -9.0), (999.0, -9.0), (999.0, 99.0), (99.5, 99.0)])
    scene = Scene((HEIGHT, WIDTH), (Layer(everywhere, (0.1, 0, 0), wall), Layer(outline, (0.9, 0, 0), front)))
    left, depth = scene.render()
    return left, scene.view("right", DIVERGENCE, 0.0), depth * 10


def test_wrong_signs_and_units_are_reported() -> None:
    left, right, disparity = rendered()
    with pytest.raises(InputError, match="wrong sign"):
        stereo_case(left, right, -disparity, "p")
    with pytest.raises(InputError, match="wrong sign"):
        stereo_case(right, left, disparity, "p")
    with pytest.raises(InputError, match="check disparity_scale"):
        stereo_case(left, right, disparity * 100, "p")
    smooth = torch.nn.functional.avg_pool2d(torch.cat([left, right]), 9, 1, 4)
    with pytest.raises(InputError, match="fit better unmoved"):
        stereo_case(smooth[:1], smooth[:1], disparity * 2, "p")
    with pytest.raises(InputError, match="no disparity is measured"):
        stereo_case(left, right, disparity * torch.nan, "p")


def test_a_disparity_without_any_error_is_accepted() -> None:
    left, flat = rendered()[0], torch.full((1, 3, HEIGHT, WIDTH), 0.5)
    for first, second in ((left, left.roll(-4, -1)), (flat, flat)):
        stereo_case(first, second, torch.full((1, 1, HEIGHT, WIDTH), 4.0), "exact")


def test_a_pair_without_any_shift_is_accepted_and_has_no_hole() -> None:
    left, _, disparity = rendered()
    assert not stereo_case(left, left, disparity * 0, "flat").hole.any()


def test_unmeasured_disparity_takes_the_farther_neighbour() -> None:
    nan = torch.nan
    row = torch.tensor([nan, 5.0, nan, nan, 2.0, nan]).view(1, 1, 1, -1)
    assert fill_unmeasured(row).flatten().tolist() == [5, 5, 2, 2, 2, 2]
    two = torch.cat([row, torch.full_like(row, nan)], dim=2)
    assert fill_unmeasured(two)[0, 0, 1].tolist() == [2] * 6


def test_a_hole_needs_measured_neighbours_on_both_sides() -> None:
    def mask(text: str) -> Tensor:
        return torch.tensor([c == "#" for c in text]).view(1, 1, 1, -1)

    hole, measured = mask("##..##..##..##"), mask("..##..#...##..")
    assert between(hole, measured).int().flatten().tolist() == [0] * 4 + [1, 1] + [0] * 8


@pytest.mark.parametrize("kind", ["pfm_little", "pfm_big", "npy", "png8", "png16"])
def test_every_kind_of_disparity_file_gives_px(tmp_path: Path, kind: str) -> None:
    values = np.array([[1.0, 2.0, np.inf], [4.0, 5.0, 6.0]], np.float32)
    path = tmp_path / f"disparity.{kind.rstrip('8164')[:3]}"
    if kind.startswith("pfm"):
        order, scale = ("<f4", b"-1.0") if kind == "pfm_little" else (">f4", b"1.0")
        path.write_bytes(b"Pf\n3 2\n" + scale + b"\n" + values[::-1].astype(order).tobytes())
    elif kind == "npy":
        np.save(path, values)
    else:
        stored = np.where(np.isfinite(values), values, 0) * (1 if kind == "png8" else 256)
        Image.fromarray(stored.astype(np.uint8 if kind == "png8" else np.uint16)).save(path)
    read = read_disparity(path)
    assert read.shape == (1, 1, 2, 3)
    assert read[0, 0, 0, 2].isnan()
    assert read.nan_to_num(3).flatten().tolist() == [1, 2, 3, 4, 5, 6]
    if kind == "png8":
        assert read_disparity(path, scale=4)[0, 0, 1, 0] == 1


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("d.pfm", b"PF\n2 2\n-1\n" + b"\0" * 48),
        ("d.pfm", b"Pf\n2 2\n-1\n\0"),
        ("d.pfm", b"Pf\n1000000000000 1000000000000\n-1\n" + b"\0" * 64),
        ("d.pfm", b"Pf\n100000000 100000000\n-1\n" + b"\0" * 64),
        ("d.pfm", b"Pf\n0 0\n-1\n"),
        ("d.npy", npy_header((10**12, 10**12))),
        ("d.npy", npy_header((0, 0))),
        ("d.npy", npy_header((10000, 10000)) + b"\0" * 64),
        ("d.npy", b"nonsense"),
        ("d.png", b"nonsense"),
    ],
)
def test_broken_disparity_files_are_refused_in_one_sentence(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match="is no disparity map"):
        read_disparity(tmp_path / name)


def test_a_disparity_beyond_float32_counts_as_not_measured(tmp_path: Path) -> None:
    np.save(tmp_path / "d.npy", np.array([[1.0, 1e300]]))
    assert read_disparity(tmp_path / "d.npy").isnan().flatten().tolist() == [False, True]


@pytest.mark.parametrize("mode", ["RGB", "P", "1"])
def test_a_colour_png_is_refused(mode: str, tmp_path: Path) -> None:
    Image.new(mode, (4, 4), 1).save(tmp_path / "d.png")
    with pytest.raises(InputError, match=r"instead of one number per pixel|stand for colours"):
        read_disparity(tmp_path / "d.png")


def test_pairs_in_folders_are_found_by_their_usual_names_and_judged(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    disparity = rendered()[2][0, 0].numpy()
    np.save(save_pair(tmp_path / "plain \udcff") / "disparity.npy", disparity)
    pfm = b"Pf\n%d %d\n-1\n" % (WIDTH, HEIGHT) + disparity[::-1].astype("<f4").tobytes()
    (save_pair(tmp_path / "middlebury", ("im0", "im1")) / "disp0.pfm").write_bytes(pfm)
    (tmp_path / "notes").mkdir()
    save_pair(tmp_path / "unmeasured", ("im2", "im6"))
    truth = stereo_truth(tmp_path)
    assert capsys.readouterr().out.splitlines() == [
        "stereo pairs: notes is left out: it has none of a pair's files",
        "stereo pairs: unmeasured is left out: it has no disp2",
    ]
    assert list(truth.names) == ["middlebury", r"plain \udcff"], "a name that is no text can be told and written"
    evaluation = evaluate({"row": row_fill}, truth)
    save_scores(tmp_path / "scores.csv", [evaluation])
    assert evaluation.title == "stereo pairs"
    first, second = (score.figures for score in evaluation.scores)
    assert first == pytest.approx(second, nan_ok=True)
    assert first["siou"] > 0.5
    assert evaluation.scores[0].hole_pixels == 8 * HEIGHT


def test_pairs_that_cannot_work_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no folder with left"):
        stereo_truth(tmp_path)
    np.save(save_pair(tmp_path / "pair") / "disparity.npy", np.ones((9, 9), np.float32))
    with pytest.raises(InputError, match="differ in size"):
        stereo_truth(tmp_path)
    (tmp_path / "pair" / "left.png").write_bytes(b"")
    with pytest.raises(InputError, match="can't be read"):
        stereo_truth(tmp_path)


def test_wide_pairs_are_shrunk_with_their_disparity(tmp_path: Path) -> None:
    left, right, disparity = (x.repeat_interleave(16, -1).repeat_interleave(16, -2) for x in rendered())
    folder = tmp_path / "wide"
    folder.mkdir()
    for stem, picture in (("left", left), ("right", right)):
        Image.fromarray(to_uint8(picture[0])).save(folder / f"{stem}.png")
    np.save(folder / "disparity.npy", 16 * disparity[0, 0].numpy())
    case = stereo_truth(tmp_path).load(0)
    assert case.hole.shape[-1] == 16 * WIDTH // 2 <= WIDEST
    assert columns(case.judged) == list(range(61 * 8, 69 * 8))
