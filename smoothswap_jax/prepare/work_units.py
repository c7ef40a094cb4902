"""The work in units of some dozens of files, each done whole or not at all, so that a killed run goes on.

    WORK/plan.json             settings, tools, layout, digest of the listing, number of files in each unit
    WORK/plan/000012.json      the items of a unit
    WORK/units/000012.images   its crops as JPEG or PNG files, one after the other
    WORK/units/000012.json     what became of each picture; written last

Any number of processes on any number of machines may work on units that they see through a common file system.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
from collections.abc import Iterator, Sequence
from typing import Any

from etils import epath

from smoothswap_jax.faces.detection.registry import make_detector
from smoothswap_jax.prepare.crops import Crop, PrepareSettings, crops_of, encoded
from smoothswap_jax.prepare.duplicates import perceptual_hash
from smoothswap_jax.prepare.entries import MediaFile, Rejected, split_by_hash
from smoothswap_jax.prepare.layouts import Listing
from smoothswap_jax.prepare.preview import thumbnail
from smoothswap_jax.runtime import files

UNIT = 64
"""Photos in a unit: half a minute of work on one core, so a kill costs little and Beam can balance the load."""
VIDEO = 16
"""How many photos a video counts."""
SHOWN = 2
"""Rejected pictures that a unit keeps of each gate, for the contact sheet."""

Row = dict[str, Any]


def recorded_settings(settings: PrepareSettings) -> dict[str, Any]:
    """The settings as a plan and a manifest tell them. A model's file is told by its hash, not by where it lay."""
    return {name: value for name, value in dataclasses.asdict(settings).items() if name != "detector_model"}


def write_plan(
    source: str, listing: Listing, settings: PrepareSettings, tools: dict[str, dict], work: epath.Path
) -> dict:
    """Lists the source into units; returns what plan.json holds. Does nothing where the same plan is there already.

    `tools` names what the crops are made with, {"detector": facts, "versions": of libraries}: a run that went on with
    others would not end in the bytes of an undisturbed one.

    Raises ValueError when WORK holds the plan of other settings or tools, or of other files.
    """
    facts: dict[str, dict] = {"layout": {"layout": listing.layout}, "settings": recorded_settings(settings), **tools}
    old = json.loads((work / "plan.json").read_text()) if (work / "plan.json").exists() else None
    if old is not None:
        before = {**old, "layout": {"layout": old["layout"]}}
        changed = [
            f"{name}: found {before[part].get(name)!r}, wanted {fields.get(name)!r}"
            for part, fields in facts.items()
            for name in sorted(before[part].keys() | fields.keys())
            if before[part].get(name) != fields.get(name)
        ]
        if changed:
            raise ValueError(
                f"{work.parent}: holds an unfinished run with other settings ({'; '.join(changed)}); "
                "give the same settings to go on with it, or remove the folder"
            )
    (work / "plan").mkdir(parents=True, exist_ok=True)
    digest = hashlib.sha256()
    sizes: list[int] = []
    for text, size in _texts(source, listing):
        digest.update(text)
        if old is None:
            files.write_atomically(os.fspath(work / "plan" / f"{len(sizes):06d}.json"), text)
        sizes.append(size)
    plan = {**facts, "layout": listing.layout, "digest": digest.hexdigest(), "files": sum(sizes), "sizes": sizes}
    if old is not None and old != plan:
        raise ValueError(
            f"{work.parent}: holds an unfinished run over {old['files']} files, of which some have changed since (now "
            f"{plan['files']}); put the source back as it was, or remove the folder"
        )
    if not sizes:
        raise ValueError(f"{source}: found no files; wanted photos or videos")
    files.write_atomically(os.fspath(work / "plan.json"), json.dumps(plan, indent=2).encode())
    return plan


def listing_digest(source: str, listing: Listing) -> str:
    """SHA-256 of all names, sizes and dates, which tells whether the source has changed."""
    digest = hashlib.sha256()
    for text, _ in _texts(source, listing):
        digest.update(text)
    return digest.hexdigest()


def _texts(source: str, listing: Listing) -> Iterator[tuple[bytes, int]]:
    """Of each unit the contents of its plan and the number of its files."""
    for entries in _in_units(listing):
        yield json.dumps([_entry(source, entry) for entry in entries]).encode(), len(entries)


