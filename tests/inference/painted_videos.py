"""Videos of painted faces and toy networks that change them, for tests of what comes out."""

import itertools
from pathlib import Path

import numpy as np
import pytest

from smoothswap_jax.faces.detection.base import Face
from smoothswap_jax.faces.film import Film, packets_beside, write_film
from smoothswap_jax.faces.video_changes import lines
from smoothswap_jax.faces.videos import decoded_frames, read_frames
from tests.faces.make_videos import write_video
from tests.inference.pixel_swappers import POINTS, pixel_swapper

WIDTH, HEIGHT, COUNT = 160, 96, 30
MAGENTA, CYAN = (230, 20, 230), (20, 230, 230)
COLOURS = {MAGENTA: 1.0, CYAN: 0.9}
"""Of the spots that stand for the noses of faces, and how large these are."""


def painted(spots: dict[tuple[int, int, int], tuple[float, float]], seed: int = 0, grey: int = 90) -> np.ndarray:
    picture = grey + np.random.default_rng(seed).integers(0, 40, (HEIGHT // 8, WIDTH // 8, 3)).repeat(8, 0).repeat(8, 1)
    picture = picture.astype(np.uint8)
    for colour, (x, y) in spots.items():
        picture[round(y) - 3 : round(y) + 4, round(x) - 3 : round(x) + 4] = colour
    return picture


def spotted(photo: np.ndarray) -> list[Face]:
    """A detector of painted faces, whose noses are spots."""
    found = []
    for colour, size in COLOURS.items():
        near = np.abs(photo.astype(int) - colour).max(2) < 60
        if near.sum() > 20:
            y, x = (float(np.mean(values)) for values in np.nonzero(near))
            points = (POINTS - POINTS[2]) * size + (x, y)
            box = np.array([x - 15 * size, y - 24 * size, x + 15 * size, y + 20 * size])
            found.append(Face(box, points, 0.9))
    return found


def brighter(source, target):
    light = source.mean((1, 2, 3), keepdims=True)
    return np.clip(target + 0.3 * np.sign(light), -1, 1).astype(np.float32)


SWAPPER = pixel_swapper(brighter, 32, spotted)


def paths(k: int) -> dict[tuple[int, int, int], tuple[float, float]]:
    """Two faces; the first moves, the second is away in the middle, and in the last third they change places."""
    if k >= 20:
        return {MAGENTA: (115, 45), CYAN: (45, 50)}
    spots = {MAGENTA: (40 + k, 45)}
    return spots if 8 <= k < 14 else {**spots, CYAN: (120, 50)}


TIMES = [0, *itertools.accumulate([40, 33, 50, 40, 120, 40][k % 6] for k in range(COUNT - 1))]
"""Of a variable rate, in milliseconds."""


def frames(count: int = COUNT) -> list[np.ndarray]:
    return [painted(paths(k), seed=k >= 20) for k in range(count)]


def lossless(path: Path, **how) -> Path:
    write_video(path, frames(), container="matroska", codec="ffv1", times=TIMES, **how)
    return path


def raw(path) -> list[list[np.ndarray]]:
    found = []
    for one in decoded_frames(str(path)):
        found.append([lines(plane)[:, : plane.width].copy() for plane in one.frame.planes])
    return found


def changed_people(before: list[np.ndarray], path: Path) -> list[set]:
    """The faces of each frame that came out brighter (+) or darker (-)."""
    found = []
    for k, (old, new) in enumerate(zip(before, read_frames(str(path)), strict=True)):
        signs = set()
        for colour, (x, y) in paths(k).items():
            rows, columns = slice(round(y) - 12, round(y) - 5), slice(round(x) - 10, round(x) + 10)
            rise = new.picture[rows, columns].mean() - old[rows, columns].mean()
            name = "magenta" if colour == MAGENTA else "cyan"
            signs |= {f"+{name}"} if rise > 12 else {f"-{name}"} if rise < -12 else set()
        found.append(signs)
    return found


def film(path: Path, codec: str = "libx264", sound: str = "aac", rotation: int = 0, subtitles: bool = True) -> Path:
    """A video of a variable rate with sound, subtitles and words about it."""
    made = Film(frames(), TIMES, WIDTH, HEIGHT, rotation)
    write_film(path, made, codec=codec, sound=sound, subtitles=subtitles)
    return path


def streams(path: Path) -> dict:
    """What is in a file beside its pictures, and when these are shown."""
    av = pytest.importorskip("av")
    with av.open(str(path)) as found:
        picture, tone = found.streams.video[0], found.streams.audio[0]
        context = picture.codec_context
        told = {
            "packets": packets_beside(path), "title": found.metadata.get("title"), "language": tone.language,
            "codec": context.codec.canonical_name, "seconds": found.duration / 1e6,
            "colours": (context.colorspace, context.color_range, context.color_trc, context.color_primaries),
        }  # fmt: skip
    shown = list(decoded_frames(str(path)))
    return told | {"times": [one.time for one in shown], "rotation": shown[0].frame.rotation}
