"""Retrieval and verification: how well embeddings tell people apart.

Pure functions of NumPy arrays, computed in float64; no config, path or device is seen here. Embeddings are [n, d] and
need not be of unit length. `source_rank` and `retrieved` score swaps one by one: report their means with an interval of
`bootstrap.bootstrap_interval`. The others score an embedder on a set of labelled pictures.
"""

import numpy as np
from jaxtyping import Bool, Float, Int, Shaped

from smoothswap_jax.metrics.bootstrap import finite
from smoothswap_jax.metrics.per_pair import TIE, unit_rows

_CHUNK = 1024  # rows of a similarity matrix held at once: 1024 x 70,000 float64 are 0.6 GB
_PRODUCT = 2**24  # numbers of gathered embeddings held at once: 0.13 GB


def source_rank(
    swaps: Float[np.ndarray, "n d"],
    sources: Float[np.ndarray, "n d"],
    gallery: Float[np.ndarray, "m d"],
    own: Int[np.ndarray, " n"],
    normalised: bool = True,
) -> Int[np.ndarray, " n"]:
    """Place (1 = first) of each swap's own source when people are ordered by cosine to the swap.

    `gallery` holds one embedding of each person; for swap i its row `own[i]` gives way to `sources[i]`, the very
    picture that was swapped in (-1: the person has no row). This is the ID retrieval of FaceShifter (Li et al. 2020,
    section 4.2), with ranks as in the cumulative match curve of FERET (Phillips et al. 2000). Ties count against the
    swap: a collapsed embedder, for which all faces are one, comes last and not first. `normalised=False` orders by the
    dot product, as some public code does. Raises ValueError for unfit shapes, or rows outside the gallery.
    """
    index = np.asarray(own)
    if index.shape != (len(swaps),) or index.dtype.kind not in "iu":
        raise ValueError(f"own must be {len(swaps)} integers, found {index.dtype}{list(index.shape)}")
    if index.min() < -1 or index.max() >= len(gallery):
        raise ValueError(f"own must lie in [-1, {len(gallery)}), found {index.min()} to {index.max()}")
    brought = unit_rows if normalised else lambda _, rows: np.asarray(rows).astype(np.float64)
    swaps, sources, gallery = (
        brought(name, rows) for name, rows in (("swaps", swaps), ("sources", sources), ("gallery", gallery))
    )
    ranks = []
    for start in range(0, len(swaps), _CHUNK):
        part = slice(start, start + _CHUNK)
        similarity = swaps[part] @ gallery.T
        similarity[index[part, None] == np.arange(len(gallery))] = -np.inf
        true = np.sum(swaps[part] * sources[part], axis=1)
        rounding = TIE * np.linalg.norm(swaps[part], axis=1) * np.linalg.norm(sources[part], axis=1)
        ranks.append(1 + np.sum(similarity >= (true - rounding)[:, None], axis=1))
    return np.concatenate(ranks)


def retrieved(rank: Int[np.ndarray, " n"], k: int = 1) -> Float[np.ndarray, " n"]:
    """1 for each swap whose source is among the `k` nearest, else 0; `rank` is what `source_rank` returns.

    Top-1 and Top-5 retrieval are the means of `retrieved(rank)` and `retrieved(rank, 5)`: one search serves every
    k, and the values go into an interval. Chance is k / m among m people. Raises ValueError for k < 1, or a rank
    below 1.
    """
    rank = np.asarray(rank)
    if k < 1:
        raise ValueError(f"k must be at least 1, found {k}")
    if rank.min() < 1:
        raise ValueError(f"ranks start at 1, found {rank.min()} at {int(rank.argmin())}")
    return (rank <= k).astype(np.float64)


def rank1(embeddings: Float[np.ndarray, "n d"], labels: Shaped[np.ndarray, " n"]) -> float:
    """Rank-1 identification, leave-one-out: share of images whose nearest *other* image has the same label.

    Nearest by cosine. Every image of an identity that has at least two is a probe; all images are the
    gallery. A tie between the best image of the own and of another identity counts as a miss, so a
    collapsed embedder scores 0. Raises ValueError when no identity has two images, or the shapes do not
    fit.
    """
    unit, label = unit_rows("embeddings", embeddings), np.asarray(labels)
    if label.shape != unit.shape[:1]:
        raise ValueError(f"labels must have shape ({len(unit)},), found {label.shape}")
    _, identity, count = np.unique(label, return_inverse=True, return_counts=True)
    probes = np.flatnonzero(count[identity] > 1)
    if len(probes) == 0:
        raise ValueError("rank1 needs an identity with at least two images, found none")
    hits = 0
    for start in range(0, len(probes), _CHUNK):
        rows = probes[start : start + _CHUNK]
        similarity = unit[rows] @ unit.T
        similarity[np.arange(len(rows)), rows] = -np.inf
        same: Bool[np.ndarray, "p n"] = identity[rows, None] == identity[None, :]
        best_same = np.max(np.where(same, similarity, -np.inf), axis=1)
        best_other = np.max(np.where(same, -np.inf, similarity), axis=1)
        hits += int(np.sum(best_same > best_other + TIE))
    return hits / len(probes)


