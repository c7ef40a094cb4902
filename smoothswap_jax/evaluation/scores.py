"""From readings to scores, one a pair: which numbers there are, what they mean, and what a failure costs.

A failure is a swap in which no face is found, or in which a judge sees nothing, though its target shows one. It is
never left out: in each measure it takes the worst of what the judge reads and what the copy that is useless in it has,
in this pair and in the mean (the unchanged target in measures of identity, the unchanged source in the others). In a
single pair that copy may be good, a frontal source for a frontal target, and failing would pay.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Shaped

from smoothswap_jax.evaluation.features import Readings, unseen
from smoothswap_jax.evaluation.judges.alignments import BOX
from smoothswap_jax.evaluation.judges.base import Judge
from smoothswap_jax.evaluation.judges.factor_reader import group_distance, label
from smoothswap_jax.evaluation.judges.mediapipe import split_mesh
from smoothswap_jax.evaluation.methods import Method, chunks
from smoothswap_jax.evaluation.pairs import Pairs
from smoothswap_jax.faces.align import ffhq_quad, photo_to_crop
from smoothswap_jax.faces.photos import to_float
from smoothswap_jax.metrics import per_pair, verification
from smoothswap_jax.metrics.bootstrap import Interval, bootstrap_interval
from smoothswap_jax.models.judges.deep3d import split_coefficients
from smoothswap_jax.models.judges.hopenet import pose_degrees

MAX_PSNR = 100.0
"""Equal pictures have an infinite ratio; a hundred decibels are far beyond what 8 bits can tell."""


@dataclass(frozen=True)
class Measure:
    """A number a pair. kind: identity, attributes, pixels or truth. better: 'higher', 'lower' or '' for neither.
    judge: whose number it is; '' for those of pixels. to: which original a judge compares with, source, target or
    truth."""

    name: str
    kind: str
    better: str
    about: str
    judge: str = ""
    to: str = ""


Scores = dict[str, Float[np.ndarray, "n"]]
"""Of each pair, by measure; NaN where the pair's original cannot be measured, which is the same for all methods. In a
measure with no better end also where the swap itself shows the judge nothing."""
Scored = list[tuple[Measure, Float[np.ndarray, "n"]]]


def mean(values: Float[np.ndarray, "n"]) -> float:
    """Over the pairs that can be measured; NaN where there is none."""
    seen = values[np.isfinite(values)]
    return float(seen.mean()) if len(seen) else float("nan")


def mean_interval(values: Float[np.ndarray, "n"], groups: Shaped[np.ndarray, "n"]) -> Interval | float | None:
    """The mean with its interval over groups; the bare mean of values that are all equal or of one group, and None
    where nothing can be measured."""
    seen = np.isfinite(values)
    if not seen.any():
        return None
    spread = np.ptp(values[seen]) > 0 and len(set(groups[seen])) > 1
    return bootstrap_interval(values[seen], groups=groups[seen]) if spread else mean(values)


Copies = dict[str, Scored]
"""Of each judge's measures, what the copy that is useless in it has: the price of failures."""


def useless_copies(originals: Readings, pairs: Pairs, judges: Sequence[Judge]) -> Copies:
    """What failures cost: the unchanged target's scores in measures of identity, the unchanged source's in the rest."""
    copies: Copies = {}
    for judge in judges:
        if scorer := SCORERS.get(judge.role):
            known = _blanked(originals.features[judge.name])
            sources, targets = (scorer(judge, known[rows], known, pairs) for rows in (pairs.source, pairs.target))
            both = zip(sources, targets, strict=True)
            copies[judge.name] = [target if target[0].kind == "identity" else source for source, target in both]
    return copies


def score(
    method: Method, readings: Readings, originals: Readings, pairs: Pairs, judges: Sequence[Judge], copies: Copies
) -> tuple[Scores, list[Measure]]:
    """All scores of a method on the pairs, by measure.

    readings: of the method's pictures, one a pair. originals: of all faces of the gallery, by row. copies: of these
    pairs, by `useless_copies`.
    """
    failed = ~readings.found & originals.found[pairs.target]
    measured = _pixels(method, pairs)
    for judge in judges:
        if judge.role == "perceptual":
            measured += _perceptual(judge, readings, pairs)
        elif judge.role in SCORERS:
            swaps, known = readings.features[judge.name], originals.features[judge.name]
            measured += _judged(judge, swaps, known, pairs, failed, copies[judge.name])
    if not pairs.known_points:
        measured.append((Measure("no face found", "attributes", "lower", FAILURE_NOTE), failed.astype(np.float64)))
    return {measure.name: values for measure, values in measured}, [measure for measure, _ in measured]


