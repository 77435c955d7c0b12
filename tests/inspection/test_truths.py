"""Truths: the hole content that fills are compared with is correct, and the same on every machine."""

import math
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from PIL import Image
from toy_records import write_records

from inpaintkit.config import GenerateConfig, InspectConfig
from inpaintkit.data import InpaintDataset, generate_dataset, read_manifest
from inpaintkit.errors import InputError
from inpaintkit.inspection import (
    Case,
    Inpainter,
    border_truth,
    choose_truths,
    evaluate,
    photo_scene_truth,
    photo_truth,
    read_textures,
    record_truth,
    row_fill,
    scene_truth,
)
from inpaintkit.inspection.holes import hole_iou, stray_pixels
from inpaintkit.inspection.tables import tables
from inpaintkit.inspection.truths import scene_case
from inpaintkit.seeds import torch_rng
from inpaintkit.synthesis import Layer, Scene
from inpaintkit.synthesis.scenes import everywhere, polygon

ROOT = Path(__file__).parents[2]
WIDTH, HEIGHT = 100, 64
DIVERGENCE, CONVERGENCE = 16.0, 0.0  # points of depth 1 move 8 px to the left, those of depth 0 stay


def post(texture: torch.Tensor | None = None, depth: float = 1.0) -> Scene:
    """Return a scene of a post over columns 40..49 before a background at depth 0 with the given texture."""
    wall = torch.rand(3, HEIGHT, WIDTH, generator=torch_rng("wall")) if texture is None else texture
    outline = polygon([(39.5, -9.0), (49.5, -9.0), (49.5, 99.0), (39.5, 99.0)])
    red = torch.tensor([1.0, 0, 0])[:, None, None].expand(3, HEIGHT, WIDTH)
    return Scene((HEIGHT, WIDTH), (Layer(everywhere, (0.0, 0.0, 0.0), wall), Layer(outline, (depth, 0.0, 0.0), red)))


def test_the_hole_is_what_the_post_hid() -> None:
    case = scene_case(post(), DIVERGENCE, CONVERGENCE, "post")
    # The post is seen 8 px further left, at 32..41; columns 42..49 of the wall come into view.
    assert case.hole[0, 0].any(0).nonzero().flatten().tolist() == list(range(42, 50))
    wall = post().layers[0].texture[None]
    inside = case.hole.expand_as(wall)
    assert torch.allclose(case.truth[inside], wall[inside], atol=1e-5)
    assert torch.equal(case.truth[~inside], case.picture[~inside])
    assert torch.allclose(case.picture[..., 33:41], torch.tensor([1.0, 0, 0])[None, :, None, None], atol=1e-5)


def test_the_hole_of_exact_depth_is_the_exact_one() -> None:
    case = scene_case(post(), DIVERGENCE, CONVERGENCE, "post")
    assert case.exact_hole is not None
    assert case.exact_hole[0, 0].any(0).nonzero().flatten().tolist() == list(range(42, 50))
    assert hole_iou(case.judged, case.exact_hole).item() == 1
    assert stray_pixels(case.judged, case.exact_hole).item() == 0
    assert not post(depth=0.0).hidden_in_right_view(DIVERGENCE, CONVERGENCE).any()


def test_edge_dilation_moves_mixed_colours_along_with_the_near_object() -> None:
    soft = Scene(post().size, (post().layers[0], replace(post().layers[1], softness=3.0)))
    left_over = {}
    for rounds in (0, 2):
        case = scene_case(soft, DIVERGENCE, CONVERGENCE, "post", rounds)
        assert case.right_view is not None
        beside = case.hole.roll(1, -1) & ~case.hole
        left_over[rounds] = float((case.picture - case.right_view).abs()[beside.expand_as(case.picture)].mean())
        assert torch.equal(
            case.truth[case.hole.expand_as(case.truth)], case.right_view[case.hole.expand_as(case.truth)]
        )
    assert left_over[0] > 0.05
    assert left_over[2] < left_over[0] / 3


