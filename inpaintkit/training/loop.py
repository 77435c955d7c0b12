"""The training algorithm, from the first step to the last. What is trained is a `Task`, where it is kept a `Run`.

Nothing here depends on the state of a random generator: the order of an epoch comes from ``(seed, epoch)``, a sample from
``(seed, epoch, draw)``, a step's noise from ``(seed, epoch, step)``. A resumed run therefore needs the state of task and
sampler and two counters, and goes on bit by bit.

Several processes (see `distributed`) each take their share of every step and of the evaluation; only the first one writes.
"""

import math
from collections.abc import Callable

from inpaintkit.data import HardExampleSampler
from inpaintkit.training.feeding import Feed
from inpaintkit.training.judging import Figures
from inpaintkit.training.progress import Row, epoch_items
from inpaintkit.training.run import Run
from inpaintkit.training.tasks.task import Task

Judge = Callable[[int], Figures]
"""Judges the task after an epoch: the mean figures of the evaluation records."""

Save = Callable[[], None]
"""Writes the full state."""


def fit(run: Run, task: Task, feed: Feed, sampler: HardExampleSampler, judge: Judge, save: Save) -> bool:
    """Train until the last epoch; return False when the time was up before.

    Raises `KeyboardInterrupt` after a stop signal, once all is saved, and `RunFailed` when the training has diverged.
    """
    progress, plan, config, group = run.progress, run.plan, run.config, run.group
    if not progress.history:
        save()  # from here on the folder belongs to this run
        judge_epoch(run, task, judge, epoch=0)
    while progress.epoch <= plan.last_epoch:
        task.train_mode()
        items = epoch_items(config, progress.epoch, group.size, sampler)[progress.step * plan.samples_per_step :]
        for batch in feed.batches(group.share(items, config.batch_size)):
            place = progress.next_step(config.seed, plan)
            run.losses.add(batch[3], task.step(batch, place))
            updates = plan.updates(place.step)
            if updates:
                task.update(place)
            run.step_done()
            if updates and save_if_due(run, save) and progress.steps_done < plan.total_steps:
                judge_epoch(run, task, judge, progress.epoch, over=False)
                run.agree_on_stop()
                run.obey_signal()
                reason = "as asked" if run.stop.asked else f"at max_seconds={config.max_seconds:g}"
                run.say(f"stopped {reason}; run the same again to continue")
                return False
        finish_epoch(run, task, sampler, judge, save)
    return True


def finish_epoch(run: Run, task: Task, sampler: HardExampleSampler, judge: Judge, save: Save) -> None:
    """Note the epoch's losses, move the schedules on, judge when it is time, and save."""
    progress, config, epoch = run.progress, run.config, run.progress.epoch
    run.close_epoch(task.updaters[0].rates(), max(updater.skipped() for updater in task.updaters))
    sampler.update_weights()
    for updater in task.updaters:
        updater.next_epoch()
    if epoch % config.eval_step == 0 or epoch == run.plan.last_epoch:
        judge_epoch(run, task, judge, epoch)
    if config.save_epoch:
        with task.judging():
            run.save_model(task.model, run.files.of_epoch(epoch), epoch)
    progress.start_epoch(epoch + 1)
    save()
    run.agree_on_stop()
    run.obey_signal()


def judge_epoch(run: Run, task: Task, judge: Judge, epoch: int, over: bool = True) -> None:
    """Judge the present weights on the evaluation records; keep them if they are the best so far.

    With an `epoch` that isn't `over` that is for the report alone, and the weights are kept only where none are yet.
    """
    progress = run.progress
    with task.judging():
        row: Row = {"epoch": epoch, "split": "eval", **judge(epoch)}
        row, score = task.score(row, progress.history)
        run.add_row(row, over)
        if not math.isfinite(float(row["total"])) and epoch:
            run.give_up(f"the evaluation loss after epoch {epoch} is {row['total']}")
        if not over:
            if math.isinf(progress.best_score):
                run.save_model(task.model, run.files.model, epoch)
        elif score < progress.best_score:
            progress.best_score, progress.best_epoch = score, epoch
            run.save_model(task.model, run.files.model, epoch)
            if epoch:
                run.say(f"best model updated: epoch {epoch}")


def save_if_due(run: Run, save: Save) -> bool:
    """Between two updates: save when it is time or the run stops, obey a stop signal; return whether to stop without one.

    What is judged of a stopped run comes after the save: it goes on as if it hadn't stopped.
    """
    stop, save_due = run.agree_on_stop()
    if stop or save_due or run.stop.signal is not None:
        save()
    run.obey_signal()
    return stop
