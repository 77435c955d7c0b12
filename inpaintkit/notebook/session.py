"""What the cells of a notebook call: read the parameters, show and keep figures, record the outcome."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from IPython.display import HTML, Image, Markdown, display
from tqdm.auto import tqdm

from inpaintkit.config import JobConfig, field_types
from inpaintkit.files import atomic_write_text
from inpaintkit.inspection.figures import Figure, save_figure
from inpaintkit.notebook.project import enter_project
from inpaintkit.notebook.runs import record_metrics
from inpaintkit.training.callbacks import LINE_EVERY, PROGRESS_VARIABLE

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


def headless() -> bool:
    """Return whether this notebook runs without a person watching."""
    return os.environ.get(PROGRESS_VARIABLE) == "lines"


def show(figure: Figure, config: JobConfig, name: str, alt: str) -> None:
    """Display `figure` and keep it as ``figures/NAME.png`` in the run folder; `alt` says in words what it shows."""
    path = save_figure(figure, config.run_folder / "figures" / f"{name}.png")
    display(Image(filename=str(path), alt=alt))


def show_file(path: str | Path, alt: str) -> None:
    """Display a picture file."""
    display(Image(filename=str(path), alt=alt))


def show_table(table: str, config: JobConfig | None = None, name: str = "") -> None:
    """Display Markdown, a table for instance; with `config` keep it as ``NAME.md`` in the run folder."""
    if config is not None:
        atomic_write_text(config.run_folder / f"{name}.md", table.strip() + "\n")
    display(Markdown(table))


def record(config: JobConfig, figures: Mapping[str, Any]) -> None:
    """Write the run's closing figures to ``metrics.csv`` and display them."""
    record_metrics(config.run_folder, figures)
    show_list(figures)


def show_list(figures: Mapping[str, Any]) -> None:
    """Display names and values as a small table."""
    cells = "".join(
        f"<tr><th style='text-align:left'>{name}</th><td style='text-align:left'>{_short(value)}</td></tr>"
        for name, value in figures.items()
    )
    display(HTML(f"<table>{cells}</table>"))


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def job_progress(description: str) -> Callable[[int, int, str], None]:
    """Return a callback ``(done, total, message)``: a bar when a person watches, else a plain line per 5 %."""
    bar = None if headless() else tqdm(desc=description)
    shown = -1.0

    def report(done: int, total: int, message: str) -> None:
        nonlocal shown
        if bar is not None:
            bar.total = total
            bar.set_postfix_str(message[-40:])
            bar.update(done - bar.n)
        elif done / max(total, 1) >= shown + LINE_EVERY or done == total:
            shown = done / max(total, 1)
            print(f"{shown:4.0%} {description}: {done} of {total} {message}", flush=True)

    return report
