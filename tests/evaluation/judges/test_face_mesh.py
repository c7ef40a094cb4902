"""The mesh judge: geometry by hand, its model file, and what it reads in the London photos."""

import importlib.util
import pickle
import struct
import zipfile

import numpy as np
import pytest
from PIL import Image
from scipy.spatial.transform import Rotation

from smoothswap_jax.evaluation.judges import face_mesh
from smoothswap_jax.evaluation.judges.face_mesh import BLENDSHAPES, MeshReading, make_mesh, yaw_pitch_roll
from tests.evaluation.london_crops import FACES, PEOPLE, london_face, mirrored
from tests.faces.drawn_points import turned

MODEL = FACES / "face_landmarker.task"
SMILE = [BLENDSHAPES.index("mouthSmileLeft"), BLENDSHAPES.index("mouthSmileRight")]
UNKNOWN = np.full((5, 2), np.nan)


@pytest.fixture(scope="module")
def read():
    pytest.importorskip("ai_edge_litert")
    if not MODEL.is_file():
        pytest.skip(f"needs MediaPipe's model: no {MODEL}")
    return make_mesh(str(MODEL))


def off(one: MeshReading, other: MeshReading) -> float:
    """Mean distance of the landmarks in the image, in pixels."""
    return float(np.linalg.norm(one.landmarks[:, :2] - other.landmarks[:, :2], axis=1).mean())


# --- Geometry -----------------------------------------------------------------------------------------------


def test_angles_say_where_the_nose_points():
    to_the_right = Rotation.from_euler("y", 30, degrees=True).as_matrix()
    assert to_the_right[0, 2] > 0.4  # the nose, at +z, goes to +x
    np.testing.assert_allclose(yaw_pitch_roll(to_the_right), [30, 0, 0], atol=1e-9)
    up = Rotation.from_euler("x", -20, degrees=True).as_matrix()
    assert up[1, 2] > 0.3
    np.testing.assert_allclose(yaw_pitch_roll(up), [0, 20, 0], atol=1e-9)
    np.testing.assert_allclose(yaw_pitch_roll(Rotation.from_euler("z", 10, degrees=True).as_matrix()), [0, 0, 10])
    parts = [
        Rotation.from_euler(axis, degrees, degrees=True) for axis, degrees in zip("zyx", (10, -50, -20), strict=True)
    ]
    np.testing.assert_allclose(yaw_pitch_roll((parts[0] * parts[1] * parts[2]).as_matrix()), [-50, 20, 10], atol=1e-9)


def test_the_best_rotation_is_found_again():
    random = np.random.default_rng(0)
    points, weights = random.normal(size=(20, 3)), random.uniform(0.1, 1, 20)
    turn = Rotation.from_rotvec([0.3, -0.8, 0.2]).as_matrix()
    seen = 3.7 * points @ turn.T + (5, -2, 9)
    np.testing.assert_allclose(face_mesh.best_rotation(points, seen, weights), turn, atol=1e-9)
    seen[0] += 100  # a point without weight has no say
    weights[0] = 0
    np.testing.assert_allclose(face_mesh.best_rotation(points, seen, weights), turn, atol=1e-9)
    # A mirror image fits best by a reflection, which is not a rotation.
    assert np.linalg.det(face_mesh.best_rotation(points, points * (-1, 1, 1), weights)) == pytest.approx(1)
    # scipy's own, on points that no rotation fits
    seen = seen + random.normal(size=(20, 3))
    share = weights / weights.sum()
    wanted, _ = Rotation.align_vectors(seen - share @ seen, points - share @ points, weights=weights)
    np.testing.assert_allclose(face_mesh.best_rotation(points, seen, weights), wanted.as_matrix(), atol=1e-6)


def test_the_first_square_follows_the_points():
    front = np.array([[95.5, 121.3], [159.5, 121.3], [127.5, 155.6], [99.5, 183.7], [155.5, 183.7]])
    known, unknown = face_mesh.first_square(front, 256), face_mesh.first_square(UNKNOWN, 256)
    np.testing.assert_allclose(known, unknown, atol=3)
    half = face_mesh.first_square((front + 0.5) / 2 - 0.5, 128)
    np.testing.assert_allclose((half + 0.5) * 2 - 0.5, known, atol=1e-6)
    aside = np.array([30, -20])
    np.testing.assert_allclose(face_mesh.first_square(front + aside, 256), known + aside, atol=1e-6)
    for shift, wanted in ((-20, 25), (20, -25), (500, -64)):  # away from the nose, a quarter of the side at most
        turned = front + np.array([0, 0, 1, 0, 0])[:, None] * (shift, 0)
        np.testing.assert_allclose(face_mesh.first_square(turned, 256).mean(0) - known.mean(0), (wanted, 0), atol=0.3)
    some = front.copy()
    some[3, 0] = np.nan
    np.testing.assert_array_equal(face_mesh.first_square(some, 256), unknown)
    with pytest.raises(ValueError, match="give no direction"):
        face_mesh.first_square(np.full((5, 2), 100.0), 256)


