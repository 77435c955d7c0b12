"""Read picture files as arrays; unusual files are converted or refused with a reason, and none ends a run."""

import contextlib
import functools
import hashlib
import io
import os
import stat
import threading
import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms, UnidentifiedImageError

from inpaintkit.depth.map_files import ENDINGS, ORIENTATION_TAG, TURNS
from inpaintkit.errors import InputError
from inpaintkit.files import atomic_path
from inpaintkit.text import seen_name

MAX_ASPECT = 3  # long side / short side
MIN_SIDE = 64  # px; below, there is nothing a depth model could see
MAX_PIXELS = 120_000_000  # more than the 108 megapixels of phones; bounds the memory of one decode to 360 MB
MAX_FILE_BYTES = 1 << 30
HASH_BYTES = 16
DEPTH_MAP_ENDINGS = tuple(f"_depth{ending}" for ending in ENDINGS)
STEREO_PAIR = "_LRF_Full_SBS"
"""The end of a stereo pair's file name, in iw3, too."""

STEREO_ENDINGS = tuple(map(seen_name, (STEREO_PAIR, "_LR", "_TBF_fulltb", "_redcyan", "_wiggle")))
"""Ends of the file names of a stereo pair. Photos may have all but the first, so the others count only beside it."""

# Measured on 512 px photo crops: level 1 with run-length matching takes a third of the time of level 6; the files are
# within 4 % of its size.
PNG_OPTIONS: dict[str, Any] = {"compress_level": 1, "compress_type": 3}
# Decoders that only read the file's bytes. Left out on purpose: EPS, which starts another program, and rare formats.
FORMATS = ("JPEG", "MPO", "PNG", "WEBP", "BMP", "TIFF", "GIF", "PPM", "JPEG2000", "AVIF", "HEIF")
HEIC_BRANDS = (b"heic", b"heix", b"hevc", b"mif1", b"msf1")
JPEG_XL_STARTS = (b"\xff\x0a", b"\0\0\0\x0cJXL ")
TIFF_STARTS, SUBFILE_TAG, REDUCED = (b"II*\0", b"MM\0*"), 254, 1
JPEG2000_START, JPEG2000_BITS = b"\xff\x4f\xff\x51", 42  # of the code stream; offset of its bit depth
SYSTEM_FOLDERS = ("@eaDir", "#recycle", "$RECYCLE.BIN")
"""Folders for thumbnails (on network disks) and deleted files (there and on Windows): nobody chose these pictures."""

WHITE = (255, 255, 255, 255)


class _Silence:
    """A context without Pillow's warnings. It counts threads inside it, as warning filters belong to the process."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._inside = 0
        self._filters = contextlib.ExitStack()

    def __enter__(self) -> None:
        with self._lock:
            if not self._inside:
                self._filters.enter_context(warnings.catch_warnings())
                warnings.simplefilter("ignore")
                _formats()
            self._inside += 1

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._inside -= 1
            if not self._inside:
                self._filters.close()


_SILENCE = _Silence()


class UnreadablePicture(Exception):
    """Raised for a file that can't be used as a picture; the message is the reason, for the list of skipped files."""


def list_pictures(folder: str | Path, leave_out: Iterable[Path] = ()) -> list[Path]:
    """Return all files in `folder` and its subfolders that may be pictures, sorted by path.

    These are all entries except hidden ones, `SYSTEM_FOLDERS`, depth maps beside their picture (``name_depth.png``
    beside ``name.jpg``), stereo pairs (``name_LRF_Full_SBS`` and the like) and the contents of the folders `leave_out`.
    Links to folders are listed, but not followed. Only its content shows whether a file is a picture, see
    `read_picture`. Raises `InputError` if the folder can't be listed.
    """
    folder = Path(folder)
    outside = {Path(path).resolve() for path in leave_out}
    found: list[Path] = []
    try:
        seen = (e for e in os.scandir(folder) if not e.name.startswith(".") and e.name not in SYSTEM_FOLDERS)
        entries = sorted(seen, key=lambda entry: entry.name)
    except OSError as error:
        raise InputError(f"cannot list the pictures in {folder}: {error.strerror}; give a readable folder") from error
    stems = {seen_name(Path(entry.name).stem) for entry in entries}
    for entry in entries:
        path = folder / entry.name
        if entry.is_dir(follow_symlinks=False):
            found += list_pictures(path, outside) if path.resolve() not in outside else []
        elif not _is_depth_map(entry.name, stems) and not _is_stereo(entry.name, stems):
            found.append(path)
    return found


