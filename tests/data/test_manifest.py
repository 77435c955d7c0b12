"""Manifests: marks of finished work, refusal of mixed data sets, tables, and cleaning up one prefix only."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inpaintkit.__main__ import main
from inpaintkit.data import manifest
from inpaintkit.data.manifest import clean_prefix, data_set_names, read_manifest
from inpaintkit.errors import InputError
from inpaintkit.files import FolderLock, atomic_path

pytestmark = pytest.mark.attack

ROW = {
    "picture": "a_M1_00000000_C.png",
    "hole": "a_M1_00000000_M.png",
    "source": "train/x.jpg",
    "angle": None,
    "short_side": 720,
    "size": 512,
    "hole_pixels": 2621,
    "draw": {"mapper": "none", "divergence": 2.5, "convergence": 0.123456, "edge_dilation": 1, "mirrored": False},
}


def make_data_set(root: Path, name: str) -> list[Path]:
    """Lay out two records of data set `name` with manifest and a killed run's leftover; return all its files."""
    folder = manifest.manifest_folder(root, name)
    manifest.begin(folder, {"seed": 0}, {"train": {"x.jpg": 10}})
    manifest.write_part(manifest.part_path(folder, "train", 0), [{**ROW, "picture": f"{name}_00000000_C.png"}])
    for split, number in (("train", 0), ("eval", 12)):
        (root / split).mkdir(exist_ok=True)
        for suffix in ("C", "M"):
            (root / split / f"{name}_{number:08d}_{suffix}.png").write_bytes(b"png")
    (root / "train" / f".{name}_00000001_C.png.77.tmp").write_bytes(b"half")
    return [path for path in root.rglob("*") if path.is_file() and name in str(path.relative_to(root))]


def test_rows_come_back_in_order_with_train_before_eval(tmp_path: Path) -> None:
    folder = manifest.manifest_folder(tmp_path, "a_M1")
    manifest.begin(folder, {}, {})
    for split, number in (("eval", 0), ("train", 10), ("train", 2)):
        manifest.write_part(
            manifest.part_path(folder, split, number), [{"source": f"{split}/{number}", "skipped": "ü"}]
        )
    assert [row["source"] for row in read_manifest(tmp_path, "a_M1")] == ["train/2", "train/10", "eval/0"]


def test_an_unknown_data_set_is_refused_with_the_known_names(tmp_path: Path) -> None:
    make_data_set(tmp_path, "a_M1")
    with pytest.raises(InputError, match="no data set b_M1; there is: a_M1"):
        list(read_manifest(tmp_path, "b_M1"))
    assert data_set_names(tmp_path) == ["a_M1"]


def test_a_damaged_part_is_named(tmp_path: Path) -> None:
    make_data_set(tmp_path, "a_M1")
    path = manifest.part_path(manifest.manifest_folder(tmp_path, "a_M1"), "train", 0)
    path.write_text('{"source": ')
    with pytest.raises(InputError, match=r"000000\.jsonl is damaged"):
        list(read_manifest(tmp_path, "a_M1"))


def test_restarting_is_allowed_with_the_same_facts_and_refused_with_others(tmp_path: Path) -> None:
    manifest.begin(tmp_path / "m" / "a", {"seed": 1, "resolution": None}, {"train": {"x": 1}})
    manifest.begin(tmp_path / "m" / "a", {"seed": 1, "resolution": None}, {"train": {"x": 1}, "eval": {"y": 1}})
    with pytest.raises(InputError, match=r"^resolution: .*resolution=None, not 392"):
        manifest.begin(tmp_path / "m" / "a", {"seed": 1, "resolution": 392}, {})
    with pytest.raises(InputError, match=r"1 eval pictures changed .*\(y first\)"):
        manifest.begin(tmp_path / "m" / "a", {"seed": 1, "resolution": None}, {"eval": {"y": 2}})


def test_cleaning_shows_first_and_then_deletes_exactly_that(tmp_path: Path) -> None:
    wanted = make_data_set(tmp_path, "a_M1")
    for other in ("a_M10", "aa_M1", "a_M1_x"):
        make_data_set(tmp_path, other)
    (tmp_path / "train" / "other.png").touch()
    before = {path for path in tmp_path.rglob("*") if path.is_file()}
    assert set(shown := clean_prefix(tmp_path, "a_M1")) == set(wanted)
    assert all(path.exists() for path in wanted)  # so far they were only listed
    assert clean_prefix(tmp_path, "a_M1", dry_run=False) == shown
    assert {path for path in tmp_path.rglob("*") if path.is_file()} == before - set(wanted)
    assert data_set_names(tmp_path) == ["a_M10", "a_M1_x", "aa_M1"]


def test_cleaning_deletes_marks_first_and_parameters_last(tmp_path: Path) -> None:
    make_data_set(tmp_path, "a_M1")
    kinds = [
        "mark" if p.suffix == ".jsonl" else "hole" if "_M.png" in p.name else "picture" if ".png" in p.name else "facts"
        for p in clean_prefix(tmp_path, "a_M1")
    ]
    assert list(dict.fromkeys(kinds)) == ["mark", "hole", "picture", "facts"]
    assert kinds == sorted(kinds, key=["mark", "hole", "picture", "facts"].index)


