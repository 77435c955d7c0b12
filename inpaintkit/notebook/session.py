"""Functions for the cells of notebooks: read parameters, show tables, figures, widgets and errors, record results.

Headless runs show plain text and pictures instead of widgets.
"""

import asyncio
import dataclasses
import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from traceback import walk_tb
from typing import Any, TypeVar

from IPython.core.getipython import get_ipython
from IPython.display import HTML, Markdown, display

from inpaintkit import text
from inpaintkit.config import InspectConfig, JobConfig, TrainConfig, field_types
from inpaintkit.errors import LONGEST_MESSAGE, InputError, RunFailed
from inpaintkit.files import atomic_write_text
from inpaintkit.inspection.figures import CurveFile, Figure, loss_curves, save_figure
from inpaintkit.notebook.parameters import PRESET, assigned_names, assignments, json_like, preset_values, with_preset
from inpaintkit.notebook.project import find_project
from inpaintkit.notebook.run_folder import ManifestWriter, keep_old_report, write_params
from inpaintkit.notebook.run_folder import record as record
from inpaintkit.notebook.widgets import HtmlProgress, LiveCurves, Showable
from inpaintkit.notebook.widgets.parts import picture_html
from inpaintkit.notebook.widgets.still import NO_FORMULAS, STYLE, compact, html_output, place
from inpaintkit.training import Trainer, TrainReport, find_run
from inpaintkit.training.callbacks import PROGRESS_VARIABLE, Callback, Pace, ProgressLines, TimeLeft
from inpaintkit.training.estimate import estimate_seconds
from inpaintkit.training.schedule import last_epoch

LONG = 3600.0  # s: a training that takes longer gets a warning

HIGHEST = "85vh"  # of an output: no higher than a screen

NOTICE_SECONDS = 0.25

FRONT_ENDS = ("JPY_SESSION_NAME", "VSCODE_PID", "VSCODE_CWD", "COLAB_RELEASE_TAG")
"""Environment variables that Jupyter's server, VS Code and Colab set for a kernel, and papermill doesn't."""

WORDS = {
    "train": "training records",
    "eval": "evaluation records",
    "scenes": "scenes among these",
    "dropped": "crops left out, hole too small",
    "skipped": "pictures left out, see below",
    "bars": "photos with black bars",
    "mean_hole_fraction": "mean share of hole",
    "seconds": "time of this call",
    "pictures": "pictures, frames and scenes of this call, with repeats",
    "beside": "other data sets in the folder, trained on as well",
    "eval_loss_before": "evaluation loss, start",
    "eval_loss_after": "evaluation loss, best epoch",
    "hole_psnr_before": "PSNR in holes, start (dB)",
    "hole_psnr_after": "PSNR in holes, best epoch (dB)",
    "hole_psnr_row_fill": "PSNR in holes, row fill (dB)",
}
"""Labels of figures in lists, by the figures' names."""

FORMATS = {"mean_hole_fraction": "{:.1%}".format, "seconds": text.duration}
"""How the values of some figures are formatted."""

_Config = TypeVar("_Config", bound=JobConfig)


def headless() -> bool:
    """Return whether nobody watches this notebook: `PROGRESS_VARIABLE` is ``lines``, or unset without a front end."""
    mode = os.environ.get(PROGRESS_VARIABLE)
    return mode == "lines" or (mode is None and not any(name in os.environ for name in FRONT_ENDS))


def show_errors_in_one_line() -> None:
    """From now on, show errors that the user can fix, interrupts, and the use of skipped cells as one sentence."""
    shell = get_ipython()
    if shell is not None:
        shell.set_custom_exc((InputError, RunFailed, KeyboardInterrupt, NameError), _show_error)


def _show_error(
    shell: Any, kind: type[BaseException], error: BaseException, trace: Any, tb_offset: int | None = None
) -> None:
    said = str(error) or "interrupted"
    if isinstance(error, NameError):
        if [frame for frame, _ in walk_tb(trace)][-1].f_globals is not shell.user_ns:  # not raised in a cell, so a bug
            shell.showtraceback((kind, error, trace), tb_offset=tb_offset)
            return
        said += "; run the cells above first, from the top"
    style = "border-left:4px solid #d33;padding:.4em .8em;background:#d331;max-width:60em;overflow-wrap:anywhere"
    display(HTML(f'<div style="{style}">{text.html(said, LONGEST_MESSAGE)}</div>'))


