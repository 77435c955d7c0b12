"""Pack all records of a folder into one memory-mapped file of raw bytes: a read is a copy, without decoding."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import time
import zlib
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from inpaintkit.data.images import to_rgb
from inpaintkit.errors import InputError
from inpaintkit.files import atomic_path, atomic_write_text, read_json, remove_leftovers

PACK_FOLDER = ".packed"
FORMAT = "inpaintkit-pack-3"
HEADER_BYTES = 64  # the pack's key as text; also keeps the pixels aligned
CHANNELS = 4  # R, G, B, hole
HOLE_THRESHOLD = 0
"""Pixels with a larger mask value are missing: iw3 writes 127 for its second kind of hole and trains on both."""

READ_AHEAD = 16  # records decoded at once while packing: bounds the memory
PROGRESS_SECONDS = 10.0  # s; packing some thousand records takes minutes in which nothing else is reported

Bytes = NDArray[np.uint8]
_Item = TypeVar("_Item")


Stamps = list[tuple[str, int, int]]
"""Name, size (bytes) and modification time (ns) of each record file; if any changes, the pack is rebuilt."""


def read_record(picture: Path, hole: Path) -> Bytes:
    """Return a record as (4, H, W) uint8: R, G, B and the hole (1 = missing).

    Raises `InputError` naming the file that is broken, or the two whose sizes differ.
    """
    record_shape(picture, hole)
    with _naming_file(picture), Image.open(picture) as image:
        pixels = np.asarray(to_rgb(image))
    with _naming_file(hole), Image.open(hole) as image:
        missing = np.asarray(image.convert("L")) > HOLE_THRESHOLD
    return np.concatenate([pixels.transpose(2, 0, 1), missing.astype(np.uint8)[None]])


def record_shape(picture: Path, hole: Path) -> tuple[int, int]:
    """Return (H, W) of a record from the headers of its files; raises `InputError` as `read_record` does."""
    sizes = []
    for path in (picture, hole):
        with _naming_file(path), Image.open(path) as image:
            sizes.append(image.size)
    if sizes[0] != sizes[1]:
        differ = " and ".join(f"{width}x{height}" for width, height in sizes)
        raise InputError(
            f"{picture} and {hole.name} differ in size ({differ} px); delete the pair and generate it again"
        )
    return sizes[0][1], sizes[0][0]


@contextlib.contextmanager
def _naming_file(path: Path) -> Iterator[None]:
    try:
        yield
    except Exception as error:  # Pillow's decoders raise many types; each means that the file is broken
        raise InputError(
            f"{path} is not a readable picture ({error}); delete the pair and generate it again"
        ) from error


@dataclass(frozen=True)
class Facts:
    """Facts about each record of a pack: (H, W), share of hole pixels (0..1), and checksum of its bytes."""

    shapes: list[tuple[int, int]]
    hole_shares: list[float]
    checksums: list[int]


class PackedRecords:
    """The memory-mapped records of one folder, see `read`.

    It is pickled without its pixels, so that all workers of a data loader map the same file.
    """

    def __init__(self, path: Path, facts: Facts, pairs: list[tuple[Path, Path]]) -> None:
        """Map the pack file `path`; `facts` describe its records, `pairs` are the files that they were made from."""
        self.path, self.facts, self.pairs = path, facts, pairs
        self.shapes = facts.shapes
        self._sound: list[bool | None] = [None] * len(pairs)
        lengths = [CHANNELS * height * width for height, width in self.shapes]
        self._starts = np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)]) + HEADER_BYTES
        self._pages = np.memmap(path, np.uint8, mode="r", shape=(int(self._starts[-1]),))

    def __reduce__(self) -> tuple[type[PackedRecords], tuple[Path, Facts, list[tuple[Path, Path]]]]:
        return type(self), (self.path, self.facts, self.pairs)

    def __len__(self) -> int:
        return len(self.shapes)

    def read(self, index: int) -> Bytes:
        """Return a record as a (4, H, W) uint8 array, see `read_record`; read-only unless it is damaged in the pack.

        At its first use, it is compared with its checksum. A damaged record is read from its files instead, and the
        pack's index is deleted, so that the next start rebuilds the pack.
        """
        pages = np.asarray(self._pages[self._starts[index] : self._starts[index + 1]])
        if self._sound[index] is None:
            self._sound[index] = zlib.crc32(pages.data) == self.facts.checksums[index]
        if self._sound[index]:
            return pages.reshape(CHANNELS, *self.shapes[index])
        with contextlib.suppress(OSError):
            self.path.with_suffix(".json").unlink(missing_ok=True)
        return read_record(*self.pairs[index])


def open_packed(folder: Path, pairs: list[tuple[Path, Path]]) -> PackedRecords | None:
    """Return the pack of the records `pairs` of `folder`; build it if it is missing or its sources have changed.

    It lies in ``.packed/`` beside the folder: ``NAME.bin`` (a key, then every record's bytes) and ``NAME.json`` (the
    key, sizes, shares of hole, checksums). Returns None if it can't be written: the caller then reads the PNG files.
    Raises `InputError` for a broken record.
    """
    files = (path for pair in pairs for path in pair)
    sources = [(path.name, (stat := path.stat()).st_size, stat.st_mtime_ns) for path in files]
    data = folder.parent / PACK_FOLDER / f"{folder.name}.bin"
    remove_leftovers(data.parent.glob(".*"), alone=False)  # each as large as the data set
    if (packed := _open_valid(data, sources, pairs)) is not None:
        return packed
    try:
        _build(data, sources, pairs)
    except (OSError, InputError) as error:
        if isinstance(error, InputError) and getattr(error.__cause__, "errno", None) is None:
            raise  # a broken record; a full disk only costs the speed of the pack
        return None
    return _open_valid(data, sources, pairs)


def _open_valid(data: Path, sources: Stamps, pairs: list[tuple[Path, Path]]) -> PackedRecords | None:
    """Return the pack if its key fits the sources and the file is long enough, else None."""
    try:
        index = read_json(data.with_suffix(".json"))
        with open(data, "rb") as handle:
            key = handle.read(HEADER_BYTES).decode()
        shapes = [(int(height), int(width)) for height, width in index["shapes"]]
        facts = Facts(shapes, index["hole_shares"], index["checksums"])
        return PackedRecords(data, facts, pairs) if key == index["key"] == _key(sources, facts) else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _key(sources: Stamps, facts: Facts) -> str:
    content = json.dumps([FORMAT, sources, asdict(facts)])
    return hashlib.blake2b(content.encode(), digest_size=HEADER_BYTES // 2).hexdigest()


def _build(data: Path, sources: Stamps, pairs: list[tuple[Path, Path]]) -> None:
    facts = Facts([], [], [])
    with atomic_path(data) as temporary, open(temporary, "wb") as handle:
        handle.write(bytes(HEADER_BYTES))
        for record in with_progress(
            _read_ahead(pairs), len(pairs), data, "records packed; later starts read them from there"
        ):
            content = record.tobytes()
            facts.shapes.append((record.shape[1], record.shape[2]))
            facts.hole_shares.append(float(record[3].mean()))
            facts.checksums.append(zlib.crc32(content))
            handle.write(content)
        handle.seek(0)
        handle.write(_key(sources, facts).encode())
    atomic_write_text(data.with_suffix(".json"), json.dumps({"key": _key(sources, facts), **asdict(facts)}))


def with_progress(items: Iterable[_Item], count: int, place: Path, what: str) -> Iterator[_Item]:
    """Yield `items`, and print ``PLACE: n of COUNT WHAT`` every `PROGRESS_SECONDS` seconds."""
    printed = time.monotonic()
    for done, item in enumerate(items, 1):
        yield item
        if time.monotonic() - printed >= PROGRESS_SECONDS:
            printed = time.monotonic()
            print(f"{place}: {done} of {count} {what}", flush=True)


def _read_ahead(pairs: Iterable[tuple[Path, Path]]) -> Iterator[Bytes]:
    remaining = iter(pairs)
    with ThreadPoolExecutor(max_workers=min(READ_AHEAD, os.cpu_count() or 1)) as pool:
        while batch := list(islice(remaining, READ_AHEAD)):
            yield from pool.map(lambda pair: read_record(*pair), batch)
