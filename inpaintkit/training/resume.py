"""Decide what the next call does with a run folder: start a run, resume one, report a finished one, or refuse.

The checkpoint alone decides: it holds the options, the progress and a note of the data that it was made with.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from inpaintkit.config import FIXED, GanConfig, TrainConfig, changes
from inpaintkit.data import HardExampleSampler, InpaintDataset
from inpaintkit.errors import InputError
from inpaintkit.files import OLD, move_aside
from inpaintkit.seeds import derive_seed
from inpaintkit.text import count_of
from inpaintkit.training.checkpoints import newest_checkpoint, older_path, reading_checkpoint
from inpaintkit.training.iw3_state import from_iw3
from inpaintkit.training.progress import Plan, Progress
from inpaintkit.training.run import RunFiles
from inpaintkit.training.schedule import last_epoch

CHOICES = (
    "set resume=True to go on with it under these options, or name another model_dir, or set overwrite=True, "
    f"which moves it to {OLD}/"
)
RECORD_CHOICES = "restore them, or start anew in another model_dir or with overwrite=True"
TRAINING_FILES = ("*.pth", "*.pth.bk", "loss_*.csv", "eval", "epoch", "start", "figures", "tensorboard")
"""Files that training, iw3's included, leaves in a run folder; all others belong to the notebook."""

NEW_RUN_OPTIONS = ("overwrite", "reset_state")
"""Options that ask for a new run in the folder of another one.

Once the new run has begun, the same call continues it; then they may also be left out.
"""

NAME_END = "\0"
"""Separator of record names in a checkpoint: the one character that no file name can hold.

Early versions used a line break.
"""

State = Mapping[str, Any]
Changes = Mapping[str, tuple[Any, Any]]
"""Options with their values before and now."""


@dataclass(frozen=True)
class FoundRun:
    """What a run folder holds, and what that means for a configuration.

    `state`: the checkpoint to resume from, None for a new run; `progress`: its progress, in steps of the configuration;
    `source`: its file, if the run stays in place; `finished`: nothing is left to do; `replaces`: the folder holds a run
    that must be moved away first; `weights_from`: model file that a new run starts from; `changed`: options that differ
    from those of the checkpoint, as the user asked; `messages`: what to report.
    """

    state: State | None = None
    progress: Progress = dataclasses.field(default_factory=Progress)
    source: Path | None = None
    finished: bool = False
    replaces: bool = False
    weights_from: Path | None = None
    changed: Changes = dataclasses.field(default_factory=dict)
    messages: tuple[str, ...] = ()


def find_run(config: TrainConfig) -> FoundRun:
    """Return what ``config.model_dir`` holds for `config`; changes nothing on disk.

    With the same options an unfinished run is resumed, and a finished one is reported as finished. Other options,
    unless `FREE`, need ``resume`` or ``overwrite``. Raises `InputError` if neither the folder nor the options allow to
    go on.
    """
    files = RunFiles(Path(config.model_dir))
    if not files.state.exists() and not older_path(files.state, 1).exists():
        return _without_state(config, files)
    try:
        return _with_state(config, files, *newest_checkpoint(files.state))
    except InputError:  # with `overwrite` this is a checkpoint that can't be read, which is replaced, too
        if config.overwrite:
            return _new_run(config, files.state)
        raise


def _new_run(config: TrainConfig, source: Path | None) -> FoundRun:
    """Return a new run; with ``reset_state`` it starts from the weights `source` of the run that it replaces.

    A `source` of None means that there is no such run.
    """
    if source is None or not config.reset_state:
        given = Path(config.checkpoint_file) if config.checkpoint_file else None
        return FoundRun(replaces=source is not None, weights_from=given)
    messages = (_other_weights(config, source),) if config.checkpoint_file else ()
    return FoundRun(replaces=True, weights_from=source, messages=messages)


def _other_weights(config: TrainConfig, source: Path) -> str:
    return f"resume: going on with the weights of {source}, not with those of {config.checkpoint_file}"


