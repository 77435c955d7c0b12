"""What the cells of a notebook call: read the parameters, show and keep figures, record the outcome."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from inpaintkit.config import JobConfig, field_types
from inpaintkit.notebook.project import enter_project
from inpaintkit.notebook.runs import record_metrics
from inpaintkit.notebook.showing import (
    callbacks,
    fit,
    headless,
    job_progress,
    present,
    show,
    show_file,
    show_list,
    show_table,
)

__all__ = [
    "callbacks",
    "configure",
    "fit",
    "headless",
    "job_progress",
    "present",
    "record",
    "show",
    "show_file",
    "show_list",
    "show_table",
]

_Config = TypeVar("_Config", bound=JobConfig)


def configure(config_class: type[_Config], namespace: Mapping[str, Any]) -> _Config:
    """Return the configuration from the variables of the parameters cell, checked against the disk.

    Also makes the project's root the working folder. Raises `InputError`.
    """
    enter_project()
    names = [name for name in field_types(config_class) if name in namespace]
    config = config_class.from_params({name: namespace[name] for name in names})
    config.check_inputs()
    return config


def record(config: JobConfig, figures: Mapping[str, Any]) -> None:
    """Write the run's closing figures to ``metrics.csv`` and display them."""
    record_metrics(config.run_folder, figures)
    show_list(figures)
