"""Colours of skin, lips, hair and irises from the pigments in them; linear RGB (sRGB primaries, white D65).

Skin is two layers that scatter and absorb, as in Krishnaswamy and Baranoski 2004 and Donner and Jensen 2006, here after
Kubelka and Munk: a thin epidermis with melanin over a dermis without end, with blood and carotene. `skin_reflectance`
computes that at 31 wavelengths. `skin_colour` is a cheap fit to its colours, made when this module is imported, because
it is evaluated for every sample of a picture.
"""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

# Wavelength in nanometres; molar extinction of oxygenated and of deoxygenated haemoglobin, 1/(cm mol/l) (S. Prahl's
# table, omlc.org/spectra/hemoglobin); relative power of the daylight D65 (CIE 15).
SPECTRA = np.array(
    [
        (400, 266232, 223296, 82.75),
        (410, 466840, 303956, 91.49),
        (420, 480360, 407560, 93.43),
        (430, 246072, 528600, 86.68),
        (440, 102580, 413280, 104.86),
        (450, 62816, 103292, 117.01),
        (460, 44480, 23388.8, 117.81),
        (470, 33209.2, 16156.4, 114.86),
        (480, 26629.2, 14550, 115.92),
        (490, 23684.4, 16684, 108.81),
        (500, 20932.8, 20862, 109.35),
        (510, 20035.2, 25773.6, 107.8),
        (520, 24202.4, 31589.6, 104.79),
        (530, 39956.8, 39036.4, 107.69),
        (540, 53236, 46592, 104.41),
        (550, 43016, 53412, 104.05),
        (560, 32613.2, 53788, 100),
        (570, 44496, 45072, 96.33),
        (580, 50104, 37020, 95.79),
        (590, 14400.8, 28324.4, 88.69),
        (600, 3200, 14677.2, 90.01),
        (610, 1506, 9443.6, 89.6),
        (620, 942, 6509.6, 87.7),
        (630, 610, 5148.8, 83.29),
        (640, 442, 4345.2, 83.7),
        (650, 368, 3750.12, 80.03),
        (660, 319.6, 3226.56, 80.21),
        (670, 294, 2795.12, 82.28),
        (680, 277.6, 2407.92, 78.28),
        (690, 276, 2051.96, 69.72),
        (700, 290, 1794.28, 71.61),
    ]
)
WAVELENGTHS, OXYGENATED, DEOXYGENATED, DAYLIGHT = SPECTRA.T
# From CIE XYZ to linear RGB (IEC 61966-2-1).
RGB_FROM_XYZ = np.array([[3.2406, -1.5372, -0.4986], [-0.9689, 1.8758, 0.0415], [0.0557, -0.2040, 1.0570]])

# Shares of the epidermis that are melanosomes, of the lightest and the darkest people (Jacques 1998: 1.3% to 43%).
MELANOSOMES = (0.010, 0.40)
EPIDERMIS = 0.005  # centimetres, 50 micrometres
# Shares of the dermis that are blood, from pale to flushed. Jacques 1998 has 0.2% for all of it; a face gets its colour
# from the plexus just below the epidermis, which has more.
BLOOD = (0.004, 0.060)
SATURATION = 0.75  # of the skin's blood with oxygen
HAEMOGLOBIN_DENSITY = 150.0 / 64500.0  # mol/l of whole blood: 150 g/l of a molecule of 64.5 kg/mol
CAROTENE = 5.0  # 1/cm in the dermis at the peak of 1; makes light skin as yellow as it gets, CIE b* of about 20
# Highest haemoglobin that skin_colour is fitted for: above people's 1 for lips and flushed spots.
MOST_HAEMOGLOBIN = 1.55
# What blood full of oxygen makes of the colour of skin, whose blood is of arteries and veins; set by eye.
ARTERIAL = np.array([1.15, 0.96, 0.80], np.float32)

# Absorption of fibres of hair for one unit of pigment in R, G and B (d'Eon et al. 2011).
EUMELANIN = np.array([0.419, 0.697, 1.37])
PHEOMELANIN = np.array([0.187, 0.400, 1.050])
CUTICLE = 0.008  # what even black fibres send back, about
WHITE_HAIR = np.array([0.62, 0.60, 0.56])
# How dark a tangle of fibres gets by absorption s of each: exp(-TANGLE sqrt(s)) (Chiang et al. 2016, at an azimuthal
# roughness of .3).
TANGLE = 5.89
MOST_EUMELANIN, MOST_PHEOMELANIN = 3.0, 1.0  # units of d'Eon et al. at 1

