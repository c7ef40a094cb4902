"""Whether what covers a face is kept better by a mask than by none:

    python -m smoothswap_jax.bench.occluders [--checkpoint=default] [--pairs=200] [--seed=0] [--photos=DIR]
    python -m smoothswap_jax.bench.occluders --frames=100 [--people=6] [--seed=0]

Hands in the person's own skin tone, microphones, coloured bars and sheets of paper are pasted on rendered people and on
their true swaps alike, so that the true swap of a covered face is known. The first four columns are ratios of mean
squares: the change within what covers the face, over the change without a mask; the error to the truth on the rest of
the face's square, over that of the swap of the uncovered face; the error on all of it, over that without a mask and
over that of the unchanged target. Then the share of swaps that come nearer to the truth than without a mask, and the
overlap of the mask with what covers (intersection over union). Brackets are 95% intervals over the targets' people.
'itself' is the mask of what was pasted: nothing could be better. Faces without anything before them come first: what
a mask keeps of them is its price.

--photos: aligned faces that nothing covers, below DIR. What has no truth there is left out.

--frames: how still masks are in videos, instead: rendered people turn their heads and change their expressions, with
the noise of a camera, and what covers them goes round before them. The columns are the share of pixels, in a frame,
that begin or cease to be kept and turn back within two frames; the root mean square of second differences of the share
of the square that is kept, which is large where whole pieces come and go; and the overlap. Means over people. The
median or mean of some frames is what a filter over time would make of the masks.
"""

import argparse
import colorsys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import Float, Int, UInt8
from PIL import Image
from scipy import ndimage

from smoothswap_jax.bench.folder import photos_below
from smoothswap_jax.bench.table import table
from smoothswap_jax.bench.video import rendered_actors
from smoothswap_jax.data.rendered import swaps_with_truth, world_fields
from smoothswap_jax.evaluation.protocols.base import drawn_pairs
from smoothswap_jax.faces.align import align_face
from smoothswap_jax.faces.photos import load_photo, to_uint8
from smoothswap_jax.inference.load import load_swapper
from smoothswap_jax.inference.occlusion import (
    FACE,
    LEAST,
    SIDE,
    SOFTNESS,
    UNIT,
    colours_of,
    distance_from_skin,
    keep_occluders,
)
from smoothswap_jax.inference.swapper import Mask, Swapper
from smoothswap_jax.metrics.bootstrap import Interval, bootstrap_interval, ratio_of_means_interval

Faces = UInt8[np.ndarray, "b s s 3"]
Cover = Float[np.ndarray, "b s s"]
Distance = Float[np.ndarray, "s s"]
"""From an outline, in shares of the picture's side; negative inside."""
Drawn = tuple[Float[np.ndarray, "s s"], Float[np.ndarray, "s s 3"]]
"""How much of each pixel is covered, and its colour times that."""

COLUMNS = "inside, rest, all / no mask, all / target, better, overlap"
MOVING_COLUMNS = "flips back, jumps, overlap"
FILM_SIDE, NOISE = 128, 2.0
"""Pixels a side of the faces in films, and levels of their noise."""
FILTERS: dict[str, Callable[[Cover], Cover]] = {
    "by colour": lambda kept: kept,
    "median of 3 frames": lambda kept: ndimage.median_filter(kept, (3, 1, 1), mode="nearest"),
    "median of 5 frames": lambda kept: ndimage.median_filter(kept, (5, 1, 1), mode="nearest"),
    "mean of 3 frames": lambda kept: ndimage.uniform_filter1d(kept, 3, axis=0, mode="nearest"),
}
MIRRORED = 0.8
"""How far a face's colours are from those of its mirror image where `by_mirror` takes it for covered."""
RENDERED = 38.0
"""Levels that a face differs from the swapper's own rendering of it by where `by_own_rendering` does."""


