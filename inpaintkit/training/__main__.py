"""What torchrun calls in each process: ``torchrun ... -m inpaintkit.training --config RUN/params.yaml``.

On one machine the notebooks do that themselves (`processes`). For several machines, with a shared folder for data and run,
call on each of them, for instance with 2 machines of 8 GPUs::

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
    """Train as the YAML file says (notebook 03's parameters if it names a discriminator).

    Raises `SystemExit` with a status where it ends before its time.
    """
    parser = argparse.ArgumentParser(prog="python -m inpaintkit.training", description="One process of a training run.")
    parser.add_argument("--config", type=Path, required=True, help="flat parameters of notebook 02 or 03")
    options = parser.parse_args(arguments)
    # left once all is told: processes that miss this one then fail with a traceback
    with contextlib.ExitStack() as stack:
        try:
            params = read_params(options.config) | {"processes": int(os.environ.get("WORLD_SIZE", "1"))}
            gan = "discriminator" in params
            config = GanConfig.from_params(params) if gan else TrainConfig.from_params(params)
            group = stack.enter_context(join_group(config.device))
            callbacks = [ToParent()] if PARENT_VARIABLE in os.environ else None  # torchrun was called by hand
            (GanTrainer if gan else Trainer)(config, callbacks, group).fit()
        except InputError as error:
            _end(2, refused=str(error))
        except RunFailed as error:
            _end(1, failed=str(error))
        except KeyboardInterrupt as error:
            _end(130, stopped=str(error))


def _end(status: int, **said: str) -> NoReturn:
    """Say what ended the training, to the process that waits for it or else to a person; end with the exit `status`."""
    if PARENT_VARIABLE in os.environ:
        tell_parent(**said)
    else:
        print(f"inpaintkit: {' '.join(said.values())}", flush=True)
    sys.exit(status)


class ToParent(ProgressLines):
    """Plain lines, and rows as the process reads them that started this one."""

    def on_start(self, run: RunView) -> None:
        super().on_start(run)
        tell_parent(leader=os.getpid())  # which from now on saves before it stops

    def on_row(self, run: RunView, row: Mapping[str, float | int | str]) -> None:
        tell_parent(row=row)


def read_params(file: Path) -> dict[str, Any]:
    """Return the flat parameters of a YAML file; raise `InputError`."""
    try:
        values = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:
        raise InputError(f"--config: {file} can't be read ({' '.join(str(error).split())})") from None
    if not isinstance(values, dict) or not all(isinstance(name, str) for name in values):
        raise InputError(f"--config: {file} must hold one `name: value` a line")
    return values


if __name__ == "__main__":
    main()