def _with_state(config: TrainConfig, files: RunFiles, state: State, source: Path) -> FoundRun:
    replacing = _new_run(config, source)
    if "inpaintkit_progress" not in state:
        return replacing if config.overwrite or config.reset_state else _of_iw3(config, files, state)
    with reading_checkpoint(files.folder):
        before = dict(state["train_kwargs"])
    asked_new = next((name for name in NEW_RUN_OPTIONS if getattr(config, name)), None)
    notebook = (GanConfig if "discriminator" in before else TrainConfig).notebook
    if asked_new and (notebook != config.notebook or not before.get(asked_new)):
        return replacing
    if notebook != config.notebook:
        raise InputError(
            f"model_dir: {config.model_dir} holds a run of {notebook}, which {config.notebook} can't go on with; name another model_dir, "
            f"take its weights alone with resume=True and reset_state=True, or set overwrite=True, which moves it to {OLD}/"
        )
    with reading_checkpoint(files.folder):
        progress = take_progress(state, Plan.of(config))
        finished = progress.epoch > last_epoch(config)
        changed = _changes(config, before, samples_per_step(state), finished)
    if config.overwrite and changed:
        return replacing
    _check_changes(config, changed)
    messages = (*_messages(config, files, source, changed), f"resumed at epoch {progress.epoch}, step {progress.step}")
    return FoundRun(state, progress, source, finished, changed=changed, messages=messages)


def _of_iw3(config: TrainConfig, files: RunFiles, state: State) -> FoundRun:
    if not config.resume:
        raise InputError(
            f"model_dir: {files.state} was not written by inpaintkit; go on with it with resume=True, take its weights alone "
            "with reset_state=True too, or name another model_dir"
        )
    with reading_checkpoint(files.folder):
        taken = from_iw3(state, config)
        progress = take_progress(taken, Plan.of(config))
    said = f"going on with iw3's run after {state['last_epoch']} epochs, with its weights and optimiser and the learning rate of this run's options"
    changed = {"learning_rate": (None, config.learning_rate)}  # iw3's own isn't read
    return FoundRun(taken, progress, replaces=True, changed=changed, messages=(said,))


def _without_state(config: TrainConfig, files: RunFiles) -> FoundRun:
    if config.resume and not (config.reset_state and files.model.exists()):
        raise InputError(f"resume: {files.folder} holds no checkpoint; start without resume or name another model_dir")
    if not files.model.exists():
        return _new_run(config, None)
    if config.reset_state or config.overwrite:
        return _new_run(config, files.model)
    raise InputError(
        f"model_dir: {files.model} is there already, without the state of its training; name another model_dir, or set "
        f"overwrite=True, which moves it to {OLD}/"
    )


def _changes(config: TrainConfig, before: State, samples: int, finished: bool) -> Changes:
    """Return the options of `config` that differ from those `before`, whose steps took `samples` samples."""
    changed = changes(config, before)
    now = config.batch_size * config.processes
    if samples == now:
        changed.pop("batch_size", None)  # more processes with smaller batches, or the reverse, go on exactly
    elif "batch_size" not in changed and not finished:  # a finished run is shown with any number of processes
        changed["samples per step"] = (samples, now)
    return changed


def _check_changes(config: TrainConfig, changed: Changes) -> None:
    """Raise `InputError` if an option was changed that can't change, or any was changed without ``resume``."""
    for field in dataclasses.fields(config):
        if field.name in changed and field.metadata["later"] == FIXED:
            then, now = changed[field.name]
            raise InputError(
                f"model_dir: {config.model_dir} holds a run with {field.name}={then!r}, now it is {now!r}, which can't change on the "
                f"way; use the old value, name another model_dir, or set overwrite=True, which moves that run to {OLD}/"
            )
    if changed and not config.resume:
        raise InputError(
            f"model_dir: {config.model_dir} holds a run with other options ({_listed(changed)}); {CHOICES}"
        )


def _listed(changed: Changes) -> str:
    return ", ".join(f"{name} {then!r}, now {now!r}" for name, (then, now) in changed.items())


