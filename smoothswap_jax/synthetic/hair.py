"""Hair as a mesh that grows on any head: three shells of strands over scalp and neck, and two of a fringe.

Every shell is a grid. Its columns start at the crown, run down the scalp to the hairline (`make_scalp.py`) and hang on
from there; the two halves of the head are separate from the parting to the back. What strands look like is painted from
the mesh's coordinates (`strands.py`). Lengths are in decimetres; limits of `smoothstep` are places on the mean head,
azimuths in radians or lengths, set by eye.
"""

from functools import cache
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from smoothswap_jax.synthetic.make_scalp import AZIMUTHS, CENTRE, HEIGHTS, SCALP_ROWS, hairline_angles
from smoothswap_jax.synthetic.noise import smoothstep, value_noise

FIELDS = {
    "hair_length": (0.0, 2.9),  # dm from the top of the head down to the tips: 1.2 ends at the hairline, 2 is a bob
    "hair_volume": (0.03, 0.6),  # how far hair stands off the top of the head, dm
    "fringe": (0.0, 0.7),  # length of what falls over the forehead, dm; .5 reaches the brows
    "parting": (-1.0, 1.0),  # where hair parts, from right to left of the person, 0 in the middle
    "parted": (0.0, 1.0),  # 0 combed forwards from the crown, 1 combed sideways from a parting line
    "sides": (0.1, 1.0),  # volume of the sides and the back, as a share of that of the top
    "quiff": (0.0, 1.0),  # how much the front stands up
    "curl": (0.0, 1.0),  # 0 straight, .5 wavy, 1 frizzy
    "hairline": (0.0, 1.0),  # 0 full, .3 receding, 1 bare but for sides and back
    "hair_tied": (0.0, 1.0),  # 1: drawn back into a knot
    "strands": (0.0, 1.0),  # which strands of all that look alike
}

Values = dict[str, Array]
LAYERS = (0.72, 1.0, 1.12)  # how far out the shells are: one that hides the skin, one with gaps, one of single hairs
SIDE_COLUMNS = 25  # from the parting to the back
HANGING = np.linspace(0, 1, 15)[1:] ** 1.3  # rows below the hairline, as shares of the length there
CLEAR, SUNK = 0.015, 0.03  # of the thinnest hair above the scalp, and of hair that is not there below it
QUIFF = 0.22  # what a quiff of 1 adds to the volume above the forehead
FADE = 0.12  # how much `hairline` grows from where a place begins to thin until it is bare
RADIUS = 0.78  # of the skull: turns azimuths into distances
PARTING_RANGE = 0.6  # azimuth of a parting at 1, radians
AXIS = CENTRE[2]  # z of the vertical axis that hanging hair is measured from
# The front edge of hair that hangs: azimuth around the axis by height, along the hairline down to the ears.
EDGE_HEIGHTS = np.array([-1.4, -0.9, -0.5, -0.1, 0.15, 0.32, 0.52, 0.67, 0.74])
EDGE = np.radians([50.0, 60.0, 67.0, 70.0, 66.0, 59.0, 50.0, 37.0, 0.0])
GATHERED = np.radians(115.0)  # azimuth from which on hair hangs straight down
LOCK = np.radians(9.0)  # what is gathered from the forehead hangs within this angle
WIDEST = 0.95  # distance from the axis beyond which shoulders do not push hair out
SLOPE = 0.35  # sideways over down, at most, where hair comes down to the ears
RELAXED = 0.15  # sideways over down of hair that falls back to the neck
KNOT, KNOT_SIZE = np.array([0.0, 0.45, -1.78]), 0.27
FRINGE_COLUMNS, FRINGE_ROOTS, FRINGE_ROWS = 17, 5, 6  # roots: rows above the hairline
FRINGE_WIDTH = np.radians(60.0)  # to either side


class ScalpTable(NamedTuple):
    """The grids of `make_scalp.py`, as places on the mesh. a azimuths, r rows, h heights."""

    scalp_corners: Int[Array, "a r 3"]
    scalp_weights: Float[Array, "a r 3"]
    drape_corners: Int[Array, "a h 3"]
    drape_weights: Float[Array, "a h 3"]
    rest: Float[Array, "a r 3"]  # the scalp of the mean head


