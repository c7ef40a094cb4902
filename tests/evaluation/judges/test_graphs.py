"""Imported graphs as judges: what they see, what their numbers mean, and what becomes of those that fail."""

import dataclasses
import os
import signal

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from smoothswap_jax.evaluation.judges import colour_order
from smoothswap_jax.evaluation.judges.base import JudgeError
from smoothswap_jax.evaluation.judges.conventions import IDENTITY, POSE
from smoothswap_jax.evaluation.judges.crops import crops_of
from smoothswap_jax.evaluation.judges.graphs import graph_judge, rotations
from smoothswap_jax.evaluation.judges.registry import load_judge, refuse_self_judges
from smoothswap_jax.evaluation.measures import coefficients
from smoothswap_jax.faces.alignments import mean_points
from smoothswap_jax.faces.photos import to_float
from smoothswap_jax.metrics import per_pair
from smoothswap_jax.runtime import sharding
from smoothswap_jax.weights.graphs.folder import import_graph, load_graph
from smoothswap_jax.weights.preprocessing import CROPS, Preprocessing
from tests.evaluation.stand_ins import judged, make_pairs, method_of, pictures

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
from tests.weights import graph_files
from tests.weights.graph_files import SIDE, helper, weights


@pytest.fixture(scope="module")
def mesh():
    return sharding.make_mesh(1)


@pytest.fixture(scope="module")
def faces():
    return np.random.default_rng(0).integers(0, 256, (5, SIDE, SIDE, 3)).astype(np.uint8), mean_points(SIDE, 5)


@pytest.fixture
def graph(tmp_path):
    """Imports a graph of one layer with `features` numbers: graph(known, features)."""

    def make(known=None, features=4, name="net", data=None, more=()):
        (tmp_path / f"{name}.onnx").write_bytes(data or graph_files.honest_onnx(features=features))
        known = {"role": "identity", "crop": "whole"} | (known or {})
        import_graph("onnx", [tmp_path / f"{name}.onnx", *more], tmp_path / name, known)
        return tmp_path / name

    return make


def by_hand(images, features=4, order="RGB", factor=1.0):
    x = to_float(images)[..., :: 1 if order == "RGB" else -1] * factor
    return x.transpose(0, 3, 1, 2).reshape(len(x), -1) @ weights(features).T


def test_a_judge_is_loaded_from_its_folder(graph, mesh, faces):
    folder = graph({"channels": "BGR", "low": 0, "high": 255, "mean": 127.5, "std": 255.0, "licence": "MIT"})
    judge = load_judge(str(folder), mesh)
    assert (judge.name, judge.role, judge.points) == ("net", "identity", "own")
    np.testing.assert_allclose(judge.measure(*faces), by_hand(faces[0], order="BGR", factor=0.5), atol=1e-4)
    assert judge.facts["licence"] == "MIT" and judge.facts["runtime"].startswith("onnxruntime ")
    assert judge.facts["file sha256"] == load_graph(folder).sha256 and judge.facts["source"] == "net.onnx"
    assert load_judge(f"mine={folder}", mesh).name == "mine"


def test_a_judge_sees_the_crop_of_its_preprocessing(tmp_path, mesh):
    from smoothswap_jax.faces.alignments import judge_crop

    images, points = np.random.default_rng(0).integers(0, 256, (2, 64, 64, 3)).astype(np.uint8), mean_points(64, 2)
    (tmp_path / "a.onnx").write_bytes(graph_files.honest_onnx())
    import_graph("onnx", tmp_path / "a.onnx", tmp_path / "a", {"role": "identity", "crop": "arcface"})
    crops = np.stack([judge_crop(i, p, "arcface", (SIDE, SIDE)) for i, p in zip(images, points, strict=True)])
    judge = load_judge(str(tmp_path / "a"), mesh)
    np.testing.assert_allclose(judge.measure(images, points), by_hand(crops), atol=1e-4)
    whole = load_judge(str(tmp_path / "a"), mesh, identity="reliableswap")
    assert np.abs(whole.measure(images, points) - judge.measure(images, points)).max() > 0.1


