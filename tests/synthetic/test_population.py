"""The model of people: bounds, what hangs together, and that faces vary as people's do."""

import jax
import numpy as np
import pytest

from smoothswap_jax.synthetic import population
from smoothswap_jax.synthetic.pigments import hair_colour, iris_colour, skin_colour
from smoothswap_jax.synthetic.population import (
    ANCESTRIES,
    IDENTITY_FIELDS,
    SHAPE_NAMES,
    SKIN_KINDS,
    named,
    sample_identity,
    years_of,
)

pytestmark = pytest.mark.slow  # compiling takes most of a minute

PEOPLE = 2000
HEADS = np.load(population.__file__.replace("population.py", "heads.npz"))


@pytest.fixture(scope="module")
def crowd() -> dict[str, np.ndarray]:
    return {
        name: np.asarray(v) for name, v in named(sample_identity(jax.random.key(0), PEOPLE), IDENTITY_FIELDS).items()
    }


@pytest.fixture(scope="module")
def heads(crowd) -> np.ndarray:
    """Vertices [300, v, 3] of the first people."""
    shape = np.stack([crowd[name] for name in SHAPE_NAMES], axis=1)[:300]
    displacements = HEADS["shape"].astype(np.float32) * HEADS["shape_scale"][:, None, None]
    return HEADS["mean"] + np.tensordot(shape, displacements, 1)


def test_fields_begin_with_the_shape_in_the_order_of_the_asset():
    assert tuple(IDENTITY_FIELDS)[: len(SHAPE_NAMES)] == tuple(HEADS["shape_names"])


def test_spreads_are_of_components_that_exist():
    assert set(population.SPREADS) <= set(SHAPE_NAMES)


