"""`Inpainter`: the whole-frame result at a fraction of the work, for every kind of picture."""

import copy
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from inpaintkit.errors import InputError
from inpaintkit.inspection import Inpainter, inpainter
from inpaintkit.inspection.inpainter import blocks
from inpaintkit.inspection.windows import GRAIN, REACH, WINDOW, WindowSet, grown, neighbours, plan, touched_windows
from inpaintkit.model import LightInpaintV1, save_model
from inpaintkit.seeds import numpy_rng, torch_rng

RELEASED = Path(__file__).parents[2] / "models" / "released" / "light_inpaint_v1.pth"
FAR = 10_000
ONE_LEVEL = 1 / 255
ROUNDING = 1e-4


def photo(height: int, width: int, batch: int = 1) -> Tensor:
    return torch.rand(batch, 3, height, width, generator=torch_rng("photo", height, width))


def strips(height: int, width: int, count: int, key: int = 0) -> Tensor:
    """Return a hole of `count` slanted strips, 1..14 px wide, anywhere: (1, 1, H, W) bool."""
    rng = numpy_rng("strips", key)
    hole = torch.zeros(1, 1, height, width, dtype=torch.bool)
    for _ in range(count):
        top, left, thick = rng.integers(height), rng.integers(width), rng.integers(1, 15)
        slope = rng.uniform(-0.7, 0.7)
        for step in range(min(int(rng.integers(4, 80)), height - int(top))):
            first = max(int(left + slope * step), 0)
            hole[..., top + step, first : first + thick] = True
    return hole


def soft_mask(model: LightInpaintV1, hole: Tensor) -> Tensor:
    return model.preprocess(torch.zeros(1, 3, *hole.shape[-2:]), hole, closing=True)[1]


def whole_frame(model: LightInpaintV1, picture: Tensor, hole: Tensor) -> Tensor:
    """Return the network's result on the whole frame, with the picture unchanged where the soft mask is 0."""
    return torch.where(soft_mask(model, hole) > 0, model.infer(picture, hole, closing=True), picture)


@pytest.mark.parametrize(("height", "width"), [(16, 16), (16, 200), (100, 60), (128, 192), (250, 130)])
@torch.inference_mode()
def test_all_windows_together_give_the_result_of_the_whole_frame(
    generator: LightInpaintV1, height: int, width: int
) -> None:
    fill = Inpainter(generator)
    fill.reach = FAR
    picture, hole = photo(height, width), strips(height, width, 4)
    assert (fill(picture, hole) - whole_frame(generator, picture, hole)).abs().max() <= ROUNDING


@torch.inference_mode()
def test_every_weight_counts_so_windows_cannot_leave_out_a_layer(generator: LightInpaintV1) -> None:
    """The other tests here compare windows with whole frames on this network."""
    model, picture, hole = copy.deepcopy(generator), photo(40, 40), strips(40, 40, 2)
    before = model.infer(picture, hole)
    for name, weight in model.named_parameters():
        kept = weight.clone()
        weight.mul_(3)
        assert (model.infer(picture, hole) - before).abs().max() > 10 * ROUNDING, name
        weight.copy_(kept)


@pytest.mark.parametrize(("height", "width"), [(128, 192), (65, 63)])
@torch.inference_mode()
def test_holes_along_all_borders_are_filled_as_in_the_whole_frame(
    generator: LightInpaintV1, height: int, width: int
) -> None:
    fill = Inpainter(generator)
    fill.reach = FAR
    picture, hole = photo(height, width), torch.ones(1, 1, height, width, dtype=torch.bool)
    hole[..., 9:-9, 9:-9] = False
    whole = whole_frame(generator, picture, hole)
    assert ((fill(picture, hole) - whole) * hole).abs().max() <= ROUNDING


