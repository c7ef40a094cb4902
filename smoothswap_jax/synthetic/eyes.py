"""Eyeballs, the rims and make-up of the lids, and lashes, painted on the mean head (positions in decimetres)."""

import jax.numpy as jnp
from jax import Array
from jaxtyping import Bool, Float

from smoothswap_jax.synthetic.noise import detail, inside, mix, ramp, random_cell, smoothstep, value_noise
from smoothswap_jax.synthetic.surface import Surface

FIELDS = {
    "iris_size": (0.40, 0.48),  # its radius as a share of the eyeball's
    "limbal_ring": (0.0, 1.0),  # how dark its rim is
    "eyeshadow": (0.0, 1.0),  # strength
    "eyeshadow_hue": (0.0, 1.0),  # brown, rose, violet, blue
    "eyeliner": (0.0, 1.0),  # strength, of mascara too
}
EYE = (0.288, 0.0, 0.0)  # the centre of the left eyeball of the mean head
# The opening between the lids of the mean head: its middle and half width, and polynomials (highest power first) of its
# upper and lower edge in the offset from the middle in half widths; fitted to the edges of the mesh's lids.
MIDDLE, HALF_WIDTH = 0.283, 0.123
UPPER_EDGE = (-0.0433, -0.0026, 0.0580, -0.0445, -0.0031, 0.0195)
LOWER_EDGE = (0.0063, 0.0158, 0.0098, 0.0103, -0.0052, -0.0562)
SHADOWS = ((0.13, 0.065, 0.035), (0.36, 0.13, 0.12), (0.13, 0.05, 0.16), (0.05, 0.09, 0.20))
LINER = (0.012, 0.010, 0.010)
PUPIL = 0.35  # of the radius of the iris
SCLERA, CORNER, VEIN = (0.66, 0.64, 0.60), (0.56, 0.40, 0.34), (0.50, 0.16, 0.12)
# Lashes by their distance from the eye's centre: root, and tips of the upper and lower row.
LASH_ROOT, UPPER_TIP, LOWER_TIP = 0.157, 0.212, 0.184
LASH_SPACING = 0.035  # as an angle seen from the eye's centre; a clump of two or three lashes


def lid_edges(side: Float[Array, "n"]) -> tuple[Float[Array, "n"], Float[Array, "n"]]:
    """y of the upper and of the lower lid's edge, at the distance `side` from the middle of the face."""
    u = jnp.clip((side - MIDDLE) / HALF_WIDTH, -1.0, 1.0)
    return jnp.polyval(jnp.array(UPPER_EDGE), u), jnp.polyval(jnp.array(LOWER_EDGE), u)


def opening_distance(rest: Float[Array, "n 3"]) -> Float[Array, "n"]:
    """About how far a point lies outside of the opening between the lids, seen from the front; negative inside."""
    side, y = jnp.abs(rest[:, 0]), rest[:, 1]
    upper, lower = lid_edges(side)
    above = jnp.maximum(y - upper, lower - y)
    beside = jnp.maximum(jnp.abs(side - MIDDLE) - HALF_WIDTH, 0.0)
    return jnp.where(beside > 0.0, jnp.sqrt(beside**2 + jnp.maximum(above, 0.0) ** 2), above)


def lid_make_up(
    values: dict[str, Array], rest: Float[Array, "n 3"], px: Array | float
) -> tuple[Float[Array, "3"], Float[Array, "n"], Float[Array, "n"]]:
    """(colour of the eyeshadow, its share of each sample, the eyeliner's share)."""
    side, y = jnp.abs(rest[:, 0]), rest[:, 1]
    upper, lower = lid_edges(side)
    out = (side - MIDDLE) / HALF_WIDTH
    front = smoothstep(-0.02, 0.06, rest[:, 2])
    over = (y - upper) / (0.085 + 0.025 * jnp.clip(out, -1.0, 1.0))
    lid = smoothstep(1.15, 0.15, over) * smoothstep(-0.3, 0.0, over)
    shadow = values["eyeshadow"] * lid * smoothstep(-1.25, -0.7, out) * smoothstep(1.75, 0.9, out) * front
    width = 0.004 + 0.011 * jnp.clip(0.5 + 0.5 * out, 0.0, 1.15)
    above = inside(jnp.abs(y - upper - 0.5 * width) - 0.5 * width, jnp.maximum(px, 0.006))
    below = 0.55 * inside(jnp.abs(lower - y - 0.004) - 0.004, jnp.maximum(px, 0.008)) * (y < upper - 0.004)
    within = smoothstep(-1.0, -0.8, out) * smoothstep(1.22, 1.10, out)
    liner = values["eyeliner"] * jnp.maximum(above, below) * within * front
    return ramp(values["eyeshadow_hue"], SHADOWS), 0.85 * shadow, 0.9 * liner