class HairMesh(NamedTuple):
    """The vertices of `hair_triangles`.

    coordinates: strand (dm across the strands), along (dm from the root), cover (share of strands there; all from 1 on,
    none from 0 on) and light (what reaches it between the other hairs, 0 to 1).
    """

    vertices: Float[Array, "h 3"]
    normals: Float[Array, "h 3"]
    tangents: Float[Array, "h 3"]  # unit vectors along the strands
    coordinates: Float[Array, "h 4"]


class Ground(NamedTuple):
    """The head below the hair, on the grids of `make_scalp.py`."""

    rest: Float[Array, "a r 3"]  # the scalp of the mean head
    scalp: Float[Array, "a r 3"]  # of this head
    outward: Float[Array, "a r 3"]  # its normals
    reach: Float[Array, "a h"]  # how far from the axis the head's surface is


class Sheet(NamedTuple):
    """A grid of c columns and r rows that becomes shells."""

    base: Float[Array, "c r 3"]  # on the scalp, or where the innermost hairs hang
    lift: Float[Array, "c r 3"]  # from there to the outermost
    strand: Float[Array, "c r"]
    along: Float[Array, "c r"]
    grown: Float[Array, "c r"]  # 1 where hair grows, 0 beyond its hairline and tips
    light: Float[Array, "c r"]


def scalp_table(arrays: dict[str, np.ndarray], mean: Float[np.ndarray, "v 3"]) -> ScalpTable:
    """The table of the arrays that `scalp_arrays` made."""
    corners, weights = (
        {grid: arrays[f"{grid}_{part}"].astype(kind) for grid in ("scalp", "drape")}
        for part, kind in (("corners", np.int32), ("weights", np.float32))
    )
    rest = (mean[corners["scalp"]] * (weights["scalp"] / 255)[..., None]).sum(-2)
    table = corners["scalp"], weights["scalp"] / 255, corners["drape"], weights["drape"] / 255, rest.astype(np.float32)
    return ScalpTable(*map(jnp.asarray, table))


@cache
def hair_triangles() -> Int[np.ndarray, "t 3"]:
    """Triangles of `HairMesh`: the innermost shell first, the fringe last; at most 8,000."""
    sheet = (SIDE_COLUMNS, len(SCALP_ROWS) + len(HANGING))
    sheets = [sheet] * (2 * len(LAYERS)) + [(FRINGE_COLUMNS, FRINGE_ROOTS + FRINGE_ROWS)] * 2
    starts = np.cumsum([0] + [columns * rows for columns, rows in sheets])
    return np.concatenate([start + _grid(*size) for start, size in zip(starts, sheets, strict=False)])


def _grid(columns: int, rows: int) -> Int[np.ndarray, "t 3"]:
    node = np.arange(columns * rows).reshape(columns, rows)
    a, b, c, d = (x.ravel() for x in (node[:-1, :-1], node[1:, :-1], node[1:, 1:], node[:-1, 1:]))
    return np.concatenate([np.stack([a, b, c], 1), np.stack([a, c, d], 1)])


def hair_mesh(
    values: Values, table: ScalpTable, vertices: Float[Array, "v 3"], normals: Float[Array, "v 3"]
) -> HairMesh:
    """The hair of a person, on the vertices of the deformed head and their unit normals."""
    blend = lambda of, corners, weights: jnp.einsum("akcx,akc->akx", of[corners], weights)
    scalp, outward = (blend(of, table.scalp_corners, table.scalp_weights) for of in (vertices, normals))
    drape = blend(vertices, table.drape_corners, table.drape_weights)
    ground = Ground(table.rest, scalp, unit(outward), from_axis(drape))
    halves = [(_half(values, side, ground), side) for side in (1.0, -1.0)]
    shells = [_shell(values, sheet, layer, side) for layer in range(len(LAYERS)) for sheet, side in halves]
    fringe = _fringe(values, ground)
    shells += [_shell(values, fringe, layer, 1.0) for layer in (0, 1)]
    return HairMesh(*(jnp.concatenate(part) for part in zip(*shells, strict=True)))


def unit(vector: Float[Array, "*n 3"]) -> Float[Array, "*n 3"]:
    return vector / jnp.sqrt(jnp.square(vector).sum(-1, keepdims=True) + 1e-12)


def from_axis(points: Float[Array, "*n 3"]) -> Float[Array, "*n"]:
    """The distance from the vertical axis through the skull."""
    return jnp.hypot(points[..., 0], points[..., 2] - AXIS)


