"""Depth maps beside the pictures are read whatever their bit depth; what isn't a depth map is refused by name."""

import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from inpaintkit.depth import create_depth_model
from inpaintkit.depth.map_files import MapFileModel
from inpaintkit.errors import InputError

pytestmark = pytest.mark.attack

RAMP = np.linspace(0, 1, 12).reshape(3, 4)


def write_map(folder: Path, kind: str, name: str = "photo") -> None:
    if kind.startswith("exr"):
        OpenEXR = pytest.importorskip("OpenEXR")
        values = (5 + 3 * RAMP).astype(np.float16 if kind == "exr rgb" else np.float32)
        channels = {"RGB": np.repeat(values[..., None], 3, 2)} if kind == "exr rgb" else {"Z": values, "A": values * 0}
        header = {"compression": OpenEXR.ZIP_COMPRESSION, "type": OpenEXR.scanlineimage}
        OpenEXR.File(header, channels).write(str(folder / f"{name}_depth.exr"))
    elif kind == "npy":
        np.save(folder / f"{name}_depth.npy", 5 + 3 * RAMP)
    elif kind == "rgb":
        Image.fromarray(np.repeat((RAMP * 255).round().astype(np.uint8)[..., None], 3, 2)).save(
            folder / f"{name}_depth.png"
        )
    else:
        top, dtype = (255, np.uint8) if kind == "8" else (65535, np.uint16)
        Image.fromarray((RAMP * top).round().astype(dtype)).save(folder / f"{name}_depth.png")


@pytest.mark.parametrize("kind", ["8", "16", "npy", "rgb", "exr z", "exr rgb"])
def test_maps_are_scaled_to_their_range(kind: str, tmp_path: Path) -> None:
    write_map(tmp_path, kind)
    depth = create_depth_model("File").infer_file(tmp_path / "photo.jpg")  # type: ignore[attr-defined]
    assert depth.shape == (1, 1, 3, 4)
    assert (depth[0, 0] - torch.from_numpy(RAMP).float()).abs().max() < (
        1e-4 if kind in ("16", "npy", "exr z") else 0.003
    )


def test_names_outside_ascii_and_maps_in_another_folder(tmp_path: Path) -> None:
    write_map(tmp_path, "16", "Übung 写真")
    model = create_depth_model("File", model_path=tmp_path)
    assert model.infer_file("elsewhere/Übung 写真.png").max() == 1  # type: ignore[attr-defined]


def test_far_is_bright_on_request(tmp_path: Path) -> None:
    write_map(tmp_path, "8")
    depth = MapFileModel(values="far_is_bright").infer_file(tmp_path / "photo.jpg")
    assert depth[0, 0, 0, 0] == 1
    assert depth[0, 0, -1, -1] == 0


def test_distances_are_metric_and_far_where_large(tmp_path: Path) -> None:
    write_map(tmp_path, "npy")
    model = MapFileModel(values="distance")
    assert model.metric
    assert not MapFileModel(values="far_is_bright").metric
    assert model.infer_file(tmp_path / "photo.jpg")[0, 0, 0, 0] == 1
    assert model.version != MapFileModel().version  # a data set must not mix the two


def test_maps_may_be_named_after_another_pattern(tmp_path: Path) -> None:
    maps = tmp_path / "maps"
    maps.mkdir()
    np.save(maps / "photo.npy", RAMP)
    np.save(maps / "z.photo.npy", RAMP[:, :2])
    given = tmp_path / "photo.jpg"
    assert MapFileModel(folder=maps, map_name="{name}").infer_file(given).shape == (1, 1, 3, 4)
    assert MapFileModel(folder=maps, map_name="z.{name}").infer_file(given).shape == (1, 1, 3, 2)
    with pytest.raises(InputError, match="give the folder of"):  # maps of other names would be taken for pictures
        MapFileModel(map_name="z.{name}")
    with pytest.raises(InputError, match=r"^model_path: .*photo\.npy is a file; give a folder"):
        MapFileModel(folder=maps / "photo.npy", map_name="{name}")


def test_resolution_limits_the_short_side(tmp_path: Path) -> None:
    np.save(tmp_path / "photo_depth.npy", np.random.default_rng(0).random((60, 90)))
    depth = create_depth_model("File", resolution=30).infer_file(tmp_path / "photo.jpg")  # type: ignore[attr-defined]
    assert depth.shape == (1, 1, 30, 45)


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros((4, 4, 3)) + np.arange(3), "one grey channel"),
        (np.array([["a", "b"]]), "one grey channel"),
        (np.array([[0.0, np.nan]]), "NaN"),
    ],
)
def test_what_is_not_a_depth_map_is_refused(array: np.ndarray, message: str, tmp_path: Path) -> None:
    np.save(tmp_path / "photo_depth.npy", array)
    with pytest.raises(InputError, match=message):
        create_depth_model("File").infer_file(tmp_path / "photo.jpg")  # type: ignore[attr-defined]


