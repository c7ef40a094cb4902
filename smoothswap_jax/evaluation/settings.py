"""What an evaluation was asked for, and whether a folder that exists may be gone on with."""

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from smoothswap_jax.evaluation.cache import CACHE
from smoothswap_jax.runtime.files import check_place, write_atomically
from smoothswap_jax.runtime.folders import EVALUATION, kind_of
from smoothswap_jax.runtime.json_files import read_json

COMMAND = "command.json"
"""What the finished report in a folder was asked for."""
REPORT = "report.json"


@dataclass(frozen=True)
class EvaluationSettings:
    """What `smoothswap evaluate` was asked for.

    checkpoints and swaps: name -> folder. judges: what `judges.registry.load_judge` takes. trained_with: names or
    SHA-256 of judges that trained somebody else's method. size: of the aligned faces, pixels; None: the checkpoint's or
    the data's own, or 256. options: those of one protocol (`Protocol.options`), by name. overwrite: whether the report
    of another evaluation in `out` may be replaced.
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
    overwrite: bool = False


def check_out(settings: EvaluationSettings) -> None:
    """Raises OSError where `out` cannot be written to or is no evaluation's folder, and, unless it may be overwritten,
    where it holds a report from which this command would take something away."""
    out = settings.out
    check_place(out)
    if not out.is_dir() or not any(out.iterdir()):
        return
    found = kind_of(out)
    if found not in ("", EVALUATION) or not any((out / name).is_file() for name in (CACHE, COMMAND)):
        what = found or "other files than an evaluation's"
        raise FileExistsError(f"{out}: holds {what}; wanted a new folder, or that of an evaluation to go on with")
    if settings.overwrite or not (out / REPORT).is_file() or not (out / COMMAND).is_file():
        return
    try:
        before = read_json(out / COMMAND)
        changed = _changed(before, _asked(settings))
    except (ValueError, TypeError, AttributeError, RecursionError) as error:
        raise FileExistsError(
            f"{out / COMMAND}: cannot be read ({type(error).__name__}), so nobody knows what the report was asked "
            "for; wanted a new folder, or --overwrite"
        ) from error
    if changed:
        raise FileExistsError(
            f"{out}: holds the report of another evaluation ({'; '.join(changed)}); wanted the same command, also with "
            "more judges or methods, another folder, or --overwrite to replace the report"
        )


def record_command(settings: EvaluationSettings) -> None:
    """Notes in `out` what its report was asked for."""
    settings.out.mkdir(parents=True, exist_ok=True)
    write_atomically(settings.out / COMMAND, (json.dumps(_asked(settings), indent=1) + "\n").encode())


def _asked(settings: EvaluationSettings) -> dict[str, Any]:
    """All that decides what a report says."""
    where = lambda path: None if path is None else os.path.realpath(path)
    return {
        "protocol": settings.protocol,
        "data": where(settings.data),
        "checkpoints": {name: where(path) for name, path in settings.checkpoints.items()},
        "swaps": {name: where(path) for name, path in settings.swaps.items()},
        "judges": {text: text for text in settings.judges},
        "identity": settings.identity,
        "pose": settings.pose,
        "size": settings.size,
        "aligned": settings.aligned,
        "options": dict(settings.options),
    }


def _changed(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """What the new report would say otherwise, or no more, in words."""
    words = []
    for name, value in now.items():
        old = before.get(name)
        if name in ("checkpoints", "swaps", "judges"):
            lost = [key for key, of in (old or {}).items() if value.get(key) != of]
            words += [f"{name.removesuffix('s')} {key} is missing or another one" for key in lost]
        elif old != value:
            words.append(f"{name} was {old!r} and is {value!r}")
    return words
