"""Sources and data set folders from elsewhere: names of any length, replaced content, links that lead outside."""

from __future__ import annotations

import os
import shutil
import time
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image
from videos import FPS, scene, write_video

from inpaintkit.__main__ import main
from inpaintkit.config import GenerateConfig
from inpaintkit.data import InpaintDataset, example_pictures, generate_dataset
from inpaintkit.data.manifest import DELETION_FILE
from inpaintkit.data.review import delete_records, deleted_records, list_records, read_marks, restore_records, set_marks
from inpaintkit.errors import InputError
from inpaintkit.files import fitting_name

pytestmark = pytest.mark.attack

NAME = "p_FastDepth"


def config(root: Path, **options: object) -> GenerateConfig:
    values = {"prefix": "p", "size": 256, "num_samples": 1, "resolution": 224, "workers": 0, **options}
    return GenerateConfig(str(root / "in"), str(root / "out"), **values)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with two photos in ``in`` and their data set in ``out``, one record of it deleted in the browser."""
    root = tmp_path_factory.mktemp("made")
    for split, photo in {"train": "train/cat_face", "eval": "eval/astronaut"}.items():
        (root / "in" / split).mkdir(parents=True)
        shutil.copy(Path(__file__).parents[2] / f"data/samples/{photo}.jpg", root / "in" / split / "a.jpg")
    generate_dataset(config(root))
    delete_records(root / "out", [list_records(root / "out")[0].name])
    return root


@pytest.fixture
def root(made: Path, tmp_path: Path) -> Path:
    shutil.copytree(made, tmp_path, dirs_exist_ok=True)
    return tmp_path


class TestClean:
    def clean(self, root: Path, name: str = NAME, *words: str) -> int:
        return main(["clean", "--output-dir", str(root / "out"), "--prefix", name, *words])

    def test_deleted_records_are_listed_and_go_too(self, root: Path, capsys: pytest.CaptureFixture[str]) -> None:
        deleted = sorted((root / "out" / "deleted").rglob("*.png"))
        assert len(deleted) == 2
        assert self.clean(root) == 0
        listed = capsys.readouterr().out
        assert all(str(path) in listed and path.exists() for path in deleted)
        assert self.clean(root, NAME, "--yes") == 0
        assert not list((root / "out").rglob(f"{NAME}*.png"))

    def test_the_pack_goes_with_the_last_records(self, root: Path) -> None:
        InpaintDataset(root / "out" / "eval", training=False, crop_size=64)
        assert list((root / "out" / ".packed").iterdir())
        assert self.clean(root, NAME, "--yes") == 0
        assert not list((root / "out" / ".packed").iterdir())

    def test_new_records_of_the_same_prefix_inherit_no_mark_and_no_deletion(self, root: Path) -> None:
        name, other = list_records(root / "out")[0].name, "train/p_FastDepth_x_00000000"
        set_marks(root / "out", [name, other], True)
        (root / "out" / DELETION_FILE).write_text(f"{name}\n")
        assert self.clean(root, NAME, "--yes") == 0
        assert read_marks(root / "out") == {other}
        made = generate_dataset(config(root)).records
        assert len(list_records(root / "out")) == made > 0

    @pytest.mark.parametrize("name", ["/tmp", "..", ".", "", "a/b", "*", f"{NAME}/../x", "p_FastDept?", "a\nb"])
    def test_an_invalid_name_deletes_nothing(self, name: str, root: Path, capsys: pytest.CaptureFixture[str]) -> None:
        before = sorted(root.rglob("*"))
        assert self.clean(root, name, "--yes") == 2
        assert "is not the name of a data set" in capsys.readouterr().err
        assert sorted(root.rglob("*")) == before

    @pytest.mark.parametrize("folder", ["deleted", "deleted/train", "train", "manifest", f"manifest/{NAME}", "frames"])
    def test_no_link_to_a_folder_is_followed(self, folder: str, root: Path, capsys: pytest.CaptureFixture[str]) -> None:
        link = root / "out" / folder
        (root / "outside").mkdir()
        shutil.move(link, root / "outside" / "x") if link.exists() else (root / "outside" / "x").mkdir()
        link.symlink_to(root / "outside" / "x")
        before = sorted(root.rglob("*"))
        assert self.clean(root, NAME, "--yes") == 2
        assert "is a link; nothing was deleted" in capsys.readouterr().err
        assert sorted(root.rglob("*")) == before

    def test_a_link_among_the_records_goes_but_its_target_stays(self, root: Path) -> None:
        (root / "outside.png").write_text("precious")
        (root / "out" / "train" / f"{NAME}_00000099_C.png").symlink_to(root / "outside.png")
        assert self.clean(root, NAME, "--yes") == 0
        assert (root / "outside.png").read_text() == "precious"
        assert not (root / "out" / "train" / f"{NAME}_00000099_C.png").is_symlink()


@pytest.mark.parametrize("kept", ["the time of now", "the old time"])
def test_a_picture_exchanged_for_one_of_equal_size_is_noticed(kept: str, root: Path) -> None:
    photo = root / "in" / "train" / "a.jpg"
    content, time = bytearray(photo.read_bytes()), photo.stat()
    content[len(content) // 2] ^= 0xFF
    photo.write_bytes(content)
    if kept == "the old time":
        os.utime(photo, ns=(time.st_atime_ns, time.st_mtime_ns))
    with pytest.raises(InputError, match=r"train/a\.jpg changed since p_FastDepth was begun; restore it"):
        generate_dataset(config(root))


def test_added_and_changed_pictures_get_different_messages(root: Path) -> None:
    photo = root / "in" / "train" / "a.jpg"
    new = photo.with_name("new.jpg")
    new.write_bytes(photo.read_bytes() + b"another one")
    with pytest.raises(InputError, match=r"1 train pictures were added .*\(new\.jpg first\); move them to a folder"):
        generate_dataset(config(root))
    photo.unlink()
    with pytest.raises(InputError, match=r"1 train pictures changed .*\(a\.jpg first\); restore them"):
        generate_dataset(config(root))


def test_another_folder_whose_pictures_have_the_same_names_and_sizes_is_noticed(root: Path) -> None:
    """Like frames of two films in an uncompressed format, neither of which has been modified since."""
    shutil.copytree(root / "in", root / "other")
    photo, later = root / "other" / "eval" / "a.jpg", time.time() + 9
    photo.write_bytes(photo.read_bytes()[:-1] + b"x")
    for part in (root / "out" / "manifest").rglob("*.jsonl"):
        os.utime(part, (later, later))
    assert generate_dataset(config(root)).pictures == 0
    with pytest.raises(InputError, match=r"eval/a\.jpg changed since p_FastDepth was begun"):
        generate_dataset(replace(config(root), dataset_dir=str(root / "other")))


class TestDeletedRecordsStayDeleted:
    """Whatever makes the same command process their photo again."""

    def test_all_of_a_photo(self, root: Path) -> None:
        delete_records(root / "out", [record.name for record in list_records(root / "out") if "train" in record.name])
        left, later = list_records(root / "out"), time.time() + 9
        os.utime(root / "in" / "train" / "a.jpg", (later, later))
        assert generate_dataset(config(root)).dropped == 0, "their holes weren't too small"
        assert list_records(root / "out") == left

    def test_one_beside_a_lost_one(self, root: Path) -> None:
        before, deleted = list_records(root / "out"), deleted_records(root / "out")
        assert before[0].name.startswith("train/")
        before[0].hole.unlink()
        generate_dataset(config(root))
        assert list_records(root / "out") == before
        restore_records(root / "out", deleted)
        assert {record.name for record in list_records(root / "out")} == {record.name for record in before} | deleted


@pytest.mark.parametrize(
    ("source", "output"), [("in", "in"), ("in", "in/train/x"), ("in/train", "in"), ("pile", "pile")]
)
def test_records_are_not_written_among_the_pictures(source: str, output: str, root: Path) -> None:
    shutil.copytree(root / "in" / "train", root / "pile")
    before = set(root.glob("*/**/*.*"))
    with pytest.raises(InputError, match=r"would be taken for pictures of dataset_dir=.*; choose another output_dir"):
        generate_dataset(replace(config(root), dataset_dir=str(root / source), output_dir=str(root / output)))
    assert set(root.glob("*/**/*.*")) == before


def test_figures_and_kept_depth_among_the_photos_are_ignored(root: Path) -> None:
    photos = root / "in" / "eval"
    folders = {"run_dir": str(photos / "run"), "depth_cache": str(photos / "cache")}
    mine = config(root, prefix="mine", eval_only=True, **folders)
    (photos / "run" / "figures").mkdir(parents=True)
    shutil.copy(root / "in" / "train" / "a.jpg", photos / "run" / "figures" / "one_photo.jpg")
    assert generate_dataset(mine).pictures == 1
    assert generate_dataset(mine).pictures == 0


@pytest.mark.parametrize("name", ["n" * 236, "é" * 118])
def test_frames_of_a_video_with_the_longest_name_are_saved(name: str, tmp_path: Path) -> None:
    write_video(tmp_path / "v.mp4", scene("train/dahlia", FPS, (320, 240)))
    (tmp_path / "in").mkdir()
    (tmp_path / "v.mp4").rename(tmp_path / "in" / f"{name}.mp4")
    job = config(tmp_path, eval_fraction=0.0, video_interval=0.5)
    made = generate_dataset(job)
    report = generate_dataset(replace(job, save_frames=True))  # also for a finished data set
    frames = [path.name for path in (tmp_path / "out" / "frames").rglob("*.png")]
    assert report.records == made.records > 0
    assert len(frames) == 2, "each has a name of its own"
    assert all(len(frame.encode()) <= 240 and frame.startswith(name[:50]) for frame in frames)


def test_examples_show_videos_with_long_or_equal_names_and_skip_truncated_ones(tmp_path: Path) -> None:
    video = write_video(tmp_path / "v.mkv", scene("train/dahlia", FPS, (128, 96)))
    for name in ("may/a.mkv", "june/a.mkv", f"{'n' * 246}.mkv"):
        (tmp_path / "in" / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(video, tmp_path / "in" / name)
    (tmp_path / "in" / "cut.mkv").write_bytes(video.read_bytes()[:800])
    examples = example_pictures(config(tmp_path, eval_fraction=0.0))
    assert len({path for path in examples if path.is_file()}) == len(examples) == 3


def test_only_long_names_are_shortened() -> None:
    assert fitting_name("n" * 236, ".png") == "n" * 236 + ".png"
    assert fitting_name("n" * 237, ".png") != fitting_name("n" * 238, ".png")


def test_stereo_of_a_picture_with_the_longest_name(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Image.new("RGB", (80, 72)).save(tmp_path / "x.png")
    photo = (tmp_path / "x.png").rename(tmp_path / f"{'n' * 251}.png")
    words = ["stereo", str(photo), "--fill", "row", "-o", str(tmp_path / "out")]
    assert main(words) == 0, capsys.readouterr().err
    assert len(list((tmp_path / "out").iterdir())) == 4
