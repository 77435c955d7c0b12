"""Depth networks from the package *transformers*: Depth Anything v1 and v2, ZoeDepth, DepthPro."""

import importlib.util
from pathlib import Path
from typing import Any

from torch import nn

from inpaintkit.depth.hub_access import is_reachable, is_whole, load_failure
from inpaintkit.depth.protocol import DepthModelSpec
from inpaintkit.errors import InputError

INSTALL = "pip install transformers"
CHECKPOINT_FILES = ("config.json", "model.safetensors")


def is_installed() -> bool:
    """Return True if the package transformers can be imported."""
    return importlib.util.find_spec("transformers") is not None


def endpoint() -> str:
    """Return the URL of the hub, which the environment variable HF_ENDPOINT may change."""
    if not is_installed():
        return "https://huggingface.co"
    from huggingface_hub import constants

    return str(constants.ENDPOINT)


def _read(name: str, spec: DepthModelSpec, source: str, **options: Any) -> nn.Module:
    from transformers import AutoConfig, AutoModelForDepthEstimation

    config = AutoConfig.from_pretrained(source, **options)
    if config.model_type != spec.family:  # the families of transformers' networks have its names
        raise InputError(
            f"model_path: {source} holds a {config.model_type} network, but {name} needs {spec.family}; give another folder"
        )
    for key, value in spec.arguments.items():
        setattr(config, key, value)
    network: nn.Module = AutoModelForDepthEstimation.from_pretrained(source, config=config, **options)
    return network


def downloaded_folder(spec: DepthModelSpec, hub_dir: str | Path | None = None) -> Path | None:
    """Return the folder of the hub's cache in which the checkpoint of `spec` lies complete, None if it doesn't."""
    from huggingface_hub import try_to_load_from_cache

    found = [try_to_load_from_cache(spec.source, name, cache_dir=hub_dir) for name in CHECKPOINT_FILES]
    paths = [Path(path) for path in found if isinstance(path, str)]
    return paths[0].parent if len(paths) == len(CHECKPOINT_FILES) and is_whole(paths[-1]) else None


def is_downloaded(spec: DepthModelSpec, hub_dir: str | Path | None = None) -> bool:
    """Return True if the checkpoint of `spec` lies complete in the hub's cache."""
    return downloaded_folder(spec, hub_dir) is not None


def load_transformers(
    name: str, spec: DepthModelSpec, model_path: str | Path | None = None, hub_dir: str | Path | None = None
) -> nn.Module:
    """Return the network of `spec` from folder `model_path` (or a file in it), else the hub's cache `hub_dir`, else the hub.

    Raises `InputError` in one sentence if the package is missing, the folder isn't a fitting checkpoint or no hub answers.
    """
    if not is_installed():
        raise InputError(f"{name}: the package transformers is missing; run `{INSTALL}` or use FastDepth or File")
    if model_path is not None:
        path = Path(model_path)
        return _from_folder(name, spec, path.parent if path.is_file() else path)
    folder = downloaded_folder(spec, hub_dir)
    if folder is not None:
        return _from_folder(name, spec, folder)
    place = f"give model_path=FOLDER with config.json and model.safetensors of {spec.source}"
    from huggingface_hub import constants

    if constants.HF_HUB_OFFLINE or not is_reachable(constants.ENDPOINT):
        reason = "HF_HUB_OFFLINE is set" if constants.HF_HUB_OFFLINE else f"no answer came from {constants.ENDPOINT}"
        raise load_failure(name, f"the local cache and the hub for {spec.source}", reason, place)
    cache = {"cache_dir": str(hub_dir)} if hub_dir is not None else {}
    try:
        return _read(name, spec, spec.source, **cache)
    except (OSError, ValueError) as error:
        raise load_failure(name, f"the hub for {spec.source}", str(error).splitlines()[0], place) from error


def _from_folder(name: str, spec: DepthModelSpec, folder: Path) -> nn.Module:
    if not (folder / "config.json").is_file():
        raise InputError(
            f"model_path: {folder} holds no config.json; give the folder of a checkpoint of {spec.source} for {name}"
        )
    try:
        return _read(name, spec, str(folder), local_files_only=True)
    except InputError:
        raise
    except Exception as error:
        reason = str(error).splitlines()[0]
        raise InputError(
            f"model_path: {folder} can't be read ({reason}); copy the files of {spec.source} there again"
        ) from error
