"""From the factors of one person to an image: geometry, what each sample sees, its material, its light."""

from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from smoothswap_jax.synthetic import beard, clothes, glasses, hair, heads, mouth, pigments, strands
from smoothswap_jax.synthetic.attributes import CAMERA_FIELDS, EXPRESSION_FIELDS, STYLE_FIELDS
from smoothswap_jax.synthetic.camera import Camera, ffhq_camera, to_image
from smoothswap_jax.synthetic.eyes import lash_cover, paint_eye, paint_lashes
from smoothswap_jax.synthetic.heads import (
    LASHES,
    LEFT_EYE,
    LOWER_TEETH,
    MASK_NAMES,
    RIGHT_EYE,
    SKIN,
    TONGUE,
    UPPER_TEETH,
    Heads,
)
from smoothswap_jax.synthetic.lighting import FIELDS as LIGHT_FIELDS
from smoothswap_jax.synthetic.lighting import Light, light_of, open_share, shade
from smoothswap_jax.synthetic.population import IDENTITY_FIELDS
from smoothswap_jax.synthetic.raster import Cutout, Samples, depth_map, interpolate, rasterize, visibility
from smoothswap_jax.synthetic.scenery import paint_background, surroundings
from smoothswap_jax.synthetic.skin import Colours, paint_skin, relief
from smoothswap_jax.synthetic.surface import Surface

SUPERSAMPLING = 2  # samples a pixel has a side
MAP_SIZE, MAP_REACH = 64, 2.2  # cells of the shadow map a side, and decimetres from its centre to its edge
EYE_RADIUS = 0.146  # decimetres
HAIR, BEARD, FRAME, LENS = range(LASHES + 1, LASHES + 5)
PARTS = (*heads.PART_NAMES, "hair", "beard", "frame", "lens")
MOST_PIXELS = 512  # a side

PAINTED_AT_ONCE = 2048  # samples
EMBOSSED_FROM = 96  # pixels a side; what stands out of the mesh is finer than those of smaller pictures

Values = dict[str, Array]
Painted = TypeVar("Painted")


class Assets(NamedTuple):
    """All arrays that a person is made of, but for the factors."""

    heads: Heads
    rest: Float[Array, "v 3"]  # vertices of the mean head; of eyeballs unit vectors from their centre
    scalp: hair.ScalpTable
    beard: beard.BeardTable


@cache
def load_assets() -> Assets:
    """The arrays of `heads.npz`, as numpy arrays."""
    with jax.ensure_compile_time_eval():  # as it may be called first while a program is traced
        head: Any = heads.load_heads()
        scalp = hair.scalp_table(heads.load_arrays(), head.mean)
        rest: Any = np.array(head.mean)
        for eye in head.eyes:
            outwards = rest[eye] - rest[eye].mean(0)
            rest[eye] = outwards / np.linalg.norm(outwards, axis=1, keepdims=True)
        return Assets(head, rest, scalp, beard.beard_table(head.mean, head.triangles, head.parts))


class Figure(NamedTuple):
    """The mesh of a person, whose triangles and parts are those of `topology()`.

    paint: what the material at a vertex follows from. Of the head: its place on the mean head (of eyeballs: its
    direction from their centre) and MASK_NAMES; of hair and beard: the tangent of strands and `HairMesh.coordinates`.
    """

    vertices: Float[Array, "v 3"]
    normals: Float[Array, "v 3"]
    paint: Float[Array, "v 7"]


class Seen(NamedTuple):
    """What the samples of an image see, row by row from the top.

    normals, tangents: in the frame of the image; tangents are 0 but on hair. share: of the sky; lit: of the hard lamp.
    """

    part: Int[Array, "n"]  # -1: the background
    normals: Float[Array, "n 3"]
    tangents: Float[Array, "n 3"]
    paint: Float[Array, "n 7"]
    share: Float[Array, "n"]
    lit: Float[Array, "n"]


class Topology(NamedTuple):
    triangles: Int[np.ndarray, "t 3"]
    parts: Int[np.ndarray, "t"]

    def first(self, part: int) -> int:
        """The first of the triangles of a part that is not broken up by others."""
        return int(np.argmax(self.parts == part))


