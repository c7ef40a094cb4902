"""What strands of hair look like: gaps between them, their colours and their shine, and hair that is shorn."""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from smoothswap_jax.synthetic.hair import RADIUS, Values, around, bare
from smoothswap_jax.synthetic.make_scalp import CENTRE, hairline_angles, polar_frame
from smoothswap_jax.synthetic.noise import detail, smoothstep, value_noise, wave
from smoothswap_jax.synthetic.surface import Surface

LOCK, TUFT, STRAND = 0.16, 0.05, 0.018  # widths of what moves and is coloured together, dm


def _bent(values: Values, strand, along):
    """The strand coordinate on which a wavy strand stays the same."""
    phase = value_noise(strand / LOCK, along / 0.9)
    length = 0.5 - 0.38 * values["curl"]
    return strand + 0.12 * values["curl"] * length * wave(along / length + phase) + 0.05 * phase


def _streak(values: Values) -> Array:
    """How far a strand can be followed before it gives way to another, dm."""
    longest = 0.2 + 1.0 * smoothstep(0.3, 1.4, values["hair_length"])
    return longest * (1.0 - 0.75 * values["curl"]) ** 2 + 0.02


def keep_hair(values: Values, coordinates: Float[Array, "n 4"]) -> Bool[Array, "n"]:
    """Where a shell of hair is opaque."""
    strand, along, cover, _ = jnp.moveaxis(coordinates, -1, 0)
    strand = _bent(values, strand, along) + 13.0 * values["strands"]
    length = _streak(values)
    tuft = value_noise(strand / TUFT, along / length)
    single = value_noise(strand / STRAND, 1.5 * along / length, seed=1)
    return jnp.clip(0.5 + 0.55 * (0.7 * tuft + single), 0.01, 0.99) < cover


def paint_hair(
    values: Values, colour: Float[Array, "3"], coordinates: Float[Array, "n 4"], px: Array | float
) -> Surface:
    """Colour and gloss of hair whose mean colour, linear RGB, is `colour`."""
    strand, along, _, light = jnp.moveaxis(coordinates, -1, 0)
    strand = _bent(values, strand, along) + 13.0 * values["strands"]
    length = _streak(values)
    lock = value_noise(strand / LOCK, 0.6 * along / length, seed=2)
    tuft = value_noise(strand / TUFT, along / length, seed=3) * detail(px / TUFT)
    single = value_noise(strand / STRAND, 1.5 * along / length, seed=4) * detail(px / STRAND)
    shade = 1.0 + 0.22 * lock + 0.35 * tuft + 0.4 * single
    tips = 1.0 + 0.25 * smoothstep(0.3, 1.6, along)
    grey = values["hair_grey"]
    silver = 4.0 * grey * (1.0 - grey) * (tuft + single)
    albedo = colour * (jnp.maximum(shade, 0.15) * tips * light)[:, None]
    albedo = albedo + (0.25 * silver * light)[:, None] * (0.1 + colour)
    gloss = (0.12 - 0.09 * values["curl"]) * light * jnp.clip(1.0 + 0.6 * tuft + 0.8 * single, 0.0, 2.0)
    sharpness = jnp.full_like(strand, 25.0)
    return Surface(jnp.clip(albedo, 0.0, 1.0), gloss, sharpness, jnp.full_like(strand, 0.3))


def scalp_stubble(values: Values, rest: Float[Array, "n 3"], px: Array | float) -> Float[Array, "n"]:
    """How much of the skin's colour gives way to that of hair, 0 to 1: roots under hair, or a shorn head."""
    right, crown, front = jnp.moveaxis((rest - CENTRE.astype(np.float32)) @ polar_frame().T.astype(np.float32), -1, 0)
    azimuth = jnp.arctan2(right, front)
    limit = around(jnp.asarray(hairline_angles()), azimuth)
    inside = RADIUS * (limit - jnp.arctan2(jnp.hypot(right, front), crown))
    inside = jnp.minimum(inside, -0.8 * bare(values, rest))
    ragged = 0.03 * value_noise(rest[..., 0] / 0.05, rest[..., 1] / 0.05, rest[..., 2] / 0.05)
    edge = smoothstep(-0.03, 0.09, inside + ragged)
    return edge * (0.45 + 0.4 * smoothstep(0.05, 0.5, values["hair_length"]))
