"""Several processes on one data set: the same files as from one, one progress report, no process left behind."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import numpy as np
import psutil
import pytest
import torch
from PIL import Image
from videos import write_video

from inpaintkit.config import GenerateConfig
from inpaintkit.data import GenerateReport, generate_dataset
from inpaintkit.errors import InputError, RunFailed
from inpaintkit.processes import Child, follow
from inpaintkit.seeds import numpy_rng
from tests.data.test_generate import contents

PICTURES = 6


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with photos and a video of which one frame is taken."""
    folder = tmp_path_factory.mktemp("pictures")
    for number in range(PICTURES - 1):
        coarse = numpy_rng("picture", number).integers(0, 256, (6, 8, 3), np.uint8)
        Image.fromarray(coarse).resize((400, 300), Image.Resampling.BICUBIC).save(folder / f"{number}.png")
    frame = np.asarray(Image.open(folder / "0.png"))
    write_video(folder / "video.mp4", (np.roll(frame, 4 * number, axis=1) for number in range(12)))
    return folder


def config(pictures: Path, out: Path, processes: int, **changes: object) -> GenerateConfig:
    values = {
        "dataset_dir": str(pictures),
        "output_dir": str(out),
        "prefix": "p",
        "size": 256,
        "device": "cpu",
        "workers": 0,
        "video_frames": 1,
    }
    return GenerateConfig.from_params(values | {"processes": processes, "eval_fraction": 0.3} | changes)


@pytest.fixture(scope="module")
def whole(pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, GenerateReport]:
    """Return the data set that one process makes."""
    folder = tmp_path_factory.mktemp("whole")
    return folder, generate_dataset(config(pictures, folder, 1))


def children(folder: Path) -> list[psutil.Process]:
    """Return the processes that work on the data set in `folder`."""
    return [one for one in psutil.process_iter(["cmdline"]) if str(folder) in " ".join(one.info["cmdline"] or [])]


def test_two_processes_make_what_one_makes_and_report_as_one(
    pictures: Path, whole: tuple[Path, GenerateReport], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[tuple[int, int]] = []
    threads = "OMP_NUM_THREADS", "OPENCV_FOR_THREADS_NUM"
    given = list[tuple[str, ...]]()
    for name in threads:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)

    def progress(done: int, total: int, message: str) -> None:
        if not told:
            given.extend(tuple(child.environ()[name] for name in threads) for child in children(tmp_path))
        told.append((done, total))

    both = generate_dataset(config(pictures, tmp_path, 2), progress)
    assert set(given) == {("1", "1")}, "they don't share the cores"
    assert contents(tmp_path) == contents(whole[0])
    assert (both.records, both.pictures) == (whole[1].records, PICTURES)
    assert told[-1] == (PICTURES, PICTURES)
    assert [done for done, _ in told] == sorted(done for done, _ in told)
    assert {total for done, total in told if done} == {PICTURES}


def test_more_processes_than_pictures_reach_full_progress(pictures: Path, tmp_path: Path) -> None:
    few, told = tmp_path / "few", list[tuple[int, int, str]]()
    few.mkdir()
    (few / "0.png").symlink_to(pictures / "0.png")
    (few / "1.png").symlink_to(pictures / "1.png")
    run = config(few, tmp_path / "out", 3)
    generate_dataset(run, lambda done, total, message: told.append((done, total, message)))
    assert told[-1][:2] == (2, 2)
    assert not any("before" in message for _, _, message in told), "what was just made is told as made before"
    nothing = "makes nothing: there are fewer pictures than shards"
    assert sorted(message for _, _, message in told if nothing in message) == [
        f"shard {shard}/3 {nothing}" for shard in (1, 2)
    ]


def test_workers_share_the_cores(pictures: Path, tmp_path: Path) -> None:
    """Once, on 3 cores, 3 workers started 9 threads."""
    running, seen, cores = list[int](), list[int](), torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        for workers in (1, 3):
            wanted = config(pictures, tmp_path / str(workers), 1, workers=workers, num_samples=1)
            generate_dataset(wanted, lambda *told: seen.append(psutil.Process().num_threads()))
            running.append(max(seen))
            seen.clear()
            assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(cores)
    assert running[1] <= running[0] + 2, "more than the workers themselves"


def test_one_process_finishes_what_several_began_and_none_is_left(
    pictures: Path, whole: tuple[Path, GenerateReport], tmp_path: Path
) -> None:
    def stop(done: int, total: int, message: str) -> None:
        if done >= 2:  # when the second process begins to report, the first may have done more than two
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt, match=r"after [2-5] of 6 pictures; run the same again to continue"):
        generate_dataset(config(pictures, tmp_path, 2), stop)
    assert not children(tmp_path)
    assert generate_dataset(config(pictures, tmp_path, 1)).pictures <= PICTURES - 2
    assert contents(tmp_path) == contents(whole[0])


def test_a_killed_process_is_reported_and_others_end(pictures: Path, tmp_path: Path) -> None:
    def kill_one() -> None:
        while not (found := children(tmp_path)):
            time.sleep(0.05)
        found[0].kill()

    threading.Thread(target=kill_one, daemon=True).start()
    with pytest.raises(
        RunFailed, match=r"^process [12] of 2 was killed \(SIGKILL\).*fewer processes; run the same again to continue"
    ):
        generate_dataset(config(pictures, tmp_path, 2))
    assert not children(tmp_path)


def test_a_failed_process_gives_its_own_reason(pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "cv2.py").write_text("raise ImportError('libGL.so.1: cannot open shared object file')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with pytest.raises(
        RunFailed,
        match=r"^process [12] of 2 failed: ImportError: libGL.so.1: cannot open shared object file; run the same again",
    ) as failed:
        generate_dataset(config(pictures, tmp_path / "out", 2))
    assert str(failed.value).count("Traceback") == 1, "lines of the other process are none of its own"


def test_refusals_are_reported(pictures: Path, tmp_path: Path) -> None:
    generate_dataset(config(pictures, tmp_path, 1, eval_only=True))
    with pytest.raises(InputError, match="seed"):
        generate_dataset(config(pictures, tmp_path, 2, seed=5))
    assert not children(tmp_path)


def test_library_output_need_not_be_text() -> None:
    with Child(["-c", r"import os; os.write(1, b'a\xff.mp4\n'); print('more')"], 1, {}) as child:
        assert list(follow([child])) == [(0, r"a\xff.mp4"), (0, "more"), (0, None)]
