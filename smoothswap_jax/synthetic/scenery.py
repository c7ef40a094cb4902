"""What is behind the people: walls, rooms, greenery, skies and lights, mostly out of focus.

A background is one formula with many factors: a gradient, coloured noise, patches, a ground, soft rectangles, discs of
light out of focus, and a spot of light on all of it. KINDS says between which values the factors of each kind of place
lie. Noise has the spectrum of natural images, whose power falls with the square of the frequency (Field 1987,
"Relations between the statistics of natural images and the response properties of cortical cells").

Image coordinates: x to the right, y up, -1 to 1 over the picture. Colours are linear light.
"""

from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from smoothswap_jax.synthetic.noise import random_cell, smoothstep
from smoothswap_jax.synthetic.surface import LUMINANCE

Values = dict[str, Array]

COLOURS = ("top", "bottom", "patch", "ground")
FIELDS: dict[str, tuple[float, float]] = {
    # Of each colour: stops below white, logarithms from blue to orange and from magenta to green.
    **{f"{name}_light": (-6.0, 0.0) for name in COLOURS},
    **{f"{name}_warmth": (-0.7, 0.8) for name in COLOURS},
    **{f"{name}_tint": (-0.4, 0.8) for name in COLOURS},
    "slope": (-1.0, 1.0),  # of the gradient from bottom to top; 0 level
    "blur": (0.005, 0.16),  # radius of the defocus
    # noise
    "noise_size": (1.0, 6.0),  # its longest wavelength
    "noise_stretch": (-1.2, 1.5),  # doublings of its length along x as of its height
    "noise_turn": (-0.3, 0.3),  # radians
    "noise_x": (0.0, 1.0),  # where in the endless noise the picture is
    "noise_y": (0.0, 1.0),
    "grain": (0.0, 0.7),  # amplitude in natural logarithms of light
    "chroma": (0.0, 0.25),  # amplitude of warmth and tint
    # patches of another colour, where noise is high: leaves, clouds, things
    "patch": (0.0, 1.0),  # their opacity
    "patch_share": (-1.2, 1.2),  # 0 half of the picture, more if positive
    "patch_edge": (0.4, 3.0),  # contrast at their edges
    "horizon": (-1.6, 0.7),  # height to which the ground reaches
    "ragged": (0.0, 0.4),  # amplitude of the horizon
    # rectangles: windows, doors, shelves, pictures
    "boxes": (-0.8, 1.0),  # their opacity; none below 0
    "boxes_spread": (0.2, 1.3),  # stops by which they differ
    "boxes_turn": (-0.12, 0.12),  # radians
    "boxes_seed": (0.0, 4096.0),
    # discs of light out of focus
    "lights": (-0.6, 0.9),  # their brightness; none below 0
    "lights_size": (0.03, 0.16),  # radius
    "lights_warmth": (-0.6, 0.7),
    "lights_height": (-0.4, 0.9),
    "lights_seed": (0.0, 4096.0),
    # one spot of light, or dark corners
    "spot": (-0.3, 2.0),
    "spot_x": (-1.0, 1.0),
    "spot_y": (-0.6, 1.0),
    "spot_size": (0.5, 1.6),
}
# What most kinds of places lack.
OFF: dict[str, tuple[float, float]] = {
    **{"patch": (0, 0), "boxes": (0, 0), "lights": (0, 0), "horizon": (-1.6, -1.6), "ragged": (0, 0)},
    "noise_stretch": (-0.6, 0.6),
}

