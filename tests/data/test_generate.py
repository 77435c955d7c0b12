"""The generated data set: what it holds, and that it depends on nothing but seed and pictures."""

from __future__ import annotations

import dataclasses
import errno
import hashlib
import json
import math
import multiprocessing
import os
import random
import shutil
import signal
import threading
import time
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import numpy as np
import pytest
import torch
from broken_pictures import bad_files, build_special, encoded, good_files, photo
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from toy_files import SAMPLES

from inpaintkit.config import GenerateConfig
from inpaintkit.data.generate import GenerateReport, example_pictures, generate_dataset
from inpaintkit.data.generate import pipeline as generate_module
from inpaintkit.data.images import content_key
from inpaintkit.data.manifest import is_record, read_manifest
from inpaintkit.data.records import View, apply_view, draw_view, make_crops, turn, turn_depth
from inpaintkit.errors import InputError, RunFailed
from inpaintkit.seeds import numpy_rng
from inpaintkit.synthesis import HoleDraw, HoleSampler

NAME = "t_FastDepth"
Finished = tuple[Path, GenerateReport, list[str]]
KILLS = 20
LARGEST_SHIFT = 0.08 * 1200  # px, at the largest divergence of level 2


def contents(folder: Path) -> dict[str, str]:
    """Return the hash of every file that isn't hidden, by relative name."""
    files = [
        p for p in folder.rglob("*") if p.is_file() and not any(s.startswith(".") for s in p.relative_to(folder).parts)
    ]
    return {p.relative_to(folder).as_posix(): hashlib.sha1(p.read_bytes()).hexdigest() for p in files}


def load(path: Path) -> tuple[str, np.ndarray]:
    """Return mode and pixels of a picture file."""
    with Image.open(path) as image:
        return image.mode, np.asarray(image)


