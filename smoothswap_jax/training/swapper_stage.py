"""Stage 2: generator and discriminator against the frozen embedder (Smooth-Swap, sec. 4.4)."""

import dataclasses
import functools
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from smoothswap_jax.data import dataset, rendered, sources
from smoothswap_jax.data.reader import float_images
from smoothswap_jax.data.sampling import different_people
from smoothswap_jax.faces.grid import swap_grid
from smoothswap_jax.metrics import per_pair
from smoothswap_jax.runtime import sharding
from smoothswap_jax.runtime.compilation import ahead_of_time
from smoothswap_jax.runtime.sharding import in_chunks
from smoothswap_jax.training import networks as build
from smoothswap_jax.training import optimizers, steps, train_state
from smoothswap_jax.training.frozen_embedder import frozen_embedder
from smoothswap_jax.training.networks import swap, swapper_networks
from smoothswap_jax.training.stage import Stage, checked_accumulation, data_counts, make_batches

GRID = 6


class EvalPairs(NamedTuple):
    """Pairs of different held-out people: images [n h w 3] in [-1, 1]; `truth` is the exact swap where it is known."""

    source: np.ndarray
    target: np.ndarray
    truth: np.ndarray | None
    people: np.ndarray  # [n, 2]: identity of source and target


def swapper_stage(config: dict, mesh, workdir: Path) -> Stage:
    """Trains generator and discriminator against the frozen embedder of `config.embedder.checkpoint`."""
    embedder_config, embedder_variables = frozen_embedder(config, workdir)
    size = config["data"]["size"]
    networks, modules = swapper_networks(config, embedder_config)
    rules = config["mesh"]["rules"]
    frozen = sharding.shard(embedder_variables, sharding.placement(embedder_variables, mesh, rules))
    generator_optimizer = optimizers.make_optimizer(config["generator_optimizer"], config["steps"])
    discriminator_optimizer = optimizers.make_optimizer(config["discriminator_optimizer"], config["steps"])
    objective = steps.SwapperObjective(**config["objective"])
    key, dim = jax.random.key(config["seed"]), embedder_config["dim"]
    init = lambda: train_state.init_swapper_state(
        key, *modules, generator_optimizer, discriminator_optimizer, size, dim
    )
    shapes = jax.eval_shape(init)
    places = sharding.placement(shapes, mesh, rules)
    sharding.log_placement(shapes, places)
    step = functools.partial(
        steps.swapper_step,
        networks=networks,
        objective=objective,
        generator_optimizer=generator_optimizer,
        discriminator_optimizer=discriminator_optimizer,
        grad_accum_steps=checked_accumulation(config, mesh),
    )
    out = (places, sharding.replicated(mesh))
    program = lambda with_r1: jax.jit(functools.partial(step, with_r1=with_r1), donate_argnums=0, out_shardings=out)
    compiled = {
        True: ahead_of_time("swapper step with R1", program(True)),
        False: ahead_of_time("swapper step", program(False)),
    }
    pairs, train_faces = eval_pairs(config), sources.load_faces(config["data"], "train")
    evaluate, picture = _swapper_evaluation(networks, frozen, pairs, mesh)
    return Stage(
        init=lambda: _with_imported(sharding.jit_init(init, places)(), config["init"], modules, size, dim, places),
        abstract=sharding.abstract_like(shapes, places),
        batches=make_batches(config, train_faces, mesh),
        step=lambda index, current, batch: compiled[index % objective.r1_interval == 0](current, frozen, batch),
        evaluate=lambda current: evaluate(current.generator_ema),
        picture=lambda current: picture(current.generator_ema),
        data=data_counts(train_faces),
        images_per_step=config["batch"],
        headline=("train/identity_loss", "train/change_loss", "train/g_adversarial", "train/d_loss"),
    )


def _with_imported(current: train_state.SwapperState, folders: dict, modules: tuple, size: int, dim: int, places):
    """The fresh state with the published weights that `config.init` names in place of its own."""
    image = jax.ShapeDtypeStruct((1, size, size, 3), np.float32)
    inputs = {"generator": (image, jax.ShapeDtypeStruct((1, dim), np.float32)), "discriminator": (image,)}
    for (part, shapes), module in zip(inputs.items(), modules, strict=True):
        if folders[part]:
            params = sharding.shard(build.imported_params(folders[part], module, *shapes), getattr(places, part))
            own = lambda params=params: jax.tree.map(jnp.copy, params)  # donated later: no two may share memory
            current = dataclasses.replace(current, **{part: own()})
            if part == "generator":
                current = dataclasses.replace(current, generator_ema=own())
    return current


def eval_pairs(config: dict) -> EvalPairs:
    """A fixed set of held-out pairs of different people."""
    data, count = config["data"], config["eval_images"]
    if data["kind"] == "synthetic":
        return synthetic_pairs(data, count)
    faces = sources.load_faces(data, "test")
    if len(faces.people) < 2:
        raise dataset.DataError(f"evaluation wants 2 held-out people, found {len(faces.people)}")
    source, target = different_people(faces.labels, count)
    people = np.stack([faces.labels[source], faces.labels[target]], axis=1)
    return EvalPairs(float_images(faces, source), float_images(faces, target), None, people)


def synthetic_pairs(data: dict, count: int) -> EvalPairs:
    """Held-out synthetic pairs with the exact swap."""
    draw = lambda labels: different_people(labels, count)
    swaps = rendered.swaps_with_truth(rendered.world_fields(data), data["size"], draw)
    return EvalPairs(*swaps.images, swaps.people)


def _swapper_evaluation(networks: steps.SwapperNetworks, frozen, pairs: EvalPairs, mesh):
    """evaluate(generator params) -> metrics and picture(generator params) -> grid, on fixed held-out pairs."""

    compiled, embed = jax.jit(functools.partial(swap, networks)), jax.jit(networks.embed)
    run = lambda params, *images: in_chunks(
        functools.partial(compiled, {"generator": params, "embedder": frozen}), mesh
    )(*images)
    z = in_chunks(functools.partial(embed, frozen), mesh)
    z_source, z_target = z(pairs.source), z(pairs.target)

    def evaluate(params) -> dict[str, float]:
        swapped = run(params, pairs.source, pairs.target)
        z_swap = z(swapped)
        values = {
            "eval/cosine_to_source": float(per_pair.cosine(z_swap, z_source).mean()),
            "eval/cosine_to_target": float(per_pair.cosine(z_swap, z_target).mean()),
            "eval/change": float(per_pair.mse(swapped, pairs.target).mean()),
        }
        if pairs.truth is not None:
            error, copied = per_pair.mse(swapped, pairs.truth), per_pair.mse(pairs.target, pairs.truth)
            values["eval/mse_to_truth"] = float(error.mean())
            values["eval/mse_over_copy_target"] = float(error.mean() / copied.mean())
        return values

    def picture(params) -> np.ndarray:
        source, target = pairs.source[:GRID], pairs.target[:GRID]
        rows, columns = np.divmod(np.arange(len(source) * len(target)), len(target))
        swaps = run(params, source[rows], target[columns])
        shape = (len(source), len(target), *swaps.shape[1:])
        return swap_grid(source, target, swaps.reshape(shape), scale=max(1, 128 // source.shape[1]))

    return evaluate, picture
