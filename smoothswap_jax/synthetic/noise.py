"""Procedural noise, and the edges and fades that keep it free of aliasing.

Coordinates are in cells of the noise: divide a position by the size wanted. All functions are pure, work elementwise on
arrays of any one shape, and keep no tables: pseudo-random numbers are hashes of the cells' integer coordinates.
"""

import itertools

import jax.numpy as jnp
from jax import Array
from jaxtyping import Float, Int, UInt

# Odd constants of xxHash32 and of murmur3's finaliser, whose bits are well spread.
AXIS_PRIMES = (0x9E3779B1, 0x85EBCA77, 0xC2B2AE3D)
SEED_PRIME = 0x27D4EB2F
MIX_FIRST, MIX_SECOND = 0x85EBCA6B, 0xC2B2AE35


def smoothstep(low: Array | float, high: Array | float, x: Float[Array, "*n"]) -> Float[Array, "*n"]:
    """0 up to `low`, 1 from `high` on, a cubic with level ends in between. If low > high it falls from 1 to 0."""
    t = jnp.clip((x - low) / (high - low), 0.0, 1.0)
    return t * t * (3.0 - 2.0 * t)


def inside(distance: Float[Array, "*n"], px: Array | float) -> Float[Array, "*n"]:
    """The share of a sample of width `px` that lies inside a shape; `distance` to its edge is negative inside."""
    return jnp.clip(0.5 - distance / px, 0.0, 1.0)


def bump(distance: Float[Array, "*n"], width: Array | float) -> Float[Array, "*n"]:
    """A bell, 1 at 0 and 0 beyond `width` on both sides: (1 - (distance / width)^2)^2."""
    t = jnp.maximum(1.0 - jnp.square(distance / width), 0.0)
    return t * t


def line(distance: Float[Array, "*n"], width: Array | float, px: Array | float) -> Float[Array, "*n"]:
    """A `bump` for a line finer than samples: it never gets narrower than they can show, but fainter, of equal area."""
    seen = jnp.sqrt(width * width + px * px)
    return bump(distance, seen) * (width / seen)


def detail(px: Array | float) -> Array:
    """What share of a noise's amplitude may be shown: 1 where a sample is a quarter cell wide, 0 from one cell on.

    `px` is the width of a sample in cells. Noise finer than samples would not vanish but flicker.
    """
    return jnp.clip((1.0 - jnp.asarray(px)) / 0.75, 0.0, 1.0)


def blob(
    x: Float[Array, "*n"], y: Float[Array, "*n"], centre: tuple[float, float], radii: tuple[float, float]
) -> Float[Array, "*n"]:
    """A `bump` over an ellipse: 1 at its centre, 0 outside of it."""
    t = jnp.square((x - centre[0]) / radii[0]) + jnp.square((y - centre[1]) / radii[1])
    return jnp.square(jnp.maximum(1.0 - t, 0.0))


def mix(a: Array | float, b: Array | float, share: Array) -> Array:
    """a where `share` is 0, b where it is 1."""
    return a * (1.0 - share) + b * share


def ramp(t: Float[Array, ""], colours: tuple[tuple[float, float, float], ...]) -> Float[Array, "3"]:
    """The colour at t of colours at equal distances from 0 to 1."""
    at = jnp.linspace(0.0, 1.0, len(colours))
    return jnp.stack([jnp.interp(t, at, jnp.array(channel)) for channel in zip(*colours, strict=True)])


def written_out(*fields: Float[Array, "n"]) -> list[Float[Array, "n"]]:
    """The fields, each computed once. XLA:CPU would compute them anew for each channel of each colour they go into.

    `jnp.stack` does not help: XLA computes all fields for each row of the stack.
    """
    rows = jnp.zeros((len(fields), *fields[0].shape))
    for i, field in enumerate(fields):
        rows = rows.at[i].set(field)
    return list(rows)


def wave(t: Float[Array, "*n"]) -> Float[Array, "*n"]:
    """A sine of period 1 made of parabolas, -1 to 1; off by at most .056, at a third of the cost."""
    f = t - jnp.round(t)
    return 8.0 * f * (1.0 - 2.0 * jnp.abs(f))


def random_cell(*cell: Int[Array, "*n"], seed: int = 0) -> Float[Array, "*n"]:
    """A number in [0, 1) for each cell, of one to three integer coordinates."""
    return _uniform(_start(seed) + sum(_axis(c, axis) for axis, c in enumerate(cell)))


def value_noise(*coordinates: Float[Array, "*n"], seed: int = 0) -> Float[Array, "*n"]:
    """Smooth noise in one to three coordinates, -1 to 1 with mean 0: random numbers at whole coordinates, blended.

    Its standard deviation is .50 in one dimension, .43 in two and .37 in three.
    """
    floors = [jnp.floor(c) for c in coordinates]
    weights, hashes = [], []
    for axis, (c, low) in enumerate(zip(coordinates, floors, strict=True)):
        f = c - low
        weights.append(f * f * (3.0 - 2.0 * f))
        first = _axis(low.astype(jnp.int32), axis)
        hashes.append((first, first + jnp.uint32(AXIS_PRIMES[axis])))
    start = _start(seed)
    corners = [_uniform(start + sum(corner)) for corner in itertools.product(*hashes)]
    for weight in reversed(weights):
        corners = [a + weight * (b - a) for a, b in zip(corners[::2], corners[1::2], strict=True)]
    return 2.0 * corners[0] - 1.0


def spots(*coordinates: Float[Array, "*n"], seed: int = 0) -> tuple[Float[Array, "*n"], Float[Array, "*n"]]:
    """Spots, one in each cell: (distance from the middle of this cell's, a random number of the spot).

    Distances are in cells. A middle is within .2 of its cell's, so spots of radius up to .3 are not cut by the cell.
    """
    floors = [jnp.floor(c) for c in coordinates]
    cell = [low.astype(jnp.int32) for low in floors]
    square = jnp.full_like(coordinates[0], 1e-12)
    for axis, (c, low) in enumerate(zip(coordinates, floors, strict=True)):
        square += jnp.square(c - low - 0.3 - 0.4 * random_cell(*cell, seed=seed + 1 + axis))
    return jnp.sqrt(square), random_cell(*cell, seed=seed)


def _start(seed: int) -> UInt[Array, ""]:
    return jnp.uint32(seed * SEED_PRIME % 2**32)


def _axis(cell: Int[Array, "*n"], axis: int) -> UInt[Array, "*n"]:
    return cell.astype(jnp.uint32) * jnp.uint32(AXIS_PRIMES[axis])


def _uniform(h: UInt[Array, "*n"]) -> Float[Array, "*n"]:
    """Murmur3's finaliser, then the upper 24 bits as a fraction."""
    h = (h ^ (h >> 16)) * jnp.uint32(MIX_FIRST)
    h = (h ^ (h >> 13)) * jnp.uint32(MIX_SECOND)
    return ((h ^ (h >> 16)) >> 8).astype(jnp.int32).astype(jnp.float32) * 2.0**-24
