"""Hair styles, beards, glasses, make-up and clothes, by who wears them."""

import jax
import numpy as np
import pytest

from smoothswap_jax.synthetic import styles
from smoothswap_jax.synthetic.population import IDENTITY_FIELDS, named, sample_identity, years_of
from smoothswap_jax.synthetic.styles import BEARD_FIELDS, STYLE_FIELDS, sample_style

pytestmark = pytest.mark.slow  # compiling takes most of a minute

PHOTOS = 4000


@pytest.fixture(scope="module")
def people():
    return named(sample_identity(jax.random.key(0), PHOTOS), IDENTITY_FIELDS)


@pytest.fixture(scope="module")
def worn(people) -> dict[str, np.ndarray]:
    return {name: np.asarray(value) for name, value in sample_style(jax.random.key(1), people).items()}


@pytest.fixture(scope="module")
def men(people) -> np.ndarray:
    return np.asarray(people["sex"] > 0)


def test_every_field_is_drawn(worn):
    assert set(worn) == set(STYLE_FIELDS)
    for name, value in worn.items():
        assert value.shape == (PHOTOS,) and np.isfinite(value).all() and value.std() > 0, name


def test_odds_of_women_and_men_are_shares():
    for column in (0, 1):
        assert sum(style[column] for style in styles.HAIR_STYLES.values()) == pytest.approx(1.0, abs=0.03)
    assert sum(odds for odds, *_ in styles.BEARDS.values()) == pytest.approx(1.0)
    assert styles.FRAME_ODDS.sum() == pytest.approx(1.0)


def test_women_mostly_have_longer_hair(worn, men):
    assert np.median(worn["hair_length"][~men]) > 1.8 > 1.3 > np.median(worn["hair_length"][men])
    assert (worn["hair_length"][men] > 1.8).mean() > 0.05, "some men have long hair"
    assert (worn["hair_length"][~men] < 1.4).mean() > 0.05, "some women have short hair"


def test_hairlines_recede_with_the_age_of_men(worn, men, people):
    years = np.asarray(years_of(people))
    assert worn["hairline"][men & (years > 60)].mean() > worn["hairline"][men & (years < 35)].mean() + 0.15
    assert worn["hairline"][~men].max() < 0.1
    assert (worn["hairline"][men & (years > 60)] > 0.5).mean() > 0.1


def test_tight_curls_go_with_ancestry(worn, people):
    african, asian = (np.asarray(people[f"ancestry-{name}"]) > 0.8 for name in ("african", "asian"))
    assert worn["curl"][african].mean() > 0.5 and worn["curl"][asian].mean() < 0.2


def test_only_men_have_beards_and_half_of_them(worn, men):
    for name in BEARD_FIELDS:
        assert (worn[name][~men] == 0).all()
    assert 0.3 < (worn["beard_density"][men] > 0.1).mean() < 0.6


def test_a_fifth_wears_glasses_and_more_of_the_old(worn, people):
    on, years = worn["glasses"], np.asarray(years_of(people))
    assert set(np.unique(on)) == {0.0, 1.0}
    assert 0.17 < on.mean() < 0.25
    assert on[years > 60].mean() > on[years < 30].mean()
    assert ((worn["lens_tint"] > 0.3) & (on > 0)).mean() < 0.03, "few are dark"


def test_make_up_is_on_women(worn, men):
    for name in ("lipstick", "eyeshadow", "eyeliner", "blush"):
        assert (worn[name][men] == 0).all()
        assert 0.25 < (worn[name][~men] > 0.05).mean() < 0.5, name


def test_clothes_are_mostly_muted(worn):
    colour = np.clip(np.stack([worn[f"cloth_{name}"] for name in ("red", "green", "blue")]), 0.01, 0.8)
    contrast = colour.max(axis=0) / colour.min(axis=0)
    assert np.median(contrast) < 2.2 and np.percentile(contrast, 95) > 2.5
    luminance = np.array([0.2126, 0.7152, 0.0722]) @ colour
    assert np.percentile(luminance, 10) < 0.03 and np.percentile(luminance, 90) > 0.25


def test_style_belongs_to_the_photo_and_not_to_the_person(people):
    first, second = (sample_style(jax.random.key(seed), people) for seed in (2, 3))
    moved = np.abs(np.asarray(first["hair_length"] - second["hair_length"]))
    assert np.median(moved) > 0.1
