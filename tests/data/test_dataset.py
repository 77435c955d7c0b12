"""Samples: shapes and polarity, every augmentation visible in input and target, the same sample in any process."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from toy_files import write_record

from inpaintkit.data import sample_draw
from inpaintkit.data.dataset import LOOKED_AT, InpaintDataset
from inpaintkit.data.sample_draw import Chances, draw_sample
from inpaintkit.errors import InputError
from inpaintkit.seeds import numpy_rng

SIZE, CROP = 128, 64


def write(folder: Path, number: int, hole: np.ndarray) -> None:
    """Write a record of a colourful picture and the given hole (True = missing)."""
    size = len(hole)
    y, x = np.mgrid[:size, :size] / size
    picture = np.stack([x, y, 0.5 + 0.4 * np.sin(9 * (x + y) + number)], axis=-1)
    write_record(folder, f"p_{number:08d}", (picture * 255).astype(np.uint8), hole)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder of five records, each with a hole that is one upright bar, 3 px wide."""
    for number in range(5):
        hole = np.zeros((SIZE, SIZE), bool)
        hole[30:100, 40 + 8 * number : 43 + 8 * number] = True
        write(tmp_path / "train", number, hole)
    return tmp_path / "train"


def make(folder: Path, training: bool = True, seed: int = 0, crop_size: int = CROP) -> InpaintDataset:
    return InpaintDataset(folder, training, seed, crop_size)


def chances(monkeypatch: pytest.MonkeyPatch, **values: float) -> None:
    """Set the chances of all augmentations: 0 except for `values`."""
    for name in ("GROW_RIGHT_CHANCE", "GROW_LEFT_CHANCE", "JITTER_CHANCE", "GREY_CHANCE"):
        monkeypatch.setattr(sample_draw, name, values.get(name, 0.0))


@pytest.mark.parametrize("training", [True, False])
def test_a_sample_is_picture_hole_target_and_index(training: bool, folder: Path) -> None:
    x, hole, y, index = make(folder, training)[3]
    assert (x.shape, x.dtype, hole.shape, hole.dtype) == ((3, CROP, CROP), torch.float32, (1, CROP, CROP), torch.bool)
    assert 0 <= float(x.min()) < float(x.max()) <= 1
    assert torch.equal(y, x[:, 16:-16, 16:-16])
    assert index == 3
    assert hole.any()
    assert not hole.all()


def test_the_default_crop_is_256_with_a_target_of_224(tmp_path: Path) -> None:
    write(tmp_path, 0, np.eye(300, dtype=bool))
    x, _, y, _ = InpaintDataset(tmp_path, training=True)[0]
    assert (x.shape, y.shape) == ((3, 256, 256), (3, 224, 224))


def test_evaluation_takes_the_grid_crop_with_the_largest_hole(tmp_path: Path) -> None:
    hole = np.zeros((SIZE, SIZE), bool)
    hole[70:120, 100:110] = True
    hole[5:10, 5:10] = True
    write(tmp_path, 0, hole)
    x, cut, _, _ = make(tmp_path, training=False)[0]
    assert torch.equal(cut[0], torch.from_numpy(hole[64:, 64:]))
    with Image.open(tmp_path / "p_00000000_C.png") as picture:
        np.testing.assert_allclose(x.permute(1, 2, 0), np.asarray(picture)[64:, 64:] / 255, atol=1e-6)


def test_evaluation_takes_records_below_256_px_whole(tmp_path: Path) -> None:
    for number, side in enumerate((100, SIZE, 300)):
        write(tmp_path, number, np.eye(side, dtype=bool))
    data = InpaintDataset(tmp_path, training=False)
    assert [tuple(data[index][0].shape[1:]) for index in range(3)] == [(100, 100), (SIZE, SIZE), (256, 256)]
    with pytest.raises(InputError, match="has 100x100 px, less than the crop of 256 px; choose a crop_size of 100 or"):
        InpaintDataset(tmp_path, training=True)
    write(tmp_path, 9, np.eye(60, dtype=bool))
    with pytest.raises(InputError, match=r"has 60x60 px, less than the crop of 64 px; delete the pair$"):
        InpaintDataset(tmp_path, training=False)


def test_evaluation_never_changes(folder: Path) -> None:
    for item in (1, (1, 7, 9)):
        for ours, again in zip(make(folder, False, seed=5)[item][:3], make(folder, False)[1][:3], strict=True):
            assert torch.equal(ours, again)


