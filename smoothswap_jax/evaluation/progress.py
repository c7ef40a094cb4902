"""How an evaluation shows its progress."""

from collections.abc import Callable

OnProgress = Callable[[int, int], None]
"""Called with how many pieces of a piece of work are done, and how many there are."""
StartProgress = Callable[[str], OnProgress]
"""From the name of a piece of work to what shows its progress."""


def started(progress: StartProgress | None, work: str) -> OnProgress | None:
    """What shows the progress of `work`, if progress is shown at all."""
    return progress(work) if progress else None
