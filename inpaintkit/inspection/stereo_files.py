"""Make a stereo pair from a picture file and save it in the usual formats for viewing."""

import contextlib
import filecmp
import glob
import io
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from inpaintkit.config import StereoConfig, check_fill_name, enough_memory, is_fill_function, resolve_device
from inpaintkit.config.stereo import RELEASED
from inpaintkit.data import UnreadablePicture, read_picture
from inpaintkit.data.video import is_video
from inpaintkit.depth import DepthModel, create_depth_model, depth_of_file
from inpaintkit.errors import InputError, RunFailed
from inpaintkit.files import (
    atomic_path,
    fitting_name,
    move_aside,
    remove_leftovers,
    require_writable,
    write_problems_said,
)
from inpaintkit.inspection.fills import Fill, fills_named, on_grown_hole, require_picture, simple_in_thin_holes
from inpaintkit.inspection.inpainter import Inpainter
from inpaintkit.inspection.pictures import Pixels
from inpaintkit.inspection.stereo import StereoPair, Tell, depth_like, say_nothing, stereo_pair
from inpaintkit.synthesis.sampler import USUAL_MAPPER
from inpaintkit.text import count_of, shown

ENCODERS: dict[str, dict[str, Any]] = {
    "jpg": {"format": "JPEG", "quality": 92, "subsampling": 0},
    "png": {"format": "PNG", "compress_level": 3},
}
# Suffixes as iw3 and players know them.
VIEWS: dict[str, Callable[[StereoPair], np.ndarray]] = {
    "LRF_Full_SBS": StereoPair.side_by_side,
    "LR": StereoPair.half_side_by_side,
    "TBF_fulltb": StereoPair.over_under,
    "redcyan": StereoPair.anaglyph,
}
LoadDepth = Callable[[str, str], DepthModel]
"""A function that returns the depth model of a name and a device."""

LONGEST_JPEG = 65_500
"""Most px per side that a JPEG file can hold (libjpeg)."""
LONGEST_GIF = 65_535

RELEASED_MODEL = Path(__file__).parents[2] / "models" / "released" / "light_inpaint_v1.pth"


def read_photo(config: StereoConfig) -> Pixels:
    """Read the picture that `config` names; raise `InputError` if it is missing, unreadable or too large to save."""
    try:
        pixels = read_picture(config.picture, any_shape=True)
    except UnreadablePicture as error:
        film = is_video(Path(config.picture))
        reason = (
            "is a video; iw3 converts videos, also with your model: docs/use_in_iw3.md"
            if film
            else f"{error}; give a photo"
        )
        raise InputError(f"picture: {shown(config.picture)} {reason}") from None
    height, width = pixels.shape[:2]
    if config.format != "png" and (longest := 2 * max(height, width)) > LONGEST_JPEG:
        raise InputError(
            f"picture: {shown(config.picture)} has {width}x{height} px, so both views side by side or one above the other have "
            f"{longest}, and JPEG ends at {LONGEST_JPEG}; give --format png or a smaller picture"
        )
    if config.wiggle and max(height, width) > LONGEST_GIF:
        raise InputError(
            f"picture: {shown(config.picture)} has {width}x{height} px, and GIF ends at {LONGEST_GIF} a side; leave --wiggle out or "
            "give a smaller picture"
        )
    return pixels


def stereo_from_file(config: StereoConfig, tell: Tell = say_nothing, load_depth: LoadDepth | None = None) -> StereoPair:
    """Return a stereo pair of the picture file that `config` names; `tell` is called with progress messages.

    `load_depth` replaces `create_depth_model`, to load a model only once for several pictures. Raises `InputError` as
    `read_photo` does, and for an unknown depth model or an unavailable fill; `RunFailed` if a GPU runs out of memory.
    """
    pixels = read_photo(config)
    device = resolve_device(config.device)
    fill = stereo_fill(config)
    tell(f"{pixels.shape[1]}x{pixels.shape[0]} px; depth by {config.model_type} ...")
    with enough_memory(config.device, lambda: "give a smaller picture or device=cpu"):
        batch = torch.from_numpy(pixels).to(device).permute(2, 0, 1)[None] / 255
        del pixels
        model = (load_depth or create_depth_model)(config.model_type, device)
        depth = depth_of_file(model, config.picture, batch)
        near = depth_like(depth, batch, config.edge_dilation, USUAL_MAPPER[model.metric])
        return stereo_pair(batch, near, config.divergence, config.convergence, fill, tell=tell)


