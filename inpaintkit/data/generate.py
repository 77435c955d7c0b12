"""Pictures and videos -> a data set of picture and hole crops: same seed and sources, same files, whatever happens on the way.

Nothing depends on the order of work: random numbers come from (seed, content of the picture, pass, record), file
numbers from the picture's place in the sorted list, in which a video stands for the frames chosen from it. A run may therefore be interrupted anywhere, resumed, split into
shards and spread over any number of workers.
"""

from __future__ import annotations

import contextlib
import dataclasses
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass, fields
from itertools import dropwhile, islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from inpaintkit.config import GenerateConfig, parse_shard
from inpaintkit.data import manifest
from inpaintkit.data.images import UnreadablePicture, read_picture
from inpaintkit.data.manifest import Row
from inpaintkit.data.picture_depth import (
    as_batch,
    as_kept,
    ask_network,
    depth_cache,
    depth_from_map,
    depth_from_network,
    depth_model,
    has_maps,
    map_key,
)
from inpaintkit.data.records import (
    MIN_HOLE_AREA,
    RECORDS_PER_VIEW,
    SHORT_SIDES,
    Crop,
    Picture,
    View,
    apply_view,
    draw_view,
    make_crops,
    make_hole,
    mirrored,
)
from inpaintkit.data.scene_source import pick_textures, read_textures, render_scene, scene_view
from inpaintkit.data.sources import (
    Source,
    describe_split,
    describe_videos,
    file_size,
    find_duplicates,
    find_source,
    list_files,
    printable,
    read_source,
    sources_of,
)
from inpaintkit.data.video import VideoReaders, example_frame, is_video
from inpaintkit.depth import DepthModel, compute_like, create_depth_model, depth_key, depth_of_file
from inpaintkit.errors import InputError
from inpaintkit.files import atomic_path
from inpaintkit.seeds import Key, numpy_rng
from inpaintkit.synthesis import HoleDraw, HoleSampler

# Measured on 512 px photo crops: level 1 with run-length matching writes files within 4 % of level 6 in a third of its time.
PNG_OPTIONS: dict[str, Any] = {"compress_level": 1, "compress_type": 3}
EXAMPLE_VIDEOS = 8  # of which a frame is shown before the job: each takes a moment to open
AHEAD = 2  # pictures in flight per worker, before and after the depth network: bounds the memory

Progress = Callable[[int, int, str], None]
"""Called as progress(done, total, message) after each picture, from the calling thread."""


@dataclass(frozen=True)
class Job:
    """One pass over one picture, or one procedural scene cut from it and others (`scene`: which one, None: the picture).

    `number` fixes the file names, `textures` are a scene's other pictures.
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
class Loaded:
    """A picture (H, W, 3) as the depth network sees it; `key` is its content hash, `depth_map` that of its map file, if any.

    `textures`: for a scene, content hashes of the pictures it was cut from, by name within their folder.
    """

    job: Job
    key: str
    view: View
    picture: Picture
    textures: dict[str, str] | None = None
    depth_map: str | None = None


@dataclass(frozen=True)
class Refused:
    """A picture that gives no records, and why."""

    job: Job
    reason: str


@dataclass(frozen=True)
class Unseen:
    """A loaded picture for the depth network: `pixels` (1, 3, H, W), 0..1, and the answer's place in the depth cache."""

    loaded: Loaded
    pixels: Tensor
    cache_key: str | None

    @property
    def job(self) -> Job:
        return self.loaded.job


@dataclass(frozen=True)
class Seen:
    """A loaded picture with its depth (1, 1, h, w); `unkept`: the network's own answer, still to be checked and kept."""

    loaded: Loaded
    depth: Tensor
    unkept: bool = False
    cache_key: str | None = None

    @property
    def job(self) -> Job:
        return self.loaded.job


