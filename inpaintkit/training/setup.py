"""Setting up what one process needs to train: data, networks and their state, or that of the run it goes on with."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from inpaintkit.config import TrainConfig
from inpaintkit.model import LightInpaintV1, load_model
from inpaintkit.seeds import torch_rng
from inpaintkit.training.amp import choose_amp
from inpaintkit.training.checkpoints import taking_state
from inpaintkit.training.distributed import Group
from inpaintkit.training.feeding import Feed, choose_records, open_records
from inpaintkit.training.resume import DataFacts, FoundRun, match_records
from inpaintkit.training.tasks.plain import PlainTask
from inpaintkit.training.tasks.task import Task

SCHEDULE_OPTIONS = {"learning_rate", "max_epoch"}
"""Options that change the learning-rate schedule of a run that goes on."""

MakeTask = Callable[[PlainTask, Group], Task]
"""Makes the task of a run out of the plain one."""


@dataclass(frozen=True)
class Setup:
    """Everything of a run that lives in memory; `messages`: what to tell about it."""

    device: str
    arithmetic: str
    task: Task
    plain: PlainTask
    feed: Feed
    eval_feed: Feed
    eval_records: Sequence[int]
    facts: DataFacts
    messages: tuple[str, ...]


def set_up(config: TrainConfig, found: FoundRun, group: Group, device: str, make_task: MakeTask) -> Setup:
    """Return the setup of `config` on `device`, in the state that was `found`. Raises `InputError` for unusable data or weights."""
    messages: list[str] = []
    with group.leader_first():
        feed, eval_feed = (Feed(config, open_records(config, split), device) for split in ("train", "eval"))
    messages += feed.messages
    facts = DataFacts.of(feed.records, eval_feed.records)
    arithmetic = None
    if found.state is not None:
        with taking_state(Path(config.model_dir)):
            messages += match_records(found.state, facts, config, feed.sampler)
            arithmetic = found.state["inpaintkit_amp"]
            if arithmetic not in (None, "off", "bf16", "fp16"):
                raise ValueError(f"its arithmetic is {arithmetic!r}")
        if arithmetic is not None and config.amp not in ("auto", arithmetic):
            messages.append(f"amp: the run goes on with {arithmetic}, as it began; amp={config.amp} is for a new one")
    if arithmetic is None:
        arithmetic, reason = choose_amp(config.amp, device)
        messages.append(reason)
    plain = PlainTask(config, _model(config, found), arithmetic, device, group)
    task = make_task(plain, group)
    if config.compile:
        # comparing gradients at the last layer needs a graph that is walked twice and may be left half-way
        refused = "compile: only plain training can use a compiled generator; going on without"
        messages.append(plain.compile() if task is plain else refused)
    if found.state is not None:
        with taking_state(Path(config.model_dir)):
            task.load_state(found.state)
        if found.changed.keys() & SCHEDULE_OPTIONS:
            task.change_schedule(int(found.state["inpaintkit_progress"]["epoch"]) - 1)
    chosen = choose_records(eval_feed.records.names, config.eval_records)
    return Setup(device, arithmetic, task, plain, feed, eval_feed, chosen, facts, (*messages, *found.messages))


def _model(config: TrainConfig, found: FoundRun) -> LightInpaintV1:
    """Return the generator that a new run starts with; for one that goes on its weights come with the state."""
    if found.state is None and found.weights_from is not None:
        return load_model(found.weights_from)[0]
    return LightInpaintV1(torch_rng(config.seed, "weights"), grey_start=config.grey_start)
