"""Optimisers and learning-rate schedules from config fields."""

from collections.abc import Callable

import jax
import optax

from smoothswap_jax.config.errors import ConfigError
from smoothswap_jax.config.schema import OptimizerConfig

OPTIMIZERS: dict[str, Callable[[OptimizerConfig], optax.GradientTransformation]] = {
    "adam": lambda config: optax.scale_by_adam(b1=config.b1, b2=config.b2),
    "sgd": lambda config: optax.trace(decay=config.b1),
}
SCHEDULES = ("constant", "cosine", "linear")


def make_optimizer(config: OptimizerConfig, steps: int) -> optax.GradientTransformation:
    """Adam or SGD with momentum under the named schedule; decoupled weight decay on kernels only."""
    rate = make_schedule(config, steps)
    if config.name not in OPTIMIZERS:
        raise ConfigError(f"config optimizer name is {config.name!r}, wanted one of {tuple(OPTIMIZERS)}")
    scale = OPTIMIZERS[config.name](config)
    decay = optax.add_decayed_weights(config.weight_decay, mask=_is_kernel) if config.weight_decay else None
    # SGD decays the gradient, before momentum (PyTorch); Adam decays the update (AdamW).
    parts = [decay, scale] if config.name == "sgd" else [scale, decay]
    return optax.chain(*(part for part in parts if part is not None), optax.scale_by_learning_rate(rate))


def _is_kernel(params):
    return jax.tree.map(lambda x: x.ndim > 1, params)


def make_schedule(config: OptimizerConfig, steps: int) -> optax.Schedule:
    """Linear warm-up, then constant, cosine to 0, or constant with a linear fall to 0 over the last `decay`."""
    peak, warmup = config.learning_rate, config.warmup_steps
    if config.schedule == "constant":
        after = optax.constant_schedule(peak)
    elif config.schedule == "cosine":
        after = optax.cosine_decay_schedule(peak, max(1, steps - warmup))
    elif config.schedule == "linear":
        falling = max(1, int(steps * config.decay))
        after = optax.linear_schedule(peak, 0.0, falling, max(0, steps - warmup - falling))
    else:
        raise ConfigError(f"config optimizer schedule is {config.schedule!r}, wanted one of {SCHEDULES}")
    if not warmup:
        return after
    return optax.join_schedules([optax.linear_schedule(0.0, peak, warmup), after], [warmup])
