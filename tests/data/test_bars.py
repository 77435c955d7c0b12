"""Black bars of films and letterboxed photos stay out of records; dark scenes stay whole."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from videos import SAMPLES, scene, write_video

from inpaintkit.config import GenerateConfig
from inpaintkit.data import GenerateReport, generate_dataset, read_manifest
from inpaintkit.data.bars import NO_BARS, Bars, bars_of_picture, bars_of_video

Frame = NDArray[np.uint8]
BLACK = 26  # levels; blurred by compression, a bar is about this dark at most


def framed(frames: Iterable[Frame], top: int = 0, left: int = 0) -> Iterator[Frame]:
    for frame in frames:
        yield cv2.copyMakeBorder(frame, top, top, left, left, cv2.BORDER_CONSTANT)


def generated(source: Path, output: Path, **changes: object) -> GenerateReport:
    return generate_dataset(
        GenerateConfig(str(source), str(output), "b", size=256, workers=0, device="cpu", video_interval=1.0, **changes)  # type: ignore[arg-type]
    )


def darkest_lines(report: GenerateReport) -> int:
    """Return the largest brightness of the darkest row or column at a border of any record."""
    found = []
    for path in report.files:
        with Image.open(path) as image:
            pixels = np.asarray(image)
        found += [int(line.max()) for line in (pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1])]
    return min(found)


class TestVideos:
    def test_a_film_in_a_wider_frame_gives_no_record_with_a_bar(self, tmp_path: Path) -> None:
        film = write_video(tmp_path / "film.mp4", framed(scene("train/dahlia", 12, (640, 268)), top=46))
        report = generated(film, tmp_path / "out", repeats=3)
        assert report.records >= 6
        assert darkest_lines(report) > BLACK
        ((_, said),) = report.videos
        assert "black bars left out: 4" in said
        assert "px top" in said
        assert "px bottom" in said
        assert "px left" not in said

    def test_bars_of_a_rotated_video_are_named_as_seen(self, tmp_path: Path) -> None:
        film = write_video(tmp_path / "film.mp4", framed(scene("train/dahlia", 12, (640, 268)), top=46), rotation=90)
        report = generated(film, tmp_path / "out")
        assert darkest_lines(report) > BLACK
        assert "px left" in report.videos[0][1]
        assert "px right" in report.videos[0][1]

    def test_an_old_narrow_film_in_a_wide_frame(self, tmp_path: Path) -> None:
        film = write_video(tmp_path / "film.mp4", framed(scene("train/dahlia", 12, (480, 360)), left=80))
        report = generated(film, tmp_path / "out")
        assert darkest_lines(report) > BLACK
        assert "px left, " in report.videos[0][1]

    def test_joined_recordings_of_different_sizes_and_bars(self, tmp_path: Path) -> None:
        parts = [
            framed(scene("train/cat_face", 24, (640, 240)), top=130),
            scene("train/cat_face", 24, (352, 240)),
            framed(scene("train/cat_face", 24, (240, 240)), left=56),
        ]
        files = [write_video(tmp_path / f"{number}.ts", part) for number, part in enumerate(parts)]
        joined = tmp_path / "joined.ts"
        joined.write_bytes(b"".join(file.read_bytes() for file in files))
        report = generated(joined, tmp_path / "out", repeats=2)
        assert darkest_lines(report) > BLACK
        assert "black bars of their own left out of " in report.videos[0][1]
        rows = read_manifest(tmp_path / "out", report.name)
        widths = {row["source"]: row.get("bars", NO_BARS) for row in rows if "picture" in row}
        assert len(widths) >= 3
        assert {(bars[0] > 40, bars[1] > 40) for bars in widths.values()} == {
            (False, True),
            (False, False),
            (True, False),
        }

    def test_a_night_scene_stays_whole(self, tmp_path: Path) -> None:
        def night() -> Iterator[Frame]:
            for frame in scene("train/fig_bowl", 12, (640, 360)):
                dark = frame // 3
                dark[:70] = 4  # the sky
                for house in range(0, 640, 40):
                    dark[70 - house % 70 // 2 : 70, house : house + 25] = 90
                dark[300:] = np.random.default_rng(0).integers(2, 14, (60, 640, 1), np.uint8)
                yield dark

        report = generated(write_video(tmp_path / "night.mp4", night()), tmp_path / "out")
        assert report.records > 0
        assert "bars" not in report.videos[0][1]


class TestWhatIsABar:
    """In a video of 640x360 px whose brightness is between 60 and 200, except for the lines that are set to `level`."""

    def found(self, *lines: object, level: int = 5, soft: tuple[int, ...] = ()) -> Bars:
        brightest = np.random.default_rng(0).integers(60, 200, (360, 640), np.uint8)
        for window in lines:
            brightest[window] = level
        for place, brightness in enumerate(soft, 50):
            brightest[place] = brightest[-1 - place] = brightness
        return bars_of_video(brightest, (640, 360), 0)

    def test_a_thin_one_may_be_alone_but_a_wide_one_needs_an_opposite(self) -> None:
        assert self.found(np.s_[:, :8]) == Bars(left=9), "the line beyond may be part bar"
        assert self.found(np.s_[:, :40]) == NO_BARS

    def test_a_thin_dark_line_beside_a_dark_area_is_no_bar(self) -> None:
        assert self.found(np.s_[:, :8], np.s_[90:, :60]) == NO_BARS

    def test_opposite_bars_are_equally_wide(self) -> None:
        assert self.found(np.s_[:50], np.s_[-50:]) == Bars(top=51, bottom=51)
        assert self.found(np.s_[:30], np.s_[-60:]) == NO_BARS

    @pytest.mark.parametrize("turn", [0, 180])
    def test_one_of_two_bars_may_contain_text(self, turn: int) -> None:
        """Subtitles, or a station's name in the corner; with these, both bars once stayed in the records."""
        brightest = np.random.default_rng(0).integers(60, 200, (360, 640), np.uint8)
        brightest[:50] = brightest[-50:] = 5
        brightest[-40:-8:3, 130:510] = 235
        brightest[-20:-10, 600:630] = 90
        seen = brightest[::-1] if turn else brightest
        assert bars_of_video(seen, (640, 360), 0) == Bars(top=51, bottom=51)

    @pytest.mark.parametrize(
        "lit",
        [
            np.s_[-50:-20, 200:400],  # reaches into the picture
            np.s_[-30:-10, 40:600],  # hardly any of its rows are black from end to end
            np.s_[-30:, :],  # a line of light between darkness and darkness
        ],
    )
    def test_dark_foreground_with_lights_is_no_bar(self, lit: object) -> None:
        brightest = np.random.default_rng(0).integers(60, 200, (360, 640), np.uint8)
        brightest[:50] = brightest[-50:] = 5
        brightest[lit] = 235  # type: ignore[call-overload]
        assert bars_of_video(brightest, (640, 360), 0) == NO_BARS

    def test_a_slit_of_light_is_no_picture_between_two(self) -> None:
        assert self.found(np.s_[:130], np.s_[-130:]) == Bars(top=131, bottom=131)
        assert self.found(np.s_[:140], np.s_[-140:]) == NO_BARS

    def test_soft_edges_belong_to_bars(self) -> None:
        assert self.found(np.s_[:50], np.s_[-50:], soft=(22, 28)) == Bars(top=53, bottom=53)


