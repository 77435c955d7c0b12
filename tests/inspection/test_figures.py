"""Figures: each can be made from real inputs and saved, without touching matplotlib's global state."""

import ast
from pathlib import Path

import numpy as np
import pytest
import torch
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.legend import Legend
from PIL import Image
from toy_records import write_records

from inpaintkit.data import InpaintDataset
from inpaintkit.data.dataset import find_pairs
from inpaintkit.errors import InputError
from inpaintkit.inspection import FILLS, evaluate, figures, row_fill
from inpaintkit.inspection.zoom import ZOOM_MAXIMUM, zoom_boxes

LOSSES = """epoch,split,total,l1,hole_psnr,hole_psnr_row_fill,learning_rate
0,eval,0.9,0.5,8.0,9.0,
1,train,0.8,0.4,,,0.0001
1,eval,0.7,0.3,9.5,9.0,
"""


def words(figure: Figure) -> str:
    return " ".join(text.get_text() for text in figure.findobj(lambda artist: hasattr(artist, "get_text")))


@pytest.fixture
def data_folder(tmp_path: Path) -> Path:
    write_records(tmp_path / "data" / "train", 3, textured=True)
    write_records(tmp_path / "data" / "eval", 2, textured=True)
    return tmp_path / "data"


def pairs(folder: Path) -> list[tuple[Path, Path]]:
    return [pair for split in ("train", "eval") for pair in find_pairs(folder / split)]


def test_a_saved_figure_is_an_opaque_picture(tmp_path: Path, data_folder: Path) -> None:
    path = figures.save_figure(figures.contact_sheet(pairs(data_folder), 3), tmp_path / "figures" / "sheet.png")
    with Image.open(path) as image:
        assert image.mode == "RGB"
        assert image.getpixel((0, 0)) == (255, 255, 255)
    with pytest.raises(InputError, match=r"does not end in \.png"):
        figures.save_figure(figures.contact_sheet(pairs(data_folder), 1), tmp_path / "sheet.jpg")


