"""What the page takes, and what it keeps for how long."""

from dataclasses import dataclass


class Refused(ValueError):
    """A request that is not served; the text is for the user, `status` for the browser."""

    def __init__(self, status: int, text: str):
        super().__init__(text)
        self.status = status


@dataclass(frozen=True)
class Limits:
    megabytes: float = 500.0
    """Of one file."""
    megapixels: float = 100.0
    """Of one photo."""
    seconds: float = 600.0
    """Of one video."""
    waiting: int = 8
    """Jobs in the queue."""
    sources: int = 16
    """Photos whose mean identity is taken."""
    minutes: float = 60.0
    """After which files and results that nobody uses are deleted."""
    gigabytes: float = 8.0
    """Of all files together."""
