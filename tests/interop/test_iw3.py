"""inpaintkit and the real iw3, each with the files that the other made.

Needs a checkout of nagadomi/nunif; without it the tests are skipped with that reason::

    git clone https://github.com/nagadomi/nunif
    pip install --no-deps --target iw3_needs dctorch     # the only package that iw3 needs beyond inpaintkit's own for tests
    IW3_DIR=$PWD/nunif PYTHONPATH=$PWD/iw3_needs pytest tests/interop

Nothing is downloaded. iw3's LPIPS is left out (its trainer then minimises L1 alone), its depth network is replaced by
FastDepth, and its network for the first kind of holes by an untrained one of the same class.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import io
import math
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from iw3_at_hand import OurDepth, iw3, require_iw3, train, training_options
from PIL import Image
from torch import Tensor, nn

from inpaintkit.config import GenerateConfig, TrainConfig
from inpaintkit.data import InpaintDataset, generate_dataset
from inpaintkit.depth import create_depth_model
from inpaintkit.inspection import Inpainter, stereo_pair
from inpaintkit.model import LightInpaintV1, iw3_snippet, load_model, load_state
from inpaintkit.training import Trainer
from inpaintkit.training.metrics import hole_psnr

ROOT = Path(__file__).parents[2]
SAMPLES = ROOT / "data" / "samples"
RELEASED = ROOT / "models" / "released" / "light_inpaint_v1.pth"
NAME = LightInpaintV1.name
HOME = require_iw3()

pytestmark = [pytest.mark.filterwarnings("ignore"), pytest.mark.slow]

CHANNELS = 10 * math.log10(
    3
)  # dB by which iw3's benchmark is lower: it sums the error over channels, but counts pixels once
FEW_HOLES = -2.2  # bias of the untrained network's last layer, without which everything would be hole
TINY: dict[str, Any] = {
    "max_epoch": 2, "batch_size": 2, "backward_step": 1, "num_samples": 4, "eval_step": 1, "device": "cpu",
    "amp": "off", "learning_rate_cycles": 1, "perceptual": "alex",
}  # fmt: skip


@pytest.fixture(scope="module", autouse=True)
def released_model_in_iw3() -> Iterator[None]:
    """Register the released checkpoint in iw3 with the entry that our export prints, and with one for videos too."""
    (HOME / "iw3").mkdir(exist_ok=True)
    videos_too = f"videos_too: {{image: {RELEASED}, video: {RELEASED}}}\n"
    (HOME / "iw3" / "inpaint_models.yml").write_text(iw3_snippet(RELEASED) + videos_too)
    yield
    shutil.rmtree(HOME, ignore_errors=True)


@pytest.fixture
def without_lpips(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(iw3("iw3.training.inpaint.trainer"), "LPIPSWith", lambda loss, weight: loss)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pictures")
    for name in ("train/cat_face", "train/dahlia", "eval/astronaut", "eval/dandelions"):
        (folder / name).parent.mkdir(exist_ok=True)
        with Image.open(SAMPLES / f"{name}.jpg") as image:
            image.thumbnail((700, 700))
            image.save(folder / f"{name}.jpg")
    return folder


@pytest.fixture(scope="module")
def our_set(pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("ours")
    generate_dataset(GenerateConfig(str(pictures), str(folder), "o", size=320, workers=0, device="cpu"))
    return folder


@pytest.fixture(scope="module")
def their_set(pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a data set with iw3's own generator."""
    folder = tmp_path_factory.mktemp("theirs")
    module = iw3("iw3.training.inpaint.create_training_data")
    iw3("random").seed(1)
    torch.manual_seed(2)  # the network's weights are drawn from it too
    untrained = iw3("nunif.models").create_model("sbs.mask_mlbw_l2").eval()
    untrained.delta_output = True
    untrained.lv1_out[-1].bias.data[-1] = FEW_HOLES
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(iw3("iw3.depth_model_factory"), "create_depth_model", lambda name: OurDepth())
        patch.setattr(module, "create_stereo_model", lambda *args, **options: untrained)
        module.main(
            argparse.Namespace(
                dataset_dir=str(pictures), data_dir=str(folder), prefix="iw3", model_type="Any_B", gpu=-1, resolution=None,
                size=512, num_samples=2, divergence_level=2, eval_only=False, max_workers=1,
            )
        )  # fmt: skip
    return folder


