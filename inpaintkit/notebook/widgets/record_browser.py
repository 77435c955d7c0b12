"""Record browser: leaf through a data set, mark bad records, move them away as pairs, and bring them back."""

from functools import lru_cache
from pathlib import Path

import cv2
import ipywidgets as ipw
import numpy as np

from inpaintkit.data.packed import read_record
from inpaintkit.data.review import (
    RecordFiles,
    delete_records,
    deleted_records,
    list_records,
    read_marks,
    restore_records,
    set_marks,
)
from inpaintkit.errors import InputError
from inpaintkit.hole_colour import HOLE_COLOUR
from inpaintkit.inspection.figures import Figure, contact_sheet
from inpaintkit.inspection.pictures import Pixels
from inpaintkit.notebook.widgets import parts
from inpaintkit.notebook.widgets.parts import labelled
from inpaintkit.notebook.widgets.thumbnails import Thumbnails

PAGE = 24
SHOWN_SIDE, THUMBNAIL_SIDE = 512, 144
KEPT_THUMBNAILS = 1000
SPLIT_CHOICES = {"train and eval": "", "train": "train/", "eval": "eval/"}
KEYS = (
    "<kbd>←</kbd> <kbd>→</kbd> <kbd>↑</kbd> <kbd>↓</kbd> leaf, <kbd>x</kbd> marks and goes on, "
    "<kbd>Delete</kbd> deletes marked records, <kbd>u</kbd> brings them back. Click on a picture first."
)


class RecordBrowser:
    """The records of a data set folder: filtered, marked as bad, deleted and brought back."""

    def __init__(self, folder: str | Path) -> None:
        """List the records. Raises `InputError` if there are none."""
        self.folder = Path(folder)
        self.records = list_records(folder)
        self.thumbnail = lru_cache(KEPT_THUMBNAILS)(_thumbnail)
        self._last_deleted: set[str] = set()

    def chosen(
        self, low: float = 0.0, high: float = 100.0, start: str = "", marked_only: bool = False
    ) -> list[RecordFiles]:
        """Return the records whose hole covers `low`..`high` percent of the crop and whose name begins with `start`."""
        marks = read_marks(self.folder)
        return [
            record
            for record in self.records
            if low <= round(100 * record.hole_fraction, 6) <= high  # 0.55 is 55.00000000000001 %
            and record.name.startswith(start)
            and (record.name in marks or not marked_only)
        ]

    def largest(self) -> float:
        """Return the share of the crop that the largest hole covers, in percent, rounded up to a tenth."""
        return float(np.ceil(max(1000 * record.hole_fraction for record in self.records)) / 10)

    def mark(self, record: RecordFiles, bad: bool) -> None:
        """Mark a record as bad, or remove the mark; marks are kept over restarts."""
        set_marks(self.folder, [record.name], bad)

    def delete_marked(self) -> None:
        """Move both files of every marked record to ``deleted/``. Raises `InputError` during generation."""
        marks = read_marks(self.folder)
        delete_records(self.folder, marks)
        self._last_deleted = marks
        self.records = [record for record in self.records if record.name not in marks]

    def restorable(self) -> set[str]:
        """Return the names of the records that `undo` brings back: those deleted last here, or without any, all."""
        there = deleted_records(self.folder)
        return there & self._last_deleted or there

    def undo(self) -> None:
        """Bring deleted records back, marked as before. Raises `InputError` during generation."""
        names = self.restorable()
        restore_records(self.folder, names)
        self._last_deleted = set()
        self.records = list_records(self.folder)
        set_marks(self.folder, names, True)

    def figure(self) -> Figure:
        """Return a contact sheet of some records of ``train/``, or of ``eval/`` if ``train/`` is empty."""
        train = [record for record in self.records if record.name.startswith("train/")]
        return contact_sheet([(record.picture, record.hole) for record in train or self.records])

    def widget(self) -> ipw.Widget:
        """Return the widget: filters and buttons above a page of thumbnails and the chosen record."""
        return _BrowserPanel(self)


