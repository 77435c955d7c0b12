"""The four notebooks in JupyterLab and a real browser: every cell runs, every widget reacts.

Screenshots are kept in ``$INPAINTKIT_SCREENSHOTS``, by default ``build/screenshots``.
"""

from __future__ import annotations

import os
import re
import shutil
import warnings
from collections.abc import Iterator
from pathlib import Path

import nbformat
import pytest

from inpaintkit.data.dataset import find_pairs
from inpaintkit.notebook.demo import step_params
from inpaintkit.notebook.project import find_project

pytest.importorskip("playwright", reason="playwright is not installed; pip install playwright")

from lab import (
    SETTLE_MS,
    NotebookPage,
    find_browser,
    named,
    open_browser,
    press,
    running_lab,
    sources,
    wait_for_change,
)
from nbconvert import HTMLExporter
from papermill.iorw import load_notebook_node
from papermill.parameterize import parameterize_notebook
from PIL import Image
from playwright.sync_api import BrowserContext, Locator

ROOT = find_project()
LEAST_CONTRAST = 4.5  # WCAG 2, level AA, text of normal size
ABOVE_ALL_CONTRAST = 22.0  # black on white: 21
SCREENSHOTS = Path(os.environ.get("INPAINTKIT_SCREENSHOTS") or ROOT / "build" / "screenshots")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(find_browser() is None, reason="no Chromium here; on Debian: apt-get install chromium"),
]


PHOTO_SIDE = 400  # px

HOSTILE = "<img src=x onerror='window.x=1'>$\\frac$"
"""A photo's name that runs a script wherever it is shown as HTML."""


def write_photos(folder: Path) -> Path:
    """Write some of the shipped photos, a broken photo and a model; one of each kind gets a hostile name."""
    for split in ("train", "eval"):
        photos = sorted((ROOT / "data" / "samples" / split).glob("*.jpg"))[:3]
        (folder / split).mkdir(parents=True)
        for name, photo in zip(("a", "b", HOSTILE), photos, strict=True):
            with Image.open(photo) as picture:
                picture.thumbnail((PHOTO_SIDE, PHOTO_SIDE))
                picture.save(folder / split / f"{name}.jpg", quality=95)
    (folder / "train" / f"broken {HOSTILE}.jpg").write_bytes(b"no picture")
    shutil.copy(ROOT / "models" / "released" / "light_inpaint_v1.pth", folder / f"{HOSTILE}.pth")
    return folder


def write_notebooks(folder: Path, work: Path, photos: Path) -> None:
    """Write copies of the notebooks with the preset smoke and their results in `work`."""
    folder.mkdir()
    for file in sorted((ROOT / "notebooks").glob("*.ipynb")):
        params = step_params(file.stem, work, "smoke")
        if file.stem == "01_generate":
            params |= {"dataset_dir": str(photos), "shard": "auto"}
        if file.stem == "02_train":
            params["num_samples"] = 8  # long enough to be stopped midway
        if file.stem == "04_inspect":
            params["picture"] = str(photos / "eval" / f"{HOSTILE}.jpg")
            params["fills"] = f"row, {photos / HOSTILE}.pth"
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # papermill's own warnings
            book = parameterize_notebook(load_notebook_node(str(file)), params)
        nbformat.write(book, folder / file.name)


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[tuple[BrowserContext, str]]:
    write_notebooks(tmp_path / "lab", tmp_path / "work", write_photos(tmp_path / HOSTILE))
    (tmp_path / "private").mkdir()
    with (
        running_lab(tmp_path / "lab", tmp_path / "private") as address,
        open_browser(tmp_path / "profile") as browser,
    ):
        yield browser, address


def opened(lab: tuple[BrowserContext, str], name: str, beside: NotebookPage | None = None) -> NotebookPage:
    """Open a notebook, run all its cells and make the checks that hold for every notebook."""
    page = NotebookPage(*lab, f"{name}.ipynb", beside)
    page.run_all()
    check_page(page, name)
    return page


def check_page(page: NotebookPage, name: str) -> None:
    assert page.problems() == []
    assert page.page.get_by_text("javascript error").count() == 0, "a widget can't be shown"
    assert page.page.evaluate("() => window.x") is None, "a file's name ran as a script"
    keep(page, name)
    check_pictures(page)


def close(page: NotebookPage, name: str, folder: Path) -> int:
    """Save, shut down and close a notebook; check that its HTML page has a picture per widget; return their number."""
    alive = page.page.locator(".inpaintkit").count()
    assert alive > 0
    assert page.stills() == []
    page.save_notebook()
    page.shut_down()
    html, _ = HTMLExporter().from_notebook_node(without_widgets(folder / f"{name}.ipynb"))
    assert len(re.findall(r'class="inpaintkit-still-[^>]*>\s*<img [^>]*src="data:image', html)) == alive
    assert "VBox(" not in html
    return alive


