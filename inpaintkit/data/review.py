"""Looking through a data set: its records with the size of their holes, marks on bad ones, and deleting those as pairs.

Marks are a text file beside ``train/`` and ``eval/``, one record a line, so they outlive notebooks. A deletion is
written down before it begins; whoever lists the records next completes one that was cut off.
"""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from inpaintkit.data import manifest
from inpaintkit.data.manifest import HOLE_SUFFIX, PICTURE_SUFFIX, SPLITS
from inpaintkit.data.packed import HOLE_THRESHOLD
from inpaintkit.errors import InputError
from inpaintkit.files import atomic_write_text, require_folder

MARKS_FILE = "marked_bad.txt"
DELETION_FILE = ".being_deleted.txt"
DELETED = "deleted after a look at it"


@dataclass(frozen=True)
class RecordFiles:
    """A pair of a data set: `name` is ``SPLIT/STEM``, `hole_fraction` the share of hole pixels, 0..1."""

    name: str
    picture: Path
    hole: Path
    hole_fraction: float


def list_records(folder: str | Path) -> list[RecordFiles]:
    """Return all whole pairs of a data set folder, train before eval, by name; halves that a running job writes are left out.

    Completes a deletion that was cut off. Raises `InputError` if the folder holds no records.
    """
    root = require_folder(folder, "data_dir")
    finish_deletion(root)
    found = []
    for split in SPLITS:
        stems = _stems(root / split, PICTURE_SUFFIX) & _stems(root / split, HOLE_SUFFIX)
        known = _fractions(root, split)
        for stem in sorted(stems):
            picture, hole = _pair(root, f"{split}/{stem}")
            fraction = known[picture.name] if picture.name in known else _measured(hole)
            found.append(RecordFiles(f"{split}/{stem}", picture, hole, fraction))
    if not found:
        raise InputError(
            f"{root} has no records (pairs *{PICTURE_SUFFIX}, *{HOLE_SUFFIX} in train/ or eval/); generate a data set first"
        )
    return found


def read_marks(folder: str | Path) -> set[str]:
    """Return the names of the records that are marked as bad."""
    return set(_lines(Path(folder) / MARKS_FILE))


def set_mark(folder: str | Path, name: str, bad: bool) -> None:
    """Mark the record `name` as bad, or take its mark away."""
    marks = read_marks(folder)
    _write_lines(Path(folder) / MARKS_FILE, marks | {name} if bad else marks - {name})


def delete_records(folder: str | Path, names: Collection[str]) -> int:
    """Delete the records `names`, both files of each, and return how many there were.

    They stay deleted when the generation is continued. Raises `InputError` while a run writes into this data set.
    """
    root = require_folder(folder, "data_dir")
    there = {name for name in names if any(path.exists() for path in _pair(root, name))}
    if there:
        with contextlib.ExitStack() as locks:
            for data_set in manifest.data_set_names(root):
                locks.enter_context(manifest.all_locks(root, data_set))
            _write_lines(root / DELETION_FILE, there)
            finish_deletion(root)
    return len(there)


def finish_deletion(folder: str | Path) -> None:
    """Complete the deletion that was begun in a data set folder, if any."""
    root = Path(folder)
    names = set(_lines(root / DELETION_FILE))
    if not names:
        return
    for name in sorted(names):
        picture, hole = _pair(root, name)
        hole.unlink(missing_ok=True)  # first: iw3 lists holes
        picture.unlink(missing_ok=True)
    for part in _parts(root):
        _drop_rows(part, names)
    _write_lines(root / MARKS_FILE, read_marks(root) - names)
    (root / DELETION_FILE).unlink()


def _drop_rows(part: Path, names: Collection[str]) -> None:
    """Turn the rows of deleted records into reasons for there being none, so that no later run makes them again."""
    split, rows = part.parent.name, manifest.read_part(part)
    kept = [
        {key: row[key] for key in ("source", "repeat", "record", "sample")} | {"dropped": DELETED}
        if manifest.is_record(row) and f"{split}/{row['picture'].removesuffix(PICTURE_SUFFIX)}" in names
        else row
        for row in rows
    ]
    if kept != rows:
        manifest.write_part(part, kept)


def _parts(root: Path, split: str = "*") -> Iterator[Path]:
    yield from sorted((root / manifest.MANIFEST_FOLDER).glob(f"*/{split}/*.jsonl"))


def _fractions(root: Path, split: str) -> dict[str, float]:
    """Return the hole fraction by picture file as the manifest has it: no file needs to be decoded for it."""
    rows = (row for part in _parts(root, split) for row in manifest.read_part(part) if manifest.is_record(row))
    return {row["picture"]: row["hole_pixels"] / row["size"] ** 2 for row in rows}


def _measured(hole: Path) -> float:
    with Image.open(hole) as image:
        return float((np.asarray(image.convert("L")) > HOLE_THRESHOLD).mean())


def _stems(folder: Path, suffix: str) -> set[str]:
    return {path.name.removesuffix(suffix) for path in folder.glob(f"[!.]*{suffix}")}


def _pair(root: Path, name: str) -> tuple[Path, Path]:
    split, _, stem = name.partition("/")
    if split not in SPLITS or not stem or Path(stem).name != stem:
        raise InputError(f"record: {name!r} is not of the form train/NAME or eval/NAME; take names from list_records")
    return root / split / (stem + PICTURE_SUFFIX), root / split / (stem + HOLE_SUFFIX)


def _lines(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8").splitlines() if path.is_file() else []


def _write_lines(path: Path, lines: Collection[str]) -> None:
    atomic_write_text(path, "".join(f"{line}\n" for line in sorted(lines)))
