"""Where pictures come from: files, and frames of videos, in ``train/`` and ``eval/`` or split by the kit.

A *source* is one picture to be: a picture file, or one frame of a video. Its name, ``photo.jpg`` or
``clip.mp4#t=12.345`` (seconds), is all that is needed to find it again.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from inpaintkit.config import GenerateConfig
from inpaintkit.data.frame_choice import choose_frames
from inpaintkit.data.images import UnreadablePicture, content_key, decode_picture, list_pictures, read_file
from inpaintkit.data.manifest import SPLITS, VIDEO_FOLDER
from inpaintkit.data.video import Moment, VideoReaders, frame_picture, is_video, moment_at, survey
from inpaintkit.errors import InputError
from inpaintkit.files import atomic_write_text
from inpaintkit.seeds import derive_seed

FRAME_NAME = re.compile(r"(?P<file>.+)#t=(?P<time>\d+\.\d{3})")
HASH_BLOCK = 1 << 20
LARGEST_SEED = 1 << 63


@dataclass(frozen=True)
class Source:
    """A picture file, or with `moment` a frame of a video file. `refused`: why there will be no picture."""

    path: Path
    moment: Moment | None = None
    refused: str | None = None

    @property
    def name(self) -> str:
        name = printable(self.path.name)
        return name if self.moment is None else f"{name}#t={self.moment.time:.3f}"


def printable(name: str) -> str:
    """Return a file's name, with bytes that are no text as ``\\udcff``: manifests and terminals only take text."""
    return name.encode("utf-8", "backslashreplace").decode()


@dataclass(frozen=True)
class Content:
    """What a source holds: `key` is the hash that all random numbers of its records depend on.

    `decode` returns the picture (H, W, 3) uint8; given a short side (px) it may be smaller, but no smaller than that.
    """

    key: str
    decode: Callable[[int | None], NDArray[np.uint8]]


def read_source(source: Source, readers: VideoReaders) -> Content:
    """Read `source`; raise `UnreadablePicture` with the reason if that is impossible."""
    if source.refused is not None:
        raise UnreadablePicture(source.refused)
    if source.moment is None:
        data = read_file(source.path)
        return Content(content_key(data), lambda short_side: decode_picture(data, short_side))
    decoded = readers.read(source.path, source.moment)
    return Content(content_key(decoded.pixels.tobytes()), lambda short_side: frame_picture(decoded, short_side))


def sources_of(
    path: Path, duplicate_of: str | None, plan: Path, config: GenerateConfig, tell: Callable[[str], None]
) -> list[Source]:
    """Return what one file gives: a picture, or the frames chosen from a video; or a source that says why nothing.

    A video is surveyed once, which takes as long as decoding it; the choice is kept in the file `plan`.
    """
    if printable(path.name) != path.name:
        return [Source(path, refused="has a name that is not UTF-8 text; rename it")]
    if duplicate_of is not None:
        return [Source(path, refused=f"has the same content as {duplicate_of}")]
    if not is_video(path):
        return [Source(path)]
    if not plan.exists():
        tell(f"looking through {path.name}")
        atomic_write_text(plan, json.dumps(plan_video(path, config), ensure_ascii=False) + "\n")
    found = _read_plan(plan)
    if found["refused"] is not None:
        return [Source(path, refused=found["refused"])]
    return [Source(path, Moment(stamp, time, key, tuple(grid))) for stamp, time, key, grid in found["frames"]]


def plan_video(path: Path, config: GenerateConfig) -> dict[str, Any]:
    """Survey a video and return the choice of its frames as it is kept in the manifest."""
    plan: dict[str, Any] = {"video": path.name, "refused": None, "frames": []}
    try:
        looks, moments = survey(path, config.max_fps, config.skip_first)
    except UnreadablePicture as error:
        return {**plan, "refused": str(error)}
    choice = choose_frames(looks, config.video_interval, config.video_frames)
    facts = {"seconds": round(float(looks.times[-1]), 3), "scenes": choice.scenes, "left_out": choice.left_out}
    if not choice.taken:
        plan["refused"] = f"has no usable frame: {_listed(choice.left_out)}"
    return {**plan, **facts, "looks": len(looks), "frames": [astuple(moments[index]) for index in choice.taken]}


