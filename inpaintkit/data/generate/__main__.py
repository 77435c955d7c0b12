"""Entry point of the processes that `processes.generate_in_processes` starts."""

import json
import sys

from inpaintkit.config import GenerateConfig
from inpaintkit.data.generate.run import generate_dataset
from inpaintkit.errors import InputError, RunFailed
from inpaintkit.processes import tell_parent


def main() -> None:
    config = GenerateConfig(**json.loads(sys.argv[1]))
    try:
        report = generate_dataset(config, lambda done, total, text: tell_parent(done=done, total=total, text=text))
    except InputError as error:
        tell_parent(refused=str(error))
        return
    except RunFailed as error:
        sys.exit(str(error))
    tell_parent(worked=report.pictures)


if __name__ == "__main__":
    main()
