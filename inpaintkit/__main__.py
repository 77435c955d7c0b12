"""The command line, ``inpaintkit``: a thin wrapper around the notebooks, which do the work.

Each command imports heavy modules only when it needs them, so that help, lists of parameters and errors appear at once.
"""

import argparse
import dataclasses
import io
import os
import re
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

from inpaintkit.config import InspectConfig, StereoConfig, fill_names, full_fill_name, joined_fills, nearest_name
from inpaintkit.errors import LONGEST_MESSAGE, InputError, RunFailed
from inpaintkit.files import full_path, require_folder
from inpaintkit.notebook import parameters
from inpaintkit.text import duration, shown

EPILOG = """examples:
  inpaintkit demo                                       the whole chain on the shipped photos
  inpaintkit params 02_train                            every option of training, with default and meaning
  inpaintkit run 01_generate -p dataset_dir=pictures -p output_dir=data/mine -p prefix=mine
  inpaintkit run 02_train -f 02_train.full -p data_dir=data/mine -p model_dir=models/mine
  inpaintkit evaluate models/mine/inpaint.light_inpaint_v1.pth --fill mine.py:my_fill
  inpaintkit stereo photo.jpg --fill models/mine/inpaint.light_inpaint_v1.pth
"""

AddCommand = Callable[[str, Any, str], argparse.ArgumentParser]
"""A function that adds a command, given its name, function and help text."""


def main(arguments: list[str] | None = None) -> int:
    """Run one command and return its exit status: 0 = done, 1 = failed while running, 2 = something given can't be
    used, most often found before any work, 130 = interrupted."""
    if isinstance(sys.stdout, io.TextIOWrapper) and sys.stdout.errors == "strict":
        sys.stdout.reconfigure(errors="backslashreplace")  # a file name may not be valid text
    try:
        words = sys.argv[1:] if arguments is None else arguments
        options = make_parser().parse_args(words or ["--help"])
        options.command(options)
        sys.stdout.flush()
        return 0
    except BrokenPipeError:  # the reader of the output has closed it, as `head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except InputError as error:
        return _say(f"{error}", 2)
    except RunFailed as error:
        return _say(f"{error}", 1)
    except OSError as error:
        where = f": {error.filename}" if error.filename else ""
        hint = "check that the file or folder is there and may be read and written, and that there is room"
        return _say(f"{error.strerror or error}{where}; {hint}", 1)
    except KeyboardInterrupt as error:
        return _say(f"interrupted. {error}".rstrip(), 130)


def _say(sentence: str, status: int) -> int:
    print(f"inpaintkit: {sentence}", file=sys.stderr)
    return status


class _Parser(argparse.ArgumentParser):
    """Argument parser that reports errors in one sentence, as the whole kit does."""

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> tuple[Any, list[str]]:
        """Reject unknown arguments here, where the command is known and its options can be suggested."""
        found, others = super().parse_known_args(args, namespace)
        for option in (word.partition("=")[0] for word in others if word.startswith("-")):
            self.error(f"there is no option {option}{nearest_name(option, self._option_string_actions)}")
        if others:
            goes_before = "=" in others[0]
            advice = "-p goes before NAME=VALUE" if goes_before else "a value with a space in it needs quotes around it"
            self.error(f"unexpected: {' '.join(others)}; {advice}")
        return found, others

    def error(self, message: str) -> NoReturn:
        unknown = re.match(r"argument COMMAND: invalid choice: (['\"])(.*?)\1 \(choose from (.*)\)", message)
        if unknown:
            raise InputError(_other_command(unknown[2], re.findall(r"\w+", unknown[3])))
        raise InputError(f"{message}; `{self.prog} -h` explains")


def _other_command(word: str, commands: list[str]) -> str:
    """Return advice for a word that is no command; most often it is the name of a notebook."""
    from inpaintkit.notebook.project import find_notebook

    try:
        name = find_notebook(word).stem
    except InputError:
        return f"there is no command {word}{nearest_name(word, commands)}; `inpaintkit -h` lists all"
    return f"there is no command {word}; `inpaintkit run {name} -p NAME=VALUE` does that, `inpaintkit params {name}` lists the names"


