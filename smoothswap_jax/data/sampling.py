"""Which examples make up batch `step`: pure functions of (seed, step), the same for every feed and host count.

They take `xp`, numpy or jax.numpy, and use only what the two share: tf.data calls them with numpy on the host, the
in-memory feed with jax.numpy on the device, and both get the same batches. Nothing is stored, and the cost is O(batch).
"""

from dataclasses import dataclass
from typing import Any

import jax
import numpy as np

Array = Any
"""Of numpy or JAX."""
ROUNDS = 32
"""Of the shuffle."""
SOURCE, TARGET, PEOPLE, PHOTOS, AUGMENT, MIX, OWN = range(7)
"""Names of independent random streams."""
CYCLE = 1000
"""Draws in which every data set of a mixture gets exactly its share, so weights are kept to a tenth of a percent."""
EVAL_SEED = 2**31 - 1
"""Seed of evaluation pairs: the same for every run on the same data."""


def mix(x: Array) -> Array:
    """A bijective hash of uint32 (MurmurHash3's finaliser, fmix32)."""
    x = (x ^ (x >> 16)) * np.uint32(0x85EBCA6B)
    x = (x ^ (x >> 13)) * np.uint32(0xC2B2AE35)
    return x ^ (x >> 16)


# Integer hashes wrap around on purpose; numpy warns about it for scalars.
_wrapping = np.errstate(over="ignore")


@_wrapping
def stream(xp: Any, *words: Array) -> Array:
    """A uint32 key that depends on all words (integers or integer arrays) and their order."""
    key = xp.asarray(np.uint32(0x9E3779B9))
    for word in words:
        key = mix(key ^ mix(xp.asarray(word).astype(np.uint32) + np.uint32(0x9E3779B9)))
    return key


