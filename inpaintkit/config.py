"""What each job takes: one frozen dataclass per notebook, with defaults, units and checks.

Field names are the option names of the command lines that the kit replaces (with underscores), and the
names in the notebooks' parameter cells and in ``params/*.yaml``. Values are flat literals, so that
papermill can inject them.
"""

from __future__ import annotations

import dataclasses
import difflib
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from inpaintkit.errors import InputError
from inpaintkit.files import require_folder, require_writable

_Config = TypeVar("_Config", bound="JobConfig")

LOSSES = ("l1lpips", "dct", "l1dctlpips", "l1dinov2")
PERCEPTUAL_NETWORKS = ("vgg", "alex")
OPTIMIZERS = ("adamw", "adamw_schedulefree", "muon")
SCHEDULERS = ("cosine_wd", "cosine", "none")
AMP_MODES = ("auto", "off", "bf16", "fp16")
RESIDENT_MODES = ("auto", "on", "off")
DISCRIMINATOR_NAMES = ("l3c", "l3ce", "ffc", "ffce", "l3cffce")
HOLE_METHODS = ("occlusion", "occlusion_steps", "warp_back")
MAP_VALUES = ("near_is_bright", "far_is_bright", "distance")
FILL_NAMES = ("row", "telea", "navier_stokes", "biharmonic")
ALL_FILLS = "all"
LPIPS_CHOICES: dict[str, tuple[str, ...]] = {"alex": ("alex",), "vgg": ("vgg",), "both": ("alex", "vgg")}


FIXED = "fixed"
"""The option can't change once a run or a data set has begun: its results would mix."""
ASKED = "asked"
"""The option may change where a person asks to go on with other options (`resume`)."""
FREE = "free"
"""The option says how the work is done, not what comes out: it may change at any time."""


def option(
    default: Any,
    help: str,
    *,
    unit: str = "",
    choices: tuple[str, ...] | None = None,
    minimum: float | None = None,
    maximum: float | None = None,
    path: bool = False,
    later: str = FIXED,
) -> Any:
    """Return a dataclass field that carries what a person (and the checks) must know about an option.

    `later`: whether it may change once a run or a data set has begun, `FIXED`, `ASKED` or `FREE`. What says nothing stays fixed.
    """
    metadata = {"help": help, "unit": unit, "choices": choices, "minimum": minimum, "maximum": maximum, "path": path}
    return dataclasses.field(default=default, metadata=metadata | {"later": later})


