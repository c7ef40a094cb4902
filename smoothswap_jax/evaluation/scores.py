"""From readings to scores, one a pair: which numbers there are, what they mean, and what a failure costs.

A swap in which no face is found, though its target shows one, is a failure. It is not left out: it counts as a miss in
retrieval and gets the `FAILED` value of the other measures, so that a method cannot gain by swaps that are no faces.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Shaped

from smoothswap_jax.data.align import ffhq_quad, photo_to_crop
from smoothswap_jax.data.faces import to_float
from smoothswap_jax.evaluation import metrics
from smoothswap_jax.evaluation.crops import BOX
from smoothswap_jax.evaluation.intervals import Interval, bootstrap_interval
from smoothswap_jax.evaluation.judge_factors import group_distance, label
from smoothswap_jax.evaluation.judges import Judge, split_mesh
from smoothswap_jax.evaluation.methods import Method, chunks
from smoothswap_jax.evaluation.pairs import Pairs
from smoothswap_jax.evaluation.readings import Readings
from smoothswap_jax.models.deep3d import split_coefficients
from smoothswap_jax.models.hopenet import pose_degrees

FAILED = {"cosine": 0.0, "distance": 2.0**0.5, "pose": 90.0, "landmarks": 0.5, "blendshapes": 3.0}
"""What a failure counts: strangers' cosine and distance, a head turned away (degrees), points half the distance of the
eyes astray, and about twice the blendshape distance between a neutral and a laughing face."""
MAX_PSNR = 100.0
"""Equal pictures have an infinite ratio; a hundred decibels are far beyond what 8 bits can tell."""


@dataclass(frozen=True)
class Measure:
    """A number a pair. kind: identity, attributes, pixels or truth. better: 'higher', 'lower' or '' for neither."""

    name: str
    kind: str
    better: str
    about: str


Scores = dict[str, Float[np.ndarray, "n"]]
"""Of each pair, by measure; NaN where the pair's target cannot be measured, which is the same for all methods."""


def mean(values: Float[np.ndarray, "n"]) -> float:
    """Over the pairs that can be measured."""
    return float(np.nanmean(values))


def mean_interval(values: Float[np.ndarray, "n"], groups: Shaped[np.ndarray, "n"]) -> Interval | float | None:
    """The mean with its interval over groups; the bare mean of values that are all equal or of one group, and None
    where nothing can be measured."""
    seen = np.isfinite(values)
    if not seen.any():
        return None
    spread = np.ptp(values[seen]) > 0 and len(set(groups[seen])) > 1
    return bootstrap_interval(values[seen], groups=groups[seen]) if spread else mean(values)


def score(
    method: Method, readings: Readings, originals: Readings, pairs: Pairs, judges: Sequence[Judge]
) -> tuple[Scores, list[Measure]]:
    """All scores of a method on the pairs, by measure.

    readings: of the method's pictures, one a pair. originals: of all faces of the gallery, by row.
    """
    failed = ~readings.found & originals.found[pairs.target]
    parts = [_pixels(method, pairs)]
    for judge in judges:
        if judge.role == "perceptual":
            parts.append(_perceptual(judge, method, pairs))
            continue
        swaps, known = readings.features[judge.name], originals.features[judge.name]
        scorer = SCORERS.get(judge.role)
        if scorer is not None:
            parts.append(scorer(judge, swaps, known, pairs, failed))
    parts.append([(Measure("no face found", "attributes", "lower", FAILURE_NOTE), failed.astype(np.float64))])
    measured = [entry for part in parts for entry in part]
    return {measure.name: values for measure, values in measured}, [measure for measure, _ in measured]


FAILURE_NOTE = (
    "Share of swaps in which no face is found though the target shows one. They are not left out: retrieval counts a "
    "miss, and the other measures take " + ", ".join(f"{name} {value:.3g}" for name, value in FAILED.items()) + "."
)
Scored = list[tuple[Measure, Float[np.ndarray, "n"]]]


