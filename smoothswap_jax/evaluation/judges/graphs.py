"""Imported graphs (ONNX, TFLite) as judges of identity, pose and 3-D coefficients."""

import dataclasses
from pathlib import Path

import jax
import numpy as np
from jaxtyping import Float

from smoothswap_jax.evaluation.judges.base import Images, Judge, JudgeError, JudgeRequest, JudgeSpec, Points
from smoothswap_jax.evaluation.judges.conventions import IDENTITY, POSE, IdentityConvention, PoseConvention
from smoothswap_jax.evaluation.judges.crops import crops_of, described
from smoothswap_jax.faces.alignments import ALIGNMENT_VERSION
from smoothswap_jax.faces.photos import to_float
from smoothswap_jax.runtime import sharding
from smoothswap_jax.weights.graphs.folder import GraphNetwork, is_graph_folder, load_graph, runner
from smoothswap_jax.weights.graphs.process import GraphError
from smoothswap_jax.weights.inspect import printable
from smoothswap_jax.weights.preprocessing import preprocess


def _load(request: JudgeRequest) -> Judge:
    name = request.name or Path(request.path).resolve().name
    return graph_judge(name, load_graph(request.path), request.mesh, request.identity, request.pose)


SPEC = JudgeSpec(
    "imported graph",
    "a folder that `smoothswap import` wrote",
    lambda name, path: is_graph_folder(path),
    _load,
)


def graph_judge(
    name: str,
    network: GraphNetwork,
    mesh,
    identity: IdentityConvention = IDENTITY["aligned"],
    pose: PoseConvention = POSE["geodesic"],
) -> Judge:
    """An imported graph as a judge. mesh: the devices that prepare its pictures; the graph itself runs on the CPU.

    Raises JudgeError, which names the file, for a graph that cannot be run, now or while it measures, and ImportError
    where its runtime is not installed.
    """
    use = network.use
    identity = identity if use.role == "identity" else IDENTITY["aligned"]
    pose = pose if use.role == "pose" else POSE["geodesic"]
    how = dataclasses.replace(use.preprocessing, crop="whole") if identity.whole else use.preprocessing
    try:
        run, runtime = runner(network)
    except GraphError as error:
        raise JudgeError(f"judge {name}: {error}") from error
    facts = {
        "kind": network.preset or network.graph.kind,
        "runtime": runtime,
        "source": f"{network.source.get('file', '')}",
        "file sha256": network.sha256,
        "licence": use.licence,
        "preprocessing": described(how),
        "outputs": ", ".join(map(printable, use.outputs)),
    }
    if use.role == "identity":
        facts["convention"] = f"{identity.name}: {identity.about}"
    if use.role == "pose":
        facts["convention"] = f"{pose.name}: {pose.about}"
    facts["recipe"] = (
        f"1, {how}, crops {ALIGNMENT_VERSION}, flip {identity.flip or use.flip}, bgr {pose.bgr}, "
        f"outputs {use.outputs}, parts {dict(use.parts)}, statistics {network.statistics}"
    )
    prepare = sharding.in_chunks(jax.jit(lambda x: preprocess(x, how)), mesh)

    def numbers(crops: np.ndarray) -> np.ndarray:
        try:
            return run(prepare(to_float(crops)))
        except GraphError as error:
            raise JudgeError(f"judge {name}: {error}") from error

    def measure(images: Images, points: Points) -> Float[np.ndarray, "n d"]:
        crops = crops_of(images, points, how)
        if pose.bgr:
            crops = crops[..., ::-1]
        y = numbers(crops)
        if identity.flip or use.flip:
            mirrored = numbers(crops[:, :, ::-1])
            y = np.concatenate([y, mirrored], axis=1) if identity.flip else (y + mirrored) / 2
        return _parts(network, y)[0] if use.role == "coefficients" else y

    slices = _parts(network, np.zeros((1, network.features), np.float32))[1] if use.role == "coefficients" else {}
    return Judge(
        name, use.role, facts, measure, points=identity.points, identity=identity, pose=pose, slices=slices
    )  # fmt: skip


def _parts(network: GraphNetwork, y: Float[np.ndarray, "n d"]) -> tuple[np.ndarray, dict[str, tuple[int, int]]]:
    """The parameters that are judged, side by side, and where each part lies among them.

    A pose is in the units of the face model; shape and expression stay standardised where the network gives them so:
    in standard deviations, as Deep3DFaceRecon's.
    """
    pieces, slices, at = [], {}, 0
    for name, (start, end) in network.use.parts.items():
        piece = y[:, start:end]
        if name == "pose":
            if network.statistics is not None:
                mean, std = (np.asarray(row[start:end], np.float32) for row in network.statistics)
                piece = piece * std + mean
            if piece.shape[1] > 3:
                piece = rotations(piece.reshape(len(piece), 3, -1)[:, :, :3]).reshape(len(piece), 9)
        pieces.append(piece)
        slices[name] = (at, at + piece.shape[1])
        at += piece.shape[1]
    return np.concatenate(pieces, axis=1).astype(np.float32), slices


def rotations(matrices: Float[np.ndarray, "n 3 3"]) -> Float[np.ndarray, "n 3 3"]:
    """The rotations nearest to scaled and imprecise ones: the first two rows at unit length and what is perpendicular
    to both, as 3DDFA_V2 makes them, made orthonormal. NaN for rows that are zero or not finite."""
    matrices = np.asarray(matrices, np.float64)
    with np.errstate(invalid="ignore", divide="ignore"):
        first, second = (matrices[:, i] / np.linalg.norm(matrices[:, i], axis=1, keepdims=True) for i in (0, 1))
    rough = np.stack([first, second, np.cross(first, second)], axis=1)
    seen = np.isfinite(rough).all(axis=(1, 2))
    u, _, v = np.linalg.svd(rough[seen])
    # `rough` has no reflection, but where its first two rows are one and the same it is none either.
    u[:, :, 2] *= np.sign(np.linalg.det(u @ v))[:, None]
    turns = np.full_like(rough, np.nan)
    turns[seen] = u @ v
    return turns
