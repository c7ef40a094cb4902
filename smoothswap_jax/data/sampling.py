"""Which examples make up batch `step`: pure functions of (seed, step), the same for every feed and host count.

Written against the array API that numpy and jax.numpy share: tf.data calls them with numpy on the host, the in-memory
feed with jax.numpy on the device, and both see the same batches. Nothing is stored, and the cost is O(batch).
"""

from typing import Any

import jax
import numpy as np

Array = Any
ROUNDS = 32


def mix(x: Array) -> Array:
    """A bijective integer hash of uint32 (murmur3's finaliser)."""
    x = (x ^ (x >> 16)) * np.uint32(0x85EBCA6B)
    x = (x ^ (x >> 13)) * np.uint32(0xC2B2AE35)
    return x ^ (x >> 16)


# Integer hashes wrap around on purpose; numpy warns about it for scalars.
_wrapping = np.errstate(over="ignore")


@_wrapping
def stream(xp: Any, *words: Array) -> Array:
    """A uint32 key that depends on every word (integers or integer arrays), in order."""
    key = xp.asarray(np.uint32(0x9E3779B9))
    for word in words:
        key = mix(key ^ mix(xp.asarray(word).astype(np.uint32) + np.uint32(0x9E3779B9)))
    return key


@_wrapping
def shuffled(index: Array, n: Array, key: Array, xp: Any = np) -> Array:
    """The image of `index` under a pseudo-random permutation of range(n) chosen by `key`, without building it.

    Swap-or-not shuffle (Hoang, Morris, Rogaway 2012): each round pairs i with (pivot - i) mod n and swaps the pair or
    not by one hashed bit, which is a permutation for any n < 2^31. All arguments broadcast.
    """
    n = xp.asarray(n).astype(np.uint32)
    i = xp.asarray(index).astype(np.uint32) % n

    def swap_or_not(r, i):
        round_key = stream(xp, key, r)
        partner = (round_key % n + (n - i)) % n
        bit = mix(round_key ^ mix(xp.maximum(i, partner))) & np.uint32(1)
        return xp.where(bit == 1, partner, i)

    if xp is np:
        for r in range(ROUNDS):
            i = swap_or_not(r, i)
    else:
        i = jax.lax.fori_loop(0, ROUNDS, swap_or_not, i + xp.zeros_like(key))
    return i.astype(np.int32)


def epoch_order(seed: int, name: int, position: Array, n: int, xp: Any = np) -> Array:
    """Element `position` of an endless stream that runs through range(n) in a new order each epoch."""
    position = xp.asarray(position)
    return shuffled(position % n, n, stream(xp, seed, name, position // n), xp)


@_wrapping
def uniforms(seed: int, step: Array, rows: Array, count: int, xp: Any = np) -> Array:
    """[len(rows), count] numbers in [0, 1) for the augmentation of the given rows of batch `step`."""
    bits = stream(xp, seed, AUGMENT, step, rows[:, None], xp.arange(count)[None, :])
    return (bits >> 8).astype(np.float32) * np.float32(2.0**-24)


SOURCE, TARGET, PEOPLE, PHOTOS, AUGMENT = range(5)


def pair_indices(seed: int, step: Array, batch: int, n: int, xp: Any = np) -> tuple[Array, Array]:
    """Source and target indices of swapper batch `step`: two independent streams over range(n).

    The first max(1, batch // 8) pairs are self pairs, x_src == x_tgt.
    """
    rows = xp.arange(batch)
    position = step * batch + rows
    target = epoch_order(seed, TARGET, position, n, xp)
    source = epoch_order(seed, SOURCE, position, n, xp)
    return xp.where(rows < max(1, batch // 8), target, source), target


def identity_indices(
    seed: int, step: Array, people: int, photos: int, starts: Array, xp: Any = np
) -> tuple[Array, Array]:
    """Example indices and identity labels of embedder batch `step`: `people` identities x `photos` images.

    Args:
      starts: [identities + 1]; identity i owns the examples starts[i] ... starts[i + 1] - 1.

    Identities within a batch are distinct, and so are the images of one identity as far as it has enough.

    Raises:
      ValueError: if there are fewer identities than `people`.
    """
    identities = len(starts) - 1
    batches = identities // people
    if not batches:
        raise ValueError(f"a batch wants {people} identities; the data has {identities}")
    rows = xp.arange(people * photos)
    epoch, place = step // batches, step % batches
    who = shuffled(place * people + rows // photos, identities, stream(xp, seed, PEOPLE, epoch), xp)
    count = starts[who + 1] - starts[who]
    photo = shuffled(rows % photos, count, stream(xp, seed, PHOTOS, step, who), xp)
    return (starts[who] + photo).astype(np.int32), who
