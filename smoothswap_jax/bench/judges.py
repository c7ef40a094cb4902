"""What judges are worth on people whose views are known, and what they cost: two tables in Markdown.

    python -m smoothswap_jax.bench.judges --faces=london --judge=sface --judge=weights/arcface

DIR/<person>/<view>.jpg with the views of the London Set: front, smiling front, three quarters to both sides. A judge of
identity tells one person's two views from those of two people. Any other is asked how far a person's smile and turned
head are from the neutral front, and how far a stranger's neutral front is, from which a smile should be told.
"""

import argparse
import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int

from smoothswap_jax.evaluation.cache import open_cache
from smoothswap_jax.evaluation.galleries import Gallery, PhotoRef, gallery_of_photos
from smoothswap_jax.evaluation.judges.base import Judge, JudgeError
from smoothswap_jax.evaluation.judges.registry import check_judges, load_judge
from smoothswap_jax.evaluation.measures.base import Scored
from smoothswap_jax.evaluation.measures.registry import METRICS
from smoothswap_jax.evaluation.pairs import Pairs
from smoothswap_jax.metrics import per_pair, verification
from smoothswap_jax.runtime import sharding

FRONT, SMILE, TURNED = "neutral_front", "smiling_front", ("neutral_left_3quarter", "neutral_right_3quarter")
VIEWS = (FRONT, SMILE, *TURNED)
SIZE = 256
TIMED, ROUNDS = 8, 5
"""Faces that are timed at once, and how often."""

