"""What differs between photos of one person: expression, gaze, pose and camera, and the style of `styles.py`."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from smoothswap_jax.synthetic.heads import EXPRESSION_UNITS
from smoothswap_jax.synthetic.population import (
    IDENTITY_FIELDS,
    Values,
    named,
    stacked,
    truncated,
)
from smoothswap_jax.synthetic.styles import STYLE_FIELDS, sample_style

# Expressions: how often photos show them, and units of `heads.npz` at full strength. Names without a side are of both.
EXPRESSIONS = {
    "neutral": (0.22, {}),
    "slight_smile": (0.22, dict(mouthSmile=0.40, mouthDimple=0.15, cheekSquint=0.2, eyeSquint=0.1)),
    "smile": (
        0.22,
        dict(mouthSmile=0.70, mouthUpperUp=0.50, mouthLowerDown=0.35, jawOpen=0.08, cheekSquint=0.6, eyeSquint=0.3),
    ),
    "laugh": (
        0.08,
        dict(mouthSmile=0.75, mouthUpperUp=0.55, mouthLowerDown=0.30, jawOpen=0.32)
        | dict(cheekSquint=0.9, eyeSquint=0.5, noseSneer=0.2, browOuterUp=0.2),
    ),
    "talk": (0.07, dict(jawOpen=0.25, mouthUpperUp=0.20, mouthLowerDown=0.30, mouthFunnel=0.25)),
    "surprise": (0.03, dict(jawOpen=0.50, eyeWide=0.80, browInnerUp=0.90, browOuterUp=0.80, mouthFunnel=0.2)),
    "sad": (0.03, dict(mouthFrown=0.60, browInnerUp=0.80, mouthShrugLower=0.35, eyeSquint=0.25)),
    "angry": (
        0.03,
        dict(browDown=0.90, eyeSquint=0.40, noseSneer=0.40, mouthPress=0.60, mouthFrown=0.25, jawForward=0.2),
    ),
    "disgust": (0.02, dict(noseSneer=0.90, mouthUpperUp=0.50, browDown=0.50, eyeSquint=0.4, mouthFrown=0.3)),
    "pucker": (0.03, dict(mouthPucker=0.85, mouthFunnel=0.10, cheekSquint=0.1)),
    "squint": (0.03, dict(eyeSquint=0.80, cheekSquint=0.50, browDown=0.35, mouthUpperUp=0.10)),
    "half_blink": (0.02, dict(eyeBlink=0.55)),
    "jaw_dropped": (0.02, dict(jawOpen=0.20, mouthClose=0.20)),  # behind closed lips
}
# Largest value of a unit; others may reach MOST_OTHERS. Beyond, or with the tongue out, mouths and lids look torn.
MOST = {"jawOpen": 0.6, "mouthSmile": 0.8, "tongueOut": 0.0, "cheekPuff": 0.3, "eyeBlink": 0.7}
MOST_OTHERS = 0.9
MOST_BY_ITSELF = 0.12  # that a unit is added by chance
BOTH_SIDES = 0.08  # spread of the share by which left and right differ
GAZE = (np.radians(25.0), np.radians(15.0))  # sideways and up at most, in the head
POSE_FIELDS = {
    "yaw": (-np.radians(45.0), np.radians(45.0)),  # radians; positive turns the nose to the right of the image
    "pitch": (-np.radians(20.0), np.radians(20.0)),  # positive: up
    "roll": (-np.radians(4.0), np.radians(4.0)),  # what is left of it after alignment
}
CAMERA_FIELDS = {"distance": (4.0, 20.0)}  # decimetres from the eyes


def _side_of(unit: str) -> str:
    return unit.removesuffix("Left").removesuffix("Right")


# The jaw and the mouth move to one side: their two units are no pair.
SIDEWAYS = ("jawLeft", "jawRight", "mouthLeft", "mouthRight")
STEMS = tuple(unit if unit in SIDEWAYS else _side_of(unit) for unit in EXPRESSION_UNITS)
EXPRESSION_FIELDS = dict.fromkeys(EXPRESSION_UNITS, (0.0, 1.0)) | {
    "gaze_x": (-GAZE[0], GAZE[0]),  # radians in the head; positive to the right of the image
    "gaze_y": (-GAZE[1], GAZE[1]),  # positive up
}
PROTOTYPES = np.array([[units.get(stem, 0.0) for stem in STEMS] for _, units in EXPRESSIONS.values()], np.float32)


class Attributes(NamedTuple):
    """Vectors in the order of EXPRESSION_FIELDS, POSE_FIELDS, CAMERA_FIELDS and STYLE_FIELDS, a row for each photo."""

    expression: Float[Array, "n e"]
    pose: Float[Array, "n 3"]
    camera: Float[Array, "n 1"]
    style: Float[Array, "n s"]


def sample_attributes(key: PRNGKeyArray, n: int, identity: Float[Array, "n i"]) -> Attributes:
    """What one photo of each of n people shows of them."""
    keys = jax.random.split(key, 5)
    pose = stacked(_pose(keys[0], n), POSE_FIELDS)
    expression = _expression(keys[1], n) | _gaze(keys[2], pose)
    style = sample_style(keys[3], named(identity, IDENTITY_FIELDS))
    # From an outstretched arm to across a table; half are between 80 cm and 1.25 m.
    distance = 10.0 * jnp.exp(0.35 * truncated(keys[4], n))
    return Attributes(
        stacked(expression, EXPRESSION_FIELDS),
        pose,
        stacked({"distance": distance}, CAMERA_FIELDS),
        stacked(style, STYLE_FIELDS),
    )


def _pose(key: PRNGKeyArray, n: int) -> Values:
    """Two thirds of photos are taken nearly from the front."""
    wide, normal = jax.random.split(key)
    yaw, pitch, roll = truncated(normal, (3, n))
    spread = jnp.where(jax.random.bernoulli(wide, 0.35, (n,)), 22.5, 10.0)
    return {"yaw": jnp.radians(spread) * yaw, "pitch": jnp.radians(10.0) * pitch, "roll": jnp.radians(2.0) * roll}


def _expression(key: PRNGKeyArray, n: int) -> Values:
    """A prototype at any strength, with a little of another and of single units; left and right nearly equal."""
    first, second, strengths, single, alone, sides = jax.random.split(key, 6)
    odds = jnp.log(jnp.array([odds for odds, _ in EXPRESSIONS.values()]))
    prototypes = jnp.asarray(PROTOTYPES)
    strength, other = jax.random.uniform(strengths, (2, n, 1))
    units = (0.35 + 0.65 * strength) * prototypes[jax.random.categorical(first, odds, shape=(n,))]
    units += 0.2 * other * prototypes[jax.random.categorical(second, odds, shape=(n,))]
    stems = list(dict.fromkeys(STEMS))
    of_stem = np.array([stems.index(stem) for stem in STEMS])
    added = jax.random.bernoulli(alone, 0.12, (n, len(stems))) * jax.random.uniform(single, (n, len(stems)))
    units = (units + MOST_BY_ITSELF * added[:, of_stem]) * (1.0 + BOTH_SIDES * truncated(sides, units.shape))
    limits = jnp.array([MOST.get(stem, MOST_OTHERS) for stem in STEMS])
    return _sensible(dict(zip(EXPRESSION_UNITS, jnp.minimum(units, limits).T, strict=True)))


def _sensible(values: Values) -> Values:
    """Units of which one has its effect only with or without another."""
    # As ARKit defines it, this unit closes the lips of an opened jaw.
    values["mouthClose"] = jnp.minimum(values["mouthClose"], values["jawOpen"])
    for side in ("Left", "Right"):
        # A lid closes once, whatever closes it, and a wide eye is not screwed up.
        shut = values[f"eyeBlink{side}"] + 0.5 * values[f"eyeSquint{side}"]
        values[f"eyeWide{side}"] = jnp.maximum(values[f"eyeWide{side}"] - shut, 0.0)
        values[f"eyeBlink{side}"] = jnp.minimum(values[f"eyeBlink{side}"], 1.0 - 0.5 * values[f"eyeSquint{side}"])
        values[f"mouthFrown{side}"] = jnp.maximum(values[f"mouthFrown{side}"] - values[f"mouthSmile{side}"], 0.0)
    return values


def _gaze(key: PRNGKeyArray, pose: Float[Array, "n 3"]) -> Values:
    """At the camera in three photos of four, as far as eyes turn; else anywhere."""
    away, aimed, anywhere = jax.random.split(key, 3)
    n = len(pose)
    at_camera = -pose[:, :2] + 0.02 * truncated(aimed, (n, 2))
    elsewhere = jnp.array([0.18, 0.09]) * truncated(anywhere, (n, 2))
    gaze = jnp.where(jax.random.bernoulli(away, 0.25, (n, 1)), elsewhere, at_camera)
    return {"gaze_x": gaze[:, 0], "gaze_y": gaze[:, 1]}
