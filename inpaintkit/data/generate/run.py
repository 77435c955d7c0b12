"""Run a generation: list the source files, make what is missing in one process or several, and report on it."""

import contextlib
import dataclasses
import time
from collections.abc import Callable
from pathlib import Path

from inpaintkit.config import GenerateConfig, enough_memory, parse_shard
from inpaintkit.data import manifest
from inpaintkit.data.generate.pipeline import Pipeline
from inpaintkit.data.generate.plan import Listing, list_sources, plan_jobs
from inpaintkit.data.generate.processes import generate_in_processes
from inpaintkit.data.generate.report import GenerateReport, make_report
from inpaintkit.files import require_writable
from inpaintkit.text import shown

ProgressCallback = Callable[[int, int, str], None]
"""Callback: progress(done, total, message) after each picture, in the calling thread; `total` is 0 while videos are
surveyed."""

LESS = "set a smaller resolution, fewer processes or device=cpu"


def generate_dataset(config: GenerateConfig, progress: ProgressCallback | None = None) -> GenerateReport:
    """Generate the data set that `config` describes, or continue it if it was begun before; return a report.

    Broken or unsuitable pictures are skipped and listed. After Ctrl-C, the same call continues. Raises `InputError` if
    folders or parameters can't work, another run writes the same shard, or the disk is full, and `RunFailed` if one of
    several processes fails or a GPU runs out of memory.
    """
    started = time.perf_counter()
    for folder in ("", manifest.MANIFEST_FOLDER, *manifest.SPLITS):
        require_writable(Path(config.output_dir, folder), "output_dir")
    listing = list_sources(config)
    tracker = ProgressTracker(progress)
    try:
        worked = generate_in_processes(config, tracker) if config.processes > 1 else 0
        report = _generate(config, listing, tracker)
    except KeyboardInterrupt:
        early = {None: "before the first picture", 0: "while choosing frames of videos"}
        place = early.get(tracker.total, f"after {tracker.done} of {tracker.total} pictures")
        raise KeyboardInterrupt(f"stopped {place}; run the same again to continue") from None
    return dataclasses.replace(report, pictures=worked + report.pictures, seconds=time.perf_counter() - started)


class ProgressTracker:
    """A callback that keeps and passes on the progress; `total` is 0 while unknown, None before the first call."""

    def __init__(self, progress: ProgressCallback | None) -> None:
        self.progress, self.done = progress, 0
        self.total: int | None = None

    def __call__(self, done: int, total: int, message: str) -> None:
        self.done, self.total = done, total
        if self.progress is not None:
            self.progress(done, total, message)


def _generate(config: GenerateConfig, listing: Listing, tracker: ProgressTracker) -> GenerateReport:
    """Make what is missing of the shard of `config`, and return a report on all of the shard."""
    shard, shards = parse_shard(config.shard)
    with (
        enough_memory(config.device, lambda: f"{LESS}; run the same again to continue"),
        manifest.lock(config.output_dir, config.data_set_name, f"{shard}/{shards}"),
        contextlib.closing(Pipeline(config, listing)) as pipeline,
    ):
        jobs = plan_jobs(config, listing, pipeline.folder, lambda text: tracker(0, 0, text))
        if not jobs and shards > 1:
            tracker(0, 0, f"shard {shard}/{shards} makes nothing: there are fewer pictures than shards")
        manifest.remove_leftovers_of(config.output_dir, pipeline.name, alone=shards == 1)
        waiting = [job for job in jobs if not pipeline.is_finished(job)]
        finished = len(jobs) - len(waiting)
        if finished and tracker.done < len(jobs):
            tracker(finished, len(jobs), f"{finished} pictures were finished before")
        for done, (job, result) in enumerate(pipeline.work(waiting), finished + 1):
            tracker(done, len(jobs), f"{shown(job.source)}: {result}")
        rows = (row for job in jobs for row in manifest.read_part(pipeline.part(job)))
        return make_report(config, listing, rows, len(waiting))
