"""The protocols `held-out` and `ffhq`: random pairs of people of a test split, without a truth."""

import numpy as np

from smoothswap_jax.data.sources import person_digest
from smoothswap_jax.evaluation.galleries import Gallery, gallery_of_folder, gallery_of_prepared
from smoothswap_jax.evaluation.pairs import Pairs, names_by_content
from smoothswap_jax.evaluation.protocols.base import (
    Protocol,
    ProtocolError,
    Request,
    check_data,
    data_folder,
    drawn_pairs,
    too_few,
)


def _random_pairs(count: int, request: Request, once: bool = False) -> Pairs:
    gallery = _aligned(request)
    known = request.trained_on
    judged = np.array([i for i, person in enumerate(gallery.people) if person_digest(person) not in known], np.int64)
    people, labels = np.unique(np.array(gallery.people)[judged], return_inverse=True)
    if len(people) < 2:
        raise ProtocolError(f"{request.data}: found {len(people)} people to judge; wanted at least 2")
    source, target = drawn_pairs(labels, count, once)
    source, target = judged[source], judged[target]
    # Copies of one photo under two names would be judged twice.
    row_of: dict[str, int] = {}
    for row, name in enumerate(names_by_content(gallery, source, target)):
        row_of.setdefault(name, row)
    rows = list(row_of.values())
    return Pairs(gallery, tuple(row_of), source[rows], target[rows], notes=too_few(len(rows), count))


def _aligned(request: Request) -> Gallery:
    """The test split of a prepared set, or a folder of aligned faces."""
    root = data_folder(request)
    if (root / "manifest.json").is_file():
        return gallery_of_prepared(root, "test", request.size)
    return gallery_of_folder(root, request.size)


FFHQ = Protocol(
    "ffhq",
    2,
    "1000 sources into 1000 targets of the test split (of FFHQ: ids 63000-69999); nobody is in two pairs.",
    lambda request: _random_pairs(1000, request, once=True),
    check=check_data,
)
HELD_OUT = Protocol(
    "held-out",
    2,
    "256 random pairs of different people of a prepared set's test split.",
    lambda request: _random_pairs(256, request),
    check=check_data,
)
