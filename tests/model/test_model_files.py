"""Model files: iw3 loads what is written; reading never runs code and reports clearly what is wrong."""

from __future__ import annotations

import contextlib
import copy
import json
import math
import os
import pickle
import warnings
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save, save_file

from inpaintkit.__main__ import main
from inpaintkit.errors import InputError
from inpaintkit.model import LightInpaintV1, describe_checkpoint, load_model, load_state, save_model, save_state
from inpaintkit.seeds import torch_rng

pytestmark = pytest.mark.attack

FORMAT = json.loads((Path(__file__).parents[1] / "golden" / "checkpoint_format.json").read_text())
NAME = LightInpaintV1.name


@pytest.fixture(scope="module")
def model() -> LightInpaintV1:
    return LightInpaintV1(torch_rng("files"))


def iw3_dict(model: LightInpaintV1, **changes: Any) -> dict[str, Any]:
    """Return what iw3's trainer stores."""
    payload = {
        "nunif_model": 1,
        "name": NAME,
        "updated_at": "2025-01-31 12:34:56.789012+00:00",
        "kwargs": {},
        "train_kwargs": None,
        "state_dict": OrderedDict(model.state_dict()),
    }
    return {**payload, **changes}


def same_weights(a: LightInpaintV1, b: LightInpaintV1) -> bool:
    return all(torch.equal(tensor, b.state_dict()[name]) for name, tensor in a.state_dict().items())


def test_a_written_model_has_exactly_iw3s_layout(tmp_path: Path, model: LightInpaintV1) -> None:
    path = save_model(model, tmp_path / "new" / f"{NAME}.pth", epoch=7)
    payload = torch.load(path, weights_only=True)
    layout = FORMAT["best_model_file"]["layout"]
    assert list(payload) == [*layout, "inpaintkit"]
    assert payload["nunif_model"] == 1
    assert payload["name"] == NAME
    assert payload["kwargs"] == {}
    assert payload["train_kwargs"] is None
    assert isinstance(payload["state_dict"], OrderedDict)
    entry = FORMAT["models"]["light_inpaint_v1"]["state_dict"]
    assert {key: [list(t.shape), str(t.dtype)] for key, t in payload["state_dict"].items()} == {
        key: [item["shape"], f"torch.{item['dtype']}"] for key, item in entry.items()
    }
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def test_a_saved_model_comes_back_with_its_meta(tmp_path: Path, model: LightInpaintV1) -> None:
    meta = {"epoch": 7, "config": {"loss": "dct", "cycles": [1, 2.5, None]}, "score": math.inf}
    loaded, back = load_model(save_model(model, tmp_path / "m.pth", **meta))
    assert same_weights(model, loaded)
    assert {key: back[key] for key in meta} == meta
    assert back["updated_at"].endswith("+00:00")
    assert not loaded.training


def test_a_model_loads_from_a_folder_whose_name_is_not_utf8(tmp_path: Path, model: LightInpaintV1) -> None:
    folder = tmp_path / os.fsdecode(b"Schr\xf6der")
    try:
        folder.mkdir()
    except OSError:
        pytest.skip("this file system only takes UTF-8 names")
    assert same_weights(load_model(save_model(model, folder / "m.pth"))[0], model)


def test_weights_of_half_precision_load_as_float32(tmp_path: Path, model: LightInpaintV1) -> None:
    torch.save(iw3_dict(copy.deepcopy(model).half()), tmp_path / "half.pth")
    loaded, _ = load_model(tmp_path / "half.pth")
    assert all(p.dtype == torch.float32 for p in loaded.parameters())
    torch.testing.assert_close(loaded.patch[0].weight, model.patch[0].weight, rtol=1e-3, atol=1e-6)


