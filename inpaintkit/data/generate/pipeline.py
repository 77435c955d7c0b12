"""Make records: load a picture, get its depth, cut its crops and write them, with few pictures in memory at a time."""

from __future__ import annotations

import dataclasses
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import NoReturn

import numpy as np
import torch
from torch import Tensor

from inpaintkit.config import GenerateConfig
from inpaintkit.data import manifest
from inpaintkit.data.generate.plan import PHOTO_SCENES, Job, Listing, identity
from inpaintkit.data.images import UnreadablePicture, write_png
from inpaintkit.data.manifest import Row
from inpaintkit.data.picture_depth import (
    as_batch,
    depth_cache,
    depth_from_map,
    depth_model,
    infer_depth,
    map_key,
)
from inpaintkit.data.records import (
    IMAGES_PER_VIEW,
    MIN_HOLE_AREA,
    Crop,
    Picture,
    View,
    apply_view,
    draw_view,
    make_crops,
)
from inpaintkit.data.scene_source import pick_textures, read_surfaces, render_scene, scene_view
from inpaintkit.data.sources import read_source
from inpaintkit.data.video_readers import VideoReaders
from inpaintkit.depth import MapFileModel, NetworkDepthModel, depth_key, round_depth
from inpaintkit.errors import InputError
from inpaintkit.files import fitting_name
from inpaintkit.seeds import Key, numpy_rng
from inpaintkit.synthesis import HoleSampler
from inpaintkit.text import count_of, shown

AHEAD = 2  # pictures in flight per worker, before and after the depth network: bounds the memory


@dataclass(frozen=True)
class WorkItem:
    """What a job's records are made of; its depth may still be missing.

    `key`: the content hash of the source; `picture` (H, W, 3): the source in `view`; `facts`: further entries of the
    records' rows; `depth` (1, 1, h, w), or else `pixels` (1, 3, H, W), 0..1, the depth network's input; `cache_key`:
    key of its output in the depth cache.
    """

    job: Job
    key: str
    view: View
    picture: Picture
    facts: Row
    depth: Tensor | None = None
    pixels: Tensor | None = None
    cache_key: str | None = None