# --- identity -----------------------------------------------------------------------------------------------------


def _identity(judge: Judge, swaps, known, pairs: Pairs, failed: Bool[np.ndarray, "n"]) -> Scored:
    name = judge.name
    to_source = metrics.cosine(swaps, known[pairs.source])
    to_target = metrics.cosine(swaps, known[pairs.target])
    # One picture a source person; the swap's own source is that picture wherever each person is a source once.
    gallery_people, first = np.unique(pairs.people[0], return_index=True)
    true = np.searchsorted(gallery_people, pairs.people[0])
    rank = identity_ranks(swaps, known[pairs.source[first]], true, judge.identity.normalised)
    m = len(gallery_people)
    rank = np.where(failed, m + 1, rank)
    scored: Scored = [
        (Measure(f"{name}: cosine to source", "identity", "higher", "cosine of embeddings"),
         np.where(failed, FAILED["cosine"], to_source)),
        (Measure(f"{name}: cosine to target", "identity", "", "cosine of embeddings; an unchanged target has 1"),
         np.where(failed, FAILED["cosine"], to_target)),
    ]  # fmt: skip
    if judge.distance:
        away = np.where(failed, FAILED["distance"], metrics.distance(swaps, known[pairs.source]))
        about = "Euclidean distance of unit embeddings"
        scored.append((Measure(f"{name}: distance to source", "identity", "lower", about), away))
    for k in (1, 5):
        if m > k:
            about = f"the source is among the {k} nearest of {m} source people; chance is {k / m:.3f}"
            scored.append((Measure(f"{name}: top-{k}", "identity", "higher", about), metrics.retrieved(rank, k)))
    return scored


def identity_ranks(swaps, gallery, true, normalised: bool) -> np.ndarray:
    """Places of the true rows by cosine, or by the dot product (a convention in public use); ties count against."""
    if normalised:
        return metrics.identity_rank(swaps, gallery, true)
    similarity = swaps.astype(np.float64) @ gallery.astype(np.float64).T
    own = np.take_along_axis(similarity, true[:, None], axis=1)
    return np.sum(similarity >= own, axis=1)


# --- expression, pose, shape --------------------------------------------------------------------------------------


def _coefficients(judge: Judge, swaps, known, pairs: Pairs, failed) -> Scored:
    """Of Deep3DFaceRecon: it always answers, so a failure is judged by what it answers."""
    del failed
    fields = {"shape": "identity", "expression": "expression", "pose": "angle"}
    ends = {"shape": pairs.source, "expression": pairs.target, "pose": pairs.target}
    units = {"shape": "to the source", "expression": "to the target", "pose": "to the target, radians"}
    mine, theirs = split_coefficients(swaps), split_coefficients(known)
    part_of = lambda coefficients, part: np.asarray(getattr(coefficients, fields[part]))
    return [
        (
            Measure(f"{judge.name}: {part}", "identity" if part == "shape" else "attributes", "lower",
                    f"L2 distance of the 3-D face model's {part} parameters {units[part]}"),
            metrics.parameter_distance(part_of(mine, part), part_of(theirs, part)[ends[part]]),
        )
        for part in fields
    ]  # fmt: skip


def _pose(judge: Judge, swaps, known, pairs: Pairs, failed) -> Scored:
    """Of Hopenet, by the convention asked for."""
    convention = judge.pose
    logits = [x.reshape(len(x), 3, -1).astype(np.float64) for x in (swaps, known[pairs.target])]
    if convention.name == "reliableswap":
        error = np.linalg.norm(logits[0] - logits[1], axis=2).mean(axis=1) / 2
    else:
        a, b = (np.asarray(pose_degrees(x), np.float64) for x in logits)
        if convention.name == "geodesic":
            rotations = (metrics.euler_rotations(x) for x in (a, b))
            error = np.where(failed, FAILED["pose"], metrics.geodesic_degrees(*rotations))
        else:
            error = np.linalg.norm(a - b, axis=1)
    about = f"to the target, {convention.unit}; {convention.name}: {convention.about}"
    return [(Measure(f"{judge.name}: pose", "attributes", "lower", about), error)]


