"""The packed copy of a folder: same bytes as the PNG files, rebuilt when they change, optional."""

from __future__ import annotations

import json
import multiprocessing
import os
import pickle
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from toy_files import noise, write_record

from inpaintkit.data import packed
from inpaintkit.data.packed import open_packed, read_record
from inpaintkit.errors import InputError

pytestmark = pytest.mark.attack


def write_pair(folder: Path, number: int, size: tuple[int, int] = (40, 30)) -> tuple[Path, Path]:
    """Write a record of `size` (width, height) with content of its own."""
    picture = noise(number, size[1], size[0])
    return write_record(folder, f"p_{number:08d}", picture, picture[..., 0] < 50)


@pytest.fixture
def pairs(tmp_path: Path) -> list[tuple[Path, Path]]:
    return [write_pair(tmp_path / "train", number, (40 + number, 30)) for number in range(20)]


def test_a_packed_record_is_the_pngs_bytes(pairs: list[tuple[Path, Path]]) -> None:
    records = open_packed(pairs[0][0].parent, pairs)
    assert records is not None
    assert len(records) == 20
    for number, (picture, hole) in enumerate(pairs):
        with Image.open(picture) as colours, Image.open(hole) as mask:
            np.testing.assert_array_equal(records.read(number)[:3], np.asarray(colours).transpose(2, 0, 1))
            np.testing.assert_array_equal(records.read(number)[3], np.asarray(mask) > 0)
        np.testing.assert_array_equal(records.read(number), read_record(picture, hole))


def test_a_long_wait_shows_progress(
    pairs: list[tuple[Path, Path]], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    open_packed(pairs[0][0].parent, pairs[:10])
    assert capsys.readouterr().out == "", "a short one is"
    monkeypatch.setattr(packed, "PROGRESS_SECONDS", 0.0)
    open_packed(pairs[0][0].parent, pairs)
    assert "train.bin: 15 of 20 records packed" in capsys.readouterr().out


def test_it_is_built_once(pairs: list[tuple[Path, Path]], monkeypatch: pytest.MonkeyPatch) -> None:
    folder = pairs[0][0].parent
    open_packed(folder, pairs)
    monkeypatch.setattr(packed, "read_record", lambda *pair: pytest.fail("decoded again"))
    assert open_packed(folder, pairs) is not None


def test_runs_started_together_on_a_new_data_set_all_read_the_pack(
    pairs: list[tuple[Path, Path]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once, one of them read the slow PNG files throughout, because its own index didn't fit the other's pack."""
    packs: list[packed.PackedRecords | None] = []
    write = packed.atomic_write_text

    def second_comes_between(path: Path, text: str) -> None:
        monkeypatch.setattr(packed, "atomic_write_text", write)
        packs.append(open_packed(pairs[0][0].parent, pairs))
        write(path, text)

    monkeypatch.setattr(packed, "atomic_write_text", second_comes_between)
    packs.append(open_packed(pairs[0][0].parent, pairs))
    assert len(packs) == 2
    assert None not in packs


def test_it_is_rebuilt_when_a_source_changes_or_the_set_grows(pairs: list[tuple[Path, Path]]) -> None:
    folder = pairs[0][0].parent
    open_packed(folder, pairs)
    for half, content in enumerate((Image.new("RGB", (43, 30), (1, 2, 3)), Image.new("L", (43, 30), 255))):
        content.save(pairs[3][half])
        os.utime(pairs[3][half], ns=(1, 1))
        records = open_packed(folder, pairs)
        assert records is not None
        assert records.read(3)[:3, 5, 5].tolist() == [1, 2, 3]
    assert records.read(3)[3].all()
    more = [*pairs, write_pair(folder, 99)]
    grown = open_packed(folder, more)
    assert grown is not None
    assert len(grown) == 21


def test_a_half_pack_of_a_killed_training_is_removed(pairs: list[tuple[Path, Path]], tmp_path: Path) -> None:
    folder, left, live = pairs[0][0].parent, ".train.bin.123.tmp", ".train.bin.456.tmp"
    (tmp_path / ".packed").mkdir()
    for name, age in ((left, 7200), (live, 60)):
        (tmp_path / ".packed" / name).write_bytes(b"half")
        os.utime(tmp_path / ".packed" / name, (time.time() - age,) * 2)
    open_packed(folder, pairs)
    assert {path.name for path in (tmp_path / ".packed").iterdir()} == {"train.bin", "train.json", live}


@pytest.mark.parametrize("damage", ["truncated", "other_key", "no_index", "index_rubbish"])
def test_a_damaged_pack_is_built_again(damage: str, pairs: list[tuple[Path, Path]], tmp_path: Path) -> None:
    folder, data, index = pairs[0][0].parent, tmp_path / ".packed/train.bin", tmp_path / ".packed/train.json"
    open_packed(folder, pairs)
    good = data.read_bytes()
    if damage == "truncated":
        data.write_bytes(good[:-1])
    elif damage == "other_key":
        data.write_bytes(b"0" * 64 + good[64:])
    elif damage == "no_index":
        index.unlink()
    else:
        index.write_text("{")
    assert open_packed(folder, pairs) is not None
    assert data.read_bytes() == good


def test_a_full_disk_only_costs_the_pack(
    pairs: list[tuple[Path, Path]], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    assert open_packed(pairs[0][0].parent, pairs) is None
    assert not list((tmp_path / ".packed").iterdir())


def test_a_broken_record_is_named(pairs: list[tuple[Path, Path]]) -> None:
    pairs[4][1].write_bytes(b"broken")
    with pytest.raises(InputError, match=r"p_00000004_M\.png is not a readable picture"):
        open_packed(pairs[0][0].parent, pairs)


def test_halves_of_different_size_are_named(pairs: list[tuple[Path, Path]]) -> None:
    Image.new("L", (39, 30)).save(pairs[0][1])
    with pytest.raises(InputError, match="40x30 and 39x30 px"):
        open_packed(pairs[0][0].parent, pairs)


def test_pickling_carries_the_path_not_the_pixels(pairs: list[tuple[Path, Path]]) -> None:
    records = open_packed(pairs[0][0].parent, pairs)
    assert records is not None
    content = pickle.dumps(records)
    assert len(content) < sum(records.read(i).nbytes for i in range(20)) / 10
    np.testing.assert_array_equal(pickle.loads(content).read(7), records.read(7))


def test_two_processes_may_build_at_once(pairs: list[tuple[Path, Path]], tmp_path: Path) -> None:
    context = multiprocessing.get_context("forkserver")
    builders = [context.Process(target=open_packed, args=(pairs[0][0].parent, pairs)) for _ in range(3)]
    for builder in builders:
        builder.start()
    for builder in builders:
        builder.join()
    assert [builder.exitcode for builder in builders] == [0, 0, 0]
    assert {path.name for path in (tmp_path / ".packed").iterdir()} == {"train.bin", "train.json"}
    assert json.loads((tmp_path / ".packed/train.json").read_text())["shapes"][0] == [30, 40]
    assert open_packed(pairs[0][0].parent, pairs) is not None