def test_after_an_interrupted_clean_up_other_parameters_are_still_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_data_set(tmp_path, "a_M1")
    shown, folder = clean_prefix(tmp_path, "a_M1"), manifest.manifest_folder(tmp_path, "a_M1")
    for path in shown[:-1]:
        path.unlink()
        with pytest.raises(InputError, match=r"^(seed|dataset_dir): "):
            manifest.begin(folder, {"seed": 1}, {"train": {"x.jpg": 11}})


def test_cleaning_is_refused_while_a_shard_is_being_written(tmp_path: Path) -> None:
    make_data_set(tmp_path, "a_M1")
    with manifest.lock(tmp_path, "a_M1", "1/4"), pytest.raises(InputError, match="in use"):
        clean_prefix(tmp_path, "a_M1", dry_run=False)
    assert clean_prefix(tmp_path, "a_M1", dry_run=False)


def test_cleaning_nothing_is_no_error_and_says_what_there_is(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert clean_prefix(tmp_path, "a_M1", dry_run=False) == []
    make_data_set(tmp_path, "a_M1")
    assert main(["clean", "--output-dir", str(tmp_path), "--prefix", "a_M", "--yes"]) == 0
    assert "nothing to delete" in (said := capsys.readouterr().out)
    assert "has no data set a_M; there is: a_M1" in said


def test_each_shard_has_its_own_lock(tmp_path: Path) -> None:
    with (
        manifest.lock(tmp_path, "a_M1", "0/2"),
        manifest.lock(tmp_path, "a_M1", "1/2"),
        pytest.raises(InputError, match="prefix a_M1"),
        manifest.lock(tmp_path, "a_M1", "0/2"),
    ):
        pass


def test_another_number_of_shards_is_refused_while_one_is_running(tmp_path: Path) -> None:
    with (
        manifest.lock(tmp_path, "a_M1", "0/2"),
        pytest.raises(InputError, match=r"runs in another number of shards than 3: .* in use by process"),
        manifest.lock(tmp_path, "a_M1", "2/3"),
    ):
        pass
    with manifest.lock(tmp_path, "a_M1", "2/3"), manifest.lock(tmp_path, "a_M10", "0/2"):
        pass  # one after the other is fine, and so is another data set
    with manifest.lock(tmp_path, "a_M1", "1/4"), manifest.lock(tmp_path, "a_M1", "0/2"):
        pass  # a process on the other machine, which has other pictures
    with (
        manifest.lock(tmp_path, "a_M1", "2/4"),
        pytest.raises(InputError, match="another number of shards than 2"),
        manifest.lock(tmp_path, "a_M1", "0/2"),
    ):
        pass
    asking = FolderLock(tmp_path / manifest.LOCK_FOLDER, "asked", "a_M1_0of2.lock", shared=True)
    with asking, manifest.lock(tmp_path, "a_M1", "2/3"):
        pass  # a check whether a shard is being written doesn't block others


def test_machines_writing_the_same_file_of_a_shared_folder_dont_clash(tmp_path: Path) -> None:
    file = tmp_path / "parameters.json"
    with atomic_path(file) as mine:
        mine.write_text("mine")
        with atomic_path(file) as theirs:  # by a process with the same id, as in containers
            theirs.write_text("theirs")
        assert file.read_text() == "theirs"
    assert file.read_text() == "mine"
    assert list(tmp_path.iterdir()) == [file]


@pytest.mark.parametrize(("alone", "goes"), [(True, {"young", "old"}), (False, {"old"})])
def test_leftovers_of_this_data_set_go_unless_another_shard_may_be_writing_them(
    alone: bool, goes: set[str], tmp_path: Path
) -> None:
    ages = {"young": 60, "old": 7200}
    own = {
        "train/.a_M1_00000000_C.png.5.tmp": "young",
        "eval/.a_M1_00000009_M.png.5.tmp": "old",
        "manifest/a_M1/.parameters.json.5.tmp": "young",
        "manifest/a_M1/train/videos/.000003.json.7.tmp": "old",
        "frames/a_M1/train/2023/.b.mp4#t=1.000.png.7.tmp": "old",
    }
    others = {"train/a_M1_00000000_C.png": "old", "train/.a_M10_00000000_C.png.5.tmp": "old"}
    for name, age in (own | others).items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
        os.utime(tmp_path / name, (time.time() - ages[age],) * 2)
    manifest.remove_leftovers_of(tmp_path, "a_M1", alone)
    left = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file()}
    assert left == {*others, *(name for name, age in own.items() if age not in goes)}


@given(
    st.text("abcXYZ019_-", min_size=1, max_size=20),
    st.integers(0, 10**8 - 1),
    st.sampled_from("CM"),
    st.integers(1, 10**6),
)
def test_file_names_are_recognised_whatever_the_prefix(name: str, number: int, suffix: str, process: int) -> None:
    file = f"{name}_{number:08d}_{suffix}.png"
    pattern = manifest.record_pattern(name)
    assert pattern.fullmatch(file)
    assert pattern.fullmatch(f".{file}.{process}.tmp")
    assert not pattern.fullmatch(f"x{file}")
    assert not pattern.fullmatch(f"{name}_1_{number:08d}_{suffix}.png")