def test_the_key_decides():
    first, again, other = (sample_identity(jax.random.key(seed), 5) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    drawn = np.asarray(first != other).mean(axis=1)
    assert (drawn > 0.85).all(), "all but moles that neither has, grey hair and equal kinds differ"


def test_values_lie_within_their_bounds_and_seldom_at_them(crowd):
    """Were the bounds too narrow, people would gather at them."""
    for name, (low, high) in IDENTITY_FIELDS.items():
        assert (crowd[name] >= low - 1e-6).all() and (crowd[name] <= high + 1e-6).all(), name
        rests = name.endswith("size") or name in ("freckles", "hair_grey", "wrinkles")
        assert rests or ((crowd[name] <= low) | (crowd[name] >= high)).mean() < 0.03, name


def test_ancestries_are_shares_and_equally_frequent(crowd):
    shares = np.stack([crowd[f"ancestry-{name}"] for name in ANCESTRIES])
    np.testing.assert_allclose(shares.sum(axis=0), 1.0, atol=1e-5)
    np.testing.assert_allclose(shares.mean(axis=1), 1 / 3, atol=0.04)
    assert (shares.max(axis=0) > 0.8).mean() > 0.6, "most are mainly of one"
    assert (shares.max(axis=0) < 0.7).mean() > 0.05, "some are between"


def test_sex_is_bimodal_and_age_skewed_to_the_young(crowd):
    assert np.abs((crowd["sex"] > 0).mean() - 0.5) < 0.05
    assert (np.abs(crowd["sex"]) < 0.2).mean() < 0.02
    years = np.asarray(years_of(crowd))
    assert years.min() < 20 and years.max() > 70
    assert np.median(years) < 40 and (years > 60).mean() > 0.03


def test_skin_follows_ancestry(crowd):
    mean = {name: crowd["melanin"][crowd[f"ancestry-{name}"] > 0.9].mean() for name in ANCESTRIES}
    assert mean["caucasian"] < 0.3 < mean["asian"] < 0.6 < mean["african"]
    nearest = np.abs(crowd["melanin"][:, None] - SKIN_KINDS[:, 0]).min(axis=1)
    assert nearest.max() < 0.01, "everyone is of a kind"


def test_light_eyes_and_hair_come_with_light_skin_only(crowd):
    light_eyes, light_hair = crowd["iris_melanin"] < 0.35, crowd["hair_eumelanin"] < 0.45
    assert light_eyes.mean() > 0.05 and light_hair.mean() > 0.03
    for light in (light_eyes, light_hair):
        assert (crowd["melanin"][light] < 0.45).mean() > 0.98
        assert (crowd["ancestry-caucasian"][light] > 0.5).mean() > 0.95
    fair = crowd["hair_eumelanin"] < 0.35
    assert light_eyes[fair].mean() > 3 * light_eyes[(crowd["ancestry-caucasian"] > 0.8) & ~fair].mean()


def test_age_brings_grey_hair_and_wrinkles(crowd):
    years = np.asarray(years_of(crowd))
    grey = crowd["hair_grey"] > 0.2
    assert not grey[years < 40].any() and grey[years > 70].mean() > 0.9
    assert crowd["wrinkles"][years < 28].max() == 0
    assert crowd["wrinkles"][years > 65].min() > 0.4
    assert np.corrcoef(years, crowd["neck-double"])[0, 1] > 0.1


def test_men_have_thicker_and_flatter_brows(crowd):
    men = crowd["sex"] > 0
    for name, sign in (("brow_thickness", 1), ("brow_density", 1), ("brow_arch", -1), ("brow_height", -1)):
        of_men, of_women = crowd[name][men], crowd[name][~men]
        assert sign * (of_men.mean() - of_women.mean()) > 0.3 * of_women.std(), name


def test_heavy_people_are_fat_of_face(crowd):
    assert np.corrcoef(crowd["weight"], crowd["head-fat"])[0, 1] > 0.4


def test_moles_are_few_and_off_eyes_nose_and_mouth(crowd):
    size, x, y = (np.stack([crowd[f"mole_{i}_{part}"] for i in (1, 2, 3)]) for part in ("size", "x", "y"))
    count = (size > 0).sum(axis=0)
    assert 0.5 < count.mean() < 1.3 and (count == 0).mean() > 0.25 and (count == 3).any()
    eye = np.hypot(np.abs(x) - 0.29, y) < 0.15
    mouth = (np.abs(x) < 0.24) & (np.abs(y + 0.68) < 0.1)
    nose = (np.abs(x) < 0.2) & (y < 0.0) & (y > -0.45)
    assert not (eye | mouth | nose).any()


def colours_of(people: dict) -> np.ndarray:
    """Mean colours [n, 9] of skin, hair and irises."""
    skin = skin_colour(*(people[name] for name in ("melanin", "haemoglobin", "carotene")))
    hair = hair_colour(*(people[name] for name in ("hair_eumelanin", "hair_pheomelanin", "hair_grey")))
    return np.concatenate([skin, hair, iris_colour(people["iris_melanin"])], axis=1)


@pytest.mark.parametrize("compared", [np.log, lambda linear: np.maximum(linear, 0) ** (1 / 2.2)], ids=["log", "gamma"])
def test_colours_do_not_tell_who_somebody_is(compared):
    """The nearest of 500 people by colours that light changed by 5% is the right one in at most 15%."""
    found = []
    for seed in range(4):
        people = named(sample_identity(jax.random.key(seed), 500), IDENTITY_FIELDS)
        colours, noise = colours_of(people), np.random.default_rng(seed)
        probe, gallery = (compared(colours * np.exp(0.05 * noise.normal(size=colours.shape))) for _ in range(2))
        nearest = np.square(probe[:, None] - gallery).sum(axis=-1).argmin(axis=1)
        found.append((nearest == np.arange(500)).mean())
    assert 0.02 < np.mean(found) <= 0.15, found


def test_no_head_is_a_caricature(heads):
    """No vertex of the face lies farther than 3.2 cm from where the mean head has it, nor most farther than 1 cm."""
    away = np.linalg.norm(heads - HEADS["mean"], axis=-1)[:, HEADS["mean"][:, 1] > -1.15]
    assert away.max() < 0.32
    assert np.sqrt(np.square(away).mean(axis=1)).max() < 0.12


def test_people_differ_in_shape(heads):
    """The faces of any two heads are 2 mm apart in the mean (root of the mean square), of most 5 mm."""
    face = heads[:, (HEADS["mean"][:, 1] > -1.15) & (HEADS["mean"][:, 2] > -0.4)]
    flat = face.reshape(len(face), -1)
    apart = np.sqrt(np.maximum(((flat**2).sum(1)[:, None] + (flat**2).sum(1) - 2 * flat @ flat.T) / face.shape[1], 0))
    pairs = apart[np.triu_indices(len(flat), 1)]
    assert pairs.min() > 0.02 and np.median(pairs) > 0.05


def widths(heads: np.ndarray) -> dict[str, np.ndarray]:
    """Distances between landmarks, decimetres, of regions of the mean head."""
    mean, skin = HEADS["mean"], np.isin(np.arange(heads.shape[1]), HEADS["triangles"][HEADS["parts"] == 0])
    skin &= HEADS["masks"][list(HEADS["mask_names"]).index("ears")] < 50
    eye = [np.unique(HEADS["triangles"][HEADS["parts"] == part]) for part in (1, 2)]

    def across(y: float, within: float, behind: float, beside: float) -> np.ndarray:
        at = skin & (np.abs(mean[:, 1] - y) < within) & (mean[:, 2] > behind) & (np.abs(mean[:, 0]) < beside)
        return np.ptp(heads[:, at, 0], axis=1)

    def middle(y: float) -> np.ndarray:
        near = np.hypot(mean[:, 0], mean[:, 1] - y) - 0.2 * mean[:, 2] + 9 * ~skin
        return heads[:, near.argmin()]

    return {
        "face width": across(-0.2, 0.12, -0.75, 1.0),
        "jaw width": across(-0.72, 0.06, -0.7, 1.0),
        "nose width": across(-0.42, 0.05, 0.05, 0.2),
        "face height": np.linalg.norm(middle(0.02) - middle(-1.07), axis=1),
        "pupils": np.linalg.norm(heads[:, eye[0]].mean(axis=1) - heads[:, eye[1]].mean(axis=1), axis=1),
    }


def test_faces_vary_as_those_of_people(heads, crowd):
    """Standard deviations in per cent of the mean.

    Farkas 1994 has, within one group of people, about 3.5 for the width and 4.6 for the height of the face, 6 for the
    width of the jaw and of the nose. All groups together vary more.
    """
    measured = widths(heads)
    spread = {name: 100 * x.std() / x.mean() for name, x in measured.items()}
    limits = {"face width": (3.5, 6), "jaw width": (4, 8), "face height": (3.5, 6.5), "pupils": (4, 7.5)}
    for name, (low, high) in (limits | {"nose width": (7, 12)}).items():
        assert low < spread[name] < high, (name, spread)
    wide = {name: measured["nose width"][crowd[f"ancestry-{name}"][:300] > 0.8].mean() for name in ANCESTRIES}
    assert wide["african"] > 1.08 * wide["caucasian"]