def make_parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="inpaintkit",
        description="Train the hole-filling networks of 2D-to-3D conversion.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")

    def add(name: str, function: Any, help: str) -> argparse.ArgumentParser:
        command = commands.add_parser(name, help=help, description=help, add_help=False, allow_abbrev=False)
        command.add_argument(
            "-h", "--help", action=_Help, nargs=0, default=argparse.SUPPRESS, help="show this help and stop"
        )
        command.set_defaults(command=function)
        return command

    _add_notebook_commands(add)
    _add_series_commands(add)
    _add_checkpoint_commands(add)
    add("doctor", _doctor, "report what this machine has: torch, device, speed, disk, reachable weights")
    return parser


def _path(text: str) -> Path:
    return Path(os.path.expanduser(text))


class _Help(argparse.Action):
    """``run NOTEBOOK -h`` lists the notebook's options, ``run -h`` explains the command."""

    def __call__(self, parser: Any, namespace: Any, values: Any, option_string: str | None = None) -> None:
        if getattr(namespace, "notebook", None) is None:
            parser.print_help()
        else:
            _params(namespace)
        parser.exit()


def _add_params(command: argparse.ArgumentParser, help: str) -> None:
    command.add_argument("-p", "--param", action="append", default=[], metavar="NAME=VALUE", help=help)


def _add_notebook_commands(add: AddCommand) -> None:
    demo = add("demo", _demo, "generate, train, fine-tune and inspect on the shipped photos, into models/demo")
    demo.add_argument("--smoke", action="store_true", help="tiny sizes: proves that everything runs, learns nothing")
    demo.add_argument("--run-dir", type=_path, help="folder of the four runs (default: models/demo, or models/smoke)")

    run = add("run", _run, "run one notebook headless with papermill; `run NOTEBOOK -h` lists its options")
    notebooks = "01_generate, 02_train, 03_finetune_gan or 04_inspect"
    run.add_argument("notebook", metavar="NOTEBOOK", help=notebooks)
    run.add_argument("-f", "--params-file", type=_path, help="YAML file of parameters, or the name of one in params/")
    _add_params(run, "one parameter; overrides -f")
    run.add_argument("--run-dir", type=full_path, help="run folder (default: as set by the parameters)")
    run.add_argument("--dry-run", action="store_true", help="check parameters and paths, print all parameters and stop")

    params = add("params", _params, "list the parameters of a notebook with type, default and meaning")
    params.add_argument("notebook", metavar="NOTEBOOK", help=notebooks)


def _add_series_commands(add: AddCommand) -> None:
    batch = add("batch", _batch, "make many data sets: pictures x depth models x variants from one file")
    batch.add_argument("file", type=_path, metavar="JOBS.yaml", help="see params/batch.example.yaml")
    _add_params(batch, "one parameter for all jobs, e.g. shard=0/4")
    batch.add_argument("--dry-run", action="store_true", help="check everything, list the jobs and stop")

    help = "run several trainings one after the other, each from the weights of the one before"
    recipe = add("recipe", _recipe, help)
    recipe.add_argument("file", type=_path, metavar="RECIPE.yaml", help="see params/recipe.full.yaml")
    _add_params(recipe, "one parameter for all runs, e.g. processes=4")
    recipe.add_argument("--dry-run", action="store_true", help="check all parameters, list the runs and stop")

    clean = add("clean", _clean, "list, or with --yes delete, the files of one prefix and depth model in a data set")
    clean.add_argument("--output-dir", type=_path, required=True, help="data set folder")
    clean.add_argument("--prefix", required=True, help="PREFIX_MODEL, e.g. photos1_Any_B")
    clean.add_argument("--yes", action="store_true", help="delete; without it the files are only listed")


