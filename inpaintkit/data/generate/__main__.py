"""One of the processes of `processes.generate_in_processes`: what it has to tell goes to its output, a line of JSON each."""

import json
import sys

from inpaintkit.config import GenerateConfig
from inpaintkit.data.generate.run import generate_dataset
from inpaintkit.errors import InputError


def main() -> None:
    config = GenerateConfig(**json.loads(sys.argv[1]))
    try:
        report = generate_dataset(config, lambda done, total, text: _tell(done=done, total=total, text=text))
    except InputError as error:
        _tell(refused=str(error))
        return
    _tell(worked=report.pictures)


def _tell(**said: object) -> None:
    print(json.dumps(said), flush=True)


if __name__ == "__main__":
    main()
