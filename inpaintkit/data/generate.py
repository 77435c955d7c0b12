"""Pictures -> a data set of picture and hole crops: same seed and pictures, same files, whatever happens on the way.

Nothing depends on the order of work: random numbers come from (seed, content of the picture, pass, record), file
numbers from the picture's place in the sorted list. A run may therefore be interrupted anywhere, resumed, split into
shards and spread over any number of workers.
"""

from __future__ import annotations

import dataclasses
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass, fields
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from inpaintkit.config import GenerateConfig, parse_shard, resolve_device
from inpaintkit.data import manifest
from inpaintkit.data.images import UnreadablePicture, content_key, decode_picture, list_pictures, read_file
from inpaintkit.data.manifest import Row
from inpaintkit.data.records import (
    MIN_HOLE_AREA,
    RECORDS_PER_VIEW,
    Crop,
    Picture,
    View,
    apply_view,
    draw_view,
    make_crops,
    make_hole,
    mirrored,
    turn_depth,
)
from inpaintkit.data.scene_source import pick_textures, read_textures, render_scene, scene_view
from inpaintkit.depth import DepthModel, create_depth_model
from inpaintkit.errors import InputError
from inpaintkit.files import atomic_path
from inpaintkit.seeds import Key, numpy_rng
from inpaintkit.synthesis import HoleDraw, HoleSampler

# Measured on 512 px photo crops: level 1 with run-length matching writes files within 4 % of level 6 in a third of its time.
PNG_OPTIONS: dict[str, Any] = {"compress_level": 1, "compress_type": 3}
AHEAD = 2  # pictures in flight per worker, before and after the depth network: bounds the memory

Progress = Callable[[int, int, str], None]
"""Called as progress(done, total, message) after each picture, from the calling thread."""


@dataclass(frozen=True)
class Job:
    """One pass over one picture, or one procedural scene cut from it and others (`scene`: which one, None: the picture).

    `number` fixes the file names, `duplicate_of` tells why there will be none, `textures` are a scene's other pictures.
    """

    split: str
    path: Path
    index: int
    repeat: int
    number: int
    duplicate_of: str | None
    scene: int | None = None
    textures: tuple[Path, ...] = ()

    @property
    def source(self) -> str:
        return f"{self.split}/{self.path.name}"


@dataclass(frozen=True)
class Loaded:
    """A picture (H, W, 3) as the depth network sees it; `key` is its content hash.

    `textures`: for a scene, content hashes of the pictures it was cut from, by name within their folder.
    """

    job: Job
    key: str
    view: View
    picture: Picture
    textures: dict[str, str] | None = None


@dataclass(frozen=True)
class Refused:
    """A picture that gives no records, and why."""

    job: Job
    reason: str


@dataclass(frozen=True)
class Seen:
    """A loaded picture with its depth (1, 1, h, w)."""

    loaded: Loaded
    depth: Tensor

    @property
    def job(self) -> Job:
        return self.loaded.job


@dataclass(frozen=True)
class GenerateReport:
    """What a run has made, earlier interrupted runs of it included.

    `scenes`: how many of the records show procedural scenes; `skipped`: (source, reason) of pictures that gave nothing;
    `dropped`: crops whose hole was too small; `files`: the records' pictures, train before eval; `seconds` and
    `pictures`: this run alone.
    """

    name: str
    train: int
    eval: int
    scenes: int
    dropped: int
    skipped: tuple[tuple[str, str], ...]
    mean_hole_fraction: float
    pictures: int
    seconds: float
    files: tuple[Path, ...]

    @property
    def records(self) -> int:
        return self.train + self.eval

    def summary(self) -> dict[str, int | float | str]:
        """Return the report as the cells of one line of a table."""
        row = {field.name: getattr(self, field.name) for field in fields(self) if field.name != "files"}
        return {**row, "skipped": len(self.skipped), "records": self.records}


def data_set_name(config: GenerateConfig) -> str:
    """Return ``PREFIX_MODEL``, the start of all file names of the data set."""
    return f"{config.prefix}_{config.model_type}"


