"""What the loop needs to know of a training stage, and what both stages share."""

import functools
from collections.abc import Callable, Generator, Mapping
from dataclasses import asdict
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np

from smoothswap_jax.config.errors import ConfigError
from smoothswap_jax.config.schema import RunConfig, SwapperConfig
from smoothswap_jax.data import pipeline
from smoothswap_jax.data.augment import Augmentation
from smoothswap_jax.data.dataset import Faces
from smoothswap_jax.training.frozen_embedder import FrozenEmbedder
from smoothswap_jax.training.train_state import Metrics

Batches = Generator[pipeline.Batch, None, None]
TRUTH_METRICS = ("eval/mse_to_truth", "eval/mse_over_copy_target")
"""Metrics of the swapper that need the true swap, which only synthetic faces have."""
METRICS = {
    "embedder": ("eval/auc", "eval/rank1", "eval/cosine_same", "eval/cosine_other"),
    "swapper": ("eval/cosine_to_source", "eval/cosine_to_target", "eval/change", *TRUTH_METRICS),
}
"""What the stages' evaluations measure."""


class Stage(NamedTuple):
    """A training stage as functions of its state.

    abstract: shapes of the state with their placement on the mesh. parameters: shapes by network, to be logged.
    picture: images to look at, or None. data: numbers of training examples and people. headline: the metrics of the
    progress line. embedders: of stage 2, by the names of the copies that the run directory gets.
    """

    init: Callable[[], Any]
    abstract: Any
    batches: Callable[[int], Batches]
    step: Callable[[int, Any, pipeline.Batch], tuple[Any, Metrics]]
    evaluate: Callable[[Any], dict[str, float]]
    picture: Callable[[Any], np.ndarray | None]
    parameters: dict[str, Any]
    data: dict[str, int]
    headline: tuple[str, ...]
    embedders: Mapping[str, FrozenEmbedder] = MappingProxyType({})


def make_batches(config: RunConfig, sampler: pipeline.Sampler, faces: Faces, mesh) -> Callable[[int], Batches]:
    """first_step -> endless batches, by the feed that `config.data.feed` names."""
    feed = config.data.feed
    if feed not in pipeline.FEEDS:
        raise ConfigError(f"config.data.feed is {feed!r}, wanted one of {tuple(pipeline.FEEDS)}")
    return functools.partial(pipeline.FEEDS[feed], faces, sampler, Augmentation(**asdict(config.augment)), mesh)


def checked_grad_accum_steps(config: RunConfig, mesh) -> int:
    """`config.grad_accum_steps`; raises ConfigError unless every device has rows of its own in each microbatch."""
    count = config.grad_accum_steps
    if config.batch % (count * mesh.size):
        raise ConfigError(
            f"config.grad_accum_steps is {count}; wanted a divisor of the {config.batch // mesh.size} rows of each "
            f"of the mesh's {mesh.size} devices"
        )
    return count


def self_pairs(config: SwapperConfig) -> int:
    """How many pairs of a batch have source == target: the fraction rounded down, but at least one unless it is 0."""
    return max(1, int(round(config.self_pair_fraction * config.batch, 9))) if config.self_pair_fraction else 0


def data_counts(faces: Faces) -> dict[str, int]:
    """Sizes of the data set. A run must be resumed with the same ones, since the rows a step draws depend on them."""
    return {"examples": len(faces), "people": len(faces.people)}
