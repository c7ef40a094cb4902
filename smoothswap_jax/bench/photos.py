"""How near a JPEG comes to itself when it is written again, and how far photos in colour are from having one tone.

    python -m smoothswap_jax.bench.photos --photos=DIR [--count=60]
    python -m smoothswap_jax.bench.photos --photos=DIR --formats [--checkpoint=default]

Of every k-th photo below DIR, at most 1,024 pixels a side. The second figure answers what `faces.tones.TONE_SPREAD` has
to be. With --formats instead: the first photo in every format, swapped with the face of the last, and what came out.
"""

import argparse
import io
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

from smoothswap_jax.bench.folder import photos_below
from smoothswap_jax.bench.formats import formats_table
from smoothswap_jax.bench.table import table
from smoothswap_jax.faces import tones
from smoothswap_jax.faces.original import read_original
from smoothswap_jax.faces.photos import Photo, load_reduced
from smoothswap_jax.faces.writing import save_original
from smoothswap_jax.inference.swapper import Swapper

SAMPLINGS = {"4:4:4": 0, "4:2:0": 2}
QUALITIES = (75, 90, 98)
BROWN = (np.array([0, 128, 255]), np.array([[30, 20, 15], [150, 120, 90], [255, 244, 222]]))
"""Brightness, and the colours of sepia there."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", required=True, type=Path, metavar="DIR")
    parser.add_argument("--count", type=int, default=60)
    parser.add_argument("--formats", action="store_true")
    parser.add_argument("--checkpoint", default="default", metavar="DIR")
    args = parser.parse_args()
    files = photos_below(args.photos)
    if args.formats:
        print(formats_table(Swapper.load(args.checkpoint), files[-1], _small(load_reduced(files[0]))))
        return
    photos = [_small(load_reduced(path)) for path in files[:: max(1, len(files) // args.count)][: args.count]]
    print(table({"photos": len(photos), "written again": written_again(photos), "tones": tone_spreads(photos)}))


def _small(photo: Photo) -> Photo:
    image = Image.fromarray(photo)
    image.thumbnail((1024, 1024))
    return np.asarray(image)


def written_again(photos: list[Photo]) -> dict:
    """By sampling and quality: the share of pixels that stay the same, and by how much the others change."""
    found: dict = {}
    with tempfile.TemporaryDirectory() as folder:
        before, after = Path(folder) / "a.jpg", Path(folder) / "b.jpg"
        for name, sampling in SAMPLINGS.items():
            for quality in QUALITIES:
                changes = []
                for photo in photos:
                    Image.fromarray(photo).save(before, quality=quality, subsampling=sampling)
                    original = read_original(before)
                    save_original(after, original)
                    changes.append(np.abs(read_original(after).photo.astype(int) - original.photo).max(2).ravel())
                every = np.concatenate(changes)
                found[f"{name}, quality {quality}"] = {
                    "same": float((every == 0).mean()),
                    "99 of 100 within": int(np.percentile(every, 99)),
                    "all within": int(every.max()),
                }
    return found


def tone_spreads(photos: list[Photo]) -> dict:
    """The 99th percentile of the distance from one tone: the least of photos in colour, the most of them in sepia."""
    coded = [_as_jpeg(_brown(photo)) for photo in photos]
    return {
        "least in colour": min(tones.tone_spread(photo)[1] for photo in photos),
        "most in sepia, JPEG of quality 75": max(tones.tone_spread(photo)[1] for photo in coded),
    }


def _brown(photo: Photo) -> Photo:
    level = photo @ tones.LUMA
    return np.stack([np.interp(level, BROWN[0], BROWN[1][:, c]) for c in range(3)], axis=2).astype(np.uint8)


def _as_jpeg(photo: Photo) -> Photo:
    file = io.BytesIO()
    Image.fromarray(photo).save(file, "JPEG", quality=75)
    return np.asarray(Image.open(file).convert("RGB"))


if __name__ == "__main__":
    main()
