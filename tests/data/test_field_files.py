"""What users really have in their folders: subfolders, odd neighbours, joined recordings, other devices' colours."""

from __future__ import annotations

import io
import shutil
import struct
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms
from toy_files import SAMPLES
from videos import FPS, scene, write_video

from inpaintkit.config import GenerateConfig, StereoConfig
from inpaintkit.data import clean_prefix, generate_dataset, iw3_set_names, list_pictures, read_manifest
from inpaintkit.data.generate.plan import list_sources
from inpaintkit.data.images import decode_picture
from inpaintkit.data.sources import plan_video
from inpaintkit.data.video import Stream
from inpaintkit.errors import InputError
from inpaintkit.inspection.stereo_files import make_stereo_files

pytestmark = pytest.mark.attack


def photo(path: Path, name: str = "train/cat_face") -> Path:
    """Put a small copy of a shipped photo at `path`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with Image.open(SAMPLES / f"{name}.jpg") as image:
        image.thumbnail((400, 400))
        image.save(path)
    return path


def config(root: Path, output: Path, **changes: object) -> GenerateConfig:
    return GenerateConfig(str(root), str(output), "f", size=256, num_samples=1, workers=0, device="cpu", **changes)  # type: ignore[arg-type]


def test_photos_in_folders_of_a_year_and_a_month_are_found(tmp_path: Path) -> None:
    photo(tmp_path / "in/train/2023/05/a.jpg")
    photo(tmp_path / "in/train/2023/06/a.jpg", "train/dahlia")
    photo(tmp_path / "in/eval/a.jpg", "eval/astronaut")
    report = generate_dataset(config(tmp_path / "in", tmp_path / "out"))
    assert {row["source"] for row in read_manifest(tmp_path / "out", report.name)} == {
        "train/2023/05/a.jpg", "train/2023/06/a.jpg", "eval/a.jpg",
    }  # fmt: skip
    assert not report.skipped


def test_a_network_disks_thumbnails_and_deleted_files_are_ignored(tmp_path: Path) -> None:
    """A thumbnail has other bytes than its photo, so it could land in the other half."""
    photo(tmp_path / "cat_face.jpg")
    photo(tmp_path / "#1" / "@home.jpg", "train/dahlia")
    for name in ("@eaDir/cat_face.jpg/SYNOPHOTO_THUMB_XL.jpg", "#recycle/old.jpg"):
        photo(tmp_path / name, "train/fig_bowl")
    files = list_sources(config(tmp_path, tmp_path / "data")).files
    assert sorted(path.name for paths in files.values() for path in paths) == ["@home.jpg", "cat_face.jpg"]


def test_what_is_written_into_a_folder_of_photos_is_not_read_again(tmp_path: Path) -> None:
    for name in ("cat_face", "dahlia", "fig_bowl"):
        photo(tmp_path / f"{name}.jpg", f"train/{name}")
    first = generate_dataset(config(tmp_path, tmp_path / "data"))
    assert generate_dataset(config(tmp_path, tmp_path / "data")).records == first.records > 0


def test_other_data_sets_and_runs_among_the_photos_are_ignored(tmp_path: Path) -> None:
    for name in ("cat_face", "dahlia", "fig_bowl"):
        photo(tmp_path / f"{name}.jpg", f"train/{name}")
    before = list_sources(config(tmp_path, tmp_path / "second")).files
    generate_dataset(config(tmp_path, tmp_path / "first"))
    photo(tmp_path / "trained" / "figures" / "samples.png")
    for name in ("params.yaml", "manifest.json"):
        (tmp_path / "trained" / name).write_text("{}")
    assert list_sources(config(tmp_path, tmp_path / "second")).files == before
    with pytest.raises(
        InputError, match=r"first is a data set of records that this kit made; give the folder of the photos"
    ):
        list_sources(config(tmp_path / "first", tmp_path / "second"))
    photo(tmp_path / "first" / "album" / "mine.jpg", "train/bird_lamp")
    assert sum(map(len, list_sources(config(tmp_path, tmp_path / "second")).files.values())) == 4, (
        "a photo is one anywhere"
    )


def test_stereo_pairs_made_of_the_photos_are_ignored(tmp_path: Path) -> None:
    photos = [photo(tmp_path / f"{name}.jpg", f"train/{name}") for name in ("cat_face", "dahlia")]
    photos.append(photo(tmp_path / "mine_LR.jpg", "train/fig_bowl"))
    photos.sort()
    made = make_stereo_files(
        StereoConfig(str(photos[0]), "row", output=str(tmp_path / "stereo"), format="both", wiggle=True)
    )
    assert len(made) == 9
    assert list_pictures(tmp_path) == photos
    assert list_sources(config(tmp_path, tmp_path / "out")).division.endswith(
        "1 file to eval/; stereo pairs left out: 1"
    )
    assert list_pictures(shutil.copytree(tmp_path / "stereo", tmp_path / "elsewhere")) == []


class TestDivision:
    """Only what can be read is divided into train and eval."""

    @pytest.mark.parametrize("film", [True, False])
    def test_a_film_on_both_sides_is_reported(self, film: bool, tmp_path: Path) -> None:
        """Cameras number photos like frames; for them, every second picture here is upside down."""
        for number, frame in enumerate(scene("train/dahlia", 20, (96, 72))):
            turned = frame if film or number % 2 else np.rot90(frame, 2)
            Image.fromarray(turned).save(tmp_path / f"{number:06d}.png")
        division = list_sources(config(tmp_path, tmp_path / "out", eval_fraction=0.3)).division
        assert ("look like frames of one film, of which both sides have some" in division) == film

    def test_a_note_beside_the_photos_is_not_the_eval_set(self, tmp_path: Path) -> None:
        for name in ("cat_face", "dahlia", "fig_bowl", "bird_lamp"):
            photo(tmp_path / "in" / f"{name}.jpg", f"train/{name}")
        (tmp_path / "in" / "metadata.json").write_text("{}")
        report = generate_dataset(config(tmp_path / "in", tmp_path / "out"))
        assert report.train > 0
        assert report.eval > 0
        assert [reason for _, reason in report.skipped] == ["is not a picture in a known format"]

    def test_files_beside_train_and_eval_are_reported_as_left_out(self, tmp_path: Path) -> None:
        for place, name in {"train/a": "cat_face", "eval/b": "dahlia", "c": "fig_bowl", ".d": "fig_bowl"}.items():
            photo(tmp_path / f"{place}.jpg", f"train/{name}")
        (tmp_path / "notes.txt").write_text("no picture")
        (tmp_path / "out").mkdir()
        said = "by the folders train/ and eval/; pictures and videos left out beside them: 1"
        assert list_sources(config(tmp_path, tmp_path / "out")).division == said
        photo(tmp_path / "test" / "deep" / "e.jpg", "train/fig_bowl")
        with_folder = f"{said}; folders left out beside them: test"
        assert list_sources(config(tmp_path, tmp_path / "out")).division == with_folder

    @pytest.mark.parametrize("second", ["copy", "broken", "none"])
    def test_one_good_photo_is_too_few(self, second: str, tmp_path: Path) -> None:
        first = photo(tmp_path / "in" / "a.jpg")
        if second == "copy":
            shutil.copy(first, tmp_path / "in" / "b.jpg")
        elif second == "broken":
            (tmp_path / "in" / "b.jpg").write_bytes(b"broken")
        with pytest.raises(InputError, match=r"too few files of .* add another picture or video, make folders"):
            generate_dataset(config(tmp_path / "in", tmp_path / "out"))

    def test_a_side_with_only_copies_of_the_other_is_refused(self, tmp_path: Path) -> None:
        first = photo(tmp_path / "in/train/a.jpg")
        (tmp_path / "in/eval").mkdir()
        shutil.copy(first, tmp_path / "in/eval/b.jpg")
        with pytest.raises(InputError, match=r"train: all of its 1 files are unreadable or copies of other files"):
            generate_dataset(config(tmp_path / "in", tmp_path / "out"))

    def test_a_copy_of_an_eval_video_leaves_train_empty_and_is_refused(self, tmp_path: Path) -> None:
        (tmp_path / "in/train").mkdir(parents=True)
        (tmp_path / "in/eval").mkdir()
        film = write_video(tmp_path / "in/eval/a.mp4", scene("train/dahlia", FPS, (320, 240)))
        shutil.copy(film, tmp_path / "in/train/b.mp4")
        with pytest.raises(InputError, match=r"train: all of its 1 files are unreadable or copies of other files"):
            generate_dataset(config(tmp_path / "in", tmp_path / "out"))

    def test_a_single_file_goes_to_train(self, tmp_path: Path) -> None:
        report = generate_dataset(config(photo(tmp_path / "a.jpg"), tmp_path / "out"))
        assert report.eval == 0 < report.train


def test_names_are_compared_as_normalised_text(tmp_path: Path) -> None:
    for name in ("caf\u00e9.jpg", "cafe\u0301_depth.PNG", "b.jpg", "B_depth.jpg", "lone_depth.png"):
        (tmp_path / name).touch()
    assert [path.name for path in list_pictures(tmp_path)] == ["b.jpg", "caf\u00e9.jpg", "lone_depth.png"]


def test_joined_recordings_are_read_to_their_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    parts = []
    for number, name in enumerate(("train/dahlia", "train/fig_bowl", "train/cat_face")):
        parts.append(write_video(tmp_path / f"{number}.ts", scene(name, 3 * FPS, (320, 240))).read_bytes())
    joined = tmp_path / "joined.ts"
    joined.write_bytes(b"".join(parts))
    plan = plan_video(joined, config(tmp_path, tmp_path / "out", video_interval=1.0))
    assert plan["scenes"] >= 3
    assert plan["seconds"] > 8
    photo(tmp_path / "in/train/a.jpg")
    (tmp_path / "in/eval/second").mkdir(parents=True)
    shutil.copy(tmp_path / "1.ts", tmp_path / "in/eval/second/joined.ts")
    shutil.move(joined, tmp_path / "in/eval/joined.ts")
    monkeypatch.setattr(Stream, "rewind", lambda _: pytest.fail("each frame takes as long as all"))
    report = generate_dataset(config(tmp_path / "in", tmp_path / "out", eval_only=True, video_interval=3.0))
    times = [float(row["source"].split("=")[1]) for row in read_manifest(tmp_path / "out", report.name)]
    assert max(times) > 6, "frames of the last part are decoded again, too"
    assert not report.skipped
    assert [name for name, _ in report.videos] == ["eval/joined.ts", "eval/second/joined.ts"]


def test_joined_frames_of_a_bad_shape_are_left_out_with_the_reason(tmp_path: Path) -> None:
    parts = [
        write_video(tmp_path / f"{w}.ts", scene("train/cat_face", 24, (w, h))) for w, h in ((320, 240), (640, 120))
    ]
    (tmp_path / "joined.ts").write_bytes(b"".join(part.read_bytes() for part in parts))
    report = generate_dataset(config(tmp_path / "joined.ts", tmp_path / "out", video_interval=0.5))
    assert report.records > 0
    assert {reason for _, reason in report.skipped} == {
        "is 640x120 px: the long side is more than 3 times the short side"
    }


SRGB = ((0.43607, 0.38515, 0.14307), (0.22249, 0.71687, 0.06061), (0.01392, 0.09708, 0.7141))
DISPLAY_P3 = ((0.51512, 0.29198, 0.1571), (0.2412, 0.69225, 0.06657), (-0.00105, 0.04189, 0.78407))
"""Linear RGB -> XYZ at D50, as ICC profiles hold it."""


def icc_profile(matrix: tuple[tuple[float, ...], ...]) -> bytes:
    """Return an ICC profile of a screen with sRGB's curve and the given primaries."""

    def fixed(*numbers: float) -> bytes:
        return struct.pack(f">{len(numbers)}i", *(round(number * 65536) for number in numbers))

    tags = {
        name: b"XYZ \0\0\0\0" + fixed(*column)
        for name, column in zip((b"rXYZ", b"gXYZ", b"bXYZ"), zip(*matrix, strict=True), strict=True)
    }
    tags[b"wtpt"] = b"XYZ \0\0\0\0" + fixed(0.9642, 1.0, 0.8249)
    curve = b"para\0\0\0\0\0\3\0\0" + fixed(2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045)
    tags |= dict.fromkeys((b"rTRC", b"gTRC", b"bTRC"), curve)
    tags[b"desc"] = b"desc\0\0\0\0" + struct.pack(">I", 5) + b"wide\0" + b"\0" * 79
    place, table, content = 128 + 4 + 12 * len(tags), b"", b""
    for name, data in tags.items():
        table += name + struct.pack(">II", place + len(content), len(data))
        content += data + b"\0" * (-len(data) % 4)
    body = struct.pack(">I", len(tags)) + table + content
    head = struct.pack(">I4sI4s4s4s", 128 + len(body), b"\0\0\0\0", 0x02400000, b"mntr", b"RGB ", b"XYZ ")
    head += b"\0" * 12 + b"acsp" + b"\0" * 28 + fixed(0.9642, 1.0, 0.8249)
    return head.ljust(128, b"\0") + body