@torch.inference_mode()
def test_holes_equal_the_whole_frame_within_one_level(generator: LightInpaintV1) -> None:
    usual, short = Inpainter(generator), Inpainter(generator)
    short.reach = 16
    picture = photo(448, 512)
    worst, worst_short = 0.0, 0.0
    for key in range(3):
        hole = strips(448, 512, 3, key)
        whole = whole_frame(generator, picture, hole)
        worst = max(worst, float(((usual(picture, hole) - whole) * hole).abs().max()))
        worst_short = max(worst_short, float(((short(picture, hole) - whole) * hole).abs().max()))
    assert worst < ONE_LEVEL
    assert worst_short > ONE_LEVEL, "weights that can't tell a short reach from a long one prove nothing"


@torch.inference_mode()
def test_blocks_of_a_large_picture_leave_no_seam(generator: LightInpaintV1, monkeypatch: pytest.MonkeyPatch) -> None:
    picture, hole = photo(300, 400), torch.zeros(1, 1, 300, 400, dtype=torch.bool)
    hole[..., 100:200, 120:136] = True
    hole[..., 120:130, :] = True
    at_once = Inpainter(generator)(picture, hole)
    monkeypatch.setattr(inpainter, "BLOCK", 128)
    assert (Inpainter(generator)(picture, hole) - at_once)[hole.expand_as(picture)].abs().max() < ONE_LEVEL


@torch.inference_mode()
def test_windows_equal_the_whole_frame_with_the_released_checkpoint() -> None:
    """Trained weights mix places further apart than random ones, so only they show which reach is needed."""
    picture, hole = photo(480, 640), torch.zeros(1, 1, 480, 640, dtype=torch.bool)
    hole[..., 60:200, 150:158] = True
    hole[..., 300:400, 400:420] = True
    fill = Inpainter(RELEASED)
    difference = (fill(picture, hole) - fill.model.infer(picture, hole, closing=True))[hole.expand_as(picture)]
    assert difference.abs().max() < ONE_LEVEL


