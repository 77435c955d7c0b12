"""The options of notebook 04."""

import csv
import io
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from inpaintkit.config.choices import FILL_NAMES, LPIPS_CHOICES
from inpaintkit.config.options import JobConfig, nearest_name, option, require_records
from inpaintkit.errors import InputError
from inpaintkit.files import full_path, require_file, require_folder, require_writable

ALL_FILLS = "all"
FILL_KINDS = f"{', '.join(FILL_NAMES)}, MODEL.pth, or FILE.py:FUNCTION, which runs that file"


def fill_names(text: str) -> list[str]:
    """Return the names of fills in `text`, separated by commas as `joined_fills` writes them, each once.

    Raises `InputError` if there is none.
    """
    rows = csv.reader(io.StringIO(text, newline=""), skipinitialspace=True)
    names = list(dict.fromkeys(part for row in rows for part in map(str.strip, row) if part))
    if not names:
        raise InputError("fills: none named; write for instance fills=all")
    return names


def joined_fills(names: Iterable[str]) -> str:
    """Return names of fills as a value of the option `fills`: separated by commas, those with a comma in quotes."""
    quoted = {name: '"' + name.replace('"', '""') + '"' for name in names}
    return ", ".join(text if any(mark in name for mark in ',"\r\n') else name for name, text in quoted.items())


def full_fill_name(name: str) -> str:
    """Return the name of a fill; if it names a file, with its full path."""
    path = full_path(name)
    return str(path) if name not in (ALL_FILLS, *FILL_NAMES) and (path.suffix or path.is_file()) else name


def is_fill_function(name: str) -> bool:
    """Return whether the name of a fill is FILE.py:FUNCTION."""
    return name.rpartition(":")[0].endswith(".py")


def check_fill_name(option: str, name: str, word: str) -> None:
    """Raise `InputError` unless `name` is `word`, a built-in fill, or an existing model file or FILE.py:FUNCTION.

    `option` is the option in which the user gave it.
    """
    known = (word, *FILL_NAMES)
    if name in known:
        return
    file = Path(name.rpartition(":")[0] if is_fill_function(name) else name)
    unknown = not file.suffix and not file.exists()
    if unknown or (file.suffix == ".py" and not is_fill_function(name)):
        hint = nearest_name(name, known)
        raise InputError(
            f"{option}: {name!r} is unknown{hint}; choose one of {', '.join(known)}, or give MODEL.pth or FILE.py:FUNCTION"
        )
    require_file(file, option)


@dataclass(frozen=True)
class InspectConfig(JobConfig):
    """Notebook 04: checkpoint -> pictures, metrics and a verdict."""

    notebook = "04_inspect"
    checkpoint: str = option(
        "models/inpaint_gan_v1/inpaint.light_inpaint_v1.pth",
        "model file to evaluate",
        group="Checkpoint",
        path=True,
        everyday=True,
    )
    compare_with: str | None = option(
        None, "second model file to compare with, e.g. before GAN fine-tuning", path=True, everyday=True
    )
    fills: str = option(
        "all",
        f"fills to compare with, separated by commas (one with a comma in its path in quotes): {ALL_FILLS}, {FILL_KINDS}",
    )
    data_dir: str | None = option(
        None,
        "data set whose eval/ records are filled; None: records made from the photos",
        group="Truths",
        path=True,
        everyday=True,
    )
    photos: str = option(
        "data/samples", "folder whose eval/ holds photos that no training saw, for records and scenes", path=True
    )
    scenes: int = option(
        24, "number of scenes, and also of photo scenes and of holes at the border; 0: none", minimum=0
    )
    stereo_dir: str | None = option(None, "folder of real stereo pairs with measured disparity, None: none", path=True)
    disparity_scale: float | None = option(
        None, "stored value that means a disparity of 1 px, None: 256 in 16-bit PNG files, else 1", minimum=1e-3
    )
    edge_dilation: int = option(
        0,
        "rounds by which near objects of the depth map grow before scenes, and pairs of stereo_dir, are warped",
        minimum=0,
        maximum=1000,
    )
    outer_dilation: int = option(
        0, "by how much holes grow to the background side before they are filled", unit="px", minimum=0, maximum=1000
    )
    max_records: int | None = option(None, "largest number of cases to judge per truth, None: all", minimum=1)
    lpips: str = option("both", "networks of LPIPS; vgg takes most of the time", choices=LPIPS_CHOICES, everyday=True)
    picture: str | None = option(
        "data/samples/eval/drum_room.jpg",
        "photo to make a stereo pair of, None: none",
        group="Stereo preview",
        path=True,
        everyday=True,
    )
    divergence: float = option(2.5, "strength of the 3D effect", unit="% of the longer side", minimum=0, maximum=20)
    convergence: float = option(0.5, "depth that lies on the screen, 0 far, 1 near", minimum=0, maximum=1)
    device: str = option("auto", "auto, cpu, cuda, cuda:1, mps", group="Run", everyday=True)
    seed: int = option(0, "same seed and photos: same holes and scenes")
    run_dir: str | None = option(
        None, "folder for notebook, tables and figures, None: inspect/ beside the checkpoint", path=True
    )

    @property
    def run_folder(self) -> Path:
        return Path(self.run_dir) if self.run_dir is not None else Path(self.checkpoint).parent / "inspect"

    @property
    def lpips_networks(self) -> tuple[str, ...]:
        return ("alex", "vgg") if self.lpips == "both" else (self.lpips,)

    def check_inputs(self) -> None:
        for name in ("checkpoint", "compare_with", "picture"):
            if getattr(self, name) is not None:
                require_file(getattr(self, name), name)
        for fill in fill_names(self.fills):
            check_fill_name("fills", fill, ALL_FILLS)
        if self.data_dir is not None:
            require_records(self.data_dir, "eval")
        if self.data_dir is None or self.scenes:
            require_folder(Path(self.photos) / "eval", "photos")
        if self.stereo_dir is not None:
            require_folder(self.stereo_dir, "stereo_dir")
        require_writable(self.run_folder, "run_dir")
