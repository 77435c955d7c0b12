"""Run several trainings from one file, one after the other: each starts from the final weights of the one before."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from inpaintkit.errors import InputError
from inpaintkit.notebook import parameters, run_folder, runs
from inpaintkit.text import shown
from inpaintkit.training.run import RunFiles

SECTIONS = ("common", "folder", "runs")
NOTEBOOKS = ("02_train", "03_finetune_gan")
SET_BY_RECIPE = ("model_dir", "resume", "reset_state")


@dataclass(frozen=True)
class RecipeRun:
    """One run of a recipe: its notebook and all parameters that are set."""

    name: str
    notebook: str
    params: dict[str, Any]

    @property
    def folder(self) -> Path:
        return Path(self.params["model_dir"])


def load_recipe(file: str | Path, overrides: Mapping[str, Any] | None = None) -> list[RecipeRun]:
    """Load the runs of a recipe from a YAML file (see ``params/recipe.full.yaml``) and check their parameters.

    `overrides` are parameters for all runs. Raises `InputError` for parameters that can't work; whether the files are
    there is checked when a run starts.
    """
    plan = parameters.load_sections(file, SECTIONS)
    if not plan.get("runs") or not isinstance(plan["runs"], dict) or not isinstance(plan.get("folder"), str):
        raise InputError(
            f"{file}: it needs `folder`, and under `runs` a name for each run, see params/recipe.full.yaml"
        )
    recipe: list[RecipeRun] = []
    for name, given in plan["runs"].items():
        own = parameters.section(given, f"{file}: runs: {name}")
        values = {**parameters.section(plan.get("common"), f"{file}: common"), **own, **(overrides or {})}
        recipe.append(_checked(file, str(name), values, Path(plan["folder"]), recipe[-1] if recipe else None))
    return recipe


def _checked(file: str | Path, name: str, values: dict[str, Any], folder: Path, before: RecipeRun | None) -> RecipeRun:
    if not name or not all(character.isalnum() or character in "_-." for character in name) or name.startswith("."):
        raise InputError(f"{file}: {shown(name)} can't be a run's folder; name it with letters, digits, - and _")
    notebook = values.pop("notebook", None)
    if notebook not in NOTEBOOKS:
        raise InputError(f"{file}: {name}: notebook must be one of {', '.join(NOTEBOOKS)}, not {notebook!r}")
    taken = next((key for key in SET_BY_RECIPE if key in values), None)
    if taken is not None:
        raise InputError(f"{file}: {name}: {taken} is set by the recipe; leave it out")
    values["model_dir"] = str(folder / name)
    if before is not None:
        # the last weights, as with resume and reset_state, not the best ones
        values.setdefault("checkpoint_file", str(RunFiles(before.folder).state))
    try:
        parameters.resolve(notebook, values)
    except InputError as error:
        raise InputError(f"{file}: {name}: {error}") from None
    return RecipeRun(name, notebook, values)


def run_recipe(recipe: list[RecipeRun]) -> list[runs.RunReport]:
    """Run all in order with `runs.execute`, which skips finished runs, and return their reports.

    A run that reaches `max_seconds` ends the recipe, because the next one needs its final weights. Raises `InputError`
    or `RunFailed` for the first run that fails. Called again, the recipe continues there.
    """
    reports = []
    for number, run in enumerate(recipe, 1):
        print(f"\n=== {number} of {len(recipe)}: {run.name} ({run.notebook}) -> {run.folder}", flush=True)
        reports.append(runs.execute(run.notebook, run.params))
        if reports[-1].status == run_folder.OUT_OF_TIME:
            print(f"{run.name} is out of time (max_seconds); the same command continues it", flush=True)
            break
    return reports
