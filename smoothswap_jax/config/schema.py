"""The two configs as frozen dataclasses: which fields there are, their types and ranges. `parse` makes them.

What a field does is said beside its value, in configs/*.py and config/common.py. Names that choose code (`data.kind`,
`objective.kind`, `optimizer.name`, ...) are any string here: the code that looks them up refuses unknown ones.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any


@dataclass(frozen=True)
class Range:
    """The numbers from `low` to `high`, both included; without `low` itself if `above`."""

    low: float
    high: float = math.inf
    above: bool = False

    def __contains__(self, value: float) -> bool:
        return (self.low < value if self.above else self.low <= value) and value <= self.high

    def __str__(self) -> str:
        if self.high == math.inf:
            return f"above {self.low:g}" if self.above else f"at least {self.low:g}"
        return f"above {self.low:g} and at most {self.high:g}" if self.above else f"{self.low:g} to {self.high:g}"


Natural = Annotated[int, Range(0)]
"""0, 1, 2, ..."""
Positive = Annotated[int, Range(1)]
"""1, 2, 3, ..."""
NonNegative = Annotated[float, Range(0)]
Above0 = Annotated[float, Range(0, above=True)]
Share = Annotated[float, Range(0, 1)]
Network = Mapping[str, Any]
"""Fields of a network's module, which checks them itself."""


@dataclass(frozen=True)
class DataConfig:
    """Where faces come from; read by data/sources.py."""

    kind: str
    feed: str
    size: Positive
    people: Positive
    photos: Positive
    spread: NonNegative
    held_out_people: Natural
    seed: int
    dir: str | None
    weights: tuple[Above0, ...]
    name: str


@dataclass(frozen=True)
class AugmentConfig:
    """Random changes of training images; read by data/augment.py."""

    flip: bool
    crop: Annotated[float, Range(0, 1, above=True)]
    colour: Share


@dataclass(frozen=True)
class OptimizerConfig:
    """An optimiser and its schedule; read by training/optimizers.py."""

    name: str
    learning_rate: NonNegative
    b1: Share
    b2: Share
    weight_decay: NonNegative
    warmup_steps: Natural
    schedule: str
    decay: Share


@dataclass(frozen=True)
class MeshConfig:
    """How arrays are laid out over devices; read by runtime/sharding.py."""

    fsdp: Positive
    rules: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class EmbedderObjectiveConfig:
    """Fields of training.objectives.EmbedderObjective."""

    kind: str
    form: str
    temperature: Above0
    scale: Above0
    margin: NonNegative


@dataclass(frozen=True)
class SwapperObjectiveConfig:
    """Fields of training.steps.SwapperObjective."""

    identity: NonNegative
    change: NonNegative
    adversarial: NonNegative
    identity_warmup_steps: Natural
    r1_gamma: NonNegative
    r1_interval: Positive
    ema_decay: Share


@dataclass(frozen=True)
class FrozenEmbedderConfig:
    """The embedder that a swapper is trained with."""

    checkpoint: str | None


@dataclass(frozen=True)
class InitConfig:
    """Folders of `smoothswap import` to start from instead of random weights."""

    generator: str | None
    discriminator: str | None


@dataclass(frozen=True, kw_only=True)
class RunConfig:
    """What both stages have."""

    stage: str
    seed: int
    steps: Natural
    batch: Positive
    grad_accum_steps: Positive
    data: DataConfig
    augment: AugmentConfig
    eval_images: Positive
    log_steps: Positive
    eval_steps: Natural
    log_images_steps: Natural
    checkpoint_steps: Natural
    max_to_keep: Positive
    keep_every_steps: Natural
    keep_best: str
    compilation_cache: str
    debug_nans: bool
    watchdog_seconds: Natural
    mesh: MeshConfig


@dataclass(frozen=True, kw_only=True)
class EmbedderConfig(RunConfig):
    """A run of stage 1 (configs/embedder.py)."""

    images_per_identity: Positive
    embedder: Network
    objective: EmbedderObjectiveConfig
    optimizer: OptimizerConfig


@dataclass(frozen=True, kw_only=True)
class SwapperConfig(RunConfig):
    """A run of stage 2 (configs/swapper.py)."""

    self_pair_fraction: Share
    embedder: FrozenEmbedderConfig
    init: InitConfig
    generator: Network
    discriminator: Network
    objective: SwapperObjectiveConfig
    generator_optimizer: OptimizerConfig
    discriminator_optimizer: OptimizerConfig


STAGES: dict[str, type[EmbedderConfig] | type[SwapperConfig]] = {"embedder": EmbedderConfig, "swapper": SwapperConfig}
"""The config class of each stage, by the name in `config.stage`."""
