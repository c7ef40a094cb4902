"""The protocol `synthetic-truth`: rendered people, of whom the exact swap is known."""

import dataclasses
import json
from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np

from smoothswap_jax.data import rendered
from smoothswap_jax.data.dataset import DataError
from smoothswap_jax.evaluation.cache import key_of
from smoothswap_jax.evaluation.galleries import gallery_of_arrays
from smoothswap_jax.evaluation.pairs import Pairs, names_by_content
from smoothswap_jax.evaluation.protocols.base import SIZE, Protocol, ProtocolError, Request, drawn_pairs, too_few
from smoothswap_jax.faces.photos import to_uint8
from smoothswap_jax.synthetic.world import Factors, landmarks

COUNT = 500
OPTIONS = {"pairs": str(COUNT)}


def _pairs(request: Request) -> Pairs:
    count = _count({**OPTIONS, **request.options}["pairs"])
    world = _world(request.trained_in)
    size = request.size or SIZE
    try:
        swaps = rendered.swaps_with_truth(world, size, lambda labels: drawn_pairs(labels, count))
    except DataError as error:
        raise ProtocolError(str(error)) from error
    images = to_uint8(np.concatenate(swaps.images))
    everyone = Factors(*(jnp.concatenate(parts) for parts in zip(*swaps.factors, strict=True)))
    points = np.asarray(landmarks(everyone, size)) - 0.5
    (source, target), people = swaps.rows.T, swaps.people
    persons = [f"synthetic {person:03d}" for person in (*people[:, 0], *people[:, 1], *people[:, 0])]
    facts = {"data": "the synthetic world", **{key: str(value) for key, value in world.items()}}
    n = len(source)
    rows = np.arange(n)
    # The pixels follow from these, but their last bits depend on the processor.
    made_of = [*source, *target, *zip(source, target, strict=True)]
    contents = [key_of("synthetic world/3", json.dumps(world, sort_keys=True), str(np.array(one))) for one in made_of]
    gallery = gallery_of_arrays(images, [str(i) for i in range(3 * n)], persons, points, **facts)
    gallery = dataclasses.replace(gallery, content=lambda row: contents[row])
    pairs = names_by_content(gallery, rows, rows + n)
    names = tuple(f"{kind}/{pair}" for kind in ("source", "target", "truth") for pair in pairs)
    gallery = dataclasses.replace(gallery, names=names)
    return Pairs(gallery, pairs, rows, rows + n, rows + 2 * n, known_points=True, notes=too_few(n, count))


def _count(asked: str) -> int:
    if not asked.isdecimal() or not 1 <= int(asked) <= COUNT:
        raise ProtocolError(f"--pairs={asked}: wanted a number from 1 to {COUNT}")
    return int(asked)


def _world(trained_in: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """The synthetic world that the checkpoints were trained in, or the default one; only one can be judged."""
    worlds = {name: rendered.world_fields(data) for name, data in trained_in.items() if data["kind"] == "synthetic"}
    first = next(iter(worlds.values()), rendered.world_fields({}))
    if any(world != first for world in worlds.values()):
        raise ProtocolError(f"checkpoints were trained in different synthetic worlds, {worlds}; judge them apart")
    return first


SYNTHETIC_TRUTH = Protocol(
    "synthetic-truth",
    4,
    f"Up to {COUNT} pairs of people of the synthetic 3-D world that no training sees. The exact swap is rendered, so "
    "errors are measured against it.",
    _pairs,
    options=OPTIONS,
    check=lambda data, options: _count(options["pairs"]),
)
