"""Picture -> depth: estimators by name, FastDepth, maps from files, cache, sharpening."""

from inpaintkit.depth.cache import DepthCache, depth_key, round_depth
from inpaintkit.depth.protocol import (
    MAP_NAME,
    DepthModel,
    DepthModelSpec,
    FileDepthModel,
    compute_like,
    depth_of_file,
)
from inpaintkit.depth.registry import DEPTH_MODELS, available_models, create_depth_model
from inpaintkit.depth.sharpen import sharpen_depth

__all__ = [
    "DEPTH_MODELS",
    "MAP_NAME",
    "DepthCache",
    "DepthModel",
    "DepthModelSpec",
    "FileDepthModel",
    "available_models",
    "compute_like",
    "create_depth_model",
    "depth_key",
    "depth_of_file",
    "round_depth",
    "sharpen_depth",
]