def stereo_fill(config: StereoConfig) -> Fill:
    """Return the fill that `config` chooses for the holes of a pair; raise `InputError` if it isn't available."""
    return on_grown_hole(_fill(config.fill, resolve_device(config.device)), config.outer_dilation)


def _fill(name: str, device: str) -> Fill:
    check_fill_name("fill", name, RELEASED)
    if name != RELEASED:
        ((label, fill),) = fills_named(name, device, amp="auto").items()
        if is_fill_function(name):
            return lambda view, hole, eye: require_picture(label, fill(view, hole, eye), view, f"the {eye} eye")
    elif RELEASED_MODEL.is_file():
        fill = Inpainter(RELEASED_MODEL, device, amp="auto")
    else:
        raise InputError(f"fill: the released model {RELEASED_MODEL} is not there; give a MODEL.pth, or row")
    return simple_in_thin_holes(fill) if isinstance(fill, Inpainter) else fill


def save_stereo(
    pair: StereoPair, folder: str | Path, name: str, format: str = "jpg", wiggle: bool = False
) -> list[Path]:
    """Save `pair` into `folder`: side by side in full and half width, over-under, red-cyan; return the files.

    `format`: ``jpg``, ``png`` or ``both``; `wiggle`: also save a GIF that swings between the eyes. If a file of one of
    those names holds something else, another fill's result for instance, all files made with it are moved to
    ``old/DATE``, with a message.
    """
    target = require_writable(folder, "output")
    wiggled = fitting_name(name, "_wiggle.gif")
    target.mkdir(parents=True, exist_ok=True)
    remove_leftovers(target.glob(".*"), alone=False)
    made = dict[Path, Path]()
    # all files appear under their names together, at the end
    with write_problems_said(target), contextlib.ExitStack() as stack:
        for kind, view in VIEWS.items():
            pixels = view(pair)
            for ending in ENCODERS if format == "both" else (format,):
                file = target / fitting_name(name, f"_{kind}.{ending}")
                # through memory, because Pillow doesn't notice when the disk fills up while it writes a JPEG
                data = io.BytesIO()
                Image.fromarray(pixels).save(data, **ENCODERS[ending])
                made[file] = stack.enter_context(atomic_path(file))
                made[file].write_bytes(data.getvalue())
        if wiggle:
            made[target / wiggled] = stack.enter_context(atomic_path(target / wiggled))
            made[target / wiggled].write_bytes(pair.wiggle())
        others = [file for file, new in made.items() if file.exists() and not filecmp.cmp(new, file, False)]
        if others:
            family = [fitting_name(name, f"_{kind}.{ending}") for kind in VIEWS for ending in ENCODERS] + [wiggled]
            moved = move_aside(target, map(glob.escape, family), others[0])
            print(f"other pictures of these names that were in {target} lie in {moved} now", flush=True)
    return list(made)


def make_stereo_files(
    config: StereoConfig, tell: Tell = say_nothing, load_depth: LoadDepth | None = None
) -> list[Path]:
    """Make a stereo pair from a picture file and save it; return the files. `tell` is called with progress messages.

    The files are named after the picture, including its suffix, and the depth model, so that results of other pictures
    stay untouched.
    """
    config.check_inputs()
    picture = Path(config.picture)
    name = "_".join(part for part in (picture.stem, picture.suffix.removeprefix("."), config.model_type) if part)
    pair = stereo_from_file(config, tell, load_depth)
    tell("writing ...")
    return save_stereo(pair, config.output, name, config.format, config.wiggle)


def convert_pictures(configs: Sequence[StereoConfig], tell: Tell) -> None:
    """Make the stereo files of several pictures; `tell` is called with progress messages and the names of the files.

    A picture that can't be used is reported and skipped. If it is the only one, its `InputError` is raised, else
    `RunFailed` at the end. Raises `InputError` at once for two pictures whose files would have the same names.
    """
    results = set[tuple[str, str]]()
    for config in configs:
        name = Path(config.picture).name
        if (config.output, name) in results:
            raise InputError(
                f"picture: two are called {shown(name)}, so their results would have the same names; convert them separately, each with "
                "its own -o"
            )
        results.add((config.output, name))
    failed = 0
    load_once = cache(create_depth_model)
    for config in configs:
        tell(f"{shown(config.picture)}:")
        try:
            files = make_stereo_files(config, lambda what: tell(f"  {what}"), load_once)
        except InputError as error:
            if len(configs) == 1:
                raise
            failed += 1
            tell(f"  {error}")
        else:
            for file in files:
                tell(str(file))
    if failed:
        raise RunFailed(f"{count_of(failed, 'picture')} of {len(configs)} gave no stereo pair, see above")
