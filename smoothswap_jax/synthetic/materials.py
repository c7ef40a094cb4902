"""The colours of the synthetic person: what is painted on the surfaces of `geometry.py`.

Colours are (red, green, blue) tuples of arrays in [0, 1], display-referred (sRGB-like). `px` is the width of one sample
in head units: edges are blurred over it, which antialiases small images.
"""

import jax.numpy as jnp
from jax import Array

from smoothswap_jax.synthetic.factors import Values
from smoothswap_jax.synthetic.geometry import Point, mouth_corners, wave

Colour = tuple[Array, Array, Array]


def coverage(distance: Array, px) -> Array:
    """Share of a sample of width px that lies on the positive side of an edge."""
    return jnp.clip(0.5 + distance * (1.0 / px), 0.0, 1.0)


def bump(x: Array, y: Array, wide, high) -> Array:
    """A bump of height 1 with half widths `wide` and `high`: a cheap substitute for a Gaussian."""
    r = jnp.maximum(1.0 - (x * (1.0 / (2.2 * wide))) ** 2 - (y * (1.0 / (2.2 * high))) ** 2, 0.0)
    return r * r * r


def mix(a, b, share) -> Colour:
    return (a[0] + (b[0] - a[0]) * share, a[1] + (b[1] - a[1]) * share, a[2] + (b[2] - a[2]) * share)


def ramp(colours, t: Array) -> Colour:
    """A piecewise linear colour map of t in [0, 1]."""
    last = len(colours) - 1
    mixed = colours[0]
    for i in range(last):
        mixed = mix(mixed, colours[i + 1], jnp.clip(t * last - i, 0.0, 1.0))
    return mixed


def skin_colour(v: Values) -> Colour:
    tone = ramp(((0.37, 0.23, 0.17), (0.62, 0.41, 0.30), (0.86, 0.64, 0.50), (0.98, 0.84, 0.76)), v["skin_tone"])
    warm = v["skin_warmth"]
    return tone[0] * (1.0 + 0.04 * warm), tone[1], tone[2] * (1.0 - 0.16 * warm)


def hair_colour(v: Values, tone: Array) -> Colour:
    ash = ramp(((0.05, 0.05, 0.07), (0.25, 0.21, 0.19), (0.55, 0.50, 0.45), (0.90, 0.87, 0.80)), tone)
    warm = ramp(((0.16, 0.06, 0.04), (0.48, 0.19, 0.08), (0.80, 0.36, 0.11), (0.98, 0.76, 0.32)), tone)
    return mix(ash, warm, v["hair_warmth"])


def iris_colour(v: Values) -> Colour:
    hue = ramp(((0.42, 0.20, 0.07), (0.36, 0.52, 0.16), (0.16, 0.55, 0.62), (0.22, 0.42, 0.90)), v["iris_hue"])
    return mix((0.05, 0.03, 0.03), hue, 0.35 + 0.75 * v["iris_light"])


def lip_colour(v: Values) -> Colour:
    skin = skin_colour(v)
    natural = (skin[0] * 0.92, skin[1] * 0.68, skin[2] * 0.66)
    red = mix((0.86, 0.22, 0.26), (0.45, 0.06, 0.16), v["lip_darkness"])
    return mix(natural, red, 0.15 + 0.75 * v["lip_redness"])


def paint_marks(v: Values, x: Array, y: Array, z: Array, px) -> Colour:
    """Bare skin with blush, freckles, mole and beard."""
    side = jnp.abs(x)
    red = v["blush"] * bump(side - 0.31, y + 0.28, 0.10, 0.08)
    red = red + 0.30 * bump(x, y + v["nose_length"], 0.06, 0.05) + 0.15 * bump(side - 0.62, y + 0.06, 0.06, 0.1)
    colour = skin_colour(v)
    colour = (colour[0] * (1.0 - 0.02 * red), colour[1] * (1.0 - 0.28 * red), colour[2] * (1.0 - 0.22 * red))
    shade = 0.22 * bump(side - v["eye_spacing"], y - 0.035, 0.12, 0.07)
    shade = shade + 0.65 * bump(side - 0.60 * v["nose_width"], y + v["nose_length"] + 0.050, 0.022, 0.012)
    dots = jnp.maximum(
        wave(11.0 * x + 3.0 * y) * wave(12.0 * y - 2.0 * x), wave(9.0 * x - 4.0 * y) * wave(10.0 * y + x)
    )
    spots = jnp.clip(4.0 * (dots - 0.55), 0.0, 1.0) * bump(side - 0.19, y + 0.20, 0.20, 0.13)
    shade = shade + 0.45 * jnp.clip(v["freckles"], 0.0, 1.0) * spots
    size = jnp.maximum(v["mole_size"], 0.0)
    spot = coverage(size - jnp.sqrt((x - v["mole_x"]) ** 2 + (y + 0.36) ** 2 + 1e-9), px) * jnp.clip(
        size / 0.01, 0.0, 1.0
    )
    colour = mix(colour, (0.16, 0.08, 0.06), jnp.clip(shade, 0.0, 0.9))
    colour = mix(colour, (0.20, 0.09, 0.07), 0.9 * spot)
    return paint_beard(v, x, y, z, colour)


