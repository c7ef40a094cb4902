"""The kinds of training data: faces rendered at start, a folder of photos, prepared sets, or a tfds dataset."""

import hashlib
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from smoothswap_jax.config.errors import ConfigError
from smoothswap_jax.config.schema import DataConfig
from smoothswap_jax.data import dataset
from smoothswap_jax.data.dataset import DataError, Faces, SizeError, check_split, decode
from smoothswap_jax.data.rendered import from_synthetic
from smoothswap_jax.faces.listing import passed_over, photos_in
from smoothswap_jax.runtime.user_folders import expanded

log = logging.getLogger(__name__)

KINDS = ("synthetic", "prepared", "folder", "tfds")
"""Of data: `config.data.kind`."""

_FOLDERS = {
    "folder": "DIR/<person>/<photo> of aligned faces",
    "prepared": "that `smoothswap prepare` wrote",
}
"""Kinds that need `config.data.dir`: what is in it."""


def missing_dir(data: DataConfig) -> str:
    """What is to be said where the kind of data needs a folder and has none; "" otherwise."""
    if data.kind not in _FOLDERS or data.dir:
        return ""
    content = _FOLDERS[data.kind]
    return f"config.data.dir is not set, wanted a folder {content}, for config.data.kind {data.kind!r}"


def load_faces(data: DataConfig, split: str) -> Faces:
    """The faces of a split, according to the config's `data` fields.

    Raises:
      ConfigError: the kind is unknown, or needs a folder and has none.
      DataError: there is nothing that can be read as the config says.
    """
    if words := missing_dir(data):
        raise ConfigError(words)
    kind, size, folder = data.kind, data.size, data.dir or ""
    if kind == "synthetic":
        people, alike = (data.people, data.look_alikes) if split == "train" else (data.held_out_people, 1)
        return from_synthetic(split, size, people, data.photos, data.seed, data.spread, data.rendered_cache, alike)
    if kind == "folder":
        return from_folder(folder, split, size, data.held_out_people)
    if kind == "prepared":
        from smoothswap_jax.data.records import from_prepared

        data_dirs = [data_dir.strip() for data_dir in folder.split(",")]
        weights = data.weights or [1.0] * len(data_dirs)
        return dataset.mixture([from_prepared(data_dir, split, size) for data_dir in data_dirs], weights)
    if kind == "tfds":
        from smoothswap_jax.data import builders

        return builders.from_tfds(data.name, data.dir, split, size)
    raise ConfigError(f"config.data.kind is {kind!r}, wanted one of {KINDS}")


def person_digest(name: str) -> str:
    """What tells a person in a list that goes with published weights: the list says of a name whether it is there, and
    not which names are."""
    return hashlib.sha256(name.encode()).hexdigest()[:16]


def training_people(data: Mapping[str, Any]) -> list[str]:
    """`person_digest` of the people a run was trained on, by its stored `data` fields; of none who were rendered, or
    are of a set without names. Raises DataError where prepared data, or a folder, can no longer be read."""
    if data["kind"] == "prepared":
        from smoothswap_jax.data.records import people_of

        names = [person for folder in data["dir"].split(",") for person in people_of(folder.strip(), "train")]
        return [person_digest(name) for name in names]
    if data["kind"] == "folder":
        found = from_folder(data["dir"], "train", data["size"], data["held_out_people"])
        return [person_digest(name) for name in found.people]
    return []


def from_folder(root: str | Path, split: str, size: int, held_out_people: int) -> Faces:
    """Aligned photos DIR/<person>/<photo>. The split is by people, not photos: nobody is in both splits.

    Photos are told by their content. What is none is passed over, which the log says for the split "train".

    The test people are the `held_out_people` ones whose names have the smallest hashes, so the choice does not depend
    on the order of files on disk, and adding people moves few to the other split.

    Raises:
      DataError: the folder is missing, or no people are left for the split.
    """
    check_split(split)
    root = expanded(root)
    if not root.is_dir():
        raise DataError(f"data.dir {str(root)!r}: found no such folder; wanted DIR/<person>/<photo> of aligned faces")
    folders = [person for person in sorted(root.iterdir()) if person.is_dir() and not person.name.startswith(".")]
    listed = [photos_in(folder) for folder in folders]
    photos = {folder.name: found.photos for folder, found in zip(folders, listed, strict=True) if found.photos}
    # Once for a data set, of which both splits are usually read.
    if split == "train" and (words := passed_over([path for found in listed for path in found.others], root)):
        log.warning("%s: %s", root, words)
    by_hash = sorted(photos, key=lambda person: hashlib.sha256(person.encode()).digest())
    chosen = set(by_hash[:held_out_people] if split == "test" else by_hash[held_out_people:])
    if not chosen:
        rule = f"from 2 to {len(photos) - 1}" if len(photos) > 2 else "2, and more people"
        raise DataError(
            f"config.data.held_out_people is {held_out_people}, and {root} has {len(photos)} people with photos "
            f"(<person>/<photo>), so nobody is left for the split {split!r}; wanted {rule}"
        )
    paths = [path for person, paths in photos.items() if person in chosen for path in paths]
    people = [person for person in photos if person in chosen]
    starts = np.cumsum([0, *(len(photos[person]) for person in people)])
    files = [f"{path.parent.name}/{path.name}" for path in paths]
    try:
        decode(paths[0].read_bytes(), size, files[0])
    except SizeError:
        raise
    except (DataError, OSError):
        pass  # a photo that cannot be read is replaced by another
    return Faces(size, starts, people, files, read=lambda rows: [paths[row].read_bytes() for row in rows])
