"""Set up what one process needs to train: data, networks, and their state from the run that it resumes, if any."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from inpaintkit.config import TrainConfig, device_of_process, resolve_device
from inpaintkit.data import HardExampleSampler, InpaintDataset
from inpaintkit.model import LightInpaintV1, load_model
from inpaintkit.seeds import torch_rng
from inpaintkit.training.amp import choose_amp
from inpaintkit.training.checkpoints import reading_checkpoint
from inpaintkit.training.distributed import Group
from inpaintkit.training.feeding import Feed, choose_records, open_records
from inpaintkit.training.resume import FoundRun, State, data_facts, match_records
from inpaintkit.training.schedule import last_epoch, restart_schedule
from inpaintkit.training.tasks.plain import PlainTask
from inpaintkit.training.tasks.task import Task

SCHEDULE_OPTIONS = {"learning_rate", "max_epoch"}
"""Options that change the learning-rate schedule of a resumed run."""

MakeTask = Callable[[PlainTask], Task]
"""Function that makes the task of a run out of the plain one."""


@dataclass(frozen=True)
class Data:
    """Records for training and evaluation, `facts` for checkpoints, the sampler, and `messages` to report."""

    train_set: InpaintDataset
    eval_set: InpaintDataset
    facts: State
    sampler: HardExampleSampler
    messages: Sequence[str]


def open_data(config: TrainConfig, found: FoundRun, group: Group) -> Data:
    """Return the records of `config`, with their losses from the run that was `found`.

    Raises `InputError` if they can't be used.
    """
    with group.leader_first():
        train_set, eval_set = (open_records(config, split) for split in ("train", "eval"))
    facts = data_facts(train_set, eval_set)
    sampler = HardExampleSampler(len(train_set))
    messages: Sequence[str] = ()
    if found.state is not None:
        with reading_checkpoint(Path(config.model_dir)):
            messages = match_records(found.state, facts, config, sampler)
    return Data(train_set, eval_set, facts, sampler, messages)


@dataclass(frozen=True)
class Setup:
    """Everything that trains and evaluates on a device, and `messages` to report."""

    data: Data
    task: Task
    feed: Feed
    eval_feed: Feed
    eval_records: Sequence[int]
    messages: Sequence[str]


def set_up(config: TrainConfig, found: FoundRun, data: Data, group: Group, make_task: MakeTask) -> Setup:
    """Return the setup of `config`, with the state that was `found`.

    Raises `InputError` for unusable options or weights.
    """
    device = device_of_process(resolve_device(config.device))
    feed, eval_feed = (Feed(config, records, device) for records in (data.train_set, data.eval_set))
    messages = [*feed.messages, *data.messages]
    if (last := last_epoch(config)) < config.max_epoch:
        messages.append(f"the run ends after epoch {last} of {config.max_epoch}, with a cycle of the learning rate")
    arithmetic, told = _arithmetic(config, found, device)
    messages += told
    plain = PlainTask(config, _model(config, found), arithmetic, device, group)
    task = make_task(plain)
    if config.compile:
        # comparing gradients at the last layer runs backward through the graph twice and may leave it half-way
        refused = "compile: only plain training can use a compiled generator; going on without"
        messages.append(plain.compile() if task is plain else refused)
    if found.state is not None:
        with reading_checkpoint(Path(config.model_dir)):
            task.load_state(found.state)
        if found.changed.keys() & SCHEDULE_OPTIONS:
            for updater in task.updaters:
                updater.scheduler = restart_schedule(config, updater.optimizer, found.progress.epoch - 1)
    chosen = choose_records(data.eval_set.names, config.eval_records)
    return Setup(data, task, feed, eval_feed, chosen, (*messages, *found.messages))


def _arithmetic(config: TrainConfig, found: FoundRun, device: str) -> tuple[str, list[str]]:
    """Return the arithmetic to train in, in a resumed run the one that it began with, and messages to report."""
    arithmetic, reason = choose_amp(config.amp, device)
    with reading_checkpoint(Path(config.model_dir)):
        begun = None if found.state is None else found.state["inpaintkit_amp"]
        if begun not in (None, "off", "bf16", "fp16"):
            raise ValueError(f"its arithmetic is {begun!r}")
    if begun in (None, arithmetic):
        return arithmetic, [] if begun else [reason]
    return begun, [f"amp: the run goes on with {begun}, as it began; amp={arithmetic} needs a new one"]


def _model(config: TrainConfig, found: FoundRun) -> LightInpaintV1:
    """Return the generator that a new run starts with; in a resumed run its weights come later, with the state."""
    if found.state is None and found.weights_from is not None:
        return load_model(found.weights_from)[0]
    return LightInpaintV1(torch_rng(config.seed, "weights"), grey_start=config.grey_start)