def _shell(values: Values, sheet: Sheet, layer: int, side: float) -> HairMesh:
    """One layer of a sheet; `side` is -1 where its columns run to the left of the image."""
    at = sheet.base + LAYERS[layer] * sheet.lift
    across, down = jnp.gradient(at, axis=(0, 1))
    strand_across, strand_down = jnp.gradient(sheet.strand)
    # Strands run where their coordinate stays the same.
    tangent = side * (down * strand_across[..., None] - across * strand_down[..., None])
    gaps = 0.02 + 0.15 * values["curl"]
    cover = (1.6 * sheet.grown - 0.3, (1.0 - gaps) * sheet.grown, (0.1 + 0.6 * gaps) * sheet.grown)[layer]
    thickness = jnp.sqrt(jnp.square(sheet.lift).sum(-1) + 1e-12)
    light = sheet.light * (1.0 - 0.45 * smoothstep(0.0, 0.2, thickness)) if layer == 0 else sheet.light
    coordinates = jnp.stack([sheet.strand, sheet.along, cover, light], axis=-1)
    normal = side * jnp.cross(down, across)
    return HairMesh(*(x.reshape(-1, x.shape[-1]) for x in (at, unit(normal), unit(tangent), coordinates)))


def around(grid: Float[Array, "a r *d"], azimuth: Float[Array, "c"]) -> Float[Array, "c r *d"]:
    """A grid's columns at any azimuths, interpolated."""
    step = (azimuth - AZIMUTHS[0]) / (AZIMUTHS[1] - AZIMUTHS[0])
    low = jnp.floor(step).astype(jnp.int32)
    share = (step - low).reshape(-1, *[1] * (grid.ndim - 1))
    first, second = grid[low % len(AZIMUTHS)], grid[(low + 1) % len(AZIMUTHS)]
    return first + share * (second - first)


def _reach_at(ground: Ground, azimuth: Float[Array, "c r"], height: Float[Array, "c r"]) -> Float[Array, "c r"]:
    """How far from the axis the head's surface is, at azimuths around it and heights of the mean head."""
    step = jnp.clip((HEIGHTS[0] - height) / (HEIGHTS[0] - HEIGHTS[1]), 0.0, len(HEIGHTS) - 1.001)
    turn = (azimuth - AZIMUTHS[0]) / (AZIMUTHS[1] - AZIMUTHS[0])
    upper, left = jnp.floor(step).astype(jnp.int32), jnp.floor(turn).astype(jnp.int32)
    down, right = step - upper, turn - left
    at = lambda i, j: ground.reach[(left + i) % len(AZIMUTHS), upper + j]
    above, below = (at(0, j) + right * (at(1, j) - at(0, j)) for j in (0, 1))
    return above + down * (below - above)


def bare(values: Values, rest: Float[Array, "*n 3"]) -> Float[Array, "*n"]:
    """How far places on the mean head are within what receding has laid bare: 0 at its edge, negative where hair grows.

    Temples go first, then the top from the front to the crown; sides and back stay.
    """
    x, y, z = jnp.moveaxis(rest, -1, 0)
    x = jnp.abs(x)
    kept = 1.3 * smoothstep(0.75, 0.1, y - 0.25 * smoothstep(-0.6, -1.2, z)) * smoothstep(0.35, 0.6, x + 0.3 - 0.5 * z)
    temple = 0.25 * smoothstep(0.2, 0.42, x) * smoothstep(-0.4, -0.1, z)
    order = 0.1 + 0.9 * jnp.clip((0.1 - z) / 1.3, 0.0, 1.0) - temple + kept
    return values["hairline"] - jnp.maximum(order, FADE)


