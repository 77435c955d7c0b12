"""Get the depth of one picture, from its map or from the depth network, with all work before and after the network.

A network on a GPU must never wait for the CPU, so the work around it is in functions of its own that workers can call.
"""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from inpaintkit.config import GenerateConfig, device_of_process, resolve_device
from inpaintkit.data.bars import NO_BARS, Bars
from inpaintkit.data.images import UnreadablePicture, content_key, read_file, read_picture
from inpaintkit.data.records import Picture, View, turn_depth
from inpaintkit.data.sources import Source
from inpaintkit.depth import DepthCache, DepthModel, MapFileModel, create_depth_model
from inpaintkit.depth.protocol import min_max
from inpaintkit.errors import InputError

BYTES_PER_GB = 1e9
UINT8_MAX = 255


def depth_model(config: GenerateConfig) -> DepthModel:
    """Return the depth model that `config` asks for; raise `InputError` if it isn't available."""
    return create_depth_model(
        config.model_type, device_of_process(resolve_device(config.device)), config.resolution, config.model_path, config.hub_dir,
        config.flip_average, config.map_name, config.map_values,
    )  # fmt: skip


def depth_cache(config: GenerateConfig, model: DepthModel) -> DepthCache | None:
    """Return the cache of depth maps that `config` asks for; None if it asks for none or the maps are files anyway."""
    if not config.depth_cache_gb or isinstance(model, MapFileModel):
        return None
    folder = config.depth_cache or Path(config.output_dir) / "depth_cache"
    return DepthCache(folder, int(config.depth_cache_gb * BYTES_PER_GB))


def as_batch(picture: Picture) -> Tensor:
    """Return `picture` (H, W, 3) uint8 as depth models take it: (1, 3, H, W), 0..1."""
    return torch.from_numpy(picture.transpose(2, 0, 1).astype(np.float32) / UINT8_MAX)[None]


def map_key(model: MapFileModel, source: Source) -> str:
    """Return the content hash of the depth map of `source`; raise `InputError` if there is none."""
    path = model.find_map(source.path)
    try:
        return content_key(read_file(path))
    except UnreadablePicture as error:
        raise InputError(f"File: {path} {error}; restore this depth map") from error


def depth_from_map(model: MapFileModel, source: Source, view: View, bars: Bars = NO_BARS) -> tuple[Tensor, str]:
    """Return depth (1, 1, h, w) of `source` without its black `bars`, turned as in `view`, and its map's content hash.

    Raises `UnreadablePicture` if there is no usable map.
    """
    try:
        if source.moment is not None:
            raise InputError("maps of model_type=File belong to pictures, not to frames of videos")
        depth = model.infer_file(source.path)
        if any(bars):
            depth = _without(depth, source.path, bars)
        return turn_depth(depth, view.angle), map_key(model, source)
    except InputError as error:
        raise UnreadablePicture(f"gets no depth: {error}") from error


def _without(depth: Tensor, picture: Path, bars: Bars) -> Tensor:
    """Return depth (1, 1, h, w) of the file `picture` without its bars, rescaled to 0..1."""
    height, width = read_picture(picture).shape[:2]
    rest = bars.scaled(depth.shape[3] / width, depth.shape[2] / height).cut(depth[0, 0].cpu().numpy())
    return min_max(torch.from_numpy(rest.astype(np.float32))[None, None])


def infer_depth(model: DepthModel, pixels: Tensor) -> Tensor:
    """Return the depth network's output for `pixels` (1, 3, H, W), on the CPU.

    Raises `UnreadablePicture` if the network rejects them.
    """
    try:
        return model.infer(pixels).cpu()
    except InputError as error:
        raise UnreadablePicture(f"gets no depth: {error}") from error
