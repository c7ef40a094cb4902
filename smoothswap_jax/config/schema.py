"""The two configs as frozen dataclasses: which fields there are, their types and bounds. `parse` makes them.

What a field does is said beside its value, in configs/*.py and config/common.py. Bounds are there so that nothing
absurd is built, for instance from a file that somebody else wrote. Names that choose code (`data.kind`, ...) are any
string here: `training/checks.py` refuses unknown ones, and fields that make no sense together.
"""

import math
from dataclasses import dataclass
from typing import Annotated, TypedDict

LARGEST = 2**31 - 1
"""Of integers: steps, rows and seeds are computed in 32 bits."""


@dataclass(frozen=True)
class Range:
    """The finite numbers from `low` to `high`, both included; without `low` itself if `above`, `high` if `below`."""

    low: float
    high: float = math.inf
    above: bool = False
    below: bool = False

    def __contains__(self, value: float) -> bool:
        from_low = self.low < value if self.above else self.low <= value
        to_high = value < self.high if self.below else value <= self.high
        return from_low and to_high and value < math.inf

    def __str__(self) -> str:
        if not (self.above or self.below or self.high == math.inf):
            return f"{_shown(self.low)} to {_shown(self.high)}"
        high = "" if self.high == math.inf else f" and {'below' if self.below else 'at most'} {_shown(self.high)}"
        return f"{'above' if self.above else 'at least'} {_shown(self.low)}{high}"


@dataclass(frozen=True)
class Length:
    """Tuples of `low` to `high` items."""

    low: int
    high: int

    def __contains__(self, value: tuple) -> bool:
        return self.low <= len(value) <= self.high

    def __str__(self) -> str:
        return f"{self.low} to {self.high} items"


def _shown(number: float) -> str:
    return str(number) if isinstance(number, int) else f"{number:g}"


Natural = Annotated[int, Range(0, LARGEST)]
"""0, 1, 2, ..."""
Positive = Annotated[int, Range(1, LARGEST)]
"""1, 2, 3, ..."""
Seed = Annotated[int, Range(-LARGEST, LARGEST)]
Pixels = Annotated[int, Range(1, 4096)]
Rows = Annotated[int, Range(1, 65536)]
"""Images that one step takes."""
Weight = Annotated[float, Range(0, 1e6)]
"""Factor on a loss."""
Share = Annotated[float, Range(0, 1)]
Decay = Annotated[float, Range(0, 1, below=True)]
"""Factor on what a running average remembers: 1 would never learn."""
Taps = Annotated[tuple[Annotated[float, Range(-1e6, 1e6)], ...], Length(1, 16)]


# --- networks: fields of modules, which have defaults for those that a config leaves out -----------------------------
class EmbedderFields(TypedDict, total=False):
    """Fields of models.embedder.IdentityEmbedder."""

    stage_sizes: Annotated[tuple[Annotated[int, Range(1, 64)], ...], Length(1, 8)]
    width: Annotated[int, Range(1, 1024)]
    stem: str
    norm: str
    hidden: Annotated[int, Range(1, 65536)]
    dim: Annotated[int, Range(2, 8192)]
    dtype: str


class GeneratorFields(TypedDict, total=False):
    """Fields of models.ncsnpp.NCSNpp."""

    nf: Annotated[int, Range(1, 1024)]
    ch_mult: Annotated[tuple[Annotated[int, Range(1, 64)], ...], Length(1, 10)]
    num_res_blocks: Annotated[int, Range(1, 32)]
    attn_resolutions: Annotated[tuple[Pixels, ...], Length(0, 10)]
    fir: bool
    fir_kernel: Taps
    skip_rescale: bool
    progressive: str
    progressive_input: str
    combine: str
    injection: str
    init_scale: Annotated[float, Range(0, 100)]
    dropout: Decay
    emb_scale: Annotated[float, Range(-1e6, 1e6)] | None
    input_residual: bool
    remat: str
    dtype: str


class DiscriminatorFields(TypedDict, total=False):
    """Fields of models.stylegan2.Discriminator."""

    channel_base: Annotated[int, Range(1, 2**22)]
    channel_max: Annotated[int, Range(1, 8192)]
    fir_kernel: Taps
    mbstd_group: Rows | None
    mbstd_features: Annotated[int, Range(1, 64)]
    projection: bool
    remat: str
    dtype: str


