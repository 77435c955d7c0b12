"""The training loop. What it trains is a `Task`; where the result is kept is a `Run`.

Nothing here depends on the state of a random generator: the order of an epoch is derived from ``(seed, epoch)``, a
sample from ``(seed, epoch, draw)``, a step's noise from ``(seed, epoch, step)``. A resumed run therefore needs only the
state of task and sampler and two counters to continue bit by bit.

With several processes (see `distributed`), each takes its share of every step and of the evaluation; only the first one
writes.
"""

import math
from collections.abc import Callable

from inpaintkit.data import HardExampleSampler
from inpaintkit.training.evaluation import Figures
from inpaintkit.training.feeding import Feed
from inpaintkit.training.progress import Row, epoch_items
from inpaintkit.training.run import Run
from inpaintkit.training.tasks.task import Task

Evaluate = Callable[[int], Figures]
"""Function that evaluates the task after an epoch and returns the mean figures of the evaluation records."""

Save = Callable[[], None]
"""Function that writes the full state."""


def fit(run: Run, task: Task, feed: Feed, sampler: HardExampleSampler, evaluate: Evaluate, save: Save) -> bool:
    """Train until the last epoch; return False if the run stops before, on request or because its time is up.

    Raises `KeyboardInterrupt` after a stop signal, once everything is saved, and `RunFailed` if the training has
    diverged.
    """
    progress, plan, config, group = run.progress, run.plan, run.config, run.group
    if not progress.history:
        save()  # from here on the folder belongs to this run
        evaluate_epoch(run, task, evaluate, epoch=0)
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
            stop = updates and save_if_due(run, save)
            if stop and progress.steps_done < plan.total_steps:
                evaluate_epoch(run, task, evaluate, progress.epoch, over=False)
                run.agree_on_stop()
                run.obey_signal()
                reason = "as asked" if run.stop.asked else f"at max_seconds={config.max_seconds:g}"
                run.say(f"stopped {reason}; run the same again to continue")
                return False
        finish_epoch(run, task, sampler, evaluate, save)
    return True


def finish_epoch(run: Run, task: Task, sampler: HardExampleSampler, evaluate: Evaluate, save: Save) -> None:
    """Log the epoch's losses, step the schedules, evaluate if that is due, and save."""
    progress, config, epoch = run.progress, run.config, run.progress.epoch
    run.close_epoch(task.updaters[0].rates(), max(updater.skipped() for updater in task.updaters))
    sampler.update_weights()
    for updater in task.updaters:
        updater.next_epoch()
    if epoch % config.eval_step == 0 or epoch == run.plan.last_epoch:
        evaluate_epoch(run, task, evaluate, epoch)
    if config.save_epoch:
        with task.evaluating():
            run.save_model(task.model, run.files.of_epoch(epoch), epoch)
    progress.start_epoch(epoch + 1)
    save()
    run.agree_on_stop()
    run.obey_signal()


def evaluate_epoch(run: Run, task: Task, evaluate: Evaluate, epoch: int, over: bool = True) -> None:
    """Evaluate the current weights on the evaluation records; save them as the best model if they are the best so far.

    If the epoch isn't `over`, the evaluation is only for the report, and the weights are saved only if no epoch has
    been the best yet.
    """
    progress = run.progress
    with task.evaluating():
        row: Row = {"epoch": epoch, "split": "eval", **evaluate(epoch)}
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
    """Between two updates: save if a checkpoint is due or the run stops; return whether it is to stop.

    Raises `KeyboardInterrupt` after a stop signal. A stopped run is evaluated only after this save, so that it resumes
    as if it hadn't stopped.
    """
    stop, save_due = run.agree_on_stop()
    if stop or save_due or run.stop.signal is not None:
        save()
    run.obey_signal()
    return stop
