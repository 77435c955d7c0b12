"""Make many data sets in one call: sources x depth models x variants, all checked before the first one starts."""

import dataclasses
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cache, partial
from itertools import product
from pathlib import Path
from typing import Any

from inpaintkit.config import DEPTH_MODEL_NAMES, GenerateConfig, changes, require_known
from inpaintkit.data import clean_prefix
from inpaintkit.data.manifest import begun_with, data_set_names, is_record, manifest_folder, read_manifest
from inpaintkit.depth import available_models
from inpaintkit.errors import InputError, RunFailed
from inpaintkit.files import atomic_write_text
from inpaintkit.notebook import parameters, run_folder, runs
from inpaintkit.notebook.project import find_project

NOTEBOOK = "01_generate"
NAMES = ("data_sets", "depth_models", "variants")  # sections of names with parameters under them
SECTIONS = ("on_error", "unfinished", "common", *NAMES)
NAMED_BY_SECTIONS = {"prefix": "data_sets and variants", "model_type": "depth_models"}
ON_ERROR = ("stop", "skip", "retry")
UNFINISHED = ("keep", "clean")
USABLE = ("ready", "not downloaded yet")  # how `available_models` begins the state of a model that can be used
DONE_BEFORE, FAILED, NOT_RUN = "done before", "failed", "not run"


@dataclass(frozen=True)
class Outcome:
    """How a job ended: one line of the summary. A job that was refused has an `error` but was never `started`."""

    job: GenerateConfig
    state: str
    records: str = ""
    seconds: float = 0.0
    error: str = ""
    started: bool = True


@dataclass(frozen=True)
class BatchPlan:
    """A checked batch: its jobs in order, and what to do when one fails."""

    name: str
    jobs: tuple[GenerateConfig, ...]
    on_error: str
    unfinished: str


def load_batch(file: str | Path, overrides: Mapping[str, Any] | None = None) -> BatchPlan:
    """Load a batch from a YAML file (see ``params/batch.example.yaml``) and check it as a whole.

    `overrides` are parameters for all jobs, a shard for instance. Paths in the file are relative to the project's root.
    Raises a single `InputError` that lists all jobs that can't run, and why.
    """
    plan = parameters.load_sections(file, SECTIONS)
    on_error, unfinished = plan.get("on_error", "stop"), plan.get("unfinished", "keep")
    require_known(f"{file}: on_error", on_error, ON_ERROR)
    require_known(f"{file}: unfinished", unfinished, UNFINISHED)
    jobs, problems = _build_jobs(plan, str(file), overrides or {})
    problems += _find_problems(jobs, on_error)
    if problems:
        raise InputError(f"{file}: nothing was started: " + "; ".join(problems))
    return BatchPlan(Path(file).stem, tuple(jobs), on_error, unfinished)


def _build_jobs(
    plan: Mapping[str, Any], file: str, overrides: Mapping[str, Any]
) -> tuple[list[GenerateConfig], list[str]]:
    common = parameters.section(plan.get("common"), f"{file}: common")
    data_sets, models, variants = (_named(plan.get(name), name, file) for name in NAMES)
    if not data_sets or not models:
        raise InputError(f"{file}: data_sets and depth_models must each hold at least one entry")
    jobs, problems = [], []
    named = product(data_sets.items(), models.items(), (variants or {"": {}}).items())
    for (data_set, source), (model, options), (variant, own) in named:
        prefix = f"{data_set}_{variant}" if variant else data_set
        values = {**common, **options, **source, **own, **overrides}
        for name, sections in NAMED_BY_SECTIONS.items():
            if name in values:
                raise InputError(f"{file}: {name} follows from the names under {sections}; leave it out")
        try:
            job = _job(values | {"prefix": prefix, "model_type": model})
            if "dataset_dir" not in values:  # its default would be the shipped photos
                raise InputError(f"dataset_dir is missing; name a folder of pictures under {data_set}")
            jobs.append(job)
        except InputError as error:
            problems.append(f"{prefix}_{model}: {error}")
    return jobs, problems


