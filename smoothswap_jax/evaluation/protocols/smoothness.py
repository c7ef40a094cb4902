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
from pathlib import Path
from typing import Any

import numpy as np

from smoothswap_jax.data import dataset, rendered
from smoothswap_jax.evaluation import cache as caching
from smoothswap_jax.evaluation import scores
from smoothswap_jax.evaluation.evaluate import CACHE, Progress, Settings
from smoothswap_jax.evaluation.features import read_faces
from smoothswap_jax.evaluation.galleries import Gallery, from_arrays, from_prepared, recordings_of
from smoothswap_jax.evaluation.judges.base import Judge, JudgeError
from smoothswap_jax.evaluation.judges.registry import load_judge
from smoothswap_jax.evaluation.pairs import PAIRS, SCORES
from smoothswap_jax.evaluation.protocols.registry import WORLD, ProtocolError, drawn_pairs
from smoothswap_jax.evaluation.report.document import Block, Cell, Curve, Picture, Report, Table, write_report
from smoothswap_jax.evaluation.report.figures import scale_of
from smoothswap_jax.evaluation.results import surroundings
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
"""Area under the ROC curve below which an embedder's smoothness is not worth comparing."""
SAID = {
    "better": "smoother than",
    "worse": "less smooth than",
    "cannot tell": "neither clearly smoother nor less smooth than",
}


@dataclass(frozen=True)
class Embedder:
    """One embedder's outcome: the interpolations, and its verification of the held-out people."""

    judge: Judge
    found: Interpolation
    verification: Mapping[str, float]


def evaluate_smoothness(settings: Settings, progress: Progress | None = None) -> Path:
    """Runs the protocol for the embedders named by `checkpoints` and `judges`; returns the path of report.html.

    Raises JudgeError for what is no embedder, ProtocolError and DataError for data without two splits.
    """
    if settings.protocol not in (NAME, f"{NAME}@{VERSION}"):
        raise ProtocolError(f"protocol {settings.protocol!r}: this package has version {VERSION} of {NAME} only")
    began = time.monotonic()
    mesh = sharding.make_mesh(settings.devices)
    specs = [*(f"{name}={path}" for name, path in settings.checkpoints.items()), *settings.judges]
    embedders = [load_judge(spec, mesh, settings.identity) for spec in specs]
    if not embedders:
        raise JudgeError("found no embedder; wanted --checkpoint=DIR, the run directory of an embedder, or --judge=...")
    for judge in embedders:
        if judge.role != "identity":
            raise JudgeError(f"{judge.name}: found a judge of {judge.role}; wanted an embedder of identity")
    settings.out.mkdir(parents=True, exist_ok=True)
    train, test = _splits(settings)
    labels = np.unique(np.array(test.people), return_inverse=True)[1]
    a, b = drawn_pairs(labels, COUNT)
    manifest = _manifest(test, a, b)
    write_atomically(settings.out / PAIRS, manifest)
    cache = caching.open_cache(settings.out / CACHE)
    outcome, recordings = [], recordings_of(test, np.arange(len(test)))
    for judge in embedders:
        z_train, z_test = (_embed(judge, faces, cache, progress) for faces in (train, test))
        try:
            found = interpolation(z_test[a], z_test[b], z_train)
        except ValueError as error:
            raise JudgeError(f"{judge.name}: {error}; an embedder that has collapsed has no smoothness") from error
        outcome.append(Embedder(judge, found, scores.people_verification(z_test, test.people, recordings)))
    write_atomically(settings.out / SCORES, _scores(outcome, test, a, b))
    report = _report(outcome, train, test, a, b)
    facts = surroundings(f"{NAME}@{VERSION}", specs, time.monotonic() - began) | dict(test.facts)
    extra = {
        "protocol": {"name": NAME, "version": VERSION, "about": ABOUT},
        "pairs": {"count": len(a), "file": PAIRS, "sha256": hashlib.sha256(manifest).hexdigest(), "size": test.size},
        "judges": [{"name": e.judge.name, "role": e.judge.role, "facts": dict(e.judge.facts)} for e in outcome],
    }
    return write_report(settings.out, Report(**report, facts=facts), extra)


