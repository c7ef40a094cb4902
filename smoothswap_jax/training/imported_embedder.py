"""Published networks of identity as the frozen embedder that a swapper is trained against.

In the `embedder` fields of a run, `imported` is the description that the network's folder has in its config.json.
"""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from smoothswap_jax.config.errors import ConfigError, Fields
from smoothswap_jax.faces.alignments import mean_crop
from smoothswap_jax.models.layers import l2_normalize
from smoothswap_jax.weights.network_folder import FolderError, described_network
from smoothswap_jax.weights.preprocessing import preprocess
from smoothswap_jax.weights.registry import specs
from smoothswap_jax.weights.spec import Network

IMPORTED = "imported"


def is_imported(fields: Fields) -> bool:
    """Whether the `embedder` fields of a run are of a published network and not of our own."""
    return IMPORTED in fields


def identity_network(fields: Fields, file: str = "config.embedder") -> Network:
    """The network that the fields describe, without variables. file: where they were read, for errors.

    Raises ConfigError for what is no description, and for a network that does not judge identity.
    """
    try:
        network = described_network(fields[IMPORTED], file)
    except FolderError as error:
        raise ConfigError(str(error)) from error
    spec = specs().get(network.kind)
    if spec is None or spec.role != "identity":
        known = ", ".join(kind for kind, one in specs().items() if one.role == "identity")
        raise ConfigError(f"{file}: a network of kind {network.kind!r}, wanted one that knows people: {known}")
    return network


def variable_shapes(network: Network) -> dict[str, Any]:
    """{'params', 'batch_stats'} as shapes."""
    inputs = [jax.ShapeDtypeStruct(shape, jnp.float32) for shape in network.inputs]
    shapes = jax.eval_shape(network.module.init, jax.random.key(0), *inputs)
    return {"params": shapes["params"], "batch_stats": shapes.get("batch_stats", {})}


def embed_function(network: Network) -> Callable[[Mapping[str, Any], Array], Float[Array, "b d"]]:
    """(variables, FFHQ-aligned images [b h w 3] in [-1, 1]) -> identities of unit norm [b d].

    Each image is cropped and preprocessed as the network was trained, by the five points of the mean face: those of the
    swap itself are not known while it is being made. Gradients reach the images.
    """
    how, features = network.preprocessing, specs()[network.kind].features

    def embed(variables: Mapping[str, Any], images: Float[Array, "b h w 3"]) -> Float[Array, "b d"]:
        seen = preprocess(mean_crop(images, how.crop, how.size), how)
        return l2_normalize(features(network.module, variables, seen))

    return embed
