"""Faces followed through a video: which sightings are one track, where each face is between them, and who is who.

Everything is decided when the whole video was looked at, so nothing lags behind: what comes after a frame counts as
much as what was before.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from smoothswap_jax.faces.align import Quad, ffhq_quad, square_quad
from smoothswap_jax.faces.photos import Photo, scaled_down

LOST, BRIDGED = 0.5, 0.2
"""Seconds for which a face may not be seen within a track, and for which it is taken to be there nonetheless, moving on
a straight line: detectors miss a frame or two, and what is hidden for longer is."""
APART = 0.6
"""How far a face may move from one sighting to the next, in sides of its box, and how much larger it may get (log)."""
CUT = 27.0
"""Mean difference of two frames from which they are two scenes, in grey levels: PySceneDetect's threshold."""
STRANGERS = 0.2
"""Cosine of identities in one track below which they are two people's; SFace's of one person are seldom below."""
MISSED = 2
"""Frames that may be missed whatever time they take: of a slow video each is long."""
SHORTEST, FLASH = 3, 0.15
"""Sightings of a track, and seconds. What has fewer and takes less is a mistake of the detector, or gone before it is
seen."""
STILL, QUICK, OF_SPEED = 0.5, 4.0, 1.0
"""Of the One-Euro filter (Casiez et al. 2012): cutoff of a still face in Hz, Hz more for each side a second that it
moves, and the cutoff of that speed. Of what was tried on a film whose faces are known (`bench --what=video`), least far
from the truth at a sixth of the trembling."""


@dataclass(frozen=True)
class Sightings:
    """All faces that were found in a video, in the order of its frames."""

    frame: Int[np.ndarray, "n"]
    box: Float[np.ndarray, "n 4"]
    points: Float[np.ndarray, "n 5 2"]
    score: Float[np.ndarray, "n"]
    vector: Float[np.ndarray, "n d"]
    """Who it is, of length 1; NaN where nobody asked."""


@dataclass(frozen=True)
class Track:
    """A face from its first sighting to its last."""

    first: int
    """The number of the frame."""
    quads: Float[np.ndarray, "frames 4 2"]
    """Where it is in each frame from the first on, smoothed; NaN while it is hidden."""
    rows: Int[np.ndarray, "n"]
    """Its sightings."""

    @property
    def last(self) -> int:
        return self.first + len(self.quads) - 1


@dataclass(frozen=True)
class Person:
    """All tracks of one person."""

    tracks: Sequence[Track]
    vector: Float[np.ndarray, "d"]
    """Mean identity, of length 1; NaN where it is not known."""
    area: float
    """Of its box, in pixels, summed over its sightings."""
    middle: float
    """Mean x of its box."""


def thumbnail(photo: Photo) -> Float[np.ndarray, "h w 3"]:
    """A frame by which cuts are told."""
    return scaled_down(photo, 64)[0].astype(np.float32)


def difference(before: Float[np.ndarray, "h w 3"], after: Float[np.ndarray, "h w 3"]) -> float:
    """Of two thumbnails, in grey levels; more than `CUT` is a new scene."""
    return float(np.abs(after - before).mean()) if before.shape == after.shape else np.inf


def find_tracks(
    found: Sightings, times: Float[np.ndarray, "frames"], changes: Float[np.ndarray, "frames"]
) -> list[Track]:
    """The tracks, in the order of their first frames.

    No track goes on over a cut, nor from one person to another who is at the same place after a cut that was not told.

    Args:
      times: when each frame is shown, in seconds.
      changes: its `difference` from the frame before.
    """
    rows_of = np.split(np.arange(len(found.frame)), np.searchsorted(found.frame, np.arange(1, len(times))))
    ended: list[list[int]] = []
    alive: list[list[int]] = []
    for number, rows in enumerate(rows_of):
        if changes[number] > CUT:
            ended, alive = ended + alive, []
        lost = [_is_hidden(int(found.frame[track[-1]]), number, times, LOST) for track in alive]
        ended += [track for track, gone in zip(alive, lost, strict=True) if gone]
        alive = [track for track, gone in zip(alive, lost, strict=True) if not gone]
        taken = set()
        for track, row in _matched(found, alive, rows):
            track.append(row)
            taken.add(row)
        alive += [[int(row)] for row in rows if row not in taken]
    split = [part for track in ended + alive for part in _one_person(found, np.array(track), changes)]
    ends = np.append(times[1:], times[-1] + (np.median(np.diff(times)) if len(times) > 1 else 1))
    long = lambda rows: ends[found.frame[rows[-1]]] - times[found.frame[rows[0]]] >= FLASH
    whole = [rows for rows in split if len(rows) >= min(SHORTEST, len(times)) or long(rows)]
    tracks = [_track(found, rows, times) for rows in whole]
    return sorted(tracks, key=lambda track: (track.first, int(track.rows[0])))


def _is_hidden(before: int, after: int, times: np.ndarray, seconds: float) -> bool:
    """Whether a face that is seen in two frames, and in none between, is away for longer than it may be missed."""
    return after - before - 1 > MISSED and times[after] - times[before] > seconds


def _matched(found: Sightings, alive: list[list[int]], rows: np.ndarray) -> list[tuple[list[int], int]]:
    """Which sightings of a frame go on with which tracks: the assignment of least distance."""
    if not alive or not len(rows):
        return []
    from scipy.optimize import linear_sum_assignment

    last = found.box[[track[-1] for track in alive]]
    now = found.box[rows]
    side = lambda box: np.sqrt((box[:, 2] - box[:, 0]) * (box[:, 3] - box[:, 1]))
    middle = lambda box: (box[:, :2] + box[:, 2:]) / 2
    size = np.sqrt(side(last)[:, None] * side(now)[None])
    moved = np.linalg.norm(middle(last)[:, None] - middle(now)[None], axis=2) / size
    grown = np.abs(np.log(side(last)[:, None] / side(now)[None]))
    far = (moved > APART) | (grown > APART)
    chosen = linear_sum_assignment(np.where(far, 1e6, moved + grown))
    return [(alive[i], int(rows[j])) for i, j in zip(*chosen, strict=True) if not far[i, j]]


