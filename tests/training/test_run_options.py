"""Options of a run: moving average, warm-up, kept checkpoints, subsets, compiling, resident data, TensorBoard."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import numpy as np
import pytest
import torch
from PIL import Image
from toy_data import tiny
from toy_files import write_record

from inpaintkit.config import TrainConfig
from inpaintkit.data import InpaintDataset
from inpaintkit.data.batch_colours import to_device
from inpaintkit.data.resident import ResidentRecords, resident_bytes
from inpaintkit.data.sample_draw import Chances
from inpaintkit.errors import InputError
from inpaintkit.model import LightInpaintV1, load_model, load_state
from inpaintkit.training import Trainer, create_optimizer
from inpaintkit.training.checkpoints import newest_checkpoint, older_path, save_checkpoint
from inpaintkit.training.evaluation import save_strips
from inpaintkit.training.feeding import Feed, choose_records, wants_resident
from inpaintkit.training.schedule import warmed_up

STATE = f"{LightInpaintV1.name}.checkpoint.pth"


def params(records: Path, model_dir: Path, **changes: Any) -> dict[str, Any]:
    return tiny(records, model_dir, max_epoch=1, **changes)


def run(given: dict[str, Any]) -> Trainer:
    trainer = Trainer(TrainConfig.from_params(given), callbacks=[])
    trainer.fit()
    return trainer


@pytest.fixture(scope="module")
def averaged(records: Path, tmp_path_factory: pytest.TempPathFactory) -> Trainer:
    """Return a trained run with a moving average."""
    changes = {"ema_decay": 0.5, "num_samples": 6, "learning_rate": 1e-3, "save_epoch": True}
    return run(params(records, tmp_path_factory.mktemp("averaged"), **changes))


class TestMovingAverage:
    def test_the_average_is_evaluated_and_kept(self, averaged: Trainer) -> None:
        assert averaged.setup.task.average is not None
        state = load_state(averaged.files.state)
        mean, last = state["state_dict"]["to_image.1.bias"], state["training_state_dict"]["to_image.1.bias"]
        assert torch.equal(mean, dict(averaged.setup.task.average.module.named_parameters())["to_image.1.bias"])
        assert torch.equal(last, averaged.model.to_image[1].bias)
        assert not torch.equal(mean, last)
        assert torch.equal(load_model(averaged.files.of_epoch(1))[0].to_image[1].bias, mean)
        with averaged.setup.task.evaluating():
            assert torch.equal(averaged.model.to_image[1].bias, mean)
            assert not averaged.model.training, "as it will be used"
        assert torch.equal(averaged.model.to_image[1].bias, last), "training goes on with these"

    def test_it_is_the_decayed_mean_of_earlier_weights(self, records: Path, tmp_path: Path) -> None:
        trainer = Trainer(TrainConfig.from_params(params(records, tmp_path, ema_decay=0.75)), callbacks=[])
        assert trainer.setup.task.average is not None
        bias, expected = trainer.model.to_image[1].bias, None
        for value in (1.0, 3.0, 7.0):
            with torch.no_grad():
                bias.fill_(value)
            trainer.setup.task.average.update_parameters(trainer.model)
            expected = value if expected is None else 0.75 * expected + 0.25 * value
        found = dict(trainer.setup.task.average.module.named_parameters())["to_image.1.bias"]
        assert found[0].item() == pytest.approx(expected)

    @pytest.mark.parametrize("way", ["checkpoint_file", "reset_state"])
    def test_the_next_run_starts_from_the_average(
        self, way: str, averaged: Trainer, records: Path, tmp_path: Path
    ) -> None:
        assert averaged.setup.task.average is not None
        source = {
            "checkpoint_file": {"checkpoint_file": str(averaged.files.state), "model_dir": str(tmp_path)},
            "reset_state": {"resume": True, "reset_state": True},
        }[way]
        second = Trainer(TrainConfig.from_params(params(records, averaged.files.folder) | source), callbacks=[])
        means = dict(averaged.setup.task.average.module.named_parameters())
        for name, weight in second.model.named_parameters():
            assert torch.equal(weight, means[name]), name
        assert not torch.equal(averaged.model.to_image[1].bias, second.model.to_image[1].bias)

    def test_it_is_refused_with_a_schedule_free_optimiser(self, records: Path, tmp_path: Path) -> None:
        with pytest.raises(InputError, match="averages the weights itself"):
            TrainConfig.from_params(params(records, tmp_path, ema_decay=0.9, optimizer="adamw_schedulefree"))


def test_warm_up_raises_the_rate_step_by_step_and_leaves_the_schedule_alone() -> None:
    config = TrainConfig(warmup_steps=4, learning_rate=0.1, optimizer="adamw")
    optimizer = create_optimizer(config, torch.nn.Linear(2, 2))
    rates = []
    for move in range(1, 7):
        with warmed_up(optimizer, config, move):
            rates.append(optimizer.param_groups[0]["lr"])
        assert optimizer.param_groups[0]["lr"] == 0.1
    assert rates == pytest.approx([0.025, 0.05, 0.075, 0.1, 0.1, 0.1])


def test_the_schedule_free_optimiser_warms_up_by_itself() -> None:
    config = TrainConfig(warmup_steps=4, learning_rate=0.1, weight_decay=0.0, optimizer="adamw_schedulefree")
    layer = torch.nn.Linear(1, 1, bias=False)
    optimizer: Any = create_optimizer(config, layer)
    before, layer.weight.grad = layer.weight.item(), torch.ones(1, 1)
    optimizer.train()
    with warmed_up(optimizer, config, 1):
        optimizer.step()
    optimizer.eval()
    assert before - layer.weight.item() == pytest.approx(0.025, rel=1e-3)


class TestKeptCheckpoints:
    model = LightInpaintV1()

    def save(self, folder: Path, number: int, keep_last: int = 3) -> None:
        save_checkpoint(self.model, folder / STATE, {"number": number}, keep_last)

    def numbers(self, folder: Path) -> list[int]:
        files = [older_path(folder / STATE, age) for age in range(5)]
        return [load_state(file)["number"] for file in files if file.exists()]

    def test_the_last_ones_stay_newest_first(self, tmp_path: Path) -> None:
        for number in range(1, 6):
            self.save(tmp_path, number)
        assert self.numbers(tmp_path) == [5, 4, 3]
        self.save(tmp_path, 6, keep_last=2)
        assert self.numbers(tmp_path) == [6, 5], "fewer are asked for now"

    def test_one_is_enough_when_asked(self, tmp_path: Path) -> None:
        for number in range(1, 4):
            self.save(tmp_path, number, keep_last=1)
        assert self.numbers(tmp_path) == [3]

    def test_they_work_without_hard_links(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """As on exFAT, which has no hard links."""
        monkeypatch.setattr(os, "link", Mock(side_effect=PermissionError))
        for number in range(1, 4):
            self.save(tmp_path, number)
        assert self.numbers(tmp_path) == [3, 2, 1]

    def test_a_run_killed_during_its_third_save_still_has_the_second(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A real process, killed while it writes its third checkpoint."""
        self.save(tmp_path, 1)
        self.save(tmp_path, 2)
        child = os.fork()
        if child == 0:
            monkeypatch.setattr(os, "fsync", lambda handle: os.kill(os.getpid(), 9))
            self.save(tmp_path, 3)
            os._exit(0)
        assert os.waitpid(child, 0)[1] == 9
        assert load_state(tmp_path / STATE)["number"] == 2
        self.save(tmp_path, 4)
        assert load_state(tmp_path / STATE)["number"] == 4

    def test_a_save_that_fails_leaves_all_as_they_were(self, tmp_path: Path) -> None:
        for number in range(1, 4):
            self.save(tmp_path, number)
        with pytest.raises(TypeError, match="can't be stored"):
            save_checkpoint(self.model, tmp_path / STATE, {"number": object()}, keep_last=3)
        assert self.numbers(tmp_path) == [3, 2, 1]

    def test_a_damaged_newest_one_gives_way_to_the_one_before(self, tmp_path: Path) -> None:
        self.save(tmp_path, 1)
        self.save(tmp_path, 2)
        (tmp_path / STATE).write_bytes(b"PK\x03\x04 but no more")
        state, source = newest_checkpoint(tmp_path / STATE)
        assert (state["number"], source) == (1, older_path(tmp_path / STATE, 1))
        source.unlink()
        with pytest.raises(InputError, match="damaged"):
            newest_checkpoint(tmp_path / STATE)

    def test_several_damaged_ones_give_way_to_the_newest_intact(self, tmp_path: Path) -> None:
        for number in range(1, 4):
            self.save(tmp_path, number)
        for age in (0, 1):
            older_path(tmp_path / STATE, age).write_bytes(b"PK\x03\x04 but no more")
        state, source = newest_checkpoint(tmp_path / STATE)
        assert (state["number"], source) == (1, older_path(tmp_path / STATE, 2))