def paint_beard(v: Values, x: Array, y: Array, z: Array, colour: Colour) -> Colour:
    side = jnp.abs(x)
    _, corner_y = mouth_corners(v)
    low_cheek = jnp.clip((side - 0.08) * 6.0, 0.0, 1.0) * 0.13
    line = -v["nose_length"] - 0.10 - low_cheek + 2.2 * jnp.maximum(side - 0.30, 0.0) ** 2
    whiskers = 0.02 * wave(9.0 * x) * wave(7.0 * y + 2.0 * x)
    grown = jnp.clip((line + whiskers - y) * 14.0, 0.0, 1.0) * jnp.clip(z * 8.0 + 1.0, 0.0, 1.0)
    grown = grown * (1.0 - 0.7 * bump(x, y - corner_y + 0.16, 0.10, 0.02))
    dark = hair_colour(v, 0.75 * v["hair_tone"])
    grain = 0.90 + 0.10 * wave(15.0 * x + 0.6 * wave(5.0 * y))
    return mix(
        colour,
        (dark[0] * grain, dark[1] * grain, dark[2] * grain),
        0.92 * grown * jnp.clip(v["beard"], 0.0, 1.0),
    )


def paint_brows(v: Values, x: Array, y: Array, px, colour: Colour) -> Colour:
    u = jnp.abs(x) - v["eye_spacing"]
    frown = v["brow_frown"]
    middle = v["brow_height"] + v["brow_raise"] + v["brow_slant"] * u + v["brow_arch"] * (1.0 - (u / 0.13) ** 2)
    middle = middle - frown * jnp.clip(0.6 - 4.0 * u, 0.0, 1.4)
    thick = v["brow_thickness"] * jnp.clip(1.25 - 2.2 * (u + 0.05), 0.25, 1.2)
    inside = jnp.minimum(thick - jnp.abs(y - middle), 0.165 - jnp.abs(u + 0.3 * frown))
    hair = hair_colour(v, jnp.clip(0.75 * v["hair_tone"] + v["brow_tone"], 0.0, 0.8))
    return mix(colour, hair, 0.92 * coverage(inside - 0.002, px + 0.010))


def paint_eyes(v: Values, x: Array, y: Array, px, colour: Colour) -> tuple[Colour, Array]:
    """The colour with the eyes painted on, and the share of eyeball in each sample."""
    side = jnp.sign(x)
    size = v["eye_size"]
    u = jnp.abs(x) - v["eye_spacing"]
    w = y - v["eye_slant"] * u
    t = u * (1.0 / (0.122 * size))
    arc = 1.0 - t * t
    round_arc = arc * (1.25 - 0.25 * arc)
    upper = 0.070 * size * v["eye_roundness"] * v["eye_open"] * round_arc
    lower = -0.044 * size * v["eye_roundness"] * (0.55 + 0.45 * v["eye_open"]) * round_arc
    inside = jnp.minimum(upper - w, w - lower) / jnp.sqrt(1.0 + 0.8 * t * t)
    ball = coverage(inside, px)
    near = jnp.clip(1.3 - jnp.abs(t), 0.0, 0.15) / 0.15
    crease = jnp.exp(-(((w - upper - 0.030 * size) / 0.011) ** 2)) * jnp.clip(arc + 0.3, 0.0, 1.0)
    colour = mix(colour, (0.18, 0.08, 0.07), 0.42 * near * crease)
    under = jnp.exp(-(((w - lower + 0.035) / 0.014) ** 2)) * jnp.clip(arc, 0.0, 1.0)
    colour = mix(colour, (0.25, 0.10, 0.10), 0.16 * near * under)
    radius = jnp.sqrt((u - side * v["gaze_x"]) ** 2 + (y - v["gaze_y"] - 0.008) ** 2 + 1e-9)
    iris = coverage(0.066 * jnp.sqrt(size) - radius, px)
    pupil = coverage(0.029 - radius, px)
    rim = jnp.clip(radius / 0.066, 0.0, 1.1) ** 4
    tint = mix(iris_colour(v), (0.03, 0.03, 0.05), 0.55 * rim)
    white = mix((0.96, 0.96, 0.97), (0.80, 0.62, 0.60), 0.5 * jnp.clip(t * t, 0.0, 1.0))
    eye = mix(mix(white, tint, iris), (0.02, 0.02, 0.02), pupil)
    lid_shadow = 0.55 * jnp.clip(1.0 - (upper - w) / 0.035, 0.0, 1.0)
    eye = mix(eye, (0.10, 0.08, 0.10), lid_shadow)
    colour = mix(colour, eye, ball)
    lash = 0.011 * size - jnp.abs(w - upper - 0.004)
    lash = coverage(jnp.minimum(lash, 0.14 * size - jnp.abs(u - 0.008)), px + 0.004)
    return mix(colour, (0.07, 0.04, 0.04), 0.92 * lash * near), ball


