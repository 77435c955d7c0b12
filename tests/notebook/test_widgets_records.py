"""The record browser: filter, turn pages, mark, delete."""

import io
from pathlib import Path

import ipywidgets as ipw
import numpy as np
import pytest
from PIL import Image
from toy_files import write_record
from widget_tools import alts, caption, control, kept_after, parts, pictures

from inpaintkit.data.dataset import find_pairs
from inpaintkit.data.review import read_marks
from inpaintkit.errors import InputError
from inpaintkit.notebook import RecordBrowser
from inpaintkit.notebook.widgets import close_all, record_browser
from inpaintkit.notebook.widgets.record_browser import record_pictures
from inpaintkit.notebook.widgets.thumbnails import Thumbnails

SIDE = 64


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return five records: train with 10, 20, 30 % hole, eval with 20, 40 %."""
    for split, shares in {"train": (10, 20, 30), "eval": (20, 40)}.items():
        for number, share in enumerate(shares):
            hole = np.zeros((SIDE, SIDE), np.uint8)
            hole.flat[: SIDE * SIDE * share // 100] = 255
            picture = np.full((SIDE, SIDE, 3), 40 * number, np.uint8)
            write_record(tmp_path / split, f"a_{number:08d}", picture, hole)
    return tmp_path


def test_the_filter_chooses_by_hole_size_and_split(folder: Path) -> None:
    browser = RecordBrowser(folder)
    assert [r.name for r in browser.chosen(15, 35)] == ["train/a_00000001", "train/a_00000002", "eval/a_00000000"]
    assert [r.name for r in browser.chosen(15, 35, "eval/")] == ["eval/a_00000000"]


def test_the_largest_hole_is_within_the_filters_largest_limit(tmp_path: Path) -> None:
    write_record(
        tmp_path / "train", "a_00000000", np.zeros((20, 20, 3), np.uint8), np.arange(400).reshape(20, 20) < 220
    )
    browser = RecordBrowser(tmp_path)
    assert browser.chosen(high=browser.largest()) == browser.records


def test_a_record_is_shown_with_its_hole_in_magenta(folder: Path) -> None:
    picture, overlay = record_pictures(RecordBrowser(folder).records[1])
    assert (picture == 40).all()
    assert float((overlay == (255, 0, 255)).all(axis=2).mean()) == pytest.approx(0.2, abs=0.001)


def grid(box: ipw.Widget) -> Thumbnails:
    return next(part for part in parts(box) if isinstance(part, Thumbnails))


def press(box: ipw.Widget, kind: str, by: int = 1) -> None:
    """Trigger a key's action as the browser does."""
    data = {"method": "custom", "content": {"kind": kind, "by": by}}
    grid(box)._handle_msg({"content": {"data": data}, "buffers": []})


def test_the_page_shows_each_record_and_the_chosen_one_large(folder: Path) -> None:
    box = RecordBrowser(folder).widget()
    assert [tile["name"] for tile in grid(box).tiles][::4] == ["train/a_00000000", "eval/a_00000001"]
    before = pictures(box)
    grid(box).cursor = 4
    assert pictures(box) != before
    assert all("eval/a_00000001" in alt for alt in alts(box))
    assert "eval/a_00000001 · hole 40.0%" in caption(box)
    close_all(box)