def _named(section: Any, name: str, file: str) -> dict[str, dict[str, Any]]:
    """Return a section as a mapping of names to parameters; it may also be given as a list of names."""
    if isinstance(section, list) and all(isinstance(key, str) for key in section):
        section = dict.fromkeys(section)
    if section is not None and not isinstance(section, dict):
        raise InputError(f"{file}: {name} must be a list of names, or names with parameters under them")
    return {key: parameters.section(value, f"{file}: {name}: {key}") for key, value in (section or {}).items()}


def _job(values: dict[str, Any]) -> GenerateConfig:
    params = dataclasses.asdict(parameters.resolve(NOTEBOOK, values))
    for field in dataclasses.fields(GenerateConfig):
        if field.metadata["path"] and params[field.name] is not None:
            params[field.name] = str(find_project() / params[field.name])
    return GenerateConfig(**params)


def _find_problems(jobs: Iterable[GenerateConfig], on_error: str) -> list[str]:
    problems = []
    taken = dict[tuple[str, str], str]()
    states = cache(lambda hub_dir: dict(available_models(hub_dir)))  # the hubs are asked once
    for job in jobs:
        place = (str(Path(job.output_dir).resolve()), job.data_set_name.lower())  # some file systems ignore case
        run_folder = (str(job.run_folder.resolve()), "")
        if place in taken:
            problems.append(
                f"{job.data_set_name}: its files would mix with those of {taken[place]}; rename a data set or variant"
            )
        elif run_folder in taken:
            problems.append(f"{job.data_set_name}: its run_dir is that of {taken[run_folder]}; leave run_dir out")
        taken[place] = taken[run_folder] = job.data_set_name
        for check in (
            partial(_check_model, job, states),
            partial(_check_begun, job, on_error),
            job.check_inputs,
        ):
            try:
                check()
            except InputError as error:
                problems.append(f"{job.data_set_name}: {error}")
    return list(dict.fromkeys(problems))  # an unknown model is found by two of the checks


def _check_model(job: GenerateConfig, states: Callable[[str | None], Mapping[str, str]]) -> None:
    """Raise `InputError` if the job's depth model isn't available; `states` maps a hub folder to its models' states."""
    model = job.model_type
    require_known("model_type", model, DEPTH_MODEL_NAMES)
    if job.model_path is None and not (state := states(job.hub_dir)[model]).startswith(USABLE):
        raise InputError(f"depth model {model}: {state}")


def _check_begun(job: GenerateConfig, on_error: str) -> None:
    """Raise `InputError` if the job can't continue the data set in its output folder.

    A damaged data set makes only the job itself fail later, unless the first failure ends the batch.
    """
    try:
        begun = begun_with(manifest_folder(job.output_dir, job.data_set_name))
    except InputError:
        if on_error == "stop":
            raise
        return
    for name, (then, now) in changes(job, begun).items():
        raise InputError(
            f"was begun with {name}={then}, not {now}; clean it first (`inpaintkit clean -h`) or choose another name"
        )


def run_batch(batch: BatchPlan, tell: Callable[[str], None] = print) -> list[Outcome]:
    """Run the jobs one after the other, each in its own run folder, and return how each ended.

    Finished jobs are skipped, unfinished ones continue where they stopped. `on_error`: ``stop`` ends the batch at the
    first failure, ``skip`` goes on with the next job, ``retry`` also runs failed jobs once more at the end. With
    ``unfinished: clean`` the files of a failed job are deleted, but never a finished data set or those of a shard. The
    summary is printed, and written beside the run folders. Raises `RunFailed` if any job failed in the end.
    """
    outcomes = [Outcome(job, NOT_RUN) for job in batch.jobs]
    try:
        _run_pass(batch, outcomes, range(len(outcomes)), tell)
        if batch.on_error == "retry":
            failed = [place for place, outcome in enumerate(outcomes) if outcome.state == FAILED]
            _run_pass(batch, outcomes, failed, tell)
    except KeyboardInterrupt:
        raise KeyboardInterrupt("finished jobs are kept; run the same batch again to continue") from None
    finally:
        _clean_up(batch, outcomes, tell)
        table = summary_table(outcomes)
        config = batch.jobs[0]
        atomic_write_text(Path(config.output_dir) / "runs" / f"batch_{batch.name}{config.shard_mark}.md", table)
        tell(table)
    failed_names = [outcome.job.data_set_name for outcome in outcomes if outcome.state == FAILED]
    if failed_names:
        raise RunFailed(f"{len(failed_names)} of {len(outcomes)} jobs failed: {', '.join(failed_names)}")
    return outcomes


