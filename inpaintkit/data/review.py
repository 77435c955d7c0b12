"""Review a data set: list its records with the size of their holes, mark bad ones, delete records and restore them.

Marks are kept in a text file beside ``train/`` and ``eval/``, one record a line, so they outlive notebooks. Deleted
files move to ``deleted/{train,eval}/`` and can be restored until that folder is emptied. The names of the records are
written to a file before their deletion begins; the next call that lists, deletes or restores records completes an
interrupted one.
"""

import contextlib
import shutil
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from inpaintkit import text
from inpaintkit.data import manifest
from inpaintkit.data.manifest import (
    DELETED_ROW,
    DELETION_FILE,
    HOLE_SUFFIX,
    MARKS_FILE,
    PICTURE_SUFFIX,
    SPLITS,
    read_names,
    write_names,
)
from inpaintkit.data.packed import HOLE_THRESHOLD, with_progress
from inpaintkit.errors import InputError
from inpaintkit.files import require_folder, require_writable

DELETED = "deleted after a look at it"


@dataclass(frozen=True)
class RecordFiles:
    """The two files of a record; `name` is ``SPLIT/STEM``, `hole_fraction` the share of hole pixels, 0..1."""

    name: str
    picture: Path
    hole: Path
    hole_fraction: float


def list_records(folder: str | Path) -> list[RecordFiles]:
    """Return all complete pairs of a data set folder, train before eval, sorted by name.

    Leaves out half pairs, as a running job has them, and completes an interrupted deletion. Raises `InputError` if the
    folder holds no records.
    """
    root = require_folder(folder, "data_dir")
    finish_deletion(root)
    found = []
    for split in SPLITS:
        stems = sorted(_stems(root / split, PICTURE_SUFFIX) & _stems(root / split, HOLE_SUFFIX))
        known = _fractions(root, split)
        # takes long where masks are in no manifest and so must be decoded
        for stem in with_progress(stems, len(stems), root / split, "masks measured"):
            picture, hole = _pair(root, f"{split}/{stem}")
            fraction = known[picture.name] if picture.name in known else _measured(hole)
            found.append(RecordFiles(f"{split}/{stem}", picture, hole, fraction))
    if not found:
        way = "move some back from deleted/" if deleted_records(root) else "generate a data set first"
        raise InputError(f"{root} has no records (pairs *{PICTURE_SUFFIX}, *{HOLE_SUFFIX} in train/ or eval/); {way}")
    return found


def read_marks(folder: str | Path) -> set[str]:
    """Return the names of the records that are marked as bad."""
    return {name for name in read_names(Path(folder) / MARKS_FILE) if _is_name(name)}


def set_marks(folder: str | Path, names: Collection[str], bad: bool) -> None:
    """Mark the records `names` as bad, or remove their marks."""
    marks = read_marks(folder)
    write_names(Path(folder) / MARKS_FILE, marks.union(names) if bad else marks.difference(names))


def delete_records(folder: str | Path, names: Collection[str]) -> int:
    """Move both files of the records `names` to ``deleted/`` and return the number of records found.

    A generation that is continued doesn't make them again. Raises `InputError` while a run writes into this data set.
    """
    root = require_folder(folder, "data_dir")
    finish_deletion(root)
    there = {name for name in names if any(path.exists() for path in _pair(root, name))}
    for split in {name.partition("/")[0] for name in there}:  # otherwise a deletion would begin that can't be completed
        require_writable(root / split, "data_dir")
    if there:
        with _all_locked(root):
            write_names(root / DELETION_FILE, there)
            finish_deletion(root)
    return len(there)


def finish_deletion(folder: str | Path) -> None:
    """Complete an interrupted deletion in a data set folder, if there is one."""
    root = Path(folder)
    if not (root / DELETION_FILE).is_file():
        return
    names = {name for name in read_names(root / DELETION_FILE) if _is_name(name)}
    for name in sorted(names):
        picture, hole = _pair(root, name)
        for file in (hole, picture):  # hole first: iw3 finds records by their holes
            _move(file, _deleted(root, file))
    _change_rows(root, lambda split, row: _as_deleted(row) if _record_name(split, row) in names else row)
    write_names(root / MARKS_FILE, read_marks(root) - names)
    (root / DELETION_FILE).unlink(missing_ok=True)  # another process that lists the records may have completed it, too


