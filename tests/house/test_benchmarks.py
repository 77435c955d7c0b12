"""The benchmarks that reach into the trainers still run."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
SMALL = {
    "bench_train": ["--crops", "64", "--batches", "1", "--perceptual", "alex", "--repeats", "1", "--device", "cpu"],
    "bench_gan": ["--sizes", "1x72", "--perceptual", "alex", "--repeats", "1", "--device", "cpu"],
}


def test_the_network_that_generation_waits_for_is_timed_where_bf16_is_fast(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    monkeypatch.setattr("inpaintkit.depth.network_model.bf16_is_fast", lambda: True)
    import bench_generate

    monkeypatch.setattr(bench_generate, "NETWORK_SECONDS", 0.05)
    model = bench_generate.TimedModel()
    assert model.seconds == 0
    model.infer(torch.rand(1, 3, 64, 64))
    assert model.seconds >= 0.05


@pytest.mark.parametrize("name", SMALL)
def test_a_step_is_measured(name: str) -> None:
    printed = subprocess.run(
        [sys.executable, str(BENCHMARKS / f"{name}.py"), *SMALL[name]], capture_output=True, text=True, check=False
    )
    assert printed.returncode == 0, printed.stderr
    rows = [line for line in printed.stdout.splitlines() if re.match(r"\| 1 ?x", line)]
    assert rows, printed.stdout


def test_what_a_gpu_has_to_show_is_rehearsed_and_a_part_that_fails_stops_no_other(tmp_path: Path) -> None:
    """Without records there is nothing to fine-tune; then they are made, and steps are measured on them."""
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
