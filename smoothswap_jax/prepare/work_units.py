"""The work in units of some dozens of files. A unit is done as a whole or not at all, so a killed run can resume.

    WORK/plan.json             settings, tools, layout, digest of the listing, number of files in each unit
    WORK/plan/000012.json      the files of a unit
    WORK/units/000012.images   its crops as JPEG or PNG files, concatenated
    WORK/units/000012.json     a row for each of its pictures, kept or left out; written last

Any number of processes on any number of machines may process units, as long as they share the file system.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
from collections.abc import Iterator, Sequence
from typing import Any

from etils import epath

from smoothswap_jax.faces.detection.registry import make_detector, make_sure_detector
from smoothswap_jax.prepare.crops import Crop, PrepareSettings, RejectedPicture, crops_of, encoded
from smoothswap_jax.prepare.duplicates import perceptual_hash
from smoothswap_jax.prepare.entries import MediaFile, Rejected, split_by_hash
from smoothswap_jax.prepare.layouts import Listing
from smoothswap_jax.prepare.preview import thumbnail
from smoothswap_jax.runtime import files

UNIT_WEIGHT = 64
"""Photos in a unit: half a minute of work on one core, so a kill costs little and Beam can balance the load."""
VIDEO_WEIGHT = 16
"""A video counts as this many photos."""
SHOWN_PER_GATE = 2
"""Rejected pictures per gate that a unit keeps for the contact sheet."""

Row = dict[str, Any]
"""Of a kept crop, the fields of `_kept_row`; of a picture that is left out, those of `Rejected`. "at": its place in
the unit's images, offset and length."""


def recorded_settings(settings: PrepareSettings) -> dict[str, Any]:
    """The settings as a plan and a manifest record them: without the model's path, as its hash identifies it."""
    return {name: value for name, value in dataclasses.asdict(settings).items() if name != "detector_model"}


def write_plan(
    source: str, listing: Listing, settings: PrepareSettings, tools: dict[str, dict], work: epath.Path
) -> dict:
    """Divides the files of the source into units; returns the contents of plan.json. A matching plan is left as it is.

    `tools` are what the crops are made with, {"detector": facts, "versions": of libraries}: resumed with others, a run
    would not end in the same bytes as an undisturbed one.

    Raises ValueError if WORK holds a plan with other settings or tools, or of other files.
    """
    facts: dict[str, dict] = {"layout": {"layout": listing.layout}, "settings": recorded_settings(settings), **tools}
    old = None
    if (work / "plan.json").exists():
        try:
            old = json.loads((work / "plan.json").read_text())
            before = {**old, "layout": {"layout": old["layout"]}}
            changed = [
                f"{name}: found {before[part].get(name)!r}, wanted {fields.get(name)!r}"
                for part, fields in facts.items()
                for name in sorted(before[part].keys() | fields.keys())
                if before[part].get(name) != fields.get(name)
            ]
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise ValueError(
                f"{work / 'plan.json'}: found a damaged file ({error!r:.200}); remove the folder {work.parent}"
            ) from error
        if changed:
            raise ValueError(
                f"{work.parent}: holds an unfinished run with other settings ({'; '.join(changed)}); "
                "resume it with the same settings, or remove the folder"
            )
    (work / "plan").mkdir(parents=True, exist_ok=True)
    digest = hashlib.sha256()
    sizes: list[int] = []
    for text, size in _unit_plans(source, listing):
        digest.update(text)
        if old is None:
            files.write_atomically(os.fspath(work / "plan" / f"{len(sizes):06d}.json"), text)
        sizes.append(size)
    plan = {**facts, "layout": listing.layout, "digest": digest.hexdigest(), "files": sum(sizes), "sizes": sizes}
    if old is not None and old != plan:
        raise ValueError(
            f"{work.parent}: holds an unfinished run over {old['files']} files, of which some have changed since (now "
            f"{plan['files']}); restore the source, or remove the folder"
        )
    if not sizes:
        raise ValueError(f"{source}: found no files; wanted photos or videos")
    files.write_atomically(os.fspath(work / "plan.json"), json.dumps(plan, indent=2).encode())
    return plan


def listing_digest(source: str, listing: Listing) -> str:
    """SHA-256 of all names, sizes and dates; another digest means that the source has changed."""
    digest = hashlib.sha256()
    for text, _ in _unit_plans(source, listing):
        digest.update(text)
    return digest.hexdigest()


def _unit_plans(source: str, listing: Listing) -> Iterator[tuple[bytes, int]]:
    """For each unit the contents of its plan file and its number of files."""
    for entries in _in_units(listing):
        yield json.dumps([_plan_entry(source, entry) for entry in entries]).encode(), len(entries)


