"""Plan a generation: list the source files once, and derive the jobs from them."""

import contextlib
import dataclasses
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any

from inpaintkit.config import FIXED, GenerateConfig, parse_shard
from inpaintkit.data import manifest
from inpaintkit.data.images import STEREO_PAIR, SYSTEM_FOLDERS
from inpaintkit.data.picture_depth import depth_model
from inpaintkit.data.sources import (
    Source,
    divide,
    file_size,
    find_duplicates,
    is_divided,
    list_files,
    source_name,
    sources_of,
    usable,
)
from inpaintkit.data.video import is_video
from inpaintkit.depth import DepthModel, MapFileModel
from inpaintkit.errors import InputError
from inpaintkit.text import shown

PHOTO_SCENES = "photo_scenes"
"""Parameter of data sets with scenes; those without it were begun before there were photo scenes, and get none."""

Tell = Callable[[str], None]


@dataclass(frozen=True)
class Job:
    """One pass over one picture, or one procedural scene cut from it and others (`scene`: its number; None: no scene).

    `number` determines the file names; `textures` are the pictures from which those of a scene are drawn.
    """

    split: str
    origin: Source
    index: int
    repeat: int
    number: int
    scene: int | None = None
    textures: tuple[Source, ...] = ()

    @property
    def source(self) -> str:
        return f"{self.split}/{self.origin.name}"


@dataclass(frozen=True)
class Listing:
    """The source files of a run by split, sorted by name, and `division`, a description of how they were divided."""

    files: dict[str, list[Path]]
    division: str

    @cached_property
    def originals(self) -> dict[Path, str]:
        """For each file that repeats the content of an earlier one: which one. Eval comes before train."""
        return find_duplicates([path for split in reversed(self.files) for path in self.files[split]])

    def sizes(self, root: Path) -> dict[str, dict[str, int]]:
        """Return the sizes of the files in bytes, by split and name."""
        return {
            split: {source_name(path, root, split): file_size(path) for path in paths}
            for split, paths in self.files.items()
        }


def list_sources(config: GenerateConfig) -> Listing:
    """Return the source files of `config`.

    Raises `InputError` if a split would have no picture at all (one of them may if `eval_fraction` is 0 or 1), if the
    sources are records or records would be written among them, and if photos of two folders would share a depth map.
    """
    root = Path(config.dataset_dir)
    if manifest.data_set_names(root):
        raise InputError(
            f"dataset_dir: {shown(root)} is a data set of records that this kit made; give the folder of the photos and videos"
        )
    _require_apart(root, Path(config.output_dir))
    splits = ("eval",) if config.eval_only else manifest.SPLITS
    written = [Path(folder) for folder in (config.output_dir, config.run_folder, config.depth_cache) if folder]
    files = list_files(root, written)
    if root.is_file():
        return Listing({splits[0]: [root]}, f"a single file, all of it to {splits[0]}/")
    maps = _depth_maps([*files["train"], *files["eval"]], config)
    files = {split: [path for path in paths if path not in maps] for split, paths in files.items()}
    if is_divided(root):
        used = [*written, Path(config.model_path)] if config.model_path else written
        division = "by the folders train/ and eval/" + _left_out_beside(root, used)
    else:
        files, division = divide(files["train"], config.eval_fraction)
    pairs = len({path.with_suffix("") for path in root.rglob(f"*{STEREO_PAIR}.*")})
    division += f"; stereo pairs left out: {pairs}" if pairs else ""
    listing = Listing({split: files[split] for split in splits}, division)
    if is_divided(root) or 0 < config.eval_fraction < 1:
        for split in splits:
            _require_a_picture(listing, split, config)
    if not any(listing.files.values()):
        raise InputError(
            f"dataset_dir: no file of {shown(root)} goes to {' or '.join(f'{split}/' for split in splits)} ({division}); give a folder "
            "with pictures or videos, or another eval_fraction"
        )
    return listing


def _left_out_beside(root: Path, others: Iterable[Path]) -> str:
    """Return a note on what in `root` lies unused beside train/ and eval/; `others`: folders with another purpose."""
    known = {path.resolve() for path in (*others, *(root / split for split in manifest.SPLITS))}
    beside = [path for path in root.iterdir() if not path.name.startswith(".") and path.name not in SYSTEM_FOLDERS]
    files = sum(map(usable, beside))
    folders = sorted(path.name for path in beside if path.is_dir() and path.resolve() not in known)
    return (f"; pictures and videos left out beside them: {files}" if files else "") + (
        f"; folders left out beside them: {shown(', '.join(folders))}" if folders else ""
    )


