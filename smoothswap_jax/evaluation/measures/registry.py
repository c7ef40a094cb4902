"""All metrics. A new one is a file beside this one and an entry here."""

from smoothswap_jax.evaluation.measures.base import Metric
from smoothswap_jax.evaluation.measures.coefficients import COEFFICIENTS
from smoothswap_jax.evaluation.measures.distributions import DISTRIBUTION
from smoothswap_jax.evaluation.measures.heads import HEADS
from smoothswap_jax.evaluation.measures.identity import IDENTITY
from smoothswap_jax.evaluation.measures.mesh import MESH
from smoothswap_jax.evaluation.measures.perceptual import PERCEPTUAL
from smoothswap_jax.evaluation.measures.pixels import PIXELS
from smoothswap_jax.evaluation.measures.pose import POSE

METRICS: dict[str, Metric] = {
    "pixels": PIXELS,
    "identity": IDENTITY,
    "coefficients": COEFFICIENTS,
    "pose": POSE,
    "mesh": MESH,
    "heads": HEADS,
    "perceptual": PERCEPTUAL,
    "distribution": DISTRIBUTION,
}
