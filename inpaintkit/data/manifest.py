"""The manifest of a data set: what was made, from what and how, in one small file per picture and pass, or per scene.

Such a *part* is written when all its records are on disk, so it also marks its work as finished: a resumed run skips
it. Parts name no machine, time, worker or shard, so the parts of all shards together are those of one unsharded run::

    OUTPUT_DIR/manifest/PREFIX_MODEL/parameters.json          what must stay the same until the data set is finished
    OUTPUT_DIR/manifest/PREFIX_MODEL/{train,eval}/pictures.json   the source pictures and their sizes
    OUTPUT_DIR/manifest/PREFIX_MODEL/{train,eval}/videos/000000.json   the frames chosen from a video
    OUTPUT_DIR/manifest/PREFIX_MODEL/{train,eval}/000000.jsonl    one line per record, or per reason why there is none

In such a line, `record` is 0 for a crop of the picture and 1 for one of its mirror image, `sample` the crop's number.
"""

import contextlib
import json
import math
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from inpaintkit.data.packed import PACK_FOLDER
from inpaintkit.errors import InputError
from inpaintkit.files import FolderLock, atomic_write_text, read_json, remove_leftovers
from inpaintkit.text import shown

MANIFEST_FOLDER, VIDEO_FOLDER, FRAME_FOLDER, DELETED_FOLDER = "manifest", "videos", "frames", "deleted"
LOCK_FOLDER = ".locks"
MARKS_FILE, DELETION_FILE = "marked_bad.txt", ".being_deleted.txt"  # lists of records, see `review`
DELETED_ROW = "deleted_row"  # key of the row that a record had before it was deleted in the browser
PARAMETERS_FILE, SOURCES_FILE = "parameters.json", "pictures.json"
SPLITS = ("train", "eval")
DATA_SET_FOLDERS = (*SPLITS, MANIFEST_FOLDER, FRAME_FOLDER, DELETED_FOLDER, "depth_cache", "runs")
"""The folders in the folder of a data set, unless options say otherwise."""

SEQUENCE_DIGITS = 8
PICTURE_SUFFIX, HOLE_SUFFIX = "_C.png", "_M.png"

IW3_RECORD = re.compile(r"(.+)_([0-9a-f]{8})_([0-9]+)_[0-9]+_[CM]\.png")
"""A record file of iw3's generator: name, hash of the source folder, number of the picture, number of its crop."""

Row = dict[str, Any]


def manifest_folder(output_dir: str | Path, name: str) -> Path:
    """Return the manifest folder of the records whose files start with `name` (``PREFIX_MODEL``)."""
    return Path(output_dir) / MANIFEST_FOLDER / name


def part_path(folder: Path, split: str, number: int) -> Path:
    """Return the path of the part of job `number` of `split`, see `generate.plan.Job`, in the manifest `folder`."""
    return folder / split / f"{number:06d}.jsonl"


def video_path(folder: Path, split: str, place: int) -> Path:
    """Return the path of the file with the frames chosen from a video, which is file number `place` of `split`."""
    return folder / split / VIDEO_FOLDER / f"{place:06d}.json"


def frame_folder(output_dir: str | Path, name: str) -> Path:
    """Return the folder for frames of videos that are saved as pictures."""
    return Path(output_dir) / FRAME_FOLDER / name


def write_part(path: Path, rows: Iterable[Row]) -> None:
    """Write the rows of a part atomically; from then on, it counts as finished."""
    atomic_write_text(path, "".join(json.dumps(row) + "\n" for row in rows))


def read_part(path: Path) -> list[Row]:
    """Return the rows of a part; raise `InputError` if it is damaged."""
    try:
        rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        if all(map(_is_row, rows)):
            return rows
    except (ValueError, RecursionError):
        pass
    raise InputError(f"{path} is damaged; delete it and run the generation again")


