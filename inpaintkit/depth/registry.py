"""The table of depth models: those of iw3, under its names, and two that need no hub, FastDepth and File."""

import os
import warnings
from dataclasses import replace
from pathlib import Path

from inpaintkit.config import (
    DEPTH_MODEL_NAMES,
    MAP_NAME,
    NEAR_IS_BRIGHT,
    check_map_options,
    registry,
    require_known,
    resolve_device,
)
from inpaintkit.depth import hub_access, hub_models, transformers_models
from inpaintkit.depth.fastdepth import DEFAULT_RESOLUTION, WEIGHTS, FastDepth
from inpaintkit.depth.map_files import MapFileModel
from inpaintkit.depth.network_model import NetworkDepthModel
from inpaintkit.depth.protocol import DepthModel, DepthModelSpec

PATCH = 14  # px; side of a patch of the vision transformers in Depth Anything
APACHE, NON_COMMERCIAL = "Apache-2.0", "CC-BY-NC-4.0"
LETTERS = {"S": "Small", "B": "Base", "L": "Large"}
QUICK_LIMIT = 2.5  # seconds that a list of models may wait for hubs
DEPTH_ANYTHING_HUB = "nagadomi/Depth-Anything_iw3:main"


def _anything(source: str, licence: str, metric: bool = False) -> DepthModelSpec:
    return DepthModelSpec("transformers", source, "depth_anything", metric, 392, PATCH, licence)


def _zoedepth(data: str) -> DepthModelSpec:
    return DepthModelSpec("transformers", f"Intel/zoedepth-{data}", "zoedepth", True, 384, 32, "MIT", 512)


def _zoedepth_any(scene: str) -> DepthModelSpec:
    spec = DepthModelSpec("torch.hub", DEPTH_ANYTHING_HUB, "zoedepth", True, 392, PATCH, APACHE, 518)
    weights = f"depth_anything_metric_depth_{scene}.pt"
    arguments: dict[str, str | int | bool] = {"model_type": scene, "remove_prep": False}
    return replace(spec, entry="DepthAnythingMetricDepth", arguments=arguments, weights=weights)


def _distilled(letter: str) -> DepthModelSpec:
    licence = APACHE if letter == "S" else NON_COMMERCIAL
    spec = DepthModelSpec("torch.hub", DEPTH_ANYTHING_HUB, "depth_anything", False, 392, PATCH, licence)
    weights = f"distill_any_depth_vit{letter.lower()}.safetensors"
    arguments = {"encoder": f"v2_vit{letter.lower()}"}
    return replace(
        spec, entry="DistillAnyDepth", arguments=arguments, weights=weights, downloadable=not spec.non_commercial
    )


def _table() -> dict[str, DepthModelSpec]:
    table = {
        "FastDepth": DepthModelSpec("fastdepth", "shipped", "fastdepth", False, DEFAULT_RESOLUTION, 1, "MIT"),
        "File": DepthModelSpec("file", "maps beside the pictures", "file", False, 0, 1, "your own"),
    }
    for letter, size in LETTERS.items():
        v2_licence = APACHE if letter == "S" else NON_COMMERCIAL
        v2 = "depth-anything/Depth-Anything-V2"
        table[f"Any_{letter}"] = _anything(f"LiheYoung/depth-anything-{size.lower()}-hf", APACHE)
        table[f"Any_V2_{letter}"] = _anything(f"{v2}-{size}-hf", v2_licence)
        table[f"Any_V2_N_{letter}"] = _anything(f"{v2}-Metric-Indoor-{size}-hf", v2_licence, metric=True)
        table[f"Any_V2_K_{letter}"] = _anything(f"{v2}-Metric-Outdoor-{size}-hf", v2_licence, metric=True)
        table[f"Distill_Any_{letter}"] = _distilled(letter)
    table["Any_V2_N"], table["Any_V2_K"] = table["Any_V2_N_L"], table["Any_V2_K_L"]
    table["DepthPro"] = DepthModelSpec(
        "transformers", "apple/DepthPro-hf", "depth_pro", False, 1536, 1536, "apple-amlr"
    )
    # iw3's small variant: the same weights at a smaller size, without the part that estimates the angle of view, which
    # can't work at that size and isn't needed
    table["DepthPro_S"] = replace(
        table["DepthPro"], resolution=1024, multiple=1024, arguments={"patch_size": 256, "use_fov_model": False}
    )
    table |= {"ZoeD_N": _zoedepth("nyu"), "ZoeD_K": _zoedepth("kitti"), "ZoeD_NK": _zoedepth("nyu-kitti")}
    table |= {"ZoeD_Any_N": _zoedepth_any("indoor"), "ZoeD_Any_K": _zoedepth_any("outdoor")}
    mono = DepthModelSpec(
        "torch.hub", "nagadomi/Depth-Anything-3_iw3:main", "depth_anything_3", False, 392, PATCH, APACHE
    )
    arguments = {"model_name": "da3mono-large"}
    table["Any_V3_Mono"] = replace(mono, entry="load_model", arguments=arguments, weights="da3mono-large.safetensors")
    table["Any_V3_Mono_01"] = table["Any_V3_Mono"]  # iw3 scales its depth to 0..1, which here every model does
    return registry(dict.fromkeys(DEPTH_MODEL_NAMES, ""), table)


