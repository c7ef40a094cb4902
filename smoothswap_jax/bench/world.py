"""What the world of people is like: `smoothswap bench --what=world`.

Whether a detector and a face recogniser that never saw it take its heads for faces and its people for people, whether
people differ by their shape rather than by their colours, and how fast they are rendered.
"""

from collections.abc import Callable
from functools import partial
from os import cpu_count
from typing import Any

import jax
import numpy as np
from jaxtyping import Float, Int

from smoothswap_jax.bench.timing import timed
from smoothswap_jax.data.rendered import in_chunks, render_bytes, render_many
from smoothswap_jax.evaluation.judges.base import JudgeRequest
from smoothswap_jax.evaluation.judges.sface import SPEC as SFACE
from smoothswap_jax.faces.detection.yunet import detect_faces
from smoothswap_jax.faces.photos import to_float
from smoothswap_jax.metrics.verification import pair_cosines, rank1, roc_auc
from smoothswap_jax.runtime.sharding import make_mesh
from smoothswap_jax.synthetic import world
from smoothswap_jax.synthetic.rendering import HAIR, PARTS
from smoothswap_jax.synthetic.world import Factors

SPEED_SIZES, SPEED_IMAGES = (64, 128), 32
READER_PEOPLE = 250
"""People that the readers of colours and shapes are fitted to; none of them is judged."""
RIDGE = 1e-3
"""Added to the variances within a person, as a share of their mean, so that no direction is taken for certain."""


def bench_world(people: int, photos: int, size: int, seed: int, seconds: float) -> dict[str, Any]:
    """Renders `people` people with `photos` photos each, and as many others to fit readers to.

    Shares: of photos in which YuNet finds a face; of other photos whose person is found among all by one photo each
    (rank-1), from mean colours of skin, hair and irises in the picture, and from exact landmarks in space, by the
    metric that tells apart the people of the fit. SFace was trained on photographs.
    """
    judged, labels = _photos(people, photos, seed)
    others, other_labels = _photos(min(people, READER_PEOPLE), photos, seed + 1)
    images, other_images = (render_bytes(factors, size) for factors in (judged, others))
    found = [detect_faces(image) for image in images]
    seen = np.array([bool(faces) for faces in found])
    sface = SFACE.load(JudgeRequest("", "sface", make_mesh()))
    assert sface.measure is not None
    embeddings = sface.measure(images[seen], np.stack([faces[0].points for faces in found if faces]))
    genuine, impostor = pair_cosines(embeddings, labels[seen], most=200_000)
    shape = lambda factors: in_chunks(world.head_points, factors).reshape(len(factors.pose), -1)
    reader = fitted(shape(others), other_labels)
    colours = fitted(mean_colours(others, other_images), other_labels)
    return {
        "people": people,
        "photos of each": photos,
        "pixels": size,
        "seed": seed,
        "yunet finds": float(seen.mean()),
        "sface": {
            "roc auc": roc_auc(genuine, impostor),
            "rank-1, all photos": rank1(embeddings, labels[seen]),
            "cosine, same person": float(genuine.mean()),
            "cosine, strangers": float(impostor.mean()),
        },
        "rank-1 by colours": gallery_rank1(colours(mean_colours(judged, images)), labels),
        "rank-1 by shape": gallery_rank1(reader(shape(judged)), labels),
        "images/s": {f"{side} px": _speed(judged, side, seconds) for side in SPEED_SIZES},
    }


def _photos(people: int, photos: int, seed: int) -> tuple[Factors, Int[np.ndarray, "n"]]:
    """Factors of the photos of people, sorted by person, and the number of the person of each."""
    key = jax.random.key(seed)
    labels = np.repeat(np.arange(people), photos)
    identity = world.sample_identity(jax.random.fold_in(key, 0), people)[labels]
    return world.sample_photos(jax.random.fold_in(key, 1), identity), labels


def mean_colours(factors: Factors, images: np.ndarray) -> Float[np.ndarray, "n 9"]:
    """Mean RGB of skin, hair and eyes as they are in the images; of hair that is not seen, the mean of all others."""
    size = images.shape[1]
    groups = ((PARTS.index("skin"),), (HAIR,), (PARTS.index("left_eye"), PARTS.index("right_eye")))
    columns = []
    shown = in_chunks(partial(world.parts, size=size), factors)
    for group in groups:
        where = np.isin(shown, group)
        count = where.sum((1, 2))
        total = np.einsum("nhw,nhwc->nc", where, to_float(images))
        mean = total / np.maximum(count, 1)[:, None]
        columns.append(np.where(count[:, None] > 0, mean, mean[count > 0].mean(0)))
    return np.concatenate(columns, axis=1)


def fitted(
    values: Float[np.ndarray, "n d"], labels: Int[np.ndarray, "n"]
) -> Callable[[Float[np.ndarray, "m d"]], Float[np.ndarray, "m d"]]:
    """The map after which photos of one person vary by 1 in every direction (linear discriminant analysis)."""
    middle = np.stack([values[labels == label].mean(0) for label in np.unique(labels)])
    within = np.cov((values - middle[np.searchsorted(np.unique(labels), labels)]).T)
    variance, axes = np.linalg.eigh(within + RIDGE * np.trace(within) / len(within) * np.eye(len(within)))
    whitening = axes / np.sqrt(variance)
    return lambda others: (others - middle.mean(0)) @ whitening


def gallery_rank1(values: Float[np.ndarray, "n d"], labels: Int[np.ndarray, "n"]) -> float:
    """Share of photos whose person's first photo is nearer than that of anyone else; first photos are no probes."""
    first = np.unique(labels, return_index=True)[1]
    probes = np.setdiff1d(np.arange(len(labels)), first)
    gallery = values[first]
    distance = np.square(values[probes]).sum(1)[:, None] + np.square(gallery).sum(1) - 2 * values[probes] @ gallery.T
    return float(np.mean(labels[first][distance.argmin(1)] == labels[probes]))


def _speed(factors: Factors, size: int, seconds: float) -> float:
    """Images a second, on all cores."""
    some: Factors = jax.tree.map(lambda values: np.asarray(values)[:SPEED_IMAGES], factors)
    call = lambda: render_many(some, size, chunk=SPEED_IMAGES // (cpu_count() or 1))
    return SPEED_IMAGES / timed({"render": call}, seconds)["render"]