def generate_dataset(config: GenerateConfig, progress: Progress | None = None) -> GenerateReport:
    """Write the data set that `config` describes and return what was made; continue it if it was begun before.

    Broken or unsuitable pictures are skipped and listed. Ctrl-C leaves a state that the same call continues.
    Raises `InputError` when folders or parameters can't work, another run writes the same shard, or the disk is full.
    """
    config.check_inputs()
    started = time.perf_counter()
    tell = progress or (lambda done, total, message: None)
    with manifest.lock(config.output_dir, data_set_name(config), config.shard):
        run = _Run(config)
        jobs = plan_jobs(config)
        manifest.remove_leftovers(path for job in jobs for path in run.files(job))
        waiting = [job for job in jobs if not run.is_finished(job)]
        done = len(jobs) - len(waiting)
        if done:
            tell(done, len(jobs), f"{done} pictures were finished before")
        try:
            for job, result in run.work(waiting):
                done += 1
                tell(done, len(jobs), f"{job.source}: {result}")
        except KeyboardInterrupt:
            message = f"stopped after {done} of {len(jobs)} pictures; run the same again to continue"
            raise KeyboardInterrupt(message) from None
        rows = (row for job in jobs for row in manifest.read_part(run.part(job)))
        return make_report(config, rows, len(waiting), time.perf_counter() - started)


def plan_jobs(config: GenerateConfig) -> list[Job]:
    """Return the jobs of the configuration's shard, train before eval, in order of their numbers.

    Of pictures with equal content only the first counts, and one of eval before any of train: what is judged must not
    have been trained on. The scenes of a split follow its pictures.
    """
    pictures = {split: list_pictures(Path(config.dataset_dir) / split) for split in _splits(config)}
    originals = find_duplicates([path for split in reversed(_splits(config)) for path in pictures[split]])
    shard, shards = parse_shard(config.shard)
    jobs = []
    for split, paths in pictures.items():
        passes = [
            Job(split, path, index, repeat, index * config.repeats + repeat, originals.get(path))
            for index, path in enumerate(paths)
            for repeat in range(config.repeats)
        ]
        unique = tuple(path for path in paths if path not in originals)
        scenes = [_scene_job(job, k, len(passes), unique, config) for job in passes for k in range(config.scenes)]
        jobs += [job for job in (*passes, *scenes) if job.index % shards == shard]
    return jobs


def _scene_job(job: Job, scene: int, pictures: int, textures: tuple[Path, ...], config: GenerateConfig) -> Job:
    number = pictures + job.number * config.scenes + scene
    return dataclasses.replace(job, number=number, scene=scene, textures=textures)


def _splits(config: GenerateConfig) -> tuple[str, ...]:
    return ("eval",) if config.eval_only else manifest.SPLITS


def find_duplicates(paths: Iterable[Path]) -> dict[Path, str]:
    """Return the first file (``folder/name``) with the same content for each of `paths` that isn't the first itself."""
    by_size: dict[int, list[Path]] = {}
    for path in paths:
        by_size.setdefault(_file_size(path), []).append(path)
    first: dict[str, Path] = {}
    duplicates = {}
    for path in (path for group in by_size.values() if len(group) > 1 for path in group):
        try:
            key = content_key(read_file(path))
        except UnreadablePicture:
            continue  # refused with its own reason when its turn comes
        if key in first:
            duplicates[path] = f"{first[key].parent.name}/{first[key].name}"
        first.setdefault(key, path)
    return duplicates


def _file_size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return -1