def assert_samples_equal(folder: Path) -> int:
    """Compare all evaluation samples of iw3's data set class and ours; return how many there are."""
    theirs = iw3("iw3.training.inpaint.dataset").InpaintDataset(str(folder), model_offset=16, training=False)
    ours = InpaintDataset(folder, training=False)
    names = [Path(path).name for path in theirs.files]
    assert sorted(names) == sorted(ours.names)
    for number, name in enumerate(names):
        x, hole, y, _ = theirs[number]
        ours_x, ours_hole, ours_y, _ = ours[ours.names.index(name)]
        assert torch.equal(hole, ours_hole), name
        assert torch.equal((x * 255).round(), (ours_x * 255).round()), name
        torch.testing.assert_close(ours_x, x, rtol=0, atol=1e-7)  # a level divided by 255, or times 1/255
        torch.testing.assert_close(ours_y, y, rtol=0, atol=1e-7)
    return len(names)


class TestDataSets:
    def test_iw3_sees_our_samples_as_we_do(self, our_set: Path) -> None:
        assert assert_samples_equal(our_set / "eval") >= 4
        assert assert_samples_equal(our_set / "train") >= 4

    def test_we_see_all_samples_of_a_set_made_by_iw3_as_it_does(self, their_set: Path) -> None:
        count = assert_samples_equal(their_set / "eval") + assert_samples_equal(their_set / "train")
        assert count >= 8
        values = {
            value for path in their_set.rglob("*_M.png") for value in np.unique(np.asarray(Image.open(path))).tolist()
        }
        assert values == {0, 127, 255}, "both kinds of hole were there to be compared"


class TestTraining:
    def test_defaults_equal_iw3s_except_those_on_the_page(self, tmp_path: Path) -> None:
        theirs, ours = vars(training_options(tmp_path, tmp_path)), dataclasses.asdict(TrainConfig())
        others = {name for name in theirs.keys() & ours.keys() if theirs[name] != ours[name]}
        off = {"clip_grad_norm", "ema_decay"}  # -1 and 0; 0.999, but only with --ema-model
        assert others == {"num_workers", "save_eval_step", "seed", "data_dir", "model_dir", "loss", *off}
        assert (theirs["loss"], ours["loss"]) == (None, "l1lpips"), "None: its trainer takes l1lpips for pictures"

    def test_iw3_trains_on_our_set_and_we_use_the_result(
        self, our_set: Path, without_lpips: None, tmp_path: Path
    ) -> None:
        train(our_set, tmp_path, "--max-epoch", "3")
        model, _ = load_model(tmp_path / "inpaint.light_inpaint_v1.pth")
        x, hole, _, _ = InpaintDataset(our_set / "eval", training=False)[0]
        assert torch.isfinite(Inpainter(model)(x[None], hole[None])).all()

    def test_we_train_on_a_set_of_iw3(self, their_set: Path, tmp_path: Path) -> None:
        report = Trainer(
            TrainConfig.from_params(TINY | {"data_dir": str(their_set), "model_dir": str(tmp_path)}), []
        ).fit()
        assert math.isfinite(report.best_score)