def _splits(settings: Settings) -> tuple[Gallery, Gallery]:
    """The training faces and the held-out ones."""
    if settings.data is not None:
        train, test = (from_prepared(settings.data, split, settings.size) for split in dataset.SPLITS)
        return train, test
    for path in settings.checkpoints.values():
        _, meta, _ = checkpoint.load_parts(path, ())
        config = meta["config"]["data"]
        if config["kind"] == "synthetic":
            world = {key: config.get(key, value) for key, value in WORLD.items()}
            people = {"train": config["people"], "test": world.pop("held_out_people")}
            made = (rendered.from_synthetic(s, config["size"], people[s], **world) for s in dataset.SPLITS)
            train, test = (
                from_arrays(f.images, f.files, [f.people[label] for label in f.labels], data="the synthetic world")
                for f in made
                if f.images is not None
            )
            return train, test
        if config["kind"] == "prepared":
            first = config["dir"].split(",")[0].strip()
            train, test = (from_prepared(first, split, config["size"]) for split in dataset.SPLITS)
            return train, test
    raise ProtocolError("--data is missing; wanted a folder that `smoothswap prepare` wrote")


def _embed(judge: Judge, gallery: Gallery, cache: sqlite3.Connection, progress: Progress | None) -> np.ndarray:
    show = progress(f"{judge.name}: embedding") if progress else None
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
    """A row an embedder and pair."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(["embedder", "a", "b", "d_smooth", "novelty"])
    for e in outcome:
        rows = zip(a, b, e.found.d_smooth, e.found.novelty, strict=True)
        writer.writerows([e.judge.name, test.names[i], test.names[j], repr(float(d)), int(n)] for i, j, d, n in rows)
    return file.getvalue().encode("utf-8", "surrogateescape")


def _report(outcome: Sequence[Embedder], train: Gallery, test: Gallery, a: np.ndarray, b: np.ndarray) -> dict[str, Any]:
    people = np.array(test.people)[a]
    mean = lambda values: bootstrap_interval(values.astype(np.float64), groups=people)
    checks = list(dict.fromkeys(key for e in outcome for key in e.verification))
    rows: list[list[Cell]] = [
        [e.judge.name, mean(e.found.d_smooth), mean(e.found.novelty), float(np.std(e.found.novelty)),
         *(e.verification.get(key) for key in checks)]
        for e in outcome
    ]  # fmt: skip
    columns = ["embedder", "d_smooth", "novelty", "novelty, std of pairs", *checks]
    caption = (
        f"{len(a)} pairs of held-out people, {len(train)} training faces. Brackets are 95% bootstrap intervals over "
        "people. An embedder that collapses is perfectly smooth: read d_smooth beside its verification."
    )
    better = {"d_smooth": "lower", "novelty": "higher", "ROC AUC": "higher", "TAR at FAR 1%": "higher"}
    better = {key: value for key, value in better.items() if key in columns}
    blocks: list[Block] = [Table("Smoothness", columns, rows, caption, better)]
    words = [
        f"{e.judge.name} hardly tells people apart (ROC AUC {e.verification['ROC AUC']:.2f}): that it is smooth means "
        "nothing, a constant is perfectly smooth."
        for e in outcome
        if e.verification.get("ROC AUC", 1.0) < WORTHLESS
    ]
    if not all("ROC AUC" in e.verification for e in outcome):
        words.append(
            "Whether the embedders tell people apart cannot be told: nobody held out is shown in two independent "
            "pictures. A constant is perfectly smooth, so measure that elsewhere before comparing."
        )
    for first, second in ((x, y) for i, x in enumerate(outcome) for y in outcome[i + 1 :]):
        difference = paired_difference_interval(first.found.d_smooth, second.found.d_smooth, people)
        told = SAID[verdict(difference, "lower")]
        words.append(
            f"{first.judge.name} is {told} {second.judge.name}: d_smooth differs by {difference.value:.3f} "
            f"[{difference.low:.3f}, {difference.high:.3f}] on the same pairs."
        )
    # d_smooth is the mean over r of what this curve shows at each r.
    share = lambda found: found.distance * (found.d_smooth / found.distance.mean(axis=1))[:, None]
    distance = {e.judge.name: (RATIOS, share(e.found).mean(axis=0)) for e in outcome}
    blocks.append(
        Curve("Distance to the nearest face on the way", distance, "ratio r", "distance over that of the pair",
              "At the ends the held-out faces themselves are not among the training faces either.")
    )  # fmt: skip
    blocks += [_strip(outcome, train, test, a, b, pair) for pair in range(min(STRIPS, len(a)))]
    intro = [f"Protocol {NAME}@{VERSION}. {ABOUT}"]
    return dict(title="Smoothness of embedders", intro=intro, blocks=blocks, verdicts=words)


def _strip(outcome: Sequence[Embedder], train: Gallery, test: Gallery, a, b, pair: int) -> Picture:
    """The nearest training faces from one end to the other, a row an embedder (the paper's figure 9)."""
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
