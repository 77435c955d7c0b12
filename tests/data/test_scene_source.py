"""Procedural scenes as a source: exact borders, any number of them, the same bytes however they are made."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from test_generate import contents
from toy_files import copy_photos

from inpaintkit.config import GenerateConfig
from inpaintkit.data.generate import GenerateReport, generate_dataset
from inpaintkit.data.manifest import PARAMETERS_FILE, is_record, manifest_folder, read_manifest
from inpaintkit.data.scene_source import SCENE_SIZE, pick_textures, read_surfaces, render_scene
from inpaintkit.data.sources import Source
from inpaintkit.data.video_readers import VideoReaders
from inpaintkit.files import atomic_write_text


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with two photos and a broken file to train on, and one photo to evaluate on."""
    root = copy_photos(tmp_path_factory.mktemp("pictures"), train="cat_face dahlia", eval="astronaut")
    (root / "train" / "broken.jpg").write_bytes(b"no picture")
    return root


def config(pictures: Path, output: Path, **options: object) -> GenerateConfig:
    values = {"prefix": "t", "size": 256, "num_samples": 1, "scenes": 1, "divergence_level": 2, "workers": 0, **options}
    return GenerateConfig(dataset_dir=str(pictures), output_dir=str(output), device="cpu", **values)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def report(pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> GenerateReport:
    return generate_dataset(config(pictures, tmp_path_factory.mktemp("made")))


@pytest.fixture(scope="module")
def made(report: GenerateReport) -> Path:
    return report.files[0].parents[1]


def scene_rows(output: Path) -> list[dict]:
    return [row for row in read_manifest(output, "t_FastDepth") if is_record(row) and "scene" in row]


def test_report_tells_how_many_records_are_scenes(pictures: Path, tmp_path: Path) -> None:
    report = generate_dataset(config(pictures, tmp_path, eval_only=True, scenes=2, repeats=2))
    rows = scene_rows(tmp_path)
    assert report.scenes == len(rows) == len({row["picture"] for row in rows}) > 4
    holes = {(row["repeat"], row["scene"], row["record"]): json.dumps(row["draw"]) for row in rows}
    assert len(set(holes.values())) == len(holes)
    assert report.records > report.scenes  # the photo's own records are there too
    assert {row["scene"] for row in rows} == {0, 1}


def test_shards_and_workers_make_the_same_bytes(pictures: Path, made: Path, tmp_path: Path) -> None:
    for shard in ("1/2", "0/2"):
        generate_dataset(config(pictures, tmp_path, shard=shard, workers=2))
    assert contents(tmp_path) == contents(made)


def test_a_data_set_older_than_photo_scenes_continues_without(pictures: Path, tmp_path: Path) -> None:
    new, old = (config(pictures, tmp_path / name, eval_only=True, scenes=2) for name in ("new", "old"))
    generate_dataset(new)
    begun = [manifest_folder(run.output_dir, "t_FastDepth") / PARAMETERS_FILE for run in (new, old)]
    parameters = json.loads(begun[0].read_text())
    del parameters["photo_scenes"]
    atomic_write_text(begun[1], json.dumps(parameters))
    generate_dataset(old)
    made = [contents(Path(run.output_dir)) for run in (new, old)]
    for row in scene_rows(tmp_path / "new"):
        file = f"eval/{row['picture']}"
        assert (made[0][file] == made[1].get(file)) == (row["scene"] == 0)


def test_scenes_leave_the_records_of_photos_as_they_are(pictures: Path, made: Path, tmp_path: Path) -> None:
    generate_dataset(config(pictures, tmp_path, scenes=0))
    records = {name: key for name, key in contents(tmp_path).items() if name.endswith(".png")}
    assert records.items() <= contents(made).items()
    assert len(records) < sum(name.endswith(".png") for name in contents(made))


def test_scenes_of_one_split_show_no_picture_of_the_other(made: Path) -> None:
    for row in scene_rows(made):
        allowed = {"astronaut.jpg"} if row["source"].startswith("eval/") else {"cat_face.jpg", "dahlia.jpg"}
        assert set(row["textures"]) <= allowed


def test_a_hole_begins_exactly_where_the_picture_has_its_border(pictures: Path) -> None:
    """Depth jumps exactly where another surface begins, so across the jump the colours differ more than elsewhere."""
    sources = [
        Source(path, path.name) for path in [pictures / "train" / "cat_face.jpg", pictures / "train" / "dahlia.jpg"]
    ]
    jumps, others = [], []
    for number in range(4):
        picture, depth = render_scene(read_surfaces(sources, 256, VideoReaders(0)), 256, (), number)
        assert picture.shape == (*SCENE_SIZE, 3)
        step = np.abs(np.diff(depth[0, 0].numpy(), axis=1)) > 0.05
        change = np.abs(picture[:, 2:].astype(int) - picture[:, :-2]).mean(axis=-1)
        jumps.append(change[:, :][step[:, :-1]].mean())
        others.append(change[~step[:, :-1]].mean())
    assert np.mean(jumps) > 4 * np.mean(others)


def test_textures_are_drawn_from_the_key_alone() -> None:
    paths = [Source(Path(f"{n}.jpg"), f"{n}.jpg") for n in range(9)]
    assert pick_textures(paths[4], paths, (1, "a")) == pick_textures(paths[4], paths, (1, "a"))
    chosen = [pick_textures(paths[4], paths, (seed,)) for seed in range(20)]
    assert all(names[0] == paths[4] and len(set(names)) == 4 for names in chosen)
    assert len({tuple(names) for names in chosen}) > 10


def test_a_broken_picture_gives_no_scene_and_spoils_none(report: GenerateReport, made: Path) -> None:
    assert [source for source, _ in report.skipped] == ["train/broken.jpg"]
    assert {row["source"] for row in scene_rows(made)} == {
        "train/cat_face.jpg",
        "train/dahlia.jpg",
        "eval/astronaut.jpg",
    }
    assert all("broken.jpg" not in row["textures"] for row in scene_rows(made))
