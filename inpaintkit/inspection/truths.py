"""Truths, on which fills are judged: pictures with holes whose content is known, in right-eye orientation.

To add one, write a function that returns a `Truth` and call it in `choose_truths`. Stereo pairs are in `stereo_truth`.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from inpaintkit.config import GenerateConfig
from inpaintkit.data import InpaintDataset, UnreadablePicture, generate_dataset, list_pictures, read_picture
from inpaintkit.data.generate.plan import identity, list_sources
from inpaintkit.data.images import is_picture
from inpaintkit.data.manifest import PICTURE_SUFFIX, Row, data_set_names, is_record, iw3_source, read_manifest
from inpaintkit.depth import create_depth_model
from inpaintkit.errors import InputError
from inpaintkit.inspection.pictures import picture_batch
from inpaintkit.neighbours import nearest_known
from inpaintkit.seeds import numpy_rng
from inpaintkit.synthesis import Scene, close_hole, dilate_edge, draw_photo_scene, draw_scene, forward_warp
from inpaintkit.text import shown
from inpaintkit.training.feeding import evenly

SCENE_SIZE = (384, 512)
SCENE_DIVERGENCE = (2.0, 8.0)
"""Percent of the width; strong, so that holes of every width occur in so small a picture."""

TEXTURE_SIDE = 768
"""Photos are resized to this short side in px before scenes are cut from them: larger ones would look blurred."""

MOST_TEXTURES = 50
"""Most photos that scenes are cut from: each takes about 10 MB."""

PHOTO_RECORDS = {"prefix": "photos", "size": 256, "num_samples": 2, "divergence_level": 2, "repeats": 4}
"""Options for making records of photos when no data set is given: ``params/01_generate.try.yaml`` without scenes."""

LEAST_SHARE = 0.25
"""Smallest share of a picture's width that a cut at a hole leaves, unless no hole lies in its middle."""

ROUNDING = 1e-3
"""Tolerance by which a picture may exceed 0..1."""


