"""The reader of heads: what it reads, in which units, its file, and that the shipped one reads as well as it says."""

import functools
import logging

import jax
import numpy as np
import pytest

from smoothswap_jax.data.rendered import render_many
from smoothswap_jax.evaluation.judges import head_reader, make_heads_judge
from smoothswap_jax.evaluation.judges.head_reader import GROUPS, SIDE, HeadReader, Shape, kept, kept_names
from smoothswap_jax.evaluation.judges.registry import load_judge
from smoothswap_jax.evaluation.measures.heads import way_of_shape
from smoothswap_jax.faces.photos import to_float, to_uint8
from smoothswap_jax.models.judges.heads import HeadNetwork
from smoothswap_jax.runtime import sharding
from smoothswap_jax.synthetic import heads, world

NAMES = {"shape": ("1: sex", "2: nose-hump"), "expression": ("jawOpen",), "pose": ("yaw", "pitch", "roll")}


@pytest.fixture
def small_network(monkeypatch):
    small = functools.partial(HeadNetwork, width=4)
    monkeypatch.setattr(head_reader, "HeadNetwork", small)
    monkeypatch.setattr(make_heads_judge, "HeadNetwork", small)
    return small


@pytest.fixture
def reader(small_network) -> HeadReader:
    """Weights by chance; all but the second component of shape and the roll are read."""
    targets = sum(len(names) for names in NAMES.values())
    rng = np.random.default_rng(0)
    shapes = jax.eval_shape(small_network(targets).init, jax.random.key(0), np.zeros((1, SIDE, SIDE, 3), "f"))
    drawn = lambda leaf: (0.1 * rng.normal(size=leaf.shape)).astype(np.float16).astype(np.float32)
    variables = jax.tree.map(drawn, shapes)
    shape = Shape(rng.normal(size=len(heads.SHAPE_NAMES)), rng.normal(size=(len(heads.SHAPE_NAMES), 2)).astype("f"))
    mean, deviation = np.array([0.0, 1.0, 0.2, 3.0, 2.0, 1.0]), np.array([2.0, 1.0, 0.1, 20.0, 9.0, 2.0])
    return HeadReader(
        variables,
        shape,
        NAMES,
        mean.astype("f").astype(float),
        deviation.astype("f").astype(float),
        np.array([0.75, 0.625, 0.75, 1.0, 1.0, 0.25]),
        np.array([0.75, 0.375, 0.625, 1.0, 1.0, 0.75]),
        "nobody",
    )


def test_parameters_are_read_that_are_read_well_in_sharp_and_in_soft_pictures(reader):
    np.testing.assert_array_equal(kept(reader), [True, False, True, True, True, False])
    assert kept_names(reader) == {"shape": ("1: sex",), "expression": ("jawOpen",), "pose": ("yaw", "pitch")}


def test_readings_are_the_outputs_in_mm_standard_deviations_and_degrees(reader):
    images = np.random.default_rng(1).integers(0, 256, (3, SIDE, SIDE, 3)).astype(np.uint8)
    outputs = np.asarray(head_reader.predict(reader.variables, to_float(images)))
    found = head_reader.make_read(reader, sharding.make_mesh(1))(images)
    sex, jaw, yaw, pitch = outputs[:, [0, 2, 3, 4]].T
    np.testing.assert_allclose(found, np.stack([2 * sex, jaw, 3 + 20 * yaw, 2 + 9 * pitch], axis=1), atol=1e-4)


