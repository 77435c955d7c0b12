"""Decode videos: survey their frames, and return the picture (RGB, upright) of a chosen one.

A *survey* decodes a video once, one frame at a time, and keeps a thumbnail and the sharpness of the frames that it
looks at; `frame_choice` chooses from these. `VideoReaders` decodes a chosen frame again when its picture is needed.
PyAV (FFmpeg's libraries) does the decoding; it is imported on first use.
"""

from __future__ import annotations

import contextlib
import dataclasses
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from numpy.typing import NDArray

from inpaintkit.data.bars import NO_BARS, Bars, bars_of_video
from inpaintkit.data.frame_choice import THUMB_SIZE, Looks
from inpaintkit.data.hdr import HDR_CURVES, tone_map
from inpaintkit.data.images import UnreadablePicture, check_size

if TYPE_CHECKING:
    import av
    from av.video.frame import VideoFrame

VIDEO_ENDINGS = frozenset([
    ".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".ts", ".mts",
    ".m2ts", ".mpg", ".mpeg", ".vob", ".wmv", ".asf", ".flv", ".f4v",
    ".3gp", ".ogv", ".y4m", ".mxf", ".nut", ".dv",
])  # fmt: skip
# First bytes of the containers whose files may have another ending: (offset, bytes).
VIDEO_MARKS = ((0, b"\x1aE\xdf\xa3"), (8, b"AVI "), (0, b"FLV\x01"), (0, b"\x00\x00\x01\xba"), (0, b"\x30\x26\xb2\x75"))
MOVIE_BRANDS = (
    b"isom", b"iso2", b"iso4", b"iso5", b"iso6", b"mp41", b"mp42", b"avc1", b"qt  ", b"M4V ", b"3gp4", b"3gp5",
)  # fmt: skip
FALL_BACK, SEEK_LEAD = 1.0, 1.0  # s
DECODE_THREADS = 4  # fixed: what is decoded of a damaged stream must not depend on the machine's cores
LOOK_WIDTH = 512  # px; sharpness is measured at this width
HD_HEIGHT = 720  # px; untagged video is BT.709 from here on, BT.601 below
BT601, BT709 = 5, 1  # colour matrices as FFmpeg numbers them
MATRICES = {1: BT709, 4: 4, 5: BT601, 6: BT601, 7: 7, 9: 9, 10: 9}  # by the matrix named in the stream
FULL_RANGE = 2
SCALE_AREA, SCALE_BICUBIC = 32, 4  # FFmpeg's flags for ways to scale ...
EXACT = 0x40000 | 0x80000  # ... and for accurate rounding and the same bits everywhere; PyAV names them since 18

Pixels = NDArray[np.uint8]


@dataclass(frozen=True)
class FrameMark:
    """A frame of a video: its time stamp in the stream's units, its time (s from the first frame), the stamp of
    the key frame that decoding starts from, and a 4 x 4 grid of its brightness (0..255) by which it is recognised."""

    stamp: int
    time: float
    key: int
    grid: tuple[int, ...]


@dataclass(frozen=True)
class Decoded:
    """A decoded frame: RGB `pixels` (h, w, 3), uint8, or uint16 for HDR with transfer `curve`.

    To be shown, it is scaled to `shown_size` (width, height) with square pixels, then turned counter-clockwise.
    """

    pixels: NDArray[Any]
    curve: int
    shown_size: tuple[int, int]
    quarter_turns: int

    def without(self, bars: Bars) -> Decoded:
        """Return the frame without `bars`, which are given for the picture as it is shown."""
        if not any(bars):
            return self
        (height, width), (shown_width, shown_height) = self.pixels.shape[:2], self.shown_size
        lying = bars.turned(-self.quarter_turns)
        size = shown_width - lying.left - lying.right, shown_height - lying.top - lying.bottom
        pixels = lying.scaled(width / shown_width, height / shown_height).cut(self.pixels)
        return Decoded(pixels, self.curve, size, self.quarter_turns)


