"""The options of notebook 01."""

import os
from dataclasses import dataclass
from pathlib import Path

from inpaintkit.config.choices import DEPTH_MODEL_NAMES, HOLE_METHODS, MAP_NAME, MAP_VALUES, NEAR_IS_BRIGHT
from inpaintkit.config.options import FREE, JobConfig, option, require_known
from inpaintkit.errors import InputError
from inpaintkit.files import require_folder, require_writable


def parse_shard(shard: str) -> tuple[int, int]:
    """Return (index, count) of a shard written as ``i/n`` with 0 <= i < n.

    ``auto`` means torchrun's, or without torchrun (0, 1), the whole. Raises `InputError` for anything else.
    """
    told = f"{os.environ.get('RANK', 0)}/{os.environ.get('WORLD_SIZE', 1)}" if shard == "auto" else shard
    index, _, count = told.partition("/")
    if not (index.isdecimal() and count.isdecimal() and int(index) < int(count)):
        source = " (RANK/WORLD_SIZE, as torchrun sets them)" * (shard == "auto")
        raise InputError(
            f"shard: {told!r}{source} is not i/n with 0 <= i < n; for the first of four machines write 0/4, for all pictures 0/1"
        )
    return int(index), int(count)


def check_prefix(prefix: str) -> None:
    """Raise `InputError` unless `prefix` can safely start a file name."""
    if not prefix:
        raise InputError(
            "prefix: it is empty; give this data set a short name of letters and digits, e.g. prefix=photos1"
        )
    if not all(c.isalnum() or c in "_-" for c in prefix) or len(prefix) > 64:
        raise InputError(f"prefix: {prefix!r} can't start a file name; use at most 64 letters, digits, - and _")


def check_map_options(model_type: str, flip: bool, map_name: str, map_values: str) -> None:
    """Raise `InputError` for options of depth maps that have no effect with `model_type`."""
    if model_type == "File" and flip:
        raise InputError("flip_average: model_type=File has nothing to average; leave flip_average off")
    if model_type != "File" and (map_name, map_values) != (MAP_NAME, NEAR_IS_BRIGHT):
        raise InputError(f"map_name, map_values: they are for model_type=File, not for {model_type}; leave them out")


