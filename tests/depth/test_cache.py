"""The cache returns depth without inference for the same picture and model, and for nothing else."""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch
from PIL import Image

from inpaintkit.depth import DepthCache, depth_key, round_depth

pytestmark = pytest.mark.attack


class Counting:
    """A depth model that counts its calls."""

    def __init__(self, name: str = "Counting", version: str = "1", resolution: int = 8) -> None:
        self.name, self.version, self.resolution, self.metric, self.calls = name, version, resolution, False, 0

    def infer(self, pictures: torch.Tensor) -> torch.Tensor:
        self.calls += 1
        return pictures[:, :1]


def picture(seed: int = 0, side: int = 8) -> torch.Tensor:
    return torch.rand(1, 3, side, side, generator=torch.Generator().manual_seed(seed))


def answer(cache: DepthCache, pixels: torch.Tensor, model: Counting) -> torch.Tensor:
    """Return depth from the cache, else from the model, as generating does."""
    key = depth_key(pixels, model)
    found = cache.find(key)
    if found is None:
        found = round_depth(model.infer(pixels))
        cache.store(key, found, model)
    return found


def test_a_second_run_does_no_inference_and_gives_the_same_depth(tmp_path: Path) -> None:
    first, second = Counting(), Counting()
    depth = answer(DepthCache(tmp_path, 10**6), picture(), first)
    again = answer(DepthCache(tmp_path, 10**6), picture(), second)
    assert (first.calls, second.calls) == (1, 0)
    assert torch.equal(depth, again)
    assert (depth - picture()[:, :1]).abs().max() <= 0.5 / 65535 + 1e-7


@pytest.mark.parametrize(
    ("other_picture", "other_model"),
    [
        (picture(1), Counting()),
        (picture().reshape(1, 3, 4, 16), Counting()),
        (picture(), Counting(name="Other")),
        (picture(), Counting(version="2")),
        (picture(), Counting(resolution=16)),
    ],
)
def test_another_picture_model_version_or_resolution_is_inferred(
    other_picture: torch.Tensor, other_model: Counting, tmp_path: Path
) -> None:
    other_model.calls = 0
    cache = DepthCache(tmp_path, 10**6)
    answer(cache, picture(), Counting())
    answer(cache, other_picture, other_model)
    assert other_model.calls == 1


def flip_a_bit(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-30] ^= 1
    path.write_bytes(content)


DAMAGE: dict[str, Callable[[Path], object]] = {
    "cut off": lambda path: path.write_bytes(path.read_bytes()[:60]),
    "a bit": flip_a_bit,
    "another picture": lambda path: Image.new("RGB", (8, 8)).save(path, "PNG"),
    "8 bit": lambda path: Image.new("L", (8, 8)).save(path, "PNG"),
    "a bomb": lambda path: path.write_bytes(
        path.read_bytes()[:16] + (40000).to_bytes(4, "big") * 2 + path.read_bytes()[24:]
    ),
}


def test_a_map_of_another_user_in_a_shared_folder_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model, cache = Counting(), DepthCache(tmp_path, 10**6)
    answer(cache, picture(), model)

    def refuse(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "utime", refuse)
    answer(cache, picture(), model)
    assert model.calls == 1


def test_a_run_survives_undeletable_maps_of_another_user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    answer(DepthCache(tmp_path, 10**6), picture(), Counting())
    (path,) = tmp_path.glob("*.png")

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(Path, "unlink", refuse)
    DepthCache(tmp_path, 1)
    assert path.exists()


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_a_damaged_map_is_made_anew(damage: Callable[[Path], object], tmp_path: Path) -> None:
    model, cache = Counting(), DepthCache(tmp_path, 10**6)
    depth = answer(cache, picture(), model)
    (path,) = tmp_path.glob("*.png")
    damage(path)
    assert torch.equal(answer(cache, picture(), model), depth)
    assert model.calls == 2


def test_the_folder_stays_below_its_limit_and_the_least_used_go_first(tmp_path: Path) -> None:
    model, limit = Counting(), 30_000
    cache = DepthCache(tmp_path, limit)
    for seed in range(12):
        answer(cache, picture(0, 48), model)  # used every time
        answer(cache, picture(seed, 48), model)
        for age, path in enumerate(sorted(tmp_path.glob("*.png"), key=os.path.getmtime)):
            os.utime(path, (1e9 + age, 1e9 + age))
        assert sum(path.stat().st_size for path in tmp_path.glob("*.png")) <= limit
    assert len(list(tmp_path.glob("*.png"))) >= 3
    assert model.calls == 12


def test_a_smaller_limit_holds_from_the_start(tmp_path: Path) -> None:
    first = DepthCache(tmp_path, 10**6)
    for seed in range(6):
        answer(first, picture(seed, 48), Counting())
    DepthCache(tmp_path, 12_000)
    assert 0 < sum(path.stat().st_size for path in tmp_path.glob("*.png")) <= 12_000


def test_leftovers_of_a_killed_writer_go_and_files_being_written_stay(tmp_path: Path) -> None:
    """Otherwise the folder would silently grow beyond its limit."""
    left, written = (tmp_path / f".{key}.png.{number}.tmp" for key, number in (("a", 1), ("b", 2)))
    for path in (left, written):
        path.write_bytes(b"half a map")
    os.utime(left, (1e9, 1e9))
    DepthCache(tmp_path, 10**6)
    assert (left.exists(), written.exists()) == (False, True)


def test_maps_carry_the_name_of_their_model(tmp_path: Path) -> None:
    answer(DepthCache(tmp_path, 10**6), picture(), Counting("Any_B", "v7", 392))
    (path,) = tmp_path.iterdir()
    with Image.open(path) as image:
        assert image.mode.startswith("I;16")
        assert image.info["depth_model"] == "Any_B v7 at 392 px"


def test_threads_may_store_the_same_and_other_maps_at_once(tmp_path: Path) -> None:
    """Two passes over a picture may see it identically, and then finish at the same time."""
    cache, model = DepthCache(tmp_path, 200_000), Counting()
    depths = {depth_key(pixels, model): pixels[:, :1] for pixels in (picture(seed, 64) for seed in range(4))}
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda key: cache.store(key, depths[key], model), [*depths] * 25))
    for key, depth in depths.items():
        found = cache.find(key)
        assert found is not None
        assert torch.equal(found, round_depth(depth))
    assert len(list(tmp_path.iterdir())) == len(depths)