Rows = Int[np.ndarray, "people"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--faces", required=True, type=Path, metavar="DIR", help="<person>/<view>.jpg")
    parser.add_argument("--judge", required=True, action="append", metavar="[NAME=]WHICH", help="as for evaluate")
    parser.add_argument("--cache", default=":memory:", metavar="FILE", help="keeps the aligned faces for another time")
    args = parser.parse_args()
    mesh = sharding.make_mesh(None)
    judges = [load_judge(text, mesh) for text in args.judge]
    check_judges(judges)
    gallery, rows = people_by_view(args.faces, args.cache)
    print(f"{len(rows[FRONT])} people\n")
    identity = [(judge, identity_of(judge, gallery, rows)) for judge in judges if judge.role == "identity"]
    others = [(judge, measures_of(judge, gallery, rows)) for judge in judges if judge.role != "identity"]
    print("\n".join(filter(None, (identity_table(identity), measures_table(others)))))


def people_by_view(folder: Path, cache: str = ":memory:") -> tuple[Gallery, dict[str, Rows]]:
    """The aligned faces, and by view the rows of all people whose every view shows one. Raises JudgeError."""
    people = sorted(path.name for path in folder.iterdir() if path.is_dir()) if folder.is_dir() else []
    people = [one for one in people if all((folder / one / f"{view}.jpg").is_file() for view in VIEWS)]
    wanted = [PhotoRef(f"{one}/{view}.jpg", one) for one in people for view in VIEWS]
    gallery = gallery_of_photos(folder, wanted, SIZE, open_cache(cache))
    row = {name: index for index, name in enumerate(gallery.names)}
    whole = [one for one in people if all(f"{one}/{view}.jpg" in row for view in VIEWS)]
    if len(whole) < 2:
        raise JudgeError(f"{folder}: found {len(whole)} people with a face in each of {', '.join(VIEWS)}; wanted 2")
    return gallery, {view: np.array([row[f"{one}/{view}.jpg"] for one in whole]) for view in VIEWS}


def features_of(judge: Judge, gallery: Gallery) -> tuple[Float[np.ndarray, "n d"], float]:
    """A judge's features of all faces, and the milliseconds of all processors together that it takes for one."""
    assert judge.measure is not None
    images = gallery.read(np.arange(len(gallery)))
    some = np.arange(TIMED) % len(gallery)
    judge.measure(images[some], gallery.points[some])  # compiles
    start = _processor_seconds()
    for _ in range(ROUNDS):
        judge.measure(images[some], gallery.points[some])
    each = 1000 * (_processor_seconds() - start) / (ROUNDS * TIMED)
    return judge.measure(images, gallery.points), each


def _processor_seconds() -> float:
    """Of this process and its children, which run graphs, by Linux's /proc: other work of the machine adds nothing."""
    children = [one for task in Path("/proc/self/task").iterdir() for one in (task / "children").read_text().split()]
    found = time.process_time()
    for child in children:
        fields = Path(f"/proc/{child}/stat").read_text().rpartition(")")[2].split()
        found += (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")  # in the kernel and outside
    return found


def identity_of(judge: Judge, gallery: Gallery, rows: Mapping[str, Rows]) -> dict[str, float]:
    """How well a judge of identity tells people apart by a neutral front and another view."""
    features, each = features_of(judge, gallery)
    found = {"ms": each}
    for name, views in (("smile", (SMILE,)), ("turned", TURNED)):
        same, strangers = [], []
        for view in views:
            a, b = np.meshgrid(rows[FRONT], rows[view], indexing="ij")
            cosine = per_pair.cosine(features[a.ravel()], features[b.ravel()]).reshape(a.shape)
            own = np.eye(len(a), dtype=bool)
            same.append(cosine[own])
            strangers.append(cosine[~own])
        found[f"AUC {name}"] = verification.roc_auc(np.concatenate(same), np.concatenate(strangers))
        found[f"same {name}"] = float(np.concatenate(same).mean())
        found[f"strangers {name}"] = float(np.concatenate(strangers).mean())
    return found


def measures_of(judge: Judge, gallery: Gallery, rows: Mapping[str, Rows]) -> dict[str, dict[str, float]]:
    """By measure of a judge that is none of identity: means over people, and how well it tells a smile. Empty for
    judges without features of single faces."""
    if judge.measure is None:
        return {}
    features, each = features_of(judge, gallery)
    people = len(rows[FRONT])
    others = np.concatenate([np.delete(rows[FRONT], person) for person in range(people)])
    apart = {view: _scores(judge, features, gallery, rows[FRONT], rows[view]) for view in (SMILE, *TURNED)}
    strangers = _scores(judge, features, gallery, np.repeat(rows[FRONT], people - 1), others)
    found = {}
    for index, (measure, of_strangers) in enumerate(strangers):
        of = {view: _seen(scored[index][1]) for view, scored in apart.items()} | {"stranger": _seen(of_strangers)}
        if not all(map(len, of.values())):
            continue  # such as how far a swap went from a target that is its source
        found[measure.name.removeprefix(f"{judge.name}: ")] = {
            "smile": float(of[SMILE].mean()),
            "left": float(of[TURNED[0]].mean()),
            "right": float(of[TURNED[1]].mean()),
            "stranger": float(of["stranger"].mean()),
            "AUC smile": verification.roc_auc(of[SMILE], of["stranger"]),
            "ms": each,
        }
    return found


def _seen(values: Float[np.ndarray, "n"]) -> Float[np.ndarray, "m"]:
    return values[np.isfinite(values)]


def _scores(judge: Judge, features: np.ndarray, gallery: Gallery, known: Rows, swaps: Rows) -> Scored:
    """What the judge's metrics measure between two rows each, as between an original and a swap."""
    pairs = Pairs(gallery, tuple(map(str, range(len(known)))), known, known)
    metrics = [metric for metric in METRICS.values() if metric.role == judge.role and metric.of_features]
    return [scored for metric in metrics for scored in metric.of_features(judge, features[swaps], features, pairs)]  # type: ignore[misc]


# --- tables -------------------------------------------------------------------------------------------------------


_IDENTITY = (
    *("judge", "file, SHA-256", "ROC AUC: smile, 3/4", "cosine to a smile: same, stranger", "to 3/4: same, stranger"),
    *("CPU ms", "licence"),
)
_OTHERS = (
    *("judge", "file, SHA-256", "measure", "to a smile", "to 3/4 left, right", "to a stranger", "ROC AUC smile"),
    *("CPU ms", "licence"),
)


def identity_table(found: list[tuple[Judge, dict[str, float]]]) -> str:
    """Judges of identity in Markdown; '' for none."""
    rows = []
    for judge, of in found:
        cosines = [f"{of[f'same {view}']:.3f}, {of[f'strangers {view}']:.3f}" for view in ("smile", "turned")]
        aucs = f"{of['AUC smile']:.4f}, {of['AUC turned']:.4f}"
        rows.append([judge.name, _file(judge), aucs, *cosines, f"{of['ms']:.0f}", judge.facts.get("licence", "")])
    return _markdown(_IDENTITY, rows)


def measures_table(found: list[tuple[Judge, dict[str, dict[str, float]]]]) -> str:
    """Other judges in Markdown, a line for each measure; '' for none."""
    rows = []
    for judge, measures in found:
        for name, of in measures.items():
            apart = [f"{of['smile']:.3g}", f"{of['left']:.3g}, {of['right']:.3g}", f"{of['stranger']:.3g}"]
            cost = [f"{of['AUC smile']:.3f}", f"{of['ms']:.0f}", judge.facts.get("licence", "")]
            rows.append([judge.name, _file(judge), name, *apart, *cost])
    return _markdown(_OTHERS, rows)


def _markdown(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [columns, ["---"] * len(columns), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines) if rows else ""


def _file(judge: Judge) -> str:
    """The name of the judge's file, where it has one, and the beginning of its SHA-256."""
    names = (judge.facts.get("source", ""), judge.facts.get("model", ""))
    file = next((name for name in names if Path(name).suffix), judge.facts.get("kind", ""))
    sha256 = judge.facts.get("file sha256") or judge.facts.get("sha256", "")
    return f"{file}, {sha256[:8]}" if sha256 else file


if __name__ == "__main__":
    main()
