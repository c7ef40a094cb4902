"""Beards: where they grow, stubble as paint, and shells of hair over the skin for longer ones."""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from smoothswap_jax.synthetic.hair import HairMesh, Values, unit
from smoothswap_jax.synthetic.noise import bump, detail, smoothstep, value_noise
from smoothswap_jax.synthetic.strands import keep_hair, paint_hair
from smoothswap_jax.synthetic.surface import Surface

FIELDS = {
    "beard_length": (0.0, 0.6),  # dm; below .02 it is stubble
    "beard_density": (0.0, 1.0),  # 0 shaven
    "beard_area": (0.0, 1.0),  # 0 chin only, .5 around the mouth, 1 with cheeks and jaw
    "moustache": (0.0, 1.0),
}
LAYERS = (0.6, 1.0)  # of the length
COVER = (1.1, 0.65)  # share of hairs that reach each of them
LONG = 0.04  # length at which hair hides the skin, dm
EVERYWHERE = {"beard_density": 1.0, "beard_area": 1.0, "moustache": 1.0}


class BeardTable(NamedTuple):
    """The part of the head's mesh on which beards grow."""

    vertices: Int[Array, "b"]  # of the head
    triangles: Int[Array, "t 3"]  # of one shell, as rows of `vertices`
    rest: Float[Array, "b 3"]  # of the mean head


def beard_table(
    mean: Float[np.ndarray, "v 3"], triangles: Int[np.ndarray, "t 3"], parts: Int[np.ndarray, "t"]
) -> BeardTable:
    """The triangles of the skin that a full beard touches."""
    grows = np.asarray(beard_cover({name: jnp.asarray(x) for name, x in EVERYWHERE.items()}, jnp.asarray(mean))) > 0.15
    kept = triangles[(parts == 0) & grows[triangles].any(1)]
    vertices, rows = np.unique(kept, return_inverse=True)
    return BeardTable(*map(jnp.asarray, (vertices, rows.reshape(-1, 3), mean[vertices])))


def beard_triangles(table: BeardTable) -> Int[np.ndarray, "t 3"]:
    """Triangles of `beard_mesh`, the innermost shell first."""
    return np.concatenate([np.asarray(table.triangles) + layer * len(table.vertices) for layer in range(len(LAYERS))])


def beard_cover(values: Values, rest: Float[Array, "n 3"]) -> Float[Array, "n"]:
    """How densely a beard grows at places on the mean head, 0 to 1."""
    x, y, z = jnp.abs(rest[..., 0]), rest[..., 1], rest[..., 2]
    lips = jnp.hypot(x / 0.245, (y + 0.688) / 0.1 + 1e-6)  # 1 on their outline
    below_lip = bump(y + 0.82, 0.07) * smoothstep(0.02, 0.07, x) * smoothstep(0.22, 0.14, x)
    moustache = smoothstep(-0.49, -0.53, y + 0.9 * x * x) * smoothstep(0.32, 0.24, x) * smoothstep(-0.74, -0.66, y)
    chin = smoothstep(0.27, 0.15, x) * smoothstep(-0.76, -0.83, y) * smoothstep(-0.35, -0.1, z)
    mouth = smoothstep(0.35, 0.27, x) * smoothstep(-0.58, -0.66, y) * smoothstep(-0.35, -0.1, z)
    cheek_line = -0.57 + 1.15 * jnp.maximum(x - 0.33, 0.0) - 0.1 * smoothstep(0.25, 0.4, x)
    cheek = smoothstep(0.04, -0.09, y - cheek_line) * smoothstep(0.22, 0.32, x + 2.0 * jnp.maximum(-0.85 - y, 0.0))
    area = values["beard_area"]
    lower = jnp.maximum(chin, smoothstep(0.15, 0.5, area) * mouth)
    lower = jnp.maximum(lower, smoothstep(0.5, 0.9, area) * cheek) * (1.0 - 0.8 * below_lip)
    before_ears = smoothstep(-0.66, -0.5, z + 0.15 * jnp.clip(-0.45 - y, 0.0, 0.5))
    above_throat = smoothstep(-1.28, -1.08, y)
    grown = jnp.maximum(lower * before_ears * above_throat, values["moustache"] * moustache)
    return values["beard_density"] * grown * smoothstep(0.95, 1.2, lips)


