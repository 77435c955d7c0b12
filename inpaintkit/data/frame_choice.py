"""Choose frames of a video: sharp ones, a share from every scene, none at a cut, no two alike.

The choice is made from a survey of the video (`Looks`), without random numbers: the same video gives the same frames.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from inpaintkit.data.bars import NO_BARS, Bars

THUMB_SIZE = (18, 32)  # rows and columns of a thumbnail
# In brightness levels (0..255), as means over a thumbnail:
DARKEST, FLATTEST = 16, 5  # mean and deviation below which a frame is black or blank
CUT_STEP = 18  # a larger step from one look to the next may be a cut ...
CUT_RATIO = 2.5  # ... if it is this many times the usual step around it: motion goes on, a cut doesn't
BLEND_SPAN = 10  # least difference between before and after a blend
BLEND_RESIDUAL = 0.2  # share of that difference by which a blend may deviate from a mixture of before and after
BLEND_SIDE = 0.1  # least share of the weaker picture in a blend
BLEND_SECONDS = (0.25, 0.5)  # distances to before and after at which blends are looked for
MOVED = 0.65  # share of that difference that a pan or zoom leaves unexplained; a blend has more, a moving picture less
BLEND_BLOCK = 1024  # looks at a time: bounds the memory for a whole film
TWO_VIEWS = 0.8  # correlation of two halves; stereo pairs have 0.93 or more, the shipped photos 0.23 or less
SAME_PICTURE = 2.5  # two frames that differ by less are near-duplicates
BLURRED = 0.006  # least sharpness; photos have 0.03 to 1.5, those blurred by 5 px at 1080p 0.001 to 0.03
BLURRED_BESIDE = 0.2  # least sharpness as a share of its scene's upper quartile: finds motion blur, focus pulls


@dataclass(frozen=True)
class Looks:
    """The frames of a video that were looked at, and its black bars.

    `times` (n,) in s, `thumbs` (n, 18, 32) uint8, `sharpness` (n,), `intact` (n,) bool: False where damaged.
    """

    times: NDArray[np.float64]
    thumbs: NDArray[np.uint8]
    sharpness: NDArray[np.float64]
    intact: NDArray[np.bool_]
    bars: Bars = NO_BARS

    def __len__(self) -> int:
        return len(self.times)


@dataclass(frozen=True)
class Choice:
    """The frames chosen from a video.

    `taken`: indices of the looks, in order of time; `scenes`: number of scenes with usable looks; `left_out`: number of
    looks left out, by reason; of near-duplicates, number of parts of a scene that gave no look, see `choose_frames`.
    """

    taken: tuple[int, ...]
    scenes: int
    left_out: dict[str, int]


def choose_frames(looks: Looks, interval: float, count: int | None) -> Choice:
    """Choose about one look per `interval` s, at least one of each scene; with `count`, that many in all, if there are.

    Each scene gets a share by its length, and is divided into as many parts. Of each part, the sharpest look is taken
    that differs from all those taken before.
    """
    cuts, blends = find_cuts(looks), find_blends(looks)
    scene = number_scenes(cuts, blends)
    dull = is_black_or_blank(looks)
    at_cut = blends | cuts | np.append(cuts[1:], False)
    blurred = is_blurred(looks, scene)
    shown = looks.intact & ~dull & ~at_cut
    fit = shown & ~blurred
    lengths = look_lengths(looks.times)
    scenes = [members for s in np.unique(scene) if len(members := np.flatnonzero((scene == s) & fit))]
    weights = [float(lengths[shown & (scene == scene[members[0]])].sum()) for members in scenes]
    wanted = count if count is not None else max(len(scenes), round(sum(weights) / interval))
    parts = [
        part
        for members, n in zip(scenes, share_out(weights, wanted), strict=True)
        for part in split_evenly(members, lengths, n)
    ]
    taken = take_sharpest(parts, looks)
    reasons = {
        "damaged": ~looks.intact,
        "black or blank": looks.intact & dull,
        "at a cut or in a blend": looks.intact & ~dull & at_cut,
        "blurred": shown & blurred,
    }
    left_out = {reason: int(mask.sum()) for reason, mask in reasons.items()}
    left_out["near-duplicates"] = len(parts) - len(taken)
    return Choice(tuple(sorted(taken)), len(scenes), {reason: n for reason, n in left_out.items() if n})


def difference(a: NDArray[np.uint8], b: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Return the mean absolute difference of thumbnails (..., 18, 32), in levels."""
    return np.asarray(np.abs(a.astype(np.int16) - b.astype(np.int16)).mean((-2, -1)))


