"""Find the sources of a data set: picture files and frames of videos, in ``train/`` and ``eval/`` or split by the kit.

A *source* provides one picture: it is a picture file or one frame of a video. Its name, ``photo.jpg`` or
``clip.mp4#t=12.345`` (seconds from the first frame), says where it is.
"""

import hashlib
import json
import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import astuple, dataclass
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from inpaintkit.config import GenerateConfig
from inpaintkit.data.bars import NO_BARS, Bars, bars_of_picture
from inpaintkit.data.frame_choice import THUMB_SIZE, choose_frames, difference, find_two_views
from inpaintkit.data.images import (
    MIN_SIDE,
    UnreadablePicture,
    check_size,
    content_key,
    decode_picture,
    is_picture,
    list_pictures,
    read_file,
    read_picture,
)
from inpaintkit.data.manifest import DATA_SET_FOLDERS, MANIFEST_FOLDER, PARAMETERS_FILE, SPLITS, VIDEO_FOLDER
from inpaintkit.data.video import FrameMark, frame_picture, is_video, survey
from inpaintkit.data.video_readers import VideoReaders
from inpaintkit.errors import InputError
from inpaintkit.files import atomic_write_text, read_json
from inpaintkit.seeds import derive_seed
from inpaintkit.text import count_of, printable, shown

HASH_BLOCK = 1 << 20
NUMBER = re.compile(r"\d+")
FRAME_PAIRS = 8  # at most this many are compared
NEXT_FRAME = 10  # levels; thumbnails of successive frames of a film mostly differ by less, those of photos hardly ever
LARGEST_SEED = 1 << 63


@dataclass(frozen=True)
class Source:
    """A picture file or, with `moment`, a frame of a video file. `refused`: the reason why it gives no picture, if any.

    `file`: its path below the folder of its split, see `source_name`; `bars`: the black bars of the video.
    """

    path: Path
    file: str
    moment: FrameMark | None = None
    refused: str | None = None
    bars: Bars = NO_BARS

    @property
    def name(self) -> str:
        return self.file if self.moment is None else f"{self.file}#t={self.moment.time:.3f}"


def source_name(path: Path, dataset_dir: Path, split: str) -> str:
    """Return the name of a file of `split`: its path below the split's folder, with bytes escaped that aren't text."""
    folder = dataset_dir / split if is_divided(dataset_dir) else dataset_dir
    return printable(
        path.relative_to(folder).as_posix() if path.is_relative_to(folder) and path != folder else path.name
    )


@dataclass(frozen=True)
class Content:
    """The content of a source; `key` is its hash, from which the random numbers of its records come.

    `picture` takes a short side (px) or None and returns the pixels (H, W, 3) uint8 without the black bars that are
    `known`, those of the video; see `decode`.
    """

    key: str
    picture: Callable[[int | None], NDArray[np.uint8]]
    known: Bars = NO_BARS

    def decode(self, short_side: int | None) -> tuple[NDArray[np.uint8], Bars]:
        """Return the picture (H, W, 3) uint8 without black bars, and the bars that it had, in px of the whole picture.

        With `short_side` (px), it may be scaled down, but not below that; one with bars not known before has full size.
        Raises `UnreadablePicture` if it can't be decoded, or if too little is left between the bars.
        """
        pixels = self.picture(short_side)
        if not any(bars_of_picture(pixels)):
            return pixels, self.known
        whole = self.picture(None)
        bars = bars_of_picture(whole)
        if not any(bars):
            return pixels, self.known
        seen = bars.cut(whole)
        check_size(seen.shape[1], seen.shape[0])
        return np.ascontiguousarray(seen), Bars(*map(sum, zip(self.known, bars, strict=True)))


def read_source(source: Source, readers: VideoReaders) -> Content:
    """Read `source`; raise `UnreadablePicture` with the reason if that is impossible."""
    if source.refused is not None:
        raise UnreadablePicture(source.refused)
    if source.moment is None:
        data = read_file(source.path)
        return Content(content_key(data), partial(decode_picture, data))
    decoded = readers.read(source.path, source.moment)
    # `Content.decode` cuts further bars off, as of a film in a broadcast or in a recording of another shape
    seen = decoded.without(source.bars)
    check_size(*seen.shown_size)  # recordings that were joined may differ in size
    return Content(content_key(decoded.pixels.tobytes()), partial(frame_picture, seen), source.bars)