def is_video(path: Path) -> bool:
    """Return whether `path` claims to be a video, by its ending or else by its first bytes. Never raises."""
    if path.suffix.lower() in VIDEO_ENDINGS:
        return True
    try:
        if not path.is_file():
            return False
        with path.open("rb") as file:
            start = file.read(16)
    except OSError:
        return False
    is_movie = start[4:8] == b"ftyp" and start[8:12] in MOVIE_BRANDS
    return is_movie or any(start[offset:].startswith(mark) for offset, mark in VIDEO_MARKS)


class Stream:
    """An open video. `frames` yields frames in order of time, None where the stream is damaged."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.open()

    def open(self) -> None:
        """Open the file at its first frame; raise `UnreadablePicture` if it holds no video."""
        import av

        try:
            if self.path.stat().st_size == 0:
                raise UnreadablePicture("is empty")
            whole = str(self.path.absolute())  # absolute, because FFmpeg takes what precedes a colon for a protocol
            self.container: av.container.InputContainer = av.open(whole, metadata_errors="replace")
        except (av.error.FFmpegError, OSError) as error:
            raise UnreadablePicture(f"cannot be opened as a video: {error.strerror}") from error
        streams = [s for s in self.container.streams.video if not _is_cover(s)]
        if not streams:
            self.close()
            raise UnreadablePicture("has no video stream, only sound or data")
        self.stream = streams[0]
        if self.stream.codec_context is None:
            self.close()
            raise UnreadablePicture("has pictures in a format that cannot be decoded here; convert it to H.264")
        self.stream.thread_type = "AUTO"
        self.stream.codec_context.thread_count = DECODE_THREADS
        self.frames = self._continuous(self._decode())
        self.position: int | None = None
        self.joined = False  # whether another recording turned out to be appended

    def before(self, stamp: int) -> int:
        """Return a stamp from which seeking leads to `stamp` in MPEG streams (.ts, .mpg, .vob), too.

        In these, seeking goes by the time at which a frame is decoded, which is before it is shown.
        """
        return stamp - round(SEEK_LEAD / float(self.stream.time_base or 1))

    def rewind(self) -> None:
        """Start again from the first frame, for streams in which seeking doesn't work."""
        self.close()
        self.open()

    def close(self) -> None:
        self.container.close()

    def _decode(self) -> Iterator[VideoFrame | None]:
        import av

        packets = self.container.demux(self.stream)
        while True:
            try:
                yield from next(packets).decode()
            except (StopIteration, EOFError):
                return
            except (av.error.FFmpegError, OSError):  # damage; in a truncated file, the packets end after this
                yield None

    def _continuous(self, frames: Iterable[VideoFrame | None]) -> Iterator[VideoFrame | None]:
        """Continue the time where stamps fall back by over `FALL_BACK` s, at an appended recording (.ts, .vob)."""
        offset, step, last = 0, 1, None
        for frame in frames:
            if frame is not None and frame.pts is not None:
                stamp = frame.pts + offset
                unit = float(frame.time_base or self.stream.time_base or 0)
                if last is not None and (last - stamp) * unit > FALL_BACK:
                    offset += last + step - stamp
                    stamp = last + step
                    self.joined = True
                if last is not None and stamp > last:
                    step = stamp - last
                frame.pts = last = stamp
            yield frame

    def seek(self, stamp: int) -> None:
        """Go to the last key frame that isn't after `stamp`."""
        self.container.seek(stamp, stream=self.stream, backward=True)
        self.frames = self._continuous(self._decode())
        self.position = None

    def find(self, stamp: int) -> VideoFrame | None:
        """Decode up to the frame at `stamp` and return it; None if there is none or it is damaged.

        Decoded from another position, a damaged frame may be intact.
        """
        for frame in self.frames:
            if frame is not None and frame.pts is not None:
                self.position = frame.pts
                if frame.pts >= stamp:
                    return frame if frame.pts == stamp and not frame.is_corrupt else None
        return None


