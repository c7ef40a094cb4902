"""What becomes of a video, and how fast: `smoothswap bench --what=video`.

A film of two people is made, rendered ones or those of photographs, whose faces are known to be where they are: one
moves, the other leaves and comes back, then a cut after which they have changed sides; of a variable rate, turned by
its header, with sound and words. It is swapped by the default swapper, or another, and compared with what went in.
"""

import itertools
import os
import resource
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image

from smoothswap_jax.data.rendered import render_bytes
from smoothswap_jax.faces.align import Quad, align_face, crop_to_photo, ffhq_quad, paste_back, square_quad
from smoothswap_jax.faces.film import Film, packets_beside, write_film
from smoothswap_jax.faces.listing import is_photo
from smoothswap_jax.faces.photos import Photo, PhotoError, save_photo
from smoothswap_jax.faces.tracking import Sightings, Track, find_people, find_tracks
from smoothswap_jax.faces.video_encoding import choose_encoding, facts_of, write_segment
from smoothswap_jax.faces.video_survey import survey
from smoothswap_jax.faces.videos import decoded_frames
from smoothswap_jax.inference.choice import NoFaceError
from smoothswap_jax.inference.first_look import look_at
from smoothswap_jax.inference.likeness import ALIKE
from smoothswap_jax.inference.swapper import Swapper
from smoothswap_jax.inference.video import swap_video
from smoothswap_jax.synthetic import world

SIZE = 112
"""Of the heads, pixels, twice as many of photographed ones; on the screen they are nearly three times as large."""
WIDTH, HEIGHT = 1280, 720
STEPS = (40, 33, 42, 50)
"""Milliseconds that frames are shown, in turns, with a pause of 120 now and then."""


class Cast(NamedTuple):
    """Where the heads of a frame are: of each its quad on the screen, None where it is away."""

    quads: tuple[Quad | None, Quad | None]
    scene: int


class Actors(NamedTuple):
    """source: a photo of whose identity is taken. heads: aligned faces of both people, [2, n, size, size, 3], in frames
    given by their numbers. squares: where `ffhq_quad` has their squares in these, in their pixels, [2, n, 4, 2]."""

    source: Photo
    heads: Callable[[list[int]], UInt8[np.ndarray, "2 n size size 3"]]
    squares: Callable[[list[int]], Float[np.ndarray, "2 n 4 2"]]


def bench_video(frames: int, checkpoint: str, photos: str | None = None, seed: int = 0) -> dict[str, Any]:
    """Makes, swaps and compares a film of so many frames. photos: a folder with photographs of three people or more;
    None: rendered ones. Raises ValueError for a folder with fewer faces, and what `Swapper.load` and `swap_video`
    raise."""
    swapper = Swapper.load(checkpoint)
    with tempfile.TemporaryDirectory() as folder:
        film, out, source = Path(folder, "film.mp4"), Path(folder, "out.mp4"), Path(folder, "source.png")
        actors = _photographed(Path(photos), swapper) if photos else rendered_actors(frames, seed)
        save_photo(source, actors.source)
        cast = [_cast(k, frames) for k in range(frames)]
        times = np.concatenate([[0], np.cumsum([120 if k % 50 == 49 else STEPS[k % 4] for k in range(frames - 1)])])
        write_film(film, Film(_pictures(actors, cast, seed), times.tolist(), WIDTH, HEIGHT, 90))
        report = swap_video(swapper, source, film, out, target_face="largest")
        look = look_at(swapper, film, survey(str(film)), ask=True)
        truth = [_true_quads(actors, cast, who) for who in range(2)]
        same = _compared(film, out)
        alone = _transcoded(film, Path(folder, "again.mp4"))
    tracks = find_tracks(look.found, look.times, look.changes)
    people = find_people(tracks, look.found, ALIKE)
    shake = [_shake(track, look.found, truth) for person in people for track in person.tracks]
    spent = {f"{stage}, ms a frame": 1000 * seconds / frames for stage, seconds in report.seconds.items()}
    return {
        "frames": report.frames, "pixels": f"{WIDTH}x{HEIGHT}", "seed": seed, "checkpoint": checkpoint,
        "with new faces": report.swapped, "people": len(people), "tracks": len(tracks),
        "tracks of each": [len(person.tracks) for person in people], **same, **spent,
        "decode and encode alone, ms a frame": 1000 * alone / frames,
        "frames/s": frames / sum(report.seconds.values()),
        "trembling, px of 256": dict(zip(("found", "smoothed"), np.mean(shake, axis=0)[:2].tolist(), strict=True)),
        "off the truth, px of 256": dict(zip(("found", "smoothed"), np.mean(shake, axis=0)[2:].tolist(), strict=True)),
        "peak memory, GB": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6,
    }  # fmt: skip


