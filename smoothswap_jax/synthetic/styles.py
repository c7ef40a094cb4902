"""Hair styles, beards, glasses, make-up and clothes: what people wear, by odds that depend on who they are."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PRNGKeyArray

from smoothswap_jax.synthetic.population import Values, truncated, years_of


class HairStyle(NamedTuple):
    """Odds among women and men, and the middle of the values of the style; see HAIR_FIELDS."""

    women: float
    men: float
    length: float
    volume: float
    fringe: float = 0.0
    parting: float = 0.3
    parted: float = 0.3
    sides: float = 0.7
    quiff: float = 0.0
    curl: float = 0.15
    hairline: float = 0.0
    tied: float = 0.0


HAIR_STYLES = {
    "shaved": HairStyle(0.02, 0.09, 0.9, 0.03, sides=1.0),
    "crew": HairStyle(0.02, 0.26, 1.15, 0.11, sides=0.35, quiff=0.2),
    "short": HairStyle(0.08, 0.22, 1.2, 0.17, fringe=0.25, sides=0.6),
    "side_parted": HairStyle(0.07, 0.18, 1.2, 0.18, parting=0.75, parted=1.0, sides=0.45, quiff=0.4),
    "bob": HairStyle(0.17, 0.02, 1.95, 0.20, parting=0.4, parted=0.9, sides=0.9),
    "long": HairStyle(0.24, 0.04, 2.7, 0.18, parting=0.3, parted=1.0, sides=0.9),
    "fringe": HairStyle(0.10, 0.04, 2.2, 0.20, fringe=0.52, parting=0.1, sides=0.9),
    "curly": HairStyle(0.12, 0.06, 1.9, 0.34, fringe=0.2, parting=0.3, parted=0.5, sides=0.9, curl=0.75),
    "afro": HairStyle(0.02, 0.02, 1.2, 0.45, sides=1.0, curl=1.0),
    "tied": HairStyle(0.18, 0.02, 2.2, 0.08, parted=0.2, tied=1.0, sides=0.9),
    "balding": HairStyle(0.0, 0.05, 1.15, 0.08, sides=0.8, hairline=0.6),
}
HAIR_FIELDS = {
    "hair_length": (0.0, 2.9),  # decimetres from the top of the head down to the tips
    "hair_volume": (0.03, 0.6),  # decimetres
    "fringe": (0.0, 0.7),  # decimetres over the forehead
    "parting": (-1.0, 1.0),  # from right to left of the person
    "parted": (0.0, 1.0),  # 0 combed forwards, 1 sideways
    "sides": (0.1, 1.0),  # volume there as a share of that of the top
    "quiff": (0.0, 1.0),
    "curl": (0.0, 1.0),
    "hairline": (0.0, 1.0),  # 0 full, 1 bare but for sides and back
    "hair_tied": (0.0, 1.0),
    "strands": (0.0, 1.0),  # which strands of all that look alike
}
STYLE_SPREADS = {
    "hair_length": 0.12,
    "hair_volume": 0.03,
    "fringe": 0.06,
    "parted": 0.1,
    "sides": 0.08,
    "quiff": 0.12,
    "curl": 0.08,
}

# Beards of men: odds, length in decimetres, density, area (0 chin, 1 all), moustache.
BEARDS = {
    "shaven": (0.48, 0.0, 0.0, 0.5, 0.0),
    "stubble": (0.22, 0.02, 0.45, 0.85, 0.7),
    "moustache": (0.04, 0.06, 0.0, 0.1, 0.9),
    "goatee": (0.07, 0.08, 0.75, 0.1, 0.8),
    "short": (0.13, 0.10, 0.80, 0.9, 0.85),
    "full": (0.06, 0.35, 0.95, 1.0, 1.0),
}
BEARD_FIELDS = {
    "beard_length": (0.0, 0.6),  # decimetres
    "beard_density": (0.0, 1.0),
    "beard_area": (0.0, 1.0),
    "moustache": (0.0, 1.0),
}
GLASSES_SHARE = 0.2
# Colours of frames, linear RGB: black, tortoiseshell, silver, gold, red, blue, clear.
FRAMES = np.array(
    [
        (0.01, 0.01, 0.01),
        (0.09, 0.03, 0.01),
        (0.45, 0.45, 0.45),
        (0.50, 0.33, 0.12),
        (0.25, 0.01, 0.02),
        (0.01, 0.03, 0.15),
        (0.55, 0.48, 0.42),
    ]
)
FRAME_ODDS = np.array([0.42, 0.18, 0.16, 0.10, 0.04, 0.06, 0.04])
GLASSES_FIELDS = {
    "glasses": (0.0, 1.0),  # 1 worn
    "glasses_width": (0.42, 0.60),  # decimetres, of one lens
    "glasses_height": (0.28, 0.52),
    "glasses_round": (0.0, 1.0),
    "glasses_thickness": (0.014, 0.055),  # decimetres
    "glasses_red": (0.005, 0.6),
    "glasses_green": (0.005, 0.5),
    "glasses_blue": (0.005, 0.5),
    "lens_tint": (0.0, 1.0),
}
MAKE_UP_FIELDS = {
    "lipstick": (0.0, 1.0),
    "lipstick_hue": (0.0, 1.0),
    "eyeshadow": (0.0, 1.0),
    "eyeshadow_hue": (0.0, 1.0),
    "eyeliner": (0.0, 1.0),
    "blush": (0.0, 1.0),
}
MAKE_UP_SHARE = 0.55  # of women's photos
CLOTHES_FIELDS = {
    "collar": (-0.18, 0.30),  # decimetres above a crew neck
    "neckline_v": (0.0, 1.0),
    "shirt_collar": (0.0, 1.0),
    "cloth_red": (0.01, 0.8),  # linear light
    "cloth_green": (0.01, 0.8),
    "cloth_blue": (0.01, 0.8),
    "cloth_pattern": (0.0, 1.0),
    "cloth_scale": (0.06, 0.30),  # decimetres
}
STYLE_FIELDS = HAIR_FIELDS | BEARD_FIELDS | GLASSES_FIELDS | MAKE_UP_FIELDS | CLOTHES_FIELDS


def sample_style(key: PRNGKeyArray, person: Values) -> Values:
    """The values of STYLE_FIELDS in one photo of each person; `person` has the values of an identity by name."""
    hair, beard, glasses, make_up, clothes = jax.random.split(key, 5)
    values = _hair(hair, person) | _beard(beard, person) | _glasses(glasses, person)
    return values | _make_up(make_up, person) | _clothes(clothes, len(person["sex"]))


def _hair(key: PRNGKeyArray, person: Values) -> Values:
    """A style by sex, age and ancestry; a receding hairline with a man's age."""
    kind, side, strands, normal, receding = jax.random.split(key, 5)
    n, names = len(person["sex"]), list(HAIR_STYLES)
    table = jnp.array(list(HAIR_STYLES.values()))
    male = (person["sex"] > 0.0)[:, None].astype(jnp.float32)
    odds = (1.0 - male) * table[:, 0] + male * table[:, 1]
    old = jax.nn.sigmoid((years_of(person) - 50.0) / 6.0)[:, None]
    african, asian = (person[f"ancestry-{name}"][:, None] for name in ("african", "asian"))
    factor = jnp.ones_like(odds)
    for name, by in {
        "balding": 0.3 + 5.0 * old,
        "long": 1.0 - 0.6 * old,
        "afro": 0.1 + 9.0 * african,
        "curly": (0.6 + 1.5 * african) * (1.0 - 0.8 * asian),
        "shaved": 1.0 + 1.5 * african,
        "fringe": (1.0 + 1.0 * asian) * (1.0 - 0.8 * african),
    }.items():
        factor = factor.at[:, names.index(name)].set(by[:, 0])
    drawn = table[jax.random.categorical(kind, jnp.log(odds * factor))]
    style = dict(zip(HairStyle._fields, drawn.T, strict=True))
    own = dict(zip(STYLE_SPREADS, truncated(normal, (len(STYLE_SPREADS), n)), strict=True))
    bald = jnp.clip(jax.random.normal(receding, (n,)) * 0.18 + 0.35 * old[:, 0], 0.0, 0.5) * male[:, 0]
    middle = {
        "hair_length": style["length"],
        "hair_volume": style["volume"] * (1.0 + 0.25 * african[:, 0]),
        "fringe": style["fringe"],
        "parted": style["parted"],
        "sides": style["sides"],
        "quiff": style["quiff"],
        "curl": style["curl"] + 0.55 * african[:, 0] * (style["curl"] < 0.5) - 0.1 * asian[:, 0],
    }
    # What a style has none of stays none: a fringe, or volume of a shaved head.
    values = {name: value + STYLE_SPREADS[name] * own[name] * (value > 0.04) for name, value in middle.items()}
    return values | {
        "parting": style["parting"] * jax.random.rademacher(side, (n,)),
        "hairline": jnp.maximum(style["hairline"], bald),
        "hair_tied": style["tied"],
        "strands": jax.random.uniform(strands, (n,)),
    }