def _is_row(row: object) -> bool:
    """Return whether `row` is valid: of a record with the names and sizes used elsewhere, or of something left out."""
    if not isinstance(row, dict) or "picture" not in row:
        return isinstance(row, dict)
    names, sizes = (row["picture"], row.get("hole")), (row.get("size"), row.get("hole_pixels"))
    named = all(isinstance(name, str) and name == os.path.basename(name) for name in names)
    return named and all(type(size) is int and size > 0 for size in sizes)


def is_record(row: Row) -> bool:
    """Return whether a row describes a record; the others say why something was left out."""
    return "picture" in row


def read_manifest(output_dir: str | Path, name: str) -> Iterator[Row]:
    """Yield all rows of the data set `name` (``PREFIX_MODEL``), train before eval, in order of their numbers.

    Rows with a key ``picture`` are records; the others have a key ``dropped`` (a crop) or ``skipped`` (a source) with
    the reason. Raises `InputError` if there is no such data set.
    """
    folder = manifest_folder(output_dir, name)
    if not folder.is_dir():
        known = ", ".join(data_set_names(output_dir)) or "none"
        raise InputError(f"{output_dir} has no data set {name}; there is: {known}")
    for split in SPLITS:
        for path in sorted((folder / split).glob("*.jsonl")):
            yield from read_part(path)


def data_set_names(output_dir: str | Path) -> list[str]:
    """Return the names (``PREFIX_MODEL``) of the data sets begun in `output_dir`."""
    return sorted(path.parent.name for path in (Path(output_dir) / MANIFEST_FOLDER).glob(f"*/{PARAMETERS_FILE}"))


def iw3_set_names(output_dir: str | Path) -> list[str]:
    """Return the names (``PREFIX_MODEL``, or ``MODEL`` alone) of the data sets in `output_dir` that iw3 wrote."""
    names = (path.name for split in SPLITS for path in (Path(output_dir) / split).glob("*"))
    return sorted({found[1] for name in names if (found := IW3_RECORD.fullmatch(name))})


def iw3_source(record_file: str) -> str | None:
    """Return a name for the picture that a record of iw3's generator was cut from, None for any other file.

    iw3 numbers a picture 2n - 1 and its mirror image 2n; both get the same name here.
    """
    found = IW3_RECORD.fullmatch(record_file)
    return f"{found[1]}_{found[2]}_{(int(found[3]) + 1) // 2}" if found else None


def begin(folder: Path, parameters: Mapping[str, Any], pictures: Mapping[str, Mapping[str, int]]) -> None:
    """Start the manifest `folder`, or check that the one there was begun with the same parameters and pictures.

    `pictures`: file sizes (bytes) by split and name. Raises `InputError` naming the first difference, and for records
    whose manifest was lost, because it isn't known what they were made of.
    """
    if not (folder / PARAMETERS_FILE).exists():
        root = folder.parents[1]
        pattern = record_pattern(folder.name)
        lost = sorted(path for split in SPLITS for path in (root / split).glob("[!.]*") if pattern.fullmatch(path.name))
        if lost and not (folder / PARAMETERS_FILE).exists():  # otherwise another shard has just begun it
            raise InputError(
                f"prefix: {len(lost)} files of {folder.name} lie in {root} without their manifest, {lost[0].name} first; bring "
                f"{folder} back, choose another prefix, or clean this one first (`inpaintkit clean -h`)"
            )
    wanted = json.loads(json.dumps(dict(parameters)))
    for name, value in _read_or_write(folder / PARAMETERS_FILE, wanted).items():
        if wanted.get(name) != value:
            raise InputError(
                f"{name}: {folder.name} in {folder.parent.parent} was begun with {name}={value}, not {wanted.get(name)}; "
                "finish it with the old value, choose another prefix, or clean this one first (`inpaintkit clean -h`)"
            )
    for split, sizes in pictures.items():
        before = _read_or_write(folder / split / SOURCES_FILE, dict(sizes))
        changed = sorted(name for name in before if before[name] != sizes.get(name))
        if changed:
            raise InputError(
                f"dataset_dir: {len(changed)} {split} pictures changed since {folder.name} was begun ({changed[0]} first); "
                "restore them, choose another prefix, or clean this one first (`inpaintkit clean -h`)"
            )
        if added := sorted(sizes.keys() - before.keys()):
            raise InputError(
                f"dataset_dir: {len(added)} {split} pictures were added since {folder.name} was begun ({added[0]} first); "
                "move them to a folder of their own, which can join this data set under another prefix"
            )


