"""Remake the pictures of widgets in the docs: ``python tests/browser/pictures.py``.

They are screenshots of the widgets in JupyterLab, with the shipped photos and the released model. It takes two minutes
and needs Chromium and playwright.
"""

from __future__ import annotations

import io
import tempfile
from collections.abc import Callable
from pathlib import Path

import nbformat
from lab import NotebookPage, named, open_browser, press, running_lab, sources, wait_for_change
from PIL import Image
from playwright.sync_api import Locator

from inpaintkit.config import GenerateConfig
from inpaintkit.data import generate_dataset
from inpaintkit.files import atomic_path
from inpaintkit.notebook.project import find_project

ROOT = find_project()
PHOTOS, RELEASED = ROOT / "data" / "samples", ROOT / "models" / "released" / "light_inpaint_v1.pth"
PAGE = {"width": 1240, "height": 1100}
JPEG_QUALITY = 82

CELLS = f"""from pathlib import Path
from inpaintkit.data import InpaintDataset, list_pictures
from inpaintkit.depth import create_depth_model
from inpaintkit.inspection import FILLS, Inpainter
from inpaintkit.notebook import FillComparer, MaskPreview, RecordBrowser, StereoPreview
photos, model = Path({str(PHOTOS)!r}), create_depth_model("FastDepth")
fill = Inpainter({str(RELEASED)!r})
---
MaskPreview(list_pictures(photos / "train"), model).widget()
---
RecordBrowser("DATA").widget()
---
fills = {{"row": FILLS["row"], "telea": FILLS["telea"], "model": fill}}
FillComparer(InpaintDataset(Path("DATA") / "eval", training=False), fills).widget()
---
StereoPreview([photos / "eval" / "drum_room.jpg", *list_pictures(photos / "eval")], model, fill).widget()"""


def leaf(cell: Locator) -> None:
    """Go to a record in the middle of the page, with two others marked."""
    grid = cell.locator(".inpaintkit-grid")
    grid.locator("img").nth(3).click()
    for key in ("x", "ArrowRight", "x", "ArrowRight", "ArrowRight"):
        before = sources(cell)
        grid.press(key)
        wait_for_change(cell, before)
    grid.blur()


def compare(cell: Locator) -> None:
    """Show the model's fill beside the hole."""
    before = sources(cell)
    named(cell, "record").locator("select").select_option(index=3)
    before = wait_for_change(cell, before)
    for label, key, times in (("filled by", "ArrowRight", 2), ("wipe %", "PageDown", 10)):
        press(named(cell, label), key, times)
        before = wait_for_change(cell, before)


def widen(cell: Locator) -> None:
    """Make the 3D effect strong enough for a small picture."""
    before = sources(cell)
    press(named(cell, "divergence %"), "ArrowRight", 4)
    wait_for_change(cell, before)
    cell.get_by_text("holes filled by the model").wait_for()


SHOWN: dict[str, Callable[[Locator], None]] = {
    "mask_preview": lambda cell: None,
    "record_browser": leaf,
    "fill_comparer": compare,
    "stereo_preview": widen,
}


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for part in ("lab", "private"):
            (folder / part).mkdir()
        generate_dataset(GenerateConfig(dataset_dir=str(PHOTOS), output_dir=str(folder / "data"), prefix="samples"))
        cells = [nbformat.v4.new_code_cell(c) for c in CELLS.replace("DATA", str(folder / "data")).split("\n---\n")]
        kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
        nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata=kernel), folder / "lab" / "widgets.ipynb")
        with running_lab(folder / "lab", folder / "private") as address, open_browser(folder / "profile") as browser:
            page = NotebookPage(browser, address, "widgets.ipynb")
            page.page.set_viewport_size(PAGE)
            page.run_all()
            for number, (picture, act) in enumerate(SHOWN.items(), 1):
                cell = page.page.locator(".jp-CodeCell").nth(number)
                cell.scroll_into_view_if_needed()
                act(cell)
                page.page.wait_for_timeout(800)
                keep(cell.locator(".inpaintkit").first.screenshot(), picture)


def keep(png: bytes, name: str) -> None:
    file = ROOT / "docs" / "images" / f"{name}.jpg"
    with atomic_path(file) as temporary, Image.open(io.BytesIO(png)) as image:
        image.convert("RGB").save(temporary, format="JPEG", quality=JPEG_QUALITY, optimize=True)
    print(f"{file}: {file.stat().st_size // 1000} kB")


if __name__ == "__main__":
    main()
