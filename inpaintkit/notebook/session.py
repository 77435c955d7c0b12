"""What the cells of a notebook call: read the parameters, show and keep figures, record the outcome."""

import dataclasses
import os
from collections.abc import Mapping
from typing import Any, TypeVar

from inpaintkit.config import InspectConfig, JobConfig, TrainConfig, field_types
from inpaintkit.notebook.parameters import PRESET, assigned_names, assignments, json_like, preset_values, with_preset
from inpaintkit.notebook.project import find_project
from inpaintkit.notebook.runs import keep_old_report, record, write_params
from inpaintkit.notebook.showing import (
    callbacks,
    fit,
    headless,
    job_progress,
    present,
    show,
    show_errors_in_one_line,
    show_file,
    show_folded,
    show_headline,
    show_list,
    show_table,
)
from inpaintkit.text import duration
from inpaintkit.training import find_run
from inpaintkit.training.estimate import estimate_seconds

LONG = 3600.0  # s: from here on a training is worth a warning

if not headless():
    show_errors_in_one_line()  # from the first cell on: the next one may be left out

_Config = TypeVar("_Config", bound=JobConfig)


def configure(config_class: type[_Config], namespace: Mapping[str, Any]) -> _Config:
    """Return the configuration from the parameters cell, and from the cell that papermill adds to it, checked against the disk.

    `namespace` are the notebook's variables. Says what differs from the preset, and makes the project's root the working
    folder. Raises `InputError`, also for a name that is no option.
    """
    os.chdir(find_project())
    given = given_parameters(config_class, namespace)
    config = config_class.from_params(with_preset(config_class.notebook, given))
    config.check_inputs()
    if isinstance(config, InspectConfig):
        keep_old_report(config.run_folder, config)
        write_params(config.run_folder, config)
    if isinstance(config, TrainConfig) and not headless():
        _tell_duration(config)
    _tell_differences(config, given.get(PRESET), preset_values(config.notebook, given.get(PRESET)))
    return config


def given_parameters(config_class: type[JobConfig], namespace: Mapping[str, Any]) -> dict[str, Any]:
    """Return the variables that the parameters cell, and cells of nothing but ``name = literal`` after it, set when they ran last.

    Outside of a notebook, which keeps what ran in ``In``, and without a ``preset``: all variables that are called like an option.
    """
    cells = list(namespace.get("In", ()))
    for place in reversed(range(len(cells))):
        names = assigned_names(cells[place])
        if PRESET in names:
            names += [name for cell in cells[place + 1 :] for name in assignments(cell) or ()]
            return {name: namespace[name] for name in names if name in namespace}
    return {name: namespace[name] for name in (*field_types(config_class), PRESET) if name in namespace}


def _tell_duration(config: TrainConfig) -> None:
    """Say how long the training will take here, with a warning above an hour; nothing where a run goes on."""
    if find_run(config).state is not None:
        return
    seconds = estimate_seconds(config)
    words = f"{config.max_epoch} epochs of {config.num_samples} samples: about {duration(seconds)} on this machine"
    if seconds > LONG:
        show_headline(
            f'{words}. Choose preset = "try" for a first look, or stop whenever you like: it goes on where it was.',
            False,
        )
    else:
        print(words)


def _tell_differences(config: JobConfig, preset: str | None, values: Mapping[str, Any]) -> None:
    """Display what the run is and what differs from its preset, or from the defaults."""
    changed = []
    for field in dataclasses.fields(config):
        value, usual = getattr(config, field.name), values.get(field.name, field.default)
        if value != usual:
            changed.append(f"  {field.name} = {json_like(value)} instead of {json_like(usual)}")
    name = f"preset {preset}" if preset else "the defaults"
    print("\n".join([f"{name}, with", *changed]) if changed else f"{name}, unchanged")
