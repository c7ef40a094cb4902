"""Eyebrows: a band of fine hairs on the mean head (positions in decimetres)."""

import jax.numpy as jnp
from jax import Array
from jaxtyping import Float

from smoothswap_jax.synthetic.noise import detail, smoothstep, value_noise

FIELDS = {
    "brow_thickness": (0.03, 0.10),  # height of the band, dm
    "brow_arch": (0.0, 0.07),  # height of its top over its inner end, dm
    "brow_length": (0.36, 0.48),  # dm
    "brow_height": (-0.03, 0.05),  # by how much it lies above its usual place, dm
    "brow_density": (0.0, 1.0),  # from a few hairs to a closed band
}
START = (0.100, 0.145)  # the inner end, from which a band grows outwards
TOP_AT = 0.62  # share of the length at which it is highest
TAIL_DROP = 0.075  # dm, of the outer end under the top, of a band without arch
HAIR_WIDTH, HAIR_LENGTH = 0.0045, 0.04  # dm; of clumps of two or three hairs, as single ones are finer than samples


def brow_cover(values: dict[str, Array], rest: Float[Array, "n 3"], px: Array | float) -> Float[Array, "n"]:
    """What share of each sample hairs of the eyebrows cover.

    Hairs stand upright at the inner end and lean outwards from there on; along the upper edge they level out.
    """
    side, y = jnp.abs(rest[:, 0]), rest[:, 1]
    t = (side - START[0]) / values["brow_length"]
    along = jnp.clip(t, 0.0, 1.0)
    half = 0.5 * values["brow_thickness"] * _profile(along)
    v = (y - brow_middle(values, side)) / half
    lean = 0.25 + 1.5 * smoothstep(0.0, 0.6, along)
    over = jnp.maximum(v + 0.1, 0.0)
    origin = side - lean * half * (v - 0.75 * over * over * smoothstep(0.05, 0.4, along))
    # Not mirrored: the two brows of a person differ in their hairs.
    strand = origin + 7.0 * (rest[:, 0] < 0.0)
    hairs = value_noise(strand / HAIR_WIDTH, y / HAIR_LENGTH, seed=21) * detail(px / HAIR_WIDTH)
    tufts = value_noise(strand / 0.022, y / 0.05, seed=22) * detail(px / 0.022)
    edge = jnp.abs(v) + 0.18 * tufts + 0.22 * hairs
    soft = 0.35 + px / half
    band = smoothstep(1.0 + soft, 1.0 - soft, edge)
    ends = smoothstep(-0.06, 0.16, t + 0.04 * tufts) * smoothstep(1.05, 0.70, t + 0.05 * tufts)
    density = (0.30 + 0.65 * values["brow_density"]) * (1.0 - 0.25 * smoothstep(0.25, 0.0, along))
    grown = band * ends * density
    front = smoothstep(-0.1, 0.0, rest[:, 2])
    return jnp.clip(grown * (1.0 + (1.25 - grown) * (0.85 * hairs + 0.4 * tufts)), 0.0, 1.0) * front


def brow_middle(values: dict[str, Array], side: Float[Array, "n"]) -> Float[Array, "n"]:
    """y of the middle of the band, at the distance `side` from the middle of the face."""
    along = jnp.clip((side - START[0]) / values["brow_length"], 0.0, 1.0)
    rise, fall = jnp.minimum(along / TOP_AT, 1.0), jnp.maximum(along - TOP_AT, 0.0) / (1.0 - TOP_AT)
    arch = values["brow_arch"] * (rise * (2.0 - rise) - 0.5 * fall * fall)
    return START[1] + values["brow_height"] + 0.02 * rise + arch - TAIL_DROP * fall * fall


def _profile(along: Float[Array, "n"]) -> Float[Array, "n"]:
    """Thickness along the band, as a share of the greatest."""
    return (0.75 + 0.25 * smoothstep(0.0, 0.25, along)) * (1.0 - 0.72 * smoothstep(0.35, 1.0, along))
