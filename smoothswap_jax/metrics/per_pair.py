"""Scores of single pairs: images by pixels, embeddings, coefficients, rotations and landmarks.

Pure functions of NumPy arrays: no config, path or device is seen here. Images are NHWC floats in [-1, 1]; embeddings
are [n, d] and need not be of unit length. Everything is computed in float64, so that a mean over many pairs does not
depend on the precision of the model. Give the scores to `bootstrap.bootstrap_interval`, `ratio_of_means_interval` or
`paired_difference_interval` rather than printing a bare mean. SciPy, which swaps do without, is imported where it is
used.
"""

from collections.abc import Iterator

import numpy as np
from jaxtyping import Float, Int, Shaped

TIE = 1e-12  # cosines nearer than this differ by rounding only
_SSIM_RADIUS = 5  # pixels on each side of the window's centre: 3.5 standard deviations of 1.5
_NOT_A_ROTATION = 1e-3  # float32 networks miss orthonormality by less, other conventions (scaled, sheared) by more


def mse(a: Float[np.ndarray, "b h w c"], b: Float[np.ndarray, "b h w c"]) -> Float[np.ndarray, " b"]:
    """Mean squared error of each pair, `sum((a - b)^2) / (h w c)`, from 0 to 4 for images in [-1, 1].

    This is the L_chg of Smooth-Swap (Kim et al. 2022) when `b` is the target. Raises ValueError when the
    shapes differ and TypeError for integer images, whose range is not [-1, 1] and whose difference wraps
    around.
    """
    return np.array([np.mean(error) for error in _squared_errors(a, b)])


def psnr(a: Float[np.ndarray, "b h w c"], b: Float[np.ndarray, "b h w c"]) -> Float[np.ndarray, " b"]:
    """Peak signal-to-noise ratio of each pair in dB, `10 log10(R^2 / mse)` with R = 2; higher is closer.

    Equal images score `inf`, which has no mean: average `mse` when that can happen. Raises as `mse` does.
    """
    with np.errstate(divide="ignore"):
        return 10.0 * np.log10(2.0**2 / mse(a, b))


def masked_mse(
    a: Float[np.ndarray, "b h w c"], b: Float[np.ndarray, "b h w c"], mask: Shaped[np.ndarray, "b h w"]
) -> Float[np.ndarray, " b"]:
    """Mean squared error of each pair over the pixels of its mask, `sum(m e) / sum(m)` with e the mean over channels.

    `mask` holds booleans or weights in [0, 1]; the face's mask gives the error inside the face, and one minus it
    the error outside. From 0 to 4, as `mse`, which it equals for a mask of ones. Raises as `mse` does, and
    ValueError for a mask of another shape, weights outside [0, 1], or an image whose mask is empty, by row.
    """
    weight = np.asarray(mask).astype(np.float64)
    if weight.shape != a.shape[:3]:
        raise ValueError(f"mask must have shape {a.shape[:3]}, found {weight.shape}")
    if not (weight.min() >= 0 and weight.max() <= 1):
        raise ValueError(f"mask must lie in [0, 1], found {weight.min()} to {weight.max()}")
    area = weight.sum(axis=(1, 2))
    if np.any(area == 0):
        raise ValueError(f"mask must cover a part of every image; row {int(area.argmin())} is empty")
    sums = np.array([np.sum(one * error) for one, error in zip(weight, _squared_errors(a, b), strict=True)])
    return sums / area


