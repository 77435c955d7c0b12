"""Classical fills: what they take from where, and that they can't cheat."""

import pytest
import torch

from inpaintkit.errors import InputError
from inpaintkit.inspection import FILLS, row_fill
from inpaintkit.seeds import torch_rng


def one_row(values: list[float], missing: str) -> tuple[torch.Tensor, torch.Tensor]:
    """Picture (1, 3, 1, W) of grey `values` and its hole, written as ``.##.`` (# = missing)."""
    row = torch.tensor(values).expand(1, 3, 1, len(values))
    return row, torch.tensor([c == "#" for c in missing]).view(1, 1, 1, -1)


@pytest.mark.parametrize(
    ("eye", "missing", "expected"),
    [
        ("right", ".##..", [0.1, 0.4, 0.4, 0.4, 0.5]),
        ("left", ".##..", [0.1, 0.1, 0.1, 0.4, 0.5]),
        ("right", "...##", [0.1, 0.2, 0.3, 0.3, 0.3]),
        ("left", "##...", [0.3, 0.3, 0.3, 0.4, 0.5]),
        ("right", "#.#.#", [0.2, 0.2, 0.4, 0.4, 0.4]),
        ("right", "#####", [0.1, 0.2, 0.3, 0.4, 0.5]),
        ("left", ".....", [0.1, 0.2, 0.3, 0.4, 0.5]),
    ],
)
def test_row_fill_takes_the_nearest_pixel_of_the_background_side(eye: str, missing: str, expected: list[float]) -> None:
    picture, hole = one_row([0.1, 0.2, 0.3, 0.4, 0.5], missing)
    assert torch.equal(row_fill(picture, hole, eye), torch.tensor(expected).expand(1, 3, 1, 5))


@pytest.fixture
def holed() -> tuple[torch.Tensor, torch.Tensor]:
    picture = torch.rand(2, 3, 32, 40, generator=torch_rng("holed"))
    hole = torch.zeros(2, 1, 32, 40, dtype=torch.bool)
    hole[0, :, 8:20, 10:14] = True
    hole[1, :, :, 36:] = True
    return picture, hole


@pytest.mark.parametrize("name", FILLS)
@pytest.mark.parametrize("eye", ["left", "right"])
def test_a_fill_changes_nothing_outside_the_hole_and_sees_nothing_inside(
    name: str, eye: str, holed: tuple[torch.Tensor, torch.Tensor]
) -> None:
    picture, hole = holed
    filled = FILLS[name](picture, hole, eye)
    assert filled.shape == picture.shape
    assert torch.equal(filled[~hole.expand_as(picture)], picture[~hole.expand_as(picture)])
    assert torch.equal(filled, FILLS[name](torch.where(hole, 1 - picture, picture), hole, eye))
    assert not torch.equal(filled, picture)


@pytest.mark.parametrize("name", ["telea", "navier_stokes", "biharmonic"])
def test_fills_that_know_both_sides_continue_a_ramp(name: str) -> None:
    ramp = torch.linspace(0, 1, 33).expand(1, 3, 33, 33)
    hole = torch.zeros(1, 1, 33, 33, dtype=torch.bool)
    hole[..., 12:20, 15:18] = True
    error = (FILLS[name](ramp.masked_fill(hole, 0), hole, "right") - ramp).abs().max()
    assert error < (row_fill(ramp, hole) - ramp).abs().max()
    assert error < 0.05


@pytest.mark.parametrize("name", FILLS)
def test_an_unknown_eye_is_refused(name: str, holed: tuple[torch.Tensor, torch.Tensor]) -> None:
    with pytest.raises(InputError, match="eye: 'middle' is unknown"):
        FILLS[name](*holed, "middle")
