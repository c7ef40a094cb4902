"""A parametric 3-D face world with exact ground truth for every factor.

An image is render(identity, expression, pose, light, background). Head shape, skin and hair (colour and style) belong
to the identity; expression, pose, light, background and clothes are attributes, which a swap takes from the target. So
the true swap of a pair is known: `render(*swap_truth(source, target), size)`.

Everything is a batched pure function of arrays, and runs under jit on any device.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from smoothswap_jax.synthetic import geometry
from smoothswap_jax.synthetic.factors import (
    BACKGROUND_RANGES,
    EXPRESSION_RANGES,
    IDENTITY_RANGES,
    LIGHT_RANGES,
    POSE_FIELDS,
    decode,
)
from smoothswap_jax.synthetic.rendering import Scene, render_scene

IDENTITY_FIELDS = tuple(IDENTITY_RANGES)
EXPRESSION_FIELDS = tuple(EXPRESSION_RANGES)
LIGHT_FIELDS = tuple(LIGHT_RANGES)
BACKGROUND_FIELDS = tuple(BACKGROUND_RANGES)
IDENTITY_DIM = len(IDENTITY_FIELDS)
EXPRESSION_DIM = len(EXPRESSION_FIELDS)
POSE_DIM = len(POSE_FIELDS)
LIGHT_DIM = len(LIGHT_FIELDS)
BACKGROUND_DIM = len(BACKGROUND_FIELDS)

MAX_YAW, MAX_PITCH, MAX_ROLL = 0.61, 0.26, 0.05
PIXELS_PER_CHUNK = 2**16


class Factors(NamedTuple):
    """All factors of a batch of images; `factors.py` says what each entry means."""

    identity: Float[Array, "b identity"]
    expression: Float[Array, "b expression"]
    pose: Float[Array, "b 3"]
    light: Float[Array, "b light"]
    background: Float[Array, "b background"]


def sample_identity(key: PRNGKeyArray, n: int) -> Float[Array, "n identity"]:
    """n independent identities, standard normal."""
    return jax.random.normal(key, (n, IDENTITY_DIM))


def sample_attributes(
    key: PRNGKeyArray, n: int
) -> tuple[Float[Array, "n expression"], Float[Array, "n 3"], Float[Array, "n light"], Float[Array, "n background"]]:
    """(expression, pose, light, background) of n images, all independent.

    The pose is uniform, in radians: yaw within 0.61 (35 degrees), pitch within 0.26 (15), roll within 0.05 (3). The
    others are standard normal.
    """
    keys = jax.random.split(key, 4)
    limits = jnp.array([MAX_YAW, MAX_PITCH, MAX_ROLL])
    return (
        jax.random.normal(keys[0], (n, EXPRESSION_DIM)),
        jax.random.uniform(keys[1], (n, POSE_DIM), minval=-1.0, maxval=1.0) * limits,
        jax.random.normal(keys[2], (n, LIGHT_DIM)),
        jax.random.normal(keys[3], (n, BACKGROUND_DIM)),
    )


def sample_factors(key: PRNGKeyArray, n: int) -> Factors:
    """Factors of n images of n people."""
    identity_key, attribute_key = jax.random.split(key)
    return Factors(sample_identity(identity_key, n), *sample_attributes(attribute_key, n))


def swap_truth(source: Factors, target: Factors) -> Factors:
    """The exact face swap: the identity of the source, everything else of the target."""
    return target._replace(identity=source.identity)


@partial(jax.jit, static_argnames="size")
def render(
    identity: Float[Array, "b identity"],
    expression: Float[Array, "b expression"],
    pose: Float[Array, "b 3"],
    light: Float[Array, "b light"],
    background: Float[Array, "b background"],
    size: int,
) -> Float[Array, "b size size 3"]:
    """Pictures in [-1, 1], framed like FFHQ crops. `size` is a multiple of 8."""
    if size % 8:
        raise ValueError(f"render: size must be a multiple of 8, found {size}")
    factors = Factors(identity, expression, pose, light, background)
    chunk = max(1, PIXELS_PER_CHUNK // size**2)
    return jax.lax.map(lambda one: _render_one(one, size), factors, batch_size=min(chunk, identity.shape[0]))


@partial(jax.jit, static_argnames="size")
def landmarks(
    identity: Float[Array, "b identity"],
    expression: Float[Array, "b expression"],
    pose: Float[Array, "b 3"],
    size: int,
) -> Float[Array, "b 5 2"]:
    """Left and right eye, nose tip, left and right mouth corner as (x, y) in pixels from the top left corner.

    Left and right as seen in the image. The centre of the first pixel is at (0.5, 0.5).
    """

    def one(identity: Array, expression: Array, pose: Array) -> Array:
        values = decode(identity, IDENTITY_RANGES) | decode(expression, EXPRESSION_RANGES)
        points = geometry.head_landmarks(values)
        camera = geometry.ffhq_camera(values, pose, points)
        x, y, _ = geometry.to_image(camera, (points[0], points[1], points[2]))
        return jnp.stack([(1.0 + x) * size / 2, (1.0 - y) * size / 2], axis=-1)

    return jax.vmap(one)(identity, expression, pose)


def _render_one(factors: Factors, size: int) -> Float[Array, "size size 3"]:
    person = decode(factors.identity, IDENTITY_RANGES) | decode(factors.expression, EXPRESSION_RANGES)
    camera = geometry.ffhq_camera(person, factors.pose, geometry.head_landmarks(person))
    light, back = decode(factors.light, LIGHT_RANGES), decode(factors.background, BACKGROUND_RANGES)
    return render_scene(Scene(person, camera, light, back), size)


def render_many(factors, size: int, chunk: int = 64) -> Float[np.ndarray, "n size size 3"]:
    """Renders any number of faces in chunks of one compiled size."""
    n = len(factors.identity)
    draw = jax.jit(render, static_argnames="size")
    parts = []
    for start in range(0, n, chunk):
        rows = np.minimum(np.arange(start, start + chunk), n - 1)
        parts.append(np.asarray(draw(*(np.asarray(f)[rows] for f in factors), size=size)))
    return np.concatenate(parts)[:n]
