"""The script that collects the released checkpoint's training pictures from packages, on packages made here."""

from __future__ import annotations

import doctest
import io
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path
from types import ModuleType

import cv2
import numpy as np
import pytest
from house_scripts import load_script
from PIL import Image

SCRIPT = Path(__file__).parents[2] / "models" / "released" / "collect_pictures.py"
HEAD = "file\tpackage version (registry)\tpath in package\n"


@pytest.fixture(scope="module")
def script() -> ModuleType:
    return load_script(SCRIPT)


@pytest.fixture
def packages(tmp_path: Path) -> Path:
    """An npm package with a turned photo of 1600 x 1200 px, a wheel with a film whose n-th frame has level 20 n."""
    folder = tmp_path / "packages"
    (folder / "deeper").mkdir(parents=True)
    content, turned = io.BytesIO(), Image.Exif()
    turned[0x0112] = 6
    Image.new("RGB", (1600, 1200), (200, 30, 30)).save(content, "JPEG", exif=turned)
    with tarfile.open(folder / "deeper" / "owner-photos-1.0.tgz", "w:gz") as archive:
        member = tarfile.TarInfo("package/data/image.jpg")
        member.size = content.tell()
        content.seek(0)
        archive.addfile(member, content)
    film = cv2.VideoWriter(str(tmp_path / "film.mp4"), cv2.VideoWriter.fourcc(*"mp4v"), 5, (96, 64))
    for number in range(8):
        film.write(np.full((64, 96, 3), 20 * number, np.uint8))
    film.release()
    with zipfile.ZipFile(folder / "some_films-2.1-py3-none-any.whl", "w") as wheel:
        wheel.write(tmp_path / "film.mp4", "films/film.mp4")
    return folder


def write_list(folder: Path, *rows: tuple[str, str, str]) -> Path:
    (folder / "list.tsv").write_text(HEAD + "".join("\t".join(row) + "\n" for row in rows))
    return folder / "list.tsv"


PHOTO = ("photo.jpg", "@owner/photos 1.0 (npm)", "data/image.jpg")
FRAMES = [(f"frame_{n}.jpg", "some-films 2.1 (PyPI)", f"films/film.mp4, frame {n}") for n in (5, 1)]


def test_pictures_come_out_upright_small_and_from_the_named_frames(
    script: ModuleType, packages: Path, tmp_path: Path
) -> None:
    table = write_list(tmp_path, PHOTO, *FRAMES)
    assert script.main([str(packages), str(tmp_path / "out"), "--list", str(table)]) == 0
    with Image.open(tmp_path / "out" / "photo.jpg") as photo:
        assert photo.size == (1080, 1440)
    for number in (5, 1):
        with Image.open(tmp_path / "out" / f"frame_{number}.jpg") as frame:
            assert abs(float(np.asarray(frame).mean()) - 20 * number) < 4


def test_what_is_missing_is_listed_and_the_rest_taken(
    script: ModuleType, packages: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    gone = ("gone.jpg", "mate-backgrounds 1.26.0-1 (Debian)", "usr/share/x.jpg")
    moved = ("moved.jpg", "@owner/photos 1.0 (npm)", "data/other.jpg")
    table = write_list(tmp_path, gone, PHOTO, moved)
    assert script.main([str(packages), str(tmp_path / "out"), "--list", str(table)]) == 1
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["photo.jpg"]
    lines = capsys.readouterr().err.splitlines()
    assert lines == [
        "missing: mate-backgrounds 1.26.0-1 (Debian): gone.jpg",
        "missing: @owner/photos 1.0 (npm): moved.jpg",
    ]


@pytest.mark.skipif(shutil.which("dpkg-deb") is None, reason="needs dpkg-deb")
def test_debian_packages_are_read(script: ModuleType, tmp_path: Path) -> None:
    root = tmp_path / "root"
    (root / "DEBIAN").mkdir(parents=True)
    (root / "usr" / "share").mkdir(parents=True)
    Image.new("RGB", (90, 80), (10, 200, 10)).save(root / "usr" / "share" / "green.png")
    fields = {"Package": "green", "Version": "4:1.0-1", "Architecture": "all"}
    fields |= {"Maintainer": "Nobody <nobody@example.org>", "Description": "a green picture"}
    (root / "DEBIAN" / "control").write_text("".join(f"{name}: {value}\n" for name, value in fields.items()))
    (tmp_path / "packages").mkdir()
    file = tmp_path / "packages" / "green_4%3a1.0-1_all.deb"
    subprocess.run(["dpkg-deb", "--build", root, file], check=True, capture_output=True)
    table = write_list(tmp_path, ("green.jpg", "green 4:1.0-1 (Debian)", "usr/share/green.png"))
    assert script.main([str(tmp_path / "packages"), str(tmp_path / "out"), "--list", str(table)]) == 0
    with Image.open(tmp_path / "out" / "green.jpg") as picture:
        assert picture.size == (90, 80)


def test_the_shipped_list_can_be_read_and_is_complete(script: ModuleType) -> None:
    names = [name for wanted in script.read_list(script.LIST).values() for name in wanted]
    assert len(names) == len(set(names)) == 140
    assert doctest.testmod(script).failed == 0


def test_it_says_what_it_needs(tmp_path: Path) -> None:
    asked = subprocess.run([sys.executable, SCRIPT, tmp_path / "no", tmp_path], capture_output=True, text=True)
    assert asked.returncode == 2
    assert "is no folder; put the downloaded package files into one" in asked.stderr