@cache
def topology() -> Topology:
    """Triangles of the whole figure: the head and frames, then what has holes: lashes, beard, hair, lenses."""
    head, table = load_assets().heads, load_assets().beard
    solid = head.parts != LASHES
    frame = glasses.PARTS == glasses.FRAME
    of_beard, of_hair = beard.beard_triangles(table), hair.hair_triangles()
    start = np.cumsum([0, len(head.mean), of_beard.max() + 1, of_hair.max() + 1])
    pieces = [
        (head.triangles[solid], head.parts[solid]),
        (start[3] + glasses.TRIANGLES[frame], np.full(frame.sum(), FRAME)),
        (head.triangles[~solid], head.parts[~solid]),
        (start[1] + of_beard, np.full(len(of_beard), BEARD)),
        (start[2] + of_hair, np.full(len(of_hair), HAIR)),
        (start[3] + glasses.TRIANGLES[~frame], np.full((~frame).sum(), LENS)),
    ]
    triangles, parts = (np.concatenate(arrays).astype(np.int32) for arrays in zip(*pieces, strict=True))
    return Topology(triangles, parts)


def figure_of(assets: Assets, values: Values, vertices: Float[Array, "v 3"]) -> Figure:
    """The person whose deformed head has these vertices, with hair, beard, clothes and glasses."""
    head = assets.heads
    normals = heads.vertex_normals(vertices, head.triangles, head.triangles_of)
    vertices = clothes.dress(values, vertices, normals, head.mean)
    whiskers = beard.beard_mesh(values, assets.beard, vertices, normals)
    tresses = hair.hair_mesh(values, assets.scalp, vertices, normals)
    worn = glasses.glasses_mesh(values, glasses.anchors(vertices))
    strands_of = lambda mesh: jnp.concatenate([mesh.tangents, mesh.coordinates], axis=1)
    of_head = jnp.concatenate([assets.rest, head.masks], axis=1)
    return Figure(
        jnp.concatenate([vertices, whiskers.vertices, tresses.vertices, worn]),
        jnp.concatenate([normals, whiskers.normals, tresses.normals, _glasses_normals(worn)]),
        jnp.concatenate([of_head, strands_of(whiskers), strands_of(tresses), jnp.zeros((len(worn), 7))]),
    )


def _glasses_normals(vertices: Float[Array, "g 3"]) -> Float[Array, "g 3"]:
    around = heads.triangles_around(glasses.TRIANGLES, len(vertices))
    return heads.vertex_normals(vertices, jnp.asarray(glasses.TRIANGLES), jnp.asarray(around))


def on_screen(figure: Figure, camera: Camera, side: int) -> Float[Array, "v 3"]:
    """The figure's vertices as `rasterize` takes them, in a picture of side * side samples."""
    at = to_image(camera, figure.vertices)
    return jnp.stack([(1 + at[:, 0]) * side / 2, (1 - at[:, 1]) * side / 2, 1 / (camera.distance - at[:, 2])], axis=1)


def rastered(values: Values, figure: Figure, camera: Camera, side: int) -> Samples:
    """Which triangle each of side * side samples of the image sees."""
    top, screen = topology(), on_screen(figure, camera, side)
    triangles = jnp.asarray(top.triangles)
    corners = [figure.paint[triangles[:, i]] for i in range(3)]

    def painted(triangle: Int[Array, "n"], weights: Float[Array, "n 3"], columns: range) -> Float[Array, "n c"]:
        # Column by column: XLA:CPU fuses a gather of rows into the noise, and repeats it for each of its terms.
        at = [sum(weights[:, i] * corners[i][:, column][triangle] for i in range(3)) for column in columns]
        return jnp.stack(at, axis=1)

    rest, coordinates = range(3), range(3, 7)
    cutouts = (
        Cutout(top.first(LASHES), lambda t, w: lash_cover(values, painted(t, w, rest))),
        Cutout(top.first(BEARD), lambda t, w: beard.keep_beard(values, painted(t, w, coordinates))),
        Cutout(top.first(HAIR), lambda t, w: strands.keep_hair(values, painted(t, w, coordinates))),
        Cutout(top.first(LENS), lambda t, w: glasses.lens_kept(values["lens_tint"], screen[triangles[t]], w)),
    )
    # Where no hair grows nothing is kept.
    cover = jnp.max(jnp.stack([corner[:, -2] for corner in corners]), axis=0)
    grown = (cover > 0.0) | ~np.isin(top.parts, (HAIR, BEARD))
    return rasterize(screen, triangles, side, grown, cutouts)


