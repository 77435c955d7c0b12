"""Make procedural scenes from the sources: layers cut from pictures, with the same edges in picture and depth.

The edges of an estimated depth map lie beside those of the picture, so a network trained on it learns to fill holes
that begin in the wrong place. Scenes are the opposite: less natural pictures with exact edges.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from inpaintkit.data.images import UnreadablePicture
from inpaintkit.data.picture_depth import UINT8_MAX, as_batch
from inpaintkit.data.records import Picture, View, apply_view
from inpaintkit.data.sources import Source, read_source
from inpaintkit.data.video_readers import VideoReaders
from inpaintkit.seeds import Key, numpy_rng
from inpaintkit.synthesis import draw_photo_scene, draw_scene

OTHER_TEXTURES = 3
SCENE_SIZE = (720, 960)  # px (H, W): large enough for shifts of full strength, drawn in about a second


def scene_view(size: int) -> View:
    """Return the view of pictures that become surfaces of scenes, for crops of `size` px."""
    return View(None, max(SCENE_SIZE[0], size), "bilinear")


def pick_textures(first: Source, pictures: Sequence[Source], key: tuple[Key, ...]) -> list[Source]:
    """Return `first` and up to `OTHER_TEXTURES` others of `pictures`, drawn from `key`."""
    others = [source for source in pictures if source != first]
    count = min(OTHER_TEXTURES, len(others))
    chosen = numpy_rng(*key, "textures").choice(len(others), count, replace=False) if count else ()
    return [first, *(others[int(index)] for index in chosen)]


def read_surfaces(sources: Sequence[Source], size: int, readers: VideoReaders) -> dict[Source, tuple[str, Picture]]:
    """Return (content hash, picture (H, W, 3)) of each readable source.

    Raises `UnreadablePicture` if the first one isn't readable.
    """
    textures = {}
    view = scene_view(size)
    for source in sources:
        try:
            content = read_source(source, readers)
            textures[source] = content.key, apply_view(content.decode(view.source_side)[0], view)
        except UnreadablePicture:
            if source == sources[0]:
                raise
    return textures


def render_scene(
    textures: Mapping[Source, tuple[str, Picture]],
    size: int,
    key: tuple[Key, ...],
    number: int,
    photo_scenes: bool = True,
) -> tuple[Picture, Tensor]:
    """Draw a scene from `key` and `number`; return its picture (H, W, 3) uint8 and exact depth (1, 1, H, W), 1 = near.

    Even numbers give shapes made by formulas, with surfaces cut from `textures`; odd numbers, with `photo_scenes`, a
    piece of one photo before another one, cut along its own contours.
    """
    surfaces = [as_batch(picture)[0] for _, picture in textures.values()]
    height, width = (max(side, size + 1) for side in SCENE_SIZE)
    draw = draw_photo_scene if photo_scenes and number % 2 else draw_scene
    scene = draw(numpy_rng(*key, number, "scene"), (height, width), surfaces)
    picture, depth = scene.render()
    levels = (picture[0] * UINT8_MAX).round().to(torch.uint8).permute(1, 2, 0)
    return levels.contiguous().numpy(), depth.clamp(0, 1)
