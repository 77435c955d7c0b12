"""Models of torch.hub are called as iw3 calls them; here by the real ``torch.hub.load`` on a local folder."""

from pathlib import Path

import pytest
import torch

from inpaintkit.depth import DEPTH_MODELS, create_depth_model
from inpaintkit.depth.network_model import NetworkDepthModel, _inverse_distance
from inpaintkit.depth.preparation import IMAGENET, normalise
from inpaintkit.depth.protocol import min_max
from inpaintkit.errors import InputError

HUBCONF = '''
from pathlib import Path
import torch
from torch import nn

def need(weights):
    assert (Path(torch.hub.get_dir()) / "checkpoints" / weights).exists(), weights

class Brightness(nn.Module):
    """Answers with the red channel; remembers what it was given."""
    def __init__(self, answer):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1))
        self.answer = answer
    def forward(self, x):
        self.seen = x.clone()
        return self.answer(x * self.weight)

class Preparation:
    """The network's own, which iw3 takes out."""
    def __call__(self, x):
        return nn.functional.interpolate(x, scale_factor=2)

class Core(nn.Module):
    def __init__(self):
        super().__init__()
        self.prep = Preparation()

def DistillAnyDepth(encoder):
    assert encoder in ("v2_vits", "v2_vitb", "v2_vitl")
    need(f"distill_any_depth_{encoder[3:]}.safetensors")
    return Brightness(lambda x: x[:, 0])

def DepthAnythingMetricDepth(model_type, remove_prep):
    assert model_type in ("indoor", "outdoor") and remove_prep is False
    need(f"depth_anything_metric_depth_{model_type}.pt")
    model = Brightness(lambda x: {"metric_depth": model.core.prep(x)[:, :1]})
    model.core = Core()
    return model

def load_model(model_name):
    assert model_name == "da3mono-large"
    need("da3mono-large.safetensors")
    return Brightness(lambda x: {"depth": x[:, :, 0] + 3, "sky": (x[:, :, 2] > 1).float()})
'''
HUB_NAMES = [name for name, spec in DEPTH_MODELS.items() if spec.loader == "torch.hub"]


def put_weights(folder: Path) -> None:
    (folder / "checkpoints").mkdir()
    for name in HUB_NAMES:
        (folder / "checkpoints" / DEPTH_MODELS[name].weights).touch()


@pytest.fixture
def hub_code(tmp_path: Path) -> Path:
    (tmp_path / "hubconf.py").write_text(HUBCONF)
    put_weights(tmp_path)
    return tmp_path


@pytest.fixture(autouse=True)
def _keep_hub_dir() -> None:
    torch.hub.set_dir(torch.hub.get_dir())


def create(name: str, **options: object) -> NetworkDepthModel:
    spec = DEPTH_MODELS[name]
    if spec.non_commercial:
        with pytest.warns(UserWarning, match="non-commercial"):
            model = create_depth_model(name, **options)  # type: ignore[arg-type]
    else:
        model = create_depth_model(name, **options)  # type: ignore[arg-type]
    assert isinstance(model, NetworkDepthModel)
    return model


def red_ramp(height: int = 42, width: int = 84) -> torch.Tensor:
    picture = torch.full((1, 3, height, width), 0.5)
    picture[:, 0] = torch.linspace(0, 1, width)
    return picture


@pytest.mark.parametrize("name", HUB_NAMES)
def test_every_name_infers_depth_the_right_way_round(name: str, hub_code: Path) -> None:
    depth = create(name, model_path=hub_code, hub_dir=hub_code, resolution=42).infer(red_ramp())
    assert depth.min() == 0
    assert depth.max() == 1
    # the stand-ins return redness: a distance for the metric networks and Depth Anything 3, else inverse depth
    far_is_red = DEPTH_MODELS[name].metric or name.startswith("Any_V3_Mono")
    assert (depth[..., 0].mean() > depth[..., -1].mean()) == far_is_red


