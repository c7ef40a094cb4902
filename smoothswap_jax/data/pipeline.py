"""Batches for both stages. A batch is a pure function of (seed, step) and does not depend on the number of hosts.

Two feeds yield the same batches:

- `tf_batches` reads and decodes files on the host with tf.data, for data of any size;
- `memory_batches` keeps all images on the device and gathers them there: no TensorFlow, no work on the host.

Both augment on the device, and yield global device arrays, images as float32 in [-1, 1]: {"image", "label"} for the
embedder, {"source", "target", "real"} for the swapper, and {"own"} where it is asked for: another photo of each
target's person. The discriminator's reals are the targets.
"""

import contextlib
import io
import logging
import os
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Int
from PIL import Image

from smoothswap_jax.data import sampling
from smoothswap_jax.data.augment import UNIFORMS, Augmentation, augment
from smoothswap_jax.data.dataset import DataError, Faces, SizeError, decode, pixels_of_file
from smoothswap_jax.data.reader import Reader, in_memory
from smoothswap_jax.data.sampling import Index
from smoothswap_jax.faces.photos import to_float
from smoothswap_jax.runtime import sharding

log = logging.getLogger(__name__)
Batch = dict[str, jax.Array]
MAX_PART = 64
"""The most images that one call decodes."""


# --- samplers ------------------------------------------------------------------------------------------------
# A sampler decides what a batch of `batch` rows contains, as a function of the step alone. By part of the batch, `rows`
# gives the indices of the examples to read, and `uniforms` the random numbers of their augmentation;
# `with_companions` adds what the training step takes besides. `xp` is numpy or jax.numpy.


@dataclass(frozen=True)
class IdentitySampler:
    """Batches of the embedder: `images_per_identity` images of each of batch // images_per_identity identities."""

    seed: int
    batch: int
    images_per_identity: int
    labelled: ClassVar = True

    def rows(self, step, index: Index, xp=np) -> dict:
        people = self.batch // self.images_per_identity
        return {"image": sampling.identity_indices(self.seed, step, people, self.images_per_identity, index, xp)}

    def uniforms(self, step, xp=np) -> dict:
        return {"image": sampling.uniforms(self.seed, step, xp.arange(self.batch), UNIFORMS, xp)}

    def with_companions(self, parts: dict, labels) -> dict:
        return parts | {"label": labels}


@dataclass(frozen=True)
class PairSampler:
    """Batches of the swapper: independent sources and targets, except for the first `self_pairs` pairs of one image.
    own: whether they also have another photo of each target's person, or the target where there is none."""

    seed: int
    batch: int
    self_pairs: int
    own: bool = False
    labelled: ClassVar = False

    def rows(self, step, index: Index, xp=np) -> dict:
        source, target = sampling.pair_indices(self.seed, step, self.batch, self.self_pairs, index, xp)
        own = {"own": sampling.other_photos(self.seed, step, target, index, xp)} if self.own else {}
        return {"source": source, "target": target} | own

    def uniforms(self, step, xp=np) -> dict:
        """Both images of a self pair get the same numbers."""
        n = xp.arange(self.batch)
        draw = lambda rows: sampling.uniforms(self.seed, step, rows, UNIFORMS, xp)
        drawn = {"source": draw(xp.where(n < self.self_pairs, self.batch + n, n)), "target": draw(self.batch + n)}
        return drawn | ({"own": draw(2 * self.batch + n)} if self.own else {})

    def with_companions(self, parts: dict, labels) -> dict:
        del labels
        return parts | {"real": parts["target"]}


Sampler = IdentitySampler | PairSampler


def _augmented(images: dict, labels, step, sampler: Sampler, how: Augmentation) -> dict:
    """uint8 images and labels of a batch -> the batch that the training step takes."""
    u = sampler.uniforms(step, jnp)
    return sampler.with_companions({part: augment(to_float(images[part]), u[part], how) for part in images}, labels)


def memory_batches(
    faces: Faces, sampler: Sampler, how: Augmentation, mesh: jax.sharding.Mesh, first_step: int
) -> Generator[Batch, None, None]:
    """Endless batches from step `first_step` on, gathered and augmented on the device."""
    sharding.check_batch(mesh, sampler.batch)
    loaded, shown = in_memory(faces)
    images, shown, starts = sharding.replicate((loaded.images, shown, np.asarray(faces.starts, np.int32)), mesh)

    def make(images, shown, starts, step):
        rows = {part: shown[rows] for part, rows in sampler.rows(step, faces.index, jnp).items()}
        labels = sampling.labels_of(rows["image"], starts, jnp) if sampler.labelled else None
        return _augmented({part: images[chosen] for part, chosen in rows.items()}, labels, step, sampler, how)

    make = jax.jit(make, out_shardings=sharding.batched(mesh))
    step = first_step
    while True:
        yield make(images, shown, starts, sharding.replicate(np.int32(step), mesh))
        step += 1


