"""Scores of swaps and of embedders.

Pure functions of NumPy arrays: no config, path or device is seen here. Images are NHWC floats in [-1, 1];
embeddings are [n, d] and need not be unit-norm. Everything is computed in float64, so that a mean over many
pairs does not depend on the precision of the model. Scores come per pair: give them to `intervals.bootstrap_interval`
or `ratio_of_means_interval` rather than printing a bare mean.
"""

import numpy as np
from jaxtyping import Bool, Float, Int, Shaped

from smoothswap_jax.evaluation.intervals import finite

_TIE = 1e-12  # cosines nearer than this differ by rounding only
_CHUNK = 1024  # rows of a similarity matrix held at once: 1024 x 70,000 float64 are 0.6 GB


# --- pixels -----------------------------------------------------------------------------------------------


def mse(a: Float[np.ndarray, "b h w c"], b: Float[np.ndarray, "b h w c"]) -> Float[np.ndarray, " b"]:
    """Mean squared error of each pair, `sum((a - b)^2) / (h w c)`, from 0 to 4 for images in [-1, 1].

    This is the L_chg of Smooth-Swap (Kim et al. 2022) when `b` is the target. Raises ValueError when the
    shapes differ and TypeError for integer images, whose range is not [-1, 1] and whose difference wraps
    around.
    """
    a, b = _float_images("a", a), _float_images("b", b)
    if a.shape != b.shape:
        raise ValueError(f"images must have one shape, found {a.shape} and {b.shape}")
    return np.mean(np.square(a - b), axis=(1, 2, 3))


def psnr(a: Float[np.ndarray, "b h w c"], b: Float[np.ndarray, "b h w c"]) -> Float[np.ndarray, " b"]:
    """Peak signal-to-noise ratio of each pair in dB, `10 log10(R^2 / mse)` with R = 2; higher is closer.

    Equal images score `inf`, which has no mean: average `mse` when that can happen. Raises as `mse` does.
    """
    with np.errstate(divide="ignore"):
        return 10.0 * np.log10(2.0**2 / mse(a, b))


def _float_images(name: str, images: np.ndarray) -> np.ndarray:
    images = np.asarray(images)
    if images.dtype.kind in "iub":
        raise TypeError(f"{name} must be float images in [-1, 1], found dtype {images.dtype}")
    if images.ndim != 4 or 0 in images.shape:
        raise ValueError(f"{name} must be a batch of images [b, h, w, c], found shape {images.shape}")
    return images.astype(np.float64)


# --- identity ---------------------------------------------------------------------------------------------


def cosine(a: Float[np.ndarray, "n d"], b: Float[np.ndarray, "n d"]) -> Float[np.ndarray, " n"]:
    """Cosine of each pair of embeddings, `<a, b> / (|a| |b|)` in [-1, 1]; `1 - cosine` is the paper's L_id.

    Raises ValueError when the shapes differ or an embedding has length zero.
    """
    a, b = _unit("a", a), _unit("b", b)
    if a.shape != b.shape:
        raise ValueError(f"embeddings must have one shape, found {a.shape} and {b.shape}")
    return np.clip(np.sum(a * b, axis=1), -1.0, 1.0)


def identity_rank(
    swap_emb: Float[np.ndarray, "n d"],
    gallery_emb: Float[np.ndarray, "m d"],
    true_index: Int[np.ndarray, " n"],
) -> Int[np.ndarray, " n"]:
    """Place (1 = first) of the true identity when the gallery is ordered by cosine to each swap.

    `gallery_emb` holds one embedding an identity and `true_index[i]` is the gallery row of swap i's source.
    This is the ID retrieval of FaceShifter (Li et al. 2020, section 4.2), with ranks as in the cumulative
    match curve of FERET (Phillips et al. 2000). Ties count against the swap: a collapsed embedder, for
    which all faces are one, comes last and not first. Raises ValueError for unfit shapes, or indices
    outside the gallery.
    """
    swaps, gallery = _unit("swap_emb", swap_emb), _unit("gallery_emb", gallery_emb)
    index = np.asarray(true_index)
    if index.shape != swaps.shape[:1] or index.dtype.kind not in "iu":
        raise ValueError(f"true_index must be {len(swaps)} integers, found {index.dtype}{list(index.shape)}")
    if index.min() < 0 or index.max() >= len(gallery):
        raise ValueError(f"true_index must lie in [0, {len(gallery)}), found {index.min()} to {index.max()}")
    ranks = []
    for start in range(0, len(swaps), _CHUNK):
        part = slice(start, start + _CHUNK)
        similarity = swaps[part] @ gallery.T
        own = np.take_along_axis(similarity, index[part, None], axis=1)
        # The true row equals itself, so counting >= gives 1 for a strict win and adds one for every tie.
        ranks.append(np.sum(similarity >= own - _TIE, axis=1))
    return np.concatenate(ranks)


def retrieval_accuracy(
    swap_emb: Float[np.ndarray, "n d"],
    gallery_emb: Float[np.ndarray, "m d"],
    true_index: Int[np.ndarray, " n"],
    k: int = 1,
) -> float:
    """Share of swaps whose source is among the `k` nearest of the gallery, in [0, 1]; chance is k / m.

    For an interval, give `identity_rank(...) <= k` as floats to `bootstrap_interval`. Raises as
    `identity_rank` does, and ValueError for k < 1.
    """
    if k < 1:
        raise ValueError(f"k must be at least 1, found {k}")
    return float(np.mean(identity_rank(swap_emb, gallery_emb, true_index) <= k))


def rank1(embeddings: Float[np.ndarray, "n d"], labels: Shaped[np.ndarray, " n"]) -> float:
    """Rank-1 identification, leave-one-out: share of images whose nearest *other* image has the same label.

    Nearest by cosine. Every image of an identity that has at least two is a probe; all images are the
    gallery. A tie between the best image of the own and of another identity counts as a miss, so a
    collapsed embedder scores 0. Raises ValueError when no identity has two images, or the shapes do not
    fit.
    """
    unit, label = _unit("embeddings", embeddings), np.asarray(labels)
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
        hits += int(np.sum(best_same > best_other + _TIE))
    return hits / len(probes)


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


def _unit(name: str, embeddings: np.ndarray) -> np.ndarray:
    embeddings = np.asarray(embeddings)
    if embeddings.ndim != 2 or 0 in embeddings.shape:
        raise ValueError(f"{name} must be embeddings [n, d], found shape {embeddings.shape}")
    embeddings = embeddings.astype(np.float64)
    norm = np.linalg.norm(embeddings, axis=1, keepdims=True)
    if not np.all(np.isfinite(norm)) or np.any(norm == 0):
        raise ValueError(f"{name} must be finite and of non-zero length; row {_first_bad(norm)} is not")
    return embeddings / norm


def _first_bad(norm: np.ndarray) -> int:
    return int(np.flatnonzero(~np.isfinite(norm[:, 0]) | (norm[:, 0] == 0))[0])
