"""Measure how alike two pictures are: SSIM per pixel, SIoU of whole right views. Pictures are (B, 3, H, W) in 0..1.

Both are computed by OpenCV on the CPU, where all judging takes place.
"""

import cv2
import numpy as np
import torch
from torch import Tensor

from inpaintkit.inspection.pictures import to_uint8

# Wang et al., "Image Quality Assessment: From Error Visibility to Structural Similarity", 2004; values in 0..1.
SSIM_SIGMA = 1.5
SSIM_RADIUS = 5
SSIM_C1, SSIM_C2 = 0.01**2, 0.03**2

# Yu et al., "Mono2Stereo: A Benchmark and Empirical Study for Stereo Conversion", CVPR 2025; the numbers are those of the
# authors' published evaluation code (song2yu/Mono2Stereo, compute_siou), in 8-bit levels.
SIOU_CANNY = (100, 200)
SIOU_LEAST_CHANGE = 5
SIOU_EDGE_SHARE = 0.75


def ssim_map(output: Tensor, target: Tensor) -> Tensor:
    """Return the structural similarity per pixel and channel, (B, C, H, W), 1 = equal; borders mirror the edge pixels.

    The windows are Gaussian, sigma 1.5 px, 11 px wide.
    """
    mean_x, mean_y = _blur(output), _blur(target)
    variance_x = _blur(output * output) - mean_x * mean_x
    variance_y = _blur(target * target) - mean_y * mean_y
    covariance = _blur(output * target) - mean_x * mean_y
    similarity = (2 * mean_x * mean_y + SSIM_C1) * (2 * covariance + SSIM_C2)
    return similarity / ((mean_x * mean_x + mean_y * mean_y + SSIM_C1) * (variance_x + variance_y + SSIM_C2))


def siou(output: Tensor, target: Tensor, other_view: Tensor) -> Tensor:
    """Return the Stereo Intersection-over-Union of whole right views, (B,); 1 = equal.

    It is the weighted mean of two IoUs of `output` and `target`: of their Canny edges (weight 0.75), and of the pixels
    that differ from `other_view`, the left view, by more than 5 of 255 (weight 0.25). A single `target` and
    `other_view` are used for a whole batch of outputs. NaN if neither has any edge, or neither any such pixel.

    Source: Yu et al., CVPR 2025, after the authors' published code, but without two of its slips: it subtracts unsigned
    8-bit numbers, so that darker by 1 counts as brighter by 255, and exchanges red and blue when converting to grey.
    """
    eyes = [[to_uint8(view) for view in views] * (len(output) // len(views)) for views in (output, target, other_view)]
    return torch.tensor([_siou(*views) for views in zip(*eyes, strict=True)], device=output.device)


def _siou(output: np.ndarray, target: np.ndarray, other_view: np.ndarray) -> float:
    edges = [cv2.Canny(cv2.cvtColor(view, cv2.COLOR_RGB2GRAY), *SIOU_CANNY) > 0 for view in (output, target)]
    changes = [cv2.cvtColor(cv2.absdiff(view, other_view), cv2.COLOR_RGB2GRAY) for view in (output, target)]
    shares = [
        np.float64(np.sum(one & two)) / (np.sum(one | two) or np.nan)
        for one, two in (edges, [change > SIOU_LEAST_CHANGE for change in changes])
    ]
    return float(SIOU_EDGE_SHARE * shares[0] + (1 - SIOU_EDGE_SHARE) * shares[1])


def _blur(x: Tensor) -> Tensor:
    """Return (B, C, H, W) blurred by SSIM's Gaussian."""
    size = (2 * SSIM_RADIUS + 1,) * 2
    planes = x.flatten(0, 1).cpu().numpy()
    blurred = [cv2.GaussianBlur(plane, size, SSIM_SIGMA, borderType=cv2.BORDER_REFLECT) for plane in planes]
    return torch.from_numpy(np.stack(blurred)).to(x.device).view_as(x)
