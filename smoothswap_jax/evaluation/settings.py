"""What an evaluation was asked for."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class EvaluationSettings:
    """What `smoothswap evaluate` was asked for.

    checkpoints and swaps: name -> folder. judges: what `judges.registry.load_judge` takes. trained_with: names or
    SHA-256 of judges that trained somebody else's method. size: of the aligned faces, pixels; None: the checkpoint's or
    the data's own, or 256. options: those of one protocol (`Protocol.options`), by name.
    """

    protocol: str
    out: Path
    data: Path | None = None
    checkpoints: Mapping[str, Path] = field(default_factory=dict)
    swaps: Mapping[str, Path] = field(default_factory=dict)
    judges: Sequence[str] = ()
    identity: str = "aligned"
    pose: str = "geodesic"
    size: int | None = None
    aligned: bool = False
    options: Mapping[str, str] = field(default_factory=dict)
    trained_with: Sequence[str] = ()
    allow_self_judge: bool = False
    devices: int | None = None