@dataclass(frozen=True)
class GenerateReport:
    """What a run has made, earlier interrupted runs of it included.

    `scenes`: how many of the records show procedural scenes; `videos`: (file, what was taken from it and what left out);
    `division`: how files came to be in train or eval; `skipped`: (source, reason) of pictures that gave nothing;
    `dropped`: crops whose hole was too small; `files`: the records' pictures, train before eval; `seconds` and
    `pictures`: this run alone.
    """

    name: str
    train: int
    eval: int
    scenes: int
    dropped: int
    skipped: tuple[tuple[str, str], ...]
    videos: tuple[tuple[str, str], ...]
    division: str
    mean_hole_fraction: float
    pictures: int
    seconds: float
    files: tuple[Path, ...]

    @property
    def records(self) -> int:
        return self.train + self.eval

    @property
    def pairs(self) -> list[tuple[Path, Path]]:
        """The records' files: (picture, hole)."""
        suffixes = manifest.PICTURE_SUFFIX, manifest.HOLE_SUFFIX
        return [(path, path.with_name(path.name.removesuffix(suffixes[0]) + suffixes[1])) for path in self.files]

    def summary(self) -> dict[str, int | float | str]:
        """Return the report as the cells of one line of a table."""
        row = {field.name: getattr(self, field.name) for field in fields(self) if field.name != "files"}
        return {**row, "skipped": len(self.skipped), "videos": len(self.videos), "records": self.records}


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
    with manifest.lock(config.output_dir, data_set_name(config), config.shard), contextlib.closing(_Run(config)) as run:
        done, total = 0, 0
        try:
            jobs = plan_jobs(config, run.folder, tell)
            manifest.remove_leftovers(path for job in jobs for path in run.files(job))
            if parse_shard(config.shard)[1] == 1:  # otherwise another shard may just be writing what all of them share
                manifest.remove_leftovers(manifest.shared_files(run.folder))
            waiting = [job for job in jobs if not run.is_finished(job)]
            done, total = len(jobs) - len(waiting), len(jobs)
            if done:
                tell(done, total, f"{done} pictures were finished before")
            for job, result in run.work(waiting):
                done += 1
                tell(done, total, f"{job.source}: {result}")
        except KeyboardInterrupt:
            place = f"after {done} of {total} pictures" if total else "while choosing frames of videos"
            raise KeyboardInterrupt(f"stopped {place}; run the same again to continue") from None
        rows = (row for job in jobs for row in manifest.read_part(run.part(job)))
        return make_report(config, rows, len(waiting), time.perf_counter() - started)


def plan_jobs(config: GenerateConfig, folder: Path, tell: Progress) -> list[Job]:
    """Return the jobs of the configuration's shard, train before eval, in order of their numbers.

    Of files with equal content only the first counts, and one of eval before any of train: what is judged must not
    have been trained on. The scenes of a split follow its pictures. The choice of a video's frames is kept in the
    manifest `folder`.
    """
    files = _files(config)
    originals = find_duplicates([path for split in reversed(files) for path in files[split]])
    shard, shards = parse_shard(config.shard)
    jobs = []
    for split, paths in files.items():
        sources = []
        for place, path in enumerate(paths):
            plan = manifest.video_path(folder, split, place)
            sources += sources_of(path, originals.get(path), plan, config, lambda text: tell(0, 1, text))
        passes = [
            Job(split, source, index, repeat, index * config.repeats + repeat)
            for index, source in enumerate(sources)
            for repeat in range(config.repeats)
        ]
        unique = tuple(source for source in sources if source.refused is None)
        scenes = [_scene_job(job, k, len(passes), unique, config) for job in passes for k in range(config.scenes)]
        jobs += [job for job in (*passes, *scenes) if job.index % shards == shard]
    return jobs


def _files(config: GenerateConfig) -> dict[str, list[Path]]:
    files = list_files(config.dataset_dir, config.eval_fraction)
    return {split: files[split] for split in (("eval",) if config.eval_only else manifest.SPLITS)}


