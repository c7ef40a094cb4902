"""How each judge wants a face aligned: the region of an FFHQ-aligned image that it sees, by the face's five points.

Coordinates are those of `faces/align.py`: pixels, with the centre of the first one at (0, 0). A region is a *quad* of
the aligned image, so that every judge's crop is sampled only once from the pixels that are judged. Outside the image
regions are black, as in the preprocessing of insightface and CosFace.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, UInt8

from smoothswap_jax.faces.align import Points, Quad, ffhq_quad, quick_crop

Crop = UInt8[np.ndarray, "s s 3"]

ARCFACE = np.array([[38.2946, 51.6963], [73.5318, 51.5014], [56.0252, 71.7366], [41.5493, 92.3655], [70.7299, 92.2041]])
"""insightface's five points in 112 x 112 pixels. SphereFace's, in 112 x 96, are the same 8 pixels further left."""

BFM_POINTS = np.array(
    [
        [-0.31148657, 0.29036078, 0.13377953],
        [0.30979887, 0.28972036, 0.13179526],
        [0.0032535, -0.04617932, 0.55244243],
        [-0.25216928, -0.38133916, 0.22405732],
        [0.2484662, -0.38128236, 0.22235769],
    ]
)
"""Deep3DFaceRecon's five points on the mean Basel face (similarity_Lm3D_all.mat); y up, z to the camera."""
BFM_RESCALE = 102.0

MEAN_POINTS = np.array([[0.375, 0.476], [0.625, 0.476], [0.498, 0.610], [0.390, 0.719], [0.610, 0.719]])
"""The five points in an FFHQ crop, as fractions of its side: the mean of 60 front views of the London set. Eyes
and mouth are where the alignment puts them; the tip of the nose moves with the pose."""

BOX = (0.24, 0.18, 0.77, 0.92)
"""x0, y0, x1, y1 of a detector's box as fractions of the face's FFHQ square: the mean of YuNet's boxes in 60 frontal
views of the London set (spread .02). Networks that were trained on boxes get theirs from the points, which is steadier
than running a detector on an image that is already cropped."""

ALIGNMENT_VERSION = "1"  # raise it with any change here: cached features of other versions are not used

WHOLE = ("whole", "ffhq", "hopenet", "imagenet")
"""Crops that are the aligned image as it is. Hopenet wants a loose box around the head, which an FFHQ crop is."""


def mean_points(size: int, n: int = 1) -> Float[np.ndarray, "n 5 2"]:
    """Where the five points of a front view lie in an FFHQ crop, in pixels."""
    return np.repeat((MEAN_POINTS * size - 0.5)[None], n, axis=0)


def judge_crop(image: Crop, points: Points, kind: str, size: tuple[int, int]) -> UInt8[np.ndarray, "h w 3"]:
    """The crop that a judge sees.

    Args:
      image: an FFHQ-aligned face.
      points: its five points in pixels of `image`: eyes, nose tip, mouth corners.
      kind: `weights.preprocessing.Preprocessing.crop`.
      size: (height, width) of the judge's input. A `WHOLE` crop is returned in its own size.

    Raises ValueError for an unknown kind, and for points that coincide.
    """
    if kind in WHOLE:
        return image
    height, width = size
    square = quick_crop(image, judge_quad(points, kind, image.shape[0], height), height)
    margin = (height - width) // 2  # the template is square; SphereFace cuts off its left and right edges
    return square[:, margin : margin + width]


def judge_quad(points: Points, kind: str, image_size: int, size: int) -> Quad:
    """The square region of an FFHQ-aligned image that a judge's crop is cut from; raises as `judge_crop` does.

    image_size: of the aligned image, and size: the height of the judge's input, in pixels.
    """
    if kind in ("arcface", "sphereface"):
        return template_quad(points)
    if kind == "vggface2":
        return _box_quad(points)
    if kind == "deep3d":
        return deep3d_quad(points, image_size, size)
    if kind == "3ddfa":
        return _tddfa_quad(points)
    named = "arcface, sphereface, vggface2, deep3d, 3ddfa"
    raise ValueError(f"crop: found {kind!r}; wanted {named} or one of {', '.join(WHOLE)}")