# --- the film -------------------------------------------------------------------------------------------------------


def rendered_actors(frames: int, seed: int) -> Actors:
    """Two people who act, and a third whose identity is taken."""
    factors = _acted(frames, seed)

    def squares(rows: list[int]) -> np.ndarray:
        points = [np.asarray(world.landmarks(_rows(one, rows), SIZE)) - 0.5 for one in factors[:2]]
        return np.array([[ffhq_quad(five) for five in of] for of in points])

    heads = lambda rows: np.stack([render_bytes(_rows(one, rows), SIZE) for one in factors[:2]])
    return Actors(render_bytes(_rows(factors[2], [0]), 256)[0], heads, squares)


def _photographed(folder: Path, swapper: Swapper) -> Actors:
    """Three people of photographs, who keep still in their squares, while these move."""
    files = sorted(path for path in folder.rglob("*") if is_photo(path))
    crops: list[Photo] = []
    for path in files[:: max(1, len(files) // 12)]:
        try:
            photo, (quad, *_) = swapper.locate(path)
        except (NoFaceError, PhotoError):
            continue
        crops.append(align_face(photo, quad, 2 * SIZE))
        if len(crops) == 3:
            break
    else:
        raise ValueError(f"--source: found a face in {len(crops)} of the photos in {folder}; wanted three")
    heads, square = np.stack(crops[:2])[:, None], square_quad(np.full(2, SIZE - 0.5), np.array([SIZE, 0]))
    return Actors(photo, lambda rows: heads.repeat(len(rows), 1), lambda rows: np.tile(square, (2, len(rows), 1, 1)))


def _acted(frames: int, seed: int) -> list[world.Factors]:
    """Of three people, factors for each frame."""
    photos = world.sample_factors(jax.random.key(seed), 3)
    made = []
    for who in range(3):
        one = jax.tree.map(lambda leaf, who=who: np.repeat(np.asarray(leaf)[who : who + 1], frames, 0), photos)
        turn = np.linspace(0, frames / 60, frames)[:, None] * (1.1, 0.7, 0.5) + who
        others = world.sample_photos(jax.random.key(seed + 1 + who), one.identity[:2])
        share = (0.5 + 0.5 * np.sin(np.linspace(0, frames / 40, frames)))[:, None]
        mimic = (1 - share) * np.asarray(others.expression)[0] + share * np.asarray(others.expression)[1]
        made.append(one._replace(pose=(np.sin(turn) * (0.35, 0.12, 0.06)).astype(np.float32), expression=mimic))
    return made


def _rows(factors: world.Factors, rows: list[int]) -> world.Factors:
    return jax.tree.map(lambda leaf: np.asarray(leaf)[rows], factors)


def _cast(k: int, frames: int) -> Cast:
    """Half of the film is one scene, half another."""
    u = k / frames
    if u < 0.5:
        x, y, side = 400 + 160 * np.sin(20 * u), 360 + 30 * np.cos(31 * u), 300 + 40 * np.sin(37 * u)
        first = _square(x, y, side, 10 * np.sin(25 * u))
        return Cast((first, None if 0.2 < u < 0.35 else _square(900, 350 + 10 * np.sin(40 * u), 300, 0)), 0)
    return Cast((_square(900, 360, 320, 0), _square(420 + 100 * np.cos(18 * u), 380, 280, 5 * np.cos(20 * u))), 1)


def _square(x: float, y: float, side: float, degrees: float) -> Quad:
    a = np.radians(degrees)
    return square_quad(np.array([x, y]), side / 2 * np.array([np.cos(a), np.sin(a)]))


def _pictures(actors: Actors, cast: list[Cast], seed: int) -> Iterator[Photo]:
    rng = np.random.default_rng(seed)
    walls = [
        np.asarray(Image.fromarray(rng.integers(20 + 60 * q, 160 + 60 * q, (9, 16, 3)).astype(np.uint8)).resize(
            (WIDTH, HEIGHT), Image.Resampling.BICUBIC))
        for q in range(2)
    ]  # fmt: skip
    for start in range(0, len(cast), 50):
        rows = list(range(start, min(start + 50, len(cast))))
        heads = actors.heads(rows)
        for place, k in enumerate(rows):
            picture = walls[cast[k].scene]
            for who, quad in enumerate(cast[k].quads):
                if quad is not None:
                    picture = paste_back(picture, heads[who][place], quad)
            yield picture


def _true_quads(actors: Actors, cast: list[Cast], who: int) -> Float[np.ndarray, "frames 4 2"]:
    """Where each face is, NaN where it is away."""
    squares = actors.squares(list(range(len(cast))))[who]
    size = actors.heads([0]).shape[2]
    found = np.full((len(cast), 4, 2), np.nan)
    for k, one in enumerate(cast):
        quad = one.quads[who]
        if quad is not None:
            matrix = crop_to_photo(quad, size)
            found[k] = squares[k] @ matrix[:, :2].T + matrix[:, 2]
    return found


# --- what became of it ----------------------------------------------------------------------------------------------


def _compared(film: Path, out: Path) -> dict[str, Any]:
    """Whether the output has the times, the turn and, packet by packet, all else of the film."""
    times = [[one.time for one in decoded_frames(str(path))] for path in (film, out)]
    beside = [packets_beside(path) for path in (film, out)]
    turns = [next(decoded_frames(str(path))).frame.rotation for path in (film, out)]
    return {
        "times are the same": times[0] == times[1],
        "turn is the same": turns[0] == turns[1],
        **{f"{kind} is the same": beside[0][kind] == beside[1].get(kind) for kind in beside[0]},
        **{f"packets of {kind}": len(beside[0][kind]) for kind in beside[0]},
        "seconds": float(max(times[1])),
    }


def _transcoded(film: Path, out: Path) -> float:
    """Seconds that decoding and encoding take as for a swap, with nothing between: what FFmpeg alone would."""
    ticks = [round(one.time / one.told.tick) for one in decoded_frames(str(film))]
    began = time.perf_counter()
    frames = decoded_frames(str(film), threads=os.cpu_count() or 1)
    first = next(frames)
    facts = facts_of(first.frame, first.told, str(film))
    encoding, _ = choose_encoding(facts, out)
    pictures = (one.frame for one in itertools.chain([first], frames))
    write_segment(out.with_suffix(".nut"), pictures, ticks, facts, encoding)
    return time.perf_counter() - began


def _shake(
    track: Track, found: Sightings, truth: list[Float[np.ndarray, "frames 4 2"]]
) -> tuple[float, float, float, float]:
    """Of a track before and after smoothing, in pixels of a crop of 256: root mean squares of the second differences of
    its distance from the truth, which is what trembles, and of that distance itself, but for what is constant."""
    frames = found.frame[track.rows]
    raw = np.stack([ffhq_quad(points) for points in found.points[track.rows]])
    smooth = track.quads[frames - track.first]
    far = [np.nan_to_num(np.abs(one[frames] - raw), nan=np.inf).mean() for one in truth]
    who = int(np.argmin(far))
    true = truth[who][frames]
    known = np.isfinite(true).all((1, 2))
    side = np.hypot(*(true[known][:, 3] - true[known][:, 0]).T)[:, None, None] / 256
    errors = [(quads[known] - true[known]) / side for quads in (raw, smooth)]
    errors = [error - error.mean(0) for error in errors]
    jumps = [np.diff(error, 2, axis=0) for error in errors]
    rms = lambda values: float(np.sqrt(np.mean(np.square(values))))
    return rms(jumps[0]), rms(jumps[1]), rms(errors[0]), rms(errors[1])
