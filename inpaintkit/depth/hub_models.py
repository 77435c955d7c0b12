"""Depth networks that only ``torch.hub`` provides, called as iw3 calls them."""

from pathlib import Path

import torch
from torch import nn

from inpaintkit.depth.hub_access import is_reachable, is_whole, load_failure
from inpaintkit.depth.protocol import DepthModelSpec
from inpaintkit.errors import InputError
from inpaintkit.text import first_line

CODE_HOST = "https://github.com"
WEIGHTS_HOST = "https://huggingface.co"


def _hub_folder(hub_dir: str | Path | None) -> Path:
    return Path(hub_dir or torch.hub.get_dir())


def cached_code(spec: DepthModelSpec, hub_dir: str | Path | None = None) -> Path:
    """Return the folder in which ``torch.hub`` keeps the code of `spec`."""
    owner_and_name, _, branch = spec.source.partition(":")
    return _hub_folder(hub_dir) / f"{owner_and_name.replace('/', '_')}_{branch}"


def cached_weights(spec: DepthModelSpec, hub_dir: str | Path | None = None) -> Path:
    """Return the file in which the hub function of `spec` looks for its weights before it downloads them."""
    return _hub_folder(hub_dir) / "checkpoints" / spec.weights


def is_downloaded(spec: DepthModelSpec, hub_dir: str | Path | None = None) -> bool:
    """Return True if code and weights of `spec` are in the hub's folder."""
    return cached_code(spec, hub_dir).is_dir() and is_whole(cached_weights(spec, hub_dir))


def _call_entry(spec: DepthModelSpec, code: str, source: str, hub_dir: str | Path | None) -> nn.Module:
    """Return the result of the hub function, called with the hub's folder set to `hub_dir` for the time of the call."""
    previous = torch.hub.get_dir()
    torch.hub.set_dir(hub_dir or previous)
    try:
        network = torch.hub.load(
            code, spec.entry, source=source, trust_repo=True, skip_validation=True, verbose=False, **spec.arguments
        )
    finally:
        torch.hub.set_dir(previous)
    if spec.family == "zoedepth":
        # iw3 disables the network's own resizing and normalisation and does both itself
        network.core.prep = nn.Identity()
    return network  # type: ignore[no-any-return]


def _require_reachable(name: str, spec: DepthModelSpec, has_code: bool, hub_dir: str | Path | None) -> None:
    """Raise `InputError` if code or weights of `spec` are missing and can't be fetched; torch.hub would wait long."""
    weights = cached_weights(spec, hub_dir)
    place = f"give model_path=FOLDER with a copy of that repository and put its weights at {weights}"
    if not has_code and not is_reachable(CODE_HOST):
        raise load_failure(name, f"torch.hub for {spec.source}", f"no answer came from {CODE_HOST}", place)
    if weights.exists():
        return
    if not spec.downloadable:
        raise load_failure(name, str(weights), "it isn't there, and its authors want you to fetch it yourself", place)
    if not is_reachable(WEIGHTS_HOST):
        raise load_failure(name, f"{weights} and the hub", f"no answer came from {WEIGHTS_HOST}", place)


def load_hub(
    name: str, spec: DepthModelSpec, model_path: str | Path | None = None, hub_dir: str | Path | None = None
) -> nn.Module:
    """Return the network of `spec`, by code from the folder `model_path`, else the hub folder `hub_dir`, else the hub.

    Weights are looked for in ``checkpoints`` in the hub folder, and downloaded to it. Raises `InputError` if code or
    weights can't be had or loading fails.
    """
    code, source = spec.source, "github"
    if model_path is not None:
        if not (Path(model_path) / "hubconf.py").is_file():
            raise InputError(
                f"model_path: {model_path} holds no hubconf.py; for {name} give a copy of {CODE_HOST}/{spec.source.split(':')[0]}"
            )
        code = str(model_path)
        source = "local"
    _require_reachable(name, spec, source == "local" or cached_code(spec, hub_dir).is_dir(), hub_dir)
    try:
        return _call_entry(spec, code, source, hub_dir)
    except Exception as error:
        place = f"copy that repository and {cached_weights(spec, hub_dir)} there again"
        raise load_failure(name, f"{spec.entry} of {code}", f"it failed ({first_line(error)})", place) from error
