"""Schedules and optimisers from config fields."""

import jax.numpy as jnp
import numpy as np
import pytest

from smoothswap_jax.config.errors import ConfigError
from smoothswap_jax.config.schema import OptimizerConfig
from smoothswap_jax.training import optimizers


def config(**fields):
    plain = {"name": "adam", "learning_rate": 1.0, "b1": 0.9, "b2": 0.99, "weight_decay": 0.0, "warmup_steps": 0}
    return OptimizerConfig(**plain | {"schedule": "constant", "decay": 0.2} | fields)


@pytest.mark.parametrize(
    "name, points",
    [
        ("constant", {0: 0.0, 5: 0.5, 10: 1.0, 100: 1.0}),
        ("cosine", {0: 0.0, 10: 1.0, 55: 0.5, 100: 0.0}),
        ("linear", {5: 0.5, 10: 1.0, 80: 1.0, 90: 0.5, 100: 0.0}),
    ],
)
def test_schedules_warm_up_hold_and_fall(name, points):
    rate = optimizers.make_schedule(config(schedule=name, warmup_steps=10), steps=100)
    np.testing.assert_allclose([rate(s) for s in points], list(points.values()), atol=1e-6)


def test_weight_decay_spares_biases_and_norms():
    optimizer = optimizers.make_optimizer(config(learning_rate=0.1, weight_decay=0.5), steps=10)
    params = {"kernel": jnp.ones((2, 2)), "bias": jnp.ones(2)}
    updates, _ = optimizer.update({"kernel": jnp.zeros((2, 2)), "bias": jnp.zeros(2)}, optimizer.init(params), params)
    np.testing.assert_allclose(updates["kernel"], -0.05 * np.ones((2, 2)), rtol=1e-6)
    np.testing.assert_array_equal(updates["bias"], np.zeros(2))


@pytest.mark.parametrize("field, value", [("name", "lion"), ("schedule", "step")])
def test_unknown_names_are_refused(field, value):
    with pytest.raises(ConfigError, match=f"optimizer.*{field} is {value!r}, wanted"):
        optimizers.make_optimizer(config(**{field: value}), steps=10)
