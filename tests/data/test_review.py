"""Looking through a data set, deleting bad records and restoring them: always whole pairs."""

import os
import shutil
import tempfile
from pathlib import Path

import numpy as np
import pytest
from toy_files import write_record

from inpaintkit.config import TrainConfig
from inpaintkit.data import manifest, packed
from inpaintkit.data.dataset import find_pairs
from inpaintkit.data.manifest import DELETION_FILE, MARKS_FILE
from inpaintkit.data.review import (
    DELETED,
    delete_records,
    deleted_records,
    finish_deletion,
    list_records,
    read_marks,
    restore_records,
    set_marks,
)
from inpaintkit.errors import InputError

pytestmark = pytest.mark.attack

SIDE = 20
OTHER_DISK = Path("/dev/shm")


def write_pair(folder: Path, stem: str, hole_rows: int) -> None:
    hole = np.arange(SIDE)[:, None].repeat(SIDE, 1) < hole_rows
    write_record(folder, stem, np.zeros((SIDE, SIDE, 3), np.uint8), hole)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return four records with holes of 5, 10, 15 and 20 %; the first two are of one picture and have a manifest."""
    data_set = manifest.manifest_folder(tmp_path, "a_FastDepth")
    manifest.begin(data_set, {"seed": 0}, {"train": {}})
    for number in range(3):
        write_pair(tmp_path / "train", f"a_FastDepth_{number:08d}", number + 1)
    write_pair(tmp_path / "eval", "a_FastDepth_00000000", 4)
    rows = [
        {"source": "train/x.jpg", "repeat": 0, "record": record, "sample": 0, "size": SIDE}
        | {half: f"a_FastDepth_{record:08d}_{end}.png" for half, end in (("picture", "C"), ("hole", "M"))}
        | {"hole_pixels": (record + 1) * SIDE}
        for record in range(2)
    ]
    manifest.write_part(manifest.part_path(data_set, "train", 0), rows)
    with manifest.lock(tmp_path, "a_FastDepth", "0/1"):
        pass
    return tmp_path


def test_restorable_records_are_found_without_reading_all_records(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    delete_records(folder, ["train/a_FastDepth_00000001"])
    glob, looked = Path.glob, list[Path]()
    monkeypatch.setattr(Path, "glob", lambda place, pattern: looked.append(place) or glob(place, pattern))
    assert deleted_records(folder) == {"train/a_FastDepth_00000001"}
    assert folder / "train" not in looked, "the record browser asks at each record that is chosen"


def test_a_long_scan_of_iw3s_masks_shows_progress(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    list_records(folder)
    assert capsys.readouterr().out == "", "a short one is"
    monkeypatch.setattr(packed, "PROGRESS_SECONDS", 0.0)
    list_records(folder)
    assert "train: 2 of 3 masks measured" in capsys.readouterr().out


def names(folder: Path) -> list[str]:
    return [record.name for record in list_records(folder)]


def holes_without_pictures(folder: Path) -> set[str]:
    """Return the holes without a picture, at which iw3 would fail because it lists holes."""
    stems = [{path.name[:-6] for path in folder.glob(f"train/*_{half}.png")} for half in "MC"]
    return stems[0] - stems[1]


def test_records_come_with_the_size_of_their_holes_with_and_without_a_manifest(folder: Path) -> None:
    assert [round(record.hole_fraction, 3) for record in list_records(folder)] == [0.05, 0.1, 0.15, 0.2]
    assert names(folder)[0] == "train/a_FastDepth_00000000"
    assert names(folder)[-1] == "eval/a_FastDepth_00000000"


def test_a_half_written_pair_is_not_shown(folder: Path) -> None:
    (folder / "train" / "a_FastDepth_00000009_C.png").write_bytes(b"")
    assert len(names(folder)) == 4


def test_a_mark_stays_until_it_is_taken_away(folder: Path) -> None:
    set_marks(folder, ["train/a_FastDepth_00000001"], True)
    set_marks(folder, ["eval/a_FastDepth_00000000"], True)
    assert read_marks(folder) == {"train/a_FastDepth_00000001", "eval/a_FastDepth_00000000"}
    set_marks(folder, ["train/a_FastDepth_00000001"], False)
    assert read_marks(folder) == {"eval/a_FastDepth_00000000"}


def test_deleting_takes_both_files_of_each_record_and_nothing_else(folder: Path) -> None:
    gone = ["train/a_FastDepth_00000001", "eval/a_FastDepth_00000000"]
    set_marks(folder, [gone[0]], True)
    assert delete_records(folder, gone) == 2
    assert names(folder) == ["train/a_FastDepth_00000000", "train/a_FastDepth_00000002"]
    assert len(find_pairs(folder / "train")) == 2  # it raises for incomplete pairs
    assert read_marks(folder) == set()


def test_the_manifest_says_why_a_record_is_missing_so_that_it_is_not_made_again(folder: Path) -> None:
    delete_records(folder, ["train/a_FastDepth_00000001"])
    rows = list(manifest.read_manifest(folder, "a_FastDepth"))
    assert [manifest.is_record(row) for row in rows] == [True, False]
    assert rows[1]["dropped"] == DELETED


def test_an_eval_record_of_the_same_number_keeps_its_row(folder: Path) -> None:
    delete_records(folder, ["eval/a_FastDepth_00000000"])
    assert all(manifest.is_record(row) for row in manifest.read_manifest(folder, "a_FastDepth"))


@pytest.mark.parametrize("then", ["list", "delete", "restore"])
@pytest.mark.parametrize("survivors", [0, 1, 2, 3])
def test_a_deletion_interrupted_anywhere_is_completed(
    folder: Path, survivors: int, then: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = ["train/a_FastDepth_00000000", "train/a_FastDepth_00000001"]
    original, allowed = shutil.move, [survivors]

    def move(path: Path, target: Path) -> object:
        if not allowed[0]:
            raise KeyboardInterrupt
        allowed[0] -= 1
        return original(path, target)

    monkeypatch.setattr(shutil, "move", move)
    with pytest.raises(KeyboardInterrupt):
        delete_records(folder, gone)
    monkeypatch.undo()
    assert (folder / DELETION_FILE).is_file()
    assert not holes_without_pictures(folder)
    left = ["train/a_FastDepth_00000002", "eval/a_FastDepth_00000000"]
    if then == "delete":
        assert delete_records(folder, [left.pop()]) == 1
    elif then == "restore":
        assert restore_records(folder, gone) == 2
        left = [*gone, *left]
    assert names(folder) == left
    assert len(find_pairs(folder / "train")) == sum("train" in name for name in left)
    assert not (folder / DELETION_FILE).exists()


def test_listing_the_records_meanwhile_may_complete_a_deletion(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    original = shutil.move

    def move(path: Path, target: Path) -> object:
        monkeypatch.undo()
        assert len(names(folder)) == 3  # deleted in another browser
        return original(path, target)

    monkeypatch.setattr(shutil, "move", move)
    assert delete_records(folder, ["train/a_FastDepth_00000000"]) == 1
    assert len(names(folder)) == 3


def test_nothing_is_deleted_while_a_run_writes(folder: Path) -> None:
    with manifest.lock(folder, "a_FastDepth", "0/1"), pytest.raises(InputError, match="in use by process"):
        delete_records(folder, ["train/a_FastDepth_00000000"])
    finish_deletion(folder)
    assert len(names(folder)) == 4


def test_deleted_records_are_restored_with_all_files_and_rows(folder: Path) -> None:
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.suffix in (".png", ".jsonl")}
    gone = ["train/a_FastDepth_00000001", "eval/a_FastDepth_00000000"]
    delete_records(folder, gone)
    assert deleted_records(folder) == set(gone)
    assert restore_records(folder, gone) == 2
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.suffix in (".png", ".jsonl")} == before
    assert deleted_records(folder) == set()


def test_an_interrupted_restoration_completes_when_repeated(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name, original = "train/a_FastDepth_00000001", shutil.move
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.suffix in (".png", ".jsonl")}
    delete_records(folder, [name])

    def move(path: Path, target: Path) -> object:
        monkeypatch.setattr(shutil, "move", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        return original(path, target)

    monkeypatch.setattr(shutil, "move", move)
    with pytest.raises(KeyboardInterrupt):
        restore_records(folder, [name])
    monkeypatch.undo()
    assert not holes_without_pictures(folder)
    assert deleted_records(folder) == {name}
    assert restore_records(folder, [name]) == 1
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.suffix in (".png", ".jsonl")} == before


@pytest.mark.skipif(not OTHER_DISK.is_dir(), reason="this system has no file system in memory")
def test_records_on_another_disk_are_deleted_and_restored(folder: Path) -> None:
    with tempfile.TemporaryDirectory(dir=OTHER_DISK) as elsewhere:
        shutil.move(folder / "train", elsewhere)
        (folder / "train").symlink_to(Path(elsewhere) / "train")
        name = names(folder)[0]
        assert delete_records(folder, [name]) == 1
        assert (name not in names(folder), deleted_records(folder)) == (True, {name})
        assert restore_records(folder, [name]) == 1
        assert name in names(folder)


@pytest.mark.skipif(os.geteuid() == 0, reason="root writes everywhere")
def test_no_deletion_begins_where_nothing_may_be_removed(folder: Path) -> None:
    (folder / "train").chmod(0o555)
    with pytest.raises(InputError, match=r"^data_dir: cannot write into .*train \(Permission denied\)"):
        delete_records(folder, names(folder)[:1])
    assert len(names(folder)) == 4
    (folder / "train").chmod(0o755)


def test_restoring_leaves_newer_records_alone(folder: Path) -> None:
    name = "train/a_FastDepth_00000001"
    delete_records(folder, [name])
    write_pair(folder / "train", "a_FastDepth_00000001", 9)
    made = (folder / f"{name}_M.png").read_bytes()
    restore_records(folder, [name])
    assert (folder / f"{name}_M.png").read_bytes() == made


def test_training_with_a_deleted_split_says_how_to_restore_it(folder: Path) -> None:
    delete_records(folder, {name for name in names(folder) if name.startswith("eval/")})
    config = TrainConfig(data_dir=str(folder), model_dir=str(folder / "model"))
    with pytest.raises(
        InputError, match=r"eval holds no records .* deleted in the record browser: bring some back there"
    ):
        config.check_inputs()
    restore_records(folder, deleted_records(folder))
    config.check_inputs()


def test_a_name_with_line_breaks_is_marked_and_deleted_like_any_other(folder: Path) -> None:
    name = "train/x\ny\u2028z"
    write_pair(folder / "train", name.removeprefix("train/"), 2)
    set_marks(folder, [name], True)
    set_marks(folder, ["train/a_FastDepth_00000001"], True)
    assert read_marks(folder) == {name, "train/a_FastDepth_00000001"}
    assert delete_records(folder, read_marks(folder)) == 2
    assert len(names(folder)) == 3
    assert restore_records(folder, [name]) == 1
    assert name in names(folder)


def test_a_damaged_list_of_marks_marks_nothing_else(folder: Path) -> None:
    (folder / MARKS_FILE).write_text("../x\n\ntrain/\ntrain/a_FastDepth_00000001\n")
    assert read_marks(folder) == {"train/a_FastDepth_00000001"}


@pytest.mark.parametrize("name", ["x", "other/x", "train/../x", "train/"])
def test_only_records_can_be_deleted(folder: Path, name: str) -> None:
    with pytest.raises(InputError, match="not of the form"):
        delete_records(folder, [name])


def test_a_folder_without_records_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="has no records"):
        list_records(tmp_path)