def check_closed(closed: NotebookPage, name: str, alive: int) -> None:
    """Check that a notebook that was shut down and reopened shows a picture where each of its widgets was."""
    assert closed.page.locator(".inpaintkit").count() == 0
    assert len(closed.stills()) == alive
    complaints = closed.page.get_by_text("Error displaying widget")
    complaints.nth(alive - 1).wait_for(
        state="attached"
    )  # JupyterLab first looks for each widget, for any length of time
    assert [complaint for complaint in complaints.all() if complaint.is_visible()] == []
    check_page(closed, f"{name}_closed")
    closed.shut_down()


def without_widgets(file: Path) -> nbformat.NotebookNode:
    """Return a saved notebook as it is passed on: without the widgets' state."""
    book = nbformat.read(file, as_version=4)
    book.metadata.pop("widgets", None)
    return book


def keep(page: NotebookPage, name: str, cell: Locator | None = None) -> None:
    """Save a screenshot of the page, or of the output of `cell`."""
    file = SCREENSHOTS / f"{name}.png"  # playwright makes the folder
    if cell is None:
        page.page.screenshot(path=file)
        return
    output = cell.locator(".jp-Cell-outputArea")
    output.scroll_into_view_if_needed()
    page.page.wait_for_timeout(SETTLE_MS)
    output.screenshot(path=file)


def check_pictures(page: NotebookPage) -> None:
    """Check that every picture is loaded and has an alternative text, and that no output is longer than a screen."""
    facts = page.page.eval_on_selector_all(
        ".jp-Cell-outputArea img:visible:not(.inpaintkit-grid img)",
        "all => all.map(i => [i.naturalWidth, i.naturalHeight, i.alt || i.title, i.clientWidth, i.clientHeight])",
    )
    assert facts
    screen = page.page.viewport_size["height"]  # type: ignore[index]
    for width, height, words, shown_width, shown_height in facts:
        assert width > 0
        assert len(words) > 8
        assert shown_height <= screen
        stretched = shown_width * height / (shown_height * width)
        assert stretched == pytest.approx(1, abs=0.05), words
    heights = page.page.eval_on_selector_all(
        ".jp-OutputArea-output", "all => all.map(a => [a.offsetHeight, a.innerText.slice(0, 60)])"
    )
    assert [tall for tall in heights if tall[0] > screen] == []


def check_narrow(page: NotebookPage) -> None:
    """Check that half a screen's width is enough: no output has to be scrolled sideways."""
    page.page.set_viewport_size({"width": 700, "height": 1000})
    page.page.wait_for_timeout(500)
    wide = "all => all.filter(a => a.scrollWidth > a.clientWidth + 1).map(a => a.innerText.slice(0, 60))"
    assert page.page.eval_on_selector_all(".jp-OutputArea-output", wide) == []
    page.page.set_viewport_size({"width": 1500, "height": 1000})
    page.page.wait_for_timeout(500)


def check_themes(page: NotebookPage, name: str, cell: Locator) -> None:
    """Check that the texts of all outputs are readable in both themes; figures bring their own background."""
    for theme in ("JupyterLab Dark", "JupyterLab Light"):
        page.change_theme(theme)
        count, texts = page.pale_texts(ABOVE_ALL_CONTRAST)
        assert count == len(texts) > 0, "each text was measured"
        assert [text for text in texts if text[0] < LEAST_CONTRAST] == [], f"{theme}: contrast, element, text"
        if theme.endswith("Dark"):
            keep(page, f"{name}_dark", cell)


def answers(cell: Locator, label: str, key: str = "ArrowRight", times: int = 3) -> list[str]:
    """Move the slider `label` and return the new pictures."""
    before = sources(cell)
    assert named(cell, label).get_by_role("slider", name=label, exact=True).count() == 1, "screen readers say its name"
    press(named(cell, label), key, times)
    return wait_for_change(cell, before)


def test_all_notebooks_run_in_jupyterlab_and_their_widgets_answer(
    lab: tuple[BrowserContext, str], tmp_path: Path
) -> None:
    page = opened(lab, "01_generate")
    check_preview(page)
    check_records(page, tmp_path / "work" / "data")
    alive = {"01_generate": close(page, "01_generate", tmp_path / "lab")}
    page = NotebookPage(*lab, "02_train.ipynb", page)
    check_train(page)
    alive["02_train"] = close(page, "02_train", tmp_path / "lab")
    page = opened(lab, "03_finetune_gan", page)
    answers(page.cell("FillComparer("), "filled by", times=1)
    written = page.restart_kernel()
    assert len(written) == page.page.locator(".inpaintkit").count(), "a sentence for each widget, and no broken links"
    assert all("run this cell again" in sentence for sentence in written)
    page.shut_down()
    page = opened(lab, "04_inspect", page)
    check_inspect(page)
    page.shut_down()
    page.page.close()
    closed = None  # the first reopening, in a JupyterLab that has seen no widget alive
    for name, count in alive.items():
        closed = NotebookPage(*lab, f"{name}.ipynb", closed)
        check_closed(closed, name, count)