def _half(values: Values, side: float, ground: Ground) -> Sheet:
    """One half of the head, from the parting to the back; side is 1 for the right of the image, -1 for the left."""
    parting = values["parting"] * PARTING_RANGE
    share = jnp.linspace(0.0, 1.0, SIDE_COLUMNS) ** 1.25
    azimuth = parting + side * share * (np.pi - side * parting)
    rest, scalp, outward = (around(grid, azimuth) for grid in ground[:3])
    falls = smoothstep(1.1, 1.6, values["hair_length"]) * (1.0 - values["hair_tied"])
    drop = falls * jnp.maximum(scalp[:, -1, 1] - (ground.scalp[0, 0, 1] - values["hair_length"]), 0.0)
    hangs = smoothstep(0.0, 0.35, drop) * smoothstep(1.1, 1.7, side * azimuth)
    exists = smoothstep(0.0, 0.25, values["hair_length"]) * smoothstep(0.0, -FADE, bare(values, rest))

    from_parting = jnp.abs(rest[..., 0] - rest[:1, :, 0])
    before_crown = values["parted"] * smoothstep(-1.15, -0.95, rest[..., 2])
    dent = 1.0 - 0.65 * before_crown * smoothstep(0.16, 0.0, from_parting)
    thick = _thickness(values, rest, hangs) * dent * (1.0 - 0.6 * values["hair_tied"])
    thick = exists * (thick + CLEAR) - (1.0 - exists) * SUNK

    polar = around(jnp.asarray(hairline_angles()), azimuth)[:, None] * SCALP_ROWS
    sideways = values["parted"] * smoothstep(2.0, 1.2, side * azimuth)[:, None]
    strand, along = azimuth[:, None] * RADIUS, polar * RADIUS
    strand = strand + sideways * (-side * rest[..., 2] - strand)
    along = along + sideways * (from_parting - along)
    skin_shows = before_crown * smoothstep(0.05, 0.0, from_parting)
    root_light = 0.6 + 0.4 * smoothstep(0.0, 0.3, along)
    lift = thick[..., None] * _standing(rest, outward)
    on_scalp = Sheet(scalp, lift, strand, along, exists * (1.0 - skin_shows), root_light)

    hanging = _hanging(values, side, on_scalp, rest[:, -1], drop, ground)
    hanging = _tied(values, side * share, on_scalp, hanging)
    # A thin hairline is a fringe of single hairs; a thick one ends in a wall of hair.
    thin = smoothstep(0.22, 0.06, thick[:, -5:-4]) * smoothstep(0.2, 0.0, drop)[:, None]
    edge = 1.0 - 0.85 * thin * smoothstep(0.09, 0.0, (polar[:, -1:] - polar) * RADIUS)
    lift = _over_ears(on_scalp, hanging, exists * hangs[:, None])
    return _joined(on_scalp._replace(grown=on_scalp.grown * edge, lift=lift), hanging, hangs)


def _joined(upper: Sheet, lower: Sheet, smooth: Float[Array, "c"]) -> Sheet:
    """Two sheets, one below the other, without kinks in the columns where `smooth` is 1."""
    sheet = Sheet(*(jnp.concatenate(pair, axis=1) for pair in zip(upper, lower, strict=True)))
    at = sheet.base + sheet.lift
    for _ in range(3):
        between = 0.25 * (at[:, :-2] + at[:, 2:]) + 0.5 * at[:, 1:-1]
        at = at.at[:, 1:-1].add(smooth[:, None, None] * (between - at[:, 1:-1]))
    return sheet._replace(lift=at - sheet.base)


def _thickness(values: Values, rest: Float[Array, "c r 3"], hangs: Float[Array, "c"]) -> Float[Array, "c r"]:
    """How far the outermost shell stands off the scalp, given how far columns hang on below it, 0 to 1."""
    x, y, z = jnp.moveaxis(rest, -1, 0)
    top = smoothstep(0.3, 0.8, y)
    front = top * smoothstep(-0.7, -0.05, z) * smoothstep(0.65, 0.2, jnp.abs(x))
    ends = 1.0 - hangs[:, None]
    nape = 1.0 - 0.88 * ends * smoothstep(0.15, -0.2, y)
    # A shell that ends at the hairline comes down to it in a curve.
    rim = jnp.sqrt(1.0 - ends * SCALP_ROWS**3 + 1e-6)
    volume = values["hair_volume"] * (values["sides"] + (1.0 - values["sides"]) * top) + QUIFF * values["quiff"] * front
    return volume * (1.0 + (0.12 + 0.2 * values["curl"]) * _lumps(values, rest)) * nape * rim


def _lumps(values: Values, rest: Float[Array, "c r 3"]) -> Float[Array, "c r"]:
    return value_noise(*jnp.moveaxis(rest / 0.25 + 9.0 * values["strands"], -1, 0))