def test_iw3s_best_model_and_training_state_load(tmp_path: Path, model: LightInpaintV1) -> None:
    torch.save(iw3_dict(model), tmp_path / "best.pth")
    assert same_weights(model, load_model(tmp_path / "best.pth")[0])
    moments = {
        "state": {0: {"step": torch.tensor(3.0), "exp_avg": torch.ones(2)}},
        "param_groups": [{"betas": (0.9, 0.999)}],
    }
    state = iw3_dict(
        model,
        train_kwargs={"loss": "l1lpips", "gpu": [0]},
        optimizer_state_dict=[moments],
        scheduler_state_dict=[{"T_0": 40}],
        grad_scaler_state_dict=[{}],
        best_loss=0.25,
        last_epoch=11,
    )
    torch.save(state, tmp_path / f"{NAME}.checkpoint.pth")
    loaded, meta = load_model(tmp_path / f"{NAME}.checkpoint.pth")
    assert same_weights(model, loaded)
    assert (meta["last_epoch"], meta["best_loss"], meta["train_kwargs"]["loss"]) == (11, 0.25, "l1lpips")
    assert load_state(tmp_path / f"{NAME}.checkpoint.pth")["scheduler_state_dict"] == [{"T_0": 40}]


def test_a_training_state_round_trips_and_is_a_model_too(tmp_path: Path, model: LightInpaintV1) -> None:
    optimizer = torch.optim.AdamW(model.parameters())
    payload = {"optimizer_state_dict": [optimizer.state_dict()], "last_epoch": 2, "rows": [{"epoch": 1, "loss": 0.5}]}
    path = save_state(model, tmp_path / "m.checkpoint.pth", payload)
    state = load_state(path)
    assert {key: state[key] for key in payload} == payload
    assert same_weights(model, load_model(path)[0])
    assert describe_checkpoint(path)["kind"] == "full state"


@pytest.mark.parametrize("value", [Path("x"), np.float64(1), {1, 2}, lambda: 0, {"deep": [object()]}, {None: 1}])
def test_values_unsafe_to_load_are_not_written(tmp_path: Path, model: LightInpaintV1, value: Any) -> None:
    with pytest.raises(TypeError, match="extra"):
        save_model(model, tmp_path / "m.pth", extra=value)
    with pytest.raises(TypeError, match="extra"):
        save_state(model, tmp_path / "m.pth", {"extra": value})
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_keeps_the_old_file(tmp_path: Path, model: LightInpaintV1, monkeypatch: pytest.MonkeyPatch) -> None:
    path = save_model(model, tmp_path / "m.pth", epoch=1)
    before = path.read_bytes()

    def full(self: Path, data: Any) -> int:
        self.touch()
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(InputError, match="the disk is full"):
        save_model(model, path, epoch=2)
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["m.pth"]


def test_inspect_describes_a_checkpoint(
    tmp_path: Path, model: LightInpaintV1, capsys: pytest.CaptureFixture[str]
) -> None:
    said = {"epoch": 4, "config": {"loss": "dct", "data_dir": "samples_v1"}}
    torch.save(iw3_dict(copy.deepcopy(model).half(), inpaintkit=said), tmp_path / "m.pth")
    assert main(["inspect", str(tmp_path / "m.pth")]) == 0
    lines = dict(line.strip().split(": ", 1) for line in capsys.readouterr().out.splitlines())
    assert (lines["architecture"], lines["parameters"], lines["dtype"]) == (NAME, "2259888", "float16")
    assert (lines["kind"], lines["epoch"]) == ("model", "4")
    assert "problem" not in lines
    assert lines["updated_at"].endswith("+00:00")
    assert "dct" in lines["config"]
    assert "samples_v1" in lines["config"]
    torch.save(iw3_dict(model, name="inpaint.light_video_inpaint_v1"), tmp_path / "video.pth")
    assert main(["inspect", str(tmp_path / "video.pth")]) == 0
    assert "problem: it holds iw3's video model" in capsys.readouterr().out


