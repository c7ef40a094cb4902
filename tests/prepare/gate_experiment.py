"""Measures what DISTANCE and MIN_SHARPNESS rest on; prints two tables. About 0.4 s a detection, ten minutes in all.

    python -m tests.prepare.gate_experiment --faces=DIR [--people=40]

DIR holds `<person>/<view>.jpg`, as the Face Research Lab London Set does (DeBruine & Jones 2017, CC BY 4.0,
doi 10.6084/m9.figshare.5047666): each person's photos in one folder.
"""

import argparse
import io
from pathlib import Path

import numpy as np
from PIL import Image
from scipy.ndimage import gaussian_filter, uniform_filter1d

from smoothswap_jax.faces.align import align_face, ffhq_quad
from smoothswap_jax.faces.detection.yunet import detect_faces
from smoothswap_jax.faces.photos import load_photo
from smoothswap_jax.prepare.duplicates import DISTANCE, mirrored, perceptual_hash
from smoothswap_jax.prepare.sharpness import MIN_SHARPNESS, sharpness


def jpeg(picture, quality):
    file = io.BytesIO()
    Image.fromarray(picture).save(file, "JPEG", quality=quality)
    return np.asarray(Image.open(file))


def resized(picture, factor):
    size = (round(picture.shape[1] * factor), round(picture.shape[0] * factor))
    return np.asarray(Image.fromarray(picture).resize(size, Image.Resampling.BICUBIC))


def levels(picture, brightness, contrast):
    changed = (picture.astype(np.float64) - 128) * contrast + 128 * brightness
    return np.clip(changed, 0, 255).round().astype(np.uint8)


def cut(picture):
    height, width = picture.shape[:2]
    return picture[round(0.05 * height) : round(0.97 * height), round(0.08 * width) :]


COPIES = {
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

BLURS = {
    **{f"sigma {sigma}": lambda crop, sigma=sigma: blurred(crop, sigma) for sigma in (0, 0.5, 1, 1.5, 2, 2.5, 3, 4, 6)},
    **{f"from {side} px": lambda crop, side=side: enlarged(crop, side) for side in (128, 96, 64, 48, 32, 24)},
    **{
        f"motion {length} {'yx'[axis]}": lambda crop, length=length, axis=axis: motion(crop, length, axis)
        for length in (5, 9, 15, 21)
        for axis in (0, 1)
    },
    **{f"size {side}": lambda crop, side=side: resized(crop, side / 256) for side in (32, 48, 64, 128, 512, 1024)},
    "jpeg 30": lambda crop: jpeg(crop, 30),
    "contrast x0.4": lambda crop: levels(crop, 1.0, 0.4),
}


def blurred(crop, sigma):
    return gaussian_filter(crop.astype(np.float64), (sigma, sigma, 0)).round().astype(np.uint8)


def enlarged(crop, side):
    small = Image.fromarray(crop).resize((side, side), Image.Resampling.LANCZOS)
    return np.asarray(small.resize((256, 256), Image.Resampling.BICUBIC))


def motion(crop, length, axis):
    return uniform_filter1d(crop.astype(np.float64), length, axis=axis).round().astype(np.uint8)


def aligned(photo):
    faces = detect_faces(photo)
    return align_face(photo, ffhq_quad(faces[0].points), 256) if faces else None


def bits(left, right):
    """Least bits between hashes `[n, 32]` and `[m, 32]`, mirror images included: `[n, m]`."""
    pairs = [np.bitwise_count(left[:, None] ^ other[None]).sum(-1, dtype=int) for other in (right, mirrored(right))]
    return np.minimum(*pairs)


def print_row(name, values, passed):
    shown = " ".join(f"{value:7.1f}" for value in np.quantile(values, [0, 0.01, 0.05, 0.5, 0.95, 0.99, 1]))
    print(f"{name:28s} {len(values):7d} {shown} {passed:8.4f}")


def print_heading(title, last):
    quantiles = " ".join(f"{name:>7s}" for name in ("min", "1%", "5%", "50%", "95%", "99%", "max"))
    print(f"\n{title:28s} {'number':>7s} {quantiles} {last:>8s}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--faces", type=Path, required=True, help="folder of <person>/<view>.jpg")
    parser.add_argument("--people", type=int, default=40, help="people whose photos are copied")
    args = parser.parse_args()

    files = sorted(args.faces.glob("*/*.jpg"))
    found = {file: crop for file in files if (crop := aligned(load_photo(file))) is not None}
    hashes = np.stack([perceptual_hash(crop) for crop in found.values()])
    people = np.array([file.parent.name for file in found])

    print_heading(f"bits (copies <= {DISTANCE})", "within")
    copied = {person: [file for file in found if file.parent.name == person] for person in dict.fromkeys(people)}
    chosen = [file for k, person in enumerate(list(copied)[: args.people]) for file in copied[person][k % 5 :: 5]]
    for name, change in COPIES.items():
        pairs = [(found[file], aligned(np.ascontiguousarray(change(load_photo(file))))) for file in chosen]
        known = [np.stack([perceptual_hash(one) for one in pair])[:, None] for pair in pairs if pair[1] is not None]
        values = np.array([bits(*pair)[0, 0] for pair in known])
        print_row(name, values, (values <= DISTANCE).mean())
    first, second = np.triu_indices(len(people), 1)
    distances, same = bits(hashes, hashes)[first, second], people[first] == people[second]
    for name, values in (("one person", distances[same]), ("different people", distances[~same])):
        print_row(name, values, (values <= DISTANCE).mean())

    print_heading(f"dB (kept >= {MIN_SHARPNESS})", "kept")
    for name, change in BLURS.items():
        values = np.array([sharpness(change(crop)) for crop in list(found.values())[::3]])
        print_row(name, values, (values >= MIN_SHARPNESS).mean())


if __name__ == "__main__":
    main()