def test_missing_and_broken_maps_are_named(tmp_path: Path) -> None:
    model = MapFileModel()
    with pytest.raises(InputError, match=r"put photo_depth\.png, photo_depth\.npy or photo_depth\.exr into"):
        model.infer_file(tmp_path / "photo.jpg")
    (tmp_path / "photo_depth.png").write_bytes(b"no picture")
    with pytest.raises(InputError, match="can't be read as a depth map"):
        model.infer_file(tmp_path / "photo.jpg")
    (tmp_path / "half_depth.exr").write_bytes(b"v/1\x01half")
    with pytest.raises(InputError, match="can't be read as a depth map"):
        model.infer_file(tmp_path / "half.jpg")
    np.save(tmp_path / "evil_depth.npy", np.array([[print]], dtype=object), allow_pickle=True)
    with pytest.raises(InputError, match="can't be read as a depth map"):
        model.infer_file(tmp_path / "evil.jpg")
    with pytest.raises(InputError, match="infer_file"):
        model.infer(torch.rand(1, 3, 4, 4))


def put(folder: Path, size: tuple[int, int], turn: int = 1, photo: str = "photo.jpg") -> Path:
    """Write a photo of `size` (stored W, H) with an orientation, and a map of 40x30 px whose left half is near."""
    exif = Image.Exif()
    exif[0x0112] = turn
    Image.new("RGB", size).save(folder / photo, exif=exif)
    values = np.zeros((30, 40), np.float32)
    values[:, :20] = 1
    np.save(folder / "photo_depth.npy", values)
    return folder / photo


class TestShape:
    """A map is never stretched to a picture of another shape, except by as much as networks squeeze."""

    def test_a_smaller_map_of_the_same_shape(self, tmp_path: Path) -> None:
        assert MapFileModel().infer_file(put(tmp_path, (401, 300))).shape == (1, 1, 30, 40)

    @pytest.mark.parametrize("photo", ["photo.jpg", "photo.tif"])
    def test_a_map_of_the_picture_as_it_is_shown(self, photo: str, tmp_path: Path) -> None:
        assert MapFileModel().infer_file(put(tmp_path, (300, 400), 6, photo)).shape == (1, 1, 30, 40)

    @pytest.mark.parametrize("photo", ["photo.jpg", "photo.tif"])
    @pytest.mark.parametrize(("turn", "near"), [(6, np.s_[:20, :]), (8, np.s_[20:, :])])
    def test_a_map_as_the_sensor_saw_it_is_turned_with_the_picture(
        self, turn: int, near: object, photo: str, tmp_path: Path
    ) -> None:
        depth = MapFileModel().infer_file(put(tmp_path, (400, 300), turn, photo))[0, 0].numpy()
        assert depth.shape == (40, 30)
        assert depth[near].min() == 1  # type: ignore[index]

    @pytest.mark.parametrize(("turn", "shape"), [(1, (30, 43)), (6, (43, 30))])
    def test_a_map_that_a_network_squeezed_gets_the_pictures_shape(
        self, turn: int, shape: tuple[int, int], tmp_path: Path
    ) -> None:
        """iw3's maps of ZoeD_N differ from 16:9 by 7 %; rotated with the photo, their edges would miss the photo's."""
        depth = MapFileModel().infer_file(put(tmp_path, (1440, 1000), turn))[0, 0]
        assert depth.shape == shape
        assert float(depth.mean()) == pytest.approx(0.5)

    def test_another_shape_is_refused(self, tmp_path: Path) -> None:
        with pytest.raises(InputError, match=r"map of 40x30 px, photo.jpg a picture of 400x400; their shapes differ"):
            MapFileModel().infer_file(put(tmp_path, (400, 400)))


def test_names_are_compared_as_normalised_text(tmp_path: Path) -> None:
    np.save(tmp_path / "cafe\u0301_DEPTH.npy", RAMP)
    assert MapFileModel().find_map(tmp_path / "Caf\u00e9.JPG").name == "cafe\u0301_DEPTH.npy"


def npy(shape: str, content: bytes = b"") -> bytes:
    header = f"{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}, }}".ljust(117) + "\n"
    return b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header.encode() + content


def bomb() -> bytes:
    """Return the beginning of a PNG file that claims 40000 x 40000 px."""
    header = b"IHDR" + (40000).to_bytes(4, "big") * 2 + b"\x10\x00\x00\x00\x00"
    return b"\x89PNG\r\n\x1a\n" + (13).to_bytes(4, "big") + header + zlib.crc32(header).to_bytes(4, "big")


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("photo_depth.npy", npy("(1000000, 1000000)")),
        ("photo_depth.npy", npy("(0, 0)")),
        ("photo_depth.npy", npy("(4, 3, 0)")),
        ("photo_depth.npy", npy("(4, 3)")[:30]),
        ("photo_depth.npy", b"PK\x03\x04 an archive"),
        ("photo_depth.npy", b"\x80\x04cos\nsystem\n"),
        ("photo_depth.png", bomb()),
        ("photo_depth.png", b"no picture"),
    ],
)
def test_a_bad_map_is_refused_with_a_reason(name: str, content: bytes, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=r"photo_depth\.\w+ (can't be read as a depth map|holds no values)"):
        MapFileModel().infer_file(tmp_path / "photo.jpg")


def test_values_beyond_single_precision_are_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "photo_depth.npy", np.array([[1.0, 1e300]]))
    with pytest.raises(InputError, match="NaN or infinite"):
        MapFileModel().infer_file(tmp_path / "photo.jpg")