def _beard(key: PRNGKeyArray, person: Values) -> Values:
    """Beards of half of the men, shorter and thinner of the young and of Asians; of no woman."""
    kind, normal = jax.random.split(key)
    n = len(person["sex"])
    table = jnp.array(list(BEARDS.values()))
    light = 1.5 * person["ancestry-asian"] + jax.nn.sigmoid((24.0 - years_of(person)) / 2.0)
    log_odds = jnp.log(table[:, 0]) - light[:, None] * (table[:, 1] > 0.03)
    _, length, density, area, moustache = table[jax.random.categorical(kind, log_odds)].T
    own = 1.0 + 0.2 * truncated(normal, (4, n))
    grows = person["sex"] > 0.0
    values = {"beard_length": length, "beard_density": density, "beard_area": area, "moustache": moustache}
    return {
        name: jnp.where(grows, value * share, 0.0) for (name, value), share in zip(values.items(), own, strict=True)
    }


def _glasses(key: PRNGKeyArray, person: Values) -> Values:
    """Worn by a fifth, more by the old; frames of any shape that opticians sell; a few tinted."""
    worn, shape, colour, tint, tinted = jax.random.split(key, 5)
    n = len(person["sex"])
    share = GLASSES_SHARE * (0.85 + 0.6 * (person["age"] + 0.5))
    low, high = np.array([GLASSES_FIELDS[name] for name in list(GLASSES_FIELDS)[1:5]]).T[..., None]
    width, height, round_, thickness = low + (high - low) * jax.random.uniform(shape, (4, n))
    frame = jnp.asarray(FRAMES)[jax.random.categorical(colour, jnp.log(FRAME_ODDS), shape=(n,))]
    return {
        "glasses": jax.random.bernoulli(worn, share).astype(jnp.float32),
        "glasses_width": width,
        "glasses_height": height,
        "glasses_round": round_,
        "glasses_thickness": thickness,
        "glasses_red": frame[:, 0],
        "glasses_green": frame[:, 1],
        "glasses_blue": frame[:, 2],
        "lens_tint": jnp.where(jax.random.bernoulli(tinted, 0.1, (n,)), jax.random.uniform(tint, (n,)), 0.0),
    }


