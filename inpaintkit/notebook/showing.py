"""How a notebook shows tables, figures, widgets and progress, and what it shows instead where nobody watches."""

from __future__ import annotations

import base64
import html
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from IPython.display import HTML, Markdown, display
from tqdm.auto import tqdm

from inpaintkit.config import JobConfig, TrainConfig
from inpaintkit.files import atomic_write_text
from inpaintkit.inspection.figures import Figure, save_figure
from inpaintkit.notebook.widgets import LiveCurves, View, close_all
from inpaintkit.training.callbacks import LINE_EVERY, PROGRESS_VARIABLE, Callback, default_callbacks

HIGHEST = "85vh"  # of an output: no longer than a screen

FRONT_ENDS = ("JPY_SESSION_NAME", "VSCODE_PID", "VSCODE_CWD", "COLAB_RELEASE_TAG")
"""What Jupyter's server, VS Code and Colab put into a kernel's environment, and papermill doesn't."""

_shown: dict[str, Any] = {}
"""Widgets on the page by name: a cell that runs again closes the one it made before."""


def headless() -> bool:
    """Return whether this notebook runs without a person watching: neither the variable nor a front end says otherwise."""
    mode = os.environ.get(PROGRESS_VARIABLE)
    return mode == "lines" or (mode is None and not any(name in os.environ for name in FRONT_ENDS))


def show(figure: Figure, config: JobConfig, name: str, alt: str) -> None:
    """Display `figure` and keep it as ``figures/NAME.png`` in the run folder; `alt` says in words what it shows."""
    show_file(save_figure(figure, config.run_folder / "figures" / f"{name}.png"), alt)


def show_file(path: str | Path, alt: str) -> None:
    """Display a PNG file, fitted to the page and the screen; `alt` says in words what it shows."""
    # As HTML, because JupyterLab gives pictures displayed as such no alternative text.
    data = base64.b64encode(Path(path).read_bytes()).decode()
    style = f"max-width:100%;max-height:{HIGHEST};background:white"
    display(HTML(f'<img src="data:image/png;base64,{data}" alt="{html.escape(alt)}" style="{style}">'))


def present(view: View, config: JobConfig, name: str, alt: str) -> None:
    """Display the widget of `view`, or its static figure where nobody watches; keep the figure as `show` does.

    A widget shown before under the same `name` is closed, so that nothing piles up when its cell runs again.
    """
    figure = view.figure()
    if headless():
        show(figure, config, name, alt)
        return
    save_figure(figure, config.run_folder / "figures" / f"{name}.png")
    _place(name, view.widget())


def _place(name: str, widget: Any) -> None:
    if name in _shown:
        close_all(_shown.pop(name))
    _shown[name] = widget
    display(widget)


def callbacks(config: TrainConfig) -> list[Callback]:
    """Return what a trainer shows while it runs: progress, and live curves when a person watches."""
    if headless():
        return default_callbacks(lines=True)
    return [*default_callbacks(lines=config.processes > 1), LiveCurves(lambda box: _place("live curves", box))]


def show_table(table: str, config: JobConfig | None = None, name: str = "") -> None:
    """Display Markdown, a table for instance; with `config` keep it as ``NAME.md`` in the run folder."""
    if config is not None:
        atomic_write_text(config.run_folder / f"{name}.md", table.strip() + "\n")
    # Longer ones scroll in a box; the empty lines make Markdown of what is inside.
    display(Markdown(f'<div style="max-height:{HIGHEST};overflow:auto">\n\n{table.strip()}\n\n</div>'))


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
