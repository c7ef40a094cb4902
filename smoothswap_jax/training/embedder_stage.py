"""Stage 1: the identity embedder (Smooth-Swap, sec. 4.1)."""

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np

from smoothswap_jax.data import dataset, sources
from smoothswap_jax.data.reader import float_images
from smoothswap_jax.metrics import verification
from smoothswap_jax.runtime import sharding
from smoothswap_jax.runtime.compilation import ahead_of_time
from smoothswap_jax.runtime.sharding import in_chunks
from smoothswap_jax.training import networks as build
from smoothswap_jax.training import optimizers, steps, train_state
from smoothswap_jax.training.stage import Stage, checked_accumulation, data_counts, make_batches


def embedder_stage(config: dict, mesh, workdir: Path) -> Stage:
    """Trains the identity embedder; evaluates verification on people that training never sees."""
    del workdir
    train_faces, test_faces = (sources.load_faces(config["data"], split) for split in dataset.SPLITS)
    network = build.make_embedder(config["embedder"])
    objective = steps.EmbedderObjective(**config["objective"])
    optimizer = optimizers.make_optimizer(config["optimizer"], config["steps"])
    classes = len(train_faces.people) if objective.needs_classes else 0
    key = jax.random.key(config["seed"])
    init = functools.partial(train_state.init_embedder_state, key, network, optimizer, config["data"]["size"], classes)

    def apply(variables, images):
        z, updated = network.apply(variables, images, train=True, mutable=["batch_stats"])
        return z, updated.get("batch_stats", variables["batch_stats"])

    shapes = jax.eval_shape(init)
    places = sharding.placement(shapes, mesh, config["mesh"]["rules"])
    sharding.log_placement(shapes, places)
    grad_accum_steps = checked_accumulation(config, mesh)
    step = functools.partial(
        steps.embedder_step, apply=apply, objective=objective, optimizer=optimizer, grad_accum_steps=grad_accum_steps
    )
    program = jax.jit(step, donate_argnums=0, out_shardings=(places, sharding.replicated(mesh)))
    compiled = ahead_of_time("embedder step", program)
    embed = make_embed(network, mesh)
    count = min(config["eval_images"], len(test_faces))
    chosen = np.arange(count)

    def evaluate(current):
        z = embed(
            {"params": current.params["embedder"], "batch_stats": current.batch_stats},
            float_images(test_faces, chosen),
        )
        return {f"eval/{name}": value for name, value in pair_verification(z, test_faces.labels[chosen]).items()}

    return Stage(
        init=sharding.jit_init(init, places),
        abstract=sharding.abstract_like(shapes, places),
        batches=make_batches(config, train_faces, mesh),
        step=lambda _, current, batch: compiled(current, batch),
        evaluate=evaluate,
        picture=lambda _: None,
        data=data_counts(train_faces),
        images_per_step=config["batch"],
        headline=("train/loss", "train/cosine_same", "train/cosine_other"),
    )


def make_embed(network, mesh) -> Callable[[Any, np.ndarray], np.ndarray]:
    """(variables, images [n h w 3] in [-1, 1]) -> embeddings [n d] in inference mode, any n, in compiled chunks."""
    apply = jax.jit(lambda variables, images: network.apply(variables, images, train=False))
    return lambda variables, images: in_chunks(functools.partial(apply, variables), mesh)(images)


def pair_verification(z: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    """How well embeddings tell people apart: ROC AUC over all pairs, rank-1, mean cosines."""
    genuine, impostor = verification.pair_cosines(z, labels)
    return {
        "auc": verification.roc_auc(genuine, impostor),
        "rank1": verification.rank1(z, labels),
        "cosine_same": float(genuine.mean()),
        "cosine_other": float(impostor.mean()),
    }