def test_the_right_view_is_a_perfect_fill_of_a_scene() -> None:
    truth = scene_truth(2)
    cases = {case.name: case for case in map(truth.load, range(2))}
    calls = iter(list(cases.values()))

    def oracle(picture: torch.Tensor, hole: torch.Tensor, eye: str) -> torch.Tensor:
        right = next(calls).right_view
        assert right is not None
        return torch.where(hole, right, picture)

    evaluation = evaluate({"oracle": oracle}, truth)
    for score in evaluation.scores:
        assert score.figures["psnr"] == score.figures["psnr_ring"] == 60
        assert score.figures["lpips"] < 1e-6
        assert 0 < score.figures["siou"] <= 1
    assert [hole.record for hole in evaluation.holes] == list(cases)
    for hole, case in zip(evaluation.holes, cases.values(), strict=True):
        assert case.exact_hole is not None
        assert hole.iou == pytest.approx(hole_iou(case.judged, case.exact_hole).item())
    assert all(0.4 < hole.iou < 1 for hole in evaluation.holes)
    assert "The holes against what is really hidden" in tables(evaluation)


def test_scenes_depend_only_on_the_seed() -> None:
    one, again, other = scene_truth(2, seed=3).load(1), scene_truth(2, seed=3).load(1), scene_truth(2, seed=4).load(1)
    assert torch.equal(one.picture, again.picture)
    assert torch.equal(one.truth, again.truth)
    assert not torch.equal(one.picture, other.picture)
    assert one.source != scene_truth(2, seed=3).load(0).source, "scenes are drawn again one by one"


def test_a_piece_of_one_photo_hides_another_photo_along_its_own_contour() -> None:
    photos = read_textures(ROOT / "data" / "samples")
    cases = [photo_scene_truth(2, photos, seed=7).load(index) for index in (0, 1, 1)]
    assert torch.equal(cases[1].picture, cases[2].picture)
    for case in cases[:2]:
        assert case.exact_hole is not None
        assert case.judged.sum() > 200
        both, either = (case.hole & case.exact_hole).sum(), (case.hole | case.exact_hole).sum()
        assert both > 0.5 * either
    plain = [torch.full((3, 400, 600), level) for level in (0.1, 0.9)]
    for index in range(4):
        scene = photo_scene_truth(4, plain).load(index).picture
        assert scene.unique().numel() > 1, "never a photo before itself"
    grey = photo_scene_truth(1, [torch.full((3, 400, 600), 0.5)]).load(0)
    assert grey.hole.any(), "a photo without light and dark parts serves, too"


def test_the_border_cuts_holes_on_the_right_and_left_in_turn() -> None:
    scenes = scene_truth(4)
    for index in range(4):
        whole, cut, inside = (
            make.load(index) for make in (scenes, border_truth(scenes), border_truth(scenes, cut=False))
        )
        side = cut.name.rsplit("_", 1)[1]
        assert side == ("right" if index % 2 == 0 else "left")
        width, edge = cut.hole.shape[-1], -1 if side == "right" else 0
        kept = slice(width) if side == "right" else slice(-width, None)
        assert whole.hole.shape[-1] / 4 <= width < whole.hole.shape[-1]
        for part in ("picture", "truth", "hole"):
            assert torch.equal(getattr(cut, part), getattr(whole, part)[..., kept])
        assert not (cut.judged & ~whole.judged[..., kept]).any()
        assert torch.equal(inside.picture, whole.picture)
        assert torch.equal(inside.judged[..., kept], cut.judged)
        assert int(inside.judged.sum()) == int(cut.judged.sum()) > 0
        assert cut.judged[..., edge].any()
        runs = cut.judged if side == "left" else cut.judged.flip(-1)
        assert not (runs[..., 1:] & ~runs[..., :-1]).any(), "what counts goes up to the border"


def test_the_released_model_beats_row_fill_at_the_border() -> None:
    """Beyond such a hole nothing is known, so row fill takes the near object's colour there."""
    photos = read_textures(ROOT / "data" / "samples")
    result = evaluate(
        {"model": Inpainter(ROOT / "models/released/light_inpaint_v1.pth"), "row": row_fill},
        border_truth(photo_scene_truth(6, photos)),
    )
    assert result.advantage("model", "row", "psnr").mean > 1


def test_holes_near_the_sides_of_a_scene_do_not_count() -> None:
    for index in range(3):
        case = scene_truth(3).load(index)
        columns = case.judged[0, 0].any(0).nonzero().flatten()
        assert columns.min() > 0
        assert columns.max() < case.hole.shape[-1] - 1
        assert not (case.judged & ~case.hole).any()