def record_pictures(record: RecordFiles) -> tuple[Pixels, Pixels]:
    """Return the picture without and with its hole in magenta, uint8 (H, W, 3), enlarged within `SHOWN_SIDE`."""
    pixels = read_record(record.picture, record.hole)
    picture = np.ascontiguousarray(pixels[:3].transpose(1, 2, 0))
    overlay = np.where(pixels[3][..., None] > 0, np.array(HOLE_COLOUR, np.uint8), picture)
    return parts.enlarged_within(picture, SHOWN_SIDE), parts.enlarged_within(overlay, SHOWN_SIDE)


def _thumbnail(record: RecordFiles) -> bytes:
    try:
        overlay = record_pictures(record)[1]
    except (InputError, OSError):  # reported when it is chosen; here the others must be shown
        overlay = np.full((THUMBNAIL_SIDE, THUMBNAIL_SIDE, 3), 128, np.uint8)
    small = cv2.resize(overlay, (THUMBNAIL_SIDE, THUMBNAIL_SIDE), interpolation=cv2.INTER_AREA)
    return parts.encoded([np.asarray(small, np.uint8)])


class _BrowserPanel(parts.Panel):
    """The widget of a `RecordBrowser`: which page is shown, which record is chosen, and what keys and buttons do."""

    def __init__(self, browser: RecordBrowser) -> None:
        super().__init__()
        self.browser = browser
        self.grid = Thumbnails()
        self.found: list[RecordFiles] = []
        self.marks: set[str] = set()
        self._settling = False  # page and cursor are being set by code, not by the user
        end = browser.largest()
        share, half = "share of the crop that is hole", "which half of the data set"
        self.sizes = labelled(ipw.FloatRangeSlider, "hole %", share, value=(0, end), min=0, max=end, step=0.1)
        self.sizes.readout_format = ".1f"
        self.split = labelled(ipw.Dropdown, "records", half, options=SPLIT_CHOICES)
        self.marked_only = parts.checkbox("marked ones only")
        self.page = labelled(ipw.IntSlider, "page", f"{PAGE} records each", value=1, min=1, max=1)
        self.picture, self.overlay = parts.Pane("record"), parts.Pane("hole in magenta")
        self._make_buttons()
        self.on_change([self.sizes, self.split, self.marked_only], self._filter)
        for control, name, action in ((self.page, "value", self._show_page), (self.grid, "cursor", self._show_record)):
            control.observe(lambda change, act=action: None if self._settling else self.answer(act), names=name)
        self.grid.on_ask(self._on_request)
        keys = ipw.HTML(f'<span class="inpaintkit-note inpaintkit-keys">{KEYS}</span>')
        self.arrange(
            parts.box("controls", [self.sizes, self.split, self.page]),
            parts.box(
                "row", [self.bad, self.delete, self.really, self.keep, self.restore, self.marked_only, self.everything]
            ),
            parts.box(
                "sides", [ipw.VBox([self.grid, self.caption, keys]), parts.box("panes", [self.picture, self.overlay])]
            ),
        )
        self.answer(self._filter)

    def _make_buttons(self) -> None:
        button = self.button
        self.bad = button("mark as bad", "saved in marked_bad.txt; click again to remove the mark (x)", self._mark)
        self.delete = button("delete marked", "asks first (Delete)", self._ask)
        self.really = button("yes", "into the folder deleted/ of the data set", self._delete, button_style="danger")
        self.keep = button("no", "delete nothing", lambda: self._ask(False))
        self.restore = button("undo", "bring deleted records back (u)", self._undo)
        self.everything = button("show all records", "no filter", self._widen)
        self._ask(False)

    def _on_request(self, kind: str, by: int) -> None:
        acts = {"mark": self._mark, "delete": self._ask, "undo": self._undo, "page": lambda: self._turn(by)}
        if kind in acts and (kind != "delete" or self.marks):
            self.answer(acts[kind])

    @property
    def record(self) -> RecordFiles | None:
        """The chosen record; None if there is none."""
        place = (self.page.value - 1) * PAGE + self.grid.cursor
        return self.found[place] if place < len(self.found) else None

    def _filter(self, place: int = 0) -> None:
        """Apply the filters; show the chosen record if it passes them, else the one at `place`."""
        chosen = self.record
        low, high = self.sizes.value
        self.found = self.browser.chosen(low, high, self.split.value, self.marked_only.value)
        self._go_to(self.found.index(chosen) if chosen in self.found else place)

    def _go_to(self, place: int) -> None:
        """Show the page with the record at `place` of those found, or with the nearest one there is, and choose it."""
        self._settling = True
        place = max(0, min(place, len(self.found) - 1))
        self.page.max = max(1, -(-len(self.found) // PAGE))
        self.page.value = place // PAGE + 1
        self.page.layout.display = "" if self.page.max > 1 else "none"
        self._show_page(place % PAGE)

    def _turn(self, by: int) -> None:
        place = (self.page.value - 1 + by) * PAGE
        if 0 <= place < len(self.found):
            self._go_to(place + (PAGE - 1 if by < 0 else 0))

    def _show_page(self, cursor: int = 0) -> None:
        start = (self.page.value - 1) * PAGE
        shown = self.found[start : start + PAGE]
        self.marks = read_marks(self.browser.folder)
        marked = [place for place, record in enumerate(shown) if record.name in self.marks]
        tiles = [(record.name, self.browser.thumbnail(record)) for record in shown]
        self._settling = True
        self.grid.fill(tiles, marked, cursor)
        self._settling = False
        self._show_record()

    def _show_record(self) -> None:
        record = self.record
        marks = len(self.marks)
        back = len(self.browser.restorable())
        self.bad.disabled = record is None
        self.delete.disabled = not marks
        self.delete.description = f"delete {marks} marked" if marks else "delete marked"
        self.restore.description = f"undo: bring back {back}"
        self.restore.layout.display = "" if back else "none"
        self.everything.layout.display = "" if len(self.found) < len(self.browser.records) else "none"
        counts = f"{len(self.found)} of {len(self.browser.records)} records shown, {marks} marked as bad"
        self.bad.description = "not bad after all" if record and record.name in self.marks else "mark as bad"
        if record is None:
            self.picture.clear()
            self.overlay.clear()
            self.say("No record matches. Press “show all records”.", counts)
            return
        picture, overlay = record_pictures(record)
        self.picture.show([picture], f"picture of record {record.name}")
        self.overlay.show([overlay], f"record {record.name}, hole in magenta")
        self.say(f"{record.name} · hole {record.hole_fraction:.1%}", counts)

    def _mark(self) -> None:
        """Mark the chosen record, or remove its mark, and go on to the next one."""
        record = self.record
        if record is None:
            return
        self.browser.mark(record, record.name not in self.marks)
        place = self.found.index(record)
        if self.marked_only.value:
            self._filter(place)
        else:
            self._go_to(place + 1)

    def _widen(self) -> None:
        self.sizes.value = (0, self.sizes.max)
        self.split.value = ""
        self.marked_only.value = False
        self._filter()

    def _ask(self, asking: bool = True) -> None:
        """Ask whether to delete, or stop asking."""
        self.delete.layout.display = "none" if asking else ""
        self.really.layout.display = self.keep.layout.display = "" if asking else "none"
        self.really.description = f"yes, delete {len(self.marks)}"

    def _delete(self) -> None:
        self._ask(False)
        place = (self.page.value - 1) * PAGE
        self.browser.delete_marked()
        self._filter(place)

    def _undo(self) -> None:
        if self.browser.restorable():
            self.browser.undo()
            low, high = self.sizes.value
            end = self.sizes.max
            self.sizes.max = max(end, self.browser.largest())
            self.sizes.value = (low, self.sizes.max if high == end else high)
            self._filter()
