"""Devices, mesh and placement: the only module that knows where arrays live."""

import contextlib

import jax
import numpy as np
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P

BATCH_AXES = ("data", "fsdp")


def make_mesh(devices: int | None = None) -> jax.sharding.Mesh:
    """A (data, fsdp) mesh over the first `devices` devices (all of them by default), data parallel only.

    Axes are Auto: under the Explicit default of jax >= 0.9 minibatch-stddev's reshape and z @ z.T raise.
    """
    found = jax.devices()
    count = len(found) if devices is None else devices
    if count > len(found):
        raise ValueError(f"mesh wants {count} devices; this host sees {len(found)}: {found}")
    return jax.make_mesh((count, 1), BATCH_AXES, axis_types=(AxisType.Auto,) * 2, devices=found[:count])


def replicated(mesh: jax.sharding.Mesh) -> NamedSharding:
    """Every device holds the whole array."""
    return NamedSharding(mesh, P())


def batched(mesh: jax.sharding.Mesh) -> NamedSharding:
    """The leading axis is split over all devices."""
    return NamedSharding(mesh, P(BATCH_AXES))


def check_batch(mesh: jax.sharding.Mesh, batch_size: int) -> None:
    """Raises ValueError when a global batch cannot be split evenly over the mesh."""
    if batch_size % mesh.size:
        raise ValueError(f"batch size {batch_size} is not a multiple of the mesh's {mesh.size} devices")


def put_replicated(tree, mesh: jax.sharding.Mesh):
    """Places a pytree of host arrays on every device of the mesh."""
    return jax.device_put(tree, replicated(mesh))


def put_batch(batch, mesh: jax.sharding.Mesh):
    """Makes global arrays out of this process' rows of the batch."""
    sharding = batched(mesh)
    return jax.tree.map(lambda x: jax.make_array_from_process_local_data(sharding, np.asarray(x)), batch)


def abstract_like(shapes, mesh: jax.sharding.Mesh):
    """ShapeDtypeStructs that carry their target placement, for restoring a checkpoint onto this mesh."""
    sharding = replicated(mesh)
    return jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=sharding), shapes)


def jit_init(init, mesh: jax.sharding.Mesh):
    """Compiles an initialiser whose results are placed on the mesh.

    A network's initialiser holds one random kernel a parameter and costs as much to compile as a training step;
    it runs once, so on CPU it is compiled without optimisation.
    """
    options = {"xla_backend_optimization_level": 0} if jax.default_backend() == "cpu" else None
    return jax.jit(init, out_shardings=replicated(mesh), compiler_options=options)


def no_transfers() -> contextlib.AbstractContextManager:
    """Forbids implicit host-device copies, which would stall the training loop unseen."""
    return jax.transfer_guard("disallow")
