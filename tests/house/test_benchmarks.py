"""The benchmarks that reach into the trainers still run."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
SMALL = {
    "bench_train": ["--crops", "64", "--batches", "1", "--perceptual", "alex", "--repeats", "1", "--device", "cpu"],
    "bench_gan": ["--sizes", "1x64", "--perceptual", "alex", "--repeats", "1", "--device", "cpu"],
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
