"""Whether the edge of a pasted face is seen:

    python -m smoothswap_jax.bench.seams --photos=DIR [--sizes 512 1350 4000] [--count=8] [--checkpoint=default]

Of every k-th photo below DIR with a face, scaled to each size and swapped with the face of the next. In the soft edge
of the face's square: how steep the swapped photo is there, over how steep the photo was (1: no seam), in the mean and
along the steepest of the four sides; and how steep the change alone is, in levels a hundredth of the square's side.
"""

import argparse
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float
from PIL import Image

from smoothswap_jax.bench.folder import photos_below
from smoothswap_jax.bench.table import table
from smoothswap_jax.faces.align import Quad, paste_mask, photo_to_crop
from smoothswap_jax.faces.photos import Photo, load_photo
from smoothswap_jax.inference.choice import NoFaceError
from smoothswap_jax.inference.swapper import Swapper, Task

SIZES = (512, 1350, 4000)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", required=True, type=Path, metavar="DIR")
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES, metavar="N")
    parser.add_argument("--count", type=int, default=8)
    parser.add_argument("--checkpoint", default="default", metavar="DIR")
    args = parser.parse_args()
    files = photos_below(args.photos)
    chosen = files[:: max(1, len(files) // args.count)][: args.count]
    swapper = Swapper.load(args.checkpoint)
    print(table({f"{size} px": seams(swapper, chosen, size) for size in args.sizes}))


def seams(swapper: Swapper, files: list[Path], size: int) -> dict[str, float]:
    """The measures of the module's text, means over photos."""
    found = []
    for k, file in enumerate(files):
        photo = _scaled(load_photo(file), size)
        try:
            _, quads = swapper.locate(photo)
            z = swapper.embed(files[(k + 1) % len(files)])
        except NoFaceError:
            continue
        (swapped,) = swapper.swap_tasks([Task(photo, quads, z)])
        found.append(_at_the_edge(photo, swapped.photo, quads[0]))
    mean, steepest, change = np.mean(found, axis=0)
    return {"photos": len(found), "mean": mean, "steepest side": steepest, "change, levels": change}


def _scaled(photo: Photo, size: int) -> Photo:
    share = size / max(photo.shape[:2])
    wide, high = (max(1, round(side * share)) for side in photo.shape[1::-1])
    return np.asarray(Image.fromarray(photo).resize((wide, high), Image.Resampling.LANCZOS))


def _at_the_edge(photo: Photo, swapped: Photo, quad: Quad) -> tuple[float, float, float]:
    rows, columns, weights = paste_mask(photo.shape, quad)
    edge = (weights > 0) & (weights < 1)
    before, after = (one[rows, columns].astype(np.float32).mean(2) for one in (photo, swapped))
    side = float(np.hypot(*(quad[3] - quad[0])))
    ratios = [
        _steep(after)[part].mean() / _steep(before)[part].mean() for part in (edge, *_sides(edge, quad, rows, columns))
    ]
    return ratios[0], max(ratios[1:]), float(_steep(after - before)[edge].mean() * side / 100)


def _steep(picture: Float[np.ndarray, "h w"]) -> Float[np.ndarray, "h w"]:
    """Levels a pixel, over three pixels, so that grain counts little."""
    down, across = np.gradient(picture)
    return np.hypot(down, across)


def _sides(edge: Bool[np.ndarray, "h w"], quad: Quad, rows: slice, columns: slice) -> list[Bool[np.ndarray, "h w"]]:
    """The parts of the edge that are nearest to each side of the square, those that lie in the photo."""
    matrix = photo_to_crop(quad, 1)
    y, x = np.mgrid[rows, columns]
    u, v = (matrix[k, 0] * x + matrix[k, 1] * y + matrix[k, 2] + 0.5 for k in range(2))
    nearest = np.argmin([u, 1 - u, v, 1 - v], axis=0)
    parts = [edge & (nearest == side) for side in range(4)]
    return [part for part in parts if part.sum() > 100]


if __name__ == "__main__":
    main()
