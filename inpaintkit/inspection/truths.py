"""What fills are judged on: pictures with holes of which somebody knows what belongs there.

Three kinds: crops of photos with the hole that warping would tear, procedural scenes with an exactly known right view, and
a person's own stereo pairs (`stereo_truth`, in its own file). All come in right-eye orientation.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from inpaintkit.config import GenerateConfig
from inpaintkit.data import InpaintDataset, UnreadablePicture, generate_dataset, list_pictures, read_picture
from inpaintkit.data.manifest import PICTURE_SUFFIX, Row, data_set_names, is_record, read_manifest
from inpaintkit.errors import InputError
from inpaintkit.inspection.pictures import picture_batch
from inpaintkit.seeds import numpy_rng
from inpaintkit.synthesis import Scene, close_hole, dilate_edge, draw_photo_scene, draw_scene, forward_warp

SCENE_SIZE = (384, 512)
SCENE_DIVERGENCE = (2.0, 8.0)
"""Percent of the width; strong, so that holes of every width occur in so small a picture."""

TEXTURE_SIDE = 768
"""Short side in px that photos are brought to before scenes are cut from them: larger ones would look blurred."""

PHOTO_RECORDS = {"prefix": "photos", "size": 256, "num_samples": 2, "divergence_level": 2, "repeats": 4}
"""What is generated from photos when no data set is given; the same as ``params/01_generate.try.yaml``."""

_NEARER = 1e-5


@dataclass(frozen=True)
class Case:
    """One picture with a hole whose content is known.

    `picture` and `truth` are float (1, 3, H, W), 0..1, equal outside the hole; `hole` bool (1, 1, H, W), True = missing:
    what a fill has to fill; `judged` bool (1, 1, H, W): the hole pixels that count. `source`: the photo or scene that it
    comes from. `left_view` and `right_view`: the true pair (1, 3, H, W), where there is one; `exact_hole`: bool
    (1, 1, H, W), the pixels that really are hidden, where that is known.
    """

    name: str
    source: str
    picture: Tensor
    hole: Tensor
    truth: Tensor
    judged: Tensor
    left_view: Tensor | None = None
    right_view: Tensor | None = None
    exact_hole: Tensor | None = None


@dataclass(frozen=True)
class Truth:
    """Cases of one kind: `title` in tables, `names` of the cases, and what makes the n-th of them."""

    title: str
    names: Sequence[str]
    load: Callable[[int], Case]

    def __len__(self) -> int:
        return len(self.names)


def record_truth(dataset: InpaintDataset) -> Truth:
    """Return the evaluation records of a data set (``training=False``): photos with holes, themselves the truth.

    The margin isn't judged, as in training. Records of procedural scenes are left out, as far as the
    manifest tells, unless there is nothing else: `scene_truth` judges scenes better.
    """
    rows = record_rows(dataset)
    sources = {file: str(row["source"]) for file, row in rows.items()}
    photos = [number for number, file in enumerate(dataset.names) if "scene" not in rows.get(file, {})]
    numbers = photos or list(range(len(dataset)))

    def load(index: int) -> Case:
        x, hole, y, number = dataset[numbers[index]]
        margin, file = (x.shape[-1] - y.shape[-1]) // 2, dataset.names[number]
        missing, inside = hole[None] > 0, without_border(hole[None], margin)
        name = record_name(file)
        return Case(name, sources.get(file, name), x[None], missing, x[None], missing & inside)

    return Truth("photos", [record_name(dataset.names[number]) for number in numbers], load)


def photo_truth(photos: str | Path, folder: str | Path, seed: int = 0) -> Truth:
    """Return evaluation records made of ``photos/eval`` in `folder`, by FastDepth and `seed`: the same ones for everybody.

    Records that are there already are kept. Raises `InputError` if there are no photos or `folder` can't be written.
    """
    config = GenerateConfig.from_params(
        {
            "dataset_dir": str(photos),
            "output_dir": str(folder),
            "seed": seed,
            "eval_only": True,
            "workers": 0,
            "shard": "0/1",
        }
        | {"device": "cpu", **PHOTO_RECORDS}
    )
    generate_dataset(config)
    return record_truth(InpaintDataset(Path(folder) / "eval", training=False))


def scene_truth(count: int, textures: Sequence[Tensor] = (), seed: int = 0, edge_dilation: int = 0) -> Truth:
    """Return `count` procedural scenes: the right view as the kit's own stereo path warps it, and as it really is.

    A fill gets the scene's picture, warped forward by its exact depth, with the closed hole that this leaves. All hole
    pixels count but those near the left and right border, where points come in from outside the picture. `textures`:
    photos (3, h, w), 0..1, to cut surfaces from (none: noise). `edge_dilation`: rounds by which near edges of the depth
    grow before the warp; the holes then begin a little further from the object.
    """

    def draw(rng: np.random.Generator) -> Scene:
        return draw_scene(rng, SCENE_SIZE, textures)

    return _drawn_truth("scenes", "scene", draw, count, seed, edge_dilation)


def photo_scene_truth(count: int, photos: Sequence[Tensor], seed: int = 0, edge_dilation: int = 0) -> Truth:
    """Return `count` scenes of a piece of one of `photos` before another one, see `draw_photo_scene`; else as `scene_truth`.

    Their holes lie where real ones do, along borders that a camera saw, with photographed surfaces on both sides. Holes by estimated
    depth, as in `photo_truth`, often lie within one surface.
    """

    def draw(rng: np.random.Generator) -> Scene:
        return draw_photo_scene(rng, SCENE_SIZE, photos)

    return _drawn_truth("photo scenes", "photo_scene", draw, count, seed, edge_dilation)


def _drawn_truth(
    title: str, name: str, draw: Callable[[np.random.Generator], Scene], count: int, seed: int, edge_dilation: int
) -> Truth:
    names = [f"{name}_{index:03d}" for index in range(count)]

    def load(index: int) -> Case:
        rng = numpy_rng("evaluation " + name.replace("_", " "), seed, index)
        divergence, convergence = float(rng.uniform(*SCENE_DIVERGENCE)), float(rng.uniform())
        return scene_case(draw(rng), divergence, convergence, names[index], edge_dilation)

    return Truth(title, names, load)


def scene_case(scene: Scene, divergence: float, convergence: float, name: str, edge_dilation: int = 0) -> Case:
    """Return the right view of `scene` as a case; the left view of the pair is the scene's own picture."""
    picture, depth = scene.render()
    depth = dilate_edge(depth, edge_dilation)
    warped, hole = forward_warp(picture, depth, divergence, convergence, "right")
    hole = close_hole(hole)
    exact = scene.view("right", divergence, convergence)
    gain = 0.5 * divergence / 100 * scene.size[1]
    strip = math.ceil(gain * max(convergence, 1 - convergence))
    inside = without_border(hole, 0, strip)
    hidden = hidden_in_right_view(scene, gain, convergence)
    truth = torch.where(hole, exact, warped)
    return Case(name, name, warped, hole, truth, hole & inside, picture, exact, hidden & inside)