def _flag(option: str) -> str:
    return f"--{option.replace('_', '-')}"


def _add_checkpoint_commands(add: AddCommand) -> None:
    inspect = add("inspect", _inspect, "describe a checkpoint file")
    inspect.add_argument("file", type=_path, help="model file of inpaintkit or iw3, or a training's full state")

    export = add("export", _export, "write a checkpoint for other programs, and print the entry that offers it in iw3")
    export.add_argument("checkpoint", type=_path, metavar="CHECKPOINT", help="model file of inpaintkit or iw3")
    export.add_argument("-o", "--output", type=_path, required=True, metavar="FILE", help="file to write")
    export.add_argument("--format", choices=("onnx", "safetensors"), help="default: by FILE's ending")

    evaluate = add("evaluate", _evaluate, "compare a checkpoint with other fills inside holes: one report")
    evaluate.add_argument("checkpoint", type=full_path, help="model file of inpaintkit or iw3")
    for name in ("compare_with", "data_dir", "stereo_dir", "disparity_scale"):
        rule = InspectConfig.__dataclass_fields__[name].metadata
        evaluate.add_argument(_flag(name), type=full_path if rule["path"] else float, help=rule["help"])
    fill = (
        "one more fill to compare with: MODEL.pth, or FILE.py:FUNCTION, which runs that file; only name files you trust"
    )
    evaluate.add_argument("--fill", action="append", default=[], help=fill)
    _add_params(evaluate, "one parameter of 04_inspect")
    evaluate.add_argument("-o", "--output", type=full_path, help="run folder (default: inspect/ beside the checkpoint)")

    _add_stereo(add("stereo", _stereo, "make stereo pairs from pictures, holes filled"))


def _add_stereo(stereo: argparse.ArgumentParser) -> None:
    """Add the options of `StereoConfig`, each under its own name."""
    picture, *others = dataclasses.fields(StereoConfig)
    stereo.add_argument("picture", nargs="+", help=f"{picture.metadata['help']}; or several")
    for field in others:
        rule = field.metadata
        flags = [_flag(field.name)]
        help = rule["help"].replace("%", "%%")
        names = ["-o", *flags] if field.name == "output" else flags
        if field.type is bool:
            stereo.add_argument(*names, action="store_true", help=help)
        else:
            how: dict[str, Any] = {
                "type": os.path.expanduser if field.type is str else field.type,
                "default": field.default,
                "choices": rule["choices"],
            }
            stereo.add_argument(*names, **how, help=f"{help} (default: %(default)s)")


def _demo(options: argparse.Namespace) -> None:
    from inpaintkit.notebook.demo import run_demo

    run_demo(smoke=options.smoke, folder=options.run_dir)


def _run(options: argparse.Namespace) -> None:
    values = parameters.from_file(options.notebook, options.params_file) if options.params_file else {}
    values |= parameters.parse_assignments(options.notebook, options.param, options.run_dir)
    config = parameters.resolve(options.notebook, values, options.run_dir)
    if options.dry_run:
        import yaml

        with parameters.in_project(options.notebook):
            config.check_inputs()
        print(f"# run folder: {config.run_folder}")
        print(yaml.safe_dump(dataclasses.asdict(config), sort_keys=False, allow_unicode=True), end="")
        return
    print(f"{config.notebook}: loading ...", flush=True)
    from inpaintkit.notebook import run_folder, runs

    report = runs.execute(options.notebook, values, options.run_dir)
    if report.seconds:
        took, late = duration(report.seconds), report.status == run_folder.OUT_OF_TIME
        ending = f"out of time (max_seconds) after {took}; the same command continues it" if late else f"done in {took}"
        done = f"{report.notebook} {ending}: {report.executed}"
        print(f"{runs.outcome(report)}\n{done}".strip())


def _params(options: argparse.Namespace) -> None:
    print(parameters.describe(options.notebook))


