"""Stage 2: generator and discriminator against the frozen embedder (Smooth-Swap, sec. 4.4)."""

import dataclasses
import functools
import logging
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import numpy as np

from smoothswap_jax.config.errors import raise_mistakes
from smoothswap_jax.config.parse import parse
from smoothswap_jax.config.schema import DataConfig, InitConfig, SwapperConfig
from smoothswap_jax.data import dataset, rendered
from smoothswap_jax.data.pipeline import PairSampler
from smoothswap_jax.data.reader import float_images
from smoothswap_jax.data.sampling import different_people
from smoothswap_jax.data.sources import load_faces
from smoothswap_jax.faces.grid import swap_grid
from smoothswap_jax.metrics import per_pair
from smoothswap_jax.models.injection import READS_IDENTITY, identity_vector
from smoothswap_jax.runtime import sharding
from smoothswap_jax.runtime.compilation import ahead_of_time
from smoothswap_jax.training.data_checks import check_swapper_data, in_words
from smoothswap_jax.training.frozen_embedder import COPY, COPY_ALSO, FIELDS, FrozenEmbedder, frozen_embedders
from smoothswap_jax.training.imported_embedder import is_imported
from smoothswap_jax.training.networks import image_shape, init_mistakes, initial_variables
from smoothswap_jax.training.stage import Stage, data_counts, make_batches, self_pairs
from smoothswap_jax.training.swapper_program import SwapperProgram, make_swapper_program
from smoothswap_jax.training.swapper_step import SwapperNetworks
from smoothswap_jax.training.train_state import SwapperState

log = logging.getLogger(__name__)
GRID = 6
"""Sources and targets of the grid of swaps."""
IDENTITY_LAYERS = {"generator": READS_IDENTITY, "discriminator": ("projection",)}
"""Layers that begin anew with `config.init.new_identity`."""


def swapper_stage(config: SwapperConfig, mesh, workdir: Path, before: Mapping[str, Any] | None = None) -> Stage:
    """Trains generator and discriminator against the frozen embedder of `config.embedder.checkpoint`, and that of
    `also` if it is set. before: what was saved with the newest checkpoint in `workdir`, where nothing is written
    here."""
    if before is None:
        raise_mistakes(_start_mistakes(config.init))
    embedders = frozen_embedders(config.embedder, workdir, before)
    _warn_of_other_transforms(config, embedders)
    place = lambda one: sharding.shard(one.variables, sharding.placement(one.variables, mesh, config.mesh.rules))
    frozen, second = place(embedders[COPY]), embedders.get(COPY_ALSO)
    also = None if second is None else place(second)
    program = make_swapper_program(
        config, embedders[COPY].fields, frozen, mesh, also=None if second is None else second.fields
    )
    sharding.log_placement(program.shapes, program.places)
    compiled = {
        True: ahead_of_time("swapper step with R1", program.jitted(with_r1=True)),
        False: ahead_of_time("swapper step", program.jitted(with_r1=False)),
    }
    interval = program.objective.r1_interval
    seed = sharding.replicate(np.int32(config.seed), mesh)  # an argument: all seeds share the compiled steps
    train_faces = load_faces(config.data, "train")
    check_swapper_data(config, train_faces)
    sampler = PairSampler(config.seed, config.batch, self_pairs(config), own=program.reads_own)
    evaluate, picture = _evaluation(program.networks, frozen, eval_pairs(config.data, config.eval_images), mesh)
    return Stage(
        init=lambda: _fresh_state(program, config.init, config.data.size),
        abstract=program.abstract(),
        batches=make_batches(config, sampler, train_faces, mesh),
        step=lambda index, current, batch: compiled[index % interval == 0](current, frozen, batch, seed, also),
        evaluate=lambda current: evaluate(current.generator_ema),
        picture=lambda current: picture(current.generator_ema),
        parameters={"generator": program.shapes.generator, "discriminator": program.shapes.discriminator},
        data=data_counts(train_faces),
        headline=("train/identity_loss", "train/change_loss", "train/g_adversarial", "train/d_loss"),
        embedders=embedders,
    )


def _warn_of_other_transforms(config: SwapperConfig, embedders: Mapping[str, FrozenEmbedder]) -> None:
    for name, embedder in embedders.items():
        if is_imported(embedder.fields):
            continue
        trained = parse(embedder.meta["config"]).objective.transform
        if trained != config.objective.transform:
            log.warning(
                "config.embedder.%s was trained with config.objective.transform %s, and its gradients are taken with "
                "%s: they mean most where both are the same",
                FIELDS[name], asdict(trained), asdict(config.objective.transform),
            )  # fmt: skip