def paint_eye(
    values: dict[str, Array], iris: Float[Array, "3"], local: Float[Array, "n 3"], px: Array | float
) -> Surface:
    """An eyeball.

    iris: its mean colour. local: unit vectors from the eyeball's centre in its own frame, z along the line of sight, y
    up. px: the width of a sample as a share of the eyeball's radius.
    """
    x, y, z = jnp.moveaxis(local, -1, 0)
    off_axis = jnp.where(z > 0.0, jnp.sqrt(x * x + y * y + 1e-9), 1.0)
    radius = off_axis / values["iris_size"]
    cos, sin = x / off_axis, y / off_axis
    fine = px / values["iris_size"]
    colour = mix(_sclera(local, px), _iris(iris, values, radius, cos, sin, fine), _edge(1.0 - radius, fine + 0.09))
    colour = mix(colour, jnp.array([0.003, 0.003, 0.003]), _edge(PUPIL - radius, fine + 0.03))
    shaded = 1.0 - 0.40 * smoothstep(-0.05, 0.40, y)  # by the upper lid and its lashes
    whole = jnp.ones_like(x)
    return Surface(colour * shaded[:, None], whole, 300.0 * whole, 0.5 * whole)


def _edge(depth: Float[Array, "n"], blur: Array | float) -> Float[Array, "n 1"]:
    """The share of a shape in each sample, as a column; `depth` is positive inside of it."""
    return inside(-depth, blur)[:, None]


def _sclera(local: Float[Array, "n 3"], px: Array | float) -> Float[Array, "n 3"]:
    """The white: yellowish grey rather than white, redder towards the corners, with fine veins."""
    x, y, z = jnp.moveaxis(local, -1, 0)
    corner = smoothstep(0.45, 0.95, jnp.abs(x))
    bend = 0.05 * value_noise(x / 0.12, y / 0.12, z / 0.12, seed=31)
    network = jnp.abs(value_noise((x + bend) / 0.22, (y + bend) / 0.09, seed=32))
    veins = smoothstep(0.14, 0.0, network) * detail(px / 0.06) * (0.10 + 0.35 * corner)
    base = mix(jnp.array(SCLERA), jnp.array(CORNER), (0.75 * corner)[:, None])
    return mix(base, jnp.array(VEIN), veins[:, None])


def _iris(
    colour: Float[Array, "3"],
    values: dict[str, Array],
    radius: Float[Array, "n"],
    cos: Float[Array, "n"],
    sin: Float[Array, "n"],
    fine: Array | float,
) -> Float[Array, "n 3"]:
    """Radial fibres, a lighter zone around the pupil that ends in the collarette, and a dark rim.

    radius: 1 at the rim of the iris. cos, sin: direction from its centre.
    """
    threads = value_noise(13.0 * cos, 13.0 * sin, 1.6 * radius, seed=33) * detail(fine / 0.07)
    bands = value_noise(4.5 * cos, 4.5 * sin, 1.5 * radius, seed=34) * detail(fine / 0.2)
    collarette = 0.56 + 0.06 * bands
    zone = smoothstep(collarette + 0.06, collarette - 0.05, radius)
    ridge = jnp.square(smoothstep(0.12, 0.0, jnp.abs(radius - collarette)))
    light = 1.0 + 0.42 * threads + 0.28 * bands + 0.22 * ridge - 0.10 * zone
    rim = smoothstep(0.70, 0.98, radius) * (0.35 + 0.50 * values["limbal_ring"])
    pupil_ruff = 0.4 * smoothstep(PUPIL + 0.10, PUPIL, radius)
    warm = mix(colour, colour * jnp.array([1.15, 0.95, 0.72]), (0.6 * zone)[:, None])
    return warm * (jnp.maximum(light, 0.25) * (1.0 - rim) * (1.0 - pupil_ruff))[:, None]


def lash_cover(values: dict[str, Array], rest: Float[Array, "n 3"]) -> Bool[Array, "n"]:
    """Where the strips of the lashes are opaque: hairs that get finer towards their tips, more of them with mascara."""
    side = jnp.abs(rest[:, 0])
    x, y, z = side - EYE[0], rest[:, 1] - EYE[1], rest[:, 2] - EYE[2]
    upper = y > -0.04
    distance = jnp.sqrt(x * x + y * y + z * z)
    t = (distance - LASH_ROOT) / (jnp.where(upper, UPPER_TIP, LOWER_TIP) - LASH_ROOT)
    angle = x / distance / LASH_SPACING + 0.35 * jnp.where(upper, 1.0, -1.0) * t * jnp.sign(x)
    number = jnp.floor(angle).astype(jnp.int32)
    row = upper.astype(jnp.int32) + 2 * (rest[:, 0] < 0.0).astype(jnp.int32)
    length = 0.70 + 0.45 * random_cell(number, row, seed=35)
    bent = angle - jnp.floor(angle) - 0.5 + 0.3 * (random_cell(number, row, seed=36) - 0.5) * t
    thick = jnp.where(upper, 0.40, 0.13) + 0.28 * values["eyeliner"]
    return jnp.abs(bent) < thick * jnp.clip(1.0 - t / length, 0.0, 1.0) ** 0.8


def paint_lashes(values: dict[str, Array], brows: Float[Array, "3"], rest: Float[Array, "n 3"]) -> Surface:
    """Lashes are darker than brows, and black with mascara."""
    whole = jnp.ones_like(rest[:, 0])
    colour = mix(0.4 * brows, jnp.array(LINER), values["eyeliner"])
    return Surface(whole[:, None] * colour, 0.03 * whole, 30.0 * whole, 0.0 * whole)