def _standing(rest: Float[Array, "c r 3"], outward: Float[Array, "c r 3"]) -> Float[Array, "c r 3"]:
    """The direction in which hair stands: off the skull, but at the forehead upwards rather than forwards."""
    front = smoothstep(-0.75, -0.1, rest[..., 2:]) * smoothstep(0.4, 0.7, rest[..., 1:2])
    return unit(0.5 * outward + unit(rest - CENTRE) + 1.6 * front * np.array([0.0, 1.0, -0.2]))


def _over_ears(roots: Sheet, hanging: Sheet, share: Float[Array, "c r"]) -> Float[Array, "c r 3"]:
    """The lift on the scalp, raised so that hair comes down to what it hangs over in a slope and not in a step."""
    at, below = roots.base + roots.lift, hanging.base + hanging.lift
    needed = from_axis(below)[:, None] - SLOPE * (at[:, :, None, 1] - below[:, None, :, 1])
    short = share * jnp.maximum(needed.max(-1) - from_axis(at), 0.0)
    outward = unit((at - jnp.array([0.0, 0.0, AXIS])) * jnp.array([1.0, 0.0, 1.0]))
    return roots.lift + short[..., None] * outward


def _gathered(
    first: Float[Array, "c 1"], height: Float[Array, "c r"], fallen: Float[Array, "c r"]
) -> Float[Array, "c r"]:
    """The azimuths at which hair hangs that grows at `first`: what grows above the face is drawn to its edge."""
    start, edge = first[:1], jnp.interp(height, EDGE_HEIGHTS, EDGE)
    inner = edge + LOCK * smoothstep(0.0, 0.3, fallen)
    pressed = edge + (inner - edge) * (first - start) / jnp.maximum(edge - start, 0.1)
    spread = inner + (first - edge) * (GATHERED - inner) / (GATHERED - edge)
    azimuth = jnp.where(first < edge, pressed, jnp.where(first < GATHERED, spread, first))
    return azimuth.at[0].set(jnp.maximum(edge, start)[0])


def _hanging(values: Values, side: float, roots: Sheet, rest: Float[Array, "c 3"], drop, ground: Ground) -> Sheet:
    """The rows below the hairline, which fall by `drop` [c] along the edge of the face, over ears and neck."""
    root, shell = roots.base[:, -1], roots.base[:, -1] + roots.lift[:, -1]
    fallen = drop[:, None] * HANGING
    height, at_rest = root[:, 1, None] - fallen, rest[:, 1, None] - fallen
    # The column at the back, at 180 degrees, must not count as one at -180.
    sideways = jnp.where(rest[:, 2] < AXIS, jnp.maximum(side * rest[:, 0], 1e-4), side * rest[:, 0])
    azimuth = _gathered(jnp.arctan2(sideways, rest[:, 2] - AXIS)[:, None], at_rest, fallen)

    phase = 3.0 * roots.strand[:, -1:] + 7.0 * values["strands"]
    wave = values["curl"] * smoothstep(0.0, 0.4, fallen) * value_noise(1.5 * phase, 5.0 * at_rest + phase)
    clear = (0.03 + 0.8 * values["hair_volume"] * values["sides"]) * (0.25 + 0.75 * smoothstep(1.0, 1.7, azimuth))
    inner = jnp.minimum(_reach_at(ground, side * azimuth, at_rest), WIDEST) + 0.02
    # Hair hangs down from the widest place above, and falls back only slowly.
    relaxed = RELAXED * (1.0 - 0.7 * values["curl"]) * fallen
    widest = jnp.concatenate([from_axis(shell)[:, None], inner + clear + relaxed], axis=1)
    outer = jax.lax.cummax(widest, axis=1)[:, 1:] - relaxed + 0.06 * wave
    outer = jnp.maximum(outer, inner + 0.3 * clear)
    # Where nothing hangs, the rows lie at the end of the scalp's, so that no triangle sticks out.
    out = smoothstep(0.0, 0.15, drop)[:, None]
    outer = from_axis(shell)[:, None] + out * (outer - from_axis(shell)[:, None])
    depth = out * jnp.clip(outer - inner, 0.0, 1.5 * clear)

    place = lambda r: jnp.stack([r * side * jnp.sin(azimuth), height, AXIS + r * jnp.cos(azimuth)], axis=-1)
    base = place(outer - depth)
    return Sheet(
        base,
        place(outer) - base,
        jnp.broadcast_to(roots.strand[:, -1:], height.shape),
        roots.along[:, -1:] + fallen,
        roots.grown[:, -1:] * smoothstep(1.0, 0.55, jnp.asarray(HANGING)) * smoothstep(0.0, 0.1, drop)[:, None],
        roots.light[:, -1:] * (1.0 - 0.3 * smoothstep(0.5, 1.6, fallen)),
    )