class _Run:
    """The constants of a run and the steps of one job: load -> infer -> finish."""

    def __init__(self, config: GenerateConfig) -> None:
        self.config, self.output = config, Path(config.output_dir)
        self.name = data_set_name(config)
        self.folder = manifest.manifest_folder(config.output_dir, self.name)
        self.model = create_depth_model(config.model_type, resolve_device(config.device), config.resolution)
        self.sampler = HoleSampler(config.divergence_level, self.model.metric, config.hole_method)
        self.scene_sampler = scene_sampler(config.divergence_level, config.hole_method)
        pictures = {split: self._sizes(split) for split in _splits(config)}
        manifest.begin(self.folder, identity(config, self.model), pictures)

    def _sizes(self, split: str) -> dict[str, int]:
        return {path.name: _file_size(path) for path in list_pictures(Path(self.config.dataset_dir) / split)}

    def part(self, job: Job) -> Path:
        return manifest.part_path(self.folder, job.split, job.number)

    def files(self, job: Job) -> list[Path]:
        """Return every file that the job may write; the part, which is the mark of completion, comes last."""
        crops = [(record, sample) for record in range(RECORDS_PER_VIEW) for sample in range(self.config.num_samples)]
        return [*(path for crop in crops for path in self._pair(job, *crop)), self.part(job)]

    def _pair(self, job: Job, record: int, sample: int) -> tuple[Path, Path]:
        sequence = (job.number * RECORDS_PER_VIEW + record) * self.config.num_samples + sample
        stem = f"{self.name}_{sequence:0{manifest.SEQUENCE_DIGITS}d}"
        folder = self.output / job.split
        return folder / (stem + manifest.PICTURE_SUFFIX), folder / (stem + manifest.HOLE_SUFFIX)

    def is_finished(self, job: Job) -> bool:
        """Tell whether the job's part and every file that it names are there."""
        part = self.part(job)
        if not part.exists():
            return False
        names = [row[key] for row in manifest.read_part(part) if manifest.is_record(row) for key in ("picture", "hole")]
        return all((self.output / job.split / name).exists() for name in names)

    def work(self, jobs: Iterable[Job]) -> Iterator[tuple[Job, str]]:
        """Yield (job, result in words) as jobs get finished, in order, with few pictures in memory at a time."""
        if self.config.workers == 0:
            for job in jobs:
                yield job, self.finish(self.infer(self.load(job)))
            return
        remaining, ahead = iter(jobs), AHEAD * self.config.workers
        loading: deque[Future[Loaded | Seen | Refused]] = deque()
        finishing: deque[tuple[Job, Future[str]]] = deque()
        pool = ThreadPoolExecutor(self.config.workers, thread_name_prefix="generate")
        try:
            loading.extend(pool.submit(self.load, job) for job in islice(remaining, ahead))
            while loading:
                seen = self.infer(loading.popleft().result())
                loading.extend(pool.submit(self.load, job) for job in islice(remaining, 1))
                finishing.append((seen.job, pool.submit(self.finish, seen)))
                while len(finishing) > (ahead if loading else 0):
                    job, result = finishing.popleft()
                    yield job, result.result()
        finally:
            pool.shutdown(cancel_futures=True)

    def load(self, job: Job) -> Loaded | Seen | Refused:
        """Read the job's picture, turn and scale it as drawn; or draw its scene, whose depth is then known."""
        if job.duplicate_of:
            return Refused(job, f"has the same content as {job.duplicate_of}")
        try:
            if job.scene is not None:
                return self._draw_scene(job, job.scene)
            data = read_file(job.path)
            key = content_key(data)
            view = draw_view(numpy_rng(self.config.seed, key, job.repeat, "view"), self.config.size)
            return Loaded(job, key, view, apply_view(decode_picture(data, view.source_side), view))
        except UnreadablePicture as error:
            return Refused(job, str(error))

    def _draw_scene(self, job: Job, scene: int) -> Seen:
        size, seed = self.config.size, self.config.seed
        textures = read_textures(pick_textures(job.path, job.textures, (seed, job.path.name, job.repeat, scene)), size)
        content = textures[job.path][0]
        picture, depth = render_scene(textures, size, (seed, content, job.repeat, scene))
        names = {path.name: key for path, (key, _) in textures.items()}
        return Seen(Loaded(job, content, scene_view(size), picture, names), depth)

    def infer(self, loaded: Loaded | Seen | Refused) -> Seen | Refused:
        """Find the depth of a loaded picture."""
        if not isinstance(loaded, Loaded):
            return loaded
        try:
            depth = picture_depth(self.model, loaded.job.path, loaded.picture, loaded.view)
        except UnreadablePicture as error:
            return Refused(loaded.job, str(error))
        return Seen(loaded, depth)

    def finish(self, seen: Seen | Refused) -> str:
        """Write a job's records, then its part; return the result in words."""
        job = seen.job
        if isinstance(seen, Refused):
            manifest.write_part(self.part(job), [{"source": job.source, "repeat": job.repeat, "skipped": seen.reason}])
            return f"skipped, it {seen.reason}"
        config, loaded = self.config, seen.loaded
        key: tuple[Key, ...] = (config.seed, loaded.key, job.repeat)
        sampler = self.sampler
        if job.scene is not None:
            key, sampler = (*key, "scene", job.scene), self.scene_sampler
        crops = make_crops(loaded.picture, seen.depth, sampler, config.size, config.num_samples, key)
        rows = [self._write(loaded, crop) for crop in crops]
        manifest.write_part(self.part(job), rows)
        return f"{sum(map(manifest.is_record, rows))} records"

    def _write(self, loaded: Loaded, crop: Crop) -> Row:
        """Write one crop as a pair, the picture first: iw3 lists holes, so a hole without its picture must never be there."""
        job = loaded.job
        row: Row = {"source": job.source, "repeat": job.repeat, "record": crop.record, "sample": crop.sample}
        if job.scene is not None:
            row |= {"scene": job.scene, "textures": loaded.textures, "seed": self.config.seed}
        picture, hole = self._pair(job, crop.record, crop.sample)
        if crop.hole_pixels < MIN_HOLE_AREA:
            for old in (hole, picture):
                old.unlink(missing_ok=True)
            return {**row, "dropped": f"only {crop.hole_pixels} px of hole"}
        write_png(picture, crop.picture)
        write_png(hole, crop.hole.astype(np.uint8) * 255)
        return {
            **row,
            "picture": picture.name,
            "hole": hole.name,
            "source_hash": loaded.key,
            **asdict(loaded.view),
            "left": crop.left,
            "top": crop.top,
            "size": self.config.size,
            "draw": asdict(crop.draw),
            "hole_pixels": crop.hole_pixels,
            "hole_method": self.config.hole_method,
            "divergence_level": self.config.divergence_level,
            "model_type": self.config.model_type,
            "model_version": self.model.version,
            "resolution": self.config.resolution,
            "model_resolution": self.model.resolution,
        }


