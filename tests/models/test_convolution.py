import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax
from jax.sharding import NamedSharding, PartitionSpec

from smoothswap_jax.models import convolution as module
from smoothswap_jax.models.convolution import LAYOUT, Window, conv2d, convolution, weight_product
from tests.golden_files import relative_error


def draw(*shape):
    return jnp.asarray(np.random.default_rng(len(shape) + sum(shape)).standard_normal(shape), jnp.float32)


@pytest.mark.parametrize(
    "size, strides, padding, how",
    [
        (1, (1, 1), "SAME", {}),
        (1, (2, 2), "SAME", {}),
        (1, (2, 1), [(0, 0), (0, 0)], {"precision": lax.Precision.HIGHEST}),
        (1, (1, 1), [(1, 0), (2, 0)], {}),
        (1, (1, 1), [(0, 0), (0, 0)], {"lhs_dilation": (2, 2)}),
        (1, (1, 1), "VALID", {"feature_group_count": 2}),
        (3, (1, 1), "SAME", {}),
        (3, (2, 1), "SAME", {"feature_group_count": 4}),
        ((3, 2), (1, 3), [(0, 4), (-1, 3)], {"feature_group_count": 4}),
        (1, (2, 2), "VALID", {"feature_group_count": 4}),
        (3, (1, 1), "SAME", {"feature_group_count": 4, "rhs_dilation": (2, 2)}),
        (3, (1, 1), "VALID", {"rhs_dilation": (1, 1), "lhs_dilation": None, "feature_group_count": 1}),
        (3, (1, 1), [(0, 4), (-1, 3)], {}),
        (3, (1, 1), "SAME", {"rhs_dilation": (2, 2)}),
        (3, (1, 1), "SAME", {"preferred_element_type": jnp.float32}),
        (4, (1, 1), "SAME_LOWER", {}),
        ((1, 7), (1, 1), "SAME", {}),
        ((9, 2), (1, 1), "SAME", {}),
        (3, (2, 2), "SAME", {}),
        (3, (3, 1), [(0, 2), (1, 1)], {}),
    ],
)
def test_convolution_is_laxs_with_its_first_and_second_derivatives(size, strides, padding, how):
    rows, columns = size if isinstance(size, tuple) else (size, size)
    groups = how.get("feature_group_count", 1)
    x, w = draw(2, 7, 5, 4), draw(rows, columns, 4 // groups, 4 if groups == 4 else 6)
    how = {"dimension_numbers": LAYOUT, **how}

    def value(function):
        return lambda x, w: jnp.sum(jnp.sin(function(x, w, strides, padding, **how)))

    def penalty(function):  # as R1
        return lambda x, w: jnp.sum(jax.grad(value(function))(x, w) ** 2)

    def rate(function):  # of the weight's gradient
        return lambda x, w: jnp.sum(jax.grad(value(function), 1)(x, w) ** 2)

    found, wanted = (
        (
            function(x, w, strides, padding, **how),
            *(jax.grad(of(function), (0, 1))(x, w) for of in (value, penalty, rate)),
        )
        for function in (convolution, lax.conv_general_dilated)
    )
    for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(wanted), strict=True):
        assert a.shape == b.shape and relative_error(a, b) < 1e-5


@pytest.mark.parametrize("dtype, bound", [("float32", 1e-6), ("bfloat16", 1e-2)])
def test_the_weight_gradient_is_one_product_on_cpu(dtype, bound):
    x, g, w = (a.astype(dtype) for a in (draw(3, 8, 6, 5), draw(3, 8, 6, 7), draw(3, 3, 5, 7)))
    gradient = jax.jit(lambda x, w, g: jax.vjp(lambda w: conv2d(x, w), w)[1](g)[0])
    product = weight_product(x, g, Window((3, 3), (1, 1), ((1, 1), (1, 1))))
    plain = jax.vjp(lambda w: lax.conv_general_dilated(x, w, (1, 1), "SAME", dimension_numbers=LAYOUT), w)[1](g)[0]
    assert product.dtype == plain.dtype == dtype
    assert relative_error(product.astype("float32"), np.asarray(plain, np.float32)) < bound
    # Not bit for bit: on some processors a compiled product adds up in another order than the same one by itself.
    found = gradient(x, w, g)
    assert found.dtype == dtype and relative_error(*(np.asarray(a, np.float32) for a in (found, product))) < bound
    lowered = gradient.lower(x, w, g).as_text()
    assert "dot_general" in lowered and "convolution" not in lowered


