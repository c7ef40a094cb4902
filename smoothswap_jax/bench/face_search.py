"""How well faces are found in turned photos, small in large ones, and by what score drawings differ from photographs.

    python -m smoothswap_jax.bench.face_search --faces=DIR

DIR holds photographs of one upright face each, at any depth. The truth is what the detector finds in the upright photo.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from smoothswap_jax.faces.align import Points, ffhq_quad
from smoothswap_jax.faces.detection.base import Detector, Face
from smoothswap_jax.faces.detection.registry import DETECTORS, make_detector
from smoothswap_jax.faces.listing import PHOTO_SUFFIXES
from smoothswap_jax.faces.photos import Photo, load_photo, scaled_down

RIGHT = 0.05
"""A crop is right if its five points are within this share of the crop's side of the truth."""
PASTED = (40, 60, 80, 160)
"""Sides of the FFHQ square of pasted faces, pixels; the face itself is about half as wide."""
BACKDROP = (3000, 4000)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--faces", required=True, metavar="DIR")
    parser.add_argument("--detector", default="yunet", choices=list(DETECTORS))
    parser.add_argument("--model", metavar="FILE", help="weights that no package brings")
    parser.add_argument("--photos", type=int, default=24, help="how many, evenly spread (default 24)")
    parser.add_argument("--step", type=int, default=45, metavar="DEG", help="between turns (default 45)")
    arguments = parser.parse_args()
    files = sorted(path for path in Path(arguments.faces).rglob("*") if path.suffix.lower() in PHOTO_SUFFIXES)
    if not files:
        parser.error(f"--faces: found no photos in {arguments.faces}")
    chosen = np.linspace(0, len(files) - 1, min(arguments.photos, len(files))).round().astype(int)
    photos = [scaled_down(load_photo(files[i]), 1200)[0] for i in chosen]
    after = make_detector(arguments.detector, arguments.model)
    before = getattr(after, "keywords", {}).get("detect", after)
    known = [(photo, faces[0]) for photo in photos if (faces := before(photo))]
    print(
        f"{len(known)} of {len(photos)} photos have a face\n\nturn: right, wrong, none without and with upright search"
    )
    for degrees in range(0, 360, arguments.step):
        print(degrees, *(turned_outcomes(find, known, degrees) for find in (before, after)), flush=True)
    print("\nside of the square, width of the box: found without and with tiles, in 12 megapixels")
    for side in PASTED:
        print(side, *pasted_outcomes((before, after), known[:5], side), flush=True)
    print("\nkind: faces found; quantiles 0, .1, .5, .9, 1 of their scores")
    for kind, change in ALTERATIONS.items():
        scores = [faces[0].score for photo, _ in known if (faces := after(change(photo)))]
        print(kind, len(scores), np.quantile(scores, [0, 0.1, 0.5, 0.9, 1]).round(3) if scores else "", flush=True)


def turned_outcomes(find: Detector, known: Sequence[tuple[Photo, Face]], degrees: int) -> list[int]:
    """Numbers of right crops, wrong ones, and photos without a face, when photos are turned clockwise.

    Quarter turns are exact; others are sampled, on a backdrop of the photo's mean colour.
    """
    counts = [0, 0, 0]
    for photo, face in known:
        view, points = turned(photo, face.points, degrees)
        faces = find(view)
        counts[2 if not faces else int(distance(faces[0].points, points) >= RIGHT)] += 1
    return counts


def turned(photo: Photo, points: Points, degrees: int) -> tuple[Photo, Points]:
    """The photo and its points turned clockwise, on a canvas that holds all of it."""
    mean = tuple(int(value) for value in photo.reshape(-1, 3).mean(0))
    image = Image.fromarray(photo).rotate(-degrees, Image.Resampling.BICUBIC, expand=True, fillcolor=mean)
    angle = np.radians(degrees)
    matrix = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    old, new = (np.array(size) / 2 - 0.5 for size in (photo.shape[1::-1], image.size))
    return np.asarray(image), (points - old) @ matrix.T + new


