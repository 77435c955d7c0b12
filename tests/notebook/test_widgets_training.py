"""The training monitor: what it shows of a run that is being written."""

from __future__ import annotations

import json
import os
from datetime import datetime
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image
from widget_tools import alts, caption, control, kept_after, pictures
from widget_tools import parts as every_part

from inpaintkit.errors import InputError
from inpaintkit.files import atomic_write_text
from inpaintkit.inspection.run_state import describe_run, read_run
from inpaintkit.notebook import TrainingMonitor
from inpaintkit.notebook.widgets import LiveCurves, close_all, progress, still, training_monitor
from inpaintkit.notebook.widgets.parts import Pane
from inpaintkit.training.stopping import StopRequest

ROWS = ["0,eval,0.5,11.0", "1,train,0.4,", "1,eval,0.3,14.5", "2,train,0.35,", "2,eval,0.31,14.0"]
"""The second evaluation has a higher loss than the first."""


def write_epoch(folder: Path, epoch: int) -> None:
    """Write the files that a trainer writes after `epoch`."""
    rows = [row for row in ROWS if int(row[0]) <= epoch]
    atomic_write_text(folder / "loss_toy.csv", "\n".join(["epoch,split,total,hole_psnr", *rows]) + "\n")
    os.utime(folder / "loss_toy.csv", (1000 + epoch, 1000 + epoch))
    (folder / "eval").mkdir(exist_ok=True)
    for batch in (0, 20):
        strip = np.full((8, 24, 3), 50 * epoch + batch, np.uint8)
        Image.fromarray(strip).save(folder / "eval" / f"epoch{epoch:04}_batch{batch:04}.png")


@pytest.fixture
def run(tmp_path: Path) -> Path:
    manifest = {"status": "running", "params": {"max_epoch": 9}}
    (tmp_path / "manifest.json").write_text(json.dumps(manifest))
    write_epoch(tmp_path, 0)
    return tmp_path


def test_a_run_is_described_in_a_line(run: Path) -> None:
    write_epoch(run, 2)
    updated = datetime.fromtimestamp(1002).strftime("updated %Y-%m-%d %H:%M:%S")
    assert describe_run(read_run(run)) == (
        f"epoch 2 of 9 · evaluation loss 0.31 (least 0.3, epoch 1) · PSNR in holes 14 dB · running · {updated}"
    )


def test_a_run_stopped_within_an_epoch_names_it_and_the_epoch_of_the_saved_model(run: Path) -> None:
    write_epoch(run, 1)
    file = run / "loss_toy.csv"
    atomic_write_text(file, file.read_text() + "2,eval,0.2,15.0\n")
    said = describe_run(read_run(run))
    assert said.startswith("within epoch 2 of 9 · evaluation loss 0.2 (least 0.3, epoch 1) · PSNR in holes 15 dB")


@pytest.mark.parametrize(
    ("params", "last"),
    [
        ({"max_epoch": 200}, 199),
        ({"max_epoch": 13, "learning_rate_cycles": 5}, 12),
        ({"max_epoch": 13, "learning_rate_cycles": 5, "discriminator": "l3c"}, 13),  # GAN runs keep their rate
        ({"max_epoch": 12, "optimizer": "adamw_schedulefree"}, 12),
        ({"max_epoch": 12, "scheduler": "of an older version"}, None),
    ],
)
def test_it_names_the_epoch_that_the_run_ends_with(params: dict[str, object], last: int | None, run: Path) -> None:
    (run / "manifest.json").write_text(json.dumps({"status": "running", "params": params}))
    assert read_run(run).last_epoch == last


def test_the_status_of_an_earlier_call_is_not_shown_for_a_resumed_run(run: Path) -> None:
    (run / "manifest.json").write_text(json.dumps({"status": "interrupted", "params": {"max_epoch": 1}}))
    os.utime(run / "manifest.json", (1001, 1001))
    write_epoch(run, 1)
    assert describe_run(read_run(run)).endswith(
        "epoch 1 of 1 · evaluation loss 0.3 (least 0.3, epoch 1) · PSNR in holes 14.5 dB · interrupted"
    )
    write_epoch(run, 2)
    assert describe_run(read_run(run)).startswith("epoch 2 · evaluation")
    updated = datetime.fromtimestamp(1002).strftime("updated %Y-%m-%d %H:%M:%S")
    assert describe_run(read_run(run)).endswith(f"dB · {updated}")
    assert control(TrainingMonitor(run).widget(), "follow").value


