"""A small network that reads parameters of a 3-D head model off aligned faces of 64 x 64 pixels."""

import flax.linen as nn
from jaxtyping import Array, Float

from smoothswap_jax.models.layers import at_least_float32

PATCH = 4


class HeadNetwork(nn.Module):
    """Aligned faces to `targets` numbers; brightness and contrast of a picture make no difference.

    The pixels of each PATCH x PATCH square are one place, which costs a small part of convolutions at full size. Each
    place of the last map has weights of its own in the numbers: an average over the map, as classifiers have it,
    forgets where things are, which is what a shape is. They start at zero, so that what cannot be read does not stir
    the layers below.
    """

    targets: int
    width: int = 64

    @nn.compact
    def __call__(self, x: Float[Array, "b h w 3"]) -> Float[Array, "b targets"]:
        b, h, w, _ = x.shape
        x = at_least_float32(x)
        x = (x - x.mean((1, 2, 3), keepdims=True)) / (x.std((1, 2, 3), keepdims=True) + 1e-3)
        x = x.reshape(b, h // PATCH, PATCH, w // PATCH, PATCH, 3).swapaxes(2, 3)
        x = x.reshape(b, h // PATCH, w // PATCH, PATCH * PATCH * 3)
        wide, zeros = 3 * self.width // 2, nn.initializers.zeros
        x = nn.relu(nn.Conv(self.width, (3, 3), name="conv0")(x))
        x = nn.relu(nn.Conv(wide, (3, 3), 2, name="conv1")(x))
        more = nn.relu(nn.Conv(wide, (3, 3), name="conv2")(x))
        x = nn.relu(x + nn.Conv(wide, (3, 3), kernel_init=zeros, name="conv3")(more))
        return nn.Dense(self.targets, kernel_init=zeros, name="out")(x.reshape(b, -1))
