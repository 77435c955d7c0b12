"""Write files atomically: a crash at any moment leaves the old file or the new one. Also checks and locks of paths."""

import contextlib
import csv
import errno
import fcntl
import hashlib
import io
import itertools
import json
import os
import re
import secrets
import stat
import tempfile
import time
from collections.abc import Iterable, Iterator
from datetime import datetime
from pathlib import Path
from typing import IO, Any

from inpaintkit.errors import InputError

OLD = "old"
"""Subfolder of a run folder that keeps the files of earlier runs."""

WRITE_PROBLEMS = {
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "the disk quota is used up",
    errno.EFBIG: "the file would be larger than this system allows",
    errno.EACCES: "no write permission",
    errno.EROFS: "the file system is read-only",
    errno.ENOTDIR: "a file or a broken link is where its folder has to be",
    errno.EEXIST: "a file or a broken link is where its folder has to be",
}
NO_LOCK_FILES = (errno.ELOOP, errno.EMLINK, errno.EISDIR, errno.ENXIO)
"""Errors of opening a link, a folder or a pipe that lies where the lock file should be."""

NO_LOCKS = (errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS)

TEMPORARY_NAME = re.compile(r"^\.(.+)\.\d+\.tmp$")
"""Name of the temporary file, beside its target, that new content is written to first."""

ABANDONED = 3600
"""Seconds after which an unchanged temporary file counts as left behind by a killed process."""

LONGEST_NAME = 240
"""Longest file name in bytes: file systems allow 255, and the name of the temporary file is longer."""


def fitting_name(stem: str, ending: str) -> str:
    """Return `stem` + `ending`; a stem too long for a file system is cut and followed by a hash of the whole stem.

    >>> fitting_name("photo", ".png")
    'photo.png'
    """
    room = LONGEST_NAME - len(ending.encode())
    whole = stem.encode("utf-8", "surrogateescape")
    if len(whole) <= room:
        return stem + ending
    mark = f"-{hashlib.blake2b(whole, digest_size=8).hexdigest()}"
    return whole[: room - len(mark)].decode("utf-8", "ignore") + mark + ending


def full_path(text: str | Path) -> Path:
    """Return `text` as an absolute path, which a job in another working folder can use; ``~`` is expanded.

    A link to a file keeps its own name, because its target's name has no ending in the caches of hubs.
    """
    path = Path(os.path.expanduser(text))
    return path.resolve() if path.is_dir() else path.parent.resolve() / path.name


def sync_folder(folder: Path) -> None:
    """Make a rename in `folder` survive a power cut; do nothing where folders can't be opened."""
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


@contextlib.contextmanager
def write_problems_said(path: Path) -> Iterator[None]:
    """Turn `WRITE_PROBLEMS`, a full disk for instance, within the context into an `InputError` that names `path`."""
    try:
        yield
    except OSError as error:
        reason = WRITE_PROBLEMS.get(error.errno or 0)
        if reason is None:
            raise
        raise InputError(f"cannot write {path}: {reason}; any older version of the file is unchanged") from error


