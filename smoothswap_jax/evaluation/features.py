"""What the judges see in a set of faces: landmarks and features, computed in chunks and cached."""

import dataclasses
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int, UInt8

from smoothswap_jax.evaluation import cache as caching
from smoothswap_jax.evaluation.judges.base import Judge
from smoothswap_jax.evaluation.methods import Method, chunks
from smoothswap_jax.evaluation.pairs import Pairs
from smoothswap_jax.evaluation.progress import OnProgress
from smoothswap_jax.evaluation.search import search
from smoothswap_jax.faces.detection.registry import detector_facts

Images = UInt8[np.ndarray, "m s s 3"]
Points = Float[np.ndarray, "n 5 2"]
Read = Callable[[Int[np.ndarray, "m"]], Images]


@dataclass(frozen=True)
class Readings:
    """Of n faces: their points, whether a face was found (points are known or detected), and each judge's features."""

    points: Points
    found: Bool[np.ndarray, "n"]
    features: Mapping[str, Float[np.ndarray, "n d"]]

    def take(self, rows: Int[np.ndarray, "m"]) -> "Readings":
        """Those of some faces."""
        return Readings(self.points[rows], self.found[rows], {k: v[rows] for k, v in self.features.items()})


def unseen(features: Float[np.ndarray, "n d"]) -> Bool[np.ndarray, "n"]:
    """Faces in which a judge sees nothing: its features are not finite, or all zero."""
    return ~np.isfinite(features).all(axis=1) | ~features.any(axis=1)


def read_faces(
    read: Read,
    count: int,
    judges: Sequence[Judge],
    cache: sqlite3.Connection,
    expected: Points,
    known: bool = False,
    targets: Points | None = None,
    against: Read | None = None,
    progress: OnProgress | None = None,
) -> Readings:
    """The readings of `count` faces that `read` gives by position.

    Every face is searched for in its own pixels, originals and swaps alike. Where none is found the judges see the
    region around `expected`. known: `expected` are the faces' points and nothing is searched. targets: for swaps, their
    targets' points, for judges whose convention is to align by them. against: the images that perceptual judges compare
    with, by position; the distance is their feature. Without it they are not asked.
    """
    points, found = np.array(expected, np.float64), np.ones(count, bool)
    asked = [judge for judge in judges if judge.measure or (judge.compare and against)]
    rows: dict[str, list[np.ndarray]] = {judge.name: [] for judge in asked}
    recipe = "" if known else f"five points by yunet/1 {detector_facts('yunet')['sha256']}"
    for chunk in chunks(count):
        images = read(chunk)
        if not known:
            seen = _cached(cache, recipe, images, [b""] * len(images), lambda m, i=images: search(i[m]))
            found[chunk] = np.isfinite(seen).all(axis=(1, 2))
            points[chunk] = np.where(found[chunk][:, None, None], seen, expected[chunk])
        for judge in asked:
            if judge.measure is not None:
                beside = (targets if targets is not None and judge.points == "target" else points)[chunk]
                compute = lambda m, i=images, b=beside, measure=judge.measure: measure(i[m], b[m])
            else:
                assert judge.compare is not None and against is not None
                beside = against(chunk)
                compute = lambda m, i=images, b=beside, compare=judge.compare: compare(i[m], b[m])[:, None]
            rows[judge.name].append(_cached(cache, judge.key, images, list(beside), compute))
        if progress:
            progress(int(chunk[-1]) + 1, count)
    return Readings(points, found, {name: np.concatenate(parts) for name, parts in rows.items()})


def read_originals(
    pairs: Pairs, judges: Sequence[Judge], cache: sqlite3.Connection, progress: OnProgress | None = None
) -> Readings:
    """The readings of all faces of the gallery that the pairs use, by row of the gallery."""
    ends = [pairs.source, pairs.target, *([] if pairs.truth is None else [pairs.truth])]
    rows = np.unique(np.concatenate(ends))
    read = lambda positions: pairs.gallery.read(rows[positions])
    found = read_faces(
        read, len(rows), judges, cache, pairs.gallery.points[rows], pairs.known_points, progress=progress
    )
    place = np.zeros(len(pairs.gallery), np.int64)
    place[rows] = np.arange(len(rows))
    return found.take(place)


def read_swaps(
    method: Method,
    originals: Readings,
    pairs: Pairs,
    judges: Sequence[Judge],
    cache: sqlite3.Connection,
    progress: OnProgress | None = None,
) -> Readings:
    """What the judges see in a method's images, one for each pair; those of baselines have been read already."""
    end = pairs.target if pairs.truth is None else pairs.truth
    targets = originals.points[pairs.target]
    expected = pairs.gallery.points[end] if pairs.known_points else targets
    against = lambda positions: pairs.gallery.read(end[positions])
    read = lambda chosen: read_faces(
        method.read, len(pairs), chosen, cache, expected, pairs.known_points, targets, against, progress
    )
    if method.rows is None:
        return read(judges)
    readings = originals.take(method.rows)
    # What these see in a picture depends on the pair.
    beside = [judge for judge in judges if judge.compare or judge.points == "target"]
    if not beside:
        return readings
    return dataclasses.replace(readings, features={**readings.features, **read(beside).features})


def _cached(
    cache: sqlite3.Connection, what: str, images: Images, beside: Sequence[np.ndarray | bytes], compute: Callable
) -> np.ndarray:
    """What `compute` gives for the rows that are not in the cache, and the cache for the others."""
    keys = [caching.key_of(what, image, other) for image, other in zip(images, beside, strict=True)]
    values = caching.get(cache, keys)
    missing = np.array([i for i, value in enumerate(values) if value is None], np.int64)
    if len(missing):
        new = compute(missing)
        caching.put(cache, zip([keys[i] for i in missing], new, strict=True))
        for i, value in zip(missing, new, strict=True):
            values[i] = value
    return np.stack([value for value in values if value is not None])