# Of each kind of place, its share among portraits and the ranges of its factors where they differ from FIELDS.
# fmt: off
SHARES = {"studio": 0.16, "wall": 0.16, "room": 0.22, "greenery": 0.2, "outdoors": 0.16, "lights": 0.1}
KINDS: dict[str, dict[str, tuple[float, float]]] = {
    "studio": OFF | {
        "top_light": (-5, -0.4), "top_warmth": (-0.3, 0.25), "top_tint": (-0.1, 0.1),
        "bottom_light": (-5, -0.6), "bottom_warmth": (-0.3, 0.25), "bottom_tint": (-0.1, 0.1),
        "grain": (0, 0.12), "chroma": (0, 0.03), "spot": (0, 2),
    },
    "wall": OFF | {
        "top_light": (-2.6, -0.4), "top_warmth": (-0.15, 0.45), "top_tint": (-0.08, 0.12),
        "bottom_light": (-2.8, -0.6), "bottom_warmth": (-0.1, 0.4), "bottom_tint": (-0.08, 0.12),
        "patch_light": (-4, -1), "patch_warmth": (-0.1, 0.4), "patch_tint": (-0.1, 0.1),
        "patch": (0, 0.5), "patch_share": (-1.2, -0.3), "patch_edge": (0.4, 2),
        "grain": (0, 0.12), "chroma": (0, 0.05), "noise_size": (2, 6), "spot": (-0.3, 1),
        "boxes": (-0.2, 0.8), "boxes_spread": (0.2, 0.8),
    },
    "room": OFF | {
        "top_light": (-3.6, -0.8), "top_warmth": (-0.2, 0.5), "top_tint": (-0.1, 0.12),
        "bottom_light": (-4, -1.2), "bottom_warmth": (0, 0.5), "bottom_tint": (-0.1, 0.12),
        "patch_light": (-5, -1), "patch_warmth": (-0.3, 0.6), "patch_tint": (-0.15, 0.25),
        "patch": (0.2, 0.9), "patch_edge": (0.7, 3), "blur": (0.02, 0.14), "grain": (0.05, 0.25), "chroma": (0.02, 0.1),
        "noise_size": (2, 6), "noise_stretch": (-1.2, 0.4), "noise_turn": (-0.06, 0.06),
        "boxes": (0.7, 1), "boxes_spread": (0.5, 1.3),
        "lights": (-0.6, 0.5), "lights_height": (0.1, 0.9), "lights_warmth": (0.1, 0.6),
    },
    "greenery": OFF | {
        "top_light": (-4, -1), "top_warmth": (0.1, 0.6), "top_tint": (0.2, 0.6),
        "bottom_light": (-4.5, -1.6), "bottom_warmth": (0.1, 0.6), "bottom_tint": (0.2, 0.7),
        "patch_light": (-3, -0.3), "patch_warmth": (0, 0.6), "patch_tint": (0.05, 0.6),
        "patch": (0.5, 1), "patch_share": (-1.2, 0.6), "patch_edge": (0.7, 3),
        "grain": (0.25, 0.6), "chroma": (0.02, 0.1), "noise_size": (1, 4),
        "lights": (-0.5, 0.5), "lights_warmth": (-0.1, 0.4),
    },
    "outdoors": OFF | {
        "top_light": (-2, -0.3), "top_warmth": (-0.7, -0.05), "top_tint": (-0.05, 0.1),
        "bottom_light": (-1.2, 0), "bottom_warmth": (-0.3, 0.3), "bottom_tint": (-0.05, 0.1),
        "patch_light": (-0.8, 0), "patch_warmth": (-0.2, 0.15), "patch_tint": (-0.05, 0.05),
        "ground_light": (-4.5, -1.2), "ground_warmth": (-0.2, 0.6), "ground_tint": (0, 0.5),
        "horizon": (-1, 0.7), "ragged": (0.02, 0.22), "patch": (0, 0.7), "patch_edge": (0.4, 1.5), "blur": (0.005, 0.1),
        "grain": (0.02, 0.25), "chroma": (0.01, 0.08), "noise_stretch": (0, 1.5), "noise_turn": (-0.15, 0.15),
        "boxes": (-0.8, 0.7), "boxes_spread": (0.3, 1), "spot": (-0.2, 0.5),
    },
    "lights": OFF | {
        "top_light": (-6, -3), "top_warmth": (-0.7, 0.6), "top_tint": (-0.3, 0.2),
        "bottom_light": (-6, -3), "bottom_warmth": (-0.6, 0.6), "bottom_tint": (-0.3, 0.2),
        "patch_light": (-4, -1.5), "patch_warmth": (-0.7, 0.8), "patch_tint": (-0.4, 0.2),
        "patch": (0.2, 0.9), "patch_edge": (0.4, 2), "blur": (0.05, 0.16), "grain": (0.2, 0.7), "chroma": (0.1, 0.25),
        "boxes": (-0.6, 0.6), "lights": (0.2, 0.9),
    },
}
# fmt: on

TILE = 64  # texels a side of the noise tile
OCTAVES = (1, 2, 4, 8)  # lowest cycles a tile of each; the finest waves have 4 texels
FINER = 9.0  # how much smaller the tile is when it is looked up for the second time, for the next octaves
BLURRING = (
    4.0  # a disc of radius r takes from a frequency f about what exp(-(4 r f)^2) does, in the middle of an octave
)
HUES = np.array([[1.0, 1.0, 1.0], [1.0, 0.0, -1.0], [0.0, 1.0, 0.0]])  # logarithms of light, warmth, tint -> of RGB
BOXES, LIGHTS = 7, 12
PROBES = 8  # a side of the grid over which `surroundings` takes the mean


