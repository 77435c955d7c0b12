"""FastDepth gives the published network's distances as depth in 0..1, 1 = near, at the requested size."""

from pathlib import Path

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from torchvision.transforms.functional import pil_to_tensor
from toy_files import SAMPLES

from inpaintkit.depth import create_depth_model
from inpaintkit.depth.fastdepth import WEIGHTS, distance_to_depth, load_fastdepth
from inpaintkit.depth.preparation import limited_size
from inpaintkit.errors import InputError

GOLDEN = Path(__file__).parents[1] / "golden" / "fastdepth.safetensors"


def photo(name: str) -> torch.Tensor:
    return pil_to_tensor(Image.open(next(SAMPLES.rglob(f"{name}.jpg"))))[None].float() / 255


@pytest.mark.parametrize("name", ["drum_room", "mountain_path"])
def test_distances_equal_the_published_network(name: str) -> None:
    golden = load_file(GOLDEN)
    distance = load_fastdepth()(golden[f"{name}.input"].permute(2, 0, 1)[None].float() / 255)
    assert (distance[0, 0] - golden[f"{name}.output"]).abs().max() < 0.01


def test_the_drum_in_front_is_nearer_than_the_wall_behind() -> None:
    depth = create_depth_model("FastDepth").infer(photo("drum_room"))[0, 0]
    height, width = depth.shape
    drum = depth[int(0.75 * height) : int(0.85 * height), int(0.3 * width) : int(0.7 * width)].mean()
    wall = depth[: int(0.2 * height), int(0.3 * width) : int(0.7 * width)].mean()
    assert drum > wall + 0.5


@pytest.mark.parametrize(
    ("size", "resolution", "expected"),
    [((1080, 1920), None, (720, 1280)), ((1920, 1080), 360, (640, 360)), ((100, 150), 720, (100, 150))],
)
def test_short_side_is_the_resolution_but_never_above_the_picture(
    size: tuple[int, int], resolution: int | None, expected: tuple[int, int]
) -> None:
    depth = create_depth_model("FastDepth", resolution=resolution).infer(torch.rand(1, 3, *size))
    assert depth.shape == (1, 1, *expected)
    assert depth.dtype == torch.float32
    assert depth.min() >= 0
    assert depth.max() <= 1


def test_a_batch_equals_its_pictures_one_by_one() -> None:
    model = create_depth_model("FastDepth", resolution=224)
    pictures = torch.cat([photo("astronaut")[..., :400, :500], photo("drum_room")[..., :400, :500]])
    alone = torch.cat([model.infer(picture[None]) for picture in pictures])
    assert (model.infer(pictures) - alone).abs().mean() < 1e-3


def test_with_flip_a_mirrored_picture_gives_the_mirrored_depth() -> None:
    picture = photo("drum_room")[..., :400, :500]
    plain, both = (
        create_depth_model("FastDepth", resolution=224),
        create_depth_model("FastDepth", resolution=224, flip=True),
    )
    assert (both.infer(picture.flip(3)).flip(3) - both.infer(picture)).abs().mean() < 1e-3
    assert (plain.infer(picture.flip(3)).flip(3) - plain.infer(picture)).abs().mean() > 1e-2
    assert both.version != plain.version


def test_inverse_distance_is_scaled_between_percentiles() -> None:
    distance = torch.full((1, 1, 10, 100), 2.0)
    distance[..., :50] = 1.0
    distance[0, 0, 0, 0] = 0.0  # one outlier must not take up the range
    depth = distance_to_depth(distance)
    assert depth[..., :50].min() == 1
    assert depth[..., 50:].max() == 0
    assert distance_to_depth(torch.ones(1, 1, 4, 4)).max() == 0


def test_extreme_shapes_keep_at_least_one_pixel() -> None:
    assert limited_size(1, 5000, 100) == (1, 5000)
    assert limited_size(400, 100000, 1) == (1, 250)


def test_damaged_weights_are_named(tmp_path: Path) -> None:
    (tmp_path / "half.safetensors").write_bytes(WEIGHTS.read_bytes()[:1000])
    save_file(load_file(WEIGHTS) | {"head.bias": torch.tensor([torch.nan])}, tmp_path / "nan.safetensors")
    for name in ("half", "nan"):
        with pytest.raises(InputError, match=rf"{name}\.safetensors are missing or damaged"):
            create_depth_model("FastDepth", model_path=tmp_path / f"{name}.safetensors")


def test_other_weights_change_the_version(tmp_path: Path) -> None:
    """Even if the file was replaced while the program runs: a depth cache must not mix them up."""
    tensors, file, versions = (
        load_file(WEIGHTS),
        tmp_path / "other.safetensors",
        {create_depth_model("FastDepth").version},
    )
    for _ in range(2):
        tensors["head.bias"] = tensors["head.bias"] + 1
        save_file(tensors, file)
        versions.add(create_depth_model("FastDepth", model_path=file).version)
    assert len(versions) == 3
