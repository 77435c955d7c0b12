"""Picture -> depth: estimators by name, FastDepth, maps from files, cache, sharpening."""

from inpaintkit.depth.cache import DepthCache, depth_key, round_depth
from inpaintkit.depth.map_files import MapFileModel, depth_of_file
from inpaintkit.depth.network_model import NetworkDepthModel
from inpaintkit.depth.protocol import DepthModel
from inpaintkit.depth.registry import DEPTH_MODELS, available_models, create_depth_model
from inpaintkit.depth.sharpen import sharpen_depth

__all__ = [
    "DEPTH_MODELS",
    "DepthCache",
    "DepthModel",
    "MapFileModel",
    "NetworkDepthModel",
    "available_models",
    "create_depth_model",
    "depth_key",
    "depth_of_file",
    "round_depth",
    "sharpen_depth",
]
