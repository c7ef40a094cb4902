"""The parts of the swapper's training step, each compiled and timed by itself."""

import functools
from collections.abc import Callable, Mapping
from typing import Any

import jax
import optax

from smoothswap_jax.bench.flops import count_flops
from smoothswap_jax.bench.setting import Setting
from smoothswap_jax.bench.timing import timed
from smoothswap_jax.runtime import compilation
from smoothswap_jax.training import swapper_step
from smoothswap_jax.training.swapper_program import SwapperProgram
from smoothswap_jax.training.train_state import Batch, SwapperState
from smoothswap_jax.training.transforms import transform_keys

PyTree = Any
Part = tuple[Callable[..., Any], tuple]
"""A function and its arguments."""


def phases(
    setting: Setting, frozen: PyTree, images: Batch, z: PyTree, peaks: dict[str, float], seconds: float
) -> dict[str, dict[str, float]]:
    """Seconds and operations of each part of the step, and the fractions of the measured peaks that it reaches.

    R1 and the generator's backward pass are differences of two programs. The parts sum to a little more than the step,
    in which some of their work overlaps. Bytes are XLA's count of what operations read and write, which a cache may
    serve, so a fraction of the bandwidth can exceed 1.
    """
    found = parts(setting.program, setting.init_state(), frozen, images, z)
    compiled = {name: jax.jit(function).lower(*arguments).compile() for name, (function, arguments) in found.items()}
    calls = {name: functools.partial(compiled[name], *arguments) for name, (_, arguments) in found.items()}
    times = timed(calls, seconds)
    flops: dict[str, float] = {name: count_flops(function, *arguments) for name, (function, arguments) in found.items()}
    moved = {name: compilation.cost(program)["bytes"] for name, program in compiled.items()}
    for numbers in (times, flops, moved):
        numbers["R1"] = numbers.pop("discriminator with R1") - numbers["discriminator"]
        numbers["generator backward through the losses"] = (
            numbers.pop("generator, losses and backward") - numbers["generator forward"]
        )
    return {
        name: {
            "s": times[name],
            "TFLOP": flops[name] / 1e12,
            "fraction of matmul peak": flops[name]
            / max(times[name], 1e-9)
            / setting.mesh.size
            / peaks["matmul FLOP/s"],
            "fraction of bandwidth peak": moved[name] / max(times[name], 1e-9) / peaks["bytes/s"],
        }
        for name in times
    }


def parts(
    program: SwapperProgram, state: SwapperState, frozen: PyTree, images: Mapping[str, Any], z: PyTree
) -> dict[str, Part]:
    """The step's parts by name, in the order of the step, as functions and their arguments. z: of the sources. Shapes
    can stand for all arrays."""
    networks, objective, target = program.networks, program.objective, images["target"]

    def discriminator(with_r1: bool) -> Callable[..., Any]:
        return functools.partial(
            swapper_step.discriminator_update,
            discriminate=networks.discriminate,
            objective=objective,
            optimizer=program.optimizers[1],
            with_r1=with_r1,
        )

    def generator_loss(params, frozen, discriminator_params, target, z):
        loss, _ = swapper_step.generator_loss(
            networks.generate(params, target, z),
            target,
            z,
            discriminate=lambda x: networks.discriminate(discriminator_params, x, z),
            embed=lambda x: networks.embed(frozen, x),
            objective=objective,
            identity_weight=objective.identity,
            keys=transform_keys(0, 0, (len(target), objective.transform_samples)),
            features=networks.features and functools.partial(networks.features, discriminator_params),
        )
        return loss

    def back(params, swap, z):
        return swapper_step.back_loss(params, swap, swap, z, generate=networks.generate)

    def optimizer_and_average(params, average, moments):  # parameters stand in for their gradient
        updates, moments = program.optimizers[0].update(params, moments, params)
        params = optax.apply_updates(params, updates)
        return params, optax.incremental_update(params, average, 1 - objective.ema_decay), moments

    return {
        "embed the source": (networks.embed, (frozen, images["source"])),
        "generator forward": (networks.generate, (state.generator, target, z)),
        "discriminator": (discriminator(False), (state, target, images["real"], z, z)),
        "discriminator with R1": (discriminator(True), (state, target, images["real"], z, z)),
        "generator, losses and backward": (
            jax.grad(generator_loss),
            (state.generator, frozen, state.discriminator, target, z),
        ),
        **({"swap back and backward": (jax.grad(back), (state.generator, target, z))} if objective.back else {}),
        "generator's optimiser and average": (
            optimizer_and_average,
            (state.generator, state.generator_ema, state.generator_optimizer),
        ),
    }