def _make_up(key: PRNGKeyArray, person: Values) -> Values:
    """Of half of the women, each part for itself."""
    worn, parts, strength, hue = jax.random.split(key, 4)
    n = len(person["sex"])
    made_up = jax.random.bernoulli(worn, MAKE_UP_SHARE, (n,)) & (person["sex"] < 0.0)
    each = jax.random.bernoulli(parts, 0.7, (4, n)) & made_up
    lips, shadow, liner, blush = each * jax.random.beta(strength, 1.5, 2.0, (4, n))
    lip_hue, shadow_hue = jax.random.uniform(hue, (2, n))
    values = {"lipstick": lips, "lipstick_hue": lip_hue, "eyeshadow": shadow, "eyeshadow_hue": shadow_hue}
    return values | {"eyeliner": liner, "blush": blush}


def _clothes(key: PRNGKeyArray, n: int) -> Values:
    """Mostly muted colours: dark, grey and blue are what people wear; a third with a pattern, a third with a collar."""
    hue, saturation, lightness, cut, depth, pattern, scale = jax.random.split(key, 7)
    # Three cosines a third of a turn apart run through the hues; more blue than other colours.
    angle = 2.0 * jnp.pi * jax.random.uniform(hue, (n,)) + 0.5
    vivid = jax.random.beta(saturation, 1.0, 2.5, (n, 1))
    tint = (
        1.0
        + vivid * jnp.cos(angle[:, None] - 2.0 * jnp.pi * jnp.arange(3) / 3.0)
        + 0.15 * vivid * jnp.array([-1, 0, 1])
    )
    colour = jnp.exp(jnp.log(0.012) + jnp.log(50.0) * jax.random.beta(lightness, 1.1, 1.1, (n, 1))) * tint
    kind = jax.random.uniform(cut, (n,))
    values = {f"cloth_{name}": colour[:, i] for i, name in enumerate(("red", "green", "blue"))}
    return values | {
        "collar": 0.09 * truncated(depth, n),
        "neckline_v": jnp.where((kind > 0.3) & (kind < 0.5), kind * 2.0, 0.0),
        "shirt_collar": jnp.where(kind < 0.3, 1.0, 0.0),
        "cloth_pattern": jax.random.uniform(pattern, (n,), minval=-0.6, maxval=1.0),
        "cloth_scale": jax.random.uniform(scale, (n,), minval=0.06, maxval=0.30),
    }
