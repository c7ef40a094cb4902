"""A triangle rasteriser in JAX: which triangle each sample of a picture sees, and how lit a point is by a depth map.

Vertices are snapped to a grid finer than the samples, so that the edge functions (Pineda 1988, "A Parallel Algorithm
for Polygon Rasterization") are exact integers, and triangles that share an edge leave no crack between them. The
bounding box of a triangle is cut into strips of a few samples side by side; the strips of all triangles form one list,
which is gone through in chunks. Each triangle has as many strips as its box needs in this very picture: hidden, small
and distant triangles cost little, and no buffer has to be sized for a mesh. A sample that lies in the triangle puts
(depth, triangle), packed into one integer, into the picture, where the largest stays. The order in which this happens
does not matter, so the result is the same on every run.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Bool, Float, Int, UInt

MAX_SIZE = 1024
"""Samples a side; beyond it the grid of vertices would be coarser than 1/32 of a sample."""
MAX_TRIANGLES = 2**16
"""Leaves 16 of the 32 bits of a key to the depth."""

LEAST_INDEX_BITS = 8
"""A depth has at most 24 bits, because float32 holds no more."""

STRIP = 8
"""Samples side by side."""
CHUNK = 2**11
"""Strips gone through at once, at least."""
COORDINATE_BITS = 10
"""A strip's column and row, and the strips side by side in a box, are packed into one integer of 3 times as many."""
EXTENT_BITS = 15
"""A triangle is at most 2**15 steps of the grid wide and tall, so that twice its area is an int32."""

Keep = Callable[[Int[Array, "n"], Float[Array, "n 3"]], Bool[Array, "n"]]
"""Whether a triangle, given by number, is opaque at a point, given by the weights of its corners."""


class Cutout(NamedTuple):
    """Triangles with holes, such as strips of hair: those from number `first` to the next cut-out's first, opaque where
    `keep` says so."""

    first: int
    keep: Keep | None


class Samples(NamedTuple):
    """What each sample of a picture sees, row by row from the top."""

    triangle: Int[Array, "p p"]
    """By number; -1 where there is nothing."""
    weights: Float[Array, "p p 3"]
    """Of the triangle's corners, in space: at least 0 and in sum 1, or all 0 where there is nothing."""
    nearness: Float[Array, "p p"]
    """0 where there is nothing."""


class _Edge(NamedTuple):
    """Twice the area between an edge and the first sample of the box, and what each column and row adds to it."""

    start: Int[Array, "..."]
    per_column: Int[Array, "..."]
    per_row: Int[Array, "..."]


class _Setup(NamedTuple):
    """All that is known of a triangle before it is drawn."""

    left: Int[Array, "..."]
    top: Int[Array, "..."]
    across: Int[Array, "..."]
    """Strips side by side in its box."""
    strips: Int[Array, "..."]
    """All strips of its box; 0 if it is not drawn."""
    edges: tuple[_Edge, _Edge]
    """Opposite its first and its second corner; positive inside."""
    area: Int[Array, "..."]
    """Twice its area in steps of the grid."""
    nearness: tuple[Float[Array, "..."], Float[Array, "..."], Float[Array, "..."]]


class _Depths(NamedTuple):
    """How nearness becomes the upper bits of a key; the lower ones are the triangle's number."""

    farthest: Float[Array, ""]
    scale: Float[Array, ""]
    index_bits: int


def rasterize(
    points: Float[Array, "v 3"],
    triangles: Int[Array, "t 3"],
    size: int,
    visible: Bool[Array, "t"] | None = None,
    cutouts: Sequence[Cutout] = (),
    perspective: bool = True,
) -> Samples:
    """Finds the nearest triangle at the centre of each of size * size samples.

    A vertex is (x, y, nearness): x and y in samples from the top left corner of the picture, nearness a quantity that
    is linear on the screen and grows towards the camera. For a perspective camera it is 1 / (distance along its axis),
    and all vertices lie before the camera; for a parallel one (`perspective=False`) it is any z. Both sides of a
    triangle are seen; `visible` hides some triangles. Of triangles whose depths differ by less than 2**-17 of the range
    of all depths (for 2**15 triangles; twice that for twice as many) the last may be seen before the nearest. Triangles
    that `oversized` counts are not drawn.

    Raises ValueError if there are more than MAX_SIZE samples a side or MAX_TRIANGLES triangles.
    """
    count = triangles.shape[0]
    if not 0 < size <= MAX_SIZE:
        raise ValueError(f"a picture has 1 ... {MAX_SIZE} samples a side, not {size}")
    if not 0 < count <= MAX_TRIANGLES:
        raise ValueError(f"a mesh has 1 ... {MAX_TRIANGLES} triangles, not {count}")
    setup = _set_up(points, triangles, size, visible)
    depths = _depth_range(setup)
    keys = jnp.zeros(size * size, jnp.uint32)
    runs = [Cutout(0, None), *cutouts]
    ends = [*(cutout.first for cutout in cutouts), count]
    for (first, keep), end in zip(runs, ends, strict=True):
        keys = _draw(keys, setup, depths, range(first, end), keep, perspective)
    return _resolve(keys.reshape(size, size), setup, depths, perspective)