def test_zoedepth_any_is_fed_as_iw3_feeds_it(hub_code: Path) -> None:
    model = create("ZoeD_Any_N", model_path=hub_code, hub_dir=hub_code, resolution=42)
    depth = model.infer(red_ramp())
    seen = model.network.seen
    assert isinstance(seen, torch.Tensor)
    assert seen.min() == pytest.approx(-1, abs=0.1)  # mean 0.5 and deviation 0.5, not ImageNet's
    assert seen.max() == pytest.approx(1, abs=0.1)
    assert all(side % 14 == 0 for side in seen.shape[2:])
    assert depth.shape[2] < seen.shape[2]  # the mirrored border is removed; the network's own resizing is disabled


def test_distill_any_depth_sees_imagenet_colours(hub_code: Path) -> None:
    model = create("Distill_Any_S", model_path=hub_code, hub_dir=hub_code, resolution=42)
    model.infer(red_ramp())
    assert isinstance(model.network.seen, torch.Tensor)
    assert (model.network.seen - normalise(red_ramp(), IMAGENET)).abs().max() < 1e-5


def test_the_sky_of_depth_anything_3_is_as_far_as_the_farthest(hub_code: Path) -> None:
    picture = red_ramp()
    picture[:, 2, :10, :20] = 1.0
    picture[:, 2, 10:] = 0.0
    depth = create("Any_V3_Mono", model_path=hub_code, hub_dir=hub_code, resolution=42).infer(picture)
    assert depth[0, 0, 2:8, 2:18].max() == 0
    assert depth[0, 0, 20:, 0].min() > 0.9
    assert depth[0, 0, 20:, -1].max() < 0.1


def test_depth_anything_3_knows_distance_only_up_to_scale() -> None:
    distance = torch.rand(1, 8, 8, generator=torch.Generator().manual_seed(0)) + 0.5
    sky = torch.zeros(1, 8, 8, dtype=torch.bool)
    sky[:, :2] = True
    near = min_max(_inverse_distance(distance, sky)[None])
    assert (min_max(_inverse_distance(50 * distance, sky)[None]) - near).abs().max() < 1e-5
    assert (distance[~sky].argsort() == near[0][~sky].argsort(descending=True)).all()
    assert min_max(_inverse_distance(distance, torch.ones_like(sky))[None]).max() == 0


def test_code_in_the_hub_folder_is_used_without_network_and_the_folder_is_set_back(tmp_path: Path) -> None:
    code = tmp_path / "nagadomi_Depth-Anything_iw3_main"
    code.mkdir()
    (code / "hubconf.py").write_text(HUBCONF)
    put_weights(tmp_path)
    before = torch.hub.get_dir()
    assert create("ZoeD_Any_K", hub_dir=tmp_path, resolution=42).infer(red_ramp()).max() == 1
    assert torch.hub.get_dir() == before


def test_a_failing_entry_is_reported_in_one_sentence(tmp_path: Path) -> None:
    put_weights(tmp_path)
    (tmp_path / "hubconf.py").write_text(
        "def DistillAnyDepth(encoder):\n    raise RuntimeError('size mismatch for weight\\nhere')\n"
    )
    with pytest.raises(InputError, match=r"it failed \(size mismatch for weight\); copy") as caught:
        create_depth_model("Distill_Any_L", model_path=tmp_path, hub_dir=tmp_path)
    assert "\n" not in str(caught.value)
    assert "FastDepth" in str(caught.value)


def test_missing_weights_are_named_with_their_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "hubconf.py").write_text(HUBCONF)
    monkeypatch.setattr("inpaintkit.depth.hub_models.is_reachable", lambda url: False)
    with pytest.raises(InputError, match=r"put its weights at .*checkpoints.depth_anything_metric_depth_indoor\.pt"):
        create_depth_model("ZoeD_Any_N", model_path=tmp_path, hub_dir=tmp_path)
    with pytest.raises(InputError, match="fetch it yourself"):
        create_depth_model("Distill_Any_B", model_path=tmp_path, hub_dir=tmp_path)


def test_a_folder_without_hubconf_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"holds no hubconf\.py"):
        create_depth_model("Any_V3_Mono", model_path=tmp_path)
