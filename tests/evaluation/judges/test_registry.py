"""A judge is one spec: a toy network and a toy judge, each known by one entry in a registry, go all the way."""

import hashlib

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
import pytest

from smoothswap_jax.evaluation.judges.base import Judge, JudgeError, JudgeSpec
from smoothswap_jax.evaluation.judges.registry import JUDGES, load_judge
from smoothswap_jax.faces.alignments import mean_points
from smoothswap_jax.runtime import sharding
from smoothswap_jax.weights.inspect import shape_of
from smoothswap_jax.weights.network_folder import import_file, load_network
from smoothswap_jax.weights.preprocessing import Preprocessing
from smoothswap_jax.weights.registry import specs
from smoothswap_jax.weights.spec import NameMap, NetworkSpec, Plan
from smoothswap_jax.weights.stored_tensor import WeightMismatch, torch_leaf

SIZE = 16


@pytest.fixture(scope="module")
def mesh():
    return sharding.make_mesh(1)


@pytest.fixture(scope="module")
def faces():
    return np.random.default_rng(0).integers(0, 256, (3, SIZE, SIZE, 3)).astype(np.uint8), mean_points(SIZE, 3)


# --- a network ----------------------------------------------------------------------------------------------------


class MeanColour(nn.Module):
    """A dense layer on an image's mean colour."""

    features: int = 4

    @nn.compact
    def __call__(self, x):
        return nn.Dense(self.features, name="fc")(jnp.mean(x, axis=(1, 2)))


def plan(tensors, known) -> Plan:
    return Plan(MeanColour(shape_of(tensors, "fc.weight", 2)[0]), "mean_colour", tensors)


def names(module, shapes):
    return {path: torch_leaf(".".join(path[1:-1]), path[-1], len(shape)) for path, shape in shapes.items()}


def doubled(module, variables, x):
    return 2 * module.apply(variables, x)


TOY = NetworkSpec(
    "mean-colour",
    MeanColour,
    plan,
    (NameMap("mean_colour", names, ignored=("training_note",)),),
    Preprocessing((SIZE, SIZE), "whole", low=0.0),
    role="identity",
    licence="none needed",
    features=doubled,
    distances=True,
)


def test_a_network_is_one_entry(tmp_path, monkeypatch, mesh, faces):
    """From a file through `smoothswap import`'s function to a folder, and from the folder to features by hand."""
    rng = np.random.default_rng(1)
    weight, bias = rng.normal(size=(6, 3)).astype("f"), rng.normal(size=6).astype("f")
    file, folder = tmp_path / "colour.npz", tmp_path / "net"
    np.savez(file, **{"fc.weight": weight, "fc.bias": bias, "training_note": np.zeros(2, "f")})
    with pytest.raises(ValueError, match="kind is 'mean-colour', wanted one of resnet50"):
        import_file("mean-colour", file, folder, {})

    monkeypatch.setitem(specs(), "mean-colour", TOY)
    made = import_file("mean-colour", file, folder, {})
    assert (made.module, made.preprocessing, made.inputs) == (MeanColour(6), TOY.preprocessing, ((1, SIZE, SIZE, 3),))
    assert load_network(folder).module == MeanColour(6)
    judge = load_judge(str(folder), mesh)
    images, points = faces
    pixels = images.astype(np.float64).mean(axis=(1, 2)) / 255
    np.testing.assert_allclose(judge.measure(images, points), 2 * (pixels @ weight.T + bias), atol=1e-4)
    assert (judge.name, judge.role, judge.distance) == ("mean-colour", "identity", True)
    assert judge.facts["licence"] == "none needed" and judge.facts["source"] == "colour.npz"
    assert judge.facts["file sha256"] == hashlib.sha256(file.read_bytes()).hexdigest()

    np.savez(file, **{"fc.weight": weight, "fc.bias": bias, "fc.slope": bias})
    with pytest.raises(WeightMismatch, match=r"extra \(1\): fc.slope"):
        import_file("mean-colour", file, tmp_path / "other", {})


# --- a judge ------------------------------------------------------------------------------------------------------


def test_a_judge_is_one_entry(monkeypatch, mesh, faces):
    def load(request) -> Judge:
        measure = lambda images, points: images[:, 0, 0].astype(np.float32)
        facts = {"kind": "corner", "weights": request.path, "convention": request.identity.name}
        return Judge(request.name or "corner", "identity", facts, measure)

    spec = JudgeSpec("corner", "corner=FILE", lambda name, path: path.endswith(".corner"), load)
    with pytest.raises(JudgeError, match=r"'x\.corner': found no such judge; wanted sface, dlib"):
        load_judge("x.corner", mesh)
    monkeypatch.setitem(JUDGES, "corner", spec)
    judge = load_judge("mine=x.corner", mesh, identity="casia")
    assert judge.name == "mine"
    assert judge.facts == {"kind": "corner", "weights": "x.corner", "convention": "casia"}
    np.testing.assert_array_equal(judge.measure(*faces), faces[0][:, 0, 0])
    assert load_judge("x.corner", mesh).name == "corner"
    with pytest.raises(JudgeError, match=r"wanted sface, .*, or corner=FILE"):
        load_judge("x.other", mesh)
