"""Skin of the face: blood, melanin, marks and wrinkles, painted on the mean head (positions in decimetres).

Skin varies by what absorbs light in it. Three fields of absorption, of blood, melanin and carotene, are summed from all
that is known of the place; one exponential turns them into colour. Marks, brows, lips and make-up are laid over that.
"""

from typing import NamedTuple

import jax.numpy as jnp
from jax import Array
from jaxtyping import Float

from smoothswap_jax.synthetic import mouth
from smoothswap_jax.synthetic.brows import brow_cover
from smoothswap_jax.synthetic.eyes import LINER, lid_make_up, opening_distance
from smoothswap_jax.synthetic.noise import (
    blob,
    bump,
    detail,
    line,
    mix,
    smoothstep,
    spots,
    value_noise,
    written_out,
)
from smoothswap_jax.synthetic.surface import Surface

FIELDS = {
    "skin_seed": (0.0, 1.0),  # which blotches and freckles a person has
    "redness": (0.0, 1.0),  # of nose and cheeks
    "freckles": (0.0, 1.0),
    **{f"mole_{i}_x": (-0.5, 0.5) for i in (1, 2, 3)},  # dm, seen from the front
    **{f"mole_{i}_y": (-1.0, 0.6) for i in (1, 2, 3)},
    **{f"mole_{i}_size": (-0.02, 0.03) for i in (1, 2, 3)},  # its radius, dm; none up to 0
    "wrinkles": (0.0, 1.0),
    "blush": (0.0, 1.0),  # make-up on the cheeks
}
# What a unit of each field absorbs of red, green and blue light: exponents. Blood is transparent to red light.
BLOOD, MELANIN, CAROTENE = (0.06, 0.46, 0.40), (0.48, 0.88, 1.20), (0.0, 0.06, 0.35)
BLUSH = (0.52, 0.14, 0.15)
PORE = 0.012  # dm; the distance of pores
SHIFT = 11.0  # decimetres through the noise from one skin_seed to the farthest


class Colours(NamedTuple):
    """Linear RGB of a person's pigments."""

    skin: Float[Array, "3"]
    lips: Float[Array, "3"]
    brows: Float[Array, "3"]


class Layer(NamedTuple):
    """Paint over skin, for n samples."""

    colour: Float[Array, "3"]
    cover: Float[Array, "n"]  # share of a sample that it hides of what lies below
    shade: Float[Array, "n"]  # by what its colour is multiplied


Values = dict[str, Array]
Masks = dict[str, Float[Array, "n"]]


def paint_skin(values: Values, colours: Colours, rest: Float[Array, "n 3"], masks: Masks, px: Array | float) -> Surface:
    """The skin of head and neck, with lips, brows and make-up.

    values: by FIELDS of this file, `brows.py`, `eyes.py` and `mouth.py`, and units of expression. rest: where samples
    lie on the mean head. masks: of `heads.npz`, 0 to 1. px: the width of a sample.
    """
    pore = value_noise(*jnp.moveaxis(rest / PORE, -1, 0), seed=1) * detail(px / PORE)
    light = 1.0 + 0.05 * pore - wrinkle_lines(values, rest, px) - 0.9 * nostrils(rest)
    oil = blob(jnp.abs(rest[:, 0]), rest[:, 1], (0.0, 0.0), (0.35, 0.75))
    wet = smoothstep(0.0, -0.008, opening_distance(rest)) * masks["lids"]
    within = smoothstep(0.25, 0.85, masks["mouth"])
    pore, light, oil, wet, within = written_out(pore, light, oil, wet, within)
    lips = mouth.paint_lips(values, colours.lips, rest, masks, px)
    layers = [
        *surface_layers(values, colours, rest, px),
        Layer(lips.colour, lips.cover, lips.shade),
        Layer(jnp.array(mouth.LINING), within, smoothstep(-0.12, 0.20, rest[:, 2])),
    ]
    bare, painted = _laid_over(layers)
    tint = absorption(pigments(values, rest, masks, px))
    specular = (0.036 + 0.026 * oil) * (1.0 + 0.6 * pore) + 0.22 * wet
    return Surface(
        colours.skin * tint * (light * bare)[:, None] + painted,
        mix(mix(specular, lips.specular, lips.cover), 0.15, within),
        mix(16.0 + 6.0 * oil + 50.0 * wet, 38.0, lips.cover),
        jnp.ones_like(oil),
    )