def see(assets: Assets, values: Values, figure: Figure, camera: Camera, light: Light, samples: Samples) -> Seen:
    """What the samples see, interpolated from the vertices."""
    top, head = topology(), assets.heads
    turned, normals = figure.vertices @ camera.turn.T, figure.normals @ camera.turn.T
    share = jnp.ones(len(figure.vertices)).at[: len(head.mean)].set(_head_share(head, values, light, camera))
    of_hair = np.zeros(len(figure.vertices), bool)
    of_hair[top.triangles[(top.parts == HAIR) | (top.parts == BEARD)]] = True
    tangents = jnp.where(of_hair[:, None], figure.paint[:, :3] @ camera.turn.T, 0.0)
    columns = [normals, tangents, figure.paint, share[:, None], _lit(turned, normals, light)[:, None]]
    at = interpolate(samples, jnp.concatenate(columns, axis=1), jnp.asarray(top.triangles))
    at = at.reshape(samples.triangle.size, -1)
    part = jnp.where(samples.triangle < 0, -1, jnp.asarray(top.parts)[samples.triangle]).reshape(-1)
    # Hair, glasses and lashes have two sides.
    normal, flips = _unit(at[:, :3]), part >= LASHES
    normal = jnp.where((flips & (normal[:, 2] < 0))[:, None], -normal, normal)
    return Seen(part, normal, at[:, 3:6], at[:, 6:13], at[:, 13], at[:, 14])


def _head_share(head: Heads, values: Values, light: Light, camera: Camera) -> Float[Array, "v"]:
    """The share of the sky that reaches the head's vertices; an open mouth lets it in."""
    share = open_share(head.sky, head.normals, light, camera.turn)
    inner = np.zeros(len(head.mean), bool)
    inner[_head_triangles((UPPER_TEETH, LOWER_TEETH, TONGUE))] = True
    within = jnp.where(inner, 1.0, head.masks[:, MASK_NAMES.index("mouth")])
    share = share * (1 - within) + within * mouth.open_mouth_share(values, head.mean)
    return share * clothes.cloth_shadow(values, head.mean)


@cache
def _head_triangles(parts: tuple[int, ...]) -> Int[np.ndarray, "t 3"]:
    head = heads.load_heads()
    return np.asarray(head.triangles)[np.isin(head.parts, parts)]


def _lit(turned: Float[Array, "v 3"], normals: Float[Array, "v 3"], light: Light) -> Float[Array, "v"]:
    """How much of the hard lamp reaches each vertex, by a depth map seen from the lamp."""
    side = _unit(jnp.cross(jnp.array([0.0, 1.0, 0.0]), light.towards))
    axes = jnp.stack([side, jnp.cross(light.towards, side), light.towards], axis=1)
    scale = MAP_SIZE / (2 * MAP_REACH)
    onto_map = lambda points: (
        (points @ axes) * jnp.array([scale, scale, 1.0]) + jnp.array([MAP_SIZE / 2, MAP_SIZE / 2, 0.0])
    )
    triangles = topology().triangles
    depths = depth_map(onto_map(jnp.concatenate([turned, turned[triangles].mean(1)])), MAP_SIZE)
    cell = 1 / scale
    return visibility(depths, onto_map(turned + cell * normals), 1.5 * cell)


def _unit(vectors: Float[Array, "*n 3"]) -> Float[Array, "*n 3"]:
    return vectors / jnp.maximum(jnp.linalg.norm(vectors, axis=-1, keepdims=True), 1e-6)