@pytest.mark.parametrize("dtype, bound", [("float32", 1e-6), ("bfloat16", 1e-2)])
@pytest.mark.parametrize(
    "size, pads",
    [
        ((3, 3), ((1, 1), (1, 1))),
        ((3, 2), ((0, 4), (-1, 3))),
        ((2, 5), ((3, -1), (2, 2))),
        ((1, 3), ((0, 0), (0, 0))),
    ],
)
def test_weight_gradients_of_large_images_go_block_by_block(monkeypatch, size, pads, dtype, bound):
    window = Window(size, (1, 1), pads)
    x, w = draw(2, 12, 10, 3).astype(dtype), draw(*size, 3, 4).astype(dtype)
    conv = lambda w: lax.conv_general_dilated(x, w, (1, 1), pads, dimension_numbers=LAYOUT)
    y, gradient = jax.vjp(conv, w)
    g = draw(*y.shape).astype(dtype)
    monkeypatch.setattr(module, "CACHE", x.size)  # of copies, which are more
    found = jax.jit(lambda: weight_product(x, g, window))
    assert "while" in found.lower().as_text()
    assert found().dtype == dtype
    assert relative_error(*(np.asarray(a, np.float32) for a in (found(), gradient(g)[0]))) < bound
    if dtype == "float32":
        squares = lambda product: lambda g: jnp.sum(product(g) ** 2)
        second = jax.grad(squares(lambda g: weight_product(x, g, window)))(g)
        assert relative_error(second, jax.grad(squares(lambda g: gradient(g)[0]))(g)) < 1e-5


@pytest.mark.parametrize("cache", [0, 2**23])
def test_weight_gradients_of_no_images_are_zeros(monkeypatch, cache):
    monkeypatch.setattr(module, "CACHE", cache)
    gradient = jax.grad(lambda w: jnp.sum(conv2d(jnp.zeros((0, 12, 8, 2)), w)))(draw(3, 3, 2, 3))
    assert gradient.shape == (3, 3, 2, 3) and not np.any(gradient)


def test_weight_gradients_of_as_many_images_as_a_caller_has_are_exported():
    w = draw(3, 3, 4, 4)
    (images,) = jax.export.symbolic_shape("b")
    x = jax.ShapeDtypeStruct((images, 8, 8, 4), jnp.float32)
    gradient = jax.jit(jax.grad(lambda w, x: jnp.sum(conv2d(x, w) ** 2)))
    exported = jax.export.export(gradient)(w, x)
    given = draw(3, 8, 8, 4)
    assert relative_error(exported.call(w, given), gradient(w, given)) < 1e-5


def test_accelerators_keep_their_convolutions():
    x, w = draw(2, 8, 8, 4), draw(3, 3, 4, 4)
    gradient = jax.jit(jax.grad(lambda x, w: jnp.sum(conv2d(x, w) ** 2), (0, 1)))
    found = gradient.trace(x, w).lower(lowering_platforms=("cuda",)).as_text()
    assert found.count("stablehlo.convolution") == 3
    assert "dot_general" not in found and "concatenate" not in found


def test_r1s_weight_gradient_is_not_dilated():
    x, w = draw(2, 9, 9, 4), draw(3, 3, 4, 4)

    def dilated(function) -> int:
        """Convolutions that put zeros between pixels; the input's gradient itself has to."""
        penalty = lambda w: jnp.sum(jax.grad(lambda x: jnp.sum(function(x, w) ** 2))(x) ** 2)
        return jax.jit(jax.grad(penalty)).lower(w).as_text().count("lhs_dilate = [2, 2]")

    plain = lambda x, w: lax.conv_general_dilated(x, w, (2, 2), "VALID", dimension_numbers=LAYOUT)
    assert dilated(lambda x, w: conv2d(x, w, 2, "VALID")) == 1 < dilated(plain)


@pytest.mark.parametrize("stride, blocks", [(1, False), (1, True), (2, False)])
def test_a_batch_over_8_devices_is_not_gathered(monkeypatch, stride, blocks):
    if blocks:
        monkeypatch.setattr(module, "CACHE", 0)
    mesh = jax.make_mesh((8,), ("data",))
    split, whole = (NamedSharding(mesh, PartitionSpec(*axes)) for axes in (("data",), ()))
    x, w = draw(8, 8, 8, 4), draw(3, 3, 4, 4)
    gradient = jax.jit(
        jax.grad(lambda x, w: jnp.sum(conv2d(x, w, stride) ** 2), (0, 1)), in_shardings=(split, whole),
        out_shardings=(split, whole),
    )  # fmt: skip
    text = gradient.lower(x, w).compile().as_text()
    inner, outer = text.split("ENTRY")
    assert "all-reduce(" in outer and "all-reduce(" not in inner and ("while(" in outer) == blocks
    assert "all-gather" not in text and "conditional" not in text
    plain = jax.grad(lambda x, w: jnp.sum(conv2d(x, w, stride) ** 2), (0, 1))(x, w)
    for a, b in zip(gradient(x, w), plain, strict=True):
        assert relative_error(a, b) < 1e-5