# An iris without melanin: what its fibres scatter, the blue of Rayleigh over the dark behind. These three are
# chosen by eye for the row of blue, grey, green, hazel and brown.
IRIS_STROMA = np.array([0.155, 0.220, 0.285])
IRIS_DARKEST = 0.01
IRIS_GRANULES = np.array([0.36, 0.19, 0.11])  # what melanin itself sends back where light reaches it


def skin_reflectance(
    melanin: Float[np.ndarray, "*n"], haemoglobin: Float[np.ndarray, "*n"], carotene: Float[np.ndarray, "*n"]
) -> Float[np.ndarray, "*n 31"]:
    """The share of light, 0 to 1, that skin sends back at each of WAVELENGTHS; arguments as those of `skin_colour`."""
    share, blood = (
        _geometric(np.asarray(x, float)[..., None], ends) for x, ends in ((melanin, MELANOSOMES), (haemoglobin, BLOOD))
    )
    bare = 0.244 + 85.3 * np.exp(-(WAVELENGTHS - 154.0) / 66.2)  # bloodless tissue, 1/cm (Jacques 1998)
    epidermis = share * 6.6e11 * WAVELENGTHS**-3.33 + (1 - share) * bare  # Jacques 1998
    molar = SATURATION * OXYGENATED + (1 - SATURATION) * DEOXYGENATED
    yellow = CAROTENE * np.asarray(carotene, float)[..., None] * _carotene_spectrum()
    dermis = blood * np.log(10) * HAEMOGLOBIN_DENSITY * molar + (1 - blood) * bare + yellow
    scattering = 2e5 * WAVELENGTHS**-1.5 + 2e12 * WAVELENGTHS**-4.0  # reduced, 1/cm (Jacques 1998)
    # Kubelka and Munk's coefficients are 2 mu_a and 3/4 mu_s' (van Gemert et al. 1987).
    ratio = 2 * dermis / (0.75 * scattering)
    below = 1 + ratio - np.sqrt(ratio * (ratio + 2))
    above, through = _thin_layer(2 * epidermis, 0.75 * scattering, EPIDERMIS)
    return above + through**2 * below / (1 - above * below)


def _thin_layer(absorption, scattering, thickness: float):
    """The shares of light that a layer sends back and lets through (Kubelka 1948)."""
    a = 1 + absorption / scattering
    b = np.sqrt(a * a - 1)
    sinh, cosh = (f(b * scattering * thickness) for f in (np.sinh, np.cosh))
    return sinh / (a * sinh + b * cosh), b / (a * sinh + b * cosh)


def _geometric(x, ends: tuple[float, float]):
    """From ends[0] at 0 to ends[1] at 1 by equal factors."""
    return ends[0] * (ends[1] / ends[0]) ** x


def _carotene_spectrum() -> Float[np.ndarray, "31"]:
    """Absorption of beta-carotene relative to its peak: three bands around 450 nanometres (Britton 1995)."""
    bands = ((425.0, 0.75), (451.0, 1.0), (479.0, 0.85))
    return np.minimum(sum(height * np.exp(-(((WAVELENGTHS - at) / 16.0) ** 2)) for at, height in bands), 1.0)


def rgb_of_spectrum(reflectance: Float[np.ndarray, "*n 31"]) -> Float[np.ndarray, "*n 3"]:
    """Linear RGB of a reflectance in daylight; (1, 1, 1) of perfect white.

    The colour matching functions are the Gaussians of Wyman, Sloan and Shirley 2013.
    """
    lobes = (
        ((1.056, 599.8, 37.9, 31.0), (0.362, 442.0, 16.0, 26.7), (-0.065, 501.1, 20.4, 26.2)),
        ((0.821, 568.8, 46.9, 40.5), (0.286, 530.9, 16.3, 31.1)),
        ((1.217, 437.0, 11.8, 36.0), (0.681, 459.0, 26.0, 13.8)),
    )
    matching = np.stack([sum(_lobe(*lobe) for lobe in of_channel) for of_channel in lobes])
    to_rgb = RGB_FROM_XYZ @ (matching * DAYLIGHT)
    return reflectance @ (to_rgb / to_rgb.sum(axis=1, keepdims=True)).T


