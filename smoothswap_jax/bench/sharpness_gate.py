"""Measures what the gates of `prepare` rest on: `duplicates.DISTANCE` and `sharpness.MIN_SHARPNESS`.

    python -m smoothswap_jax.bench.sharpness_gate --faces=DIR [--people=40]

DIR holds `<person>/<view>.jpg`, as the Face Research Lab London Set does (DeBruine & Jones 2017, CC BY 4.0,
doi 10.6084/m9.figshare.5047666). Needs the `faces` extra. A detection takes about 0.4 s, the whole run ten minutes.
Prints two tables: bits between the hashes of photos and their altered copies, of photos of one person and of different
people; and the sharpness of crops, as they are and blurred.
"""

from __future__ import annotations

import argparse
import functools
import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int, UInt8
from PIL import Image
from scipy.ndimage import gaussian_filter, uniform_filter1d

from smoothswap_jax.faces.align import align_face, ffhq_quad
from smoothswap_jax.faces.detection.yunet import detect_faces
from smoothswap_jax.faces.photos import Photo, load_photo
from smoothswap_jax.prepare.duplicates import DISTANCE, mirrored, perceptual_hash
from smoothswap_jax.prepare.sharpness import MIN_SHARPNESS, sharpness

Hashes = UInt8[np.ndarray, "n 32"]


def jpeg(image: Photo, quality: int) -> Photo:
    file = io.BytesIO()
    Image.fromarray(image).save(file, "JPEG", quality=quality)
    return np.asarray(Image.open(file))


def resized(image: Photo, factor: float) -> Photo:
    size = (round(image.shape[1] * factor), round(image.shape[0] * factor))
    return np.asarray(Image.fromarray(image).resize(size, Image.Resampling.BICUBIC))


def levels(image: Photo, brightness: float, contrast: float) -> Photo:
    changed = (image.astype(np.float64) - 128) * contrast + 128 * brightness
    return np.clip(changed, 0, 255).round().astype(np.uint8)


def cut(photo: Photo) -> Photo:
    height, width = photo.shape[:2]
    return photo[round(0.05 * height) : round(0.97 * height), round(0.08 * width) :]


def blurred(crop: Photo, sigma: float) -> Photo:
    return gaussian_filter(crop.astype(np.float64), (sigma, sigma, 0)).round().astype(np.uint8)


def enlarged(crop: Photo, side: int) -> Photo:
    small = Image.fromarray(crop).resize((side, side), Image.Resampling.LANCZOS)
    return np.asarray(small.resize((256, 256), Image.Resampling.BICUBIC))


def motion_blurred(crop: Photo, length: int, axis: int) -> Photo:
    return uniform_filter1d(crop.astype(np.float64), length, axis=axis).round().astype(np.uint8)


Change = Callable[[Photo], Photo]

COPIES: dict[str, Change] = {
    "jpeg 30": lambda photo: jpeg(photo, 30),
    "jpeg 60": lambda photo: jpeg(photo, 60),
    "x0.5": lambda photo: resized(photo, 0.5),
    "x0.7": lambda photo: resized(photo, 0.7),
    "x1.5": lambda photo: resized(photo, 1.5),
    "brighter": lambda photo: levels(photo, 1.15, 1.0),
    "darker, less contrast": lambda photo: levels(photo, 0.85, 0.85),
    "more contrast": lambda photo: levels(photo, 1.0, 1.15),
    "cut": cut,
    "cut x0.5 brighter jpeg 40": lambda photo: jpeg(levels(resized(cut(photo), 0.5), 1.1, 0.9), 40),
    "x0.25": lambda photo: resized(photo, 0.25),
    "mirrored jpeg 50": lambda photo: jpeg(photo[:, ::-1], 50),
}
"""How the photos of which copies are to be found are altered."""