def _run_pass(batch: BatchPlan, outcomes: list[Outcome], places: Iterable[int], tell: Callable[[str], None]) -> None:
    for place in places:
        job = outcomes[place].job
        tell(f"\n=== {place + 1} of {len(outcomes)}: {job.data_set_name} -> {job.run_folder}")
        outcomes[place] = run_job(job)
        if outcomes[place].state == FAILED:
            tell(f"failed: {outcomes[place].error}")
            if batch.on_error == "stop":
                return


def run_job(job: GenerateConfig) -> Outcome:
    """Run one job's notebook unless it was finished before; return how it ended."""
    try:
        last = run_folder.run_manifest(job.run_folder)
        done = last.get("status") == run_folder.DONE and last.get("params") == dataclasses.asdict(job)
        seconds = last.get("seconds")
        if done and isinstance(seconds, float) and (records := _finished_records(job)):
            return Outcome(job, DONE_BEFORE, records, seconds)
        report = runs.execute(NOTEBOOK, dataclasses.asdict(job))
    except (InputError, RunFailed) as error:
        return Outcome(job, FAILED, error=str(error), started=isinstance(error, RunFailed))
    return Outcome(job, run_folder.DONE, report.metrics.get("records", ""), report.seconds)


def _finished_records(job: GenerateConfig) -> str:
    """Return how many records a finished run of the job made; empty without one, or if some were deleted since."""
    # not from the manifest of the run folder: that is the last run's, which may have failed
    records = run_folder.read_metrics(job.run_folder).get("records", "")
    if not records.isdecimal() or job.data_set_name not in data_set_names(job.output_dir):
        return ""
    there = sum(map(is_record, read_manifest(job.output_dir, job.data_set_name)))
    return records if there >= int(records) else ""


def _clean_up(batch: BatchPlan, outcomes: Iterable[Outcome], tell: Callable[[str], None]) -> None:
    for outcome in outcomes if batch.unfinished == "clean" else ():
        if outcome.state == FAILED and outcome.started:
            try:
                tell(f"{outcome.job.data_set_name}: {_clean(outcome.job)}")
            except InputError as error:  # the table must still be written
                tell(f"{outcome.job.data_set_name}: nothing deleted: {error}")


def _clean(job: GenerateConfig) -> str:
    """Delete a failed job's files unless its data set is finished or divided into shards; return what was done."""
    if _finished_records(job):
        return "nothing deleted, it was finished before"
    if job.shard_mark:
        return "nothing deleted, other shards' files are among its own"
    return f"{len(clean_prefix(job.output_dir, job.data_set_name, dry_run=False))} unfinished files deleted"


def summary_table(outcomes: Iterable[Outcome]) -> str:
    """Return the outcomes as a Markdown table."""
    lines = ["| data set | state | records | seconds | run folder or error |", "| --- | --- | ---: | ---: | --- |"]
    for o in outcomes:
        note = " ".join(o.error.split()).replace("|", "/") or o.job.run_folder
        lines.append(f"| {o.job.data_set_name} | {o.state} | {o.records} | {o.seconds:.0f} | {note} |")
    return "\n".join(lines) + "\n"
