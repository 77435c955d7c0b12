"""Depth -> hole: forward warp, warp back, morphology, depth curves, hole sampler, preview; and layered scenes."""

from inpaintkit.synthesis.mappers import MAPPER_MEANINGS, MAPPERS, map_depth
from inpaintkit.synthesis.morphology import close_hole, dilate_edge, dilate_inner, dilate_outer
from inpaintkit.synthesis.occlusion import edge_width, hidden_hole, split_ramps
from inpaintkit.synthesis.preview import Preview, colour_depth, preview
from inpaintkit.synthesis.sampler import HoleDraw, HoleSampler, edges_of_map, find_hole, prepare_depth, resize_depth
from inpaintkit.synthesis.scene_drawing import draw_photo_scene, draw_scene
from inpaintkit.synthesis.scenes import Layer, Scene, degrade_depth
from inpaintkit.synthesis.warp import forward_warp, seen_from_left, warp_back_hole, warp_to_eye

__all__ = [
    "MAPPERS",
    "MAPPER_MEANINGS",
    "HoleDraw",
    "HoleSampler",
    "Layer",
    "Preview",
    "Scene",
    "close_hole",
    "colour_depth",
    "degrade_depth",
    "dilate_edge",
    "dilate_inner",
    "dilate_outer",
    "draw_photo_scene",
    "draw_scene",
    "edge_width",
    "edges_of_map",
    "find_hole",
    "forward_warp",
    "hidden_hole",
    "map_depth",
    "prepare_depth",
    "preview",
    "resize_depth",
    "seen_from_left",
    "split_ramps",
    "warp_back_hole",
    "warp_to_eye",
]
