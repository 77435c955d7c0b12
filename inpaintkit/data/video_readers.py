"""Read the chosen frames of videos, from a pool of open videos that threads share."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from inpaintkit.data.images import UnreadablePicture
from inpaintkit.data.video import Decoded, FrameMark, Stream, decode_pixels, grid_of, look_at

if TYPE_CHECKING:
    from av.video.frame import VideoFrame

SAME_LOOK = 2  # levels by which a frame decoded again may differ from the surveyed one (other decoder builds)


class VideoReaders:
    """A pool of open videos, each used by one thread at a time: a later frame is read without opening its video again.

    At most `limit` idle videos stay open.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._idle = list[Stream]()
        self._lock = threading.Lock()

    def read(self, path: Path, moment: FrameMark) -> Decoded:
        """Return the frame at `moment`; raise `UnreadablePicture` if the surveyed frame can't be found again."""
        video = self._borrow(path, moment)
        try:
            decoded = decode_pixels(_find_again(video, moment), video.stream)
        except BaseException:
            video.close()
            raise
        self._give_back(video)
        return decoded

    def close(self) -> None:
        with self._lock:
            while self._idle:
                self._idle.pop().close()

    def _borrow(self, path: Path, moment: FrameMark) -> Stream:
        with self._lock:
            fitting = [v for v in self._idle if v.path == path and _is_ahead(v, moment)]
            video = max(fitting, key=lambda v: v.position or 0, default=None)
            if video is not None:
                self._idle.remove(video)
                return video
        return Stream(path)

    def _give_back(self, video: Stream) -> None:
        with self._lock:
            self._idle.append(video)
            if len(self._idle) > self._limit:
                self._idle.pop(0).close()


def _is_ahead(video: Stream, moment: FrameMark) -> bool:
    """Return whether the way to `moment` from the current position is no longer than from its key frame."""
    return video.position is not None and moment.key <= video.position < moment.stamp


def _find_again(video: Stream, moment: FrameMark) -> VideoFrame:
    """Decode the frame at `moment`: from here, else from its key frame or an earlier one, else from the start."""
    import av

    ways: list[Callable[[], object]] = [
        lambda: video.seek(moment.key),
        lambda: video.seek(video.before(moment.key)),
        video.rewind,
    ]
    if _is_ahead(video, moment):
        ways.insert(0, lambda: None)
    for go in ways:
        try:
            go()
            frame = video.find(moment.stamp)
        except (av.error.FFmpegError, OSError):
            continue
        if frame is not None and _looks_like(frame, moment):
            return frame
    raise UnreadablePicture(f"can't be decoded again at {moment.time:.3f} s")


def _looks_like(frame: VideoFrame, moment: FrameMark) -> bool:
    grid = grid_of(look_at(frame)[0])
    return all(abs(a - b) <= SAME_LOOK for a, b in zip(grid, moment.grid, strict=True))