def picture_of(hole: Path) -> Path:
    return hole.with_name(hole.name.replace("_M.png", "_C.png"))


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with three small real photos, a copy of one, a copy of an eval photo, and a broken file."""
    root = tmp_path_factory.mktemp("pictures")
    (root / "train").mkdir()
    (root / "eval").mkdir()
    shutil.copy(SAMPLES / "train/cat_face.jpg", root / "train/a_cat.jpg")
    (root / "train/b_broken.jpg").write_bytes(b"no picture")
    shutil.copy(SAMPLES / "train/cat_face.jpg", root / "train/c_copy_of_cat.jpg")
    shutil.copy(SAMPLES / "train/dahlia.jpg", root / "train/d_dahlia.jpg")
    shutil.copy(SAMPLES / "eval/astronaut.jpg", root / "train/e_copy_of_eval.jpg")
    shutil.copy(SAMPLES / "eval/astronaut.jpg", root / "eval/astronaut.jpg")
    return root


def job(pictures: Path, out: Path) -> GenerateConfig:
    options = {"size": 256, "divergence_level": 3, "resolution": 224, "device": "cpu", "seed": 3}
    return GenerateConfig(str(pictures), str(out), "t", **options)


@pytest.fixture
def config(pictures: Path, tmp_path: Path) -> GenerateConfig:
    return job(pictures, tmp_path / "out")


@pytest.fixture(scope="module")
def finished(pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> Finished:
    """Return folder, report and progress messages of one uninterrupted run without workers."""
    out, messages = tmp_path_factory.mktemp("whole") / "out", []
    config = dataclasses.replace(job(pictures, out), workers=0)
    report = generate_dataset(config, lambda done, total, message: messages.append(f"{done}/{total} {message}"))
    return out, report, messages


def test_records_are_pairs_of_a_colour_crop_and_a_hole_of_0_and_255(finished: Finished) -> None:
    out, report, _ = finished
    holes = sorted(out.rglob("*_M.png"))
    assert len(holes) == report.records == len(report.files) > 4
    for path in holes:
        (mode, hole), (picture_mode, picture) = load(path), load(picture_of(path))
        assert (mode, hole.shape, picture_mode, picture.shape) == ("L", (256, 256), "RGB", (256, 256, 3))
        assert set(np.unique(hole)) == {0, 255}
        assert (hole > 0).sum() > 300


def test_lack_of_gpu_memory_for_the_depth_network_is_reported(
    config: GenerateConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    network = "inpaintkit.depth.fastdepth.FastDepthNetwork.forward"
    monkeypatch.setattr(network, Mock(side_effect=torch.OutOfMemoryError("CUDA out of memory. Tried to ...")))
    with pytest.raises(RunFailed, match=r"^cpu is out of memory; .* device=cpu; run the same again to continue$"):
        generate_dataset(config)


def test_names_follow_prefix_model_and_sequence_number(finished: Finished) -> None:
    _, report, _ = finished
    cat = [path.name for path in report.files if path.parent.name == "train"][:1]
    assert cat[0].startswith(f"{NAME}_0000000")
    # the dahlia is the 4th file of train/: its numbers start at 3 pictures x 2 records x 2 samples
    assert any(path.name == f"{NAME}_000000{number}_C.png" for path in report.files for number in (12, 13, 14, 15))


def test_manifest_counts_and_reasons_agree_with_the_report(finished: Finished) -> None:
    out, report, messages = finished
    rows = list(read_manifest(out, NAME))
    records = [row for row in rows if is_record(row)]
    assert len(records) == report.records == report.train + report.eval
    assert dict(report.skipped) == {
        "train/b_broken.jpg": "is not a picture in a known format",
        "train/c_copy_of_cat.jpg": "has the same content as train/a_cat.jpg",
        "train/e_copy_of_eval.jpg": "has the same content as eval/astronaut.jpg",
    }
    assert report.dropped == sum("dropped" in row for row in rows)
    area = np.mean([row["hole_pixels"] for row in records]) / 256**2
    assert report.mean_hole_fraction == pytest.approx(area)
    assert messages[1] == "2/6 train/b_broken.jpg: skipped, it is not a picture in a known format"
    assert messages[-1].startswith("6/6 eval/astronaut.jpg: ")


def test_a_manifest_row_tells_how_its_record_was_made(finished: Finished, config: GenerateConfig) -> None:
    out, report, _ = finished
    for row in (row for row in read_manifest(out, NAME) if is_record(row)):
        assert row.keys() >= {"source", "source_hash", "repeat", "record", "sample", "angle", "resample"}
        assert row["short_side"] in (720, 1080)
        assert row["left"] >= 0 <= row["top"]
        assert row["size"] == config.size
        assert row["draw"].keys() == {"mapper", "convergence", "edge_dilation", "divergence", "mirrored"}
        assert (load(out / row["source"].partition("/")[0] / row["hole"])[1] > 0).sum() == row["hole_pixels"]
        assert row["model_version"].startswith("fastdepth-")
        assert (row["model_type"], row["model_resolution"]) == ("FastDepth", 224)
    # seconds belong to a run, not to a record: with them, no two runs would be equal
    assert report.summary()["seconds"] > 0


def test_small_pictures_are_enlarged_and_long_ones_skipped_beyond_three_to_one(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    sizes = {"small": (96, 64), "long": (600, 200), "too_long": (602, 200)}
    for name, size in sizes.items():
        photo(size, seed=len(name)).save(tmp_path / "in" / f"{name}.png")
        depth = np.zeros(size[::-1], np.uint8)
        depth[:, : size[0] // 4] = depth[:, size[0] // 2 : -size[0] // 4] = 255
        Image.fromarray(depth).save(tmp_path / "in" / f"{name}_depth.png")
    config = GenerateConfig(
        str(tmp_path / "in"), str(tmp_path / "out"), "t", "File", size=256, divergence_level=3, eval_fraction=0
    )
    report = generate_dataset(config)
    assert dict(report.skipped) == {
        "train/too_long.png": "is 602x200 px: the long side is more than 3 times the short side"
    }
    rows = [row for row in read_manifest(tmp_path / "out", "t_File") if is_record(row)]
    assert {row["source"] for row in rows} == {"train/small.png", "train/long.png"}
    assert all(row["short_side"] >= 720 for row in rows)
    assert all(load(path)[1].shape == (256, 256, 3) for path in report.files)


def test_each_pass_takes_another_view_of_a_picture(tmp_path: Path) -> None:
    photo((300, 240)).save(tmp_path / "a.png")
    stripes = np.uint8(255) * (np.arange(300) // 50 % 2).astype(np.uint8)
    Image.fromarray(stripes[None].repeat(240, axis=0)).save(tmp_path / "a_depth.png")
    config = GenerateConfig(str(tmp_path), str(tmp_path / "out"), "t", "File", size=256, repeats=6, eval_fraction=0)
    generate_dataset(dataclasses.replace(config, divergence_level=3))
    rows = [row for row in read_manifest(tmp_path / "out", "t_File") if row["record"] == 0]
    assert {row["repeat"] for row in rows} == set(range(6))
    for keys in (("angle", "short_side", "resample"), ("draw",), ("left", "top")):
        assert len({json.dumps([row.get(key) for key in keys]) for row in rows if "picture" in row}) > 2, keys


def test_the_picture_and_its_mirror_image_get_separate_draws(finished: Finished) -> None:
    rows = [row for row in read_manifest(finished[0], NAME) if is_record(row)]
    draws = {(row["source"], row["record"]): json.dumps(row["draw"]) for row in rows}
    assert {record for _, record in draws} == {0, 1}
    assert len(set(draws.values())) == len(draws)


def test_the_number_of_workers_changes_nothing(config: GenerateConfig, finished: Finished) -> None:
    """Here three instead of none; one worker has to give the same below."""
    generate_dataset(dataclasses.replace(config, workers=3))
    assert contents(Path(config.output_dir)) == contents(finished[0])


def test_the_number_of_torchs_threads_changes_nothing(config: GenerateConfig, tmp_path: Path) -> None:
    """Another machine, or the same with OMP_NUM_THREADS set, may continue a data set or make a shard of it."""
    made, before = [], torch.get_num_threads()
    try:
        for threads in (1, 3):
            torch.set_num_threads(threads)
            out = tmp_path / str(threads)
            changes = {"output_dir": str(out), "scenes": 1, "size": 384, "resolution": None, "eval_only": True}
            generate_dataset(dataclasses.replace(config, **changes))
            made.append(contents(out))
    finally:
        torch.set_num_threads(before)
    assert made[0] == made[1]


def test_the_union_of_shards_is_the_unsharded_run(
    config: GenerateConfig, finished: Finished, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One shard is given by the option, the other by torchrun."""
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "2")
    union: dict[str, str] = {}
    for shard in ("auto", "0/2"):
        out = tmp_path / shard[0]
        report = generate_dataset(dataclasses.replace(config, shard=shard, output_dir=str(out)))
        assert 0 < report.records < finished[1].records
        union |= contents(out)
    assert union == contents(finished[0])
    monkeypatch.delenv("WORLD_SIZE")  # another program's RANK, which once made a data set without records
    with pytest.raises(InputError, match=r"shard: '1/1' \(RANK/WORLD_SIZE, as torchrun .* for all pictures 0/1"):
        dataclasses.replace(config)


