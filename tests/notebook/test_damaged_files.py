"""Damaged files of the kit: one sentence, or made anew, never a traceback; a batch goes on with its other jobs."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml
from toy_files import copy_photos

from inpaintkit.__main__ import main
from inpaintkit.config import GenerateConfig
from inpaintkit.data import generate_dataset, read_manifest
from inpaintkit.data.review import list_records
from inpaintkit.errors import InputError
from inpaintkit.inspection.run_state import describe_run, read_run
from inpaintkit.notebook import TrainingMonitor, run_folder, runs

pytestmark = pytest.mark.attack

DAMAGE = {
    "empty": b"",
    "cut off": b'{"status": "do',
    "a list": b"[[1, 2]]",
    "a number": b"5",
    "pairs": b'[["status", "done"]]',
    "nothing": b"null",
    "no text": b"\xff\xfe\x00",
    "zeros": bytes(300),
    "deep": b"[" * 100_000,
    "one long line": b"a" * 200_000,
}
WRONG = {
    "other types within": b'{"params": 5, "status": [1], "metrics": 7, "seconds": "x"}',
    "another's": b'{"status": "done", "params": {"max_epoch": "many"}}',
}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with two photos in ``in`` and the data set made of them in ``out``."""
    root = tmp_path_factory.mktemp("made")
    copy_photos(root / "in", train="cat_face", eval="astronaut")
    generate_dataset(of(root))
    return root


def of(root: Path) -> GenerateConfig:
    return GenerateConfig(str(root / "in"), str(root / "out"), "p", size=256, num_samples=1, resolution=224, workers=0)


@pytest.fixture
def config(made: Path, tmp_path: Path) -> GenerateConfig:
    """Return the configuration of a finished data set of two photos."""
    shutil.copytree(made, tmp_path, dirs_exist_ok=True)
    return of(tmp_path)


@pytest.mark.parametrize("kind", DAMAGE | WRONG)
def test_a_damaged_run_only_loses_how_it_ended(kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "manifest.json").write_bytes((DAMAGE | WRONG)[kind])
    (tmp_path / "metrics.csv").write_bytes((DAMAGE | WRONG)[kind])
    (tmp_path / "loss_x.csv").write_bytes((DAMAGE | WRONG)[kind])
    found = run_folder.run_manifest(tmp_path)
    said = capsys.readouterr().out
    assert (not found) == ("is damaged and is ignored" in said) == (kind in DAMAGE)
    run_folder.read_metrics(tmp_path)
    assert "no epoch yet" in describe_run(read_run(tmp_path))
    TrainingMonitor(tmp_path).widget()


@pytest.mark.parametrize("kind", DAMAGE)
@pytest.mark.parametrize("name", ["parameters.json", "train/pictures.json", "train/000000.jsonl"])
def test_a_damaged_manifest_of_a_data_set_is_named(
    name: str, kind: str, config: GenerateConfig, tmp_path: Path
) -> None:
    path = tmp_path / "out" / "manifest" / "p_FastDepth" / name
    path.write_bytes(DAMAGE[kind])
    if (name, kind) == ("train/000000.jsonl", "empty"):
        assert generate_dataset(config).records > 0, "a part without rows isn't finished: it is made anew"
        return
    with pytest.raises(InputError, match=f"{path} is damaged; .* again"):
        generate_dataset(config)
    if name.endswith(".jsonl"):
        for read in (
            lambda: list_records(tmp_path / "out"),
            lambda: list(read_manifest(tmp_path / "out", "p_FastDepth")),
        ):
            with pytest.raises(InputError, match="is damaged"):
                read()


NO_SIZE = '{"picture": "a_C.png", "hole": "a_M.png", "size": 0, "hole_pixels": 5}'