def oversized(points: Float[Array, "v 3"], triangles: Int[Array, "t 3"], size: int) -> Int[Array, ""]:
    """Counts the triangles that are wider or taller than 512 samples and than the picture, or not finite."""
    corners = points[triangles]
    extent = jnp.max(corners[..., :2], axis=1) - jnp.min(corners[..., :2], axis=1)
    fits = jnp.all(extent <= _largest(size), axis=-1) & jnp.all(jnp.isfinite(corners), axis=(1, 2))
    return jnp.sum(~fits)


def interpolate(samples: Samples, values: Float[Array, "v c"], triangles: Int[Array, "t 3"]) -> Float[Array, "p p c"]:
    """What the samples see of values given at the vertices; 0 where there is nothing."""
    corners = triangles[jnp.maximum(samples.triangle, 0)]
    first, second, third = (samples.weights[..., i, None] * values[corners[..., i]] for i in range(3))
    return first + second + third


def _largest(size: int) -> int:
    """Samples that a triangle may be wide and tall."""
    return max(size, 512)


def _grid(size: int) -> int:
    """Steps of the grid of vertices in a sample, a power of 2."""
    return 2 ** (EXTENT_BITS - (_largest(size) - 1).bit_length())


def _set_up(
    points: Float[Array, "v 3"], triangles: Int[Array, "t 3"], size: int, visible: Bool[Array, "t"] | None
) -> _Setup:
    grid = _grid(size)
    # A triangle that reaches from the picture as far as this is too large to be drawn, so clipping spoils none.
    reach = 3.0 * _largest(size)
    flat = jnp.where(jnp.all(jnp.isfinite(points), axis=-1), jnp.clip(points[:, :2].T, -reach, reach), reach)
    snapped = jnp.round(flat * grid).astype(jnp.int32)
    x, y, nearness = (
        (values[triangles[:, 0]], values[triangles[:, 1]], values[triangles[:, 2]])
        for values in (snapped[0], snapped[1], points[:, 2])
    )
    (left, columns), (top, rows) = _span(x, size), _span(y, size)
    area = (x[1] - x[0]) * (y[2] - y[0]) - (x[2] - x[0]) * (y[1] - y[0])
    sign = jnp.where(area < 0, -1, 1)
    centre_x, centre_y = left * grid + grid // 2, top * grid + grid // 2

    def edge(i: int, j: int) -> _Edge:
        start = (x[i] - centre_x) * (y[j] - centre_y) - (x[j] - centre_x) * (y[i] - centre_y)
        return _Edge(sign * start, sign * grid * (y[i] - y[j]), sign * grid * (x[j] - x[i]))

    across = (columns + STRIP - 1) // STRIP
    drawn = area != 0 if visible is None else (area != 0) & visible
    return _Setup(
        left, top, across, jnp.where(drawn, across * rows, 0), (edge(1, 2), edge(2, 0)), sign * area, nearness
    )


