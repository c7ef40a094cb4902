"""The embedders that stage 1 left behind, as stage 2 and evaluation use them."""

import dataclasses
import logging
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from flax.traverse_util import flatten_dict

from smoothswap_jax.config.errors import ConfigError, raise_mistakes, shown
from smoothswap_jax.config.parse import parse, to_dict
from smoothswap_jax.config.schema import EmbedderConfig, FrozenEmbedderConfig
from smoothswap_jax.runtime import checkpoint, folders, sharding
from smoothswap_jax.training.imported_embedder import IMPORTED, identity_network, is_imported
from smoothswap_jax.training.network_checks import network_mistakes
from smoothswap_jax.training.networks import embedder_shapes
from smoothswap_jax.weights import exported, network_folder
from smoothswap_jax.weights.stored_tensor import WeightMismatch
from smoothswap_jax.weights.variables import params_digest

log = logging.getLogger(__name__)
COPY, COPY_ALSO = "embedder", "embedder_also"
"""The folders of a run directory that hold the copies of its embedder, and of the second one if it has one. What its
checkpoints remember of them has the same names."""
TRAINED = (folders.EMBEDDER, folders.EXPORT)
KINDS = (*TRAINED, folders.NETWORK)
FIELDS = {COPY: "checkpoint", COPY_ALSO: "also"}
"""The fields of `config.embedder` that name the originals."""


class FrozenEmbedder(NamedTuple):
    """An embedder of stage 1, which no training changes any more.

    fields: its config fields, or `{'imported': description}` of a published network. variables: {'params',
    'batch_stats'}, numpy arrays. sha256: of the variables, by which it is known. origin: the folder that it is from.
    meta, step: of its checkpoint. copied: whether the run directory holds its copy. aliases: digests of embedders that
    it is but for rounding, as an export's is the run's.
    """

    fields: dict[str, Any]
    variables: dict[str, Any]
    sha256: str
    origin: str
    meta: dict[str, Any]
    step: int
    copied: bool
    aliases: tuple[str, ...] = ()

    @property
    def record(self) -> dict[str, Any]:
        """What the run's checkpoints remember of it."""
        return {"sha256": self.sha256, "from": self.origin, "aliases": list(self.aliases)}

    @property
    def digests(self) -> set[str]:
        """All by which it is known."""
        return {self.sha256, *self.aliases}


def frozen_embedders(
    given: FrozenEmbedderConfig, workdir: Path, before: Mapping[str, Any] | None = None
) -> dict[str, FrozenEmbedder]:
    """The embedders that the run in `workdir` is trained against, one or two, by the names of their copies. Writes
    nothing.

    before: what was saved with the newest checkpoint of the run, if there is one.

    Raises ConfigError as `frozen_embedder` does, when both are the same, and for a second one that the run has not had.
    """
    if given.checkpoint and given.imported:
        raise ConfigError(
            f"config.embedder.checkpoint is {given.checkpoint!r} and imported is {given.imported!r}, wanted one of them"
        )
    first = (given.imported, "imported") if given.imported else (given.checkpoint, FIELDS[COPY])
    found = {COPY: frozen_embedder(first[0], workdir, before, field=first[1])}
    has_second = _is_copied(workdir / COPY_ALSO) if before is None else COPY_ALSO in before
    if before is not None and given.also and not has_second:
        raise ConfigError(
            f"config.embedder.also is {given.also!r}; the run is trained against one embedder: wanted none, or a new "
            "--workdir"
        )
    if given.also or has_second:
        found[COPY_ALSO] = second = frozen_embedder(given.also, workdir, before, COPY_ALSO)
        if second.digests & found[COPY].digests:
            raise ConfigError(
                f"config.embedder.also is {second.origin!r}, the embedder of config.embedder.{first[1]}; wanted another"
            )
    return found


