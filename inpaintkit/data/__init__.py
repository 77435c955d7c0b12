"""From a folder of pictures to the records of a data set, and from records to training samples."""

from inpaintkit.data.dataset import InpaintDataset
from inpaintkit.data.generate import GenerateReport, example_pictures, generate_dataset
from inpaintkit.data.images import UnreadablePicture, list_pictures, read_picture
from inpaintkit.data.manifest import clean_prefix, data_set_names, iw3_set_names, read_manifest
from inpaintkit.data.picture_depth import depth_model
from inpaintkit.data.sampling import HardExampleSampler

__all__ = [
    "GenerateReport",
    "HardExampleSampler",
    "InpaintDataset",
    "UnreadablePicture",
    "clean_prefix",
    "data_set_names",
    "depth_model",
    "example_pictures",
    "generate_dataset",
    "iw3_set_names",
    "list_pictures",
    "read_manifest",
    "read_picture",
]