def begun_with(folder: Path) -> Row:
    """Return the parameters that the manifest `folder` was begun with, {} if it wasn't; `InputError` if damaged."""
    path = folder / PARAMETERS_FILE
    return _read(path) if path.exists() else {}


def _read_or_write(path: Path, content: Row) -> Row:
    if not path.exists():
        atomic_write_text(path, json.dumps(content, indent=1) + "\n")
    return _read(path)


def _read(path: Path) -> Row:
    try:
        return read_json(path)
    except ValueError as error:
        raise InputError(f"{path} is damaged; clean this prefix and generate it again") from error


@contextlib.contextmanager
def lock(output_dir: str | Path, name: str, shard: str) -> Iterator[None]:
    """Lock the shard ``i/n`` of the data set `name` for this process; raise `InputError` if another one holds it.

    Runs with different numbers of shards conflict, too, if their shards have pictures in common.
    """
    folder = Path(output_dir) / LOCK_FOLDER
    index, count = map(int, shard.split("/"))
    with FolderLock(folder, f"prefix {name}", f"{name}_{index}of{count}.lock"):
        for file, other, others in _shard_locks(folder, name):
            if others != count and (other - index) % math.gcd(others, count) == 0:
                purpose = f"prefix {name}: it runs in another number of shards than {count}"
                with FolderLock(folder, purpose, file, shared=True):
                    pass  # it is free
        yield


def _shard_locks(folder: Path, name: str) -> list[tuple[str, int, int]]:
    """Return (name of the lock file, i, n) of each shard ``i/n`` of the data set `name` that was ever locked."""
    pattern = re.compile(rf"{re.escape(name)}_(\d+)of(\d+)\.lock")
    found = (pattern.fullmatch(path.name) for path in folder.glob("*.lock"))
    return sorted((file[0], int(file[1]), int(file[2])) for file in found if file)


def remove_leftovers_of(output_dir: str | Path, name: str, alone: bool) -> None:
    """Delete temporary files that killed runs of the data set `name` left; `alone`: no other shard is being written."""
    root = Path(output_dir)
    pattern = record_pattern(name)
    own = [path for place in (manifest_folder(root, name), frame_folder(root, name)) for path in place.rglob(".*.tmp")]
    shared = [path for split in SPLITS for path in (root / split).glob(".*.tmp") if pattern.fullmatch(path.name)]
    remove_leftovers((*own, *shared), alone)


def record_pattern(name: str) -> re.Pattern[str]:
    """Return the pattern of data set `name`'s file names, temporary ones included; group 1: the sequence number."""
    return re.compile(rf"\.?{re.escape(name)}_(\d{{{SEQUENCE_DIGITS}}})_[CM]\.png(?:\.\d+\.tmp)?")


