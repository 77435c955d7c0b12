"""What torchrun starts in each process: ``torchrun ... -m inpaintkit.training --config RUN/params.yaml``.

On one machine the notebooks start torchrun themselves (option `processes`). To train on several machines, which must
share the folders of data and run, start it on each of them, for example on 2 machines with 8 GPUs each::

    torchrun --nnodes=2 --nproc-per-node=8 --rdzv-backend=c10d --rdzv-endpoint=HOST:29400 \\
        -m inpaintkit.training --config models/mine/params.yaml
"""

import argparse
import contextlib
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn

import yaml

from inpaintkit.config import GanConfig, TrainConfig
from inpaintkit.errors import InputError, RunFailed
from inpaintkit.processes import tell_parent
from inpaintkit.training.callbacks import ProgressLines, RunView
from inpaintkit.training.distributed import join_group
from inpaintkit.training.stopping import PARENT_VARIABLE
from inpaintkit.training.trainer import GanTrainer, Trainer


def main(arguments: list[str] | None = None) -> None:
    """Train with the parameters of a YAML file: those of notebook 03 if they name a discriminator, else of notebook 02.

    Raises `SystemExit` with a status if the training is refused, fails or is stopped.
    """
    parser = argparse.ArgumentParser(prog="python -m inpaintkit.training", description="One process of a training run.")
    parser.add_argument("--config", type=Path, required=True, help="flat parameters of notebook 02 or 03")
    options = parser.parse_args(arguments)
    # the group is left after the error is reported: the other processes, missing this one, then fail with a traceback
    with contextlib.ExitStack() as stack:
        try:
            params = read_params(options.config) | {"processes": int(os.environ.get("WORLD_SIZE", "1"))}
            gan = "discriminator" in params
            config = GanConfig.from_params(params) if gan else TrainConfig.from_params(params)
            group = stack.enter_context(join_group(config.device))
            # without a parent, torchrun was started by hand
            callbacks = [ParentCallback()] if PARENT_VARIABLE in os.environ else None
            (GanTrainer if gan else Trainer)(config, callbacks, group).fit()
        except InputError as error:
            _end(2, refused=str(error))
        except RunFailed as error:
            _end(1, failed=str(error))
        except KeyboardInterrupt as error:
            _end(130, stopped=str(error))


def _end(status: int, **said: str) -> NoReturn:
    """Report why the training ended, to the parent process or else on the terminal; exit with `status`."""
    if PARENT_VARIABLE in os.environ:
        tell_parent(**said)
    else:
        print(f"inpaintkit: {' '.join(said.values())}", flush=True)
    sys.exit(status)


class ParentCallback(ProgressLines):
    """Progress as plain lines, and loss rows as messages to the parent process."""

    def on_start(self, run: RunView) -> None:
        super().on_start(run)
        tell_parent(leader=os.getpid())  # from now on this process saves before it stops

    def on_row(self, run: RunView, row: Mapping[str, float | int | str]) -> None:
        tell_parent(row=row)


def read_params(file: Path) -> dict[str, Any]:
    """Return the flat parameters of a YAML file. Raises `InputError` if it can't be read or holds anything else."""
    try:
        values = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:
        raise InputError(f"--config: {file} can't be read ({' '.join(str(error).split())})") from None
    if not isinstance(values, dict) or not all(isinstance(name, str) for name in values):
        raise InputError(f"--config: {file} must hold one `name: value` a line")
    return values


if __name__ == "__main__":
    main()
