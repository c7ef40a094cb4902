"""Differences of pixels: to the target, and to the true swap where it is known."""

import numpy as np
from jaxtyping import Float

from smoothswap_jax.evaluation.measures.base import Measure, Metric, Scored
from smoothswap_jax.evaluation.methods import Method, chunks
from smoothswap_jax.evaluation.pairs import Pairs
from smoothswap_jax.faces.align import ffhq_quad, photo_to_crop
from smoothswap_jax.faces.alignments import BOX
from smoothswap_jax.faces.photos import to_float
from smoothswap_jax.metrics import per_pair

MAX_PSNR = 100.0
"""Equal pictures have an infinite ratio; a hundred decibels are far beyond what 8 bits can tell."""

CHANGE = Measure("change", "pixels", "", "mean squared difference to the target, pixels in [-1, 1]")
CHANGE_OUTSIDE = Measure("change outside the face", "pixels", "", "the same outside of the face's ellipse")
ERROR = Measure("error to the true swap", "truth", "lower", "mean squared difference to the truth")
ERROR_INSIDE = Measure("error inside the face", "truth", "lower", "the same inside of the face's ellipse")
ERROR_OUTSIDE = Measure("error outside the face", "truth", "lower", "the same outside of it")
PSNR = Measure("PSNR", "truth", "higher", f"to the truth, dB, at most {MAX_PSNR:.0f}")
SSIM = Measure("SSIM", "truth", "higher", "structural similarity to the truth (Wang et al. 2004)")


def _scores(method: Method, pairs: Pairs) -> Scored:
    size = pairs.gallery.size
    parts: dict[Measure, list[np.ndarray]] = {}
    for chunk in chunks(len(pairs)):
        swaps = to_float(method.read(chunk))
        targets = to_float(pairs.gallery.read(pairs.target[chunk]))
        inside = face_masks(pairs.gallery.points[pairs.target[chunk]], size)
        found = {CHANGE: per_pair.mse(swaps, targets), CHANGE_OUTSIDE: per_pair.masked_mse(swaps, targets, 1 - inside)}
        if pairs.truth is not None:
            truth = to_float(pairs.gallery.read(pairs.truth[chunk]))
            found |= {
                ERROR: per_pair.mse(swaps, truth),
                ERROR_INSIDE: per_pair.masked_mse(swaps, truth, inside),
                ERROR_OUTSIDE: per_pair.masked_mse(swaps, truth, 1 - inside),
                PSNR: np.minimum(per_pair.psnr(swaps, truth), MAX_PSNR),
                SSIM: per_pair.ssim(swaps, truth),
            }
        for measure, values in found.items():
            parts.setdefault(measure, []).append(values)
    return [(measure, np.concatenate(values)) for measure, values in parts.items()]


def face_masks(points: Float[np.ndarray, "n 5 2"], size: int) -> Float[np.ndarray, "n s s"]:
    """1 inside of the ellipse that fills the face's box (`judges/alignments.BOX`), 0 outside."""
    place = np.arange(size)
    x0, y0, x1, y1 = BOX
    masks = np.zeros((len(points), size, size))
    for mask, five in zip(masks, points, strict=True):
        matrix = photo_to_crop(ffhq_quad(five), 1)  # to 0-1 over the face's FFHQ square, less one half
        away = 0.0
        for (along_x, along_y, start), low, high in zip(matrix, (x0, y0), (x1, y1), strict=True):
            across = along_x * place + along_y * place[:, None] + start + 0.5
            away = away + np.square((across - (low + high) / 2) / ((high - low) / 2))
        mask[away <= 1] = 1
    return masks


PIXELS = Metric(of_pixels=_scores)