def _listed(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {reason}" for reason, count in counts.items())


def _read_plan(plan: Path) -> dict[str, Any]:
    try:
        return dict(json.loads(plan.read_text(encoding="utf-8")))
    except ValueError as error:
        raise InputError(f"{plan} is damaged; delete it and run the generation again") from error


def describe_videos(folder: Path) -> tuple[tuple[str, str], ...]:
    """Return (``train/clip.mp4``, what was taken from it and what was left out) of each video in a manifest `folder`."""
    lines = []
    for split in SPLITS:
        for file in sorted((folder / split / VIDEO_FOLDER).glob("*.json")):
            plan = _read_plan(file)
            said = f"skipped, it {plan['refused']}"
            if plan["refused"] is None:
                said = f"{len(plan['frames'])} frames from {plan['scenes']} scenes in {plan['seconds']:.1f} s"
                said += f"; left out of {plan['looks']} looked at: {_listed(plan['left_out'])}" * bool(plan["left_out"])
            lines.append((f"{split}/{plan['video']}", said))
    return tuple(lines)


def describe_split(dataset_dir: str | Path, files: Mapping[str, Sequence[Path]], eval_fraction: float) -> str:
    """Return in words how files came to be in train or eval."""
    if is_divided(Path(dataset_dir)):
        return "by the folders train/ and eval/"
    counts = ", ".join(f"{len(paths)} files to {split}/" for split, paths in files.items())
    return f"by name, eval_fraction {eval_fraction:g}: {counts}"


def list_files(dataset_dir: str | Path, eval_fraction: float) -> dict[str, list[Path]]:
    """Return the picture and video files of train and eval, sorted by name.

    Files straight in `dataset_dir`, which may also be a single file, are split: see `split_files`.
    """
    root = Path(dataset_dir)
    if is_divided(root):
        return {split: list_pictures(root / split) if (root / split).is_dir() else [] for split in SPLITS}
    files = [root] if root.is_file() else [path for path in list_pictures(root) if not path.is_dir()]
    return split_files(files, eval_fraction)


def is_divided(dataset_dir: Path) -> bool:
    """Tell whether a data set folder has train/ or eval/ folders of its own."""
    return any((dataset_dir / split).is_dir() for split in SPLITS)


def split_files(files: list[Path], eval_fraction: float) -> dict[str, list[Path]]:
    """Divide files into train and eval by their names alone, so that a new file moves none of the others.

    A video goes to one side as a whole. Both sides get at least one of several files, unless the fraction is 0 or 1.
    """
    places = {path: derive_seed("split", printable(path.name)) / LARGEST_SEED for path in files}
    chosen = {path for path in files if places[path] < eval_fraction}
    if len(files) > 1 and 0 < eval_fraction < 1:
        if not chosen:
            chosen = {min(files, key=places.__getitem__)}
        elif len(chosen) == len(files):
            chosen -= {max(files, key=places.__getitem__)}
    return {"train": [path for path in files if path not in chosen], "eval": [path for path in files if path in chosen]}


def find_source(dataset_dir: str | Path, name: str) -> Source:
    """Return the source that a manifest calls `name` (``train/clip.mp4#t=12.345``).

    Raises `UnreadablePicture` when it names a frame that the video hasn't got.
    """
    root, (split, _, file) = Path(dataset_dir), name.partition("/")
    folder = root.parent if root.is_file() else root / split if is_divided(root) else root
    frame = FRAME_NAME.fullmatch(file)
    if frame is None or (folder / file).exists():
        return Source(folder / file)
    path = folder / frame["file"]
    return Source(path, moment_at(path, float(frame["time"])))


def find_duplicates(paths: list[Path]) -> dict[Path, str]:
    """Return the first file (``folder/name``) with the same content for each of `paths` that isn't the first itself."""
    by_size: dict[int, list[Path]] = {}
    for path in paths:
        by_size.setdefault(file_size(path), []).append(path)
    first: dict[str, Path] = {}
    duplicates = {}
    for path in (path for group in by_size.values() if len(group) > 1 for path in group):
        try:
            key = _video_key(path) if is_video(path) else content_key(read_file(path))
        except (UnreadablePicture, OSError):
            continue  # refused with its own reason when its turn comes
        if key in first:
            duplicates[path] = f"{first[key].parent.name}/{printable(first[key].name)}"
        first.setdefault(key, path)
    return duplicates


def _video_key(path: Path) -> str:
    """Return the hash of a file of any size; an empty one is no duplicate of another."""
    digest = hashlib.blake2b()
    with path.open("rb") as file:
        while block := file.read(HASH_BLOCK):
            digest.update(block)
    if not file_size(path):
        raise UnreadablePicture("is empty")
    return digest.hexdigest()


def file_size(path: Path) -> int:
    """Return the size of a file in bytes, -1 if it can't be told."""
    try:
        return path.stat().st_size
    except OSError:
        return -1
