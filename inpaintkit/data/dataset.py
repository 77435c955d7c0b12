"""Serve a folder of records as samples for training or evaluation; explicit random keys determine all augmentation."""

from __future__ import annotations

import functools
import os
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from inpaintkit.data.colours import change_colours
from inpaintkit.data.hole_changes import MARGIN, border_columns, grow_hole, thin_holes
from inpaintkit.data.manifest import HOLE_SUFFIX, PICTURE_SUFFIX
from inpaintkit.data.mixed_border import draw_mixed_border, mix_borders
from inpaintkit.data.packed import Bytes, open_packed, read_record, record_shape
from inpaintkit.data.sample_draw import Chances, SampleDraw, draw_sample
from inpaintkit.data.sampling import best_crop, grid_crop
from inpaintkit.errors import InputError
from inpaintkit.files import require_folder
from inpaintkit.seeds import derive_seed, numpy_rng
from inpaintkit.text import printable

PNG_END = 20  # bytes: checksum of the pixel data, CRC of their chunk, and the empty last chunk (IEND)
MOST_HOLE = 0.75  # largest plausible share of hole in a record: most have some hundredths, an inverted mask has more
LOOKED_AT = 64  # records without a pack that are checked for inverted masks
USUAL_CROP, SMALLEST_CROP, CROP_STEP = 256, 64, 4  # px

# Mostly NumPy and OpenCV: for pictures this small, waking torch's threads costs more than the arithmetic.
Mask = NDArray[np.bool_]
Pixels = NDArray[np.float32]


Sample = tuple[Tensor, Tensor, Tensor, int]
"""What the trainer sees: picture x (3, S, S) in 0..1, hole (1, S, S) True = missing, target y = x without its margin,
index of the record.

Input and target differ only with `mixed_border`, to the right of holes."""


def find_pairs(folder: Path) -> list[tuple[Path, Path]]:
    """Return the (picture, hole) files of the records in `folder`, sorted by name.

    The suffixes ``_C.png`` and ``_M.png`` identify a pair, as in iw3. Raises `InputError` when half of a pair is
    missing, when there is no pair at all, and for names that aren't UTF-8 text or don't belong to regular files.
    """
    with os.scandir(folder) as entries:
        halves = (entry for entry in entries if entry.name.endswith((PICTURE_SUFFIX, HOLE_SUFFIX)))
        found = {entry.name: entry for entry in halves if not entry.name.startswith(".")}
    for name in sorted(found):
        if printable(name) != name:
            raise InputError(f"{folder / name} has a name that is not UTF-8 text; rename it")
        if not found[name].is_file():
            raise InputError(f"{folder / name} is a folder, a device, a pipe or a link to nothing; delete it")
    pictures, holes = (
        {name.removesuffix(suffix) for name in found if name.endswith(suffix)}
        for suffix in (PICTURE_SUFFIX, HOLE_SUFFIX)
    )
    if (alone := min(pictures ^ holes, default=None)) is not None:
        have, lack = (PICTURE_SUFFIX, HOLE_SUFFIX) if alone in pictures else (HOLE_SUFFIX, PICTURE_SUFFIX)
        raise InputError(
            f"{folder / (alone + have)} has no partner {alone}{lack}; finish the generation or delete the file"
        )
    if not pictures:
        raise InputError(
            f"{folder} has no records (pairs *{PICTURE_SUFFIX}, *{HOLE_SUFFIX}); generate a data set first"
        )
    return [(folder / (stem + PICTURE_SUFFIX), folder / (stem + HOLE_SUFFIX)) for stem in sorted(pictures)]