def test_only_an_empty_share_is_reported_to_make_nothing(pictures: Path, tmp_path: Path) -> None:
    whole, said = tmp_path / "train_alone", list[str]()
    whole.mkdir()
    shutil.copy(pictures / "train/a_cat.jpg", whole)
    for shard, makes in (("0/2", True), ("1/2", False)):
        said.clear()
        config = GenerateConfig(str(whole), str(tmp_path / "out"), "t", size=256, eval_fraction=0, shard=shard)
        report = generate_dataset(config, lambda done, total, message: said.append(message))
        assert (report.records > 0) == makes
        assert (said == ["shard 1/2 makes nothing: there are fewer pictures than shards"]) != makes


def test_another_seed_gives_other_records(config: GenerateConfig, finished: Finished) -> None:
    generate_dataset(dataclasses.replace(config, seed=4, eval_only=True))
    assert not (Path(config.output_dir) / "train").exists()
    same = contents(Path(config.output_dir)).items() & contents(finished[0]).items()
    assert not any(name.endswith(".png") for name, _ in same)


@pytest.mark.attack
def test_a_run_killed_at_random_moments_and_resumed_is_byte_equal(config: GenerateConfig, finished: Finished) -> None:
    context, out, chance = multiprocessing.get_context("forkserver"), Path(config.output_dir), random.Random(1)
    total = len(contents(finished[0]))
    for aim in sorted(chance.sample(range(1, total - 2), KILLS)):
        process = context.Process(target=generate_dataset, args=(config,))
        process.start()
        while process.is_alive() and sum(1 for _ in out.rglob("*")) < aim:
            time.sleep(0.002)
        time.sleep(chance.random() * 0.02)
        process.kill()
        process.join()
        assert process.exitcode == -9, "the run ended before it was killed"
        for hole in out.rglob("*_M.png"):
            assert load(hole)[1].shape == load(picture_of(hole))[1].shape[:2]
    report = generate_dataset(config)
    assert contents(out) == contents(finished[0])
    assert (report.records, report.skipped) == (finished[1].records, finished[1].skipped)
    assert not [path for split in ("train", "eval", "manifest") for path in (out / split).rglob(".*.tmp")]