def blurs() -> dict[str, Change]:
    """How the crops whose sharpness is measured are altered."""
    changes: dict[str, Change] = {}
    for sigma in (0, 0.5, 1, 1.5, 2, 2.5, 3, 4, 6):
        changes[f"sigma {sigma}"] = functools.partial(blurred, sigma=sigma)
    for side in (128, 96, 64, 48, 32, 24):
        changes[f"from {side} px"] = functools.partial(enlarged, side=side)
    for length in (5, 9, 15, 21):
        for axis in (0, 1):
            changes[f"motion {length} {'yx'[axis]}"] = functools.partial(motion_blurred, length=length, axis=axis)
    for side in (32, 48, 64, 128, 512, 1024):
        changes[f"size {side}"] = functools.partial(resized, factor=side / 256)
    changes["jpeg 30"] = functools.partial(jpeg, quality=30)
    changes["contrast x0.4"] = functools.partial(levels, brightness=1.0, contrast=0.4)
    return changes


def aligned(photo: Photo) -> Photo | None:
    faces = detect_faces(photo)
    return align_face(photo, ffhq_quad(faces[0].points), 256) if faces else None


def bits(left: Hashes, right: Hashes) -> Int[np.ndarray, "n m"]:
    """Differing bits between hashes `[n, 32]` and `[m, 32]`, or their mirror images if these are closer: `[n, m]`."""
    pairs = [np.bitwise_count(left[:, None] ^ other[None]).sum(-1, dtype=int) for other in (right, mirrored(right))]
    return np.minimum(*pairs)


def print_row(name: str, values: Float[np.ndarray, " n"] | Int[np.ndarray, " n"], passed: float) -> None:
    shown = " ".join(f"{value:7.1f}" for value in np.quantile(values, [0, 0.01, 0.05, 0.5, 0.95, 0.99, 1]))
    print(f"{name:28s} {len(values):7d} {shown} {passed:8.4f}")


def print_heading(title: str, last: str) -> None:
    quantiles = " ".join(f"{name:>7s}" for name in ("min", "1%", "5%", "50%", "95%", "99%", "max"))
    print(f"\n{title:28s} {'number':>7s} {quantiles} {last:>8s}")


def print_distances(crops: dict[Path, Photo], people_copied: int) -> None:
    """Bits between photos and their altered copies, every fifth photo of the first people; and between all photos."""
    hashes = np.stack([perceptual_hash(crop) for crop in crops.values()])
    people = np.array([file.parent.name for file in crops])
    photos_of = {person: [file for file in crops if file.parent.name == person] for person in dict.fromkeys(people)}
    first = list(photos_of.values())[:people_copied]
    chosen = [file for k, photos in enumerate(first) for file in photos[k % 5 :: 5]]
    print_heading(f"bits (copies <= {DISTANCE})", "within")
    for name, change in COPIES.items():
        pairs = [(crops[file], aligned(np.ascontiguousarray(change(load_photo(file))))) for file in chosen]
        found = [(perceptual_hash(crop)[None], perceptual_hash(copy)[None]) for crop, copy in pairs if copy is not None]
        values = np.array([bits(*pair)[0, 0] for pair in found])
        print_row(name, values, (values <= DISTANCE).mean())
    left, right = np.triu_indices(len(people), 1)
    distances, same = bits(hashes, hashes)[left, right], people[left] == people[right]
    for name, values in (("one person", distances[same]), ("different people", distances[~same])):
        print_row(name, values, (values <= DISTANCE).mean())


def print_sharpness(crops: dict[Path, Photo]) -> None:
    """Sharpness of every third crop, altered in each way."""
    print_heading(f"dB (kept >= {MIN_SHARPNESS})", "kept")
    for name, change in blurs().items():
        values = np.array([sharpness(change(crop)) for crop in list(crops.values())[::3]])
        print_row(name, values, (values >= MIN_SHARPNESS).mean())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--faces", type=Path, required=True, help="folder of <person>/<view>.jpg")
    parser.add_argument("--people", type=int, default=40, help="people whose photos are copied (default 40)")
    arguments = parser.parse_args()
    files = sorted(arguments.faces.glob("*/*.jpg"))
    crops = {file: crop for file in files if (crop := aligned(load_photo(file))) is not None}
    if not crops:
        parser.error(f"--faces: found no face in {len(files)} photos {arguments.faces}/*/*.jpg")
    print_distances(crops, arguments.people)
    print_sharpness(crops)


if __name__ == "__main__":
    main()