@contextlib.contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; on success it is synced to disk and renamed to `path`.

    On any error the temporary file is removed and the old `path` stays untouched. Raises as `write_problems_said`.
    """
    path = Path(path)
    # random, because containers and machines that share the folder may have equal process ids
    temporary = path.with_name(f".{path.name}.{secrets.randbelow(10**9)}.tmp")
    try:
        with write_problems_said(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            # O_EXCL, because in an untrusted folder a link of that name could point at any file
            os.close(os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
            yield temporary
            with open(temporary, "rb+") as handle:
                os.fsync(handle.fileno())
            os.replace(temporary, path)
            sync_folder(path.parent)
    finally:
        with contextlib.suppress(OSError):  # renamed by now, or another error is already on its way
            temporary.unlink()


def remove_leftovers(paths: Iterable[Path], alone: bool) -> None:
    """Remove the temporary files among `paths` that killed processes left behind.

    If this process is `alone` at work there these are all of them, else those unchanged for an hour.
    """
    for path in paths:
        with contextlib.suppress(OSError):
            if TEMPORARY_NAME.fullmatch(path.name) and (alone or time.time() - path.stat().st_mtime > ABANDONED):
                path.unlink()


def atomic_write_text(path: str | Path, text: str) -> None:
    """Write `text` as UTF-8 to `path`, atomically."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def atomic_write_csv(path: str | Path, rows: Iterable[Iterable[object]]) -> None:
    """Write `rows` as CSV to `path`, atomically."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    atomic_write_text(path, text.getvalue())


def read_json(path: str | Path) -> dict[str, Any]:
    """Return the JSON object in a file. Raises `ValueError` for any other or damaged content."""
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8"))
    except RecursionError:
        raise ValueError("it is nested too deep") from None
    if not isinstance(content, dict):
        raise ValueError(f"it holds a {type(content).__name__}")
    return content


def require_folder(path: str | Path, name: str) -> Path:
    """Return `path` if it is a readable folder, else raise an `InputError` that names the parameter `name`."""
    folder = Path(path)
    if not folder.exists():
        raise InputError(f"{name}: the folder {folder} does not exist; give the path of an existing folder")
    if not folder.is_dir():
        raise InputError(f"{name}: {folder} is a file; give a folder")
    if not os.access(folder, os.R_OK | os.X_OK):
        raise InputError(f"{name}: no permission to read {folder}; change its permissions or choose another folder")
    return folder


def require_file(path: str | Path, name: str) -> None:
    """Raise an `InputError` that names the parameter `name` unless `path` is a file."""
    if Path(path).is_dir():
        raise InputError(f"{name}: {path} is a folder; give a file in it")
    if not Path(path).exists():
        raise InputError(f"{name}: the file {path} does not exist; give the path of an existing file")
    if not Path(path).is_file():
        raise InputError(f"{name}: {path} is a device or a pipe; give a file")


def require_writable(path: str | Path, name: str) -> Path:
    """Return the folder `path` if files can be written in it, or if it can be created; else raise an `InputError`."""
    folder = Path(path)
    try:
        there = next(place for place in (folder, *folder.parents) if place.exists())
        with tempfile.TemporaryFile(dir=there, buffering=0) as probe:
            probe.write(b"x")
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise InputError(
            f"{name}: cannot write into {folder} ({reason}); choose a folder that you may write to"
        ) from None
    return folder


def move_aside(folder: Path, names: Iterable[str], dated: Path) -> Path:
    """Move what matches the patterns `names` in `folder` to ``old/DATE``, and return that folder.

    DATE is the time of the file `dated`. If that folder holds one of the names already, it is ``old/DATE_2`` and so on.
    """
    date = datetime.fromtimestamp(dated.stat().st_mtime).strftime("%Y-%m-%d_%H-%M-%S")
    found = {path for name in names for path in folder.glob(name)}
    places = (folder / OLD / (date if number == 1 else f"{date}_{number}") for number in itertools.count(1))
    target = next(place for place in places if not any((place / path.name).exists() for path in found))
    target.mkdir(parents=True, exist_ok=True)
    # `dated` last: after a kill the next call moves the rest to the same folder
    for path in sorted(found, key=lambda path: path == dated):
        os.replace(path, target / path.name)
    return target


class FolderLock(contextlib.AbstractContextManager["FolderLock"]):
    """Lock that reserves `folder` for one process, from its construction to the end of its context.

    A second process gets an `InputError` that names the id of the first; `purpose` begins its message. `shared` is for
    processes that only ask whether the folder is free. The operating system releases the lock when its process ends,
    however it ends, so that no stale lock remains.
    """

    def __init__(self, folder: str | Path, purpose: str, name: str = ".lock", shared: bool = False) -> None:
        self.folder = Path(folder)
        self.path = Path(folder) / name
        self.purpose = purpose
        self.shared = shared
        self._handle = self._take()

    def keep(self) -> None:
        """Take the lock again if its file was removed. Raises `InputError` if another process has it by then."""
        with contextlib.suppress(FileNotFoundError):
            if os.path.samestat(os.stat(self.path), os.fstat(self._handle.fileno())):
                return
        removed = self._handle
        self._handle = self._take()
        removed.close()

    def __exit__(self, *_: object) -> None:
        self._handle.close()

    def _take(self) -> IO[str]:
        self.folder.mkdir(parents=True, exist_ok=True)
        try:
            # never through a link, which in an untrusted folder could point at any file
            descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o666)
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):  # Linux opens a pipe like a file
                os.close(descriptor)
                raise OSError(errno.ENXIO, "not an ordinary file")
        except OSError as error:
            hint = "remove it, it is no file of this kit" if error.errno in NO_LOCK_FILES else "check its permissions"
            raise InputError(
                f"{self.purpose}: {self.path} can't be used as a lock ({error.strerror}); {hint}"
            ) from None
        handle = os.fdopen(descriptor, "r+", encoding="utf-8", errors="replace")
        try:
            fcntl.flock(handle, (fcntl.LOCK_SH if self.shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
        except OSError as error:
            with handle:
                raise InputError(f"{self.purpose}: {self._reason(error, handle)}") from None
        if not self.shared:
            handle.seek(0)
            handle.truncate()
            handle.write(str(os.getpid()))
            handle.flush()
        return handle

    def _reason(self, error: OSError, handle: IO[str]) -> str:
        if error.errno in NO_LOCKS:
            return f"the file system of {self.folder} can't lock files; choose a folder on another one"
        handle.seek(0)
        owner = f"process {text}" if (text := handle.read(20).strip()).isdecimal() else "another process"
        return f"{self.folder} is in use by {owner}; wait for it or stop it"
