"""Stereo pairs: which way things move, which side is missing, and the layouts to view them in."""

import io
import os
import resource
import signal
from pathlib import Path
from unittest.mock import Mock

import numpy as np
import pytest
import torch
from PIL import Image

from inpaintkit.__main__ import main
from inpaintkit.config import InspectConfig, StereoConfig
from inpaintkit.depth import create_depth_model
from inpaintkit.errors import InputError
from inpaintkit.inspection import (
    Inpainter,
    StereoPair,
    compared_fills,
    row_fill,
    save_stereo,
    stereo_fill,
    stereo_from_file,
    stereo_pair,
)
from inpaintkit.model import LightInpaintV1, save_model
from inpaintkit.seeds import torch_rng

ROOT = Path(__file__).parents[2]
SAMPLES, RELEASED = ROOT / "data" / "samples", ROOT / "models" / "released" / "light_inpaint_v1.pth"
HEIGHT, WIDTH = 40, 200
SQUARE = slice(80, 120)
MOST_BY_ROUNDING = 3  # levels of 255, in holes


@pytest.fixture
def picture() -> torch.Tensor:
    """Return a picture with a dark blue background and a red square in the middle."""
    picture = torch.tensor([0.1, 0.1, 0.4]).view(1, 3, 1, 1).repeat(1, 1, HEIGHT, WIDTH)
    picture[0, :, 10:30, SQUARE] = torch.tensor([0.9, 0.2, 0.1])[:, None, None]
    return picture


@pytest.fixture
def depth() -> torch.Tensor:
    depth = torch.zeros(1, 1, HEIGHT, WIDTH)
    depth[..., 10:30, SQUARE] = 1.0
    return depth


def red_columns(view: torch.Tensor) -> list[int]:
    return (view[0, 0, 20] > 0.5).nonzero()[:, 0].tolist()


def test_near_things_move_right_in_the_left_eye_and_left_in_the_right_eye(
    picture: torch.Tensor, depth: torch.Tensor
) -> None:
    pair = stereo_pair(picture, depth, divergence=8, convergence=0)
    assert red_columns(pair.left)[0] == 80 + 8
    assert red_columns(pair.right)[-1] == 119 - 8


def test_the_background_side_is_missing_and_gets_background(picture: torch.Tensor, depth: torch.Tensor) -> None:
    pair = stereo_pair(picture, depth, 8, 0, row_fill)
    left, right = (hole[0, 0, 20].nonzero()[:, 0] for hole in (pair.left_hole, pair.right_hole))
    assert 80 <= left.min() <= left.max() < 88
    assert 112 <= right.min() <= right.max() < 120
    assert len(left) >= 6
    for view, hole in ((pair.left, pair.left_hole), (pair.right, pair.right_hole)):
        assert torch.allclose(view[hole.expand_as(view)].reshape(3, -1)[2], torch.tensor(0.4))


@pytest.mark.parametrize("convergence", [0.0, 1.0])
def test_what_lies_beyond_the_picture_is_filled_better_than_by_repeating_its_border(convergence: float) -> None:
    """A flat picture moves as a whole, so the photo that it was cut from holds what each view shows beyond it."""
    beyond, sizes, gains = 16, (128, 224), []
    width = sizes[1] - 2 * beyond
    fill, flat = Inpainter(RELEASED), torch.full((1, 1, sizes[0], width), 0.5)
    divergence = 100 * beyond / (0.25 * width)
    for path in sorted((SAMPLES / "train").glob("*.jpg")):
        with Image.open(path) as image:
            pixels = np.asarray(image.convert("RGB").resize(sizes[::-1])).copy()
        photo = torch.from_numpy(pixels).permute(2, 0, 1)[None] / 255
        filled, repeated = (
            stereo_pair(photo[..., beyond:-beyond], flat, divergence, convergence, fill, fill_border=border)
            for border in (True, False)
        )
        assert not repeated.left_hole.any()
        for eye in ("left", "right"):
            moved = beyond if (convergence == 0) == (eye == "left") else -beyond
            truth = photo[..., beyond - moved :][..., :width]
            hole = getattr(filled, f"{eye}_hole")
            strip = slice(beyond) if moved > 0 else slice(width - beyond, width)
            assert hole[..., strip].all()
            assert int(hole.sum()) == beyond * sizes[0]
            errors = [(getattr(pair, eye) - truth)[..., strip].square().mean() for pair in (filled, repeated)]
            gains.append(float(10 * (errors[1] / errors[0]).log10()))
    assert np.mean(gains) > 0.5, "dB"


