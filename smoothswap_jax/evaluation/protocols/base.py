"""What an evaluation protocol is: a name, a version, and a short definition of which swaps are judged.

A change of what a protocol does is a new version: a score means something only with the name and version beside it.
What is measured depends on the judges (`measures/`), not on the protocol, and is named in every report. Each protocol
is one file beside this one; `registry.py` lists them.
"""

import os
import sqlite3
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int

from smoothswap_jax.data import sampling
from smoothswap_jax.data.sampling import EVAL_SEED, different_people
from smoothswap_jax.evaluation.pairs import Pairs
from smoothswap_jax.evaluation.progress import OnProgress, StartProgress
from smoothswap_jax.evaluation.settings import EvaluationSettings

SIZE = 256
"""Of faces that are cut out of photos, pixels, by default."""


class ProtocolError(ValueError):
    """No such protocol or version, or data it cannot use; the text says what was found and what is wanted."""


@dataclass(frozen=True)
class Request:
    """What a protocol makes its pairs from.

    size: of the aligned faces, pixels; None: that of a set of aligned faces, else 256. trained_in: the `data` fields of
    each checkpoint's run, by the checkpoint's name. trained_on: `person_digest` of people who must not be judged,
    because a method was trained on them. options: those of the protocol that were given.
    """

    data: Path | None
    size: int | None
    cache: sqlite3.Connection
    trained_in: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    trained_on: Collection[str] = ()
    options: Mapping[str, str] = field(default_factory=dict)
    progress: OnProgress | None = None


@dataclass(frozen=True)
class Protocol:
    """A protocol. about: what it is, in a sentence or two; the report starts with it.

    pairs: from a request to the swaps that are judged. A protocol that judges no swaps gives `run` instead: a whole
    evaluation of its own, from settings to the path of its report.
    options: command-line options that only this protocol takes, with their defaults. check: of the folder of data and
    the options, raises ProtocolError for what can be refused before anything is loaded.
    """

    name: str
    version: int
    about: str
    pairs: Callable[[Request], Pairs] | None = None
    run: Callable[[EvaluationSettings, StartProgress | None], Path] | None = None
    options: Mapping[str, str] = field(default_factory=dict)
    check: Callable[[Path | None, Mapping[str, str]], object] | None = None

    @property
    def title(self) -> str:
        return f"{self.name}@{self.version}"


def data_folder(request: Request) -> Path:
    """The folder of the request's data. Raises ProtocolError if there is none."""
    return check_data(request.data)


def check_data(data: Path | None, options: Mapping[str, str] | None = None) -> Path:
    """The folder of data, as `Protocol.check` of those that need one. Raises ProtocolError if there is none."""
    if data is None:
        raise ProtocolError("--data is missing; wanted the folder of the protocol's photos or videos")
    if not data.is_dir():
        raise ProtocolError(f"--data={os.fspath(data)}: found no such folder")
    return data


def drawn_pairs(labels: Int[np.ndarray, "n"], count: int, once: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """Up to `count` rows of sources and targets of different people, no pair twice; `once`: nobody in two pairs.

    A pair that is judged twice adds no information, and would make the intervals too narrow.
    """
    if once:
        order = sampling.epoch_order(EVAL_SEED, sampling.SOURCE, np.arange(len(labels)), len(labels))
        _, first = np.unique(labels[order], return_index=True)  # a random picture of each person ...
        drawn = order[np.sort(first)]  # ... in random order
        rows = drawn[: 2 * min(count, len(drawn) // 2)].reshape(-1, 2)
    else:
        drawn = np.stack(different_people(labels, 4 * count), axis=1)
        rows = np.array(list(dict.fromkeys(map(tuple, drawn.tolist())))[:count], np.int64).reshape(-1, 2)
    return rows[:, 0], rows[:, 1]


def too_few(found: int, wanted: int) -> tuple[str, ...]:
    """A note for the report if the data give fewer pairs than the protocol asks for."""
    return () if found == wanted else (f"The data give {found} pairs; the protocol asks for {wanted}.",)
