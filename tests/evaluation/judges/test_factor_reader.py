"""The reader of the synthetic world's factors, against the factors that its images were rendered from."""

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from smoothswap_jax.data.rendered import synthetic_factors
from smoothswap_jax.evaluation.judges import factor_reader
from smoothswap_jax.evaluation.judges.factor_reader import FactorReader, group_distance, groups, pose_degrees, read
from smoothswap_jax.faces.photos import to_uint8
from smoothswap_jax.synthetic import world
from smoothswap_jax.synthetic.world import render_many

SIZE, SPREAD, PEOPLE, HELD_OUT, JUDGED_SEED = 16, 0.25, 640, 192, 0  # rendering is all of the time
JUDGED = 128


@pytest.fixture(scope="module")
def reader() -> FactorReader:
    return factor_reader.make_reader(SIZE, SPREAD, 1, PEOPLE, None, JUDGED_SEED, HELD_OUT)


@pytest.fixture(scope="module")
def judged() -> world.Factors:
    """People of the judged world."""
    factors = synthetic_factors("test", JUDGED, 1, JUDGED_SEED, SPREAD)
    return world.Factors(*(np.asarray(values) for values in factors))


@pytest.fixture(scope="module")
def images(judged: world.Factors) -> np.ndarray:
    return _rendered(judged)


@pytest.fixture(scope="module")
def readings(reader: FactorReader, images: np.ndarray) -> np.ndarray:
    return read(reader, images)


def _rendered(factors: world.Factors) -> np.ndarray:
    return to_uint8(render_many(factors, SIZE))


def _others(values: np.ndarray) -> np.ndarray:
    """Those of the next person: all strangers, and a shuffle."""
    return np.roll(values, 1, axis=0)


def test_the_source_is_nearer_in_identity_than_strangers(reader, judged, readings) -> None:
    strangers = group_distance(reader, readings, _others(readings), "identity").mean()
    copied = group_distance(reader, readings, readings.copy(), "identity")
    np.testing.assert_array_equal(copied, 0)
    targets = world.Factors(*(_others(values) for values in judged))
    swaps = read(reader, _rendered(world.swap_truth(judged, targets)))
    to_source = group_distance(reader, swaps, readings, "identity").mean()
    to_target = group_distance(reader, swaps, _others(readings), "identity").mean()
    assert to_source < 0.6 * strangers
    assert to_target > 0.8 * strangers
    # The swaps have the light of their targets, whose distance is the other way round.
    kept = group_distance(reader, swaps, _others(readings), "light").mean()
    assert kept < 0.6 * group_distance(reader, swaps, readings, "light").mean()


def test_soft_images_are_near_and_shuffled_ones_at_chance(reader, images, readings) -> None:
    soft = read(reader, np.rint(gaussian_filter(images.astype(float), (0, 0.7, 0.7, 0))).astype(np.uint8))
    for group, columns in groups(reader).items():
        if columns.start == columns.stop:
            continue
        apart = [group_distance(reader, readings, np.roll(readings, k, 0), group).mean() for k in range(1, JUDGED)]
        strangers = np.mean(apart)
        assert group_distance(reader, soft, readings, group).mean() < 0.5 * strangers, group
        shuffled = group_distance(reader, soft, _others(readings), group).mean()
        assert shuffled / strangers == pytest.approx(1, abs=0.2), group


def test_distance_by_hand(reader) -> None:
    a = np.zeros((2, reader.matrix.shape[1]))
    b = a.copy()
    columns = groups(reader)["identity"]
    b[1, columns] = [3.0, 4.0, *([0.0] * (columns.stop - columns.start - 2))]
    expected = 5 / np.sqrt(columns.stop - columns.start)
    np.testing.assert_allclose(group_distance(reader, a, b, "identity"), [0, expected])
    np.testing.assert_array_equal(group_distance(reader, a, b, "light"), 0)


def test_pose_of_known_yaws(reader, judged) -> None:
    yaws = SPREAD * np.degrees(world.MAX_YAW) * np.array([-1, -0.5, 0, 0.5, 1])
    few = world.Factors(*(np.tile(values[:24], (5, 1)) for values in judged))
    few.pose[:, 0] = np.repeat(np.radians(yaws), 24)
    found = pose_degrees(reader, read(reader, _rendered(few)))[:, 0].reshape(5, 24).mean(axis=1)
    assert np.all(np.diff(found) > 1)
    np.testing.assert_allclose(found, yaws, atol=2.5)
    # Drawn towards zero by about R2, and never beyond the truth.
    slope = np.polyfit(yaws, found, 1)[0]
    assert slope == pytest.approx(reader.r2["pose"]["yaw"], abs=0.15)