@pytest.mark.parametrize("crop", CROPS)
def test_every_crop_that_a_graph_may_ask_for_can_be_cut(crop):
    images, points = np.zeros((1, 64, 64, 3), np.uint8), mean_points(64, 1)
    assert crops_of(images, points, Preprocessing((32, 32), crop)).shape in ((1, 32, 32, 3), (1, 64, 64, 3))


def test_mirror_images_are_averaged_or_put_beside(graph, mesh, faces):
    images, points = faces
    plain, mirrored = by_hand(images), by_hand(images[:, :, ::-1])
    judge = load_judge(str(graph({"flip": True})), mesh)
    np.testing.assert_allclose(judge.measure(images, points), (plain + mirrored) / 2, atol=1e-4)
    both = load_judge(str(graph(name="other")), mesh, identity="casia")
    np.testing.assert_allclose(both.measure(images, points), np.concatenate([plain, mirrored], 1), atol=1e-4)
    assert both.points == "target" and judge.key != both.key


def test_all_that_decides_features_is_in_the_key(graph, mesh):
    network = load_graph(graph())
    use, how = network.use, network.use.preprocessing
    changed = [
        network,
        dataclasses.replace(network, sha256="0" * 64),
        *(
            dataclasses.replace(network, use=dataclasses.replace(use, **change))
            for change in (
                {"flip": True},
                {"preprocessing": dataclasses.replace(how, channels="BGR")},
                {"preprocessing": dataclasses.replace(how, mean=(0.5,) * 3)},
                {"preprocessing": dataclasses.replace(how, interpolation="bilinear")},
            )
        ),
    ]
    keys = {graph_judge("x", one, mesh).key for one in changed}
    keys |= {graph_judge("x", network, mesh, convention).key for convention in IDENTITY.values()}
    assert len(keys) == len(changed) + len(IDENTITY) - 1  # 'aligned' is the first


def test_bins_of_pose_are_judged_as_hopenets(graph, mesh, faces):
    folder = graph({"role": "pose"}, 198)
    judge = load_judge(str(folder), mesh)
    assert judge.role == "pose" and judge.measure(*faces).shape == (5, 198)
    turned = load_judge(str(folder), mesh, pose="casia")
    np.testing.assert_allclose(turned.measure(*faces), by_hand(faces[0], 198, "BGR"), atol=1e-4)
    assert turned.pose == POSE["casia"] and "convention" in turned.facts


def test_outputs_are_put_side_by_side_in_the_order_asked_for(graph, mesh, faces):
    nodes = [*graph_files.layer(given="a"), helper.make_node("Neg", ["a"], ["b"])]
    made = graph_files.model(
        nodes, [graph_files.image()], [graph_files.numbers(name="a"), graph_files.numbers(name="b")]
    )
    judge = load_judge(str(graph({"outputs": "b,a"}, data=made.SerializeToString())), mesh)
    plain = by_hand(faces[0])
    np.testing.assert_allclose(judge.measure(*faces), np.concatenate([-plain, plain], 1), atol=1e-4)


def test_coefficients_are_cut_standardised_poses_made_rotations(graph, mesh, faces, tmp_path):
    mean, std = np.arange(20, dtype="f"), np.linspace(1, 3, 20, dtype="f")
    np.savez(tmp_path / "s.npz", mean=mean, std=std)
    known = {"role": "coefficients", "shape": (12, 15), "expression": (16, 20), "pose": (0, 12), "statistics": True}
    judge = load_judge(str(graph(known, 20, more=[tmp_path / "s.npz"])), mesh)
    found, y = judge.measure(*faces), by_hand(faces[0], 20)
    parts = coefficients.coefficient_parts(judge, found)
    np.testing.assert_allclose(parts["shape"], y[:, 12:15], atol=1e-4)
    np.testing.assert_allclose(parts["expression"], y[:, 16:], atol=1e-4)
    turns = parts["pose"].reshape(5, 3, 3)
    np.testing.assert_allclose(
        turns, rotations((y[:, :12] * std[:12] + mean[:12]).reshape(5, 3, 4)[:, :, :3]), atol=1e-4
    )
    assert found.shape == (5, 16)


