"""A world of computer-made people with exact ground truth for every factor.

An image is render(identity, expression, pose, camera, light, style, background). Shape, skin, irises, brows and hair
colour belong to the identity; expression, pose, camera, light, style (of hair, beard, glasses, make-up, clothes) and
background are attributes, which a swap takes from the target. So the true swap of a pair is known:
`render(*swap_truth(source, target), size=size)`.

Everything is a batched pure function of arrays, and runs under jit on any device.
"""

import functools
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PRNGKeyArray

from smoothswap_jax.synthetic import attributes as drawn
from smoothswap_jax.synthetic import heads, lighting, population, rendering, scenery
from smoothswap_jax.synthetic.camera import to_image
from smoothswap_jax.synthetic.rendering import Assets, load_assets

FIELDS = {
    "identity": tuple(population.IDENTITY_FIELDS),
    "expression": tuple(drawn.EXPRESSION_FIELDS),
    "pose": tuple(drawn.POSE_FIELDS),
    "camera": tuple(drawn.CAMERA_FIELDS),
    "light": tuple(lighting.FIELDS),
    "style": tuple(drawn.STYLE_FIELDS),
    "background": tuple(scenery.FIELDS),
}
"""The names of the entries of each vector of `Factors`; values are physical, as their own files say."""
CHUNK = 16
"""Images that are rendered at once where devices have memory for them."""


class Factors(NamedTuple):
    """All factors of a batch of images; `FIELDS` names their entries."""

    identity: Float[Array, "b identity"]
    expression: Float[Array, "b expression"]
    pose: Float[Array, "b 3"]
    camera: Float[Array, "b 1"]
    light: Float[Array, "b light"]
    style: Float[Array, "b style"]
    background: Float[Array, "b background"]


# Drawing people takes a moment to run and half a minute to compile; the renderer, without LLVM's expensive passes,
# compiles a little sooner and runs no slower.
DRAWN = {"xla_backend_optimization_level": 0}
RENDERED = {"xla_llvm_disable_expensive_passes": True}


def compiled(cpu: dict[str, Any], **static: Any) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """jax.jit, with the compiler options `cpu` on that backend where the function is not part of a larger program,
    which alone has options. static: as of jax.jit."""

    def of(function: Callable[..., Any]) -> Callable[..., Any]:
        plain = jax.jit(function, **static)

        @functools.cache
        def program() -> Callable[..., Any]:  # asking for the backend starts it, so not at import
            return jax.jit(function, **static, compiler_options=cpu) if jax.default_backend() == "cpu" else plain

        @functools.wraps(function)
        def call(*values: Any, **named: Any) -> Any:
            traced = any(isinstance(leaf, jax.core.Tracer) for leaf in jax.tree.leaves((values, named)))
            return (plain if traced else program())(*values, **named)

        return call

    return of


@compiled(DRAWN, static_argnames="n")
def sample_identity(key: PRNGKeyArray, n: int) -> Float[Array, "n identity"]:
    """n independent people."""
    return population.sample_identity(key, n)


@compiled(DRAWN)
def sample_photos(key: PRNGKeyArray, identity: Float[Array, "n identity"], spread: float = 1.0) -> Factors:
    """Factors of one photo of each person.

    spread: of expression, pose and light around their means; 1 is all that portraits have.
    """
    keys = jax.random.split(key, 3)
    n = len(identity)
    attributes = drawn.sample_attributes(keys[0], n, identity)
    low, high = (jnp.array([ends[i] for ends in lighting.FIELDS.values()]) for i in range(2))
    middle = (low + high) / 2
    light = middle + spread * (lighting.sample_light(keys[1], n) - middle)
    return Factors(
        identity,
        spread * attributes.expression,
        spread * attributes.pose,
        attributes.camera,
        light,
        attributes.style,
        scenery.sample_background(keys[2], n),
    )


def look_alikes(identity: Float[Array, "n identity"], together: int) -> Float[Array, "n identity"]:
    """The people, `together` of whom in a row keep their own shapes and get all else of the first of them: skin,
    hair, irises, brows and marks. n is a multiple of `together`."""
    first = jnp.repeat(identity[::together], together, axis=0)
    return first.at[:, : len(heads.SHAPE_NAMES)].set(identity[:, : len(heads.SHAPE_NAMES)])