def clean_prefix(output_dir: str | Path, name: str, dry_run: bool = True) -> list[Path]:
    """Return the files of data set `name` (``PREFIX_MODEL``), deleted records included; delete them unless `dry_run`.

    A data set of iw3 consists of its record files. Bad marks on the records and an interrupted deletion of them are
    removed as well, and the pack of a folder that is then empty.

    Parts are deleted first, then holes, then pictures, and the parameters and sources last: an interrupted clean-up
    leaves a data set that the same run completes and any other one still refuses. Nothing but files of this data set is
    touched, and no link is followed. Raises `InputError` for an invalid name, for folders that are links, and while a
    run is writing this data set.
    """
    check_name(name)
    root = Path(output_dir)
    pattern = record_pattern(name)
    own = [manifest_folder(root, name), frame_folder(root, name)]
    shared = [root / split for split in SPLITS] + [root / DELETED_FOLDER / split for split in SPLITS]
    for folder in (*own, *(place.parent for place in own), root / DELETED_FOLDER, *shared):
        if folder.is_symlink():
            raise InputError(
                f"output_dir: {folder} is a link; nothing was deleted, because its target may belong to something else"
            )
    in_own = [path for place in own for path in place.rglob("*") if path.is_symlink() or not path.is_dir()]
    in_shared = [path for place in shared for path in place.glob("*") if _belongs(path.name, name, pattern)]
    files = sorted({*in_own, *in_shared}, key=lambda path: (_place_in_cleaning(path), path))
    if dry_run or not files:
        return files
    with all_locks(output_dir, name):
        for names in (root / MARKS_FILE, root / DELETION_FILE):
            _forget(names, lambda record: _belongs(os.path.basename(record) + PICTURE_SUFFIX, name, pattern))
        for path in files:
            path.unlink(missing_ok=True)
        for place in own:
            for emptied, _, _ in os.walk(place, topdown=False):
                with contextlib.suppress(OSError):
                    os.rmdir(emptied)
            with contextlib.suppress(OSError):
                place.parent.rmdir()
        for split in SPLITS:
            if not any((root / split).glob("*")) and not (root / PACK_FOLDER).is_symlink():
                for pack in (root / PACK_FOLDER).glob(f"{split}.*"):  # as large as the records were
                    pack.unlink(missing_ok=True)
    return files


def read_names(path: Path) -> list[str]:
    """Return the names in a list file, none if it doesn't exist; a line that starts with a quotation mark is JSON."""
    lines = path.read_text(encoding="utf-8", errors="replace").split("\n") if path.is_file() else []
    return [_unquoted(line) for line in lines if line]


def _unquoted(line: str) -> str:
    with contextlib.suppress(ValueError):
        return str(json.loads(line)) if line.startswith('"') else line
    return line


def write_names(path: Path, names: Iterable[str]) -> None:
    """Write a list file of names, one a line; those with unprintable characters such as line breaks as JSON."""
    lines = (name if name.isprintable() else json.dumps(name) for name in sorted(names))
    atomic_write_text(path, "".join(f"{line}\n" for line in lines))


def _forget(path: Path, gone: Callable[[str], bool]) -> None:
    """Remove names from a list file; delete the file if none is left."""
    names = read_names(path)
    left = [name for name in names if not gone(name)]
    if left and left != names:
        write_names(path, left)
    elif not left:
        path.unlink(missing_ok=True)


def _belongs(file: str, name: str, pattern: re.Pattern[str]) -> bool:
    theirs = IW3_RECORD.fullmatch(file)
    return bool(pattern.fullmatch(file)) or (theirs is not None and theirs[1] == name)


def check_name(name: str) -> None:
    """Raise `InputError` unless `name` can be that of a data set, ``PREFIX_MODEL``: it becomes part of paths."""
    if not name or not all(character.isalnum() or character in "_-" for character in name):
        raise InputError(
            f"prefix: {shown(repr(name))} is not the name of a data set; give PREFIX_MODEL as in its files' names, e.g. photos1_Any_B"
        )


def _place_in_cleaning(path: Path) -> int:
    """Return the order of deletion: 0 for parts, 1 for holes, 2 for pictures, 3 for the parameters and sources."""
    if path.name in (PARAMETERS_FILE, SOURCES_FILE):
        return 3
    return 0 if path.suffix in (".jsonl", ".json") else 1 if HOLE_SUFFIX in path.name else 2


@contextlib.contextmanager
def all_locks(output_dir: str | Path, name: str) -> Iterator[None]:
    """Lock every shard of the data set `name`; raise `InputError` while a run writes one of them."""
    folder = Path(output_dir) / LOCK_FOLDER
    with contextlib.ExitStack() as stack:
        for file, _, _ in _shard_locks(folder, name):
            stack.enter_context(FolderLock(folder, f"prefix {name}", file))
        yield