def _tied(values: Values, turn: Float[Array, "c"], roots: Sheet, loose: Sheet) -> Sheet:
    """The rows below the hairline, drawn into a knot behind the head; `turn` goes from -1 to 1 around the head."""
    polar = jnp.pi * jnp.linspace(0.0, 1.0, len(HANGING))
    x, y = (jnp.sin(polar) * wind(jnp.pi * turn[:, None]) for wind in (jnp.sin, jnp.cos))
    ball = jnp.stack([x, y, jnp.broadcast_to(-jnp.cos(polar), x.shape)], axis=-1)
    mix = lambda open_, tied: open_ + values["hair_tied"] * (tied - open_)
    return loose._replace(
        base=mix(loose.base, KNOT + KNOT_SIZE * ball),
        lift=mix(loose.lift, 0.12 * KNOT_SIZE * ball),
        grown=mix(loose.grown, roots.grown[:, -1:]),
    )


def _fringe(values: Values, ground: Ground) -> Sheet:
    """What falls over the forehead, from a little above the hairline."""
    azimuth = jnp.linspace(-FRINGE_WIDTH, FRINGE_WIDTH, FRINGE_COLUMNS)
    rest, scalp, outward = (around(grid[:, -FRINGE_ROOTS:], azimuth) for grid in ground[:3])
    exists = smoothstep(0.0, 0.1, values["fringe"]) * smoothstep(0.0, 0.25, values["hair_length"])
    exists = exists * smoothstep(0.0, -FADE, bare(values, rest)) * (1.0 - values["hair_tied"])
    thick = values["hair_volume"] * (1.0 + 0.15 * _lumps(values, rest)) + 2.0 * CLEAR
    thick = exists * thick - (1.0 - exists) * SUNK
    polar = around(jnp.asarray(hairline_angles()), azimuth)[:, None] * SCALP_ROWS[-FRINGE_ROOTS:]
    strand = jnp.broadcast_to(azimuth[:, None] * RADIUS, thick.shape)
    sides = smoothstep(1.0, 0.75, jnp.abs(azimuth) / FRINGE_WIDTH)[:, None]
    lit = jnp.ones_like(thick)
    on_scalp = Sheet(scalp, thick[..., None] * outward, strand, polar * RADIUS, exists * sides, lit)

    share = jnp.linspace(0.0, 1.0, FRINGE_ROWS + 1)[1:]
    uneven = value_noise(azimuth * 7.0, jnp.full_like(azimuth, 5.0 * values["strands"]))
    length = values["fringe"] * (0.85 + 0.3 * jnp.square(azimuth / FRINGE_WIDTH) + 0.12 * uneven)
    fallen = length[:, None] * share
    at_rest, height = rest[:, -1, 1, None] - fallen, scalp[:, -1, 1, None] - fallen
    turn = jnp.arctan2(rest[:, -1, 0], rest[:, -1, 2] - AXIS)[:, None] - 0.9 * values["parting"] * fallen
    inner = _reach_at(ground, turn, at_rest) + exists[:, -1:] * (CLEAR + SUNK) - SUNK
    clear = exists[:, -1:] * (thick[:, -1:] * (1.0 - 0.6 * share) + 0.02)
    direction = jnp.stack([jnp.sin(turn), jnp.zeros_like(turn), jnp.cos(turn)], axis=-1)
    base = inner[..., None] * direction + jnp.stack([jnp.zeros_like(turn), height, jnp.full_like(turn, AXIS)], axis=-1)
    hanging = Sheet(
        base,
        clear[..., None] * direction,
        jnp.broadcast_to(strand[:, -1:], height.shape),
        polar[:, -1:] * RADIUS + fallen,
        exists[:, -1:] * sides * smoothstep(1.03, 0.5, share),
        jnp.ones_like(height),
    )
    return _joined(on_scalp, hanging, jnp.ones(FRINGE_COLUMNS))
