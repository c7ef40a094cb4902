"""Swaps for the page, one after the other, in a thread of their own: queued, with progress, and cancelled."""

import logging
import queue
import secrets
import shutil
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from smoothswap_jax.faces.animations import is_animation
from smoothswap_jax.faces.photos import Photo, load_photo
from smoothswap_jax.faces.video_frames import VideoError
from smoothswap_jax.faces.videos import read_frames
from smoothswap_jax.inference.animations import swap_animation
from smoothswap_jax.inference.choice import Which
from smoothswap_jax.inference.files import swap_files
from smoothswap_jax.inference.swapper import Swapper
from smoothswap_jax.inference.video import encoding_for, swap_video
from smoothswap_jax.provenance.credentials import SIDECAR, sidecar_of
from smoothswap_jax.provenance.outputs import begin_trail, publish
from smoothswap_jax.runtime.files import os_error_in_words
from smoothswap_jax.web.intake import MEDIA, SHOWN, in_words, small_jpeg
from smoothswap_jax.web.limits import Refused
from smoothswap_jax.web.store import Item, Store

log = logging.getLogger(__name__)

TOLD = "the file is signed and marked as synthetic: smoothswap verify reads both"
WENT_WRONG = "something went wrong here; the server's log says what"


class Cancelled(Exception):
    """The user no longer wants it."""


@dataclass
class Job:
    sources: Sequence[Item]
    target: Item
    face: Which
    strength: float
    name: str = field(default_factory=lambda: secrets.token_urlsafe(16))
    state: str = "waiting"
    """Then running; at last done, failed or cancelled."""
    stage: str = ""
    done: int = 0
    total: int = 0
    text: str = ""
    """What went wrong, or what the user should know."""
    result: str = ""
    """The name of the item that came out, and of its preview."""
    preview: str = ""
    credentials: str = ""
    """The name of the item with the credentials of a result that holds none itself."""
    cancelled: bool = False
    used: float = field(default_factory=time.monotonic)

    def told(self) -> dict[str, Any]:
        """What the browser is told."""
        keys = ("state", "stage", "done", "total", "text", "result", "preview", "credentials")
        return {"id": self.name} | {key: getattr(self, key) for key in keys}


@dataclass
class Workshop:
    """The queue and the thread that works it off."""

    store: Store
    swapper: Swapper
    jobs: dict[str, Job] = field(default_factory=dict)
    waiting: queue.Queue = field(default_factory=queue.Queue)
    lock: threading.Lock = field(default_factory=threading.Lock)
    closed: threading.Event = field(default_factory=threading.Event)

    def start(self) -> None:
        for work in (self._work, self._sweep):
            threading.Thread(target=work, daemon=True).start()

    def close(self) -> None:
        """Ends the threads: what is running at its next frame."""
        self.closed.set()
        for job in list(self.jobs.values()):
            job.cancelled = True
        self.waiting.put(None)

    def add(self, job: Job) -> Job:
        """Queues a job; Refused where too many wait."""
        with self.lock:
            behind = sum(one.state == "waiting" for one in self.jobs.values())
            if behind >= self.store.limits.waiting:
                raise Refused(503, f"found {behind} jobs waiting; wanted fewer: try again in a while")
            self.jobs[job.name] = job
        self.waiting.put(job)
        return job

    def get(self, name: str) -> Job:
        with self.lock:
            if name not in self.jobs:
                raise Refused(404, "found no such job, or no longer; wanted one that was begun a while ago at most")
            job = self.jobs[name]
        job.used = time.monotonic()
        return job

    def cancel(self, name: str) -> Job:
        job = self.get(name)
        job.cancelled = True
        if job.state == "waiting":
            job.state = "cancelled"
        return job

    def _work(self) -> None:
        while (job := self.waiting.get()) is not None and not self.closed.is_set():
            if job.cancelled:
                continue
            job.state = "running"
            try:
                run(self.store, self.swapper, job)
                job.state = "done"
            except Cancelled:
                job.state = "cancelled"
            except (ValueError, OSError, ImportError) as error:
                job.state, job.text = "failed", _told(error, job)
            except Exception:
                log.exception("a job of the page")
                job.state, job.text = "failed", WENT_WRONG

    def _sweep(self) -> None:
        while not self.closed.wait(min(30.0, 15 * self.store.limits.minutes)):
            self.sweep()

    def sweep(self) -> None:
        """Forgets what nobody asks for any more; what waits or runs keeps its files."""
        late = time.monotonic() - 60 * self.store.limits.minutes
        with self.lock:
            for job in list(self.jobs.values()):
                if job.state in ("waiting", "running"):
                    for item in (*job.sources, job.target):
                        self.store.use(item)
                elif job.used < late:
                    del self.jobs[job.name]
        self.store.sweep()