def mean_crop(images: Float[Array, "b s s 3"], kind: str, size: tuple[int, int] | None) -> Float[Array, "b h w 3"]:
    """The crops that a judge sees of front views, from their mean points, so that gradients reach the images.

    images: FFHQ-aligned faces in [-1, 1]. kind, size: as of `judge_crop`. The crop is upright, as that of mean points
    is but for a tenth of a degree. Raises ValueError for an unknown kind.
    """
    if kind in WHOLE or size is None:
        return images
    height, width = size
    quad = judge_quad(mean_points(images.shape[1])[0], kind, images.shape[1], height)
    scale = height / np.hypot(*(quad[3] - quad[0]))
    centre = quad.mean(axis=0) + 0.5  # from the image's edge
    shift = np.array([height, width])[::-1] / 2 - centre * scale
    # What lies outside is 0, which is to be black.
    cut = jax.image.scale_and_translate(
        images + 1, (images.shape[0], height, width, 3), (1, 2), jnp.full(2, scale), jnp.asarray(shift[::-1]), "linear"
    )
    return cut - 1


def template_quad(points: Points) -> Quad:
    """The region that ArcFace's 112 x 112 template covers, by the least-squares similarity transform (Umeyama 1991) of
    the five points. Raises ValueError for points that coincide."""
    p, q = _complex(points), _complex(ARCFACE)
    p0, q0 = p.mean(), q.mean()
    spread = float(np.sum(np.abs(p - p0) ** 2))
    if not np.isfinite(spread) or spread < 1e-9:
        raise ValueError(f"face points {np.asarray(points).tolist()}: wanted five points that are finite and distinct")
    # In complex numbers a similarity without reflection is q = a p + b, and its least-squares fit has this closed form.
    a = np.sum(np.conj(p - p0) * (q - q0)) / spread
    corners = _complex(np.array([[-0.5, -0.5], [-0.5, 111.5], [111.5, 111.5], [111.5, -0.5]]))
    found = (corners - q0) / a + p0
    return np.stack([found.real, found.imag], axis=1)


def deep3d_quad(points: Points, image_size: int, size: int) -> Quad:
    """The region that Deep3DFaceRecon's `align_img` cuts out: upright, scaled and centred by the scaled orthographic
    projection that fits `BFM_POINTS` to the points. Raises ValueError for points that coincide."""
    upward = np.column_stack([points[:, 0], image_size - 1 - points[:, 1]])
    basis = np.column_stack([BFM_POINTS, np.ones(5)])
    solution = np.linalg.lstsq(basis, upward, rcond=None)[0]
    scale = float(np.linalg.norm(solution[:3], axis=0).mean())
    if not np.isfinite(scale) or scale < 1e-6:
        raise ValueError(f"face points {np.asarray(points).tolist()}: wanted five points that are finite and distinct")
    centre = np.array([solution[3, 0], image_size - 1 - solution[3, 1]])
    return _square(centre, size / (BFM_RESCALE / scale))


def _box_quad(points: Points) -> Quad:
    """VGGFace2's region: the detector's box grown by 0.3, made square by its longer side, then the central 224 of 256
    pixels."""
    quad = ffhq_quad(points)
    right, down = quad[3] - quad[0], quad[1] - quad[0]
    x0, y0, x1, y1 = BOX
    # The boxes of the training photos are upright, so the head's tilt is kept.
    centre = quad[0] + (x0 + x1) / 2 * right + (y0 + y1) / 2 * down
    return _square(centre, float(np.hypot(*right)) * max(x1 - x0, y1 - y0) * 1.3 * 224 / 256)


def _tddfa_quad(points: Points) -> Quad:
    """3DDFA_V2's region (`parse_roi_box_from_bbox`): a square of 1.58 times the mean side of the detector's box, whose
    centre is .14 of that side below the box's."""
    quad = ffhq_quad(points)
    right, down = quad[3] - quad[0], quad[1] - quad[0]
    x0, y0, x1, y1 = BOX
    side = (x1 - x0 + y1 - y0) / 2
    centre = quad[0] + (x0 + x1) / 2 * right + ((y0 + y1) / 2 + 0.14 * side) * down
    return _square(centre, float(np.hypot(*right)) * 1.58 * side)


def _square(centre: Float[np.ndarray, "2"], side: float) -> Quad:
    return centre + side / 2 * np.array([[-1, -1], [-1, 1], [1, 1], [1, -1]])


def _complex(points: Points) -> np.ndarray:
    points = np.asarray(points, np.float64)
    return points[:, 0] + 1j * points[:, 1]