def lip_curves(v: Values, x: Array) -> tuple[Array, Array, Array, Array]:
    """y of the upper outline, upper inner edge, lower inner edge and lower outline of the lips at x."""
    half, corner_y = mouth_corners(v)
    t = x * (1.0 / half)
    arc = jnp.maximum(1.0 - t * t, 0.0)
    full = arc * (1.5 - 0.5 * arc)
    opening = jnp.maximum(v["mouth_open"], 0.0)
    seam = corner_y - (0.8 * v["smile"] - 0.02) * arc
    upper = seam + 0.25 * opening * full
    lower = seam - 0.85 * opening * full
    plump = 1.0 + 0.6 * v["pucker"]
    bow = 1.0 - 0.30 * jnp.exp(-((x / 0.035) ** 2))
    return upper + v["upper_lip"] * plump * full * bow, upper, lower, lower - v["lower_lip"] * plump * full


def paint_mouth(v: Values, x: Array, y: Array, px, colour: Colour) -> tuple[Colour, Array]:
    """The colour with the mouth painted on, and the share of lip in each sample."""
    half, _ = mouth_corners(v)
    top, upper, lower, bottom = lip_curves(v, x)
    within = half - jnp.abs(x)
    lips = coverage(jnp.minimum(jnp.minimum(top - y, y - bottom), within), px)
    hollow = coverage(jnp.minimum(jnp.minimum(upper - y, y - lower), within), px)
    opening = jnp.clip(v["mouth_open"] / 0.02, 0.0, 1.0)
    dark = mix((0.22, 0.04, 0.05), (0.68, 0.26, 0.28), jnp.clip((lower + 0.05 - y) / 0.05, 0.0, 1.0))
    teeth = coverage(y - upper + 0.048, px) * jnp.clip(1.25 - jnp.abs(x) / half, 0.0, 1.0)
    dark = mix(dark, (0.95, 0.93, 0.88), teeth)
    line = jnp.exp(-(((y - 0.5 * (upper + lower)) / (0.010 + 0.3 * px)) ** 2)) * coverage(within + 0.02, px)
    colour = mix(colour, lip_colour(v), lips)
    colour = mix(colour, dark, hollow * opening)
    return mix(colour, (0.20, 0.06, 0.06), 0.70 * line * (1.0 - opening)), lips


def paint_face(v: Values, point: Point, px) -> tuple[Colour, Array, Array]:
    """Skin with everything painted on it, and the shares of eyeball and of lip in each sample."""
    x, y, z = point
    colour = paint_marks(v, x, y, z, px)
    front = z > 0.15
    drawn, ball = paint_eyes(v, x, y, px, colour)
    drawn, lips = paint_mouth(v, x, y, px, drawn)
    drawn = paint_brows(v, x, y, px, drawn)
    return mix(colour, drawn, front), front * ball, front * lips


def face_relief(v: Values, point: Point) -> Array:
    """Height of lips, lids and folds above the surface of `geometry.py`, in head units."""
    x, y, _ = point
    side = jnp.abs(x)
    top, upper, lower, bottom = lip_curves(v, x)
    half, corner_y = mouth_corners(v)
    over = jnp.maximum((top - y) * (y - upper), 0.0) / (0.25 * v["upper_lip"] ** 2)
    under = jnp.maximum((lower - y) * (y - bottom), 0.0) / (0.25 * v["lower_lip"] ** 2)
    height = 0.022 * jnp.minimum(over, 1.0) + 0.030 * jnp.minimum(under, 1.0)
    height = height - 0.020 * bump(side - half - 0.01, y - corner_y, 0.03, 0.03)
    height = height - 0.014 * bump(x, y + 0.5 * (v["nose_length"] + 0.04 + v["mouth_drop"] - 0.05), 0.02, 0.05)
    fold = side - (v["nose_width"] + 0.08 - 0.35 * (y + v["nose_length"]))
    return height - (0.003 + 0.08 * jnp.maximum(v["smile"], 0.0)) * bump(fold, y + v["nose_length"] + 0.12, 0.03, 0.10)


def strands(v: Values, point: Point, px) -> Array:
    """A pattern of light and dark strands of hair that run down from the crown, in [-1, 1]."""
    x, y, z = point
    ahead = jnp.abs(x) + jnp.abs(z + 0.1) + 0.02
    turn = jnp.where(z > -0.1, x / ahead, jnp.sign(x) * 2.0 - x / ahead)
    turn = turn + 0.08 * v["curl"] * wave(2.2 * y + 0.8 * x)
    fine = jnp.clip(1.5 - 40.0 * px, 0.0, 1.0)
    return 0.5 * wave(6.0 * turn) + 0.35 * wave(13.0 * turn + 0.3) + 0.35 * fine * wave(31.0 * turn)
