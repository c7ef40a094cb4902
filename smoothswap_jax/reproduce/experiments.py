"""The experiments by name: what each trains, measures and claims stands in a file of its own."""

from smoothswap_jax.reproduce.comparison import COMPARISON
from smoothswap_jax.reproduce.mechanism import MECHANISM
from smoothswap_jax.reproduce.smoothness import SMOOTHNESS
from smoothswap_jax.reproduce.swappers import ABLATION, MATCHING, REMEDIES, TRADEOFF
from smoothswap_jax.reproduce.tuning import TUNING

EXPERIMENTS = {
    "tuning": TUNING,
    "smoothness": SMOOTHNESS,
    "ablation": ABLATION,
    "tradeoff": TRADEOFF,
    "remedies": REMEDIES,
    "matching": MATCHING,
    "mechanism": MECHANISM,
    "comparison": COMPARISON,
}