def run(store: Store, swapper: Swapper, job: Job) -> None:
    """Swaps; the result becomes an item of the store."""

    def progress(stage: str, done: int, total: int) -> None:
        job.stage, job.done, job.total = stage, done, total
        if job.cancelled:
            raise Cancelled

    progress("beginning", 0, 1)
    target, sources = job.target, [item.path for item in job.sources]
    how: dict[str, Any] = {"target_face": job.face, "strength": job.strength}
    if target.facts["kind"] != "video":
        name, output = store.new_path(target.facts["suffix"])
        if is_animation(str(target.path)):
            notes = swap_animation(swapper, sources, target.path, output, progress=progress, **how).notes
        else:
            notes = swap_files(swapper, sources, target.path, output, **how)
        shown = load_photo(output)
    else:
        name, output = store.new_path(_container(target.path))
        try:
            notes = swap_video(swapper, sources, target.path, output, progress=progress, **how).notes
        finally:
            shutil.rmtree(output.with_name(f".{output.name}.swapping"), ignore_errors=True)
        shown = next(iter(read_frames(str(output), [0]))).picture
    preview = _add_preview(store, swapper, job, shown)
    shown_name = f"swapped{output.suffix}"
    facts = {"kind": target.facts["kind"], "preview": preview.name, "name": shown_name}
    parts = [preview.name]
    if (beside := sidecar_of(output)) and beside.exists():
        job.credentials, _ = store.new_path()
        store.add(Item(job.credentials, beside, "application/c2pa", {"name": f"{shown_name}{SIDECAR}"}))
        parts.append(job.credentials)
    job.result = store.add(Item(name, output, MEDIA[output.suffix], facts, parts)).name
    job.preview = preview.name
    words = [_clean(note, job).replace(output.name, shown_name) for note in notes]
    job.text = "; ".join([*([TOLD] if swapper.provenance.off is None else []), *words])


def _add_preview(store: Store, swapper: Swapper, job: Job, photo: Photo) -> Item:
    """A small JPEG of what came out, for the browser. It is a swap, too, and is told as one."""
    name, path = store.new_path(".jpg")
    sources = [item.path for item in job.sources]
    trail = begin_trail(swapper.provenance, swapper.model, job.target.path, sources, path, overwrite=False)
    data = small_jpeg(photo, SHOWN, trail.metadata())
    publish(path, "the preview", lambda part: part.write_bytes(data), trail)
    return store.add(Item(name, path, "image/jpeg"))


def _container(path: Path) -> str:
    """MP4, which browsers play, if it holds the sound."""
    try:
        encoding_for(path, "whole.mp4")
    except VideoError:
        return ".mkv"
    return ".mp4"


def _told(error: Exception, job: Job) -> str:
    return _clean(os_error_in_words(error) if isinstance(error, OSError) else str(error), job)


def _clean(text: str, job: Job) -> str:
    names = {job.target.path: "the target"}
    names |= {
        item.path: "the source" if len(job.sources) == 1 else f"source {k + 1}" for k, item in enumerate(job.sources)
    }
    names |= {job.target.path.parent: "the folder"}
    return in_words(ValueError(text), names)