class TestBenchmark:
    def test_iw3s_psnr_is_ours_without_the_division_by_channels(
        self, our_set: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """iw3's PSNR in holes is 4.77 dB below ours for the released checkpoint: it doesn't divide by the channels."""
        benchmark = iw3("iw3.training.inpaint.benchmark")
        monkeypatch.setattr(benchmark, "LPIPSMetric", lambda net: _NoLpips())
        words = ["benchmark", "-i", str(our_set), "--checkpoint-file", str(RELEASED), "--gpu", "-1"]
        monkeypatch.setattr(sys, "argv", words)
        said = io.StringIO()
        with contextlib.redirect_stdout(said), contextlib.redirect_stderr(io.StringIO()):
            benchmark.main()
        figure = float(said.getvalue().split("Mask Region")[1].split("PSNR↑:")[1].split(",")[0])
        model, _ = load_model(RELEASED)
        ours = []
        for x, hole, y, _ in InpaintDataset(our_set / "eval", training=False):
            inner = hole[None, :, 16:-16, 16:-16]
            if inner.any():
                with torch.inference_mode():
                    output = model(*model.preprocess(x[None], hole[None]))
                ours.append(float(hole_psnr(output, y[None], inner)))
        assert figure == pytest.approx(sum(ours) / len(ours) - CHANNELS, abs=0.1)


class _NoLpips(nn.Module):
    def forward(self, *args: Any, **options: Any) -> Tensor:
        return torch.zeros(())


class TestStereo:
    @pytest.mark.parametrize("size", [(640, 480), (480, 640)], ids=["landscape", "portrait"])
    @pytest.mark.parametrize("name", ["train/dahlia", "eval/astronaut"])
    def test_iw3_makes_the_same_pair_with_our_checkpoint(self, name: str, size: tuple[int, int]) -> None:
        """The holes are equal, and colours differ by at most half a level, since windows don't see the whole frame.

        iw3 repeats the border where a view shows what lies beyond the picture; so does this call (`fill_border=False`).
        """
        with Image.open(SAMPLES / f"{name}.jpg") as image:
            levels = np.asarray(image.convert("RGB").resize(size))
        x = torch.from_numpy(levels.copy()).permute(2, 0, 1)[None] / 255
        depth = create_depth_model("FastDepth").infer(x)
        depth = nn.functional.interpolate(depth, x.shape[-2:], mode="bilinear", align_corners=True, antialias=True)
        with torch.inference_mode():
            theirs = iw3("iw3.forward_inpaint").ForwardInpaintImage("released", device_id=-1).infer(x, depth, 4.0, 0.5)
            masks = iw3("iw3.forward_warp").apply_divergence_forward_warp(
                x, depth, 4.0, 0.5, return_mask=True, width_base=False
            )[2:]
        pair = stereo_pair(x, depth, 4.0, 0.5, Inpainter(RELEASED), fill_border=False)
        for their, mask, hole, ours in (
            (theirs[0], masks[0], pair.left_hole, pair.left),
            (theirs[1], masks[1], pair.right_hole, pair.right),
        ):
            assert torch.equal(iw3("iw3.dilation").mask_closing(mask > 0) > 0, hole)
            assert float((ours - their).abs().max()) <= 0.5 / 255


class TestCommandLine:
    def test_both_make_the_same_views_of_a_photo(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        with Image.open(SAMPLES / "eval" / "astronaut.jpg") as image:
            image.convert("RGB").resize((213, 320)).save(tmp_path / "photo.png")
        words = (
            f"iw3 -i {tmp_path / 'photo.png'} -o {tmp_path / 'out'} --method forward_inpaint --inpaint-model videos_too"
        )
        monkeypatch.setattr(sys, "argv", [*words.split(), "--depth-model", "NULL", "--gpu", "-1"])
        iw3("iw3.cli").main()
        theirs = np.asarray(Image.open(tmp_path / "out" / "photo_LRF_Full_SBS.png")).astype(int)
        x = iw3("torchvision.transforms.functional").to_tensor(Image.open(tmp_path / "photo.png"))[None]
        depth = _null_depth(x, [2, 1])
        ours = stereo_pair(x, depth, 2.0, 0.5, Inpainter(RELEASED), fill_border=False).side_by_side()
        assert np.abs(theirs - ours).max() <= 1

    def test_depth_exported_by_iw3_is_read(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        with Image.open(SAMPLES / "eval" / "astronaut.jpg") as image:
            image.convert("RGB").resize((300, 300)).save(tmp_path / "photo.png")
        words = f"iw3 -i {tmp_path / 'photo.png'} -o {tmp_path / 'out'} --export --depth-model NULL --gpu -1"
        monkeypatch.setattr(sys, "argv", words.split())
        iw3("iw3.cli").main()
        maps = create_depth_model("File", model_path=tmp_path / "out" / "depth", map_name="{name}")
        depth = maps.infer_file(tmp_path / "out" / "rgb" / "photo.png")  # type: ignore[attr-defined]
        x = iw3("torchvision.transforms.functional").to_tensor(Image.open(tmp_path / "photo.png"))[None]
        torch.testing.assert_close(depth, _null_depth(x, 0), rtol=0, atol=1e-4)

    def test_frames_of_a_video_are_filled_as_pictures_are(self) -> None:
        with Image.open(SAMPLES / "eval" / "astronaut.jpg") as image:
            x = iw3("torchvision.transforms.functional").to_tensor(image.resize((128, 96)))[None]
        frames, depth = [x.roll(shift, -1) for shift in range(14)], _null_depth(x, 0)
        fill, views = iw3("iw3.forward_inpaint").ForwardInpaint("videos_too", device_id=-1), {}
        for mode in ("image", "video"):
            fill.set_mode(mode)
            made = [fill.infer(frame, depth, 4.0, 0.5)[1] for frame in frames] + [fill.flush()[1]]
            views[mode] = torch.cat([view for view in made if view is not None])
        assert len(views["video"]) == 14
        torch.testing.assert_close(views["video"], views["image"], rtol=0, atol=1e-4)  # batches of 12 round differently


def _null_depth(x: Tensor, edge_dilation: int | list[int]) -> Tensor:
    """Return the depth of iw3's model NULL, which is plain grey; [2, 1] is its command line's edge dilation."""
    model = iw3("iw3.null_depth_model").NullDepthModel("NULL")
    model.load(gpu=-1)
    depth: Tensor = model.minmax_normalize_chw(model.infer(x[0], edge_dilation=edge_dilation))[None]
    return depth


class TestStates:
    @pytest.mark.parametrize(
        ("optimizer", "scheduler"), [("adamw", "cosine_wd"), ("adamw", "none"), ("adamw_schedulefree", "none")]
    )
    def test_iw3_resumes_our_run(
        self,
        optimizer: str,
        scheduler: str,
        our_set: Path,
        without_lpips: None,
        tmp_path: Path,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        options = TINY | {"data_dir": str(our_set), "model_dir": str(tmp_path), "optimizer": optimizer}
        options["scheduler"] = scheduler
        Trainer(TrainConfig.from_params(options), []).fit()
        before = load_state(tmp_path / f"{NAME}.checkpoint.pth")
        names = [name for name, _ in LightInpaintV1().named_parameters()]
        run = train(our_set, tmp_path, "--resume", "--optimizer", optimizer, "--max-epoch", "5")
        assert "load checkpoint from" in capsys.readouterr().out
        assert run.start_epoch == before["last_epoch"] + 1
        after = load_state(tmp_path / f"{NAME}.checkpoint.pth")
        assert after["last_epoch"] == run.args.max_epoch > before["last_epoch"]
        assert len(after["scheduler_state_dict"]) == (optimizer == "adamw")
        steps = (
            [
                max(float(entry["step"]) for entry in state["optimizer_state_dict"][0]["state"].values())
                for state in (before, after)
            ]
            if optimizer == "adamw"
            else [0, 1]
        )
        assert steps[1] > steps[0]
        assert set(names) <= set(after["state_dict"])

    def test_moments_reach_the_parameters_that_they_belong_to(
        self, our_set: Path, without_lpips: None, tmp_path: Path
    ) -> None:
        options = TINY | {"data_dir": str(our_set), "model_dir": str(tmp_path)}
        Trainer(TrainConfig.from_params(options), []).fit()
        state = load_state(tmp_path / f"{NAME}.checkpoint.pth")["optimizer_state_dict"][0]
        model = iw3("nunif.models").create_model(NAME)
        optimizer = iw3("nunif.training.weight_decay_config").configure_adamw(model)
        optimizer.load_state_dict(state)
        for group in optimizer.param_groups:
            for parameter in group["params"]:
                assert optimizer.state[parameter]["exp_avg"].shape == parameter.shape

    @pytest.mark.parametrize("optimizer", ["adamw", "adamw_schedulefree"])
    def test_we_resume_a_run_of_iw3(self, optimizer: str, our_set: Path, without_lpips: None, tmp_path: Path) -> None:
        train(our_set, tmp_path, "--optimizer", optimizer, "--max-epoch", "3")
        theirs = load_state(tmp_path / f"{NAME}.checkpoint.pth")
        assert theirs["optimizer_state_dict"]
        model, facts = load_model(tmp_path / f"{NAME}.checkpoint.pth")
        assert facts["last_epoch"] == theirs["last_epoch"]
        assert all(torch.equal(value, theirs["state_dict"][name]) for name, value in model.state_dict().items())
        options = TINY | {"data_dir": str(our_set), "model_dir": str(tmp_path), "optimizer": optimizer, "resume": True}
        report = Trainer(TrainConfig.from_params(options | {"max_epoch": 5}), []).fit()
        assert report.finished
        assert [row["epoch"] for row in report.rows("train")] == list(range(theirs["last_epoch"] + 1, 6))
        ours = load_state(tmp_path / f"{NAME}.checkpoint.pth")
        if optimizer == "adamw":
            then, now = (state["optimizer_state_dict"][0]["state"][0]["step"] for state in (theirs, ours))
            assert now == report.steps > then
        else:
            then, now = (state["optimizer_state_dict"][0]["param_groups"][0]["k"] for state in (theirs, ours))
            assert now == report.steps > then
        assert list((tmp_path / "old").iterdir())
        assert math.isfinite(report.best_score)