def sources_of(
    path: Path, name: str, duplicate_of: str | None, kept_in: Path, config: GenerateConfig, tell: Callable[[str], None]
) -> list[Source]:
    """Return the sources in one file: the picture, the frames chosen from a video, or one with the reason to refuse it.

    A video is surveyed once, which takes as long as decoding it; `kept_in` is the file that then holds the choice.
    """
    if printable(path.name) != path.name:
        return [Source(path, name, refused="has a name that is not UTF-8 text; rename it")]
    if duplicate_of is not None:
        return [Source(path, name, refused=f"has the same content as {duplicate_of}")]
    if not is_video(path):
        return [Source(path, name)]
    if not kept_in.exists():
        tell(f"looking through {shown(name)}")
        found = {"video": name} | plan_video(path, config)
        if "views" in found:
            tell(f"{shown(name)}: {_views_note(found)}")
        atomic_write_text(kept_in, json.dumps(found, ensure_ascii=False) + "\n")
    found = _read_plan(kept_in)
    if found["refused"] is not None:
        return [Source(path, name, refused=found["refused"])]
    bars = Bars(*found.get("bars", NO_BARS))
    return [
        Source(path, name, FrameMark(stamp, time, key, tuple(grid)), bars=bars)
        for stamp, time, key, grid in found["frames"]
    ]


def plan_video(path: Path, config: GenerateConfig) -> dict[str, Any]:
    """Survey a video, choose its frames, and return the choice in the form that the manifest keeps."""
    plan: dict[str, Any] = {"refused": None, "frames": []}
    try:
        looks, moments = survey(path, config.max_fps, config.skip_first)
    except UnreadablePicture as error:
        return {**plan, "refused": str(error)}
    choice = choose_frames(looks, config.video_interval, config.video_frames)
    facts: dict[str, Any] = {"bars": looks.bars} if any(looks.bars) else {}
    if (views := find_two_views(looks.thumbs)) is not None:
        facts["views"] = views
    facts |= {"seconds": round(float(looks.times[-1]), 3), "scenes": choice.scenes, "left_out": choice.left_out}
    if not choice.taken:
        plan["refused"] = f"has no usable frame: {_listed(choice.left_out)}"
    return {**plan, **facts, "looks": len(looks), "frames": [astuple(moments[index]) for index in choice.taken]}


def _views_note(plan: Mapping[str, Any]) -> str:
    return f"its frames look like two views {plan['views']}, as of a 3D film, and would be taken for one picture: crop the video to one view"


