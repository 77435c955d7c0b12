"""Depth networks from the package *transformers*: Depth Anything v1 and v2, ZoeDepth, DepthPro."""

import importlib.util
from pathlib import Path
from typing import Any

from torch import nn

from inpaintkit.depth.hub_access import is_reachable, is_whole, load_failure
from inpaintkit.depth.protocol import DepthModelSpec
from inpaintkit.errors import InputError
from inpaintkit.text import first_line

INSTALL = "pip install transformers"
CHECKPOINT_FILES = ("config.json", "model.safetensors")


def is_installed() -> bool:
    """Return True if the package transformers can be imported."""
    return importlib.util.find_spec("transformers") is not None


def _load_pretrained(name: str, spec: DepthModelSpec, source: str, **options: Any) -> nn.Module:
    from transformers import AutoConfig, AutoModelForDepthEstimation

    config = AutoConfig.from_pretrained(source, **options)
    if config.model_type != spec.family:  # for its networks, `family` uses transformers' names
        raise InputError(
            f"model_path: {source} holds a {config.model_type} network, but {name} needs {spec.family}; give another folder"
        )
    for key, value in spec.arguments.items():
        setattr(config, key, value)
    network: nn.Module = AutoModelForDepthEstimation.from_pretrained(source, config=config, **options)
    return network


def is_downloaded(spec: DepthModelSpec, hub_dir: str | Path | None = None) -> bool:
    """Return True if the complete checkpoint of `spec` is in the hub's cache."""
    from huggingface_hub import try_to_load_from_cache

    config, weights = (try_to_load_from_cache(spec.source, name, cache_dir=hub_dir) for name in CHECKPOINT_FILES)
    return isinstance(config, str) and isinstance(weights, str) and is_whole(Path(weights))


def load_transformers(
    name: str, spec: DepthModelSpec, model_path: str | Path | None = None, hub_dir: str | Path | None = None
) -> nn.Module:
    """Return the network of `spec` from `model_path`, else the cache `hub_dir`, else the hub.

    `model_path` is a checkpoint's folder or a file in it.

    Raises `InputError` if the package is missing, the folder isn't a matching checkpoint or the hub doesn't answer.
    """
    if not is_installed():
        raise InputError(f"{name}: the package transformers is missing; run `{INSTALL}` or use FastDepth or File")
    if model_path is not None:
        path = Path(model_path)
        return _from_folder(name, spec, path.parent if path.is_file() else path)
    here = is_downloaded(spec, hub_dir)
    place = f"give model_path=FOLDER with config.json and model.safetensors of {spec.source}"
    from huggingface_hub import constants

    if not here and (constants.HF_HUB_OFFLINE or not is_reachable(constants.ENDPOINT)):
        reason = "HF_HUB_OFFLINE is set" if constants.HF_HUB_OFFLINE else f"no answer came from {constants.ENDPOINT}"
        raise load_failure(name, f"the local cache and the hub for {spec.source}", reason, place)
    try:
        return _load_pretrained(name, spec, spec.source, cache_dir=hub_dir, local_files_only=here)
    except Exception as error:  # foreign files and code may raise anything
        raise load_failure(name, f"the hub for {spec.source}", first_line(error), place) from error


def _from_folder(name: str, spec: DepthModelSpec, folder: Path) -> nn.Module:
    if not (folder / "config.json").is_file():
        raise InputError(
            f"model_path: {folder} holds no config.json; give the folder of a checkpoint of {spec.source} for {name}"
        )
    try:
        return _load_pretrained(name, spec, str(folder), local_files_only=True)
    except InputError:
        raise
    except Exception as error:
        raise InputError(
            f"model_path: {folder} can't be read ({first_line(error)}); copy the files of {spec.source} there again"
        ) from error