def surface_of(values: Values, seen: Seen, px: Array) -> Surface:
    """The material of each sample. px: width of a sample in decimetres."""
    hair_colour = pigments.hair_colour(values["hair_eumelanin"], values["hair_pheomelanin"], values["hair_grey"])
    iris = pigments.iris_colour(values["iris_melanin"])
    of_skin = lambda part, paint: _skin(values, hair_colour, paint, px)
    of_eye = lambda part, paint: paint_eye(values, iris, _unit(paint[:, :3]), px / EYE_RADIUS)
    of_hair = lambda part, paint: strands.paint_hair(values, hair_colour, paint[:, 3:], px)
    of_beard = lambda part, paint: beard.paint_beard(values, hair_colour, paint[:, 3:], px)
    of_glasses = lambda part, paint: glasses.paint_glasses(values, part - FRAME)

    def of_mouth(part: Int[Array, "n"], paint: Float[Array, "n 7"]) -> Surface:
        rest, tongue = paint[:, :3], (part == TONGUE).astype(jnp.float32)
        mouth_surface = blend(mouth.paint_teeth(rest, px), mouth.paint_tongue(rest, px), tongue)
        return blend(mouth_surface, paint_lashes(values, hair_colour, rest), (part == LASHES).astype(jnp.float32))

    kinds = {
        of_skin: (SKIN,),
        of_hair: (HAIR,),
        of_eye: (LEFT_EYE, RIGHT_EYE),
        of_mouth: (UPPER_TEETH, LOWER_TEETH, TONGUE, LASHES),
        of_beard: (BEARD,),
        of_glasses: (FRAME, LENS),
    }
    n = len(seen.part)
    surface = Surface(jnp.zeros((n, 3)), jnp.zeros(n), jnp.ones(n), jnp.zeros(n))
    for painter, parts in kinds.items():
        surface = _painted(surface, seen, jnp.isin(seen.part, jnp.array(parts)), painter)
    return surface


def _painted(start: Painted, seen: Seen, where: Bool[Array, "n"], painter: Callable[..., Painted]) -> Painted:
    """`start` with the samples of `where` painted: only those cost time, some at once until none is left.

    painter: from the parts [n] and the paint [n, 7] of samples to what they are painted with.
    """
    n = len(where)
    rows = jnp.concatenate([jnp.nonzero(where, size=n, fill_value=n)[0], jnp.full(PAINTED_AT_ONCE, n)])

    def paint_some(state: tuple[Array, Painted]) -> tuple[Array, Painted]:
        done, painted = state
        some = jax.lax.dynamic_slice(rows, (done,), (PAINTED_AT_ONCE,))
        new = painter(seen.part[some], seen.paint[some])
        return done + PAINTED_AT_ONCE, jax.tree.map(lambda a, b: a.at[some].set(b, mode="drop"), painted, new)

    return jax.lax.while_loop(lambda state: state[0] < where.sum(), paint_some, (jnp.int32(0), start))[1]


def embossed(values: Values, seen: Seen, side: int, px: Array) -> Seen:
    """With the normals of skin bent by what is too fine for the mesh: folds, pores and grooves of the lips."""
    skin = seen.part == SKIN
    painter = lambda part, paint: relief(values, paint[:, :3], _masks(paint), px)
    height = _painted(jnp.zeros(len(skin)), seen, skin, painter).reshape(side, side)
    skin = skin.reshape(side, side)

    def slope(axis: int) -> Float[Array, "p p"]:
        after, before = (jnp.roll(height, shift, axis) for shift in (-1, 1))
        inside = jnp.roll(skin, -1, axis) & jnp.roll(skin, 1, axis)
        return jnp.where(inside, after - before, 0.0) / (2 * px)

    bend = jnp.stack([slope(1), -slope(0), jnp.zeros_like(height)], axis=-1).reshape(-1, 3)
    return seen._replace(normals=jnp.where(skin.reshape(-1, 1), _unit(seen.normals - bend), seen.normals))


def _masks(paint: Float[Array, "n 7"]) -> dict[str, Float[Array, "n"]]:
    return dict(zip(MASK_NAMES, paint[:, 3:].T, strict=True))


