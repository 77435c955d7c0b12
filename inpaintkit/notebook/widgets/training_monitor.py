"""Training monitor: curves and evaluation pictures of a run folder, while this or another process writes to it."""

import threading
from collections.abc import Mapping
from pathlib import Path

import ipywidgets as ipw

from inpaintkit import text
from inpaintkit.errors import LONGEST_MESSAGE
from inpaintkit.inspection.figures import loss_curves, png_bytes
from inpaintkit.inspection.run_state import RunState, describe_run, read_run
from inpaintkit.notebook.widgets import parts
from inpaintkit.notebook.widgets.progress import HtmlProgress
from inpaintkit.notebook.widgets.still import place
from inpaintkit.training.callbacks import Callback, RunView, StepInfo, shown_loss

FOLLOW_MS = 3000


class TrainingMonitor:
    """The state of the run in a folder. It only reads, so it can watch the run of any process."""

    def __init__(self, model_dir: str | Path) -> None:
        """Take a run folder. Raises `InputError` if it doesn't exist."""
        self.model_dir = Path(model_dir)
        read_run(self.model_dir)

    def widget(self) -> ipw.Widget:
        """Return the widget: curves and evaluation pictures, updated every few seconds if the run goes on."""
        watching = _MonitorPanel(self.model_dir)
        watching.arrange(watching.follower())
        return watching


class _MonitorPanel(parts.Panel):
    """The widget of a `TrainingMonitor`. It is redrawn only where the run's files have changed.

    All controls are buttons: while a cell runs, any other control reacts once and then waits for the end of the cell.
    """

    def __init__(self, model_dir: Path) -> None:
        super().__init__()
        self.model_dir = model_dir
        self.state = RunState(None)
        self.version: tuple[float, int] = (-1.0, 0)
        self.png = b""
        self.shown = Path()
        self.epoch: int | None = None  # None: the latest one
        self.batch = 0
        self._lock = threading.RLock()  # rows come from the training thread, clicks from the page
        self.curves = parts.Pane("curves by epoch")
        self.strip = parts.Pane("input with hole · output · target")
        self.place = ipw.HTML()
        button = self.button
        self.earlier = button("earlier epoch", "pictures of the evaluation before", lambda: self._turn(-1))
        self.later = button("later epoch", "pictures of the evaluation after", lambda: self._turn(1))
        self.others = button("other records", "the next pictures of this evaluation", self._next_batch)
        self.pictures = ipw.VBox([parts.box("row", [self.earlier, self.later, self.others, self.place]), self.strip])

    def arrange(self, *heading: ipw.Widget) -> None:
        """Put `heading` above curves and pictures, and read the run folder for the first time."""
        super().arrange(
            parts.box("row", [*heading, self.caption]),
            parts.box("sides", [parts.box("panes", [self.curves]), self.pictures]),
        )
        self.answer(self.refresh)

    def follower(self) -> ipw.Widget:
        """Return a button that updates by the browser's clock, on if the run goes on, and one that updates once."""
        going = read_run(self.model_dir).status in ("", "running")
        hint = f"look again every {FOLLOW_MS // 1000} s"
        width = ipw.Layout(width="auto")
        follow = ipw.ToggleButton(value=going, description="follow", tooltip=hint, layout=width)
        clock = ipw.Play(interval=FOLLOW_MS, repeat=True, playing=going, layout=ipw.Layout(display="none"))
        follow.observe(lambda change: setattr(clock, "playing", change["new"]), names="value")
        self.on_change([clock], self.refresh)
        return parts.box("row", [follow, self.button("look again", "read the run's folder now", self.refresh), clock])

    def refresh(self) -> None:
        """Read the run folder again and show what has changed."""
        with self._lock:
            self.state = state = read_run(self.model_dir)
            self.say(describe_run(state))
            version = (state.written or -1.0, len(state.rows))
            if state.csv_file and version != self.version:
                self.png = png_bytes(loss_curves(state.csv_file))
                self.version = version
                self.curves.show_file(self.png, f"loss curves, {describe_run(state)}")
            self._show_strip()

    def _turn(self, step: int) -> None:
        with self._lock:
            epochs = list(self.state.strips)
            place = max(epochs.index(self._chosen()) + step, 0)  # a second click may come before the button is disabled
            self.epoch = None if place >= len(epochs) - 1 else epochs[place]
            self._show_strip()

    def _next_batch(self) -> None:
        with self._lock:
            self.batch += 1
            self._show_strip()

    def _chosen(self) -> int:
        """Return the epoch whose pictures are shown: the chosen one if it has any, else the latest."""
        return self.epoch if self.epoch is not None and self.epoch in self.state.strips else max(self.state.strips)

    def _show_strip(self) -> None:
        self.pictures.layout.display = "" if self.state.strips else "none"
        if not self.state.strips:
            return
        epoch = self._chosen()
        epochs = list(self.state.strips)
        kept = self.state.strips[epoch]
        number = self.batch % len(kept)
        self.earlier.disabled, self.later.disabled = epoch == epochs[0], epoch == epochs[-1]
        self.others.disabled = len(kept) == 1
        self.place.value = f"after epoch {epoch}, pictures {number + 1} of {len(kept)}"
        if kept[number] != self.shown:
            self.shown = kept[number]
            self.strip.show_file(self.shown.read_bytes(), f"evaluation after epoch {epoch}: input, output, target")


class LiveCurves(Callback):
    """Callback that shows the monitor of a run, a progress bar and a stop button while the training cell runs."""

    def on_start(self, run: RunView) -> None:
        self._bar = HtmlProgress("training", "steps")
        self._bar.update(run.steps_done, run.total_steps)
        self._watching = _MonitorPanel(run.folder)
        self._watching.arrange(*self._stop_button(run))
        self._leave = place("live curves", self._watching)
        self._leave_still()

    def on_step(self, run: RunView, info: StepInfo) -> None:
        message = f"epoch {info.epoch}, loss {shown_loss(info)}"
        self._bar.update(run.steps_done, run.total_steps, message)

    def on_row(self, run: RunView, row: Mapping[str, float | int | str]) -> None:
        self._bar.update(run.steps_done, run.total_steps)  # with several processes only rows arrive, no steps
        self._watching.answer(self._watching.refresh)
        self._leave_still()

    def on_message(self, run: RunView, message: str) -> None:
        print(text.shown(message, LONGEST_MESSAGE), flush=True)

    def on_end(self, run: RunView) -> None:
        self._stop.layout.display = "none"
        self._watching.answer(self._watching.refresh)
        self._leave_still()

    def _leave_still(self) -> None:
        if self._watching.png:
            self._leave(self._watching.png, f"loss curves, {describe_run(self._watching.state)}")

    def _stop_button(self, run: RunView) -> list[ipw.Widget]:
        def stop() -> None:
            self._stop.disabled, self._stop.description = True, "stopping after this step …"
            run.stop.asked = True

        tooltip = "stops after this step and saves everything; run the cell again to continue"
        self._stop = self._watching.button("stop and save", tooltip, stop, button_style="warning")
        return [self._stop]
