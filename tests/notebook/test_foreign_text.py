"""Foreign names, metadata and messages: wherever they are shown, they become no HTML, no formula, no second line."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Iterator
from html import unescape
from html.parser import HTMLParser
from pathlib import Path

import ipywidgets as ipw
import numpy as np
import pytest
from PIL import Image
from toy_files import write_record
from widget_tools import parts

from inpaintkit import text
from inpaintkit.config import TrainConfig, joined_fills
from inpaintkit.data import InpaintDataset
from inpaintkit.data.review import list_records
from inpaintkit.depth import create_depth_model
from inpaintkit.errors import InputError
from inpaintkit.inspection import FILLS, evaluate, figures, make_fills
from inpaintkit.inspection.truths import record_truth
from inpaintkit.notebook import FillComparer, MaskPreview, RecordBrowser, StereoPreview, TrainingMonitor, session
from inpaintkit.notebook.html import write_page
from inpaintkit.notebook.widgets import HtmlProgress, close_all, progress, still
from inpaintkit.notebook.widgets.thumbnails import Thumbnails

pytestmark = pytest.mark.attack

NAME = "<img src=x onerror='window.x=1'>$\\frac$ |`*\n\u202e"
SIDE = 160
ALLOWED = {"div", "span", "img", "style", "table", "tr", "th", "td", "b", "br", "kbd"}


class Tags(HTMLParser):
    """Parser that checks that a page only has allowed tags and no script."""

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        assert tag in ALLOWED, f"<{tag}> {attributes}"
        for name, value in attributes:
            assert not name.startswith("on"), f"{tag} {name}"
            assert name != "src" or str(value).startswith("data:image/"), f"{tag} {name}={value}"


def check_page(page: str) -> None:
    Tags().feed(page)
    assert "\u202e" not in page


def check_widget(box: ipw.Widget) -> None:
    """Check that no text on a widget is foreign HTML, and that labels and names, shown as text, are single lines."""
    for part in parts(box):
        if isinstance(part, ipw.HTML):
            check_page(part.value)
        for label in (*getattr(part, "_options_labels", ()), getattr(part, "description", "")):
            assert label.isprintable()
        if isinstance(part, Thumbnails):
            assert all(tile["name"].isprintable() for tile in part.tiles)
    close_all(box)


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("photos")
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (120, 160, 3), dtype=np.uint8)).save(
        folder / f"{NAME}.png"
    )
    (folder / f"broken{NAME}.png").write_bytes(b"")
    return sorted(folder.iterdir())


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a data set of two records with the given name."""
    root = tmp_path_factory.mktemp("data")
    rng = np.random.default_rng(0)
    hole = np.zeros((SIDE, SIDE), np.uint8)
    hole[60:100, 60:70] = 255
    for split in ("train", "eval"):
        for number in range(2):
            picture = rng.integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)
            write_record(root / split, f"{NAME}{number}", picture, hole)
    return root


