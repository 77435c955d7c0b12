"""The real classes of transformers, with tiny random weights on disk, give depth in 0..1, 1 = near."""

import itertools
import shutil
import warnings
import weakref
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F

from inpaintkit.depth import DEPTH_MODELS, create_depth_model, depth_key, network_model
from inpaintkit.depth.network_model import NetworkDepthModel
from inpaintkit.depth.preparation import CENTRED, IMAGENET, add_border, normalise
from inpaintkit.depth.protocol import min_max
from inpaintkit.errors import InputError

transformers = pytest.importorskip("transformers")

TRANSFORMERS_NAMES = [name for name, spec in DEPTH_MODELS.items() if spec.loader == "transformers"]
NECK: dict[str, Any] = {
    "reassemble_factors": [4, 2, 1, 0.5],
    "neck_hidden_sizes": [4, 4, 8, 8],
    "fusion_hidden_size": 8,
}


def tiny_depth_anything(metric: bool) -> torch.nn.Module:
    stages = [f"stage{i}" for i in range(1, 5)]
    backbone = transformers.Dinov2Config(
        hidden_size=8, num_hidden_layers=4, num_attention_heads=2, image_size=28, patch_size=14, out_features=stages,
        reshape_hidden_states=False,
    )  # fmt: skip
    kind = {"depth_estimation_type": "metric", "max_depth": 20} if metric else {}
    config = transformers.DepthAnythingConfig(
        backbone_config=backbone, reassemble_hidden_size=8, head_hidden_size=4, patch_size=14, **NECK, **kind
    )
    return transformers.DepthAnythingForDepthEstimation(config)


def tiny_zoedepth() -> torch.nn.Module:
    backbone = transformers.BeitConfig(
        hidden_size=8, num_hidden_layers=4, num_attention_heads=2, intermediate_size=16, image_size=64, patch_size=16,
        use_relative_position_bias=True, reshape_hidden_states=False, out_features=[f"stage{i}" for i in range(1, 5)],
    )  # fmt: skip
    bins = [{"n_bins": 4, "min_depth": 0.001, "max_depth": 10.0, "name": "nyu"}]
    config = transformers.ZoeDepthConfig(
        backbone_config=backbone, bottleneck_features=8, num_attractors=[4, 2, 2, 1], bin_embedding_dim=8,
        num_relative_features=4, bin_configurations=bins, **NECK,
    )  # fmt: skip
    return transformers.ZoeDepthForDepthEstimation(config)


def tiny_depth_pro() -> torch.nn.Module:
    vit = transformers.Dinov2Config(
        hidden_size=16, num_hidden_layers=2, num_attention_heads=1, patch_size=4, image_size=16
    )
    config = transformers.DepthProConfig(
        patch_size=16, fusion_hidden_size=16, intermediate_hook_ids=[1, 0], intermediate_feature_dims=[10, 8],
        scaled_images_ratios=[0.5, 1.0], scaled_images_overlap_ratios=[0.0, 0.2], scaled_images_feature_dims=[12, 12],
        image_model_config=vit, patch_model_config=vit, fov_model_config=vit,
    )  # fmt: skip
    return transformers.DepthProForDepthEstimation(config)


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("checkpoints")
    with torch.random.fork_rng():
        torch.manual_seed(0)
        networks = {
            "relative": tiny_depth_anything(False),
            "metric": tiny_depth_anything(True),
            "zoedepth": tiny_zoedepth(),
            "depth_pro": tiny_depth_pro(),
        }
    generator = torch.Generator().manual_seed(0)
    for name, network in networks.items():
        # the default initialisation is so close to 0 that all depths would be equal
        for weights in network.parameters():
            if weights.dim() > 1:
                weights.data.normal_(0, 0.3, generator=generator)
        network.save_pretrained(root / name)
    return {name: root / name for name in networks}


def folder_for(name: str, checkpoints: dict[str, Path]) -> Path:
    spec = DEPTH_MODELS[name]
    return checkpoints[("metric" if spec.metric else "relative") if spec.family == "depth_anything" else spec.family]


def create(name: str, checkpoints: dict[str, Path], resolution: int | None = None) -> NetworkDepthModel:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*non-commercial")
        model = create_depth_model(name, resolution=resolution, model_path=folder_for(name, checkpoints))
    assert isinstance(model, NetworkDepthModel)
    return model