FAILURE_NOTE = (
    "Share of swaps in which no face is found though the target shows one. They are not left out: in the measures of "
    "identity, pose, expression and shape they count the worst of what the judge reads and what the unchanged target "
    "(in identity) or source (in the others) has, in this pair and in the mean. Pixels and perceptual distances are "
    "measured as they are."
)


def _blanked(features: Float[np.ndarray, "n d"]) -> Float[np.ndarray, "n d"]:
    return np.where(unseen(features)[:, None], np.nan, features)


def _judged(judge: Judge, swaps, known, pairs: Pairs, failed: Bool[np.ndarray, "n"], copies: Scored) -> Scored:
    """A judge's measures, failures included. Pairs whose originals show it nothing have NaN, for every method."""
    failed, known = failed | unseen(swaps), _blanked(known)
    scored = []
    found = SCORERS[judge.role](judge, _blanked(swaps), known, pairs)
    for (measure, values), (_, useless) in zip(found, copies, strict=True):
        ends = {"source": pairs.source, "target": pairs.target, "truth": pairs.truth}[measure.to]
        shown = np.isfinite(known[ends]).all(axis=1)
        if measure.better:
            worse = np.fmax if measure.better == "lower" else np.fmin
            values = np.where(failed, worse(worse(values, useless), mean(useless)), values)
            shown &= np.isfinite(useless).any()  # without a price for failures nothing can be compared
        scored.append((measure, np.where(shown, values, np.nan)))
    return scored


def _rows(function: Callable[..., np.ndarray], *parts: np.ndarray) -> Float[np.ndarray, "n"]:
    """`function` of the rows in which all parts are finite, NaN in the others."""
    seen = np.all([np.isfinite(part).reshape(len(part), -1).all(axis=1) for part in parts], axis=0)
    values = np.full(len(seen), np.nan)
    if seen.any():
        values[seen] = function(*(part[seen] for part in parts))
    return values


# --- identity -----------------------------------------------------------------------------------------------------


def _identity(judge: Judge, swaps, known, pairs: Pairs) -> Scored:
    made = _maker(judge, "identity")
    source, target = known[pairs.source], known[pairs.target]
    scored = [
        made("cosine to source", "higher", "cosine of embeddings", _rows(per_pair.cosine, swaps, source)),
        made("cosine to target", "", "cosine of embeddings; an unchanged target has 1",
             _rows(per_pair.cosine, swaps, target), to="target"),
    ]  # fmt: skip
    if judge.distance:
        about = "Euclidean distance of unit embeddings"
        scored.append(made("distance to source", "lower", about, _rows(per_pair.distance, swaps, source)))
    # Beside a pair's own source stands one picture, the first that shows the judge something, of every other person.
    shown = np.flatnonzero(np.isfinite(source).all(axis=1))
    others, first = np.unique(pairs.people[0][shown], return_index=True)
    gallery, m = source[shown[first]], len(others)
    row_of = {person: row for row, person in enumerate(others)}
    own = np.array([row_of.get(person, -1) for person in pairs.people[0]])
    rank = lambda swap, source, own: verification.source_rank(swap, source, gallery, own, judge.identity.normalised)
    place = _rows(rank, swaps, source, own)
    for k in (1, 5):
        if m > k:
            near = "nearest" if k == 1 else f"among the {k} nearest"
            about = (
                f"the source is {near}, beside a picture of each of the {m - 1} other source people; somebody else's "
                f"face has {k / m:.3f} by chance, an unchanged target whose person is a source too about 0"
            )
            scored.append(made(f"top-{k}", "higher", about, _rows(lambda x, k=k: verification.retrieved(x, k), place)))
    return scored


