"""The page on using your own network, truth or loss: its examples run as they stand."""

import re
from pathlib import Path

import pytest
from toy_records import write_records

ROOT = Path(__file__).parents[2]
SIZE = '"num_samples": 64'
SMALL = '"num_samples": 1, "batch_size": 1, "backward_step": 1, "crop_size": 72, "amp": "off"'


def test_the_code_on_the_page_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    page = (ROOT / "docs" / "from_python.md").read_text(encoding="utf-8")
    code = "\n".join(re.findall(r"```python\n(.*?)```", page, re.DOTALL))
    assert code.count(SIZE) == 1
    for split in ("train", "eval"):
        write_records(tmp_path / "data" / "mine" / split, 2, textured=True)
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "released").symlink_to(ROOT / "models" / "released")
    monkeypatch.chdir(tmp_path)
    exec(compile(code.replace(SIZE, SMALL), "from_python.md", "exec"), {"__name__": "__main__"})
    said = capsys.readouterr().out
    assert "| mine against | PSNR |" in said
    assert "## ramps: 8 records from 8 pictures" in said
    (losses,) = (tmp_path / "models" / "charbonnier").glob("loss_*.csv")
    assert losses.read_text(encoding="utf-8").startswith("epoch,split,total,hole_psnr"), "no term of the kit's own loss"
