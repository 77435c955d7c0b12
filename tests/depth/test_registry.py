"""Every name of the user's document can be asked for; what can't be had is explained in one sentence."""

import socket
import threading
import time

import pytest

from inpaintkit.depth import DEPTH_MODELS, available_models, create_depth_model, registry, transformers_models
from inpaintkit.depth.hub_access import NAME_LOOKUP_TIMEOUT, is_reachable
from inpaintkit.errors import InputError

NAMES = [
    "FastDepth",
    "File",
    "Any_S",
    "Any_B",
    "Any_L",
    "Any_V2_S",
    "Any_V2_B",
    "Any_V2_L",
    "Any_V2_N_S",
    "Any_V2_N_B",
    "Any_V2_N_L",
    "Any_V2_K_S",
    "Any_V2_K_B",
    "Any_V2_K_L",
    "Any_V2_N",
    "Any_V2_K",
    "Distill_Any_S",
    "Distill_Any_B",
    "Distill_Any_L",
    "DepthPro",
    "ZoeD_N",
    "ZoeD_K",
    "ZoeD_NK",
    "ZoeD_Any_N",
    "ZoeD_Any_K",
    "Any_V3_Mono",
]


def test_the_table_holds_exactly_the_documented_names() -> None:
    assert sorted(DEPTH_MODELS) == sorted(NAMES)


@pytest.mark.parametrize(
    ("name", "source"),
    [
        ("Any_B", "LiheYoung/depth-anything-base-hf"),
        ("Any_V2_S", "depth-anything/Depth-Anything-V2-Small-hf"),
        ("Any_V2_N", "depth-anything/Depth-Anything-V2-Metric-Indoor-Large-hf"),
        ("Any_V2_K_B", "depth-anything/Depth-Anything-V2-Metric-Outdoor-Base-hf"),
        ("DepthPro", "apple/DepthPro-hf"),
        ("ZoeD_NK", "Intel/zoedepth-nyu-kitti"),
        ("ZoeD_Any_N", "nagadomi/Depth-Anything_iw3:main"),
    ],
)
def test_names_lead_to_the_hub_ids_of_iw3(name: str, source: str) -> None:
    assert DEPTH_MODELS[name].source == source


def test_default_resolutions_and_metric_models() -> None:
    assert (DEPTH_MODELS["Any_B"].resolution, DEPTH_MODELS["Any_B"].multiple) == (392, 14)
    assert (DEPTH_MODELS["ZoeD_N"].resolution, DEPTH_MODELS["ZoeD_N"].portrait_resolution) == (384, 512)
    assert (DEPTH_MODELS["ZoeD_Any_K"].resolution, DEPTH_MODELS["ZoeD_Any_K"].portrait_resolution) == (392, 518)
    metric = {name for name, spec in DEPTH_MODELS.items() if spec.metric}
    assert metric == {name for name in NAMES if name.startswith(("Any_V2_N", "Any_V2_K", "ZoeD"))}


def test_a_misspelt_name_is_corrected() -> None:
    with pytest.raises(InputError, match=r"'Any_b' is unknown \(did you mean Any_\w+\?\)"):
        create_depth_model("Any_b")


@pytest.mark.parametrize("name", ["Any_B", "ZoeD_Any_N"])
def test_without_network_one_sentence_within_seconds(
    name: str, tmp_path: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError("network is unreachable")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    started = time.monotonic()
    with pytest.raises(InputError) as caught:
        create_depth_model(name, hub_dir=str(tmp_path))
    assert time.monotonic() - started < 10
    message = str(caught.value)
    assert "\n" not in message
    assert all(part in message for part in (name, DEPTH_MODELS[name].source, "model_path", "FastDepth", "File"))


def test_a_name_server_that_never_answers_does_not_hang(monkeypatch: pytest.MonkeyPatch) -> None:
    answered = threading.Event()

    def wait(*_: object, **__: object) -> None:
        answered.wait(20)
        raise OSError("no answer")

    monkeypatch.setattr(socket, "getaddrinfo", wait)
    monkeypatch.setattr("inpaintkit.depth.hub_access.NAME_LOOKUP_TIMEOUT", 0.2)
    started = time.monotonic()
    assert not is_reachable("https://example.org")
    assert time.monotonic() - started < 2
    answered.set()
    assert NAME_LOOKUP_TIMEOUT < 10


def test_without_transformers_the_command_to_install_it_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transformers_models, "is_installed", lambda: False)
    with pytest.raises(InputError, match=r"pip install inpaintkit\[depth\]"):
        create_depth_model("Any_B")
    assert "pip install" in dict(available_models())["Any_B"]


def test_available_models_says_something_about_every_name(monkeypatch: pytest.MonkeyPatch) -> None:
    states = dict(available_models())
    assert list(states) == list(DEPTH_MODELS)
    assert states["FastDepth"].startswith("ready")
    monkeypatch.setattr(registry.transformers_models, "is_downloaded", lambda spec: spec.source.startswith("apple"))
    states = dict(available_models())
    assert states["DepthPro"].startswith("ready")
    assert states["Any_B"].startswith("not downloaded")