@pytest.mark.parametrize(
    "row", ['{"picture": 5}', '{"picture": "../x_C.png", "hole": "y"}', '{"picture": "a_C.png"}', NO_SIZE]
)
def test_invalid_rows_of_a_manifest_are_damage(row: str, config: GenerateConfig, tmp_path: Path) -> None:
    part = tmp_path / "out" / "manifest" / "p_FastDepth" / "train" / "000000.jsonl"
    part.write_text(f"{row}\n{row}\n")
    with pytest.raises(InputError, match="is damaged"):
        list_records(tmp_path / "out")


@pytest.mark.parametrize("cut", ["emptied", "a line less"])
def test_a_part_that_lost_rows_is_made_anew(cut: str, config: GenerateConfig, tmp_path: Path) -> None:
    part = tmp_path / "out" / "manifest" / "p_FastDepth" / "train" / "000000.jsonl"
    whole = part.read_bytes()
    part.write_bytes(b"" if cut == "emptied" else whole[: whole.index(b"\n") + 1])
    generate_dataset(config)
    assert part.read_bytes() == whole


class TestBatch:
    @pytest.mark.parametrize("name", ["parameters.json", "run"])
    def test_goes_on_with_the_other_jobs(
        self,
        name: str,
        config: GenerateConfig,
        tmp_path: Path,
        capsys: pytest.CaptureFixture[str],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        def execute(notebook: str, params: dict[str, Any]) -> runs.RunReport:
            """Do what the notebook does, without a kernel."""
            records = generate_dataset(GenerateConfig(**params)).records
            return runs.RunReport(notebook, Path(), 1.0, {"records": str(records)})

        monkeypatch.setattr(runs, "execute", execute)
        out = tmp_path / "out"
        (out / "runs" / "p_FastDepth").mkdir(parents=True)
        damaged = out / "manifest" / "p_FastDepth" / name if name != "run" else out / "runs/p_FastDepth/manifest.json"
        damaged.write_text('{"status": "do')
        common = {"output_dir": str(out), "size": 256, "num_samples": 1, "resolution": 224, "workers": 0}
        jobs = {
            "common": common | {"dataset_dir": str(tmp_path / "in")},
            "data_sets": ["p", "q"],
            "depth_models": ["FastDepth"],
        }
        (tmp_path / "jobs.yaml").write_text(yaml.safe_dump(jobs | {"on_error": "skip"}))
        status = main(["batch", str(tmp_path / "jobs.yaml")])
        said = capsys.readouterr()
        assert "is damaged" in said.out
        assert "| q_FastDepth | done |" in said.out
        assert status == (1 if name != "run" else 0)


@pytest.mark.parametrize(
    ("plan", "said"),
    [
        ("folder: x\nruns: {a: 5}", "runs: a must have parameters under it"),
        ("folder: x\nruns: {}", "under `runs` a name for each run"),
        ("folder: x\ncommon: 5\nruns: {a: {notebook: 02_train}}", "common must have parameters under it"),
        ('folder: x\nruns: {"../../up": {notebook: 02_train}}', "can't be a run's folder"),
        ('folder: "a\\0b"\nruns: {a: {notebook: 02_train}}', "can't be a path"),
    ],
)
def test_a_recipe_of_other_types_is_refused(
    plan: str, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "recipe.yaml").write_text(plan)
    assert main(["recipe", str(tmp_path / "recipe.yaml"), "--dry-run"]) == 2
    assert said in one_line(capsys)


@pytest.mark.parametrize("pattern", ["*_x", "[ab]*", "[", "3*"])
def test_a_pattern_is_taken_as_typed(pattern: str) -> None:
    from inpaintkit.notebook.parameters import parse_assignments

    assert parse_assignments("02_train", [f"eval_records={pattern}"]) == {"eval_records": pattern}
    assert parse_assignments("02_train", ["eval_records=3"]) == {"eval_records": 3}


def one_line(capsys: pytest.CaptureFixture[str]) -> str:
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert said.startswith("inpaintkit: ")
    return said
