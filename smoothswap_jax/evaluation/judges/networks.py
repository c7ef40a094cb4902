"""Imported networks as judges of identity, pose, 3-D coefficients, distributions and perceptual distance.

What a network judges, its licence and how features are taken are fields of its `NetworkSpec`.
"""

import dataclasses
import functools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from smoothswap_jax.evaluation.judges.base import (
    Comparison,
    Extractor,
    Images,
    Judge,
    JudgeError,
    JudgeRequest,
    JudgeSpec,
    Points,
)
from smoothswap_jax.evaluation.judges.conventions import IDENTITY, POSE, IdentityConvention, PoseConvention
from smoothswap_jax.evaluation.judges.crops import crops_of, described
from smoothswap_jax.faces.alignments import ALIGNMENT_VERSION
from smoothswap_jax.faces.photos import to_float
from smoothswap_jax.runtime import sharding
from smoothswap_jax.runtime.json_files import read_json_object
from smoothswap_jax.weights.network_folder import CONFIG, load_network
from smoothswap_jax.weights.preprocessing import Preprocessing, preprocess
from smoothswap_jax.weights.registry import specs
from smoothswap_jax.weights.spec import Features, Network
from smoothswap_jax.weights.variables import params_digest


def _load(request: JudgeRequest) -> Judge:
    folder = Path(request.path)
    network = load_network(folder)
    source = read_json_object(folder / CONFIG).get("source")
    if not isinstance(source, Mapping):
        raise JudgeError(f"{folder / CONFIG}: source is {str(source)[:100]}, wanted where the weights come from")
    return network_judge(
        request.name or network.kind, network, source, request.mesh, request.identity, request.pose
    )  # fmt: skip


SPEC = JudgeSpec(
    "imported network",
    "a folder that `smoothswap import` wrote",
    lambda name, path: (Path(path) / CONFIG).is_file(),
    _load,
)


def network_judge(
    name: str,
    network: Network,
    source: Mapping[str, Any],
    mesh,
    identity: IdentityConvention = IDENTITY["aligned"],
    pose: PoseConvention = POSE["geodesic"],
) -> Judge:
    """An imported network as a judge.

    source: where the weights come from, as config.json of its folder says. mesh: the devices to run on. Raises
    JudgeError for a kind of network that judges nothing.
    """
    spec = specs().get(network.kind)
    if spec is None or not spec.role:
        judging = ", ".join(kind for kind, known in specs().items() if known.role)
        raise JudgeError(f"judge {name}: found a network of kind {network.kind}; wanted one of {judging}")
    role, how = spec.role, network.preprocessing
    facts = {
        "kind": network.kind,
        "source": f"{source.get('file', '')}",
        "file sha256": f"{source.get('sha256', '')}",
        "params sha256": params_digest(network.variables),
        "licence": spec.licence,
        "preprocessing": described(how),
    }
    if role == "perceptual":
        return Judge(name, role, facts, compare=_comparison(network, mesh))
    identity = identity if role == "identity" else IDENTITY["aligned"]
    pose = pose if role == "pose" else POSE["geodesic"]
    if role == "identity":
        facts["convention"] = f"{identity.name}: {identity.about}"
        if identity.whole:
            how = dataclasses.replace(how, crop="whole")
            facts["preprocessing"] = described(how)
    if role == "pose":
        facts["convention"] = f"{pose.name}: {pose.about}"
    facts["recipe"] = f"{how}, crops {ALIGNMENT_VERSION}, flip {identity.flip}, bgr {pose.bgr}"
    measure = _extractor(spec.features, network, how, mesh, identity.flip, pose.bgr)
    return Judge(
        name, role, facts, measure, distance=spec.distances, points=identity.points, identity=identity, pose=pose
    )  # fmt: skip


def _extractor(
    features: Features, network: Network, how: Preprocessing, mesh, flip: bool = False, bgr: bool = False
) -> Extractor:
    """Crops on the host and computes on the devices, in compiled chunks. flip: features of the mirror image follow
    those of the image. bgr: red and blue are exchanged before the preprocessing."""

    def run(variables, x):
        y = features(network.module, variables, preprocess(x, how))
        if flip:
            mirrored = features(network.module, variables, preprocess(x[:, :, ::-1], how))
            y = jnp.concatenate([y, mirrored], axis=-1)
        return y

    compiled = jax.jit(run)
    # Weights are arguments, so that they are not constants of the program, and are placed only once.
    placed = functools.lru_cache(1)(lambda: jax.device_put(network.variables))

    def measure(images: Images, points: Points) -> Float[np.ndarray, "n d"]:
        crops = crops_of(images, points, how)
        if bgr:
            crops = crops[..., ::-1]
        apply = lambda x: compiled(placed(), x)
        return sharding.in_chunks(apply, mesh)(to_float(crops)).astype(np.float32)

    return measure


def _comparison(network: Network, mesh) -> Comparison:
    compiled = jax.jit(lambda variables, a, b: network.module.apply(variables, a, b))
    placed = functools.lru_cache(1)(lambda: jax.device_put(network.variables))
    run = lambda a, b: compiled(placed(), a, b)
    return lambda a, b: sharding.in_chunks(run, mesh)(to_float(a), to_float(b)).astype(np.float64)