class InpaintDataset(Dataset[Sample]):
    """The records of a data set's ``train/`` or ``eval/`` folder as samples `(x, hole, y, index)`.

    Index it with the number of a record (in training: draw 0 of epoch 0) or with `(record, epoch, draw)`.

    In training, (seed, epoch, draw) alone determine all random choices, see `sample_draw`, so every process gets the
    same sample at any time. The hole may be grown or thinned, and the picture may be made to end at it; of several
    random crops, `best_crop` takes one by its hole. Colour changes apply to input and target, mixed borders to the
    input alone.

    In evaluation, the sample is the crop on a 64 px grid with the largest hole. Only mixed borders change it; they
    depend on (seed, record), so that a record always gives the same sample.

    `crop_size`: px; None: 256, or in evaluation the shorter side of a record that is smaller. Raises `InputError` when
    records are missing, broken, unpaired or smaller than the crop (in evaluation with None: than 64 px), when all masks
    are empty, and when some seem inverted (without a pack, only the first `LOOKED_AT` are checked for this).
    """

    def __init__(
        self,
        folder: str | Path,
        training: bool,
        seed: int = 0,
        crop_size: int | None = None,
        chances: Chances = Chances(),
    ) -> None:
        self.folder = require_folder(folder, "data_dir")
        self._least = crop_size or (USUAL_CROP if training else SMALLEST_CROP)
        crop_size = USUAL_CROP if crop_size is None else crop_size
        if crop_size <= 2 * MARGIN:
            raise InputError(
                f"crop_size: {crop_size} px leaves nothing inside the margin of {MARGIN} px; take 64 or more"
            )
        self.training, self.seed, self.crop_size, self.chances = training, seed, crop_size, chances
        self._pairs = find_pairs(self.folder)
        self.packed = open_packed(self.folder, self._pairs)
        self._check_sizes()
        self._check_holes()

    @property
    def names(self) -> list[str]:
        """File names of the records' pictures, in order of their index."""
        return [picture.name for picture, _ in self._pairs]

    def fingerprint(self) -> int:
        """Return a number that changes when a file is replaced by another one of the same name."""
        return derive_seed(*self._file_ends)

    def hashes(self) -> tuple[int, ...]:
        """Return for each record a number that changes when one of its files is replaced."""
        ends = self._file_ends
        return tuple(derive_seed(*pair) for pair in zip(ends[::2], ends[1::2], strict=True))

    @functools.cached_property
    def _file_ends(self) -> list[bytes]:
        """The last bytes of all PNG files, picture and hole in turn, read once: they hold checksums of the pixels."""
        ends = []
        for path in (path for pair in self._pairs for path in pair):
            with open(path, "rb") as handle:
                handle.seek(-min(PNG_END, path.stat().st_size), os.SEEK_END)
                ends.append(handle.read())
        return ends

    @functools.cached_property
    def shapes(self) -> list[tuple[int, int]]:
        """(H, W) of each record, px."""
        return self.packed.shapes if self.packed else [record_shape(*pair) for pair in self._pairs]

    def pixels(self, record: int) -> Bytes:
        """Return a whole record as a (4, H, W) uint8 array, read-only from a pack: R, G, B, hole (1 = missing)."""
        return self.packed.read(record) if self.packed else read_record(*self._pairs[record])

    def __len__(self) -> int:
        return len(self._pairs)

    def __getitem__(self, item: int | tuple[int, int, int]) -> Sample:
        record, epoch, draw = item if isinstance(item, tuple) else (item, 0, 0)
        record = range(len(self))[record]
        pixels = self.pixels(record)
        if self.training:
            return self._training_sample(pixels, record, epoch, draw)
        return self._evaluation_sample(pixels, record)

    def _check_sizes(self) -> None:
        for (picture, _), (height, width) in zip(self._pairs, self.shapes, strict=True):
            if min(height, width) < self._least:
                smaller = min(height, width) // CROP_STEP * CROP_STEP
                choice = f"choose a crop_size of {smaller} or less, or " if smaller >= SMALLEST_CROP else ""
                raise InputError(
                    f"{picture} has {width}x{height} px, less than the crop of {self._least} px; {choice}delete the pair"
                )

    def _check_holes(self) -> None:
        """Raise `InputError` if all masks are empty or some seem inverted: training would teach nothing or nonsense."""
        if self.packed is None:
            shares = [float(read_record(*pair)[3].mean()) for pair in self._pairs[:LOOKED_AT]]
        else:
            shares = self.packed.facts.hole_shares
        if not any(shares) and not any(read_record(*pair)[3].any() for pair in self._pairs[len(shares) :]):
            raise InputError(
                f"data_dir: none of the {len(self)} masks *{HOLE_SUFFIX} in {self.folder} has a hole; a hole is white (255)"
            )
        inverted = [hole.name for (_, hole), share in zip(self._pairs, shares, strict=False) if share > MOST_HOLE]
        if inverted:
            raise InputError(
                f"data_dir: {len(inverted)} of {len(shares)} masks in {self.folder} have a hole of more than {MOST_HOLE:.0%}, {inverted[0]} first; "
                "a hole is white (255), known pixels are black (0): invert them, or delete those pairs"
            )

    def draw(self, shape: tuple[int, int], epoch: int, number: int) -> SampleDraw:
        """Return the random choices for training sample `number` of `epoch`; `shape`: (H, W) of its record."""
        return draw_sample(numpy_rng(self.seed, epoch, number), *shape, self.crop_size, self.chances)

    def _training_sample(self, pixels: Bytes, record: int, epoch: int, number: int) -> Sample:
        draw = self.draw((pixels.shape[1], pixels.shape[2]), epoch, number)
        hole = grow_hole(pixels[3] > 0, left=draw.left, right=draw.right)
        if draw.width:
            hole = thin_holes(torch.from_numpy(hole)[None], torch.tensor([draw.width]))[0].numpy()
        place = best_crop(hole, draw.crops, self.crop_size)
        if draw.inset:
            picture, hole = self._cut_at_border(pixels, hole, *place, draw)
        else:
            picture, hole = self._cut(pixels, hole, *place, self.crop_size)
        if draw.colours:
            picture = np.stack(cv2.split(change_colours(cv2.merge(list(picture)), draw.colours)))
        return _as_sample(picture, hole, record, draw.shares)

    def _evaluation_sample(self, pixels: Bytes, record: int) -> Sample:
        hole = pixels[3] > 0
        size = min(self.crop_size, *hole.shape)
        top, left = grid_crop(hole, size)
        shares = draw_mixed_border(numpy_rng(self.seed, "evaluation", record), self.chances.mixed_border, size)
        return _as_sample(*self._cut(pixels, hole, top, left, size), record, shares)

    def _cut(self, pixels: Bytes, hole: Mask, top: int, left: int, size: int) -> tuple[Bytes, Mask]:
        window = np.s_[top : top + size, left : left + size]
        return pixels[(np.s_[:3], *window)], hole[window]

    def _cut_at_border(self, pixels: Bytes, hole: Mask, top: int, left: int, draw: SampleDraw) -> tuple[Bytes, Mask]:
        rows = slice(top, top + self.crop_size)
        crop = torch.from_numpy(hole[rows, left : left + self.crop_size])[None]
        lefts, picks, insets = torch.tensor([[left], [draw.pick], [draw.inset]])
        columns = border_columns(crop, lefts, hole.shape[1], picks, insets)[0].numpy()
        return pixels[:3, rows][..., columns], hole[rows, columns]


def _as_sample(picture: Bytes, hole: Mask, record: int, shares: Pixels) -> Sample:
    """Return a crop (3, S, S), 0..255, and its hole (S, S) as a sample; only its input is mixed by `shares`."""
    x, missing = torch.from_numpy(picture * np.float32(1 / 255)), torch.from_numpy(hole[None].copy())
    y = x[:, MARGIN:-MARGIN, MARGIN:-MARGIN].contiguous()
    if shares.any():
        mix_borders(x[None], missing, torch.from_numpy(shares)[None])
    return x, missing, y, record
