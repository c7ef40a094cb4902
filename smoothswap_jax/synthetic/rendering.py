"""Renders one scene of `geometry.py` and `materials.py`: finds the surfaces, lights them, averages the samples.

The method is sphere tracing (Hart 1996), with cones for groups of pixels. All arrays are flat lists of points. A
`fori_loop` also marks a place where XLA should store a result instead of fusing across it.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from smoothswap_jax.synthetic import geometry
from smoothswap_jax.synthetic import materials as paint
from smoothswap_jax.synthetic.factors import Values
from smoothswap_jax.synthetic.geometry import Point
from smoothswap_jax.synthetic.materials import Colour

SUPERSAMPLING = 2


class Scene(NamedTuple):
    person: Values
    camera: geometry.Camera
    light: Values
    background: Values


def _parts(scene: Scene, point: Point) -> tuple[Array, Array, Array, Array]:
    """Signed distances to head, hair, neck and torso, in image units."""
    q = geometry.to_head(scene.camera, point)
    head = geometry.smooth_min(geometry.face_distance(scene.person, q), geometry.ear_distance(scene.person, q), 0.03)
    hair = geometry.hair_distance(scene.person, q)
    neck, torso = geometry.neck_and_torso(scene.person, scene.camera, point)
    return head * scene.camera.scale, hair * scene.camera.scale, neck, torso


def _distance(scene: Scene, point: Point, relief: Array | float = 0.0) -> Array:
    head, hair, neck, torso = _parts(scene, point)
    body = geometry.smooth_min(head - relief * scene.camera.scale, neck, 0.05)
    return jnp.minimum(geometry.smooth_min(body, torso, 0.10), hair)


def _grid(n: int) -> tuple[Array, Array]:
    """x and y of the n * n cell centres of the image, row by row from the top."""
    centre = (jnp.arange(n) + 0.5) * (2.0 / n) - 1.0
    return jnp.tile(centre, n), jnp.repeat(-centre, n)


def _enlarge(values: Array, n: int, factor: int) -> Array:
    square = values.reshape(n, 1, n, 1)
    return jnp.broadcast_to(square, (n, factor, n, factor)).reshape(-1)


def _approach(scene: Scene, size: int) -> Array:
    """For each of size * size pixels a depth in front of the visible surface, and close to it.

    Coarse cells are marched first and stop where a surface may enter them, so that samples start near the surface.
    """
    z = jnp.full(((size // 8) ** 2,), geometry.MARCH_FROM)
    for cells, factor, steps in ((size // 8, 4, 8), (size // 2, 2, 7)):
        x, y = _grid(cells)

        def step(_, z, x=x, y=y, reach=1.42 / cells):
            return z - jnp.maximum(0.95 * _distance(scene, (x, y, z)) - reach, 0.0)

        z = _enlarge(jax.lax.fori_loop(0, steps, step, z), cells, factor)
    return z


def _hit(scene: Scene, x: Array, y: Array, z: Array) -> tuple[Array, Array]:
    """Depth of the surface behind (x, y, z), and 1 if there is one.

    Uses secant steps, because near the outline of a shape steps of the plain distance would be far too many. A ray that
    grazes a shape is pushed past it; otherwise it would never reach what is behind.
    """

    def step(_, state):
        z, last, moved = state
        left = _distance(scene, (x, y, z))
        slope = (last - left) / jnp.where(jnp.abs(moved) < 1e-6, 1e-6, moved)
        grazes = (slope < 0.08) & (left > 0.003)
        move = left / jnp.clip(slope, 0.45, 1.0) + jnp.where(grazes, 0.03, 0.0)
        return z - move, left, move

    z, last, _ = jax.lax.fori_loop(0, 12, step, (z, jnp.ones_like(z), jnp.ones_like(z)))
    return z, (last < 0.02) * (z > -1.2)


def _normals(scene: Scene, point: Point) -> Point:
    """Unit normals by differences over a tetrahedron, with lips and folds as relief."""
    corners = 0.006 * jnp.array([(1.0, -1.0, -1.0), (-1.0, -1.0, 1.0), (-1.0, 1.0, -1.0), (1.0, 1.0, 1.0)])

    def step(i, sums):
        moved = (point[0] + corners[i, 0], point[1] + corners[i, 1], point[2] + corners[i, 2])
        relief = paint.face_relief(scene.person, geometry.to_head(scene.camera, moved))
        d = _distance(scene, moved, relief)
        return tuple(total + corners[i, axis] * d for axis, total in enumerate(sums))

    x, y, z = jax.lax.fori_loop(0, 4, step, (jnp.zeros_like(point[0]),) * 3)
    length = jax.lax.rsqrt(x**2 + y**2 + z**2 + 1e-16)
    return x * length, y * length, z * length


def _along(point: Point, direction: Point, by) -> Point:
    return point[0] + direction[0] * by, point[1] + direction[1] * by, point[2] + direction[2] * by


def _lit(scene: Scene, point: Point, normal: Point, towards: Point) -> tuple[Array, Array]:
    """Soft shadows: how much of the lamp and of the sky a surface point sees, 0 (none) ... 1 (all)."""
    start = _along(point, normal, 0.03)

    def step(i, state):
        travelled, lamp, sky = state
        up = jnp.where(i == 0, 0.03, 0.13)
        ray = tuple(jnp.where(i < 2, n * up, t * travelled) for n, t in zip(normal, towards, strict=True))
        d = _distance(scene, (start[0] + ray[0], start[1] + ray[1], start[2] + ray[2]))
        crevice = jnp.where(i == 0, 6.0, 2.6) * jnp.maximum(up + 0.03 - d, 0.0)
        is_sky = i < 2
        sky = jnp.where(is_sky, sky - crevice, sky)
        lamp = jnp.where(is_sky, lamp, jnp.minimum(lamp, 0.5 + 5.0 * d / (travelled + 0.05)))
        return jnp.where(is_sky, travelled, travelled + jnp.clip(d, 0.04, 0.25)), lamp, sky

    one = jnp.ones_like(point[0])
    _, lamp, sky = jax.lax.fori_loop(0, 9, step, (0.05 * one, one, one))
    return jnp.clip(lamp, 0.0, 1.0), jnp.clip(sky, 0.25, 1.0)


def _albedo(scene: Scene, point: Point, px: float) -> tuple[Colour, Array, Array, Array]:
    """Colour of the surface, share of eyeball, gloss of hair and lips, and share of skin."""
    person, camera, back = scene.person, scene.camera, scene.background
    q = geometry.to_head(camera, point)
    head_px = px / camera.scale
    head, hair, neck, torso = _parts(scene, point)
    colour, wet, lips = paint.paint_face(person, q, head_px)
    colour = paint.mix(colour, paint.skin_colour(person), paint.coverage(head - neck - 0.01, 0.03))
    chest = jnp.abs(point[0] - geometry.chest_shift(camera))
    cloth = paint.coverage(jnp.minimum(-1.02 + back["collar"] + 0.42 * chest - point[1], head - 0.03), px)
    colour = paint.mix(colour, (back["cloth_red"], back["cloth_green"], back["cloth_blue"]), cloth)
    tress = paint.strands(person, q, head_px)
    red, green, blue = paint.hair_colour(person, person["hair_tone"])
    bright = 1.0 + 0.28 * tress
    hairy = paint.coverage(jnp.minimum(jnp.minimum(head, neck), torso) - hair, px)
    colour = paint.mix(colour, (red * bright, green * bright, blue * bright), hairy)
    bare = (1.0 - hairy) * (1.0 - cloth)
    return colour, wet * bare, 0.20 * lips * bare + 0.14 * hairy * (1.0 + 0.8 * tress), bare


def _towards_lamp(light: Values) -> Point:
    flat = jnp.cos(light["elevation"])
    return jnp.sin(light["azimuth"]) * flat, jnp.sin(light["elevation"]), jnp.cos(light["azimuth"]) * flat


def _shade(scene: Scene, point: Point, normal: Point, px: float, seen: Array, open_sky: Array) -> Colour:
    """Light that the surface sends to the camera (linear)."""
    light = scene.light
    towards = _towards_lamp(light)
    albedo, wet, gloss, skin = _albedo(scene, point, px)
    facing = sum(a * b for a, b in zip(normal, towards, strict=True))
    half = (towards[0], towards[1], towards[2] + 1.0)
    half_length = jax.lax.rsqrt(half[0] ** 2 + half[1] ** 2 + half[2] ** 2)
    mirror = jnp.maximum(sum(a * b for a, b in zip(normal, half, strict=True)) * half_length, 0.0)
    shine = (0.04 * mirror**12 + jnp.maximum(gloss, 0.0) * mirror**40 + 0.9 * wet * mirror**180) * seen
    sky = light["ambient"] * open_sky * (0.80 + 0.20 * normal[1])
    rim = 0.10 * jnp.maximum(1.0 - normal[2], 0.0) ** 3 * open_sky
    out = []
    for channel, (bleed, tint) in enumerate(((0.32, 0.10), (0.16, 0.0), (0.10, -0.12))):
        wrap = bleed * skin
        diffuse = jnp.clip((facing + wrap) / (1.0 + wrap), 0.0, 1.0) * (seen + (1.0 - seen) * 0.3 * wrap)
        key = light["key"] * (1.0 + tint * light["warmth"])
        out.append(jnp.clip(albedo[channel] ** 2 * (key * diffuse + sky + rim) + key * shine, 0.0, 1.5))
    return out[0], out[1], out[2]


def _backdrop(back: Values, x: Array, y: Array) -> Colour:
    """A smooth, out-of-focus background (linear light)."""
    up = jnp.clip(0.5 + 0.5 * (y + 0.6 * back["slope"] * x), 0.0, 1.0)
    top = (back["top_red"], back["top_green"], back["top_blue"])
    bottom = (back["bottom_red"], back["bottom_green"], back["bottom_blue"])
    glow = jnp.exp(-((x - back["blob_x"]) ** 2 + (y - back["blob_y"]) ** 2) / back["blob_size"] ** 2)
    blob = (back["blob_red"], back["blob_green"], back["blob_blue"])
    red, green, blue = paint.mix(paint.mix(bottom, top, up), blob, 0.8 * glow)
    return red**2, green**2, blue**2


def render_scene(scene: Scene, size: int) -> Float[Array, "size size 3"]:
    """One image in [-1, 1]. Shadows are computed once per pixel, everything else once per sample."""
    px = 2.0 / size
    x, y = _grid(size)
    near = _approach(scene, size)
    steps = px * ((jnp.arange(SUPERSAMPLING) + 0.5) / SUPERSAMPLING - 0.5)
    offsets = (jnp.tile(steps, SUPERSAMPLING), jnp.repeat(steps, SUPERSAMPLING))

    def find(offset):
        point = (x + offset[0], y + offset[1])
        z, solid = _hit(scene, *point, near)
        return (*point, z), _normals(scene, (*point, z)), solid

    points, normals, solid = jax.lax.map(find, offsets)
    first_point, first_normal = ((a[0][0], a[1][0], a[2][0]) for a in (points, normals))
    seen, open_sky = _lit(scene, first_point, first_normal, _towards_lamp(scene.light))
    # The first sample of a pixel may miss a shape that another one hits.
    seen, open_sky = jnp.where(solid[0], seen, 0.5), jnp.where(solid[0], open_sky, 0.5)

    def add_sample(total, sample):
        point, normal, solid = sample
        surface = _shade(scene, point, normal, px / SUPERSAMPLING, seen, open_sky)
        colour = paint.mix(_backdrop(scene.background, point[0], point[1]), surface, solid)
        return tuple(t + c for t, c in zip(total, colour, strict=True)), None

    total, _ = jax.lax.scan(add_sample, (jnp.zeros_like(x),) * 3, (points, normals, solid))
    image = jnp.stack([c.reshape(size, size) for c in total], axis=-1) * SUPERSAMPLING**-2
    return 2.0 * jnp.clip(jnp.sqrt(image), 0.0, 1.0) - 1.0
