"""The main workflow at a tiny size: all four notebooks through the strict `execute`, and the files they leave."""

import json
import re
from pathlib import Path

import nbformat
import pytest
import yaml

from inpaintkit.__main__ import main
from inpaintkit.errors import InputError, RunFailed
from inpaintkit.model import load_model, load_state
from inpaintkit.notebook.demo import STEPS, run_demo, step_params
from inpaintkit.notebook.run_folder import read_metrics, run_manifest
from inpaintkit.notebook.runs import RunReport, execute, outcome
from inpaintkit.training.run import RunFiles

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Run the smoke-sized demo once and return its folder."""
    folder = tmp_path_factory.mktemp("demo")
    reports = run_demo(smoke=True, folder=folder)
    assert [report.notebook for report in reports] == list(STEPS)
    assert all(isinstance(report, RunReport) for report in reports)
    return folder


@pytest.mark.parametrize("step", STEPS)
class TestEveryStep:
    def test_leaves_a_complete_run_folder(self, demo: Path, step: str) -> None:
        manifest = run_manifest(demo / step)
        assert manifest["status"] == "done"
        assert manifest["seconds"] > 0
        assert {"torch", "python", "inpaintkit"} <= manifest["versions"].keys()
        assert manifest["machine"]["cores"] >= 1
        assert yaml.safe_load((demo / step / "params.yaml").read_text()) == manifest["params"]
        assert any((demo / step / "figures").glob("*.png"))
        assert manifest["metrics"]

    def test_leaves_the_executed_notebook_with_its_outputs(self, demo: Path, step: str) -> None:
        cells = nbformat.read(demo / step / f"{step}.ipynb", as_version=4).cells
        outputs = [output for cell in cells if cell.cell_type == "code" for output in cell.outputs]
        shown = [html for o in outputs if "<img" in (html := o.get("data", {}).get("text/html", ""))]
        assert shown
        assert all(' alt="' in html and ' alt=""' not in html for html in shown), (
            "a picture without words for the blind"
        )
        assert not [output for output in outputs if output.output_type == "error"]
        assert not [o.text for o in outputs if o.output_type == "stream" and "Warning" in o.text]


def test_the_data_set_holds_pairs_with_holes(demo: Path) -> None:
    manifest = run_manifest(demo / "01_generate")
    figures = {path.stem for path in (demo / "01_generate" / "figures").glob("*.png")}
    assert figures == {"one_photo", "parameter_effects", "contact_sheet", "hole_histogram"}
    assert int(manifest["metrics"]["records"]) == len(list((demo / "data").glob("*/*_M.png"))) >= 10
    assert 0.005 < float(manifest["metrics"]["mean_hole_fraction"]) < 0.2


def test_a_training_says_in_words_that_it_has_finished(demo: Path) -> None:
    page = (demo / "02_train" / "02_train.ipynb").read_text(encoding="utf-8")
    assert re.search(r"finished</th><td[^>]*>yes</td>", page)


@pytest.mark.parametrize("step", ["02_train", "03_finetune_gan"])
def test_headless_runs_show_each_picture_of_the_monitor_once(demo: Path, step: str) -> None:
    cells = nbformat.read(demo / step / f"{step}.ipynb", as_version=4).cells
    shown = " ".join(str(output.get("data")) for cell in cells for output in cell.get("outputs", ()))
    for alt in ("loss terms by epoch", "input, output and target of evaluation records"):
        assert shown.count(f'alt="{alt}"') == 1


def test_training_moved_the_evaluation_loss(demo: Path) -> None:
    metrics = run_manifest(demo / "02_train")["metrics"]
    assert float(metrics["eval_loss_after"]) != float(metrics["eval_loss_before"])
    assert metrics["steps"] == "4"


def test_the_checkpoint_is_ready_for_iw3(demo: Path) -> None:
    model, meta = load_model(demo / "03_finetune_gan" / "inpaint.light_inpaint_v1.pth")
    assert model.name == "inpaint.light_inpaint_v1"
    assert meta["config"]["discriminator"] == "l3cffce"


def test_every_fill_is_judged_inside_holes(demo: Path) -> None:
    table = (demo / "04_inspect" / "table.md").read_text()
    names = ("row fill", "Telea", "Navier-Stokes", "02_train", "this model")
    assert all(f"| {fill} |" in table for fill in names)
    verdict = (demo / "04_inspect" / "verdict.md").read_text()
    assert verdict.startswith("On photos ")
    assert "**" in verdict, "the best of a column in bold"
    assert (demo / "04_inspect" / "stereo" / "astronaut_redcyan.jpg").is_file()
    metrics = run_manifest(demo / "04_inspect")["metrics"]
    assert (metrics["photos: records"], float(metrics["photos: model psnr"]) > 0) == ("3", True)


def test_the_report_is_one_page_with_its_pictures_inside_and_no_dead_links(demo: Path) -> None:
    text = (demo / "report.html").read_text()
    body = text[text.index("What the demo made") :]
    links = [link for link in re.findall(r'<a href="([^"]+)"', body) if not link.startswith("#")]
    assert links == [f"{step}/{step}.html" for step in STEPS], "a notebook would open as JSON"
    assert all((demo / link).is_file() for link in links)
    table = re.search(r"<td[^>]*>this model</td>", body)
    assert table
    assert body.index("On photos ") < table.start() < body.index("<img"), "how good the model is comes first"
    pictures = re.findall(r'<img[^>]* src="([^"]{20})', body)
    assert len(pictures) >= 4
    assert all(picture.startswith("data:image/png") for picture in pictures)


def test_a_run_ends_with_its_results_in_words(demo: Path) -> None:
    said = {step: outcome(RunReport(step, demo / step, 1.0, read_metrics(demo / step))) for step in STEPS}
    records = len(list((demo / "data").glob("*/*_M.png")))
    assert said["01_generate"].startswith(f"{records} records: ")
    again = read_metrics(demo / "01_generate") | {"skipped": "1", "pictures": "0", "beside": "mine_FastDepth"}
    said_again = outcome(RunReport("01_generate", demo, 1.0, again))
    more = "; pictures left out: 1, see the notebook; the same folder holds mine_FastDepth, and a training uses it, too"
    assert said_again == said["01_generate"] + more
    assert "On photos" in said["04_inspect"]
    assert f"Report: {demo / '04_inspect' / '04_inspect.html'}" in said["04_inspect"]
    assert (demo / "04_inspect" / "04_inspect.html").is_file()


def test_a_failed_or_timed_out_run_resumes_with_the_same_call(
    demo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """In one run, figures can't be written, then time runs out after the first step, then the manifest is damaged."""
    params = step_params("02_train", demo, "smoke") | {"model_dir": str(tmp_path / "run")}
    manifest, in_the_way = tmp_path / "run" / "manifest.json", tmp_path / "run" / "figures"
    in_the_way.parent.mkdir()
    in_the_way.touch()
    with pytest.raises(RunFailed, match=r"02_train failed: .*figures"):
        execute("02_train", params)
    failed = json.loads(manifest.read_text())
    assert failed["status"] == "failed"
    assert "figures" in failed["error"]
    assert (tmp_path / "run" / "02_train.ipynb").is_file()
    in_the_way.unlink()
    late = params | {"max_seconds": 0.0}
    assert main(["run", "02_train", *(word for name, value in late.items() for word in ("-p", f"{name}={value}"))]) == 0
    said = capsys.readouterr().out
    assert re.search(r"02_train out of time \(max_seconds\) after .*; the same command continues it: ", said)
    assert "done in" not in said
    assert json.loads(manifest.read_text())["status"] == "out of time"
    assert load_state(RunFiles(tmp_path / "run").state)["inpaintkit_progress"]["steps_done"] == 1
    manifest.write_text(manifest.read_text()[:100])  # damaged in any way: only the checkpoint counts
    report = execute("02_train", params)
    assert "resumed at epoch 1, step 1" in capsys.readouterr().out
    assert report.metrics["eval_loss_after"] == run_manifest(demo / "02_train")["metrics"]["eval_loss_after"]
    assert json.loads(manifest.read_text())["status"] == "done"


def test_a_finished_run_is_recognised_and_unchanged(demo: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = demo / "02_train"
    before = {
        path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file() and ".lock" not in path.name
    }
    report = execute("02_train", step_params("02_train", demo, "smoke"))
    assert "this run is done, nothing was changed" in capsys.readouterr().out
    assert report.metrics["epochs"] == "2"
    assert {path: path.stat().st_mtime_ns for path in before} == before


def test_another_run_in_the_same_folder_is_refused_before_anything_is_written(demo: Path) -> None:
    manifest = (demo / "02_train" / "manifest.json").read_bytes()
    with pytest.raises(InputError, match="holds a run with other options"):
        execute("02_train", step_params("02_train", demo, "smoke") | {"learning_rate": 0.1})
    assert (demo / "02_train" / "manifest.json").read_bytes() == manifest