class Covered(NamedTuple):
    """Faces, or their swaps, with something pasted over them."""

    faces: Faces
    cover: Cover


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint", default="default", metavar="DIR")
    parser.add_argument("--pairs", type=int, default=200, metavar="N")
    parser.add_argument("--seed", type=int, default=0, help="of people and of what covers them")
    parser.add_argument("--photos", type=Path, metavar="DIR")
    parser.add_argument("--frames", type=int, metavar="N", help="of a film of each person")
    parser.add_argument("--people", type=int, default=6, metavar="N", help="of films")
    args = parser.parse_args(argv)
    if args.frames:
        films = acted_films(args.people, args.frames, args.seed)
        print(f"{'':<28} {MOVING_COLUMNS}")
        print(table(on_films(films, args.seed)))
        return
    files = photos_below(args.photos) if args.photos else []
    world = {**world_fields(load_swapper(args.checkpoint).config["data"]), "seed": args.seed}
    swapper = Swapper.load(args.checkpoint)
    swaps = swaps_with_truth(world, swapper.size, lambda labels: drawn_pairs(labels, args.pairs))
    sources, targets, truths = (to_uint8(images) for images in swaps.images)
    z = swapper.embed(sources)
    print(f"{'':<28} {COLUMNS}")
    print(table(on_rendered_people(swapper, z, targets, truths, swaps.people[:, 1], args.seed)))
    if files:
        print(table({"photographs": on_photographs(files, swapper.size, args.seed)}))


def on_rendered_people(
    swapper: Swapper, z: jax.Array, targets: Faces, truths: Faces, people: Int[np.ndarray, "b"], seed: int
) -> dict[str, dict[str, str]]:
    """The columns of the module's text, by what covers the targets and by mask."""
    masks = {"by colour": keep_occluders, "by mirror image": by_mirror, "by own rendering": by_own_rendering(swapper)}
    bare = swapper.generate(targets, z)
    found = {}
    for kind, pasted in all_pasted(targets, truths, seed).items():
        before, truth = pasted
        swaps = bare if kind == "nothing" else swapper.generate(before.faces, z)
        weights = {"no mask": np.ones_like(before.cover)}
        weights |= {name: resized(mask(before.faces, swaps), swapper.size) for name, mask in masks.items()}
        if kind != "nothing":
            weights["itself"] = 1 - before.cover
        found[kind] = {
            name: " ".join(columns(weight, before, truth.faces, swaps, bare, people))
            for name, weight in weights.items()
        }
    return found


def all_pasted(targets: Faces, truths: Faces, seed: int) -> dict[str, tuple[Covered, Covered]]:
    """Targets and truths with the same before both, by kind; the first kind is nothing."""
    none = np.zeros(targets.shape[:3])
    found = {"nothing": (Covered(targets, none), Covered(truths, none))}
    for number, (kind, draw) in enumerate(DRAW.items()):
        size = targets.shape[1]
        drawn = [
            draw(np.random.default_rng((seed, number, row)), size, skin_tone(face)) for row, face in enumerate(targets)
        ]
        found[kind] = (_pasted(targets, drawn), _pasted(truths, drawn))
    return found


def columns(
    weights: Cover, before: Covered, truth: Faces, swaps: Faces, bare: Faces, people: Int[np.ndarray, "b"]
) -> list[str]:
    """What `COLUMNS` names, as text, of swaps that a mask was put on; bare: swaps of the uncovered faces."""
    target, true, swap, uncovered = (faces.astype(np.float64) for faces in (before.faces, truth, swaps, bare))
    cover = before.cover[..., None]
    masked = target + weights[..., None] * (swap - target)
    error, without, copied = (((one - true) ** 2).mean((1, 2, 3)) for one in (masked, swap, target))
    rest = ((1 - cover) * (masked - true) ** 2).sum() / ((1 - cover) * (uncovered - true) ** 2).sum()
    found = [
        f"{(cover * (masked - target) ** 2).sum() / (cover * (swap - target) ** 2).sum():.2f}" if cover.any() else "-",
        f"{rest:.2f}",
        _text(ratio_of_means_interval(error, without, people)),
        _text(ratio_of_means_interval(error, copied, people)),
        _text(bootstrap_interval((error < without).astype(np.float64), groups=people)),
        f"{overlap(weights, before.cover).mean():.2f}" if cover.any() else "-",
    ]
    return [f"{one:<{width}}" for one, width in zip(found, (5, 5, 20, 20, 20, 4), strict=True)]


def _text(interval: Interval) -> str:
    return f"{interval.value:.3f} [{interval.low:.3f}, {interval.high:.3f}]"