class TestSubsets:
    def test_evaluated_records_and_saved_pictures_can_be_limited(self, records: Path, tmp_path: Path) -> None:
        run(params(records, tmp_path, eval_records=2, batch_size=1, save_eval_step=2, max_seconds=0.0))
        (strip,) = (tmp_path / "eval").glob("epoch0000*.png")
        assert strip.name == "epoch0000_batch0000.png"
        with Image.open(strip) as sheet:
            assert sheet.height == 64 - 2 * 16, "a single row, without its margin"

    def test_each_row_shows_the_input_with_its_hole_the_output_and_the_target(self, tmp_path: Path) -> None:
        x, hole = torch.zeros(2, 3, 6, 6), torch.zeros(2, 1, 6, 6) > 0
        hole[1, :, 2, 3] = hole[0, :, 0, 0] = True  # the second pixel lies in the margin
        output, y = torch.full((2, 2, 3, 2, 2), 0.2)
        save_strips(x, hole, output + 1, y, tmp_path / "strip.png")
        expected = np.full((8, 14, 3), 255)
        expected[[0, 1, 6, 7], :2], expected[[0, 1, 6, 7], 12:] = 0, 51
        expected[6, 1] = 255, 0, 255
        with Image.open(tmp_path / "strip.png") as sheet:
            np.testing.assert_array_equal(np.asarray(sheet), expected)

    def test_a_larger_number_means_all(self) -> None:
        assert choose_records(["a", "b"], 5) == choose_records(["a", "b"], None) == [0, 1]

    def test_an_empty_choice_is_refused(self) -> None:
        with pytest.raises(InputError, match="no record's name fits 'x\\*'; the first one is called a"):
            choose_records(["a", "b"], "x*")
        with pytest.raises(InputError, match="at least one record"):
            TrainConfig(eval_records=0)


