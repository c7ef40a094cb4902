"""Runs that a signal stops: they save, and whoever started them learns of it."""

import contextlib
import os
import signal
import threading
from collections.abc import Iterator
from dataclasses import dataclass


class Stopped(Exception):
    """A signal stopped a run at `step` of `steps`. Everything up to there is saved in `workdir`, and the same call goes
    on from there. `step` equals `steps` if the signal came when the last step was done. signal: its number."""

    def __init__(self, workdir: str | os.PathLike[str], step: int, steps: int, number: int):
        super().__init__(
            f"{os.fspath(workdir)}: stopped by a signal at step {step} of {steps}; the same command goes on from there"
        )
        self.workdir, self.step, self.steps, self.signal = workdir, step, steps, number


@dataclass
class StopSignal:
    """The signal that came, None until then."""

    number: int | None = None


@contextlib.contextmanager
def stop_signal() -> Iterator[StopSignal]:
    """While the block runs, a first SIGTERM or SIGINT is only noted, so that the block can save and end. A second one
    ends the process at once, SIGINT by KeyboardInterrupt. In other threads than the main one signals are left alone."""
    stop = StopSignal()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}

    def handle(number, _frame):
        stop.number = number
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.signal(signal.SIGINT, before[signal.SIGINT])
        # print() must not be called here: it may have been interrupted itself.
        os.write(2, f"\n{signal.Signals(number).name}: saves, then stops; another one stops at once\n".encode())

    for number in before:
        signal.signal(number, handle)
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
