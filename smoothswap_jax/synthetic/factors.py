"""The named numbers that describe a synthetic face image.

The entries of a factor vector are unbounded, and standard normal when sampled; only the pose is in radians. `decode`
maps entry v to `low + (high - low) * (1 + tanh(0.9 v)) / 2`, which makes the physical values nearly uniform on
(low, high). All factors are continuous: any interpolation between two faces is a face.

Lengths are in head units: 1 is half the width of an FFHQ crop of an average face (about 126 mm). The head
frame has x to the right of the image, y up, z towards the camera; its origin is midway between the eyes, at the depth
of the ears.
"""

import jax.numpy as jnp
from jaxtyping import Array, Float

Values = dict[str, Array]

IDENTITY_RANGES: dict[str, tuple[float, float]] = {
    # shape of the head
    "head_width": (0.53, 0.65),
    "head_height": (0.52, 0.64),
    "face_length": (0.76, 0.98),
    "jaw_width": (0.32, 0.50),
    "chin_width": (0.07, 0.20),
    "cheekbones": (0.00, 0.075),
    "cheek_fullness": (-0.03, 0.06),
    "neck_width": (0.24, 0.37),
    "ear_size": (0.75, 1.35),
    # eyes and brows
    "eye_spacing": (0.235, 0.275),
    "eye_size": (0.90, 1.30),
    "eye_slant": (-0.18, 0.24),
    "eye_roundness": (0.70, 1.25),
    "brow_height": (0.150, 0.215),
    "brow_thickness": (0.013, 0.042),
    "brow_slant": (-0.20, 0.28),
    "brow_arch": (0.00, 0.07),
    # nose and mouth
    "nose_length": (0.22, 0.33),
    "nose_width": (0.045, 0.115),
    "nose_bridge": (0.00, 0.09),
    "nose_tip": (0.02, 0.15),
    "mouth_drop": (0.475, 0.575),
    "mouth_width": (0.145, 0.235),
    "upper_lip": (0.028, 0.080),
    "lower_lip": (0.040, 0.100),
    # colours
    "skin_tone": (0.0, 1.0),
    "skin_warmth": (-1.0, 1.0),
    "blush": (0.0, 0.6),
    "lip_redness": (0.0, 1.0),
    "lip_darkness": (0.0, 1.0),
    "iris_hue": (0.0, 1.0),
    "iris_light": (0.15, 1.0),
    "hair_tone": (0.0, 1.0),
    "hair_warmth": (0.0, 1.0),
    "brow_tone": (-0.25, 0.25),
    # hair style
    "hair_volume": (-0.012, 0.165),
    "hair_height": (0.0, 0.22),
    "hair_length": (-0.7, 1.1),
    "hairline": (0.38, 0.60),
    "fringe": (-0.18, 0.24),
    "parting": (-0.9, 0.9),
    "curl": (0.0, 1.0),
    # marks
    "beard": (-1.0, 1.0),
    "freckles": (-1.0, 1.0),
    "mole_x": (-0.42, 0.42),
    "mole_size": (-0.03, 0.035),
}
EXPRESSION_RANGES: dict[str, tuple[float, float]] = {
    "mouth_open": (-0.05, 0.17),
    "smile": (-0.05, 0.10),
    "pucker": (-0.20, 0.25),
    "brow_raise": (-0.03, 0.07),
    "brow_frown": (-0.04, 0.07),
    "eye_open": (0.35, 1.20),
    "gaze_x": (-0.055, 0.055),
    "gaze_y": (-0.030, 0.030),
}
LIGHT_RANGES: dict[str, tuple[float, float]] = {
    "azimuth": (-1.1, 1.1),  # radians; positive: from the right of the image
    "elevation": (-0.15, 1.0),  # radians; positive: from above
    "key": (0.75, 1.35),
    "ambient": (0.22, 0.50),
    "warmth": (-1.0, 1.0),  # -1 bluish, +1 orange
}
BACKGROUND_RANGES: dict[str, tuple[float, float]] = {
    "top_red": (0.05, 0.95),
    "top_green": (0.05, 0.95),
    "top_blue": (0.05, 0.95),
    "bottom_red": (0.05, 0.90),
    "bottom_green": (0.05, 0.90),
    "bottom_blue": (0.05, 0.90),
    "blob_red": (0.05, 0.95),
    "blob_green": (0.05, 0.95),
    "blob_blue": (0.05, 0.95),
    "blob_x": (-1.0, 1.0),
    "blob_y": (-0.4, 1.0),
    "blob_size": (0.25, 0.75),
    "slope": (-1.0, 1.0),
    "cloth_red": (0.04, 0.90),
    "cloth_green": (0.04, 0.90),
    "cloth_blue": (0.04, 0.90),
    "collar": (-0.06, 0.10),
}
POSE_FIELDS = (
    "yaw",
    "pitch",
    "roll",
)  # radians; yaw > 0 turns the nose to the right of the image, pitch > 0 up


def decode(vector: Float[Array, "d"], ranges: dict[str, tuple[float, float]]) -> Values:
    """The physical values by name, each within its (low, high)."""
    share = 0.5 + 0.5 * jnp.tanh(0.9 * vector)
    return {name: low + (high - low) * share[i] for i, (name, (low, high)) in enumerate(ranges.items())}