def stubble(values: Values, rest: Float[Array, "n 3"], px: Array | float) -> Float[Array, "n"]:
    """How much of the skin's colour gives way to that of hair, 0 to 1: stubble, or the roots of a beard."""
    follicles = value_noise(*jnp.moveaxis(rest / 0.016, -1, 0)) * detail(px / 0.016)
    patches = value_noise(*jnp.moveaxis(rest / 0.09, -1, 0), seed=1)
    cover = beard_cover(values, rest) * (1.0 + 0.25 * patches)
    dark = 0.3 + 0.6 * smoothstep(0.0, LONG, values["beard_length"])
    return jnp.clip(cover * dark * (1.0 + 0.9 * follicles), 0.0, 1.0)


def beard_mesh(
    values: Values, table: BeardTable, vertices: Float[Array, "v 3"], normals: Float[Array, "v 3"]
) -> HairMesh:
    """Shells over the skin of the deformed head: hair stands off it, and hangs the more the longer it is."""
    skin, outward, rest = vertices[table.vertices], normals[table.vertices], table.rest
    cover = beard_cover(values, rest)
    lip = smoothstep(-0.78, -0.7, rest[:, 1]) * smoothstep(0.35, 0.25, jnp.abs(rest[:, 0]))
    chin = smoothstep(0.55, 0.1, jnp.abs(rest[:, 0])) * smoothstep(-0.6, -0.95, rest[:, 1])
    length = values["beard_length"] * (0.35 + 0.65 * chin)
    length = (length + lip * (jnp.minimum(length, 0.05) - length)) * smoothstep(0.0, 0.5, cover)
    hang = smoothstep(0.05, 0.3, length)[:, None] * jnp.array([0.0, -1.0, 0.15])
    grow = length[:, None] * (outward * (1.0 - 0.6 * smoothstep(0.05, 0.4, length))[:, None] + hang)
    down = jnp.array([0.0, -1.0, 0.0]) + 0.3 * outward
    tangent = unit(down - (down * outward).sum(-1, keepdims=True) * outward)
    strand = 2.0 * jnp.arctan2(rest[:, 0], rest[:, 2] + 0.65)
    exists = smoothstep(0.0, LONG, values["beard_length"])
    shells = []
    for share, reached in zip(LAYERS, COVER, strict=True):
        at = skin + share * grow - 0.01 * (1.0 - exists) * outward
        along = 0.4 - 0.7 * rest[:, 1] + share * length
        coordinates = jnp.stack(
            [strand, along, exists * reached * cover, 0.55 + 0.45 * share * jnp.ones_like(strand)], -1
        )
        shells.append(HairMesh(at, outward, tangent, coordinates))
    return HairMesh(*(jnp.concatenate(part) for part in zip(*shells, strict=True)))


def keep_beard(values: Values, coordinates: Float[Array, "n 4"]) -> Bool[Array, "n"]:
    """Where a shell of beard is opaque."""
    return keep_hair(_as_hair(values), coordinates)


def paint_beard(
    values: Values, colour: Float[Array, "3"], coordinates: Float[Array, "n 4"], px: Array | float
) -> Surface:
    """Colour and gloss of a beard whose mean colour, linear RGB, is `colour`."""
    return paint_hair(_as_hair(values), colour, coordinates, px)


def _as_hair(values: Values) -> Values:
    """A beard's hairs are wavy, and as long as the beard."""
    return values | {"curl": jnp.asarray(0.35), "hair_length": 0.3 + 2.0 * values["beard_length"]}
