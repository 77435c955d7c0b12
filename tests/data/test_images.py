"""Every odd file becomes a correct picture or a reported reason; nothing crashes, warns or hangs."""

from __future__ import annotations

import contextlib
import threading
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from broken_pictures import SIZE, bad_files, build_special, encoded, good_files, photo
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from inpaintkit.data import images
from inpaintkit.data.images import UnreadablePicture, decode_picture, list_pictures, read_picture
from inpaintkit.errors import InputError

pytestmark = pytest.mark.attack

GOOD, BAD = good_files(), bad_files()


def test_at_least_25_odd_kinds_are_tried(tmp_path: Path) -> None:
    assert len(GOOD) + len(BAD) + len(build_special(tmp_path)) >= 25


@pytest.mark.parametrize("name", GOOD)
def test_odd_but_good_files_become_rgb(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(GOOD[name])
    picture = read_picture(tmp_path / name)
    upright = (SIZE[0], SIZE[1], 3) if name == "rotated_by_exif.jpg" else (SIZE[1], SIZE[0], 3)
    assert picture.shape == upright
    assert picture.dtype == np.uint8
    assert picture.std() > 20  # not a blank stand-in


@pytest.mark.parametrize("name", BAD)
def test_bad_files_are_refused_with_the_reason(name: str, tmp_path: Path) -> None:
    content, reason = BAD[name]
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UnreadablePicture, match=reason):
        read_picture(tmp_path / name)


def test_entries_other_than_files_are_refused_with_the_reason(tmp_path: Path) -> None:
    for name, reason in build_special(tmp_path).items():
        with pytest.raises(UnreadablePicture, match=reason):
            read_picture(tmp_path / name)


def test_a_folder_is_not_called_a_link(tmp_path: Path) -> None:
    with pytest.raises(UnreadablePicture, match=r"^is a folder$"):
        read_picture(tmp_path)


@pytest.mark.parametrize(
    "name", ["plain.jpg", "cmyk.jpg", "palette.png", "jpeg_named.png", "broken_exif.jpg", "wrong_profile.jpg"]
)
def test_the_colours_survive(name: str) -> None:
    error = np.abs(decode_picture(GOOD[name]).astype(int) - np.asarray(photo()).astype(int))
    assert error.mean() < (12 if name == "palette.png" else 6)


def test_exif_orientation_turns_the_picture() -> None:
    plain, turned = np.asarray(photo()).astype(int), decode_picture(GOOD["rotated_by_exif.jpg"]).astype(int)
    assert np.abs(turned - np.rot90(plain, -1)).mean() < 6


@pytest.mark.parametrize("turn", range(2, 9))
def test_a_tiff_is_turned_once_like_the_same_picture_as_png(turn: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = turn
    as_png = decode_picture(encoded(photo(), "PNG", exif=exif))
    assert np.array_equal(decode_picture(encoded(photo(), "TIFF", tiffinfo={0x0112: turn})), as_png)


@pytest.mark.parametrize("name", ["animated.gif", "animated.webp", "animated.png", "pages.tif"])
def test_the_first_of_several_frames_is_taken(name: str) -> None:
    picture = decode_picture(GOOD[name]).astype(int)
    first, second = (np.abs(picture - np.asarray(photo(seed=seed))).mean() for seed in (1, 2))
    assert first < 12 < second


def test_16_bit_grey_keeps_its_range() -> None:
    for name in ("grey_16_bit.png", "grey_16_bit.tif"):
        grey = np.asarray(photo().convert("L")).astype(int)
        assert np.abs(decode_picture(GOOD[name])[..., 1].astype(int) - grey).max() <= 1


def test_transparent_parts_are_shown_on_white() -> None:
    picture = decode_picture(GOOD["alpha.png"])
    assert picture[0].min() > 250  # alpha 0 in the top row
    assert np.abs(picture[-1].astype(int) - np.asarray(photo())[-1]).max() <= 3


def test_a_reader_never_warns_and_leaves_the_warning_filters_alone(tmp_path: Path) -> None:
    before = list(warnings.filters)
    for name, content in {**GOOD, **{name: content for name, (content, _) in BAD.items()}}.items():
        try:
            decode_picture(content)
        except UnreadablePicture:
            assert name in BAD
    assert warnings.filters == before


def test_threads_decode_side_by_side_and_leave_the_warning_filters_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    before, upright, both = list(warnings.filters), images._upright, threading.Barrier(2, timeout=9)

    def meet(image: Image.Image) -> Image.Image:
        both.wait()
        return upright(image)

    monkeypatch.setattr(images, "_upright", meet)
    with ThreadPoolExecutor(2) as pool:
        assert len({picture.shape for picture in pool.map(decode_picture, [GOOD["alpha.png"]] * 2)}) == 1
    assert warnings.filters == before


def test_jpeg_scaling_keeps_the_short_side_at_or_above_the_target() -> None:
    data = encoded(photo((1600, 1200)), "JPEG")
    assert decode_picture(data, short_side=150).shape == (150, 200, 3)
    assert decode_picture(data, short_side=151).shape == (300, 400, 3)
    assert decode_picture(data, short_side=5000).shape == (1200, 1600, 3)


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(["plain.jpg", "palette.png", "animated.webp", "pages.tif", "animated.gif"]), st.data())
def test_damaged_bytes_are_refused_or_read_but_never_crash(name: str, data: st.DataObject) -> None:
    content = bytearray(GOOD[name])
    for _ in range(data.draw(st.integers(1, 8))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(UnreadablePicture):
        assert decode_picture(bytes(content)).shape[2] == 3


def test_listing_is_sorted_and_leaves_out_hidden_files_and_depth_maps(tmp_path: Path) -> None:
    for name in ("b.jpg", "a.png", "a_depth.png", "b_depth.npy", "alone_depth.png", ".hidden.jpg", "notes.txt"):
        (tmp_path / name).write_bytes(b"x")
    assert [path.name for path in list_pictures(tmp_path)] == ["a.png", "alone_depth.png", "b.jpg", "notes.txt"]


def test_listing_a_missing_folder_is_an_input_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="nowhere"):
        list_pictures(tmp_path / "nowhere")


def test_a_file_over_the_byte_limit_is_refused_unread(tmp_path: Path) -> None:
    with open(tmp_path / "huge.jpg", "wb") as handle:
        handle.truncate((1 << 30) + 1)  # sparse: takes no room on the disk
    with pytest.raises(UnreadablePicture, match="larger than"):
        read_picture(tmp_path / "huge.jpg")


def test_a_108_megapixel_photo_is_within_the_limit() -> None:
    data = encoded(Image.new("RGB", (12000, 9000)), "JPEG")
    assert decode_picture(data, short_side=1080).shape == (1125, 1500, 3)
