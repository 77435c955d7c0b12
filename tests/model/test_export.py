"""Exports: safetensors that load unchanged, ONNX that fills as the model does, and an entry for iw3's configuration."""

from __future__ import annotations

import contextlib
import importlib.util
import io
import json
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
import yaml
from safetensors.torch import load_file

from inpaintkit.__main__ import main
from inpaintkit.errors import InputError
from inpaintkit.model import (
    LightInpaintV1,
    describe_checkpoint,
    export_checkpoint,
    export_onnx,
    export_safetensors,
    iw3_snippet,
    load_model,
    save_model,
)
from inpaintkit.seeds import torch_rng

pytestmark = pytest.mark.slow


def test_safetensors_come_back_with_their_meta(tmp_path: Path) -> None:
    model = LightInpaintV1(torch_rng("export"))
    path = export_safetensors(model, tmp_path / "model.safetensors", epoch=3, config={"loss": "l1lpips"})
    loaded, meta = load_model(path)
    assert all(torch.equal(tensor, model.state_dict()[name]) for name, tensor in loaded.state_dict().items())
    assert meta["epoch"] == 3
    assert meta["config"] == {"loss": "l1lpips"}
    assert load_file(path).keys() == model.state_dict().keys()
    assert describe_checkpoint(path)["architecture"] == LightInpaintV1.name


@pytest.mark.parametrize("name", ["mine", "ours: sharp", "夜"])
def test_the_iw3_entry_is_yaml_with_an_absolute_path(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    snippet = iw3_snippet(f"{name}/a model.pth")
    assert yaml.safe_load(snippet) == {name: {"image": str(tmp_path / name / "a model.pth")}}
    assert len(snippet.splitlines()) == 1
    assert iw3_snippet("light_inpaint_v1/a.pth").startswith("my_light_inpaint_v1: "), "iw3 keeps its own of that name"


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, str]:
    """Export to ONNX with the command; return the checkpoint, the file and the output."""
    folder = tmp_path_factory.mktemp("onnx")
    # grey start: with the plain one, outputs go beyond 0..1 and clamping would hide differences
    checkpoint = save_model(LightInpaintV1(torch_rng("onnx"), grey_start=True), folder / "mine.pth", epoch=3)
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        assert main(["export", str(checkpoint), "-o", str(folder / "model.onnx")]) == 0
    return checkpoint, folder / "model.onnx", printed.getvalue()


@pytest.fixture
def exported(written: tuple[Path, Path, str]) -> tuple[LightInpaintV1, Path]:
    return load_model(written[0])[0], written[1]


@pytest.mark.parametrize("shape", [(1, 64, 64), (2, 63, 65), (1, 16, 16), (3, 130, 257), (1, 360, 641)])
def test_onnx_fills_pictures_of_any_size_as_the_model_does(
    exported: tuple[LightInpaintV1, Path], shape: tuple[int, int, int]
) -> None:
    model, path = exported
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    count, height, width = shape
    picture = torch.rand(count, 3, height, width, generator=torch_rng("onnx picture", height))
    hole = torch.zeros(count, 1, height, width)
    hole[:, :, height // 4 : height // 2, width // 3 : width // 2] = 1
    (filled,) = session.run(None, {"picture": picture.numpy(), "hole": hole.numpy()})
    with torch.inference_mode():
        expected = model.eval().infer(picture, hole)
    inside = expected[hole.expand_as(expected) == 1]
    assert ((inside > 0) & (inside < 1)).float().mean() > 0.9
    assert (torch.from_numpy(filled) - expected).abs().max() < 1e-4


def test_onnx_ignores_what_lies_in_the_hole(exported: tuple[LightInpaintV1, Path]) -> None:
    session = onnxruntime.InferenceSession(exported[1], providers=["CPUExecutionProvider"])
    hole = np.zeros((1, 1, 64, 64), np.float32)
    hole[..., 20:40, 20:40] = 1
    fills = [session.run(None, {"picture": hole.repeat(3, 1) * value, "hole": hole})[0] for value in (0, 1)]
    assert np.array_equal(*fills)


def test_the_onnx_file_holds_names_sizes_and_origin(exported: tuple[LightInpaintV1, Path]) -> None:
    _, path = exported
    file = onnx.load(path)
    onnx.checker.check_model(file, full_check=True)
    shapes = {
        value.name: [side.dim_param or side.dim_value for side in value.type.tensor_type.shape.dim]
        for value in [*file.graph.input, *file.graph.output]
    }
    assert shapes == {
        "picture": ["batch", 3, "height", "width"],
        "hole": ["batch", 1, "height", "width"],
        "filled": ["batch", 3, "height", "width"],
    }
    assert {entry.key: entry.value for entry in file.metadata_props}["name"] == LightInpaintV1.name
    assert json.loads({entry.key: entry.value for entry in file.metadata_props}["inpaintkit"]) == {"epoch": 3}
    assert b"inpaintkit/model" not in path.read_bytes()  # no paths of the machine that wrote it


def test_the_command_to_install_missing_onnx_packages_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.onnx, "export", lambda *args, **kwargs: pytest.fail("exported without the packages"))
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"pip install onnx onnxscript"):
        export_onnx(LightInpaintV1(torch_rng("export")), tmp_path / "model.onnx")
    assert not list(tmp_path.iterdir())


def assert_entry(printed: str, checkpoint: Path, target: Path) -> None:
    assert str(target) in printed
    assert yaml.safe_load(printed.splitlines()[-1]) == {checkpoint.parent.name: {"image": str(checkpoint)}}


def test_the_command_exports_and_prints_the_entry_for_iw3(
    written: tuple[Path, Path, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    checkpoint, target, printed = written
    assert_entry(printed, checkpoint, target)
    assert main(["export", str(checkpoint), "-o", str(tmp_path / "out.safetensors")]) == 0
    assert_entry(capsys.readouterr().out, checkpoint, tmp_path / "out.safetensors")
    assert load_model(tmp_path / "out.safetensors")[1]["epoch"] == 3
    (tmp_path / "hub").mkdir()
    (tmp_path / "hub" / "linked.pth").symlink_to(checkpoint)  # as in hubs' caches, whose files have no ending
    assert main(["export", str(tmp_path / "hub" / "linked.pth"), "-o", str(tmp_path / "OUT.SAFETENSORS")]) == 0
    assert_entry(capsys.readouterr().out, tmp_path / "hub" / "linked.pth", tmp_path / "OUT.SAFETENSORS")


def test_an_export_never_overwrites_its_checkpoint(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    checkpoint = save_model(LightInpaintV1(torch_rng("export")), tmp_path / "mine.pth")
    before = checkpoint.read_bytes()
    assert main(["export", str(checkpoint), "-o", str(checkpoint), "--format", "safetensors"]) == 2
    assert "it is the checkpoint itself" in capsys.readouterr().err
    assert checkpoint.read_bytes() == before


def test_an_unknown_ending_is_refused_before_work(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["export", str(tmp_path / "none.pth"), "-o", str(tmp_path / "x.tflite")]) == 2
    assert "--format" in capsys.readouterr().err


def test_an_unknown_format_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="format: 'tflite' is unknown; choose one of onnx, safetensors"):
        export_checkpoint(tmp_path / "none.pth", tmp_path / "x.onnx", "tflite")