def sample_background(key: PRNGKeyArray, n: int) -> Float[Array, "n background"]:
    """Factors of n backgrounds by FIELDS, of all kinds in their shares."""
    shares = jnp.array([SHARES[kind] for kind in KINDS])
    ranges = np.array([[(FIELDS | own)[name] for name in FIELDS] for own in KINDS.values()], np.float32)
    kind_key, value_key = jax.random.split(key)
    kind = jax.random.choice(kind_key, len(KINDS), (n,), p=shares / shares.sum())
    low, high = jnp.moveaxis(jnp.asarray(ranges)[kind], -1, 0)
    return low + (high - low) * jax.random.uniform(value_key, low.shape)


def paint_background(
    vector: Float[Array, "background"], x: Float[Array, "n"], y: Float[Array, "n"], px: Array | float
) -> Float[Array, "n 3"]:
    """Linear RGB, 0 to 1, at points of the picture. px: width of a sample in image coordinates, 2 / samples a side."""
    values = dict(zip(FIELDS, vector, strict=True))
    edge = values["blur"] + px
    patch, grain, warmth, tint = _noise(values, x, y, values["blur"] + px / 2)
    colours = jnp.stack([_colour(values, name) for name in COLOURS], axis=1)
    colour = _product(colours, _shares(values, x, y, patch, grain, edge))
    boxes, shades = _boxes(values, x, y, edge)
    noise = jnp.stack([values["grain"] * grain, values["chroma"] * warmth, values["chroma"] * tint])
    colour = colour * jnp.exp(_product(shades.T, boxes) + _product(jnp.asarray(HUES.T), noise)) + _lights(
        values, x, y, px
    )
    distance = jnp.square(x - values["spot_x"]) + jnp.square(y - values["spot_y"])
    colour = colour * (1 + values["spot"] * jnp.exp(-distance / jnp.square(values["spot_size"])))
    # Film's shoulder: straight in the shadows, never quite white.
    return (1 - jnp.exp(-colour * (1 + 0.5 * colour))).T


def surroundings(vector: Float[Array, "background"]) -> Float[Array, "3"]:
    """The mean colour of a background, linear RGB."""
    at = (jnp.arange(PROBES) + 0.5) * (2 / PROBES) - 1
    x, y = jnp.meshgrid(at, at)
    return paint_background(vector, x.ravel(), y.ravel(), 2 / PROBES).mean(0)


def _product(left: Float[Array, "a b"], right: Float[Array, "b n"]) -> Float[Array, "a n"]:
    return jnp.matmul(left, right, precision=jax.lax.Precision.HIGHEST)


def _tinted(light: Float[Array, "*n"], warmth: Float[Array, "*n"], tint: Float[Array, "*n"]) -> Float[Array, "*n 3"]:
    """The colour of a luminance."""
    rgb = jnp.exp(jnp.stack([warmth, tint, -warmth], axis=-1))
    return rgb * (light / (rgb @ jnp.array(LUMINANCE)))[..., None]


def _colour(values: Values, name: str) -> Float[Array, "3"]:
    return _tinted(2.0 ** values[f"{name}_light"], values[f"{name}_warmth"], values[f"{name}_tint"])


def _shares(
    values: Values, x: Array, y: Array, patch: Float[Array, "n"], ragged: Float[Array, "n"], edge: Array
) -> Float[Array, "c n"]:
    """How much of each of COLOURS is seen; they sum to 1."""
    height = smoothstep(-1.1, 1.1, y + 0.6 * values["slope"] * x)
    over = values["patch"] * jax.nn.sigmoid(2 * values["patch_edge"] * (patch + values["patch_share"]))
    line = values["horizon"] + values["ragged"] * ragged
    soft = edge + 0.5 * values["ragged"]
    ground = smoothstep(-soft, soft, line - y)
    behind = (1 - ground) * (1 - over)
    return jnp.stack([height * behind, (1 - height) * behind, over * (1 - ground), ground])


@cache
def _tile() -> Float[np.ndarray, "o t c"]:
    """Periodic noise of unit variance in four channels, by octaves; power falls with the square of the frequency."""
    random = np.random.default_rng(0).standard_normal((TILE, TILE, 4))
    frequency = np.hypot(np.fft.fftfreq(TILE)[:, None], np.fft.rfftfreq(TILE)) * TILE
    bands = [(frequency >= low) & (frequency < 2 * low) for low in OCTAVES]
    spectrum = np.fft.rfft2(random, axes=(0, 1)) / np.maximum(frequency, 1)[..., None]
    octaves = np.stack([np.fft.irfft2(spectrum * band[..., None], (TILE, TILE), axes=(0, 1)) for band in bands])
    octaves = octaves / octaves.sum(0).std((0, 1))
    return octaves.reshape(len(OCTAVES), -1, 4).astype(np.float32)