def test_equal_keys_give_equal_samples_and_others_differ(folder: Path) -> None:
    base, again = make(folder), make(folder)
    assert all(torch.equal(a, b) for a, b in zip(base[(2, 4, 6)][:3], again[(2, 4, 6)][:3], strict=True))
    assert all(torch.equal(a, b) for a, b in zip(base[2][:3], base[(2, 0, 0)][:3], strict=True))
    for other in (make(folder, seed=1)[(2, 4, 6)], base[(2, 5, 6)], base[(2, 4, 7)]):
        assert not torch.equal(base[(2, 4, 6)][0], other[0])


def test_png_files_are_read_where_no_pack_can_be_written(folder: Path) -> None:
    with_pack = make(folder)[(1, 2, 3)]
    (folder.parent / ".packed/train.bin").unlink()
    (folder.parent / ".packed/train.json").unlink()
    (folder.parent / ".packed").rmdir()
    (folder.parent / ".packed").write_bytes(b"in the way")
    without = make(folder)
    assert without.packed is None
    assert all(torch.equal(a, b) for a, b in zip(with_pack[:3], without[(1, 2, 3)][:3], strict=True))


def hole_width(hole: torch.Tensor) -> int:
    """Return the number of columns with any hole pixel."""
    return int(hole.any(dim=-2).sum())


