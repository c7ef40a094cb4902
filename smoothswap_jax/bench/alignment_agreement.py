"""How well each detector's FFHQ square agrees with crops that another tool aligned.

    python -m smoothswap_jax.bench.alignment_agreement --faces=DIR [--model=face_landmarker.task]

DIR holds photos `london/ID/VIEW.jpg` (the Face Research Lab London Set: DeBruine & Jones 2017, CC BY 4.0,
doi 10.6084/m9.figshare.5047666) and, for some of them, aligned crops `london_ffhq256/ID/VIEW.jpg`. Each crop is located
in its photo by image registration (SIFT, RANSAC), which involves no face detector. Needs the `faces` extra, and those
of the detectors. Prints one line per detector.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from smoothswap_jax.faces.align import Quad, crop_to_photo, ffhq_quad
from smoothswap_jax.faces.detection.base import Detector, UserModel
from smoothswap_jax.faces.detection.registry import DETECTORS, make_detector
from smoothswap_jax.faces.photos import Photo, load_photo

HEADER = "detector    found  offset px mean/95%/max  mean x  mean y  scale % mean/95%/max  turn deg mean/95%/max   ms"


class Difference(NamedTuple):
    """How a quad differs from the reference, in pixels of the reference crop at 256 pixels."""

    x: float
    y: float
    scale: float
    """Percent; positive if the quad is larger than the reference."""
    turn: float
    """Degrees, clockwise."""


def registered_quad(crop: Photo, photo: Photo) -> Quad:
    """Where `photo` shows `crop`: a quad, by the similarity transform between matching SIFT features.

    Raises ValueError if fewer than 40 features agree to within 1 pixel. (Typically 150 do, each scattered by 0.3
    pixels, so the quad is accurate to a few hundredths of a pixel.)
    """
    import cv2

    sift = cv2.SIFT.create(4000, contrastThreshold=0.01)
    (crop_keys, crop_marks), (photo_keys, photo_marks) = (sift.detectAndCompute(image, None) for image in (crop, photo))
    pairs = cv2.BFMatcher().knnMatch(crop_marks, photo_marks, k=2)
    good = [best for best, second in pairs if best.distance < 0.75 * second.distance]
    start = np.array([crop_keys[match.queryIdx].pt for match in good])
    end = np.array([photo_keys[match.trainIdx].pt for match in good])
    cv2.setRNGSeed(0)
    matrix, agreeing = cv2.estimateAffinePartial2D(start, end, ransacReprojThreshold=1.0, maxIters=5000)
    if matrix is None or agreeing.sum() < 40:
        raise ValueError(f"crop {crop.shape} in photo {photo.shape}: too few of {len(good)} features agree; wanted 40")
    size = crop.shape[0]
    corners = np.array([[0, 0], [0, size], [size, size], [size, 0]]) - 0.5
    return corners @ matrix[:, :2].T + matrix[:, 2]


def quad_difference(quad: Quad, reference: Quad) -> Difference:
    """`quad` as seen in the 256-pixel crop of `reference`."""
    matrix = crop_to_photo(reference, 256)
    inside = (quad - matrix[:, 2]) @ np.linalg.inv(matrix[:, :2]).T
    x, y = inside.mean(0) - 127.5
    across = complex(*(inside[3] - inside[0]))
    return Difference(float(x), float(y), (abs(across) / 256 - 1) * 100, float(np.angle(across, deg=True)))


def references(faces: Path) -> Iterator[tuple[str, Photo, Quad]]:
    """Person, photo and the quad of its reference crop, for every crop in `faces`."""
    for file in sorted((faces / "london_ffhq256").glob("*/*.jpg")):
        photo = load_photo(faces / "london" / file.parent.name / file.name)
        yield file.parent.name, photo, registered_quad(load_photo(file), photo)


def table_line(name: str, differences: np.ndarray, count: int, seconds: float) -> str:
    """One line under `HEADER`, from `[n, 4]` differences of the faces found in `count` photos.

    Scale and turn have signs in the mean; their 95th percentiles and worst are of magnitudes.
    """
    x, y, scale, turn = differences.T
    offset = np.hypot(x, y)
    most = lambda values: f"{np.percentile(np.abs(values), 95):6.2f} {np.abs(values).max():6.2f}"
    return (
        f"{name:10s} {len(x):3d}/{count:3d}  {offset.mean():10.2f} {most(offset)}   {x.mean():+6.2f}  {y.mean():+6.2f}"
        f"   {scale.mean():+8.2f} {most(scale)}   {turn.mean():+8.2f} {most(turn)}  {1000 * seconds / count:5.0f}"
    )


def agreement(detect: Detector, examples: list[tuple[str, Photo, Quad]]) -> tuple[np.ndarray, float]:
    """Differences `[n, 4]` of the largest face of each photo, without photos in which none is found; seconds taken."""
    start = time.perf_counter()
    found = [(detect(photo), quad) for _, photo, quad in examples]
    seconds = time.perf_counter() - start
    rows = [quad_difference(ffhq_quad(faces[0].points), quad) for faces, quad in found if faces]
    return np.array(rows).reshape(-1, 4), seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--faces", type=Path, required=True, help="folder with london/ and london_ffhq256/")
    parser.add_argument("--model", help="weights of the detectors that come without, such as face_landmarker.task")
    parser.add_argument(
        "--detectors", nargs="+", choices=list(DETECTORS), help="default: all, without --model those that need none"
    )
    arguments = parser.parse_args()
    needs_model = [name for name, spec in DETECTORS.items() if isinstance(spec.model, UserModel)]
    names = arguments.detectors or [name for name in DETECTORS if arguments.model or name not in needs_model]
    examples = list(references(arguments.faces))
    if not examples:
        parser.error(f"--faces: found no london_ffhq256/*/*.jpg in {arguments.faces}")
    print(HEADER)
    for name in names:
        detect = make_detector(name, arguments.model if name in needs_model else None)
        detect(examples[0][1])  # loads the networks
        differences, seconds = agreement(detect, examples)
        found = len(differences) > 0
        print(table_line(name, differences, len(examples), seconds) if found else f"{name}: no face found")


if __name__ == "__main__":
    main()