def absorption(amounts: list[Float[Array, "n"]]) -> Float[Array, "n 3"]:
    """By what skin's colour is multiplied where it has so much more blood, melanin and carotene than on average."""
    layers = zip(written_out(*amounts), (BLOOD, MELANIN, CAROTENE), strict=True)
    return jnp.exp(-sum(amount[:, None] * jnp.array(colour) for amount, colour in layers))


def pigments(values: Values, rest: Float[Array, "n 3"], masks: Masks, px: Array | float) -> list[Float[Array, "n"]]:
    """How much more blood, melanin and carotene than on average there is at each place; about -.3 to 1."""
    x, y, z = jnp.moveaxis(rest, -1, 0)
    side, front = jnp.abs(x), smoothstep(-0.15, 0.15, z)
    shifted = [c + SHIFT * values["skin_seed"] for c in (x, y, z)]
    cloud = value_noise(*(c / 0.26 for c in shifted), seed=2)
    patch = value_noise(*(c / 0.085 for c in shifted), seed=3) * detail(px / 0.085)
    grain = value_noise(*(c / 0.028 for c in shifted), seed=4) * detail(px / 0.028)
    cheek = blob(side, y, (0.40, -0.36), (0.33, 0.34)) * front
    nose = blob(side, y, (0.0, -0.38), (0.21, 0.22)) * front
    under_eye = blob(side, y, (0.27, -0.11), (0.19, 0.10)) * front
    socket = blob(side, y, (0.27, 0.03), (0.24, 0.13)) * front
    inner = blob(side, y, (0.15, -0.03), (0.07, 0.10)) * front
    forehead = blob(side, y, (0.0, 0.50), (0.62, 0.42)) * front
    around_mouth = blob(side, y, (0.0, -0.68), (0.36, 0.26)) * front
    chin = blob(side, y, (0.0, -0.98), (0.22, 0.16)) * front
    red = values["redness"]
    blood = (0.17 + 0.95 * red) * cheek * (1.0 + 0.5 * patch) + (0.30 + 1.1 * red) * nose + (0.25 + 0.4 * red) * chin
    blood += 0.60 * masks["ears"] + 0.30 * masks["lids"] + 0.25 * under_eye + 0.35 * inner
    blood += -0.16 * forehead - 0.12 * around_mouth + 0.09 * cloud + 0.10 * patch + 0.09 * grain
    blood += 0.35 * smoothstep(0.012, -0.004, opening_distance(rest)) * masks["lids"]
    jaw = smoothstep(-0.75, -1.15, y + 0.25 * front)
    melanin = 0.12 * socket + 0.13 * under_eye + 0.10 * inner + 0.06 * forehead + 0.06 * jaw + 0.05 * around_mouth
    melanin += 0.025 * cloud + 0.025 * patch + 0.03 * grain
    carotene = 0.35 * forehead + 0.25 * around_mouth + 0.2 * jaw - 0.15 * cheek
    return [blood, melanin, carotene]


def freckle_cover(values: Values, rest: Float[Array, "n 3"], px: Array | float) -> Float[Array, "n"]:
    """What share of each sample freckles cover; most lie on nose and cheeks."""
    x, y, z = jnp.moveaxis(rest, -1, 0)
    place = 1.4 * blob(jnp.abs(x), y, (0.20, -0.22), (0.48, 0.45)) + 0.35 * smoothstep(-1.0, 0.0, y)
    share = values["freckles"] * jnp.clip(place, 0.0, 1.0) * smoothstep(-0.1, 0.3, z)
    # The front of the head is about a cylinder: lengths along it.
    around = 0.75 * jnp.arctan2(x, z + 0.3) + SHIFT * values["skin_seed"]
    return 0.5 * _strewn(around, y, share, 0.050, px, seed=5) + 0.4 * _strewn(around, y, share, 0.034, px, seed=9)