def _is_cover(stream: Any) -> bool:
    """Return whether a video stream is only the cover picture of a song."""
    from av.stream import Disposition

    return bool(stream.disposition & Disposition.attached_pic)


def survey(path: Path, max_fps: float, skip_first: float) -> tuple[Looks, list[FrameMark]]:
    """Decode the video `path` once and return its looks and their frame marks.

    There are at most `max_fps` looks a second, from `skip_first` s on. Raises `UnreadablePicture` with the reason if
    there is nothing to look at.
    """
    looks: list[tuple[float, NDArray[np.uint8], float, bool]] = []
    moments: list[FrameMark] = []
    brightest: Pixels | None = None
    kinds = set[tuple[int, int, int]]()
    with contextlib.closing(Stream(path)) as video:
        for frame, time, key, intact in _timed_frames(video):
            if time < skip_first or (moments and time - moments[-1].time < 0.999 / max_fps):
                continue
            thumb, sharpness, grey = look_at(frame)
            if intact:
                kinds.add((frame.width, frame.height, round(frame.rotation / 90)))
                if len(kinds) == 1:
                    size = _shown_size(frame, video.stream)
                    brightest = grey if brightest is None else np.maximum(brightest, grey)
            looks.append((time, thumb, sharpness, intact))
            moments.append(FrameMark(frame.pts or 0, round(time, 6), key, grid_of(thumb)))
        if video.joined:  # only the start can be sought: stamps occur twice, or were raised
            start = video.before(video.stream.start_time or 0)
            moments = [dataclasses.replace(moment, key=start) for moment in moments]
    if not looks:
        raise UnreadablePicture(
            f"has no frame after its first {skip_first:g} s" if skip_first else "has no frame that can be decoded"
        )
    times, thumbs, sharpnesses, intacts = zip(*looks, strict=True)
    # joined recordings of different sizes have no bars in common
    bars = bars_of_video(brightest, size, kinds.pop()[2]) if brightest is not None and len(kinds) == 1 else NO_BARS
    return Looks(np.array(times), np.stack(thumbs), np.array(sharpnesses), np.array(intacts), bars), moments


