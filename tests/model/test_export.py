"""What other programs get: safetensors that come back unchanged, and a configuration entry that iw3 understands."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import yaml
from safetensors.torch import load_file

from inpaintkit.errors import InputError
from inpaintkit.model import LightInpaintV1, describe_checkpoint, export_safetensors, iw3_snippet, load_model
from inpaintkit.seeds import torch_rng


def test_safetensors_come_back_with_their_meta(tmp_path: Path) -> None:
    model = LightInpaintV1(torch_rng("export"))
    path = export_safetensors(model, tmp_path / "model.safetensors", epoch=3, config={"loss": "l1lpips"})
    loaded, meta = load_model(path)
    assert all(torch.equal(tensor, model.state_dict()[name]) for name, tensor in loaded.state_dict().items())
    assert meta["epoch"] == 3
    assert meta["config"] == {"loss": "l1lpips"}
    assert load_file(path).keys() == model.state_dict().keys()
    assert describe_checkpoint(path)["architecture"] == LightInpaintV1.name


def test_a_damaged_safetensors_file_is_refused(tmp_path: Path) -> None:
    path = export_safetensors(LightInpaintV1(torch_rng("export")), tmp_path / "model.safetensors")
    path.write_bytes(path.read_bytes()[:5000])
    with pytest.raises(InputError, match="damaged"):
        load_model(path)


@pytest.mark.parametrize("name", ["mine", "ours: sharp", "夜"])
def test_the_iw3_entry_is_yaml_with_an_absolute_path(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    snippet = iw3_snippet("models/a model.pth", name)
    assert yaml.safe_load(snippet) == {name: {"image": str(tmp_path / "models" / "a model.pth")}}
    assert len(snippet.splitlines()) == 1