def test_without_a_fill_holes_stay_black(picture: torch.Tensor, depth: torch.Tensor) -> None:
    pair = stereo_pair(picture, depth, 8, 0)
    assert pair.left[pair.left_hole.expand_as(pair.left)].max() == 0


def test_a_flat_scene_on_the_screen_plane_stays_as_it_is() -> None:
    picture = torch.rand(1, 3, 16, 24, generator=torch_rng("flat"))
    pair = stereo_pair(picture, torch.full((8, 12), 0.5), divergence=5, convergence=0.5)
    assert torch.allclose(pair.left, picture, atol=1e-4)
    assert torch.allclose(pair.right, picture, atol=1e-4)
    assert not pair.left_hole.any()


def test_edge_dilation_moves_the_rim_along(picture: torch.Tensor, depth: torch.Tensor) -> None:
    plain, dilated = (stereo_pair(picture, depth, 8, 0, edge_dilation=rounds) for rounds in (0, 2))
    for hole, grown in ((plain.left_hole, dilated.left_hole), (plain.right_hole, dilated.right_hole)):
        assert not torch.equal(hole, grown)
    # The square's neighbours move with it, so the hole begins behind them: further left in the left view.
    assert dilated.left_hole[0, 0, 20].nonzero().min() < plain.left_hole[0, 0, 20].nonzero().min()


def test_the_left_eye_is_filled_as_the_left_eye(picture: torch.Tensor, depth: torch.Tensor) -> None:
    eyes = []
    stereo_pair(picture, depth, 8, 0, lambda p, h, eye: (eyes.append(eye), p)[1])
    assert eyes == ["left", "right"]


def pair_of(left: tuple[float, ...], right: tuple[float, ...]) -> StereoPair:
    views = [torch.tensor(colour, dtype=torch.float32).view(1, 3, 1, 1).expand(1, 3, 2, 3) for colour in (left, right)]
    hole = torch.zeros(1, 1, 2, 3, dtype=torch.bool)
    return StereoPair(views[0], views[1], hole, hole)


def test_views_are_put_side_by_side_and_one_above_the_other() -> None:
    pair = pair_of((1, 0, 0), (0, 0, 1))
    assert pair.side_by_side().shape == (2, 6, 3)
    assert pair.side_by_side()[0, :, 0].tolist() == [255] * 3 + [0] * 3
    assert pair.half_side_by_side()[0, :, 0].tolist() == [255, 0], "no column of an odd width mixes the eyes"
    assert pair.over_under().shape == (4, 3, 3)
    assert pair.over_under()[:, 0, 2].tolist() == [0, 0, 255, 255]


def test_pairs_saved_within_a_second_are_all_kept(tmp_path: Path) -> None:
    for grey in (0.1, 0.5, 0.9):
        save_stereo(pair_of((grey,) * 3, (grey,) * 3), tmp_path, "a", "png")
    assert len(list((tmp_path / "old").glob("*/a_LR.png"))) == 2


def test_old_leftovers_of_a_killed_job_are_removed(tmp_path: Path) -> None:
    pair = pair_of((0.1,) * 3, (0.9,) * 3)
    if not (child := os.fork()):
        StereoPair.wiggle = lambda _: os.kill(os.getpid(), signal.SIGKILL)  # type: ignore[method-assign,assignment,return-value]
        save_stereo(pair, tmp_path, "a", wiggle=True)
    assert os.waitpid(child, 0)[1] == signal.SIGKILL
    left = list(tmp_path.iterdir())
    assert left
    for path in left:
        os.utime(path, (0, 0))
    made = save_stereo(pair, tmp_path, "b")
    assert set(tmp_path.iterdir()) == set(made)


def test_a_full_disk_leaves_no_partial_file(tmp_path: Path) -> None:
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, limits[1]))
    try:
        with pytest.raises(InputError, match=r"cannot write .*: the file would be larger than this system allows"):
            save_stereo(pair_of((0.1,) * 3, (0.9,) * 3), tmp_path, "a")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize("grey", [0.0, 0.25, 0.5, 1.0])
