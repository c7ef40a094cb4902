"""Processes, devices, mesh and placement: the only module that knows where arrays live."""

import contextlib
import logging
import re
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import AxisType, Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

log = logging.getLogger(__name__)
PyTree = Any
BATCH_AXES = ("data", "fsdp")

Rules = Sequence[tuple[str, str]]
"""(path regex, rule), the first that matches counts. 'fsdp': the last axis that the mesh's fsdp axis divides is split
over it. 'replicate': every device holds the whole array."""
RULES: Rules = ((r".*", "fsdp"),)
SMALL = 1024
"""Arrays of fewer numbers stay whole: fetching their parts would take longer than what is saved is worth."""


# --- processes ----------------------------------------------------------------------------------------------


def start_processes(coordinator: str | None = None, processes: int | None = None, process: int | None = None) -> None:
    """Joins this process to the others of the run; before anything touches a device.

    Without arguments the cluster is recognised by its environment (TPU pod, Slurm, Kubernetes, MPI). Raises ValueError
    for arguments that are not all given, and where no cluster is recognised. JAX ends a process whose others do not
    come.
    """
    given = (coordinator, processes, process)
    if any(value is not None for value in given) and any(value is None for value in given):
        raise ValueError(f"--coordinator, --processes, --process: found {given}; wanted all of them or none")
    try:
        jax.distributed.initialize(coordinator, processes, process)
    except ValueError as error:
        raise ValueError(
            f"no cluster is recognised ({error}); wanted a TPU pod, Slurm, Kubernetes or MPI, or "
            "--coordinator=HOST:PORT --processes=N --process=I"
        ) from error


def is_main() -> bool:
    """Whether this process is the one that writes."""
    return jax.process_index() == 0


def broadcast_from_main(value: PyTree) -> PyTree:
    """The first process' value of numbers or arrays, in all processes: for what is read from a shared disk."""
    return value if jax.process_count() == 1 else multihost_utils.broadcast_one_to_all(value)


def barrier(what: str) -> None:
    """Returns when every process has come here."""
    if jax.process_count() > 1:
        multihost_utils.sync_global_devices(what)


def preempted(step: int) -> bool:
    """Whether any process of several has been told to end (SIGTERM); the same answer for all at the same step."""
    return jax.process_count() > 1 and multihost_utils.reached_preemption_sync_point(step)


# --- mesh ---------------------------------------------------------------------------------------------------


