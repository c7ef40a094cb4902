"""The embedders that experiments compare: one backbone, data and budget, and the objectives that differ.

`--experiment=tuning` tries six candidates of each, a constant of its objective and a learning rate, on people of a
world of its own, for a quarter of the steps; `fields` holds the best of each (docs/results.md).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from smoothswap_jax.config.renamed import STRENGTHS

PLAIN = {f"objective.transform.{name}": 0.0 for name in STRENGTHS}
"""Off, as in the paper: transformations are ours."""
NETWORK = {"embedder.norm": "batch"}
"""As in the paper. A classifier's first steps collapse embeddings that have much in common, as all have at the start,
unless a norm over the batch takes that away, as ArcFace's last layer does: with group norm its ROC AUC was below .67
after 500 steps."""
RATES = (3e-3, 6e-3, 1.2e-2)
"""Learning rates that are tried of every objective."""


@dataclass(frozen=True)
class Embedder:
    """fields: of the config, as tuned. constant, values: a field of the objective, and what is tried of it with each of
    RATES."""

    about: str
    fields: Mapping[str, Any]
    constant: str
    values: tuple[float, float]


def _embedder(
    about: str, objective: Mapping[str, Any], rate: float, constant: str, values: tuple[float, float]
) -> Embedder:
    fields = {f"objective.{name}": value for name, value in objective.items()}
    return Embedder(about, {**fields, "optimizer.learning_rate": rate}, constant, values)


EMBEDDERS = {
    "contrastive": _embedder(
        "supervised contrastive, the paper's form",
        {"kind": "contrastive", "temperature": 0.14}, 1.2e-2, "temperature", (0.07, 0.14),
    ),
    "khosla": _embedder(
        "supervised contrastive, Khosla's form",
        {"kind": "contrastive", "form": "khosla", "temperature": 0.14}, 1.2e-2, "temperature", (0.07, 0.14),
    ),
    "arcface": _embedder("ArcFace", {"kind": "arcface", "margin": 0.2, "scale": 8.0}, 6e-3, "scale", (8.0, 16.0)),
    "cosface": _embedder("CosFace", {"kind": "cosface", "margin": 0.15, "scale": 8.0}, 6e-3, "scale", (8.0, 16.0)),
    "softmax": _embedder(
        "softmax over the people, as VGGFace2", {"kind": "softmax", "scale": 8.0}, 3e-3, "scale", (8.0, 16.0)
    ),
    "triplet": _embedder("FaceNet's triplets", {"kind": "triplet", "margin": 0.2}, 6e-3, "margin", (0.2, 0.5)),
}  # fmt: skip
