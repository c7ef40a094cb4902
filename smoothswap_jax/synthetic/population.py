"""What synthetic people are like: their ancestry, shapes, pigments and marks.

Values are physical: coefficients of the arrays of `heads.npz`, shares of 0 to 1, decimetres. An identity comes from a
model of people: ancestry, sex, age and weight first; shape, skin, hair and eyes given those. Skin, hair and irises come
in kinds that many share, so that colours alone do not tell who somebody is.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from smoothswap_jax.synthetic.heads import SHAPE_NAMES

Values = dict[str, Float[Array, "n"]]


# Standard deviation of the coefficient of a component of shape, by its area, were it not cut off at TRUNCATION.
# Set so that distances between landmarks of sampled heads vary as people's do, which test_population.py checks.
AREA_SPREADS = {
    "head": 0.18,
    "forehead": 0.14,
    "eyebrows": 0.45,
    "eye": 0.45,
    "nose": 0.36,
    "cheek": 0.50,
    "mouth": 0.30,
    "chin": 0.34,
    "ear": 0.35,
    "neck": 0.25,
    "asymmetry": 0.10,
}
# Components that differ from their area: those that move much, and those that look wrong where they meet others.
SPREADS = {
    "head-age": 0.30,
    "head-scale-depth": 0.25,
    "head-scale-horiz": 0.20,
    "head-scale-vert": 0.20,
    "head-oval": 0.16,
    "head-round": 0.16,
    "head-rectangular": 0.14,
    "head-square": 0.14,
    "head-triangular": 0.12,
    "head-invertedtriangular": 0.25,
    "head-diamond": 0.10,
    "forehead-nubian": 0.06,
    "forehead-scale-vert": 0.10,
    "forehead-temple": 0.40,
    "forehead-trans-forward": 0.20,
    "eye-bag-in": 0.25,
    "eye-corner2-up": 0.35,
    "eye-epicanthus-in": 0.25,
    "eye-push1-in": 0.25,
    "eye-push2-in": 0.25,
    "eye-scale": 0.28,
    "eye-trans-in": 0.28,
    "eye-trans-up": 0.30,
    # The inside of the mouth shows beside the nose where the cheeks sink deep.
    "cheek-inner": 0.30,
    "nose-scale-horiz": 0.30,
    "nose-scale-vert": 0.32,
    "nose-trans-forward": 0.08,
    "nose-width3": 0.24,
    "nose-nostrils-width": 0.26,
    "mouth-angles-up": 0.28,
    "mouth-trans-forward": 0.22,
    "mouth-trans-up": 0.28,
    "mouth-scale-horiz": 0.30,
    "chin-height": 0.22,
    "chin-jaw-drop": 0.40,
    "ear-trans-up": 0.15,
    "ear-wing": 0.30,
    "neck-scale-vert": 0.12,
    "asymmetry-eye-1": 0.06,
}
TRUNCATION = 2.0

ANCESTRIES = ("african", "asian", "caucasian")
# Mean and spread of the coefficient of sex; -.5 and .5 are MakeHuman's mean woman and man.
SEX_MEAN, SEX_SPREAD = 0.46, 0.10
YOUNGEST, OLDEST = 18.0, 80.0  # years; a coefficient of age of -.5 and of .5
# Share of the melanin and carotene of skin by ancestry; people of mixed ancestry lie between.
MELANIN_BY_ANCESTRY = np.array([0.83, 0.44, 0.22])
CAROTENE_BY_ANCESTRY = np.array([0.60, 0.78, 0.50])
MELANIN_SPREAD, CAROTENE_SPREAD = 0.06, 0.12

# Kinds of skin: melanin, haemoglobin, carotene, freckles. Their typology angles span all of Chardon's classes, from
# very light to dark.
SKIN_KINDS = np.array(
    [
        (0.10, 0.44, 0.45, 0.6),
        (0.20, 0.34, 0.55, 0.0),
        (0.28, 0.46, 0.55, 0.1),
        (0.38, 0.44, 0.60, 0.0),
        (0.40, 0.38, 0.90, 0.0),
        (0.49, 0.38, 0.80, 0.0),
        (0.57, 0.45, 0.60, 0.0),
        (0.66, 0.45, 0.60, 0.1),
        (0.75, 0.45, 0.60, 0.0),
        (0.84, 0.45, 0.60, 0.0),
        (0.93, 0.45, 0.60, 0.0),
    ]
)
# Kinds of hair: eumelanin, pheomelanin, and how many people of the three ancestries have it. Here and for irises the
# numbers are chosen for a varied world, not counted among people.
HAIR_KINDS = np.array(
    [
        (0.97, 0.30, 0.97, 0.92, 0.05),  # black
        (0.74, 0.42, 0.03, 0.08, 0.05),  # black brown
        (0.58, 0.46, 1e-3, 1e-3, 0.44),  # dark brown
        (0.48, 0.48, 1e-4, 1e-4, 0.24),  # brown
        (0.39, 0.46, 1e-5, 1e-5, 0.06),  # light brown
        (0.31, 0.43, 1e-5, 1e-5, 0.10),  # dark blond
        (0.20, 0.38, 1e-5, 1e-5, 0.05),  # blond
        (0.10, 0.76, 1e-5, 1e-5, 0.02),  # red
    ]
)
# Kinds of irises: melanin, and how many people of the three ancestries have it.
IRIS_KINDS = np.array(
    [
        (0.92, 0.98, 0.97, 0.06),  # dark brown
        (0.68, 0.02, 0.03, 0.44),  # brown
        (0.42, 1e-3, 1e-3, 0.04),  # hazel
        (0.27, 1e-4, 1e-4, 0.06),  # green
        (0.13, 1e-4, 1e-4, 0.06),  # grey
        (0.03, 1e-4, 1e-4, 0.34),  # blue
    ]
)
GREY_KINDS = np.array([0.0, 0.45])
WITHIN_KIND = 0.004  # spread of a pigment among people of one kind

MOLES = 3
MOLE_SHARE = 0.3  # of people who have each of the three
# Where moles may lie on the mean head, from the front: low and high of x, then of y; decimetres.
MOLE_AREAS = np.array(
    [(-0.45, 0.45, 0.32, 0.60), (-0.50, -0.24, -0.60, -0.16), (0.24, 0.50, -0.60, -0.16), (-0.25, 0.25, -0.98, -0.86)]
)

MARK_FIELDS = {
    "melanin": (0.0, 1.0),
    "haemoglobin": (0.0, 1.0),
    "carotene": (0.0, 1.0),
    "freckles": (0.0, 1.0),
    "skin_seed": (0.0, 1.0),  # which blotches and freckles
    **{
        f"mole_{i}_{part}": ends
        for i in range(1, MOLES + 1)
        for part, ends in (("x", (-0.5, 0.5)), ("y", (-1.0, 0.6)), ("size", (0.0, 0.03)))  # decimetres; size 0: none
    },
    "redness": (0.0, 1.0),
    "wrinkles": (0.0, 1.0),
    "lip_melanin": (0.0, 1.0),
    "brow_thickness": (0.03, 0.10),  # decimetres
    "brow_arch": (0.0, 0.07),  # height of its top over its inner end, decimetres
    "brow_length": (0.36, 0.48),  # decimetres
    "brow_height": (-0.03, 0.05),  # above its usual place, decimetres
    "brow_density": (0.0, 1.0),
    "iris_melanin": (0.0, 1.0),
    "iris_size": (0.40, 0.48),  # radius as a share of the eyeball's
    "limbal_ring": (0.0, 1.0),
    "hair_eumelanin": (0.0, 1.0),
    "hair_pheomelanin": (0.0, 1.0),
    "hair_grey": (0.0, 1.0),  # share of white hairs
}


def spread_of(component: str) -> float:
    """The standard deviation, before it is cut off, of a component of shape that is drawn by itself."""
    return SPREADS.get(component, AREA_SPREADS[component.split("-")[0]])


def _shape_fields() -> dict[str, tuple[float, float]]:
    macro = {f"ancestry-{name}": (0.0, 1.0) for name in ANCESTRIES}
    macro |= {"sex": (-0.8, 0.8), "age": (-0.5, 0.5), "weight": (-1.0, 1.0)}
    return {
        name: macro[name] if name in macro else (-TRUNCATION * spread_of(name), TRUNCATION * spread_of(name))
        for name in SHAPE_NAMES
    }


# Names of the entries of an identity and the bounds of their values; the first are those of `heads.npz`, in its order.
IDENTITY_FIELDS = _shape_fields() | MARK_FIELDS


def named(vectors: Float[Array, "n d"], fields: dict[str, tuple[float, float]]) -> Values:
    """The columns of vectors by their names in `fields`."""
    return dict(zip(fields, vectors.T, strict=True))


def stacked(values: Values, fields: dict[str, tuple[float, float]]) -> Float[Array, "n d"]:
    """Values as vectors in the order of `fields`, cut off at their bounds."""
    return jnp.stack([jnp.clip(values[name], *ends) for name, ends in fields.items()], axis=1)


def sample_identity(key: PRNGKeyArray, n: int) -> Float[Array, "n i"]:
    """n people, as vectors of IDENTITY_FIELDS."""
    keys = dict(zip(("basic", "shape", "pigments", "marks", "brows"), jax.random.split(key, 5), strict=True))
    values = _basic(keys["basic"], n)
    values |= _shape(keys["shape"], values)
    values |= _pigments(keys["pigments"], values)
    values |= _marks(keys["marks"], values)
    values |= _brows_and_eyes(keys["brows"], values)
    return stacked(values, IDENTITY_FIELDS)


def years_of(values: Values) -> Float[Array, "n"]:
    """Age in years."""
    return YOUNGEST + (OLDEST - YOUNGEST) * (values["age"] + 0.5)


def truncated(key: PRNGKeyArray, shape: int | tuple[int, ...]) -> Float[Array, "..."]:
    """Standard normal values, cut off at TRUNCATION."""
    return jax.random.truncated_normal(key, -TRUNCATION, TRUNCATION, shape if isinstance(shape, tuple) else (shape,))


def _basic(key: PRNGKeyArray, n: int) -> Values:
    """Ancestry, sex, age and weight: mostly of one ancestry, which are equally many, and more young than old."""
    corner, mixed, other, sex, sex_normal, age, weight = jax.random.split(key, 7)
    main = jax.nn.one_hot(jax.random.randint(corner, (n,), 0, len(ANCESTRIES)), len(ANCESTRIES))
    share = jax.random.beta(mixed, 0.5, 3.0, (n, 1))
    ancestry = (1 - share) * main + share * jax.random.dirichlet(other, jnp.ones(len(ANCESTRIES)), (n,))
    values = {f"ancestry-{name}": ancestry[:, i] for i, name in enumerate(ANCESTRIES)}
    values["sex"] = SEX_MEAN * jax.random.rademacher(sex, (n,)) + SEX_SPREAD * truncated(sex_normal, n)
    values["age"] = jax.random.beta(age, 1.2, 2.4, (n,)) - 0.5
    values["weight"] = 0.5 * truncated(weight, n)
    return values


def _shape(key: PRNGKeyArray, basic: Values) -> Values:
    """Components of shape around what ancestry, sex, age and weight make of the head."""
    names = [name for name in SHAPE_NAMES if name not in basic]
    normal = truncated(key, (len(basic["sex"]), len(names)))
    values = {name: spread_of(name) * normal[:, i] for i, name in enumerate(names)}
    # Heavy people have round faces; the bags below eyes and the neck's skin come with age.
    values["head-fat"] = 0.7 * values["head-fat"] + 0.2 * basic["weight"]
    values["neck-double"] = 0.7 * values["neck-double"] + 0.15 * basic["weight"] + 0.15 * basic["age"]
    return values


def _ancestry(values: Values) -> Float[Array, "n 3"]:
    return jnp.stack([values[f"ancestry-{name}"] for name in ANCESTRIES], axis=1)


def _log_odds(values: Values, kinds: np.ndarray) -> Float[Array, "n k"]:
    """Of kinds whose last three columns are shares by ancestry.

    Ancestries are mixed by the geometric mean: what is rare in one of them is rare in the mixture, as light eyes and
    hair are, which are recessive.
    """
    return _ancestry(values) @ jnp.log(kinds[:, -3:]).T


def _pigments(key: PRNGKeyArray, values: Values) -> Values:
    """Skin by ancestry; hair and irises by ancestry and skin, light ones only with light skin; grey hair by age."""
    keys = jax.random.split(key, 7)
    n = len(values["sex"])
    ancestry = _ancestry(values)
    wanted = ancestry @ MELANIN_BY_ANCESTRY + MELANIN_SPREAD * truncated(keys[0], n)
    yellow = ancestry @ CAROTENE_BY_ANCESTRY + CAROTENE_SPREAD * truncated(keys[1], n)
    fits = ((SKIN_KINDS[:, 0] - wanted[:, None]) / 0.03) ** 2 + ((SKIN_KINDS[:, 2] - yellow[:, None]) / 0.15) ** 2
    skin = jnp.asarray(SKIN_KINDS)[jax.random.categorical(keys[2], -fits / 2)]

    def light_ones(kinds: np.ndarray, cost: Float[Array, "n"]) -> Float[Array, "n k"]:
        return _log_odds(values, kinds) - cost[:, None] * (1 - kinds[:, 0])

    hair = jnp.asarray(HAIR_KINDS)[jax.random.categorical(keys[3], light_ones(HAIR_KINDS, 30.0 * (skin[:, 0] - 0.24)))]
    iris = jnp.asarray(IRIS_KINDS)[
        jax.random.categorical(keys[4], light_ones(IRIS_KINDS, 12.0 * (skin[:, 0] - 0.25) + 22.0 * (hair[:, 0] - 0.46)))
    ]
    # Of people of 60, half are grey
    turned = jax.nn.sigmoid((years_of(values)[:, None] - jnp.array([60.0])) / 3.0)
    grey = jnp.asarray(GREY_KINDS)[(jax.random.uniform(keys[5], (n, 1)) < turned).sum(axis=1)]
    within = WITHIN_KIND * truncated(keys[6], (n, 6))
    # Red hair comes with freckles.
    freckles = jnp.where(skin[:, 0] < 0.3, jnp.maximum(skin[:, 3], 0.8 * (hair[:, 1] > 0.5)), skin[:, 3])
    means = {
        "melanin": skin[:, 0],
        "haemoglobin": skin[:, 1],
        "carotene": skin[:, 2],
        "hair_eumelanin": hair[:, 0],
        "hair_pheomelanin": hair[:, 1],
        "iris_melanin": iris[:, 0],
    }
    return {name: mean + within[:, i] for i, (name, mean) in enumerate(means.items())} | {
        "hair_grey": grey,
        "freckles": freckles,
    }


def _marks(key: PRNGKeyArray, values: Values) -> Values:
    """Moles, wrinkles and redness."""
    has, area, place, size, wrinkles, redness, lips, seed = jax.random.split(key, 8)
    n = len(values["sex"])
    shown = jax.random.bernoulli(has, MOLE_SHARE, (n, MOLES))
    box = jnp.asarray(MOLE_AREAS)[jax.random.randint(area, (n, MOLES), 0, len(MOLE_AREAS))]
    at = box[..., 0::2] + jax.random.uniform(place, (n, MOLES, 2)) * (box[..., 1::2] - box[..., 0::2])
    radius = jnp.where(shown, jax.random.uniform(size, (n, MOLES), minval=0.012, maxval=0.028), 0.0)
    moles: Values = {}
    for i in range(MOLES):
        moles |= {f"mole_{i + 1}_x": at[:, i, 0], f"mole_{i + 1}_y": at[:, i, 1], f"mole_{i + 1}_size": radius[:, i]}
    aged = jnp.clip((years_of(values) - 28.0) / 45.0, 0.0, 1.0)
    pale = 1.0 - values["melanin"]
    return moles | {
        "skin_seed": jax.random.uniform(seed, (n,)),
        "wrinkles": aged * (0.85 + 0.15 * truncated(wrinkles, n)),
        "redness": pale * jax.random.beta(redness, 1.5, 3.0, (n,)),
        "lip_melanin": 0.5 + 0.2 * truncated(lips, n),
    }


def _brows_and_eyes(key: PRNGKeyArray, values: Values) -> Values:
    """Brows, thicker of men and thinner of the old, and what is seen of an iris besides its colour."""
    normal = truncated(key, (len(values["sex"]), 7)).T
    return {
        "brow_thickness": 0.060 + 0.014 * values["sex"] + 0.010 * normal[0],
        "brow_arch": 0.033 - 0.016 * values["sex"] + 0.012 * normal[1],
        "brow_length": 0.42 + 0.025 * normal[2],
        "brow_height": 0.008 - 0.010 * values["sex"] + 0.015 * normal[3],
        "brow_density": 0.65 + 0.15 * values["sex"] - 0.2 * jnp.clip(values["age"], 0.0, 0.5) + 0.12 * normal[4],
        "iris_size": 0.44 + 0.015 * normal[5],
        "limbal_ring": 0.5 - 0.5 * values["age"] + 0.15 * normal[6],
    }