def pair_cosines(
    embeddings: Float[np.ndarray, "n d"],
    labels: Shaped[np.ndarray, " n"],
    recordings: Shaped[np.ndarray, " n"] | None = None,
    most: int | None = None,
    seed: int = 0,
) -> tuple[Float[np.ndarray, " g"], Float[np.ndarray, " i"]]:
    """Cosines of all genuine pairs (two images of one label) and all impostor pairs (of two labels).

    Images with equal `recordings`, such as frames of one video, make no genuine pair. With `most`, a random choice by
    `seed` keeps about that many of either kind: genuine pairs among some images of each label, and impostor pairs
    drawn with replacement. Either side may be empty. Raises ValueError for embeddings that are not finite or have
    length zero.
    """
    unit = unit_rows("embeddings", embeddings)
    label = np.unique(np.asarray(labels), return_inverse=True)[1]
    rng = np.random.default_rng(seed)
    first, second = _genuine_pairs(label, most, rng)
    if recordings is not None:
        recording = np.asarray(recordings)
        apart = recording[first] != recording[second]
        first, second = first[apart], second[apart]
    return _cosines(unit, first, second), _cosines(unit, *_impostor_pairs(label, most, rng))


def _genuine_pairs(
    label: Int[np.ndarray, " n"], most: int | None, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Rows of pairs of one label: all, or those among so few images of each label that they are about `most`."""
    order = np.argsort(label, kind="stable")
    people = np.split(order, np.flatnonzero(np.diff(label[order])) + 1)
    images = len(label) if most is None else max(2, int((2 * most / len(people)) ** 0.5))
    pairs = [np.zeros((2, 0), np.int64)]
    for rows in people:
        rows = rows if len(rows) <= images else rng.choice(rows, images, replace=False)
        pairs.append(rows[np.stack(np.triu_indices(len(rows), 1))])
    first, second = np.concatenate(pairs, axis=1)
    return first, second


def _impostor_pairs(
    label: Int[np.ndarray, " n"], most: int | None, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Rows of pairs of two labels: all, or those among `most` pairs drawn with replacement."""
    n = len(label)
    if most is None or n * (n - 1) // 2 <= most:
        first, second = np.triu_indices(n, 1)
    else:
        first, second = rng.integers(n, size=(2, most))
    impostor = label[first] != label[second]
    return first[impostor], second[impostor]


def _cosines(
    unit: Float[np.ndarray, "n d"], first: Int[np.ndarray, " p"], second: Int[np.ndarray, " p"]
) -> Float[np.ndarray, " p"]:
    size = max(1, _PRODUCT // unit.shape[1])
    parts = [np.zeros(0)]
    for start in range(0, len(first), size):
        a, b = (rows[start : start + size] for rows in (first, second))
        parts.append(np.sum(unit[a] * unit[b], axis=1))
    return np.concatenate(parts)


def roc_auc(genuine: Float[np.ndarray, " n"], impostor: Float[np.ndarray, " m"]) -> float:
    """Area under the ROC curve of a verification score: P(genuine > impostor) + P(equal) / 2.

    `genuine` and `impostor` are scores (cosines, say; higher means more alike) of pairs of one and of two
    identities. 1 is perfect, 0.5 is chance. It is the Mann-Whitney statistic over n m (Hanley and McNeil
    1982). Raises ValueError for an empty or non-finite side.
    """
    genuine, impostor = finite("genuine", genuine), np.sort(finite("impostor", impostor))
    below = np.searchsorted(impostor, genuine, side="left")
    not_above = np.searchsorted(impostor, genuine, side="right")
    return float(np.mean((below + not_above) / 2.0) / len(impostor))


def roc_curve(
    genuine: Float[np.ndarray, " n"], impostor: Float[np.ndarray, " m"]
) -> tuple[Float[np.ndarray, " t"], Float[np.ndarray, " t"], Float[np.ndarray, " t"]]:
    """False and true accept rates when scores of at least a threshold are accepted: (far, tar, thresholds).

    One point for each distinct score, thresholds falling, after a first one at infinity that accepts nothing;
    tied scores are accepted together. `genuine` and `impostor` are as in `roc_auc`. Raises as it does.
    """
    genuine, impostor = np.sort(finite("genuine", genuine)), np.sort(finite("impostor", impostor))
    thresholds = np.append(np.inf, np.unique(np.concatenate([genuine, impostor]))[::-1])
    # Counted, not subtracted from one: 1 - 999999 / 1000000 is not 1 / 1000000.
    far, tar = ((len(side) - np.searchsorted(side, thresholds)) / len(side) for side in (impostor, genuine))
    return far, tar, thresholds


def tar_at_far(genuine: Float[np.ndarray, " n"], impostor: Float[np.ndarray, " m"], far: float) -> float:
    """The best true accept rate at a false accept rate of at most `far`, in [0, 1]; chance is `far`.

    No interpolation: the rate is one that a threshold reaches, as in IJB-C's protocol (Maze et al. 2018). Raises as
    `roc_auc` does, and ValueError for `far` outside (0, 1) or fewer impostor pairs than 1 / far, of which not
    even one may be accepted.
    """
    if not 0 < far < 1:
        raise ValueError(f"far must lie in (0, 1), found {far}")
    reached, tar, _ = roc_curve(genuine, impostor)
    allowed = far * (1 + 1e-12)  # k / m and far are rounded each their own way
    needed = int(np.ceil(1 / allowed))
    if len(impostor) < needed:
        raise ValueError(f"a FAR of {far} needs at least {needed} impostor pairs, found {len(impostor)}")
    return float(tar[np.searchsorted(reached, allowed, side="right") - 1])