class TestPhotos:
    @pytest.fixture
    def pixels(self) -> Frame:
        with Image.open(SAMPLES / "train" / "dahlia.jpg") as image:
            return cv2.resize(np.asarray(image.convert("RGB")), (600, 300))

    def test_a_letterboxed_photo_gives_no_record_with_a_bar(self, pixels: Frame, tmp_path: Path) -> None:
        Image.fromarray(next(framed([pixels], top=60))).save(tmp_path / "a.jpg", quality=80)
        report = generated(tmp_path / "a.jpg", tmp_path / "out", repeats=3)
        assert report.records > 0
        assert darkest_lines(report) > BLACK
        ((name, said),) = report.bars
        assert name == "train/a.jpg"
        assert said.startswith("black bars left out: 6")
        rows = [row for row in read_manifest(tmp_path / "out", report.name) if "picture" in row]
        assert all(60 <= row["bars"][1] <= 64 for row in rows)

    def test_what_is_left_may_be_too_narrow(self, pixels: Frame, tmp_path: Path) -> None:
        Image.fromarray(pixels).save(tmp_path / "a.png")
        Image.fromarray(next(framed([pixels[:150]], top=75))).save(tmp_path / "b.png")
        assert dict(generated(tmp_path, tmp_path / "out", eval_fraction=0.0).skipped) == {
            "train/b.png": "is 600x150 px: the long side is more than 3 times the short side"
        }

    def test_a_depth_map_loses_the_same_part(self, pixels: Frame, tmp_path: Path) -> None:
        """A map made with the bars gives the same records as photo and map without bars."""
        near = np.zeros((300, 600), np.uint8)
        near[50:250, 200:400] = 255
        for name, top in (("whole", 0), ("boxed", 60)):
            folder = tmp_path / name
            folder.mkdir()
            Image.fromarray(next(framed([pixels], top=top))).save(folder / "a.png")
            Image.fromarray(cv2.copyMakeBorder(near, top, top, 0, 0, cv2.BORDER_REPLICATE)).save(folder / "a_depth.png")
        reports = [
            generated(tmp_path / n / "a.png", tmp_path / "out" / n, model_type="File") for n in ("whole", "boxed")
        ]
        assert reports[0].bars == ()
        assert reports[1].bars
        assert reports[0].records == reports[1].records > 0

    def test_a_dark_sky_is_no_bar(self, pixels: Frame) -> None:
        dark = pixels.copy()
        dark[:120] = 3
        assert bars_of_picture(dark) == NO_BARS

    def test_an_object_before_black_cloth_is_no_bar(self, pixels: Frame) -> None:
        dark = np.zeros_like(pixels)
        cv2.ellipse(dark, (300, 150), (250, 100), 0, 0, 360, (180, 150, 120), -1)
        assert bars_of_picture(dark) == NO_BARS

    def test_all_four_sides(self, pixels: Frame) -> None:
        assert bars_of_picture(next(framed([pixels], top=50, left=70))) == Bars(70, 50, 70, 50)

    @pytest.mark.parametrize("path", sorted(SAMPLES.rglob("*.jpg")), ids=lambda p: p.stem)
    def test_the_shipped_photos_have_none(self, path: Path) -> None:
        with Image.open(path) as image:
            assert bars_of_picture(np.asarray(image.convert("RGB"))) == NO_BARS
