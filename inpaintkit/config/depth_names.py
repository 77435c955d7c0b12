"""The depth models by the names that iw3 uses, known without loading anything."""

from __future__ import annotations

from inpaintkit.config.options import require_known

DEPTH_MODEL_NAMES = (
    "FastDepth", "File",
    "Any_S", "Any_B", "Any_L", "Any_V2_S", "Any_V2_B", "Any_V2_L",
    "Any_V2_N", "Any_V2_N_S", "Any_V2_N_B", "Any_V2_N_L", "Any_V2_K", "Any_V2_K_S", "Any_V2_K_B", "Any_V2_K_L",
    "Any_V3_Mono", "Any_V3_Mono_01", "Distill_Any_S", "Distill_Any_B", "Distill_Any_L",
    "DepthPro", "DepthPro_S", "ZoeD_N", "ZoeD_K", "ZoeD_NK", "ZoeD_Any_N", "ZoeD_Any_K",
)  # fmt: skip


def check_model_type(name: str) -> None:
    """Raise `InputError` unless `name` is a depth model's."""
    require_known("model_type", name, DEPTH_MODEL_NAMES)