def _in_units(listing: Listing) -> Iterator[list[MediaFile | Rejected]]:
    unit: list[MediaFile | Rejected] = []
    weight = 0
    for entry in listing.entries():
        unit.append(entry)
        weight += VIDEO_WEIGHT if isinstance(entry, MediaFile) and entry.video else 1
        if weight >= UNIT_WEIGHT:
            yield unit
            unit, weight = [], 0
    if unit:
        yield unit


def _plan_entry(source: str, entry: MediaFile | Rejected) -> dict:
    """The fields of an entry, with the file's size and date as its "stamp".

    Finished sets are recognised by the digest of these, so field names, and the reasons that a listing gives for files
    it leaves out, cannot change without their being refused.
    """
    try:
        state = os.stat(f"{source}/{entry.file}")
        stamp = [state.st_size, state.st_mtime_ns]
    except OSError:
        stamp = []
    return {"stamp": stamp, **dataclasses.asdict(entry)}


def finished_units(work: epath.Path) -> set[int]:
    """The numbers of the finished units."""
    folder = work / "units"
    return {int(path.stem) for path in folder.iterdir() if path.suffix == ".json"} if folder.exists() else set()


def process_unit(number: int, source: str, work: str, settings: PrepareSettings) -> None:
    """Crops the faces in the files of a unit; does nothing if the unit is finished."""
    folder = epath.Path(work) / "units"
    rows_file = folder / f"{number:06d}.json"
    if rows_file.exists():
        return
    _use_one_thread()
    named = (settings.detector, settings.detector_model)
    detect, quick = (None, None) if settings.aligned else (make_detector(*named), make_sure_detector(*named))
    rows: list[Row] = []
    images: list[bytes] = []
    offset = 0
    shown: dict[str, int] = {}
    for entry in json.loads((epath.Path(work) / "plan" / f"{number:06d}.json").read_text()):
        del entry["stamp"]
        if "gate" in entry:
            rows.append({"file": entry["file"], "gate": entry["gate"], "reason": entry["reason"]})
            continue
        media = MediaFile(**entry | {"box": tuple(entry["box"]) if entry["box"] else None})
        for result in crops_of(source, media, settings, detect, quick):
            row, image = _row_and_image(media, result, settings, shown)
            if image:
                row["at"] = [offset, len(image)]
                offset += len(image)
                images.append(image)
            rows.append(row)
    folder.mkdir(parents=True, exist_ok=True)
    files.write_atomically(os.fspath(folder / f"{number:06d}.images"), b"".join(images))
    files.write_atomically(os.fspath(rows_file), json.dumps(rows).encode())


def _row_and_image(
    media: MediaFile, result: Crop | RejectedPicture, settings: PrepareSettings, shown: dict[str, int]
) -> tuple[Row, bytes]:
    """The row of a picture and its encoded image, empty where none is kept; counts in `shown` by gate."""
    if isinstance(result, Crop):
        return _kept_row(media, result, settings), encoded(result.image, settings.encoding)
    gate = result.rejected.gate
    row = dataclasses.asdict(result.rejected)
    if result.image is None or shown.setdefault(gate, 0) >= SHOWN_PER_GATE:
        return row, b""
    shown[gate] += 1
    return row, thumbnail(result.image)


def _kept_row(media: MediaFile, crop: Crop, settings: PrepareSettings) -> Row:
    group = media.group or media.identity
    return {
        "file": media.file,
        "frame": crop.frame,
        "identity": media.identity,
        "group": group,
        "split": media.split or split_by_hash(group, settings.test_share),
        "by_hash": media.split is None,
        "hash": perceptual_hash(crop.image).tobytes().hex(),
        "quad": crop.quad.tolist(),
        "points": crop.points.tolist(),
        "score": crop.score,
        "yaw": crop.yaw,
        "sharpness": crop.sharpness,
    }


def _use_one_thread() -> None:
    """Limits OpenCV to one thread: there is a process per core, and sums must not depend on how threads divide them."""
    try:
        import cv2

        cv2.setNumThreads(1)
    except ImportError:
        pass  # no detector runs, or one without OpenCV


def unit_rows(work: epath.Path, number: int) -> list[Row]:
    """The rows of a finished unit, in the order of its plan."""
    return json.loads((work / "units" / f"{number:06d}.json").read_text())


def unit_images(work: epath.Path, number: int, places: Sequence[Sequence[int]]) -> list[bytes]:
    """Encoded images of a finished unit, by the "at" of their rows."""
    with (work / "units" / f"{number:06d}.images").open("rb") as file:
        found = []
        for offset, length in places:
            file.seek(offset)
            found.append(file.read(length))
        return found