def _maker(judge: Judge, kind: str):
    """Makes the judge's measures: (name, better, about, values) to a measure and its values."""

    def made(name: str, better: str, about: str, values: np.ndarray, kind: str = kind, to: str = "source"):
        return Measure(f"{judge.name}: {name}", kind, better, about, judge.name, to), values

    return made


# --- expression, pose, shape --------------------------------------------------------------------------------------


def _coefficients(judge: Judge, swaps, known, pairs: Pairs) -> Scored:
    """Of Deep3DFaceRecon."""
    fields = {"shape": "identity", "expression": "expression", "pose": "angle"}
    units = {"shape": "to the source", "expression": "to the target", "pose": "to the target, radians"}
    mine, theirs = split_coefficients(swaps), split_coefficients(known)
    part_of = lambda coefficients, part: np.asarray(getattr(coefficients, fields[part]))
    made, scored = _maker(judge, "attributes"), []
    for part in fields:
        about = f"L2 distance of the 3-D face model's {part} parameters {units[part]}"
        kind, to, ends = (
            ("identity", "source", pairs.source) if part == "shape" else ("attributes", "target", pairs.target)
        )
        values = _rows(per_pair.parameter_distance, part_of(mine, part), part_of(theirs, part)[ends])
        scored.append(made(part, "lower", about, values, kind, to))
    return scored


def _pose(judge: Judge, swaps, known, pairs: Pairs) -> Scored:
    """Of Hopenet, by the convention asked for."""
    convention = judge.pose

    def error(a, b):
        a, b = (x.reshape(len(x), 3, -1).astype(np.float64) for x in (a, b))
        if convention.name == "reliableswap":
            return np.linalg.norm(a - b, axis=2).mean(axis=1) / 2
        a, b = (np.asarray(pose_degrees(x), np.float64) for x in (a, b))
        if convention.name == "geodesic":
            return per_pair.geodesic_degrees(per_pair.hopenet_rotations(a), per_pair.hopenet_rotations(b))
        return np.linalg.norm(a - b, axis=1)

    about = f"to the target, {convention.unit}; {convention.name}: {convention.about}"
    values = _rows(error, swaps, known[pairs.target])
    return [_maker(judge, "attributes")("pose", "lower", about, values, to="target")]


def _mesh(judge: Judge, swaps, known, pairs: Pairs) -> Scored:
    """Of MediaPipe's mesh: pose, expression by points, expression by blendshapes, all to the target."""
    from smoothswap_jax.evaluation.judges.face_mesh import LEFT_EYE, RIGHT_EYE

    eyes = np.array(LEFT_EYE), np.array(RIGHT_EYE)
    distances = {
        # Laying equal points on each other leaves 1e-16, which a table would show.
        0: lambda a, b: np.round(per_pair.landmark_distance(a, b, *eyes), 12),
        1: per_pair.parameter_distance,
        2: per_pair.geodesic_degrees,
    }
    values = {
        part: _rows(lambda a, b, i=part: distances[i](split_mesh(a)[i], split_mesh(b)[i]), swaps, known[pairs.target])
        for part in distances
    }
    made = _maker(judge, "attributes")
    points = "mean distance of 478 points to the target's, laid on each other, over the distance of the eyes"
    return [
        made("pose", "lower", "angle between the head poses of swap and target, degrees", values[2], to="target"),
        made("expression (points)", "lower", points, values[0], to="target"),
        made("expression (blendshapes)", "lower", "L2 distance of 52 blendshapes (0-1) to the target's", values[1],
             to="target"),
    ]  # fmt: skip


