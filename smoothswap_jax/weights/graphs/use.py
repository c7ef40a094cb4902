"""How a graph is fed and what its numbers mean, as data: presets for published files, and keywords that override them.

Graphs have no names to tell a network by, so all that a judge needs is said here or by the user.
"""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from smoothswap_jax.weights.inspect import Known, is_finite, printable
from smoothswap_jax.weights.preprocessing import CROPS, IMAGENET, Preprocessing
from smoothswap_jax.weights.readers.graph import MAX_SIDE, Graph

ROLES = ("identity", "pose", "coefficients")
PARTS = ("shape", "expression", "pose")
POSE_SIZES = (3, 9, 12)
"""Of a part that is a pose: Euler angles in radians, a rotation row by row, or one with scale and shift, 3 x 4."""
UNSTATED = "not stated"
MAX_WORDS = 1000


@dataclass(frozen=True)
class Use:
    """How a graph is used.

    role: what it measures. 'identity': an embedding. 'pose': logits over bins of 3 degrees for yaw, pitch and roll, as
    Hopenet's. 'coefficients': parameters of a 3-D face model, of which `parts` says where shape, expression and pose
    lie, (first, behind the last), in its outputs put side by side. outputs: names, in this order; none for the only
    one. flip: whether an embedding is the mean of those of the picture and its mirror image. statistics: whether the
    numbers are standardised, so that a file with their mean and std is needed. licence: of the weights, in words.
    """

    preprocessing: Preprocessing
    role: str
    licence: str = UNSTATED
    outputs: tuple[str, ...] = ()
    flip: bool = False
    parts: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    statistics: bool = False


_ARCFACE = Preprocessing((112, 112), "arcface")
_BYTES = dataclasses.replace(_ARCFACE, low=0.0, high=255.0, mean=(127.5,) * 3, std=(128.0,) * 3)

PRESETS: dict[str, Use] = {
    "arcface112": Use(_ARCFACE, "identity", "insightface: non-commercial research only"),
    "adaface": Use(
        dataclasses.replace(_ARCFACE, channels="BGR"), "identity", "code MIT; training data for research only"
    ),
    "faceplugin": Use(dataclasses.replace(_BYTES, channels="BGR"), "identity", "package MIT; training data not stated"),
    "faceplugin-pose": Use(
        dataclasses.replace(IMAGENET, crop="hopenet", interpolation="bilinear"),
        "pose",
        "package MIT; training data not stated",
        ("output", "617", "618"),
    ),
    "mobilefacenet": Use(_BYTES, "identity", "MIT; training data not stated"),
    "3ddfa_v2": Use(
        dataclasses.replace(_BYTES, size=(120, 120), crop="3ddfa", channels="BGR"),
        "coefficients",
        "MIT; the Basel face model is for research only",
        parts={"pose": (0, 12), "shape": (12, 52), "expression": (52, 62)},
        statistics=True,
    ),
    "6drepnet": Use(dataclasses.replace(IMAGENET, crop="hopenet"), "coefficients", "MIT", parts={"pose": (0, 9)}),
}
"""By name: insightface's networks (w600k_r50.onnx, glintr100.onnx), AdaFace, faceplugin's fr_feature.onnx and
fr_pose.onnx, MobileFaceNet of TFLite, 3DDFA_V2's mb1_120x120.onnx, 6DRepNet."""


def planned(kind: str, graph: Graph, given: Mapping[str, Any]) -> tuple[str, Use]:
    """The preset's name, '' for none, and how the graph is used. given: the caller's keywords.

    Raises ValueError for keywords that are unknown, missing, or do not fit the graph.
    """
    known = Known(kind, given)
    preset = known.take("preset", str, "")
    if preset and preset not in PRESETS:
        raise ValueError(f"{kind}: preset is {preset!r}, wanted one of {', '.join(PRESETS)}")
    base = PRESETS.get(preset)
    role = known.take("role", str, *([base.role] if base else []))
    if role not in ROLES:
        raise ValueError(f"{kind}: role is {role!r}, wanted one of {', '.join(ROLES)}")
    use = Use(
        _preprocessing(kind, graph, known, base.preprocessing if base else None),
        role,
        _licence(kind, known, base.licence if base else UNSTATED),
        _outputs(kind, graph, known, base.outputs if base else ()),
        known.take("flip", bool, bool(base and base.flip)),
        _parts(kind, known, role, base.parts if base and base.role == role else {}),
        known.take("statistics", bool, bool(base and base.statistics and base.role == role)),
    )
    known.finish()
    if use.flip and role != "identity":
        raise ValueError(f"{kind}: flip is for a role of identity, found {role}")
    return preset, use


