"""Build one file of every odd kind that a folder of pictures may hold, with the expected result for each."""

from __future__ import annotations

import io
import os
import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

SIZE = (160, 120)
LONG_NAME = "n" * 246 + ".jpg"  # 250 of the 255 bytes that file systems allow


def photo(size: tuple[int, int] = SIZE, seed: int = 0) -> Image.Image:
    """Return a smooth coloured RGB picture of `size` (width, height), different for each `seed`."""
    x, y = np.meshgrid(np.linspace(0, 6, size[0]), np.linspace(0, 4, size[1]))
    channels = [127 + 120 * np.sin(x * (k + 1) / 2 + y + seed) for k in range(3)]
    return Image.fromarray(np.stack(channels, axis=-1).astype(np.uint8))


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def png_chunk(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


def png_of_size(width: int, height: int) -> bytes:
    """Return a PNG file that claims `width` x `height` px but holds no pixels."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + png_chunk(b"IHDR", header)
        + png_chunk(b"IDAT", zlib.compress(b""))
        + png_chunk(b"IEND", b"")
    )


def good_files() -> dict[str, bytes]:
    """Return odd files (by name) that must become pictures."""
    image = photo()
    exif = Image.Exif()
    exif[0x0112] = 6
    grey16 = Image.fromarray(np.asarray(image.convert("L")).astype(np.uint16) * 257)
    clear = image.copy()
    clear.putalpha(Image.linear_gradient("L").resize(SIZE))
    frames = [photo(seed=1), photo(seed=2)]
    return {
        "plain.jpg": encoded(image, "JPEG", quality=95),
        "rotated_by_exif.jpg": encoded(image, "JPEG", exif=exif),
        "broken_exif.jpg": encoded(image, "JPEG", exif=b"Exif\0\0II*\0\xff\xff\xff\xff"),
        "cmyk.jpg": encoded(image.convert("CMYK"), "JPEG"),
        "grey.jpg": encoded(image.convert("L"), "JPEG"),
        "progressive.jpg": encoded(image, "JPEG", progressive=True),
        "wrong_profile.jpg": encoded(image, "JPEG", icc_profile=b"no profile at all"),
        "grey_16_bit.png": encoded(grey16, "PNG"),
        "one_bit.png": encoded(image.convert("1"), "PNG"),
        "palette.png": encoded(image.quantize(256), "PNG"),
        "palette_with_alpha.png": encoded(image.quantize(16), "PNG", transparency=bytes(range(0, 256, 16))),
        "alpha.png": encoded(clear, "PNG"),
        "grey_with_alpha.png": encoded(clear.convert("LA"), "PNG"),
        "animated.gif": encoded(frames[0], "GIF", save_all=True, append_images=frames[1:]),
        "animated.webp": encoded(frames[0], "WEBP", save_all=True, append_images=frames[1:], lossless=True),
        "animated.png": encoded(frames[0], "PNG", save_all=True, append_images=frames[1:]),
        "pages.tif": encoded(frames[0], "TIFF", save_all=True, append_images=frames[1:]),
        "grey_16_bit.tif": encoded(grey16, "TIFF"),
        "jpeg_named.png": encoded(image, "JPEG"),
        "png_named.jpeg": encoded(image, "PNG"),
        "no_extension": encoded(image, "PNG"),
        "bitmap.bmp": encoded(image, "BMP"),
        "Grüße aus 京都 🦊.jpg": encoded(photo(seed=3), "JPEG"),
        LONG_NAME: encoded(photo(seed=4), "JPEG"),
        "trailing_rubbish.jpg": encoded(image, "JPEG") + b"rubbish" * 100,
    }


def bad_files() -> dict[str, tuple[bytes, str]]:
    """Return odd files (by name) that must be refused, with a part of the reason."""
    jpeg, png = encoded(photo(), "JPEG"), encoded(photo(), "PNG")
    flipped = bytearray(png)
    flipped[len(png) // 2] ^= 0xFF
    return {
        "zero_bytes.jpg": (b"", "is empty"),
        "rgb_16_bit.jp2": (
            cv2.imencode(".jp2", np.full((100, 100, 3), 0xFFFF, np.uint16))[1].tobytes(),
            "more than 8 bits, whose white comes out black",
        ),
        "truncated.jpg": (jpeg[: len(jpeg) // 2], "cannot be decoded"),
        "truncated.png": (png[: len(png) // 2], "cannot be decoded"),
        "header_only.jpg": (jpeg[:20], "not a picture"),
        "flipped_byte.png": (bytes(flipped), "cannot be decoded"),
        "text.jpg": (b"this is no picture", "not a picture"),
        "page.html": (b"<html>404</html>", "not a picture"),
        "random.png": (np.random.default_rng(0).bytes(4000), "not a picture"),
        "postscript.eps": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 200 200\nshowpage\n", "not a picture"),
        "bomb.png": (png_of_size(100_000, 50_000), "megapixels"),
        "too_large.png": (png_of_size(12_000, 11_000), "megapixels"),
        "one_pixel.png": (encoded(photo((1, 1)), "PNG"), "1x1"),
        "small.png": (encoded(photo((63, 63)), "PNG"), "under 64"),
        "one_to_ten.jpg": (encoded(photo((1000, 100)), "JPEG"), "more than 3 times"),
        "ten_to_one.jpg": (encoded(photo((100, 1000)), "JPEG"), "more than 3 times"),
        "float.tif": (
            encoded(Image.fromarray(np.random.default_rng(0).random((100, 100), np.float32)), "TIFF"),
            "floating",
        ),
        "new.jxl": (b"\0\0\0\x0cJXL \r\n\x87\n", "JPEG XL"),
        "raw.dng": (encoded(photo(), "TIFF", tiffinfo={254: 1}), "raw photo"),
        "float_colours.tif": (
            cv2.imencode(".tif", np.zeros((100, 100, 3), np.float32))[1].tobytes(),
            "TIFF of a kind that can't be read",
        ),
        "32_bit.tif": (encoded(Image.fromarray(np.full((100, 100), 1 << 20, np.int32)), "TIFF"), "32-bit"),
    }


def build_special(folder: Path) -> dict[str, str]:
    """Put entries that aren't regular files into `folder`; return a part of the refusal's reason for each name."""
    os.symlink("/tmp", folder / "directory.png")
    os.symlink("loop_b.jpg", folder / "loop_a.jpg")
    os.symlink("loop_a.jpg", folder / "loop_b.jpg")
    os.symlink("nowhere.jpg", folder / "dangling.jpg")
    os.mkfifo(folder / "pipe.png")
    reasons = {
        "directory.png": "is a link to a folder",
        "loop_a.jpg": "cannot be read",
        "loop_b.jpg": "cannot be read",
        "dangling.jpg": "cannot be read",
        "pipe.png": "not a regular file",
    }
    if Path("/proc/self/mem").exists():
        os.symlink("/proc/self/mem", folder / "read_error.jpg")
        reasons["read_error.jpg"] = "cannot be read"
    if os.geteuid() != 0:  # root reads everything
        (folder / "forbidden.jpg").write_bytes(encoded(photo(), "JPEG"))
        (folder / "forbidden.jpg").chmod(0)
        reasons["forbidden.jpg"] = "cannot be read"
    return reasons
