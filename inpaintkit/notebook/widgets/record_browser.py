"""Record browser: leaf through a data set, mark what is bad, delete the marked records as pairs."""

from __future__ import annotations

from pathlib import Path

import ipywidgets as ipw
import numpy as np
from numpy.typing import NDArray

from inpaintkit.data.packed import read_record
from inpaintkit.data.review import RecordFiles, delete_records, list_records, read_marks, set_mark
from inpaintkit.inspection.figures import Figure, contact_sheet
from inpaintkit.notebook.widgets import parts

SHOWN_SIDE = 512
HOLE_COLOUR = (255, 0, 255)
SPLIT_CHOICES = {"train and eval": "", "train": "train/", "eval": "eval/"}

Pixels = NDArray[np.uint8]


class RecordBrowser:
    """The records of a data set folder, those that a filter lets through, and where one is among them."""

    def __init__(self, folder: str | Path) -> None:
        """List the records. Raises `InputError` if there are none."""
        self.folder = Path(folder)
        self.records = list_records(folder)

    def chosen(
        self, low: float = 0.0, high: float = 100.0, start: str = "", marked_only: bool = False
    ) -> list[RecordFiles]:
        """Return the records whose hole takes `low`..`high` percent of the crop and whose name begins with `start`."""
        marks = read_marks(self.folder)
        return [
            record
            for record in self.records
            if low <= 100 * record.hole_fraction <= high
            and record.name.startswith(start)
            and (record.name in marks or not marked_only)
        ]

    def mark(self, record: RecordFiles, bad: bool) -> None:
        """Mark a record as bad, or take the mark away; it stays marked until then, over restarts."""
        set_mark(self.folder, record.name, bad)

    def delete_marked(self) -> int:
        """Delete both files of every marked record and return how many there were. Raises `InputError` during generation."""
        count = delete_records(self.folder, read_marks(self.folder))
        self.records = list_records(self.folder)
        return count

    def figure(self) -> Figure:
        """Return a contact sheet of some records of ``train/``, or of ``eval/`` where there is nothing else."""
        train = self.folder / "train"
        return contact_sheet(train if any(train.glob("*_M.png")) else self.folder / "eval")

    def widget(self) -> ipw.Widget:
        """Return filters and buttons beside the record with and without its hole."""
        return _Browsing(self).box


def record_pictures(record: RecordFiles) -> tuple[Pixels, Pixels]:
    """Return the record's picture and the same with its hole in magenta, uint8 (S, S, 3), enlarged to `SHOWN_SIDE`."""
    pixels = read_record(record.picture, record.hole)
    picture = pixels[:3].transpose(1, 2, 0)
    overlay = np.where(pixels[3][..., None] > 0, np.array(HOLE_COLOUR, np.uint8), picture)
    return _enlarged(picture), _enlarged(overlay)


def _enlarged(pixels: Pixels) -> Pixels:
    times = max(1, SHOWN_SIDE // pixels.shape[1])
    return pixels.repeat(times, axis=0).repeat(times, axis=1)


class _Browsing:
    """The wiring: which record is shown and what the buttons do. Kept alive by its own box only."""

    def __init__(self, browser: RecordBrowser) -> None:
        self.browser, self.caption = browser, ipw.HTML()
        largest = max(100 * record.hole_fraction for record in browser.records)
        end = float(np.ceil(largest * 10) / 10)
        self.sizes = parts.labelled(
            ipw.FloatRangeSlider, "hole %", "share of the crop", value=(0, end), min=0, max=end, step=0.1
        )
        self.split = parts.labelled(ipw.Dropdown, "records", "which half of the data set", options=SPLIT_CHOICES)
        self.marked_only = ipw.Checkbox(description="marked ones only", indent=False)
        self.place = parts.labelled(ipw.IntSlider, "number", "place among the records shown", value=1, min=1, max=1)
        self.bad = ipw.ToggleButton(description="mark as bad", tooltip="remembered in marked_bad.txt")
        self.delete = parts.button("delete marked", "both files of each marked record", self._ask)
        self.really = parts.button("yes, delete them", "cannot be undone", self._delete)
        self.keep = parts.button("no", "delete nothing", self._calm)
        self.really.button_style = "danger"
        self.picture, self.overlay = parts.pane(), parts.pane()
        self.found: list[RecordFiles] = []
        for control in (self.sizes, self.split, self.marked_only):
            control.observe(lambda change: self._filter(), names="value")
        self.place.observe(lambda change: self._show(), names="value")
        self.bad.observe(lambda change: self._mark(), names="value")
        self.box = self._arranged()
        self._calm()
        self._filter()

    def _arranged(self) -> ipw.Widget:
        steps = [
            parts.button("previous", "previous record", lambda: self._step(-1)),
            parts.button("next", "next record", lambda: self._step(1)),
        ]
        columns = [
            parts.titled("hole in magenta", self.overlay),
            parts.titled("picture, the truth under it", self.picture),
        ]
        return ipw.VBox(
            [
                parts.row([self.sizes, self.split, self.marked_only]),
                parts.row([self.place, *steps, self.bad, self.delete, self.really, self.keep]),
                parts.panes(columns),
                self.caption,
            ]
        )

    @property
    def record(self) -> RecordFiles | None:
        return self.found[self.place.value - 1] if self.found else None

    def _filter(self) -> None:
        low, high = self.sizes.value
        self.found = self.browser.chosen(low, high, self.split.value, self.marked_only.value)
        self.place.max = max(1, len(self.found))
        self._show()

    def _step(self, step: int) -> None:
        self.place.value = min(max(self.place.value + step, 1), self.place.max)

    def _show(self) -> None:
        parts.guarded(self._show_record, self.caption)(None)

    def _show_record(self) -> None:
        record = self.record
        self.bad.disabled = record is None
        if record is None:
            self.caption.value = parts.line("no record is like that; widen the filter")
            for place in (self.picture, self.overlay):
                place.value = ""
            return
        picture, overlay = record_pictures(record)
        parts.show(self.picture, parts.encoded([picture]), f"picture of record {record.name}")
        parts.show(self.overlay, parts.encoded([overlay]), f"record {record.name}, hole in magenta")
        marks = read_marks(self.browser.folder)
        self.bad.value = record.name in marks
        self._count(len(marks))

    def _count(self, marks: int) -> None:
        record = self.record
        if record is not None:
            self.caption.value = parts.line(
                f"{record.name} · hole {record.hole_fraction:.1%} · {self.place.value} of {len(self.found)} shown, "
                f"{len(self.browser.records)} records in all, {marks} marked as bad"
            )
        self.delete.disabled = marks == 0

    def _mark(self) -> None:
        record = self.record
        if record is not None and self.bad.value != (record.name in read_marks(self.browser.folder)):
            self.browser.mark(record, self.bad.value)
            self._count(len(read_marks(self.browser.folder)))

    def _ask(self) -> None:
        self.delete.layout.display = "none"
        self.really.description = f"yes, delete {len(read_marks(self.browser.folder))} pairs"
        self.really.layout.display = self.keep.layout.display = ""

    def _calm(self) -> None:
        self.delete.layout.display = ""
        self.really.layout.display = self.keep.layout.display = "none"

    def _delete(self) -> None:
        self._calm()
        parts.guarded(self._delete_and_show, self.caption)(None)

    def _delete_and_show(self) -> None:
        self.browser.delete_marked()
        self._filter()