def _strewn(x, y, share: Float[Array, "n"], cell: float, px: Array | float, seed: int) -> Float[Array, "n"]:
    """The cover of spots in cells of a size, of which `share` have one; where samples are too coarse, its mean."""
    distance, number = spots(x / cell, y / cell, seed=seed)
    radius = 0.14 + 0.10 * share + 0.08 * (share - number)
    spot = smoothstep(0.0, 0.15, share - number) * smoothstep(1.2, 0.4, distance / radius)
    mean = share * (0.010 + 0.147 * share)  # the integral of `spot` over cell and number, within .001
    return mix(mean, spot, detail(1.3 * px / cell))


def mole_cover(values: Values, rest: Float[Array, "n 3"], px: Array | float) -> Float[Array, "n"]:
    """What share of each sample moles cover."""
    total = jnp.zeros_like(rest[:, 0])
    for i in (1, 2, 3):
        size = jnp.maximum(values[f"mole_{i}_size"], 0.0)
        off = jnp.square(rest[:, 0] - values[f"mole_{i}_x"]) + jnp.square(rest[:, 1] - values[f"mole_{i}_y"])
        seen = jnp.sqrt(size * size + px * px)
        total += smoothstep(1.3, 0.7, jnp.sqrt(off + 1e-9) / seen) * jnp.square(size / seen)
    return jnp.minimum(total, 1.0) * smoothstep(0.0, 0.2, rest[:, 2])


def nostrils(rest: Float[Array, "n 3"]) -> Float[Array, "n"]:
    """1 inside of the nostrils, 0 outside."""
    x, y, z = jnp.abs(rest[:, 0]) - 0.097, rest[:, 1] + 0.402, rest[:, 2] - 0.297
    return smoothstep(1.5, 0.5, (x / 0.032) ** 2 + (y / 0.022) ** 2 + ((z - 0.3 * x) / 0.036) ** 2)


def wrinkle_lines(values: Values, rest: Float[Array, "n 3"], px: Array | float) -> Float[Array, "n"]:
    """How much darker folds make the skin, 0 to 1."""
    return jnp.clip(sum(0.38 * strength * line(d, 1.4 * w, px) for d, w, strength in _folds(values, rest)), 0.0, 0.5)


def relief(values: Values, rest: Float[Array, "n 3"], masks: Masks, px: Array | float) -> Float[Array, "n"]:
    """Height of the skin over the mesh, dm: folds, pores and the grooves of the lips."""
    height = -sum(0.7 * w * strength * line(d, 2.0 * w, px) for d, w, strength in _folds(values, rest))
    pore = value_noise(*jnp.moveaxis(rest / PORE, -1, 0), seed=1) * detail(px / PORE)
    bumps = value_noise(*jnp.moveaxis(rest / 0.045, -1, 0), seed=7) * detail(px / 0.045)
    groove = value_noise(rest[:, 0] / 0.011, rest[:, 1] / 0.04, seed=11) * detail(px / 0.011)
    lips = masks["lips"]
    return height + (1.0 - lips) * (0.0006 * pore + 0.0012 * bumps) + 0.0012 * lips * groove


