"""Faces, judges and methods of a few pixels, for tests of what is made of them."""

import itertools
import json

import numpy as np

from smoothswap_jax.evaluation import evaluate as ev
from smoothswap_jax.evaluation import galleries, methods, results
from smoothswap_jax.evaluation.judges.base import Judge
from smoothswap_jax.evaluation.methods import Method
from smoothswap_jax.evaluation.pairs import Pairs
from smoothswap_jax.evaluation.protocols.registry import PROTOCOLS
from smoothswap_jax.evaluation.report.document import write_report
from smoothswap_jax.evaluation.settings import EvaluationSettings

SIZE, PEOPLE, VIEWS = 16, 6, 3


def make_pairs(seed: int = 0, known_points: bool = True) -> Pairs:
    """Every person into every other's views: the upper half of a picture is the person's, the lower half the view's, so
    that the exact swap is known."""
    rng = np.random.default_rng(seed)
    person, view = (rng.integers(0, 256, (n, SIZE // 2, SIZE, 3)) for n in (PEOPLE, VIEWS))
    images = np.stack([np.concatenate([person[p], view[v]]) for p in range(PEOPLE) for v in range(VIEWS)])
    names = [f"p{p}/v{v}" for p in range(PEOPLE) for v in range(VIEWS)]
    gallery = galleries.gallery_of_arrays(images.astype(np.uint8), names, [name.split("/")[0] for name in names])
    row = lambda p, v: p * VIEWS + v
    couples = itertools.permutations(range(PEOPLE), 2)
    triples = np.array([(row(a, 0), row(b, v), row(a, v)) for a, b in couples for v in range(1, VIEWS)])
    labels = tuple(f"{i:03d}" for i in range(len(triples)))
    return Pairs(gallery, labels, *triples.T, known_points=known_points)


def identity_judge(name: str = "eye", **fields) -> Judge:
    """Sees the upper half alone, about its mean, so that strangers are near 0."""

    def measure(images, points):
        return images[:, : SIZE // 2].reshape(len(images), -1).astype(np.float32) - 127.5

    return Judge(name, "identity", {"params sha256": f"digest of {name}"}, measure, **fields)


def method_of(pairs: Pairs, images: np.ndarray, name: str = "fake") -> Method:
    """A method that gives these pictures."""
    return Method(name, lambda positions: images[positions])


def pictures(pairs: Pairs, rows: np.ndarray) -> np.ndarray:
    """The gallery's pictures of these rows."""
    return pairs.gallery.read(rows)


def judged(tmp_path, pairs, extra=(), judges=None):
    """The result of judging some methods beside the baselines."""
    settings = EvaluationSettings("synthetic-truth", tmp_path)
    tmp_path.mkdir(exist_ok=True)
    everyone = [*extra, *methods.baselines(pairs)]
    judges = [identity_judge()] if judges is None else judges
    return ev.score_methods(settings, PROTOCOLS["synthetic-truth"], pairs, everyone, judges)


def written(tmp_path, result):
    """The report of a result, as programs read it."""
    results.write_scores(tmp_path, result)
    facts = results.how_it_was_made(result, ["eye"], 1.0)
    write_report(tmp_path, results.make_report(result, facts), results.machine_facts(result, tmp_path))
    return json.loads((tmp_path / "report.json").read_text())
