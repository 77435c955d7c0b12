"""Networks and their files."""

from inpaintkit.model.checkpoint import describe_checkpoint, load_model, load_state, save_model, save_state
from inpaintkit.model.discriminator import Discriminator
from inpaintkit.model.ensembles import DISCRIMINATORS, create_discriminator
from inpaintkit.model.export import export_checkpoint, export_onnx, export_safetensors, iw3_snippet
from inpaintkit.model.generator import LightInpaintV1

__all__ = [
    "DISCRIMINATORS",
    "Discriminator",
    "LightInpaintV1",
    "create_discriminator",
    "describe_checkpoint",
    "export_checkpoint",
    "export_onnx",
    "export_safetensors",
    "iw3_snippet",
    "load_model",
    "load_state",
    "save_model",
    "save_state",
]