def test_training_goes_on_where_compilation_fails(
    records: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCHINDUCTOR_FORCE_DISABLE_CACHES", "1")
    monkeypatch.setattr("torch._inductor.config.cpp.cxx", ("no-such-compiler",))
    trainer = Trainer(TrainConfig.from_params(params(records, tmp_path, compile=True)), callbacks=[])
    assert trainer.setup.task.network is trainer.model
    assert any(message.startswith("compile: not possible here") for message in trainer.setup.messages)
    assert all(parameter.grad is None for parameter in trainer.model.parameters())


def test_a_compiled_network_sees_batches_of_one_kind_only(
    records: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Any other kind (smaller, in evaluation, in another layout) would be compiled anew: minutes of waiting in a run.

    Even after another run in the same process, it is compiled for its own size, not for dynamic sizes.
    """
    seen: list[object] = []

    def compiled(model: Callable[..., torch.Tensor], dynamic: bool | None = None) -> Callable[..., torch.Tensor]:
        assert dynamic is False
        if not isinstance(model, torch.nn.Module):
            return model  # the check whether anything can be compiled

        def network(*inputs: torch.Tensor) -> torch.Tensor:
            seen.append((model.training, *((x.shape, x.stride(), x.dtype) for x in inputs)))
            return model(*inputs)  # type: ignore[no-any-return]

        return network

    monkeypatch.setattr("torch.compile", compiled)
    run(params(records, tmp_path, batch_size=3, num_samples=7, compile=True))
    assert len(seen) > 2, "before the run and in it"
    assert len(set(seen)) == 1


def test_copies_to_apple_gpus_block(records: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They may read a sample after its memory has been reused for another, which would go unnoticed."""
    waited: list[bool] = []

    def to(values: torch.Tensor, device: str, non_blocking: bool = False) -> torch.Tensor:
        waited.append(not non_blocking)
        return values

    monkeypatch.setattr(torch.Tensor, "to", to)
    data = InpaintDataset(records / "train", training=True, crop_size=64)
    next(Feed(TrainConfig.from_params(params(records, tmp_path)), data, "mps").batches([(0, 1, 0)]))
    to_device([1.0], torch.device("mps"))
    assert waited == [True] * 4


def test_a_run_that_reads_png_files_warns_that_it_is_slow(records: Path, tmp_path: Path) -> None:
    shutil.copytree(records / "train", tmp_path / "train")
    config = TrainConfig.from_params(params(records, tmp_path))
    packed = InpaintDataset(tmp_path / "train", training=True, crop_size=64)
    assert Feed(config, packed, "cpu").messages == []
    shutil.rmtree(tmp_path / ".packed")
    (tmp_path / ".packed").write_text("in the way")
    (said,) = Feed(config, InpaintDataset(tmp_path / "train", training=True, crop_size=64), "cpu").messages
    assert said.startswith(f"the records can't be packed into {tmp_path / '.packed'}")


class TestResidentRecords:
    def test_samples_equal_the_loaders_bit_by_bit(self, records: Path) -> None:
        chances = Chances(mixed_border=0.5, thin_hole=0.3, border_hole=0.4)
        data = InpaintDataset(records / "train", training=True, seed=3, crop_size=128, chances=chances)
        items = [(draw % len(data), 1, draw) for draw in range(80)]  # 20 with other colours, 4 grey
        *parts, index = ResidentRecords(data, "cpu").batch(items)
        for place, item in enumerate(items):
            for mine, loaders in zip(parts, data[item][:3], strict=True):
                assert torch.equal(mine[place], loaders)
        assert index.tolist() == [item[0] for item in items]

    def test_a_run_learns_the_same_from_them(self, records: Path, tmp_path: Path) -> None:
        rows = [run(params(records, tmp_path / mode, resident=mode)).run.progress.history for mode in ("on", "off")]
        assert rows[0] == rows[1]

    def test_auto_needs_twice_their_size_in_free_memory(self, records: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        data = InpaintDataset(records / "train", training=True, crop_size=64)
        twice = 2 * resident_bytes(data)
        room = iter([twice, twice + 2])
        monkeypatch.setattr("torch.cuda.mem_get_info", lambda device: (next(room), 0))
        assert [wants_resident("auto", data, "cuda") for _ in range(2)] == [False, True]
        assert not wants_resident("auto", data, "cpu")

    def test_records_of_different_sizes_are_refused_and_never_chosen(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for number, size in enumerate((64, 96)):
            picture, hole = np.zeros((size, size, 3), np.uint8), np.eye(size, dtype=np.uint8) * 255
            write_record(tmp_path, f"p_{number}", picture, hole)
        data = InpaintDataset(tmp_path, training=True, crop_size=64)
        with pytest.raises(InputError, match="differ in size; use resident=off"):
            ResidentRecords(data, "cpu")
        monkeypatch.setattr("torch.cuda.mem_get_info", lambda device: (10**12, 0))
        assert not wants_resident("auto", data, "cuda")


def test_tensorboard_gets_the_curves_under_the_names_of_the_csv(records: Path, tmp_path: Path) -> None:
    event_accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    trainer = run(params(records, tmp_path, tensorboard=True))
    events = event_accumulator.EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    assert {"step/total", "train/l1", "train/learning_rate", "eval/hole_psnr"} <= set(events.Tags()["scalars"])
    shown = [event.value for event in events.Scalars("eval/total")]
    assert shown == pytest.approx([row["total"] for row in trainer.run.progress.history if row["split"] == "eval"])