class TestColours:
    def test_colours_of_a_phone_become_srgb(self) -> None:
        level = (200, 120, 90)
        content = io.BytesIO()
        Image.new("RGB", (80, 80), level).save(content, "PNG", icc_profile=icc_profile(DISPLAY_P3))
        encoded = np.array(level) / 255
        linear = ((encoded + 0.055) / 1.055) ** 2.4
        in_srgb = np.linalg.solve(np.array(SRGB), np.array(DISPLAY_P3) @ linear)
        expected = (1.055 * in_srgb ** (1 / 2.4) - 0.055) * 255
        assert np.abs(decode_picture(content.getvalue())[0, 0] - expected).max() <= 1.5
        assert expected[0] > level[0] + 8, "the same numbers mean a stronger red on a phone"

    def test_srgb_stays_as_it_is(self) -> None:
        image = Image.effect_noise((80, 80), 90).convert("RGB")
        plain, tagged = io.BytesIO(), io.BytesIO()
        image.save(plain, "PNG")
        image.save(tagged, "PNG", icc_profile=ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
        assert np.array_equal(decode_picture(plain.getvalue()), decode_picture(tagged.getvalue()))


def test_heic_is_refused_with_advice(tmp_path: Path) -> None:
    with pytest.raises(Exception, match=r"is a HEIC picture; `pip install pillow-heif`"):
        decode_picture(b"\x00\x00\x00\x18ftypheic" + b"\0" * 100)


def test_iw3s_data_sets_can_be_cleaned(tmp_path: Path) -> None:
    (tmp_path / "train").mkdir()
    theirs = [tmp_path / "train" / f"mine_Any_B_0a1b2c3d_{number}_0_{kind}.png" for number in (1, 12) for kind in "CM"]
    names = ("mine_Any_L_0a1b2c3d_1_0_C.png", "mine_Any_B_holiday.png", "f_FastDepth_00000000_C.png")
    others = [tmp_path / "train" / name for name in names]
    for path in (*theirs, *others):
        path.touch()
    assert iw3_set_names(tmp_path) == ["mine_Any_B", "mine_Any_L"]
    assert sorted(clean_prefix(tmp_path, "mine_Any_B", dry_run=False)) == sorted(theirs)
    assert set(tmp_path.rglob("*.png")) == set(others)


@pytest.mark.parametrize("keep", [0, 1])
def test_a_truncated_part_is_made_again(keep: int, tmp_path: Path) -> None:
    options = config(photo(tmp_path / "a.jpg"), tmp_path / "out")
    generate_dataset(options)
    (part,) = (tmp_path / "out" / "manifest").rglob("*.jsonl")
    whole = part.read_text()
    part.write_text("".join(whole.splitlines(keepends=True)[:keep]))
    assert generate_dataset(options).pictures == 1
    assert part.read_text() == whole
