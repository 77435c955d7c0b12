"""Every name in the documentation can be requested; why a model can't be loaded is explained in one sentence."""

import contextlib
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from inpaintkit.depth import (
    DEPTH_MODELS,
    available_models,
    create_depth_model,
    hub_access,
    hub_models,
    transformers_models,
)
from inpaintkit.depth.hub_access import LIMIT, is_reachable, reachable
from inpaintkit.errors import InputError

NAMES = [
    "FastDepth", "File", "Any_S", "Any_B", "Any_L", "Any_V2_S", "Any_V2_B", "Any_V2_L", "Any_V2_N_S", "Any_V2_N_B",
    "Any_V2_N_L", "Any_V2_K_S", "Any_V2_K_B", "Any_V2_K_L", "Any_V2_N", "Any_V2_K", "Distill_Any_S", "Distill_Any_B",
    "Distill_Any_L", "DepthPro", "DepthPro_S", "ZoeD_N", "ZoeD_K", "ZoeD_NK", "ZoeD_Any_N", "ZoeD_Any_K", "Any_V3_Mono",
    "Any_V3_Mono_01",
]  # fmt: skip


def test_the_table_holds_the_names_of_iw3_and_two_that_need_no_hub() -> None:
    assert set(NAMES) <= set(DEPTH_MODELS)


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
    with pytest.raises(InputError, match=r"'Any_b' is unknown \(did you mean Any_B\?\)"):
        create_depth_model("Any_b")


def one_sentence(caught: pytest.ExceptionInfo[InputError], name: str) -> bool:
    message = str(caught.value)
    parts = (name, DEPTH_MODELS[name].source, "model_path", "model_type=FastDepth", "model_type=File")
    return "\n" not in message and all(part in message for part in parts)


@pytest.mark.parametrize("name", [name for name in NAMES if name not in ("FastDepth", "File")])
def test_lack_of_network_is_reported_within_seconds(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("http_proxy", "https_proxy"):
        monkeypatch.setenv(variable, "http://127.0.0.1:9")
    started = time.monotonic()
    with pytest.raises(InputError) as caught:
        create_depth_model(name, hub_dir=tmp_path)
    assert time.monotonic() - started < 10
    assert one_sentence(caught, name)


WITHOUT_NETWORK = """
import sys, time
from inpaintkit.depth import create_depth_model
from inpaintkit.errors import InputError
for name in sys.argv[2:]:
    started = time.monotonic()
    try:
        create_depth_model(name, hub_dir=sys.argv[1])
    except InputError as error:
        print(time.monotonic() - started, error)
"""


@pytest.fixture
def silent_server() -> Iterator[str]:
    """Return the address of a server that starts a response and never ends it, which no library's timeout notices."""
    ended = threading.Event()

    class Endless(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            with contextlib.suppress(OSError):
                while not ended.wait(0.1):
                    self.wfile.write(b"H")

        do_CONNECT = do_GET = do_HEAD

    with ThreadingHTTPServer(("127.0.0.1", 0), Endless) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        ended.set()
        server.shutdown()
        thread.join()


def test_a_network_that_never_answers_takes_less_than_ten_seconds(tmp_path: Path, silent_server: str) -> None:
    """In a process of its own, without the variables that tell the hubs' libraries to stay offline."""
    names = ("Any_B", "ZoeD_Any_N")
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("HF_", "TRANSFORMERS_"))}
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_NETWORK, str(tmp_path), *names],
        capture_output=True, text=True, check=True, env=environment | {"https_proxy": silent_server},
    )  # fmt: skip
    for name, said in zip(names, done.stdout.splitlines(), strict=True):
        seconds, _, message = said.partition(" ")
        assert float(seconds) < 10
        assert message.startswith(f"{name}: tried")
    assert not done.stderr


