"""Making tests of networks quick: compiling takes far longer than running them."""

from functools import partial

import jax
import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict

# Half the compile time; the numbers differ only by rounding.
quick_jit = partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})


def shapes_of(module, *shapes):
    """The variables' shapes of `module` for float32 inputs of `shapes`, without computing anything."""
    inputs = [jax.ShapeDtypeStruct(s, np.float32) for s in shapes]
    return jax.eval_shape(module.init, jax.random.key(0), *inputs)


def count(module, *shapes) -> int:
    """Number of parameters."""
    return sum(leaf.size for leaf in jax.tree.leaves(shapes_of(module, *shapes)["params"]))


def random_variables(module, *inputs):
    """Lively variables of any module without compiling its initialisation: every leaf has an effect."""
    rng = np.random.default_rng(0)
    tree = flatten_dict(jax.eval_shape(module.init, jax.random.key(0), *inputs))

    def draw(path, leaf):
        noise = rng.normal(size=leaf.shape)
        if path[-1] == "kernel":
            return noise / np.sqrt(np.prod(leaf.shape[:-1]))
        return 1 + 0.2 * np.abs(noise) if path[-1] in ("scale", "var") else 0.2 * noise

    return unflatten_dict({path: draw(path, leaf).astype(np.float32) for path, leaf in tree.items()})
