"""What the command ``stereo`` takes."""

from dataclasses import dataclass
from pathlib import Path

from inpaintkit.config.choices import DEPTH_MODEL_NAMES, FILL_NAMES
from inpaintkit.config.inspect import check_fill_name
from inpaintkit.config.options import JobConfig, option, require_known
from inpaintkit.errors import InputError
from inpaintkit.files import require_writable

FORMATS = {"jpg": "JPEG, for viewers", "png": "PNG, without loss", "both": "one of each"}
RELEASED = "released"


@dataclass(frozen=True)
class StereoConfig(JobConfig):
    """A picture -> a stereo pair, its holes filled."""

    picture: str = option("", "photo to make a stereo pair of", path=True)
    fill: str = option(
        RELEASED,
        f"what fills the holes: {RELEASED} (the model that ships), {', '.join(FILL_NAMES)}, MODEL.pth, "
        "or FILE.py:FUNCTION, which runs that file",
    )
    model_type: str = option("FastDepth", "depth model: FastDepth or a name in docs/depth_models.md")
    divergence: float = option(2.5, "strength of the 3D effect", unit="% of the longer side", minimum=0, maximum=20)
    convergence: float = option(0.5, "depth that lies on the screen, 0 far, 1 near", minimum=0, maximum=1)
    edge_dilation: int = option(
        2, "rounds by which near objects of the depth map grow first, so that they keep their rims", minimum=0
    )
    outer_dilation: int = option(
        0, "by how much holes grow to the background side before filling", unit="px", minimum=0
    )
    output: str = option("stereo", "folder for the results", path=True)
    format: str = option("jpg", "format of the pictures", choices=FORMATS)
    wiggle: bool = option(False, "also write a GIF that switches between the two views")
    device: str = option("auto", "auto, cpu, cuda, cuda:1, mps")

    @property
    def run_folder(self) -> Path:
        return Path(self.output)

    def check_inputs(self) -> None:
        if not Path(self.picture).is_file():
            raise InputError(f"picture: the file {self.picture} does not exist; give the path of a photo")
        require_known("model_type", self.model_type, DEPTH_MODEL_NAMES)
        if self.fill != RELEASED:
            check_fill_name(self.fill)
        require_writable(self.output, "output")