def test_surfaces_come_from_the_photos_given(tmp_path: Path) -> None:
    (tmp_path / "eval").mkdir()
    (tmp_path / "eval" / "broken.jpg").write_bytes(b"no picture")
    os.mkfifo(tmp_path / "eval" / "pipe.jpg")
    with pytest.raises(InputError, match="holds no readable picture"):
        read_textures(tmp_path)
    Image.new("RGB", (200, 160), (255, 0, 255)).save(tmp_path / "eval" / "pink.png")
    textures = read_textures(tmp_path)
    assert [tuple(texture.shape) for texture in textures] == [(3, 768, 960)]
    pictures = [scene_truth(4, textures).load(index).picture for index in range(4)]
    pink = torch.tensor([1.0, 0, 1])[None, :, None, None]
    assert any(((picture - pink).abs().amax(1) < 0.01).float().mean() > 0.05 for picture in pictures)


def test_only_some_photos_of_a_large_folder_are_kept_in_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("inpaintkit.inspection.truths.MOST_TEXTURES", 2)
    monkeypatch.setattr("inpaintkit.inspection.truths.TEXTURE_SIDE", 64)
    (tmp_path / "eval").mkdir()
    (tmp_path / "eval" / "0.txt").write_text("no picture")
    for red in range(1, 6):
        Image.new("RGB", (64, 64), (red * 50, 0, 0)).save(tmp_path / "eval" / f"{red}.png")
    assert [round(float(texture[0, 0, 0]) * 255) for texture in read_textures(tmp_path)] == [50, 150]


def test_records_leave_out_the_frame(tmp_path: Path) -> None:
    write_records(tmp_path / "eval", 1)
    mask = Image.open(tmp_path / "eval" / "toy_0_M.png")
    mask.paste(255, (0, 0, 20, 96))
    mask.save(tmp_path / "eval" / "toy_0_M.png")
    case = record_truth(InpaintDataset(tmp_path / "eval", training=False, crop_size=96)).load(0)
    assert case.hole[..., :20].all()
    assert case.judged[0, 0].any(0).nonzero().min() == 16
    assert case.judged[0, 0].any(1).nonzero().flatten().tolist() == list(range(16, 80))


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (lambda case: {"hole": case.hole.float()}, r"hole and judged bool \(1, 1, H, W\); convert them"),
        (lambda case: {"truth": case.truth[0]}, r"picture and truth must be float32 \(1, 3, H, W\)"),
        (lambda case: {"truth": case.truth[..., 1:]}, r"must be float32 \(1, 3, H, W\)"),
        (lambda case: {"picture": case.picture * 255}, r"must lie in 0\.\.1; divide 0\.\.255 by 255"),
        (lambda case: {"truth": case.truth * torch.nan}, "replace NaN"),
        (lambda case: {"judged": ~case.hole}, "only hole pixels can be judged; give judged & hole"),
    ],
)
def test_a_custom_truth_with_meaningless_figures_is_refused(
    wrong: Callable[[Case], dict[str, torch.Tensor]], said: str
) -> None:
    case = scene_case(post(), DIVERGENCE, CONVERGENCE, "post")
    with pytest.raises(InputError, match=f"truth: post: .*{said}"):
        replace(case, **wrong(case))


def test_crops_of_one_picture_are_drawn_together_even_in_iw3s_sets(tmp_path: Path) -> None:
    write_records(tmp_path / "eval", 4)
    for number, name in enumerate(("1_0", "2_1", "3_0", "11_0")):
        for kind in "CM":
            (tmp_path / "eval" / f"toy_{number}_{kind}.png").rename(
                tmp_path / "eval" / f"p_Any_B_0a1b2c3d_{name}_{kind}.png"
            )
    truth = record_truth(InpaintDataset(tmp_path / "eval", training=False))
    sources = {name: truth.case(name).source for name in truth.names}
    picture, mirrored, second, sixth = (sources[f"p_Any_B_0a1b2c3d_{name}"] for name in ("1_0", "2_1", "3_0", "11_0"))
    assert picture == mirrored, "a picture and its mirror image have numbers of their own"
    assert len({picture, second, sixth}) == 3


def test_hole_pixels_in_the_margin_do_not_count(tmp_path: Path) -> None:
    write_records(tmp_path / "eval", 1, textured=True)
    mask = Image.new("L", (96, 96))
    mask.paste(255, (0, 30, 20, 60))  # 20 px wide, 4 of them beyond the margin
    mask.save(tmp_path / "eval" / "toy_0_M.png")
    truth = record_truth(InpaintDataset(tmp_path / "eval", training=False, crop_size=96))
    case = truth.load(0)

    def right_where_it_counts(picture: torch.Tensor, hole: torch.Tensor, eye: str) -> torch.Tensor:
        return torch.where(case.judged | ~hole, case.truth, 1.0)

    figures = evaluate({"f": right_where_it_counts}, truth).scores[0].figures
    assert (figures["psnr"], figures["psnr_10+"], figures["ssim"]) == (60, 60, pytest.approx(1))
    assert figures["lpips"] < 1e-6
    assert math.isnan(figures["psnr_3-5"]), "it is as wide as the whole hole"