def tf_batches(
    faces: Faces, sampler: Sampler, how: Augmentation, mesh: jax.sharding.Mesh, first_step: int
) -> Generator[Batch, None, None]:
    """Endless batches from step `first_step` on, read and decoded by tf.data; each host reads the rows of
    its devices."""
    sharding.check_batch(mesh, sampler.batch)

    def make(images, labels, step):
        return _augmented(images, labels, step, sampler, how)

    make = jax.jit(make, out_shardings=sharding.batched(mesh))
    mine = sharding.own_rows(mesh, sampler.batch)
    for step, batch in enumerate(host_batches(faces, sampler, first_step, mine), first_step):
        labels = sharding.shard_batch(batch.pop("label", None), mesh)
        yield make(sharding.shard_batch(batch, mesh), labels, sharding.replicate(np.int32(step), mesh))


FEEDS = {"memory": memory_batches, "tf": tf_batches}
"""By name: `config.data.feed`."""


def host_batches(
    faces: Faces, sampler: Sampler, first_step: int, mine: Int[np.ndarray, "rows"]
) -> Generator[dict, None, None]:
    """Endless numpy batches that a host reads, from step `first_step` on.

    They hold the rows `mine` of each part of the global batch, in that order, uint8, and for a labelled sampler
    identities as `label`. Examples that cannot be read are replaced as `Reader` describes, and their number is logged.

    Raises DataError for a batch that cannot be read.
    """
    reader = Reader(faces)

    def plan(step: int) -> np.ndarray:
        return np.concatenate([rows[mine] for rows in sampler.rows(step, faces.index).values()])

    parts = list(sampler.rows(first_step, faces.index))
    step = first_step
    try:
        while True:
            try:
                for images, rows in _tf_dataset(reader, plan, step):
                    batch = dict(zip(parts, np.split(images, len(parts)), strict=True))
                    yield batch | ({"label": sampling.labels_of(rows, faces.starts)} if sampler.labelled else {})
                    step += 1
            except _undecodable() as error:
                # TensorFlow does not name the file. What turns out to be broken is skipped from the next start on.
                if not _find_broken(reader, plan(step)):
                    raise DataError(f"batch {step}: {error}") from error
    finally:
        if reader.unreadable:
            log.warning("%d examples were unreadable and were replaced by others", len(reader.unreadable))


def _undecodable() -> type[Exception]:
    import tensorflow as tf

    return tf.errors.InvalidArgumentError


def _find_broken(reader: Reader, rows: np.ndarray) -> int:
    """Notes which of the rows, or of their replacements, cannot be decoded; returns how many."""
    import tensorflow as tf

    before = len(reader.unreadable)
    for data, row in zip(*reader.read(rows), strict=True):
        try:
            _tf_decode(tf.constant(_for_tf(data)), reader.faces.size)
        except tf.errors.InvalidArgumentError as error:
            reason = f"{reader.name(row)}: {error.message}"
            try:
                decode(data, reader.faces.size, reader.name(row))
            except SizeError:
                raise
            except DataError as better:
                reason = str(better)
            reader.skip(int(row), reason)
    return len(reader.unreadable) - before


def _tf_dataset(reader: Reader, plan: Callable[[int], np.ndarray], first_step: int) -> Iterator[tuple]:
    """(uint8 images, the rows they are really from) of each step from `first_step` on."""
    import tensorflow as tf

    tf.config.set_visible_devices([], "GPU")
    faces, cores = reader.faces, os.cpu_count() or 1
    count = len(plan(first_step))

    def fetch(step):
        rows = plan(int(step))
        if faces.images is not None:
            return faces.images[rows], rows
        data, shown = reader.read(rows)
        return np.array([_for_tf(one) for one in data], dtype=object), shown

    kind = tf.string if faces.images is None else tf.uint8
    data = tf.data.Dataset.range(first_step, np.iinfo(np.int32).max)
    # Reading waits for the disk or the network and decoding uses the cores, so each has its own parallelism.
    data = data.map(
        lambda step: tf.numpy_function(fetch, [step], [kind, tf.int32]), num_parallel_calls=4, deterministic=True
    )
    if faces.images is None:
        # One call decodes a part of a batch: a call for each image takes a fifth of the time, whole batches take much
        # memory. No part spans two batches, so an image that cannot be decoded fails its own batch only.
        part = max(divisor for divisor in range(1, MAX_PART + 1) if count % divisor == 0)

        def decoded(images, rows):
            return tf.stack([_tf_decode(image, faces.size) for image in tf.unstack(images, part)]), rows

        data = data.rebatch(part).map(decoded, num_parallel_calls=cores, deterministic=True)
        if part < count:
            data = data.batch(count // part)
    for images, rows in data.prefetch(2).as_numpy_iterator():
        yield images.reshape(count, *images.shape[-3:]), rows.reshape(count)


_JPEG_OR_PNG = (b"\xff\xd8\xff", b"\x89PNG")


def _for_tf(data: bytes) -> bytes:
    """JPEG and PNG files as they are, others as PNG, which `_tf_decode` can read."""
    if not data.startswith(_JPEG_OR_PNG):
        with contextlib.suppress(DataError):  # a damaged file fails in `_tf_decode`
            file = io.BytesIO()
            Image.fromarray(pixels_of_file(data, "")).save(file, "PNG")
            return file.getvalue()
    return data


def _tf_decode(data, size: int):
    """Pixels of a JPEG or PNG file, the same as Pillow's in `dataset.decode`."""
    import tensorflow as tf

    # Both use libjpeg-turbo; this method is Pillow's default.
    image = tf.io.decode_jpeg(data, channels=3, dct_method="INTEGER_ACCURATE")
    return tf.ensure_shape(image, [size, size, 3])
