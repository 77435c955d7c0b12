"""Epochs: each has its own order, hard records come more often, and the state is written regularly."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from toy_data import tiny_trainer, write_record

from inpaintkit.config import TrainConfig
from inpaintkit.data import HardExampleSampler
from inpaintkit.data.sample_draw import Chances
from inpaintkit.model import LightInpaintV1, load_state
from inpaintkit.training import Callback, RunView, StepInfo, stopping
from inpaintkit.training.progress import Plan, Progress, epoch_items

STATE = f"{LightInpaintV1.name}.checkpoint.pth"


def order(sampler: HardExampleSampler, epoch: int = 1, seed: int = 0, evenly: bool = False) -> list[int]:
    """Return the records of an epoch of 60 samples."""
    config = TrainConfig(num_samples=60, seed=seed, disable_hard_example=evenly)
    return [record for record, _, _ in epoch_items(config, epoch, 1, sampler)]


@pytest.mark.parametrize("evenly", [False, True])
def test_each_epoch_and_each_seed_has_an_order_of_its_own(evenly: bool) -> None:
    first, again, next_epoch, other_seed = (
        order(HardExampleSampler(20), epoch, seed, evenly) for epoch, seed in ((1, 0), (1, 0), (2, 0), (1, 1))
    )
    assert first == again
    assert first not in (next_epoch, other_seed)
    assert next_epoch != other_seed


def test_samples_of_one_record_differ_within_an_epoch_and_from_epoch_to_epoch() -> None:
    """These numbers seed a sample."""
    items = [
        item for epoch in (1, 2) for item in epoch_items(TrainConfig(num_samples=9), epoch, 1, HardExampleSampler(1))
    ]
    assert len(set(items)) == 18


def test_processes_get_equally_many_samples_and_none_is_left_out() -> None:
    shares = [epoch_items(TrainConfig(num_samples=9), 1, processes, HardExampleSampler(1)) for processes in (1, 2, 4)]
    assert [len(items) for items in shares] == [9, 10, 12]


def test_hard_records_are_drawn_more_often_unless_all_count_alike() -> None:
    sampler = HardExampleSampler(20)
    sampler.weights[1:] = 0
    assert set(order(sampler)) == {0}
    assert len(set(order(sampler, evenly=True))) > 15


def test_a_run_starts_with_the_samples_and_weights_of_its_options(tmp_path: Path) -> None:
    for split in ("train", "eval"):
        write_record(tmp_path / "data" / split, 0)
    chances = {"mixed_border": 0.1, "thin_hole": 0.2, "border_hole": 0.3}
    runs = [tiny_trainer(tmp_path / "data", **changes) for changes in ({}, {"seed": 5}, {"grey_start": False}, chances)]
    first, seeded, wild, hard = (run.model.to_image[1].weight for run in runs)
    assert torch.equal(first, hard)
    assert not torch.equal(first, seeded)
    assert not torch.equal(first, wild)
    assert [(run.train_set.seed, run.train_set.crop_size) for run in runs] == [(0, 64), (5, 64), (0, 64), (0, 64)]
    assert [run.data.eval_set.chances for run in runs] == [Chances()] * 3 + [Chances(**chances)]


def test_hard_records_of_an_epoch_are_drawn_more_often_in_the_next(tmp_path: Path) -> None:
    for number in range(5):
        write_record(tmp_path / "data" / "train", number)
    write_record(tmp_path / "data" / "eval", 0)
    run = tiny_trainer(tmp_path / "data", num_samples=12, batch_size=4, max_epoch=1, eval_step=9)
    run.fit()
    losses, weights = run.data.sampler.mean_losses(), run.data.sampler.weights
    assert losses.isfinite().sum() >= 4, "enough of them to compare"
    by_loss = weights[losses.isfinite()][losses[losses.isfinite()].argsort()]
    assert torch.equal(by_loss, by_loss.sort().values)
    assert by_loss[0] < by_loss[-1]


def test_the_last_epoch_is_evaluated_whatever_the_interval(tmp_path: Path) -> None:
    """Otherwise what it learnt could never become the model."""
    for split in ("train", "eval"):
        write_record(tmp_path / "data" / split, 0)
    report = tiny_trainer(tmp_path / "data", num_samples=2, max_epoch=3, eval_step=2).fit()
    assert [row["epoch"] for row in report.rows("eval")] == [0, 2, 3]


def test_a_run_that_ends_before_max_epoch_reports_it_at_the_start(tmp_path: Path) -> None:
    for split in ("train", "eval"):
        write_record(tmp_path / "data" / split, 0)
    said = {n: tiny_trainer(tmp_path / "data", max_epoch=n).setup.messages for n in (10, 11)}
    shorter = "the run ends after epoch 10 of 11, with a cycle of the learning rate"
    assert (shorter in said[11], shorter in said[10]) == (True, False)


def test_no_gradient_outlives_its_epoch_and_update_numbers_continue() -> None:
    """Their numbers drive the warm-up of the learning rate; a gradient left over would be lost at the next stop."""
    plan = Plan(samples_per_step=2, steps_per_epoch=5, last_epoch=3, backward_step=2)
    progress, done = Progress(), 0
    for epoch in (1, 2, 3):
        for step in (1, 2, 3, 4, 5):
            place = progress.next_step(0, plan)
            assert (place.epoch, place.step, place.update) == (epoch, step, done + 1)
            done += plan.updates(step)
            progress.step += 1
        assert done == epoch * plan.updates_per_epoch == 3 * epoch
        progress.start_epoch(epoch + 1)


def test_leftover_steps_of_an_epoch_count_as_much_as_others(tmp_path: Path) -> None:
    """Here one step of four is left over: once, its gradient was divided by four."""
    for split in ("train", "eval"):
        write_record(tmp_path / "data" / split, 0)
    moments = []
    for steps in (1, 4):
        folder = tmp_path / str(steps)
        tiny_trainer(tmp_path / "data", model_dir=str(folder), num_samples=2, backward_step=steps).fit()
        (optimizer,) = load_state(folder / STATE)["optimizer_state_dict"]
        moments.append([state["exp_avg"] for state in optimizer["state"].values()])
    assert all(map(torch.equal, *moments))


class ReadState(Callback):
    """Advances the clock by ten seconds a step, and notes how many steps the state file holds after each."""

    def __init__(self, clock: list[float]) -> None:
        self.clock, self.kept = clock, list[int]()

    def on_step(self, run: RunView, info: StepInfo) -> None:
        self.clock[0] += 10
        self.kept.append(load_state(run.folder / STATE)["inpaintkit_progress"]["steps_done"])


def test_the_state_is_saved_at_the_chosen_interval(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for split in ("train", "eval"):
        write_record(tmp_path / "data" / split, 0)
    clock = [0.0]
    monkeypatch.setattr(stopping.time, "monotonic", lambda: clock[0])
    reader = ReadState(clock)
    tiny_trainer(tmp_path / "data", reader, num_samples=8, batch_size=1, max_epoch=1, checkpoint_seconds=25.0).fit()
    assert reader.kept == [0, 0, 0, 3, 3, 3, 6, 6]