@dataclass(frozen=True)
class Case:
    """One picture with a hole whose content is known.

    `picture` and `truth` are float32 (1, 3, H, W), 0..1, equal outside the hole; `hole` bool (1, 1, H, W),
    True = missing: what a fill has to fill; `judged` bool (1, 1, H, W): the hole pixels that count. `source`: the photo
    or scene that it comes from. `left_view` and `right_view`: the true pair (1, 3, H, W), if there is one;
    `exact_hole`: bool (1, 1, H, W), the pixels that really are hidden, if known.

    Raises `InputError` if one of the first four has another shape, type or range, or if a pixel outside the hole is
    judged: the figures would be meaningless.
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

    def __post_init__(self) -> None:
        size = self.picture.shape[2:]
        case = f"truth: {shown(self.name)}"
        kinds = [(x, 3, torch.float32) for x in (self.picture, self.truth)]
        kinds += [(x, 1, torch.bool) for x in (self.hole, self.judged)]
        if len(size) != 2 or any(x.shape != (1, channels, *size) or x.dtype != kind for x, channels, kind in kinds):
            raise InputError(
                f"{case}: picture and truth must be float32 (1, 3, H, W), hole and judged bool (1, 1, H, W); convert them"
            )
        if not all(bool(((x > -ROUNDING) & (x < 1 + ROUNDING)).all()) for x in (self.picture, self.truth)):
            raise InputError(f"{case}: picture and truth must lie in 0..1; divide 0..255 by 255, and replace NaN")
        if bool((self.judged & ~self.hole).any()):
            raise InputError(f"{case}: only hole pixels can be judged; give judged & hole")


@dataclass(frozen=True)
class Truth:
    """Cases of one kind: `title` in tables, `names` of the cases, and `load`, which returns the n-th of them."""

    title: str
    names: Sequence[str]
    load: Callable[[int], Case]

    def __len__(self) -> int:
        return len(self.names)

    def case(self, name: str) -> Case:
        """Return the case called `name`; raise `InputError` if there is none."""
        if name not in self.names:
            raise InputError(f"names: {name!r} is not among the {self.title}; the first is {self.names[0]!r}")
        return self.load(self.names.index(name))


def record_truth(dataset: InpaintDataset) -> Truth:
    """Return the evaluation records of a data set (``training=False``): photos with holes, themselves the truth.

    The margin isn't judged, as in training. Records that the manifest marks as procedural scenes are left out, because
    `scene_truth` judges scenes better; if there are no others, they are judged under the title ``drawn records``.
    """
    rows = record_rows(dataset)
    sources = {file: str(row["source"]) for file, row in rows.items()}
    photos = [number for number, file in enumerate(dataset.names) if "scene" not in rows.get(file, {})]
    numbers = photos or list(range(len(dataset)))

    def load(index: int) -> Case:
        x, hole, y, number = dataset[numbers[index]]
        margin = (x.shape[-1] - y.shape[-1]) // 2
        file = dataset.names[number]
        missing = hole[None] > 0
        name = record_name(file)
        source = sources.get(file) or iw3_source(file) or name
        return Case(name, source, x[None], missing, x[None], without_border(missing, margin, margin))

    return Truth(
        "photos" if photos else "drawn records", [record_name(dataset.names[number]) for number in numbers], load
    )


def photo_truth(
    photos: str | Path, folder: str | Path, seed: int = 0, progress: Callable[[int, int, str], None] | None = None
) -> Truth:
    """Return evaluation records made of ``photos/eval`` by FastDepth and `seed`, the same ones each time, as a truth.

    They lie in a subfolder of `folder` named by a hash of the photos and all options, so that they are made only once.
    Photos that give no record are reported. `progress`: called with (photos done, photos in all passes, name of the
    photo). Raises `InputError` if there are no photos or `folder` can't be written.
    """
    where = {"dataset_dir": str(photos), "output_dir": str(folder), "device": "cpu", "workers": 0, "shard": "0/1"}
    config = GenerateConfig.from_params({**PHOTO_RECORDS, **where, "seed": seed, "eval_only": True})
    files = [
        (str(file), (stat := file.stat()).st_size, stat.st_mtime_ns) for file in list_sources(config).files["eval"]
    ]
    made_of = identity(config, create_depth_model(config.model_type)), files
    own = Path(folder) / hashlib.blake2b(repr(made_of).encode(), digest_size=8).hexdigest()
    report = generate_dataset(replace(config, output_dir=str(own)), progress)
    if report.skipped:
        (photo, reason), *others = report.skipped
        more = f"; and {len(others)} more" if others else ""
        print(f"left out: {shown(photo)} {shown(reason)}{more}", flush=True)
    if not report.records:
        raise InputError(f"photos: no photo in {photos}/eval gives a record; put others there, or set data_dir")
    return record_truth(InpaintDataset(own / "eval", training=False))


def scene_truth(count: int, textures: Sequence[Tensor] = (), seed: int = 0, edge_dilation: int = 0) -> Truth:
    """Return `count` procedural scenes as a truth: the right view as the kit warps it, and as it really is.

    A fill gets the scene's picture, warped forward by its exact depth, with the closed hole that this leaves. All hole
    pixels count except those near the left and right border, where points from outside the picture come into view.
    `textures`: photos (3, h, w), 0..1, to cut surfaces from (none: noise). `edge_dilation`: rounds by which near edges
    of the depth grow before the warp; the holes then begin a little further from the object.
    """
    return _drawn_truth("scene", lambda rng: draw_scene(rng, SCENE_SIZE, textures), count, seed, edge_dilation)


def photo_scene_truth(count: int, photos: Sequence[Tensor], seed: int = 0, edge_dilation: int = 0) -> Truth:
    """Return `count` photo scenes as a truth: a piece of one of `photos` before another one, see `draw_photo_scene`.

    All else is as in `scene_truth`. The holes lie where real ones do, along contours that a camera saw, with
    photographed surfaces on both sides. Holes by estimated depth, as in `photo_truth`, often lie within one surface.
    """
    return _drawn_truth(
        "photo scene", lambda rng: draw_photo_scene(rng, SCENE_SIZE, photos), count, seed, edge_dilation
    )


def _drawn_truth(
    kind: str, draw: Callable[[np.random.Generator], Scene], count: int, seed: int, edge_dilation: int
) -> Truth:
    names = [f"{kind.replace(' ', '_')}_{index:03d}" for index in range(count)]

    def load(index: int) -> Case:
        rng = numpy_rng(f"evaluation {kind}", seed, index)
        divergence, convergence = float(rng.uniform(*SCENE_DIVERGENCE)), float(rng.uniform())
        return scene_case(draw(rng), divergence, convergence, names[index], edge_dilation)

    return Truth(f"{kind}s", names, load)


def scene_case(scene: Scene, divergence: float, convergence: float, name: str, edge_dilation: int = 0) -> Case:
    """Return the right view of `scene` as a case; the left view of the pair is the scene's own picture."""
    picture, depth = scene.render()
    depth = dilate_edge(depth, edge_dilation)
    warped, hole = forward_warp(picture, depth, divergence, convergence, "right")
    hole = close_hole(hole)
    exact = scene.view("right", divergence, convergence)
    strip = math.ceil(0.5 * divergence / 100 * scene.size[1] * max(convergence, 1 - convergence))
    truth = torch.where(hole, exact, warped)
    hidden = scene.hidden_in_right_view(divergence, convergence)
    judged, hidden = (without_border(x, 0, strip) for x in (hole, hidden))
    return Case(name, name, warped, hole, truth, judged, picture, exact, hidden)