def hidden_in_right_view(scene: Scene, gain: float, convergence: float) -> Tensor:
    """Return the pixels of the right view whose centre the scene's own picture doesn't show: bool (1, 1, H, W), exact.

    `gain`: px that a point of depth 1 moves further to the left than one of depth 0; `convergence`: the depth that stays.
    """
    height, width = scene.size
    seen_x, y = torch.arange(width, dtype=torch.float32)[None], torch.arange(height, dtype=torch.float32)[:, None]
    nearest, place = torch.full(scene.size, -torch.inf), torch.zeros(scene.size)
    for layer in scene.layers:
        x = layer.source(seen_x, y, -gain, convergence)
        depth = layer.depth_at(x, y)
        wins = (layer.outline(x, y) < 0) & (depth > nearest)
        nearest, place = torch.where(wins, depth, nearest), torch.where(wins, x, place)
    covered = [(layer.outline(place, y) < 0) & (layer.depth_at(place, y) > nearest + _NEARER) for layer in scene.layers]
    return torch.stack(covered).any(dim=0)[None, None]


def read_textures(photos: str | Path) -> list[Tensor]:
    """Return the photos in ``photos/eval`` as (3, h, w), 0..1, with a short side of `TEXTURE_SIDE` px, sorted by name.

    Files that aren't pictures are left out. Raises `InputError` if none is one.
    """
    folder, found = Path(photos) / "eval", []
    for path in list_pictures(folder):
        try:
            pixels = read_picture(path, TEXTURE_SIDE)
        except UnreadablePicture:
            continue
        picture, _ = picture_batch(pixels)
        scale = TEXTURE_SIDE / min(picture.shape[-2:])
        size = [round(side * scale) for side in picture.shape[-2:]]
        found.append(F.interpolate(picture, size, mode="bilinear", antialias=True)[0].clamp(0, 1))
    if not found:
        raise InputError(f"photos: {folder} holds no readable picture; put photos that nothing was trained on there")
    return found


def without_border(hole: Tensor, border: int, sides: int = 0) -> Tensor:
    """Return True except within `border` px of any border and `sides` px of the left and right one, shaped as `hole`."""
    inside = torch.zeros_like(hole, dtype=torch.bool)
    height, width = hole.shape[-2:]
    across = max(border, sides)
    inside[..., border : height - border, across : width - across] = True
    return inside


def record_name(picture_file: str) -> str:
    """Return the name of a record from that of its picture: without ``_C.png``."""
    return picture_file.removesuffix(PICTURE_SUFFIX)


def record_rows(dataset: InpaintDataset) -> dict[str, Row]:
    """Return the manifest's row for each record's picture file, as far as the data set has a manifest."""
    root, split = dataset.folder.parent, dataset.folder.name
    rows = (row for name in data_set_names(root) for row in read_manifest(root, name) if is_record(row))
    return {str(row["picture"]): row for row in rows if str(row["source"]).startswith(f"{split}/")}