def _is_depth_map(name: str, stems: set[str]) -> bool:
    name = seen_name(name)
    return any(name.endswith(ending) and name.removesuffix(ending) in stems for ending in DEPTH_MAP_ENDINGS)


def _is_stereo(name: str, stems: set[str]) -> bool:
    stem = seen_name(Path(name).stem)
    return any(stem.endswith(end) and stem.removesuffix(end) + STEREO_ENDINGS[0] in stems for end in STEREO_ENDINGS)


def write_png(path: Path, pixels: NDArray[np.uint8]) -> None:
    """Write (H, W, 3) or (H, W) uint8 as a PNG file, atomically."""
    with atomic_path(path) as temporary:
        Image.fromarray(pixels).save(temporary, "PNG", **PNG_OPTIONS)


def is_picture(path: Path) -> bool:
    """Return whether a file is a usable picture as far as its header shows, without decoding it. Never raises."""
    try:
        if not path.is_file():  # opening a pipe would block until something writes into it
            return False
        with _SILENCE, Image.open(path, formats=_formats()) as image:
            check_size(*image.size)
            return not _is_preview(image)
    except Exception:  # the reason is reported when the file is read
        return False


def read_file(path: str | Path) -> bytes:
    """Return the bytes of the regular file `path`; raise `UnreadablePicture` with the reason otherwise."""
    try:
        facts = os.stat(path)
        if stat.S_ISDIR(facts.st_mode):
            raise UnreadablePicture(
                "is a link to a folder, which isn't followed" if os.path.islink(path) else "is a folder"
            )
        if not stat.S_ISREG(facts.st_mode):
            raise UnreadablePicture("is not a regular file")
        if facts.st_size > MAX_FILE_BYTES:
            raise UnreadablePicture(f"is larger than {MAX_FILE_BYTES >> 20} MiB")
        data = Path(path).read_bytes()
    except OSError as error:
        raise UnreadablePicture(f"cannot be read: {error.strerror}") from error
    if not data:
        raise UnreadablePicture("is empty")
    return data


def content_key(data: bytes) -> str:
    """Return the hexadecimal hash of a source's content, from which the random numbers of its records come."""
    return hashlib.blake2b(data, digest_size=HASH_BYTES).hexdigest()


def read_picture(path: str | Path, short_side: int | None = None, any_shape: bool = False) -> NDArray[np.uint8]:
    """Return the picture file `path` as (H, W, 3) uint8 sRGB, see `decode_picture`."""
    return decode_picture(read_file(path), short_side, any_shape)


def decode_picture(data: bytes, short_side: int | None = None, any_shape: bool = False) -> NDArray[np.uint8]:
    """Return the picture in the file content `data` as (H, W, 3) uint8 sRGB, upright.

    The format is detected from the content. The camera's orientation is applied; of several frames, the first is taken;
    grey, palette, CMYK and 16-bit pictures become 8-bit RGB; transparent parts are shown on white; colours of other
    RGB profiles are converted to sRGB. With `short_side` (px), a JPEG is decoded at the smallest of its scales (1, 1/2,
    1/4, 1/8) that keeps the short side at or above it, which is several times faster.

    Raises `UnreadablePicture` for content that is broken or no picture, for raw photos, for colours that can't become
    8-bit RGB, for pictures with more than `MAX_PIXELS`, with a side under `MIN_SIDE`, and, unless `any_shape`, with the
    long side over `MAX_ASPECT` times the short one.
    """
    with _SILENCE:
        try:
            with Image.open(io.BytesIO(data), formats=_formats()) as image:
                check_size(*image.size, any_shape)
                if _is_preview(image):
                    raise UnreadablePicture(
                        "is a raw photo, of which only a small preview can be read; save it as JPEG"
                    )
                if image.format == "JPEG2000" and image.mode.startswith("RGB") and _bits_of_jpeg2000(data) > 8:
                    raise UnreadablePicture(
                        "is a JPEG 2000 picture of more than 8 bits, whose white comes out black; save it as PNG"
                    )
                if image.format == "PNG":
                    with Image.open(io.BytesIO(data), formats=["PNG"]) as checked:
                        checked.verify()  # the checksums: a decoder skips them and would return rubbish
                if short_side is not None:
                    scale = short_side / min(image.size)
                    image.draft("RGB", (round(image.width * scale), round(image.height * scale)))
                return np.array(_in_srgb(_upright(image)))
        except UnreadablePicture:
            raise
        except UnidentifiedImageError:
            raise UnreadablePicture(_unknown_format(data)) from None
        except Image.DecompressionBombError:
            raise UnreadablePicture(f"has more than {MAX_PIXELS // 1_000_000} megapixels") from None
        except Exception as error:  # decoders raise a dozen types on broken data, and one bad file must not end a run
            raise UnreadablePicture(f"cannot be decoded: {error}") from error