def _recipe(options: argparse.Namespace) -> None:
    if not options.dry_run:
        print(f"{options.file}: checking its parameters ...", flush=True)
    from inpaintkit.notebook import recipe

    plan = recipe.load_recipe(options.file, parameters.parse_assignments(recipe.NOTEBOOKS[0], options.param))
    if options.dry_run:
        for run in plan:
            print(f"{run.name}: {run.notebook} -> {run.folder}")
        return
    recipe.run_recipe(plan)


def _batch(options: argparse.Namespace) -> None:
    if not options.dry_run:
        print(f"{options.file}: checking everything in it ...", flush=True)
    from inpaintkit.notebook import batch

    overrides = parameters.parse_assignments(batch.NOTEBOOK, options.param)
    plan = batch.load_batch(options.file, overrides)
    if options.dry_run:
        for job in plan.jobs:
            print(f"{job.data_set_name}: {job.dataset_dir} -> {job.run_folder}")
        return
    batch.run_batch(plan)


def _clean(options: argparse.Namespace) -> None:
    from inpaintkit.data import clean_prefix, data_set_names, iw3_set_names

    require_folder(options.output_dir, "--output-dir")
    files = clean_prefix(options.output_dir, options.prefix, dry_run=not options.yes)
    if not files:
        names = {*data_set_names(options.output_dir), *iw3_set_names(options.output_dir)}
        known = ", ".join(sorted(names)) or "none"
        print(f"nothing to delete: {options.output_dir} has no data set {options.prefix}; there is: {known}")
        return
    for file in files:
        print(file)
    print(f"{len(files)} files {'deleted' if options.yes else 'would be deleted; add --yes to delete them'}")


def _inspect(options: argparse.Namespace) -> None:
    from inpaintkit.model import describe_checkpoint

    for name, value in describe_checkpoint(options.file).items():
        text = ", ".join(f"{key} = {part}" for key, part in value.items()) if isinstance(value, dict) else value
        line = f"{shown(name):>14}: {shown(text, LONGEST_MESSAGE)}"
        print(textwrap.fill(line, 110, subsequent_indent=" " * 16, break_long_words=False))


def _export(options: argparse.Namespace) -> None:
    print(f"{options.checkpoint}: loading ...", flush=True)
    from inpaintkit.model import export_checkpoint, iw3_snippet

    print(f"written: {export_checkpoint(options.checkpoint, options.output, options.format)}")
    if options.checkpoint.suffix == ".pth":
        print("entry for iw3/inpaint_models.yml, which takes .pth files (docs/use_in_iw3.md has one for videos, too):")
        print(iw3_snippet(options.checkpoint), end="")


def _evaluate(options: argparse.Namespace) -> None:
    paths = ("checkpoint", "compare_with", "data_dir", "stereo_dir")
    values: dict[str, Any] = {name: str(path) if (path := getattr(options, name)) else None for name in paths}
    values |= {"disparity_scale": options.disparity_scale, "fills": "all"}
    values |= parameters.parse_assignments("04_inspect", options.param, options.output)
    values["fills"] = joined_fills([*fill_names(values["fills"]), *map(full_fill_name, options.fill)])
    print("04_inspect: loading ...", flush=True)
    from inpaintkit.notebook import runs  # slow to import

    print(runs.outcome(runs.execute("04_inspect", values, options.output)))


def _stereo(options: argparse.Namespace) -> None:
    values = {name: value for name, value in vars(options).items() if name not in ("command", "picture")}
    configs = [StereoConfig(picture=picture, **values) for picture in options.picture]
    for config in configs:
        config.check_inputs()
    print(f"depth model {options.model_type}, fill {options.fill}: loading ...", flush=True)
    from inpaintkit.inspection import convert_pictures

    convert_pictures(configs, lambda line: print(line, flush=True))


def _doctor(options: argparse.Namespace) -> None:
    print("looking at this machine and asking the model hubs ...", flush=True)
    from inpaintkit.notebook.doctor import report

    print(report())


if __name__ == "__main__":
    sys.exit(main())
