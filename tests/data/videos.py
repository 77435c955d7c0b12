"""Real videos, made with PyAV from the shipped photos when a test needs them."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
from av.stream import Disposition
from numpy.typing import NDArray
from PIL import Image
from toy_files import SAMPLES

FPS = 12
CLOCK = 12000  # ticks a second
BIT_RATE = 4_000_000
ENCODE_THREADS = 2  # by default one per core, and x264's files depend on their number
MATRIX_OFFSET = 44  # bytes from the name of a track header (version 0) to its matrix

LUMA = {1: (0.2126, 0.0722), 5: (0.299, 0.114), 6: (0.299, 0.114), 9: (0.2627, 0.0593)}  # red's and blue's, by matrix

Frame = NDArray[np.uint8]


def scene(photo: str, count: int, size: tuple[int, int] = (256, 192), travel: float = 0.3) -> Iterator[Frame]:
    """Yield `count` frames (height, width, 3) of a camera moving over a shipped photo (e.g. ``train/dahlia``)."""
    with Image.open(SAMPLES / f"{photo}.jpg") as image:
        image.thumbnail((size[0] * 2, size[1] * 2))
        pixels = np.asarray(image.convert("RGB"))
    width, height = size
    if pixels.shape[0] < height * 1.3 or pixels.shape[1] < width * 1.3:
        scale = max(height * 1.3 / pixels.shape[0], width * 1.3 / pixels.shape[1])
        pixels = cv2.resize(pixels, None, fx=scale, fy=scale, interpolation=cv2.INTER_CUBIC)
    for number in range(count):
        share = travel * number / max(count - 1, 1)
        left, top = round((pixels.shape[1] - width) * share), round((pixels.shape[0] - height) * share)
        yield np.ascontiguousarray(pixels[top : top + height, left : left + width])


def still(frame: Frame, count: int) -> Iterator[Frame]:
    yield from (frame for _ in range(count))


def black(count: int, size: tuple[int, int] = (256, 192)) -> Iterator[Frame]:
    yield from still(np.zeros((size[1], size[0], 3), np.uint8), count)


def blurred(frames: Iterable[Frame], sigma: float = 6) -> Iterator[Frame]:
    yield from (cv2.GaussianBlur(frame, (0, 0), sigma) for frame in frames)


def dissolve(before: Frame, after: Frame, count: int) -> Iterator[Frame]:
    """Yield `count` blends of two frames, from the first to the second."""
    for number in range(1, count + 1):
        yield cv2.addWeighted(after, number / (count + 1), before, 1 - number / (count + 1), 0)


def write_video(
    path: Path,
    frames: Iterable[Frame],
    codec: str = "libx264",
    pixel_format: str = "yuv420p",
    times: Iterable[float] | None = None,
    rotation: float = 0,
    options: dict[str, str] | None = None,
    colours: tuple[int, int, int] | None = None,
    gop: int = 24,
) -> Path:
    """Encode RGB `frames` (uint8, or uint16 for 10 bit) into `path`; `times` (s) instead of a constant rate.

    `colours`: matrix, transfer curve and primaries to tag, as FFmpeg numbers them.
    """
    moments = iter(times) if times is not None else (number / FPS for number in range(10**9))
    with av.open(str(path), "w") as container:
        stream = None
        for pixels in frames:
            matrix = colours[0] if colours else 5
            if stream is None:
                stream = container.add_stream(codec, rate=FPS, options=options or {})
                stream.height, stream.width, stream.pix_fmt = *pixels.shape[:2], pixel_format
                stream.codec_context.time_base = Fraction(1, CLOCK if times is not None else FPS)
                stream.codec_context.gop_size, stream.bit_rate = gop, BIT_RATE
                stream.codec_context.thread_count = ENCODE_THREADS
                if colours:
                    context = stream.codec_context
                    context.colorspace, context.color_trc, context.color_primaries = colours
            picture = av.VideoFrame.from_ndarray(to_yuv(pixels, matrix), "yuv444p16le").reformat(format=pixel_format)
            picture.time_base = stream.codec_context.time_base
            picture.pts = round(next(moments) / picture.time_base)
            for packet in stream.encode(picture):
                container.mux(packet)
        if stream is not None:
            for packet in stream.encode():
                container.mux(packet)
    if rotation:
        turn_movie(path, rotation)
    return path


def to_yuv(pixels: NDArray[Any], matrix: int) -> NDArray[np.uint16]:
    """Return RGB (H, W, 3) as 16-bit Y'CbCr (H, W, 3) of limited range; PyAV before 18 doesn't support BT.2020."""
    r, g, b = np.moveaxis(pixels / float(np.iinfo(pixels.dtype).max), -1, 0)
    red, blue = LUMA[matrix]
    y = red * r + (1 - red - blue) * g + blue * b
    cb, cr = (b - y) / (2 - 2 * blue), (r - y) / (2 - 2 * red)
    values = np.stack([16 + 219 * y, 128 + 224 * cb, 128 + 224 * cr], -1) * 256
    return (np.clip(values, 0, 0xFFFF) + 0.5).astype(np.uint16)


def turn_movie(path: Path, degrees: float) -> None:
    """Set the track header of an mp4 file so that its pictures are shown turned counter-clockwise."""
    data = bytearray(path.read_bytes())
    cos, sin = round(np.cos(np.radians(degrees))), round(np.sin(np.radians(degrees)))
    place = data.index(b"tkhd") + MATRIX_OFFSET
    data[place : place + 20] = struct.pack(">5i", cos << 16, -sin << 16, 0, sin << 16, cos << 16)
    path.write_bytes(data)


def write_sound(path: Path, cover: Frame | None = None) -> Path:
    """Write half a second of sound without pictures, except for an album `cover`."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=44100, layout="mono")
        if cover is not None:
            front = container.add_stream("mjpeg", rate=1)
            front.height, front.width, front.pix_fmt = *cover.shape[:2], "yuvj420p"
            front.disposition = Disposition.attached_pic
            picture = av.VideoFrame.from_ndarray(cover, "rgb24").reformat(format="yuvj420p")
            for packet in [*front.encode(picture), *front.encode()]:
                container.mux(packet)
        tone = (np.sin(np.arange(22050) / 10) * 8000).astype(np.int16)[None]
        frame = av.AudioFrame.from_ndarray(tone, "s16", "mono")
        frame.sample_rate = 44100
        for packet in [*stream.encode(frame), *stream.encode()]:
            container.mux(packet)
    return path