DEPTH_MODELS: dict[str, DepthModelSpec] = _table()
"""Name -> facts, for every depth model that `create_depth_model` knows."""


def create_depth_model(
    model_type: str,
    device: str = "cpu",
    resolution: int | None = None,
    model_path: str | Path | None = None,
    hub_dir: str | Path | None = None,
    flip: bool = False,
    map_name: str = MAP_NAME,
    map_values: str = NEAR_IS_BRIGHT,
) -> DepthModel:
    """Return the depth model `model_type` on `device` (``auto``: the best available).

    `resolution` is the short side in px that the network sees (FastDepth, File: that of the map); None means the
    model's own. `model_path` is used instead of a download: the folder of a transformers checkpoint, a copy of the
    hub's repository, FastDepth's weights file, or for File the folder of the maps. `hub_dir` is the hub's cache folder.
    `flip` averages depth with that of the mirrored picture. `map_name` and `map_values` are for File, see
    `MapFileModel`. Warns of weights that are for non-commercial use only. Raises `InputError` for an unknown name, an
    option that the model doesn't support or a model that can't be loaded here.
    """
    require_known("model_type", model_type, DEPTH_MODEL_NAMES)
    check_map_options(model_type, flip, map_name, map_values)
    spec = DEPTH_MODELS[model_type]
    device = resolve_device(device)
    if spec.loader == "file":
        return MapFileModel(resolution, model_path, map_name, map_values)
    if spec.loader == "fastdepth":
        return FastDepth(device, resolution, Path(model_path) if model_path is not None else WEIGHTS, flip)
    load = transformers_models.load_transformers if spec.loader == "transformers" else hub_models.load_hub
    model = NetworkDepthModel(model_type, spec, load(model_type, spec, model_path, hub_dir), device, resolution, flip)
    if spec.non_commercial:
        warnings.warn(f"{model_type}: its weights are for non-commercial use only ({spec.licence})", stacklevel=2)
    return model


def _hosts(spec: DepthModelSpec) -> tuple[str, ...]:
    if spec.loader == "torch.hub":
        return (hub_models.CODE_HOST, hub_models.WEIGHTS_HOST)
    return (os.environ.get("HF_ENDPOINT", hub_models.WEIGHTS_HOST),)


def _state(spec: DepthModelSpec, hub_dir: str | Path | None, answers: dict[str, bool]) -> str:
    if spec.loader == "fastdepth":
        return "ready: shipped with the kit" if WEIGHTS.is_file() else "its weights are missing; reinstall inpaintkit"
    if spec.loader == "file":
        return "ready: reads NAME_depth.png, .npy or .exr beside each picture"
    if spec.loader == "transformers" and not transformers_models.is_installed():
        return f"needs transformers: {transformers_models.INSTALL}"
    there = transformers_models if spec.loader == "transformers" else hub_models
    if there.is_downloaded(spec, hub_dir):
        return "ready: downloaded before"
    if not spec.downloadable and not hub_models.cached_weights(spec, hub_dir).exists():
        return f"needs weights that you must put at {hub_models.cached_weights(spec, hub_dir)} yourself"
    silent = [host for host in _hosts(spec) if not answers[host]]
    if silent:
        return f"not downloaded, and no answer from {' and '.join(silent)}: needs model_path"
    return f"not downloaded yet: will come from {spec.source} on first use"


def available_models(hub_dir: str | Path | None = None) -> list[tuple[str, str]]:
    """Return (name, one sentence on whether it can be used on this machine) for every depth model.

    Checks what has been downloaded, and asks all hubs at once, for a few seconds at most, whether they answer.
    """
    hosts = {host for spec in DEPTH_MODELS.values() for host in _hosts(spec)}
    answers = hub_access.reachable(hosts, QUICK_LIMIT)
    return [(name, _state(spec, hub_dir, answers)) for name, spec in DEPTH_MODELS.items()]