def frozen_embedder(
    given: str | None, workdir: Path, before: Mapping[str, Any] | None = None, name: str = COPY, field: str = ""
) -> FrozenEmbedder:
    """An embedder that the run in `workdir` is trained against: its copy there, else that of `given`. Writes nothing.

    Args:
      given: `config.embedder.checkpoint`, or `also`. It may be missing, or gone, once there is a copy.
      before: what was saved with the newest checkpoint of the run, if there is one.
      name: of the copy, one of FIELDS. field: of `config.embedder` that `given` is the value of; '' is FIELDS[name].

    Raises ConfigError when there is no embedder, or another one than the run is trained against, by its hash.
    """
    field = field or FIELDS[name]
    kinds = (folders.NETWORK,) if field == "imported" else TRAINED
    before, copy = before or {}, workdir / name
    known = before.get(name, {})  # runs of old did not remember it
    origin = known.get("from") or before.get("config", {}).get("embedder", {}).get(field)
    field = f"config.embedder.{field}"
    found = None
    if _is_copied(copy):
        found = load_embedder(copy, KINDS)._replace(origin=origin or str(copy), copied=True)
        _check(found, {known.get("sha256", found.sha256)}, origin, f"{copy} is")
        found = found._replace(aliases=aliases_of(known, str(copy)))
    if not given:
        if found is None:
            raise ConfigError(
                f"{field} is not set, wanted the run directory of an embedder, an export, 'default' or "
                "'photographs'; or config.embedder.imported"
            )
        return found
    wanted = {known["sha256"]} if known.get("sha256") else set()
    wanted |= found.digests if found else set()
    try:
        other = load_embedder(given, kinds)
    except (checkpoint.CheckpointError, exported.ExportError, network_folder.FolderError, WeightMismatch) as error:
        if found is None:
            raise ConfigError(f"{field}: {error}") from error
        if origin is None or os.path.abspath(origin) != os.path.abspath(given):
            raise ConfigError(
                f"{field} is {given!r}: {error}; the run is trained against its copy {copy}: leave the field out to go "
                "on with it"
            ) from error
        log.warning("%s; the run goes on with its copy %s", error, copy)
        return found
    if found is not None and given == origin and given in folders.PACKAGED and not wanted & other.digests:
        log.warning("the packaged swapper is another now; the run goes on with the embedder of before, %s", copy)
        return found
    _check(other, wanted or other.digests, origin or str(copy), f"{field}={given} is")
    return other if found is None else found._replace(origin=origin or given)


def _is_copied(copy: Path) -> bool:
    found = bool(checkpoint.steps_of(copy)) or (copy / network_folder.CONFIG).is_file()
    return bool(sharding.broadcast_from_main(np.bool_(found)))


def keep_copy(embedder: FrozenEmbedder, workdir: Path, name: str = COPY) -> None:
    """Copies an embedder into the run directory, so that this can be moved and restored on its own. name: of the copy,
    one of FIELDS."""
    if embedder.copied:
        return
    if is_imported(embedder.fields):
        if sharding.is_main():
            network = identity_network(embedder.fields)
            network = dataclasses.replace(network, variables=embedder.variables)
            network_folder.save_network(workdir / name, network, embedder.fields[IMPORTED].get("source", {}))
        sharding.barrier(f"{name} is copied")
        return
    manager = checkpoint.open_manager(workdir / name)
    parts = {"params": {"embedder": embedder.variables["params"]}, "batch_stats": embedder.variables["batch_stats"]}
    checkpoint.save(manager, embedder.step, parts, embedder.meta)
    checkpoint.close(manager)
    sharding.barrier(f"{name} is copied")