def overlap(weights: Cover, cover: Cover) -> Float[np.ndarray, "b"]:
    """Of what a mask keeps with what covers, intersection over union."""
    kept, covered = weights < 0.5, cover > 0.5
    return (kept & covered).sum((1, 2)) / np.maximum((kept | covered).sum((1, 2)), 1)


def resized(weights: Float[np.ndarray, "b n n"], size: int) -> Cover:
    return np.stack(
        [np.asarray(Image.fromarray(one).resize((size, size), Image.Resampling.BILINEAR)) for one in weights]
    )


def on_photographs(files: list[Path], size: int, seed: int) -> dict[str, float | int | dict[str, float]]:
    """How often and how much `keep_occluders` keeps of photographs that nothing covers, and how well it finds what is
    pasted on them."""
    faces = np.stack([np.asarray(Image.fromarray(load_photo(file)).resize((size, size))) for file in files])
    pasted = all_pasted(faces, faces, seed)
    kept = {kind: 1 - resized(keep_occluders(one.faces, one.faces), size) for kind, (one, _) in pasted.items()}
    bare = kept.pop("nothing")
    return {
        "faces": len(faces),
        "nothing before them, some kept": float((bare.max((1, 2)) > 0.5).mean()),
        "nothing before them, share": float(bare.mean()),
        "overlap": {kind: float(overlap(1 - one, pasted[kind][0].cover).mean()) for kind, one in kept.items()},
    }


# --- Over time ----------------------------------------------------------------------------------------------