def find_two_views(thumbs: NDArray[np.uint8]) -> str | None:
    """Return how two views lie in all `thumbs` (n, 18, 32): ``side by side`` or ``one above the other``; else None."""
    found = {}
    for place, axis in (("side by side", 2), ("one above the other", 1)):
        first, second = (_detail(half) for half in np.split(thumbs, 2, axis))
        across = [first[..., 1:] * second[..., :-1], first * second, first[..., :-1] * second[..., 1:]]
        found[place] = max(float(both.mean()) for both in across) / max(float((first**2 + second**2).mean() / 2), 1.0)
    place = max(found, key=found.__getitem__)
    return place if found[place] > TWO_VIEWS else None


def _detail(thumbs: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Return `thumbs` (n, h, w) minus the means of their rows and columns: sky above land looks alike everywhere."""
    rows, columns = thumbs.mean(2, keepdims=True), thumbs.mean(1, keepdims=True)
    return np.asarray(thumbs - rows - columns + rows.mean(1, keepdims=True))


def look_lengths(times: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return how long each look lasts (s): until the next one; for the last, the median."""
    if len(times) < 2:
        return np.ones(len(times))
    steps = np.diff(times)
    return np.append(steps, np.median(steps))


def find_cuts(looks: Looks) -> NDArray[np.bool_]:
    """Return (n,) bool: True where a look is the first after a cut."""
    steps = np.append(0.0, difference(looks.thumbs[1:], looks.thumbs[:-1]))
    around = np.lib.stride_tricks.sliding_window_view(np.pad(steps, 3, mode="reflect"), 7)
    usual = np.median(np.delete(around, 3, axis=1), axis=1)
    return np.asarray((steps > CUT_STEP) & (steps > CUT_RATIO * usual))


def find_blends(looks: Looks) -> NDArray[np.bool_]:
    """Return (n,) bool: True where a look is a mixture of an earlier and a later one (dissolves and fades)."""
    found = np.zeros(len(looks), bool)
    for start in range(0, len(looks), BLEND_BLOCK):
        block = np.arange(start, min(start + BLEND_BLOCK, len(looks)))
        for reach in BLEND_SECONDS:
            before = np.searchsorted(looks.times, looks.times[block] - reach)
            after = np.searchsorted(looks.times, looks.times[block] + reach, side="right") - 1
            three = looks.thumbs[before], looks.thumbs[block], looks.thumbs[after]
            found[block] |= is_mixture(*three) & ~is_moved(*three)
    return found


def is_mixture(before: NDArray[np.uint8], here: NDArray[np.uint8], after: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Return (n,) bool: True where thumbnail `here` (n, 18, 32) is a mixture of `before` and `after`."""
    start = before.reshape(len(before), -1).astype(np.float32)
    way, gone = after.reshape(start.shape) - start, here.reshape(start.shape) - start
    share = (way * gone).sum(1) / np.maximum((way * way).sum(1), 1e-6)
    span = np.abs(way).mean(1)
    residual = np.abs(gone - share[:, None] * way).mean(1)
    between = (share > BLEND_SIDE) & (share < 1 - BLEND_SIDE)
    return np.asarray(between & (span > BLEND_SPAN) & (residual < BLEND_RESIDUAL * span))


def is_moved(before: NDArray[np.uint8], here: NDArray[np.uint8], after: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Return (n,) bool: True where thumbnail `here` (n, 18, 32) pans or zooms between `before` and `after`.

    The motion must explain the change better than a fade does: a picture that moved by less than a thumbnail's pixel
    looks like a mixture, too.
    """
    start, middle, end = (_smoothed(thumbs) for thumbs in (before, here, after))
    down, right = np.asarray(np.gradient(middle, axis=1)), np.asarray(np.gradient(middle, axis=2))
    rows, columns = (np.arange(size) - (size - 1) / 2 for size in middle.shape[1:])
    moves = right, down, columns * right + rows[:, None] * down
    unexplained = _unexplained(end - start, moves)
    return (unexplained < MOVED) & (unexplained < _unexplained(end - start, (middle, np.ones_like(middle))))


def _smoothed(thumbs: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Return the means of 2x2 pixels (n, 17, 31): differences of neighbours are poor gradients in fine texture."""
    beside = thumbs[:, :, :-1].astype(np.float64) + thumbs[:, :, 1:]
    return np.asarray((beside[:, :-1] + beside[:, 1:]) / 4)


def _unexplained(change: NDArray[np.float64], parts: tuple[NDArray[np.float64], ...]) -> NDArray[np.float64]:
    """Return the share (n,) of `change` (n, h, w) that no linear combination of `parts` explains (least squares)."""
    basis = np.stack([part.reshape(len(change), -1) for part in parts], 2)
    target = change.reshape(len(change), -1, 1)
    turned = basis.transpose(0, 2, 1)
    factors = np.linalg.solve(turned @ basis + 1e-3 * np.eye(len(parts)), turned @ target)
    return np.asarray(np.abs(target - basis @ factors).mean((1, 2)) / np.maximum(np.abs(target).mean((1, 2)), 1e-6))


def number_scenes(cuts: NDArray[np.bool_], blends: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Return the number of each look's scene; a cut and the end of a blend begin a new one."""
    after_blend = np.append(False, blends[:-1]) & ~blends
    return np.cumsum(cuts | after_blend)


def is_black_or_blank(looks: Looks) -> NDArray[np.bool_]:
    """Return (n,) bool: True for looks that are almost black or almost uniform."""
    values = looks.thumbs.reshape(len(looks), -1)
    return np.asarray((values.mean(1) < DARKEST) | (values.std(1) < FLATTEST))


def is_blurred(looks: Looks, scene: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Return (n,) bool: True for looks that are blurred, in themselves or compared with others of their scene."""
    limits = np.full(len(looks), BLURRED)
    for number in np.unique(scene):
        members = scene == number
        limits[members] = max(BLURRED, BLURRED_BESIDE * float(np.quantile(looks.sharpness[members], 0.75)))
    return np.asarray(looks.sharpness < limits)


def share_out(weights: list[float], count: int) -> list[int]:
    """Return how many of `count` each scene gets: one each, the longest first, then by `weights` (Webster's method).

    >>> share_out([6.0, 3.0, 1.0], 2), share_out([6.0, 3.0, 1.0], 10)
    ([1, 1, 0], [6, 3, 1])
    """
    order = sorted(range(len(weights)), key=lambda i: (-weights[i], i))
    shares = np.zeros(len(weights), np.int64)
    shares[order[:count]] = 1
    for _ in range(count - len(weights) if weights else 0):
        shares[np.argmax(np.array(weights) / (2 * shares + 1))] += 1
    return [int(share) for share in shares]


def split_evenly(members: NDArray[np.int64], lengths: NDArray[np.float64], n: int) -> list[NDArray[np.int64]]:
    """Split the looks `members` into at most `n` runs of about equal duration, none of them empty."""
    ends = np.cumsum(lengths[members])
    middles = ends - lengths[members] / 2
    part = np.minimum((middles / ends[-1] * n).astype(np.int64), n - 1)
    return [members[part == p] for p in range(n) if (part == p).any()]


def take_sharpest(parts: list[NDArray[np.int64]], looks: Looks) -> list[int]:
    """Return the sharpest look of each part that is no near-duplicate of one taken before, if there is one.

    It is at least half the part's duration later than the one before.
    """
    taken: list[int] = []
    for part in parts:
        times = looks.times[part]
        soonest = looks.times[taken[-1]] + (times[-1] - times[0]) / 2 if taken else -np.inf
        late = part[times >= soonest]
        for look in late[np.argsort(-looks.sharpness[late], kind="stable")]:
            if not taken or difference(looks.thumbs[taken], looks.thumbs[look]).min() >= SAME_PICTURE:
                taken.append(int(look))
                break
    return taken