def _scene_job(job: Job, scene: int, pictures: int, textures: tuple[Source, ...], config: GenerateConfig) -> Job:
    number = pictures + job.number * config.scenes + scene
    return dataclasses.replace(job, number=number, scene=scene, textures=textures)


class _Run:
    """The constants of a run and the steps of one job: load -> infer -> finish.

    Loading and finishing happen in workers, inferring in the calling thread, which does nothing else: all that needs
    no network (reading, hashing, the depth cache, maps, warping, encoding) is left to the workers.
    """

    def __init__(self, config: GenerateConfig) -> None:
        self.config, self.output = config, Path(config.output_dir)
        self.name = data_set_name(config)
        self.folder = manifest.manifest_folder(config.output_dir, self.name)
        self.model = depth_model(config)
        self.cache = depth_cache(config, self.model)
        compute_like(self.model, manifest.begun_with(self.folder).get("model_version"))
        self.sampler = HoleSampler(config.divergence_level, self.model.metric, config.hole_method)
        self.scene_sampler = scene_sampler(config.divergence_level, config.hole_method)
        self.readers = VideoReaders(config.workers + 1)
        sizes = {split: {path.name: file_size(path) for path in paths} for split, paths in _files(config).items()}
        manifest.begin(self.folder, identity(config, self.model), sizes)

    def close(self) -> None:
        self.readers.close()

    def part(self, job: Job) -> Path:
        return manifest.part_path(self.folder, job.split, job.number)

    def files(self, job: Job) -> list[Path]:
        """Return every file that the job may write; the part, which is the mark of completion, comes last."""
        crops = [(record, sample) for record in range(RECORDS_PER_VIEW) for sample in range(self.config.num_samples)]
        frames = [self._frame_file(job)] if self._saves_frame(job) else []
        return [*(path for crop in crops for path in self._pair(job, *crop)), *frames, self.part(job)]

    def _saves_frame(self, job: Job) -> bool:
        return self.config.save_frames and job.origin.moment is not None and job.repeat == 0 and job.scene is None

    def _frame_file(self, job: Job) -> Path:
        return manifest.frame_folder(self.output, self.name) / job.split / f"{job.origin.name}.png"

    def _pair(self, job: Job, record: int, sample: int) -> tuple[Path, Path]:
        sequence = (job.number * RECORDS_PER_VIEW + record) * self.config.num_samples + sample
        stem = f"{self.name}_{sequence:0{manifest.SEQUENCE_DIGITS}d}"
        folder = self.output / job.split
        return folder / (stem + manifest.PICTURE_SUFFIX), folder / (stem + manifest.HOLE_SUFFIX)

    def is_finished(self, job: Job) -> bool:
        """Tell whether the job's part and every file that it names are there; `InputError` if its depth map changed."""
        part = self.part(job)
        if not part.exists():
            return False
        rows = manifest.read_part(part)
        self._check_map(job, rows)
        names = [row[key] for row in rows if manifest.is_record(row) for key in ("picture", "hole")]
        return all((self.output / job.split / name).exists() for name in names)

    def _check_map(self, job: Job, rows: Iterable[Row]) -> None:
        made_from = {row["depth_map"] for row in rows if "depth_map" in row}
        if made_from and has_maps(self.model) and made_from != {map_key(self.model, job.origin)}:
            raise InputError(
                f"dataset_dir: the depth map of {job.source} changed since {self.name} was begun; "
                "restore it, choose another prefix, or clean this one first"
            )

    def work(self, jobs: Iterable[Job]) -> Iterator[tuple[Job, str]]:
        """Yield (job, result in words) as jobs get finished, in order, with few pictures in memory at a time."""
        if self.config.workers == 0:
            for job in jobs:
                yield job, self.finish(self.infer(self.load(job)))
            return
        remaining, ahead = iter(jobs), AHEAD * self.config.workers
        loading: deque[Future[Unseen | Seen | Refused]] = deque()
        finishing: deque[tuple[Job, Future[str]]] = deque()
        pool = ThreadPoolExecutor(self.config.workers, thread_name_prefix="generate")
        try:
            loading.extend(pool.submit(self.load, job) for job in islice(remaining, ahead))
            while loading:
                loaded = loading.popleft().result()
                loading.extend(pool.submit(self.load, job) for job in islice(remaining, 1))
                seen = self.infer(loaded)
                finishing.append((seen.job, pool.submit(self.finish, seen)))
                while len(finishing) > (ahead if loading else 0):
                    job, result = finishing.popleft()
                    yield job, result.result()
        finally:
            pool.shutdown(cancel_futures=True)

    def load(self, job: Job) -> Unseen | Seen | Refused:
        """Read the job's picture, turn and scale it as drawn, and look for its depth; or draw its scene with its depth."""
        try:
            if job.scene is not None:
                return self._draw_scene(job, job.scene)
            content = read_source(job.origin, self.readers)
            if self._saves_frame(job):
                write_png(self._frame_file(job), content.decode(None))
            view = draw_view(numpy_rng(self.config.seed, content.key, job.repeat, "view"), self.config.size)
            picture = apply_view(content.decode(view.source_side), view)
            return self._look_up(Loaded(job, content.key, view, picture))
        except UnreadablePicture as error:
            return Refused(job, str(error))

    def _draw_scene(self, job: Job, scene: int) -> Seen:
        size, seed = self.config.size, self.config.seed
        picked = pick_textures(job.origin, job.textures, (seed, job.origin.name, job.repeat, scene))
        textures = read_textures(picked, size, self.readers)
        content = textures[job.origin][0]
        picture, depth = render_scene(textures, size, (seed, content, job.repeat, scene))
        names = {source.name: key for source, (key, _) in textures.items()}
        return Seen(Loaded(job, content, scene_view(size), picture, names), depth)

    def _look_up(self, loaded: Loaded) -> Unseen | Seen:
        """Find depth where no network is needed: in a map beside the picture, or in the cache."""
        if has_maps(self.model):
            depth, key = depth_from_map(self.model, loaded.job.origin, loaded.view)
            return Seen(dataclasses.replace(loaded, depth_map=key), depth)
        pixels = as_batch(loaded.picture)
        if self.cache is None:
            return Unseen(loaded, pixels, None)
        cache_key = depth_key(pixels, self.model)
        known = self.cache.find(cache_key)
        return Unseen(loaded, pixels, cache_key) if known is None else Seen(loaded, known)

    def infer(self, loaded: Unseen | Seen | Refused) -> Seen | Refused:
        """Ask the network about a loaded picture whose depth isn't known yet."""
        if not isinstance(loaded, Unseen):
            return loaded
        try:
            depth = ask_network(self.model, loaded.pixels)
        except UnreadablePicture as error:
            return Refused(loaded.job, str(error))
        return Seen(loaded.loaded, depth, unkept=True, cache_key=loaded.cache_key)

    def _keep(self, seen: Seen) -> Seen | Refused:
        """Check and round the network's answer, and put it into the cache."""
        try:
            depth = as_kept(seen.depth)
        except UnreadablePicture as error:
            return Refused(seen.job, str(error))
        if self.cache is not None and seen.cache_key is not None:
            self.cache.store(seen.cache_key, depth, self.model)
        return Seen(seen.loaded, depth)

    def finish(self, seen: Seen | Refused) -> str:
        """Write a job's records, then its part; return the result in words."""
        job = seen.job
        if isinstance(seen, Seen) and seen.unkept:
            seen = self._keep(seen)
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
        if loaded.depth_map is not None:
            row |= {"depth_map": loaded.depth_map}
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
    names = (
        *("seed", "resolution", "size", "num_samples", "divergence_level", "repeats", "scenes", "hole_method"),
        *("map_name", "eval_fraction", "video_interval", "video_frames", "max_fps", "skip_first"),
    )
    return {
        **{name: getattr(config, name) for name in names},
        "model_type": config.model_type,
        "model_version": model.version,
    }


