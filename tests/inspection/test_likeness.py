"""SIoU on cases computed by hand; SSIM is compared with scikit-image beside PSNR."""

import pytest
import torch

from inpaintkit.inspection.likeness import siou


def test_siou_by_hand() -> None:
    left, right = torch.zeros(1, 3, 40, 40), torch.zeros(1, 3, 40, 40)
    left[..., 10:30, 20:30], right[..., 10:30, 16:26] = 1.0, 1.0
    # Changed from left to right: columns 16..19 and 26..29 of 20 rows.
    assert siou(right, right, left).item() == 1
    # The left picture in place of the right: nothing changed (0 of 0.25); edges overlap in parts of horizontal lines.
    doing_nothing = siou(left, right, left).item()
    assert 0 < doing_nothing < 0.75 * 0.5
    # All but half of the changed pixels are right: the edges' full share, and at most half of the 0.25.
    half = right.clone()
    half[..., 10:30, 26:30] = 0.012  # 3 of 255: below the 5 that count as a change, and no edge
    assert siou(half, right, left).item() == pytest.approx(1)
    darker = left.clone()
    darker[..., :5, :5] = 2 / 255
    assert siou(right, right, darker).item() == 1
    batch = siou(torch.cat([right, left]), right, left)
    assert batch.tolist() == pytest.approx([1, doing_nothing])
    assert siou(torch.zeros_like(left), torch.zeros_like(left), torch.zeros_like(left)).isnan().all()


def test_siou_shares_of_edges_and_changes() -> None:
    left, right = torch.zeros(1, 3, 40, 40), torch.zeros(1, 3, 40, 40)
    right[..., 8:24, 8:24] = 20 / 255  # a change, too faint for an edge
    output = right.clone()
    output[..., 8:24, 16:24] = 0.0  # half of it
    bar = slice(32, 36)
    for view in (left, right, output):
        view[..., bar, :] = 1.0  # the same edges everywhere
    assert siou(output, right, left).item() == pytest.approx(0.75 + 0.25 / 2)
