"""The methods that are judged: a checkpoint, whose swaps are made here; others' images or videos; the baselines."""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
from jaxtyping import Int, UInt8

from smoothswap_jax.evaluation.pairs import PAIRS, Pairs, alignment_digest, contents_by_pair, manifest, only
from smoothswap_jax.evaluation.progress import OnProgress
from smoothswap_jax.faces.align import align_face
from smoothswap_jax.faces.kinds import VIDEO_SUFFIXES
from smoothswap_jax.faces.photos import Photo, PhotoError, load_photo, save_photo, to_float, to_uint8
from smoothswap_jax.faces.video_survey import video_length
from smoothswap_jax.faces.videos import VideoError, frames_at
from smoothswap_jax.inference import restore
from smoothswap_jax.inference.batching import portions
from smoothswap_jax.prepare.crops import resized
from smoothswap_jax.runtime import sharding
from smoothswap_jax.runtime.files import write_atomically
from smoothswap_jax.runtime.json_files import read_json
from smoothswap_jax.weights.variables import params_digest

Images = UInt8[np.ndarray, "m s s 3"]
PHOTOS, VIDEOS = (".png", ".jpg", ".jpeg", ".webp"), (".mp4", *sorted(VIDEO_SUFFIXES - {".mp4"}))
MADE_BY = "made_by.json"
CHUNK = 64
BASELINES = ("copy target", "copy source", "true swap")


class MethodError(ValueError):
    """A method's swaps are missing or do not fit; the text names the first."""


@dataclass(frozen=True)
class Method:
    """A method's swaps of all pairs: `read(positions)` in the size of the gallery. rows: of the gallery, for baselines,
    whose images are in it already."""

    name: str
    read: Callable[[Int[np.ndarray, "m"]], Images]
    rows: Int[np.ndarray, "n"] | None = None
    facts: dict[str, str] = field(default_factory=dict)

    @property
    def baseline(self) -> bool:
        return self.rows is not None


def baselines(pairs: Pairs) -> list[Method]:
    """The references of every score: the unchanged target, the unchanged source, and the true swap where known."""
    made = zip(BASELINES, (pairs.target, pairs.source, pairs.truth), strict=True)
    return [Method(name, partial(_originals, pairs, rows), rows) for name, rows in made if rows is not None]


def _originals(pairs: Pairs, rows: Int[np.ndarray, "n"], positions: Int[np.ndarray, "m"]) -> Images:
    return pairs.gallery.read(rows[positions])


# --- a checkpoint of ours -------------------------------------------------------------------------------------------


def swaps_by(swapper: restore.RestoredSwapper, size: int, mesh) -> Callable[[Images, Images], Images]:
    """(sources, targets) -> swaps, all of `size` pixels. A network of another size sees them resized, and its swaps are
    resized back."""
    swap = sharding.in_chunks(restore.swap_function(swapper), mesh)

    def resized_swaps(sources: Images, targets: Images) -> Images:
        seen = (to_float(_all_resized(images, swapper.size)) for images in (sources, targets))
        return _all_resized(to_uint8(swap(*seen)), size)

    return resized_swaps


def _all_resized(images: Images, size: int) -> Images:
    return np.stack([resized(image, size) for image in images])