def scene_sampler(divergence_level: int, hole_method: str) -> HoleSampler:
    """Return what draws holes in scenes: their depth is relative, and exact, so it has no ramps to be split."""
    return HoleSampler(divergence_level, False, "warp_back" if hole_method == "warp_back" else "occlusion")


def example_pictures(config: GenerateConfig) -> list[Path]:
    """Return picture files to look at before the job: those of the configuration, or a frame of each of its first videos.

    Such frames are kept in the run folder. The first picture is one that can be shown, with its map for
    model_type=File; the others aren't opened. Raises `InputError` when there is nothing to look at.
    """
    files = [path for paths in _files(config).values() for path in paths if printable(path.name) == path.name]
    pictures = [path for path in files if not is_video(path) and path.is_file()]
    pictures = list(dropwhile(lambda path: not _can_be_shown(path, config), pictures))
    for path in filter(is_video, files if not pictures else ()):
        kept = config.run_folder / "examples" / f"{path.name}.png"
        with contextlib.suppress(UnreadablePicture):
            write_png(kept, example_frame(path))
            pictures.append(kept)
        if len(pictures) == EXAMPLE_VIDEOS:
            break
    if not pictures:
        raise InputError(f"dataset_dir: {config.dataset_dir} holds no picture and no readable video")
    return pictures


