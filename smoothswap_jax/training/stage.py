"""What the loop needs to know of a training stage, and what both stages share."""

import functools
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np

from smoothswap_jax.config.errors import ConfigError
from smoothswap_jax.data import pipeline
from smoothswap_jax.data.augment import Augmentation
from smoothswap_jax.data.dataset import Faces
from smoothswap_jax.training import steps


class Stage(NamedTuple):
    """What the loop needs to know of a stage. Shapes of `abstract` carry their placement on the mesh; `data` counts the
    training examples and people."""

    init: Callable[[], Any]
    abstract: Any
    batches: Callable[[int], Iterator[pipeline.Batch]]
    step: Callable[[int, Any, pipeline.Batch], tuple[Any, steps.Metrics]]
    evaluate: Callable[[Any], dict[str, float]]
    picture: Callable[[Any], np.ndarray | None]
    data: dict[str, int]
    images_per_step: int
    headline: tuple[str, ...]


def make_batches(config: dict, faces: Faces, mesh) -> Callable[[int], Iterator[pipeline.Batch]]:
    """first_step -> endless batches, by the feed that `config.data.feed` names."""
    feeds = {"memory": pipeline.memory_batches, "tf": pipeline.tf_batches}
    feed = config["data"]["feed"]
    if feed not in feeds:
        raise ConfigError(f"config.data.feed is {feed!r}, wanted one of {sorted(feeds)}")
    sampler = pipeline.Sampler(config["seed"], config["batch"], config.get("images_per_identity", 0))
    return functools.partial(feeds[feed], faces, sampler, Augmentation(**config["augment"]), mesh)


def checked_accumulation(config: dict, mesh) -> int:
    """In how many parts a batch is computed; every device has rows of its own in each."""
    count = config["grad_accum_steps"]
    if count < 1 or config["batch"] % (count * mesh.size):
        raise ConfigError(
            f"config.grad_accum_steps is {count}; wanted a divisor of the {config['batch'] // mesh.size} rows of each "
            f"of the mesh's {mesh.size} devices"
        )
    return count


def data_counts(faces: Faces) -> dict[str, int]:
    """By which a run knows its data again: which rows a step draws depends on them."""
    return {"examples": len(faces), "people": len(faces.people)}