@torch.inference_mode()
def test_only_windows_around_holes_are_computed(generator: LightInpaintV1, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = []

    class Counted(WindowSet):
        def __init__(self, chosen: Tensor) -> None:
            super().__init__(chosen)
            sizes.append(len(self))

    monkeypatch.setattr("inpaintkit.inspection.windows.WindowSet", Counted)
    picture, hole = photo(640, 640), torch.zeros(1, 1, 640, 640, dtype=torch.bool)
    hole[..., 340:360, 340:360] = True
    Inpainter(generator)(picture, hole)
    assert max(sizes) <= 25  # of 100
    assert min(sizes) == 1


@pytest.mark.parametrize("eye", ["left", "right"])
@torch.inference_mode()
def test_pixels_outside_the_soft_mask_stay_bit_for_bit(generator: LightInpaintV1, eye: str) -> None:
    picture, hole = photo(150, 170), strips(150, 170, 3)
    untouched = (soft_mask(generator, hole) == 0).expand_as(picture)
    filled = Inpainter(generator)(picture, hole, eye)
    assert torch.equal(filled[untouched], picture[untouched])
    assert not torch.equal(filled, picture)


@torch.inference_mode()
def test_the_left_eye_is_filled_mirrored(generator: LightInpaintV1) -> None:
    picture, hole = photo(90, 110), strips(90, 110, 2)
    mirrored = Inpainter(generator)(picture.flip(-1), hole.flip(-1), "right").flip(-1)
    assert torch.equal(Inpainter(generator)(picture, hole, "left"), mirrored)


@torch.inference_mode()
def test_what_lies_in_the_hole_does_not_matter(generator: LightInpaintV1) -> None:
    picture, hole = photo(90, 110), strips(90, 110, 2)
    other = torch.where(hole, 1 - picture, picture)
    nothing = picture.masked_fill(hole, torch.nan)
    filled = Inpainter(generator)(picture, hole)
    assert torch.equal(filled, Inpainter(generator)(other, hole))
    assert torch.equal(filled, Inpainter(generator)(nothing, hole))


@torch.inference_mode()
def test_closing_the_hole_is_optional(generator: LightInpaintV1) -> None:
    fill = Inpainter(generator)
    fill.reach = FAR
    picture, hole = photo(100, 120), strips(100, 120, 2)
    whole = generator.infer(picture, hole, closing=False)
    inside = hole.expand_as(picture)
    assert (fill(picture, hole, closing=False) - whole)[inside].abs().max() <= ROUNDING


@torch.inference_mode()
def test_every_kind_of_picture_comes_back_as_the_same_kind(generator: LightInpaintV1) -> None:
    fill, hole = Inpainter(generator), strips(64, 80, 2)
    pixels = numpy_rng("pixels").integers(0, 256, (64, 80, 3)).astype(np.uint8)
    tensor = torch.from_numpy(pixels).permute(2, 0, 1) / 255
    filled = fill(tensor[None].repeat(2, 1, 1, 1), hole)
    assert filled.shape == (2, 3, 64, 80)
    assert torch.equal(filled[0], filled[1])
    assert torch.equal(fill(tensor, hole[0]), filled[0])
    assert fill(tensor.half(), hole[0]).dtype == torch.float16
    array = fill(pixels, hole[0, 0].numpy())
    assert array.dtype == np.uint8
    assert np.abs(array / 255 - filled[0].permute(1, 2, 0).numpy()).max() <= 0.5 / 255 + ROUNDING
    bgr, mask = pixels[..., ::-1].copy(), hole[0, 0].numpy().astype(np.uint16)[::-1].copy()  # as OpenCV reads them
    assert np.array_equal(fill(bgr[..., ::-1], mask[::-1]), array)


@torch.inference_mode()
def test_soft_holes_count_wherever_they_are_above_zero(generator: LightInpaintV1) -> None:
    picture, hole = photo(64, 64), strips(64, 64, 2)
    assert torch.equal(Inpainter(generator)(picture, hole * 0.1), Inpainter(generator)(picture, hole))


@torch.inference_mode()
def test_no_hole_gives_the_picture_and_all_hole_finite_values(generator: LightInpaintV1) -> None:
    picture = photo(70, 64)
    assert torch.equal(Inpainter(generator)(picture, torch.zeros(1, 1, 70, 64)), picture)
    filled = Inpainter(generator)(picture, torch.ones(1, 1, 70, 64))
    assert torch.isfinite(filled).all()
    assert 0 <= filled.min() <= filled.max() <= 1


def test_a_checkpoint_file_is_loaded(generator: LightInpaintV1, tmp_path: Path) -> None:
    save_model(generator, tmp_path / "model.pth")
    picture, hole = photo(64, 64), strips(64, 64, 1)
    assert torch.equal(Inpainter(tmp_path / "model.pth")(picture, hole), Inpainter(generator)(picture, hole))


def test_what_cannot_work_is_refused_in_one_sentence(generator: LightInpaintV1) -> None:
    fill, picture = Inpainter(generator), photo(64, 64)
    with pytest.raises(InputError, match="15x64 px is too small"):
        fill(photo(64, 15), torch.ones(64, 15))
    with pytest.raises(InputError, match="does not fit the picture"):
        fill(picture, torch.ones(1, 1, 64, 65))
    with pytest.raises(InputError, match="must be float"):
        fill((picture * 255).byte(), torch.ones(64, 64))
    with pytest.raises(InputError, match="must be uint8"):
        fill(np.zeros((64, 64, 4), np.uint8), torch.ones(64, 64))
    with pytest.raises(InputError, match="picture: expected a tensor or a uint8 array"):
        fill(Image.new("RGB", (64, 64)), torch.ones(64, 64))
    with pytest.raises(InputError, match="hole: expected a tensor or an array, got Image"):
        fill(picture, Image.new("L", (64, 64)))
    with pytest.raises(InputError, match="eye: 'both'"):
        fill(picture, torch.ones(64, 64), "both")
    with pytest.raises(InputError, match="Linear can't fill holes"):
        Inpainter(torch.nn.Linear(1, 1))


def test_touched_windows_by_hand() -> None:
    area = torch.zeros(1, 24, 24)
    area[0, 8, 15] = 1  # rows 64..71, columns 120..127 px: upper right corner of the window in the middle
    middle = [[0, 0, 0], [0, 1, 0], [0, 0, 0]]
    assert touched_windows(area).int().tolist() == middle
    assert touched_windows(grown(area, 8)).int().tolist() == [[0, 1, 1], [0, 1, 1], [0, 0, 0]]
    assert touched_windows(grown(area, 64)).int().tolist() == [[1, 1, 1], [1, 1, 1], [1, 1, 1]]
    assert touched_windows(area, shifted=True).int().nonzero().tolist() == [[1, 2]]


def test_a_missing_neighbour_is_the_nearest_cell_inside() -> None:
    windows = WindowSet(torch.tensor([[True, False], [True, True]]))  # cells 0..3, none, 4..7, 8..11
    around = neighbours(windows.cells(2), torch.tensor([[0, 0], [1, 1], [2, 2]]))
    assert around.tolist() == [
        [0, 0, 1, 0, 0, 1, 2, 2, 3],  # corner of the picture: its border repeats
        [0, 1, 3, 2, 3, 3, 4, 5, 8],  # no window at the upper right: the cell itself repeats
        [3, 8, 8, 5, 8, 9, 7, 10, 11],
    ]
    assert windows.slots(torch.tensor([[1, 1], [0, 1]])).tolist() == [2, -1]


def test_only_inputs_of_the_next_layer_are_planned() -> None:
    area = torch.zeros(1, 64, 64)  # 512 px, 8 x 8 windows
    area[0, 28, 28] = 1  # in the window at row 3, column 3
    needed, (*steps, last) = plan(area, FAR, [True, False, True, False, True])
    assert last.mixed.nonzero().tolist() == [[3, 3]]
    assert touched_windows(steps[-1].area).nonzero().tolist() == [[3, 3]]
    assert steps[-1].mixed.nonzero().tolist() == [[3, 3], [3, 4], [4, 3], [4, 4]]  # shifted: the four that meet there
    assert steps[-2].mixed.sum() == 9
    assert steps[-3].mixed.sum() == 16
    assert needed.sum() == 49  # of 64
    assert plan(area, 0, [True])[0].sum() == 4


@pytest.mark.parametrize("reach", [REACH, 20, WINDOW, 96])
def test_the_margin_around_a_block_holds_all_that_is_computed_for_it(
    reach: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inpainter, "BLOCK", 128)
    shifts = [True, False, True, False, True]
    area = torch.zeros(1, 1024 // GRAIN, 1024 // GRAIN)
    area[0, 448 // GRAIN : 576 // GRAIN, 512 // GRAIN] = 1  # from block to block, at the very border of both
    seen = 0
    for origin, block in blocks(area, reach + WINDOW):
        alone = torch.zeros_like(area)
        top, left = (origin * WINDOW // GRAIN).tolist()
        alone[:, top : top + block.shape[1], left : left + block.shape[2]] = block
        assert plan(block, reach, shifts)[0].sum() == plan(alone, reach, shifts)[0].sum()
        seen += int(block.sum())
    assert seen == area.sum()
    tight = [plan(block, reach, shifts)[0].sum() for _, block in blocks(area, reach)]
    assert reach != WINDOW or min(tight) < plan(alone, reach, shifts)[0].sum()


@torch.inference_mode()
def test_bfloat16_stays_near_float32(generator: LightInpaintV1) -> None:
    picture, hole = photo(200, 200), strips(200, 200, 2)
    exact = Inpainter(generator)(picture, hole)
    rough = Inpainter(generator, amp="bf16")(picture, hole)
    assert 0 < (rough - exact).abs().max() < 0.05


@pytest.mark.attack
@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_a_nan_pixel_beside_a_hole_does_not_spread(value: float, generator: LightInpaintV1) -> None:
    picture, hole = torch.full((3, 96, 96), 0.5), torch.zeros(1, 96, 96, dtype=torch.bool)
    hole[:, 40:60, 40:50] = True
    picture[:, 50, 38] = value
    assert Inpainter(generator)(picture, hole)[:, hole[0]].isfinite().all()