def configure(config_class: type[_Config], namespace: Mapping[str, Any]) -> _Config:
    """Return the configuration from the parameters cell, and from the cell that papermill adds to it, checked.

    `namespace` holds the notebook's variables. Also prints what differs from the preset, makes the project's root the
    working folder, and before an evaluation moves a report with other parameters away. Raises `InputError` for values
    or files that can't work, and for a name that is no option.
    """
    os.chdir(find_project())
    given = given_parameters(config_class, namespace)
    config = config_class.from_params(with_preset(config_class.notebook, given))
    config.check_inputs()
    if isinstance(config, InspectConfig):
        keep_old_report(config.run_folder, config)
        write_params(config.run_folder, config)
    if isinstance(config, TrainConfig) and not headless():
        _show_duration(config)
    _print_differences(config, given.get(PRESET), preset_values(config.notebook, given.get(PRESET)))
    return config


def given_parameters(config_class: type[JobConfig], namespace: Mapping[str, Any]) -> dict[str, Any]:
    """Return the variables set by the last run of the parameters cell and by ``name = literal`` cells after it.

    The parameters cell is the one that sets ``preset``. If none did, or outside of a notebook, where ``In`` doesn't
    list the cells that ran, they are all variables named like an option.
    """
    cells = list(namespace.get("In", ()))
    for number in reversed(range(len(cells))):
        names = assigned_names(cells[number])
        if PRESET in names:
            names += [name for cell in cells[number + 1 :] for name in assignments(cell) or ()]
            return {name: namespace[name] for name in names if name in namespace}
    return {name: namespace[name] for name in (*field_types(config_class), PRESET) if name in namespace}


def _show_duration(config: TrainConfig) -> None:
    """Show how long the training will take here, with a warning above an hour; nothing for a run that has begun."""
    if find_run(config).state is not None:
        return
    seconds = estimate_seconds(config)
    words = (
        f"{last_epoch(config)} epochs of {config.num_samples} samples: about {text.duration(seconds)} on this machine"
    )
    if seconds > LONG:
        show_headline(
            f'{words}. Choose preset = "try" for a first look, or stop whenever you like: run again, it continues.',
            False,
        )
    else:
        print(words)


def _print_differences(config: JobConfig, preset: str | None, values: Mapping[str, Any]) -> None:
    """Print the preset and what differs from it, or from the defaults without a preset."""
    changed = []
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        usual = values.get(field.name, field.default)
        if value != usual:
            changed.append(f"  {field.name} = {json_like(value)} instead of {json_like(usual)}")
    name = f"preset {preset}" if preset else "the defaults"
    print("\n".join([f"{name}, with", *changed]) if changed else f"{name}, unchanged")


def show(figure: Figure, config: JobConfig, name: str, alt: str) -> None:
    """Display `figure` and save it as ``figures/NAME.png`` in the run folder; `alt` describes it in words."""
    show_file(save_figure(figure, config.run_folder / "figures" / f"{name}.png"), alt)


def show_file(path: str | Path, alt: str) -> None:
    """Display a PNG file, fitted to the page and the screen; `alt` describes it in words."""
    # As HTML, because JupyterLab gives no alternative text to a picture displayed as an image.
    picture = picture_html(compact(Path(path).read_bytes()), alt, STYLE)
    display(html_output(picture, alt), raw=True)


def present(view: Showable, config: JobConfig, name: str, alt: str) -> None:
    """Display the widget of `view`, with a still picture for when it isn't alive, which is saved as by `show`.

    Headless runs show only the picture. A widget shown earlier under the same `name` is closed, so that widgets don't
    pile up when a cell runs again.
    """
    file = save_figure(view.figure(), config.run_folder / "figures" / f"{name}.png")
    if headless():
        show_file(file, alt)
    else:
        place(name, view.widget())(file.read_bytes(), alt)


def callbacks(config: TrainConfig) -> list[Callback]:
    """Return the callbacks of a trainer: plain lines if headless, else a progress bar, live curves and a manifest.

    Curves are written to a file in both cases.
    """
    shown: list[Callback] = [ProgressLines()] if headless() else [ManifestWriter(config), LiveCurves()]
    return [*shown, CurveFile()]