def test_a_finished_run_does_nothing_when_called_again(
    finished: Finished, config: GenerateConfig, tmp_path: Path
) -> None:
    shutil.copytree(finished[0], config.output_dir)
    before = {path: path.stat().st_mtime_ns for path in Path(config.output_dir).rglob("*.png")}
    report = generate_dataset(config)
    assert {path: path.stat().st_mtime_ns for path in Path(config.output_dir).rglob("*.png")} == before
    assert (report.pictures, report.records) == (0, finished[1].records)


def test_a_deleted_record_is_made_again(finished: Finished, config: GenerateConfig) -> None:
    shutil.copytree(finished[0], config.output_dir)
    next(Path(config.output_dir, "train").glob("*_M.png")).unlink()
    generate_dataset(config)
    assert contents(Path(config.output_dir)) == contents(finished[0])


@pytest.mark.parametrize(("option", "value"), [("seed", 9), ("size", 320), ("num_samples", 1), ("divergence_level", 1)])
def test_resuming_with_another_parameter_is_refused_by_name(
    option: str, value: int, finished: Finished, config: GenerateConfig
) -> None:
    shutil.copytree(finished[0] / "manifest", Path(config.output_dir) / "manifest")
    with pytest.raises(InputError, match=f"^{option}: .*{option}={getattr(config, option)}, not {value}"):
        generate_dataset(dataclasses.replace(config, **{option: value}))


def test_resuming_with_other_pictures_is_refused(
    finished: Finished, config: GenerateConfig, pictures: Path, tmp_path: Path
) -> None:
    shutil.copytree(finished[0] / "manifest", Path(config.output_dir) / "manifest")
    shutil.copytree(pictures, tmp_path / "more")
    (tmp_path / "more/train/aa_new.jpg").write_bytes(encoded(photo(), "JPEG"))
    with pytest.raises(InputError, match=r"1 train pictures were added .*aa_new\.jpg"):
        generate_dataset(dataclasses.replace(config, dataset_dir=str(tmp_path / "more")))


def test_records_whose_manifest_was_lost_are_not_overwritten(finished: Finished, config: GenerateConfig) -> None:
    for split in ("train", "eval"):
        shutil.copytree(finished[0] / split, Path(config.output_dir) / split)
    before = contents(Path(config.output_dir))
    with pytest.raises(InputError, match=rf"^prefix: {len(before)} files of {NAME} lie in .* without their manifest"):
        generate_dataset(dataclasses.replace(config, seed=4))
    assert contents(Path(config.output_dir)) == before


def test_a_second_run_on_the_same_shard_is_refused_while_the_first_lives(config: GenerateConfig) -> None:
    refusals = []

    def second(done: int, total: int, message: str) -> None:
        with pytest.raises(InputError, match="in use by process") as refusal:
            generate_dataset(config)
        refusals.append(refusal.value)

    generate_dataset(dataclasses.replace(config, eval_only=True), second)
    assert len(refusals) == 1