def test_pictures_of_other_sizes_are_averaged_down_or_enlarged(reader):
    read = lambda images: np.asarray(head_reader.predict(reader.variables, images))
    large = np.random.default_rng(1).uniform(-1, 1, (2, 2 * SIDE, 2 * SIDE, 3)).astype("f")
    corners = [large[:, y::2, x::2] for y in (0, 1) for x in (0, 1)]
    np.testing.assert_allclose(read(large), read(np.mean(corners, axis=0)), atol=1e-5)
    plain = to_float(np.random.default_rng(2).integers(0, 256, (2, 1, 1, 3)).astype(np.uint8))
    flat = lambda size: (
        np.broadcast_to(plain, (2, size, size, 3)) + np.float32(0.1) * (np.arange(size) < size / 2)[:, None]
    )
    for size in (SIDE // 2, SIDE * 3 // 2):
        np.testing.assert_allclose(read(flat(size)), read(flat(SIDE)), atol=0.1)


def test_brightness_and_contrast_make_no_difference(reader):
    images = np.random.default_rng(1).uniform(-0.4, 0.4, (2, SIDE, SIDE, 3)).astype("f")
    expected = head_reader.predict(reader.variables, images)
    np.testing.assert_allclose(head_reader.predict(reader.variables, 2 * images + 0.1), expected, atol=0.02)


def test_a_file_gives_the_reader_that_was_written(reader):
    data = head_reader.to_bytes(reader)
    back = head_reader.from_bytes(data)
    assert head_reader.to_bytes(back) == data
    jax.tree.map(np.testing.assert_array_equal, back, reader)
    assert (back.names, back.about) == (NAMES, "nobody")


def test_a_file_of_another_head_model_is_refused(reader, monkeypatch):
    data = head_reader.to_bytes(reader)
    monkeypatch.setattr(heads, "SHAPE_NAMES", (*heads.SHAPE_NAMES[:-1], "third-eye"))
    with pytest.raises(ValueError, match=r"shape_names .* wanted a judge of this head model"):
        head_reader.from_bytes(data)


# --- what is read -----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def people():
    return world.sample_photos(jax.random.key(1), world.sample_identity(jax.random.key(0), 1000))


@pytest.fixture(scope="module")
def components(people):
    return make_heads_judge.shape_components(people.identity, 80)


def test_distances_of_shapes_are_distances_of_points_in_mm(people, components):
    """All but a hundredth of them, which the components left out would add; the first explain the most."""
    shape, _ = components
    some = world.Factors(*(values[:8] for values in people))
    rows = head_reader.parameters(shape, some)[:, : shape.matrix.shape[1]]
    still = np.zeros((8, len(heads.EXPRESSION_UNITS)), "f"), np.zeros((8, 2), "f")
    points = heads.deform(heads.load_heads(), some.identity[:, : len(heads.SHAPE_NAMES)], *still)
    points = 100 * np.asarray(points)[:, make_heads_judge.face_points()]
    apart = np.sqrt(np.square(points[1:] - points[0]).sum(2).mean(1))
    np.testing.assert_allclose(np.linalg.norm(rows[1:] - rows[0], axis=1), apart, rtol=0.01)
    everyone = head_reader.parameters(shape, people)[:, : shape.matrix.shape[1]]
    covariance = np.cov(everyone.T)
    assert np.all(np.diff(np.diag(covariance)) < 0)
    assert np.abs(covariance - np.diag(np.diag(covariance))).max() < 1e-3 * covariance.max()


def test_a_component_grows_with_what_names_it(people, components):
    shape, names = components
    count = len(names)
    rows = head_reader.parameters(shape, people)[:, :count]
    coefficients = np.asarray(people.identity)[:, : len(heads.SHAPE_NAMES)]
    correlations = np.corrcoef(rows, coefficients, rowvar=False)[:count, count:]
    for i, (name, of_all) in enumerate(zip(names, correlations, strict=True)):
        assert name == f"{i + 1}: {heads.SHAPE_NAMES[int(of_all.argmax())]}"
        assert of_all.max() == np.abs(of_all).max()


def test_mixed_people_are_three_people_each(people):
    """So that neither colours nor hair say anything about the head, as they do among people."""
    mixed = make_heads_judge.mixed_people(people)
    before, after = (
        dict(zip(world.FIELDS["identity"], np.asarray(of.identity).T, strict=True)) for of in (people, mixed)
    )
    style = np.asarray(people.style)
    np.testing.assert_array_equal(mixed.style, style)
    of_sex = lambda values: np.abs(np.corrcoef(values["sex"], style, rowvar=False)[0, 1:]).max()
    alike = lambda values: abs(np.corrcoef(values["ancestry-african"], values["melanin"])[0, 1])
    assert alike(before) > 0.7 and alike(after) < 0.1
    assert of_sex(before) > 0.4 and of_sex(after) < 0.15
    for values in (sorted(before[name]) for name in ("sex", "melanin")):
        assert values in (sorted(after["sex"]), sorted(after["melanin"]))


def test_mirror_images_of_people_show_their_landmarks_mirrored(people):
    some = world.Factors(*(np.asarray(values[:4]) for values in people))
    found = np.array(world.all_landmarks(make_heads_judge.mirrored(some), SIDE))
    other = {"left": "right", "right": "left"}
    opposite = [
        f"{other[side]}_{rest}"
        if (side := name.partition("_")[0]) in other and (rest := name.partition("_")[2])
        else name
        for name in heads.LANDMARK_NAMES
    ]
    found = found[:, [heads.LANDMARK_NAMES.index(name) for name in opposite]]
    found[..., 0] = SIDE - found[..., 0]
    np.testing.assert_allclose(found, world.all_landmarks(some, SIDE), atol=0.2)


# --- the fit ----------------------------------------------------------------------------------------------------


def test_explained_is_one_for_the_truth_and_nothing_for_the_mean():
    wanted = np.random.default_rng(0).normal(size=(50, 2))
    found = np.stack([wanted[:, 0], np.full(50, wanted[:, 1].mean())], axis=1)
    np.testing.assert_allclose(head_reader.explained(found, wanted), [1, 0], atol=1e-12)
    assert head_reader.explained(np.ones((3, 1)), np.zeros((3, 1))) == 0


def test_the_fit_learns_where_a_spot_is_and_that_mirrors_turn_it(small_network, caplog):
    rng = np.random.default_rng(0)
    place = rng.integers(8, SIDE - 8, (256, 2))
    images = np.zeros((256, SIDE, SIDE, 3), np.uint8)
    for image, (x, y) in zip(images, place, strict=True):
        image[y - 6 : y + 6, x - 6 : x + 6] = 255
    scaled = (place - SIDE / 2) / 14
    wanted = np.stack([scaled, scaled * [-1, 1]]).astype("f")
    caplog.set_level(logging.INFO)
    variables = make_heads_judge.fitted(images, wanted, [1, 1], steps=200, batch=16, rate=3e-3, seed=0)
    predict = functools.partial(head_reader.predict, variables)
    assert head_reader.explained(np.asarray(predict(to_float(images))), scaled).min() > 0.6
    assert "step 200 of 200" in caplog.text


# --- the reader that comes with the package ---------------------------------------------------------------------


def test_the_shipped_reader_is_small_and_whole():
    assert head_reader.FILE.stat().st_size <= 2e6
    reader = head_reader.load_reader()
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(reader.variables))
    assert reader.names["expression"] == world.FIELDS["expression"] and reader.names["pose"] == world.FIELDS["pose"]
    count = sum(len(names) for names in reader.names.values())
    for values in (reader.mean, reader.deviation, reader.r2, reader.r2_soft):
        assert values.shape == (count,) and np.isfinite(values).all()
    assert all(kept_names(reader)[group] for group in GROUPS)