def border_truth(truth: Truth, seed: int = 0, cut: bool = True) -> Truth:
    """Return the cases of `truth`, cut alternately at the right and at the left, so that a hole touches that border.

    Only hole pixels with no known pixel between them and the border count; beyond it nothing is known. The border runs
    through a pixel drawn from those that count in `truth`, and each case's name says on which side it lies. With
    `cut=False` the same pixels count, but the pictures continue beyond, so the difference is what the border costs.
    """
    names = [f"{name}_{'left' if index % 2 else 'right'}" for index, name in enumerate(truth.names)]

    def load(index: int) -> Case:
        case = replace(truth.load(index), name=names[index])
        at_right = index % 2 == 0
        if not bool(case.judged.any()):
            return case
        column = _draw_column(case.judged, numpy_rng("border", seed, index), at_right)
        window = (..., slice(column + 1) if at_right else slice(column, None))
        left, right = nearest_known(case.hole[window])
        touches = (right == right.shape[-1]) if at_right else (left < 0)
        counts = torch.zeros_like(case.judged)
        counts[window] = case.judged[window] & touches
        parts = (case.picture, case.hole, case.truth, counts)
        return Case(case.name, case.source, *(part[window] if cut else part for part in parts))

    return Truth("holes at the border", names, load)


def _draw_column(judged: Tensor, rng: np.random.Generator, at_right: bool) -> int:
    """Draw the column of a pixel that counts, in the middle half of `judged`, bool (1, 1, H, W).

    If there is none, return the column that leaves the largest part of the picture.
    """
    width = judged.shape[-1]
    columns = judged[0, 0].nonzero()[:, 1]
    middle = columns[(columns >= LEAST_SHARE * width) & (columns < (1 - LEAST_SHARE) * width)]
    if len(middle):
        return int(middle[int(rng.integers(len(middle)))])
    return int(columns.max() if at_right else columns.min())


def read_textures(photos: str | Path) -> list[Tensor]:
    """Return the photos in ``photos/eval`` as (3, h, w), 0..1, with a short side of `TEXTURE_SIDE` px, sorted by name.

    At most `MOST_TEXTURES` are read, spread evenly. Files that aren't pictures are left out. Raises `InputError` if no
    picture is left.
    """
    folder = Path(photos) / "eval"
    found = []
    files = [path for path in list_pictures(folder) if is_picture(path)]
    for path in evenly(files, MOST_TEXTURES):
        try:
            pixels = read_picture(path, TEXTURE_SIDE)
        except UnreadablePicture:
            continue
        picture = picture_batch(pixels)
        scale = TEXTURE_SIDE / min(picture.shape[-2:])
        size = [round(side * scale) for side in picture.shape[-2:]]
        found.append(F.interpolate(picture, size, mode="bilinear", antialias=True)[0].clamp(0, 1))
    if not found:
        raise InputError(
            f"photos: {folder} holds no readable picture; put photos that nothing was trained on there, or set scenes=0"
        )
    return found


def without_border(hole: Tensor, rows: int, columns: int) -> Tensor:
    """Return `hole` (..., H, W), bool, without the outer `rows` px at top and bottom and `columns` px at the sides."""
    height, width = hole.shape[-2:]
    inside = hole[..., rows : height - rows, columns : width - columns]
    return F.pad(inside, (columns, columns, rows, rows))


def record_name(picture_file: str) -> str:
    """Return the name of a record from that of its picture: without ``_C.png``."""
    return picture_file.removesuffix(PICTURE_SUFFIX)


def record_rows(dataset: InpaintDataset) -> dict[str, Row]:
    """Return the manifest's rows by the name of each record's picture file, as far as the data set has a manifest."""
    root, split = dataset.folder.parent, dataset.folder.name
    rows = (row for name in data_set_names(root) for row in read_manifest(root, name) if is_record(row))
    return {str(row["picture"]): row for row in rows if str(row["source"]).startswith(f"{split}/")}
