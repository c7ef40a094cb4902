"""Batches for both stages. A batch is a pure function of (seed, step) and does not depend on the number of hosts.

Two feeds with the same contract and the same examples:

- `tf.data` reads and decodes files on the host, for data of any size;
- `memory` keeps all images on the device and gathers and augments them there: no TensorFlow, no host work.

Either yields global device arrays: {"image", "label"} for the embedder, {"source", "target", "real"} for the swapper.
The reals of the discriminator are the targets: training faces, each beside its own swap.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np

from smoothswap_jax import sharding
from smoothswap_jax.data import sampling
from smoothswap_jax.data.augment import UNIFORMS, Augmentation, augment
from smoothswap_jax.data.faces import DataError, Faces, decode, in_memory, to_float

Batch = dict[str, jax.Array]


@dataclass(frozen=True)
class Sampler:
    """Which rows a batch has. `photos` = 0: `batch` source-target pairs; else batch // photos people x `photos`."""

    seed: int
    batch: int
    photos: int = 0

    def rows(self, step, faces_count: int, starts, xp=np) -> tuple:
        """(indices of the images to read, labels or None). For pairs the sources come first, then the targets."""
        if self.photos:
            return sampling.identity_indices(self.seed, step, self.batch // self.photos, self.photos, starts, xp)
        return xp.concatenate(sampling.pair_indices(self.seed, step, self.batch, faces_count, xp)), None

    def uniforms(self, step, xp=np):
        """Augmentation numbers of each row; a self pair gets the same for both sides."""
        n = self.batch
        if self.photos:
            return sampling.uniforms(self.seed, step, xp.arange(n), UNIFORMS, xp)
        self_pair = xp.arange(n) < max(1, n // 8)
        source = xp.where(self_pair, n + xp.arange(n), xp.arange(n))
        return sampling.uniforms(self.seed, step, xp.concatenate([source, n + xp.arange(n)]), UNIFORMS, xp)

    def as_batch(self, images, labels) -> dict:
        if self.photos:
            return {"image": images, "label": labels}
        source, target = images[: len(images) // 2], images[len(images) // 2 :]
        return {"source": source, "target": target, "real": target}


def memory_batches(
    faces: Faces, sampler: Sampler, how: Augmentation, mesh: jax.sharding.Mesh, first_step: int
) -> Iterator[Batch]:
    """Endless batches from `first_step` on, gathered and augmented on the device."""
    sharding.check_batch(mesh, sampler.batch)
    images, starts = sharding.put_replicated((in_memory(faces).images, np.asarray(faces.starts, np.int32)), mesh)

    def make(images, starts, step):
        rows, labels = sampler.rows(step, len(faces), starts, jnp)
        chosen = augment(to_float(images[rows]), sampler.uniforms(step, jnp), how)
        return sampler.as_batch(chosen, labels)

    make = jax.jit(make, out_shardings=sharding.batched(mesh))
    step = first_step
    while True:
        yield make(images, starts, sharding.put_replicated(np.int32(step), mesh))
        step += 1


def tf_batches(
    faces: Faces, sampler: Sampler, how: Augmentation, mesh: jax.sharding.Mesh, first_step: int
) -> Iterator[Batch]:
    """Endless batches from `first_step` on, read, decoded and augmented by tf.data; each host reads its share."""
    sharding.check_batch(mesh, sampler.batch)
    host, hosts = jax.process_index(), jax.process_count()
    for batch in host_batches(faces, sampler, how, first_step, host, hosts):
        yield sharding.put_batch(batch, mesh)


def host_batches(
    faces: Faces, sampler: Sampler, how: Augmentation, first_step: int, host: int, hosts: int
) -> Iterator[dict]:
    """The numpy batches that host `host` of `hosts` would read: row-wise shares of the global batch."""
    import tensorflow as tf

    step = first_step
    try:
        for batch in _tf_dataset(faces, sampler, how, first_step, host, hosts).as_numpy_iterator():
            yield sampler.as_batch(batch["images"], batch["labels"])
            step += 1
    except tf.errors.InvalidArgumentError as error:
        rows, _ = sampler.rows(step, len(faces), np.asarray(faces.starts))
        for row in rows:  # names the file, which TensorFlow does not
            decode(faces.read([row])[0], faces.size, faces.files[row])
        raise DataError(f"batch {step}: {error}") from error


def _tf_dataset(faces: Faces, sampler: Sampler, how: Augmentation, first_step: int, host: int, hosts: int):
    import tensorflow as tf

    tf.config.set_visible_devices([], "GPU")
    if sampler.batch % hosts:
        raise ValueError(f"batch size {sampler.batch} is not a multiple of {hosts} hosts")
    share = sampler.batch // hosts
    mine = np.arange(host * share, (host + 1) * share)
    if not sampler.photos:
        mine = np.concatenate([mine, sampler.batch + mine])

    def plan(step):
        rows, labels = sampler.rows(int(step), len(faces), np.asarray(faces.starts))
        labels = np.zeros(len(rows), np.int32) if labels is None else labels
        return rows[mine], labels[mine], sampler.uniforms(int(step))[mine]

    def read(rows):
        if faces.images is not None:
            return faces.images[rows]
        return np.array(faces.read(list(rows)), dtype=object)

    def tf_decode(data):
        image = tf.io.decode_image(data, channels=3, expand_animations=False)
        if tf.reduce_any(tf.shape(image)[:2] != faces.size):
            image = tf.image.resize(tf.cast(image, tf.float32), [faces.size] * 2, "lanczos3", antialias=True)
            image = tf.cast(tf.clip_by_value(tf.round(image), 0, 255), tf.uint8)
        return image

    def make(step):
        rows, labels, u = tf.numpy_function(plan, [step], [tf.int32, tf.int32, tf.float32])
        if faces.images is not None:
            images = tf.numpy_function(read, [rows], tf.uint8)
        else:
            images = tf.map_fn(
                tf_decode,
                tf.numpy_function(read, [rows], tf.string),
                fn_output_signature=tf.uint8,
                parallel_iterations=8,
            )
        images = tf.ensure_shape(images, [len(mine), faces.size, faces.size, 3])
        u = tf.ensure_shape(u, [len(mine), UNIFORMS])
        images = tf.cast(images, tf.float32) / 127.5 - 1.0
        return {"images": tf_augment(images, u, how), "labels": tf.ensure_shape(labels, [len(mine)])}

    steps = tf.data.Dataset.range(first_step, np.iinfo(np.int32).max)
    return steps.map(make, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True).prefetch(2)


def tf_augment(images, u, how: Augmentation):
    """`augment.augment` in TensorFlow, for images and uniforms as there."""
    import tensorflow as tf

    if how.flip:
        images = tf.where(u[:, 0, None, None, None] < 0.5, images[:, :, ::-1], images)
    if how.crop < 1:
        images = tf.map_fn(
            lambda pair: _tf_crop(pair[0], pair[1], how.crop), (images, u), fn_output_signature=tf.float32
        )
    if how.colour:
        images = _tf_jitter(images, 1 + how.colour * (2 * u[:, 4:7] - 1))
    return images


def _tf_crop(image, u, smallest: float):
    import tensorflow as tf

    h, w, _ = image.shape
    side = smallest + (1 - smallest) * u[1]
    corner = tf.stack([u[3] * (1 - side) * h, u[2] * (1 - side) * w])
    return tf.raw_ops.ScaleAndTranslate(
        images=image[None],
        size=[h, w],
        scale=tf.stack([1 / side] * 2),
        translation=-corner / side,
        kernel_type="triangle",
        antialias=False,
    )[0]


def _tf_jitter(images, factors):
    import tensorflow as tf

    brightness, contrast, saturation = (factors[:, i, None, None, None] for i in range(3))
    images = (images + 1) * brightness - 1
    mean = tf.reduce_mean(images, (1, 2, 3), keepdims=True)
    images = mean + (images - mean) * contrast
    grey = tf.reduce_mean(images, 3, keepdims=True)
    return tf.clip_by_value(grey + (images - grey) * saturation, -1, 1)
