"""Picture -> depth: estimators by name, FastDepth, maps from files, cache, sharpening."""

from inpaintkit.depth.cache import DepthCache
from inpaintkit.depth.protocol import DepthModel, DepthModelSpec, FileDepthModel
from inpaintkit.depth.registry import DEPTH_MODELS, available_models, create_depth_model
from inpaintkit.depth.sharpen import sharpen_depth

__all__ = [
    "DEPTH_MODELS",
    "DepthCache",
    "DepthModel",
    "DepthModelSpec",
    "FileDepthModel",
    "available_models",
    "create_depth_model",
    "sharpen_depth",
]