def acted_films(people: int, frames: int, seed: int) -> list[Faces]:
    """Of each person the aligned faces of all frames, without anything before them."""
    films: list[Faces] = []
    while len(films) < people:
        actors = rendered_actors(frames, seed + len(films) // 2)
        rows = list(range(frames))
        for heads, squares in zip(actors.heads(rows), actors.squares(rows), strict=True):
            films.append(
                np.stack([align_face(head, quad, FILM_SIDE) for head, quad in zip(heads, squares, strict=True)])
            )
    return films[:people]


def on_films(films: list[Faces], seed: int) -> dict[str, dict[str, str]]:
    """What `MOVING_COLUMNS` names, as text, by what covers the faces and by filter."""
    found: dict[str, dict[str, str]] = {}
    for kind in ("nothing", *DRAW):
        rows: dict[str, list[tuple[float, ...]]] = {}
        for number, film in enumerate(films):
            rng = np.random.default_rng((seed, number))
            covered = Covered(film, np.zeros(film.shape[:3])) if kind == "nothing" else _moving(film, kind, rng)
            noisy = np.rint(np.clip(covered.faces + rng.normal(0, NOISE, film.shape), 0, 255)).astype(np.uint8)
            cover = resized(covered.cover.astype(np.float32), SIDE)
            kept = 1 - keep_occluders(noisy, noisy)
            masks = {"itself": cover, **{name: through(kept) for name, through in FILTERS.items()}}
            for name, mask in masks.items():
                rows.setdefault(name, []).append((*unrest(mask), float(overlap(1 - mask, cover).mean())))
        means = {name: np.mean(values, axis=0) for name, values in rows.items()}
        found[kind] = {name: f"{back:.5f} {jumps:.4f}  {same:.2f}" for name, (back, jumps, same) in means.items()}
    return found


def _moving(film: Faces, kind: str, rng: np.random.Generator) -> Covered:
    """A film with something that goes round before the face."""
    size = film.shape[1]
    cover, colour = DRAW[kind](rng, size, skin_tone(film[0]))
    ways = [
        size * np.array([0.1 * np.sin(2 * np.pi * k / 37), 0.15 * np.sin(2 * np.pi * k / 50)]) for k in range(len(film))
    ]
    moved = lambda picture, way: ndimage.shift(picture, way, order=1, mode="nearest")
    return _pasted(film, [(moved(cover, way), moved(colour, (*way, 0))) for way in ways])


def unrest(kept: Float[np.ndarray, "frames side side"]) -> tuple[float, float]:
    """The first two of `MOVING_COLUMNS`, of how much of each place is kept."""
    turns = (kept[1:] > 0.5) != (kept[:-1] > 0.5)
    back = (turns[:-1] & turns[1:]).mean() + (turns[:-2] & ~turns[1:-1] & turns[2:]).mean()
    return float(back), float(np.sqrt(np.mean(np.diff(kept.mean((1, 2)), 2) ** 2)))


# --- Other masks, which are worse ---------------------------------------------------------------------------


def by_mirror(targets: Faces, swaps: Faces) -> Float[np.ndarray, "b side side"]:
    """Keeps pieces of the face that differ from its mirror image, of the two sides that which is less like skin."""
    found = []
    for colours in map(colours_of, targets):
        soft = ndimage.gaussian_filter(colours, (1.5, 1.5, 0))
        differs = np.linalg.norm((soft - soft[:, ::-1]) / UNIT, axis=2)
        odd = distance_from_skin(colours)
        pieces, _ = ndimage.label((differs > MIRRORED) & (odd > odd[:, ::-1]) & FACE)
        shares = np.bincount(pieces.ravel()) / pieces.size
        shares[0] = 0
        found.append(1 - ndimage.gaussian_filter((shares > LEAST)[pieces].astype(np.float32), SOFTNESS))
    return np.stack(found)


def by_own_rendering(swapper: Swapper) -> Mask:
    """Keeps what the swapper cannot render: where a face differs from its swap with itself."""

    def mask(targets: Faces, swaps: Faces) -> Cover:
        own = swapper.generate(targets, swapper.embed(targets))
        differs = np.abs(own.astype(np.float32) - targets).mean(3)
        return (ndimage.gaussian_filter(differs, (0, 1, 1)) < RENDERED).astype(np.float32)

    return mask


# --- What covers faces --------------------------------------------------------------------------------------


def skin_tone(face: UInt8[np.ndarray, "s s 3"]) -> Float[np.ndarray, "3"]:
    """The median colour of cheeks and nose, in levels."""
    rows, across = (slice(round(a * len(face)), round(b * len(face))) for a, b in ((0.57, 0.67), (0.38, 0.62)))
    return np.median(face[rows, across].reshape(-1, 3), axis=0)


def _pasted(faces: Faces, drawn: list[Drawn]) -> Covered:
    cover, colour = (np.stack(parts) for parts in zip(*drawn, strict=True))
    mixed = faces * (1 - cover[..., None]) + colour
    return Covered(np.rint(np.clip(mixed, 0, 255)).astype(np.uint8), cover)


def draw_hand(rng: np.random.Generator, size: int, skin: Float[np.ndarray, "3"]) -> Drawn:
    """An arm from the left, the right or below, a palm, four fingers and a thumb over the face."""
    x, y = _places(size)
    at = np.array([rng.uniform(0.35, 0.65), rng.uniform(0.4, 0.8)])
    towards = rng.choice([0.05, np.pi - 0.05, np.pi / 2]) + rng.uniform(-0.45, 0.45)
    arm, side = _direction(towards), _direction(towards + np.pi / 2)
    palm, tone = at + 0.2 * arm, skin * rng.uniform(0.85, 1.1)
    bones = [(palm, palm + 0.6 * arm, 0.1), (palm + 0.02 * side, palm - 0.02 * side + 0.06 * arm, 0.125)]
    for finger in (-1.5, -0.5, 0.5, 1.5):
        root = palm + 0.068 * finger * side
        length = 0.27 - 0.03 * abs(finger) + rng.uniform(-0.02, 0.02)
        bones.append((root, root - length * arm + 0.02 * finger * side, 0.036))
    thumb = rng.choice([-1, 1]) * side
    bones.append((palm + 0.1 * thumb + 0.05 * arm, palm + 0.2 * thumb - 0.08 * arm, 0.04))
    layers = [(_capsule(x, y, start, end, radius), radius) for start, end, radius in bones]
    return _stacked([(outline, _lit(tone, outline, radius)) for outline, radius in layers], size)


def draw_microphone(rng: np.random.Generator, size: int, skin: Float[np.ndarray, "3"]) -> Drawn:
    """A dark grey ball of wire mesh on a stick from below, near the mouth."""
    x, y = _places(size)
    at = np.array([0.5, 0.72]) + rng.uniform(-0.1, 0.1, 2)
    radius, grey = rng.uniform(0.08, 0.12), rng.uniform(30, 75)
    stick = _capsule(x, y, at, at + _direction(np.pi / 2 + rng.uniform(-0.7, 0.7)), 0.45 * radius)
    ball = np.hypot(x - at[0], y - at[1]) - radius
    wires = 13 * np.sign(np.sin(40 * np.pi * x) * np.sin(40 * np.pi * y))
    shine = 38 * np.clip(-ball / radius, 0, 1) ** 2
    tint = np.array([1, 1, rng.uniform(1, 1.1)])
    body = 0.7 * grey + 25 * np.clip(-stick / radius, 0, 1)
    return _stacked([(stick, body[..., None] * tint), (ball, (grey + wires + shine)[..., None] * tint)], size)


def draw_bar(rng: np.random.Generator, size: int, skin: Float[np.ndarray, "3"]) -> Drawn:
    """A round bar of any colour across the picture."""
    x, y = _places(size)
    at = np.array([rng.uniform(0.35, 0.65), rng.uniform(0.35, 0.8)])
    along, radius = 2 * _direction(rng.uniform(0, np.pi)), rng.uniform(0.04, 0.08)
    colour = 255 * np.array(colorsys.hsv_to_rgb(rng.uniform(), rng.uniform(0.5, 1), rng.uniform(0.3, 1)))
    outline = _capsule(x, y, at - along, at + along, radius)
    return _stacked([(outline, _lit(colour, outline, radius))], size)


def draw_sheet(rng: np.random.Generator, size: int, skin: Float[np.ndarray, "3"]) -> Drawn:
    """White paper with lines."""
    x, y = _places(size)
    x, y = x - rng.uniform(0.3, 0.7), y - rng.uniform(0.4, 0.85)
    across, down = _direction(rng.uniform(-0.5, 0.5)), rng.uniform(0.12, 0.25, 2)
    u, v = x * across[0] + y * across[1], y * across[0] - x * across[1]
    lines = np.sin(2 * np.pi * v / 0.06) > 0.75
    white = 255 * rng.uniform(0.85, 0.97) - 25 * np.clip(u + 0.5, 0, 1) - 30 * lines
    return _stacked([(np.maximum(abs(u) - down[0], abs(v) - down[1]), white[..., None] * np.array([1, 1, 0.98]))], size)


DRAW: dict[str, Callable[[np.random.Generator, int, Float[np.ndarray, "3"]], Drawn]] = {
    "hand": draw_hand,
    "microphone": draw_microphone,
    "bar": draw_bar,
    "sheet": draw_sheet,
}


def _places(size: int) -> tuple[np.ndarray, np.ndarray]:
    at = (np.arange(size) + 0.5) / size
    x, y = np.meshgrid(at, at)
    return x, y


def _direction(angle: float) -> Float[np.ndarray, "2"]:
    return np.array([np.cos(angle), np.sin(angle)])


def _capsule(x: np.ndarray, y: np.ndarray, start: np.ndarray, end: np.ndarray, radius: float) -> Distance:
    """The distance to a line with round ends."""
    dx, dy = end - start
    along = np.clip(((x - start[0]) * dx + (y - start[1]) * dy) / (dx * dx + dy * dy), 0, 1)
    return np.hypot(x - start[0] - along * dx, y - start[1] - along * dy) - radius


def _lit(colour: Float[np.ndarray, "3"], outline: Distance, radius: float) -> Float[np.ndarray, "s s 3"]:
    """Darker towards the outline, as what is round."""
    return np.clip(colour * (0.84 + 0.22 * np.clip(-outline / radius, 0, 1))[..., None], 0, 255)


def _stacked(layers: list[tuple[Distance, Float[np.ndarray, "s s 3"]]], size: int) -> Drawn:
    """Outlines with their colours, the lowest first, with edges a pixel wide."""
    cover, colour = np.zeros((size, size)), np.zeros((size, size, 3))
    for outline, own in layers:
        share = np.clip(0.5 - outline * size, 0, 1)
        cover, colour = (
            cover * (1 - share) + share,
            colour * (1 - share[..., None]) + share[..., None] * own,
        )
    return cover, colour


if __name__ == "__main__":
    main()
