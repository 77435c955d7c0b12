"""Training monitor: curves and evaluation pictures of a run folder, while this or another process writes it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import ipywidgets as ipw

from inpaintkit.inspection.figures import Figure, loss_curves, png_bytes
from inpaintkit.inspection.run_state import RunState, describe_run, read_run
from inpaintkit.notebook.widgets import parts
from inpaintkit.training.callbacks import Callback, RunView

FOLLOW_MS = 3000


class TrainingMonitor:
    """How the run in a folder stands. Only reads, so it may watch what any process writes."""

    def __init__(self, model_dir: str | Path) -> None:
        """Take a run folder. Raises `InputError` if it doesn't exist."""
        self.model_dir = Path(model_dir)
        self.state()

    def state(self) -> RunState:
        """Return how the run stands now."""
        return read_run(self.model_dir)

    def figure(self) -> Figure:
        """Return the loss curves; raise `InputError` before the first row."""
        return loss_curves(self.state().csv_file or self.model_dir / "loss.csv")

    def widget(self) -> ipw.Widget:
        """Return the curves above evaluation pictures, with a play button that keeps them fresh."""
        return _Watching(self).box


class _Watching:
    """The wiring. What is on the page is only made anew where the run's files have changed."""

    def __init__(self, monitor: TrainingMonitor) -> None:
        self.monitor, self.drawn, self.shown = monitor, (-1.0, 0), Path()
        self.state = RunState(None)
        self.status, self.curves, self.strip = ipw.HTML(), parts.pane(), parts.pane()
        running = monitor.state().status in ("", "running")
        self.follow = ipw.Play(interval=FOLLOW_MS, repeat=True, playing=running, show_repeat=False, tooltip="follow")
        self.epoch = parts.labelled(ipw.Dropdown, "epoch", "evaluated after this epoch", options=["-"])
        self.batch = parts.labelled(ipw.IntSlider, "batch", "evaluation batch that was kept", value=0, max=1)
        self.follow.observe(lambda change: self.refresh(), names="value")
        self._picked = lambda change: self._show_strip()
        for control in (self.epoch, self.batch):
            control.observe(self._picked, names="value")
        heading = parts.row([self.follow, parts.button("refresh", "look again now", self.refresh), self.status])
        self.pictures = parts.titled("input with hole · output · target", self.strip, share=2)
        columns = parts.panes([parts.titled("curves by epoch", self.curves, share=3), self.pictures])
        self.box = ipw.VBox([heading, parts.row([self.epoch, self.batch]), columns])
        self.refresh()

    def refresh(self) -> None:
        """Look at the run folder again."""
        parts.guarded(self._refresh, self.status)(None)

    def _refresh(self) -> None:
        self.state = state = self.monitor.state()
        self.status.value = parts.line(describe_run(state))
        version = (state.written or -1.0, len(state.rows))
        if state.csv_file and version != self.drawn:
            parts.show(self.curves, png_bytes(self.monitor.figure()), f"loss curves, {describe_run(state)}")
            self.drawn = version
        self.pictures.layout.display = "" if state.strips else "none"
        epochs = tuple(state.strips) or ("-",)
        if epochs != tuple(self.epoch.options):
            follows = self.epoch.value in ("-", self.epoch.options[-1])
            chosen = epochs[-1] if follows or self.epoch.value not in epochs else self.epoch.value
            self.epoch.unobserve(self._picked, names="value")  # this one only: others keep list and value in step
            self.epoch.options = epochs
            self.epoch.value = chosen
            self.epoch.observe(self._picked, names="value")
        self._show_strip()

    def _show_strip(self) -> None:
        kept = self.state.strips.get(self.epoch.value, ())
        if not kept:
            return
        self.batch.max = max(len(kept) - 1, 0)
        path = kept[min(self.batch.value, len(kept) - 1)]
        if path != self.shown:
            parts.show(
                self.strip, path.read_bytes(), f"evaluation after epoch {self.epoch.value}: input, output, target"
            )
            self.shown = path


class LiveCurves(Callback):
    """Shows the monitor of a run while the cell that trains is still running."""

    def __init__(self, place: Callable[[ipw.Widget], None]) -> None:
        """Take what puts a widget onto the page."""
        self._place = place

    def on_start(self, run: RunView) -> None:
        self._watching = _Watching(TrainingMonitor(run.folder))
        self._place(self._watching.box)

    def on_row(self, run: RunView, row: Mapping[str, float | int | str]) -> None:
        self._watching.refresh()

    def on_end(self, run: RunView) -> None:
        self._watching.follow.playing = False
        self._watching.refresh()
