"""Lips, lipstick, the inside of the mouth, teeth and tongue, painted on the mean head (positions in decimetres)."""

from typing import NamedTuple

import jax.numpy as jnp
from jax import Array
from jaxtyping import Float

from smoothswap_jax.synthetic.noise import blob, detail, line, mix, ramp, smoothstep, value_noise, written_out
from smoothswap_jax.synthetic.surface import Surface

FIELDS = {
    "lipstick": (0.0, 1.0),  # how much of the lips' own colour it covers
    "lipstick_hue": (0.0, 1.0),  # from nude over rose and red to plum
}
LIPSTICKS = ((0.50, 0.22, 0.17), (0.52, 0.11, 0.14), (0.46, 0.025, 0.035), (0.16, 0.018, 0.05))
LINING = (0.26, 0.07, 0.06)  # skin inside of the mouth
IVORY, GUM, TONGUE = (0.74, 0.66, 0.52), (0.48, 0.17, 0.15), (0.44, 0.15, 0.13)
WORN = (0.95, 0.90, 0.80)  # by what teeth are multiplied near the gums, where dentine shines through
# Where teeth touch, as lengths along the arch from its middle, by widths of crowns (Nelson, Wheeler's Dental Anatomy).
UPPER_GAPS = (0.0, 0.085, 0.150, 0.225, 0.295, 0.365)
LOWER_GAPS = (0.0, 0.050, 0.105, 0.175, 0.245, 0.315)
ARCH_CENTRE, ARCH_RADIUS = -0.15, 0.325  # the arch of teeth in the mesh is nearly a circle around z = ARCH_CENTRE
UPPER_GUM, LOWER_GUM = -0.560, -0.755
OPENING_UNITS = (  # of expression, that part the lips
    "jawOpen",
    "mouthFunnel",
    "mouthUpperUpLeft",
    "mouthUpperUpRight",
    "mouthLowerDownLeft",
    "mouthLowerDownRight",
)
BETWEEN_TEETH = -0.666  # y where the rows meet


def lip_line(side: Float[Array, "n"]) -> Float[Array, "n"]:
    """y of the line where the closed lips meet, at the distance `side` from the middle."""
    return -0.692 + 0.010 * jnp.exp(-jnp.square((side - 0.10) / 0.06))


class Lips(NamedTuple):
    """What lips add to skin, for n samples."""

    colour: Float[Array, "3"]
    cover: Float[Array, "n"]  # share of a sample that they cover
    shade: Float[Array, "n"]  # by what their colour is multiplied
    specular: Float[Array, "n"]


def paint_lips(
    values: dict[str, Array],
    natural: Float[Array, "3"],
    rest: Float[Array, "n 3"],
    masks: dict[str, Float[Array, "n"]],
    px: Array | float,
) -> Lips:
    """Lips with lipstick; `natural` is their colour without."""
    side = jnp.abs(rest[:, 0])
    below = rest[:, 1] - lip_line(side)
    grooves = value_noise(rest[:, 0] / 0.011, rest[:, 1] / 0.04, seed=11) * detail(px / 0.011)
    blotches = value_noise(rest[:, 0] / 0.06, rest[:, 1] / 0.03, seed=12) * detail(px / 0.03)
    # Thin skin inside of the outline is darker; the lower lip is lighter in its middle.
    inner = smoothstep(0.05, 0.0, jnp.abs(below))
    light = 0.10 * blob(side, below, (0.0, -0.055), (0.16, 0.035)) - 0.22 * inner + 0.04 * grooves + 0.04 * blotches
    crease = 0.45 * line(below, 0.008, px) * smoothstep(0.26, 0.22, side)
    bare = 1.0 - values["lipstick"]
    pale_rim = 0.25 * bare * smoothstep(0.035, 0.075, jnp.abs(below))
    fields = (
        smoothstep(0.15, 0.80, masks["lips"] + 0.06 * blotches) * (1.0 - pale_rim),
        (1.0 + light) * (1.0 - crease),
        (0.135 - 0.06 * bare + 0.03 * inner) * (1.0 + 0.4 * grooves),
    )
    colour = mix(natural, ramp(values["lipstick_hue"], LIPSTICKS), 0.88 * values["lipstick"])
    return Lips(colour, *written_out(*fields))


def open_mouth_share(values: dict[str, Array], rest: Float[Array, "n 3"]) -> Float[Array, "n"]:
    """The share of the surroundings' light that reaches teeth, tongue and the inside of the mouth, 0 to 1.

    The transfer in `heads.npz` is that of a closed mouth, whose inside is dark; units that part the lips let light in.
    """
    parted = jnp.stack([values[name] for name in OPENING_UNITS]).sum()
    return (0.03 + 0.55 * smoothstep(0.0, 0.5, parted)) * smoothstep(-0.10, 0.19, rest[:, 2])


def paint_teeth(rest: Float[Array, "n 3"], px: Array | float) -> Surface:
    """Both rows of teeth with their gums."""
    x, y, z = jnp.moveaxis(rest, -1, 0)
    upper = y > BETWEEN_TEETH
    along = ARCH_RADIUS * jnp.arctan2(jnp.abs(x), z - ARCH_CENTRE)
    gap = jnp.where(upper, _nearest(along, UPPER_GAPS), _nearest(along, LOWER_GAPS))
    from_gum = jnp.where(upper, UPPER_GUM - y, y - LOWER_GUM)  # towards the biting edge
    crown = smoothstep(-0.5, 0.5, (from_gum + 0.35 * gap) / jnp.maximum(px, 0.006))
    # Crowns are narrower at their ends, so the dark triangles between them widen towards the edge.
    width = 0.004 + 0.010 * smoothstep(0.07, 0.115, from_gum)
    dark = 0.45 * line(gap, width, px) * crown + 0.12 * smoothstep(0.05, -0.01, from_gum) * crown
    warm = smoothstep(0.20, 0.0, from_gum + 0.6 * (0.30 - along))
    crown, dark, warm = written_out(crown, dark, warm)
    yellow = jnp.array(IVORY) * jnp.array(WORN)
    tooth = mix(jnp.array(IVORY), yellow, warm[:, None])
    colour = mix(jnp.array(GUM), tooth, crown[:, None]) * (1.0 - dark)[:, None]
    return Surface(colour, 0.25 + 0.25 * crown, jnp.full_like(x, 90.0), 0.8 - 0.3 * crown)


def paint_tongue(rest: Float[Array, "n 3"], px: Array | float) -> Surface:
    """The tongue: pink, rough and wet, with a groove along its middle."""
    x, y, z = jnp.moveaxis(rest, -1, 0)
    rough = value_noise(x / 0.02, y / 0.02, z / 0.02, seed=13) * detail(px / 0.02)
    light = 1.0 + 0.12 * rough - 0.25 * line(x, 0.015, px)
    colour = jnp.array(TONGUE) * light[:, None]
    return Surface(colour, 0.22 + 0.1 * rough, jnp.full_like(x, 50.0), jnp.ones_like(x))


def _nearest(along: Float[Array, "n"], gaps: tuple[float, ...]) -> Float[Array, "n"]:
    """Distance to the nearest gap."""
    distance = jnp.abs(along - gaps[0])
    for gap in gaps[1:]:
        distance = jnp.minimum(distance, jnp.abs(along - gap))
    return distance
