"""The options of the command ``stereo``."""

from dataclasses import dataclass

from inpaintkit.config.choices import DEPTH_MODEL_NAMES
from inpaintkit.config.inspect import FILL_KINDS, InspectConfig, check_fill_name
from inpaintkit.config.options import JobConfig, option, option_of, require_known
from inpaintkit.files import require_file, require_writable

FORMATS = {"jpg": "JPEG, for viewers", "png": "PNG, lossless", "both": "one of each"}
RELEASED = "released"


@dataclass(frozen=True)
class StereoConfig(JobConfig):
    """Command ``stereo``: a picture -> a stereo pair with filled holes."""

    picture: str = option("", "photo to make a stereo pair of", path=True)
    fill: str = option(RELEASED, f"what fills the holes: {RELEASED} (the model that ships), {FILL_KINDS}")
    model_type: str = option("FastDepth", "depth model: FastDepth or a name in docs/depth_models.md")
    divergence: float = option_of(InspectConfig, "divergence")
    convergence: float = option_of(InspectConfig, "convergence")
    edge_dilation: int = option(
        2,
        "rounds by which near objects of the depth map grow first, so that they keep their rims",
        minimum=0,
        maximum=1000,
    )
    outer_dilation: int = option_of(InspectConfig, "outer_dilation")
    output: str = option("stereo", "folder for the results", path=True)
    format: str = option("jpg", "format of the pictures", choices=FORMATS)
    wiggle: bool = option(False, "also write a GIF that switches between the two views")
    device: str = option("auto", "auto, cpu, cuda, cuda:1, mps")

    def check_inputs(self) -> None:
        require_file(self.picture, "picture")
        require_known("model_type", self.model_type, DEPTH_MODEL_NAMES)
        check_fill_name("fill", self.fill, RELEASED)
        require_writable(self.output, "output")