def check_preview(page: NotebookPage) -> None:
    preview = page.cell("session.present(preview")
    area = preview.locator(".jp-Cell-outputArea")
    said = area.inner_text()
    assert "The left eye can't see" in said
    answers(preview, "divergence %")
    assert area.inner_text() != said, "the hole area is told anew"
    answers(preview, "convergence")
    answers(preview, "edge dilation")
    for label, choice in {"eye": "right", "mapper": "mul_2", "hole method": "warp_back"}.items():
        before = sources(preview)
        select = named(preview, label).locator("select")
        select.select_option(
            index=next(i for i, o in enumerate(select.locator("option").all()) if choice in o.inner_text())
        )
        wait_for_change(preview, before)
    assert "The right eye can't see" in area.inner_text()
    assert "near things stand out more" in area.inner_text()
    keep(page, "mask_preview", preview)
    page.page.set_viewport_size({"width": 900, "height": 1000})
    page.page.wait_for_timeout(500)
    assert min(image.bounding_box()["width"] for image in preview.locator(".inpaintkit img").all()) > 250  # type: ignore[index]
    keep(page, "mask_preview_narrow", preview)
    page.page.set_viewport_size({"width": 700, "height": 1000})
    page.page.wait_for_timeout(500)
    depth, view, _ = preview.locator(".inpaintkit-pane img").all()
    assert depth.bounding_box()["y"] == view.bounding_box()["y"], "all are seen while a slider moves"  # type: ignore[index]
    page.page.set_viewport_size({"width": 900, "height": 1000})
    page.page.wait_for_timeout(500)
    record, hole = page.cell("RecordBrowser(").locator(".inpaintkit-pane img").all()
    assert record.bounding_box()["y"] == hole.bounding_box()["y"], "side by side, to be compared"  # type: ignore[index]
    check_narrow(page)
    page.run_cell(preview)
    page.page.wait_for_timeout(500)
    assert len(sources(preview)) == 3, "a cell that runs again replaces its widget"
    answers(preview, "divergence %")
    check_themes(page, "mask_preview", preview)


def check_records(page: NotebookPage, data: Path) -> None:
    """Check the records browser by keyboard alone: turn pages, mark, delete and restore."""
    browser = page.cell("RecordBrowser(")
    cells, pairs = page.page.locator(".jp-Cell").count(), len(find_pairs(data / "train"))
    before = sources(browser)
    grid = browser.locator(".inpaintkit-grid")
    grid.locator("img").first.click()
    grid.press("ArrowRight")
    before = wait_for_change(browser, before)
    grid.press("x")
    wait_for_change(browser, before)
    assert grid.locator(".inpaintkit-marked").count() == 1
    keep(page, "record_browser", browser)
    grid.press("Delete")
    browser.get_by_role("button", name="yes, delete 1").click()
    browser.get_by_text("0 marked as bad").wait_for()
    assert len(find_pairs(data / "train")) == pairs - 1
    grid.press("u")
    browser.get_by_text("1 marked as bad").wait_for()
    assert len(find_pairs(data / "train")) == pairs
    assert page.page.locator(".jp-Cell").count() == cells, "x, d and other keys mean nothing to JupyterLab here"


def check_train(page: NotebookPage) -> None:
    """Check that the monitor reacts during training, which is stopped and resumed, and then run the other cells."""
    job, early = page.cell("session.fit(trainer)"), page.cell("open_records(config")
    page.run_cell(page.cell("import TrainConfig"))
    page.run_cell(early)
    early.get_by_text("'config' is not defined; run the cells above first").wait_for()
    assert page.problems() == [], "a cell that was left out is no traceback"
    page.start_all()
    job.get_by_role("button", name="stop and save").click()
    page.wait_until_idle()
    assert "stopped as asked" in job.inner_text()
    page.run_all()
    check_page(page, "02_train")
    assert "epoch 2 of 2 · evaluation loss" in job.inner_text()
    keep(page, "training_monitor", job)
    before = sources(job)
    job.get_by_role("button", name="earlier epoch").click()
    wait_for_change(job, before)
    check_themes(page, "training_monitor", job)
    check_narrow(page)


def check_inspect(page: NotebookPage) -> None:
    comparer = page.cell("FillComparer(")
    seen = {sources(comparer)[0]}
    for _ in range(3):
        seen.add(answers(comparer, "filled by", times=1)[0])
    assert len(seen) == 4
    answers(comparer, "wipe %", key="PageDown")
    keep(page, "fill_comparer", comparer)
    before = sources(comparer)
    comparer.get_by_text("outline the hole").click()
    before = wait_for_change(comparer, before)
    records = named(comparer, "record").locator("select")
    for index in range(1, records.locator("option").count()):
        if not re.search(r"hole 1 of 1\b", comparer.inner_text()):
            break
        records.select_option(index=index)
        before = wait_for_change(comparer, before)
    comparer.get_by_role("button", name="next hole").click()
    wait_for_change(comparer, before)
    stereo = page.cell("StereoPreview(")
    answers(stereo, "divergence %")
    answers(stereo, "convergence", times=1)
    keep(page, "stereo_preview", stereo)
    for view in ("wiggle", "side by side"):
        before = sources(stereo)
        stereo.get_by_role("button", name=view).click()
        wait_for_change(stereo, before)
    check_themes(page, "fill_comparer", comparer)
    check_narrow(page)