def _in_units(listing: Listing) -> Iterator[list[MediaFile | Rejected]]:
    unit: list[MediaFile | Rejected] = []
    weight = 0
    for entry in listing.entries():
        unit.append(entry)
        weight += VIDEO if isinstance(entry, MediaFile) and entry.video else 1
        if weight >= UNIT:
            yield unit
            unit, weight = [], 0
    if unit:
        yield unit


def _entry(source: str, entry: MediaFile | Rejected) -> dict:
    """A plan's line: the fields of an item or a rejection, and size and date of the file, which tell a changed one."""
    try:
        state = os.stat(f"{source}/{entry.file}")
        stamp = [state.st_size, state.st_mtime_ns]
    except OSError:
        stamp = []
    return {"stamp": stamp, **dataclasses.asdict(entry)}


def finished_units(work: epath.Path) -> set[int]:
    """Numbers of the finished units."""
    folder = work / "units"
    return {int(path.stem) for path in folder.iterdir() if path.suffix == ".json"} if folder.exists() else set()


def process_unit(number: int, source: str, work: str, settings: PrepareSettings) -> None:
    """Crops the faces of a unit. A unit that is finished already is left alone."""
    folder = epath.Path(work) / "units"
    rows_file = folder / f"{number:06d}.json"
    if rows_file.exists():
        return
    _use_one_thread()
    detect = None if settings.aligned else make_detector(settings.detector, settings.detector_model)
    rows: list[Row] = []
    images: list[bytes] = []
    offset = 0
    shown: dict[str, int] = {}
    for line in json.loads((epath.Path(work) / "plan" / f"{number:06d}.json").read_text()):
        del line["stamp"]
        if "gate" in line:
            rows.append({"file": line["file"], "gate": line["gate"], "reason": line["reason"]})
            continue
        item = MediaFile(**line | {"box": tuple(line["box"]) if line["box"] else None})
        for result in crops_of(source, item, settings, detect):
            data = b""
            if isinstance(result, Crop):
                data = encoded(result.image, settings.encoding)
                row = _kept_row(item, result, settings)
            else:
                row = dataclasses.asdict(result.rejected)
                if result.picture is not None and shown.setdefault(row["gate"], 0) < SHOWN:
                    shown[row["gate"]] += 1
                    data = thumbnail(result.picture)
            if data:
                row["at"] = [offset, len(data)]
                offset += len(data)
                images.append(data)
            rows.append(row)
    folder.mkdir(parents=True, exist_ok=True)
    files.write_atomically(os.fspath(folder / f"{number:06d}.images"), b"".join(images))
    files.write_atomically(os.fspath(rows_file), json.dumps(rows).encode())


def _kept_row(item: MediaFile, crop: Crop, settings: PrepareSettings) -> Row:
    return {
        "file": item.file,
        "frame": crop.frame,
        "identity": item.identity,
        "group": item.group or item.identity,
        "split": item.split or split_by_hash(item.group or item.identity, settings.test_share),
        "hash": perceptual_hash(crop.image).tobytes().hex(),
        "quad": crop.quad.tolist(),
        "points": crop.points.tolist(),
        "score": crop.score,
        "yaw": crop.yaw,
        "sharpness": crop.sharpness,
    }


def _use_one_thread() -> None:
    """One thread a process: there is a process per core, and sums must not depend on how threads share the work."""
    try:
        import cv2

        cv2.setNumThreads(1)
    except ImportError:
        pass  # nothing is detected, or by another library


def unit_rows(work: epath.Path, number: int) -> list[Row]:
    """What became of each picture of a finished unit, in the plan's order."""
    return json.loads((work / "units" / f"{number:06d}.json").read_text())


def unit_images(work: epath.Path, number: int, places: Sequence[Sequence[int]]) -> list[bytes]:
    """Encoded pictures of a finished unit by their rows' "at"."""
    with (work / "units" / f"{number:06d}.images").open("rb") as file:
        found = []
        for offset, length in places:
            file.seek(offset)
            found.append(file.read(length))
        return found