# --- The model file -----------------------------------------------------------------------------------------


def message(field: int, value: int | float | bytes) -> bytes:
    def integer(number: int) -> bytes:
        low, high = number & 127, number >> 7
        return bytes([low | 128]) + integer(high) if high else bytes([low])

    if isinstance(value, bytes):
        return integer(field << 3 | 2) + integer(len(value)) + value
    if isinstance(value, float):
        return integer(field << 3 | 5) + struct.pack("<f", value)
    return integer(field << 3) + integer(value)


def metadata(vertices: np.ndarray, weights: dict[int, float]) -> bytes:
    mesh = message(1, 0) + b"".join(message(3, float(x)) for x in vertices.ravel()) + message(4, 300)
    entries = [message(2, message(1, point) + message(2, weight)) for point, weight in weights.items()]
    return message(1, mesh) + b"".join(entries) + message(3, 1)


def test_the_canonical_face_is_read():
    vertices = np.random.default_rng(0).normal(size=(468, 5)).astype(np.float32)
    weights = {4: 0.25, 200: 0.5, 467: 1.0}
    content = metadata(vertices, weights)
    points, found = face_mesh.canonical_face(content)
    np.testing.assert_array_equal(points, vertices[:, :3])
    assert {int(i): found[i] for i in np.flatnonzero(found)} == weights
    with pytest.raises(ValueError, match="found 2335 coordinates, 3 weights; wanted 2340, 3 or more"):
        face_mesh.canonical_face(metadata(vertices[:-1], weights))
    with pytest.raises(ValueError, match="found 2340 coordinates, 2 weights"):
        face_mesh.canonical_face(metadata(vertices, {4: 0.25, 200: 0.5}))
    with pytest.raises(ValueError, match="ends within a field"):
        face_mesh.canonical_face(content[:5000])
    with pytest.raises(ValueError, match="wire type 3"):
        face_mesh.canonical_face(b"\x0b")
    with pytest.raises(ValueError, match="more than 64 bits"):
        face_mesh.canonical_face(b"\xff" * 20)


def test_bad_bundles_are_refused(read, tmp_path):
    with zipfile.ZipFile(MODEL) as bundle:
        members = {name: bundle.read(name) for name in face_mesh.JUDGE_MEMBERS}

    def bundle_of(name: str, **changes: bytes | None) -> str:
        with zipfile.ZipFile(tmp_path / name, "w") as bundle:
            for member, content in (members | {f"{key}.tflite": value for key, value in changes.items()}).items():
                if content is not None:
                    bundle.writestr(member, content)
        return str(tmp_path / name)

    with pytest.raises(ValueError, match=r"old\.task: found a zip without face_blendshapes\.tflite"):
        make_mesh(bundle_of("old.task", face_blendshapes=None))
    with pytest.raises(
        ValueError, match=r"odd\.task: face_blendshapes\.tflite: found inputs .*wanted \[\(1, 146, 2\)\]"
    ):
        make_mesh(bundle_of("odd.task", face_blendshapes=members["face_detector.tflite"]))
    for content in (b"", b"\xff", members[face_mesh.GEOMETRY_MEMBER][:-5], b"\x08\x01", b"\x12\x02\x08\x01"):
        members[face_mesh.GEOMETRY_MEMBER] = content
        file = bundle_of(f"geometry{len(content)}{content[:1].hex()}.task")
        with pytest.raises(ValueError, match=r"geometry.*\.task: geometry_pipeline.*: found no canonical face"):
            make_mesh(file)
    with pytest.raises(FileNotFoundError, match=r"none\.task: found no such file"):
        make_mesh(str(tmp_path / "none.task"))


def test_a_missing_package_says_what_to_install(monkeypatch, tmp_path):
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda one: None if one == "ai_edge_litert" else find(one))
    with pytest.raises(ImportError, match=r'pip install "smoothswap-jax\[mediapipe\]"'):
        make_mesh(str(tmp_path / "any.task"))


def test_facts_names_and_pickles(read):
    facts = face_mesh.facts(str(MODEL))
    assert set(facts) == {"name", "package", "version", "model", "sha256", "licence"}
    assert facts["model"] == MODEL.name and facts["licence"] == "Apache-2.0" and len(facts["sha256"]) == 64
    assert len(set(BLENDSHAPES)) == 52 and len(set(face_mesh.SHAPE_POINTS)) == 146
    again = pickle.loads(pickle.dumps(read))
    assert again.keywords == {"model": str(MODEL)} and face_mesh._networks(str(MODEL)) is face_mesh._networks(
        str(MODEL)
    )


# --- On photos ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("person", PEOPLE)
def test_smiles_are_seen(read, person):
    neutral, smiling = (read(*london_face(person, f"{mood}_front")).blendshapes for mood in ("neutral", "smiling"))
    assert neutral.shape == (52,) and min(neutral.min(), smiling.min()) >= 0 and max(neutral.max(), smiling.max()) <= 1
    assert neutral[SMILE].max() < 0.2 and smiling[SMILE].min() > 0.3
    assert BLENDSHAPES[int(np.argmax(smiling - neutral))].startswith("mouth")