def _mesh(judge: Judge, swaps, known, pairs: Pairs, failed) -> Scored:
    """Of MediaPipe's mesh: pose, expression by points, expression by blendshapes, all to the target."""
    from smoothswap_jax.evaluation.judge_mesh import LEFT_EYE, RIGHT_EYE

    a, b = swaps.astype(np.float64), known[pairs.target].astype(np.float64)
    blank = ~np.isfinite(b).all(axis=1)
    unseen = failed | ~np.isfinite(a).all(axis=1) | blank
    seen = np.flatnonzero(~unseen)
    # NaN where the target itself shows the judge nothing (a profile): of such pairs it can say nothing, of no method.
    values = {part: np.where(blank, np.nan, FAILED[part]) for part in ("pose", "landmarks", "blendshapes")}
    if len(seen):
        (points_a, shapes_a, turn_a), (points_b, shapes_b, turn_b) = (split_mesh(x[seen]) for x in (a, b))
        values["pose"][seen] = metrics.geodesic_degrees(turn_a, turn_b)
        eyes = np.array(LEFT_EYE), np.array(RIGHT_EYE)
        # Laying equal points on each other leaves 1e-16, which a table would show.
        values["landmarks"][seen] = np.round(metrics.landmark_distance(points_a, points_b, *eyes), 12)
        values["blendshapes"][seen] = metrics.parameter_distance(shapes_a, shapes_b)
    about = {
        "pose": "angle between the head poses of swap and target, degrees",
        "landmarks": "mean distance of 478 points to the target's, laid on each other, over the distance of the eyes",
        "blendshapes": "L2 distance of 52 blendshapes (0-1) to the target's",
    }
    title = {"pose": "pose", "landmarks": "expression (points)", "blendshapes": "expression (blendshapes)"}
    return [
        (Measure(f"{judge.name}: {title[part]}", "attributes", "lower", about[part]), values[part]) for part in values
    ]


def _factors(judge: Judge, swaps, known, pairs: Pairs, failed) -> Scored:
    """Of the synthetic world's reader: how far the factors read from a swap are from those read from the truth."""
    del failed
    assert judge.reader is not None and pairs.truth is not None
    return [
        (
            Measure(f"{judge.name}: {group}", "identity" if group == "identity" else "attributes", "lower",
                    "distance of what is read from the swap and from the truth, in standard deviations of the world: "
                    + label(judge.reader, group)),
            group_distance(judge.reader, swaps, known[pairs.truth], group),
        )
        for group, names in judge.reader.kept.items()
        if names
    ]  # fmt: skip


SCORERS = {
    "identity": _identity,
    "coefficients": _coefficients,
    "pose": _pose,
    "mesh": _mesh,
    "factors": _factors,
}


# --- pixels -------------------------------------------------------------------------------------------------------


def _pixels(method: Method, pairs: Pairs) -> Scored:
    """Differences to the target, and to the truth where it is known."""
    size = pairs.gallery.size
    parts: dict[str, list[np.ndarray]] = {}
    for chunk in chunks(len(pairs)):
        swaps = to_float(method.read(chunk))
        targets = to_float(pairs.gallery.read(pairs.target[chunk]))
        inside = face_masks(pairs.gallery.points[pairs.target[chunk]], size)
        found = {"change": metrics.mse(swaps, targets), "outside": metrics.masked_mse(swaps, targets, 1 - inside)}
        if pairs.truth is not None:
            truth = to_float(pairs.gallery.read(pairs.truth[chunk]))
            found |= {
                "error": metrics.mse(swaps, truth),
                "error inside": metrics.masked_mse(swaps, truth, inside),
                "error outside": metrics.masked_mse(swaps, truth, 1 - inside),
                "PSNR": np.minimum(metrics.psnr(swaps, truth), MAX_PSNR),
                "SSIM": metrics.ssim(swaps, truth),
            }
        for key, values in found.items():
            parts.setdefault(key, []).append(values)
    return [(PIXEL_MEASURES[key], np.concatenate(values)) for key, values in parts.items()]