def test_pose_is_nan_where_it_is_not_read(reader, readings) -> None:
    lost = [name not in reader.kept["pose"] for name in world.POSE_FIELDS]
    assert any(lost)  # a roll of less than a degree cannot be seen in 16 pixels
    np.testing.assert_array_equal(np.isnan(pose_degrees(reader, readings)).any(axis=0), lost)


def test_r2_holds_in_the_judged_world(reader, judged, readings) -> None:
    truth = {group: getattr(judged, group) / (1 if group == "identity" else SPREAD) for group in ("identity", "light")}
    for group, true in truth.items():
        columns = [factor_reader.FIELDS[group].index(name) for name in reader.kept[group]]
        missed = np.mean(np.square(readings[:, groups(reader)[group]] - true[:, columns]), axis=0)
        found = 1 - missed / np.mean(np.square(true[:, columns]), axis=0)
        np.testing.assert_allclose(found, [reader.r2[group][name] for name in reader.kept[group]], atol=0.2)
        assert min(reader.r2[group][name] for name in reader.kept[group]) > 0.4
        assert min(reader.r2_soft[group][name] for name in reader.kept[group]) > 0.4


def test_bytes_round_trip(reader, images) -> None:
    data = factor_reader.to_bytes(reader)
    back = factor_reader.from_bytes(data)
    for name, value in reader._asdict().items():
        np.testing.assert_equal(getattr(back, name), value, err_msg=name)
    assert factor_reader.to_bytes(back) == data
    np.testing.assert_array_equal(read(back, images), read(reader, images))


def test_bytes_of_another_world_are_refused(reader, monkeypatch) -> None:
    data = factor_reader.to_bytes(reader)
    monkeypatch.setitem(factor_reader.FIELDS, "light", (*world.LIGHT_FIELDS[:-1], "colour"))
    with pytest.raises(ValueError, match="another version"):
        factor_reader.from_bytes(data)


def test_label_names_what_is_read(reader) -> None:
    some = reader._replace(kept={**reader.kept, "expression": ("mouth_open", "gaze_x")})
    assert factor_reader.label(some, "expression") == "mouth_open, gaze_x (2 of 8 expression factors)"
    assert factor_reader.label(some._replace(kept={"pose": ()}), "pose") == "none (0 of 3 pose factors)"


def test_refuses_the_judged_seed() -> None:
    with pytest.raises(ValueError, match="judged world"):
        factor_reader.make_reader(SIZE, SPREAD, seed=3, people=8, judged_seed=3, held_out=8)


@pytest.mark.parametrize(
    "size, spread, text", [(20, 1.0, "size must be"), (48, 1.0, "size must be"), (16, 0.0, "spread must be")]
)
def test_refuses_other_worlds(size: int, spread: float, text: str) -> None:
    with pytest.raises(ValueError, match=text):
        factor_reader.make_reader(size, spread, people=8, held_out=8)


def test_refuses_what_it_cannot_read(reader, readings) -> None:
    for images in (np.zeros((1, 32, 32, 3), np.uint8), np.zeros((1, SIZE, SIZE, 3), np.float32)):
        with pytest.raises(ValueError, match="wanted images"):
            read(reader, images)
    with pytest.raises(ValueError, match="the same shape"):
        group_distance(reader, readings, readings[1:], "identity")
    blind = reader._replace(kept={**reader.kept, "light": ()})
    with pytest.raises(ValueError, match="light: the reader keeps none"):
        group_distance(blind, readings, readings, "light")


def test_large_pictures_are_read_by_their_block_means() -> None:
    rng = np.random.default_rng(0)
    small = rng.integers(0, 256, size=(2, 32, 32, 3), dtype=np.uint8)
    large = small.repeat(2, axis=1).repeat(2, axis=2)
    large[:, ::2, ::2] = 0  # a quarter of every block
    pooled = factor_reader._pooled(large, 32)
    np.testing.assert_allclose(pooled, small * 0.75 / 127.5 - 1, atol=1e-5)