def example_frame(path: Path) -> Pixels:
    """Return a frame (H, W, 3) from about a third into the video `path`; raise `UnreadablePicture` if there is none."""
    import av

    with contextlib.closing(Stream(path)) as video:
        length = video.stream.duration or 0
        if video.container.duration and not length and video.stream.time_base:  # .mkv, .webm
            length = round(video.container.duration / av.time_base / video.stream.time_base)
        if length:
            with contextlib.suppress(av.error.FFmpegError, OSError):  # a truncated file is read from its start
                video.seek((video.stream.start_time or 0) + length // 3)
        for frame in video.frames:
            if frame is not None and not frame.is_corrupt:
                return frame_picture(decode_pixels(frame, video.stream))
    raise UnreadablePicture("has no frame that can be decoded")


def _timed_frames(video: Stream) -> Iterator[tuple[VideoFrame, float, int, bool]]:
    """Yield (frame, time from the first frame in s, stamp of the last key frame, intact) with rising time."""
    first: int | None = None
    last = key = 0
    intact = True
    for frame in video.frames:
        if frame is None:
            intact = False  # the frames up to the next key frame may refer to what is missing
            continue
        if frame.pts is None:
            raise UnreadablePicture("has no time stamps; put the stream into a container such as .mp4 or .mkv")
        if first is not None and frame.pts <= last:
            continue
        if frame.key_frame:
            key, intact = frame.pts, True
        if frame.is_corrupt:
            intact = False
        if first is None:
            check_size(*_shown_size(frame, video.stream))
            first, key = frame.pts, frame.pts
        last = frame.pts
        unit = float(frame.time_base or video.stream.time_base or 0)
        yield frame, (frame.pts - first) * unit, key, intact


def _shown_size(frame: VideoFrame, stream: Any) -> tuple[int, int]:
    """Return (width, height) in square pixels, before rotation."""
    ratio = float(stream.sample_aspect_ratio or 1)
    return max(round(frame.width * ratio), 1), frame.height


def look_at(frame: VideoFrame) -> tuple[NDArray[np.uint8], float, Pixels]:
    """Return a thumbnail (18, 32) of the brightness of `frame`, its sharpness, and the brightness (h, `LOOK_WIDTH`).

    Sharpness is the energy of the Laplacian divided by the variance, so that contrast doesn't matter. All sums are of
    integers, hence the same on every machine.
    """
    height = max(round(frame.height * LOOK_WIDTH / frame.width), THUMB_SIZE[0])
    grey = _convert(frame, "gray", LOOK_WIDTH, height)
    rows, columns = (np.arange(n) * size // n for n, size in zip(THUMB_SIZE, grey.shape, strict=True))
    sums = np.add.reduceat(np.add.reduceat(grey.astype(np.int64), rows, 0), columns, 1)
    counts = np.diff([*rows, grey.shape[0]])[:, None] * np.diff([*columns, grey.shape[1]])
    edges = cv2.Laplacian(grey, cv2.CV_16S).astype(np.int64)
    values = grey.astype(np.int64)
    variance = int((values * values).sum()) / grey.size - (int(values.sum()) / grey.size) ** 2
    return (sums // counts).astype(np.uint8), int((edges * edges).sum()) / grey.size / max(variance, 1.0), grey


def grid_of(thumb: NDArray[np.uint8]) -> tuple[int, ...]:
    rows, columns = (np.array_split(np.arange(n), 4) for n in THUMB_SIZE)
    return tuple(int(thumb[np.ix_(r, c)].mean()) for r in rows for c in columns)


def _convert(frame: VideoFrame, format: str, width: int, height: int) -> NDArray[Any]:
    """Return `frame` in a pixel format and size, by the colour matrix that it names and in full range, bit-exactly.

    Raises `UnreadablePicture` for a frame that can't be converted.
    """
    how = SCALE_AREA if width < frame.width else SCALE_BICUBIC
    untagged = BT709 if frame.height >= HD_HEIGHT else BT601
    matrix = MATRICES.get(int(frame.colorspace), untagged)
    try:
        converted = frame.reformat(
            width, height, format, src_colorspace=matrix, dst_colorspace=matrix, interpolation=how | EXACT,
            dst_color_range=FULL_RANGE, threads=1,
        )  # fmt: skip
    except (ValueError, OSError) as error:  # FFmpeg can decode a few formats that it can't convert
        raise UnreadablePicture(f"has pixels in the format {frame.format.name}, which cannot be converted") from error
    return converted.to_ndarray()


def decode_pixels(frame: VideoFrame, stream: Any) -> Decoded:
    """Return `frame` as RGB of its own size; of an interlaced frame, one field is scaled to it."""
    curve = int(stream.codec_context.color_trc)
    pixels = _convert(frame, "rgb48le" if curve in HDR_CURVES else "rgb24", frame.width, frame.height)
    if frame.interlaced_frame:
        pixels = cv2.resize(pixels[::2], (frame.width, frame.height), interpolation=cv2.INTER_LINEAR)
    return Decoded(pixels, curve, _shown_size(frame, stream), round(frame.rotation / 90) % 4)


def frame_picture(decoded: Decoded, short_side: int | None = None) -> Pixels:
    """Return a frame as (H, W, 3) uint8 RGB, upright, with square pixels, HDR converted to SDR.

    With `short_side` (px), it is halved as often as its own short side stays at or above that.
    """
    pixels, (width, height) = decoded.pixels, decoded.shown_size
    halvings = int(math.log2(max(min(width, height) / short_side, 1))) if short_side else 0
    size = (width >> halvings, height >> halvings)
    if size != pixels.shape[1::-1]:
        pixels = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA if halvings else cv2.INTER_LINEAR)
    if decoded.curve in HDR_CURVES:
        pixels = tone_map(pixels, decoded.curve)
    return np.ascontiguousarray(np.rot90(pixels, decoded.quarter_turns))
