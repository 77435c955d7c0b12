"""Batches: checked as a whole, each job in a run folder of its own, failures handled as asked, nothing done twice."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest
import yaml
from papermill.exceptions import PapermillExecutionError
from toy_files import SAMPLES, copy_photos

from inpaintkit.__main__ import main
from inpaintkit.config import GenerateConfig
from inpaintkit.data import data_set_names, generate_dataset
from inpaintkit.data.manifest import lock
from inpaintkit.errors import InputError, RunFailed
from inpaintkit.files import FolderLock
from inpaintkit.notebook import run_folder
from inpaintkit.notebook.batch import DONE_BEFORE, FAILED, NOT_RUN, Outcome, load_batch, run_batch
from inpaintkit.notebook.project import find_project

pytestmark = pytest.mark.attack


@pytest.fixture
def plan(tmp_path: Path) -> dict:
    """Return a batch of two data sets of one photo each half, two models, two variants."""
    for name, photo in {"cats": "cat_face", "flowers": "dahlia"}.items():
        copy_photos(tmp_path / name, train=photo, eval="astronaut")
    return {
        "on_error": "stop",
        "common": {"output_dir": str(tmp_path / "out"), "size": 256, "num_samples": 1, "resolution": 224, "workers": 0},
        "data_sets": {name: {"dataset_dir": str(tmp_path / name)} for name in ("cats", "flowers")},
        "depth_models": ["FastDepth", "File"],
        "variants": {"weak": {"divergence_level": 1}, "strong": {"divergence_level": 3}},
    }


def write(plan: dict, folder: Path) -> Path:
    path = folder / "jobs.yaml"
    path.write_text(yaml.safe_dump(plan, sort_keys=False))
    return path


def refusal(plan: dict, folder: Path) -> str:
    with pytest.raises(InputError) as error:
        load_batch(write(plan, folder))
    return str(error.value)


class TestPlan:
    def test_jobs_are_data_sets_times_models_times_variants(self, plan: dict, tmp_path: Path) -> None:
        batch = load_batch(write(plan, tmp_path))
        assert [job.data_set_name for job in batch.jobs] == [
            f"{data}_{variant}_{model}"
            for data in ("cats", "flowers")
            for model in ("FastDepth", "File")
            for variant in ("weak", "strong")
        ]
        assert len({job.run_folder for job in batch.jobs}) == 8
        assert {job.divergence_level for job in batch.jobs if "_weak_" in job.data_set_name} == {1}

    def test_models_may_have_parameters_and_variants_may_be_missing(self, plan: dict, tmp_path: Path) -> None:
        plan |= {"depth_models": {"FastDepth": {"resolution": 256}}, "variants": None}
        assert [(job.data_set_name, job.resolution) for job in load_batch(write(plan, tmp_path)).jobs] == [
            ("cats_FastDepth", 256), ("flowers_FastDepth", 256),
        ]  # fmt: skip

    def test_names_are_what_the_file_says(self, plan: dict, tmp_path: Path) -> None:
        names = ["007", "1_000", "0x10", "off", "2024-05-01"]
        source = str(tmp_path / "cats")
        jobs = write(plan | {"depth_models": ["FastDepth"], "variants": {}, "data_sets": {}}, tmp_path)
        sets = "".join(f"  {name}: {{dataset_dir: {source}, seed: 010}}\n" for name in names)
        jobs.write_text(jobs.read_text().replace("data_sets: {}", f"data_sets:\n{sets}"))
        assert [job.prefix for job in load_batch(jobs).jobs] == names
        assert {job.seed for job in load_batch(jobs).jobs} == {10}, "YAML of old reads eight"
        whole = jobs.read_text()
        jobs.write_text(whole.replace("variants: {}", "variants:\n- 007\n- off"))
        assert [job.prefix for job in load_batch(jobs).jobs][:2] == ["007_007", "007_off"]
        jobs.write_text(whole + "variants: {strong: {}}\n")
        with pytest.raises(InputError, match="variants stands there twice"):
            load_batch(jobs)

    def test_all_problems_are_listed_before_anything_starts(self, plan: dict, tmp_path: Path) -> None:
        plan["data_sets"]["lost"] = {"dataset_dir": str(tmp_path / "nowhere")}
        plan["depth_models"] = ["FastDepht"]
        plan["variants"] = {"odd": {"divergence_level": 9}, "fine": {}}
        said = refusal(plan, tmp_path)
        assert "nothing was started: " in said
        assert len(re.findall(r"\w+_FastDepht: ", said)) == 7
        assert "cats_odd_FastDepht: divergence_level: 9 is out of range" in said
        assert "model_type: 'FastDepht' is unknown (did you mean FastDepth?)" in said
        assert "lost_fine_FastDepht: dataset_dir: the folder" in said
        assert not list((tmp_path / "out").glob("runs/*"))

    def test_an_unavailable_model_is_refused(self, plan: dict, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
        monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
        plan["depth_models"] = {"Any_L": {"hub_dir": str(tmp_path / "hub")}}
        assert "depth model Any_L: not downloaded" in refusal(plan, tmp_path)

    def test_data_sets_whose_files_would_mix_are_refused(self, plan: dict, tmp_path: Path) -> None:
        plan["data_sets"]["Cats"] = plan["data_sets"]["cats"]
        assert "Cats_weak_FastDepth: its files would mix with those of cats_weak_FastDepth" in refusal(plan, tmp_path)
        plan["data_sets"] = {"a": plan["data_sets"]["cats"], "a_b": plan["data_sets"]["cats"]}
        plan["variants"] = {"b_c": {}, "c": {}}
        assert "a_b_c_FastDepth: its files would mix" in refusal(plan, tmp_path)

    def test_a_run_folder_for_all_jobs_is_refused(self, plan: dict, tmp_path: Path) -> None:
        plan["common"]["run_dir"] = str(tmp_path / "run")
        assert "cats_strong_FastDepth: its run_dir is that of cats_weak_FastDepth" in refusal(plan, tmp_path)

    def test_a_data_set_begun_with_other_parameters_is_refused(self, plan: dict, tmp_path: Path) -> None:
        folder = tmp_path / "out" / "manifest" / "cats_weak_FastDepth"
        folder.mkdir(parents=True)
        (folder / "parameters.json").write_text('{"seed": 7}')
        assert "cats_weak_FastDepth: was begun with seed=7, not 0; clean it first" in refusal(plan, tmp_path)
        (folder / "parameters.json").write_text("{")
        assert "parameters.json is damaged" in refusal(plan, tmp_path)

    @pytest.mark.parametrize(
        ("change", "said"),
        [
            ({"data_set": {}}, "data_set is unknown (did you mean data_sets?)"),
            ({"on_error": "ignore"}, "on_error: 'ignore' is unknown; choose one of stop, skip, retry"),
            ({"unfinished": "maybe"}, "choose one of keep, clean"),
            ({"data_sets": {}}, "must each hold at least one entry"),
            ({"depth_models": "FastDepth"}, "depth_models must be a list of names"),
            ({"common": {"output_dir": 7}}, "output_dir: expected str, got 7 (int); put text that looks like"),
            ({"variants": {"any": {"model_type": "Any_B"}}}, "model_type follows from the names under depth_models"),
            ({"common": {"prefix": "x"}}, "prefix follows from the names under data_sets and variants; leave it out"),
            ({"variants": {"weak": 3}}, "variants: weak must have parameters under it"),
            ({"common": {"sizes": 3}}, "has no parameter sizes (did you mean size?)"),
            ({"common": 5}, "common must have parameters under it"),
            ({"common": {"output_dir": "a\0b"}}, "can't be a path"),
            ({"data_sets": [["a"]]}, "data_sets must be a list of names"),
            ({"data_sets": [{"a": 1}]}, "data_sets must be a list of names"),
            ({"data_sets": {"a": {1: 2}}}, "01_generate has no parameter 1;"),
            ({"data_sets": {"a": None}}, "a_weak_FastDepth: dataset_dir is missing; name a folder of pictures under a"),
        ],
    )
    def test_nonsensical_files_are_refused(self, change: dict, said: str, plan: dict, tmp_path: Path) -> None:
        assert said in refusal(plan | change, tmp_path)

    def test_the_shipped_example_can_be_run(self) -> None:
        batch = load_batch(find_project() / "params" / "batch.example.yaml")
        assert [job.data_set_name for job in batch.jobs] == ["samples_weak_FastDepth", "samples_strong_FastDepth"]

    def test_the_command_line_lists_jobs_with_overrides(
        self, plan: dict, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert main(["batch", str(write(plan, tmp_path)), "-p", "shard=1/4", "--dry-run"]) == 0
        lines = capsys.readouterr().out.splitlines()
        assert len(lines) == 8
        assert lines[0].endswith("cats_weak_FastDepth_shard1of4")
        assert not (tmp_path / "out").exists()
        assert main(["batch", str(tmp_path / "none.yaml")]) == 2


@pytest.fixture
def small(plan: dict, tmp_path: Path) -> dict:
    """Return a batch of two jobs."""
    return plan | {"depth_models": ["FastDepth"], "variants": {"strong": {"divergence_level": 3}}}


@pytest.fixture
def ran(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Run jobs without a kernel, which the demo's tests cover; return the list of those that ran."""
    names: list[str] = []

    def execute_notebook(source: str, target: str, parameters: dict, **others: object) -> None:
        config = GenerateConfig(**{name: value for name, value in parameters.items() if name != "preset"})
        names.append(config.prefix)
        try:
            run_folder.record(config, generate_dataset(config).summary())
        except InputError as error:
            raise PapermillExecutionError(0, 1, "", "InputError", str(error), []) from None

    monkeypatch.setattr("papermill.execute_notebook", execute_notebook)
    return names