def test_leafing_past_the_end_of_a_page_turns_it(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(record_browser, "PAGE", 2)
    box = RecordBrowser(folder).widget()
    browsing = grid(box)
    for _ in range(3):
        press(box, "page")
    assert control(box, "page").value == 3
    assert [tile["name"] for tile in browsing.tiles] == ["eval/a_00000001"]
    press(box, "page", -1)
    assert browsing.cursor == 1, "backwards the last one of the page comes first"
    close_all(box)


def test_a_narrower_filter_shows_fewer_and_an_empty_one_can_be_reset(folder: Path) -> None:
    box = RecordBrowser(folder).widget()
    grid(box).cursor = 3
    control(box, "hole %").value = (15, 25)
    assert "2 of 5 records shown" in caption(box)
    assert "eval/a_00000000 ·" in caption(box), "the chosen record stays chosen"
    control(box, "hole %").value = (11, 12)
    assert "No record matches" in caption(box)
    assert pictures(box) == [b"", b""]
    control(box, "show all records").click()
    assert "5 of 5 records shown" in caption(box)
    close_all(box)


def test_marking_moves_to_the_next_record_and_marked_ones_are_deleted_if_confirmed(folder: Path) -> None:
    box = RecordBrowser(folder).widget()
    assert control(box, "delete marked").disabled
    press(box, "mark")
    assert grid(box).cursor == 1
    assert grid(box).marked == [0]
    grid(box).cursor = 3
    control(box, "mark as bad").click()
    assert read_marks(folder) == {"train/a_00000000", "eval/a_00000000"}
    press(box, "delete")
    assert len(find_pairs(folder / "train")) == 3, "asked first"
    control(box, "yes, delete 2").click()
    assert len(find_pairs(folder / "train")) == 2  # it raises for incomplete pairs
    assert len(find_pairs(folder / "eval")) == 1
    assert "3 of 3 records shown, 0 marked" in caption(box)
    close_all(box)


def test_a_deletion_can_be_undone_and_the_records_are_marked_as_before(folder: Path) -> None:
    box = RecordBrowser(folder).widget()
    press(box, "mark")
    control(box, "delete 1 marked").click()
    control(box, "yes, delete 1").click()
    control(box, "undo: bring back 1").click()
    assert len(find_pairs(folder / "train")) == 3
    assert read_marks(folder) == {"train/a_00000000"}
    assert "5 of 5 records shown, 1 marked" in caption(box)
    close_all(box)


def test_all_records_may_be_deleted_and_restored(folder: Path) -> None:
    box = RecordBrowser(folder).widget()
    for _ in range(5):
        press(box, "mark")
    control(box, "delete 5 marked").click()
    control(box, "yes, delete 5").click()
    assert "No record matches" in caption(box)
    with pytest.raises(InputError, match="move some back from deleted/"):
        RecordBrowser(folder)
    press(box, "undo")
    assert "5 of 5 records shown" in caption(box)
    close_all(box)


def test_restored_records_are_shown_even_if_their_holes_are_the_largest(folder: Path) -> None:
    before = RecordBrowser(folder)
    before.mark(before.records[-1], True)  # the largest hole, 40 %
    before.delete_marked()
    box = RecordBrowser(folder).widget()
    assert "4 of 4 records shown" in caption(box)
    press(box, "undo")
    assert "5 of 5 records shown, 1 marked" in caption(box)
    close_all(box)


def test_saying_no_deletes_nothing_and_a_mark_can_be_taken_away(folder: Path) -> None:
    box = RecordBrowser(folder).widget()
    press(box, "mark")
    press(box, "delete")
    control(box, "no").click()
    assert len(find_pairs(folder / "train")) == 3
    grid(box).cursor = 0
    control(box, "not bad after all").click()
    assert read_marks(folder) == set()
    close_all(box)


def test_removing_the_last_mark_shown_leaves_a_way_back(folder: Path) -> None:
    box = RecordBrowser(folder).widget()
    press(box, "mark")
    control(box, "marked ones only").value = True
    assert "1 of 5 records shown, 1 marked" in caption(box)
    press(box, "mark")
    assert "No record matches" in caption(box)
    assert control(box, "mark as bad").disabled
    control(box, "show all records").click()
    assert "5 of 5 records shown, 0 marked" in caption(box)
    close_all(box)


def test_line_breaks_in_names_and_broken_files_are_fine(folder: Path) -> None:
    hostile = "<img src=x onerror=1>\n\u202e"
    for kind in "CM":
        (folder / "train" / f"a_00000001_{kind}.png").rename(folder / "train" / f"{hostile}_{kind}.png")
    (folder / "train" / "a_00000002_C.png").write_bytes(b"no picture")
    box = RecordBrowser(folder).widget()
    assert len(grid(box).tiles) == 5
    for place in range(5):
        grid(box).cursor = place
        press(box, "mark")
    assert len(read_marks(folder)) == 5
    assert "\n" not in "".join(tile["name"] for tile in grid(box).tiles)
    grid(box).cursor = 2
    assert "a_00000002_C.png" in caption(box)
    close_all(box)


def test_a_closed_browser_leaves_nothing(folder: Path) -> None:
    browser = RecordBrowser(folder)
    close_all(browser.widget())
    assert kept_after(browser.widget, 3) == (0, 0)


def test_the_static_figure_is_a_contact_sheet(folder: Path) -> None:
    png = RecordBrowser(folder).figure()._repr_png_()  # type: ignore[attr-defined]
    with Image.open(io.BytesIO(png)) as image:
        assert image.width > 300
