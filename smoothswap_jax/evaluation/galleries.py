"""The aligned faces of an evaluation, with their landmarks and their places in the original photos.

A gallery holds no pixels: they are read on demand, so that ten thousand frames fit. Photos and frames are aligned once,
in worker processes, and kept in the evaluation's cache.
"""

import dataclasses
import functools
import hashlib
import io
import os
import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int, UInt8
from PIL import Image

from smoothswap_jax.data.dataset import DataError, Faces, decode
from smoothswap_jax.data.sources import from_folder
from smoothswap_jax.evaluation import cache as caching
from smoothswap_jax.evaluation.progress import OnProgress
from smoothswap_jax.faces.align import align_face, ffhq_quad, photo_to_crop
from smoothswap_jax.faces.alignments import mean_points
from smoothswap_jax.faces.detection.registry import detector_facts, find_faces
from smoothswap_jax.faces.listing import is_photo
from smoothswap_jax.faces.photos import Photo, PhotoError, load_photo
from smoothswap_jax.faces.videos import VideoError, frames_at
from smoothswap_jax.runtime import workers
from smoothswap_jax.runtime.json_files import read_json_object

Face = UInt8[np.ndarray, "s s 3"]
Images = UInt8[np.ndarray, "n s s 3"]

MEMORY = 256 << 20
"""Bytes of decoded faces that are remembered: each is in many pairs, and read for the swaps, the judges, the pixels."""


@dataclass(frozen=True)
class Gallery:
    """n aligned faces.

    names: of the photos, unique. people: whose face. points: the five points in pixels of the crop. quads: the crop's
    corners in the photo or frame of `shapes` (height, width); NaN and 0 where the faces are aligned already.
    content: SHA-256 of what the face of a row was made from, however it was aligned. takes: the video that each face is
    from, '' for photos; empty where there is none. left_out: photos without a usable face, and why.
    """

    size: int
    names: tuple[str, ...]
    people: tuple[str, ...]
    points: Float[np.ndarray, "n 5 2"]
    read: Callable[[Int[np.ndarray, "m"]], Images]
    quads: Float[np.ndarray, "n 4 2"]
    shapes: Int[np.ndarray, "n 2"]
    content: Callable[[int], str]
    facts: Mapping[str, str] = field(default_factory=dict)
    takes: tuple[str, ...] = ()
    left_out: Mapping[str, str] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.names)


def recordings_of(gallery: Gallery, rows: Int[np.ndarray, "m"]) -> list[str]:
    """The recording each face comes from: equal for frames of one video and for copies of one photo, which are not
    independent images."""
    return [(gallery.takes[int(row)] if gallery.takes else "") or gallery.content(int(row)) for row in rows]


# --- aligned already ----------------------------------------------------------------------------------------


def gallery_of_arrays(
    images: Images, names: Sequence[str], people: Sequence[str], points=None, **facts: str
) -> Gallery:
    """Faces in memory; without `points`, the mean points of aligned faces."""
    n, size = len(images), images.shape[1]
    points = mean_points(size, n) if points is None else np.asarray(points, np.float64)
    content = lambda row: caching.key_of(images[row])
    return Gallery(size, tuple(names), tuple(people), points, lambda rows: images[rows], *_nowhere(n), content, facts)


def _nowhere(n: int) -> tuple[np.ndarray, np.ndarray]:
    return np.full((n, 4, 2), np.nan), np.zeros((n, 2), np.int64)


def gallery_of_folder(root: str | Path, size: int | None) -> Gallery:
    """Aligned faces DIR/<person>/<photo>, all of them; `size` None takes that of the first.

    Raises DataError for a folder without any, and SizeError, when read, for a photo of another size.
    """
    size = size or _first_size(Path(root))
    faces = from_folder(root, "train", size, 0)
    return _of_faces(faces, {"data": Path(root).name, "alignment": "aligned before"})


def _first_size(root: Path) -> int:
    first = next((path for path in sorted(root.glob("*/*")) if is_photo(path)), None)
    if first is None:
        raise DataError(f"{root}: found no aligned faces; wanted <person>/<photo>.png or .jpg")
    return load_photo(first).shape[0]