def test_chinese_names_use_a_font_that_has_them_and_lacking_one_gives_no_warning(
    data_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for path in (data_folder / "train").iterdir():
        path.rename(path.with_name(f"京都ℊ_{path.name}"))
    drawn = []
    for fonts in ((), ("STIXGeneral",)):  # a font that has one of these characters and comes with matplotlib
        monkeypatch.setattr(figures.base, "WIDE_FONTS", fonts)
        drawn.append(figures.png_bytes(figures.contact_sheet(pairs(data_folder), 3)))
    assert drawn[0] != drawn[1]


def test_statistics_of_a_large_data_set_read_some_of_it_and_say_so(
    data_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(figures.records, "MOST_COUNTED", 3)
    assert "records (3 of 5)" in words(figures.hole_histogram(pairs(data_folder)))


def test_contact_sheet_shows_the_hole_share_of_each_record(data_folder: Path) -> None:
    share = (30 * 2 + 50 * 12) / 96**2
    assert words(figures.contact_sheet(find_pairs(data_folder / "train"), 2)).count(f"{share:.1%} hole") == 2
    assert words(figures.contact_sheet(pairs(data_folder), 12)).count("hole") == 5
    assert words(figures.contact_sheet(pairs(data_folder), 2, seed=0)) == words(
        figures.contact_sheet(pairs(data_folder), 2, seed=0)
    )


def test_samples_panel_shows_training_samples(data_folder: Path) -> None:
    samples = InpaintDataset(data_folder / "train", training=True, seed=0, crop_size=64)
    assert words(figures.samples_panel(samples, 2)).count("% hole") == 2
    shown = [ax.images[0].get_array() for ax in figures.samples_panel(samples, 3).axes if ax.images]
    assert any((picture.max(-1) - picture.min(-1)).mean() > 30 for picture in shown), "not every draw is turned grey"


def test_loss_curves_has_a_panel_for_each_column(tmp_path: Path) -> None:
    (tmp_path / "loss.csv").write_text(LOSSES)
    figure = figures.loss_curves(tmp_path / "loss.csv")
    titles = [ax.get_title(loc="left") for ax in figure.axes]
    assert titles == ["total", "l1", "PSNR in holes (dB)", "learning rate", "", ""]
    training, evaluation = figure.axes[0].get_lines()
    assert list(training.get_ydata()) == [0.8]
    assert list(evaluation.get_ydata()) == [0.9, 0.7]
    network, row_fill = figure.axes[2].get_lines()
    assert (list(network.get_ydata()), list(row_fill.get_ydata())) == ([8.0, 9.5], [9.0, 9.0])
    rate = figure.axes[3]
    assert rate.get_yscale() == "log"
    assert [tick for tick in rate.get_xticks() if tick % 1] == [], "an epoch alone has no fractions beside it"
    with pytest.raises(InputError, match="does not exist"):
        figures.loss_curves(tmp_path / "none.csv")
    (tmp_path / "loss.csv").write_text(LOSSES.splitlines()[0] + "\n")
    with pytest.raises(InputError, match="holds no epoch yet"):
        figures.loss_curves(tmp_path / "loss.csv")


def test_each_parameter_is_varied_alone() -> None:
    asked: list[dict[str, object]] = []

    def overlay(**values: object) -> np.ndarray:
        asked.append(values)
        return np.zeros((8, 12, 3), np.uint8)

    said = words(figures.parameter_effects(overlay))
    for name in ("convergence", "mapper", "edge_dilation", "hole_method"):
        tried = [values for values in asked if name in values]
        assert len({str(values[name]) for values in tried}) == len(tried) >= 3
        assert all(values == {"divergence": 5.0, name: values[name]} for values in tried)
    assert "mapper mul_2" in said
    assert "hole method warp_back" in said


def test_extremes_show_the_figures_they_were_chosen_by(tmp_path: Path) -> None:
    write_records(tmp_path / "eval", 3, textured=True, side=256)
    for number, mask in enumerate(sorted((tmp_path / "eval").glob("*_M.png"))):
        hole = np.array(Image.open(mask))
        hole[200:250, 240 : 243 + 4 * number] = 255  # far from the hole that is shown
        Image.fromarray(hole).save(mask)
    records, fills = InpaintDataset(tmp_path / "eval", training=False), {"row": row_fill}
    evaluation = evaluate(fills, records)
    figure = figures.extremes(records, fills, evaluation)
    assert figure.get_suptitle() == evaluation.title, "which truth: several such figures stand one below the other"
    labels = [ax.get_xlabel() for ax in figure.axes]
    shown = [float(label.split()[1]) for label in labels if label.startswith("record: ")]
    assert shown == sorted((round(score.figures["psnr"], 2) for score in evaluation.of("row")), reverse=True)


def test_before_after_shows_hole_fills_and_truth(records: InpaintDataset) -> None:
    fills = {"row": row_fill, "telea": FILLS["telea"]}
    figure = figures.before_after(records, fills, ["toy_1"])
    assert [ax.get_title() for ax in figure.axes] == ["hole", "row fill", "Telea", "truth"]
    assert len(figures.before_after(records, fills, n=3).axes) == 3 * 4


def test_metrics_bars_plots_every_fill_in_every_panel(records: InpaintDataset) -> None:
    def grey(picture: torch.Tensor, hole: torch.Tensor, eye: str) -> torch.Tensor:
        return torch.where(hole, 0.6, picture)

    evaluation = evaluate({"_grey": grey, "darker": lambda *given: grey(*given) * 0.9}, records)
    figure = figures.metrics_bars(evaluation)
    text = words(figure)
    assert "PSNR by hole width" in text
    assert "LPIPS by hole width" in text
    assert text.count("dB, more is better") == 2
    assert evaluation.fills[0] in text
    (legend,) = figure.findobj(Legend)
    assert [label.get_text().strip() for label in legend.get_texts()] == ["_grey", "darker"]
    assert figure.get_suptitle() == evaluation.title
    assert figures.png_bytes(figure)


def test_no_fill_is_left_out_of_the_spectra(records: InpaintDataset) -> None:
    many = figures.hole_spectra(records, {f"fill {number}": row_fill for number in range(9)}, n=1).axes[0]
    assert [text.get_text() for text in many.get_legend().get_texts()] == ["truth", *(f"fill {n}" for n in range(9))]


def test_depth_and_hole_takes_every_kind_of_picture() -> None:
    pixels = np.zeros((40, 60, 3), np.uint8)
    hole = torch.zeros(1, 1, 40, 60, dtype=torch.bool)
    hole[..., :6] = True
    assert "hole, 10.00%" in words(figures.depth_and_hole(pixels, np.zeros((20, 30)), hole))


def test_the_zoom_stays_inside_and_finds_the_thickest_place_of_the_largest_hole() -> None:
    hole = torch.zeros(200, 220, dtype=torch.bool)
    hole[10:14, 10:14] = True
    hole[20:190, 200:202] = True
    hole[150:160, 195:207] = True
    top, left, side = zoom_boxes(hole)[0]
    assert side == ZOOM_MAXIMUM
    assert top <= 150 <= 160 <= top + side <= 200
    assert left <= 195 <= 207 <= left + side <= 220
    assert zoom_boxes(torch.zeros(30, 40, dtype=torch.bool)) == [(0, 0, 30)]


def test_empty_lists_are_refused() -> None:
    with pytest.raises(InputError, match="the list is empty"):
        figures.contact_sheet([])


def test_every_scale_is_labelled(tmp_path: Path, data_folder: Path, records: InpaintDataset) -> None:
    csv_file = tmp_path / "loss.csv"
    csv_file.write_text(LOSSES)
    evaluation = evaluate({"row": row_fill}, records)
    made = [figures.hole_histogram(pairs(data_folder)), figures.loss_curves(csv_file), figures.metrics_bars(evaluation)]
    made += [figures.contact_sheet(pairs(data_folder), 2), figures.before_after(records, {"row": row_fill}, n=1)]
    made.append(figures.hole_spectra(records, {"row": row_fill}))
    for figure in made:
        figures.png_bytes(figure)  # draws, so that ticks are known
        for ax in figure.findobj(Axes):
            for axis in (ax.xaxis, ax.yaxis) if ax.get_visible() and ax.axison else ():
                scale = [tick for tick in axis.get_ticklabels() if tick.get_visible() and tick.get_text()]
                named = axis.get_label().get_text() or ax.get_title() or ax.get_title(loc="left")
                assert not scale or named, (figure, ax)


def test_colour_maps_and_line_colours_suit_the_colour_blind() -> None:
    source = ast.parse(Path(figures.__file__).read_text(encoding="utf-8"))
    maps = {node.value.value for node in ast.walk(source) if isinstance(node, ast.keyword) and node.arg == "cmap"}  # type: ignore[attr-defined]
    assert maps <= {"viridis", "magma", "inferno", "cividis", "RdBu"}
    okabe_ito = {"#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#F0E442", "#000000"}
    assert set(figures.PALETTE) <= okabe_ito


def test_texts_of_figures_stand_out_from_their_white_background() -> None:
    for colour in (figures.INK, figures.QUIET):
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in to_rgb(colour)]
        assert 1.05 / (np.dot([0.2126, 0.7152, 0.0722], linear) + 0.05) >= 4.5
