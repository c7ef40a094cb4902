"""Reads the factors of the synthetic face world from pixels, by ridge regression.

It is fitted in closed form to people rendered from a world of another seed, without a network, so it has nothing in
common with what a method is trained with or judged by. A linear reading is weak: of 32-pixel images it explains about
half of the variance of an average factor. But how weak is known: the share of variance explained (R2) is measured for
every factor, on people that neither the fit nor the choice of the ridge has seen, and factors below `KEEP` are never
read.

Readings minimise the squared error, so they are shrunk towards the mean of all people: distances between readings are
smaller than between the true factors. Compare them with distances of strangers read by the same reader.
"""

import io
from collections.abc import Callable, Iterator
from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import Float, UInt8
from scipy.linalg import solve
from scipy.ndimage import gaussian_filter

from smoothswap_jax.data.rendered import synthetic_factors
from smoothswap_jax.faces.photos import to_float, to_uint8
from smoothswap_jax.synthetic import world
from smoothswap_jax.synthetic.world import render_many

VERSION = "factor reader/2"
"""Of the fit: readers that an evaluation keeps under another version are fitted anew."""
FIELDS = {
    "identity": world.IDENTITY_FIELDS,
    "expression": world.EXPRESSION_FIELDS,
    "pose": world.POSE_FIELDS,
    "light": world.LIGHT_FIELDS,
}
READ_SIZE = 32  # larger images are averaged down to it: the regression needs a matrix of all pairs of pixels
KEEP = 0.4  # least R2 of a factor that is read, in both sharp and soft images
# Swaps are softer than renderings: fitted to sharp images only, the regression relies on edges and misreads swaps.
BLURS = ((0.0, 0.5), (0.6, 0.25), (1.0, 0.25))  # standard deviation in pixels of READ_SIZE, share of the fit
SOFT_BLUR, SOFT_NOISE = 0.7, 0.03  # of the soft images that R2 is measured on
NOISES = (0.03, 0.05, 0.08, 0.12)  # strengths of the ridge, as standard deviations of noise on pixels in [-1, 1]

Images = UInt8[np.ndarray, "n s s 3"]
Pixels = Float[np.ndarray, "n r r 3"]
Readings = Float[np.ndarray, "n k"]


class FactorReader(NamedTuple):
    """A fitted reader: `(pixels - mean) @ matrix`, with a column for each kept factor, and how good it is.

    size: of the images, pixels. spread, seed, people: of the world it was fitted to. noise: strength of the ridge, one
    of `NOISES`. r2, r2_soft: share of variance explained, by group and factor, in held-out sharp and soft images; 1 is
    perfect, 0 is guessing the mean, and it may be negative. kept: names of the factors that are read, by group.
    """

    size: int
    spread: float
    seed: int
    people: int
    noise: float
    mean: Float[np.ndarray, "d"]
    matrix: Float[np.ndarray, "d k"]
    r2: dict[str, dict[str, float]]
    r2_soft: dict[str, dict[str, float]]
    kept: dict[str, tuple[str, ...]]


