"""What each job takes: one frozen dataclass per notebook and command, with defaults, units and checks.

Field names are the option names of the command lines that the kit replaces (with underscores), and the names in the
notebooks' parameter cells and in ``params/*.yaml``. Values are flat literals, so that papermill can inject them.
Nothing here loads torch.
"""

from inpaintkit.config.choices import (
    DISCRIMINATOR_NAMES,
    FILL_NAMES,
    HOLE_METHODS,
    LOSSES,
    LPIPS_CHOICES,
    MAP_VALUES,
    OPTIMIZERS,
    PERCEPTUAL_NETWORKS,
    registry,
)
from inpaintkit.config.depth_names import DEPTH_MODEL_NAMES, check_model_type
from inpaintkit.config.devices import check_processes, device_of_process, resolve_device
from inpaintkit.config.generate import GenerateConfig, check_prefix, parse_shard
from inpaintkit.config.inspect import ALL_FILLS, InspectConfig, check_fill_name, is_fill_function
from inpaintkit.config.options import (
    ASKED,
    FIXED,
    FREE,
    JobConfig,
    changes,
    field_types,
    is_fixed,
    nearest_name,
    option,
    require_known,
    type_name,
)
from inpaintkit.config.stereo import StereoConfig
from inpaintkit.config.train import GanConfig, TrainConfig

__all__ = [
    "ALL_FILLS",
    "ASKED",
    "DEPTH_MODEL_NAMES",
    "DISCRIMINATOR_NAMES",
    "FILL_NAMES",
    "FIXED",
    "FREE",
    "HOLE_METHODS",
    "LOSSES",
    "LPIPS_CHOICES",
    "MAP_VALUES",
    "OPTIMIZERS",
    "PERCEPTUAL_NETWORKS",
    "GanConfig",
    "GenerateConfig",
    "InspectConfig",
    "JobConfig",
    "StereoConfig",
    "TrainConfig",
    "changes",
    "check_fill_name",
    "check_model_type",
    "check_prefix",
    "check_processes",
    "device_of_process",
    "field_types",
    "is_fill_function",
    "is_fixed",
    "nearest_name",
    "option",
    "parse_shard",
    "registry",
    "require_known",
    "resolve_device",
    "type_name",
]