def _require_apart(root: Path, output: Path) -> None:
    """Raise `InputError` if the next run on the folder `root` would take the records in `output` for pictures."""
    folders = [(root / split).resolve() for split in manifest.SPLITS]
    if not is_divided(root) and root.resolve() not in output.resolve().parents:  # a folder below it is left out
        folders.append(root.resolve())
    for written in ((output / split).resolve() for split in manifest.SPLITS):
        if any(written.is_relative_to(folder) for folder in folders):
            raise InputError(
                f"output_dir: records in {written} would be taken for pictures of dataset_dir={root}; choose another output_dir"
            )


def _depth_maps(files: Iterable[Path], config: GenerateConfig) -> set[Path]:
    """Return which of `files` are the depth maps of others, for model_type=File.

    Raises `InputError` if photos in two folders have the same name, and so the same map.
    """
    if config.model_type != MapFileModel.name:
        return set()
    model = depth_model(config)
    resolved = cache(Path.resolve)
    map_of = dict[Path, Path]()
    assert isinstance(model, MapFileModel)
    for path in files:
        with contextlib.suppress(InputError):  # a photo without a map is skipped later, for that reason
            found = model.find_map(path)
            map_of[path] = resolved(found.parent) / found.name
    taken = set(map_of.values())
    maps = {path for path in files if resolved(path.parent) / path.name in taken}
    first = dict[Path, Path]()
    for path in (path for path in map_of if path not in maps):
        other = first.setdefault(map_of[path], path)
        if other.parent != path.parent and not find_duplicates([other, path]):
            raise InputError(
                f"model_path: {shown(map_of[path])} would be the depth of {shown(other)} and {shown(path)}; "
                "give these photos names of their own, and each a map"
            )
    return maps


def _require_a_picture(listing: Listing, split: str, config: GenerateConfig) -> None:
    """Raise `InputError` unless a file of `split` seems readable and repeats no other file."""
    if any(path not in listing.originals and usable(path) for path in listing.files[split]):
        return
    count = len(listing.files[split])
    root = Path(config.dataset_dir)
    if is_divided(root):
        state = f"all of its {count} files are unreadable or copies of other files" if count else "it is empty"
        raise InputError(
            f"dataset_dir: {root / split}: {state}; put {split} pictures there that the other folder doesn't hold"
        )
    raise InputError(
        f"dataset_dir: too few files of {shown(root)} can be read: training and evaluation need one each; add another "
        "picture or video, make folders train/ and eval/, or set eval_fraction=0 (training records alone)"
    )


def plan_jobs(config: GenerateConfig, listing: Listing, folder: Path, tell: Tell) -> list[Job]:
    """Return the jobs of the configuration's shard, train before eval, in order of their numbers.

    Of files with equal content, only the first is used, and eval comes before train: no picture of an evaluation may
    be trained on. The scenes of a split follow its pictures. The choice of a video's frames is kept in the manifest
    `folder`.
    """
    shard, shards = parse_shard(config.shard)
    root = Path(config.dataset_dir)
    jobs = []
    for split, paths in listing.files.items():
        videos = [place for place, path in enumerate(paths) if is_video(path)]
        own = set(videos[shard::shards])
        found = dict[int, list[Source]]()
        # videos of this shard first, so that shards that share the folder survey different ones
        for place in sorted(range(len(paths)), key=lambda place: place not in own):
            path = paths[place]
            kept_in = manifest.video_path(folder, split, place)
            name = source_name(path, root, split)
            found[place] = sources_of(path, name, listing.originals.get(path), kept_in, config, tell)
        sources = [source for place in sorted(found) for source in found[place]]
        passes = [
            Job(split, source, index, repeat, index * config.repeats + repeat)
            for index, source in enumerate(sources)
            for repeat in range(config.repeats)
        ]
        unique = tuple(source for source in sources if source.refused is None)
        scenes = [
            dataclasses.replace(job, number=len(passes) + job.number * config.scenes + k, scene=k, textures=unique)
            for job in passes
            for k in range(config.scenes)
        ]
        jobs += [job for job in (*passes, *scenes) if job.index % shards == shard]
    return jobs


def identity(config: GenerateConfig, model: DepthModel) -> dict[str, Any]:
    """Return all that determines the records besides the pictures; fixed until the data set is finished."""
    fixed = {
        field.name: getattr(config, field.name)
        for field in dataclasses.fields(config)
        if field.metadata["later"] == FIXED
    }
    return {**fixed, "model_version": model.version} | ({PHOTO_SCENES: True} if config.scenes else {})
