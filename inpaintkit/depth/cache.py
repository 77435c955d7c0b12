"""A disk cache of depth maps, so that the depth of a picture is never inferred twice."""

import contextlib
import hashlib
import math
import os
import threading
from pathlib import Path

import numpy as np
import torch
from PIL import Image, PngImagePlugin
from torch import Tensor

from inpaintkit.depth.protocol import DepthModel
from inpaintkit.files import atomic_path, remove_leftovers, require_writable

LEVELS = 65535
COMPRESS_LEVEL = 1  # depth maps shrink little beyond it
RECOUNT = 0.02  # of the limit: after writing that much, a process measures the folder again, as others write too
ROOM_AFTER_CLEANING = 0.9  # clean somewhat below the limit, so that not every new map cleans
LARGEST_MAP = 1 << 27  # pixels


def depth_key(picture: Tensor, model: DepthModel) -> str:
    """Return the cache key for the depth of `picture` (1, 3, H, W) by `model`.

    It depends on the picture's content and on the model's name, version and resolution, never on file names.
    """
    pixels = picture.detach().to("cpu", torch.float32).contiguous().numpy()
    digest = hashlib.blake2b(digest_size=16)
    digest.update(repr((picture.shape, model.name, model.version, model.resolution)).encode())
    digest.update(pixels.data)
    return digest.hexdigest()


class DepthCache:
    """A folder of at most `max_bytes` of 16-bit PNG depth maps, shared between runs; the least recently used go first.

    Several threads and processes may use it at the same time; with several processes, it may exceed the limit by 2 %
    for each. Values are rounded to 1/65535; `round_depth` does the same to newly inferred depth.
    """

    def __init__(self, folder: str | Path, max_bytes: int) -> None:
        self.folder = require_writable(folder, "depth cache")
        self.max_bytes = max_bytes
        self._lock = threading.Lock()
        self._clean()

    def find(self, key: str) -> Tensor | None:
        """Return the depth (1, 1, h, w), 0..1, stored under `key` (see `depth_key`); None if missing or damaged."""
        path = self._path(key)
        if not path.is_file():
            return None
        try:
            with Image.open(path, formats=["PNG"]) as image:
                if image.mode != "I;16" or math.prod(image.size) > LARGEST_MAP:
                    return None
                image.verify()  # checks the checksums, which decoding skips
            with Image.open(path, formats=["PNG"]) as image:
                levels = np.asarray(image, dtype=np.uint16)
            with contextlib.suppress(OSError):  # another user's file, in a shared folder
                os.utime(path)
        except Exception:  # whatever is wrong with an entry, it is made anew
            return None
        return _to_depth(levels)

    def store(self, key: str, depth: Tensor, model: DepthModel) -> None:
        """Store `depth` (1, 1, h, w), 0..1, under `key`; raise `InputError` if it can't be written."""
        text = PngImagePlugin.PngInfo()
        text.add_text("depth_model", f"{model.name} {model.version} at {model.resolution} px")
        with atomic_path(self._path(key)) as temporary:
            Image.fromarray(_to_levels(depth)).save(temporary, "PNG", pnginfo=text, compress_level=COMPRESS_LEVEL)
            size = temporary.stat().st_size
        with self._lock:
            self._unseen += size
            if self._unseen > min(self.max_bytes * RECOUNT, self.max_bytes - self._bytes):
                self._clean()

    def _path(self, key: str) -> Path:
        return self.folder / f"{key}.png"

    def _clean(self) -> None:
        """Measure the folder and remove the least recently used maps; another process may remove the same ones."""
        files = []
        for path in self.folder.glob("*.png"):
            with contextlib.suppress(OSError):
                stat = path.stat()
                files.append((stat.st_mtime_ns, stat.st_size, path))
        self._bytes = sum(size for _, size, _ in files)
        self._unseen = 0  # bytes written since the folder was measured
        if self._bytes > self.max_bytes:
            for _, size, path in sorted(files):
                with contextlib.suppress(OSError):  # another user's file, in a shared folder
                    path.unlink(missing_ok=True)
                    self._bytes -= size
                if self._bytes <= self.max_bytes * ROOM_AFTER_CLEANING:
                    break
        remove_leftovers(self.folder.glob(".*"), alone=False)


def round_depth(depth: Tensor) -> Tensor:
    """Return `depth` (1, 1, h, w) rounded as a `DepthCache` would, on the CPU."""
    return _to_depth(_to_levels(depth))


def _to_levels(depth: Tensor) -> np.ndarray:  # type: ignore[type-arg]
    return (depth[0, 0].cpu().double() * LEVELS).round().numpy().astype(np.uint16)


def _to_depth(levels: np.ndarray) -> Tensor:  # type: ignore[type-arg]
    return torch.from_numpy(levels.astype(np.float32) / LEVELS)[None, None]
