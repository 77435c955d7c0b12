"""The command line: ``python -m inpaintkit``. A thin wrapper; the jobs themselves are the notebooks."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from inpaintkit.errors import InputError, RunFailed

EPILOG = """examples:
  python -m inpaintkit demo                                       the whole chain on the shipped photos
  python -m inpaintkit params 02_train                            every option of training, with default and meaning
  python -m inpaintkit run 01_generate -p dataset_dir=pictures -p output_dir=data/mine -p prefix=mine
  python -m inpaintkit run 02_train -f params/02_train.full.yaml -p data_dir=data/mine -p model_dir=models/mine
  python -m inpaintkit evaluate models/mine/inpaint.light_inpaint_v1.pth --fill mine.py:my_fill
  python -m inpaintkit stereo photo.jpg --checkpoint models/mine/inpaint.light_inpaint_v1.pth
"""

AddCommand = Callable[[str, Any, str], argparse.ArgumentParser]
"""Adds a command by its name, function and help."""


def main(arguments: list[str] | None = None) -> int:
    """Run one command and return the exit status: 0 done, 1 failed while running, 2 refused before any work."""
    options = _parser().parse_args(arguments)
    try:
        return int(options.command(options) or 0)
    except InputError as error:
        print(f"inpaintkit: {error}", file=sys.stderr)
        return 2
    except RunFailed as error:
        print(f"inpaintkit: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt as error:
        print(f"inpaintkit: interrupted. {error}".rstrip(), file=sys.stderr)
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m inpaintkit",
        description="Train the hole-filling networks of 2D-to-3D conversion.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")

    def add(name: str, function: Any, help: str) -> argparse.ArgumentParser:
        command = commands.add_parser(name, help=help, description=help)
        command.set_defaults(command=function)
        return command

    _add_notebook_commands(add)
    _add_series_commands(add)
    _add_checkpoint_commands(add)
    add("doctor", _doctor, "say what this machine has: torch, device, speed, disk, reachable weights")
    return parser


def _add_notebook_commands(add: AddCommand) -> None:
    demo = add("demo", _demo, "generate, train, fine-tune and inspect on the shipped photos, into models/demo")
    demo.add_argument("--smoke", action="store_true", help="tiny sizes: proves that everything runs, learns nothing")
    demo.add_argument("--run-dir", type=Path, help="folder for the four run folders (default: models/demo)")

    run = add("run", _run, "run one notebook headless with papermill")
    run.add_argument("notebook", metavar="NOTEBOOK", help="01_generate, 02_train, 03_finetune_gan or 04_inspect")
    run.add_argument("-f", "--params-file", type=Path, help="YAML file of parameters, see params/")
    run.add_argument(
        "-p", "--param", action="append", default=[], metavar="NAME=VALUE", help="one parameter; overrides -f"
    )
    run.add_argument("--run-dir", type=Path, help="run folder (default: what the parameters say)")
    run.add_argument("--dry-run", action="store_true", help="print the resolved parameters and stop")

    params = add("params", _params, "list the parameters of a notebook with type, default and meaning")
    params.add_argument("notebook", metavar="NOTEBOOK")


def _add_series_commands(add: AddCommand) -> None:
    batch = add("batch", _batch, "make many data sets: sources x depth models x variants from one file")
    batch.add_argument("file", type=Path, metavar="JOBS.yaml", help="see params/batch.example.yaml")
    batch.add_argument(
        "-p", "--param", action="append", default=[], metavar="NAME=VALUE", help="for all jobs, e.g. shard=0/4"
    )
    batch.add_argument("--dry-run", action="store_true", help="check everything, list the jobs and stop")

    recipe = add(
        "recipe", _recipe, "run several trainings one after the other, each from the weights of the one before"
    )
    recipe.add_argument("file", type=Path, metavar="RECIPE.yaml", help="see params/recipe.full.yaml")
    recipe.add_argument(
        "-p", "--param", action="append", default=[], metavar="NAME=VALUE", help="for all runs, e.g. processes=4"
    )
    recipe.add_argument("--dry-run", action="store_true", help="check everything, list the runs and stop")

    clean = add("clean", _clean, "delete what one prefix and model wrote into a data set; shows the list first")
    clean.add_argument("--output-dir", type=Path, required=True, help="data set folder")
    clean.add_argument("--prefix", required=True, help="PREFIX_MODEL, e.g. photos1_Any_B")
    clean.add_argument("--yes", action="store_true", help="delete; without it only the list is shown")


def _add_checkpoint_commands(add: AddCommand) -> None:
    inspect = add("inspect", _inspect, "say what a checkpoint file is")
    inspect.add_argument("file", type=Path)

    export = add("export", _export, "write a checkpoint for other programs, and print the entry that offers it in iw3")
    export.add_argument("checkpoint", type=Path, metavar="CHECKPOINT", help="model file of inpaintkit or iw3")
    export.add_argument("-o", "--output", type=Path, required=True, metavar="FILE", help="file to write")
    export.add_argument("--format", choices=("onnx", "safetensors"), help="default: what FILE ends in")

    evaluate = add("evaluate", _evaluate, "judge a checkpoint inside holes against other fills: one report")
    evaluate.add_argument("checkpoint", type=Path, help="model file, ours or iw3's")
    evaluate.add_argument("--compare-with", type=Path, help="a second model file, e.g. before GAN fine-tuning")
    evaluate.add_argument(
        "--fill", action="append", default=[], help="one more fill to compare with: MODEL.pth or FILE.py:FUNCTION"
    )
    evaluate.add_argument("--data-dir", type=Path, help="data set folder (default: records made of the shipped photos)")
    evaluate.add_argument("--stereo-dir", type=Path, help="folder of true stereo pairs: left, right, disparity")
    evaluate.add_argument("--disparity-scale", type=float, help="stored disparity per px, see docs/evaluation.md")
    evaluate.add_argument("-p", "--param", action="append", default=[], metavar="NAME=VALUE", help="of 04_inspect")
    evaluate.add_argument("-o", "--output", type=Path, help="run folder (default: inspect/ beside the checkpoint)")

    stereo = add("stereo", _stereo, "make a stereo pair from one picture, holes filled")
    stereo.add_argument("picture", type=Path)
    stereo.add_argument("--checkpoint", type=Path, help="model file; without it holes are filled along the row")
    stereo.add_argument("--model-type", default="FastDepth", help="depth model (default: %(default)s)")
    stereo.add_argument(
        "--divergence", type=float, default=2.5, help="strength in %% of the width (default: %(default)s)"
    )
    stereo.add_argument(
        "--convergence", type=float, default=0.5, help="depth on the screen plane (default: %(default)s)"
    )
    stereo.add_argument(
        "--edge-dilation",
        type=int,
        default=2,
        metavar="ROUNDS",
        help="grow near edges of the depth map first, so that objects keep their rims (default: %(default)s)",
    )
    stereo.add_argument(
        "--outer-dilation", type=int, default=0, metavar="PX", help="grow holes to the background side before filling"
    )
    stereo.add_argument("-o", "--output", type=Path, help="folder for the results (default: beside the picture)")


def _demo(options: argparse.Namespace) -> None:
    from inpaintkit.notebook.demo import run_demo

    run_demo(smoke=options.smoke, folder=options.run_dir)


def _run(options: argparse.Namespace) -> int:
    import yaml

    from inpaintkit.notebook import runs

    values = runs.load_params(options.params_file) if options.params_file else {}
    values |= runs.parse_assignments(options.notebook, options.param)
    run_dir = options.run_dir.resolve() if options.run_dir else None
    if options.dry_run:
        config, resolved = runs.resolve(options.notebook, values, run_dir)
        print(f"# run folder: {config.run_folder}\n{yaml.safe_dump(resolved, sort_keys=False)}", end="")
        return 0
    report = runs.execute(options.notebook, values, run_dir)
    print(f"{report.notebook} done in {report.seconds:.0f} s: {report.executed}")
    return 0


def _params(options: argparse.Namespace) -> None:
    from inpaintkit.notebook import runs

    for parameter in runs.read_parameters(options.notebook).values():
        print(f"{parameter.name}: {parameter.type} = {parameter.default!r}\n    {parameter.help}")


def _recipe(options: argparse.Namespace) -> None:
    from inpaintkit.notebook import recipe, runs

    plan = recipe.load_recipe(options.file, runs.parse_assignments(recipe.NOTEBOOKS[0], options.param))
    if options.dry_run:
        for run in plan:
            print(f"{run.name}: {run.notebook} -> {run.folder}")
        return
    recipe.run_recipe(plan)


def _batch(options: argparse.Namespace) -> None:
    from inpaintkit.notebook import batch, runs

    plan = batch.load_batch(options.file, runs.parse_assignments(batch.NOTEBOOK, options.param))
    if options.dry_run:
        for job in plan.jobs:
            print(f"{job.name}: {job.config.dataset_dir} -> {job.config.run_folder}")
        return
    batch.run_batch(plan)


def _clean(options: argparse.Namespace) -> None:
    from inpaintkit.data import clean_prefix, data_set_names

    files = clean_prefix(options.output_dir, options.prefix, dry_run=not options.yes)
    if not files:
        known = ", ".join(data_set_names(options.output_dir)) or "none"
        print(f"nothing to delete: {options.output_dir} has no data set {options.prefix}; there is: {known}")
        return
    for file in files:
        print(file)
    print(f"{len(files)} files {'deleted' if options.yes else 'would be deleted; add --yes to delete them'}")


def _inspect(options: argparse.Namespace) -> None:
    from inpaintkit.model import describe_checkpoint

    for name, value in describe_checkpoint(options.file).items():
        print(f"{name:>14}: {value}")


def _export(options: argparse.Namespace) -> None:
    from inpaintkit.model import export_checkpoint, iw3_snippet

    print(f"written: {export_checkpoint(options.checkpoint, options.output, options.format)}")
    if options.checkpoint.suffix == ".pth":
        print("entry for iw3/inpaint_models.yml, which takes .pth files:")
        print(iw3_snippet(options.checkpoint, options.checkpoint.resolve().parent.name), end="")


def _evaluate(options: argparse.Namespace) -> None:
    from inpaintkit.notebook import runs
    from inpaintkit.notebook.html import write_html

    paths = ("checkpoint", "compare_with", "data_dir", "stereo_dir")
    given: dict[str, Any] = {name: str(path.resolve()) for name in paths if (path := getattr(options, name))}
    own_fills = [str(Path(fill).resolve()) for fill in options.fill]
    values = {"compare_with": None, "data_dir": None, "disparity_scale": options.disparity_scale} | given
    values["fills"] = ", ".join(["all", *own_fills])
    values |= runs.parse_assignments("04_inspect", options.param)
    report = runs.execute("04_inspect", values, options.output.resolve() if options.output else None)
    print((report.folder / "verdict.md").read_text(encoding="utf-8"))
    print(f"Report: {write_html(report.executed)}")


def _stereo(options: argparse.Namespace) -> None:
    from inpaintkit.inspection import make_stereo_files

    files = make_stereo_files(
        options.picture,
        checkpoint=options.checkpoint,
        model_type=options.model_type,
        divergence=options.divergence,
        convergence=options.convergence,
        folder=options.output,
        edge_dilation=options.edge_dilation,
        outer_dilation=options.outer_dilation,
    )
    for file in files:
        print(file)


def _doctor(options: argparse.Namespace) -> None:
    from inpaintkit.notebook.doctor import report

    print(report())


if __name__ == "__main__":
    sys.exit(main())
