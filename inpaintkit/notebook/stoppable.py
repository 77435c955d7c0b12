"""Pass stop signals of a headless run on to the kernel, where the job can save.

By default SIGTERM (from a batch system or a container) would end only the process that drives the kernel; the kernel,
left alone, would then end without saving.
"""

import contextlib
import os
import signal
import sys
from collections.abc import Iterator
from typing import Any

from jupyter_client.kernelspec import KernelSpec
from jupyter_client.manager import AsyncKernelManager

from inpaintkit.training.callbacks import PROGRESS_VARIABLE
from inpaintkit.training.stopping import catch_stop_signals

SAID = b"stopping: the job ends its step and saves; Ctrl-C once more ends it at once\n"


class ThisInterpreter(AsyncKernelManager):
    """Kernel manager that starts kernels with the running interpreter, not with this machine's ``python3`` kernel.

    The kernels print progress in lines, and log only critical errors: a kernel that is shut down while it still answers
    would otherwise report an error at the end of a good run.
    """

    @property
    def kernel_spec(self) -> KernelSpec:
        command = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}", "--log-level=CRITICAL"]
        return KernelSpec(argv=command, display_name="Python 3", language="python", env={PROGRESS_VARIABLE: "lines"})


@contextlib.contextmanager
def stoppable_kernel() -> Iterator[dict[str, Any]]:
    """Yield options for `papermill.execute_notebook`: SIGTERM, SIGINT or SIGHUP to this process interrupts the kernel.

    The interrupted cell ends with `KeyboardInterrupt`; a training saves first. Between two cells, while the kernel
    starts and at a second SIGINT, `KeyboardInterrupt` is raised here.
    """
    made: list[AsyncKernelManager] = []

    class Kernel(ThisInterpreter):
        def __init__(self, *arguments: Any, **options: Any) -> None:
            super().__init__(*arguments, **options)
            made.append(self)

    def pass_on(number: int) -> None:
        process = getattr(made[-1].provisioner, "pid", None) if made else None
        if process is None or (number == signal.SIGINT and request.signal is not None):
            raise KeyboardInterrupt
        os.write(2, SAID)  # print is not safe within a signal handler
        with contextlib.suppress(ProcessLookupError):
            os.kill(process, signal.SIGINT)  # only the kernel: loader workers must run until it has saved

    def stop_between_cells(**cell: Any) -> None:
        if request.signal is not None:  # an idle kernel ignores interrupts
            raise KeyboardInterrupt("stopped between two cells")

    with catch_stop_signals(tell=pass_on) as request:
        yield {"kernel_manager_class": Kernel, "on_cell_execute": stop_between_cells}
