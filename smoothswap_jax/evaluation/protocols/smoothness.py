"""The protocol `smoothness`: how smooth embedders are, by the faces that lie between two others (Smooth-Swap).

For two held-out faces and a ratio r, the point between their embeddings on the sphere is looked up among the training
faces. A smooth embedder has a face near every such point (d_smooth is small), and shows many different ones on the way
(novelty is high).
"""

import csv
import hashlib
import io
import sqlite3
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import numpy as np

from smoothswap_jax.data import dataset, rendered
from smoothswap_jax.evaluation.cache import CACHE, open_cache
from smoothswap_jax.evaluation.features import read_faces
from smoothswap_jax.evaluation.galleries import Gallery, gallery_of_arrays, gallery_of_prepared, recordings_of
from smoothswap_jax.evaluation.judges.base import Judge, JudgeError
from smoothswap_jax.evaluation.judges.registry import load_judge
from smoothswap_jax.evaluation.measures.identity import people_verification
from smoothswap_jax.evaluation.pairs import PAIRS, SCORES
from smoothswap_jax.evaluation.progress import StartProgress, started
from smoothswap_jax.evaluation.protocols.base import Protocol, ProtocolError, drawn_pairs
from smoothswap_jax.evaluation.report.document import Block, Cell, Curve, Picture, Report, Table, write_report
from smoothswap_jax.evaluation.report.figures import scale_of
from smoothswap_jax.evaluation.report.surroundings import surroundings
from smoothswap_jax.evaluation.settings import EvaluationSettings
from smoothswap_jax.faces.grid import image_grid
from smoothswap_jax.metrics.bootstrap import bootstrap_interval, paired_difference_interval, verdict
from smoothswap_jax.metrics.smoothness import RATIOS, Interpolation, interpolation
from smoothswap_jax.runtime import checkpoint, sharding
from smoothswap_jax.runtime.files import write_atomically

NAME, VERSION, COUNT, STRIPS = "smoothness", 1, 500, 4
ABOUT = (
    f"Up to {COUNT} pairs of held-out people; the faces nearest to the points between their embeddings (Slerp, r = 0.1 "
    "to 0.9) are sought among all training faces. d_smooth is the distance to the nearest face over that of the pair, "
    "averaged over r: lower is smoother. Novelty is the number of different faces on the way, of 9."
)

WORTHLESS = 0.9
"""ROC AUC below which an embedder's smoothness is not worth comparing."""
COMPARED = {
    "better": "smoother than",
    "worse": "less smooth than",
    "cannot tell": "neither clearly smoother nor less smooth than",
}


@dataclass(frozen=True)
class Embedder:
    """What was found of one embedder: the interpolations, and its verification of the held-out people."""

    judge: Judge
    found: Interpolation
    verification: Mapping[str, float]


@dataclass(frozen=True)
class Smoothness:
    """What the protocol found: of each embedder, on pairs (a, b) of rows of the held-out faces `test`.

    collapsed: embedders that give two people one embedding, which has no smoothness, by name; and why in words.
    """

    embedders: Sequence[Embedder]
    collapsed: Mapping[str, str]
    train: Gallery
    test: Gallery
    a: np.ndarray
    b: np.ndarray

    @property
    def people(self) -> np.ndarray:
        """Whose face each pair begins with: what intervals are taken over."""
        return np.array(self.test.people)[self.a]


def evaluate_smoothness(settings: EvaluationSettings, progress: StartProgress | None = None) -> Path:
    """Runs the protocol; returns the path of report.html. Raises as `measure_smoothness` does."""
    began = time.monotonic()
    found = measure_smoothness(settings, progress)
    outcome, test = found.embedders, found.test
    manifest = (settings.out / PAIRS).read_bytes()
    facts = surroundings(f"{NAME}@{VERSION}", _specs(settings), time.monotonic() - began) | dict(test.facts)
    extra = {
        "protocol": {"name": NAME, "version": VERSION, "about": ABOUT},
        "pairs": {
            "count": len(found.a),
            "file": PAIRS,
            "sha256": hashlib.sha256(manifest).hexdigest(),
            "size": test.size,
        },
        "judges": [{"name": e.judge.name, "role": e.judge.role, "facts": dict(e.judge.facts)} for e in outcome],
    }
    intro = [f"Protocol {NAME}@{VERSION}. {ABOUT}"]
    verdicts = [f"{name} has collapsed and is left out: {why}." for name, why in found.collapsed.items()]
    verdicts += _verdicts(outcome, found.people)
    report = Report("Smoothness of embedders", intro, facts, blocks=smoothness_blocks(found), verdicts=verdicts)
    return write_report(settings.out, report, extra)


