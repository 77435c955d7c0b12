"""Training and judging on a machine that has torch and little else: what isn't used needn't be installed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from toy_data import write_record

LEFT_OUT = (
    "IPython", "av", "huggingface_hub", "ipywidgets", "jupyter", "jupyter_client", "matplotlib", "nbformat", "papermill",
    "schedulefree", "skimage", "tensorboard", "transformers",
)  # fmt: skip

BLOCKED = f"""
import sys

class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {LEFT_OUT!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Missing())
"""

TRAIN = """
from pathlib import Path
from inpaintkit.config import TrainConfig
from inpaintkit.data import InpaintDataset
from inpaintkit.inspection import Inpainter, evaluate, make_fills, record_truth
from inpaintkit.training import Trainer
from toy_data import TINY

root = Path(sys.argv[1])
report = Trainer(TrainConfig.from_params(TINY | {"data_dir": str(root), "model_dir": str(root / "run")})).fit()
truth = record_truth(InpaintDataset(root / "eval", training=False, crop_size=64))
print(len(evaluate({"model": Inpainter(report.model_file)} | make_fills("row, telea"), truth).scores))
"""


def run(code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", BLOCKED + code, *arguments], capture_output=True, text=True)


@pytest.mark.parametrize("room", ["training", "inspection", "data", "depth", "synthesis"])
def test_a_room_is_imported(room: str) -> None:
    done = run(f"import inpaintkit.{room}")
    assert done.returncode == 0, done.stderr


def test_a_model_is_trained_and_judged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for split in ("train", "eval"):
        for number in range(2):
            write_record(tmp_path / split, number)
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent), prepend=":")
    done = run(TRAIN, str(tmp_path))
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "6"


def test_an_optimiser_that_is_missing_is_named_in_a_sentence() -> None:
    code = """
from inpaintkit.config import TrainConfig
from inpaintkit.model import LightInpaintV1
from inpaintkit.training import create_optimizer
create_optimizer(TrainConfig(optimizer="adamw_schedulefree"), LightInpaintV1())
"""
    assert (
        run(code)
        .stderr.splitlines()[-1]
        .startswith("inpaintkit.errors.InputError: optimizer: adamw_schedulefree needs")
    )
