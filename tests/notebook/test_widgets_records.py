"""The record browser: filter, leaf, mark, delete."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from widget_tools import alts, caption, control, kept_after, parts, pictures

from inpaintkit.data.dataset import find_pairs
from inpaintkit.data.review import read_marks
from inpaintkit.notebook import RecordBrowser
from inpaintkit.notebook.widgets import close_all
from inpaintkit.notebook.widgets.record_browser import record_pictures

SIDE = 64


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Five records: train 10, 20, 30 %, eval 20, 40 % hole."""
    for split, shares in {"train": (10, 20, 30), "eval": (20, 40)}.items():
        (tmp_path / split).mkdir()
        for number, share in enumerate(shares):
            hole = np.zeros((SIDE, SIDE), np.uint8)
            hole.flat[: SIDE * SIDE * share // 100] = 255
            Image.fromarray(np.full((SIDE, SIDE, 3), 40 * number, np.uint8)).save(
                tmp_path / split / f"a_{number:08d}_C.png"
            )
            Image.fromarray(hole).save(tmp_path / split / f"a_{number:08d}_M.png")
    return tmp_path


def test_the_filter_takes_records_by_hole_size_and_half(folder: Path) -> None:
    browser = RecordBrowser(folder)
    assert [r.name for r in browser.chosen(15, 35)] == ["train/a_00000001", "train/a_00000002", "eval/a_00000000"]
    assert [r.name for r in browser.chosen(15, 35, "eval/")] == ["eval/a_00000000"]


def test_a_record_is_shown_with_its_hole_in_magenta(folder: Path) -> None:
    picture, overlay = record_pictures(RecordBrowser(folder).records[1])
    assert (picture == 40).all()
    assert float((overlay == (255, 0, 255)).all(axis=2).mean()) == pytest.approx(0.2, abs=0.001)


def test_next_and_previous_leaf_and_stop_at_the_ends(folder: Path) -> None:
    box = RecordBrowser(folder).widget()
    before = pictures(box)
    control(box, "previous").click()
    assert pictures(box) == before
    control(box, "next").click()
    assert pictures(box) != before
    assert "2 of 5 shown" in caption(box)
    for _ in range(9):
        control(box, "next").click()
    assert "5 of 5 shown" in caption(box)
    assert all("eval/a_00000001" in alt for alt in alts(box))
    close_all(box)


def test_a_narrower_filter_leaves_fewer_and_none_is_said(folder: Path) -> None:
    box = RecordBrowser(folder).widget()
    control(box, "number").value = 5
    control(box, "hole %").value = (15, 25)
    assert "of 2 shown" in caption(box)
    control(box, "hole %").value = (11, 12)
    assert "no record is like that" in caption(box)
    assert pictures(box) == [b"", b""]
    control(box, "hole %").value = (0, 50)
    assert "of 5 shown" in caption(box)
    close_all(box)


def test_marks_are_kept_and_deleted_as_pairs_after_being_asked(folder: Path) -> None:
    box = RecordBrowser(folder).widget()
    delete = control(box, "delete marked")
    assert delete.disabled
    for number in (1, 4):
        control(box, "number").value = number
        control(box, "mark as bad").value = True
    control(box, "number").value = 2
    assert control(box, "mark as bad").value is False
    assert read_marks(folder) == {"train/a_00000000", "eval/a_00000000"}
    delete.click()
    assert len(find_pairs(folder / "train")) == 3, "asked first"
    really = next(part for part in parts(box) if getattr(part, "description", "") == "yes, delete 2 pairs")
    really.click()
    assert len(find_pairs(folder / "train")) == 2  # refuses halves
    assert len(find_pairs(folder / "eval")) == 1
    assert "3 records in all, 0 marked" in caption(box)
    assert delete.disabled
    close_all(box)


def test_saying_no_deletes_nothing_and_a_mark_can_be_taken_away(folder: Path) -> None:
    box = RecordBrowser(folder).widget()
    control(box, "mark as bad").value = True
    control(box, "delete marked").click()
    control(box, "no").click()
    assert len(find_pairs(folder / "train")) == 3
    control(box, "mark as bad").value = False
    assert read_marks(folder) == set()
    close_all(box)


def test_only_marked_ones_can_be_shown(folder: Path) -> None:
    box = RecordBrowser(folder).widget()
    control(box, "mark as bad").value = True
    control(box, "marked ones only").value = True
    assert "1 of 1 shown, 5 records in all, 1 marked" in caption(box)
    close_all(box)


def test_a_closed_browser_leaves_nothing(folder: Path) -> None:
    browser = RecordBrowser(folder)
    close_all(browser.widget())
    assert kept_after(browser.widget, 3) == (0, 0)


def test_the_static_figure_is_a_contact_sheet(folder: Path) -> None:
    png = RecordBrowser(folder).figure()._repr_png_()  # type: ignore[attr-defined]
    with Image.open(io.BytesIO(png)) as image:
        assert image.width > 300