def measure_smoothness(settings: EvaluationSettings, progress: StartProgress | None = None) -> Smoothness:
    """Embeds the faces by the embedders named by `checkpoints` and `judges`; writes pairs.csv and scores.csv.

    Raises JudgeError for a judge that is not an embedder and if all have collapsed, ProtocolError and DataError for
    data without two splits.
    """
    judges = _embedders(_specs(settings), settings)
    settings.out.mkdir(parents=True, exist_ok=True)
    train, test = _splits(settings)
    labels = np.unique(np.array(test.people), return_inverse=True)[1]
    a, b = drawn_pairs(labels, COUNT)
    write_atomically(settings.out / PAIRS, _manifest(test, a, b))
    cache = open_cache(settings.out / CACHE)
    recordings = recordings_of(test, np.arange(len(test)))
    outcome, collapsed = list[Embedder](), dict[str, str]()
    for judge in judges:
        z_train, z_test = (_embed(judge, faces, cache, progress) for faces in (train, test))
        try:
            found = interpolation(z_test[a], z_test[b], z_train)
        except ValueError as error:
            collapsed[judge.name] = str(error)
            continue
        outcome.append(Embedder(judge, found, people_verification(z_test, list(test.people), recordings)))
    if not outcome:
        found_of = "; ".join(f"{name}: {why}" for name, why in collapsed.items())
        raise JudgeError(f"{found_of}; an embedder that has collapsed has no smoothness")
    write_atomically(settings.out / SCORES, _scores(outcome, test, a, b))
    return Smoothness(outcome, collapsed, train, test, a, b)


def _specs(settings: EvaluationSettings) -> list[str]:
    return [*(f"{name}={path}" for name, path in settings.checkpoints.items()), *settings.judges]


def _embedders(specs: Sequence[str], settings: EvaluationSettings) -> list[Judge]:
    mesh = sharding.make_mesh(settings.devices)
    judges = [load_judge(spec, mesh, settings.identity) for spec in specs]
    if not judges:
        raise JudgeError("found no embedder; wanted --checkpoint=DIR, the run directory of an embedder, or --judge=...")
    for judge in judges:
        if judge.role != "identity":
            raise JudgeError(f"{judge.name}: found a judge of {judge.role}; wanted an embedder of identity")
    return judges


def _splits(settings: EvaluationSettings) -> tuple[Gallery, Gallery]:
    """The training faces and the held-out ones."""
    if settings.data is not None:
        train, test = (gallery_of_prepared(settings.data, split, settings.size) for split in dataset.SPLITS)
        return train, test
    for path in settings.checkpoints.values():
        _, meta, _ = checkpoint.load_parts(path, ())
        config = meta["config"]["data"]
        if config["kind"] == "synthetic":
            world = rendered.world_fields(config)
            people = {"train": config["people"], "test": world.pop("held_out_people")}
            made = (rendered.from_synthetic(s, config["size"], people[s], **world) for s in dataset.SPLITS)
            train, test = (
                gallery_of_arrays(
                    f.images, f.files, [f.people[label] for label in f.labels], data="the synthetic world"
                )
                for f in made
                if f.images is not None
            )
            return train, test
        if config["kind"] == "prepared":
            first = config["dir"].split(",")[0].strip()
            train, test = (gallery_of_prepared(first, split, config["size"]) for split in dataset.SPLITS)
            return train, test
    raise ProtocolError("--data is missing; wanted a folder that `smoothswap prepare` wrote")


def _embed(judge: Judge, gallery: Gallery, cache: sqlite3.Connection, progress: StartProgress | None) -> np.ndarray:
    show = started(progress, f"{judge.name}: embedding")
    found = read_faces(gallery.read, len(gallery), [judge], cache, gallery.points, known=True, progress=show)
    return found.features[judge.name]


def _manifest(test: Gallery, a: np.ndarray, b: np.ndarray) -> bytes:
    """The pairs of held-out faces with their contents, as CSV."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(["a", "b", "a_sha256", "b_sha256"])
    content = {int(row): test.content(int(row)) for row in np.unique([a, b])}
    writer.writerows(
        [test.names[i], test.names[j], content[int(i)], content[int(j)]] for i, j in zip(a, b, strict=True)
    )
    return file.getvalue().encode("utf-8", "surrogateescape")


def _scores(outcome: Sequence[Embedder], test: Gallery, a: np.ndarray, b: np.ndarray) -> bytes:
    """A row for each embedder and pair."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(["embedder", "a", "b", "d_smooth", "novelty"])
    for e in outcome:
        rows = zip(a, b, e.found.d_smooth, e.found.novelty, strict=True)
        writer.writerows([e.judge.name, test.names[i], test.names[j], repr(float(d)), int(n)] for i, j, d, n in rows)
    return file.getvalue().encode("utf-8", "surrogateescape")


