"""Export a model: safetensors and ONNX for other programs, a configuration entry for iw3."""

import contextlib
import copy
import importlib.util
import json
import logging
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
import yaml
from safetensors.torch import save
from torch import Tensor, nn

from inpaintkit.config import require_known
from inpaintkit.errors import InputError
from inpaintkit.files import atomic_path, full_path
from inpaintkit.model.checkpoint import EXTRA_KEY, load_model, now
from inpaintkit.model.generator import LightInpaintV1

ONNX_PACKAGES = ("onnx", "onnxscript")
OPSET = 18  # the oldest that torch's exporter writes without converting
SMALLEST_SIDE, LARGEST_SIDE = 16, 16384  # px; sides that the exported graph takes
IW3_OWN = "light_inpaint_v1"
"""Name of iw3's own entry; iw3 silently ignores any other entry of that name."""

TRACED_SHAPE = (2, 200, 328)  # pictures, height, width: no multiples of 64, so that no size is taken for a constant


def _header(model: LightInpaintV1, meta: dict[str, Any]) -> dict[str, str]:
    return {"name": model.name, "updated_at": now(), EXTRA_KEY: json.dumps(meta)}


def export_safetensors(model: LightInpaintV1, path: str | Path, **meta: Any) -> Path:
    """Write the weights as float32 safetensors, atomically; `load_model` reads them back.

    The header holds ``name``, ``updated_at`` and, as JSON under ``inpaintkit``, the given `meta`.

    Raises:
        InputError: when the file can't be written.
    """
    weights = {name: tensor.detach().float().cpu().contiguous() for name, tensor in model.state_dict().items()}
    with atomic_path(path) as temporary:
        temporary.write_bytes(save(weights, _header(model, meta)))
    return Path(path)


class _WholePicture(nn.Module):
    """The module that is exported: `LightInpaintV1.infer` without closing and dilation."""

    def __init__(self, model: LightInpaintV1) -> None:
        super().__init__()
        self.model = copy.deepcopy(model).float().cpu().requires_grad_(False)

    def forward(self, picture: Tensor, hole: Tensor) -> Tensor:
        return self.model.infer(picture, hole)


@contextlib.contextmanager
def _quiet_exporter() -> Iterator[None]:
    """Suppress what torch's exporter reports about its own internals, within the context only."""
    logger = logging.getLogger("onnxscript")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)


def export_onnx(model: LightInpaintV1, path: str | Path, **meta: Any) -> Path:
    """Write the whole generator as one float32 ONNX file, atomically: preprocessing, network and blending.

    Inputs: ``picture`` (B, 3, H, W), RGB in 0..1, with any finite values in its hole; ``hole`` (B, 1, H, W),
    1 = missing, in right-eye orientation, already closed and dilated if wanted. Output: ``filled`` (B, 3, H, W), 0..1.
    Any number of pictures, sides of 16 to 16384 px. The file's metadata are the same as in `export_safetensors`.

    Raises:
        InputError: when the packages for ONNX are missing or the file can't be written.
    """
    missing = [name for name in ONNX_PACKAGES if importlib.util.find_spec(name) is None]
    if missing:
        raise InputError(f"ONNX: the package {missing[0]} is missing; run `pip install onnx onnxscript`")
    pictures, height, width = TRACED_SHAPE
    sides = (torch.export.Dim(name, min=SMALLEST_SIDE, max=LARGEST_SIDE) for name in ("height", "width"))
    shape = dict(zip((0, 2, 3), (torch.export.Dim("batch"), *sides), strict=True))
    example = (torch.zeros(pictures, 3, height, width), torch.zeros(pictures, 1, height, width))
    with _quiet_exporter():
        program = torch.onnx.export(
            _WholePicture(model).eval(), example, dynamo=True, opset_version=OPSET, verbose=False,
            input_names=["picture", "hole"], output_names=["filled"], dynamic_shapes={"picture": shape, "hole": shape},
        )  # fmt: skip
    assert program is not None
    for node in program.model.graph:
        node.metadata_props.clear()  # source lines and paths of this machine
    program.model.metadata_props.update(_header(model, meta))
    with atomic_path(path) as temporary:
        program.save(temporary)
    return Path(path)


FORMATS = {"onnx": export_onnx, "safetensors": export_safetensors}


def export_checkpoint(checkpoint: str | Path, path: str | Path, format: str | None = None) -> Path:
    """Write the model file `checkpoint` to `path` in `format`, ``onnx`` or ``safetensors`` (None: what `path` ends in).

    Raises:
        InputError: for an unknown format, a checkpoint that can't be read or would be overwritten, missing packages or
            an unwritable file.
    """
    if format:
        require_known("format", format, FORMATS)
    chosen = format or Path(path).suffix.removeprefix(".").lower()
    if chosen not in FORMATS:
        raise InputError(f"{path}: its ending names no format; end it in .onnx or .safetensors, or add --format")
    model, meta = load_model(checkpoint)
    if Path(path).exists() and Path(path).samefile(checkpoint):
        raise InputError(f"{path}: it is the checkpoint itself, which would be lost; give another file")
    plain = {name: value for name, value in meta.items() if name not in ("name", "updated_at")}
    return FORMATS[chosen](model, path, **plain)


def iw3_snippet(path: str | Path) -> str:
    """Return the entry for iw3's ``inpaint_models.yml`` that offers the model file `path` under the name of its folder.

    The path is made absolute, because iw3 resolves relative ones from its own folder. If the folder has the name of
    iw3's own entry, the name gets the prefix `my_`.
    """
    file = full_path(path)
    name = file.parent.name
    entry = {f"my_{name}" if name == IW3_OWN else name: {"image": str(file)}}
    return yaml.safe_dump(entry, default_flow_style=None, allow_unicode=True, width=float("inf"))