def ssim(a: Float[np.ndarray, "b h w c"], b: Float[np.ndarray, "b h w c"]) -> Float[np.ndarray, " b"]:
    """Structural similarity of each pair (Wang et al. 2004), in [-1, 1]; 1 for equal images.

    Gaussian window of standard deviation 1.5 on 11 x 11 pixels, K1 = .01, K2 = .03, range 2; the mean over
    channels and over all windows that lie within the image. Raises as `mse` does, and ValueError for images
    smaller than the window.
    """
    a, b = _float_images(a, b)
    side = 2 * _SSIM_RADIUS + 1
    if min(a.shape[1:3]) < side:
        raise ValueError(f"ssim needs images of at least {side} x {side} pixels, found {a.shape[1]} x {a.shape[2]}")
    # One pair at a time: it takes ten float64 images of working memory.
    return np.array([_ssim_of_pair(x.astype(np.float64), y.astype(np.float64)) for x, y in zip(a, b, strict=True)])


def _ssim_of_pair(x: Float[np.ndarray, "h w c"], y: Float[np.ndarray, "h w c"]) -> float:
    from scipy.ndimage import gaussian_filter

    within = slice(_SSIM_RADIUS, -_SSIM_RADIUS)
    blur = lambda image: gaussian_filter(image, (1.5, 1.5, 0.0), radius=(_SSIM_RADIUS, _SSIM_RADIUS, 0))[within, within]
    mean_x, mean_y = blur(x), blur(y)
    variances = blur(x * x) - mean_x**2 + blur(y * y) - mean_y**2
    covariance = blur(x * y) - mean_x * mean_y
    c1, c2 = (0.01 * 2.0) ** 2, (0.03 * 2.0) ** 2
    luminance = (2 * mean_x * mean_y + c1) / (mean_x**2 + mean_y**2 + c1)
    return float(np.mean(luminance * (2 * covariance + c2) / (variances + c2)))


def _squared_errors(a: np.ndarray, b: np.ndarray) -> Iterator[Float[np.ndarray, "h w"]]:
    """Of each pair, the mean over channels in float64. One at a time: it stays in a core's cache."""
    a, b = _float_images(a, b)
    for x, y in zip(a, b, strict=True):
        difference = np.subtract(x, y, dtype=np.float64)
        yield np.einsum("hwc,hwc->hw", difference, difference) / difference.shape[2]