def sample_factors(key: PRNGKeyArray, n: int) -> Factors:
    """Factors of n images of n people."""
    identity_key, photo_key = jax.random.split(key)
    return sample_photos(photo_key, sample_identity(identity_key, n))


def swap_truth(source: Factors, target: Factors) -> Factors:
    """The exact face swap: the identity of the source, everything else of the target."""
    return target._replace(identity=source.identity)


def render(
    identity: Float[Array, "b identity"],
    expression: Float[Array, "b expression"],
    pose: Float[Array, "b 3"],
    camera: Float[Array, "b 1"],
    light: Float[Array, "b light"],
    style: Float[Array, "b style"],
    background: Float[Array, "b background"],
    size: int,
) -> Float[Array, "b size size 3"]:
    """Pictures in [-1, 1], framed like FFHQ crops. Raises ValueError for a size beyond 8 ... 512."""
    if not 8 <= size <= rendering.MOST_PIXELS:
        raise ValueError(f"render: size must be 8 ... {rendering.MOST_PIXELS}, found {size}")
    return _render(load_assets(), Factors(identity, expression, pose, camera, light, style, background), size)


@partial(jax.jit, static_argnames="size")
def _render(assets: Assets, factors: Factors, size: int) -> Float[Array, "b size size 3"]:
    vertices = _vertices(assets, factors)

    def one(row: tuple[Factors, Array]) -> Float[Array, "size size 3"]:
        return rendering.render_one(assets, row[0], row[1], size)

    # A CPU has nothing to gain from more than one image at a time, and its caches to lose.
    batch = None if jax.default_backend() == "cpu" else CHUNK
    return jax.lax.map(one, (factors, vertices), batch_size=batch)


def _vertices(assets: Assets, factors: Factors) -> Float[Array, "b v 3"]:
    shape = factors.identity[:, : len(heads.SHAPE_NAMES)]
    units, gaze = jnp.split(factors.expression, [len(heads.EXPRESSION_UNITS)], axis=1)
    return heads.deform(assets.heads, shape, units, gaze)


@partial(jax.jit, static_argnames="size")
def _landmarks(assets: Assets, factors: Factors, size: int) -> Float[Array, "b l 2"]:
    def one(row: tuple[Factors, Array]) -> Float[Array, "l 2"]:
        one, vertices = row
        camera = rendering.camera_of(assets.heads, rendering.named(one), vertices, one.pose)
        at = to_image(camera, vertices[assets.heads.landmarks])
        return jnp.stack([(1.0 + at[:, 0]) * size / 2, (1.0 - at[:, 1]) * size / 2], axis=-1)

    return jax.lax.map(one, (factors, _vertices(assets, factors)))


def all_landmarks(factors: Factors, size: int) -> Float[Array, "b l 2"]:
    """`heads.LANDMARK_NAMES` as (x, y) in pixels from the top left corner, whether something hides them or not.

    The centre of the first pixel is at (0.5, 0.5).
    """
    return _landmarks(load_assets(), factors, size)


def landmarks(factors: Factors, size: int) -> Float[Array, "b 5 2"]:
    """Left and right eye, nose tip, left and right mouth corner, left and right as seen; as of `all_landmarks`."""
    return heads.five_points(all_landmarks(factors, size))


def head_points(factors: Factors) -> Float[Array, "b l 3"]:
    """`heads.LANDMARK_NAMES` in the head frame, decimetres: shape and expression without pose and camera."""
    return _head_points(load_assets(), factors)


@jax.jit
def _head_points(assets: Assets, factors: Factors) -> Float[Array, "b l 3"]:
    return _vertices(assets, factors)[:, assets.heads.landmarks]


@partial(jax.jit, static_argnames="size")
def _parts(assets: Assets, factors: Factors, size: int) -> Int[Array, "b size size"]:
    one = lambda row: rendering.parts_one(assets, row[0], row[1], size)
    return jax.lax.map(one, (factors, _vertices(assets, factors)))


def parts(factors: Factors, size: int) -> Int[Array, "b size size"]:
    """What the centre of each pixel shows, by `rendering.PARTS`; -1 for the background."""
    return _parts(load_assets(), factors, size)
