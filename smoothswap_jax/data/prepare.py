"""From people's photos to aligned faces: DIR/<person>/<photo> -> OUT/<person>/<photo>.png."""

from __future__ import annotations

import csv
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from smoothswap_jax.data.align import align_face, ffhq_quad
from smoothswap_jax.data.detect import Detector, detect_faces, face_yaw
from smoothswap_jax.data.photos import PhotoError, load_photo, save_photo

MAX_YAW = 62.0
"""Faces turned further than this by `face_yaw` are left out of a training set (degrees). In the Face Research
Lab London Set (72 persons) the 288 three-quarter views measure 25-58 and the 288 profiles 65-89."""

_STAMP = "smoothswap-prepare"
_VERSION = 1  # raise when the alignment changes, so that a re-run renews older crops


@dataclass(frozen=True)
class PrepareCounts:
    """What became of the photos; `found` is the sum of the others."""

    found: int
    written: int
    kept: int
    """Already there from an earlier run, with the same source file and settings."""
    rejected: int


def prepare_folder(
    source: str | os.PathLike[str],
    out: str | os.PathLike[str],
    size: int,
    *,
    max_yaw: float | None = MAX_YAW,
    detect: Detector = detect_faces,
    progress: Callable[[int, int, str], None] | None = None,
) -> PrepareCounts:
    """Aligns every photo `source/<person>/<photo>` to `out/<person>/<photo>.png`, `size` x `size` pixels.

    Of several faces the largest is taken. Photos that give no face are listed in `out/rejected.csv` (file,
    reason), which is written anew each time. A second run with the same settings does only what is missing:
    each crop carries a stamp of its source's name and size in bytes and of the settings. Crops whose source
    was deleted stay. Hidden files and folders are passed over; folders inside a person's folder are rejected,
    not entered, so that links cannot loop. The order is that of the names.

    Args:
      max_yaw: reject heads turned further, degrees by `face_yaw`; None keeps all.
      detect: the face detector.
      progress: called after each photo with the number done, the number found, and the photo's relative path.

    Raises:
      ValueError: `source` is no folder or holds no photos in folders of persons, `out` lies in `source` or
        the other
        way round, or `size` is not positive.
    """
    root, target = Path(source), Path(out)
    _check_folders(root, target, size)
    files, rejected = _list_photos(root)
    if not files:
        raise ValueError(f"{root}: found no photos in folders of persons; wanted {root}/<person>/<photo>")
    written = kept = 0
    owners: dict[Path, str] = {}
    for done, file in enumerate(files, 1):
        relative = file.relative_to(root)
        result = target / relative.with_suffix(".png")
        if result in owners:
            rejected.append((relative.as_posix(), f"same result name as {owners[result]}"))
        else:
            owners[result] = relative.name
            stamp = _stamp(file, size, max_yaw)
            if _is_done(result, stamp):
                kept += 1
            else:
                reason = _prepare_photo(file, result, size, max_yaw, detect, stamp)
                if reason is None:
                    written += 1
                else:
                    rejected.append((relative.as_posix(), reason))
        if progress is not None:
            progress(done, len(files), relative.as_posix())
    _write_rejected(target, sorted(rejected))
    return PrepareCounts(written + kept + len(rejected), written, kept, len(rejected))


def _check_folders(source: Path, out: Path, size: int) -> None:
    if size < 1:
        raise ValueError(f"size: found {size}; wanted a positive number of pixels")
    if not source.is_dir():
        raise ValueError(f"{source}: found no such folder; wanted one with a folder of photos for each person")
    inside, outside = out.resolve(), source.resolve()
    if inside == outside or outside in inside.parents or inside in outside.parents:
        raise ValueError(f"{out}: lies in {source} or around it; wanted a separate folder for the aligned faces")


def _list_photos(source: Path) -> tuple[list[Path], list[tuple[str, str]]]:
    """The files two levels down, by name, and what lies at the wrong level as (relative path, reason)."""
    files: list[Path] = []
    misplaced: list[tuple[str, str]] = []
    for person in sorted(source.iterdir()):
        if person.name.startswith("."):
            continue
        if not person.is_dir():
            misplaced.append((person.name, "not in a person's folder"))
            continue
        for file in sorted(person.iterdir()):
            if file.name.startswith("."):
                continue
            if file.is_dir():
                misplaced.append((file.relative_to(source).as_posix(), "a folder inside a person's folder"))
            else:
                files.append(file)
    return files, misplaced


def _stamp(file: Path, size: int, max_yaw: float | None) -> str:
    """Text that changes when the crop of `file` would."""
    try:
        length = file.stat().st_size
    except OSError:
        length = -1
    return f"v{_VERSION} size={size} max_yaw={max_yaw} bytes={length} source={os.fsencode(file.name).hex()}"


def _is_done(result: Path, stamp: str) -> bool:
    """Whether `result` is a whole crop of this size, source and settings."""
    try:
        with Image.open(result) as image:
            good = image.info.get(_STAMP) == stamp
            image.verify()  # checks the checksums of all parts
    except (OSError, SyntaxError, ValueError):
        return False  # missing, or damaged and to be made anew
    return good


def _prepare_photo(
    file: Path, result: Path, size: int, max_yaw: float | None, detect: Detector, stamp: str
) -> str | None:
    """Writes the crop and returns None, or returns why there is none; then an older crop is removed too."""
    try:
        photo = load_photo(file)
    except PhotoError as error:
        reason = str(error).removeprefix(f"{file}: ")
    else:
        faces = detect(photo)
        yaw = face_yaw(faces[0].points) if faces else 0.0
        if not faces:
            reason = "no face"
        elif max_yaw is not None and abs(yaw) > max_yaw:
            reason = f"profile: turned by about {abs(yaw):.0f} degrees, at most {max_yaw:g} wanted"
        else:
            result.parent.mkdir(parents=True, exist_ok=True)
            save_photo(result, align_face(photo, ffhq_quad(faces[0].points), size), text={_STAMP: stamp})
            return None
    result.unlink(missing_ok=True)
    return reason


def _write_rejected(out: Path, rows: list[tuple[str, str]]) -> None:
    out.mkdir(parents=True, exist_ok=True)
    part = out / f".rejected.csv.{os.getpid()}.part"
    try:
        with part.open("w", newline="", encoding="utf-8", errors="surrogateescape") as file:
            writer = csv.writer(file)
            writer.writerow(("file", "reason"))
            writer.writerows(rows)
        os.replace(part, out / "rejected.csv")
    finally:
        part.unlink(missing_ok=True)
