"""Handing a model on: safetensors for other programs, a configuration entry for iw3."""

from __future__ import annotations

import json
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import yaml
from safetensors.torch import save

from inpaintkit.files import atomic_path
from inpaintkit.model.checkpoint import EXTRA_KEY
from inpaintkit.model.generator import LightInpaintV1


def export_safetensors(model: LightInpaintV1, path: str | Path, **meta: Any) -> Path:
    """Write the weights as float32 safetensors, atomically; `load_model` reads them back.

    The header says ``name``, ``updated_at`` and, as JSON under ``inpaintkit``, the given `meta`.

    Raises:
        InputError: when the file can't be written.
    """
    header = {"name": model.name, "updated_at": str(datetime.now(timezone.utc)), EXTRA_KEY: json.dumps(meta)}
    weights = {name: tensor.detach().float().cpu().contiguous() for name, tensor in model.state_dict().items()}
    with atomic_path(path) as temporary:
        temporary.write_bytes(save(weights, header))
    return Path(path)


def iw3_snippet(path: str | Path, name: str) -> str:
    """Return the entry for iw3's ``inpaint_models.yml`` that offers the model file `path` under `name`.

    The path is made absolute, because iw3 takes relative ones from its own folder.
    """
    entry = {name: {"image": str(Path(path).resolve())}}
    return yaml.safe_dump(entry, default_flow_style=None, allow_unicode=True, width=float("inf"))