def smoothness_blocks(found: Smoothness) -> list[Block]:
    """The table, the curve over the ratio, and strips of some pairs."""
    outcome, train, test = found.embedders, found.train, found.test
    blocks: list[Block] = [_table(outcome, found.people, len(train)), _curve(outcome)]
    strips = range(min(STRIPS, len(found.a)))
    return blocks + [_strip(outcome, train, test, found.a, found.b, pair) for pair in strips]


def _table(outcome: Sequence[Embedder], people: np.ndarray, gallery_size: int) -> Table:
    mean = lambda values: bootstrap_interval(values.astype(np.float64), groups=people)
    checks = list(dict.fromkeys(key for e in outcome for key in e.verification))
    rows: list[list[Cell]] = [
        [e.judge.name, mean(e.found.d_smooth), mean(e.found.novelty), float(np.std(e.found.novelty)),
         *(e.verification.get(key) for key in checks)]
        for e in outcome
    ]  # fmt: skip
    columns = ["embedder", "d_smooth", "novelty", "novelty, std of pairs", *checks]
    caption = (
        f"{len(people)} pairs of held-out people, {gallery_size} training faces. Brackets are 95% bootstrap intervals "
        "over people. An embedder that collapses is perfectly smooth: read d_smooth beside its verification."
    )
    better = {"d_smooth": "lower", "novelty": "higher", "ROC AUC": "higher", "TAR at FAR 1%": "higher"}
    better = {key: value for key, value in better.items() if key in columns}
    return Table("Smoothness", columns, rows, caption, better)


def _verdicts(outcome: Sequence[Embedder], people: np.ndarray) -> list[str]:
    words = [
        f"{e.judge.name} hardly tells people apart (ROC AUC {e.verification['ROC AUC']:.2f}): that it is smooth means "
        "nothing, a constant is perfectly smooth."
        for e in outcome
        if e.verification.get("ROC AUC", 1.0) < WORTHLESS
    ]
    if not all("ROC AUC" in e.verification for e in outcome):
        words.append(
            "Whether the embedders tell people apart cannot be measured: nobody held out is shown in two independent "
            "pictures. A constant is perfectly smooth, so measure that elsewhere before comparing."
        )
    for first, second in combinations(outcome, 2):
        difference = paired_difference_interval(first.found.d_smooth, second.found.d_smooth, people)
        words.append(
            f"{first.judge.name} is {COMPARED[verdict(difference, 'lower')]} {second.judge.name}: d_smooth differs by "
            f"{difference.value:.3f} [{difference.low:.3f}, {difference.high:.3f}] on the same pairs."
        )
    return words


def _curve(outcome: Sequence[Embedder]) -> Curve:
    # d_smooth is the mean over r of what this curve shows at each r.
    share = lambda found: found.distance * (found.d_smooth / found.distance.mean(axis=1))[:, None]
    distance = {e.judge.name: (RATIOS, share(e.found).mean(axis=0)) for e in outcome}
    return Curve(
        "Distance to the nearest face on the way", distance, "ratio r", "distance over that of the pair",
        "At the ends the held-out faces themselves are not among the training faces either.",
    )  # fmt: skip


def _strip(outcome: Sequence[Embedder], train: Gallery, test: Gallery, a, b, pair: int) -> Picture:
    """The nearest training faces from one end to the other, a row for each embedder (figure 9 of the paper)."""
    ends = [test.read(rows[pair : pair + 1])[0] for rows in (a, b)]
    rows = [[ends[0], *train.read(e.found.nearest[pair]), ends[1]] for e in outcome]
    labels = ["a", *(f"{r:.1f}" for r in RATIOS), "b"]
    picture = image_grid(rows, [e.judge.name for e in outcome], labels, scale=scale_of(test.size), resample="lanczos")
    counts = ", ".join(f"{e.judge.name} {e.found.novelty[pair]}" for e in outcome)
    return Picture(
        f"Nearest faces between two people, {pair + 1}", picture,
        "Held-out faces at both ends, between them the training face nearest to the point at ratio r. Different "
        f"faces: {counts}.",
    )  # fmt: skip


SMOOTHNESS = Protocol(NAME, VERSION, ABOUT, run=evaluate_smoothness)
