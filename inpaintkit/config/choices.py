"""The choices of options: each name once, with its meaning. Modules that implement them build tables with
`registry`."""

from collections.abc import Mapping
from typing import TypeVar

_Entry = TypeVar("_Entry")

Choices = Mapping[str, str]
"""The values that an option may have, each with its meaning in a few words."""

LOSSES: Choices = {
    "l1lpips": "L1 and LPIPS, iw3's",
    "dct": "L1 of discrete cosine transforms",
    "l1dctlpips": "L1, DCT and LPIPS",
    "l1dinov2": "L1 and the distance between DINOv2 features",
}
PERCEPTUAL_NETWORKS: Choices = {"vgg": "VGG16, iw3's", "alex": "AlexNet"}
OPTIMIZERS: Choices = {
    "adamw": "AdamW, iw3's",
    "adamw_schedulefree": "schedule-free AdamW, for fine-tuning",
    "muon": "Muon for matrices, AdamW for the rest: learns fastest in short runs",
}
SCHEDULERS: Choices = {
    "cosine_wd": "cosine cycles, weight decay rising as the rate falls; iw3's",
    "cosine": "cosine cycles",
    "none": "constant rate",
}
AMP_MODES: Choices = {
    "auto": "the fastest on this processor or GPU",
    "off": "float32",
    "bf16": "bfloat16, float32 where needed",
    "fp16": "float16, float32 where needed",
}
RESIDENT_MODES: Choices = {"auto": "on a GPU with enough memory, if all have one size", "on": "always", "off": "never"}
DISCRIMINATOR_NAMES: Choices = {
    "l3c": "patches, conditioned on the target's colour and texture",
    "l3ce": "ensemble of three l3c",
    "ffc": "patches in space and frequency",
    "ffce": "ensemble of three ffc",
    "l3cffce": "ensemble of two l3c and two ffc, iw3's",
}
ADVERSARIAL_LOSSES: Choices = {
    "paired": "compares fill and truth of the same place",
    "hinge": "judges fill and truth separately, iw3's",
}
HOLE_METHODS: Choices = {
    "auto": "what the left eye can't see; soft edges of the depth map are made sharp first",
    "occlusion": "what the left eye can't see, from the depth map as it is",
    "warp_back": "iw3's rule: warp to the left eye and back",
}
NEAR_IS_BRIGHT = "near_is_bright"
MAP_NAME = "{name}_depth"
MAP_VALUES: Choices = {
    NEAR_IS_BRIGHT: "large is near",
    "far_is_bright": "large is far",
    "distance": "distance, in any unit",
}
FILL_NAMES: Choices = {
    "row": "the background repeated along the row",
    "telea": "OpenCV's Telea",
    "navier_stokes": "OpenCV's Navier-Stokes",
    "biharmonic": "scikit-image's biharmonic",
}
DEPTH_MODEL_NAMES = (
    "FastDepth", "File",
    "Any_S", "Any_B", "Any_L", "Any_V2_S", "Any_V2_B", "Any_V2_L",
    "Any_V2_N", "Any_V2_N_S", "Any_V2_N_B", "Any_V2_N_L", "Any_V2_K", "Any_V2_K_S", "Any_V2_K_B", "Any_V2_K_L",
    "Any_V3_Mono", "Any_V3_Mono_01", "Distill_Any_S", "Distill_Any_B", "Distill_Any_L",
    "DepthPro", "DepthPro_S", "ZoeD_N", "ZoeD_K", "ZoeD_NK", "ZoeD_Any_N", "ZoeD_Any_K",
)  # fmt: skip
"""Names of the depth models; models that iw3 has keep its names."""

LPIPS_CHOICES: Choices = {"alex": "AlexNet", "vgg": "VGG16", "both": "AlexNet and VGG16"}
"""The networks with which a report computes LPIPS."""


def registry(choices: Choices, entries: Mapping[str, _Entry]) -> dict[str, _Entry]:
    """Return `entries`, which implement `choices`, in the order of `choices`.

    A choice without an entry, or an entry that can't be chosen, is a mistake in the code and raises `KeyError`.
    """
    if choices.keys() != entries.keys():
        raise KeyError(f"choices and entries differ: {sorted(choices.keys() ^ entries.keys())}")
    return {name: entries[name] for name in choices}