def _factors(judge: Judge, swaps, known, pairs: Pairs) -> Scored:
    """Of the synthetic world's reader: how far the factors read from a swap are from those read from the truth."""
    reader, truth = judge.reader, pairs.truth
    assert reader is not None and truth is not None
    made = _maker(judge, "attributes")
    return [
        made(group, "lower", "distance of what is read from the swap and from the truth, in standard deviations of the "
             "world: " + label(reader, group),
             _rows(lambda a, b, group=group: group_distance(reader, a, b, group), swaps, known[truth]),
             "identity" if group == "identity" else "attributes", "truth")
        for group, names in reader.kept.items()
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
        found = {"change": per_pair.mse(swaps, targets), "outside": per_pair.masked_mse(swaps, targets, 1 - inside)}
        if pairs.truth is not None:
            truth = to_float(pairs.gallery.read(pairs.truth[chunk]))
            found |= {
                "error": per_pair.mse(swaps, truth),
                "error inside": per_pair.masked_mse(swaps, truth, inside),
                "error outside": per_pair.masked_mse(swaps, truth, 1 - inside),
                "PSNR": np.minimum(per_pair.psnr(swaps, truth), MAX_PSNR),
                "SSIM": per_pair.ssim(swaps, truth),
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


def _perceptual(judge: Judge, readings: Readings, pairs: Pairs) -> Scored:
    name, kind, better = ("target", "pixels", "") if pairs.truth is None else ("true swap", "truth", "lower")
    about = f"perceptual distance to the {name}"
    return [(Measure(f"{judge.name}: to {name}", kind, better, about, judge.name), readings.features[judge.name][:, 0])]


# --- of a whole set ----------------------------------------------------------------------------------------------


MOST_PAIRS = 1_000_000  # of people and of strangers that verification looks at; of more, a random choice


def people_verification(
    features: Float[np.ndarray, "n d"], people: Sequence[str], recordings: Sequence[str], seed: int = 0
) -> dict[str, float]:
    """How well an identity judge tells the people of this very data apart: what its scores are worth here.

    recordings: what each picture is independent by (`galleries.recordings_of`): frames of one video and copies of one
    photo are no pair of a person, for anything tells them from strangers. Without two pictures of one person there is
    only the strangers' cosine; without strangers, nothing.
    """
    seen = ~unseen(features)
    if not seen.any():
        return {}
    unit = per_pair.unit_rows("features", features[seen])
    labels, takes = (np.unique(np.array(names)[seen], return_inverse=True)[1] for names in (people, recordings))
    rng = np.random.default_rng(seed)
    first, second = _pairs_of_people(labels, rng)
    apart = takes[first] != takes[second]
    genuine = _cosines(unit, first[apart], second[apart])
    impostor = _cosines(unit, *_pairs_of_strangers(labels, rng))
    result = {}
    if len(genuine):
        result["cosine, same person"] = float(genuine.mean())
    if len(impostor):
        result["cosine, strangers"] = float(impostor.mean())
    if len(genuine) and len(impostor):
        result["ROC AUC"] = verification.roc_auc(genuine, impostor)
        if len(impostor) >= 100:
            result["TAR at FAR 1%"] = verification.tar_at_far(genuine, impostor, 0.01)
    return result


def _pairs_of_people(labels: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Rows of two pictures of one person: all of them, or of some pictures of each person if they are too many."""
    order = np.argsort(labels, kind="stable")
    people = np.split(order, np.flatnonzero(np.diff(labels[order])) + 1)
    most = max(2, int((2 * MOST_PAIRS / len(people)) ** 0.5))  # so many make the pairs that one person may have
    couples = [np.zeros((2, 0), np.int64)]
    for rows in people:
        rows = rows if len(rows) <= most else rng.choice(rows, most, replace=False)
        couples.append(rows[np.stack(np.triu_indices(len(rows), 1))])
    first, second = np.concatenate(couples, axis=1)
    return first, second


def _pairs_of_strangers(labels: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Rows of two people: all of them, or of more than `MOST_PAIRS` as many, drawn with replacement."""
    n = len(labels)
    if n * (n - 1) // 2 <= MOST_PAIRS:
        first, second = np.triu_indices(n, 1)
    else:
        first, second = rng.integers(n, size=(2, MOST_PAIRS))
    strangers = labels[first] != labels[second]
    return first[strangers], second[strangers]


def _cosines(unit: Float[np.ndarray, "n d"], first: np.ndarray, second: np.ndarray) -> Float[np.ndarray, "p"]:
    size = max(1, 2**24 // max(1, unit.shape[1]))  # 0.13 GB of rows
    parts = [np.sum(unit[first[rows]] * unit[second[rows]], axis=1) for rows in chunks(len(first), size)]
    return np.concatenate([np.zeros(0), *parts])
