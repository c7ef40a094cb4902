"""What people wear: the bust below a neckline is cloth, of a colour and a pattern.

Clothes are painted on the head's own mesh, so they fit every head and cost no triangles. Places are those of the mean
head (`heads.py`), in decimetres: the neck is about .6 to each side of the axis x = 0, z = -.85 where it meets the
shoulders, at y = -1.35. An FFHQ crop ends at about y = -1.4, so it shows little more than the neckline.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from smoothswap_jax.synthetic.noise import bump, detail, inside, line, smoothstep, value_noise, wave
from smoothswap_jax.synthetic.surface import LUMINANCE, Surface

Values = dict[str, Array]

FIELDS = {
    "collar": (-0.18, 0.3),  # height of the neckline above that of a crew neck, decimetres
    "neckline_v": (0.0, 1.0),  # 0 round, 1 a V as deep as on a blouse
    "shirt_collar": (0.0, 1.0),  # 0 a ribbed band, 1 a folded collar
    "cloth_red": (0.01, 0.8),  # linear light
    "cloth_green": (0.01, 0.8),
    "cloth_blue": (0.01, 0.8),
    "cloth_pattern": (0.0, 1.0),  # plain up to .4, then stripes (.55), checks (.75) and knitting (.95), blended
    "cloth_scale": (0.06, 0.3),  # length of the pattern, decimetres
}
AXIS_Z = -0.85  # of the neck
FRONT = -1.56  # y of a crew neck at the pit of the neck, z = PIT
PIT = -0.43
RISE = 0.30  # of the neckline towards the nape, per decimetre
V_DEPTH, V_WIDTH = 0.45, 0.5
SHIRT_RISE = 0.13  # a folded collar stands so much higher than a band
LEAF = 0.24  # width of a folded collar
BAND = 0.10  # width of a ribbed band
RIBS = 92  # around the neck, a multiple of 4 so that they meet behind
THICKNESS = 0.025  # of cloth over the skin; collars add as much again
SHADOW = 0.07  # how far above the neckline cloth darkens the skin


def _depth(values: Values, rest: Float[Array, "n 3"]) -> Float[Array, "n"]:
    """Distance below the neckline; negative above."""
    x, y, z = rest.T
    front = smoothstep(AXIS_Z - 0.2, PIT, z)
    shirt = values["shirt_collar"]
    height = FRONT + values["collar"] + RISE * (PIT - z) + SHIRT_RISE * shirt * (1 - 0.3 * front)
    opening = jnp.maximum(values["neckline_v"], 0.6 * shirt)
    # The square root rounds the tip of the V.
    tip = jnp.maximum(1 - jnp.sqrt(jnp.square(x / V_WIDTH) + 0.003), 0.0)
    return height - V_DEPTH * opening * front * tip - y


def cloth_cover(values: Values, rest: Float[Array, "n 3"], px: Array | float) -> Float[Array, "n"]:
    """How much of each sample is cloth, 0 to 1. rest: places on the mean head; px: width of a sample there."""
    return inside(-_depth(values, rest), px)


def cloth_shadow(values: Values, rest: Float[Array, "n 3"]) -> Float[Array, "n"]:
    """What share of light reaches the skin next to the neckline: 0.55 at it, 1 from SHADOW above it on."""
    return 1 - 0.45 * smoothstep(-SHADOW, 0.0, _depth(values, rest))


def dress(
    values: Values, vertices: Float[Array, "v 3"], normals: Float[Array, "v 3"], mean: Float[Array, "v 3"]
) -> Float[Array, "v 3"]:
    """The vertices with those of the clothes moved outwards. mean: where they are on the mean head."""
    depth = _depth(values, mean)
    collar = 1 - smoothstep(LEAF, 1.6 * LEAF, depth)
    out = THICKNESS * smoothstep(-0.04, 0.04, depth) * (1 + values["shirt_collar"] * collar)
    return vertices + out[:, None] * normals


def paint_cloth(values: Values, rest: Float[Array, "n 3"], px: Array | float) -> Surface:
    """The material of samples of cloth; meaningless where `cloth_cover` is 0."""
    depth = _depth(values, rest)
    plain = jnp.stack([values[f"cloth_{name}"] for name in ("red", "green", "blue")])
    luminance = plain @ jnp.array(LUMINANCE)
    # Patterns are lighter on dark cloth and darker on light cloth.
    other = jnp.clip(plain * jnp.where(luminance < 0.2, 3.0, 0.4) + 0.02, 0.0, 1.0)
    around = _around(rest)
    light = _folds(around, rest[:, 1]) * _collar_lines(values, rest, depth, around, px)
    second = light * _pattern(values, rest, px)
    # As a product, because elementwise XLA would work out all of the above once for each channel.
    colours, shares = jnp.stack([plain, other], axis=1), jnp.stack([light - second, second])
    albedo = jnp.matmul(colours, shares, precision=jax.lax.Precision.HIGHEST).T
    n = len(rest)
    return Surface(
        albedo=jnp.clip(albedo, 0.0, 1.0),
        specular=jnp.full(n, 0.015),
        sharpness=jnp.full(n, 8.0),
        soft=jnp.zeros(n),
    )


def _pattern(values: Values, rest: Float[Array, "n 3"], px: Array | float) -> Float[Array, "n"]:
    """The share of the second colour, 0 to 1: stripes along the shoulders, checks or stitches."""
    scale, kind = values["cloth_scale"], values["cloth_pattern"]
    x, y, z = rest.T
    down, across = (y + 0.35 * z) / scale, x / scale
    width = px / scale
    stripe, column = _stripes(down, width), _stripes(across, width)
    checks = (stripe + column) / 2
    stitch = wave(6 * across) * wave(6 * down + 0.25 * wave(6 * across)) * detail(12 * width)
    knit = 0.25 + 0.25 * stitch
    share = lambda centre: bump(kind - centre, 0.2)
    return share(0.55) * stripe + share(0.75) * checks + share(0.95) * knit


def _stripes(at: Float[Array, "n"], px: Array | float) -> Float[Array, "n"]:
    """0 and 1 by turns, each for half a period; at and px in periods. Grey where samples are half a period wide."""
    soft = 0.1 + 4 * px  # `wave` crosses 0 with a slope of 8
    return 0.5 + (smoothstep(-soft, soft, wave(at)) - 0.5) * detail(2 * px)


def _around(rest: Float[Array, "n 3"]) -> Float[Array, "n"]:
    """Where around the neck: 0 in front, 1 on the left of the person, 2 and -2 behind; cheaper than an angle."""
    x, z = rest[:, 0], rest[:, 2] - AXIS_Z
    side = x / (jnp.abs(x) + jnp.abs(z) + 1e-6)
    return jnp.where(z > 0, side, jnp.where(x > 0, 2.0, -2.0) - side)


def _folds(around: Float[Array, "n"], y: Float[Array, "n"]) -> Float[Array, "n"]:
    """Light and dark of soft creases, which run down from the neck; about 1."""
    return 1 + 0.16 * value_noise(4.5 * around, 2.0 * y, seed=11) + 0.08 * value_noise(14.0 * around, 3.0 * y, seed=12)


def _collar_lines(
    values: Values, rest: Float[Array, "n 3"], depth: Float[Array, "n"], around: Float[Array, "n"], px: Array | float
) -> Float[Array, "n"]:
    """Shading of the collar, 0 to 1: ribs and the seam of a band, or the shadow below a folded collar."""
    x, _, z = rest.T
    shirt = values["shirt_collar"]
    ribs = wave(around * RIBS / 4) * detail(px * RIBS / 3.8)  # the neck is 3.8 around
    band = inside(depth - BAND, px) * (0.12 * ribs - 0.04) - 0.35 * line(depth - BAND, 0.012, px)
    # The leaf of a folded collar is longest at its points, in front.
    points = 0.16 * bump(jnp.abs(x) - 0.3, 0.25) * smoothstep(AXIS_Z, PIT, z)
    below = depth - LEAF - points
    leaf = -0.4 * smoothstep(-px, px, below) * (1 - smoothstep(0.0, 0.12, below)) + 0.05 * inside(below, px)
    return jnp.clip(1 + (1 - shirt) * band + shirt * leaf, 0.0, 1.2)
