"""Depth -> hole: forward warp, warp back, morphology, depth curves, the hole sampler and its preview."""

from inpaintkit.synthesis.mappers import MAPPERS, map_depth, resolve_mapper_name
from inpaintkit.synthesis.morphology import close_hole, dilate_edge, dilate_inner, dilate_outer
from inpaintkit.synthesis.preview import Preview, colour_depth, preview
from inpaintkit.synthesis.sampler import HOLE_METHODS, HoleDraw, HoleSampler, prepare_depth, resize_depth
from inpaintkit.synthesis.warp import forward_warp, hole_kinds, warp_back_hole

__all__ = [
    "HOLE_METHODS",
    "MAPPERS",
    "HoleDraw",
    "HoleSampler",
    "Preview",
    "close_hole",
    "colour_depth",
    "dilate_edge",
    "dilate_inner",
    "dilate_outer",
    "forward_warp",
    "hole_kinds",
    "map_depth",
    "prepare_depth",
    "preview",
    "resize_depth",
    "resolve_mapper_name",
    "warp_back_hole",
]