def _folds(values: Values, rest: Float[Array, "n 3"]) -> list[tuple[Array, float, Array]]:
    """(distance, half width, strength 0 to 1) of all wrinkles; expressions deepen those that they fold."""
    x, y, z = jnp.moveaxis(rest, -1, 0)
    side, front = jnp.abs(x), smoothstep(-0.05, 0.15, z)
    left = x > 0.0
    both = lambda name: jnp.where(left, values[f"{name}Left"], values[f"{name}Right"])
    old = values["wrinkles"]
    wavy = 0.018 * value_noise(x / 0.21, y / 0.3, seed=41)
    raised = jnp.clip(0.6 * values["browInnerUp"] + 0.5 * both("browOuterUp"), 0.0, 1.0)
    lines = _repeated(y + 1.6 * wavy + 0.10 * side * side - 0.40, 0.105, 3)
    broken = jnp.clip(0.75 + 0.8 * value_noise(x / 0.16, y / 0.07, seed=42), 0.0, 1.0)
    forehead = broken * jnp.clip(old + 0.5 * raised, 0.0, 1.0) * blob(side, y, (0.0, 0.50), (0.56, 0.28))
    frown = jnp.clip(0.8 * old + 0.5 * both("browDown"), 0.0, 1.0) * blob(side, y, (0.055, 0.16), (0.05, 0.13))
    smile = both("mouthSmile")
    squint = jnp.clip(old + 0.35 * smile + 0.35 * both("eyeSquint"), 0.0, 1.2)
    out, up = side - 0.40, y + 0.015
    angle = jnp.arctan2(up, jnp.maximum(out, 1e-3))
    crow_range = smoothstep(0.035, 0.07, out) * smoothstep(0.20, 0.10, out) * smoothstep(0.85, 0.55, jnp.abs(angle))
    crow = _repeated(angle + 0.45, 0.42, 3) * jnp.maximum(out, 0.02)
    cheek_line = side - (0.165 + 0.155 * smoothstep(-0.40, -0.68, y) + 0.03 * smoothstep(-0.62, -0.82, y))
    nasolabial = jnp.clip(0.12 + 0.75 * old + 0.45 * smile, 0.0, 1.0) * bump(y + 0.56, 0.22)
    marionette = jnp.clip(1.1 * old - 0.4, 0.0, 1.0) * bump(y + 0.82, 0.14)
    bag = y + 0.135 - 0.05 * jnp.square((side - 0.28) / 0.14) + 0.02 * (side - 0.28) / 0.14
    under = jnp.clip(0.10 + 0.7 * old, 0.0, 1.0) * blob(side, y, (0.25, -0.12), (0.17, 0.09))
    neck = jnp.clip(1.2 * old - 0.2, 0.0, 1.0) * smoothstep(-1.15, -1.3, y)
    rings = _repeated(y + 1.38 + wavy - 0.25 * side * side, 0.16, 2)
    folds = [
        (lines, 0.012, forehead),
        (side - 0.055 + 0.12 * (y - 0.16), 0.011, frown),
        (crow, 0.010, squint * crow_range),
        (cheek_line, 0.022, nasolabial),
        (side - 0.255 - 0.12 * (-0.75 - y), 0.018, marionette),
        (bag, 0.012, under),
        (rings, 0.014, neck),
    ]
    return [(distance, width, strength * front) for distance, width, strength in folds]


def _repeated(distance: Float[Array, "n"], period: float, count: int) -> Float[Array, "n"]:
    """The distance to the nearest of `count` parallel lines, the first at 0."""
    return distance - period * jnp.clip(jnp.round(distance / period), 0, count - 1)


def surface_layers(values: Values, colours: Colours, rest: Float[Array, "n 3"], px: Array | float) -> list[Layer]:
    """Freckles, moles, blush, eyeshadow, brows and eyeliner, from the lowest to the uppermost."""
    side, y = jnp.abs(rest[:, 0]), rest[:, 1]
    blush = 0.5 * values["blush"] * blob(side, y + 0.45 * (0.45 - side), (0.45, -0.30), (0.26, 0.16)) * (rest[:, 2] > 0)
    shadow, lid, liner = lid_make_up(values, rest, px)
    one = jnp.ones_like(y)
    # Powder is thin and takes on some of the skin's brightness.
    speck, mole = (colours.skin * jnp.exp(-dark * jnp.array(MELANIN)) for dark in (0.9, 1.6))
    return [
        Layer(speck, freckle_cover(values, rest, px), one),
        Layer(mole, mole_cover(values, rest, px), one),
        Layer(jnp.array(BLUSH) * (0.35 + colours.skin), blush, one),
        Layer(shadow * (0.5 + colours.skin), lid, one),
        Layer(colours.brows, brow_cover(values, rest, px), one),
        Layer(jnp.array(LINER), liner, one),
    ]


def _laid_over(layers: list[Layer]) -> tuple[Float[Array, "n"], Float[Array, "n 3"]]:
    """(what share of the skin below all layers is seen, what they add)."""
    covers = written_out(*(layer.cover for layer in layers))
    shades = written_out(*(layer.shade for layer in layers))
    seen, painted = jnp.ones_like(covers[0]), jnp.zeros((*covers[0].shape, 3))
    for layer, cover, shade in zip(layers[::-1], covers[::-1], shades[::-1], strict=True):
        painted += (seen * cover * shade)[:, None] * layer.colour
        seen = seen * (1.0 - cover)
    return seen, painted