class Malicious:
    """An object that creates a file when unpickled, where an attack would run a program."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return Path.touch, (self.trace,)


def with_weight(model: LightInpaintV1, name: str, value: Any) -> dict[str, Any]:
    return iw3_dict(model, state_dict={**model.state_dict(), name: value})


def without_weight(model: LightInpaintV1, name: str) -> dict[str, Any]:
    return iw3_dict(model, state_dict={key: t for key, t in model.state_dict().items() if key != name})


BAD_DICTS: dict[str, tuple[Callable[[LightInpaintV1], Any], str]] = {
    "only weights": (lambda m: m.state_dict(), "not an iw3 or inpaintkit model"),
    "a tensor": (lambda m: torch.ones(3), "holds a Tensor"),
    "no name": (lambda m: {k: v for k, v in iw3_dict(m).items() if k != "name"}, "entry 'name'"),
    "no weights": (lambda m: iw3_dict(m, state_dict=None), "entry 'state_dict'"),
    "video": (lambda m: iw3_dict(m, name="inpaint.light_video_inpaint_v1"), "video model"),
    "other architecture": (lambda m: iw3_dict(m, name="sod.v1"), "'sod.v1'"),
    "unknown options": (lambda m: iw3_dict(m, kwargs={"foo": 1}), "unknown options foo"),
    "missing": (lambda m: without_weight(m, "mask_bias"), r"misses weights \(1: mask_bias\)"),
    "surplus": (lambda m: with_weight(m, "extra", torch.ones(1)), r"surplus weights \(1: extra\)"),
    "misshapen": (lambda m: with_weight(m, "up.bias", torch.ones(3)), r"misshapen weights \(1: up.bias\)"),
    "no tensor": (lambda m: with_weight(m, "up.bias", "text"), "misshapen"),
    "sparse": (lambda m: with_weight(m, "up.bias", torch.ones(384).to_sparse()), "misshapen"),
    "integers": (lambda m: with_weight(m, "up.bias", torch.ones(384, dtype=torch.int64)), "instead of float"),
    "NaN": (lambda m: with_weight(m, "up.bias", torch.full((384,), math.nan)), "up.bias holds NaN"),
    "infinite": (lambda m: with_weight(m, "up.bias", torch.full((384,), -math.inf)), "infinite"),
    "too large for float32": (
        lambda m: with_weight(m, "up.bias", torch.full((384,), 1e300, dtype=torch.float64)),
        "infinite",
    ),
    "complex": (lambda m: with_weight(m, "up.bias", torch.ones(384, dtype=torch.complex64)), "instead of float"),
    "without numbers": (lambda m: with_weight(m, "up.bias", torch.ones(384, device="meta")), "misshapen"),
    "claims a terabyte": (lambda m: with_weight(m, "up.bias", torch.ones(1).expand(10**12)), "misshapen"),
    "control characters": (lambda m: with_weight(m, "a\n\x1b[2J", torch.ones(1)), r"\(1: a\\n\\x1b\[2J\)"),
    "a name without end": (lambda m: with_weight(m, "a" * 10**6, torch.ones(1)), r"a…a+\)"),
    "an architecture without end": (lambda m: iw3_dict(m, name="a" * 10**6), "a…a+'"),
    "options in two lines": (lambda m: iw3_dict(m, kwargs={"x\ny": 1}), r"x\\ny"),
}


@pytest.mark.parametrize("kind", BAD_DICTS)
def test_a_wrong_model_is_refused_in_one_sentence(tmp_path: Path, model: LightInpaintV1, kind: str) -> None:
    make, reason = BAD_DICTS[kind]
    torch.save(make(model), tmp_path / "bad.pth")
    assert_refused(tmp_path / "bad.pth", reason)


def assert_refused(path: Path, reason: str) -> None:
    with pytest.raises(InputError, match=reason) as caught:
        load_model(path)
    message = str(caught.value)
    assert message.startswith(str(path))
    assert message.isprintable()
    assert len(message.removeprefix(str(path))) < 300
    assert ";" in message


def test_non_model_files_are_refused(tmp_path: Path, model: LightInpaintV1) -> None:
    whole = save_model(model, tmp_path / "whole.pth").read_bytes()
    files = {
        "empty.pth": (b"", "empty"),
        "text.pth": (b"epoch,loss\n1,2\n", "isn't in the format that PyTorch writes"),
        "page.safetensors": (b"<html>not found</html>", "damaged"),
        "cut.safetensors": (save(model.state_dict())[:5000], "damaged"),
        "cut.pth": (whole[: len(whole) // 2], "damaged or cut off"),
        "stub.pth": (whole[:100], "damaged or cut off"),
        "tail.pth": (b"\x80\x02}q\x00", "refused|damaged"),
        "list.pth": (pickle.dumps([1, 2]), "refused|damaged|holds a"),
    }
    assert_refused(tmp_path / "nowhere.pth", "does not exist")
    assert_refused(tmp_path, "is a folder")
    for name, (data, reason) in files.items():
        (tmp_path / name).write_bytes(data)
        assert_refused(tmp_path / name, reason)
    save_file(model.state_dict(), tmp_path / "nameless.safetensors")
    assert_refused(tmp_path / "nameless.safetensors", "doesn't say which model")


@pytest.mark.parametrize("compression", [zipfile.ZIP_DEFLATED, zipfile.ZIP_STORED])
def test_a_zip_bomb_is_refused_before_it_is_unpacked(
    tmp_path: Path, model: LightInpaintV1, compression: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.save(with_weight(model, "extra", torch.zeros(25_000_000)), tmp_path / "large.pth")
    bomb, read = tmp_path / "bomb.pth", []
    with zipfile.ZipFile(tmp_path / "large.pth") as large, zipfile.ZipFile(bomb, "w", compression) as small:
        for member in large.infolist():
            small.writestr(member.filename, large.read(member))
    monkeypatch.setattr(torch, "load", lambda *args, **options: read.append(args) or iw3_dict(model))
    if compression == zipfile.ZIP_STORED:
        load_model(bomb)
        assert read, "what is as large as it says gets as far as torch"
    else:
        assert bomb.stat().st_size < 12_000_000
        assert_refused(bomb, "would unpack to more than its own size")
        assert not read


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes here")
def test_a_pipe_is_refused_without_waiting(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.pth")
    assert_refused(tmp_path / "pipe.pth", "device or a pipe")


def test_a_path_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"can't be read|does not exist"):
        load_model(tmp_path / ("a" * 300))


@pytest.mark.parametrize("store", [torch.save, lambda value, path: path.write_bytes(pickle.dumps(value, protocol=2))])
def test_code_in_a_file_never_runs(tmp_path: Path, model: LightInpaintV1, store: Callable[[Any, Path], Any]) -> None:
    trace, path = tmp_path / "trace", tmp_path / "attack.pth"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        store({"nunif_model": 1, "payload": Malicious(trace)}, path)
    for read in (load_model, load_state, describe_checkpoint):
        with pytest.raises(InputError, match="refused"):
            read(path)
    assert not trace.exists()


def test_flipped_bytes_are_refused_or_harmless(tmp_path: Path, model: LightInpaintV1) -> None:
    data = bytearray(save_model(model, tmp_path / "m.pth").read_bytes())
    rng = np.random.default_rng(0)
    path = tmp_path / "flipped.pth"
    for position in rng.integers(0, 4000, 25):
        broken = bytearray(data)
        broken[position] ^= 0xFF
        path.write_bytes(broken)
        with contextlib.suppress(InputError):
            loaded, _ = load_model(path)
            assert all(bool(torch.isfinite(p).all()) for p in loaded.parameters())


def test_nan_weights_are_not_saved_over_a_good_model(tmp_path: Path, model: LightInpaintV1) -> None:
    path = save_model(model, tmp_path / "m.pth")
    broken = LightInpaintV1()
    with torch.no_grad():
        broken.up.bias[0] = math.nan
    with pytest.raises(InputError, match="not written"):
        save_model(broken, path)
    assert same_weights(load_model(path)[0], model)