def test_the_hole_grows_to_the_right_by_1_to_20_px(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # a crop as large as the record leaves nothing but the growth to chance
    chances(monkeypatch)
    plain = make(folder, crop_size=SIZE)[(0, 0, 0)][1]
    chances(monkeypatch, GROW_RIGHT_CHANCE=1.0)
    grown = [make(folder, crop_size=SIZE)[(0, 0, draw)][1] for draw in range(150)]
    assert {hole_width(hole) - hole_width(plain) for hole in grown} == set(range(1, 21))
    assert all(int(hole.any(dim=-2).int().argmax()) == 40 for hole in grown)  # the left edge stays


def test_the_hole_grows_to_the_left_by_1_to_4_px(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    chances(monkeypatch, GROW_LEFT_CHANCE=1.0)
    grown = [make(folder, crop_size=SIZE)[(0, 0, draw)][1] for draw in range(40)]
    assert {40 - int(hole.any(dim=-2).int().argmax()) for hole in grown} == {1, 2, 3, 4}
    assert all(hole.any(dim=-2)[0, 42] and not hole.any(dim=-2)[0, 43] for hole in grown)  # the right edge stays


def test_growing_the_hole_leaves_the_picture_alone(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    chances(monkeypatch)
    plain = make(folder, crop_size=SIZE)[(0, 0, 0)]
    chances(monkeypatch, GROW_RIGHT_CHANCE=1.0)
    grown = make(folder, crop_size=SIZE)[(0, 0, 0)]
    assert torch.equal(plain[0], grown[0])
    assert not torch.equal(plain[1], grown[1])


def test_random_crops_differ_and_cut_picture_and_hole_alike(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    chances(monkeypatch)
    places = set()
    with Image.open(folder / "p_00000000_C.png") as picture, Image.open(folder / "p_00000000_M.png") as mask:
        pixels, missing = np.asarray(picture), np.asarray(mask) > 0
    for draw in range(30):
        x, hole, _, _ = make(folder)[(0, 0, draw)]
        # red counts columns and green counts rows: a corner pixel tells where the crop was taken
        left, top = (
            int(np.searchsorted(pixels[0, :, 0] if k == 0 else pixels[:, 0, 1], round(float(x[k, 0, 0]) * 255)))
            for k in (0, 1)
        )
        places.add((left, top))
        np.testing.assert_array_equal(hole[0], missing[top : top + CROP, left : left + CROP])
    assert len(places) > 20


def test_crops_prefer_places_with_holes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    chances(monkeypatch)
    hole = np.zeros((SIZE, SIZE), bool)
    hole[:24, :24] = True  # a single random crop meets it in about one of 7 cases
    write(tmp_path, 0, hole)
    data = make(tmp_path)
    met = np.mean([bool(data[(0, 0, draw)][1].any()) for draw in range(200)])
    assert 0.3 < met < 0.7


@pytest.mark.parametrize("chance", ["JITTER_CHANCE", "GREY_CHANCE"])
def test_colour_changes_reach_input_and_target_alike(
    chance: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chances(monkeypatch)
    plain = make(folder, crop_size=SIZE)[(0, 0, 0)]
    chances(monkeypatch, **{chance: 1.0})
    changed = make(folder, crop_size=SIZE)[(0, 0, 0)]
    assert float((plain[0] - changed[0]).abs().mean()) > 0.01
    assert torch.equal(changed[2], changed[0][:, 16:-16, 16:-16])
    assert torch.equal(plain[1], changed[1])
    if chance == "GREY_CHANCE":
        assert torch.equal(changed[0][0], changed[0][2])


def test_augmentations_come_as_often_as_the_recipe_says() -> None:
    draws = [draw_sample(numpy_rng(draw), SIZE, SIZE, CROP, Chances()) for draw in range(1500)]
    assert 0.46 < np.mean([draw.right > 0 for draw in draws]) < 0.54
    assert 0.21 < np.mean([draw.left > 0 for draw in draws]) < 0.29
    changes = [{name for name, _ in draw.colours} for draw in draws]
    assert 0.21 < np.mean(["hue" in names for names in changes]) < 0.29
    assert 0.03 < np.mean(["grey" in names for names in changes]) < 0.07
    assert not any(draw.width or draw.inset or draw.shares.any() for draw in draws)


@pytest.mark.parametrize("lost", ["_M.png", "_C.png"])
def test_half_a_pair_is_named(lost: str, folder: Path) -> None:
    (folder / f"p_00000002{lost}").unlink()
    with pytest.raises(InputError, match=f"has no partner p_00000002{lost}"):
        make(folder)


def test_an_empty_folder_and_a_missing_one_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="has no records"):
        make(tmp_path)
    with pytest.raises(InputError, match="does not exist"):
        make(tmp_path / "absent")


@pytest.mark.parametrize("packed", [True, False])
def test_a_record_smaller_than_the_crop_is_named(packed: bool, folder: Path) -> None:
    write(folder, 9, np.zeros((60, 60), bool))
    if not packed:
        (folder.parent / ".packed").write_bytes(b"in the way")
    with pytest.raises(InputError, match=r"p_00000009_C\.png has 60x60 px, less than the crop of 64"):
        make(folder)


@pytest.mark.parametrize("packed", [True, False])
def test_a_hole_in_the_last_of_many_records_is_enough(packed: bool, tmp_path: Path) -> None:
    if not packed:
        (tmp_path / ".packed").write_bytes(b"in the way")
    for number in range(LOOKED_AT + 1):
        write(tmp_path / "train", number, np.full((CROP, CROP), number == LOOKED_AT) & np.eye(CROP, dtype=bool))
    assert len(make(tmp_path / "train")) == LOOKED_AT + 1
    write(tmp_path / "train", LOOKED_AT, np.zeros((CROP, CROP), bool))
    with pytest.raises(InputError, match=f"none of the {LOOKED_AT + 1} masks"):
        make(tmp_path / "train")


def test_a_crop_within_the_margin_is_refused(folder: Path) -> None:
    with pytest.raises(InputError, match="crop_size"):
        make(folder, crop_size=32)


def test_an_index_past_the_end_is_an_index_error(folder: Path) -> None:
    with pytest.raises(IndexError):
        make(folder)[5]


def test_names_are_file_names(folder: Path) -> None:
    assert make(folder).names == [f"p_{number:08d}_C.png" for number in range(5)]


@pytest.mark.parametrize("kind", ["16 bit", "clear"])
def test_pictures_of_other_programs_are_read_as_iw3_reads_them(kind: str, tmp_path: Path) -> None:
    """16 bits are reduced to 8, and transparent pixels become white."""
    write(tmp_path, 0, np.eye(SIZE, dtype=bool))
    grey = np.tile((np.arange(SIZE) % 256).astype(np.uint8), (SIZE, 1))
    clear = Image.fromarray(np.dstack([grey, (grey > 99) * np.uint8(255)]), "LA")
    odd = Image.fromarray(grey.astype(np.uint16) * 257) if kind == "16 bit" else clear
    odd.save(tmp_path / "p_00000000_C.png")
    meant = grey if kind == "16 bit" else np.where(grey > 99, grey, 255)
    assert (make(tmp_path, training=False, crop_size=SIZE).pixels(0)[:3] == meant).all()


def test_iw3s_own_records_are_read_too(tmp_path: Path) -> None:
    """Names are free except for their suffixes; a hole may be stored in colour."""
    write(tmp_path, 0, np.eye(SIZE, dtype=bool))
    (tmp_path / "p_00000000_C.png").rename(tmp_path / "some_Any_B_00012_C.png")
    with Image.open(tmp_path / "p_00000000_M.png") as hole:
        hole.convert("RGB").save(tmp_path / "some_Any_B_00012_M.png")
    (tmp_path / "p_00000000_M.png").unlink()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert make(tmp_path, training=False, crop_size=SIZE)[0][1][0].diagonal().all()