def deleted_records(folder: str | Path) -> set[str]:
    """Return the names of the deleted records that can be restored."""
    root = Path(folder)
    found = set[str]()
    for split in SPLITS:
        for stem in _stems(root / manifest.DELETED_FOLDER / split, HOLE_SUFFIX):
            picture, _ = _pair(root, name := f"{split}/{stem}")
            # pictures are restored first: one without its hole is from an interrupted restore
            if _deleted(root, picture).is_file() or picture.is_file():
                found.add(name)
    return found


def restore_records(folder: str | Path, names: Collection[str]) -> int:
    """Restore the files and manifest rows of deleted records and return the number of records found.

    A file of the same name that was made since then stays. Raises `InputError` while a run writes into this data set.
    """
    root = require_folder(folder, "data_dir")
    finish_deletion(root)
    there = deleted_records(root) & set(names)
    with _all_locked(root):
        _change_rows(root, lambda split, row: _as_restored(split, row, there))
        for name in sorted(there):
            for file in _pair(root, name):  # picture first: iw3 finds records by their holes
                if not file.exists():
                    _move(_deleted(root, file), file)
    return len(there)


def _as_deleted(row: manifest.Row) -> manifest.Row:
    """Return a row that says why there is no record, so that no later run makes it again; it holds the record's row."""
    kept = {key: row[key] for key in ("source", "repeat", "record", "sample")}
    return kept | {"dropped": DELETED, DELETED_ROW: row}


def _as_restored(split: str, row: manifest.Row, names: Collection[str]) -> manifest.Row:
    before: manifest.Row = row.get(DELETED_ROW) or {}
    return before if _record_name(split, before) in names else row


def _record_name(split: str, row: manifest.Row) -> str:
    """Return the name of a row's record, or an empty string if the row has none."""
    return f"{split}/{row['picture'].removesuffix(PICTURE_SUFFIX)}" if manifest.is_record(row) else ""


def _change_rows(root: Path, change: Callable[[str, manifest.Row], manifest.Row]) -> None:
    """Apply `change` to (split, row) of every manifest row and rewrite the parts that differ."""
    for part in _parts(root):
        rows = manifest.read_part(part)
        changed = [change(part.parent.name, row) for row in rows]
        if changed != rows:
            manifest.write_part(part, changed)


@contextlib.contextmanager
def _all_locked(root: Path) -> Iterator[None]:
    with contextlib.ExitStack() as locks:
        for data_set in manifest.data_set_names(root):
            locks.enter_context(manifest.all_locks(root, data_set))
        yield


def _deleted(root: Path, file: Path) -> Path:
    return root / manifest.DELETED_FOLDER / file.relative_to(root)


def _move(file: Path, target: Path) -> None:
    """Move `file`, if it exists, to `target`; its folder may be a link to another disk."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with contextlib.suppress(FileNotFoundError):
        shutil.move(file, target)


def _parts(root: Path, split: str = "*") -> list[Path]:
    return sorted((root / manifest.MANIFEST_FOLDER).glob(f"*/{split}/*.jsonl"))


def _fractions(root: Path, split: str) -> dict[str, float]:
    """Return the hole fraction by name of the picture file, from the manifests, so that no mask needs to be decoded."""
    rows = (row for part in _parts(root, split) for row in manifest.read_part(part) if manifest.is_record(row))
    return {row["picture"]: row["hole_pixels"] / row["size"] ** 2 for row in rows}


def _measured(hole: Path) -> float:
    """Return the share of hole pixels in a mask file; 0 if it is broken, so that it is listed and can be deleted."""
    with contextlib.suppress(Exception), Image.open(hole) as image:
        return float((np.asarray(image.convert("L")) > HOLE_THRESHOLD).mean())
    return 0.0


def _stems(folder: Path, suffix: str) -> set[str]:
    return {path.name.removesuffix(suffix) for path in folder.glob(f"[!.]*{suffix}") if path.is_file()}


def _is_name(name: str) -> bool:
    split, _, stem = name.partition("/")
    return split in SPLITS and bool(stem) and Path(stem).name == stem


def _pair(root: Path, name: str) -> tuple[Path, Path]:
    if not _is_name(name):
        raise InputError(
            f"record: {text.shown(repr(name))} is not of the form train/NAME or eval/NAME; take names from list_records"
        )
    return root / f"{name}{PICTURE_SUFFIX}", root / f"{name}{HOLE_SUFFIX}"
