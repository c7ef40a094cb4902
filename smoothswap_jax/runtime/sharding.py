"""Processes, devices, mesh and placement: the only module that knows where arrays live."""

import contextlib
import logging
import re
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import mesh_utils, multihost_utils
from jax.sharding import AxisType, Mesh, NamedSharding
from jax.sharding import PartitionSpec as P
from jaxtyping import Int

log = logging.getLogger(__name__)
PyTree = Any
BATCH_AXES = ("data", "fsdp")

Rules = Sequence[tuple[str, str]]
"""(path regex, rule), the first that matches counts. 'fsdp': the last axis that the mesh's fsdp axis divides is split
over it. 'replicate': every device holds the whole array."""
PLACES = ("fsdp", "replicate")
RULES: Rules = ((r".*", "fsdp"),)
SMALL = 1024
"""Arrays with fewer elements are replicated: gathering their shards would cost more time than the memory is worth."""


# --- processes ----------------------------------------------------------------------------------------------


def start_processes(coordinator: str | None = None, processes: int | None = None, process: int | None = None) -> None:
    """Joins this process to the others of the run. Call it before anything touches a device.

    Without arguments the cluster is detected from its environment (TPU pod, Slurm, Kubernetes, MPI). Raises ValueError
    if only some of the arguments are given, or if no cluster is detected. JAX ends the process if the others do not
    show up.
    """
    given = (coordinator, processes, process)
    if any(value is not None for value in given) and any(value is None for value in given):
        raise ValueError(f"--coordinator, --processes, --process: found {given}; wanted all of them or none")
    try:
        jax.distributed.initialize(coordinator, processes, process)
    except ValueError as error:
        raise ValueError(
            f"no cluster was detected ({error}); wanted a TPU pod, Slurm, Kubernetes or MPI, or "
            "--coordinator=HOST:PORT --processes=N --process=I"
        ) from error


def is_main() -> bool:
    """Whether this process is the one that writes files."""
    return jax.process_index() == 0


def broadcast_from_main(value: PyTree) -> PyTree:
    """Process 0's value of a pytree, in all processes: what is read from a shared disk must be the same for all."""
    return value if jax.process_count() == 1 else multihost_utils.broadcast_one_to_all(value)


def barrier(what: str) -> None:
    """Returns when every process has reached this point."""
    if jax.process_count() > 1:
        multihost_utils.sync_global_devices(what)


def preempted(step: int) -> bool:
    """Whether any of several processes got SIGTERM; all processes get the same answer at the same step."""
    return jax.process_count() > 1 and multihost_utils.reached_preemption_sync_point(step)


# --- mesh ---------------------------------------------------------------------------------------------------


