"""Videos as sources: which frames are taken, that they look right, and that odd files are reported with a reason."""

from __future__ import annotations

import contextlib
import dataclasses
import shutil
from collections.abc import Callable
from fractions import Fraction
from itertools import chain
from pathlib import Path

import av
import cv2
import numpy as np
import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from test_generate import contents
from videos import FPS, SAMPLES, Frame, black, blurred, dissolve, scene, still, write_sound, write_video

from inpaintkit.config import GenerateConfig
from inpaintkit.data.frame_choice import choose_frames, share_out, split_evenly
from inpaintkit.data.generate import GenerateReport, generate_dataset
from inpaintkit.data.hdr import BT2020_TO_BT709, HLG, PQ, tone_map
from inpaintkit.data.images import UnreadablePicture
from inpaintkit.data.manifest import is_record, read_manifest
from inpaintkit.data.sources import plan_video, split_files
from inpaintkit.data.video import FrameMark, Stream, example_frame, frame_picture, grid_of, is_video, look_at, survey
from inpaintkit.data.video_readers import SAME_LOOK, VideoReaders
from inpaintkit.errors import InputError

NAME = "v_FastDepth"
TwoScenes = tuple[Path, list[Frame]]
Made = tuple[Path, GenerateReport]
CODECS = {
    "libx264": ("yuv420p", "mp4"),
    "libx265": ("yuv420p10le", "mkv"),
    "libvpx-vp9": ("yuv420p", "webm"),
    "libsvtav1": ("yuv420p10le", "mp4"),
    "mpeg4": ("yuv420p", "avi"),
    "mpeg2video": ("yuv420p", "ts"),
    "prores_ks": ("yuv422p10le", "mov"),
    "ffv1": ("yuv444p", "mkv"),
    "mjpeg": ("yuvj420p", "mov"),
}
QUIET = {"libx265": {"x265-params": "log-level=none"}, "libsvtav1": {"svtav1-params": "lookahead=0"}}
LOSSLESS = {"qp": "0"}


def taken(path: Path, interval: float = 1.0, count: int | None = None, max_fps: float = 8.0) -> list[FrameMark]:
    """Return the moments that are taken from a video."""
    looks, moments = survey(path, max_fps, 0.0)
    return [moments[index] for index in choose_frames(looks, interval, count).taken]


def picture_at(path: Path, moment: FrameMark) -> Frame:
    readers = VideoReaders(0)
    return frame_picture(readers.read(path, moment))


def refusal(path: Path) -> str:
    with pytest.raises(UnreadablePicture) as error:
        survey(path, 8.0, 0.0)
    return str(error.value)


@pytest.fixture(scope="module")
def two_scenes(tmp_path_factory: pytest.TempPathFactory) -> TwoScenes:
    """Return a lossless video of two scenes of two seconds each, and its frames."""
    frames = [*scene("train/dahlia", 2 * FPS), *scene("train/cat_face", 2 * FPS)]
    path = tmp_path_factory.mktemp("two_scenes") / "two.mkv"
    return write_video(path, frames, pixel_format="yuv444p", options=LOSSLESS, gop=9), frames


