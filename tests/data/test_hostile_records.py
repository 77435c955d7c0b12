"""Foreign or damaged data sets: reported before training, never trained on, never written through links."""

from __future__ import annotations

import os
import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest
from toy_files import noise, write_record

from inpaintkit.data import InpaintDataset
from inpaintkit.data.review import delete_records, list_records
from inpaintkit.errors import InputError

pytestmark = pytest.mark.attack


def write(folder: Path, stem: str, inverted: bool = False) -> None:
    hole = np.zeros((96, 96), bool)
    hole[20:60, 30:45] = True
    write_record(folder, stem, noise(len(stem), 96, 96), hole != inverted)


@pytest.fixture
def train(tmp_path: Path) -> Path:
    """Return the folder of four training records."""
    for stem in ("a", "b", "c", "d"):
        write(tmp_path / "train", stem)
    return tmp_path / "train"


def opened(folder: Path) -> InpaintDataset:
    return InpaintDataset(folder, training=True, crop_size=64)


@pytest.mark.parametrize("damage", ["zeros", "a flipped bit"])
def test_a_damaged_pack_is_noticed(damage: str, train: Path) -> None:
    expected = [opened(train).pixels(record).copy() for record in range(4)]
    pack = train.parent / ".packed" / "train.bin"
    content = bytearray(pack.read_bytes())
    if damage == "zeros":
        content[64:] = bytes(len(content) - 64)
    else:
        content[-100] ^= 1
    pack.write_bytes(content)
    for records in (opened(train), pickle.loads(pickle.dumps(opened(train)))):
        assert all(np.array_equal(records.pixels(record), known) for record, known in enumerate(expected))
    assert pack.read_bytes() == bytes(content), "a pack that is in use isn't touched"
    assert np.array_equal(opened(train).pixels(3), expected[3])
    assert pack.read_bytes() != bytes(content), "the next start makes it anew"


def test_some_inverted_masks_are_counted_and_the_first_is_named(train: Path) -> None:
    write(train, "c", inverted=True)
    with pytest.raises(
        InputError, match=r"1 of 4 masks .* have a hole of more than 75%, c_M\.png first; .*invert them"
    ):
        opened(train)
    shutil.copy(train / "c_M.png", train / "d_M.png")
    with pytest.raises(InputError, match=r"2 of 4 masks .* c_M\.png first"):
        opened(train)


def test_a_non_utf8_name_is_refused(train: Path) -> None:
    for half in ("C", "M"):
        os.rename(train / f"a_{half}.png", os.fsencode(train) + b"/a\xff_" + half.encode() + b".png")
    with pytest.raises(InputError, match="has a name that is not UTF-8 text; rename it"):
        opened(train)


@pytest.mark.parametrize("kind", ["folder", "pipe", "link to a pipe"])
def test_folders_and_pipes_are_refused_without_waiting(kind: str, train: Path) -> None:
    mask = train / "b_M.png"
    mask.unlink()
    if kind == "folder":
        mask.mkdir()
    elif kind == "pipe":
        os.mkfifo(mask)
    else:
        os.mkfifo(train.parent / "pipe")
        mask.symlink_to(train.parent / "pipe")
    with pytest.raises(InputError, match=r"b_M\.png is a folder, a device, a pipe or a link to nothing; delete it"):
        opened(train)
    assert [record.name for record in list_records(train.parent)] == ["train/a", "train/c", "train/d"]


def test_a_mask_that_is_no_picture_is_listed_so_that_it_can_be_deleted(train: Path) -> None:
    (train / "b_M.png").write_bytes(b"no picture")
    assert "train/b" in [record.name for record in list_records(train.parent)]
    assert delete_records(train.parent, ["train/b"]) == 1
    assert len(opened(train)) == 3