def test_the_judge_names_its_features():
    judge = load_judge("mine=heads", sharding.make_mesh(1))
    found = judge.measure(np.zeros((2, 32, 32, 3), np.uint8), np.zeros((2, 5, 2)))
    assert found.shape == (2, sum(len(judge.parts[group]) for group in GROUPS)) and np.isfinite(found).all()
    assert (judge.name, judge.role) == ("mine", "heads")
    assert judge.facts["source"].startswith("fitted to ") and len(judge.facts["params sha256"]) == 64


@pytest.fixture(scope="module")
def strangers():
    """Factors, as the shipped reader was fitted to, of people of another seed."""
    return make_heads_judge.mixed_people(world.sample_factors(jax.random.key(77), 600))


@pytest.mark.slow
def test_the_shipped_reader_reads_strangers_as_well_as_it_says(strangers):
    reader = head_reader.load_reader()
    images = to_uint8(render_many(strangers, 2 * SIDE))
    found = head_reader.make_read(reader, sharding.make_mesh(1))(images)
    wanted = head_reader.parameters(reader.shape, strangers)
    units = slice(len(reader.names["shape"]), -len(reader.names["pose"]))
    wanted[:, units] = (wanted[:, units] - reader.mean[units]) / reader.deviation[units]
    r2 = head_reader.explained(found, wanted[:, kept(reader)])
    assert np.abs(r2 - reader.r2[kept(reader)]).mean() < 0.03
    assert np.all(r2 > reader.r2[kept(reader)] - 0.2)


@pytest.mark.slow
def test_recolouring_moves_no_shape(strangers):
    """Swaps of skin, brows and eyes alone go nowhere; those of the head alone go all the way."""
    reader = head_reader.load_reader()
    read = head_reader.make_read(reader, sharding.make_mesh(1))
    target, source = (
        world.Factors(*(values[rows] for values in strangers)) for rows in (slice(0, 200), slice(200, 400))
    )
    first = len(heads.SHAPE_NAMES)
    join = lambda head, skin: np.concatenate([head.identity[:, :first], skin.identity[:, first:]], axis=1)
    truth, recoloured, reshaped = (
        target._replace(identity=identity) for identity in (source.identity, join(target, source), join(source, target))
    )
    shapes = [
        read(to_uint8(render_many(one, SIDE)))[:, : len(kept_names(reader)["shape"])]
        for one in (target, truth, recoloured, reshaped)
    ]
    from_target, goal, *swaps = shapes
    ways = [way_of_shape(swap, from_target, goal).mean() for swap in swaps]
    np.testing.assert_allclose(ways, [0, 1], atol=0.1)