async def fit(trainer: Trainer) -> TrainReport:
    """Run ``trainer.fit()`` and return its report.

    In an interactive notebook, widgets respond meanwhile, and an interrupt stops the training after the current step. A
    headless run displays at the end what the monitor would show: curves and filled evaluation records. Raises
    `KeyboardInterrupt` after an interrupt, and what `fit` raises.
    """
    if headless():
        report = trainer.fit()
        show(loss_curves(trainer.files.csv), trainer.config, "loss_curves", "loss terms by epoch")
        for strip in sorted(trainer.files.folder.glob("eval/*.png"))[-1:]:
            show_file(strip, "input, output and target of evaluation records")
        return report
    working = asyncio.ensure_future(asyncio.to_thread(trainer.fit))
    interrupted = False
    while not working.done():
        try:
            # With a timeout, because Python handles signals only when this thread runs.
            await asyncio.wait({working}, timeout=NOTICE_SECONDS)
        except asyncio.CancelledError:  # the kernel turns an interrupt into this
            if not interrupted:
                print("stopping after this step", flush=True)
            interrupted = True
            trainer.stop()
    report = working.result()
    if interrupted:
        raise KeyboardInterrupt("stopped and saved; run this cell again to go on")
    return report


def show_headline(sentence: str, good: bool) -> None:
    """Display the outcome as one sentence of Markdown, in green if it is `good`, otherwise in amber."""
    colour = "#1a7f37" if good else "#9a6700"
    style = (
        f"display:block;border-left:6px solid {colour};padding:.5em 1em;font-size:1.15em;font-weight:600;max-width:60em"
    )
    page = f'<span class="{NO_FORMULAS}" style="{style}">{sentence}</span>'
    display({"text/markdown": page, "text/plain": sentence}, raw=True)


def show_folded(title: str, table: str, config: JobConfig, name: str) -> None:
    """Display Markdown that unfolds when its `title` is clicked; save it as ``NAME.md`` in the run folder."""
    atomic_write_text(config.run_folder / f"{name}.md", table.strip() + "\n")
    opening = f'<details class="{NO_FORMULAS}"><summary><b>{text.html(title)}</b></summary>'
    display(Markdown(f"{opening}\n\n{_keep_arrows(table)}\n\n</details>"))


def show_table(table: str, config: JobConfig, name: str, headline: str = "") -> None:
    """Display Markdown, a table for instance; save it, below its `headline`, as ``NAME.md`` in the run folder."""
    atomic_write_text(config.run_folder / f"{name}.md", f"{headline}\n\n{table}".strip() + "\n")
    # Long tables scroll in a box. Without the empty lines its content wouldn't be read as Markdown.
    box = f'<div class="{NO_FORMULAS}" style="max-height:{HIGHEST};overflow:auto">'
    display(Markdown(f"{box}\n\n{_keep_arrows(table)}\n\n</div>"))


def _keep_arrows(table: str) -> str:
    """Return Markdown in which no line breaks between a column's words and its arrow."""
    return re.sub(" (?=[↑↓])", "&nbsp;", table.strip())


def show_list(figures: Mapping[str, Any]) -> None:
    """Display names and values as a small table."""
    left = 'style="text-align:left"'
    wrapped = 'style="text-align:left;overflow-wrap:anywhere;min-width:6em"'  # a path has no spaces
    cells = "".join(
        f"<tr><th {left if name.isidentifier() else wrapped}>{text.html(_label(name))}</th><td {wrapped}>{_value(FORMATS[name](value) if name in FORMATS else value)}</td></tr>"
        for name, value in figures.items()
    )
    display(html_output(f"<table>{cells}</table>"), raw=True)


def _label(name: str) -> str:
    """Return the label for the name of a figure; the name of a file stays as it is."""
    return WORDS.get(name, name.replace("_", " ") if name.isidentifier() else name)


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Mapping):
        parts = (f"{name} = {part}" for name, part in value.items())
        return text.html(", ".join(parts), text.LONGEST * 2)
    return text.html(f"{value:.4g}" if isinstance(value, float) else value)


def job_progress(description: str) -> Callable[[int, int, str], None]:
    """Return a callback ``(done, total, message)`` that updates a bar, or in headless runs prints a line now and then.

    A `total` of 0 means that it is not known yet.
    """
    if not headless():
        return HtmlProgress(description).update
    pace = Pace()
    begun = False
    clock = TimeLeft()

    def report(done: int, total: int, message: str) -> None:
        nonlocal begun
        share = done / max(total, 1)
        left = clock.left(done, total)
        if pace.due(share) or done == total > 0 or not begun:
            begun = True
            count = f"{done} of {total} " if total else ""
            ending = "" if left is None else f" ({left})"
            print(f"{share:4.0%} {description}: {count}{text.shown(message)}{ending}", flush=True)

    return report


if not headless():
    show_errors_in_one_line()  # from the first cell on, because the next one may be skipped