def identity(config: GenerateConfig, model: DepthModel) -> dict[str, int | str | None]:
    """Return all that decides about the records besides the pictures: it must not change until the data set is finished."""
    names = ("seed", "resolution", "size", "num_samples", "divergence_level", "repeats", "scenes", "hole_method")
    return {
        **{name: getattr(config, name) for name in names},
        "model_type": config.model_type,
        "model_version": model.version,
    }


def scene_sampler(divergence_level: int, hole_method: str) -> HoleSampler:
    """Return what draws holes in scenes: their depth is relative, and exact, so it has no ramps to be split."""
    return HoleSampler(divergence_level, False, "warp_back" if hole_method == "warp_back" else "occlusion")


def picture_depth(model: DepthModel, path: Path, picture: Picture, view: View) -> Tensor:
    """Return depth (1, 1, h, w), 0..1, 1 = near, of `picture` (H, W, 3), which is the file `path` seen as `view` says.

    Raises `UnreadablePicture` when the model finds none.
    """
    try:
        if hasattr(model, "infer_file"):
            depth = turn_depth(model.infer_file(path), view.angle)
        else:
            pixels = torch.from_numpy(picture.transpose(2, 0, 1).astype(np.float32) / 255)
            depth = model.infer(pixels[None])
    except InputError as error:
        raise UnreadablePicture(f"gets no depth: {error}") from error
    if not bool(torch.isfinite(depth).all()):
        raise UnreadablePicture("gets no depth: the depth model answered with NaN or infinity")
    return depth


def write_png(path: Path, pixels: Picture) -> None:
    """Write (H, W, 3) or (H, W) uint8 as a PNG file, atomically."""
    with atomic_path(path) as temporary:
        Image.fromarray(pixels).save(temporary, "PNG", **PNG_OPTIONS)