def _messages(config: TrainConfig, files: RunFiles, source: Path, changed: Changes) -> Iterator[str]:
    if source != files.state:
        yield f"{files.state} is missing or damaged; going on from the one before it, {source}"
    if "checkpoint_file" in changed and config.checkpoint_file:
        yield _other_weights(config, source)
    matters = {name: pair for name, pair in changed.items() if name != "checkpoint_file"}
    if matters:
        yield f"options changed on the way: {_listed(matters)}; from here on the run is not an exact continuation"


def move_old_run(folder: Path, names: Iterable[str]) -> Path:
    """Move the files of a run `folder` that match `names` (patterns) to ``old/DATE``; return that folder.

    DATE is the time of the run's last checkpoint.
    """
    files = RunFiles(folder)
    return move_aside(folder, names, next((file for file in (files.state, files.model) if file.exists()), folder))


def samples_per_step(state: State) -> int:
    """Return how many samples the run of a checkpoint took per step, in all its processes together."""
    return int(state["train_kwargs"]["batch_size"]) * int(state.get("inpaintkit_processes", 1))


def take_progress(state: State, plan: Plan) -> Progress:
    """Return the progress of a checkpoint, converted to the steps of `plan`."""
    kept = {**state["inpaintkit_progress"]}
    kept.pop("skipped_in_row", None)  # of early versions
    progress = Progress(**kept)
    progress.check()
    samples = progress.step * samples_per_step(state)
    progress.step = min(samples // plan.samples_per_step, plan.steps_per_epoch)
    progress.steps_done = (progress.epoch - 1) * plan.steps_per_epoch + progress.step
    return progress


def data_facts(train_set: InpaintDataset, eval_set: InpaintDataset) -> State:
    """Return what a checkpoint notes of the records: names and hashes of training records, and hashes of whole splits.

    They are taken once, when the records are opened, because records may disappear before a checkpoint is written.
    """
    return {
        "inpaintkit_data_key": derive_seed(*train_set.names, len(eval_set)),
        "inpaintkit_data_content": derive_seed(train_set.fingerprint(), eval_set.fingerprint()),
        "inpaintkit_data_evaluation": eval_set.fingerprint(),
        "inpaintkit_records": {"names": NAME_END.join(train_set.names), "hashes": torch.tensor(train_set.hashes())},
    }


def match_records(state: State, facts: State, config: TrainConfig, sampler: HardExampleSampler) -> list[str]:
    """Load the losses of a checkpoint into `sampler`; return a message if records were added since then.

    `facts` are the `data_facts` of the present records. Raises `InputError` if training records were removed or
    exchanged, or were added without ``resume``, and if evaluation records changed at all.
    """
    if state["inpaintkit_data_key"] is None:  # taken over from iw3, which keeps nothing about records
        return []
    # the content is unknown in checkpoints of early versions
    if all(state.get(key, facts[key]) == facts[key] for key in ("inpaintkit_data_key", "inpaintkit_data_content")):
        sampler.load_state_dict(state["inpaintkit_sampler"])
        return []
    today = {record: place for place, record in enumerate(_records(facts))}
    same_evaluation = state.get("inpaintkit_data_evaluation") == facts["inpaintkit_data_evaluation"]
    places = [today.get(record, -1) for record in _records(state)] if same_evaluation else [-1]
    if -1 in places:
        raise InputError(
            f"data_dir: the records in {config.data_dir} have changed since the run began; {RECORD_CHOICES}"
        )
    added = count_of(len(today) - len(places), "new record")
    if not config.resume:
        raise InputError(f"data_dir: {added} in {config.data_dir} since the run began; {CHOICES}")
    sampler.load_state_dict(state["inpaintkit_sampler"], places)
    return [f"{added} since the run began, drawn from here on"]


def _records(state: State) -> list[tuple[str, int]]:
    """Return the name and the hash of each training record of a checkpoint."""
    records = state["inpaintkit_records"]
    names = records["names"]
    return list(zip(names.split(NAME_END if NAME_END in names else "\n"), records["hashes"].tolist(), strict=True))