class Pipeline:
    """The constants of a run and the steps of one job: load -> infer -> finish.

    Workers load and finish. The calling thread infers and does nothing else: all that needs no network (reading,
    hashing, the depth cache, maps, warping, encoding) is left to the workers. With ``workers=0``, it does everything.
    """

    def __init__(self, config: GenerateConfig, listing: Listing) -> None:
        self.config = config
        self.output = Path(config.output_dir)
        self.name = config.data_set_name
        self.folder = manifest.manifest_folder(config.output_dir, self.name)
        self.model = depth_model(config)
        self.cache = depth_cache(config, self.model)
        if isinstance(self.model, NetworkDepthModel):
            self.model.compute_like(manifest.begun_with(self.folder).get("model_version"))
        self.sampler = HoleSampler(config.divergence_level, self.model.metric, config.hole_method)
        self.scene_sampler = HoleSampler(config.divergence_level, False, config.hole_method)  # depth is relative
        self.readers = VideoReaders(config.workers + 1)
        self.compared = set[str]()  # splits of which a finished picture was compared with its records
        manifest.begin(self.folder, identity(config, self.model), listing.sizes(Path(config.dataset_dir)))
        self.photo_scenes = PHOTO_SCENES in manifest.begun_with(self.folder)

    def close(self) -> None:
        self.readers.close()

    def part(self, job: Job) -> Path:
        return manifest.part_path(self.folder, job.split, job.number)

    def _frames(self, job: Job) -> list[Path]:
        """Return the file in which the job saves its frame of a video; an empty list if it saves none."""
        if not self.config.save_frames or job.origin.moment is None or job.repeat or job.scene is not None:
            return []
        folder, _, name = job.origin.name.rpartition("/")
        return [manifest.frame_folder(self.output, self.name) / job.split / folder / fitting_name(name, ".png")]

    def _pair(self, job: Job, image: int, sample: int) -> tuple[Path, Path]:
        sequence = (job.number * IMAGES_PER_VIEW + image) * self.config.num_samples + sample
        stem = f"{self.name}_{sequence:0{manifest.SEQUENCE_DIGITS}d}"
        folder = self.output / job.split
        return folder / (stem + manifest.PICTURE_SUFFIX), folder / (stem + manifest.HOLE_SUFFIX)

    def is_finished(self, job: Job) -> bool:
        """Return whether a job is done: its part and all its files are there, or its source still gives no records.

        A frame to be saved is one of the files. Raises `InputError` if the picture or its depth map was replaced since.
        """
        part = self.part(job)
        if not part.exists():
            return False
        rows = manifest.read_part(part)
        if len(rows) == 1 and "skipped" in rows[0]:
            return self._is_still_refused(job, rows[0]["skipped"])
        if len(rows) != IMAGES_PER_VIEW * self.config.num_samples:
            return False  # truncated or emptied
        made = [row.get(manifest.DELETED_ROW, row) for row in rows]
        if not any("source_hash" in row for row in made) and _changed_after(job.origin.path, part):
            return False  # it gave no records, but may be another picture now
        self._check_sources(job, part, made)
        names = [row[key] for row in rows if manifest.is_record(row) for key in ("picture", "hole")]
        return all(path.exists() for path in (*(self.output / job.split / name for name in names), *self._frames(job)))

    def _is_still_refused(self, job: Job, reason: str) -> bool:
        """Return whether a skipped job would be skipped again: its map, or a package, may have been added since."""
        try:
            self.load(job)
        except UnreadablePicture as error:
            return str(error) == reason
        return False

    def _check_sources(self, job: Job, part: Path, rows: Iterable[Row]) -> None:
        made_from = {row["depth_map"] for row in rows if "depth_map" in row}
        if made_from and isinstance(self.model, MapFileModel) and made_from != {map_key(self.model, job.origin)}:
            self._refuse(f"the depth map of {job.source}")
        hashes = {row["source_hash"] for row in rows if "source_hash" in row}
        # one picture of each split is always compared: another folder may hold older files of the same names and sizes
        if hashes and (job.split not in self.compared or _changed_after(job.origin.path, part)):
            self.compared.add(job.split)
            try:
                same = hashes == {read_source(job.origin, self.readers).key}
            except UnreadablePicture:
                same = False
            if not same:
                self._refuse(job.source)

    def _refuse(self, what: str) -> NoReturn:
        raise InputError(
            f"dataset_dir: {shown(what)} changed since {self.name} was begun; "
            "restore it, choose another prefix, or clean this one first (`inpaintkit clean -h`)"
        )

    def work(self, jobs: Iterable[Job]) -> Iterator[tuple[Job, str]]:
        """Process `jobs` and yield (job, message) of each, in order, with few pictures in memory at a time."""
        if self.config.workers == 0:
            for job in jobs:
                try:
                    yield job, self.finish(*self.infer(self.load(job)))
                except UnreadablePicture as error:
                    yield job, self.skip(job, error)
            return
        remaining = iter(jobs)
        ahead = AHEAD * self.config.workers
        threads = torch.get_num_threads()
        # by default, each worker would get as many torch threads as there are cores
        share = max(1, threads // self.config.workers)
        pool = ThreadPoolExecutor(self.config.workers, "generate", torch.set_num_threads, (share,))
        try:
            loading = deque((job, pool.submit(self.load, job)) for job in islice(remaining, ahead))
            finishing: deque[tuple[Job, Future[str]]] = deque()
            while loading:
                job, loaded = loading.popleft()
                loading.extend((job, pool.submit(self.load, job)) for job in islice(remaining, 1))
                try:
                    finishing.append((job, pool.submit(self.finish, *self.infer(loaded.result()))))
                except UnreadablePicture as error:
                    finishing.append((job, pool.submit(self.skip, job, error)))
                while len(finishing) > (ahead if loading else 0):
                    job, result = finishing.popleft()
                    yield job, result.result()
        finally:
            pool.shutdown(cancel_futures=True)
            torch.set_num_threads(threads)  # for later threads; this one's number never changed

    def load(self, job: Job) -> WorkItem:
        """Read the job's picture, turn and scale it as drawn, and look up its depth; or draw its scene with its depth.

        Saves its frame, see `_frames`. Raises `UnreadablePicture` with the reason if the job can give no records.
        """
        if job.scene is not None:
            return self._draw_scene(job, job.scene)
        content = read_source(job.origin, self.readers)
        for file in self._frames(job):
            write_png(file, content.decode(None)[0])
        view = draw_view(numpy_rng(self.config.seed, content.key, job.repeat, "view"), self.config.size)
        seen, bars = content.decode(view.source_side)
        picture = apply_view(seen, view)
        facts = {"bars": bars} if any(bars) else {}
        if isinstance(self.model, MapFileModel):
            depth, map_hash = depth_from_map(self.model, job.origin, view, bars)
            return WorkItem(job, content.key, view, picture, {"depth_map": map_hash, **facts}, depth)
        pixels = as_batch(picture)
        if self.cache is None:
            return WorkItem(job, content.key, view, picture, facts, pixels=pixels)
        cache_key = depth_key(pixels, self.model)
        known = self.cache.find(cache_key)
        return WorkItem(job, content.key, view, picture, facts, known, pixels if known is None else None, cache_key)

    def _draw_scene(self, job: Job, scene: int) -> WorkItem:
        size, seed = self.config.size, self.config.seed
        picked = pick_textures(job.origin, job.textures, (seed, job.origin.name, job.repeat, scene))
        textures = read_surfaces(picked, size, self.readers)
        content = textures[job.origin][0]
        picture, depth = render_scene(textures, size, (seed, content, job.repeat), scene, self.photo_scenes)
        names = {source.name: key for source, (key, _) in textures.items()}
        facts = {"scene": scene, "textures": names, "seed": seed}
        return WorkItem(job, content, scene_view(size), picture, facts, depth)

    def infer(self, item: WorkItem) -> tuple[WorkItem, Tensor | None]:
        """Return `item` and the depth network's output, which is None if the depth is known already.

        Runs in the calling thread: nothing else may keep it waiting. Raises `UnreadablePicture` if the network rejects
        the picture.
        """
        if item.pixels is None:
            return item, None
        return dataclasses.replace(item, pixels=None), infer_depth(self.model, item.pixels)

    def skip(self, job: Job, reason: UnreadablePicture) -> str:
        """Write to the manifest why a job gives no records; return a message."""
        manifest.write_part(self.part(job), [{"source": job.source, "repeat": job.repeat, "skipped": str(reason)}])
        return f"skipped, it {reason}"

    def finish(self, item: WorkItem, inferred: Tensor | None) -> str:
        """Write a job's records, then its part; return a message. `inferred`: the depth network's output, if needed."""
        job, config, depth = item.job, self.config, item.depth
        if inferred is not None:
            depth = round_depth(inferred)  # as the cache keeps it, so that records are the same without a cache
            if self.cache is not None and item.cache_key is not None:
                self.cache.store(item.cache_key, depth, self.model)
        assert depth is not None
        key: tuple[Key, ...] = (config.seed, item.key, job.repeat)
        sampler = self.sampler
        if job.scene is not None:
            key = (*key, "scene", job.scene)
            sampler = self.scene_sampler
        crops = make_crops(item.picture, depth, sampler, config.size, config.num_samples, key)
        deleted = _deleted_rows(self.part(job))
        rows = [deleted.get((crop.image, crop.number)) or self._write(item, crop) for crop in crops]
        manifest.write_part(self.part(job), rows)
        few = sum("dropped" in row and manifest.DELETED_ROW not in row for row in rows)
        left_out = f"; crops left out, hole too small: {few}" if few else ""
        bars = f"; {item.facts['bars']}" if "bars" in item.facts else ""
        return count_of(sum(map(manifest.is_record, rows)), "record") + left_out + bars

    def _write(self, item: WorkItem, crop: Crop) -> Row:
        """Write a crop as a pair, unless its hole is too small; return its row.

        The picture comes first: iw3 finds records by their holes, so no hole may ever be without its picture.
        """
        job = item.job
        row: Row = {
            "source": job.source,
            "repeat": job.repeat,
            "record": crop.image,
            "sample": crop.number,
            **item.facts,
        }
        picture, hole = self._pair(job, crop.image, crop.number)
        if crop.hole_pixels < MIN_HOLE_AREA:
            return {**row, "dropped": f"only {crop.hole_pixels} px of hole"}
        write_png(picture, crop.picture)
        write_png(hole, crop.hole.astype(np.uint8) * 255)
        return {
            **row,
            "picture": picture.name,
            "hole": hole.name,
            "source_hash": item.key,
            **asdict(item.view),
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


def _deleted_rows(part: Path) -> dict[tuple[int, int], Row]:
    """Return the rows of records deleted in the browser, by image and number of the crop, so that they stay deleted."""
    rows = manifest.read_part(part) if part.exists() else []
    return {(row["record"], row["sample"]): row for row in rows if manifest.DELETED_ROW in row}


def _changed_after(path: Path, part: Path) -> bool:
    """Return whether a file was modified or replaced after `part`; only then must its content be read again."""
    try:
        facts = path.stat()
    except OSError:
        return True
    return max(facts.st_mtime_ns, facts.st_ctime_ns) > part.stat().st_mtime_ns
