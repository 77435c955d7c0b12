"""Training and evaluation on a machine with torch and little else: what isn't used needn't be installed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from toy_data import write_record

from inpaintkit.config import TrainConfig
from inpaintkit.errors import InputError
from inpaintkit.model import LightInpaintV1
from inpaintkit.training import create_optimizer

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
import inpaintkit.data, inpaintkit.depth, inpaintkit.inspection, inpaintkit.synthesis, inpaintkit.training
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


def test_every_room_imports_and_a_model_is_trained_and_evaluated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for split in ("train", "eval"):
        for number in range(2):
            write_record(tmp_path / split, number)
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent), prepend=":")
    done = subprocess.run([sys.executable, "-c", BLOCKED + TRAIN, str(tmp_path)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "6"


def test_a_missing_optimiser_is_named_in_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "schedulefree", None)  # importing it fails as if it weren't installed
    with pytest.raises(InputError, match=r"^optimizer: adamw_schedulefree needs"):
        create_optimizer(TrainConfig(optimizer="adamw_schedulefree"), LightInpaintV1())