def _preprocessing(kind: str, graph: Graph, known: Known, base: Preprocessing | None) -> Preprocessing:
    takes = (graph.height, graph.width)
    size = _numbers(kind, known, "size", 2, base.size if base and base.size else takes)
    if None in size:
        raise ValueError(f"{kind}: the graph does not say how large its image is; give size=112 or size=(112,96)")
    if any(type(side) is not int or not 1 <= side <= MAX_SIDE for side in size):
        raise ValueError(f"{kind}: size is {size}, wanted 1 to {MAX_SIDE} pixels, such as size=112 or size=(112,96)")
    if any(own not in (None, side) for own, side in zip(takes, size, strict=True)):
        raise ValueError(f"{kind}: size is {tuple(size)}, but the graph takes images of {takes}")
    fields: dict[str, Any] = {
        "size": tuple(size),
        "crop": known.take("crop", str, *([base.crop] if base else [])),
        **known.fields(channels=str, low=float, high=float, interpolation=str),
        **{name: _numbers(kind, known, name, 3, None) for name in ("mean", "std") if name in known.values},
    }
    known.asked += ["mean", "std"]
    if fields["crop"] not in CROPS:
        raise ValueError(f"{kind}: crop is {fields['crop']!r}, wanted one of {', '.join(CROPS)}")
    how = dataclasses.replace(base, **fields) if base else Preprocessing(**fields)
    if not how.low < how.high or min(how.std) <= 0:
        raise ValueError(f"{kind}: found {how}, wanted low below high and std above 0")
    return how


def _numbers(kind: str, known: Known, name: str, count: int, default: Any) -> tuple:
    """A keyword that is `count` numbers, or one for all."""
    known.asked.append(name)
    value = known.values.get(name, default)
    value = (value,) * count if type(value) in (int, float) else value
    if not isinstance(value, tuple | list) or len(value) != count:
        raise ValueError(f"{kind}: {name} is {value!r}, wanted a number or {count} of them")
    if name == "size":
        return tuple(value)
    if not all(map(is_finite, value)):
        raise ValueError(f"{kind}: {name} is {value!r}, wanted finite numbers")
    return tuple(map(float, value))


def _licence(kind: str, known: Known, usual: str) -> str:
    licence = known.take("licence", str, usual)
    if not is_words(licence):
        raise ValueError(f"{kind}: licence is {ascii(licence)[:60]}, wanted up to {MAX_WORDS} characters of a line")
    return licence


def is_words(text: str) -> bool:
    """Whether text can be shown: a short line without control characters."""
    return len(text) <= MAX_WORDS and text.isprintable()


def _outputs(kind: str, graph: Graph, known: Known, usual: tuple[str, ...]) -> tuple[str, ...]:
    known.asked.append("outputs")
    asked = known.values.get("outputs", usual)
    asked = asked.split(",") if isinstance(asked, str) else asked if isinstance(asked, tuple | list) else (asked,)
    names = tuple(str(name) for name in asked)
    if not names and len(graph.outputs) == 1:
        return tuple(graph.outputs)
    if not names or len(set(names)) < len(names) or not set(names) <= set(graph.outputs):
        sizes = ", ".join(f"{printable(name)} ({size or 'any number'})" for name, size in graph.outputs.items())
        raise ValueError(f"{kind}: outputs is {','.join(names) or 'not given'}, wanted names of {sizes}")
    return names


def _parts(kind: str, known: Known, role: str, usual: Mapping[str, tuple[int, int]]) -> Mapping[str, tuple[int, int]]:
    parts = dict(usual)
    for name in PARTS if role == "coefficients" else ():
        if (value := known.take(name, tuple, None)) is not None:
            if len(value) != 2 or any(type(one) is not int for one in value) or not 0 <= value[0] < value[1]:
                raise ValueError(f"{kind}: {name} is {value}, wanted where it begins and ends, such as (12, 52)")
            parts[name] = value
    if role == "coefficients" and not parts:
        raise ValueError(f"{kind}: role coefficients wants one of {', '.join(PARTS)}, such as shape=(12, 52)")
    if "pose" in parts and (size := parts["pose"][1] - parts["pose"][0]) not in POSE_SIZES:
        raise ValueError(
            f"{kind}: pose is {size} numbers, wanted 3 (angles in radians), 9 (a rotation) or 12 (a 3 x 4 matrix)"
        )
    return parts