def _lobe(height: float, at: float, below: float, above: float) -> Float[np.ndarray, "31"]:
    """A Gaussian with different widths below and above its peak."""
    width = np.where(at > WAVELENGTHS, below, above)
    return height * np.exp(-0.5 * ((WAVELENGTHS - at) / width) ** 2)


def _terms(melanin, haemoglobin, carotene, numbers):
    """The terms of the fit, [*n, 15]; `numbers` is numpy or jax.numpy.

    Absorption grows with the share of melanin and about with the square root of that of blood.
    """
    share = _geometric(melanin, (MELANOSOMES[0] / MELANOSOMES[1], 1.0))
    root = _geometric(haemoglobin, (np.sqrt(BLOOD[0] / BLOOD[1]), 1.0))
    m, b, c = numbers.broadcast_arrays(share, root, carotene)
    one = numbers.ones_like(m)
    terms = (one, m, b, c, m * m, b * b, c * c, m * b, m * c, b * c, m**3, b**3, m * m * b, m * b * b, m * m * c)
    return numbers.stack(terms, axis=-1)


def _fit() -> Float[np.ndarray, "15 3"]:
    """Weights of the terms for the logarithm of the colour, by least squares over all skins."""
    steps = np.linspace(0.0, 1.0, 12)
    grid = [x.ravel() for x in np.meshgrid(steps, MOST_HAEMOGLOBIN * steps, steps)]
    colours = rgb_of_spectrum(skin_reflectance(*grid))
    return np.linalg.lstsq(_terms(grid[0], grid[1], grid[2], np), np.log(colours), rcond=None)[0]


SKIN_FIT = _fit().astype(np.float32)


def skin_colour(
    melanin: Float[Array, "*n"], haemoglobin: Float[Array, "*n"], carotene: Float[Array, "*n"]
) -> Float[Array, "*n 3"]:
    """Albedo of skin, from the palest (melanin 0) to the darkest people (1), from bloodless to flushed, by carotene.

    Values outside of 0 to 1 (of haemoglobin 0 to MOST_HAEMOGLOBIN) count as the nearest end.
    """
    melanin, carotene = (jnp.clip(x, 0.0, 1.0) for x in (melanin, carotene))
    haemoglobin = jnp.clip(haemoglobin, 0.0, MOST_HAEMOGLOBIN)
    return jnp.exp(_terms(melanin, haemoglobin, carotene, jnp) @ SKIN_FIT)


def lip_colour(
    melanin: Float[Array, "*n"],
    haemoglobin: Float[Array, "*n"],
    lip_melanin: Float[Array, "*n"],
) -> Float[Array, "*n 3"]:
    """Albedo of lips: yellower skin with more blood, which is brighter, and a share of its melanin that people differ
    in."""
    own = 0.32 + 0.50 * melanin + 0.4 * (lip_melanin - 0.5)
    return jnp.asarray(ARTERIAL) * skin_colour(own, haemoglobin * 0.4 + 1.15, jnp.ones_like(own))


def hair_colour(
    eumelanin: Float[Array, "*n"], pheomelanin: Float[Array, "*n"], grey: Float[Array, "*n"]
) -> Float[Array, "*n 3"]:
    """Albedo of hair by its brown and red pigment (0 none, 1 most), where a share `grey` of the fibres has none."""
    eumelanin, pheomelanin, grey = (jnp.asarray(x) for x in (eumelanin, pheomelanin, grey))
    absorption = (
        MOST_EUMELANIN * (eumelanin**3)[..., None] * EUMELANIN
        + MOST_PHEOMELANIN * (pheomelanin**3)[..., None] * PHEOMELANIN
    )
    # Without any pigment the square root has no derivative.
    white = jnp.asarray(WHITE_HAIR)
    pigmented = CUTICLE + white * jnp.exp(-TANGLE * jnp.sqrt(absorption + 1e-6))
    return pigmented + grey[..., None] * (white - pigmented)


def iris_colour(melanin: Float[Array, "*n"]) -> Float[Array, "*n 3"]:
    """Albedo of the iris: blue (0), grey-green, hazel, brown, nearly black (1)."""
    depth = 5.0 * (jnp.asarray(melanin) ** 1.5)[..., None] * EUMELANIN
    through = jnp.exp(-depth)
    return IRIS_DARKEST + IRIS_STROMA * through**2 + IRIS_GRANULES * (1 - through) * jnp.exp(-depth)