def distance(points: Points, truth: Points) -> float:
    """The largest distance of a point's coordinate from the truth, as a share of the crop's side."""
    quad = ffhq_quad(truth)
    return float(np.abs(points - truth).max() / np.hypot(*(quad[3] - quad[0])))


def pasted_outcomes(finds: Sequence[Detector], known: Sequence[tuple[Photo, Face]], side: int) -> list[str]:
    """The mean width of the faces' boxes, and for each detector how many of the faces it finds."""
    draw = np.random.default_rng(0)
    y, x = np.mgrid[0 : BACKDROP[0], 0 : BACKDROP[1]]
    grey = 120 + 50 * np.sin(x / 700) + 40 * np.cos(y / 500) + draw.normal(0, 6, BACKDROP)
    backdrop = np.repeat(grey.clip(0, 255).astype(np.uint8)[:, :, None], 3, 2)
    widths, found = [], [0] * len(finds)
    for photo, face in known:
        quad = ffhq_quad(face.points)
        zoom = side / np.hypot(*(quad[3] - quad[0]))
        size = (round(photo.shape[1] * zoom), round(photo.shape[0] * zoom))
        corner = np.array([draw.integers(0, BACKDROP[1] - size[0]), draw.integers(0, BACKDROP[0] - size[1])])
        scene = Image.fromarray(backdrop)
        scene.paste(Image.fromarray(photo).resize(size, Image.Resampling.LANCZOS), (int(corner[0]), int(corner[1])))
        truth = (face.points + 0.5) * zoom - 0.5 + corner
        widths.append((face.box[2] - face.box[0]) * zoom)
        for i, find in enumerate(finds):
            found[i] += any(distance(one.points, truth) < 2 * RIGHT for one in find(np.asarray(scene)))
    return [f"{np.mean(widths):.0f}", *(f"{count}/{len(known)}" for count in found)]


def _grey(photo: Photo) -> np.ndarray:
    return np.asarray(Image.fromarray(photo).convert("L"))


def _lines(photo: Photo) -> Photo:
    """A line drawing: the contours that Canny's method finds, black on white."""
    import cv2

    return np.repeat(255 - cv2.Canny(_grey(photo), 60, 150)[:, :, None], 3, 2)


def _pencil(photo: Photo) -> Photo:
    import cv2

    drawn, _ = cv2.pencilSketch(np.ascontiguousarray(photo[:, :, ::-1]), sigma_s=60, sigma_r=0.07, shade_factor=0.05)
    return np.repeat(drawn[:, :, None], 3, 2)


def _painting(photo: Photo) -> Photo:
    import cv2

    return cv2.stylization(np.ascontiguousarray(photo[:, :, ::-1]), sigma_s=60, sigma_r=0.45)[:, :, ::-1]


def _relief(photo: Photo) -> Photo:
    """Grey levels as heights, lit from one side."""
    import cv2

    down, across = np.gradient(cv2.GaussianBlur(_grey(photo), (0, 0), 1.5).astype(float))
    return np.repeat((150 + 9 * (down + across)).clip(0, 255).astype(np.uint8)[:, :, None], 3, 2)


def _stone(photo: Photo) -> Photo:
    """A smooth grey statue of the face, with its shading."""
    import cv2

    smooth = cv2.bilateralFilter(_grey(photo), 9, 60, 9)
    return np.repeat((smooth * 0.6 + 80).astype(np.uint8)[:, :, None], 3, 2)


ALTERATIONS: dict[str, Callable[[Photo], Photo]] = {
    "photograph": lambda photo: photo,
    "line drawing": _lines,
    "pencil drawing": _pencil,
    "painting": _painting,
    "relief": _relief,
    "stone": _stone,
}
"""What drawings, reliefs and statues may look like, made from photographs."""

if __name__ == "__main__":
    main()