def make_reader(
    size: int,
    spread: float,
    seed: int = 1,
    people: int = 8000,
    progress: Callable[[int, int], None] | None = None,
    judged_seed: int | None = None,
    held_out: int = 1000,
) -> FactorReader:
    """Fits a reader to rendered faces of `people` people, one each.

    Renders 2 * `held_out` people more: on the first half the strength of the ridge is chosen, on the second R2 is
    measured. size, spread: those of the judged images. progress: called with faces rendered so far and in all. Needs
    less than 1 GB of memory, whatever `people`. Raises ValueError if `seed` is `judged_seed`, the seed of the judged
    world, for a spread that is not positive, and for a size that `read` cannot take.
    """
    if seed == judged_seed:
        raise ValueError(
            f"seed {seed} is that of the judged world: a reader must not be fitted to the people it judges"
        )
    if spread <= 0:
        raise ValueError(f"spread must be positive, found {spread}")
    side, total = _read_side(size), people + 2 * held_out
    factors = synthetic_factors("train", total, 1, seed, spread)
    wanted = np.concatenate([np.asarray(getattr(factors, group)) for group in FIELDS], axis=1) / _prior(spread)

    def rendered(start: int, stop: int) -> Iterator[tuple[Pixels, Readings]]:
        chunk = max(64, 2**19 // size**2)  # 6 MB of pixels, or 64 images
        for first in range(start, stop, chunk):
            rows = slice(first, min(first + chunk, stop))
            part = jax.tree.map(lambda values, rows=rows: np.asarray(values)[rows], factors)
            # Rounded to bytes like the images it will read.
            yield _pooled(to_uint8(render_many(part, size)), side), wanted[rows]
            if progress:
                progress(rows.stop, total)

    together = lambda start, stop: tuple(np.concatenate(parts) for parts in zip(*rendered(start, stop), strict=True))
    mean, solved = _moments(rendered(0, people), people, side * side * 3)
    validation = together(people, people + held_out)
    fits = [(noise, solved(noise)) for noise in NOISES]
    # One strength for all factors: choosing it for each hardly improves R2.
    noise, matrix = max(fits, key=lambda fit: np.mean(_explained(mean, fit[1], *validation)))
    sharp, soft = _explained(mean, matrix, *together(people + held_out, total))
    kept = np.minimum(sharp, soft) > KEEP
    return _reader(size, spread, seed, people, noise, mean, matrix[:, kept], sharp, soft)


def read(reader: FactorReader, images: Images) -> Readings:
    """The kept factors of images, in prior standard deviations from the prior mean; `groups` has their columns.

    Raises ValueError for images of another size or type than the reader's.
    """
    images = np.asarray(images)
    if images.dtype != np.uint8 or images.shape[1:] != (reader.size, reader.size, 3):
        wanted = f"uint8 [n, {reader.size}, {reader.size}, 3]"
        raise ValueError(f"wanted images {wanted}, found {images.dtype}{list(images.shape)}")
    return _linear(reader.mean, reader.matrix, _pooled(images, _read_side(reader.size))).astype(np.float64)


def groups(reader: FactorReader) -> dict[str, slice]:
    """The columns of readings that belong to identity, expression, pose and light; a slice may be empty."""
    lengths = [len(names) for names in reader.kept.values()]
    stops = np.cumsum(lengths).tolist()
    return {group: slice(b - k, b) for group, k, b in zip(reader.kept, lengths, stops, strict=True)}


def label(reader: FactorReader, group: str) -> str:
    """The factors that a distance of the group compares: `mouth_open, gaze_x (2 of 8 expression factors)`."""
    names = reader.kept[group]
    return f"{', '.join(names) or 'none'} ({len(names)} of {len(FIELDS[group])} {group} factors)"


def group_distance(reader: FactorReader, a: Readings, b: Readings, group: str) -> Float[np.ndarray, "n"]:
    """Distance of each pair of readings in one group: root mean square difference of its kept factors, in prior
    standard deviations; 0 for equal readings.

    Raises ValueError when the shapes differ, or the reader keeps no factor of the group.
    """
    a, b = np.asarray(a), np.asarray(b)
    if a.shape != b.shape:
        raise ValueError(f"readings must have the same shape, found {a.shape} and {b.shape}")
    if not reader.kept[group]:
        raise ValueError(f"{group}: the reader keeps none of its factors; all have an R2 of {KEEP} or less")
    columns = groups(reader)[group]
    return np.sqrt(np.mean(np.square(a[:, columns] - b[:, columns]), axis=1))


def pose_degrees(reader: FactorReader, readings: Readings) -> Float[np.ndarray, "n 3"]:
    """Yaw, pitch and roll in degrees, signed as in `synthetic/factors.py`; NaN for an angle that the
    reader does not keep.

    Shrunk towards zero like all readings, by about the angle's R2.
    """
    angles = np.full((len(readings), 3), np.nan)
    pose = np.asarray(readings)[:, groups(reader)["pose"]]
    kept = [world.POSE_FIELDS.index(name) for name in reader.kept["pose"]]
    angles[:, kept] = np.degrees(pose * _pose_deviations(reader.spread)[kept])
    return angles


# --- files ----------------------------------------------------------------------------------------------------


def to_bytes(reader: FactorReader) -> bytes:
    """The reader as an .npz file without pickles; the same bytes for the same reader."""
    file = io.BytesIO()
    sharp, soft = ([share for group in r2.values() for share in group.values()] for r2 in (reader.r2, reader.r2_soft))
    settings = {name: getattr(reader, name) for name in ("size", "spread", "seed", "people", "noise", "mean", "matrix")}
    np.savez(file, **settings, r2=sharp, r2_soft=soft, factors=_factor_names())
    return file.getvalue()


def from_bytes(data: bytes) -> FactorReader:
    """What `to_bytes` wrote. Raises ValueError for a reader of other factors than this version's world has."""
    with np.load(io.BytesIO(data), allow_pickle=False) as found:
        if found["factors"].tolist() != _factor_names():
            raise ValueError("found a reader of another version's factors; fit a new one")
        size, spread, seed, people, noise = (found[key].item() for key in ("size", "spread", "seed", "people", "noise"))
        return _reader(size, spread, seed, people, noise, found["mean"], found["matrix"], found["r2"], found["r2_soft"])


def _factor_names() -> list[str]:
    return [f"{group}/{name}" for group, names in FIELDS.items() for name in names]


def _reader(size, spread, seed, people, noise, mean, matrix, sharp, soft) -> FactorReader:
    def by_group(values: np.ndarray) -> dict[str, dict[str, float]]:
        each = iter(values)
        return {group: {name: float(next(each)) for name in names} for group, names in FIELDS.items()}

    r2, r2_soft = by_group(sharp), by_group(soft)
    worst = by_group(np.minimum(sharp, soft))
    kept = {group: tuple(name for name, share in shares.items() if share > KEEP) for group, shares in worst.items()}
    return FactorReader(size, spread, seed, people, noise, mean, matrix, r2, r2_soft, kept)


# --- the regression -------------------------------------------------------------------------------------------


def _moments(
    parts: Iterator[tuple[Pixels, Readings]], people: int, d: int
) -> tuple[Float[np.ndarray, "d"], Callable[[float], Float[np.ndarray, "d f"]]]:
    """The mean image, and the regression's matrix as a function of the strength. From sums over the parts, so that no
    images are kept."""
    factors = sum(len(names) for names in FIELDS.values())
    mean, squares, products, total = np.zeros(d), np.zeros((d, d)), np.zeros((d, factors)), np.zeros(factors)
    for pixels, wanted in parts:
        total += wanted.sum(axis=0)
        for blur, share in BLURS:
            rows = _blurred(pixels, blur).reshape(len(pixels), d)
            mean += share / people * rows.sum(axis=0)
            squares += share * (rows.T @ rows)
            products += share * (rows.T @ wanted)
    squares -= people * np.outer(mean, mean)
    products -= np.outer(mean, total)
    # Ridge regression has the effect of independent noise on every pixel, without sampling any.
    ridge = lambda noise: people * noise**2 * np.eye(d)
    solved = lambda noise: solve(squares + ridge(noise), products, assume_a="pos", overwrite_a=True).astype(np.float32)
    return mean.astype(np.float32), solved


def _explained(mean, matrix, pixels: Pixels, wanted: Readings) -> tuple[Float[np.ndarray, "f"], Float[np.ndarray, "f"]]:
    """R2 of every factor in the images as they are and softened, against guessing the prior mean."""
    noise = np.random.default_rng(0).normal(scale=SOFT_NOISE, size=pixels.shape)
    soft = _blurred(pixels, SOFT_BLUR) + noise.astype(np.float32)
    missed = [np.mean(np.square(_linear(mean, matrix, x) - wanted), axis=0) for x in (pixels, soft)]
    sharp_share, soft_share = (1.0 - miss / np.mean(np.square(wanted), axis=0) for miss in missed)
    return sharp_share, soft_share


def _linear(mean, matrix, pixels: Pixels) -> Readings:
    return (pixels.reshape(len(pixels), len(mean)) - mean) @ matrix


def _blurred(pixels: Pixels, deviation: float) -> Pixels:
    return gaussian_filter(pixels, (0.0, deviation, deviation, 0.0)) if deviation else pixels


def _pooled(images: Images, side: int) -> Pixels:
    """Images in [-1, 1], with each block of pixels averaged to one."""
    n, size = images.shape[:2]
    block = size // side
    return to_float(images).reshape(n, side, block, side, block, 3).mean(axis=(2, 4))


def _read_side(size: int) -> int:
    if size <= 0 or size % (8 if size <= READ_SIZE else READ_SIZE):
        raise ValueError(f"size must be 8, 16, 24 or a multiple of {READ_SIZE}, found {size}")
    return min(size, READ_SIZE)


def _pose_deviations(spread: float) -> Float[np.ndarray, "3"]:
    """Standard deviations of the uniform pose, radians."""
    return spread * np.array([world.MAX_YAW, world.MAX_PITCH, world.MAX_ROLL]) / np.sqrt(3.0)


def _prior(spread: float) -> Float[np.ndarray, "f"]:
    """Standard deviations of all factors as `synthetic_factors` samples them."""
    scale = {"identity": np.ones(world.IDENTITY_DIM), "pose": _pose_deviations(spread)}
    return np.concatenate([scale.get(group, np.full(len(names), spread)) for group, names in FIELDS.items()])