def test_angles_in_radians_stay_as_they_are(graph, mesh, faces):
    judge = load_judge(str(graph({"role": "coefficients", "pose": (1, 4)})), mesh)
    np.testing.assert_allclose(judge.measure(*faces), by_hand(faces[0])[:, 1:], atol=1e-4)


def test_rotations_lose_their_scale_and_stay_what_they_are():
    turns = Rotation.random(6, random_state=0).as_matrix()
    np.testing.assert_allclose(rotations(turns * 3e-4), turns, atol=1e-6)
    assert np.isnan(rotations(np.zeros((1, 3, 3)))).all()
    rough = turns + np.random.default_rng(0).normal(0, 0.05, turns.shape)
    found = rotations(np.concatenate([rough, np.ones((1, 3, 3))]))
    np.testing.assert_allclose(found @ found.transpose(0, 2, 1), np.repeat(np.eye(3)[None], 7, axis=0), atol=1e-9)
    np.testing.assert_allclose(np.linalg.det(found), 1)
    assert per_pair.geodesic_degrees(found[:6], turns).max() < 10


def test_coefficients_are_scored_part_by_part(tmp_path):
    pairs = make_pairs()
    from smoothswap_jax.evaluation.judges.base import Judge

    rng = np.random.default_rng(0)
    turn = lambda degrees: Rotation.from_euler("y", degrees, degrees=True).as_matrix().reshape(9)
    known = np.stack([np.r_[turn(0), rng.normal(size=2)] for _ in range(len(pairs.gallery))]).astype("f")
    swaps = np.stack([np.r_[turn(25), rng.normal(size=2)] for _ in range(len(pairs))]).astype("f")
    judge = Judge("d", "coefficients", {}, slices={"pose": (0, 9), "expression": (9, 11)})
    found = {m.name: (m, v) for m, v in coefficients.COEFFICIENTS.of_features(judge, swaps, known, pairs)}
    assert set(found) == {"d: pose", "d: expression"}  # it reads no shape
    np.testing.assert_allclose(found["d: pose"][1], 25, atol=1e-3)
    assert "degrees" in found["d: pose"][0].about
    wanted = np.linalg.norm(swaps[:, 9:] - known[pairs.target][:, 9:], axis=1)
    np.testing.assert_allclose(found["d: expression"][1], wanted, rtol=1e-6)


def test_a_graph_judges_a_method_beside_the_baselines_and_is_asked_once(tmp_path, mesh, monkeypatch):
    pairs = make_pairs()
    made = graph_files.model(
        [helper.make_node("Flatten", ["image"], ["numbers"])],
        [helper.make_tensor_value_info("image", 1, ["n", 3, 16, 16])],
        [graph_files.numbers("n", features=768)],
    )
    (tmp_path / "g.onnx").write_bytes(made.SerializeToString())
    import_graph("onnx", tmp_path / "g.onnx", tmp_path / "net", {"role": "identity", "crop": "whole"})
    judge = load_judge(str(tmp_path / "net"), mesh)
    first = judged(tmp_path / "out", pairs, [method_of(pairs, pictures(pairs, pairs.source))], [judge])
    assert np.allclose(first.scores["fake"]["net: cosine to source"], 1)
    assert first.verification["net"]["ROC AUC"] > 0
    fails = dataclasses.replace(judge, measure=lambda *_: pytest.fail("it was asked again"))
    again = judged(tmp_path / "out", pairs, [method_of(pairs, pictures(pairs, pairs.source))], [fails])
    np.testing.assert_array_equal(first.scores["fake"]["net: top-1"], again.scores["fake"]["net: top-1"])


def test_a_graph_that_trained_a_method_is_refused(graph, mesh):
    folder = graph()
    judge, sha256 = load_judge(str(folder), mesh), load_graph(folder).sha256
    for named in ("net", "net.onnx", sha256, "onnx"):
        with pytest.raises(JudgeError, match="a method scores well with the network it was trained against"):
            refuse_self_judges([judge], {}, [named], False)
    with pytest.raises(JudgeError, match="net is the embedder that trained x"):
        refuse_self_judges([judge], {sha256: "the embedder that trained x"}, [], False)


# --- failures -----------------------------------------------------------------------------------------------------