def _listed(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {reason}" for reason, count in counts.items())


def _read_plan(file: Path) -> dict[str, Any]:
    try:
        found = read_json(file)
        if found["refused"] is None and not all(isinstance(grid, list) for _, _, _, grid in found["frames"]):
            raise ValueError
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{file} is damaged; delete it and run the generation again") from error
    return found


def describe_videos(folder: Path) -> tuple[tuple[str, str], ...]:
    """Return, for each video in a manifest `folder`, its name (``train/clip.mp4``) and what was taken and left out."""
    lines = []
    for split in SPLITS:
        for file in sorted((folder / split / VIDEO_FOLDER).glob("*.json")):
            plan = _read_plan(file)
            line = f"skipped, it {plan['refused']}"
            if plan["refused"] is None:
                frames, scenes = count_of(len(plan["frames"]), "frame"), count_of(plan["scenes"], "scene")
                line = f"{frames} from {scenes} in {plan['seconds']:.1f} s"
                line += f"; left out of {plan['looks']} looked at: {_listed(plan['left_out'])}" * bool(plan["left_out"])
                line += f"; {Bars(*plan['bars'])}" if "bars" in plan else ""
            line += f"; {_views_note(plan)}" if "views" in plan else ""
            lines.append((f"{split}/{plan['video']}", line))
    return tuple(lines)


def list_files(dataset_dir: Path, written: Collection[Path]) -> dict[str, list[Path]]:
    """Return the files that may be pictures or videos, by split, sorted by path.

    Without folders train/ and eval/, all are "train". The folders `written`, which this run writes into, are left
    out, as are those of earlier runs and data sets: records and masks are no photos.
    """
    runs = [path.parent for path in dataset_dir.rglob("params.yaml") if path.with_name("manifest.json").is_file()]
    data_sets = {path.parents[2] for path in dataset_dir.rglob(f"{MANIFEST_FOLDER}/*/{PARAMETERS_FILE}")}
    written = [*written, *runs, *(data_set / name for data_set in data_sets for name in DATA_SET_FOLDERS)]
    if is_divided(dataset_dir):
        folders = {split: dataset_dir / split for split in SPLITS}
        return {split: list_pictures(folder, written) if folder.is_dir() else [] for split, folder in folders.items()}
    files = [dataset_dir] if dataset_dir.is_file() else list_pictures(dataset_dir, written)
    return {"train": files, "eval": []}


def is_divided(dataset_dir: Path) -> bool:
    """Return whether a folder of pictures has train/ or eval/ folders of its own."""
    return any((dataset_dir / split).is_dir() for split in SPLITS)


def usable(path: Path) -> bool:
    """Return whether a file can be expected to give pictures, without decoding it. Never raises."""
    return is_video(path) or is_picture(path)


def divide(files: list[Path], eval_fraction: float) -> tuple[dict[str, list[Path]], str]:
    """Return the files by split, see `split_files`, and a description of the division.

    Files that can't be used or repeat the content of an earlier one don't count when each split must have a file.
    """
    same = find_duplicates(files)
    split = split_files(files, eval_fraction, {path for path in files if path not in same and usable(path)})
    counts = ", ".join(f"{count_of(len(paths), 'file')} to {name}/" for name, paths in split.items())
    if (alike := _frames_apart(files, set(split["eval"]))) is not None:
        counts += (
            f"; {' and '.join(shown(path.name) for path in alike)} look like frames of one film, of which both sides have some: a model "
            "would be judged on what it was trained on, so make folders train/ and eval/, each with films of its own"
        )
    return split, f"by name, eval_fraction {eval_fraction:g}: {counts}"


def _frames_apart(files: list[Path], judged: Collection[Path]) -> tuple[Path, Path] | None:
    """Return two files that look like frames of one film, one of which is `judged` (in eval); `files` are sorted.

    Candidates are neighbours whose names differ only in numbers. Cameras number photos as well, so some candidates are
    compared, and most of these must be alike. Returns None otherwise.
    """
    pairs = [
        (one, other)
        for one, other in pairwise(files)
        if (one in judged) != (other in judged)
        and one.parent == other.parent
        and NUMBER.sub("", one.name) == NUMBER.sub("", other.name)
    ]
    seen = pairs[:: len(pairs) // FRAME_PAIRS + 1]
    alike = [pair for pair in seen if _are_alike(*pair)]
    return alike[0] if 2 * len(alike) > len(seen) else None


def _are_alike(*pictures: Path) -> bool:
    """Return whether two picture files differ by no more than successive frames of a film."""
    try:
        grey = (cv2.cvtColor(read_picture(path, MIN_SIDE), cv2.COLOR_RGB2GRAY) for path in pictures)
        first, second = (cv2.resize(one, THUMB_SIZE[::-1], interpolation=cv2.INTER_AREA) for one in grey)
    except UnreadablePicture:
        return False
    return bool(difference(first, second) < NEXT_FRAME)


def split_files(files: list[Path], eval_fraction: float, good: Collection[Path]) -> dict[str, list[Path]]:
    """Divide files into train and eval by their names alone, so that a new file moves none of the others.

    A video goes to one side as a whole. Both sides get at least one of several `good` files, unless the fraction is 0
    or 1; for this, one file is moved if necessary, another one perhaps when files are added.
    """
    places = {path: derive_seed("split", printable(path.name)) / LARGEST_SEED for path in files}
    chosen = {path for path in files if places[path] < eval_fraction}
    if len(good) > 1 and 0 < eval_fraction < 1:
        if not chosen & set(good):
            chosen.add(min(good, key=places.__getitem__))
        elif chosen >= set(good):
            chosen.remove(max(good, key=places.__getitem__))
    return {"train": [path for path in files if path not in chosen], "eval": [path for path in files if path in chosen]}


def find_duplicates(paths: list[Path]) -> dict[Path, str]:
    """Return, for each of `paths` that repeats the content of an earlier one, that earlier file as ``folder/name``."""
    by_size: dict[int, list[Path]] = {}
    for path in paths:
        if printable(path.name) == path.name:  # other names are refused, so nothing may be left out as their duplicate
            by_size.setdefault(file_size(path), []).append(path)
    first: dict[bytes, Path] = {}
    duplicates = {}
    # empty and unreadable files are refused later, with reasons of their own
    for path in (path for size, group in by_size.items() if size > 0 and len(group) > 1 for path in group):
        try:
            key = _file_hash(path)
        except OSError:
            continue
        if key in first:
            duplicates[path] = f"{first[key].parent.name}/{first[key].name}"
        first.setdefault(key, path)
    return duplicates


def _file_hash(path: Path) -> bytes:
    """Return the hash of a file's content, which needn't fit into memory."""
    digest = hashlib.blake2b()
    with path.open("rb") as file:
        while block := file.read(HASH_BLOCK):
            digest.update(block)
    return digest.digest()


def file_size(path: Path) -> int:
    """Return the size of a file in bytes, or -1 if it can't be determined."""
    try:
        return path.stat().st_size
    except OSError:
        return -1
