"""What networks are fed: by hand on a photo, and against PyTorch's and Pillow's resizing."""

import jax
import numpy as np
import pytest
import skimage.data
from PIL import Image

from smoothswap_jax.models.embedder import ResNet
from smoothswap_jax.weights.importing import import_network
from smoothswap_jax.weights.inspect import Known
from smoothswap_jax.weights.networks import vggface2
from smoothswap_jax.weights.preprocessing import IMAGENET, Preprocessing, preprocess
from tests.golden_files import relative_error
from tests.models.helpers import quick_jit
from tests.weights.test_importing import state_of


@pytest.fixture(scope="module")
def photo():
    """The astronaut's face, 224 x 224 x 3 of 0..255, RGB: skin and an orange suit, so red leads and blue trails."""
    face = skimage.data.astronaut()[0:224, 112:336]
    assert face[..., 0].mean() > face[..., 2].mean() + 20
    return face


def to_unit(pixels):
    """0..255 as [-1, 1], with a batch axis."""
    return pixels[None].astype("f") / 127.5 - 1


def test_vggface2_is_fed_bgr_minus_its_mean(photo):
    """By hand: pixel values 0..255, blue first, minus (91.4953, 103.8827, 131.0912)."""
    network = import_network("vggface2-resnet50", vggface2_state(), stage_sizes=(1, 1))
    fed = np.asarray(preprocess(to_unit(photo), network.preprocessing))[0]
    red, green, blue = (photo[..., i].astype("f") for i in range(3))
    np.testing.assert_allclose(fed[..., 0], blue - 91.4953, atol=1e-3)
    np.testing.assert_allclose(fed[..., 1], green - 103.8827, atol=1e-3)
    np.testing.assert_allclose(fed[..., 2], red - 131.0912, atol=1e-3)
    turned = import_network("vggface2-resnet50", vggface2_state(), stage_sizes=(1, 1), channels="RGB")
    assert turned.preprocessing.mean == (131.0912, 103.8827, 91.4953)
    other = np.asarray(preprocess(to_unit(photo), turned.preprocessing))[0]
    np.testing.assert_allclose(other, fed[..., ::-1], atol=1e-4)


def test_the_order_of_channels_changes_what_a_network_says(photo):
    """The same weights, fed RGB where they want BGR, give other features, though all shapes are the same."""
    network = import_network("vggface2-resnet50", vggface2_state(), stage_sizes=(1, 1))
    apply = quick_jit(lambda x: network.module.apply(network.variables, preprocess(x, network.preprocessing)))
    right, wrong = (np.asarray(apply(to_unit(p))) for p in (photo, photo[..., ::-1]))
    assert relative_error(wrong, right) > 0.02


def vggface2_state():
    module = ResNet((1, 1), 8, stride_on_first=True, ceil_mode=True)
    state = state_of("vggface2_resnet", module, (1, 224, 224, 3), values=True)
    for name, value in state.items():
        if name.endswith("running_var"):
            state[name] = 1 + value**2
        elif value.ndim == 4:
            state[name] = value / np.sqrt(np.prod(value.shape[1:]))
    return state


@pytest.mark.parametrize(
    "how, wanted",
    [
        (IMAGENET, lambda p: (p / 255 - (0.485, 0.456, 0.406)) / (0.229, 0.224, 0.225)),
        (Preprocessing((224, 224), "deep3d", low=0.0, high=1.0), lambda p: p / 255),
        (Preprocessing((224, 224), "arcface"), lambda p: (p / 255 - 0.5) / 0.5),
        (
            Preprocessing((224, 224), "arcface", "RGB", 0.0, 255.0, (127.5,) * 3, (128.0,) * 3),
            lambda p: (p - 127.5) / 128,
        ),
    ],
)
def test_ranges_by_hand(photo, how, wanted):
    fed = np.asarray(preprocess(to_unit(photo), how))[0]
    np.testing.assert_allclose(fed, wanted(photo.astype(np.float64)), atol=2e-5)
    assert fed[..., 0].mean() > fed[..., 2].mean() or how is IMAGENET  # still red first


@pytest.mark.parametrize("size", [(299, 299), (112, 96), (150, 300)])
def test_bilinear_is_pytorch_s(photo, size):
    torch = pytest.importorskip("torch")
    x = to_unit(photo)
    theirs = torch.from_numpy(x.transpose(0, 3, 1, 2))
    for name, antialias in (("bilinear", False), ("bilinear_antialias", True)):
        ours = preprocess(x, Preprocessing(size, "whole", interpolation=name))
        wanted = torch.nn.functional.interpolate(
            theirs, size=size, mode="bilinear", align_corners=False, antialias=antialias
        )
        np.testing.assert_allclose(ours, wanted.numpy().transpose(0, 2, 3, 1), atol=2e-5)


def test_the_antialiased_one_is_pillow_s(photo):
    ours = preprocess(to_unit(photo), Preprocessing((112, 96), "whole", low=0.0, high=255.0))[0]
    theirs = np.asarray(Image.fromarray(photo).resize((96, 112), Image.Resampling.BILINEAR), np.float32)
    assert np.abs(ours - theirs).max() < 1.01  # Pillow rounds to whole numbers between its two passes


def test_it_is_jittable_and_keeps_a_fitting_size(photo):
    how = Preprocessing((224, 224), "whole")
    np.testing.assert_allclose(jax.jit(preprocess, static_argnums=1)(to_unit(photo), how), to_unit(photo), atol=1e-6)


def test_bad_values_are_named():
    with pytest.raises(ValueError, match="channels is 'GBR'"):
        Preprocessing((1, 1), "whole", "GBR")
    with pytest.raises(ValueError, match="interpolation is 'nearest'"):
        Preprocessing((1, 1), "whole", interpolation="nearest")
    with pytest.raises(ValueError, match="channels is 'rgb'"):
        vggface2.plan(vggface2_state(), Known("vggface2-resnet50", {"stage_sizes": (1, 1), "channels": "rgb"}), False)
