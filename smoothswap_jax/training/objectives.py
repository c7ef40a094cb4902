"""What shapes the embedding space in stage 1: a registry of objectives.

An objective is one entry of `OBJECTIVES`: a loss of each example of the global batch, and whether it wants a classifier
of the training identities. Formulas are in `losses.py`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from smoothswap_jax.training import losses
from smoothswap_jax.training.transforms import OFF, Transform

PyTree = Any


@dataclass(frozen=True)
class EmbedderObjective:
    """The chosen objective, by name, with the constants that it reads, and what the training step does to the images
    that it is of (configs/embedder.py). Raises ValueError for an unknown one.

    classes: how many identities there are, where the classifier has columns beyond; None: as many as columns. place:
    keeps cosines or logits [n c] where the classifier is, on meshes that split it.
    """

    kind: str = "contrastive"
    form: str = "smoothswap"
    temperature: float = 0.07
    scale: float = 64.0
    margin: float = 0.5
    transform: Transform = OFF
    adversarial_steps: int = 0
    adversarial_radius: float = 0.02
    classes: int | None = None
    place: Callable[[Array], Array] = lambda logits: logits

    def __post_init__(self):
        if self.kind not in OBJECTIVES:
            raise ValueError(f"config.objective.kind is {self.kind!r}, wanted one of {tuple(OBJECTIVES)}")

    @property
    def needs_classes(self) -> bool:
        return OBJECTIVES[self.kind].needs_classes

    def loss(self, z: Float[Array, "n d"], labels: Int[Array, "n"], classifier: PyTree | None) -> Float[Array, "n"]:
        """Loss of each example. classifier: {'kernel': [d, c], 'bias': [c]} if `needs_classes`, else None."""
        return OBJECTIVES[self.kind].loss(self, z, labels, classifier)


class ObjectiveSpec(NamedTuple):
    """loss: (constants, unit-norm z [n d], labels [n], classifier or None) -> [n]."""

    loss: Callable[[EmbedderObjective, Array, Array, PyTree], Array]
    needs_classes: bool


def _contrastive(how: EmbedderObjective, z: Array, labels: Array, classifier: PyTree) -> Array:
    return losses.contrastive_loss(z, labels, how.temperature, how.form)


def _arcface(how: EmbedderObjective, z: Array, labels: Array, classifier: PyTree) -> Array:
    cosine = how.place(losses.cosine_logits(z, classifier["kernel"]))
    return _cross_entropy(how, losses.arcface_logits(cosine, labels, how.scale, how.margin), labels)


def _cosface(how: EmbedderObjective, z: Array, labels: Array, classifier: PyTree) -> Array:
    cosine = how.place(losses.cosine_logits(z, classifier["kernel"]))
    return _cross_entropy(how, losses.cosface_logits(cosine, labels, how.scale, how.margin), labels)


def _softmax(how: EmbedderObjective, z: Array, labels: Array, classifier: PyTree) -> Array:
    logits = how.place(jnp.matmul(z, classifier["kernel"], precision="highest"))
    return _cross_entropy(how, how.scale * logits + classifier["bias"], labels)


def _cross_entropy(how: EmbedderObjective, logits: Array, labels: Array) -> Array:
    if how.classes is not None and how.classes < logits.shape[1]:
        logits = jnp.where(jnp.arange(logits.shape[1]) < how.classes, logits, jnp.finfo(logits.dtype).min)
    return losses.cross_entropy(logits, labels)


def _triplet(how: EmbedderObjective, z: Array, labels: Array, classifier: PyTree) -> Array:
    return losses.triplet_loss(z, labels, how.margin)


OBJECTIVES: dict[str, ObjectiveSpec] = {
    "contrastive": ObjectiveSpec(_contrastive, needs_classes=False),
    "arcface": ObjectiveSpec(_arcface, needs_classes=True),
    "cosface": ObjectiveSpec(_cosface, needs_classes=True),
    "softmax": ObjectiveSpec(_softmax, needs_classes=True),
    "triplet": ObjectiveSpec(_triplet, needs_classes=False),
}