def test_grey_stays_grey_in_the_anaglyph(grey: float) -> None:
    colour = pair_of((grey,) * 3, (grey,) * 3).anaglyph()[0, 0] / 255
    assert np.abs(colour - grey).max() < 0.01


def test_red_glass_sees_the_left_eye_and_cyan_glass_the_right_eye() -> None:
    left_only = pair_of((1, 1, 1), (0, 0, 0)).anaglyph()[0, 0].astype(int)
    right_only = pair_of((0, 0, 0), (1, 1, 1)).anaglyph()[0, 0].astype(int)
    assert left_only[0] > 250
    assert left_only[1:].max() == 0
    assert right_only[0] == 0
    assert right_only[1:].min() > 250


def test_the_wiggle_loops_for_ever(picture: torch.Tensor, depth: torch.Tensor) -> None:
    with Image.open(io.BytesIO(stereo_pair(picture, depth, 8, 0, row_fill).wiggle())) as gif:
        assert gif.n_frames == 2
        assert gif.size == (WIDTH, HEIGHT)
        assert gif.info["loop"] == 0
        first = np.asarray(gif.convert("RGB"))
        gif.seek(1)
        assert not np.array_equal(first, np.asarray(gif.convert("RGB")))


def test_what_cannot_work_is_refused(picture: torch.Tensor, depth: torch.Tensor) -> None:
    with pytest.raises(InputError, match="made from one picture, got 2"):
        stereo_pair(picture.repeat(2, 1, 1, 1), depth)
    with pytest.raises(InputError, match="depth: expected one map"):
        stereo_pair(picture, depth.repeat(1, 3, 1, 1))
    with pytest.raises(InputError, match="its values reach 255; scale them"):
        stereo_pair(picture, (depth[0, 0] * 255).byte().numpy()[::-1])


def test_a_very_narrow_picture_gets_the_strongest_effect_that_there_is() -> None:
    narrow, near = torch.rand(1, 3, 650, 16, generator=torch_rng("narrow")), torch.zeros(1, 1, 650, 16)
    near[..., 4:8] = 1
    strongest = stereo_pair(narrow, near, divergence=100 * 16 / 650)
    said: list[str] = []
    assert torch.equal(stereo_pair(narrow, near, divergence=2.5, tell=said.append).left, strongest.left)
    assert said[0].startswith("too narrow a picture for this divergence")
    with pytest.raises(InputError, match="out of range"):
        stereo_pair(narrow, near, divergence=101)


