"""A run folder never loses anything unasked: the same call continues or finds all done, any other asks first."""

from __future__ import annotations

import csv
import io
import math
import shutil
import weakref
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
import torch
from toy_data import TINY, Listener, tiny, tiny_trainer, write_record

from inpaintkit.config import GanConfig, TrainConfig
from inpaintkit.errors import InputError, RunFailed
from inpaintkit.model import LightInpaintV1, load_model, load_state, save_model
from inpaintkit.seeds import torch_rng
from inpaintkit.training import Callback, GanTrainer, RunView, StepInfo, Trainer, TrainReport
from inpaintkit.training.callbacks import ProgressLines
from inpaintkit.training.checkpoints import older_path
from inpaintkit.training.schedule import weight_decay_groups

pytestmark = [pytest.mark.attack, pytest.mark.slow]

NAME = LightInpaintV1.name
STATE, MODEL = f"{NAME}.checkpoint.pth", f"{NAME}.pth"


def content(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def in_csv(rows: Sequence[Mapping[str, object]]) -> str:
    """Return the text of a CSV file of `rows`, in which columns that a row lacks stay empty."""
    text = io.StringIO()
    writer = csv.DictWriter(text, list(dict.fromkeys(name for row in rows for name in row)), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def start_with(data: Path, folder: str, source: Path) -> Path:
    """Copy a run and its data, so that a test may change them."""
    shutil.copytree(source, data.parent / folder)
    return data.parent / folder


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with ``data``, a finished ``run`` of it, and ``cut``, the same run stopped after its first step."""
    root = tmp_path_factory.mktemp("made")
    for number in range(2):
        write_record(root / "data" / "train", number)
    write_record(root / "data" / "eval", 0)
    tiny_trainer(root / "data").fit()
    tiny_trainer(root / "data", model_dir=str(root / "cut"), max_seconds=0.0).fit()
    return root


@pytest.fixture
def data(made: Path, tmp_path: Path) -> Path:
    """Return the records, in a folder whose ``run`` is the finished one."""
    for name in ("data", "run", "cut"):
        shutil.copytree(made / name, tmp_path / name)
    return tmp_path / "data"


def cut(data: Path, *callbacks: Callback, **changes: Any) -> TrainReport:
    return tiny_trainer(data, *callbacks, model_dir=str(data.parent / "cut"), **changes).fit()


class TestTheSameCall:
    def test_a_finished_run_is_shown_and_left_as_it_is(self, data: Path) -> None:
        before, heard = content(data.parent / "run"), Listener()
        trainer = tiny_trainer(data, heard)
        report = trainer.fit()
        assert report.finished
        assert report.history == tuple(load_state(data.parent / "run" / STATE)["inpaintkit_progress"]["history"])
        assert trainer.hardest()
        assert heard.heard("this run is done: 2 epochs")
        assert content(data.parent / "run") == before | {".lock": content(data.parent / "run")[".lock"]}

    def test_hardest_records_need_no_networks(self, data: Path) -> None:
        state = data.parent / "run" / STATE
        expected = tiny_trainer(data).hardest()
        torch.save(load_state(state) | {"training_state_dict": "none that a network could take"}, state)
        trainer = tiny_trainer(data)
        trainer.fit()
        assert trainer.hardest() == expected

    def test_a_cut_run_resumes(self, data: Path) -> None:
        heard = Listener()
        assert cut(data, heard).finished
        assert heard.heard("resumed at epoch 1, step 1")
        weights = [load_state(data.parent / name / STATE)["training_state_dict"] for name in ("run", "cut")]
        assert all(torch.equal(weight, weights[1][name]) for name, weight in weights[0].items())

    def test_moments_are_saved_by_name_as_iw3_expects_them(self, data: Path) -> None:
        (kept,) = load_state(data.parent / "run" / STATE)["optimizer_state_dict"]
        decayed, plain = weight_decay_groups(LightInpaintV1())
        names = [*sorted(decayed), *sorted(plain)]
        shapes = {name: value.shape for name, value in LightInpaintV1().named_parameters()}
        assert [kept["state"][place]["exp_avg"].shape for place in range(len(names))] == [shapes[n] for n in names]

    def test_a_run_without_a_schedule_saves_what_iw3s_schedule_needs(self, data: Path) -> None:
        folder = data.parent / "level"
        tiny_trainer(data, model_dir=str(folder), scheduler="none", max_epoch=1, learning_rate=3e-4).fit()
        (kept,) = load_state(folder / STATE)["optimizer_state_dict"]
        assert [group["initial_lr"] for group in kept["param_groups"]] == [3e-4, 3e-4]

    def test_a_run_of_an_older_version_with_another_order_of_moments_resumes_exactly(self, data: Path) -> None:
        file = data.parent / "cut" / STATE
        state = load_state(file)
        decayed, plain = weight_decay_groups(LightInpaintV1())
        by_name = [*sorted(decayed), *sorted(plain)]
        (kept,) = state["optimizer_state_dict"]
        kept["state"] = {place: kept["state"][by_name.index(n)] for place, n in enumerate([*decayed, *plain])}
        del state["inpaintkit_parameter_order"]
        state["inpaintkit_progress"]["skipped_in_row"] = 0
        torch.save(state, file)
        assert cut(data).finished
        weights = [load_state(data.parent / name / STATE)["training_state_dict"] for name in ("run", "cut")]
        assert all(torch.equal(weight, weights[1][name]) for name, weight in weights[0].items())

    @pytest.mark.parametrize("asked", [{"resume": True}, {"resume": True, "checkpoint_file": "other.pth"}])
    def test_resume_may_be_given(self, asked: dict[str, Any], data: Path) -> None:
        other = save_model(LightInpaintV1(torch_rng(5)), data.parent / "other.pth")
        heard = Listener()
        assert cut(
            data, heard, **{name: str(other) if value == "other.pth" else value for name, value in asked.items()}
        ).finished
        assert heard.heard("not with those of") == ("checkpoint_file" in asked)

    def test_clocks_do_not_matter(self, data: Path) -> None:
        import os

        os.utime(data.parent / "cut" / STATE, (1e9, 1e9))
        heard = Listener()
        assert cut(data, heard).finished
        assert heard.heard("resumed at epoch 1, step 1")


class TestAnotherRun:
    def test_is_refused_naming_the_choices(self, data: Path) -> None:
        with pytest.raises(
            InputError, match=r"holds a run with other options \(learning_rate 0.0001, now 0.01\); set resume=True"
        ):
            tiny_trainer(data, learning_rate=0.01)

    def test_overwrite_moves_the_whole_run(self, data: Path) -> None:
        run = data.parent / "run"
        for kept in ("epoch/1", "start", "figures", "tensorboard"):
            (run / kept).mkdir(parents=True)
            (run / kept / "mine").write_text(kept)
        before, heard = content(run), Listener()
        assert tiny_trainer(data, heard, learning_rate=0.01, overwrite=True).fit().finished
        (old,) = (run / "old").iterdir()
        del before[".lock"]
        assert {MODEL, STATE, f"loss_{NAME}.csv", "eval/epoch0001_batch0000.png"} <= before.keys()
        assert content(old) == before
        assert heard.heard(f"is in {old} now")
        assert not tiny_trainer(data, learning_rate=0.01, overwrite=True).found.replaces, (
            "the same again: done, not moved"
        )
        assert tiny_trainer(data, learning_rate=0.02, overwrite=True).found.replaces, "another run once more"
        assert tiny_trainer(data, learning_rate=0.01).found.finished, "overwrite has done its work"

    def test_a_line_says_where_the_old_run_is(self, data: Path, capsys: pytest.CaptureFixture[str]) -> None:
        options = TINY | {"data_dir": str(data), "model_dir": str(data.parent / "run"), "learning_rate": 0.01}
        Trainer(TrainConfig.from_params(options | {"overwrite": True, "max_epoch": 1}), [ProgressLines()]).fit()
        assert f"is in {data.parent / 'run' / 'old'}" in capsys.readouterr().out

    @pytest.mark.parametrize("key", ["train_kwargs", "inpaintkit_progress"])
    def test_overwrite_also_moves_an_unreadable_run(self, key: str, data: Path) -> None:
        state = data.parent / "run" / STATE
        torch.save(load_state(state) | {key: 5}, state)
        assert tiny_trainer(data, overwrite=True).found.replaces

    def test_a_run_of_the_other_notebook_is_not_resumed_even_if_asked(self, data: Path) -> None:
        run = data.parent / "run"
        gan = GanConfig.from_params(tiny(data, run, crop_size=72, resume=True, max_epoch=3))
        with pytest.raises(InputError, match="holds a run of 02_train, which 03_finetune_gan can't go on with"):
            GanTrainer(gan, [])
        state = load_state(run / STATE)
        torch.save(state | {"train_kwargs": state["train_kwargs"] | {"discriminator": "l3c"}}, run / STATE)
        with pytest.raises(
            InputError, match=r"a run of 03_finetune_gan, which 02_train can't .*resume=True and reset_state=True"
        ):
            tiny_trainer(data, resume=True, max_epoch=3)
        assert tiny_trainer(data, resume=True, reset_state=True).found.weights_from == run / STATE
        assert tiny_trainer(data, overwrite=True).found.replaces

    def test_overwrite_contradicts_resume(self) -> None:
        with pytest.raises(InputError, match="overwrite: it contradicts resume"):
            TrainConfig(overwrite=True, resume=True)

    def test_reset_state_starts_from_the_last_weights_and_keeps_the_run(self, data: Path) -> None:
        run = data.parent / "run"
        weights = load_state(run / STATE)["state_dict"]
        other, heard = save_model(LightInpaintV1(torch_rng(5)), data.parent / "other.pth"), Listener()
        options: dict[str, Any] = {"resume": True, "reset_state": True, "learning_rate": 0.0, "max_epoch": 1}
        trainer = tiny_trainer(data, heard, checkpoint_file=str(other), **options)
        assert not trainer.setup.task.updater.optimizer.state
        assert trainer.fit().history[0]["epoch"] == 0
        assert all(torch.equal(weight, trainer.model.state_dict()[name]) for name, weight in weights.items())
        assert heard.heard(f"going on with the weights of {run / STATE}, not with those of {other}")
        assert len(list((run / "old").iterdir())) == 1

    def test_a_model_without_its_state_is_not_overwritten(self, data: Path) -> None:
        (data.parent / "fresh").mkdir()
        save_model(LightInpaintV1(), data.parent / "fresh" / MODEL)
        with pytest.raises(InputError, match="is there already, without the state of its training"):
            tiny_trainer(data, model_dir=str(data.parent / "fresh"))
        for asked in ({"overwrite": True}, {"resume": True, "reset_state": True}):
            found = tiny_trainer(data, model_dir=str(data.parent / "fresh"), **asked).found
            weights = data.parent / "fresh" / MODEL if "resume" in asked else None
            assert (found.replaces, found.weights_from) == (True, weights)

    def test_a_run_that_ended_meanwhile_is_left_alone(self, data: Path) -> None:
        """For example, a notebook stays open while a terminal trains in the same folder."""
        fresh = str(data.parent / "fresh")
        first, second = (tiny_trainer(data, model_dir=fresh) for _ in range(2))
        assert first.fit().finished
        before = content(data.parent / "fresh")
        with pytest.raises(InputError, match=r"the run in .*fresh has moved on .* start again"):
            second.fit()
        assert content(data.parent / "fresh") == before

    def test_a_run_that_continued_meanwhile_is_left_alone(self, data: Path) -> None:
        """Resuming from where it was then would throw away what has been learnt since."""
        begun: dict[str, Any] = {"model_dir": str(data.parent / "cut")}
        first, second = tiny_trainer(data, **begun, max_seconds=0.0), tiny_trainer(data, **begun)
        assert not first.fit().finished
        before = content(data.parent / "cut")
        with pytest.raises(InputError, match=r"the run in .*cut has moved on .* start again"):
            second.fit()
        assert content(data.parent / "cut") == before
        assert tiny_trainer(data, **begun).fit().finished


class TestARunOfIw3:
    """Its checkpoint has those keys of ours that aren't named inpaintkit_*; tests/interop uses real ones."""

    @pytest.fixture
    def theirs(self, data: Path) -> dict[str, Any]:
        """Put such a checkpoint, after one epoch, into ``run`` and return it."""
        known = ("state_dict", "optimizer_state_dict", "scheduler_state_dict", "grad_scaler_state_dict", "best_loss")
        report = tiny_trainer(data, max_epoch=1, model_dir=str(data.parent / "one")).fit()
        state = load_state(data.parent / "one" / STATE)
        state["state_dict"] = state["training_state_dict"]
        theirs = {name: state[name] for name in ("nunif_model", "name", "kwargs", "updated_at", *known)}
        theirs |= {"last_epoch": report.epochs, "train_kwargs": {"batch_size": 4}}
        torch.save(theirs, data.parent / "run" / STATE)
        return theirs

    def test_is_not_taken_unasked(self, theirs: dict[str, Any], data: Path) -> None:
        with pytest.raises(InputError, match="was not written by inpaintkit; go on with it with resume=True"):
            tiny_trainer(data)

    def test_resumes_with_its_optimiser_and_is_kept(self, theirs: dict[str, Any], data: Path) -> None:
        backup = f"{LightInpaintV1.name}.20261129145610.pth.bk"
        (data.parent / "run" / backup).write_bytes(b"a copy of its best model")
        before = content(data.parent / "run")
        heard = Listener()
        report = tiny_trainer(data, heard, resume=True).fit()
        assert heard.heard("going on with iw3's run after 1 epochs")
        assert (report.finished, [row["epoch"] for row in report.rows("train")]) == (True, [2])
        steps = load_state(data.parent / "run" / STATE)["optimizer_state_dict"][0]["state"][0]["step"]
        assert steps == report.steps == 2 * theirs["optimizer_state_dict"][0]["state"][0]["step"], "its epoch, and ours"
        (old,) = (data.parent / "run" / "old").iterdir()
        kept = content(old)
        assert all(kept[name] == before[name] for name in (STATE, MODEL, backup))
        assert not (data.parent / "run" / backup).exists()

    def test_resumes_at_the_training_weights_if_schedule_free(self, data: Path) -> None:
        """iw3 saves the weights to use, with the optimiser in evaluation mode; so do we, for iw3 to resume our runs."""
        options = {"optimizer": "adamw_schedulefree", "learning_rate": 1e-2}
        tiny_trainer(data, model_dir=str(data.parent / "run"), overwrite=True, max_epoch=1, **options).fit()
        state = load_state(data.parent / "run" / STATE)
        trained = state["training_state_dict"]
        theirs = {name: value for name, value in state.items() if not name.startswith(("inpaintkit", "training"))}
        assert not any(group["train_mode"] for group in theirs["optimizer_state_dict"][0]["param_groups"])
        assert any(not torch.equal(value, trained[name]) for name, value in theirs["state_dict"].items())
        torch.save(theirs | {"last_epoch": 1}, data.parent / "run" / STATE)
        weights = tiny_trainer(data, resume=True, **options).model.state_dict()
        assert max(float((value - trained[name]).abs().max()) for name, value in weights.items()) < 1e-6

    def test_takes_the_learning_rate_of_the_options(self, theirs: dict[str, Any], data: Path) -> None:
        report = tiny_trainer(data, resume=True, learning_rate=2e-5, scheduler="none").fit()
        assert report.rows("train")[0]["learning_rate"] == 2e-5

    @pytest.mark.parametrize("optimizer", ["adamw_schedulefree", "muon"])
    def test_with_another_optimiser_is_refused_and_left_alone(
        self, optimizer: str, theirs: dict[str, Any], data: Path
    ) -> None:
        before = content(data.parent / "run")
        with pytest.raises(InputError, match=f"with another optimizer than {optimizer}; set optimizer to that one"):
            tiny_trainer(data, resume=True, optimizer=optimizer).fit()
        assert content(data.parent / "run") == before

    def test_with_moments_of_a_similar_optimiser_is_refused(self, theirs: dict[str, Any], data: Path) -> None:
        """Adam's for AdamW, or schedule-free RAdam's for schedule-free AdamW: theirs have all weights in one group."""
        optimizer = theirs["optimizer_state_dict"][0]
        both = [number for group in optimizer["param_groups"] for number in group["params"]]
        optimizer["param_groups"] = [{**optimizer["param_groups"][0], "params": both}]
        torch.save(theirs, data.parent / "run" / STATE)
        with pytest.raises(InputError, match="with another optimizer than adamw; set optimizer to that one"):
            tiny_trainer(data, resume=True)

    def test_without_an_update_is_refused(self, theirs: dict[str, Any], data: Path) -> None:
        """Its epochs had fewer batches than an update takes."""
        theirs["optimizer_state_dict"][0]["state"] = {}
        torch.save(theirs, data.parent / "run" / STATE)
        with pytest.raises(InputError, match="that ended before its first update; take its weights alone"):
            tiny_trainer(data, resume=True)

    def test_needs_more_epochs_if_finished(self, theirs: dict[str, Any], data: Path) -> None:
        with pytest.raises(InputError, match="of 1 epochs; give a larger max_epoch"):
            tiny_trainer(data, resume=True, max_epoch=1)


class TestChangedOptions:
    """With resume=True a run continues under other options, as far as that makes sense, and reports it."""

    def test_a_finished_run_is_lengthened(self, data: Path) -> None:
        heard = Listener()
        report = tiny_trainer(data, heard, max_epoch=3, resume=True).fit()
        assert (report.epochs, report.steps, report.finished) == (3, 6, True)
        assert heard.heard("options changed on the way: max_epoch 2, now 3")
        rate = report.rows("train")[-1]["learning_rate"]
        assert rate == pytest.approx(1e-4 * (1 + math.cos(math.pi * 2 / 3)) / 2, rel=1e-3), "as in the third of three"

    def test_a_finished_run_is_not_shortened(self, data: Path) -> None:
        heard = Listener()
        report = tiny_trainer(data, heard, max_epoch=1, resume=True).fit()
        assert (report.epochs, report.steps, report.finished) == (2, 4, True)
        assert heard.heard("this run is done: 2 epochs")

    def test_a_length_with_the_same_last_epoch_names_a_longer_one(self, data: Path) -> None:
        """A run ends where the learning rate is lowest: with two cycles, 5 epochs end where 4 do."""
        state = data.parent / "run" / STATE
        kept, heard = load_state(state), Listener()
        options = kept["train_kwargs"] | {"max_epoch": 4, "learning_rate_cycles": 2}
        progress = kept["inpaintkit_progress"] | {"epoch": 5}
        torch.save(kept | {"train_kwargs": options, "inpaintkit_progress": progress}, state)
        assert tiny_trainer(data, heard, max_epoch=5, learning_rate_cycles=2, resume=True).fit().epochs == 4
        assert heard.heard("set resume=True and max_epoch=6 or more")

    def test_smaller_batches(self, data: Path) -> None:
        report = cut(data, batch_size=1, backward_step=2, resume=True)
        assert (report.finished, report.steps) == (True, 8)  # 4 steps of 1 instead of 2 of 2, in each of two epochs

    def test_more_processes_take_part_unasked_only_with_smaller_batches(
        self, data: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        begun: dict[str, Any] = {"model_dir": str(data.parent / "cut"), "processes": 2}
        with pytest.raises(InputError, match=r"other options \(samples per step 2, now 4\); set resume=True"):
            tiny_trainer(data, **begun)
        assert tiny_trainer(data, **begun, resume=True).found.changed == {"samples per step": (2, 4)}
        assert not tiny_trainer(data, **begun, batch_size=1).found.changed
        monkeypatch.setattr("torch.backends.mps.is_available", lambda: True)
        assert tiny_trainer(data, processes=2, device="mps").found.finished, "what is done is shown to any number"

    def test_more_samples_another_rate_and_rarer_evaluations(self, data: Path) -> None:
        report = cut(data, num_samples=6, learning_rate=1e-5, eval_step=2, resume=True)
        assert report.finished
        assert [row["learning_rate"] for row in report.rows("train")] == pytest.approx([1e-5, 0.5e-5], rel=1e-2)
        assert [row["epoch"] for row in report.rows("eval")] == [0, 2]

    @pytest.mark.parametrize(
        ("option", "value"), [("seed", 1), ("loss", "dct"), ("optimizer", "muon"), ("ema_decay", 0.5)]
    )
    def test_options_that_define_a_run_are_fixed(self, option: str, value: Any, data: Path) -> None:
        with pytest.raises(InputError, match=f"holds a run with {option}=.* which can't change on the way"):
            cut(data, resume=True, **{option: value})


class TestTheRecords:
    def test_added_records_are_drawn_if_asked(self, data: Path) -> None:
        write_record(data / "train", 2)
        with pytest.raises(InputError, match="1 new record"):
            cut(data)
        heard = Listener()
        assert cut(data, heard, resume=True).finished
        assert heard.heard("1 new record")

    def test_a_name_may_contain_a_line_break(self, data: Path) -> None:
        write_record(data / "train", 2)
        for file in (data / "train").glob("p_2_*"):
            file.rename(file.with_name(file.name.replace("_2_", "\n2_")))
        cut(data, resume=True)
        write_record(data / "train", 3)
        heard = Listener()
        cut(data, heard, resume=True, max_epoch=3)
        assert heard.heard("1 new record")

    def test_other_records_keep_their_losses(self, data: Path) -> None:
        before = tiny_trainer(data)
        known = {before.train_set.names[record]: loss for record, loss in before.hardest()}
        write_record(data / "train", 2)
        for suffix in ("C", "M"):
            (data / "train" / f"p_2_{suffix}.png").rename(data / "train" / f"a_{suffix}.png")
        after = tiny_trainer(data, resume=True, max_epoch=3)
        assert after.train_set.names[0] not in known, "the new one comes first"
        assert {after.train_set.names[record]: loss for record, loss in after.hardest()} == known

    @pytest.mark.parametrize("split", ["train", "eval"])
    def test_exchanged_ones_are_noticed(self, split: str, data: Path) -> None:
        write_record(data / split, 7)
        for suffix in ("C", "M"):
            (data / split / f"p_7_{suffix}.png").rename(data / split / f"p_0_{suffix}.png")
        with pytest.raises(InputError, match=r"the records in .* have changed since the run began"):
            cut(data, resume=True)

    def test_a_record_that_vanishes_while_training_is_reported_on_resuming(self, data: Path) -> None:
        class Delete(Callback):
            def on_step(self, run: RunView, info: StepInfo) -> None:
                for suffix in ("C", "M"):
                    (data / "train" / f"p_1_{suffix}.png").unlink(missing_ok=True)
                run.stop.asked = True

        assert not cut(data, Delete()).finished
        assert load_state(data.parent / "cut" / STATE)["inpaintkit_progress"]["steps_done"] == 2
        with pytest.raises(InputError, match="have changed since the run began"):
            cut(data)


@pytest.mark.parametrize("damage", [b"", b"PK\x03\x04 but no more", b"\0" * 5000, None])
def test_the_previous_checkpoint_replaces_a_damaged_one(damage: bytes | None, data: Path) -> None:
    state = data.parent / "cut" / STATE
    assert older_path(state, 1).exists()
    if damage is None:
        state.unlink()
    else:
        state.write_bytes(damage)
    kept, heard = load_state(older_path(state, 1)), Listener()
    torch.save(kept | {"train_kwargs": kept["train_kwargs"] | {"overwrite": True}}, older_path(state, 1))
    assert cut(data, heard, overwrite=True).finished, "as it was begun"
    assert heard.heard("is missing or damaged; going on from the one before it")


def test_the_next_run_removes_leftovers_of_a_killed_writer(data: Path) -> None:
    names = (f".{STATE}.12345.tmp", "eval/.epoch0001_batch0000.png.12345.tmp", f"epoch/1/.{MODEL}.12345.tmp")
    left = [data.parent / "cut" / name for name in names]
    for path in left:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"half a file")
    cut(data)
    assert not [path for path in left if path.exists()]


class TestWhichModelWasKept:
    def test_no_epoch_better_than_the_start(self, data: Path) -> None:
        heard = Listener()
        report = tiny_trainer(
            data, heard, model_dir=str(data.parent / "still"), learning_rate=0.0, scheduler="none"
        ).fit()
        assert not report.improved
        assert heard.said[-1].startswith("no epoch beat the start")
        assert load_model(report.model_file)[1]["epoch"] == 0
        assert report.summary()["improved"] is False

    def test_a_better_epoch(self, data: Path) -> None:
        heard = Listener()
        report = tiny_trainer(data, heard, model_dir=str(data.parent / "better"), learning_rate=1e-5).fit()
        assert report.improved
        assert heard.heard(f"best model updated: epoch {report.best_epoch}")
        assert heard.said[-1].startswith(f"best model: epoch {report.best_epoch}")

    def test_a_run_out_of_time_is_evaluated_for_its_report(self, data: Path) -> None:
        report = tiny_trainer(data, model_dir=str(data.parent / "slice"), learning_rate=1e-5, max_seconds=0.0).fit()
        start, stop = report.rows("eval")
        assert (stop["epoch"], stop["total"] < start["total"]) == (1, True)
        assert (report.best_epoch, report.best_score) == (0, start["total"])
        assert report.closing_words().startswith("no epoch beat the start yet: "), "the epoch isn't over"
        assert report.summary()["eval_loss_after"] == start["total"], "of the model that is kept"
        assert load_model(report.model_file)[1]["epoch"] == 0
        assert load_state(data.parent / "slice" / STATE)["inpaintkit_progress"]["history"] == [start]
        curve = data.parent / "slice" / f"loss_{NAME}.csv"
        assert curve.read_text() == in_csv([start, stop]), "until the run goes on, the curve ends with it"
        whole = tiny_trainer(data, model_dir=str(data.parent / "slice"), learning_rate=1e-5).fit()
        assert curve.read_text() == in_csv(whole.history)
        assert [row["epoch"] for row in whole.rows("eval")] == [0, 1, 2]

    @pytest.mark.parametrize("amp", ["bf16", "auto"])
    def test_it_resumes_in_its_own_arithmetic_and_says_so(
        self, amp: str, data: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Even on a machine that is faster in another one: perhaps the run was moved there to finish sooner."""
        monkeypatch.setattr("inpaintkit.training.amp.bf16_is_fast", lambda: True)
        heard = Listener()
        cut(data, heard, amp=amp)
        assert heard.heard("amp: the run goes on with off, as it began; amp=bf16 needs a new one")


def test_the_stop_button_saves_and_returns(data: Path) -> None:
    class Ask(Callback):
        def on_step(self, run: RunView, info: StepInfo) -> None:
            run.stop.asked = True

    heard = Listener()
    report = tiny_trainer(data, Ask(), heard, model_dir=str(data.parent / "asked")).fit()
    assert (report.finished, report.steps) == (False, 1)
    assert heard.heard("stopped as asked; run the same again to continue")


def test_lack_of_gpu_memory_names_options_that_need_less_and_the_run_resumes_with_them(data: Path) -> None:
    folder, taken = data.parent / "large", []
    trainer = tiny_trainer(data, model_dir=str(folder))

    def no_room(_: object, inputs: tuple[torch.Tensor]) -> None:
        if (folder / STATE).exists():  # the first epoch is done
            feature_map = inputs[0].clone()
            taken.append(weakref.ref(feature_map))
            raise torch.OutOfMemoryError

    trainer.model.register_forward_pre_hook(no_room)
    with pytest.raises(
        RunFailed, match=r"halve batch_size \(now 2\) and double backward_step .* crop_size .* resident"
    ) as failure:
        trainer.fit()
    assert failure.value.__cause__ is not None
    assert taken[0]() is None, "what was taken is free for the next try, also where the error is kept"
    assert tiny_trainer(data, model_dir=str(folder), batch_size=1, backward_step=2, resume=True).fit().finished


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError(),
        torch.AcceleratorError("CUDA error: out of memory\nCUDA kernel errors might ..."),
        RuntimeError("MPS backend out of memory (MPS allocated: 17.06 GiB, ...)"),
    ],
    ids=type,
)
def test_lack_of_gpu_memory_for_the_records_is_reported(
    data: Path, monkeypatch: pytest.MonkeyPatch, error: RuntimeError
) -> None:
    monkeypatch.setattr("inpaintkit.training.feeding.ResidentRecords", Mock(side_effect=error))
    with pytest.raises(RunFailed, match=r"cpu is out of memory; .* or resident=off$"):
        tiny_trainer(data, model_dir=str(data.parent / "new"), resident="on")
