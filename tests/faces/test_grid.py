"""Grids of pictures: every face in its place, at the size and with the labels asked for."""

import numpy as np
import pytest

from smoothswap_jax.faces.grid import image_grid, swap_grid, to_uint8


def test_to_uint8_ends_middle_and_refusals() -> None:
    assert to_uint8(np.array([-1.0, 0.0, 1.0, 2.0, -3.0])).tolist() == [0, 128, 255, 255, 0]
    every = np.arange(256, dtype=np.uint8)
    np.testing.assert_array_equal(to_uint8(every.astype(np.float32) / 127.5 - 1), every)
    assert to_uint8(every) is every
    with pytest.raises(TypeError, match="int64"):
        to_uint8(np.arange(3))
    with pytest.raises(ValueError, match="NaN"):
        to_uint8(np.array([0.0, np.nan]))


def test_swap_grid_puts_every_face_in_its_place() -> None:
    m, n, size, scale = 2, 3, 4, 2
    shade = np.linspace(-0.9, 0.9, m + n + m * n)
    flat = np.broadcast_to(shade[:, None, None, None], (len(shade), size, size, 3))
    sources, targets, swaps = flat[:m], flat[m : m + n], flat[m + n :].reshape(m, n, size, size, 3)
    grid = swap_grid(sources, targets, swaps, scale=scale)
    side, gap, head = size * scale, 2, 4
    assert grid.dtype == np.uint8
    assert grid.shape == (3 * side + 2 * gap + head, 4 * side + 3 * gap + head, 3)

    def at(row: int, column: int) -> int:
        y, x = (i * (side + gap) + (head if i else 0) for i in (row, column))
        cell = grid[y : y + side, x : x + side]
        assert np.ptp(cell) == 0
        return int(cell[0, 0, 0])

    assert at(0, 0) == 255
    for j in range(n):
        assert at(0, j + 1) == to_uint8(targets)[j, 0, 0, 0]
    for i in range(m):
        assert at(i + 1, 0) == to_uint8(sources)[i, 0, 0, 0]
        for j in range(n):
            assert at(i + 1, j + 1) == to_uint8(swaps)[i, j, 0, 0, 0]
    with pytest.raises(ValueError, match="2 x 3, found 3 x 2"):
        swap_grid(sources, targets, swaps.swapaxes(0, 1))


def test_image_grid_upscales_by_the_method_asked_for() -> None:
    image = np.zeros((2, 2, 3), np.uint8)
    image[0, 0] = 255
    nearest = image_grid([[image]], scale=4)
    np.testing.assert_array_equal(nearest, np.kron(image, np.ones((4, 4, 1), np.uint8)))
    assert len(np.unique(image_grid([[image]], scale=4, resample="lanczos"))) > 2


def test_image_grid_labels_take_their_own_space() -> None:
    image = np.full((20, 20, 3), 255, np.uint8)
    rows = [[image, image], [image, None]]
    plain = image_grid(rows, pad=2)
    assert plain.shape == (42, 42, 3) and np.all(plain == 255)
    labelled = image_grid(rows, row_labels=("one", "two"), column_labels=("a", "b"), pad=2)
    dark = labelled.min(axis=2) < 128
    top, left = labelled.shape[0] - 42, labelled.shape[1] - 42
    assert top > 8 and left > 15
    assert not dark[top:, left:].any()
    assert dark[:top, left : left + 20].any() and dark[:top, left + 22 :].any()
    assert dark[top : top + 20, :left].any() and dark[top + 22 :, :left].any()


def test_image_grid_refuses_what_does_not_fit() -> None:
    image, other = np.zeros((2, 2, 3), np.uint8), np.zeros((2, 3, 3), np.uint8)
    with pytest.raises(ValueError, match="one shape"):
        image_grid([[image, other]])
    with pytest.raises(ValueError, match="one length"):
        image_grid([[image, image], [image]])
    with pytest.raises(ValueError, match="1 row and 0 column labels"):
        image_grid([[image], [image]], row_labels=("a",))
    with pytest.raises(ValueError, match=r"\[h, w, 3\]"):
        image_grid([[np.zeros((2, 2), np.uint8)]])
