"""Depth maps are inferred once: further runs over the same pictures take them from the cache and write the same files."""

from __future__ import annotations

import dataclasses
import hashlib
import shutil
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch

from inpaintkit.config import GenerateConfig
from inpaintkit.data import generate_dataset
from inpaintkit.depth import MAP_NAME, MAP_VALUES
from inpaintkit.depth.fastdepth import WEIGHTS, FastDepthNetwork
from inpaintkit.errors import InputError
from tests.depth.test_hub_models import HUBCONF, put_weights

SAMPLES = Path(__file__).parents[2] / "data" / "samples"


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("pictures")
    for split, names in (("train", ["cat_face", "drum_room"]), ("eval", ["astronaut"])):
        (root / split).mkdir()
        for name in names:
            shutil.copy(next(SAMPLES.rglob(f"{name}.jpg")), root / split)
    return root


@pytest.fixture
def inferences(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The number of pictures in each call of the real network from now on."""
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
    generate_dataset(dataclasses.replace(first, prefix="two"))
    assert len(inferences) == 3
    assert records(tmp_path / "a", "two") == records(tmp_path / "a", "one")
    # and so does another folder that is told where it is, with other holes from the same depth
    shared = dataclasses.replace(first, output_dir=str(tmp_path / "b"), depth_cache=str(tmp_path / "a" / "depth_cache"))
    generate_dataset(shared)
    generate_dataset(dataclasses.replace(shared, prefix="wide", divergence_level=3))
    assert len(inferences) == 3
    assert records(tmp_path / "b", "one") == records(tmp_path / "a", "one")
    assert not (tmp_path / "b" / "depth_cache").exists()


def test_without_a_cache_the_files_are_the_same(pictures: Path, tmp_path: Path, inferences: list[int]) -> None:
    kept = GenerateConfig(str(pictures), str(tmp_path / "a"), "p", resolution=240, workers=0)
    off = dataclasses.replace(kept, output_dir=str(tmp_path / "b"), depth_cache_gb=0.0)
    for config in (kept, off, dataclasses.replace(off, prefix="q")):
        generate_dataset(config)
    assert len(inferences) == 9
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


def test_the_options_for_maps_are_those_of_the_depth_room() -> None:
    fields = {field.name: field for field in dataclasses.fields(GenerateConfig)}
    assert fields["map_name"].default == MAP_NAME
    assert fields["map_values"].metadata["choices"] == MAP_VALUES


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