def test_no_request_outlives_the_time_limit(silent_server: str) -> None:
    """A thread that is still running when the program ends can crash it."""
    started, before = time.monotonic(), set(threading.enumerate())
    assert reachable([silent_server, f"{silent_server}/b"], 0.5) == {silent_server: False, f"{silent_server}/b": False}
    assert time.monotonic() - started < 2
    asking = [
        thread for thread in threading.enumerate() if thread not in before and "process_request" not in thread.name
    ]
    assert not asking
    assert LIMIT <= 5


def test_a_server_that_refuses_is_reachable() -> None:
    class Refusing(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self.send_error(403)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Refusing) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        assert is_reachable(f"http://127.0.0.1:{server.server_port}")
        server.shutdown()
        thread.join()


def test_the_command_to_install_transformers_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transformers_models, "is_installed", lambda: False)
    with pytest.raises(InputError, match=r"pip install transformers"):
        create_depth_model("Any_B")
    assert "pip install" in dict(available_models())["Any_B"]


@pytest.fixture
def no_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub_access, "reachable", lambda urls, limit: dict.fromkeys(urls, False))


def download(name: str, folder: Path) -> Path:
    """Lay out `folder` as the hubs' own downloads would and return the weights file."""
    spec = DEPTH_MODELS[name]
    if spec.loader == "torch.hub":
        hub_models.cached_code(spec, folder).mkdir(parents=True)
        weights = hub_models.cached_weights(spec, folder)
    else:
        repository = folder / f"models--{spec.source.replace('/', '--')}"
        (repository / "refs").mkdir(parents=True)
        (repository / "refs" / "main").write_text("0123")
        weights = repository / "snapshots" / "0123" / "model.safetensors"
        weights.parent.mkdir(parents=True)
        (weights.parent / "config.json").write_text("{}")
    weights.parent.mkdir(parents=True, exist_ok=True)
    tensors = {"weight": torch.ones(1000)}
    torch.save(tensors, weights) if weights.suffix == ".pt" else save_file(tensors, weights)
    return weights


@pytest.mark.usefixtures("no_answer")
def test_the_list_of_models_says_something_true_about_every_name(tmp_path: Path) -> None:
    states = dict(available_models(tmp_path))
    assert list(states) == list(DEPTH_MODELS)
    assert [name for name in NAMES if states[name].startswith("ready")] == ["FastDepth", "File"]
    assert "no answer from https://huggingface.co" in states["Any_B"]
    assert "no answer from https://github.com and https://huggingface.co" in states["ZoeD_Any_N"]
    assert "distill_any_depth_vitl.safetensors yourself" in states["Distill_Any_L"]


@pytest.mark.usefixtures("no_answer")
@pytest.mark.parametrize("name", ["Any_B", "DepthPro", "ZoeD_Any_N", "Distill_Any_L", "Any_V3_Mono"])
def test_a_model_is_ready_when_its_weights_are_there_complete(name: str, tmp_path: Path) -> None:
    weights = download(name, tmp_path)
    assert dict(available_models(tmp_path))[name].startswith("ready")
    weights.write_bytes(weights.read_bytes()[:1000])
    assert not dict(available_models(tmp_path))[name].startswith("ready")


def test_a_model_that_hubs_can_send_is_announced_as_such(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(hub_access, "reachable", lambda urls, limit: dict.fromkeys(urls, True))
    assert "will come from LiheYoung/depth-anything-base-hf" in dict(available_models(tmp_path))["Any_B"]


def test_options_that_a_model_does_not_know_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="model_type=File, not for FastDepth"):
        create_depth_model("FastDepth", map_values="distance")
    with pytest.raises(InputError, match="flip_average"):
        create_depth_model("File", flip=True)
    with pytest.raises(InputError, match="did you mean distance"):
        create_depth_model("File", map_values="distances")
    with pytest.raises(InputError, match="give the folder of"):
        create_depth_model("File", map_name="{name}")
    with pytest.raises(InputError, match="must hold"):
        create_depth_model("File", map_name="depth", model_path=tmp_path)
