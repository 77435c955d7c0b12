"""Convert HDR frames to SDR pictures."""

import numpy as np
from numpy.typing import NDArray

PQ, HLG = HDR_CURVES = 16, 18  # transfer curves of HDR
WHITE_NITS = 203.0  # brightness of diffuse white in HDR pictures (ITU-R BT.2408)
HLG_PEAK_NITS, HLG_SYSTEM_GAMMA = 1000.0, 1.2  # display that HLG is graded for (ITU-R BT.2100)
KNEE = 0.6  # linear light above which highlights are compressed
BT2020_TO_BT709 = np.array(
    [[1.660491, -0.587641, -0.07285], [-0.12455, 1.1329, -0.00835], [-0.018151, -0.100579, 1.11873]], np.float32
)
BT2020_LUMA = np.array([0.2627, 0.6780, 0.0593], np.float32)


def tone_map(values: NDArray[np.uint16], curve: int) -> NDArray[np.uint8]:
    """Return HDR `values` (H, W, 3), 0..65535, BT.2020 with transfer `curve` (PQ or HLG), as sRGB (H, W, 3) uint8.

    Light up to `KNEE` times diffuse white is kept as it is; brighter light is compressed smoothly towards white, by the
    same factor in all three channels, so that hues stay. Curves: ITU-R BT.2100.
    """
    codes = np.arange(1 << 16, dtype=np.float64) / 0xFFFF
    light = (_pq_light if curve == PQ else _hlg_light)(codes).astype(np.float32)[values]
    if curve == HLG:
        luma = np.maximum(light @ BT2020_LUMA, 1e-6)[..., None]
        light *= luma ** (HLG_SYSTEM_GAMMA - 1) * (HLG_PEAK_NITS / WHITE_NITS)
    light = np.maximum(light @ BT2020_TO_BT709.T, 0)
    peak = light.max(-1, keepdims=True)
    over = np.maximum(peak - KNEE, 0) / (1 - KNEE)
    light *= np.where(peak > KNEE, (KNEE + (1 - KNEE) * over / (1 + over)) / np.maximum(peak, 1e-6), 1)
    shown = np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)  # sRGB
    return np.asarray((np.clip(shown, 0, 1) * 255 + 0.5).astype(np.uint8))


def _pq_light(codes: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return light relative to diffuse white for PQ `codes` 0..1 (SMPTE ST 2084)."""
    m1, m2, c1, c2, c3 = 1305 / 8192, 2523 / 32, 107 / 128, 2413 / 128, 2392 / 128
    root = codes ** (1 / m2)
    return np.asarray(10000 / WHITE_NITS * (np.maximum(root - c1, 0) / (c2 - c3 * root)) ** (1 / m1))


def _hlg_light(codes: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return scene light 0..1 for HLG `codes` 0..1 (ARIB STD-B67)."""
    a, b, c = 0.17883277, 0.28466892, 0.55991073
    return np.where(codes <= 0.5, codes**2 / 3, (np.exp((codes - c) / a) + b) / 12)
