"""One command, one report: notebook 04 through ``python -m inpaintkit evaluate``."""

import csv
import re
from pathlib import Path

import pytest
from toy_records import write_records

from inpaintkit.__main__ import main
from inpaintkit.model import LightInpaintV1, save_model

FILL = """
import torch
def grey(picture, hole, eye):
    return torch.where(hole, 0.5, picture)
"""


@pytest.mark.attack
@pytest.mark.slow
def test_evaluate_writes_tables_figures_text_and_one_html_file(
    tmp_path: Path, generator: LightInpaintV1, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    save_model(generator, tmp_path / "model.pth")
    (tmp_path / "mine.py").write_text(FILL)
    write_records(tmp_path / "data" / "eval", 2, textured=True, side=256)
    monkeypatch.chdir(tmp_path)
    options = ["--fill", "mine.py:grey", "--data-dir", "data", "-p", "scenes=1", "-p", "lpips=alex"]
    assert main(["evaluate", "model.pth", *options, "-p", "picture=mine.py", "-o", "broken"]) == 1
    assert "picture: " in (said := capsys.readouterr()).err
    assert "mine.py is not a picture" in said.err
    assert "What is filled" not in said.out, "an unreadable photo is said before anything is judged"
    options += ["-p", "picture=None", "-o", "report"]
    assert main(["evaluate", "model.pth", *options]) == 0
    said = capsys.readouterr().out
    assert said.startswith("04_inspect: loading ...\n")
    assert "mine.py:grey runs the file" in said
    assert said.index("On photos ") < said.index("| fill | photos: PSNR (dB) ↑ |")
    details = (tmp_path / "report" / "details.md").read_text()
    assert "**photos.** Judged inside the holes of 2 records from 2 pictures" in details
    assert "| this model against |" in details
    assert "| grey |" in details
    run = tmp_path / "report"
    assert said.strip().endswith(f"Report: {run / '04_inspect.html'}")
    page = (run / "04_inspect.html").read_text(encoding="utf-8")
    assert page.count("data:image/") >= 5
    assert "compared_fills" not in page, "the report shows no code"
    folded = page[page.index("<b>every table</b>") :].partition("</details>")[0]
    assert folded.count("<table>") > 8, "all tables are there at a click, and not before"
    assert not re.findall(r"""(?:src|href)=["']https?://""", page), "it opens without a network"
    rows = list(csv.DictReader((run / "evaluation.csv").read_text().splitlines()))
    assert {row["truth"] for row in rows} == {"photos", "scenes", "photo scenes", "holes at the border"}
    assert {row["fill"] for row in rows} == {"row", "telea", "navier_stokes", "biharmonic", "grey", "model"}
    for name in ("metrics", "metrics_scenes", "extremes_photos", "extremes_scenes", "before_after"):
        assert (run / "figures" / f"{name}.png").stat().st_size > 10_000
    assert "PSNR, 10+ px" in (run / "table.md").read_text()


def test_evaluate_refuses_before_any_work(
    tmp_path: Path, generator: LightInpaintV1, capsys: pytest.CaptureFixture[str]
) -> None:
    model = tmp_path / "model.pth"
    save_model(generator, model)
    (run := tmp_path / "run").mkdir()
    (run / "params.yaml").write_text("data_dir: data\nmodel_dir: run\n")
    (run / "inpaint.csv").write_text("losses")
    refused = {
        (str(model), "-p", "picture=a\udcff.png"): "a\\udcff.png is not UTF-8 text",
        (str(model), "-o", str(run)): "run is the folder of another job",
        ("nobody.pth",): "checkpoint: the file",
        (str(model), "--fill", "nobody.py:f"): "nobody.py does not exist",
        (str(model), "--fill", "no, body.py:f"): "no, body.py does not exist",
        (str(model), "--fill", str(tmp_path)): "is a folder; give a file in it",
        (str(model), "--fill", "rows"): "fills: 'rows' is unknown (did you mean row?)",
        (str(model), "--fill", "rows", "-p", "fills=row"): "fills: 'rows' is unknown",
        (str(model), "-p", "fills= ,"): "fills: none named",
        (str(model), "--stereo-dir", str(tmp_path / "none")): "stereo_dir: the folder",
        (str(model), "-p", "lpips=resnet"): "lpips: 'resnet' is unknown",
    }
    for arguments, words in refused.items():
        assert main(["evaluate", *arguments]) == 2
        assert words in capsys.readouterr().err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model.pth", "run"]
    assert sorted(path.name for path in run.glob("[!.]*")) == ["inpaint.csv", "params.yaml"]