def _remembered(read_one: Callable[[int], Face], size: int) -> Callable[[Int[np.ndarray, "m"]], Images]:
    """Reads rows by reading each once, as far as MEMORY goes."""
    one = functools.lru_cache(MEMORY // (3 * size**2))(read_one)
    return lambda rows: np.stack([one(int(row)) for row in rows])


def _of_faces(
    faces: Faces, facts: Mapping[str, str], points: np.ndarray | None = None, names: Sequence[str] | None = None
) -> Gallery:
    """A gallery of a data set's faces; without `names`, the names of its files."""
    names = tuple(faces.files if names is None else names)

    def read_one(row: int) -> Face:
        return decode(faces.read([row])[0], faces.size, names[row])

    kept = _remembered(read_one, faces.size)
    read = (lambda rows: faces.images[rows]) if faces.images is not None else kept

    def content(row: int) -> str:
        return caching.key_of(faces.images[row] if faces.images is not None else faces.read([row])[0])

    n = len(faces)
    people = tuple(str(faces.people[label]) for label in faces.labels)
    points = mean_points(faces.size, n) if points is None else points
    return Gallery(faces.size, names, people, points, read, *_nowhere(n), content, facts)


def gallery_of_prepared(root: str | Path, split: str, size: int | None) -> Gallery:
    """A split of what `smoothswap prepare` wrote, with the points it kept. Raises as `data.records` does."""
    import json

    from smoothswap_jax.data.records import from_prepared as prepared_faces
    from smoothswap_jax.data.records import records_of

    faces = prepared_faces(str(root), split, size)
    records, points, names, takes = records_of(str(root), split), [], [], []
    for row in range(len(records)):  # one at a time: all images together may not fit into memory
        (example,) = records.examples([row])
        quad = np.array(example["quad"].float_list.value, np.float64).reshape(4, 2)
        five = np.array(example["points"].float_list.value, np.float64).reshape(5, 2)
        matrix = photo_to_crop(quad, faces.size)
        # Points of -1 mean that no detector ran; those of a face can be anywhere else.
        known = not np.all(five == -1)
        points.append(five @ matrix[:, :2].T + matrix[:, 2] if known else mean_points(faces.size)[0])
        frame = example["frame"].int64_list.value[0]
        file = os.fsdecode(example["file"].bytes_list.value[0])
        names.append(file if frame < 0 else f"{file}#{frame}")
        takes.append("" if frame < 0 else file)
    manifest = read_json_object(Path(root) / "manifest.json")
    facts = {
        "data": Path(root).name,
        "split": split,
        "detector": json.dumps(manifest.get("detector", {})),
        "shards": caching.key_of(json.dumps(manifest.get("shards", {}), sort_keys=True)),
    }
    return dataclasses.replace(_of_faces(faces, facts, np.array(points), names), takes=tuple(takes))


# --- photos and frames --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class PhotoRef:
    """A photo, or a frame of a video (-1: a photo). `file` is relative to the root of the data."""

    file: str
    person: str
    frame: int = -1

    @property
    def name(self) -> str:
        return self.file if self.frame < 0 else f"{self.file}#{self.frame}"


def gallery_of_photos(
    root: str | Path,
    wanted: Sequence[PhotoRef],
    size: int,
    cache: sqlite3.Connection,
    progress: OnProgress | None = None,
) -> Gallery:
    """Photos and frames, each aligned by its largest face, as YuNet finds it.

    Pictures without a face, and files that cannot be read, are left out and listed in `left_out`.
    """
    root = Path(root)
    by_file: dict[str, list[PhotoRef]] = {}
    for one in wanted:
        by_file.setdefault(one.file, []).append(one)
    # Keyed by content, so that a file that was replaced is aligned again.
    digest = {file: _content(root / file) for file in by_file}
    detector = detector_facts("yunet")["sha256"]
    # Another decoder gives other pixels, so frames that OpenCV once read are not mixed with PyAV's.
    picture = lambda one: f"{one.frame} by PyAV" if one.frame >= 0 else str(one.frame)
    key = lambda one: caching.key_of("aligned by yunet/3", detector, digest[one.file], picture(one), str(size))
    missing = {
        file: ones for file, ones in by_file.items() if any(e is None for e in caching.get(cache, list(map(key, ones))))
    }
    for done, (file, found) in enumerate(_aligned_files(root, missing, size), start=1):
        caching.put(cache, ((key(one), found[one.frame]) for one in missing[file]))
        if progress:
            progress(done, len(missing))
    keys, kept, points, quads, shapes, left_out = [], [], [], [], [], {}
    for one in wanted:
        (entry,) = caching.get(cache, [key(one)])
        assert entry is not None
        if entry.dtype.kind == "U":
            left_out[one.name] = str(entry)
            continue
        numbers, _ = _unpacked(entry)
        keys.append(key(one))
        kept.append(one)
        points.append(numbers[:10].reshape(5, 2))
        quads.append(numbers[10:18].reshape(4, 2))
        shapes.append(numbers[18:20].astype(int))

    def read_one(row: int) -> Face:
        (entry,) = caching.get(cache, [keys[row]])
        assert entry is not None
        return _unpacked(entry)[1]

    return Gallery(
        size,
        tuple(one.name for one in kept),
        tuple(one.person for one in kept),
        np.array(points).reshape(-1, 5, 2),
        _remembered(read_one, size),
        np.array(quads).reshape(-1, 4, 2),
        np.array(shapes, np.int64).reshape(-1, 2),
        lambda row: caching.key_of(digest[kept[row].file], str(kept[row].frame)),
        {"data": root.name, "alignment": "FFHQ, by the largest face that YuNet finds", "YuNet sha256": detector},
        tuple("" if one.frame < 0 else one.file for one in kept),
        left_out,
    )


def _content(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from error


def _aligned_files(
    root: Path, files: Mapping[str, Sequence[PhotoRef]], size: int
) -> Iterator[tuple[str, dict[int, np.ndarray]]]:
    """The aligned faces of each file, made in as many processes as there are cores."""
    jobs = [(file, [one.frame for one in ones]) for file, ones in files.items()]
    yield from workers.each(functools.partial(_aligned_file, str(root), size), jobs)


def _aligned_file(root: str, size: int, job: tuple[str, list[int]]) -> tuple[str, dict[int, np.ndarray]]:
    """For each wanted frame the packed crop, or the reason why there is none."""
    file, frames = job
    path = f"{root}/{file}"
    try:
        pictures = {-1: load_photo(path)} if frames == [-1] else dict(frames_at(path, frames))
    except (PhotoError, VideoError) as error:
        reason = np.array(str(error).removeprefix(f"{path}: "))
        return file, {frame: reason for frame in frames}
    late = np.array("damaged, or the video ends before this frame")
    return file, {frame: _aligned(pictures[frame], size) if frame in pictures else late for frame in frames}


def _aligned(photo: Photo, size: int) -> np.ndarray:
    try:
        faces = find_faces(photo)
        if not faces:
            return np.array("no face found")
        quad = ffhq_quad(faces[0].points)
        crop = align_face(photo, quad, size)
    except ValueError as error:
        return np.array(f"no face: {error}")
    matrix = photo_to_crop(quad, size)
    points = faces[0].points @ matrix[:, :2].T + matrix[:, 2]
    file = io.BytesIO()
    Image.fromarray(crop).save(file, "PNG")
    numbers = np.concatenate([points.ravel(), quad.ravel(), photo.shape[:2]]).astype(np.float64)
    return np.frombuffer(numbers.tobytes() + file.getvalue(), np.uint8)


def _unpacked(entry: np.ndarray) -> tuple[Float[np.ndarray, "numbers=20"], UInt8[np.ndarray, "s s 3"]]:
    data = entry.tobytes()
    numbers = np.frombuffer(data[:160], np.float64)
    with Image.open(io.BytesIO(data[160:])) as image:
        return numbers, np.asarray(image)
