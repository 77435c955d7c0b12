"""The options of each job: one frozen dataclass per notebook and command, with defaults, units and checks.

Field names are the option names of the command lines that the kit replaces (with underscores), and the names in the
notebooks' parameter cells and in ``params/*.yaml``. Values are flat literals, so that papermill can inject them.
Importing this package doesn't load torch.
"""

from inpaintkit.config.choices import (
    ADVERSARIAL_LOSSES,
    DEPTH_MODEL_NAMES,
    DISCRIMINATOR_NAMES,
    FILL_NAMES,
    HOLE_METHODS,
    LOSSES,
    MAP_NAME,
    MAP_VALUES,
    NEAR_IS_BRIGHT,
    OPTIMIZERS,
    SCHEDULERS,
    registry,
)
from inpaintkit.config.devices import check_processes, device_of_process, enough_memory, is_of_device, resolve_device
from inpaintkit.config.generate import GenerateConfig, check_map_options, parse_shard
from inpaintkit.config.inspect import (
    ALL_FILLS,
    InspectConfig,
    check_fill_name,
    fill_names,
    full_fill_name,
    is_fill_function,
    joined_fills,
)
from inpaintkit.config.options import FIXED, JobConfig, changes, field_types, nearest_name, require_known
from inpaintkit.config.stereo import StereoConfig
from inpaintkit.config.train import GanConfig, TrainConfig

__all__ = [
    "ADVERSARIAL_LOSSES",
    "ALL_FILLS",
    "DEPTH_MODEL_NAMES",
    "DISCRIMINATOR_NAMES",
    "FILL_NAMES",
    "FIXED",
    "HOLE_METHODS",
    "LOSSES",
    "MAP_NAME",
    "MAP_VALUES",
    "NEAR_IS_BRIGHT",
    "OPTIMIZERS",
    "SCHEDULERS",
    "GanConfig",
    "GenerateConfig",
    "InspectConfig",
    "JobConfig",
    "StereoConfig",
    "TrainConfig",
    "changes",
    "check_fill_name",
    "check_map_options",
    "check_processes",
    "device_of_process",
    "enough_memory",
    "field_types",
    "fill_names",
    "full_fill_name",
    "is_fill_function",
    "is_of_device",
    "joined_fills",
    "nearest_name",
    "parse_shard",
    "registry",
    "require_known",
    "resolve_device",
]