def changes(config: JobConfig, before: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Return {option: (value before, value now)} of what differs from the options `before`, those left out that are `FREE`.

    Options that `before` doesn't know are new since then and don't count.
    """
    found = {}
    for field in dataclasses.fields(config):
        now, then = getattr(config, field.name), before.get(field.name, getattr(config, field.name))
        if field.metadata["later"] != FREE and then != now:
            found[field.name] = (then, now)
    return found


def is_fixed(config_class: type[JobConfig], name: str) -> bool:
    """Return whether the option `name` can't change once a run or a data set has begun."""
    return bool(next(f for f in dataclasses.fields(config_class) if f.name == name).metadata["later"] == FIXED)


@dataclass(frozen=True)
class JobConfig:
    """Base of the job configurations: strict construction from flat parameters, value checks."""

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            self._check_value(field, getattr(self, field.name))

    def _check_value(self, field: dataclasses.Field[Any], value: Any) -> None:
        rule = field.metadata
        if value is None or not rule:
            return
        if rule["choices"] and value not in rule["choices"]:
            hint = nearest_name(str(value), rule["choices"])
            raise InputError(f"{field.name}: {value!r} is unknown{hint}; choose one of {', '.join(rule['choices'])}")
        low, high = rule["minimum"], rule["maximum"]
        if (low is not None and not value >= low) or (high is not None and not value <= high):
            limits = f"at least {low}" if high is None else f"between {low} and {high}"
            raise InputError(f"{field.name}: {value} is out of range; it must be {limits}")

    @property
    def run_folder(self) -> Path:
        """Folder for the executed notebook, its manifest, metrics and figures."""
        raise NotImplementedError

    def check_inputs(self) -> None:
        """Check the disk before any work starts: raise `InputError` when an input is missing or an output can't be written."""
        raise NotImplementedError

    @classmethod
    def from_params(cls: type[_Config], params: Mapping[str, Any]) -> _Config:
        """Build the configuration from flat parameters; raise `InputError` on an unknown name or a wrong type."""
        return cls(**check_names_and_types(cls, params))


def field_types(cls: type[JobConfig]) -> dict[str, Any]:
    """Return the resolved type of each field of `cls`, in order."""
    hints = typing.get_type_hints(cls)
    return {field.name: hints[field.name] for field in dataclasses.fields(cls)}


def type_name(kind: Any) -> str:
    """Return a type as written in a parameter cell, e.g. ``str | None``."""
    if isinstance(kind, types.UnionType):
        return " | ".join(type_name(part) for part in typing.get_args(kind))
    return "None" if kind is types.NoneType else str(kind.__name__)


def nearest_name(name: str, known: typing.Iterable[str]) -> str:
    """Return `` (did you mean X?)`` for the known name nearest to `name`, or an empty string."""
    match = difflib.get_close_matches(name, list(known), n=1)
    return f" (did you mean {match[0]}?)" if match else ""


def check_names_and_types(cls: type[JobConfig], params: Mapping[str, Any]) -> dict[str, Any]:
    """Return `params` with ints widened to float where a float is meant; raise `InputError` on the first misfit."""
    kinds = field_types(cls)
    checked = {}
    for name, value in params.items():
        if name not in kinds:
            hint = nearest_name(name, kinds)
            raise InputError(f"unknown parameter {name}{hint}; `python -m inpaintkit params` lists the names")
        checked[name] = _cast(name, value, kinds[name])
    return checked


def _cast(name: str, value: Any, kind: Any) -> Any:
    allowed = typing.get_args(kind) if isinstance(kind, types.UnionType) else (kind,)
    if type(value) in allowed:
        return value
    if float in allowed and (type(value) is int or (isinstance(value, str) and _is_number(value))):
        return float(value)  # YAML takes 1e-4, without a point, for text
    raise InputError(f"{name}: expected {type_name(kind)}, got {value!r} ({type(value).__name__})")


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def parse_shard(shard: str) -> tuple[int, int]:
    """Return (index, count) of a shard written as ``i/n`` with 0 <= i < n; raise `InputError` otherwise."""
    index, _, count = shard.partition("/")
    if not (index.isdecimal() and count.isdecimal() and int(index) < int(count)):
        raise InputError(f"shard: {shard!r} is not i/n with 0 <= i < n; for the first of four machines write 0/4")
    return int(index), int(count)


def check_prefix(prefix: str) -> None:
    """Raise `InputError` unless `prefix` can safely start a file name."""
    if not prefix:
        raise InputError(
            "prefix: it is empty; give this data set a short name of letters and digits, e.g. prefix=photos1"
        )
    if not all(c.isalnum() or c in "_-" for c in prefix) or len(prefix) > 64:
        raise InputError(f"prefix: {prefix!r} can't start a file name; use at most 64 letters, digits, - and _")


@dataclass(frozen=True)
class GenerateConfig(JobConfig):
    """Notebook 01: pictures -> a data set of `_C` (picture) and `_M` (hole) crops."""

    dataset_dir: str = option(
        "data/samples",
        "folder with train/ and eval/, or pictures and videos straight in it, or a video",
        path=True,
        later=FREE,
    )
    output_dir: str = option(
        "data/inpaint_v1", "data set folder to write, gets train/ and eval/", path=True, later=FREE
    )
    prefix: str = option("", "start of every file name, one per data set (required)", later=FREE)
    model_type: str = option("FastDepth", "depth model by iw3's name")
    resolution: int | None = option(None, "short side of the depth map, None: the model's own", unit="px", minimum=32)
    model_path: str | None = option(
        None,
        "local checkpoint of model_type instead of a download; for File: folder of the maps",
        path=True,
        later=FREE,
    )
    hub_dir: str | None = option(
        None, "folder for what model hubs send, None: their own cache folders", path=True, later=FREE
    )
    flip_average: bool = option(False, "average depth with that of the mirrored picture; doubles its time", later=FREE)
    map_name: str = option(
        "{name}_depth", "for File: a map's name without ending; other names than this need model_path"
    )
    map_values: str = option("near_is_bright", "for File: what large values mean", choices=MAP_VALUES, later=FREE)
    depth_cache: str | None = option(
        None, "folder of depth maps shared between runs, None: OUTPUT_DIR/depth_cache", path=True, later=FREE
    )
    depth_cache_gb: float = option(
        10.0, "largest size of depth_cache, least used go first; 0: keep none", unit="GB", minimum=0, later=FREE
    )
    size: int = option(512, "side of the square crops", unit="px", minimum=256)
    num_samples: int = option(2, "crops per record", minimum=1)
    divergence_level: int = option(
        1, "strength of the 3D effect: 1 up to 5 %, 2 up to 8 %, 3 up to 11 %", minimum=1, maximum=3
    )
    eval_only: bool = option(False, "write eval/ only", later=FREE)
    eval_fraction: float = option(
        0.1, "share of the files for eval/ where dataset_dir has no train/ and eval/", minimum=0, maximum=1
    )
    video_interval: float = option(2.0, "time between the frames taken from a video", unit="s", minimum=0.04)
    video_frames: int | None = option(None, "frames to take from each video, None: one per video_interval", minimum=1)
    max_fps: float = option(8.0, "frames looked at per second of a video", minimum=0.1)
    skip_first: float = option(0.0, "start of each video that is left out", unit="s", minimum=0)
    save_frames: bool = option(False, "keep the frames taken from videos as pictures in OUTPUT_DIR/frames", later=FREE)
    repeats: int = option(1, "passes over the pictures, each with draws of its own", minimum=1)
    scenes: int = option(
        0,
        "procedural scenes beside each picture and pass, with surfaces cut from the pictures and exact depth",
        minimum=0,
    )
    hole_method: str = option(
        "occlusion",
        "how holes are found; occlusion_steps is for soft depth, warp_back is iw3's rule",
        choices=HOLE_METHODS,
    )
    device: str = option("auto", "auto, cpu, cuda, cuda:1, mps", later=FREE)
    workers: int = option(
        2, "threads that read, warp and encode, 0: none beside the one that estimates depth", minimum=0, later=FREE
    )
    seed: int = option(0, "same seed and pictures: same data set, byte by byte")
    shard: str = option("0/1", "i/n: do only every n-th picture from the i-th, one machine of n", later=FREE)
    run_dir: str | None = option(
        None, "folder for notebook and figures, None: OUTPUT_DIR/runs/PREFIX_MODEL", path=True, later=FREE
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        check_prefix(self.prefix)
        parse_shard(self.shard)

    @property
    def run_folder(self) -> Path:
        if self.run_dir is not None:
            return Path(self.run_dir)
        index, count = parse_shard(self.shard)
        shard = f"_shard{index}of{count}" if count > 1 else ""
        return Path(self.output_dir) / "runs" / f"{self.prefix}_{self.model_type}{shard}"

    def check_inputs(self) -> None:
        if not Path(self.dataset_dir).is_file():
            self._check_sources(require_folder(self.dataset_dir, "dataset_dir"))
        require_writable(self.output_dir, "output_dir")

    def _check_sources(self, root: Path) -> None:
        divided = any((root / split).is_dir() for split in ("train", "eval"))
        if not divided and any(path.is_file() and not path.name.startswith(".") for path in root.iterdir()):
            return
        for split in ("eval",) if self.eval_only else ("train", "eval"):
            folder = root / split
            if not folder.is_dir() or not any(folder.iterdir()):
                state = "is empty" if folder.is_dir() else "does not exist"
                raise InputError(f"dataset_dir: {folder} {state}; put the {split} pictures there")


@dataclass(frozen=True)
class TrainConfig(JobConfig):
    """Notebook 02: a data set -> a generator checkpoint."""

    data_dir: str = option("data/inpaint_v1", "data set folder with train/ and eval/ records", path=True, later=FREE)
    model_dir: str = option("models/inpaint_v1", "run folder: checkpoints, eval/ pictures, CSV", path=True, later=FREE)
    max_epoch: int = option(200, "epochs; 200 resets the learning rate every 40", minimum=1, later=ASKED)
    num_samples: int = option(20000, "training samples per epoch", minimum=1, later=ASKED)
    batch_size: int = option(8, "samples per step and process", minimum=1, later=ASKED)
    backward_step: int = option(4, "steps whose gradients are summed before the weights move", minimum=1, later=ASKED)
    crop_size: int = option(256, "side of the training crops", unit="px", minimum=64)
    mixed_border: float = option(
        0.0, "chance of mixed colours right of holes, as in warped pictures", minimum=0, maximum=1
    )
    loss: str = option("l1lpips", "training loss", choices=LOSSES)
    perceptual: str = option("vgg", "network inside LPIPS; alex is about 10 times cheaper", choices=PERCEPTUAL_NETWORKS)
    perceptual_path: str | None = option(
        None,
        "local copy of the perceptual network: VGG16 or AlexNet file, DINOv2 folder; None: found by itself",
        path=True,
        later=FREE,
    )
    hole_l1_weight: float = option(1.0, "weight of the L1 term inside the hole, 1: as outside", minimum=0)
    optimizer: str = option("adamw", "optimiser of the generator", choices=OPTIMIZERS)
    learning_rate: float = option(1e-4, "highest learning rate", minimum=0, later=ASKED)
    scheduler: str = option(
        "cosine_wd", "learning-rate schedule; not used by schedule-free optimisers", choices=SCHEDULERS
    )
    learning_rate_cycles: int = option(5, "cycles of the cosine schedule", minimum=1)
    learning_rate_cosine_min: float = option(1e-8, "lowest learning rate of a cycle", minimum=0)
    warmup_steps: int = option(0, "optimiser steps in which the learning rate rises from 0", minimum=0)
    weight_decay: float = option(0.001, "weight decay at the highest learning rate", minimum=0)
    weight_decay_end: float = option(0.01, "weight decay at the lowest learning rate", minimum=0)
    clip_grad_norm: float = option(0.0, "largest gradient norm, 0: no limit", minimum=0)
    ema_decay: float = option(
        0.0, "decay of a moving average of the weights, evaluated and kept as the model; 0: none", minimum=0, maximum=1
    )
    grey_start: bool = option(False, "start the output layer near mid-grey; helps short runs")
    disable_hard_example: bool = option(False, "draw records evenly instead of hard ones more often")
    eval_step: int = option(4, "epochs between evaluations", minimum=1, later=ASKED)
    eval_records: int | str | None = option(
        None, "judge on a subset: so many records, or a pattern such as photos1_*; None: all"
    )
    save_eval_step: int = option(20, "keep the pictures of every n-th evaluation batch, 1: all", minimum=1, later=FREE)
    save_epoch: bool = option(False, "keep the weights of every epoch under epoch/N/", later=FREE)
    checkpoint_seconds: float = option(
        300.0, "longest time between two full-state checkpoints", unit="s", minimum=0, later=FREE
    )
    keep_last: int = option(2, "full-state checkpoints kept, the newest included", minimum=1, later=FREE)
    max_seconds: float | None = option(
        None, "stop and save after this time, None: no limit", unit="s", minimum=0, later=FREE
    )
    resume: bool = option(False, "go on with the run in model_dir, also with other options", later=FREE)
    reset_state: bool = option(
        False, "with resume: take only the weights, start optimiser and epochs anew", later=ASKED
    )
    overwrite: bool = option(False, "move another run in model_dir to model_dir/old/ and start anew", later=ASKED)
    checkpoint_file: str | None = option(None, "start from this model file (ours or iw3's)", path=True, later=ASKED)
    amp: str = option("auto", "arithmetic: auto measures what is fastest here", choices=AMP_MODES, later=FREE)
    compile: bool = option(
        False, "compile the generator: minutes of waiting first, then faster steps on a GPU", later=FREE
    )
    resident: str = option(
        "auto", "hold all records in the device's memory; auto: on a GPU with room", choices=RESIDENT_MODES, later=FREE
    )
    num_workers: int = option(0, "processes that load samples, 0: none beside this one", minimum=0, later=FREE)
    processes: int = option(
        1, "training processes on this machine, one per GPU, started by torchrun", minimum=1, later=FREE
    )
    tensorboard: bool = option(False, "also write the curves for TensorBoard, to model_dir/tensorboard/", later=FREE)
    device: str = option("auto", "auto, cpu, cuda, cuda:1, mps", later=FREE)
    seed: int = option(0, "same seed, data and machine: same weights, bit by bit")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.reset_state and not self.resume:
            raise InputError(
                "reset_state: it only has a meaning together with resume=true; set resume or drop reset_state"
            )
        if self.overwrite and self.resume:
            raise InputError(
                "overwrite: it contradicts resume=true, which goes on with the run; set only one of the two"
            )
        if self.crop_size % 4:
            raise InputError(
                f"crop_size: {self.crop_size} is not a multiple of 4; use 188 or 252 (the network pads to the next multiple of 64)"
            )
        if isinstance(self.eval_records, int) and self.eval_records < 1:
            raise InputError(
                "eval_records: at least one record must be judged; give a number from 1, a pattern or None"
            )
        self._check_averaging()

    def _check_averaging(self) -> None:
        if self.ema_decay == 1:
            raise InputError("ema_decay: 1 would never take in new weights; use for instance 0.999")
        if self.ema_decay > 0 and self.optimizer.endswith("schedulefree"):
            raise InputError(
                f"ema_decay: {self.optimizer} averages the weights itself; use ema_decay=0 or another optimizer"
            )

    @property
    def run_folder(self) -> Path:
        return Path(self.model_dir)

    def check_inputs(self) -> None:
        root = require_folder(self.data_dir, "data_dir")
        for split in ("train", "eval"):
            if not (root / split).is_dir() or not any((root / split).glob("*_M.png")):
                raise InputError(
                    f"data_dir: {root / split} holds no records (pairs *_C.png, *_M.png); run 01_generate first"
                )
        if self.checkpoint_file and not Path(self.checkpoint_file).is_file():
            raise InputError(
                f"checkpoint_file: {self.checkpoint_file} does not exist; give the path of a .pth model file"
            )
        if self.perceptual_path and not Path(self.perceptual_path).exists():
            raise InputError(f"perceptual_path: {self.perceptual_path} does not exist; give a file or folder, or None")
        require_writable(self.model_dir, "model_dir")


@dataclass(frozen=True)
class GanConfig(TrainConfig):
    """Notebook 03: a trained generator -> the same, fine-tuned against a discriminator."""

    model_dir: str = option(
        "models/inpaint_gan_v1", "run folder: checkpoints, eval/ pictures, CSV", path=True, later=FREE
    )
    max_epoch: int = option(30, "epochs; too many lose the effect", minimum=1, later=ASKED)
    optimizer: str = option("adamw_schedulefree", "optimiser of generator and discriminator", choices=OPTIMIZERS)
    save_epoch: bool = option(True, "keep the weights of every epoch under epoch/N/", later=FREE)
    disable_hard_example: bool = option(True, "draw records evenly instead of hard ones more often")
    eval_step: int = option(1, "epochs between evaluations", minimum=1, later=ASKED)
    discriminator: str = option("l3cffce", "discriminator to train against", choices=DISCRIMINATOR_NAMES)
    discriminator_weight: float = option(0.2, "weight of the adversarial term", minimum=0)
    generator_warmup_iteration: int = option(
        500, "optimiser steps until the adversarial term has full weight", minimum=0
    )


def is_fill_function(name: str) -> bool:
    """Return whether the name of a fill is FILE.py:FUNCTION."""
    return name.rpartition(":")[0].endswith(".py")


def check_fill_name(name: str) -> None:
    """Raise `InputError` unless `name` is a built-in fill, or a model file or FILE.py:FUNCTION that exists."""
    if name in (ALL_FILLS, *FILL_NAMES):
        return
    file = Path(name.rpartition(":")[0] if is_fill_function(name) else name)
    if not file.suffix or (file.suffix == ".py" and not is_fill_function(name)):
        hint = nearest_name(name, FILL_NAMES)
        known = ", ".join((ALL_FILLS, *FILL_NAMES))
        raise InputError(f"fills: {name!r} is unknown{hint}; choose of {known}, or give MODEL.pth or FILE.py:FUNCTION")
    if not file.is_file():
        raise InputError(f"fills: the file {file} does not exist; give the path of an existing file")


@dataclass(frozen=True)
class InspectConfig(JobConfig):
    """Notebook 04: checkpoint -> pictures, metrics and a verdict."""

    checkpoint: str = option("models/inpaint_gan_v1/inpaint.light_inpaint_v1.pth", "model file to judge", path=True)
    compare_with: str | None = option(None, "second model file to compare with, e.g. before GAN fine-tuning", path=True)
    fills: str = option("all", "fills to compare with, by comma: all, row, telea, ..., MODEL.pth, FILE.py:FUNCTION")
    data_dir: str | None = option(
        None, "data set folder; its eval/ records are filled; None: made of photos/eval", path=True
    )
    photos: str = option("data/samples", "folder whose eval/ photos, never trained on, texture the scenes", path=True)
    scenes: int = option(24, "procedural scenes with exactly known right views, 0: none", minimum=0)
    stereo_dir: str | None = option(None, "folder of true stereo pairs left, right, disparity, None: none", path=True)
    disparity_scale: float | None = option(
        None, "stored disparity per px, None: 1, in 16-bit PNG files 256", minimum=1e-3
    )
    edge_dilation: int = option(
        0, "rounds by which near edges of depth grow before scenes, pairs and the preview are warped", minimum=0
    )
    outer_dilation: int = option(
        0, "by how much holes grow to the background side before they are filled", unit="px", minimum=0
    )
    max_records: int | None = option(None, "judge only so many of each truth, None: all", minimum=1)
    lpips: str = option("both", "networks of LPIPS; vgg takes most of the time", choices=tuple(LPIPS_CHOICES))
    picture: str | None = option(None, "photo for the stereo preview, None: none", path=True)
    divergence: float = option(2.5, "strength of the stereo preview", unit="% of the width", minimum=0, maximum=20)
    convergence: float = option(
        0.5, "depth on the screen plane in the stereo preview, 0 far, 1 near", minimum=0, maximum=1
    )
    device: str = option("auto", "auto, cpu, cuda, cuda:1, mps")
    seed: int = option(0, "same seed and photos: same holes and scenes")
    run_dir: str | None = option(
        None, "folder for notebook, tables and figures, None: inspect/ beside the checkpoint", path=True
    )

    @property
    def run_folder(self) -> Path:
        return Path(self.run_dir) if self.run_dir is not None else Path(self.checkpoint).parent / "inspect"

    def check_inputs(self) -> None:
        for name in ("checkpoint", "compare_with", "picture"):
            path = getattr(self, name)
            if path is not None and not Path(path).is_file():
                raise InputError(f"{name}: the file {path} does not exist; give the path of an existing file")
        for fill in self.fills.split(","):
            check_fill_name(fill.strip())
        if self.data_dir is not None:
            eval_folder = require_folder(self.data_dir, "data_dir") / "eval"
            if not eval_folder.is_dir() or not any(eval_folder.glob("*_M.png")):
                raise InputError(
                    f"data_dir: {eval_folder} holds no records (pairs *_C.png, *_M.png); run 01_generate first"
                )
        if self.data_dir is None or self.scenes:
            require_folder(Path(self.photos) / "eval", "photos")
        if self.stereo_dir is not None:
            require_folder(self.stereo_dir, "stereo_dir")
        require_writable(self.run_folder, "run_dir")


def resolve_device(name: str) -> str:
    """Return the torch device for `name`; ``auto`` takes CUDA, else MPS, else the CPU. Raises `InputError`."""
    import torch

    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    kind, _, index = name.partition(":")
    available = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if kind not in available or (index and not index.isdecimal()):
        raise InputError(f"device: {name!r} is unknown; use auto, cpu, cuda, cuda:N or mps")
    if not available[kind] or (kind == "cuda" and index and int(index) >= torch.cuda.device_count()):
        raise InputError(f"device: {name} is not available on this machine; use device=auto or device=cpu")
    return name