@_wrapping
def shuffled(index: Array, n: Array, key: Array, xp: Any = np) -> Array:
    """The image of `index` under a pseudo-random permutation of range(n) chosen by `key`, without building it.

    Swap-or-not shuffle (Hoang, Morris, Rogaway 2012): each round pairs i with (pivot - i) mod n and swaps the two if a
    hashed bit is set, which is a permutation for any n < 2^31. All arguments broadcast.
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
    """Element `position` of an endless stream that passes through range(n) in a new order each epoch."""
    position = xp.asarray(position)
    return shuffled(position % n, n, stream(xp, seed, name, position // n), xp)


@_wrapping
def uniforms(seed: int, step: Array, rows: Array, count: int, xp: Any = np) -> Array:
    """Random numbers in [0, 1), [len(rows), count], for the augmentation of these rows of batch `step`."""
    bits = stream(xp, seed, AUGMENT, step, rows[:, None], xp.arange(count)[None, :])
    return (bits >> 8).astype(np.float32) * np.float32(2.0**-24)


@dataclass(frozen=True)
class Index:
    """What sampling needs to know about the examples: O(identities), however many images there are.

    starts: [identities + 1]; identity i owns the examples starts[i] ... starts[i + 1] - 1.
    sets: the number of identities in each data set of a mixture, in order; one number if nothing is mixed.
    weights: the share of draws that each data set gets, in any unit.
    together: so many identities in a row are drawn together where identities are drawn.
    """

    starts: Array
    sets: tuple[int, ...]
    weights: tuple[float, ...]
    together: int = 1

    def first_rows(self) -> list[int]:
        """The first example of each data set, then the number of examples in all."""
        return [int(self.starts[i]) for i in np.cumsum([0, *self.sets])]

    def shares(self, total: int) -> list[int]:
        """`total` divided into whole numbers in proportion to the weights, by the largest-remainder method.

        Raises ValueError if a data set would get none.
        """
        exact = np.asarray(self.weights, np.float64) * total / sum(self.weights)
        shares = np.floor(exact).astype(int)
        shares[np.argsort(shares - exact, kind="stable")[: total - shares.sum()]] += 1
        if shares.min() < 1:
            raise ValueError(f"weights {self.weights}: data set {int(shares.argmin())} gets none of {total} draws")
        return shares.tolist()


def pair_indices(
    seed: int, step: Array, batch: int, self_pairs: int, index: Index, xp: Any = np
) -> tuple[Array, Array]:
    """Source and target indices of swapper batch `step`: two independent streams over all examples.

    In the first `self_pairs` pairs x_src is x_tgt.
    """
    rows = xp.arange(batch)
    position = step * batch + rows
    target = _mixed_order(seed, TARGET, position, index, xp)
    source = _mixed_order(seed, SOURCE, position, index, xp)
    return xp.where(rows < self_pairs, target, source), target


def _mixed_order(seed: int, name: int, position: Array, index: Index, xp: Any) -> Array:
    """Element `position` of an endless stream in which each data set has its share and its own epochs."""
    first = index.first_rows()
    if len(index.sets) == 1:
        return epoch_order(seed, name, position, first[-1], xp)
    shares = index.shares(CYCLE)
    ends = np.cumsum(shares)
    cycle = position // CYCLE
    slot = shuffled(position % CYCLE, CYCLE, stream(xp, seed, MIX, name, cycle), xp)
    chosen = xp.searchsorted(xp.asarray(ends), slot, side="right")
    share, begin = xp.asarray(shares)[chosen], xp.asarray(ends - shares)[chosen]
    count, offset = xp.asarray(np.diff(first))[chosen], xp.asarray(first[:-1])[chosen]
    place = cycle * share + slot - begin
    order = shuffled(place % count, count, stream(xp, seed, name, chosen, place // count), xp)
    return (offset + order).astype(np.int32)


def identity_indices(seed: int, step: Array, people: int, photos: int, index: Index, xp: Any = np) -> Array:
    """Example indices of embedder batch `step`: `people` identities x `photos` images, grouped by identity.

    Identities within a batch are distinct, and so are the images of an identity that has enough of them. In a mixture,
    each batch has every data set's share of identities. With `index.together`, whole groups are drawn, the last of
    which may be cut.

    Raises ValueError if a data set has fewer identities than its share of a batch.
    """
    starts, together = xp.asarray(index.starts), index.together
    parts = []
    first = 0
    for number, (identities, share) in enumerate(zip(index.sets, index.shares(people), strict=True)):
        groups, drawn = identities // together, -(-share // together)
        batches = groups // drawn
        if not batches:
            raise ValueError(f"the data has {identities} identities, wanted at least the {share} of a batch")
        rows = xp.arange(share * photos)
        epoch, place = step // batches, step % batches
        key = stream(xp, seed, PEOPLE, epoch) if len(index.sets) == 1 else stream(xp, seed, PEOPLE, epoch, number)
        person = rows // photos
        group = shuffled(place * drawn + person // together, groups, key, xp)
        who = first + group * together + person % together
        count = starts[who + 1] - starts[who]
        photo = shuffled(rows % photos, count, stream(xp, seed, PHOTOS, step, who), xp)
        parts.append((starts[who] + photo).astype(np.int32))
        first += identities
    return parts[0] if len(parts) == 1 else xp.concatenate(parts)


@_wrapping
def other_photos(seed: int, step: Array, rows: Array, index: Index, xp: Any = np) -> Array:
    """For each example of batch `step` a random other one of its identity, or itself where there is none."""
    starts = xp.asarray(index.starts)
    who = labels_of(rows, starts, xp)
    first, count = starts[who], starts[who + 1] - starts[who]
    others = xp.maximum(count - 1, 1).astype(np.uint32)
    ahead = 1 + (stream(xp, seed, OWN, step, xp.arange(len(rows))) % others).astype(np.int32)
    return (first + (rows - first + ahead) % count).astype(np.int32)


def labels_of(rows: Array, starts: Array, xp: Any = np) -> Array:
    """The identity of each example."""
    return (xp.searchsorted(xp.asarray(starts), rows, side="right") - 1).astype(np.int32)


def different_people(labels: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Source and target rows of `count` pairs of different identities, the same for every run on the same data.

    labels: the identity of each row. Fewer pairs are returned if 4 * count draws do not contain as many.
    """
    n = len(labels)
    position = np.arange(4 * count)
    source = epoch_order(EVAL_SEED, SOURCE, position, n)
    target = epoch_order(EVAL_SEED, TARGET, position, n)
    keep = np.flatnonzero(labels[source] != labels[target])[:count]
    return source[keep], target[keep]
