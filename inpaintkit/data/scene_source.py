"""Procedural scenes as a source: layers cut from the pictures, whose borders in picture and depth coincide exactly.

An estimated depth map's borders lie beside those of the picture, so a network trained on it learns to fill
holes that begin in the wrong place. Scenes carry the opposite: less natural pictures, exact borders.
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
    """Return how pictures are seen that become surfaces of scenes with crops of `size` px."""
    return View(None, max(SCENE_SIZE[0], size), "bilinear")


def pick_textures(first: Source, pictures: Sequence[Source], key: tuple[Key, ...]) -> list[Source]:
    """Return `first` and up to `OTHER_TEXTURES` others of `pictures`, drawn from `key`."""
    others = [source for source in pictures if source != first]
    count = min(OTHER_TEXTURES, len(others))
    chosen = numpy_rng(*key, "textures").choice(len(others), count, replace=False) if count else ()
    return [first, *(others[int(index)] for index in chosen)]


def read_surfaces(sources: Sequence[Source], size: int, readers: VideoReaders) -> dict[Source, tuple[str, Picture]]:
    """Return (content hash, picture (H, W, 3)) of each readable source; raise `UnreadablePicture` if the first isn't."""
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
    """Return the picture (H, W, 3) uint8 and the exact depth (1, 1, H, W), 1 = near, of the scene that `key` and `number` draw.

    Scenes of even numbers are things of formulas with surfaces cut from `textures`; odd ones, with `photo_scenes`, a
    piece of one photo before another one, with outlines as light draws them.
    """
    surfaces = [as_batch(picture)[0] for _, picture in textures.values()]
    height, width = (max(side, size + 1) for side in SCENE_SIZE)
    draw = draw_photo_scene if photo_scenes and number % 2 else draw_scene
    scene = draw(numpy_rng(*key, number, "scene"), (height, width), surfaces)
    picture, depth = scene.render()
    levels = (picture[0] * UINT8_MAX).round().to(torch.uint8).permute(1, 2, 0)
    return levels.contiguous().numpy(), depth.clamp(0, 1)
