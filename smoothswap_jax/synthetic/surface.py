"""What the light needs to know of a surface."""

from typing import NamedTuple

from jaxtyping import Array, Float

LUMINANCE = (0.2126, 0.7152, 0.0722)  # Rec. 709


class Surface(NamedTuple):
    """The material of n samples."""

    albedo: Float[Array, "n 3"]  # linear RGB, 0 to 1
    specular: Float[Array, "n"]  # strength of the highlight: skin about .04, a wet eye 1
    sharpness: Float[Array, "n"]  # exponent of Blinn and Phong: skin about 20, an eye 300
    soft: Float[Array, "n"]  # how much light bleeds below the surface: skin 1, cloth 0