def swaps_of_checkpoint(
    name: str, swapper: restore.RestoredSwapper, pairs: Pairs, folder: Path, mesh, progress: OnProgress | None = None
) -> Method:
    """Makes the swaps that are not in `folder` yet, as PNG files; these files are what is judged.

    Raises MethodError when the folder holds swaps of another checkpoint, or of other images under the same names.
    """
    made_by = {part: params_digest(swapper.variables[part]) for part in ("generator", "embedder")}
    made_by["alignment"] = alignment_digest(pairs)
    folder.mkdir(parents=True, exist_ok=True)
    note, listing = folder / MADE_BY, folder / PAIRS
    listed = manifest(pairs)
    ours = contents_by_pair(listed)
    theirs = _listed(listing) if listing.is_file() else {}
    if (note.is_file() and read_json(note) != made_by) or any(
        theirs.get(name, contents) != contents for name, contents in ours.items()
    ):
        raise MethodError(f"{folder}: holds the swaps of another checkpoint or other pairs; wanted a new --out")
    write_atomically(listing, listed)
    write_atomically(note, json.dumps(made_by).encode())
    paths = [folder / f"{name}.png" for name in pairs.names]
    missing = np.array([i for i, path in enumerate(paths) if not path.is_file()], np.int64)
    swap = swaps_by(swapper, pairs.gallery.size, mesh)
    for chunk in chunks(len(missing)):
        rows = missing[chunk]
        source, target = (pairs.gallery.read(ends[rows]) for ends in (pairs.source, pairs.target))
        for row, image in zip(rows, swap(source, target), strict=True):
            paths[row].parent.mkdir(parents=True, exist_ok=True)
            save_photo(paths[row], image)
        if progress:
            progress(int(chunk[-1]) + 1, len(missing))
    facts = {"checkpoint": f"step {swapper.step}", "generator sha256": made_by["generator"]}
    if swapper.size != pairs.gallery.size:
        facts["works at"] = f"{swapper.size} px, resized to {pairs.gallery.size}"
    return Method(name, lambda positions: np.stack([load_photo(paths[i]) for i in positions]), facts=facts)


def chunks(count: int, size: int = CHUNK) -> Iterator[Int[np.ndarray, "m"]]:
    """0 ... count - 1 in pieces of as many images as are held in memory at once."""
    return portions(count, size)


# --- images or videos of other methods ------------------------------------------------------------------------------