@functools.cache
def _formats() -> list[str]:
    with contextlib.suppress(ImportError):
        import pillow_heif

        pillow_heif.register_heif_opener()
    Image.init()
    return [name for name in FORMATS if name in Image.OPEN]


def _bits_of_jpeg2000(data: bytes) -> int:
    """Return the bit depth of the first channel; beyond 8 bits, Pillow's rounding overflows."""
    start = data.find(JPEG2000_START)
    return (data[start + JPEG2000_BITS] & 0x7F) + 1 if start >= 0 else 8


def _is_preview(image: Image.Image) -> bool:
    """Return whether a TIFF's first picture is a reduced copy of another one in it, as in raw photos (DNG, NEF)."""
    return image.format == "TIFF" and bool(image.getexif().get(SUBFILE_TAG, 0) & REDUCED)


def _unknown_format(data: bytes) -> str:
    if data[4:8] == b"ftyp" and data[8:12] in HEIC_BRANDS:
        return "is a HEIC picture; `pip install pillow-heif`, or save it as JPEG"
    if data.startswith(JPEG_XL_STARTS):
        return "is a JPEG XL picture, which Pillow can't read; save it as PNG"
    if data.startswith(TIFF_STARTS):
        return "is a TIFF of a kind that can't be read, with raw or floating-point colours; save it as PNG"
    return "is not a picture in a known format"


def check_size(width: int, height: int, any_shape: bool = False) -> None:
    """Raise `UnreadablePicture` for sizes (px) that no data set can use; `any_shape`: allow any aspect ratio."""
    short, long = sorted((width, height))
    if width * height > MAX_PIXELS:
        raise UnreadablePicture(f"has more than {MAX_PIXELS // 1_000_000} megapixels")
    if long > MAX_ASPECT * short and not any_shape:
        raise UnreadablePicture(f"is {width}x{height} px: the long side is more than {MAX_ASPECT} times the short side")
    if short < MIN_SIDE:
        raise UnreadablePicture(f"is {width}x{height} px: a side is under {MIN_SIDE} px")


def _upright(image: Image.Image) -> Image.Image:
    image.load()  # Pillow turns a TIFF here, and removes its orientation tag
    try:
        turn = TURNS.get(image.getexif().get(ORIENTATION_TAG, 1))
    except Exception:  # a broken EXIF block says nothing about the pixels
        turn = None
    return image if turn is None else image.transpose(turn)


def _in_srgb(image: Image.Image) -> Image.Image:
    """Return `image` as RGB in sRGB; a profile that can't be read or applied counts as sRGB."""
    profile = image.info.get("icc_profile")
    rgb = to_rgb(image)
    if not profile or image.mode == "CMYK":  # a CMYK picture's profile doesn't fit its conversion to RGB
        return rgb
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        if source.profile.xcolor_space.strip() != "RGB" or "sRGB" in ImageCms.getProfileDescription(source):
            return rgb
        converted = ImageCms.profileToProfile(rgb, source, _srgb(), ImageCms.Intent.RELATIVE_COLORIMETRIC, "RGB")
    except (ImageCms.PyCMSError, OSError, ValueError):
        return rgb
    return rgb if converted is None else converted


@functools.cache
def _srgb() -> ImageCms.ImageCmsProfile:
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))


def to_rgb(image: Image.Image) -> Image.Image:
    """Return `image` as 8-bit RGB, transparent parts on white; raise `UnreadablePicture` for floats or over 16 bits."""
    if image.mode.startswith("I"):
        return _from_16_bit(image)
    if image.mode == "F":
        raise UnreadablePicture("has floating-point pixels; convert it to 8 or 16 bit")
    if image.has_transparency_data:
        layer = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", layer.size, WHITE), layer)
    return image.convert("RGB")


def _from_16_bit(image: Image.Image) -> Image.Image:
    values = np.asarray(image).astype(np.int64)
    if values.min() < 0 or values.max() > 0xFFFF:
        raise UnreadablePicture("has 32-bit pixels; convert it to 8 or 16 bit")
    return Image.fromarray(((values + 128) // 257).astype(np.uint8)).convert("RGB")