def make_report(config: GenerateConfig, rows: Iterable[Row], pictures: int, seconds: float) -> GenerateReport:
    """Return the report of a run that worked on `pictures` passes, from the manifest `rows` of all its jobs."""
    counts, scenes, dropped, area, skipped, files = dict.fromkeys(manifest.SPLITS, 0), 0, 0, 0, {}, []
    for row in rows:
        split = row["source"].partition("/")[0]
        if manifest.is_record(row):
            counts[split] += 1
            scenes += "scene" in row
            area += row["hole_pixels"]
            files.append(Path(config.output_dir) / split / row["picture"])
        elif "dropped" in row:
            dropped += 1
        else:
            skipped[row["source"]] = row["skipped"]
    fraction = area / (len(files) * config.size**2) if files else 0.0
    return GenerateReport(
        data_set_name(config), **counts, scenes=scenes, dropped=dropped, skipped=tuple(skipped.items()),
        mean_hole_fraction=fraction, pictures=pictures, seconds=seconds, files=tuple(files),
    )  # fmt: skip


def rebuild(
    record: Row, dataset_dir: str | Path, model: DepthModel | None = None, device: str = "cpu"
) -> tuple[Picture, NDArray[np.bool_]]:
    """Recompute (picture (S, S, 3) uint8, hole (S, S), True = missing) from a manifest row and the source pictures alone.

    `model` saves loading the depth model for each of many records. Raises `InputError` when the row is no record, or
    source or depth model aren't those of the row.
    """
    if not manifest.is_record(record):
        raise InputError(f"{record.get('source')}: this manifest row is no record; choose one that names a picture")
    if "scene" in record:
        return _rebuild_scene(record, Path(dataset_dir))
    path = Path(dataset_dir) / record["source"]
    model = model or create_depth_model(record["model_type"], device, record["resolution"])
    view = View(record["angle"], record["short_side"], record["resample"])
    try:
        data = read_file(path)
        if content_key(data) != record["source_hash"]:
            raise InputError(f"{path} has changed since {record['picture']} was made; restore it to rebuild the record")
        if (model.version, model.resolution) != (record["model_version"], record["model_resolution"]):
            made_by = f"{record['model_version']} at {record['model_resolution']} px"
            raise InputError(f"{record['picture']} was made by the depth model {made_by}; rebuild it with that one")
        picture = apply_view(decode_picture(data, view.source_side), view)
        depth = picture_depth(model, path, picture, view)
    except UnreadablePicture as error:
        raise InputError(f"{path} {error}; give the dataset_dir that the record was made from") from error
    sampler = HoleSampler(record["divergence_level"], model.metric, record["hole_method"])
    return _recut(record, picture, depth, sampler)


def _rebuild_scene(record: Row, dataset_dir: Path) -> tuple[Picture, NDArray[np.bool_]]:
    source, size = dataset_dir / record["source"], record["size"]
    try:
        textures = read_textures([source.with_name(name) for name in record["textures"]], size)
    except UnreadablePicture as error:
        raise InputError(f"{source} {error}; give the dataset_dir that the record was made from") from error
    for name, key in record["textures"].items():
        if textures.get(source.with_name(name), ("", None))[0] != key:
            raise InputError(
                f"{source.with_name(name)} has changed since {record['picture']} was made; restore it to rebuild the record"
            )
    key = (record["seed"], record["source_hash"], record["repeat"], record["scene"])
    picture, depth = render_scene(textures, size, key)
    return _recut(record, picture, depth, scene_sampler(record["divergence_level"], record["hole_method"]))


def _recut(record: Row, picture: Picture, depth: Tensor, sampler: HoleSampler) -> tuple[Picture, NDArray[np.bool_]]:
    """Return picture and hole of the window that the manifest row `record` names."""
    hole = make_hole(depth, sampler, HoleDraw(**record["draw"]), record["record"], picture.shape[:2])
    left, top, size = record["left"], record["top"], record["size"]
    window = np.s_[top : top + size, left : left + size]
    return mirrored(picture, record["record"])[window].copy(), hole[window].copy()
