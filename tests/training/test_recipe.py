"""Recipes: checked as a whole; trainings run in order, each from the weights of the last; finished ones are skipped."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from inpaintkit.config import TrainConfig
from inpaintkit.errors import InputError
from inpaintkit.model import load_state
from inpaintkit.notebook import run_folder, runs
from inpaintkit.notebook.recipe import load_recipe, run_recipe
from inpaintkit.training import Trainer
from inpaintkit.training.run import RunFiles

PARAMS = Path(__file__).parents[2] / "params"
TINY: dict[str, Any] = {
    "crop_size": 64, "max_epoch": 1, "num_samples": 2, "batch_size": 2, "backward_step": 1, "perceptual": "alex",
    "eval_records": 1, "device": "cpu", "amp": "off", "grey_start": True,
}  # fmt: skip


def write(folder: Path, records: Path, **given: dict[str, Any]) -> Path:
    plan = {"common": TINY | {"data_dir": str(records)}, "folder": str(folder / "recipe"), "runs": given}
    (folder / "recipe.yaml").write_text(yaml.safe_dump(plan, sort_keys=False))
    return folder / "recipe.yaml"


def test_the_full_recipe_is_cyclic_once_then_schedule_free_three_times_then_gan() -> None:
    recipe = load_recipe(PARAMS / "recipe.full.yaml")
    assert [run.params.get("optimizer", "") for run in recipe] == ["", *3 * ["adamw_schedulefree"], ""]
    assert [run.notebook for run in recipe] == [*4 * ["02_train"], "03_finetune_gan"]
    for run, before in zip(recipe[1:], recipe, strict=False):
        assert run.params["checkpoint_file"] == str(RunFiles(before.folder).state)


def test_rounds_start_from_the_last_weights_and_finished_ones_stay(
    records: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def execute_notebook(source: str, target: str, parameters: dict[str, Any], **others: object) -> None:
        """Train without a kernel, which the demo's tests cover."""
        config = TrainConfig.from_params({name: value for name, value in parameters.items() if name != "preset"})
        trained.append(Path(config.model_dir).name)
        run_folder.record(config, Trainer(config, callbacks=[]).fit().summary())
        Path(target).touch()

    trained: list[str] = []
    monkeypatch.setattr("papermill.execute_notebook", execute_notebook)
    second = {"notebook": "02_train", "optimizer": "adamw_schedulefree", "learning_rate": 0.0}
    recipe = load_recipe(write(tmp_path, records, first={"notebook": "02_train"}, second=second))
    assert len(run_recipe(recipe)) == 2
    weights = [load_state(RunFiles(run.folder).state)["state_dict"]["to_image.1.weight"] for run in recipe]
    assert weights[0].equal(weights[1])  # a learning rate of 0 changes nothing
    assert len(run_recipe(recipe)) == 2
    assert trained == ["first", "second"], "what is done is left alone"


def test_a_run_out_of_time_ends_the_recipe_because_the_next_one_needs_its_last_weights(
    records: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def execute(notebook: str, params: dict[str, Any]) -> runs.RunReport:
        return runs.RunReport(notebook, tmp_path, 1.0, {"finished": "False"})

    monkeypatch.setattr(runs, "execute", execute)
    recipe = load_recipe(write(tmp_path, records, first={"notebook": "02_train"}, second={"notebook": "02_train"}))
    assert len(run_recipe(recipe)) == 1
    assert "first is out of time (max_seconds); the same command continues" in capsys.readouterr().out


class TestRefusals:
    @pytest.mark.parametrize(
        ("run", "said"),
        [
            ({"notebook": "02_train", "max_epochs": 3}, "first: .*did you mean max_epoch"),
            ({"notebook": "01_generate"}, "notebook must be one of 02_train, 03_finetune_gan"),
            ({"notebook": "02_train", "model_dir": "x"}, "model_dir is set by the recipe"),
        ],
    )
    def test_before_anything_starts(self, run: dict[str, Any], said: str, records: Path, tmp_path: Path) -> None:
        with pytest.raises(InputError, match=said):
            load_recipe(write(tmp_path, records, first=run))

    def test_a_misspelt_section(self, tmp_path: Path) -> None:
        (tmp_path / "r.yaml").write_text("folder: x\nrun: {}\n")
        with pytest.raises(InputError, match="did you mean runs"):
            load_recipe(tmp_path / "r.yaml")