def swaps_of_folder(name: str, folder: str | Path, pairs: Pairs, aligned: bool = False) -> Method:
    """Swaps that lie as `<pair>.png` (.jpg, .webp) or, for frames of videos, `<target>_<source>.mp4` in `folder`.

    A picture has the size of its target's photo, and is cropped by the target's quad, so that all methods are judged
    on the same pixels; with `aligned`, or where the targets are aligned already, it is a square crop and is resized.

    Raises MethodError when a swap is missing or has another shape. Missing swaps are never skipped: a method judged
    only on the swaps it managed would look better than it is.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise MethodError(f"--swaps={folder}: found no such folder")
    _refuse_other_pairs(folder, pairs)
    aligned = aligned or bool(np.isnan(pairs.gallery.quads[pairs.target]).any())
    videos = {
        stem: path for stem in {n.split("/")[0] for n in pairs.names if "/" in n} if (path := _video(folder, stem))
    }
    paths = [None if n.split("/")[0] in videos else _photo(folder, n) for n in pairs.names]
    missing = [n for n, path in zip(pairs.names, paths, strict=True) if path is None and n.split("/")[0] not in videos]
    if missing:
        raise MethodError(
            f"--swaps={folder}: {len(missing)} of {len(pairs)} swaps are missing, the first is {missing[0]}.png "
            f"(or .jpg, .webp{', or a video' if '/' in missing[0] else ''}); --pairs-only writes the list of all"
        )

    def read(positions: Int[np.ndarray, "m"]) -> Images:
        frames: dict[int, Photo] = {}
        for stem in {pairs.names[i].split("/")[0] for i in positions if paths[i] is None}:
            numbers = {int(pairs.names[i].split("/")[1]): i for i in positions if pairs.names[i].split("/")[0] == stem}
            frames |= {numbers[number]: frame for number, frame in _frames(videos[stem], list(numbers))}
        pictures = [frames[i] if (path := paths[i]) is None else _loaded(path) for i in positions]
        cut = zip(positions, pictures, strict=True)
        return np.stack([_cropped(picture, pairs, int(i), aligned, name) for i, picture in cut])

    facts = {"swaps": folder.name, "kind": "aligned crops" if aligned else "whole pictures, cropped as their targets"}
    return Method(name, read, facts=facts)


def _refuse_other_pairs(folder: Path, pairs: Pairs) -> None:
    """If a pairs.csv lies beside the swaps, it must list these pairs."""
    path = folder / PAIRS
    if not path.is_file():
        return
    theirs, ours = _listed(path), contents_by_pair(manifest(pairs))
    if missing := [name for name, contents in ours.items() if theirs.get(name) != contents]:
        raise MethodError(
            f"{path}: {len(missing)} of {len(pairs)} pairs are not in it or are of other pictures, the first is "
            f"{missing[0]}: these swaps are not of the pairs that are judged"
        )


def _listed(path: Path) -> dict[str, tuple[str, ...]]:
    try:
        return contents_by_pair(path.read_bytes())
    except ValueError as error:
        raise MethodError(f"{path}: {error}") from error


def in_all_videos(pairs: Pairs, data: Path | None, folders: Mapping[str, Path]) -> Pairs:
    """The pairs whose frame exists in every method's video. Reenactment methods end with the shorter of the two
    originals; later frames are left out for all methods and counted, and the method is named.

    folders: of the methods' swaps, by name. Raises MethodError for a file that is not a video, and for one that ends
    more than `SLACK` frames before both of its originals: those frames are the method's to answer for.
    """
    keep, notes = np.ones(len(pairs), bool), []
    for name, folder in folders.items():
        lengths: dict[str, int | None] = {}
        short = np.zeros(len(pairs), bool)
        for i, (stem, slash, number) in enumerate(label.partition("/") for label in pairs.names):
            if slash and stem not in lengths:
                path = _video(folder, stem)
                lengths[stem] = None if path is None else _length(path)
                files = [pairs.gallery.names[ends[i]].partition("#")[0] for ends in (pairs.source, pairs.target)]
                if path is not None and data is not None and all((data / file).is_file() for file in files):
                    wanted, found = min(_length(data / file) for file in files), lengths[stem]
                    if found is not None and found < wanted - SLACK:
                        raise MethodError(f"{path}: found {found} frames; wanted {wanted}, as the shorter original has")
            length = lengths.get(stem)
            short[i] = length is not None and int(number) >= length
        if short.any():
            notes.append(
                f"{int(short.sum())} of {len(pairs)} frames are left out for every method: {name}'s videos end before."
            )
        keep &= ~short
    if not keep.any():
        raise MethodError("the swaps' videos end before the first frame; wanted videos as long as their targets")
    return only(pairs, keep, *notes) if notes else pairs


SLACK = 5  # frames that cutting and coding may cost


def _length(path: Path) -> int:
    try:
        return video_length(str(path))
    except VideoError as error:
        raise MethodError(str(error)) from error


def _photo(folder: Path, name: str) -> Path | None:
    return next((path for suffix in PHOTOS if (path := folder / f"{name}{suffix}").is_file()), None)


def _video(folder: Path, stem: str) -> Path | None:
    return next((path for suffix in VIDEOS if (path := folder / f"{stem}{suffix}").is_file()), None)


def _loaded(path: Path) -> Photo:
    try:
        return load_photo(path)
    except PhotoError as error:
        raise MethodError(str(error)) from error


def _frames(path: Path, numbers: list[int]) -> Iterator[tuple[int, Photo]]:
    """All of these frames, or MethodError."""
    try:
        found = dict(frames_at(str(path), numbers))
    except VideoError as error:
        raise MethodError(str(error)) from error
    if late := sorted(set(numbers) - set(found)):
        raise MethodError(f"{path}: found no frame {late[0]}; wanted a video as long as its target's")
    yield from found.items()


def _cropped(picture: Photo, pairs: Pairs, i: int, aligned: bool, name: str) -> UInt8[np.ndarray, "s s 3"]:
    gallery, row = pairs.gallery, pairs.target[i]
    found = f"{name}, {pairs.names[i]}: found {picture.shape[1]}x{picture.shape[0]} pixels"
    if aligned:
        if picture.shape[0] != picture.shape[1]:
            raise MethodError(f"{found}; wanted a square, aligned crop")
        return resized(picture, gallery.size)
    if picture.shape[:2] != tuple(gallery.shapes[row]):
        height, width = gallery.shapes[row]
        raise MethodError(f"{found}; wanted {width}x{height} as its target (or --aligned for FFHQ-aligned crops)")
    return align_face(picture, gallery.quads[row], gallery.size)
