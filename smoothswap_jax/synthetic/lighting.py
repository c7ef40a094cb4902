"""Light on skin, eyes, hair and cloth: soft surroundings, one lamp, its shadows and highlights.

Surroundings are spherical harmonics (Ramamoorthi and Hanrahan 2001); of a soft lamp they take a share. What the head
hides of them is precomputed (`sky.py`). The rest of the lamp is a direction, with shadows by a depth map.
"""

from functools import cache
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from smoothswap_jax.synthetic.sky import fibonacci_sphere, harmonics
from smoothswap_jax.synthetic.surface import Surface

FIELDS = {
    "azimuth": (-1.5, 1.5),  # of the lamp, radians; positive: from the right of the image
    "elevation": (-0.3, 1.1),  # radians; positive: from above
    "lamp": (0.3, 2.3),  # its strength
    "softness": (0.1, 0.8),  # share of the lamp that is a large soft light without sharp shadows
    "warmth": (-1.0, 1.0),  # of the lamp: -1 bluish, 1 orange
    "ambient": (0.15, 0.7),  # strength of the surroundings
    "tint": (-1.0, 1.0),  # of the surroundings, like warmth
    "above": (-0.2, 0.6),  # how much brighter they are above than below
    "side": (-0.5, 0.5),  # and on the right than on the left of the image
    "front": (-0.1, 0.5),  # and in front than behind
    "exposure": (0.7, 1.1),
}
# Cosine-lobe factors of orders 0, 1, 2, over pi (Ramamoorthi and Hanrahan 2001, eq. 8).
LOBE = (1.0, *(2.0 / 3.0,) * 3, *(0.25,) * 5)
PROBES = fibonacci_sphere(32)
BLEED = (0.32, 0.16, 0.10)  # how far light wraps around skin, by channel: red scatters farthest


class Light(NamedTuple):
    """In the frame of the image: x right, y up, z towards the camera."""

    towards: Float[Array, "3"]  # unit vector to the lamp
    lamp: Float[Array, "3"]  # linear RGB of its hard part
    surroundings: Float[Array, "9 3"]  # harmonics of the radiance of everything else
    exposure: Float[Array, ""]


def sample_light(key: PRNGKeyArray, n: int) -> Float[Array, "n l"]:
    """Portrait light: mostly from above and the front, of all strengths; by FIELDS."""
    low, high = (jnp.array([bounds[i] for bounds in FIELDS.values()]) for i in range(2))
    value = jax.random.truncated_normal(key, -2.0, 2.0, (n, len(FIELDS)))
    return low + (high - low) * (0.5 + value / 4)


def light_of(values: dict[str, Array], bounce: Float[Array, "3"]) -> Light:
    """The light that `values` (FIELDS) describe. bounce: mean linear colour of the background, which tints the rest."""
    level = jnp.cos(values["elevation"])
    towards = jnp.stack(
        [jnp.sin(values["azimuth"]) * level, jnp.sin(values["elevation"]), jnp.cos(values["azimuth"]) * level]
    )
    lamp = values["lamp"] * _tinted(values["warmth"])
    sky = _tinted(values["tint"]) * (0.7 + 0.3 * bounce / jnp.maximum(bounce.mean(), 0.05))
    directions = jnp.stack([values["above"], values["front"], values["side"]])
    # A uniform radiance of 1 has the harmonic 2 sqrt(pi) of order 0; a linear one 2 sqrt(pi / 3) of order 1.
    shape = jnp.concatenate([jnp.array([3.5449]), 2.0467 * directions, jnp.zeros(5)])
    soft = jnp.pi * harmonics(towards) * values["softness"]
    surroundings = values["ambient"] * shape[:, None] * sky + soft[:, None] * lamp
    return Light(towards, (1 - values["softness"]) * lamp, surroundings, values["exposure"])


@cache
def _projection() -> Float[np.ndarray, "9 n"]:
    """From values at PROBES to harmonics. Not at import, where nothing may start JAX's backend: processes that join
    each other have to come first."""
    with jax.ensure_compile_time_eval():
        return np.linalg.pinv(np.asarray(harmonics(jnp.asarray(PROBES))))


def open_share(
    sky: Float[Array, "v 9"], normals: Float[Array, "v 3"], light: Light, turn: Float[Array, "3 3"]
) -> Float[Array, "v"]:
    """The share of `irradiance` that reaches vertices of the mean head, which hides the rest from itself."""
    grey = light.surroundings.mean(1)
    wanted = jnp.array(LOBE) * grey @ harmonics(normals @ turn.T).T
    reached = sky @ rotated(grey, turn)
    return jnp.clip(reached / jnp.maximum(wanted, 0.1 * grey[0] * 0.2821), 0.0, 1.1)


def rotated(coefficients: Float[Array, "9"], turn: Float[Array, "3 3"]) -> Float[Array, "9"]:
    """Harmonics of a function f of directions w -> those of f(turn @ w)."""
    return jnp.asarray(_projection()) @ (harmonics(jnp.asarray(PROBES) @ turn.T) @ coefficients)


def shade(
    surface: Surface,
    light: Light,
    normals: Float[Array, "n 3"],
    tangents: Float[Array, "n 3"],
    share: Float[Array, "n"],
    lit: Float[Array, "n"],
) -> Float[Array, "n 3"]:
    """Linear RGB sent to a camera on the z axis.

    normals: unit vectors in the frame of the image. tangents: along hairs, which reflect as cylinders do (Kajiya and
    Kay 1989); 0 on other surfaces. share: of the surroundings that reach the surface, 0 to 1. lit: of the hard light.
    """
    around = harmonics(normals) @ (jnp.array(LOBE)[:, None] * light.surroundings) * share[:, None]
    hair = jnp.sum(jnp.square(tangents), axis=1) > 0.25
    across = lambda direction: jnp.sqrt(jnp.maximum(1.0 - jnp.square(tangents @ direction), 0.0))
    facing = normals @ light.towards
    facing = jnp.where(hair, (0.4 + 0.6 * facing) * across(light.towards), facing)
    wrap = surface.soft[:, None] * jnp.array(BLEED)
    shadow = lit[:, None] + (1 - lit[:, None]) * 0.4 * wrap
    direct = jnp.clip((facing[:, None] + wrap) / (1 + wrap), 0.0, 1.0) * shadow
    half = light.towards + jnp.array([0.0, 0.0, 1.0])
    half = half / jnp.linalg.norm(half)
    mirror = jnp.where(hair, across(half) * (normals @ half > 0), jnp.clip(normals @ half, 0.0, 1.0))
    gloss = surface.specular * mirror**surface.sharpness * lit * (facing > 0)
    rim = surface.specular * (1 - jnp.clip(normals[:, 2], 0.0, 1.0)) ** 4 * share
    white = gloss[:, None] * (light.lamp + 0.5 * light.surroundings[0] * 0.2821) + rim[:, None] * around
    return light.exposure * (surface.albedo * (around + direct * light.lamp) + white)


def _tinted(warmth: Float[Array, ""]) -> Float[Array, "3"]:
    return 1.0 + warmth * jnp.array([0.16, 0.0, -0.2])