PIXEL_MEASURES = {
    "change": Measure("change", "pixels", "", "mean squared difference to the target, pixels in [-1, 1]"),
    "outside": Measure("change outside the face", "pixels", "", "the same outside of the face's ellipse"),
    "error": Measure("error to the true swap", "truth", "lower", "mean squared difference to the truth"),
    "error inside": Measure("error inside the face", "truth", "lower", "the same inside of the face's ellipse"),
    "error outside": Measure("error outside the face", "truth", "lower", "the same outside of it"),
    "PSNR": Measure("PSNR", "truth", "higher", f"to the truth, dB, at most {MAX_PSNR:.0f}"),
    "SSIM": Measure("SSIM", "truth", "higher", "structural similarity to the truth (Wang et al. 2004)"),
}


def face_masks(points: Float[np.ndarray, "n 5 2"], size: int) -> Float[np.ndarray, "n s s"]:
    """1 inside of the ellipse that fills the face's box (`crops.BOX`), 0 outside."""
    y, x = np.mgrid[:size, :size]
    pixels = np.stack([x.ravel(), y.ravel()], axis=1)
    x0, y0, x1, y1 = BOX
    masks = []
    for five in points:
        matrix = photo_to_crop(ffhq_quad(five), 1)
        place = pixels @ matrix[:, :2].T + matrix[:, 2] + 0.5  # 0-1 over the face's FFHQ square
        away = (place - ((x0 + x1) / 2, (y0 + y1) / 2)) / ((x1 - x0) / 2, (y1 - y0) / 2)
        masks.append((np.square(away).sum(1) <= 1).reshape(size, size))
    return np.stack(masks).astype(np.float64)


def _perceptual(judge: Judge, method: Method, pairs: Pairs) -> Scored:
    assert judge.compare is not None
    end, name = (pairs.target, "target") if pairs.truth is None else (pairs.truth, "true swap")
    values = [judge.compare(method.read(chunk), pairs.gallery.read(end[chunk])) for chunk in chunks(len(pairs))]
    better = "" if pairs.truth is None else "lower"
    about = f"perceptual distance to the {name}"
    kind = "pixels" if pairs.truth is None else "truth"
    return [(Measure(f"{judge.name}: to {name}", kind, better, about), np.concatenate(values))]


# --- of a whole set ----------------------------------------------------------------------------------------------


def verification(features: Float[np.ndarray, "n d"], people: Sequence[str]) -> Mapping[str, float] | None:
    """How well an identity judge tells the people of this very data apart: what its scores are worth here.

    None where no two pictures are of one person. Pairs of equal pictures are left out.
    """
    unit = features / np.linalg.norm(features, axis=1, keepdims=True)
    first, second = np.triu_indices(len(unit), 1)
    similarity = np.sum(unit[first] * unit[second], axis=1)
    labels = np.array(people)
    same = labels[first] == labels[second]
    distinct = np.any(features[first] != features[second], axis=1)
    genuine, impostor = similarity[same & distinct], similarity[~same]
    if not len(genuine) or not len(impostor):
        return None
    result = {
        "cosine, same person": float(genuine.mean()),
        "cosine, strangers": float(impostor.mean()),
        "ROC AUC": metrics.roc_auc(genuine, impostor),
    }
    if len(impostor) >= 100:
        result["TAR at FAR 1%"] = metrics.tar_at_far(genuine, impostor, 0.01)
    return result