def make_mesh(devices: int | None = None, fsdp: int = 1, found: Sequence[Any] = ()) -> Mesh:
    """A (data, fsdp) mesh over the first `devices` devices, all of all processes by default; or of those `found`.

    Devices are in the order of their processes, so that a process' rows of a batch lie together, as `data.pipeline`
    reads them, and parameters are fetched from neighbours. Axes are Auto: under the Explicit default of jax >= 0.9
    minibatch-stddev's reshape and z @ z.T raise. Raises ValueError for devices that are not there, or not a multiple
    of `fsdp`.
    """
    found = sorted(found or jax.devices(), key=lambda device: (device.process_index, device.id))
    count = len(found) if devices is None else devices
    if jax.process_count() > 1 and count != len(found):
        raise ValueError(f"mesh wants {count} devices; with several processes it has to take all {len(found)}")
    if count > len(found):
        raise ValueError(f"mesh wants {count} devices; this host sees {len(found)}: {found}")
    if fsdp < 1 or count % fsdp:
        raise ValueError(f"config.mesh.fsdp is {fsdp}; wanted a divisor of the {count} devices")
    grid = np.array(found[:count]).reshape(count // fsdp, fsdp)
    return Mesh(grid, BATCH_AXES, axis_types=(AxisType.Auto,) * 2)


def replicated(mesh: Mesh) -> NamedSharding:
    """Every device holds the whole array."""
    return NamedSharding(mesh, P())


def batched(mesh: Mesh) -> NamedSharding:
    """The leading axis is split over all devices."""
    return NamedSharding(mesh, P(BATCH_AXES))


def check_batch(mesh: Mesh, batch_size: int) -> None:
    """Raises ValueError when a global batch cannot be split evenly over the mesh."""
    if batch_size % mesh.size:
        raise ValueError(f"batch size {batch_size} is not a multiple of the mesh's {mesh.size} devices")


# --- placement of states --------------------------------------------------------------------------------------


def placement(shapes: PyTree, mesh: Mesh, rules: Rules = RULES) -> PyTree:
    """Where each array of a state lives, by the first rule that its path (`generator/conv_in/kernel`) matches.

    Raises ValueError for a rule that is none, or a path that no rule matches.
    """
    for pattern, rule in rules:
        if rule not in ("fsdp", "replicate"):
            raise ValueError(f"config.mesh.rules: {pattern!r} has rule {rule!r}; wanted 'fsdp' or 'replicate'")

    def place(path, x):
        name = jax.tree_util.keystr(path, simple=True, separator="/")
        rule = next((rule for pattern, rule in rules if re.search(pattern, name)), None)
        if rule is None:
            raise ValueError(f"config.mesh.rules: none matches {name}; wanted a last rule for all, ('.*', 'fsdp')")
        return NamedSharding(mesh, _split(x.shape, mesh.shape["fsdp"]) if rule == "fsdp" else P())

    return jax.tree_util.tree_map_with_path(place, shapes)


def _split(shape: tuple[int, ...], parts: int) -> P:
    """The last axis that can be split, which of a kernel is that of its results: to split what it sums over makes XLA
    split images in space. Nothing of a small array or an odd shape."""
    axes = [axis for axis, size in enumerate(shape) if size % parts == 0]
    if parts == 1 or int(np.prod(shape)) < SMALL or not axes:
        return P()
    axis = axes[-1]
    return P(*(["fsdp" if i == axis else None for i in range(axis + 1)]))


def log_placement(shapes: PyTree, places: PyTree) -> None:
    """Says what is split and what stayed whole on every device."""
    whole, split, largest = 0, 0, (0, "nothing")
    for (path, x), place in zip(jax.tree_util.tree_leaves_with_path(shapes), jax.tree.leaves(places), strict=True):
        size = x.size * x.dtype.itemsize
        if place.is_fully_replicated:
            whole += size
            largest = max(largest, (size, jax.tree_util.keystr(path, simple=True, separator="/")))
        else:
            split += size
    mesh = jax.tree.leaves(places)[0].mesh
    log.info(
        "mesh data=%d fsdp=%d: %.1f MB of state split, %.1f MB on every device (the largest: %s)",
        *mesh.shape.values(), split / 1e6, whole / 1e6, largest[1],
    )  # fmt: skip


def shard(tree: PyTree, places: PyTree) -> PyTree:
    """Places a pytree of host arrays, which all processes have, as `places` say."""

    def one(x, place):
        x = np.asarray(x)
        return jax.make_array_from_callback(x.shape, place, lambda index: x[index])

    return jax.tree.map(one, tree, places)


def replicate(tree: PyTree, mesh: Mesh) -> PyTree:
    """Places a pytree of host arrays, which all processes have, on every device of the mesh."""
    return shard(tree, jax.tree.map(lambda _: replicated(mesh), tree))


def shard_batch(batch: PyTree, mesh: Mesh) -> PyTree:
    """Makes global arrays out of this process' rows of the batch."""
    place = batched(mesh)
    return jax.tree.map(lambda x: jax.make_array_from_process_local_data(place, np.asarray(x)), batch)


def shard_rows(rows: np.ndarray, mesh: Mesh) -> jax.Array:
    """A global array, split by rows, of rows that all processes have."""
    return shard(rows, batched(mesh))


def to_host(x: jax.Array) -> np.ndarray:
    """The whole array, in every process."""
    if x.is_fully_addressable or x.is_fully_replicated:
        return np.asarray(x)
    return np.asarray(multihost_utils.process_allgather(x, tiled=True))


def abstract_like(shapes: PyTree, places: PyTree) -> PyTree:
    """ShapeDtypeStructs that carry their target placement, for restoring a checkpoint onto this mesh."""
    return jax.tree.map(lambda x, place: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=place), shapes, places)


def jit_init(init, places: PyTree):
    """Compiles an initialiser whose results are placed on the mesh.

    A network's initialiser holds one random kernel a parameter and costs as much to compile as a training step;
    it runs once, so on CPU it is compiled without optimisation.
    """
    options = {"xla_backend_optimization_level": 0} if jax.default_backend() == "cpu" else None
    return jax.jit(init, out_shardings=places, compiler_options=options)


def no_transfers() -> contextlib.AbstractContextManager:
    """Forbids implicit host-device copies, which would stall the training loop unseen."""
    return jax.transfer_guard("disallow")


EVAL_BATCH = 32


def in_chunks(function: Callable, mesh) -> Callable[..., np.ndarray]:
    """Makes a compiled function of image batches take host arrays of any length: about EVAL_BATCH rows at a time over
    the mesh, the last chunk padded."""
    size = mesh.size * -(-EVAL_BATCH // mesh.size)

    def run(*arrays: np.ndarray) -> np.ndarray:
        count = len(arrays[0])
        results = []
        for start in range(0, count, size):
            rows = np.minimum(np.arange(start, start + size), count - 1)
            results.append(to_host(function(*(shard_rows(x[rows], mesh) for x in arrays))))
        return np.concatenate(results)[:count]

    return run
