"""Depth networks that only ``torch.hub`` serves, called as iw3 calls them."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn

from inpaintkit.depth.hub_access import is_reachable, load_failure
from inpaintkit.depth.protocol import DepthModelSpec
from inpaintkit.errors import InputError

CODE_HOST = "https://github.com"


def cached_code(spec: DepthModelSpec, hub_dir: str | Path | None = None) -> Path:
    """Return the folder in which ``torch.hub`` keeps the code of `spec`."""
    owner_and_name, _, branch = spec.source.partition(":")
    return Path(hub_dir or torch.hub.get_dir()) / f"{owner_and_name.replace('/', '_')}_{branch}"


def _call_entry(spec: DepthModelSpec, code: str, source: str, hub_dir: str | Path | None) -> nn.Module:
    """Call the hub function with the hub's folder set to `hub_dir`, and set it back afterwards."""
    previous = torch.hub.get_dir()
    torch.hub.set_dir(hub_dir or previous)
    try:
        network = torch.hub.load(
            code, spec.entry, source=source, trust_repo=True, skip_validation=True, verbose=False, **spec.arguments
        )
    finally:
        torch.hub.set_dir(previous)
    _keep_size(network)
    return network  # type: ignore[no-any-return]


def _keep_size(network: nn.Module) -> None:
    """Let a ZoeDepth network take pictures in the size they are given: the kit has already resized them."""
    preparation = getattr(getattr(network, "core", None), "prep", None)
    if preparation is not None and hasattr(preparation, "resizer"):
        preparation.resizer = nn.Identity()


def load_hub(
    name: str, spec: DepthModelSpec, model_path: str | Path | None = None, hub_dir: str | Path | None = None
) -> nn.Module:
    """Return the network of `spec`, by the code in folder `model_path`, else in the hub folder `hub_dir`, else from the hub.

    Weights are looked for, and put, under ``checkpoints`` in the hub folder. Raises `InputError` in one sentence.
    """
    code, source = spec.source, "github"
    if model_path is not None:
        if not (Path(model_path) / "hubconf.py").is_file():
            raise InputError(
                f"model_path: {model_path} holds no hubconf.py; for {name} give a copy of {CODE_HOST}/{spec.source.split(':')[0]}"
            )
        code, source = str(model_path), "local"
    place = f"give model_path=FOLDER with a copy of that repository and its weights in {Path(hub_dir or torch.hub.get_dir())}/checkpoints"
    if source == "github" and not cached_code(spec, hub_dir).is_dir() and not is_reachable(CODE_HOST):
        raise load_failure(name, f"torch.hub for {spec.source}", f"no answer came from {CODE_HOST}", place)
    try:
        return _call_entry(spec, code, source, hub_dir)
    except Exception as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise load_failure(name, f"{spec.entry} of {code}", f"it failed ({reason})", place) from error
