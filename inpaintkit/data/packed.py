"""All records of a folder in one memory-mapped file of raw bytes, so that a sample costs a copy and no decoding."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from inpaintkit.errors import InputError
from inpaintkit.files import atomic_path, atomic_write_text

PACK_FOLDER = ".packed"
FORMAT = "inpaintkit-pack-2"
HEADER_BYTES = 64  # the pack's key as text; also keeps the pixels aligned
CHANNELS = 4  # R, G, B, hole
HOLE_THRESHOLD = (
    0  # a pixel is missing where its byte is larger: iw3 writes 127 for its second kind of hole and trains on both
)
READ_AHEAD = 16  # records decoded at once while packing: bounds the memory

Bytes = NDArray[np.uint8]


@dataclass(frozen=True)
class RecordStamp:
    """Size (bytes) and modification time (ns) of the two files of a record: a change of either rebuilds the pack."""

    picture: str
    hole: str
    picture_bytes: int
    picture_mtime: int
    hole_bytes: int
    hole_mtime: int

    @classmethod
    def of(cls, picture: Path, hole: Path) -> RecordStamp:
        first, second = picture.stat(), hole.stat()
        return cls(picture.name, hole.name, first.st_size, first.st_mtime_ns, second.st_size, second.st_mtime_ns)


def read_record(picture: Path, hole: Path) -> Bytes:
    """Return a record as (4, H, W) uint8: R, G, B and the hole (1 = missing).

    Raises `InputError` naming the file that is broken, or the two whose sizes differ.
    """
    record_shape(picture, hole)
    with _blaming(picture), Image.open(picture) as image:
        pixels = np.asarray(image.convert("RGB"))
    with _blaming(hole), Image.open(hole) as image:
        missing = np.asarray(image.convert("L")) > HOLE_THRESHOLD
    return np.concatenate([pixels.transpose(2, 0, 1), missing.astype(np.uint8)[None]])


def record_shape(picture: Path, hole: Path) -> tuple[int, int]:
    """Return (H, W) of a record from the headers of its files; raises `InputError` as `read_record` does."""
    sizes = []
    for path in (picture, hole):
        with _blaming(path), Image.open(path) as image:
            sizes.append(image.size)
    if sizes[0] != sizes[1]:
        differ = " and ".join(f"{width}x{height}" for width, height in sizes)
        raise InputError(
            f"{picture} and {hole.name} differ in size ({differ} px); delete the pair and generate it again"
        )
    return sizes[0][1], sizes[0][0]


@contextlib.contextmanager
def _blaming(path: Path) -> Iterator[None]:
    try:
        yield
    except Exception as error:  # Pillow's decoders raise many kinds; each one means that the file is broken
        raise InputError(
            f"{path} is not a readable picture ({error}); delete the pair and generate it again"
        ) from error


class PackedRecords:
    """Records of one folder, memory-mapped: ``packed[i]`` is a read-only (4, H, W) uint8 view, see `read_record`.

    Pickled by its path alone, so that a loader's workers map the same pages.
    """

    def __init__(self, path: Path, shapes: list[tuple[int, int]], hole_share: float) -> None:
        """Take the file, (H, W) of each record, and the mean share of hole in all of them."""
        self.path, self.shapes, self.hole_share = path, shapes, hole_share
        lengths = [CHANNELS * height * width for height, width in shapes]
        self._starts = np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)]) + HEADER_BYTES
        self._pages = np.memmap(path, np.uint8, mode="r", shape=(int(self._starts[-1]),))

    def __reduce__(self) -> tuple[type[PackedRecords], tuple[Path, list[tuple[int, int]], float]]:
        return type(self), (self.path, self.shapes, self.hole_share)

    def __len__(self) -> int:
        return len(self.shapes)

    def __getitem__(self, index: int) -> Bytes:
        pages = self._pages[self._starts[index] : self._starts[index + 1]]
        return np.asarray(pages).reshape(CHANNELS, *self.shapes[index])


def open_packed(folder: Path, pairs: list[tuple[Path, Path]]) -> PackedRecords | None:
    """Return the pack of the records `pairs` of `folder`, building it where it is missing or older than its sources.

    It lies in ``.packed/`` beside the folder: ``NAME.bin`` (a key, then every record's bytes) and ``NAME.json``
    (the key, sources, sizes). Returns None where it can't be written: the caller then reads the PNG files.
    Raises `InputError` on a broken record.
    """
    sources = [RecordStamp.of(*pair) for pair in pairs]
    data = folder.parent / PACK_FOLDER / f"{folder.name}.bin"
    packed = _open_valid(data, sources)
    if packed is None and _can_write(data.parent):
        try:
            _build(data, sources, pairs)
        except (OSError, InputError) as error:
            if isinstance(error, InputError) and getattr(error.__cause__, "errno", None) is None:
                raise  # a broken record; a full disk, in contrast, only costs the speed of the pack
            return None
        packed = _open_valid(data, sources)
    return packed


def _open_valid(data: Path, sources: list[RecordStamp]) -> PackedRecords | None:
    """Return the pack if key, sources and length all agree, else None."""
    try:
        index: dict[str, Any] = json.loads(data.with_suffix(".json").read_text(encoding="utf-8"))
        with open(data, "rb") as handle:
            key = handle.read(HEADER_BYTES).decode()
        shapes = [(int(height), int(width)) for height, width in index["shapes"]]
        length = HEADER_BYTES + sum(CHANNELS * height * width for height, width in shapes)
        facts = data.stat()
        fits = index["sources"] == [asdict(source) for source in sources] and facts.st_size == length
        fits = (
            fits and index.get("written") == facts.st_mtime_ns
        )  # touched since then: whatever it holds now, it is made anew
        return (
            PackedRecords(data, shapes, float(index["hole_share"]))
            if fits and key == index["key"] == _key(sources, shapes)
            else None
        )
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _key(sources: list[RecordStamp], shapes: list[tuple[int, int]]) -> str:
    content = json.dumps([FORMAT, [asdict(source) for source in sources], shapes])
    return hashlib.blake2b(content.encode(), digest_size=HEADER_BYTES // 2).hexdigest()


def _can_write(folder: Path) -> bool:
    probe = folder / f".write_test.{os.getpid()}"
    with contextlib.suppress(OSError):
        folder.mkdir(exist_ok=True)
        probe.touch()
        probe.unlink()
        return True
    return False


def _build(data: Path, sources: list[RecordStamp], pairs: list[tuple[Path, Path]]) -> None:
    shapes, shares = [], []
    with atomic_path(data) as temporary, open(temporary, "wb") as handle:
        handle.write(bytes(HEADER_BYTES))
        for record in _read_ahead(pairs):
            shapes.append((record.shape[1], record.shape[2]))
            shares.append(float(record[3].mean()))
            handle.write(record.tobytes())
        handle.seek(0)
        handle.write(_key(sources, shapes).encode())
    index: dict[str, Any] = {
        "key": _key(sources, shapes),
        "shapes": shapes,
        "sources": [asdict(source) for source in sources],
    }
    index |= {"written": data.stat().st_mtime_ns, "hole_share": fmean(shares)}
    atomic_write_text(data.with_suffix(".json"), json.dumps(index))


def _read_ahead(pairs: Iterable[tuple[Path, Path]]) -> Iterator[Bytes]:
    remaining = iter(pairs)
    with ThreadPoolExecutor(max_workers=min(READ_AHEAD, os.cpu_count() or 1)) as pool:
        while batch := list(islice(remaining, READ_AHEAD)):
            yield from pool.map(lambda pair: read_record(*pair), batch)