def make_mesh(devices: int | None = None, fsdp: int = 1, found: Sequence[Any] = ()) -> Mesh:
    """A (data, fsdp) mesh over the first `devices` of the devices `found` (default: all devices of all processes).

    CPUs and GPUs are ordered by process and number, TPUs by where they lie in the torus (`_torus`). So on TPUs the rows
    of a batch that a process holds need not follow each other: who reads them asks `own_rows`. All processes hold
    equally many. Axes are Auto: under the Explicit default of jax >= 0.9, minibatch-stddev's reshape and z @ z.T raise.

    Raises ValueError if there are fewer devices, if processes have unequal numbers of them, if their number is not a
    multiple of `fsdp`, or if a mesh of that shape does not fit the TPUs' torus.
    """
    found = sorted(found or jax.devices(), key=lambda device: (device.process_index, device.id))
    count = len(found) if devices is None else devices
    if jax.process_count() > 1 and count != len(found):
        raise ValueError(f"mesh wants {count} devices; with several processes it has to take all {len(found)}")
    if count > len(found):
        raise ValueError(f"mesh wants {count} devices; this host sees {len(found)}: {found}")
    if fsdp < 1 or count % fsdp:
        raise ValueError(f"config.mesh.fsdp is {fsdp}; wanted a divisor of the {count} devices")
    found = found[:count]
    if len(set(_counts(found, "process_index"))) > 1:
        raise ValueError(
            f"processes see {_counts(found, 'process_index')} devices; wanted the same number, as each reads an equal "
            "share of a batch"
        )
    grid = _torus(found, fsdp) if found[0].platform == "tpu" else np.array(found).reshape(count // fsdp, fsdp)
    return Mesh(grid, BATCH_AXES, axis_types=(AxisType.Auto,) * 2)


def _counts(devices: Sequence[Any], what: str) -> list[int]:
    """How many devices have each value of an attribute; those without it, or with None, count as one value."""
    values = [getattr(device, what, None) for device in devices]
    return [values.count(value) for value in dict.fromkeys(values)]


def _torus(devices: Sequence[Any], fsdp: int) -> np.ndarray:
    """TPUs as [devices // fsdp, fsdp], such that each axis of the mesh is one or more axes of the torus, where that can
    be, so that gathers of parameters and sums of gradients do not share links; of several slices, which a slower
    network connects, each holds whole copies of the state.

    Raises ValueError where `fsdp` does not fit into a slice, or the devices are no box of the torus.
    """
    slices = _counts(devices, "slice_index")
    each = slices[0]
    if set(slices) != {each}:
        raise ValueError(f"TPU slices have {slices} devices; wanted slices of equal size")
    if each % fsdp:
        raise ValueError(
            f"config.mesh.fsdp is {fsdp}; wanted a divisor of the {each} devices in each of the {len(slices)} TPU "
            "slices, as the network between slices is too slow to gather parameters"
        )
    inside = (each // fsdp, fsdp)
    try:
        if len(slices) == 1:
            return mesh_utils.create_device_mesh(inside, devices, allow_split_physical_axes=True)
        return mesh_utils.create_hybrid_device_mesh(inside, (len(slices), 1), devices, allow_split_physical_axes=True)
    except (AssertionError, NotImplementedError, ValueError) as error:
        places = [tuple(device.coords) for device in devices]
        raise ValueError(
            f"no mesh data={len(devices) // fsdp} fsdp={fsdp} fits these {len(devices)} devices of kind "
            f"{devices[0].device_kind}, at {places}; wanted all chips of a slice, or of a box in it "
            f"({type(error).__name__})"
        ) from error


def own_rows(mesh: Mesh, batch_size: int, process: int | None = None) -> Int[np.ndarray, "rows"]:
    """The rows of a global batch that lie on a process' devices, ascending: those that it has to read, in the order in
    which `shard_batch` takes them. All processes have equally many, and every row belongs to one.

    process: its number; default this one. Raises ValueError as `check_batch` does.
    """
    check_batch(mesh, batch_size)
    process = jax.process_index() if process is None else process
    blocks = np.arange(batch_size).reshape(mesh.size, -1)
    return blocks[[device.process_index == process for device in mesh.devices.flat]].ravel()


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
    """The sharding of each array of a state, by the first rule that its path (`generator/stem/kernel`) matches.

    Raises ValueError for an unknown rule, and for a path that no rule matches.
    """
    for pattern, rule in rules:
        if rule not in PLACES:
            raise ValueError(f"config.mesh.rules: {pattern!r} has rule {rule!r}; wanted one of {PLACES}")

    def place(path, x):
        name = jax.tree_util.keystr(path, simple=True, separator="/")
        rule = next((rule for pattern, rule in rules if re.search(pattern, name)), None)
        if rule is None:
            raise ValueError(f"config.mesh.rules: none matches {name}; wanted a last rule for all, ('.*', 'fsdp')")
        return NamedSharding(mesh, _split(x.shape, mesh.shape["fsdp"]) if rule == "fsdp" else P())

    return jax.tree_util.tree_map_with_path(place, shapes)


def _split(shape: tuple[int, ...], parts: int) -> P:
    """Splits the last axis that `parts` divides; small arrays and odd shapes are replicated.

    The last axis of a kernel is its output channels. Splitting its input channels, which it sums over, makes XLA split
    the discriminator's images in space (docs/design.md).
    """
    axes = [axis for axis, size in enumerate(shape) if size % parts == 0]
    if parts == 1 or int(np.prod(shape)) < SMALL or not axes:
        return P()
    axis = axes[-1]
    return P(*(["fsdp" if i == axis else None for i in range(axis + 1)]))


def placed_classes(mesh: Mesh, columns: int) -> Callable[[jax.Array], jax.Array]:
    """Keeps an array [batch columns] split over the mesh by rows and columns, inside a jitted function: logits of a
    classifier whose kernel [d columns] `placement` splits by columns. On some meshes XLA would gather the kernel."""
    parts = mesh.shape["fsdp"]
    if parts == 1 or columns == 0 or columns % parts:
        return lambda logits: logits
    place = NamedSharding(mesh, P("data", "fsdp"))
    return lambda logits: jax.lax.with_sharding_constraint(logits, place)


def log_placement(shapes: PyTree, places: PyTree) -> None:
    """Logs how much of a state is sharded and how much is replicated."""
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
    """Puts a pytree of host arrays, the same in all processes, onto devices as the shardings `places` say."""

    def one(x, place):
        x = np.asarray(x)
        return jax.make_array_from_callback(x.shape, place, lambda index: x[index])

    return jax.tree.map(one, tree, places)


def shard_copy(tree: PyTree, places: PyTree) -> PyTree:
    """As `shard`, of arrays that may be donated: XLA may otherwise share the memory of numpy's."""
    return jax.tree.map(jnp.copy, shard(tree, places))


def replicate(tree: PyTree, mesh: Mesh) -> PyTree:
    """Puts a pytree of host arrays, the same in all processes, onto every device of the mesh."""
    return shard(tree, jax.tree.map(lambda _: replicated(mesh), tree))


def shard_batch(batch: PyTree, mesh: Mesh) -> PyTree:
    """Global arrays from this process' rows of a batch, a pytree: `own_rows`, in their order."""
    place = batched(mesh)
    return jax.tree.map(lambda x: jax.make_array_from_process_local_data(place, np.asarray(x)), batch)


def shard_rows(rows: np.ndarray, mesh: Mesh) -> jax.Array:
    """A global array split by rows, from rows that all processes have."""
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
    """Forbids implicit host-device copies, which would stall the training loop unnoticed."""
    return jax.transfer_guard("disallow")


EVAL_BATCH = 32
"""Rows that inference computes at a time, rounded up to a multiple of the devices."""


def in_chunks(function: Callable, mesh: Mesh) -> Callable[..., Any]:
    """Makes a compiled function of batches take pytrees of host arrays of any length.

    About EVAL_BATCH rows are computed at a time, split over the mesh; the last chunk is padded. Results are numpy.
    """
    size = mesh.size * -(-EVAL_BATCH // mesh.size)

    def run(*arrays: PyTree) -> PyTree:
        count = len(jax.tree.leaves(arrays)[0])
        results = []
        for start in range(0, count, size):
            rows = np.minimum(np.arange(start, start + size), count - 1)
            chunk = jax.tree.map(lambda x, rows=rows: shard_rows(x[rows], mesh), arrays)
            results.append(jax.tree.map(to_host, function(*chunk)))
        return jax.tree.map(lambda *parts: np.concatenate(parts)[:count], *results)

    return run