def _look_up(u: Float[Array, "n"], v: Float[Array, "n"], blur: Array) -> Float[Array, "n 4"]:
    """The tile at coordinates in tiles, interpolated linearly; blur in tiles too."""
    kept = jnp.exp(-jnp.square(BLURRING * blur * jnp.array(OCTAVES)))
    tile = jnp.tensordot(kept, jnp.asarray(_tile()), 1)
    u, v = (TILE * (at - jnp.floor(at)) for at in (u, v))
    column, row = (at.astype(jnp.int32) for at in (u, v))
    right, down = (u - column)[:, None], (v - row)[:, None]
    texel = lambda row, column: tile[row % TILE * TILE + column % TILE]
    above = texel(row, column) * (1 - right) + texel(row, column + 1) * right
    below = texel(row + 1, column) * (1 - right) + texel(row + 1, column + 1) * right
    return above * (1 - down) + below * down


def _noise(values: Values, x: Float[Array, "n"], y: Float[Array, "n"], blur: Array) -> Float[Array, "4 n"]:
    """Four noises of unit variance if in focus, turned and stretched; what is finer than the blur is left out."""
    cos, sin = jnp.cos(values["noise_turn"]), jnp.sin(values["noise_turn"])
    size, wide = values["noise_size"], 2.0 ** (values["noise_stretch"] / 2)
    u, v = (cos * x + sin * y) / (size * wide), (cos * y - sin * x) * wide / size
    coarse = _look_up(u + values["noise_x"], v + values["noise_y"], blur / size)
    fine_u, fine_v = FINER * (0.8 * u - 0.6 * v) + values["noise_y"], FINER * (0.6 * u + 0.8 * v) + values["noise_x"]
    fine = _look_up(fine_u, fine_v, FINER * blur / size)
    # A product with the unit matrix: XLA transposes what it has looked up ten times as slowly on CPU.
    return _product(np.sqrt(0.5) * jnp.eye(4), (coarse + fine).T)


def _random(seed: Array, count: int, channel: int) -> Float[Array, "count"]:
    """Numbers in [0, 1) for each of `count` things; each channel has others."""
    number = jnp.arange(count)
    return random_cell(number, jnp.full(count, channel), jnp.full(count, seed.astype(jnp.int32)))


def _boxes(
    values: Values, x: Float[Array, "n"], y: Float[Array, "n"], edge: Array
) -> tuple[Float[Array, "boxes n"], Float[Array, "boxes 3"]]:
    """Upright rectangles over one another: what share of a sample each covers, and the logarithms of its shade."""
    random = lambda channel: _random(values["boxes_seed"], BOXES, channel)
    turn = values["boxes_turn"]
    across, up = x + turn * y, y - turn * x
    left, low = 2.8 * random(0) - 1.4, 2.4 * random(1) - 1.2
    half_width, half_height = 0.06 * 8.0 ** random(2), 0.1 * 12.0 ** random(3)
    inside_x = smoothstep(-edge, edge, half_width[:, None] - jnp.abs(across - left[:, None]))
    inside_y = smoothstep(-edge, edge, half_height[:, None] - jnp.abs(up - low[:, None]))
    stops = values["boxes_spread"] * (3 * random(4) - 1.6)
    shades = jnp.stack([stops * np.log(2), 0.5 * random(5) - 0.2, 0.2 * random(6) - 0.1], axis=1) @ HUES
    return jnp.maximum(values["boxes"], 0.0) * inside_x * inside_y, shades


def _lights(values: Values, x: Float[Array, "n"], y: Float[Array, "n"], px: Array | float) -> Float[Array, "3 n"]:
    """Discs of light, as a lens shows distant lamps or gaps between leaves out of focus."""
    random = lambda channel: _random(values["lights_seed"], LIGHTS, channel)
    at_x, at_y = 2.4 * random(0) - 1.2, values["lights_height"] + 1.4 * random(1) - 0.7
    radius = values["lights_size"] * (0.7 + 0.6 * random(2))
    bright = jnp.maximum(values["lights"], 0.0) * jnp.square(random(3)) * 1.5
    colours = _tinted(bright, values["lights_warmth"] + 0.8 * random(4) - 0.4, 0.4 * random(5) - 0.2)
    distance = jnp.sqrt(jnp.square(x - at_x[:, None]) + jnp.square(y - at_y[:, None]) + 1e-12)
    return _product(colours.T, smoothstep(0.0, (0.2 * radius + px)[:, None], radius[:, None] - distance))