def _one_person(found: Sightings, rows: np.ndarray, changes: np.ndarray) -> list[np.ndarray]:
    """A track in parts, each of one person: where it is asked who it is and is another than before, it is parted in
    front of the frame that changed most since."""
    known = rows[np.isfinite(found.vector[rows]).all(1)]
    alike = np.sum(found.vector[known[:-1]] * found.vector[known[1:]], axis=1)
    parts = []
    for one, other in zip(known[:-1][alike < STRANGERS], known[1:][alike < STRANGERS], strict=True):
        between = rows[(rows > one) & (rows <= other)]
        parts.append(between[np.argmax(changes[found.frame[between]])])
    return np.split(rows, np.searchsorted(rows, parts))


def _track(found: Sightings, rows: np.ndarray, times: np.ndarray) -> Track:
    first, last = int(found.frame[rows[0]]), int(found.frame[rows[-1]])
    seen = times[found.frame[rows]]
    clock = times[first : last + 1]
    where = np.stack([_place(ffhq_quad(points)) for points in found.points[rows]])
    every = np.stack([np.interp(clock, seen, column) for column in where.T], axis=1)
    side = float(np.median(2 * np.hypot(where[:, 2], where[:, 3])))
    smooth = side * np.concatenate([without_lag(every[:, part] / side, clock) for part in (slice(2), slice(2, 4))], 1)
    quads = np.stack([square_quad(place[:2], place[2:]) for place in smooth])
    for before, after in zip(found.frame[rows[:-1]], found.frame[rows[1:]], strict=True):
        if _is_hidden(before, after, times, BRIDGED):
            quads[before + 1 - first : after - first] = np.nan
    return Track(first, quads, rows)


def _place(quad: Quad) -> Float[np.ndarray, "4"]:
    """A square as its middle and half of its upper edge."""
    return np.concatenate([quad.mean(0), (quad[3] - quad[0]) / 2])


def without_lag(values: Float[np.ndarray, "n d"], times: Float[np.ndarray, "n"]) -> Float[np.ndarray, "n d"]:
    """The mean of the One-Euro filter forwards and backwards in time: one lags as far behind as the other is ahead."""
    return (one_euro(values, times) + one_euro(values[::-1], -times[::-1])[::-1]) / 2


def one_euro(values: Float[np.ndarray, "n d"], times: Float[np.ndarray, "n"]) -> Float[np.ndarray, "n d"]:
    """A low-pass filter whose cutoff rises with the speed, so that what is still does not tremble and what moves does
    not lag (Casiez et al. 2012). All of a value's components share the cutoff."""
    smooth = np.array(values, np.float64)
    speed = np.zeros(smooth.shape[1])
    for k in range(1, len(smooth)):
        step = max(times[k] - times[k - 1], 1e-4)
        speed += _share(OF_SPEED, step) * ((values[k] - smooth[k - 1]) / step - speed)
        share = _share(STILL + QUICK * float(np.linalg.norm(speed)), step)
        smooth[k] = smooth[k - 1] + share * (values[k] - smooth[k - 1])
    return smooth


def _share(cutoff: float, step: float) -> float:
    """Of a new value in an exponential mean with this cutoff, in Hz."""
    return 1 / (1 + 1 / (2 * np.pi * cutoff * step))


def find_people(tracks: Sequence[Track], found: Sightings, alike: float) -> list[Person]:
    """Who the tracks are of, those first who are largest, summed over the video.

    Tracks are of one person where their mean identities have a cosine of `alike` or more and they are never seen at
    once. A track whose identity nobody asked for is one of its own.
    """
    people: list[list[Track]] = []
    sums = np.zeros((0, found.vector.shape[1]))
    for track in sorted(tracks, key=lambda track: (-len(track.rows), track.first, int(track.rows[0]))):
        mine = _vector_sum([track], found)
        near = _unit(sums) @ _unit(mine)
        free = [
            k for k in np.argsort(-near) if near[k] >= alike and not any(_meet(track, other) for other in people[k])
        ]
        if free:
            people[free[0]].append(track)
            sums[free[0]] += mine
        else:
            people.append([track])
            sums = np.vstack([sums, mine])
    return sorted((_person(tracks, found) for tracks in people), key=lambda person: -person.area)


def _person(tracks: list[Track], found: Sightings) -> Person:
    box = found.box[np.concatenate([track.rows for track in tracks])]
    area = float(((box[:, 2] - box[:, 0]) * (box[:, 3] - box[:, 1])).sum())
    ordered = sorted(tracks, key=lambda track: track.first)
    total = _vector_sum(tracks, found)
    vector = _unit(total) if total.any() else np.full_like(total, np.nan)
    return Person(ordered, vector, area, float((box[:, 0] + box[:, 2]).mean() / 2))


def _vector_sum(tracks: Sequence[Track], found: Sightings) -> Float[np.ndarray, "d"]:
    """Of the identities of all sightings; 0 where none is known."""
    return np.nan_to_num(found.vector[np.concatenate([track.rows for track in tracks])].astype(np.float64)).sum(0)


def _unit(vectors: Float[np.ndarray, "*n d"]) -> Float[np.ndarray, "*n d"]:
    """Of length 1; 0 stays 0."""
    return vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-9)


def _meet(a: Track, b: Track) -> bool:
    return a.first <= b.last and b.first <= a.last
