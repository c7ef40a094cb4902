"""What is wrong with the networks that a config describes although each field by itself is within its bounds."""

from smoothswap_jax.config.schema import EmbedderConfig, SwapperConfig
from smoothswap_jax.models.embedder import STEMS, IdentityEmbedder
from smoothswap_jax.models.ncsnpp import NCSNpp
from smoothswap_jax.models.stylegan2 import Discriminator

ATTENTION = 128
"""The largest map that attention is taken over, in pixels a side: at 128 its weights are a gigabyte for each image."""


def network_mistakes(config: EmbedderConfig | SwapperConfig) -> list[str]:
    """Why no sound network can be built from the config, and what of it would be absurdly large."""
    if isinstance(config, EmbedderConfig):
        return _embedder(config)
    return [*_generator(config), *_discriminator(config)]


def _embedder(config: EmbedderConfig) -> list[str]:
    stem = config.embedder.get("stem", IdentityEmbedder.stem)
    stages = len(config.embedder.get("stage_sizes", IdentityEmbedder.stage_sizes))
    _, stride, pool = STEMS[stem]
    smallest = stride * (2 if pool else 1) * 2 ** (stages - 1)
    if config.data.size >= smallest:
        return []
    return [
        f"config.data.size is {config.data.size}, wanted at least {smallest}: config.embedder.stem "
        f"{stem!r} and {stages} config.embedder.stage_sizes make images so much smaller"
    ]


def _generator(config: SwapperConfig) -> list[str]:
    size, given = config.data.size, config.generator
    levels = len(given.get("ch_mult", NCSNpp.ch_mult))
    step, found = 2 ** (levels - 1), []
    if size % step:
        found.append(
            f"config.data.size is {size}, wanted a multiple of {step}: config.generator.ch_mult has {levels} levels"
        )
    if size // step > ATTENTION:
        found.append(
            f"config.data.size is {size} and config.generator.ch_mult has {levels} levels: attention in the middle "
            f"would be over {size // step} x {size // step} pixels; wanted at most {ATTENTION}, by more levels"
        )
    resolutions = given.get("attn_resolutions", NCSNpp.attn_resolutions)
    if (largest := max(resolutions, default=0)) > ATTENTION:
        found.append(
            f"config.generator.attn_resolutions has {largest}, wanted at most {ATTENTION}: attention takes the memory "
            "of all pairs of pixels"
        )
    return found + _taps("generator", given.get("fir_kernel"))


def _discriminator(config: SwapperConfig) -> list[str]:
    size, given = config.data.size, config.discriminator
    found = _taps("discriminator", given.get("fir_kernel"))
    if size < 8 or size & (size - 1):
        found.append(f"config.data.size is {size}, wanted a power of two from 8 up, for the discriminator")
    base = given.get("channel_base", Discriminator.channel_base)
    if base < size:
        found.append(f"config.discriminator.channel_base is {base}, wanted at least config.data.size, {size}")
    width = min(base // 4, given.get("channel_max", Discriminator.channel_max))
    features = given.get("mbstd_features", Discriminator.mbstd_features)
    if width % features:
        found.append(
            f"config.discriminator.mbstd_features is {features}, wanted a divisor of the {width} channels at 4 px"
        )
    return found


def _taps(part: str, kernel: tuple[float, ...] | None) -> list[str]:
    if kernel is None or sum(kernel) > 0:
        return []
    return [f"config.{part}.fir_kernel is {kernel}, wanted a sum above 0"]