def _float_images(a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    a, b = np.asarray(a), np.asarray(b)
    for name, images in (("a", a), ("b", b)):
        if images.dtype.kind in "iub":
            raise TypeError(f"{name} must be float images in [-1, 1], found dtype {images.dtype}")
        if images.ndim != 4 or 0 in images.shape:
            raise ValueError(f"{name} must be a batch of images [b, h, w, c], found shape {images.shape}")
    if a.shape != b.shape:
        raise ValueError(f"images must have one shape, found {a.shape} and {b.shape}")
    return a, b


def cosine(a: Float[np.ndarray, "n d"], b: Float[np.ndarray, "n d"]) -> Float[np.ndarray, " n"]:
    """Cosine of each pair of embeddings, `<a, b> / (|a| |b|)` in [-1, 1]; `1 - cosine` is the paper's L_id.

    Raises ValueError when the shapes differ or an embedding has length zero.
    """
    a, b = unit_pairs(a, b)
    return np.clip(np.sum(a * b, axis=1), -1.0, 1.0)


def distance(a: Float[np.ndarray, "n d"], b: Float[np.ndarray, "n d"]) -> Float[np.ndarray, " n"]:
    """Euclidean distance of each pair of embeddings brought to unit length, in [0, 2]; 0 for one direction.

    The `VGG` column of Smooth-Swap, with a VGGFace2 network's embeddings of swap and source. Its square is
    2 - 2 cosine. Raises as `cosine` does.
    """
    a, b = unit_pairs(a, b)
    return np.linalg.norm(a - b, axis=1)  # from the cosine, equal embeddings would lie 1e-8 apart


def parameter_distance(a: Float[np.ndarray, "n d"], b: Float[np.ndarray, "n d"]) -> Float[np.ndarray, " n"]:
    """Euclidean distance of each pair of coefficient vectors as they are, in their own unit.

    The `Shp`, `Exp` and `Pose` columns of Smooth-Swap: shape of a 3-D face model against the source, expression and
    pose against the target. Raises ValueError when the shapes differ or a number is not finite, by row.
    """
    a, b = _same_finite("coefficients [n, d]", 2, a=a, b=b)
    return np.linalg.norm(a - b, axis=1)


def hopenet_rotations(degrees: Float[np.ndarray, "n 3"]) -> Float[np.ndarray, "n 3 3"]:
    """Rotation matrices of Hopenet's (yaw, pitch, roll) in degrees: `R = R_x(pitch) R_y(-yaw) R_z(roll)` on columns.

    So deep-head-pose's `draw_axis` draws the head's axes, in a picture with x to the right and y down. Raises
    ValueError for another shape or a number that is not finite.
    """
    (degrees,) = _same_finite("angles [n, 3]", 2, degrees=degrees)
    if degrees.shape[1] != 3:
        raise ValueError(f"angles must be [n, 3] (yaw, pitch, roll), found shape {degrees.shape}")
    from scipy.spatial.transform import Rotation

    return Rotation.from_euler("XYZ", degrees[:, [1, 0, 2]] * (1, -1, 1), degrees=True).as_matrix()


def geodesic_degrees(a: Float[np.ndarray, "n 3 3"], b: Float[np.ndarray, "n 3 3"]) -> Float[np.ndarray, " n"]:
    """Angle of the rotation that takes each `a` to its `b`, in degrees, in [0, 180] (Huynh 2009, metric 6).

    Unlike a difference of Euler angles it does not depend on their order and has no singular pose. Raises
    ValueError when the shapes differ or a matrix is no rotation, by row.
    """
    a, b = _same_finite("rotations [n, 3, 3]", 3, a=a, b=b)
    for name, matrix in (("a", a), ("b", b)):
        if matrix.shape[1:] != (3, 3):
            raise ValueError(f"{name} must be rotations [n, 3, 3], found shape {matrix.shape}")
        off = np.abs(matrix @ np.swapaxes(matrix, 1, 2) - np.eye(3)).max(axis=(1, 2))
        bad = (off > _NOT_A_ROTATION) | (np.linalg.det(matrix) < 0)
        if np.any(bad):
            raise ValueError(f"{name} must be rotations; row {int(bad.argmax())} is not orthonormal or a reflection")
    turn = np.swapaxes(a, 1, 2) @ b
    # The trace alone gives the cosine, which is flat at 0 and 180 degrees: an error of 1e-16 becomes 1e-6 degrees.
    twice_sine = np.linalg.norm(turn - np.swapaxes(turn, 1, 2), axis=(1, 2)) / np.sqrt(2.0)
    return np.degrees(np.arctan2(twice_sine, np.trace(turn, axis1=1, axis2=2) - 1.0))


def landmark_distance(
    a: Float[np.ndarray, "n k d"],
    b: Float[np.ndarray, "n k d"],
    left: Int[np.ndarray, " l"],
    right: Int[np.ndarray, " r"],
) -> Float[np.ndarray, " n"]:
    """Distance of two expressions, seen in k landmarks (d = 2 or 3), over the distance of b's eyes; 0 is perfect.

    Each `a` is first laid on its `b` by the least-squares similarity (Umeyama 1991, without reflections), so
    that place, size and pose do not count; then the distances of the points are averaged. `left` and `right` are
    the points of the two eyes, whose means are the eyes' places. Raises ValueError for unfit shapes or points, fewer
    than three landmarks, indices outside [0, k), points that all coincide, or eyes that do, by row.
    """
    a, b = _same_finite("landmarks [n, k, d]", 3, a=a, b=b)
    if a.shape[1] < 3 or a.shape[2] not in (2, 3):
        raise ValueError(f"landmarks must be [n, k >= 3, 2 or 3], found shape {a.shape}")
    eyes = [_eye(name, b, index) for name, index in (("left", left), ("right", right))]
    apart = np.linalg.norm(eyes[0] - eyes[1], axis=1)
    for found, what in ((np.ptp(a, axis=1).max(axis=1), "the points of a"), (apart, "the eyes of b")):
        if np.any(found == 0):
            raise ValueError(f"{what} coincide in row {int(found.argmin())}")
    return np.mean(np.linalg.norm(_laid_on(a, b) - b, axis=2), axis=1) / apart


def _laid_on(a: Float[np.ndarray, "n k d"], b: Float[np.ndarray, "n k d"]) -> Float[np.ndarray, "n k d"]:
    """Each point set of `a` moved, turned and scaled to its `b` with the least sum of squares."""
    centre = b.mean(axis=1, keepdims=True)
    a, b = a - a.mean(axis=1, keepdims=True), b - centre
    u, stretch, vt = np.linalg.svd(np.swapaxes(b, 1, 2) @ a)
    mirrored = np.sign(np.linalg.det(u @ vt))
    u[:, :, -1] *= mirrored[:, None]
    stretch[:, -1] *= mirrored
    scale = stretch.sum(axis=1) / np.sum(a * a, axis=(1, 2))
    return scale[:, None, None] * (a @ np.swapaxes(u @ vt, 1, 2)) + centre


def _eye(name: str, points: np.ndarray, index: np.ndarray) -> np.ndarray:
    index, k = np.asarray(index), points.shape[1]
    if index.ndim != 1 or index.dtype.kind not in "iu" or len(index) == 0:
        raise ValueError(f"{name} must be a non-empty vector of integers, found {index.dtype}{list(index.shape)}")
    if index.min() < 0 or index.max() >= k:
        raise ValueError(f"{name} must lie in [0, {k}), found {index.min()} to {index.max()}")
    return points[:, index].mean(axis=1)


def _same_finite(what: str, ndim: int, **arrays: np.ndarray) -> list[np.ndarray]:
    shapes = [np.shape(array) for array in arrays.values()]
    if len(set(shapes)) != 1 or len(shapes[0]) != ndim or 0 in shapes[0]:
        raise ValueError(f"wanted {what}, all of one shape, found {' and '.join(map(str, shapes))}")
    for name, array in arrays.items():
        bad = ~np.isfinite(array).reshape(len(array), -1).all(axis=1)
        if np.any(bad):
            raise ValueError(f"{name} must be finite; row {int(bad.argmax())} is not")
    return [np.asarray(array).astype(np.float64) for array in arrays.values()]


def unit_pairs(
    a: Float[np.ndarray, "n d"], b: Float[np.ndarray, "n d"]
) -> tuple[Float[np.ndarray, "n d"], Float[np.ndarray, "n d"]]:
    """Embeddings that pair up, each as `unit_rows` returns it. Raises as it does, and for unequal shapes."""
    a, b = unit_rows("a", a), unit_rows("b", b)
    if a.shape != b.shape:
        raise ValueError(f"embeddings must have one shape, found {a.shape} and {b.shape}")
    return a, b


def unit_rows(name: str, embeddings: Float[np.ndarray, "n d"]) -> Float[np.ndarray, "n d"]:
    """Embeddings as float64 of unit length. Raises ValueError, naming `name` and the row, where that is impossible."""
    embeddings = np.asarray(embeddings)
    if embeddings.ndim != 2 or 0 in embeddings.shape:
        raise ValueError(f"{name} must be embeddings [n, d], found shape {embeddings.shape}")
    embeddings = embeddings.astype(np.float64)
    norm = np.linalg.norm(embeddings, axis=1, keepdims=True)
    if not np.all(np.isfinite(norm)) or np.any(norm == 0):
        raise ValueError(f"{name} must be finite and of non-zero length; row {_first_bad(norm)} is not")
    return embeddings / norm


def _first_bad(norm: np.ndarray) -> int:
    return int(np.flatnonzero(~np.isfinite(norm[:, 0]) | (norm[:, 0] == 0))[0])