@pytest.mark.parametrize("format", ["jpg", "both"])
def test_a_picture_too_long_for_jpeg_is_refused_at_once(
    format: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Image.new("RGB", (32_751, 64)).save(tmp_path / "long.png")
    assert main(["stereo", str(tmp_path / "long.png"), "--format", format, "-o", str(tmp_path / "out")]) == 2
    said = capsys.readouterr()
    assert "65502, and JPEG ends at 65500; give --format png" in said.err
    assert "eye" not in said.out


def test_a_picture_too_long_for_a_wiggle_is_refused_at_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Image.new("RGB", (64, 65_536)).save(tmp_path / "long.png")
    options = ["--format", "png", "--wiggle", "-o", str(tmp_path / "out")]
    assert main(["stereo", str(tmp_path / "long.png"), *options]) == 2
    said = capsys.readouterr()
    assert "64x65536 px, and GIF ends at 65535 a side; leave --wiggle out" in said.err
    assert "eye" not in said.out


def test_one_line_makes_a_stereo_pair_of_a_picture_with_a_checkpoint(
    tmp_path: Path, generator: LightInpaintV1, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    coarse = Image.effect_noise((12, 9), 90).resize((160, 120), Image.Resampling.BICUBIC)
    coarse.convert("RGB").save(tmp_path / "photo.png")
    (tmp_path / "Smith, John").mkdir()
    save_model(generator, tmp_path / "Smith, John" / "model.pth")
    command = ["stereo", str(tmp_path / "photo.png"), "--fill=~/Smith, John/model.pth", "--divergence", "5"]
    assert main([*command, "-o", str(tmp_path / "out"), "--wiggle"]) == 0
    _, _, *lines = capsys.readouterr().out.splitlines()
    steps = ["160x120 px; depth by FastDepth ...", "left eye ...", "right eye ...", "writing ..."]
    assert [line.strip() for line in lines[:4]] == steps, "a large picture takes minutes; what is being done is said"
    files = [Path(line) for line in lines[4:]]
    pictures = {}
    for file in files:
        with Image.open(file) as image:
            pictures[file.stem] = np.asarray(image.convert("RGB")).astype(int)
    assert {name: (pixels.shape[1], pixels.shape[0]) for name, pixels in pictures.items()} == {
        "photo_png_FastDepth_redcyan": (160, 120),
        "photo_png_FastDepth_LRF_Full_SBS": (320, 120),
        "photo_png_FastDepth_LR": (160, 120),
        "photo_png_FastDepth_TBF_fulltb": (160, 240),
        "photo_png_FastDepth_wiggle": (160, 120),
    }
    views = pictures["photo_png_FastDepth_LRF_Full_SBS"]
    assert np.abs(views[:, :160] - views[:, 160:]).max() > 30, "both eyes see the same"

    blob = (tmp_path / "Smith, John" / "model.pth").rename(tmp_path / "3c4d")  # like a file's name in a hub's cache
    command[2] = f"--fill={blob}"
    for option, value in (("--edge-dilation", "0"), ("--outer-dilation", "2")):
        assert main([*command, option, value, "-o", str(tmp_path / option)]) == 0
        with Image.open(tmp_path / option / "photo_png_FastDepth_LRF_Full_SBS.jpg") as image:
            assert np.abs(np.asarray(image).astype(int) - views).max() > 10, "the option changes nothing"


@pytest.mark.parametrize(
    "place",
    ["depth.fastdepth.FastDepthNetwork.forward", "inspection.inpainter.cut_windows", "inspection.stereo.warp_to_eye"],
)
def test_lack_of_gpu_memory_is_reported(
    place: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    Image.effect_noise((80, 72), 90).convert("RGB").save(tmp_path / "x.png")
    monkeypatch.setattr(
        f"inpaintkit.{place}", Mock(side_effect=torch.OutOfMemoryError("CUDA out of memory. Tried ..."))
    )
    assert main(["stereo", str(tmp_path / "x.png"), "-o", str(tmp_path / "out"), "--device", "cpu"]) == 1
    (said,) = capsys.readouterr().err.splitlines()
    assert said == "inpaintkit: cpu is out of memory; give a smaller picture or device=cpu"


def test_an_unavailable_fill_is_refused_before_the_work(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Image.new("RGB", (80, 72)).save(tmp_path / "x.png")
    (tmp_path / "cut.pth").write_text("short")
    assert main(["stereo", str(tmp_path / "x.png"), "--fill", str(tmp_path / "cut.pth"), "-o", str(tmp_path)]) == 2
    said = capsys.readouterr()
    assert "cut.pth" in said.err
    assert "depth by" not in said.out


@pytest.mark.parametrize("name", ["all", "nope"])
def test_a_pair_takes_a_single_known_fill(name: str) -> None:
    with pytest.raises(InputError, match=f"fill: '{name}' is unknown; choose one of released, row"):
        stereo_fill(StereoConfig(fill=name))


def test_a_pair_and_the_fills_beside_it_are_made_on_the_chosen_device(tmp_path: Path) -> None:
    Image.new("RGB", (80, 72)).save(tmp_path / "x.png")
    absent = {"device": "cuda:99"}
    for made in (
        lambda: stereo_from_file(StereoConfig(str(tmp_path / "x.png"), **absent)),
        lambda: stereo_fill(StereoConfig(**absent)),
        lambda: compared_fills(InspectConfig(str(RELEASED), fills="row", **absent)),
        lambda: compared_fills(InspectConfig(fills=str(RELEASED), **absent)),
    ):
        with pytest.raises(InputError, match="device: cuda:99 is not available"):
            made()


def test_fills_use_the_fastest_arithmetic_and_hardly_differ(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Image.open(SAMPLES / "eval" / "astronaut.jpg") as image:
        image.resize((256, 256)).save(tmp_path / "a.png")
    views = []
    for fast in (False, True):
        monkeypatch.setattr("inpaintkit.training.amp.bf16_is_fast", lambda fast=fast: fast)
        out = tmp_path / str(fast)
        assert main(["stereo", str(tmp_path / "a.png"), "-o", str(out), "--format", "png", "--divergence", "5"]) == 0
        with Image.open(out / "a_png_FastDepth_LRF_Full_SBS.png") as image:
            views.append(np.asarray(image).astype(int))
    assert 0 < np.abs(views[0] - views[1]).max() <= MOST_BY_ROUNDING


def test_a_picture_with_a_non_utf8_name_gets_its_pair(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name = tmp_path / "a\udcff.png"
    Image.effect_noise((64, 64), 90).convert("RGB").save(name)
    monkeypatch.setattr("sys.stdout", said := io.TextIOWrapper(io.BytesIO(), encoding="utf-8"))
    assert main(["stereo", str(name), "-o", str(tmp_path / "out"), "--fill", "row"]) == 0
    assert len(list((tmp_path / "out").iterdir())) == 4
    assert "a\\udcff_png_FastDepth_LR.jpg" in said.buffer.getvalue().decode()  # type: ignore[attr-defined]


def test_pictures_with_similar_names_get_separate_results(tmp_path: Path) -> None:
    for name in ("a__b", "a_b"):
        Image.effect_noise((64, 64), 90).convert("RGB").save(tmp_path / name, "PNG")
        assert main(["stereo", str(tmp_path / name), "-o", str(tmp_path / "out"), "--fill", "row"]) == 0
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert {"a__b_FastDepth_LR.jpg", "a_b_FastDepth_LR.jpg"} <= names
    assert "old" not in names


def test_a_broken_picture_among_several_is_reported_and_the_others_get_their_pairs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded = Mock(wraps=create_depth_model)
    monkeypatch.setattr("inpaintkit.inspection.stereo_files.create_depth_model", loaded)
    photos = [tmp_path / name for name in ("a.png", "broken.png", "b.png")]
    for photo in photos:
        Image.effect_noise((64, 64), 90).convert("RGB").save(photo)
    photos[1].write_bytes(photos[1].read_bytes()[:100])
    options = ["-o", str(tmp_path / "out"), "--fill", "row"]
    assert main(["stereo", *map(str, photos), *options]) == 1
    said = capsys.readouterr()
    assert f"picture: {photos[1]} " in said.out
    assert "1 picture of 3 gave no stereo pair" in said.err
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert {"a_png_FastDepth_LR.jpg", "b_png_FastDepth_LR.jpg"} <= names
    assert not any(name.startswith("broken") for name in names)
    assert loaded.call_count == 1, "a large network takes seconds to load"


def test_two_pictures_of_one_name_are_refused_before_one_takes_the_others_place(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    photos = [tmp_path / folder / "a.png" for folder in ("x", "y")]
    for photo in photos:
        photo.parent.mkdir()
        Image.effect_noise((64, 64), 90).convert("RGB").save(photo)
    assert main(["stereo", *map(str, photos), "-o", str(tmp_path / "out"), "--fill", "row"]) == 2
    assert "two are called a.png" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_pairs_of_other_fills_are_kept_and_a_repeat_adds_none(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    photo, out = SAMPLES / "eval" / "astronaut.jpg", tmp_path / "out"
    with Image.open(photo) as image:
        image.resize((96, 96)).save(tmp_path / "a.png")

    def made(fill: str, *options: str) -> dict[str, bytes]:
        assert main(["stereo", str(tmp_path / "a.png"), "-o", str(out), "--fill", fill, *options]) == 0
        return {path.name: path.read_bytes() for path in out.iterdir() if path.is_file()}

    (tmp_path / "mine.py").write_text("def levels(picture, hole, eye):\n    return (picture * 255).byte()\n")
    assert main(["stereo", str(tmp_path / "a.png"), "-o", str(out), "--fill", f"{tmp_path / 'mine.py'}:levels"]) == 2
    assert "levels returned torch.uint8" in capsys.readouterr().err
    assert not out.exists(), "holes would have been white"
    first = made("row", "--wiggle")
    assert made("row") == first
    assert not (out / "old").exists()
    assert "a_png_FastDepth_wiggle.gif" in first.keys() - made("telea").keys(), (
        "no picture of another fill lies among these"
    )
    (kept,) = (out / "old").iterdir()
    assert {path.name: path.read_bytes() for path in kept.iterdir()} == first
    assert f"other pictures of these names that were in {out} lie in {kept} now" in capsys.readouterr().out
