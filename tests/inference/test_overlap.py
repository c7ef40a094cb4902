"""Faces in batches give the photo that face after face gives."""

import numpy as np
import pytest

from smoothswap_jax.faces.align import align_face, ffhq_quad, paste_back, paste_change
from smoothswap_jax.faces.photos import to_float, to_uint8
from smoothswap_jax.inference.overlap import _read_box, batches_without_overlap
from tests.inference.pixel_swappers import grain, marked, pixel_swapper


def square(x: float, y: float, side: float, turn: float = 0.0) -> np.ndarray:
    across = side / 2 * np.array([np.cos(turn), np.sin(turn)])
    down = np.array([-across[1], across[0]])
    return np.array([x, y]) + np.stack([-across - down, -across + down, across + down, across - down])


def test_only_faces_that_touch_wait_for_each_other():
    row = [square(x, 0, 10) for x in (0, 12, 40, 52, 80)]
    assert batches_without_overlap(row) == [[0, 2, 4], [1, 3]]
    assert batches_without_overlap([square(12, 0, 10), square(0, 0, 10), square(24, 0, 10)]) == [[0], [1, 2]]
    chain = [square(x, 0, 10) for x in (0, 12, 24)]  # the third may not overtake the second, though the first is free
    assert batches_without_overlap(chain) == [[0], [1], [2]]
    assert batches_without_overlap([square(0, 0, 10)]) == [[0]]
    assert batches_without_overlap([]) == []


def test_a_crop_that_reads_beyond_its_quad_waits_for_the_face_beside_it():
    assert batches_without_overlap([square(0, 0, 100), square(105, 0, 100)]) == [[0], [1]]
    assert batches_without_overlap([square(0, 0, 100), square(125, 0, 100)]) == [[0, 1]]


@pytest.mark.parametrize("turn", [0.0, 0.4])
@pytest.mark.parametrize("side", [20, 90])
@pytest.mark.parametrize("size", [16, 64])
@pytest.mark.parametrize("place", [(130, 80), (5, 150)])  # the second quad leaves the photo
def test_a_crop_reads_nothing_outside_its_box(place, size, side, turn):
    photo, quad = grain(), square(*place, side, turn)
    low, high = _read_box(quad)
    y, x = np.mgrid[: photo.shape[0], : photo.shape[1]]
    inside = (x >= low[0]) & (x <= high[0]) & (y >= low[1]) & (y <= high[1])
    other = np.where(inside[:, :, None], photo, 255 - photo)
    assert not inside.all()
    np.testing.assert_array_equal(align_face(photo, quad, size), align_face(other, quad, size))


def network(source: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Depends on every pixel of the target, so a face that is cut too early shows."""
    return np.tanh(1.5 * target - 0.5 * source.mean((1, 2, 3), keepdims=True) + target.mean((1, 2), keepdims=True))


def face_after_face(photo, source, quads, size, paste):
    for quad in quads:
        before = to_float(align_face(photo, quad, size))
        after = np.clip(network(to_float(source)[None], before[None])[0], -1, 1)
        if paste == "change":
            photo = paste_change(photo, (after - before) * 127.5, quad)
        else:
            photo = paste_back(photo, to_uint8(after), quad)
    return photo


@pytest.mark.parametrize("paste", ["change", "pixels"])
@pytest.mark.parametrize("seed", range(4))
def test_a_crowd_comes_out_as_face_after_face(seed, paste):
    rng = np.random.default_rng(seed)
    faces = [(*rng.uniform((0, 0), (400, 260)), rng.uniform(0.5, 1.2)) for _ in range(12)]
    photo, detect, calls = grain(260, 400), marked(*faces), []

    def counted(source, target):
        assert len(source) == len(target)
        calls.append(len(target))
        return network(source, target)

    swapper = pixel_swapper(counted, 32, detect)
    source = swapper.read_face(grain(260, 400, seed=1))
    quads = [ffhq_quad(face.points) for face in detect(photo)]
    found = swapper.swap_onto(source, photo, face="all", paste=paste)
    np.testing.assert_array_equal(found, face_after_face(photo, source, quads, 32, paste))
    assert sum(calls) == 12 and 1 < len(calls) < 12
    if seed == 0:  # the order matters here
        assert np.any(found != face_after_face(photo, source, quads[::-1], 32, paste))
