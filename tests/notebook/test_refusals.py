"""What can't work is refused in one sentence before any work starts, with a failing exit status."""

import dataclasses
import json
import os
import shutil
import subprocess
import sys
import typing
from pathlib import Path

import pytest
import yaml
from nbclient.exceptions import DeadKernelError
from papermill.exceptions import PapermillExecutionError
from PIL import Image
from toy_files import copy_photos

from inpaintkit.__main__ import main
from inpaintkit.config import GenerateConfig
from inpaintkit.config.options import may_be_none
from inpaintkit.errors import InputError
from inpaintkit.notebook.parameters import CONFIGS, from_file, parse_assignments, resolve, with_preset
from inpaintkit.notebook.runs import execute

pytestmark = pytest.mark.attack

ROOT = Path(__file__).parents[2]
NOTEBOOKS = ROOT / "notebooks"
GENERATE = {"prefix": "test", "model_type": "FastDepth"}


def refusal(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """Run a command line that must be refused, and return its one sentence."""
    assert main(list(arguments)) == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1
    assert lines[0].startswith("inpaintkit: ")
    return lines[0]


def generate(*params: str) -> list[str]:
    return ["run", "01_generate", *(word for param in ("prefix=test", *params) for word in ("-p", param))]


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Return a data set folder with one photo in each half."""
    return copy_photos(tmp_path / "pictures", train="cat_face", eval="astronaut")


class TestGenerate:
    @pytest.mark.parametrize(
        ("typed", "said"),
        [
            ("dataset_dirr=x", "dataset_dirr (did you mean dataset_dir?)"),
            ("size=big", "size: expected int, got 'big' (str)"),
            ("divergence_level=4", "divergence_level: 4 is out of range"),
            ("dataset_dir=/nowhere", "/nowhere does not exist"),
            ("size=[", "can't be read"),
            ("size=*a", "can't be read"),
            ("seed=2024-13-45", "can't be read"),
            ("preset=tri", "did you mean try"),
            ("resume", "not name=value"),
            *((f"shard={shard}", "0/4") for shard in ("1/1", "2", "a/b", "-1/2")),
        ],
    )
    def test_invalid_values(self, typed: str, said: str, capsys: pytest.CaptureFixture[str]) -> None:
        assert said in refusal(capsys, *generate(typed))

    def test_empty_folder(self, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
        words = generate(f"dataset_dir={tmp_path / 'in'}", f"output_dir={tmp_path / 'out'}")
        (tmp_path / "in").mkdir()
        assert "too few files" in refusal(capsys, *words)

    def test_no_eval_pictures(self, capsys: pytest.CaptureFixture[str], pictures: Path) -> None:
        (pictures / "eval" / "astronaut.jpg").unlink()
        said = refusal(capsys, *generate(f"dataset_dir={pictures}", f"output_dir={pictures.parent / 'out'}"))
        assert "eval: it is empty; put eval pictures there" in said

    @pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
    def test_no_permission(self, capsys: pytest.CaptureFixture[str], pictures: Path) -> None:
        locked = pictures.parent / "locked"
        locked.mkdir(mode=0o500)
        assert "cannot write into" in refusal(
            capsys, *generate(f"dataset_dir={pictures}", f"output_dir={locked / 'out'}")
        )

    def test_output_is_a_file(self, capsys: pytest.CaptureFixture[str], pictures: Path) -> None:
        file = pictures.parent / "file"
        file.write_text("")
        said = refusal(capsys, *generate(f"dataset_dir={pictures}", f"output_dir={file}"))
        assert "cannot write into" in said

    @pytest.mark.parametrize("prefix", ["", "../up", "a/b", "a b", "x" * 65])
    def test_prefix_that_cannot_start_a_file_name(self, prefix: str, capsys: pytest.CaptureFixture[str]) -> None:
        assert "prefix: " in refusal(capsys, "run", "01_generate", "-p", f"prefix={prefix}")

    @pytest.mark.parametrize("option", ["map_name={name}_d", "map_values=distance", "flip_average=True"])
    def test_map_options_that_the_depth_model_cannot_use(
        self, option: str, capsys: pytest.CaptureFixture[str], pictures: Path
    ) -> None:
        out, model = pictures.parent / "out", "File" if option.startswith("flip") else "FastDepth"
        words = generate(f"dataset_dir={pictures}", f"output_dir={out}", f"model_type={model}", option)
        assert "model_type=File" in refusal(capsys, *words)
        assert not out.exists()

    def test_device_that_is_not_there_is_refused_before_work(
        self, capsys: pytest.CaptureFixture[str], pictures: Path
    ) -> None:
        words = generate(f"dataset_dir={pictures}", f"output_dir={pictures.parent / 'out'}", "device=cuda:99")
        assert "use device=auto or device=cpu" in refusal(capsys, *words)


class TestTrain:
    def test_no_records(self, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
        said = refusal(capsys, "run", "02_train", "-p", f"data_dir={tmp_path}", "-p", f"model_dir={tmp_path / 'm'}")
        assert "run 01_generate first" in said
        assert not (tmp_path / "m").exists()

    @pytest.mark.parametrize(
        ("params", "sentence"),
        [
            (["reset_state=True"], "together with resume=True"),
            (["resume=True", "overwrite=True"], "set only one of the two"),
            (["crop_size=102"], "not a multiple of 4"),
            (["ema_decay=1"], "ema_decay: 1 would never take in new weights"),
            (["loss=l2lpips"], "did you mean l1lpips?"),
            (["learning_rate=-1"], "out of range"),
        ],
    )
    def test_contradictions(self, params: list[str], sentence: str, capsys: pytest.CaptureFixture[str]) -> None:
        assert sentence in refusal(capsys, "run", "02_train", *(w for param in params for w in ("-p", param)))

    def test_crops_too_small_for_a_discriminator(self, capsys: pytest.CaptureFixture[str]) -> None:
        said = refusal(capsys, "run", "03_finetune_gan", "-p", "crop_size=68")
        assert "crop_size: 68 is out of range; it must be at least 72" in said


class TestCommandLine:
    def test_unknown_notebook(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert "did you mean 02_train?" in refusal(capsys, "run", "02_trian")
        assert "notebook 0 does not exist" in refusal(capsys, "run", "0"), "could be any of them"

    @pytest.mark.parametrize(
        ("typed", "said"),
        [
            (
                ["generate", "photos"],
                "there is no command generate; `inpaintkit run 01_generate -p NAME=VALUE` does that",
            ),
            (["evaluat"], "there is no command evaluat (did you mean evaluate?)"),
            (["don't"], "there is no command don't; `inpaintkit -h` lists all"),
            (["run"], "NOTEBOOK"),
            (["run", "02_train", "max_epoch=3"], "max_epoch=3; -p goes before NAME=VALUE"),
            (["stereo", "x.jpg", "--divergence", "much"], "'much'; `inpaintkit stereo -h` explains"),
            (["clean", "--output-dir", "nowhere", "--prefix", "a_b"], "the folder nowhere does not exist"),
            (["run", "02_train", "-f", "nowhere.yaml"], "no such parameter file"),
            (["run", "02_train", "-f", "try"], "no such parameter file (did you mean 02_train.try?)"),
            (["run", "02_train", "-f", "02_train.ful"], "no such parameter file (did you mean 02_train.full?)"),
            (
                ["stereo", "x.jpg", "--divergance=3"],
                "no option --divergance (did you mean --divergence?); `inpaintkit stereo -h`",
            ),
            (["stereo", "x.jpg", "--fil", "row"], "no option --fil (did you mean --fill?)"),
            (["inspect", "My", "model.pth"], "model.pth; a value with a space in it needs quotes around it"),
            (["stereo", "My", "photo.jpg"], "picture: the file My does not exist"),
            (["stereo", "x.png", "--convergence", "50"], "convergence: 50.0 is out of range"),
            (["stereo", "x.png", "--edge-dilation", "-1"], "edge_dilation: -1 is out of range"),
            (["stereo", "x.png", "--outer-dilation", "-1"], "outer_dilation: -1 is out of range"),
            (["inspect", "~no-one-here/m.pth"], "~no-one-here/m.pth: the file does not exist"),
            (["stereo", "."], "picture: . is a folder; give a file in it"),
            (["stereo", "~no-one-here/a.jpg"], "picture: the file ~no-one-here/a.jpg does not exist"),
            (["run", "02_train", "-p", "data_dir=~no-one-here/data"], "~no-one-here/data does not exist"),
        ],
    )
    def test_invalid_arguments(self, typed: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
        assert said in refusal(capsys, *typed)

    def test_a_misspelt_name_without_a_value(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert "has no parameter max_epohc" in refusal(capsys, "run", "02_train", "-p", "max_epohc=None", "--dry-run")

    @pytest.mark.parametrize("notebook", ["02_train", "train", "2", "notebooks/02_train.ipynb"])
    def test_copies_in_the_folder_of_the_notebooks_do_no_harm(
        self, notebook: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        shutil.copytree(NOTEBOOKS, tmp_path / "notebooks")
        for copy in ("02_train-Copy1", "02_train_mine", "my_train"):
            shutil.copy(NOTEBOOKS / "02_train.ipynb", tmp_path / "notebooks" / f"{copy}.ipynb")
        monkeypatch.chdir(tmp_path)
        assert main(["params", notebook]) == 0
        assert "max_epoch: int = 200" in capsys.readouterr().out
        assert "02_train_mine: not one of the kit's notebooks" in refusal(capsys, "params", "02_train_mine")

    def test_a_run_in_the_folder_of_its_data_set(self, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
        data = some_records(tmp_path, hole="quarter")
        said = refusal(capsys, "run", "02_train", "-p", f"data_dir={data}", "-p", f"model_dir={data}", "--dry-run")
        assert f"model_dir: {data} holds the records of a data set; name a folder of its own" in said

    def test_inspecting_an_invalid_checkpoint(self, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
        (tmp_path / "x.pth").write_text("hello")
        assert "x.pth" in refusal(capsys, "inspect", str(tmp_path / "x.pth"))

    @pytest.mark.parametrize(
        ("name", "said"),
        [("x.jpg", "is not a picture in a known format; give a photo"), ("x.mkv", "is a video; iw3 converts")],
    )
    def test_stereo_of_an_invalid_picture(
        self, name: str, said: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
    ) -> None:
        (tmp_path / name).write_text("hello")
        assert f"{name} {said}" in refusal(capsys, "stereo", str(tmp_path / name), "-o", str(tmp_path / "out"))

    @pytest.mark.parametrize("fill", ["rows", "all"])
    def test_stereo_with_an_unknown_fill(self, fill: str, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
        Image.new("RGB", (80, 72)).save(tmp_path / "x.png")
        said = refusal(capsys, "stereo", str(tmp_path / "x.png"), "--fill", fill, "-o", str(tmp_path / "out"))
        assert f"fill: '{fill}' is unknown" in said

    @pytest.mark.parametrize(
        ("hole", "param", "said"),
        [
            ("black", "seed=1", "none of the 1 masks"),
            ("white", "seed=1", "have a hole of more than 75%"),
            ("quarter", "crop_size=512", "less than the crop of 512 px"),
            ("quarter", "eval_records=b*", "eval_records"),
            ("quarter", "perceptual_path=no/such.pth", "no/such.pth does not exist; give a file or folder, or None"),
        ],
    )
    def test_unusable_records(
        self, hole: str, param: str, said: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
    ) -> None:
        words = ["-p", f"data_dir={some_records(tmp_path, hole=hole)}", "-p", f"model_dir={tmp_path / 'm'}"]
        assert said in refusal(capsys, "run", "02_train", *words, "-p", param)
        assert not (tmp_path / "m" / "02_train.ipynb").exists()

    @pytest.mark.parametrize(("notebook", "name"), [("02_train", "checkpoint_file"), ("04_inspect", "checkpoint")])
    def test_invalid_weights(
        self, notebook: str, name: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
    ) -> None:
        (tmp_path / "w.pth").write_bytes(b"no weights")
        words = [f"data_dir={some_records(tmp_path, hole='quarter')}", f"{name}={tmp_path / 'w.pth'}"]
        run = ["run", notebook, *(word for text in words for word in ("-p", text)), "--run-dir", str(tmp_path / "m")]
        assert "w.pth" in refusal(capsys, *run)
        assert not (tmp_path / "m" / f"{notebook}.ipynb").exists()

    @pytest.mark.parametrize(
        ("content", "said"),
        [
            (b"a: [1", "not valid YAML"),
            (b"data_dir: a\n  model_dir: b\n", "(line 2: mapping values are not allowed here); write"),
            ("prefix: caf\u00e9".encode("latin-1"), "not valid YAML in UTF-8"),
            (
                b"a: &a [x,x,x,x,x,x,x,x,x]\n"
                + b"".join(b"%c: &%c [%s]\n" % (n, n, b",".join([b"*%c" % (n - 1)] * 9)) for n in range(98, 107)),
                "aliases",
            ),
            (b"a: &a [*a]", "not valid YAML"),
            (b"5", "one `name: value` a line"),
            (b"seed: 2024-13-45", "not valid YAML"),
            (b"x" * (2 << 20), "too many for parameters"),
        ],
    )
    def test_invalid_parameter_files(
        self, content: bytes, said: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
    ) -> None:
        (tmp_path / "p.yaml").write_bytes(content)
        assert said in refusal(capsys, "run", "02_train", "-f", str(tmp_path / "p.yaml"))

    def test_dry_run_prints_every_parameter_and_starts_nothing(
        self, capsys: pytest.CaptureFixture[str], tmp_path: Path
    ) -> None:
        words = ["-p", "max_epoch=3", "-p", f"data_dir={some_records(tmp_path)}"]
        assert main(["run", "02_train", *words, "--run-dir", str(tmp_path / "für"), "--dry-run"]) == 0
        said = capsys.readouterr().out
        shown = yaml.safe_load(said)
        assert shown["max_epoch"] == 3
        assert shown["model_dir"] == str(tmp_path / "für")
        assert f"model_dir: {tmp_path / 'für'}\n" in said, "as people write it"
        assert not (tmp_path / "für").exists()

    def test_the_run_folder_of_the_command_line_wins_over_that_of_the_parameter_file(
        self, capsys: pytest.CaptureFixture[str], tmp_path: Path
    ) -> None:
        first, second = str(tmp_path / "first"), str(tmp_path / "second")
        data = {"02_train": f"data_dir: {some_records(tmp_path)}", "01_generate": "prefix: x"}
        own = {"02_train": f"model_dir: {first}", "01_generate": "run_dir: null"}
        for notebook, line in own.items():
            (tmp_path / "params.yaml").write_text(f"{data[notebook]}\n{line}\n")
            run = ["run", notebook, "-f", str(tmp_path / "params.yaml"), "--run-dir", second, "--dry-run"]
            assert main(run) == 0
            assert capsys.readouterr().out.startswith(f"# run folder: {second}\n")
        assert f"run_dir={first} and {second} are two run folders" in refusal(capsys, *run, "-p", f"run_dir={first}")

    @pytest.mark.parametrize("notebook", ["02_train", "train", "2", "02"])
    def test_params_lists_every_option_with_its_help(self, notebook: str, capsys: pytest.CaptureFixture[str]) -> None:
        assert main(["params", notebook]) == 0
        shown = capsys.readouterr().out
        assert "max_epoch: int = 200" in shown
        assert "number of epochs, each of num_samples samples" in shown

    def test_relative_paths_typed_by_hand_count_from_the_working_folder(
        self, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(tmp_path)
        some_records(tmp_path)
        assert main(["run", "02_train", "-p", "data_dir=mine", "-p", f"model_dir={tmp_path / 'm'}", "--dry-run"]) == 0
        assert yaml.safe_load(capsys.readouterr().out)["data_dir"] == str(tmp_path / "mine")
        for file in ("3c4d", "x.pth", "mine.py", "row"):
            (tmp_path / file).touch()
        (tmp_path / "model.pth").symlink_to("3c4d")
        fills = ["all", "row", "x.pth", "mine.py:f", "3c4d"]
        words = ["-p", "checkpoint=model.pth", "-p", f"fills={','.join(fills)},", "-p", "run_dir=r"]
        assert main(["run", "04_inspect", *words, "--dry-run"]) == 0
        shown = yaml.safe_load(capsys.readouterr().out)
        assert shown["checkpoint"] == str(tmp_path / "model.pth"), "not the name that a hub's cache gave to the file"
        assert shown["fills"].split(", ") == [*fills[:2], *(str(tmp_path / fill) for fill in fills[2:])]

    def test_a_path_may_begin_with_the_home_folder(
        self, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("HOME", str(tmp_path))
        some_records(tmp_path)
        assert main(["run", "02_train", "-p", "data_dir=~/mine", "-p", "model_dir=~/m", "--dry-run"]) == 0
        assert GenerateConfig(output_dir="~/data", prefix="x").output_dir == str(tmp_path / "data")
        assert not Path("~").exists()
        assert main(["run", "02_train", "-p", "data_dir=~no-user/x", "-p", "model_dir=~/m", "--dry-run"]) == 2
        assert "~no-user/x does not exist; give the path of an existing folder" in capsys.readouterr().err
        assert GenerateConfig(output_dir="~no-user", prefix="x").output_dir == "~no-user", "a name that begins so"
        assert GenerateConfig(output_dir=Path("~/data"), prefix="x").output_dir == str(tmp_path / "data")  # type: ignore[arg-type]

    def test_dry_runs_and_refusals_leave_no_folders(self, tmp_path: Path) -> None:
        words = ["-p", "dataset_dir=data/samples", "-p", f"output_dir={tmp_path / 'new' / 'set'}", "-p", "prefix=x"]
        assert main(["run", "01_generate", *words, "--dry-run"]) == 0
        assert main(["run", "01_generate", *words, "-p", "device=cuda:99"]) == 2
        assert not list(tmp_path.iterdir())

    def test_a_dry_run_looks_at_paths(self, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
        assert "does not exist" in refusal(capsys, "run", "02_train", "-p", f"data_dir={tmp_path / 'no'}", "--dry-run")

    @pytest.mark.parametrize("file", ["02_train.full", "params/02_train.full.yaml"])
    def test_a_parameter_file_is_found_by_its_name(
        self, file: str, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(tmp_path)
        words = ["-f", file, "-p", f"data_dir={some_records(tmp_path)}", "-p", f"model_dir={tmp_path / 'm'}"]
        assert main(["run", "02_train", *words, "--dry-run"]) == 0
        assert yaml.safe_load(capsys.readouterr().out)["num_samples"] == 20000
        monkeypatch.chdir(ROOT)
        assert from_file("02_train", file) == {"preset": "full"}, "the run says what differs from it"

    @pytest.mark.parametrize(
        ("file", "given"), [("02_train.mine.yml", {"max_epoch": 7}), ("02_train.a.b.yaml", {"preset": "a.b"})]
    )
    def test_the_folder_of_the_presets_takes_custom_files(
        self, file: str, given: dict[str, object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        shutil.copytree(NOTEBOOKS, tmp_path / "notebooks")
        (tmp_path / "params").mkdir()
        (tmp_path / "params" / file).write_text("max_epoch: 7")
        monkeypatch.chdir(tmp_path)
        assert from_file("02_train", f"params/{file}") == given
        assert with_preset("02_train", given) == {"max_epoch": 7}

    def test_a_shipped_parameter_file_never_replaces_one_in_a_mistyped_folder(
        self, capsys: pytest.CaptureFixture[str]
    ) -> None:
        said = "there is no such parameter file"
        assert said in refusal(capsys, "run", "02_train", "-f", "nosuchfolder/02_train.try.yaml", "--dry-run")
        assert said in refusal(capsys, "batch", "nosuchfolder/batch.example.yaml", "--dry-run")

    @pytest.mark.parametrize(
        "command", [["params", "02_train"], ["run", "02_train", "-p", "num_sample=5"], ["--help"], ["stereo", "-h"]]
    )
    def test_help_and_refusals_come_without_loading_torch(self, command: list[str]) -> None:
        code = f"import sys; from inpaintkit.__main__ import main\ntry: main({command})\nexcept SystemExit: pass\nsys.exit('torch' in sys.modules)"
        assert subprocess.run([sys.executable, "-c", code], capture_output=True, check=False).returncode == 0

    def test_without_a_command_it_explains_itself(self, capsys: pytest.CaptureFixture[str]) -> None:
        with pytest.raises(SystemExit, match="0"):
            main([])
        assert "examples:" in capsys.readouterr().out

    def test_reading_only_the_first_lines_gives_no_traceback(self) -> None:
        command = f"{sys.executable} -m inpaintkit params 02_train | head -1"
        done = subprocess.run(command, shell=True, capture_output=True, text=True, check=False)
        assert done.stdout.startswith("preset: ")
        assert not done.stderr

    def test_it_runs_as_a_module_with_a_status(self, tmp_path: Path) -> None:
        command = [sys.executable, "-m", "inpaintkit", "run", "01_generate", "-p", "prefixx=a"]
        done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False)
        assert done.returncode == 2
        assert "did you mean prefix?" in done.stderr


def some_records(folder: Path, name: str = "mine", hole: str = "black") -> Path:
    """Make a folder that looks like a data set: one record in each half, its mask black, white or a quarter white."""
    mask = Image.new("L", (300, 300), "white" if hole == "white" else "black")
    if hole == "quarter":
        mask.paste("white", (100, 100, 250, 250))
    for split in ("train", "eval"):
        (folder / name / split).mkdir(parents=True)
        Image.new("RGB", (300, 300)).save(folder / name / split / "a_C.png")
        mask.save(folder / name / split / "a_M.png")
    return folder / name


def test_values_typed_by_hand_mean_what_they_look_like(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    some_records(tmp_path, "2024")
    typed = [
        "preset=None",
        "learning_rate=1e-4",
        "resume=True",
        "max_seconds=None",
        "data_dir=2024",
        "max_epoch=3",
        "model_dir=m",
    ]
    assert main(["run", "02_train", *(w for text in typed for w in ("-p", text)), "--dry-run"]) == 0
    shown = yaml.safe_load(capsys.readouterr().out)
    assert (float(shown["learning_rate"]), shown["resume"], shown["max_seconds"]) == (1e-4, True, None)
    assert shown["data_dir"].endswith("2024")


@pytest.mark.parametrize("word", ["None", "none", "null", "NULL", "~"])
@pytest.mark.parametrize("notebook", CONFIGS)
def test_none_is_none_however_it_is_written(notebook: str, word: str, tmp_path: Path) -> None:
    """Once, `picture: None` in a file was taken for a photo's name, and before that `-p picture=none`."""
    needed = {"prefix": "x"} if notebook == "01_generate" else {}
    fields = [field.name for field in dataclasses.fields(CONFIGS[notebook]) if may_be_none(field.type)]
    (tmp_path / "mine.yaml").write_text("".join(f"{name}: {word}\n" for name in fields))
    for given in (
        parse_assignments(notebook, [f"{name}={word}" for name in fields]),
        from_file(notebook, tmp_path / "mine.yaml"),
    ):
        config = resolve(notebook, needed | given)
        assert {getattr(config, name) for name in fields} == {None}


def test_the_text_none_can_be_a_value() -> None:
    assert resolve("02_train", parse_assignments("02_train", ["scheduler=none"])).scheduler == "none"  # type: ignore[attr-defined]


NO_NUMBERS = ["nan", ".nan", "inf", ".inf", "-inf", "1e400", "many", "[1]", "true"]
HUGE = "1" + 30 * "0"


@pytest.mark.parametrize("notebook", CONFIGS)
def test_every_option_refuses_invalid_values(notebook: str) -> None:
    needed = ["prefix=x"] if notebook == "01_generate" else []
    for field in dataclasses.fields(CONFIGS[notebook]):
        kinds = set(typing.get_args(field.type) or [field.type]) - {type(None)}
        odd = {float: NO_NUMBERS, int: [*NO_NUMBERS, "1.5"], bool: ["maybe", "2", "[1]"]}
        values = odd[kinds.pop()] if len(kinds) == 1 and kinds < odd.keys() else []
        values = values + (["-1", HUGE] if field.metadata["minimum"] is not None else [])
        if field.type is str and (field.metadata["path"] or field.metadata["choices"]):
            values = [""]
        for value in values:
            with pytest.raises(InputError, match=f"{field.name}: "):
                resolve(notebook, parse_assignments(notebook, [*needed, f"{field.name}={value}"]))


def test_execute_refuses_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="has no parameter resolutoin"):
        execute("01_generate", GENERATE | {"resolutoin": 512}, tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("theirs", ["prefix: other\nmodel_type: FastDepth\n", "fills: row\n", "model_dir: run\n"])
def test_the_run_folder_of_another_job_is_left_as_it_is(
    theirs: str, capsys: pytest.CaptureFixture[str], tmp_path: Path, pictures: Path
) -> None:
    (run := tmp_path / "run").mkdir()
    (run / "params.yaml").write_text(theirs)
    data = some_records(tmp_path, hole="quarter")
    words = generate(f"dataset_dir={pictures}", f"output_dir={tmp_path / 'out'}", f"run_dir={run}")
    assert f"run_dir: {run} is the folder of another job" in refusal(capsys, *words)
    if "model_dir" not in theirs:
        words = ["run", "02_train", "-p", f"data_dir={data}", "-p", f"model_dir={run}", "-p", "overwrite=True"]
        assert f"model_dir: {run} is the folder of another job" in refusal(capsys, *words)
    assert [(path.name, path.read_text()) for path in run.iterdir()] == [("params.yaml", theirs)]


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (DeadKernelError("Kernel died"), "the process of its notebook was killed"),
        (
            PapermillExecutionError(8, 1, "", "RunFailed", "cuda is out of memory", []),
            "cuda is out of memory",
        ),
        (PapermillExecutionError(8, 1, "", "ValueError", "odd", []), "ValueError: odd"),
    ],
)
def test_a_run_that_fails_says_so_in_one_sentence(
    error: Exception, sentence: str, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failed(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr("papermill.execute_notebook", failed)
    words = ["-p", f"data_dir={some_records(tmp_path, hole='quarter')}", "-p", f"model_dir={tmp_path / 'm'}"]
    assert main(["run", "02_train", *words]) == 1
    (said,) = capsys.readouterr().err.strip().splitlines()
    assert said.startswith(f"inpaintkit: 02_train failed: {sentence}")
    assert json.loads((tmp_path / "m" / "manifest.json").read_text())["error"]