def test_a_process_that_dies_is_a_judges_error_and_the_next_call_starts_another(graph, mesh, faces):
    network = load_graph(graph())
    before = _children()
    judge = graph_judge("x", network, mesh)
    (child,) = _children() - before
    os.kill(child, signal.SIGKILL)
    with pytest.raises(JudgeError, match=r"judge x: .*network.onnx: the process that ran it ended by signal 9"):
        judge.measure(*faces)
    np.testing.assert_allclose(judge.measure(*faces), by_hand(faces[0]), atol=1e-4)


def test_the_process_ends_with_its_judge(graph, mesh):
    before = _children()
    judge = graph_judge("x", load_graph(graph()), mesh)
    (child,) = _children() - before
    del judge
    assert child not in _children()


def _children() -> set[int]:
    with open(f"/proc/self/task/{os.getpid()}/children") as file:
        return set(map(int, file.read().split()))


# --- the order of colours -----------------------------------------------------------------------------------------


def test_the_better_order_of_colours_is_told(monkeypatch):
    better = {"same": 0.9, "strangers": 0.1, "ROC AUC": 1.0, "apart": 4.0}
    worse = {"same": 0.5, "strangers": 0.1, "ROC AUC": 0.9, "apart": 2.0}
    said = colour_order.order_report({"RGB": worse, "BGR": better}, "RGB")
    assert said[0].startswith("RGB: cosine 0.500 of one person's photos, 0.100 of strangers', ROC AUC 0.9000")
    assert "warning: BGR tells these people apart better than RGB" in said[-1] and "channels=BGR" in said[-1]
    assert len(colour_order.order_report({"RGB": worse, "BGR": better}, "BGR")) == 2
    like = worse | {"apart": 2.1}
    assert len(colour_order.order_report({"RGB": worse, "BGR": like}, "RGB")) == 2
    both = {"RGB": better, "BGR": better | {"apart": 4.1}}
    assert "cannot tell which order is right: both tell all" in colour_order.order_report(both, "RGB")[-1]
    assert "warning: BGR" in colour_order.order_report(both | {"BGR": better | {"apart": 8.0}}, "RGB")[-1]
    assert len(colour_order.order_report(both | {"BGR": better | {"apart": 8.0}}, "BGR")) == 2


def test_a_network_that_reads_red_alone_wants_the_order_it_was_made_for(graph, mesh):
    """People differ in red, and all colours have noise."""
    from smoothswap_jax.evaluation.galleries import gallery_of_arrays

    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (24, SIDE, SIDE, 3))
    people = [f"p{i // 4}" for i in range(24)]
    images[..., 0] = np.repeat(rng.integers(0, 256, (6, SIDE, SIDE)), 4, axis=0)
    w = np.zeros((16, 3, SIDE, SIDE), "f")
    w[:, 0] = rng.normal(size=(16, SIDE, SIDE))
    stored = [graph_files.numpy_helper.from_array(w.reshape(16, -1), "w")]
    made = graph_files.model(graph_files.layer(), [graph_files.image()], [graph_files.numbers(features=16)], stored)
    gallery = gallery_of_arrays(images.astype(np.uint8), [f"{i}" for i in range(24)], people)
    network = load_graph(graph({"channels": "BGR"}, data=made.SerializeToString()))
    found = colour_order.colour_orders(network, gallery)
    assert found["RGB"]["same"] > 0.99 and found["BGR"]["ROC AUC"] < 0.7
    assert "channels=RGB" in colour_order.order_report(found, "BGR")[-1]


def test_only_judges_of_identity_are_checked(graph, faces):
    from smoothswap_jax.evaluation.galleries import gallery_of_arrays

    gallery = gallery_of_arrays(faces[0], list("abcde"), list("aabbc"))
    network = load_graph(graph({"role": "coefficients", "shape": (0, 4)}))
    with pytest.raises(JudgeError, match="found one of coefficients"):
        colour_order.colour_orders(network, gallery)


def test_photos_of_one_person_check_nothing(tmp_path):
    with pytest.raises(JudgeError, match="found no such folder"):
        colour_order.gallery_of_people(tmp_path / "gone")
    (tmp_path / "a").mkdir()
    with pytest.raises(JudgeError, match="found faces of 0 people"):
        colour_order.gallery_of_people(tmp_path)
