"""The benchmarks that reach into the trainers still run."""

from __future__ import annotations

import importlib
import json
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from inpaintkit.inspection import Case, Truth
from inpaintkit.seeds import torch_rng
from inpaintkit.training.adversarial import warmup_weight

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
SMALL = {
    "bench_train": ["--crops", "64", "--batches", "1", "--perceptual", "alex", "--repeats", "1", "--device", "cpu"],
    "bench_gan": ["--sizes", "1x72", "--perceptual", "alex", "--repeats", "1", "--device", "cpu"],
}


def test_the_depth_network_is_timed_where_bf16_is_fast(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    monkeypatch.setattr("inpaintkit.depth.network_model.bf16_is_fast", lambda: True)
    import bench_generate

    monkeypatch.setattr(bench_generate, "NETWORK_SECONDS", 0.05)
    model = bench_generate.TimedModel()
    assert model.seconds == 0
    model.infer(torch.rand(1, 3, 64, 64))
    assert model.seconds >= 0.05


def test_detail_is_located_in_its_cell_whatever_its_sign(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import detail_by_place

    rng = torch_rng("places")
    picture = 0.1 * torch.rand(1, 3, 128, 128, generator=rng) + 0.4
    signs = torch.randint(-1, 2, (16, 16), generator=rng)
    dotted = picture.clone()
    dotted[..., 2::8, 5::8] += 0.3 * signs
    hole = torch.ones(1, 1, 128, 128, dtype=torch.bool)
    truth = Truth("toys", ["toy"], lambda _: Case("toy", "toy", picture, hole, picture, hole))
    even, seen = (detail_by_place.energy_by_place(truth, fill) for fill in (None, lambda picture, hole, eye: dotted))
    assert even.max() < 1.5
    assert seen.argmax() == 2 * 8 + 5
    assert seen.max() > 3


def test_the_steps_of_a_sample_are_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import bench_generate
    import bench_train

    bench_train.write_records(tmp_path)
    monkeypatch.setattr(bench_generate, "milliseconds", lambda work: float(work() is None))
    bench_generate.bench_samples(tmp_path / "train")
    assert "| whole training sample |" in capsys.readouterr().out


@pytest.mark.parametrize("name", SMALL)
def test_a_step_is_measured(name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    monkeypatch.setattr("sys.argv", [name, *SMALL[name]])
    importlib.import_module(name).main()
    printed = capsys.readouterr().out
    assert [line for line in printed.splitlines() if re.match(r"\| 1 ?x", line)], printed


@pytest.fixture
def scope(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import gpu_parts

    (tmp_path / "work").mkdir()
    return gpu_parts.Scope("cpu", tmp_path / "work", time.monotonic() + 60, small=True)


def test_a_gpu_is_compared_with_the_cpu_in_full_precision(scope: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """As the kit computes; in TF32, torch's default, soft masks and similarities would be reported as wrong."""
    import gpu_checks
    import gpu_parts

    monkeypatch.setattr("torch.backends.cudnn.allow_tf32", True)
    monkeypatch.setattr(gpu_checks, "CHECKS", [lambda place: {"tf32": float(torch.backends.cudnn.allow_tf32)}])
    assert gpu_parts.checks(scope)["tf32"]["value"] == 0


def test_a_gan_step_is_measured_with_its_adversarial_term(scope: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A few dozen steps of the warm-up would be cheaper than a training's usual steps."""
    import gpu_parts

    monkeypatch.setattr(gpu_parts, "GanTrainer", lambda config, callbacks: config)
    config = gpu_parts.make_trainer("gan", gpu_parts.run_options(scope, "alex"))
    assert warmup_weight(1, config.generator_warmup_iteration) == 1


def test_the_second_call_adds_to_the_first_and_makes_records_where_there_are_none(
    scope: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import gpu
    import gpu_parts

    class Done:
        def __init__(self, command: list[str], **options: Any) -> None:
            part = command[command.index("--part") + 1]
            (scope.work / f"{part}.json").write_text(json.dumps({"by": part}))

        def wait(self) -> int:
            return 0

    monkeypatch.setattr("subprocess.Popen", Done)
    (scope.data / "eval").mkdir(parents=True)
    gpu.run_parts(["checks"], scope, tmp_path)
    (scope.data / "eval").rmdir()
    gpu.run_parts(["train"], scope, tmp_path)
    parts = json.loads((tmp_path / "results.json").read_text())["parts"]
    assert {name: part["result"]["by"] for name, part in parts.items()} == {
        name: name for name in ("checks", "generate", "train")
    }
    assert "## checks" in (tmp_path / "results.md").read_text()
    monkeypatch.setattr(gpu_parts, "measured", lambda scope, row: {"samples/s": 7.0})
    assert gpu_parts.planned(scope, "plain", 10)["num_samples"] == pytest.approx(7 * 50 / 2, rel=0.05), "no guess"


def test_the_time_of_a_part_begins_when_all_is_loaded(scope: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a busy machine loading alone would use up a small limit."""
    import gpu

    words = ["gpu.py", "--part", "checks", "--limit", "40", "--work", str(scope.work), "--rehearsal"]
    monkeypatch.setattr("sys.argv", words)
    monkeypatch.setitem(gpu.PARTS, "checks", lambda scope: {"left": scope.left, "alarm": signal.alarm(0)})
    gpu.main()
    found = json.loads((scope.work / "checks.json").read_text())
    assert found["left"] > 39
    assert found["alarm"] == 40 + gpu.GRACE, "what ends a part that doesn't end by itself"


def test_gpu_checks_can_be_rehearsed_and_a_failed_part_stops_no_other(tmp_path: Path) -> None:
    """Without records there is nothing to fine-tune, so that part fails; the next ones make records and use them."""
    command = [
        sys.executable,
        str(BENCHMARKS / "gpu.py"),
        "gan",
        "generate",
        "table",
        "--rehearsal",
        "--seconds",
        "300",
    ]
    done = subprocess.run([*command, "--work", str(tmp_path / "work"), "--out", str(tmp_path / "out")], check=False)
    assert done.returncode == 0
    results = json.loads((tmp_path / "out" / "results.json").read_text())
    endings = {name: part["ending"] for name, part in results["parts"].items()}
    assert endings == {"gan": "FAILED, see log.txt", "generate": "done", "table": "done"}
    assert results["parts"]["generate"]["result"]["records"] > 0
    assert [row["kind"] for row in results["parts"]["table"]["result"]["rows"]] == ["plain", "gan"]
    assert all(row["samples/s"] > 0 for row in results["parts"]["table"]["result"]["rows"])
    assert "samples/s" in (tmp_path / "out" / "results.md").read_text()
    assert "arithmetic: off, as asked" in (tmp_path / "out" / "log.txt").read_text()