class TestReading:
    @pytest.mark.parametrize("codec", CODECS)
    def test_frames_look_as_they_did_before_encoding(self, codec: str, tmp_path: Path) -> None:
        pixel_format, ending = CODECS[codec]
        frames = list(scene("train/dahlia", FPS))
        path = tmp_path / f"clip.{ending}"
        write_video(path, frames, codec, pixel_format, options=QUIET.get(codec), gop=6)
        _, moments = survey(path, 100.0, 0.0)
        assert len(moments) == FPS
        for number in (10, 3):
            seen = picture_at(path, moments[number]).astype(int)
            assert np.abs(seen - frames[number]).mean() < 6  # each codec loses something
            others = [np.abs(seen - frames[n]).mean() for n in (number - 2, number + 1)]
            assert np.abs(seen - frames[number]).mean() < min(others)

    def test_colours_follow_the_matrix_that_the_stream_names(self, tmp_path: Path) -> None:
        frame = next(scene("train/dahlia", 1))
        for matrix in (1, 6, 9):
            path = tmp_path / f"{matrix}.mkv"
            write_video(path, [frame] * 3, pixel_format="yuv444p", options=LOSSLESS, colours=(matrix, 1, 1))
            assert np.abs(picture_at(path, taken(path)[0]).astype(int) - frame).max() <= 3

    @pytest.mark.parametrize("degrees", [90, 180, -90])
    def test_rotation_of_the_camera_is_applied(self, degrees: int, tmp_path: Path) -> None:
        frame = next(scene("train/dahlia", 1))
        path = write_video(
            tmp_path / "turned.mp4", [frame] * 3, pixel_format="yuv444p", options=LOSSLESS, rotation=degrees
        )
        expected = np.rot90(frame, degrees // 90)
        assert np.abs(picture_at(path, taken(path)[0]).astype(int) - expected).max() <= 3

    @pytest.mark.parametrize("curve", [PQ, HLG])
    def test_hdr_comes_out_as_it_would_look_on_an_ordinary_screen(self, curve: int, tmp_path: Path) -> None:
        frame = next(scene("train/dahlia", 1))
        path = write_video(
            tmp_path / "hdr.mkv", [hdr_codes(frame, curve)] * 3, "libx265", "yuv444p10le",
            options={"x265-params": "log-level=none:lossless=1"}, colours=(9, curve, 9),
        )  # fmt: skip
        seen, dark = picture_at(path, taken(path)[0]), frame.max(-1) < 190  # below the knee nothing is compressed
        error = np.abs(seen[dark].astype(int) - frame[dark])
        assert error.mean() < 3
        assert np.quantile(error, 0.99) < 12  # 10 bit and half the chroma's range

    def test_hdr_highlights_are_compressed_and_keep_their_order(self) -> None:
        ramp = np.repeat(np.linspace(0, 65535, 300).astype(np.uint16)[:, None, None], 3, axis=2)
        for curve in (PQ, HLG):
            shown = tone_map(ramp, curve)[:, 0]
            assert (np.diff(shown.astype(int), axis=0) >= 0).all()
            assert (shown[0].max(), np.ptp(shown, axis=1).max()) == (0, 0)  # black stays black, grey stays grey
            assert 225 < shown[-1].min() <= 255

    def test_a_variable_frame_rate_is_read_by_its_time_stamps(self, tmp_path: Path) -> None:
        frames = list(scene("train/dahlia", 16))
        times = np.cumsum(np.random.default_rng(0).uniform(0.05, 0.5, 16)).round(3)
        path = write_video(tmp_path / "vfr.mkv", frames, pixel_format="yuv444p", options=LOSSLESS, times=times.tolist())
        _, moments = survey(path, 100.0, 0.0)
        assert [moment.time for moment in moments] == pytest.approx((times - times[0]).tolist(), abs=0.002)
        assert np.abs(picture_at(path, moments[11]).astype(int) - frames[11]).max() <= 3

    def test_one_field_of_interlaced_frames_is_kept(self, tmp_path: Path) -> None:
        fields = list(scene("train/dahlia", 2 * FPS, travel=1.0))
        odd_rows, pairs = np.arange(192)[:, None, None] % 2, zip(fields[::2], fields[1::2], strict=True)
        frames = [np.where(odd_rows, second, first) for first, second in pairs]
        path = write_video(tmp_path / "tv.ts", frames, "mpeg2video", options={"flags": "+ildct+ilme"})
        seen = picture_at(path, survey(path, 100.0, 0.0)[1][5]).astype(int)
        assert np.abs(seen - fields[10]).mean() < 12 < 24 < np.abs(seen - fields[11]).mean()

    def test_pixels_that_are_not_square_are_stretched(self, tmp_path: Path) -> None:
        path = write_video(tmp_path / "in.mp4", still(next(scene("train/dahlia", 1)), 3))
        with av.open(str(path)) as source, av.open(str(tmp_path / "wide.mp4"), "w") as target:
            stream = target.add_stream_from_template(source.streams.video[0])
            stream.sample_aspect_ratio = Fraction(3, 2)
            for packet in source.demux(source.streams.video[0]):
                if packet.dts is not None:
                    packet.stream = stream
                    target.mux(packet)
        assert picture_at(tmp_path / "wide.mp4", taken(tmp_path / "wide.mp4")[0]).shape == (192, 384, 3)

    def test_pixels_that_cannot_be_converted_give_a_reason(self) -> None:
        with pytest.raises(UnreadablePicture, match="has pixels in the format xv30be, which cannot be converted"):
            look_at(av.VideoFrame(64, 64, "xv30be"))

    def test_large_frames_may_be_halved_but_not_below_the_wanted_side(self, tmp_path: Path) -> None:
        path = write_video(tmp_path / "large.mp4", scene("train/dahlia", 2, (800, 640)))
        decoded = VideoReaders(0).read(path, taken(path)[0])
        sizes = {side: min(frame_picture(decoded, side).shape[:2]) for side in (None, 641, 640, 320, 300, 160)}
        assert sizes == {None: 640, 641: 640, 640: 640, 320: 320, 300: 320, 160: 160}

    def test_any_order_of_reading_gives_the_same_frames(self, two_scenes: TwoScenes) -> None:
        path, frames = two_scenes
        _, moments = survey(path, 100.0, 0.0)
        order, readers = np.random.default_rng(0).permutation(len(moments)), VideoReaders(2)
        for index in order:
            seen = frame_picture(readers.read(path, moments[index]))
            assert np.abs(seen.astype(int) - frames[index]).max() <= 3
        readers.close()

    def test_only_a_few_videos_stay_open(self, two_scenes: TwoScenes, tmp_path: Path) -> None:
        readers, moment = VideoReaders(2), taken(two_scenes[0])[0]
        for number in range(5):
            readers.read(Path(shutil.copy(two_scenes[0], tmp_path / f"{number}.mkv")), moment)
        assert sum(str(tmp_path) in one.path for one in psutil.Process().open_files()) == 2
        readers.close()

    def test_a_frame_is_read_from_the_start_if_seeking_goes_past_it(self, two_scenes: TwoScenes) -> None:
        path, frames = two_scenes
        _, moments = survey(path, 100.0, 0.0)
        misled = dataclasses.replace(moments[3], key=moments[30].stamp)
        readers = VideoReaders(1)
        for moment, number in ((misled, 3), (moments[5], 5)):  # and reading can continue after that
            assert np.abs(frame_picture(readers.read(path, moment)).astype(int) - frames[number]).max() <= 3
        readers.close()

    @pytest.mark.parametrize(("ending", "codec"), [(".ts", "libx264"), (".mpg", "mpeg2video")])
    def test_frames_of_mpeg_streams_are_not_read_from_the_beginning(
        self, ending: str, codec: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        path = write_video(tmp_path / f"recorded{ending}", scene("train/dahlia", 5 * FPS), codec, gop=12)
        _, moments = survey(path, 100.0, 0.0)
        monkeypatch.setattr(Stream, "rewind", lambda _: pytest.fail("it begins again"))
        for moment in moments[3::10]:
            VideoReaders(0).read(path, moment)

    def test_a_frame_that_is_no_longer_there_is_refused(self, two_scenes: TwoScenes) -> None:
        path, _ = two_scenes
        moment = taken(path)[0]
        for changed in ({"stamp": moment.stamp + 1}, {"grid": tuple(g + 9 for g in moment.grid)}):
            with pytest.raises(UnreadablePicture, match="can't be decoded again"):
                VideoReaders(0).read(path, dataclasses.replace(moment, **changed))


def hdr_codes(frame: Frame, curve: int) -> np.ndarray:
    """Return an sRGB frame as 16-bit HDR codes that show it at 203 nits white (BT.2100)."""
    value = frame / 255.0
    light = np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)
    light = np.maximum(light @ np.linalg.inv(BT2020_TO_BT709.astype(float)).T, 0)
    if curve == PQ:
        m1, m2, c1, c2, c3 = 0.1593017578125, 78.84375, 0.8359375, 18.8515625, 18.6875
        power = (light * 203 / 10000) ** m1
        codes = ((c1 + c2 * power) / (1 + c3 * power)) ** m2
    else:
        light = light * 203 / 1000
        luma = np.maximum(light @ np.array([0.2627, 0.678, 0.0593]), 1e-9)[..., None]
        light = light * luma ** (1 / 1.2 - 1)
        codes = np.where(
            light <= 1 / 12,
            np.sqrt(3 * light),
            0.17883277 * np.log(np.maximum(12 * light - 0.28466892, 1e-9)) + 0.55991073,
        )
    return (np.clip(codes, 0, 1) * 65535 + 0.5).astype(np.uint16)


@pytest.mark.parametrize("ending", ["mp4", "mkv", "webm", "ts"])
def test_the_example_lies_within_the_video_and_is_not_its_first_frame(ending: str, tmp_path: Path) -> None:
    codec = "libvpx-vp9" if ending == "webm" else "libx264"
    frames = chain(black(FPS), scene("train/dahlia", 2 * FPS))
    assert example_frame(write_video(tmp_path / f"a.{ending}", frames, codec, gop=FPS // 2)).mean() > 20


class TestBadFiles:
    @pytest.mark.parametrize(
        ("name", "content", "reason"),
        [
            ("empty.mp4", b"", "is empty"),
            ("text.mkv", b"this is no video" * 100, "cannot be opened as a video: Invalid data"),
            ("zeros.avi", bytes(5000), "cannot be opened as a video"),
        ],
    )
    def test_what_is_no_video(self, name: str, content: bytes, reason: str, tmp_path: Path) -> None:
        (tmp_path / name).write_bytes(content)
        assert reason in refusal(tmp_path / name)

    def test_sound_alone(self, tmp_path: Path) -> None:
        assert "has no video stream" in refusal(write_sound(tmp_path / "song.mp4"))
        cover = next(scene("train/dahlia", 1))
        assert "has no video stream" in refusal(write_sound(tmp_path / "covered.mp4", cover))

    def test_a_folder_and_a_missing_file(self, tmp_path: Path) -> None:
        (tmp_path / "folder.mp4").mkdir()
        assert "cannot be opened as a video" in refusal(tmp_path / "folder.mp4")
        assert "No such file" in refusal(tmp_path / "missing.mp4")

    def test_a_stream_without_frames(self, tmp_path: Path, two_scenes: TwoScenes) -> None:
        data = two_scenes[0].read_bytes()
        (tmp_path / "header.mkv").write_bytes(data[: data.index(b"\x1f\x43\xb6\x75")])  # up to the first cluster
        assert "cannot be opened as a video: End of file" in refusal(tmp_path / "header.mkv")

    def test_a_format_without_a_decoder(self, tmp_path: Path) -> None:
        path = write_video(tmp_path / "a.mp4", scene("train/dahlia", 2))
        path.write_bytes(path.read_bytes().replace(b"avc1", b"new1"))
        assert "has pictures in a format that cannot be decoded here" in refusal(path)

    def test_a_stream_of_rubbish(self, tmp_path: Path) -> None:
        path = write_video(tmp_path / "a.avi", scene("train/dahlia", 6), "mpeg4")
        data = path.read_bytes()
        start = data.index(b"movi") + 12
        path.write_bytes(data[:start] + bytes(len(data) - start))
        assert "has no frame that can be decoded" in refusal(path)

    def test_a_stream_without_time_stamps(self, tmp_path: Path) -> None:
        path = write_video(tmp_path / "raw.h264", scene("train/dahlia", 4))
        shutil.move(path, tmp_path / "raw.mkv")
        assert "has no time stamps; put the stream into a container" in refusal(tmp_path / "raw.mkv")

    def test_too_long_a_side(self, tmp_path: Path) -> None:
        path = write_video(tmp_path / "strip.mp4", still(np.zeros((64, 256, 3), np.uint8), 2))
        assert "more than 3 times the short side" in refusal(path)

    def test_a_file_cut_off_gives_the_frames_before_the_cut(self, tmp_path: Path, two_scenes: TwoScenes) -> None:
        path, frames = two_scenes
        (tmp_path / "cut.mkv").write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])
        _, moments = survey(tmp_path / "cut.mkv", 100.0, 0.0)
        assert 0.4 * len(frames) < len(moments) < len(frames)
        for moment in taken(tmp_path / "cut.mkv"):
            seen = picture_at(tmp_path / "cut.mkv", moment)
            assert np.abs(seen.astype(int) - frames[round(moment.time * FPS)]).max() <= 3

    def test_a_file_cut_off_without_its_index_is_refused(self, tmp_path: Path) -> None:
        path = write_video(tmp_path / "cut.mp4", scene("train/dahlia", 12))
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
        assert "cannot be opened as a video" in refusal(path)

    def test_damaged_stretches_are_left_out(self, tmp_path: Path, two_scenes: TwoScenes) -> None:
        path, frames = two_scenes
        data = bytearray(path.read_bytes())
        for place in (len(data) // 3, len(data) * 3 // 4):
            data[place : place + 2000] = np.random.default_rng(place).bytes(2000)
        (tmp_path / "damaged.mkv").write_bytes(data)
        looks, _ = survey(tmp_path / "damaged.mkv", 100.0, 0.0)
        assert len(looks) < len(frames) or not looks.intact.all()
        after = [looks.intact[(looks.times > start) & (looks.times < end)] for start, end in ((2.3, 2.8), (3.8, 4.0))]
        assert all(len(intact) and intact.all() for intact in after), "what follows a whole key frame counts again"
        moments = taken(tmp_path / "damaged.mkv", 0.3)
        assert len(moments) > 3
        for moment in moments:
            seen = picture_at(tmp_path / "damaged.mkv", moment)
            assert np.abs(seen.astype(int) - frames[round(moment.time * FPS)]).mean() < 1

    def test_a_frame_that_was_damaged_since_the_survey_is_not_taken(self, tmp_path: Path) -> None:
        """Even if the damage is so small that the frame looks the same, because the decoder conceals it."""
        path = write_video(tmp_path / "a.mkv", scene("train/dahlia", 6, travel=0.05), "mpeg4")
        *_, before, last = survey(path, 100.0, 0.0)[1]
        data = path.read_bytes()
        with av.open(str(path)) as video:
            packet = bytes([packet for packet in video.demux() if packet.size][-1])
        for share in (0.45, 0.5, 0.55):
            place = data.index(packet) + int(share * len(packet))
            path.write_bytes(data[:place] + bytes(8) + data[place + 8 :])
            with contextlib.closing(Stream(path)) as stream:
                *_, frame = stream.frames
            assert frame is not None
            differences = np.subtract(grid_of(look_at(frame)[0]), last.grid)
            assert np.abs(differences).max() <= SAME_LOOK
            picture_at(path, before)
            with pytest.raises(UnreadablePicture, match=r"can't be decoded again at 0\.417 s"):
                picture_at(path, last)

    @pytest.mark.parametrize("ending", ["mp4", "mkv", "avi", "webm"])
    def test_videos_are_known_by_content_whatever_their_name(self, ending: str, tmp_path: Path) -> None:
        codec = {"avi": "mpeg4", "webm": "libvpx-vp9"}.get(ending, "libx264")
        path = write_video(tmp_path / f"a.{ending}", scene("train/dahlia", 2), codec)
        assert is_video(path)
        assert is_video(path.rename(tmp_path / f"{ending}.jpg"))
        assert not is_video(SAMPLES / "train/dahlia.jpg")
        assert not is_video(tmp_path)
        assert not is_video(tmp_path / "missing.jpg")


class TestChoice:
    def test_each_scene_gets_its_share_and_no_frame_is_at_a_cut(self, tmp_path: Path) -> None:
        cuts = np.cumsum([3, 0.6, 5, 2]) * FPS
        names = ("train/dahlia", "train/cat_face", "train/forest_stream", "train/fig_bowl")
        lengths = np.diff([0, *cuts.round().astype(int)])
        travels = (0.3, 0.05, 0.5, 0.2)
        shots = [scene(name, int(n), travel=t) for name, n, t in zip(names, lengths, travels, strict=True)]
        moments = taken(write_video(tmp_path / "a.mp4", chain(*shots)), interval=1.0)
        frame_numbers = np.array([round(moment.time * FPS) for moment in moments])
        per_scene = np.histogram(frame_numbers, [0, *cuts.round()])[0]
        assert per_scene.tolist() == [3, 1, 4, 2]
        assert np.abs(frame_numbers[:, None] + 0.5 - cuts[:-1].round()).min() > 1

    def test_a_number_of_frames_is_spread_over_the_video(self, two_scenes: TwoScenes) -> None:
        assert [m.time < 2 for m in taken(two_scenes[0], count=4)] == [True, True, False, False]
        assert len(taken(two_scenes[0], count=1)) == 1

    def test_black_blank_and_blurred_frames_are_left_out(self, tmp_path: Path) -> None:
        sharp = list(scene("eval/paint_brushes", 2 * FPS))
        white = still(np.full((192, 256, 3), 250, np.uint8), FPS)
        shots = [black(FPS), sharp, blurred(scene("train/fig_bowl", 2 * FPS)), white]
        path = write_video(tmp_path / "a.mp4", chain(*shots))
        assert {1 <= moment.time < 3 for moment in taken(path, 0.5)} == {True}

    def test_the_sharp_frames_of_a_shaky_scene_are_taken(self, tmp_path: Path) -> None:
        frames = list(scene("train/forest_stream", 3 * FPS, travel=0.8))
        shaky = [f if n % 6 == 2 else next(blurred([f], 2.5)) for n, f in enumerate(frames)]
        path = write_video(tmp_path / "a.mkv", shaky, pixel_format="yuv444p", options=LOSSLESS)
        numbers = [round(moment.time * FPS) for moment in taken(path, 1.0, max_fps=100.0)]
        assert len(numbers) == 3
        assert all(number % 6 == 2 for number in numbers)

    def test_frames_of_a_dissolve_and_of_a_fade_are_left_out(self, tmp_path: Path) -> None:
        a, b = list(scene("train/dahlia", 2 * FPS)), list(scene("train/cat_face", 2 * FPS))
        fade = dissolve(b[-1], np.zeros_like(b[-1]), FPS)
        path = write_video(tmp_path / "a.mp4", chain(a, dissolve(a[-1], b[0], FPS), b, fade, black(FPS)))
        times = [moment.time for moment in taken(path, 0.25)]
        assert all(time < 2.05 or 2.95 < time < 5.1 for time in times)
        assert len([t for t in times if t < 2]) > 1 < len([t for t in times if t > 3])

    def test_near_duplicates_are_taken_once(self, tmp_path: Path) -> None:
        a, b = next(scene("train/dahlia", 1)), next(scene("train/cat_face", 1))
        shots = [still(a, 3 * FPS), still(b, 2 * FPS), still(a, 2 * FPS)]  # a scene that returns is a duplicate too
        assert len(taken(write_video(tmp_path / "a.mp4", chain(*shots)), 0.5)) == 2

    def test_fast_movement_is_no_cut(self, tmp_path: Path) -> None:
        path = write_video(tmp_path / "a.mp4", scene("train/forest_stream", 2 * FPS, travel=1.0))
        looks, _ = survey(path, 8.0, 0.0)
        assert choose_frames(looks, 1.0, None).scenes == 1

    @pytest.mark.parametrize("photo", ["eval/astronaut", "train/cat_face"])
    def test_slow_pans_and_zooms_are_no_dissolves(self, tmp_path: Path, photo: str) -> None:
        pan = list(scene(photo, 2 * FPS, travel=0.1))
        zoom = [cv2.resize(pan[-1][n : 192 - n, n : 256 - n], (256, 192)) for n in range(FPS)]
        looks, _ = survey(write_video(tmp_path / "a.mp4", chain(pan, zoom)), 8.0, 0.0)
        choice = choose_frames(looks, 1.0, None)
        assert choice.scenes == 1
        assert "at a cut or in a blend" not in choice.left_out

    def test_frames_per_second_are_limited_and_the_start_can_be_skipped(self, two_scenes: TwoScenes) -> None:
        _, moments = survey(two_scenes[0], 3.0, 1.5)
        assert moments[0].time == 1.5
        assert np.diff([moment.time for moment in moments]).min() >= 0.33
        with pytest.raises(UnreadablePicture, match="no frame after its first 60 s"):
            survey(two_scenes[0], 3.0, 60.0)

    @pytest.mark.parametrize(
        ("options", "expected"),
        [
            ({"video_interval": 1.0}, [2, 2]),
            ({"video_interval": 60.0}, [1, 1]),
            ({"video_frames": 1}, [1, 0]),
            ({"video_frames": 6, "video_interval": 60.0}, [3, 3]),
            ({"video_interval": 1.0, "skip_first": 2.0}, [0, 2]),
            ({"video_interval": 0.1, "max_fps": 1.0}, [2, 2]),  # all four looks
        ],
    )
    def test_every_option_of_a_job_reaches_the_choice(
        self, options: dict, expected: list[int], two_scenes: TwoScenes, tmp_path: Path
    ) -> None:
        plan = plan_video(two_scenes[0], config(two_scenes[0].parent, tmp_path, **options))
        times = np.array([time for _, time, _, _ in plan["frames"]])
        assert [int((times < 2).sum()), int((times >= 2).sum())] == expected

    @given(st.lists(st.floats(0.1, 1000), min_size=1, max_size=30), st.integers(1, 200))
    def test_shares_add_up_and_leave_no_scene_out_while_there_are_enough(self, weights: list[float], n: int) -> None:
        shares = share_out(weights, n)
        assert sum(shares) == n
        assert min(shares) >= (1 if n >= len(weights) else 0)
        longest, shortest = int(np.argmax(weights)), int(np.argmin(weights))
        assert shares[longest] >= shares[shortest]

    @given(st.integers(1, 60), st.integers(1, 80))
    def test_scene_parts_hold_each_frame_once(self, looks: int, n: int) -> None:
        members = np.arange(looks) * 2
        parts = split_evenly(members, np.ones(looks * 2), n)
        assert np.concatenate(parts).tolist() == members.tolist()
        assert len(parts) == min(n, looks)


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder of photos and videos, one video broken, one a copy."""
    root = tmp_path_factory.mktemp("sources")
    for split in ("train", "eval"):
        (root / split).mkdir()
    shutil.copy(SAMPLES / "train/dragonfly_twig.jpg", root / "train/a.jpg")
    shots = chain(scene("train/dahlia", FPS, (320, 240)), scene("train/cat_face", FPS, (320, 240)))
    write_video(root / "train/b_clip.mp4", shots, gop=5)
    (root / "train/c_broken.mkv").write_bytes(b"nothing")
    shutil.copy(root / "train/b_clip.mp4", root / "train/d_copy.mp4")
    write_video(root / "eval/e_clip.mkv", scene("eval/astronaut", FPS, (320, 240)), "libvpx-vp9")
    return root


def config(dataset_dir: Path, output: Path, **options: object) -> GenerateConfig:
    values = {"prefix": "v", "size": 256, "num_samples": 1, "divergence_level": 3, "resolution": 224, "workers": 0}
    values |= {"video_interval": 0.5, "device": "cpu", **options}
    return GenerateConfig(dataset_dir=str(dataset_dir), output_dir=str(output), **values)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def made(sources: Path, tmp_path_factory: pytest.TempPathFactory) -> Made:
    output = tmp_path_factory.mktemp("made")
    return output, generate_dataset(config(sources, output, save_frames=True))


def records(output: Path) -> list[dict]:
    return [row for row in read_manifest(output, NAME) if is_record(row)]


class TestDataSet:
    def test_frames_are_records_like_pictures(self, made: Made) -> None:
        output, report = made
        names = {row["source"] for row in records(output)}
        assert "train/a.jpg" in names
        assert len({n for n in names if n.startswith("train/b_clip.mp4#t=")}) == 3
        assert len({n for n in names if n.startswith("eval/e_clip.mkv#t=")}) == 2
        assert dict(report.skipped) == {
            "train/c_broken.mkv": "cannot be opened as a video: Invalid data found when processing input",
            "train/d_copy.mp4": "has the same content as train/b_clip.mp4",
        }
        said = dict(report.videos)
        assert said["train/b_clip.mp4"].startswith(
            "3 frames from 2 scenes in 1.8 s; left out of 12 looked at: 2 at a cut or in a blend"
        )
        assert said["train/c_broken.mkv"].startswith("skipped, it cannot be opened")
        assert report.division == "by the folders train/ and eval/"

    @pytest.mark.parametrize("workers", [1, 3])
    def test_workers_and_shards_change_no_byte(self, workers: int, sources: Path, made: Made, tmp_path: Path) -> None:
        options = {"workers": workers, "save_frames": True}
        for shard in ("1/2", "0/2") if workers == 3 else ("0/1",):
            generate_dataset(config(sources, tmp_path, shard=shard, **options))
        assert contents(tmp_path) == contents(made[0])

    def test_an_interrupted_run_resumes(self, sources: Path, made: Made, tmp_path: Path) -> None:
        def stop(done: int, total: int, message: str) -> None:
            if done == 3:
                raise KeyboardInterrupt

        job = config(sources, tmp_path, save_frames=True, workers=2)
        with pytest.raises(KeyboardInterrupt, match="run the same again to continue"):
            generate_dataset(job, stop)
        generate_dataset(job)
        assert contents(tmp_path) == contents(made[0])

    def test_ctrl_c_while_choosing_frames_says_how_to_go_on(self, sources: Path, tmp_path: Path) -> None:
        def stop(done: int, total: int, message: str) -> None:
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt, match="while choosing frames of videos; run the same again"):
            generate_dataset(config(sources, tmp_path), stop)

    def test_each_shard_begins_with_a_video_of_its_own(self, sources: Path, tmp_path: Path) -> None:
        said: list[str] = []

        def stop(done: int, total: int, message: str) -> None:
            said.append(message)
            assert total == 0, "not known yet"
            raise KeyboardInterrupt

        for shard in ("0/2", "1/2"):
            with pytest.raises(KeyboardInterrupt):
                generate_dataset(config(sources, tmp_path, shard=shard), stop)
        assert said == ["looking through b_clip.mp4", "looking through c_broken.mkv"]

    def test_scenes_are_cut_from_frames_too(self, sources: Path, tmp_path: Path) -> None:
        report = generate_dataset(config(sources, tmp_path, scenes=1, eval_only=True))
        rows = [row for row in records(tmp_path) if "scene" in row]
        assert report.scenes == len(rows) > 0
        assert all(name.startswith("e_clip.mkv#t=") for row in rows for name in row["textures"])

    def test_frames_are_kept_as_pictures_only_when_asked(self, sources: Path, made: Made, tmp_path: Path) -> None:
        kept = sorted(path.name for path in (made[0] / "frames" / NAME / "train").iterdir())
        assert len(kept) == 3
        assert kept[0].startswith("b_clip.mp4#t=0.")
        with Image.open(made[0] / "frames" / NAME / "train" / kept[0]) as image:
            assert image.size == (320, 240)
        generate_dataset(config(sources, tmp_path, eval_only=True))
        assert not (tmp_path / "frames").exists()

    def test_changed_sampling_of_a_data_set_is_refused(self, sources: Path, made: Made) -> None:
        with pytest.raises(InputError, match=r"^video_interval: .*begun with video_interval=0\.5, not 0\.7"):
            generate_dataset(config(sources, made[0], video_interval=0.7))

    def test_depth_maps_from_files_do_not_apply_to_frames(self, sources: Path, tmp_path: Path) -> None:
        report = generate_dataset(config(sources, tmp_path, model_type="File", resolution=None, eval_only=True))
        assert {reason for _, reason in report.skipped} == {
            "gets no depth: maps of model_type=File belong to pictures, not to frames of videos"
        }

    @pytest.mark.parametrize(("axis", "words"), [(1, "side by side"), (0, "one above the other"), (None, "")])
    def test_a_3d_film_is_reported_as_two_views(self, axis: int | None, words: str, tmp_path: Path) -> None:
        """Each frame would become one picture of two halves. A frame beside its mirror image is no stereo pair."""
        frames = list(scene("train/fig_bowl", FPS, (256, 256)))
        others = (f[:, ::-1] if axis is None else np.roll(f, 6, 1) for f in frames)
        pairs = (np.concatenate(pair, 1 if axis is None else axis) for pair in zip(frames, others, strict=True))
        film = write_video(tmp_path / "film.mp4", pairs)
        told = list[str]()
        report = generate_dataset(
            config(film, tmp_path / "out", video_frames=1), lambda done, total, message: told.append(message)
        )
        ((_, said),) = report.videos
        assert (f"look like two views {words}" in said) == bool(words)
        assert any(said.endswith(f"; {message.removeprefix('film.mp4: ')}") for message in told) == bool(words)

    def test_a_video_can_be_named_directly(self, sources: Path, tmp_path: Path) -> None:
        report = generate_dataset(config(sources / "train/b_clip.mp4", tmp_path))
        assert report.eval == 0 < report.train
        assert report.division == "a single file, all of it to train/"


class TestAutomaticDivision:
    @pytest.fixture
    def flat(self, sources: Path, tmp_path: Path) -> Path:
        """Return a folder with two videos and a photo, without subfolders."""
        for path in (sources / "train/b_clip.mp4", sources / "eval/e_clip.mkv", sources / "train/a.jpg"):
            (tmp_path / "flat").mkdir(exist_ok=True)
            shutil.copy(path, tmp_path / "flat")
        return tmp_path / "flat"

    def test_frames_of_a_video_stay_together(self, flat: Path, tmp_path: Path) -> None:
        report = generate_dataset(config(flat, tmp_path / "out", eval_fraction=0.5))
        sides: dict[str, set[str]] = {}
        for row in records(tmp_path / "out"):
            split, _, name = row["source"].partition("/")
            sides.setdefault(name.partition("#")[0], set()).add(split)
        assert len(sides) == 3
        assert all(len(splits) == 1 for splits in sides.values())
        assert set.union(*sides.values()) == {"train", "eval"}
        assert report.division.startswith("by name, eval_fraction 0.5: ")

    def test_an_empty_folder_is_refused(self, tmp_path: Path) -> None:
        with pytest.raises(InputError, match="too few files"):
            generate_dataset(config(tmp_path, tmp_path / "out"))
        with pytest.raises(
            InputError, match=r"no file of .* goes to train/ or eval/ \(by name, eval_fraction 0: 0 files"
        ):
            generate_dataset(config(tmp_path, tmp_path / "out", eval_fraction=0.0))

    def test_a_side_without_files_is_refused_if_it_is_the_only_one(self, flat: Path, tmp_path: Path) -> None:
        with pytest.raises(
            InputError, match=r"goes to eval/ \(by name, eval_fraction 0: 3 files to train/.* another eval_"
        ):
            generate_dataset(config(flat, tmp_path / "out", eval_fraction=0.0, eval_only=True))

    @given(st.sets(st.text("abcdef", min_size=1, max_size=8), min_size=2, max_size=60), st.floats(0.01, 0.99))
    def test_both_sides_get_something_and_a_new_file_moves_few(self, names: set[str], fraction: float) -> None:
        files = [Path(name) for name in sorted(names)]
        split = split_files(files, fraction, files)
        assert sorted(split["train"] + split["eval"]) == files
        assert split["train"]
        assert split["eval"]
        more = split_files([*files, Path("zzz.mp4")], fraction, [*files, Path("zzz.mp4")])
        moved = set(split["eval"]) ^ set(more["eval"]) - {Path("zzz.mp4")}
        assert len(moved) <= 1  # only the one that had been moved so that neither half is empty

    def test_the_share_is_kept_on_average(self) -> None:
        files = [Path(f"picture_{n}.jpg") for n in range(2000)]
        assert 0.07 < len(split_files(files, 0.1, files)["eval"]) / 2000 < 0.13
        assert split_files(files, 0.0, files)["eval"] == []
        assert split_files(files, 1.0, files)["train"] == []


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="reads this process's memory from /proc")
def test_a_survey_keeps_no_frames_however_long_the_video(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from inpaintkit.data import video

    used: list[int] = []
    real: Callable[..., object] = video.look_at

    def watched(frame: object) -> object:
        used.append(int(Path("/proc/self/statm").read_text().split()[1]) * 4096)
        return real(frame)

    monkeypatch.setattr(video, "look_at", watched)
    frame = next(scene("train/dahlia", 1, (1024, 768)))
    path = write_video(tmp_path / "long.avi", still(frame, 120), "mjpeg", "yuvj420p")
    survey(path, 100.0, 0.0)
    assert len(used) == 120
    assert max(used[40:]) - used[40] < 100 << 20  # 80 frames kept would be 189 MB


def test_a_name_with_a_colon_in_the_working_folder_is_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_video(Path("v.mp4"), scene("train/dahlia", FPS))
    Path("v.mp4").rename("http:day 1.mp4")
    assert survey(Path("http:day 1.mp4"), 8.0, 0.0)[1]
