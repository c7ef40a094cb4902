"""What an honest trail costs: bytes and seconds that credentials and marks add to outputs, and to tell them.

    python -m smoothswap_jax.bench.provenance [--times=20]

Of a JPEG and a PNG of soft noise, 2000 x 1500 pixels, and an MP4 of ten seconds of it at 1280 x 720 and 25 frames a
second. "all" is what it takes to write the photo, or to put the video's file in place, with credentials and marks;
"without" the same with neither. Medians. Keys are made in a temporary folder.
"""

import argparse
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from PIL import Image

from smoothswap_jax.bench.table import table
from smoothswap_jax.faces.movie import mp4_bytes
from smoothswap_jax.faces.original import read_original
from smoothswap_jax.faces.photos import Photo, save_photo
from smoothswap_jax.inference.files import save_swap
from smoothswap_jax.provenance.credentials import Model
from smoothswap_jax.provenance.keys import CONFIG
from smoothswap_jax.provenance.outputs import Provenance, begin_trail, publish_whole
from smoothswap_jax.provenance.verifying import verify_file

PHOTO, FRAME = (2000, 1500), (1280, 720)
SECONDS, RATE = 10, 25
MODEL = Model("0" * 64, "0" * 64, 0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--times", type=int, default=20, metavar="N", help="each measurement is made N times")
    print(table(costs(parser.parse_args().times)))


def costs(
    times: int, photo: tuple[int, int] = PHOTO, frame: tuple[int, int] = FRAME, frames: int = SECONDS * RATE
) -> dict[str, Any]:
    """Bytes and milliseconds by kind of output; sizes are width and height. frames: of the video."""
    with tempfile.TemporaryDirectory() as name:
        folder, before = Path(name), os.environ.get(CONFIG)
        os.environ[CONFIG] = str(folder / "config")
        try:
            for k in range(2):
                save_photo(folder / f"{k}.png", soft_noise(*photo, seed=k))
            jpeg_and_png = {form: _of_photo(folder, form, times) for form in (".jpg", ".png")}
            pictures = [soft_noise(*frame, seed=k % 10) for k in range(frames)]
            (folder / "whole").write_bytes(mp4_bytes(pictures, 1 / RATE))
            return jpeg_and_png | {".mp4": _of_video(folder, times)}
        finally:
            if before is None:
                del os.environ[CONFIG]
            else:
                os.environ[CONFIG] = before


def soft_noise(width: int, height: int, seed: int) -> Photo:
    rough = np.random.default_rng(seed).integers(0, 256, (-(-height // 8), -(-width // 8), 3), np.uint8)
    return np.asarray(Image.fromarray(rough).resize((width, height), Image.Resampling.BICUBIC))


def _of_photo(folder: Path, suffix: str, times: int) -> dict[str, Any]:
    original = read_original(folder / "0.png")
    return _measured(folder, suffix, times, lambda out, trail: save_swap(out, original, trail))


def _of_video(folder: Path, times: int) -> dict[str, Any]:
    whole, data = folder / "made.mp4", (folder / "whole").read_bytes()

    def write(out: Path, trail: Any) -> None:
        publish_whole(whole, out, trail, overwrite=True)

    return _measured(folder, ".mp4", times, write, before=lambda: whole.write_bytes(data))


def _measured(
    folder: Path, suffix: str, times: int, write: Callable[[Path, Any], Any], before: Callable[[], Any] = lambda: None
) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for kind, how in (("without", Provenance(off="measures")), ("all", Provenance())):
        out, spent = folder / f"{kind}{suffix}", []
        for _ in range(times):
            before()
            start = time.perf_counter()
            trail = begin_trail(how, MODEL, folder / "0.png", [folder / "1.png"], out, overwrite=True)
            hashed = time.perf_counter()
            write(out, trail)
            spent.append((hashed - start, time.perf_counter() - hashed))
        found[f"{kind}, bytes"] = out.stat().st_size
        found[f"{kind}: before the work, ms"], found[f"{kind}: at its end, ms"] = (
            1000 * median(column) for column in zip(*spent, strict=True)
        )
    told = []
    for _ in range(times):
        start = time.perf_counter()
        state = verify_file(folder / f"all{suffix}").state
        told.append(time.perf_counter() - start)
    found["added, bytes"] = found["all, bytes"] - found["without, bytes"]
    return found | {"verify, ms": 1000 * median(told), "verified as": state}


if __name__ == "__main__":
    main()