def load_embedder(run: str | os.PathLike[str], kinds: Sequence[str] = TRAINED) -> FrozenEmbedder:
    """The embedder saved in a run directory of stage 1, at its newest checkpoint, or in an export that says how it was
    trained, or a published network of identity. Any of them may be somebody else's: configs are checked, and arrays are
    compared with them.

    kinds: of folders that will do, some of KINDS. Raises CheckpointError, ExportError, FolderError or ConfigError for a
    folder that is of none, and for what does not fit.
    """
    folder = folders.named(run)
    if fault := folders.mistake(folder, *kinds):
        raise checkpoint.CheckpointError(fault)
    if folders.kind_of(folder) == folders.EXPORT:
        return _of_export(folder, os.fspath(run))
    if folders.kind_of(folder) == folders.NETWORK:
        return _of_network(folder, os.fspath(run))

    def wanted(meta: dict, arrays: int, file: Path) -> dict:
        shapes = _shapes(meta.get("config", {}), arrays, file)
        return {"params": {"embedder": shapes["params"]}, "batch_stats": shapes["batch_stats"]}

    parts, meta, step = checkpoint.load_parts(folder, ("params", "batch_stats"), wanted=wanted)
    variables = {"params": parts["params"]["embedder"], "batch_stats": parts["batch_stats"]}
    fields = to_dict(parse(meta["config"]))["embedder"]
    return FrozenEmbedder(fields, variables, params_digest(variables), os.fspath(run), meta, step, False)


def _shapes(config: Any, arrays: int, file: Path) -> dict[str, Any]:
    """What an embedder's training config, of somebody else's `file`, wants its arrays to be."""
    parsed = parse(config, str(file))
    if not isinstance(parsed, EmbedderConfig):
        raise checkpoint.CheckpointError(f"{file}: a run of stage {parsed.stage!r}, wanted 'embedder'")
    raise_mistakes(network_mistakes(parsed), f"{file}: ")
    return embedder_shapes(parsed.embedder, parsed.data.size, arrays, str(file))


def _of_export(folder: Path, origin: str) -> FrozenEmbedder:
    stored, meta, step, aliases, file = exported.load_embedder(folder)
    try:
        wanted = _shapes(meta["config"], len(flatten_dict(stored)), file)
    except ConfigError as error:
        raise checkpoint.CheckpointError(str(error)) from error
    variables = {"params": stored["params"], "batch_stats": stored.get("batch_stats", {})}
    found, fits = (jax.tree.map(lambda leaf: tuple(leaf.shape), tree) for tree in (variables, wanted))
    if found != fits:
        raise checkpoint.CheckpointError(f"{folder}: the arrays of its embedder are not those of {file}")
    fields = to_dict(parse(meta["config"]))["embedder"]
    digest = params_digest(variables)
    others = tuple(alias for alias in aliases if alias != digest)
    return FrozenEmbedder(fields, variables, digest, origin, meta, step, False, others)


def _of_network(folder: Path, origin: str) -> FrozenEmbedder:
    fields = {IMPORTED: network_folder.description(folder)}
    identity_network(fields, str(folder / network_folder.CONFIG))
    stored = network_folder.load_network(folder).variables
    variables = {"params": stored["params"], "batch_stats": stored.get("batch_stats", {})}
    return FrozenEmbedder(fields, variables, params_digest(variables), origin, {}, 0, False)


def aliases_of(record: Mapping[str, Any], file: str) -> tuple[str, ...]:
    """The aliases in what a checkpoint, which may be somebody else's, remembers of an embedder. Raises CheckpointError
    where they are no digests."""
    found = record.get("aliases", [])
    if not isinstance(found, list) or not all(isinstance(one, str) for one in found):
        raise checkpoint.CheckpointError(f"{file}: aliases is {shown(found)}, wanted a list of SHA-256")
    return tuple(found)


def _check(found: FrozenEmbedder, wanted: set[str], origin: str | None, what: str) -> None:
    if not found.digests & wanted:
        known = min(wanted)[:16]
        raise ConfigError(
            f"{what} embedder sha256 {found.sha256[:16]}, at step {found.step}; the run is trained against "
            f"{known}{f' from {origin}' if origin else ''}: wanted that one, or a new --workdir"
        )