@dataclass(frozen=True)
class GenerateConfig(JobConfig):
    """Notebook 01: pictures -> a data set of `_C` (picture) and `_M` (hole) crops."""

    notebook = "01_generate"
    dataset_dir: str = option(
        "data/samples",
        "folder of pictures and videos, which may be divided into train/ and eval/; or one video",
        group="Data set",
        path=True,
        later=FREE,
        everyday=True,
    )
    output_dir: str = option(
        "data/inpaint_v1",
        "folder of the data set to write; gets train/ and eval/",
        path=True,
        later=FREE,
        everyday=True,
    )
    prefix: str = option("", "start of all file names of the data set (required)", later=FREE, everyday=True)
    model_type: str = option(
        "FastDepth", "depth model: FastDepth or a name in docs/depth_models.md", group="Depth", everyday=True
    )
    resolution: int | None = option(
        None, "short side of the depth map, None: the model's own", unit="px", minimum=32, maximum=8192
    )
    model_path: str | None = option(
        None,
        "local checkpoint of model_type instead of a download; for File: folder of the maps",
        path=True,
        later=FREE,
    )
    hub_dir: str | None = option(None, "folder for downloaded networks, None: the hubs' own", path=True, later=FREE)
    flip_average: bool = option(
        False, "average the depth with that of the mirrored picture; takes twice as long", later=FREE
    )
    map_name: str = option(
        MAP_NAME, "for File: name of a map without its ending; any other than the default needs model_path"
    )
    map_values: str = option(
        NEAR_IS_BRIGHT, "for File: what large values in a map mean", choices=MAP_VALUES, later=FREE
    )
    depth_cache: str | None = option(
        None, "folder where depth maps are kept for later runs, None: OUTPUT_DIR/depth_cache", path=True, later=FREE
    )
    depth_cache_gb: float = option(
        10.0,
        "largest size of depth_cache; beyond it the maps used longest ago are deleted; 0: keep none",
        unit="GB",
        minimum=0,
        later=FREE,
    )
    eval_only: bool = option(False, "write eval/ only", group="Pictures", later=FREE)
    eval_fraction: float = option(
        0.1, "share of the files that go to eval/ if dataset_dir has no train/ and eval/", minimum=0, maximum=1
    )
    repeats: int = option(1, "passes over the pictures, each with other holes", minimum=1)
    scenes: int = option(
        0, "scenes to make per picture and pass: layers cut from the pictures, with exact depth", minimum=0
    )
    video_interval: float = option(
        2.0, "time between the frames taken from a video", group="Videos", unit="s", minimum=0.04
    )
    video_frames: int | None = option(None, "frames to take from each video, None: one per video_interval", minimum=1)
    max_fps: float = option(8.0, "frames examined per second of a video", minimum=0.1)
    skip_first: float = option(0.0, "time to skip at the start of each video", unit="s", minimum=0)
    save_frames: bool = option(False, "keep the frames taken from videos as pictures in OUTPUT_DIR/frames", later=FREE)
    size: int = option(
        512, "side of the square crops", group="Records", unit="px", minimum=256, maximum=4096, everyday=True
    )
    num_samples: int = option(2, "crops of each picture, and of its mirror image", minimum=1)
    divergence_level: int = option(
        1,
        "strength of the 3D effect: 1, 2 or 3 for up to 5, 8 or 11 % of the width",
        group="Holes",
        minimum=1,
        maximum=3,
        everyday=True,
    )
    hole_method: str = option("auto", "how holes are found", choices=HOLE_METHODS)
    device: str = option("auto", "auto, cpu, cuda, cuda:1, mps", group="Machine", later=FREE, everyday=True)
    workers: int = option(
        2,
        "threads that read, warp and encode, 0: none beside the one that estimates depth",
        minimum=0,
        maximum=1024,
        later=FREE,
    )
    processes: int = option(
        1,
        "processes on this machine that share the pictures, spread over its GPUs",
        minimum=1,
        maximum=1024,
        later=FREE,
    )
    shard: str = option(
        "auto",
        "i/n: every n-th picture, the share of machine i (from 0) of n; auto: as set by torchrun, else all pictures",
        later=FREE,
    )
    seed: int = option(0, "same seed and pictures: same data set, byte by byte", group="Run")
    run_dir: str | None = option(
        None,
        "folder for the executed notebook and its figures, None: OUTPUT_DIR/runs/PREFIX_MODEL",
        path=True,
        later=FREE,
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        check_prefix(self.prefix)
        parse_shard(self.shard)

    @property
    def data_set_name(self) -> str:
        """``PREFIX_MODEL``, the start of all file names of the data set."""
        return f"{self.prefix}_{self.model_type}"

    @property
    def run_folder(self) -> Path:
        own = Path(self.output_dir) / "runs" / f"{self.data_set_name}{self.shard_mark}"
        return own if self.run_dir is None else Path(self.run_dir)

    @property
    def shard_mark(self) -> str:
        """``_shard0of4`` for files that each shard has of its own; empty if there is only one shard."""
        index, count = parse_shard(self.shard)
        return f"_shard{index}of{count}" if count > 1 else ""

    def check_inputs(self) -> None:
        if not Path(self.dataset_dir).is_file():
            require_folder(self.dataset_dir, "dataset_dir")
        require_writable(self.output_dir, "output_dir")
        require_known("model_type", self.model_type, DEPTH_MODEL_NAMES)
        check_map_options(self.model_type, self.flip_average, self.map_name, self.map_values)
        if self.model_path is not None and not Path(self.model_path).exists():
            raise InputError(f"model_path: {self.model_path} does not exist; give a file or folder, or None")