def _span(at: tuple[Array, Array, Array], size: int) -> tuple[Int[Array, "t"], Int[Array, "t"]]:
    """The first sample of the picture whose centre lies between three corners, and the number of them.

    The number is 0 for a triangle that is too large.
    """
    grid, half = _grid(size), _grid(size) // 2
    low = jnp.minimum(jnp.minimum(at[0], at[1]), at[2])
    high = jnp.maximum(jnp.maximum(at[0], at[1]), at[2])
    first = jnp.maximum(-((half - low) // grid), 0)
    last = jnp.minimum((high - half) // grid, size - 1)
    fits = high - low <= _largest(size) * grid
    return first, jnp.where(fits, jnp.maximum(last - first + 1, 0), 0)


def _depth_range(setup: _Setup) -> _Depths:
    """Spreads the depths of what is drawn over all values that the upper bits have."""
    index_bits = max((setup.strips.shape[0] - 1).bit_length(), LEAST_INDEX_BITS)
    drawn, (first, second, third) = setup.strips > 0, setup.nearness
    farthest = jnp.min(jnp.where(drawn, jnp.minimum(jnp.minimum(first, second), third), jnp.inf))
    nearest = jnp.max(jnp.where(drawn, jnp.maximum(jnp.maximum(first, second), third), -jnp.inf))
    steps = float(2 ** (32 - index_bits) - 2)
    return _Depths(farthest, jnp.where(nearest > farthest, steps / (nearest - farthest), 0.0), index_bits)


class _Strips(NamedTuple):
    """What drawing needs of a triangle, in as few arrays as possible: looking them up is what takes the time."""

    box: Int[Array, "..."]
    start: Int[Array, "..."]
    """The number of its first strip in the list."""
    edges: tuple[_Edge, _Edge]
    area: Int[Array, "..."]
    depth: Float[Array, "..."]
    """In units of the key, at the third corner."""
    slopes: tuple[Float[Array, "..."], Float[Array, "..."]]
    """What the depth gains towards the other two corners, by twice the area to the edge opposite."""


def _strips(part: _Setup, starts: Int[Array, "t"], depths: _Depths) -> _Strips:
    box = (part.left << 2 * COORDINATE_BITS) | (part.top << COORDINATE_BITS) | part.across
    first, second, third = part.nearness
    scale = depths.scale / part.area
    # The depth starts at 1, so that the key 0 means nothing.
    depth = 1.0 + (third - depths.farthest) * depths.scale
    return _Strips(box, starts, part.edges, part.area, depth, ((first - third) * scale, (second - third) * scale))


def _draw(
    keys: UInt[Array, "n"], setup: _Setup, depths: _Depths, drawn: range, keep: Keep | None, perspective: bool
) -> UInt[Array, "n"]:
    """Puts a run of triangles into the picture."""
    if not drawn:
        return keys
    size = round(keys.size**0.5)
    part: _Setup = jax.tree.map(lambda a: a[drawn.start : drawn.stop], setup)
    ends = jnp.cumsum(part.strips)
    table = _strips(part, ends - part.strips, depths)
    chunk = max(CHUNK, keys.size // (4 * STRIP))

    def put(state: tuple[Array, Array]) -> tuple[Array, Array]:
        done, keys = state
        owner = _owners(table.start, ends, done, chunk)
        own: _Strips = jax.tree.map(lambda a: a[owner][:, None], table)
        column, row = _positions(own, done)
        twice_areas = _twice_areas(own, column, row)
        x, y = _left(own.box) + column, _top(own.box) + row
        listed = done + jnp.arange(chunk)[:, None] < ends[-1]
        seen = listed & (x < size) & (twice_areas[0] >= 0) & (twice_areas[1] >= 0) & (twice_areas[2] >= 0)
        triangle = jnp.broadcast_to(drawn.start + owner[:, None], seen.shape)
        if keep is not None:
            nearness = tuple(near[owner][:, None] for near in part.nearness)
            weights, _ = _weights(twice_areas, own.area, nearness, perspective)
            seen &= keep(triangle.ravel(), weights.reshape(-1, 3)).reshape(seen.shape)
        key = _pack(own, twice_areas, triangle, depths)
        cell = jnp.where(seen, y * size + x, keys.size)
        return done + chunk, keys.at[cell.ravel()].max(key.ravel(), mode="drop")

    return jax.lax.while_loop(lambda state: state[0] < ends[-1], put, (jnp.int32(0), keys))[1]


def _owners(starts: Int[Array, "t"], ends: Int[Array, "t"], done: Array, chunk: int) -> Int[Array, "n"]:
    """The triangle that each strip of the list belongs to, from strip `done` on."""
    here = (ends > starts) & (ends > done) & (starts < done + chunk)
    slot = jnp.where(here, jnp.maximum(starts - done, 0), chunk)
    firsts = jnp.zeros(chunk, jnp.int32).at[slot].max(jnp.arange(starts.shape[0], dtype=jnp.int32), mode="drop")
    return jax.lax.cummax(firsts)


def _left(box: Int[Array, "..."]) -> Int[Array, "..."]:
    return box >> 2 * COORDINATE_BITS


def _top(box: Int[Array, "..."]) -> Int[Array, "..."]:
    return (box >> COORDINATE_BITS) & (2**COORDINATE_BITS - 1)


def _positions(own: _Strips, done: Array) -> tuple[Int[Array, "n strip"], Int[Array, "n 1"]]:
    """Columns and rows of the samples of strips within their boxes."""
    across = own.box & (2**COORDINATE_BITS - 1)
    nth = done + jnp.arange(own.start.shape[0])[:, None] - own.start
    row = jnp.floor((nth + 0.5) / across).astype(jnp.int32)
    return (nth - row * across) * STRIP + jnp.arange(STRIP), row


def _twice_areas(
    own: _Setup | _Strips, column: Int[Array, "..."], row: Int[Array, "..."]
) -> tuple[Array, Array, Array]:
    """Between a sample of the box and the edges opposite each corner; negative outside."""
    first, second = (edge.start + column * edge.per_column + row * edge.per_row for edge in own.edges)
    return first, second, own.area - first - second


def _weights(
    twice_areas: tuple[Array, Array, Array], area: Array, nearness: tuple[Array, ...], perspective: bool
) -> tuple[Float[Array, "... 3"], Float[Array, "..."]]:
    """Weights of the corners in space, and the nearness of the sample."""
    shares = [part.astype(jnp.float32) / area for part in twice_areas]
    parts = [share * near for share, near in zip(shares, nearness, strict=True)]
    near = parts[0] + parts[1] + parts[2]
    weights = [part / near for part in parts] if perspective else shares
    return jnp.stack(weights, axis=-1), near


def _pack(
    own: _Strips, twice_areas: tuple[Array, Array, Array], triangle: Int[Array, "..."], depths: _Depths
) -> UInt[Array, "..."]:
    first, second, _ = twice_areas
    depth = own.depth + first * own.slopes[0] + second * own.slopes[1]
    most = float(2 ** (32 - depths.index_bits) - 1)
    return (jnp.clip(depth, 1.0, most).astype(jnp.uint32) << depths.index_bits) | triangle.astype(jnp.uint32)


def _resolve(keys: UInt[Array, "p p"], setup: _Setup, depths: _Depths, perspective: bool) -> Samples:
    size = keys.shape[0]
    found = keys > 0
    triangle = (keys & (2**depths.index_bits - 1)).astype(jnp.int32)
    own: _Setup = jax.tree.map(lambda a: a[triangle], setup)
    column, row = jnp.arange(size)[None, :] - own.left, jnp.arange(size)[:, None] - own.top
    weights, nearness = _weights(_twice_areas(own, column, row), own.area, own.nearness, perspective)
    return Samples(
        jnp.where(found, triangle, -1), jnp.where(found[..., None], weights, 0.0), jnp.where(found, nearness, 0.0)
    )


def depth_map(points: Float[Array, "n 3"], size: int) -> Float[Array, "size size"]:
    """The largest z of a cloud of points in each of size * size cells; -inf where there are none.

    x and y are in cells from the top left corner, z grows towards the lamp. Points outside the map are left out.
    """
    column, row = (jnp.floor(points[:, axis]).astype(jnp.int32) for axis in (0, 1))
    inside = (column >= 0) & (column < size) & (row >= 0) & (row < size)
    cell = jnp.where(inside, row * size + column, size * size)
    return jnp.full(size * size, -jnp.inf).at[cell].max(points[:, 2], mode="drop").reshape(size, size)


def visibility(
    depths: Float[Array, "size size"], points: Float[Array, "n 3"], bias: Float[Array, "n"] | float
) -> Float[Array, "n"]:
    """How much of the lamp each point sees past a depth map (of `depth_map`, say), 0 (nothing) ... 1 (all).

    Percentage-closer filtering (Reeves et al. 1987) of 3 x 3 cells, weighted by a quadratic B-spline: shadows have no
    steps between cells. A cell begins to shade a point that lies `bias` (in units of z) behind it, and does so fully
    from twice that on; so surfaces whose z changes by less than `bias` in 1.5 cells do not shade themselves. Cells
    outside the map shade nothing.
    """
    size = depths.shape[0]
    width = size + 4
    padded = jnp.pad(depths, 2, constant_values=-jnp.inf).ravel()
    column, row = (jnp.clip(jnp.floor(points[:, axis]), -1.0, size) for axis in (0, 1))
    across, down = _spline(points[:, 0] - column - 0.5), _spline(points[:, 1] - row - 0.5)
    middle = (row.astype(jnp.int32) + 2) * width + column.astype(jnp.int32) + 2
    total = jnp.zeros_like(points[:, 2])
    for i, weight_y in enumerate(down):
        for j, weight_x in enumerate(across):
            before = padded[middle + (i - 1) * width + j - 1] - points[:, 2]
            total += weight_y * weight_x * jnp.clip(2.0 - before / bias, 0.0, 1.0)
    return total


def _spline(offset: Float[Array, "n"]) -> tuple[Array, Array, Array]:
    """Weights of the cell before, the cell itself and the cell after, by the offset -0.5 ... 0.5 from its centre."""
    offset = jnp.clip(offset, -0.5, 0.5)
    return 0.5 * (0.5 - offset) ** 2, 0.75 - offset**2, 0.5 * (0.5 + offset) ** 2