def test_the_pages_of_the_widgets(photos: list[Path], folder: Path, tmp_path: Path) -> None:
    model = create_depth_model("FastDepth", resolution=96)
    box = MaskPreview(photos, model).widget()
    check_widget(box)
    box = MaskPreview([photos[1], photos[0]], model).widget()
    assert "choose another picture" in box.children[-1].value, "the broken one is shown"
    check_widget(box)
    check_widget(StereoPreview(photos[:1], model, FILLS["row"]).widget())
    check_widget(RecordBrowser(folder).widget())
    check_widget(
        FillComparer(InpaintDataset(folder / "eval", training=False, crop_size=128), {NAME: FILLS["row"]}).widget()
    )
    (tmp_path / "manifest.json").write_text(json.dumps({"status": NAME, "params": {"max_epoch": NAME}}))
    (tmp_path / "loss_toy.csv").write_text("epoch,split,total\n1,eval,0.5\n")
    check_widget(TrainingMonitor(tmp_path).widget())


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Collect the HTML that cells display; its plain text is checked at once."""
    pages: list[str] = []

    class Handle:
        def update(self, bundle: dict[str, str], **options: object) -> None:
            display(bundle)

    def display(bundle: dict[str, str], **options: object) -> Handle:
        pages.extend(page for kind, page in bundle.items() if kind == "text/html")
        assert bundle["text/plain"].isprintable()
        return Handle()

    for module in (session, still, progress):
        monkeypatch.setattr(module, "display", display)
    yield pages
    for page in pages:
        check_page(page)


def test_the_outputs_of_cells(shown: list[str], folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    picture = next((folder / "train").glob("*_C.png"))
    session.show_list({NAME: NAME, "train/IMG_0002.HEIC": "is left out", "eval_only": True})
    assert "train/IMG_0002.HEIC" in shown[0], "a file's name, unlike an option's, stays as it is"
    assert "eval only" in shown[0]
    session.show_file(picture, NAME)
    HtmlProgress(NAME, NAME).update(1, 3, NAME)
    still.place(NAME, ipw.HTML())(picture.read_bytes(), NAME)
    assert len(shown) == 6


def test_a_headline_shows_a_name_as_it_is(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    name, said = "_my__model_ <b>x</b> & $5$ *a* [b]", []
    monkeypatch.setattr(session, "display", lambda page, raw: said.append(page["text/markdown"]))
    session.show_headline(f"On photos 1.2 dB behind {text.markdown(name)}.", False)
    page = write_page(said[0], tmp_path / "page.html").read_text(encoding="utf-8")
    assert f"On photos 1.2 dB behind {name}." in unescape(page)
    assert "<b>x" not in page


def test_a_bar_tells_a_screen_reader_how_far_it_is(shown: list[str]) -> None:
    HtmlProgress("pictures").update(1, 4)
    assert 'aria-valuenow="25"' in shown[-1], "a number, as ARIA wants it"


def test_a_log_line_stays_one_line(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INPAINTKIT_PROGRESS", "lines")
    session.job_progress("pictures")(1, 2, NAME)
    printed = capsys.readouterr().out
    assert printed.count("\n") == 1
    assert printed.strip().isprintable()
    tell = session.job_progress("pictures")
    tell(0, 0, "looking through a.mp4")
    tell(1, 4, "a.mp4")
    monkeypatch.setattr(progress.time, "monotonic", lambda now=time.monotonic(): now + 100)
    tell(2, 4, "b.jpg")
    tell(4, 4, "c.jpg")
    lines = capsys.readouterr().out.splitlines()
    assert lines[:2] == ["  0% pictures: looking through a.mp4", " 25% pictures: 1 of 4 a.mp4"]
    assert lines[2:] == [" 50% pictures: 2 of 4 b.jpg (about 3 min 20 s left)", "100% pictures: 4 of 4 c.jpg"]


def test_an_error_is_one_line_of_printable_characters() -> None:
    said = str(InputError(f"data_dir: {NAME} does not exist"))
    assert said.isprintable()
    with pytest.raises(InputError) as caught:
        TrainConfig.from_params({"data_dir": NAME}).check_inputs()
    assert str(caught.value).isprintable()


def test_figures(folder: Path) -> None:
    """Figures that show names draw them; an invalid formula would raise."""
    records = InpaintDataset(folder / "eval", training=False, crop_size=128)
    fills, truth = {NAME: FILLS["row"]}, record_truth(records)
    evaluation = evaluate(fills, truth, ())
    drawn = [
        figures.contact_sheet([(record.picture, record.hole) for record in list_records(folder)]),
        figures.samples_panel(records),
        figures.hardest_records(records, [(0, 0.5)]),
        figures.before_after(records, fills),
        figures.extremes(truth, fills, evaluation),
        figures.metrics_bars(evaluation),
        figures.hole_spectra(records, fills),
        figures.discriminator_maps(records, fills, lambda pictures, target: pictures[:, :1, 16:-16, 16:-16]),
    ]
    for figure in drawn:
        assert figures.png_bytes(figure)


def test_a_model_files_name_becomes_a_plain_label(tmp_path: Path) -> None:
    shipped = next((Path(__file__).parents[2] / "models" / "released").glob("*.pth"))
    file = tmp_path / f"{NAME}.pth"
    shutil.copy(shipped, file)
    (label,) = make_fills(joined_fills([str(file)]), "cpu")
    assert not set(label) & set("<>$|`*'\n")
    check_page(label)
