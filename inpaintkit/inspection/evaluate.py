"""Judge fills inside holes only: a figure over the whole picture would rank doing nothing first."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

import torch

from inpaintkit.config import InspectConfig
from inpaintkit.data import InpaintDataset
from inpaintkit.errors import InputError
from inpaintkit.inspection.fills import Fill, require_picture
from inpaintkit.inspection.holes import hole_iou, hole_ring, hole_widths, stray_pixels
from inpaintkit.inspection.likeness import siou, ssim_map
from inpaintkit.inspection.scores import WIDTH_BINS, Evaluation, HoleScore, Score
from inpaintkit.inspection.stereo_truth import stereo_truth
from inpaintkit.inspection.truths import (
    Case,
    Truth,
    border_truth,
    photo_scene_truth,
    photo_truth,
    read_textures,
    record_truth,
    scene_truth,
)
from inpaintkit.training import metrics
from inpaintkit.training.feeding import evenly
from inpaintkit.training.perceptual import Lpips


def evaluate(
    fills: Mapping[str, Fill],
    truth: Truth | InpaintDataset,
    lpips_networks: Sequence[str] = ("alex",),
    max_records: int | None = None,
    progress: Callable[[int, int, str], None] | None = None,
) -> Evaluation:
    """Fill the holes of a truth's pictures with each of `fills` and compare with what belongs there, inside holes only.

    No fill sees the truth: its input is 0 in hole pixels. Pictures in which no hole pixel counts are left out.

    Args:
        fills: functions by name, see `fills.Fill`; an `Inpainter` is one.
        truth: a truth, see `truths`, or evaluation records (``training=False``).
        lpips_networks: any of ``"alex"`` and ``"vgg"``.
        max_records: judge at most so many, spread evenly over the truth; None: all.
        progress: called with (records done, all records, name of the record).

    Raises `InputError` if there is no fill or nothing to judge, or if a fill returns anything but a picture.
    """
    if not fills:
        raise InputError("fills: none given; pass for instance FILLS, or {'model': Inpainter(checkpoint)}")
    truth = as_truth(truth)
    networks = {name: Lpips(name) for name in lpips_networks}
    chosen = evenly(range(len(truth)), max_records)
    scores: list[Score] = []
    holes: list[HoleScore] = []
    for done, index in enumerate(chosen, 1):
        case = truth.load(index)
        if bool(case.judged.any()):
            filled = torch.cat([run_fill(name, fill, case) for name, fill in fills.items()])
            figures = measure(filled, case, networks)
            pixels = int(case.judged.sum())
            for number, name in enumerate(fills):
                own = {metric: float(values[number]) for metric, values in figures.items()}
                scores.append(Score(case.name, case.source, name, pixels, own))
            if case.exact_hole is not None:
                fit = (float(fits(case.judged, case.exact_hole)) for fits in (hole_iou, stray_pixels))
                holes.append(HoleScore(case.name, *fit))
        if progress is not None:
            progress(done, len(chosen), case.name)
    if not scores:
        raise InputError(
            f"{truth.title}: none of {len(chosen)} has a hole in its judged area; give more or larger ones"
        )
    return Evaluation(tuple(scores), truth.title, tuple(holes))


def choose_truths(
    config: InspectConfig, progress: Callable[[str], Callable[[int, int, str], None]] | None = None
) -> list[Truth]:
    """Return the truths that `config` asks for, in the order of the report. Add new kinds of truths here.

    `progress`: called with a description if no data set is given; returns the `progress` argument of `photo_truth`.
    """
    # first what may raise an error, because making records of many photos takes a while
    textures = read_textures(config.photos) if config.scenes else []
    stereo = config.stereo_dir
    pairs = [] if stereo is None else [stereo_truth(stereo, config.disparity_scale, config.edge_dilation)]
    if config.data_dir is None:
        told = progress("records made of the photos") if progress else None
        truths = [photo_truth(config.photos, config.run_folder / "data", config.seed, told)]
    else:
        truths = [record_truth(InpaintDataset(Path(config.data_dir) / "eval", training=False))]
    if config.scenes:
        drawn = config.scenes, textures, config.seed, config.edge_dilation
        photo_scenes = photo_scene_truth(*drawn)
        truths += [scene_truth(*drawn), photo_scenes, border_truth(photo_scenes, config.seed)]
    return truths + pairs


def filled_cases(
    fills: Mapping[str, Fill], truth: Truth, names: Iterable[str]
) -> list[tuple[Case, dict[str, torch.Tensor]]]:
    """Return the cases `names` of `truth`, each with the result (1, 3, H, W) of every fill by name.

    Raises `InputError` for an unknown name and as `run_fill` does.
    """
    cases = map(truth.case, names)
    return [(case, {label: run_fill(label, fill, case) for label, fill in fills.items()}) for case in cases]


def as_truth(truth: Truth | InpaintDataset) -> Truth:
    """Return `truth` as a `Truth`: evaluation records are converted."""
    return truth if isinstance(truth, Truth) else record_truth(truth)


@torch.no_grad()
def measure(filled: torch.Tensor, case: Case, networks: Mapping[str, Lpips]) -> dict[str, torch.Tensor]:
    """Return every figure of `METRICS` for the fills (B, 3, H, W) of one case, (B,) each; NaN where one doesn't exist.

    Hole pixels that don't count are replaced by the truth, so that they have no influence on their neighbours' figures.
    """
    filled = torch.where(case.hole & ~case.judged, case.truth, filled)
    truth = case.truth
    judged = case.judged
    unknown = torch.full((len(filled),), torch.nan)
    similarity = ssim_map(filled, truth).mean(dim=1, keepdim=True)
    distances = {name: lpips.distance_map(filled, truth) for name, lpips in networks.items()}
    left, right = case.left_view, case.right_view
    figures = {
        "lpips_vgg": metrics.hole_mean(distances["vgg"], judged) if "vgg" in distances else unknown,
        "artefact": metrics.artefact_score(filled, truth, judged),
        "siou": unknown if left is None or right is None else siou(filled, right, left),
    }
    widths = hole_widths(case.hole)
    ring = hole_ring(case.hole)
    areas = {"": judged, "_ring": ring}
    for width, (low, high) in WIDTH_BINS.items():
        areas[f"_{width}"] = judged & (widths >= low) & (widths <= (high or widths.shape[-1]))
    for suffix, area in areas.items():
        figures[f"psnr{suffix}"] = metrics.hole_psnr(filled, truth, area).clamp(max=metrics.HIGHEST_PSNR)
        figures[f"ssim{suffix}"] = metrics.hole_mean(similarity, area)
        figures[f"lpips{suffix}"] = metrics.hole_mean(distances["alex"], area) if "alex" in distances else unknown
    return figures


@torch.no_grad()
def run_fill(name: str, fill: Fill, case: Case) -> torch.Tensor:
    """Return the result of `fill` on a case (right-eye orientation), clamped to 0..1; it can't see the hole pixels.

    Raises `InputError` as `require_picture` does.
    """
    answer = fill(case.picture.masked_fill(case.hole, 0), case.hole.clone(), "right")
    return require_picture(name, answer, case.picture, case.name).to(case.picture).clamp(0, 1)