@pytest.mark.parametrize(
    ("place", "number", "reason"),
    [
        ("while writing", errno.ENOSPC, "disk is full"),
        ("while writing", errno.EACCES, "no write permission"),
        ("while renaming", errno.EROFS, "read-only"),
    ],
)
def test_a_full_disk_is_named_and_a_later_run_completes_the_data_set(
    place: str, number: int, reason: str, config: GenerateConfig, finished: Finished, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = iter(range(1000))

    def failing(real: Any) -> Any:
        def call(*arguments: Any, **options: Any) -> Any:
            if next(calls) > 7:
                raise OSError(number, "refused by the operating system")
            return real(*arguments, **options)

        return call

    if place == "while writing":
        monkeypatch.setattr(Image.Image, "save", failing(Image.Image.save))
    else:
        monkeypatch.setattr(os, "replace", failing(os.replace))
    with pytest.raises(InputError, match=f"{reason}.*any older version of the file is unchanged"):
        generate_dataset(dataclasses.replace(config, workers=1))
    assert not list(Path(config.output_dir).rglob("*.tmp"))
    monkeypatch.undo()
    generate_dataset(config)
    assert contents(Path(config.output_dir)) == contents(finished[0])


def test_ctrl_c_says_how_to_go_on_and_loses_nothing(config: GenerateConfig, finished: Finished) -> None:
    def interrupt(done: int, total: int, message: str) -> None:
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt, match="stopped after 2 of 6 pictures; run the same again"):
        generate_dataset(config, interrupt)
    generate_dataset(config)
    assert contents(Path(config.output_dir)) == contents(finished[0])


