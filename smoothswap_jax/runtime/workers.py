"""Work on single items in a process for each core, for libraries that use one core and hold Python's lock."""

import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

MOST = 16
"""Processes at most: each loads the libraries and networks of its own."""
LEAST = 8
"""Items for which it is worth starting processes."""
IDLE = 20.0
"""Seconds after which processes without work end."""


def each(work: Callable[..., Any], *columns: Iterable[Any]) -> Iterator[Any]:
    """`map(work, *columns)`, in that order and with the same results; for LEAST items or more, where there are cores,
    in processes of their own, which are kept for the next call. There `work` and the items are pickled.

    Raises what `work` raises, and ChildProcessError where a process was ended from outside.
    """
    items = list(zip(*columns, strict=True))
    cores = min(_cores(), MOST)
    if len(items) < LEAST or cores < 2:
        yield from (work(*item) for item in items)
        return
    from loky import get_reusable_executor
    from loky.process_executor import BrokenProcessPool

    pool = get_reusable_executor(cores, timeout=IDLE, initializer=_begin_worker, initargs=(os.getpid(),))
    try:
        yield from pool.map(work, *zip(*items, strict=True), chunksize=2)
    except BrokenProcessPool as error:
        raise ChildProcessError(
            "a process that worked on single pictures was ended from outside, perhaps for lack of memory; the same "
            "command goes on"
        ) from error


def _cores() -> int:
    from loky import cpu_count

    return cpu_count()  # those that this process may use


def _begin_worker(parent: int) -> None:
    """Uses one core, since there is a process for each, and ends with the parent, also where that was killed."""
    try:
        import cv2
    except ImportError:
        pass
    else:
        cv2.setNumThreads(1)

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.5)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