@pytest.mark.parametrize("person", PEOPLE)
def test_heads_are_turned_as_they_were_told(read, person):
    for view, low, high in (("front", -8, 8), ("left_3quarter", -50, -28), ("right_3quarter", 28, 50)):
        face = london_face(person, f"neutral_{view}")
        found = read(*face)
        np.testing.assert_allclose(found.rotation @ found.rotation.T, np.eye(3), atol=1e-9)
        assert np.linalg.det(found.rotation) == pytest.approx(1)
        angles = yaw_pitch_roll(found.rotation)
        assert low < angles[0] < high and abs(angles[1]) < 20 and abs(angles[2]) < 12
        np.testing.assert_allclose(yaw_pitch_roll(read(*mirrored(face)).rotation), angles * (-1, 1, -1), atol=4)


def test_a_turned_crop_is_a_rolled_head(read):
    crop, points = london_face(PEOPLE[0], "neutral_front")
    straight = read(crop, points)
    image = Image.fromarray(crop).rotate(40, Image.Resampling.BICUBIC, fillcolor=(128, 128, 128))
    about = lambda xy: turned(xy, -40, (127.5, 127.5))
    found = read(np.asarray(image), about(points))
    np.testing.assert_allclose(yaw_pitch_roll(found.rotation) - yaw_pitch_roll(straight.rotation), (0, 0, 40), atol=2)
    assert np.linalg.norm(found.landmarks[:, :2] - about(straight.landmarks[:, :2]), axis=1).mean() < 1.5
    assert np.abs(found.blendshapes - straight.blendshapes).mean() < 0.03


def test_landmarks_lie_on_the_face(read):
    crop, points = london_face(PEOPLE[0], "neutral_front")
    found = read(crop, points).landmarks
    eyes = found[[468, 473], :2]  # the irises
    assert np.abs(eyes - points[:2]).max() < 4 and np.abs(found[1, :2] - points[2]).max() < 8
    left, right = found[face_mesh.LEFT_EYE[0]], found[face_mesh.RIGHT_EYE[0]]
    assert left[0] < eyes[0, 0] < eyes[1, 0] < right[0] and 75 < np.linalg.norm(left - right) < 105
    nose, ears = found[1, 2], found[[234, 454], 2]
    assert (ears - nose > 40).all()  # the nose is nearer to the camera


@pytest.mark.parametrize("view", ["neutral_front", "smiling_left_3quarter"])
def test_size_does_not_matter(read, view):
    crop, points = london_face(PEOPLE[1], view)
    whole = read(crop, points)
    eyes = np.linalg.norm(whole.landmarks[33] - whole.landmarks[263])
    for size, bound in ((1024, 0.01), (128, 0.02), (32, 0.06)):
        image = np.asarray(Image.fromarray(crop).resize((size, size), Image.Resampling.LANCZOS))
        scale = size / 256
        found = read(image, (points + 0.5) * scale - 0.5)
        back = np.column_stack([(found.landmarks[:, :2] + 0.5) / scale - 0.5, found.landmarks[:, 2] / scale])
        assert np.linalg.norm(back[:, :2] - whole.landmarks[:, :2], axis=1).mean() < bound * eyes
        assert np.abs(np.ptp(back[:, 2]) / np.ptp(whole.landmarks[:, 2]) - 1) < 3 * bound
        if size >= 128:
            assert np.abs(found.blendshapes - whole.blendshapes).mean() < 0.02
            assert np.abs(yaw_pitch_roll(found.rotation) - yaw_pitch_roll(whole.rotation)).max() < 2


def test_points_hardly_matter(read):
    crop, points = london_face(PEOPLE[1], "neutral_front")
    known = read(crop, points)
    assert off(read(crop, UNKNOWN), known) < 0.5
    for shift in ((0, 30), (20, -20)):  # the second look makes up for them
        assert off(read(crop, points + np.array(shift)), known) < 0.8


def test_no_face_is_no_reading(read):
    random = np.random.default_rng(0)
    for crop in (np.full((256, 256, 3), 128, np.uint8), random.integers(0, 256, (64, 64, 3), np.uint8)):
        assert read(crop, UNKNOWN) is None
    crop, points = london_face(PEOPLE[0], "neutral_front")
    assert read(crop, points + 2000) is None  # points outside the image
    assert read(np.roll(crop, 128, axis=0), UNKNOWN) is None


def test_bad_arguments_are_refused(read):
    with pytest.raises(ValueError, match=r"wanted \[s, s, 3\] and \[5, 2\]"):
        read(np.zeros((64, 65, 3), np.uint8), UNKNOWN)
    with pytest.raises(ValueError, match=r"wanted \[s, s, 3\] and \[5, 2\]"):
        read(np.zeros((64, 64, 3), np.uint8), UNKNOWN[:4])
    with pytest.raises(ValueError, match="aligned face"):
        read(np.zeros((64, 64, 3), np.float32), UNKNOWN)