# --- the run ---------------------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class DataConfig:
    """Where faces come from; read by data/sources.py."""

    kind: str
    feed: str
    size: Annotated[int, Range(4, 4096)]
    people: Annotated[int, Range(1, 10**7)]
    photos: Annotated[int, Range(1, 10**5)]
    spread: Annotated[float, Range(0, 1)]
    look_alikes: Annotated[int, Range(1, 10**4)]
    rendered_cache: str
    held_out_people: Annotated[int, Range(0, 10**6)]
    seed: Seed
    dir: str | None
    weights: Annotated[tuple[Annotated[float, Range(0, 1e6, above=True)], ...], Length(0, 1000)]
    name: str


@dataclass(frozen=True)
class AugmentConfig:
    """Random changes of training images; read by data/augment.py."""

    flip: bool
    crop: Annotated[float, Range(0.1, 1)]
    colour: Share


@dataclass(frozen=True)
class OptimizerConfig:
    """An optimiser and its schedule; read by training/optimizers.py."""

    name: str
    learning_rate: Annotated[float, Range(0, 100, above=True)]
    b1: Decay
    b2: Decay
    weight_decay: Annotated[float, Range(0, 10)]
    warmup_steps: Natural
    schedule: str
    decay: Share


@dataclass(frozen=True)
class MeshConfig:
    """How arrays are laid out over devices; read by runtime/sharding.py."""

    fsdp: Annotated[int, Range(1, 65536)]
    rules: Annotated[tuple[tuple[str, str], ...], Length(0, 1000)]


@dataclass(frozen=True)
class TransformConfig:
    """Random transformations of what the embedder sees; read by training/transforms.py."""

    backdrop: Share
    colour: Share
    shift: Annotated[float, Range(0, 0.5)]
    scale: Annotated[float, Range(0, 0.9)]
    blur: Share
    blur_sigma: Annotated[float, Range(0.1, 64)]
    noise: Annotated[float, Range(0, 2)]
    hole: Annotated[float, Range(0, 0.9)]


@dataclass(frozen=True)
class EmbedderObjectiveConfig:
    """Fields of training.objectives.EmbedderObjective."""

    kind: str
    form: str
    temperature: Annotated[float, Range(1e-4, 100)]
    scale: Annotated[float, Range(0, 1e4, above=True)]
    margin: Annotated[float, Range(0, 3)]
    transform: TransformConfig
    adversarial_steps: Annotated[int, Range(0, 10)]
    adversarial_radius: Annotated[float, Range(0, 2, above=True)]


@dataclass(frozen=True)
class SwapperObjectiveConfig:
    """Fields of training.swapper_step.SwapperObjective."""

    identity: Weight
    change: Weight
    adversarial: Weight
    back: Weight
    feature_matching: Weight
    identity_warmup_steps: Natural
    transform: TransformConfig
    transform_samples: Annotated[int, Range(1, 64)]
    r1_gamma: Weight
    r1_interval: Positive
    ema_decay: Decay


@dataclass(frozen=True)
class FrozenEmbedderConfig:
    """The embedder that a swapper is trained with, our own or a published one, and a second one for its identity
    loss."""

    checkpoint: str | None
    imported: str | None
    also: str | None


@dataclass(frozen=True)
class InitConfig:
    """Imported networks or exports to start from instead of random weights."""

    generator: str | None
    discriminator: str | None
    new_identity: bool


@dataclass(frozen=True)
class EmbedderInitConfig:
    """An imported embedder or an export to start from instead of random weights."""

    embedder: str | None


@dataclass(frozen=True, kw_only=True)
class RunConfig:
    """What both stages have."""

    stage: str
    seed: Seed
    steps: Natural
    batch: Rows
    grad_accum_steps: Rows
    data: DataConfig
    augment: AugmentConfig
    eval_images: Annotated[int, Range(1, 10**6)]
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

    images_per_identity: Rows
    init: EmbedderInitConfig
    embedder: EmbedderFields
    objective: EmbedderObjectiveConfig
    optimizer: OptimizerConfig


@dataclass(frozen=True, kw_only=True)
class SwapperConfig(RunConfig):
    """A run of stage 2 (configs/swapper.py)."""

    self_pair_fraction: Share
    embedder: FrozenEmbedderConfig
    init: InitConfig
    generator: GeneratorFields
    discriminator: DiscriminatorFields
    objective: SwapperObjectiveConfig
    generator_optimizer: OptimizerConfig
    discriminator_optimizer: OptimizerConfig


STAGES: dict[str, type[EmbedderConfig] | type[SwapperConfig]] = {"embedder": EmbedderConfig, "swapper": SwapperConfig}
"""The config class of each stage, by the name in `config.stage`."""