def test_photo_holes_are_made_once_for_the_same_photos_and_seed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    photos = tmp_path / "photos" / "eval"
    photos.mkdir(parents=True)
    pixels = (torch.rand(9, 16, 3, generator=torch_rng("photo")) * 255).byte().numpy()
    Image.fromarray(pixels).resize((400, 300), Image.Resampling.BICUBIC).save(photos / "blobs.png")
    (photos / "broken.png").write_bytes((photos / "blobs.png").read_bytes()[:500])
    told: list[tuple[int, int]] = []
    first = photo_truth(tmp_path / "photos", tmp_path / "a", progress=lambda done, total, _: told.append((done, total)))
    assert told[-1][0] == told[-1][1] > 1
    assert "left out: eval/broken.png cannot be decoded" in capsys.readouterr().out
    files = sorted((tmp_path / "a").glob("*/eval/*"))
    assert files
    changed = [file.stat().st_mtime_ns for file in files]
    assert list(photo_truth(tmp_path / "photos", tmp_path / "a").names) == list(first.names)
    assert [file.stat().st_mtime_ns for file in files] == changed
    assert sorted((tmp_path / "a").glob("*/eval/*")) == files
    photo_truth(tmp_path / "photos", tmp_path / "a", seed=1)
    Image.open(photos / "blobs.png").rotate(180).save(photos / "blobs.png")
    photo_truth(tmp_path / "photos", tmp_path / "a")
    assert len(list((tmp_path / "a").iterdir())) == 3
    assert [file.stat().st_mtime_ns for file in files] == changed
    Image.new("RGB", (80, 70)).save(photos / "blobs.png")
    with pytest.raises(InputError, match=r"photos: no photo in .*/eval gives a record"):
        photo_truth(tmp_path / "photos", tmp_path / "a")


def test_bad_options_are_refused_before_records_are_made(tmp_path: Path) -> None:
    (tmp_path / "photos" / "eval").mkdir(parents=True)
    Image.effect_noise((300, 300), 90).convert("RGB").save(tmp_path / "photos" / "eval" / "a.png")
    config = InspectConfig(photos=str(tmp_path / "photos"), stereo_dir=str(tmp_path), run_dir=str(tmp_path / "run"))
    with pytest.raises(InputError, match="holds no folder with left"):
        choose_truths(config)
    assert not (tmp_path / "run").exists()


def test_records_of_scenes_do_not_pass_for_photos(tmp_path: Path) -> None:
    photo = Path(__file__).parents[2] / "data/samples/eval/astronaut.jpg"
    config = GenerateConfig(
        dataset_dir=str(photo), output_dir=str(tmp_path), prefix="t", size=256,
        num_samples=1, scenes=1, eval_only=True, workers=0, device="cpu",
    )  # fmt: skip
    report = generate_dataset(config)
    truth = record_truth(InpaintDataset(tmp_path / "eval", training=False))
    assert report.scenes > 0
    assert len(truth) == report.records - report.scenes
    names = {row["picture"] for row in read_manifest(tmp_path, "t_FastDepth") if "picture" in row and "scene" in row}
    assert not names & {f"{name}_C.png" for name in truth.names}
    assert {truth.load(index).name for index in range(len(truth))} == set(truth.names)
    for file in [file for name in truth.names for file in (tmp_path / "eval").glob(f"{name}_*.png")]:
        file.unlink()
    drawn = record_truth(InpaintDataset(tmp_path / "eval", training=False))
    assert (truth.title, drawn.title) == ("photos", "drawn records")


def test_a_fill_that_changes_surroundings_is_seen_in_the_ring() -> None:
    def meddler(picture: torch.Tensor, hole: torch.Tensor, eye: str) -> torch.Tensor:
        filled = row_fill(picture, hole, eye)
        return torch.where(hole, filled, (picture + 0.1).clamp(0, 1))

    evaluation = evaluate({"row": row_fill, "meddler": meddler}, scene_truth(2))
    for row, other in zip(evaluation.of("row"), evaluation.of("meddler"), strict=True):
        assert row.figures["psnr"] == other.figures["psnr"]
        assert row.figures["psnr_ring"] == 60
        assert other.figures["psnr_ring"] == pytest.approx(20, abs=1.5)
