"""Depth maps are inferred once: further runs on the same pictures take them from the cache and write the same files."""

from __future__ import annotations

import dataclasses
import hashlib
import shutil
import threading
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from toy_files import SAMPLES, copy_photos
from videos import scene, write_video

from inpaintkit.config import GenerateConfig
from inpaintkit.data import generate_dataset
from inpaintkit.data.generate import example_pictures
from inpaintkit.data.generate import pipeline as generate_module
from inpaintkit.data.manifest import read_manifest
from inpaintkit.depth import DEPTH_MODELS, DepthCache
from inpaintkit.depth.fastdepth import WEIGHTS, FastDepthNetwork
from inpaintkit.depth.network_model import NetworkDepthModel
from inpaintkit.errors import InputError
from tests.depth.test_hub_models import HUBCONF, put_weights


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return copy_photos(tmp_path_factory.mktemp("pictures"), train="cat_face drum_room", eval="astronaut")


@pytest.fixture
def inferences(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return a list that collects the number of pictures in each call of the real network."""
    calls: list[int] = []
    forward = FastDepthNetwork.forward

    def counting(self: FastDepthNetwork, given: torch.Tensor) -> torch.Tensor:
        calls.append(given.shape[0])
        return forward(self, given)

    monkeypatch.setattr(FastDepthNetwork, "forward", counting)
    return calls


def records(folder: Path, prefix: str) -> dict[str, str]:
    """Return the hash of every record file, by its name without the prefix."""
    files = sorted([*folder.glob(f"train/{prefix}_*.png"), *folder.glob(f"eval/{prefix}_*.png")])
    assert files
    return {
        f"{path.parent.name}{path.name.removeprefix(prefix)}": hashlib.sha1(path.read_bytes()).hexdigest()
        for path in files
    }


def test_a_second_run_infers_nothing_and_writes_the_same_files(
    pictures: Path, tmp_path: Path, inferences: list[int]
) -> None:
    first = GenerateConfig(str(pictures), str(tmp_path / "a"), "one", resolution=240, workers=0)
    generate_dataset(first)
    assert len(inferences) == 3
    # another prefix in the same folder shares its cache
    (tmp_path / "a" / "train" / "theirs_Any_B_0a1b2c3d_1_0_M.png").touch()
    second = generate_dataset(dataclasses.replace(first, prefix="two"))
    assert second.summary()["beside"] == "one_FastDepth, theirs_Any_B", "a training takes these, iw3's too"
    assert len(inferences) == 3
    assert records(tmp_path / "a", "two") == records(tmp_path / "a", "one")
    # and so does another folder that is given its path, with other holes from the same depth
    cache = str(tmp_path / "a" / "depth_cache")
    shared = dataclasses.replace(first, output_dir=str(tmp_path / "b"), depth_cache=cache, eval_only=True)
    generate_dataset(shared)
    generate_dataset(dataclasses.replace(shared, prefix="wide", divergence_level=3))
    assert len(inferences) == 3
    assert records(tmp_path / "b", "one").items() <= records(tmp_path / "a", "one").items()
    assert not (tmp_path / "b" / "depth_cache").exists()


def test_without_a_cache_the_files_are_the_same(pictures: Path, tmp_path: Path, inferences: list[int]) -> None:
    kept = GenerateConfig(str(pictures), str(tmp_path / "a"), "p", resolution=240, workers=0, eval_only=True)
    off = dataclasses.replace(kept, output_dir=str(tmp_path / "b"), depth_cache_gb=0.0)
    for config in (kept, off, dataclasses.replace(off, prefix="q")):
        generate_dataset(config)
    assert len(inferences) == 3
    assert records(tmp_path / "a", "p") == records(tmp_path / "b", "p")
    assert not (tmp_path / "b" / "depth_cache").exists()


def test_another_resolution_or_flipping_is_inferred_anew(pictures: Path, tmp_path: Path, inferences: list[int]) -> None:
    config = GenerateConfig(str(pictures), str(tmp_path), "p", resolution=240, workers=0, eval_only=True)
    generate_dataset(config)
    generate_dataset(dataclasses.replace(config, prefix="q", resolution=224))
    generate_dataset(dataclasses.replace(config, prefix="r", flip_average=True))
    assert len(inferences) == 1 + 1 + 2


def test_the_cache_keeps_to_its_limit(pictures: Path, tmp_path: Path) -> None:
    limit = 1e-4  # GB: less than two maps of 240 px
    config = GenerateConfig(str(pictures), str(tmp_path), "p", resolution=240, workers=0, depth_cache_gb=limit)
    generate_dataset(config)
    assert sum(path.stat().st_size for path in (tmp_path / "depth_cache").iterdir()) <= limit * 1e9


def test_a_local_checkpoint_and_a_hub_folder_can_be_named(pictures: Path, tmp_path: Path) -> None:
    copy = shutil.copy(WEIGHTS, tmp_path / "own.safetensors")
    config = GenerateConfig(str(pictures), str(tmp_path / "out"), "p", resolution=240, eval_only=True, workers=0)
    assert generate_dataset(dataclasses.replace(config, model_path=str(copy))).eval > 0
    with pytest.raises(InputError, match="missing or damaged"):
        generate_dataset(dataclasses.replace(config, prefix="q", model_path=str(tmp_path / "none.safetensors")))
    hub = tmp_path / "hub"
    (hub / "nagadomi_Depth-Anything_iw3_main").mkdir(parents=True)
    (hub / "nagadomi_Depth-Anything_iw3_main" / "hubconf.py").write_text(HUBCONF)
    put_weights(hub)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*non-commercial")
        assert generate_dataset(dataclasses.replace(config, model_type="ZoeD_Any_N", hub_dir=str(hub))).eval > 0


def test_maps_of_distances_in_a_folder_of_their_own(pictures: Path, tmp_path: Path) -> None:
    (tmp_path / "maps").mkdir()
    distance = np.full((300, 300), 4.0)
    distance[100:250, 80:160] = 1.0
    np.save(tmp_path / "maps" / "astronaut.npy", distance)
    config = GenerateConfig(
        str(pictures), str(tmp_path / "out"), "p", "File", model_path=str(tmp_path / "maps"), eval_only=True, workers=0,
        map_name="{name}", map_values="distance",
    )  # fmt: skip
    report = generate_dataset(config)
    assert report.eval > 0
    assert not report.skipped
    with pytest.raises(InputError, match="map_name, map_values"):
        generate_dataset(dataclasses.replace(config, model_type="FastDepth", output_dir=str(tmp_path / "other")))


@pytest.fixture
def with_maps(tmp_path: Path) -> GenerateConfig:
    """Return a photo with a depth map beside it: something near in front of something far."""
    copy_photos(tmp_path / "in", eval="astronaut")
    depth = np.zeros((300, 300), np.float32)
    depth[100:250, 80:160] = 1
    np.save(tmp_path / "in" / "eval" / "astronaut_depth.npy", depth)
    return GenerateConfig(
        str(tmp_path / "in"), str(tmp_path / "out"), "p", "File", size=256, num_samples=1, divergence_level=3,
        eval_only=True, workers=0,
    )  # fmt: skip


def move_near_thing(config: GenerateConfig) -> None:
    """Change only the content of the depth map, not its name or size."""
    path = Path(config.dataset_dir) / "eval" / "astronaut_depth.npy"
    np.save(path, np.roll(np.load(path), 40, axis=1))


def test_a_data_set_is_not_continued_with_a_changed_map(with_maps: GenerateConfig) -> None:
    generate_dataset(with_maps)
    assert generate_dataset(with_maps).pictures == 0
    move_near_thing(with_maps)
    with pytest.raises(InputError, match=r"the depth map of eval/astronaut\.jpg changed since p_File was begun"):
        generate_dataset(with_maps)
    (Path(with_maps.dataset_dir) / "eval" / "astronaut_depth.npy").unlink()
    with pytest.raises(InputError, match="File: no depth map for"):
        generate_dataset(with_maps)


def test_a_photo_whose_map_comes_later_gets_its_records(with_maps: GenerateConfig) -> None:
    given = Path(with_maps.dataset_dir) / "eval" / "astronaut_depth.npy"
    away = given.rename(given.parents[1] / "later.npy")
    ((_, reason),) = generate_dataset(with_maps).skipped
    assert "put astronaut_depth.png, astronaut_depth.npy" in reason
    assert generate_dataset(with_maps).pictures == 0
    away.rename(given)
    assert generate_dataset(with_maps).records > 0


def test_a_photo_that_gave_no_hole_is_tried_again_once_replaced(with_maps: GenerateConfig) -> None:
    photo = Path(with_maps.dataset_dir) / "eval" / "astronaut.jpg"
    np.save(photo.with_name("astronaut_depth.npy"), np.ones((30, 30)))
    assert generate_dataset(with_maps).dropped > 0
    content = bytearray(photo.read_bytes())
    content[len(content) // 2] ^= 0xFF
    photo.write_bytes(content)
    assert generate_dataset(with_maps).pictures == 1


def test_maps_below_the_photos_are_no_photos_and_fit_one_each(with_maps: GenerateConfig) -> None:
    photos = Path(with_maps.dataset_dir) / "eval"
    depth = np.load(photos / "astronaut_depth.npy")
    (photos / "depth").mkdir()
    Image.fromarray((depth * 255).astype(np.uint8)).save(photos / "depth" / "astronaut.png")
    link = Path(with_maps.output_dir).with_name("link")
    link.symlink_to(with_maps.dataset_dir)
    config = dataclasses.replace(with_maps, dataset_dir=str(link), model_path=str(photos / "depth"), map_name="{name}")
    assert generate_dataset(config).records > 0
    assert {row["source"] for row in read_manifest(config.output_dir, "p_File")} == {"eval/astronaut.jpg"}
    (photos / "more").mkdir()
    shutil.copy(SAMPLES / "train" / "cat_face.jpg", photos / "more" / "astronaut.jpg")
    with pytest.raises(InputError, match=r"astronaut.png would be the depth of .*astronaut.jpg and .*astronaut.jpg"):
        generate_dataset(dataclasses.replace(config, prefix="other"))


class Watched(torch.nn.Module):
    """A depth network that takes bright for near and notes which threads call it."""

    def __init__(self) -> None:
        super().__init__()
        self.bias, self.threads = torch.nn.Parameter(torch.zeros(())), list[str]()

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        self.threads.append(threading.current_thread().name)
        return pictures.mean(1) + self.bias


def use_network(monkeypatch: pytest.MonkeyPatch, network: torch.nn.Module) -> None:
    model = NetworkDepthModel("Any_B", DEPTH_MODELS["Any_B"], network, "cpu", 224)
    monkeypatch.setattr(generate_module, "depth_model", lambda config: model)


def test_the_networks_thread_does_nothing_else(pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Workers do the reading, hashing, caching, warping and encoding, so the network needn't wait for them."""
    network, elsewhere = Watched(), dict[str, set[str]]()
    use_network(monkeypatch, network)

    def watch(place: object, name: str) -> None:
        real = getattr(place, name)

        def watched(*arguments: object) -> object:
            elsewhere.setdefault(name, set()).add(threading.current_thread().name)
            return real(*arguments)

        monkeypatch.setattr(place, name, watched)

    steps = ("read_source", "apply_view", "as_batch", "depth_key", "round_depth", "make_crops", "write_png")
    for name in steps:
        watch(generate_module, name)
    for name in ("find", "store"):
        watch(DepthCache, name)
    generate_dataset(GenerateConfig(str(pictures), str(tmp_path), "p", "Any_B", size=256, workers=2, device="cpu"))
    assert len(network.threads) in (3, 5)  # where bf16 is fast, it is called twice more, on a probe picture
    assert set(network.threads) == {"MainThread"}
    assert elsewhere.keys() == {*steps, "find", "store"}
    assert all(name.startswith("generate") for threads in elsewhere.values() for name in threads)


def test_a_network_that_returns_nan_gives_a_reason(
    pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    network = Watched()
    use_network(monkeypatch, network)
    network.bias.fill_(torch.nan)
    config = GenerateConfig(
        str(pictures), str(tmp_path), "p", "Any_B", size=256, workers=1, eval_only=True, device="cpu"
    )
    reason = "gets no depth: Any_B: its answer holds NaN or infinite values; use another checkpoint or device=cpu"
    assert dict(generate_dataset(config).skipped) == {"eval/astronaut.jpg": reason}
    assert not list((tmp_path / "depth_cache").glob("*"))  # and it isn't cached


def test_a_missing_map_names_a_photo_not_a_video_frame(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    write_video(tmp_path / "in" / "a.mkv", scene("train/dahlia", 6))
    config = GenerateConfig(str(tmp_path / "in"), str(tmp_path / "out"), "p", "File", eval_fraction=0)
    with pytest.raises(InputError, match=r"holds no picture with a depth map$"):
        example_pictures(config)
    shutil.copy(SAMPLES / "train/dahlia.jpg", tmp_path / "in" / "b.jpg")
    with pytest.raises(InputError, match=r"File: no depth map for .*in/b\.jpg; put b_depth\.png, .* into .*in$"):
        example_pictures(config)