def _skin(values: Values, hair_colour: Float[Array, "3"], paint: Float[Array, "n 7"], px: Array) -> Surface:
    """Skin with its hair roots, and clothes over it."""
    rest, masks = paint[:, :3], _masks(paint)
    skin_colour = pigments.skin_colour(values["melanin"], values["haemoglobin"], values["carotene"])
    lip_colour = pigments.lip_colour(values["melanin"], values["haemoglobin"], values["lip_melanin"])
    skin = paint_skin(values, Colours(skin_colour, lip_colour, hair_colour), rest, masks, px)
    roots = jnp.maximum(strands.scalp_stubble(values, rest, px), beard.stubble(values, rest, px))
    skin = skin._replace(albedo=skin.albedo + roots[:, None] * (0.8 * hair_colour - skin.albedo))
    return blend(skin, clothes.paint_cloth(values, rest, px), clothes.cloth_cover(values, rest, px))


def blend(below: Surface, above: Surface, share: Float[Array, "n"]) -> Surface:
    """`above` over a share of `below`."""
    return Surface(
        *(a + share.reshape(share.shape + (1,) * (a.ndim - 1)) * (b - a) for a, b in zip(below, above, strict=True))
    )


def photographed(radiance: Float[Array, "p p 3"], size: int) -> Float[Array, "size size 3"]:
    """Linear light of supersamples -> a picture in [-1, 1], encoded as sRGB (IEC 61966-2-1)."""
    step = radiance.shape[0] // size
    linear = radiance.reshape(size, step, size, step, 3).mean((1, 3))
    # Highlights roll off as on film instead of being cut off at white.
    linear = jnp.where(linear > 0.8, 1.0 - 0.2 * jnp.exp((0.8 - linear) / 0.2), linear)
    encoded = jnp.where(linear <= 0.0031308, 12.92 * linear, 1.055 * jnp.maximum(linear, 1e-6) ** (1 / 2.4) - 0.055)
    return 2.0 * jnp.clip(encoded, 0.0, 1.0) - 1.0


def render_one(assets: Assets, factors: Any, vertices: Float[Array, "v 3"], size: int) -> Float[Array, "size size 3"]:
    """One picture in [-1, 1]. factors: `world.Factors` of it. vertices: of the deformed head."""
    values = named(factors)
    light = light_of(values, surroundings(factors.background))
    camera = camera_of(assets.heads, values, vertices, factors.pose)
    figure = figure_of(assets, values, vertices)
    side = SUPERSAMPLING * size
    px = 2 / (side * camera.scale)
    seen = see(assets, values, figure, camera, light, rastered(values, figure, camera, side))
    if size >= EMBOSSED_FROM:
        seen = embossed(values, seen, side, px)
    surface = surface_of(values, seen, px)
    radiance = shade(surface, light, seen.normals, seen.tangents, seen.share, seen.lit)
    centre = (jnp.arange(size) + 0.5) * (2 / size) - 1
    x, y = jnp.tile(centre, size), jnp.repeat(-centre, size)
    behind = light.exposure * paint_background(factors.background, x, y, 2 / size).reshape(size, size, 3)
    behind = jnp.repeat(jnp.repeat(behind, SUPERSAMPLING, 0), SUPERSAMPLING, 1)  # it has nothing finer than a pixel
    sky = (seen.part < 0).reshape(side, side, 1)
    return photographed(jnp.where(sky, behind, radiance.reshape(side, side, 3)), size)


def named(factors: Any) -> Values:
    """The scalar factors of one image by their names."""
    fields = (
        (factors.identity, IDENTITY_FIELDS),
        (factors.expression, EXPRESSION_FIELDS),
        (factors.camera, CAMERA_FIELDS),
        (factors.light, LIGHT_FIELDS),
        (factors.style, STYLE_FIELDS),
    )
    return {name: vector[i] for vector, names in fields for i, name in enumerate(names)}


def camera_of(head: Heads, values: Values, vertices: Float[Array, "v 3"], pose: Float[Array, "3"]) -> Camera:
    return ffhq_camera(heads.five_points(vertices[head.landmarks]), pose, values["distance"])


def parts_one(assets: Assets, factors: Any, vertices: Float[Array, "v 3"], size: int) -> Int[Array, "size size"]:
    """What the centre of each pixel of a picture shows, by PARTS; -1 for the background."""
    values = named(factors)
    camera = camera_of(assets.heads, values, vertices, factors.pose)
    samples = rastered(values, figure_of(assets, values, vertices), camera, size)
    return jnp.where(samples.triangle < 0, -1, jnp.asarray(topology().parts)[samples.triangle])
