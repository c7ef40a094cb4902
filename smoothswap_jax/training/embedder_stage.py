"""Stage 1: the identity embedder (Smooth-Swap, sec. 3.1 and 4.1)."""

import dataclasses
import functools
from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np

from smoothswap_jax.config.errors import raise_mistakes
from smoothswap_jax.config.schema import EmbedderConfig
from smoothswap_jax.data.dataset import SPLITS
from smoothswap_jax.data.pipeline import IdentitySampler
from smoothswap_jax.data.reader import float_images
from smoothswap_jax.data.sources import load_faces
from smoothswap_jax.metrics import verification
from smoothswap_jax.runtime import sharding
from smoothswap_jax.runtime.compilation import ahead_of_time
from smoothswap_jax.training.data_checks import check_embedder_data
from smoothswap_jax.training.embedder_step import embedder_step
from smoothswap_jax.training.networks import image_shape, init_mistakes, initial_variables, make_embedder, shapes_of
from smoothswap_jax.training.objectives import EmbedderObjective
from smoothswap_jax.training.optimizers import make_optimizer
from smoothswap_jax.training.stage import Stage, checked_grad_accum_steps, data_counts, make_batches
from smoothswap_jax.training.train_state import EmbedderState, init_embedder_state
from smoothswap_jax.training.transforms import Transform

WHOLE, MANY, COLUMNS = 16_384, 256, "classifier columns"
"""A classifier of more people than WHOLE has a multiple of MANY columns, so that any usual mesh splits it by classes;
the number does not depend on the mesh, on which a run may change."""


def embedder_stage(config: EmbedderConfig, mesh, before: Mapping[str, Any] | None = None) -> Stage:
    """Trains the identity embedder; evaluates verification on people that training never sees. before: what was saved
    with the newest checkpoint, if there is one."""
    if before is None:
        raise_mistakes(init_mistakes(dataclasses.asdict(config.init)))
    network = make_embedder(config.embedder)
    shapes_of("embedder", network, image_shape(2, config.data.size))  # before data are read
    train_faces, test_faces = (load_faces(config.data, split) for split in SPLITS)
    check_embedder_data(config, train_faces, test_faces)
    transform = Transform(**dataclasses.asdict(config.objective.transform))
    objective = EmbedderObjective(**{**dataclasses.asdict(config.objective), "transform": transform})
    optimizer = make_optimizer(config.optimizer, config.steps)
    classes = len(train_faces.people) if objective.needs_classes else 0
    columns, data = classes, data_counts(train_faces)
    if classes > WHOLE and (before is None or COLUMNS in before.get("data", {})):  # an older run has as many as people
        columns = -(-classes // MANY) * MANY
        data[COLUMNS] = columns
    objective = dataclasses.replace(objective, classes=classes, place=sharding.placed_classes(mesh, columns))
    key = jax.random.key(config.seed)
    init = functools.partial(init_embedder_state, key, network, optimizer, config.data.size, columns)
    shapes = jax.eval_shape(init)
    places = sharding.placement(shapes, mesh, config.mesh.rules)
    sharding.log_placement(shapes, places)
    step = functools.partial(
        embedder_step,
        apply=functools.partial(_apply, network),
        objective=objective,
        optimizer=optimizer,
        grad_accum_steps=checked_grad_accum_steps(config, mesh),
    )
    program = jax.jit(step, donate_argnums=0, out_shardings=(places, sharding.replicated(mesh)))
    compiled = ahead_of_time("embedder step", program)
    seed = sharding.replicate(np.int32(config.seed), mesh)  # an argument: all seeds share the compiled step
    sampler = IdentitySampler(config.seed, config.batch, config.images_per_identity)
    return Stage(
        init=lambda: _fresh_state(sharding.jit_init(init, places)(), config, network, places),
        abstract=sharding.abstract_like(shapes, places),
        batches=make_batches(config, sampler, train_faces, mesh),
        step=lambda _, current, batch: compiled(current, batch, seed),
        evaluate=_evaluation(network, test_faces, config.eval_images, mesh),
        picture=lambda _: None,
        parameters={"embedder": shapes.params["embedder"]},
        data=data,
        headline=("train/loss", "train/cosine_same", "train/cosine_other"),
    )


def _fresh_state(random: EmbedderState, config: EmbedderConfig, network, places: EmbedderState) -> EmbedderState:
    """A new state, with the weights that `config.init` names in place of random ones."""
    if not config.init.embedder:
        return random
    found = initial_variables(config.init.embedder, "embedder", network, image_shape(2, config.data.size))
    params = sharding.shard_copy(found["params"], places.params["embedder"])
    statistics = sharding.shard_copy(found["batch_stats"], places.batch_stats)
    return dataclasses.replace(random, params={**random.params, "embedder": params}, batch_stats=statistics)


def _apply(network, variables, images):
    """Embeddings in training mode, and the new batch statistics ({} with GroupNorm)."""
    z, updated = network.apply(variables, images, train=True, mutable=["batch_stats"])
    return z, updated.get("batch_stats", variables["batch_stats"])


def _evaluation(network, faces, count: int, mesh) -> Callable[[Any], dict[str, float]]:
    """state -> verification metrics on the first `count` faces."""
    chosen = np.arange(min(count, len(faces)))
    apply = jax.jit(lambda variables, images: network.apply(variables, images, train=False))

    def evaluate(current) -> dict[str, float]:
        variables = {"params": current.params["embedder"], "batch_stats": current.batch_stats}
        embed = sharding.in_chunks(functools.partial(apply, variables), mesh)
        scores = pair_verification(embed(float_images(faces, chosen)), faces.labels[chosen])
        return {f"eval/{name}": value for name, value in scores.items()}

    return evaluate


def pair_verification(z: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    """How well embeddings tell people apart: ROC AUC over all pairs, rank-1, mean cosines."""
    genuine, impostor = verification.pair_cosines(z, labels)
    return {
        "auc": verification.roc_auc(genuine, impostor),
        "rank1": verification.rank1(z, labels),
        "cosine_same": float(genuine.mean()),
        "cosine_other": float(impostor.mean()),
    }