def _start_mistakes(given: InitConfig) -> list[str]:
    folders = {"generator": given.generator, "discriminator": given.discriminator}
    if given.new_identity and not any(folders.values()):
        return [
            "config.init.new_identity is True, wanted init.generator or init.discriminator with it: else all is new"
        ]
    return init_mistakes(folders)


def _fresh_state(program: SwapperProgram, given: InitConfig, size: int) -> SwapperState:
    """A new state, with the weights that `config.init` names in place of random ones."""
    current = sharding.jit_init(program.init, program.places)()
    generator, discriminator = program.modules

    def start(folder: str, part: str, module: nn.Module, random: Mapping[str, Any]) -> Any:
        layers = IDENTITY_LAYERS[part] if given.new_identity else ()
        anew = {name: jax.tree.map(sharding.to_host, random[name]) for name in layers if name in random}
        return initial_variables(folder, part, module, image_shape(1, size), program.z, anew=anew)["params"]

    if given.generator:
        params = start(given.generator, "generator", generator, current.generator)
        # The state is donated to the step, so the average needs memory of its own.
        copies = [sharding.shard_copy(params, program.places.generator) for _ in range(2)]
        current = dataclasses.replace(current, generator=copies[0], generator_ema=copies[1])
    if given.discriminator:
        params = start(given.discriminator, "discriminator", discriminator, current.discriminator)
        current = dataclasses.replace(current, discriminator=sharding.shard_copy(params, program.places.discriminator))
    return current


# --- evaluation --------------------------------------------------------------------------------------------


class EvalPairs(NamedTuple):
    """Pairs of different held-out people: images [n h w 3] in [-1, 1]; `truth` is the exact swap where it is known."""

    source: np.ndarray
    target: np.ndarray
    truth: np.ndarray | None


def eval_pairs(data: DataConfig, count: int) -> EvalPairs:
    """A fixed set of held-out pairs of different people."""
    if data.kind == "synthetic":
        return synthetic_pairs(data, count)
    faces = load_faces(data, "test")
    if len(faces.people) < 2:
        raise dataset.DataError(
            f"{in_words(data)}: found {len(faces.people)} people held out; wanted at least 2, to swap one with another"
        )
    source, target = different_people(faces.labels, count)
    return EvalPairs(float_images(faces, source), float_images(faces, target), None)


def synthetic_pairs(data: DataConfig, count: int) -> EvalPairs:
    """Held-out synthetic pairs with the exact swap."""
    draw = lambda labels: different_people(labels, count)
    swaps = rendered.swaps_with_truth(rendered.world_fields(dataclasses.asdict(data)), data.size, draw)
    return EvalPairs(*swaps.images)


def _evaluation(
    networks: SwapperNetworks, frozen, pairs: EvalPairs, mesh
) -> tuple[Callable[[Any], dict[str, float]], Callable[[Any], np.ndarray]]:
    """generator params -> metrics, and generator params -> grid of swaps, both on fixed held-out pairs."""
    embed = sharding.in_chunks(functools.partial(jax.jit(networks.embed), frozen), mesh)
    generate = jax.jit(networks.generate)
    swaps_of = lambda params, target, z: sharding.in_chunks(functools.partial(generate, params), mesh)(target, z)
    z_source, z_target = embed(pairs.source), embed(pairs.target)
    cosine = lambda a, b: float(per_pair.cosine(identity_vector(a, np), identity_vector(b, np)).mean())

    def evaluate(params) -> dict[str, float]:
        swaps = swaps_of(params, pairs.target, z_source)
        z_swap = embed(swaps)
        values = {
            "eval/cosine_to_source": cosine(z_swap, z_source),
            "eval/cosine_to_target": cosine(z_swap, z_target),
            "eval/change": float(per_pair.mse(swaps, pairs.target).mean()),
        }
        if pairs.truth is not None:
            error, copied = per_pair.mse(swaps, pairs.truth), per_pair.mse(pairs.target, pairs.truth)
            values["eval/mse_to_truth"] = float(error.mean())
            values["eval/mse_over_copy_target"] = float(error.mean() / copied.mean())
        return values

    def picture(params) -> np.ndarray:
        source, target = pairs.source[:GRID], pairs.target[:GRID]
        rows, columns = np.divmod(np.arange(len(source) * len(target)), len(target))
        swaps = swaps_of(params, target[columns], jax.tree.map(lambda leaf: leaf[rows], z_source))
        shape = (len(source), len(target), *swaps.shape[1:])
        return swap_grid(source, target, swaps.reshape(shape), scale=max(1, 128 // source.shape[1]))

    return evaluate, picture