@pytest.mark.parametrize("row", ["2,train,0.x5,", "2,eval,0.3,14,9", "x", "\ufffd,eval,0.3,14.5"])
def test_damaged_rows_are_left_out(row: str, run: Path) -> None:
    write_epoch(run, 1)
    whole, file = read_run(run), run / "loss_toy.csv"
    atomic_write_text(file, file.read_text() + row + "\n")
    os.utime(file, (1001, 1001))
    assert read_run(run) == whole
    assert len(pictures(TrainingMonitor(run).widget())) == 2


def test_before_the_first_row_it_says_so(tmp_path: Path) -> None:
    box = TrainingMonitor(tmp_path).widget()
    assert "no epoch yet" in caption(box)
    assert [part.title for part in every_part(box) if isinstance(part, Pane) and not part.layout.display] == []
    with pytest.raises(InputError, match="does not exist"):
        TrainingMonitor(tmp_path / "nowhere")


def test_strips_come_by_epoch_in_order_of_their_batches(run: Path) -> None:
    write_epoch(run, 1)
    (run / "eval" / ".epoch0002_batch0000.png.7.tmp").write_bytes(b"half")
    strips = read_run(run).strips
    assert list(strips) == [0, 1]
    assert [path.name for path in strips[1]] == ["epoch0001_batch0000.png", "epoch0001_batch0020.png"]


def test_it_follows_a_run_that_another_process_writes(run: Path) -> None:
    box = TrainingMonitor(run).widget()
    before = pictures(box)
    clock = next(part for part in every_part(box) if hasattr(part, "playing"))
    assert clock.playing, "looks again by the browser's clock as long as the run goes on"
    write_epoch(run, 1)
    clock.value += 1
    assert all(new != old for new, old in zip(pictures(box), before, strict=True))
    assert "epoch 1 of 9" in caption(box)
    assert "after epoch 1" in alts(box)[1]
    close_all(box)


def test_nothing_is_redrawn_while_nothing_changes(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    box = TrainingMonitor(run).widget()
    drawn: list[int] = []
    original = training_monitor.loss_curves
    monkeypatch.setattr(training_monitor, "loss_curves", lambda file: drawn.append(1) or original(file))
    for _ in range(3):
        control(box, "look again").click()
    assert not drawn
    write_epoch(run, 1)
    control(box, "look again").click()
    assert len(drawn) == 1
    close_all(box)


def test_a_chosen_older_epoch_stays_chosen(run: Path) -> None:
    write_epoch(run, 1)
    box = TrainingMonitor(run).widget()
    assert control(box, "later epoch").disabled
    control(box, "earlier epoch").click()
    control(box, "other records").click()
    shown = pictures(box)[1]
    assert "after epoch 0" in alts(box)[1]
    assert "after epoch 0, pictures 2 of 2" in caption(box)
    write_epoch(run, 2)
    control(box, "look again").click()
    assert pictures(box)[1] == shown
    control(box, "earlier epoch").click()  # a click that comes before the button is disabled
    assert "after epoch 0" in alts(box)[1]
    for _ in range(3):
        control(box, "later epoch").click()
    assert "after epoch 2" in alts(box)[1]
    close_all(box)


def test_a_half_written_manifest_does_not_matter(run: Path) -> None:
    (run / "manifest.json").write_text('{"status": ')
    assert "epoch 0 · " in caption(TrainingMonitor(run).widget())


def test_refreshing_and_closing_leave_nothing(run: Path) -> None:
    monitor = TrainingMonitor(run)

    def make() -> object:
        box = monitor.widget()
        control(box, "look again").click()
        return box

    close_all(make())
    assert kept_after(make, 2) == (0, 0)


class Outputs:
    """Collects a cell's output as a front end would receive it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.bundles: list[dict[str, object]] = []
        monkeypatch.setattr(still, "display", self.display)
        monkeypatch.setattr(progress, "display", self.display)

    def display(self, bundle: dict[str, object], **options: object) -> Outputs:
        self.bundles.append(bundle)
        return self

    update = display


def test_live_curves_show_a_bar_leave_a_still_picture_and_stop_the_run(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = Outputs(monkeypatch)
    view = SimpleNamespace(folder=run, csv_file=run / "loss_toy.csv", total_steps=40, steps_done=10, stop=StopRequest())
    live = LiveCurves()
    live.on_start(view)
    assert "10 of 40 steps" in str(shown.bundles[1]["text/html"])
    box = still._shown["live curves"].children[1]
    control(box, "stop and save").click()
    assert view.stop.asked
    assert control(box, "stopping after this step …").disabled
    write_epoch(run, 1)
    live.on_row(view, {})
    live.on_end(view)
    assert "epoch 1 of 9" in str(shown.bundles[-1]["text/plain"])
    assert "<img" in str(shown.bundles[-1]["text/html"])
    close_all(still._shown.pop("live curves"))