def _can_be_shown(path: Path, config: GenerateConfig) -> bool:
    try:
        read_picture(path, SHORT_SIDES[0])
        if config.model_type == "File":
            depth_of_file(depth_model(config), path, torch.empty(0))  # a map is found by the path alone
    except (UnreadablePicture, InputError):
        return False
    return True


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
        videos=describe_videos(manifest.manifest_folder(config.output_dir, data_set_name(config))),
        division=describe_split(config.dataset_dir, _files(config), config.eval_fraction),
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
    place = f"{record['source']} in {dataset_dir}"
    model = model or create_depth_model(record["model_type"], device, record["resolution"])
    compute_like(model, record["model_version"])
    view = View(record["angle"], record["short_side"], record["resample"])
    try:
        source = find_source(dataset_dir, record["source"])
        content = read_source(source, VideoReaders(0))
        if content.key != record["source_hash"]:
            raise InputError(
                f"{place} has changed since {record['picture']} was made; restore it to rebuild the record"
            )
        if (model.version, model.resolution) != (record["model_version"], record["model_resolution"]):
            made_by = f"{record['model_version']} at {record['model_resolution']} px"
            raise InputError(f"{record['picture']} was made by the depth model {made_by}; rebuild it with that one")
        picture = apply_view(content.decode(view.source_side), view)
        if has_maps(model):
            depth, made_from = depth_from_map(model, source, view)
            if record.get("depth_map", made_from) != made_from:
                raise InputError(
                    f"the depth map of {place} has changed since {record['picture']} was made; restore it to rebuild the record"
                )
        else:
            depth = depth_from_network(model, picture)
    except UnreadablePicture as error:
        raise InputError(f"{place} {error}; give the dataset_dir that the record was made from") from error
    sampler = HoleSampler(record["divergence_level"], model.metric, record["hole_method"])
    return _recut(record, picture, depth, sampler)


def _rebuild_scene(record: Row, dataset_dir: Path) -> tuple[Picture, NDArray[np.bool_]]:
    split, size = record["source"].partition("/")[0], record["size"]
    try:
        sources = [find_source(dataset_dir, f"{split}/{name}") for name in record["textures"]]
        textures = read_textures(sources, size, VideoReaders(0))
    except UnreadablePicture as error:
        place = f"{record['source']} in {dataset_dir}"
        raise InputError(f"{place} {error}; give the dataset_dir that the record was made from") from error
    for source, key in zip(sources, record["textures"].values(), strict=True):
        if textures.get(source, ("", None))[0] != key:
            raise InputError(
                f"{source.path} has changed since {record['picture']} was made; restore it to rebuild the record"
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
