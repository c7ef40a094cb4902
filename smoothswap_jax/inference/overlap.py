"""Which faces of a photo can be generated in one batch, and the order of the batches."""

from collections.abc import Sequence

import numpy as np

from smoothswap_jax.faces.align import Quad

Box = tuple[np.ndarray, np.ndarray]
"""Lowest and highest (x, y), in pixels."""


def batches_without_overlap(quads: Sequence[Quad]) -> list[list[int]]:
    """Indices of `quads`, in batches that give the same photo as swapping one face after the other.

    One after the other, each crop is cut from a photo that already holds all earlier swaps. This matters only where one
    face's paste reaches into another's crop. Such faces go into different batches, the later face into a later one; so
    all faces of a batch can be cut from the same photo, generated together and pasted in any order.
    """
    crops, pastes = [_read_box(quad) for quad in quads], [_written_box(quad) for quad in quads]
    batch_of: list[int] = []
    for i in range(len(quads)):
        touching = [batch_of[j] for j in range(i) if _meet(crops[i], pastes[j]) or _meet(pastes[i], crops[j])]
        batch_of.append(1 + max(touching, default=-1))
    return [[i for i, own in enumerate(batch_of) if own == batch] for batch in range(1 + max(batch_of, default=-1))]


def _read_box(quad: Quad) -> Box:
    """What `align_face` may read: the bounding box and a border of max(side / 10, 3) pixels, rounded up."""
    side = float(np.hypot(*(quad[3] - quad[0])))
    return _grown(quad, 0.1 * side + 4.0)


def _written_box(quad: Quad) -> Box:
    """What `paste_change` and `paste_back` may write."""
    return _grown(quad, 1.0)


def _grown(quad: Quad, border: float) -> Box:
    return quad.min(0) - border, quad.max(0) + border


def _meet(a: Box, b: Box) -> bool:
    return bool((a[0] <= b[1]).all() and (b[0] <= a[1]).all())