def pictures(height: int = 60, width: int = 100, count: int = 1) -> torch.Tensor:
    return torch.rand(count, 3, height, width, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("name", TRANSFORMERS_NAMES)
def test_every_name_infers_depth_in_range(name: str, checkpoints: dict[str, Path]) -> None:
    model = create(name, checkpoints, None if name.startswith("DepthPro") else 64)
    depth = model.infer(pictures())
    assert depth.dtype == torch.float32
    assert depth.shape[:2] == (1, 1)
    assert depth.shape[3] > depth.shape[2]
    assert depth.min() == 0
    assert depth.max() == 1
    assert (model.name, model.metric) == (name, DEPTH_MODELS[name].metric)


def test_the_small_depth_pro_looks_at_1024_px_with_the_same_weights(checkpoints: dict[str, Path]) -> None:
    large, small = (create(name, checkpoints).network for name in ("DepthPro", "DepthPro_S"))
    assert small.config.patch_size == 256
    assert DEPTH_MODELS["DepthPro_S"].resolution == 256 * 4
    weights = large.state_dict()
    assert all(torch.equal(value, weights[name]) for name, value in small.state_dict().items())


@pytest.mark.parametrize(("name", "sign"), [("Any_B", 1), ("Any_V2_N_S", -1)])
def test_near_is_one_for_relative_and_metric_networks(name: str, sign: int, checkpoints: dict[str, Path]) -> None:
    model = create(name, checkpoints, 56)
    prepared = normalise(F.interpolate(pictures(), (56, 98), mode="bicubic", antialias=True), IMAGENET)
    with torch.inference_mode():
        raw = sign * model.network(prepared).predicted_depth[:, None]
    assert (model.infer(pictures()) - (raw - raw.min()) / (raw.max() - raw.min())).abs().max() < 1e-4


def test_depth_anything_pictures_equal_the_librarys_own(checkpoints: dict[str, Path]) -> None:
    seen = watch(create("Any_B", checkpoints, 56), pictures())
    processor = transformers.DPTImageProcessor(
        size={"height": 56, "width": 56}, keep_aspect_ratio=True, ensure_multiple_of=14, do_rescale=False,
        image_mean=IMAGENET[0], image_std=IMAGENET[1],
    )  # fmt: skip
    theirs = processor(list(pictures()), return_tensors="pt")["pixel_values"]
    assert (seen - theirs).abs().max() < 1e-4


def test_depth_pro_pictures_equal_the_librarys_own(checkpoints: dict[str, Path]) -> None:
    seen = watch(create("DepthPro", checkpoints), pictures())
    processor = transformers.DepthProImageProcessor(size={"height": 32, "width": 32}, do_rescale=False)
    assert (seen - processor(list(pictures()), return_tensors="pt")["pixel_values"]).abs().max() < 1e-4


def test_zoedepth_border_and_scale_equal_the_librarys_own() -> None:
    """Without resizing, for which the library interpolates without antialiasing and this kit with it."""
    processor = transformers.ZoeDepthImageProcessor(do_resize=False, do_rescale=False)
    theirs = processor(list(pictures()), return_tensors="pt")["pixel_values"]
    assert (normalise(add_border(pictures()), CENTRED) - theirs).abs().max() < 1e-6


def test_zoedepth_outputs_equal_the_librarys_own_after_processing(checkpoints: dict[str, Path]) -> None:
    """The library enlarges first and then cuts off the border, the kit does the reverse: hence the tolerance."""
    model, given = create("ZoeD_N", checkpoints, 192), pictures(300, 300)
    seen = watch(model, given)
    with torch.inference_mode():
        answer = model.network(seen)
    (theirs,) = transformers.ZoeDepthImageProcessor().post_process_depth_estimation(answer, source_sizes=[(300, 300)])
    theirs = min_max(-theirs["predicted_depth"][None, None])
    ours = F.interpolate(model.infer(given), (300, 300), mode="bilinear")
    assert (ours - theirs).abs().mean() < 0.05
    assert (ours.flip(3) - theirs).abs().mean() > 0.1


def test_depth_pro_outputs_equal_the_librarys_own_after_processing(checkpoints: dict[str, Path]) -> None:
    """The library converts inverse depth to metres by the angle of view; their inverse in 0..1 is the kit's depth."""
    model, given = create("DepthPro", checkpoints), pictures(24, 32)
    with torch.inference_mode():
        answer = model.network(watch(model, given))
    # random weights give values beyond the library's limits; scaling to 0..1 undoes any linear change
    answer.predicted_depth = answer.predicted_depth / answer.predicted_depth.max() + 0.1
    processor = transformers.DepthProImageProcessor()
    (theirs,) = processor.post_process_depth_estimation(answer, target_sizes=[(24, 32)])
    ours = model.infer(given)
    inverse = min_max(1 / theirs["predicted_depth"][None, None])
    assert ours.shape == inverse.shape
    # the library doesn't antialias when it shrinks the output, and random weights give noise
    smoothed = [F.avg_pool2d(depth, 4).flatten() for depth in (ours, inverse)]
    assert torch.corrcoef(torch.stack(smoothed))[0, 1] > 0.8


def test_with_flip_a_mirrored_picture_gives_the_mirrored_depth(checkpoints: dict[str, Path]) -> None:
    plain = create("Any_B", checkpoints, 56)
    both = create_depth_model("Any_B", resolution=56, model_path=checkpoints["relative"], flip=True)
    assert (both.infer(pictures().flip(3)).flip(3) - both.infer(pictures())).abs().max() < 1e-4
    assert (plain.infer(pictures().flip(3)).flip(3) - plain.infer(pictures())).abs().max() > 0.05
    assert both.version != plain.version


def test_bf16_is_used_where_it_is_faster_and_close(
    checkpoints: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    exact = create("Any_B", checkpoints, 56)
    monkeypatch.setattr(network_model, "bf16_is_fast", lambda: True)  # like a processor with AMX
    clock = itertools.chain([0.0, 1.0, 1.0, 4.0], itertools.repeat(9.0))  # bf16 takes 1 s, fp32 3 s
    monkeypatch.setattr(network_model.time, "perf_counter", lambda: next(clock))
    monkeypatch.setattr(network_model, "BF16_TOLERANCE", 1.0)  # random weights are far more sensitive than trained ones
    rounded = create("Any_B", checkpoints, 56)
    assert rounded.dtype == torch.bfloat16
    assert rounded.version == exact.version + "-bf16"
    difference = (rounded.infer(pictures()) - exact.infer(pictures())).abs()
    assert 0 < difference.mean() < 0.05


def test_a_data_set_continues_in_its_original_arithmetic(checkpoints: dict[str, Path]) -> None:
    """Which one is faster is measured, and two measurements may disagree."""
    model = create("Any_B", checkpoints, 56)
    exact, rounded = model.version.removesuffix("-bf16"), model.version.removesuffix("-bf16") + "-bf16"
    answers = {}
    for version in (rounded, exact):
        model.compute_like(version)
        assert model.version == version
        answers[version] = model.infer(pictures())
    assert (answers[rounded] - answers[exact]).abs().max() > 0
    for other in (None, "another-model-bf16", exact + "-fp16"):
        model.compute_like(other)
        assert model.version == exact


def test_the_cache_key_separates_default_and_chosen_portrait_sizes(
    checkpoints: dict[str, Path],
) -> None:
    """Both have resolution 384, but take portrait pictures at 512 and 384 px: a depth cache must not mix them up."""
    models, portrait = (create("ZoeD_N", checkpoints), create("ZoeD_N", checkpoints, 384)), pictures(100, 60)
    assert [model.resolution for model in models] == [384, 384]
    assert models[0].infer(portrait).shape != models[1].infer(portrait).shape
    assert depth_key(portrait, models[0]) != depth_key(portrait, models[1])


@pytest.mark.parametrize(("speedup", "tolerance", "seconds"), [(1.0, 1.0, 3.0), (4.0, 0.0, 3.0), (4.0, 1.0, 0.5)])
def test_bf16_is_not_used_where_it_is_slow_or_far_off(
    speedup: float, tolerance: float, seconds: float, checkpoints: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(network_model, "bf16_is_fast", lambda: speedup > 1)
    clock = itertools.chain([0.0, 1.0, 1.0, 1.0 + seconds], itertools.repeat(9.0))
    monkeypatch.setattr(network_model.time, "perf_counter", lambda: next(clock))
    monkeypatch.setattr(network_model, "BF16_TOLERANCE", tolerance)
    assert create("Any_B", checkpoints, 56).dtype is None


@pytest.mark.parametrize("failure", [NotImplementedError("not implemented for 'BFloat16'"), InputError("holds NaN")])
def test_a_network_that_fails_in_bf16_is_used_in_fp32(
    failure: Exception, checkpoints: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(network_model, "bf16_is_fast", lambda: True)
    infer = NetworkDepthModel.infer

    def failing(self: NetworkDepthModel, given: torch.Tensor) -> torch.Tensor:
        if self.dtype is not None:
            raise failure
        return infer(self, given)

    monkeypatch.setattr(NetworkDepthModel, "infer", failing)
    model = create("Any_B", checkpoints, 56)
    assert model.dtype is None
    assert model.infer(pictures()).isfinite().all()


def test_a_weights_file_may_stand_for_its_folder(checkpoints: dict[str, Path]) -> None:
    path = checkpoints["relative"] / "model.safetensors"
    assert create_depth_model("Any_B", model_path=path).version == create("Any_B", checkpoints).version


def test_a_downloaded_checkpoint_is_used_without_network(checkpoints: dict[str, Path], tmp_path: Path) -> None:
    """The checkpoint lies where the hub's own library caches it."""
    repository = tmp_path / "models--LiheYoung--depth-anything-base-hf"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text("0123")
    shutil.copytree(checkpoints["relative"], repository / "snapshots" / "0123")
    model = create_depth_model("Any_B", hub_dir=tmp_path)
    assert model.version == create("Any_B", checkpoints).version


def test_a_checkpoint_that_fails_without_a_message_is_refused_with_one(
    checkpoints: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise MemoryError

    monkeypatch.setattr(transformers.AutoConfig, "from_pretrained", fail)
    with pytest.raises(InputError, match=r"model_path: .* can't be read \(MemoryError\); copy the files"):
        create("Any_B", checkpoints)


def test_zoedepth_gets_a_border_and_returns_depth_without_it(checkpoints: dict[str, Path]) -> None:
    model = create("ZoeD_N", checkpoints, 64)
    seen = watch(model, pictures(200, 200))
    assert seen.shape == (1, 3, 64, 64)
    # 30 of 260 px are border on each side
    assert model.infer(pictures(200, 200)).shape == (1, 1, 50, 50)


def watch(model: NetworkDepthModel, given: torch.Tensor) -> torch.Tensor:
    seen: list[torch.Tensor] = []
    handle = model.network.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].clone()))
    model.infer(given)
    handle.remove()
    return seen[0]


def test_version_follows_the_weights(checkpoints: dict[str, Path], tmp_path: Path) -> None:
    model = create("Any_B", checkpoints)
    assert model.version == create("Any_B", checkpoints).version
    next(model.network.parameters()).add_(1)
    model.network.save_pretrained(tmp_path)
    assert create_depth_model("Any_B", model_path=tmp_path).version != model.version


def test_a_picture_too_large_for_memory_is_refused_with_advice(checkpoints: dict[str, Path]) -> None:
    """By then, the memory that it had taken is free again."""
    model, failed = create("Any_S", checkpoints, 56), []

    def no_memory(_: object, inputs: tuple[torch.Tensor]) -> None:
        failed.append(weakref.ref(inputs[0]))
        raise torch.OutOfMemoryError

    model.network.register_forward_pre_hook(no_memory)
    with pytest.raises(
        InputError, match=r"Any_S: the picture does not fit .* lower resolution or use device=cpu"
    ) as said:
        model.infer(pictures())
    assert said
    assert failed[0]() is None


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_a_non_finite_output_is_never_a_depth(value: float, checkpoints: dict[str, Path]) -> None:
    """A damaged checkpoint may give NaN, which would become holes and stay in the depth cache."""
    model = create("Any_S", checkpoints, 56)

    def spoil(_: object, __: object, answer: Any) -> None:
        answer.predicted_depth[0, 3, 4] = value

    model.network.register_forward_hook(spoil)
    with pytest.raises(InputError, match="Any_S: its answer holds NaN or infinite values; use another checkpoint"):
        model.infer(pictures())


def test_non_commercial_weights_are_announced(checkpoints: dict[str, Path]) -> None:
    with pytest.warns(UserWarning, match="Any_V2_B: its weights are for non-commercial use only"):
        create_depth_model("Any_V2_B", model_path=checkpoints["relative"])


def test_unfit_checkpoints_are_refused(checkpoints: dict[str, Path], tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds a zoedepth network, but Any_B needs depth_anything"):
        create_depth_model("Any_B", model_path=checkpoints["zoedepth"])
    with pytest.raises(InputError, match=r"holds no config\.json"):
        create_depth_model("Any_B", model_path=tmp_path)
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(InputError, match="can't be read"):
        create_depth_model("Any_B", model_path=tmp_path)
    with pytest.raises(InputError, match="only works at 32 px"):
        create("DepthPro", checkpoints, 64)
