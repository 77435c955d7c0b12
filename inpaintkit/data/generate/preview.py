"""Choose pictures to look at before a data set is generated."""

import contextlib
from pathlib import Path

from inpaintkit.config import GenerateConfig
from inpaintkit.data.generate.plan import list_sources
from inpaintkit.data.images import UnreadablePicture, read_picture, write_png
from inpaintkit.data.picture_depth import depth_model
from inpaintkit.data.records import SHORT_SIDES
from inpaintkit.data.sources import source_name
from inpaintkit.data.video import example_frame, is_video
from inpaintkit.depth import MapFileModel
from inpaintkit.errors import InputError
from inpaintkit.files import fitting_name
from inpaintkit.text import printable, shown

EXAMPLE_VIDEOS = 8  # at most this many give a frame to look at: each takes a moment to open


def example_pictures(config: GenerateConfig) -> list[Path]:
    """Return picture files to look at before generating: those of `config`, else a frame of each of its first videos.

    Such frames are saved in the run folder. The first picture is readable, as is its map for model_type=File; the
    others aren't opened. Raises `InputError` if there is nothing to look at.
    """
    root = Path(config.dataset_dir)
    files = {
        path: f"{split}/{source_name(path, root, split)}"
        for split, paths in list_sources(config).files.items()
        for path in paths
        if printable(path.name) == path.name
    }
    pictures, reason = _from_first_readable([path for path in files if not is_video(path) and path.is_file()], config)
    by_maps = config.model_type == MapFileModel.name  # which frames of videos don't have
    for path in filter(is_video, files if not pictures and not by_maps else ()):
        folder, _, name = files[path].rpartition("/")
        kept = config.run_folder / "examples" / folder / fitting_name(name, ".png")
        with contextlib.suppress(UnreadablePicture):
            write_png(kept, example_frame(path))
            pictures.append(kept)
        if len(pictures) == EXAMPLE_VIDEOS:
            break
    if not pictures:
        nothing = "picture with a depth map" if by_maps else "picture and no readable video"
        raise InputError(f"dataset_dir: {config.dataset_dir} holds no {nothing}{reason}")
    return pictures


def _from_first_readable(pictures: list[Path], config: GenerateConfig) -> tuple[list[Path], str]:
    """Return `pictures` from the first readable one on, or none, and the reason why the very first one isn't readable.

    For model_type=File, its map must be readable as well.
    """
    reason = ""
    model = depth_model(config) if config.model_type == MapFileModel.name else None
    for place, path in enumerate(pictures):
        try:
            if isinstance(model, MapFileModel):
                model.infer_file(path)
            read_picture(path, SHORT_SIDES[0])
            return pictures[place:], ""
        except (UnreadablePicture, InputError) as error:
            message = f"{shown(path.name)} {error}" if isinstance(error, UnreadablePicture) else str(error)
            reason = reason or f" that can be used; {message}"
    return [], reason