def test_ctrl_c_while_the_depth_model_is_loaded(config: GenerateConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(generate_module, "depth_model", interrupt)
    with pytest.raises(KeyboardInterrupt, match="stopped before the first picture; run the same again to continue"):
        generate_dataset(config)


def interrupted(config: GenerateConfig) -> None:
    """Generate, and interrupt from outside while workers are busy with the second picture and later ones."""
    signal.signal(signal.SIGINT, signal.default_int_handler)  # background jobs of a shell start with SIGINT ignored
    generate_dataset(config, lambda done, total, message: os.kill(os.getpid(), signal.SIGINT) if done == 1 else None)


def test_a_real_interrupt_signal_leaves_no_half_written_file_and_a_resumable_state(
    config: GenerateConfig, finished: Finished
) -> None:
    context, out = multiprocessing.get_context("forkserver"), Path(config.output_dir)
    process = context.Process(target=interrupted, args=(config,))
    process.start()
    process.join()
    assert process.exitcode == 1
    assert 0 < len(contents(out)) < len(contents(finished[0]))
    assert not list(out.rglob("*.tmp"))
    generate_dataset(config)
    assert contents(out) == contents(finished[0])


def test_an_output_that_cannot_be_written_is_refused_before_any_work(config: GenerateConfig, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    messages: list[str] = []
    for place in (tmp_path / "file" / "out", Path("/proc/out")):
        with pytest.raises(
            InputError, match=r"^output_dir: cannot write into .*; choose a folder that you may write to"
        ):
            generate_dataset(
                dataclasses.replace(config, output_dir=str(place)), lambda done, total, text: messages.append(text)
            )
    assert not messages


@pytest.mark.parametrize("place", ["train", "manifest", f"manifest/{NAME}", "eval -> nowhere"])
def test_a_file_in_place_of_a_folder_is_named(place: str, config: GenerateConfig) -> None:
    name, _, target = place.partition(" -> ")
    in_the_way = Path(config.output_dir) / name
    in_the_way.parent.mkdir(parents=True)
    in_the_way.symlink_to(target) if target else in_the_way.write_text("precious")
    with pytest.raises(InputError, match=rf"cannot write .*{name}.*(Not a directory|where its folder has to be)"):
        generate_dataset(config)
    assert target or in_the_way.read_text() == "precious"


def test_a_folder_of_odd_files_gives_records_or_reasons_for_each(tmp_path: Path) -> None:
    for split in ("train", "eval"):
        (tmp_path / "pictures" / split).mkdir(parents=True)
    folder = tmp_path / "pictures" / "eval"
    bad, good = bad_files(), list(good_files().items())[::8]
    for name, content in [*good, *((name, content) for name, (content, _) in bad.items())]:
        (folder / name).write_bytes(content)
    special = build_special(folder)
    report = generate_dataset(
        GenerateConfig(
            dataset_dir=str(folder.parent), output_dir=str(tmp_path / "out"), prefix="odd", size=256, eval_only=True
        )
    )
    skipped = {name.removeprefix("eval/"): reason for name, reason in report.skipped}
    expected = {name: reason for name, (_, reason) in bad.items()} | special
    assert skipped.keys() == expected.keys()
    assert all(expected[name] in reason for name, reason in skipped.items())
    sources = {row["source"] for row in read_manifest(tmp_path / "out", "odd_FastDepth")}
    assert {f"eval/{name}" for name, _ in good} <= sources


def test_non_utf8_names_are_listed_and_everything_else_is_made(tmp_path: Path) -> None:
    """Old file systems and archives have names in other encodings."""
    folder = tmp_path / "in"
    folder.mkdir()
    shutil.copy(SAMPLES / "train/cat_face.jpg", folder / "cat.jpg")
    try:
        for ending, content in ((b".jpg", (folder / "cat.jpg").read_bytes()), (b".mp4", b".mp4")):
            (folder / os.fsdecode(b"a\xe9t\xe9" + ending)).write_bytes(content)
    except OSError:
        pytest.skip("this file system only takes UTF-8 names")
    said: list[str] = []
    config = GenerateConfig(str(folder), str(tmp_path / "out"), "t", size=256, resolution=224, device="cpu")
    report = generate_dataset(config, lambda done, total, text: said.append(text))
    assert report.records > 0
    assert sorted(reason for _, reason in report.skipped) == ["has a name that is not UTF-8 text; rename it"] * 2
    assert "\n".join(said).encode()  # terminals and notebooks only take text
    assert json.dumps(report.summary(), ensure_ascii=False).encode()
    assert [path.name for path in example_pictures(config)] == ["cat.jpg"]


def test_examples_before_the_job_skip_files_that_cannot_be_used(tmp_path: Path) -> None:
    (tmp_path / "a_note.txt").write_text("no picture")
    Image.new("RGB", (1000, 100)).save(tmp_path / "b_panorama.png")
    shutil.copy(SAMPLES / "train/cat_face.jpg", tmp_path / "c_cat.jpg")
    photo().save(tmp_path / "d.png")
    config = GenerateConfig(str(tmp_path), str(tmp_path / "out"), "t", eval_fraction=0)
    assert [path.name for path in example_pictures(config)] == ["c_cat.jpg", "d.png"]
    Image.new("L", (40, 30)).save(tmp_path / "d_depth.png")
    by_maps = dataclasses.replace(config, model_type="File")
    assert [path.name for path in example_pictures(by_maps)] == ["d.png"]
    for path in (tmp_path / "c_cat.jpg", tmp_path / "d.png"):
        path.unlink()
    with pytest.raises(
        InputError, match=r"no readable video that can be used; a_note\.txt is not a picture in a known"
    ):
        example_pictures(config)
    (tmp_path / "a_note.txt").unlink()
    with pytest.raises(
        InputError, match=r"can be used; File: no depth map for .*panorama\.png; put b_panorama_depth\.png"
    ):
        example_pictures(by_maps)


def test_depth_maps_beside_the_pictures_open_holes_behind_near_things(tmp_path: Path) -> None:
    """A square in front: every hole of both records lies within reach to the right of its edge, in both orientations."""
    for split in ("train", "eval"):
        (tmp_path / "in" / split).mkdir(parents=True)
    picture, depth = photo((800, 720)), np.zeros((720, 800), np.uint8)
    depth[160:560, 200:600] = 255
    picture.save(tmp_path / "in/eval/scene.png")
    Image.fromarray(depth).save(tmp_path / "in/eval/scene_depth.png")
    key = content_key((tmp_path / "in/eval/scene.png").read_bytes())
    seed = next(seed for seed in range(100) if draw_view(numpy_rng(seed, key, 0, "view"), 512).angle is None)
    config = GenerateConfig(
        dataset_dir=str(tmp_path / "in"), output_dir=str(tmp_path / "out"), prefix="f", model_type="File",
        size=512, divergence_level=2, num_samples=4, eval_only=True, seed=seed,
    )  # fmt: skip
    assert generate_dataset(config).skipped == ()
    rows = [row for row in read_manifest(tmp_path / "out", "f_File") if is_record(row)]
    assert {row["record"] for row in rows} == {0, 1}
    for row in rows:
        scale = row["short_side"] / 720
        ys, xs = np.nonzero(load(tmp_path / "out/eval" / row["hole"])[1])
        assert 600 * scale - 8 < xs.min() + row["left"] <= xs.max() + row["left"] < 600 * scale + LARGEST_SHIFT + 8
        assert 160 * scale - 8 < ys.min() + row["top"] <= ys.max() + row["top"] < 560 * scale + 8


def test_the_view_is_drawn_as_the_recipe_says() -> None:
    views = [draw_view(numpy_rng("views", i), 512) for i in range(3000)]
    turned = [view.angle for view in views if view.angle is not None]
    assert 0.46 < len(turned) / len(views) < 0.54
    assert -45 <= min(turned) < -40 < 40 < max(turned) <= 45
    assert 0.29 < np.mean([view.short_side == 720 for view in views]) < 0.38
    assert {view.short_side for view in views} == {720, 1080}
    assert 0.46 < np.mean([view.resample == "bicubic" for view in views]) < 0.54
    assert draw_view(numpy_rng(0), 1200).short_side == 1200  # a crop must fit


@settings(max_examples=30, deadline=None)
@given(st.integers(64, 300), st.integers(64, 300), st.floats(-45, 45), st.sampled_from(["bicubic", "bilinear"]))
def test_a_turned_view_is_a_full_square_without_borders(width: int, height: int, angle: float, filter: str) -> None:
    white = np.full((height, width, 3), 255, np.uint8)
    seen = apply_view(white, View(angle, 100, filter))
    assert seen.shape == (100, 100, 3)
    assert seen.min() == 255


def test_turning_is_counter_clockwise_about_the_centre() -> None:
    picture = np.zeros((200, 200, 3), np.uint8)
    picture[95:105, 100:] = 255  # a hand at three o'clock
    seen = np.asarray(turn(Image.fromarray(picture), 45.0))[..., 0] > 127
    rows, columns = np.nonzero(seen)
    side = int(200 / math.sqrt(2))
    assert seen.shape == (side, side)
    assert rows.min() == 0
    assert columns.max() == side - 1
    assert np.corrcoef(rows, columns)[0, 1] < -0.9  # now it points to half past one


def test_an_unturned_view_keeps_the_aspect_and_scales_the_short_side() -> None:
    assert apply_view(np.zeros((300, 451, 3), np.uint8), View(None, 720, "bicubic")).shape == (720, 1082, 3)
    assert apply_view(np.zeros((451, 300, 3), np.uint8), View(None, 720, "bicubic")).shape == (1082, 720, 3)


def test_a_turned_depth_map_still_fills_0_to_1() -> None:
    ramp = torch.linspace(0, 1, 100).expand(1, 1, 80, 100)
    turned = turn_depth(ramp, 30.0)
    assert turned.shape == (1, 1, 56, 56)
    assert (float(turned.min()), float(turned.max())) == (0.0, 1.0)
    assert turn_depth(ramp, None) is ramp


def test_the_crop_is_the_best_of_8_random_places() -> None:
    picture, depth = np.zeros((300, 400, 3), np.uint8), torch.zeros(1, 1, 300, 400)
    depth[..., 150:] = 1
    sampler = HoleSampler(3, False, "occlusion")
    draw = HoleDraw("none", 0.5, 0, 8.0, False)
    sampler.draw = lambda *_: draw  # type: ignore[method-assign]
    holes = [sampler.apply(near, draw, (300, 400))[0, 0].numpy() for near in (depth, depth.flip(-1))]
    for crop in make_crops(picture, depth, sampler, 128, 10, ("crop",)):
        rng = numpy_rng("crop", "crop", crop.image, crop.number)
        tops, lefts = rng.integers(0, 300 - 128 + 1, 8), rng.integers(0, 400 - 128 + 1, 8)
        found = [holes[crop.image][t : t + 128, x : x + 128].sum() for t, x in zip(tops, lefts, strict=True)]
        assert crop.hole_pixels == holes[crop.image][crop.top :, crop.left :][:128, :128].sum() == max(found)
    whole = list(make_crops(picture[:128, :128], depth[..., :128, :128], sampler, 128, 1, ("crop",)))
    assert {(crop.left, crop.top) for crop in whole} == {(0, 0)}


def test_mirroring_swaps_left_and_right_only_for_record_1() -> None:
    picture = numpy_rng("mirror").integers(0, 256, (300, 400, 3), np.uint8)
    crops = list(make_crops(picture, torch.zeros(1, 1, 300, 400), HoleSampler(1, False), 256, 1, ("mirror",)))
    assert [crop.image for crop in crops] == [0, 1]
    for crop, seen in zip(crops, (picture, picture[:, ::-1]), strict=True):
        np.testing.assert_array_equal(crop.picture, seen[crop.top :][:256, crop.left :][:, :256])


def test_crops_with_too_small_a_hole_are_dropped_and_listed(
    config: GenerateConfig, monkeypatch: pytest.MonkeyPatch, finished: Finished
) -> None:
    made = [row for row in read_manifest(finished[0], NAME) if is_record(row) and "astronaut" in row["source"]]
    areas = sorted(row["hole_pixels"] for row in made)
    assert generate_module.MIN_HOLE_AREA == 301 < areas[0] <= areas[1] < areas[2]
    monkeypatch.setattr(generate_module, "MIN_HOLE_AREA", areas[2])
    said: list[str] = []
    report = generate_dataset(
        dataclasses.replace(config, eval_only=True), lambda done, total, message: said.append(message)
    )
    assert (report.eval, report.dropped) == (2, 2)
    assert said == ["eval/astronaut.jpg: 2 records; crops left out, hole too small: 2"]


def test_memory_stays_bounded_however_many_pictures_wait(
    config: GenerateConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a slow last step, loading waits: only a few pictures per worker are in flight."""
    loaded, finished, most = [0], [0], [0]
    real_load, real_skip = generate_module.Pipeline.load, generate_module.Pipeline.skip

    def load(self: Any, job: Any) -> Any:
        loaded[0] += 1
        most[0] = max(most[0], loaded[0] - finished[0])
        return real_load(self, job)

    def skip(self: Any, job: Any, reason: Any) -> str:
        time.sleep(0.01)
        finished[0] += 1
        return real_skip(self, job, reason)

    monkeypatch.setattr(generate_module.Pipeline, "load", load)
    monkeypatch.setattr(generate_module.Pipeline, "skip", skip)
    monkeypatch.setattr(generate_module, "apply_view", lambda picture, view: (_ for _ in ()).throw(
        generate_module.UnreadablePicture("is only counted")))  # fmt: skip
    generate_dataset(dataclasses.replace(config, repeats=20, workers=1))
    assert finished[0] == 6 * 20
    assert most[0] <= 2 * 2 * generate_module.AHEAD + 2


def test_reading_and_writing_go_on_while_the_depth_network_works(
    config: GenerateConfig, finished: Finished, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While one picture is in the network, the next ones are read and the last one is written, even by one thread."""
    run, patience = generate_module.Pipeline, 60
    loaded, written = threading.Semaphore(0), threading.Semaphore(0)
    real_load, real_infer, real_finish = run.load, run.infer, run.finish
    place = [0]

    def load(self: Any, job: Any) -> Any:
        try:
            return real_load(self, job)
        finally:
            loaded.release()

    def infer(self: Any, item: Any) -> Any:
        number, place[0] = place[0], place[0] + 1
        if number == 0:
            assert all(loaded.acquire(timeout=patience) for _ in range(generate_module.AHEAD))
        elif number < 6 - generate_module.AHEAD:
            assert loaded.acquire(timeout=patience), "the next picture wasn't read meanwhile"
        if number:
            assert written.acquire(timeout=patience), "the picture before wasn't written meanwhile"
        return real_infer(self, item)

    def finish(self: Any, item: Any, answer: Any) -> str:
        result = real_finish(self, item, answer)
        written.release()
        return result

    for name, function in (("load", load), ("infer", infer), ("finish", finish)):
        monkeypatch.setattr(run, name, function)
    generate_dataset(dataclasses.replace(config, workers=1))
    assert place[0] == 3  # that many of the 6 files can be used
    assert contents(Path(config.output_dir)) == contents(finished[0])