def test_each_job_has_a_run_folder_and_a_second_call_does_nothing(
    small: dict, ran: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    del small["data_sets"]["cats"]
    jobs, out = write(small, tmp_path), tmp_path / "out"
    assert main(["batch", str(jobs)]) == 0
    assert data_set_names(out) == ["flowers_strong_FastDepth"]
    folder = out / "runs" / "flowers_strong_FastDepth"
    manifest = run_folder.run_manifest(folder)
    assert manifest["status"] == "done"
    assert int(manifest["metrics"]["records"]) > 0
    table = (out / "runs" / "batch_jobs.md").read_text()
    assert table in capsys.readouterr().out
    assert table.count("| done |") == 1
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*.png")}
    outcomes = run_batch(load_batch(jobs), lambda text: None)
    assert [outcome.state for outcome in outcomes] == [DONE_BEFORE]
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*.png")} == before
    next((out / "manifest").rglob("0*.jsonl")).unlink()  # as an interrupted clean-up leaves it
    assert [outcome.state for outcome in run_batch(load_batch(jobs), lambda text: None)] == [run_folder.DONE]
    assert ran == 2 * ["flowers_strong"]


def test_a_run_that_cannot_note_its_failure_still_gives_the_reason(
    plan: dict, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fill_the_disk(source: str, target: str, **others: object) -> None:
        folder = Path(target).parent
        shutil.rmtree(folder)
        folder.touch()  # nothing more can be written there
        raise PapermillExecutionError(0, 1, "", "InputError", "cannot write c.png: the disk is full", [])

    monkeypatch.setattr("papermill.execute_notebook", fill_the_disk)
    source, out = plan["data_sets"]["flowers"]["dataset_dir"], tmp_path / "out"
    assert main(["run", "01_generate", "-p", f"dataset_dir={source}", "-p", f"output_dir={out}", "-p", "prefix=f"]) == 1
    assert "01_generate failed: cannot write c.png: the disk is full" in capsys.readouterr().err


class TestFailures:
    """A job really fails: its pictures have changed since its data set was begun."""

    @pytest.fixture
    def failing(self, small: dict, tmp_path: Path) -> dict:
        """Begin the first job's data set with other pictures."""

        def stop(done: int, total: int, message: str) -> None:
            raise KeyboardInterrupt

        extra = tmp_path / "cats" / "eval" / "extra.jpg"
        shutil.copy(SAMPLES / "eval" / "paint_brushes.jpg", extra)
        first = load_batch(write(small, tmp_path)).jobs[0]
        with pytest.raises(KeyboardInterrupt):
            generate_dataset(first, stop)
        extra.unlink()
        return small

    def end(self, plan: dict, tmp_path: Path) -> list[Outcome]:
        """Run a batch that must fail and return the outcomes in its table."""
        said: list[str] = []
        with pytest.raises(RunFailed, match="1 of 2 jobs failed: cats_strong_FastDepth"):
            run_batch(load_batch(write(plan, tmp_path)), said.append)
        return [line.split(" | ")[1] for line in said[-1].splitlines()[2:]]  # type: ignore[misc]

    def test_stop_ends_the_batch(self, failing: dict, ran: list[str], tmp_path: Path) -> None:
        assert self.end(failing | {"on_error": "stop"}, tmp_path) == [FAILED, NOT_RUN]
        assert ran == ["cats_strong"]

    def test_skip_goes_on(self, failing: dict, ran: list[str], tmp_path: Path) -> None:
        assert self.end(failing | {"on_error": "skip"}, tmp_path) == [FAILED, run_folder.DONE]
        assert ran == ["cats_strong", "flowers_strong"]
        assert "eval pictures changed" in (tmp_path / "out" / "runs" / "batch_jobs.md").read_text()

    def test_retry_runs_the_failed_job_again_at_the_end(self, failing: dict, ran: list[str], tmp_path: Path) -> None:
        assert self.end(failing | {"on_error": "retry"}, tmp_path) == [FAILED, run_folder.DONE]
        assert ran == ["cats_strong", "flowers_strong", "cats_strong"]

    def test_retry_succeeds_when_the_cause_is_gone(self, failing: dict, ran: list[str], tmp_path: Path) -> None:
        batch = load_batch(write(failing | {"on_error": "retry"}, tmp_path))

        def tell(text: str) -> None:
            if "flowers_strong" in text and text.startswith("\n==="):
                shutil.copy(SAMPLES / "eval" / "paint_brushes.jpg", tmp_path / "cats" / "eval" / "extra.jpg")

        assert [outcome.state for outcome in run_batch(batch, tell)] == [run_folder.DONE, run_folder.DONE]
        assert len(ran) == 3

    def test_unfinished_output_is_kept_or_cleaned_as_asked(self, failing: dict, ran: list[str], tmp_path: Path) -> None:
        out = tmp_path / "out"
        self.end(failing | {"on_error": "skip"}, tmp_path)
        assert data_set_names(out) == ["cats_strong_FastDepth", "flowers_strong_FastDepth"]
        with lock(out, "cats_strong_FastDepth", "0/1"):  # it is in use, so it stays; the table is printed all the same
            self.end(failing | {"on_error": "skip", "unfinished": "clean"}, tmp_path)
        assert data_set_names(out) == ["cats_strong_FastDepth", "flowers_strong_FastDepth"]
        self.end(failing | {"on_error": "skip", "unfinished": "clean"}, tmp_path)
        assert data_set_names(out) == ["flowers_strong_FastDepth"]
        assert [path.parent.name for path in out.glob("[!.]*/cats_*")] == ["runs"]

    def test_finished_data_sets_and_the_data_of_refused_jobs_are_never_cleaned(
        self, small: dict, ran: list[str], tmp_path: Path
    ) -> None:
        del small["data_sets"]["flowers"]
        small |= {"on_error": "skip", "unfinished": "clean"}
        jobs, out = write(small, tmp_path), tmp_path / "out"

        def refusal(**overrides: object) -> str:
            said: list[str] = []
            with pytest.raises(RunFailed):
                run_batch(load_batch(jobs, overrides), said.append)
            assert said[-1].startswith("| data set |")
            return "".join(said)

        assert [outcome.state for outcome in run_batch(load_batch(jobs), lambda text: None)] == [run_folder.DONE]
        made = sorted(path for split in ("train", "eval") for path in (out / split).iterdir())
        (tmp_path / "cats" / "train" / "one_more.jpg").write_bytes((SAMPLES / "train" / "dahlia.jpg").read_bytes())
        for _ in range(2):
            assert "pictures were added" in (said := refusal(workers=1))
            assert "nothing deleted, it was finished before" in said
        assert "is not available" in refusal(device="cuda:9")
        with FolderLock(out / "runs" / "cats_strong_FastDepth", "run_dir", ".01_generate.lock"):
            assert "in use by process" in refusal(workers=1)
        assert sorted(path for split in ("train", "eval") for path in (out / split).iterdir()) == made

    def test_ctrl_c_keeps_what_is_done_and_says_how_to_go_on(
        self, small: dict, ran: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def tell(text: str) -> None:
            if text.startswith("\n=== 2"):
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt, match="run the same batch again to continue"):
            run_batch(load_batch(write(small, tmp_path)), tell)
        assert "| cats_strong_FastDepth | done |" in (tmp_path / "out" / "runs" / "batch_jobs.md").read_text()
