"""What a session measures, and what it passes from the process that keeps the record to those that measure."""

from dataclasses import dataclass, field
from typing import Any

Fields = dict[str, Any]


@dataclass(frozen=True)
class Measurement:
    """name: unique, under which the result is recorded. library: "jax" or "torch", of the process that it runs in.
    function, arguments: of a module that worker.PLACES names."""

    name: str
    library: str
    function: str
    arguments: Fields = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Setup:
    """What all measurements share; a key of caches by identity.

    presets: fields of the swapper's configs by variant. embedder: the `embedder` fields of an embedder's config.
    seconds: about how long each thing is timed, after compiling. tiny: sizes of a rehearsal on a CPU.
    """

    presets: dict[str, Fields]
    embedder: Fields
    seconds: float
    tiny: bool


class NotInstalled(Exception):
    """A library that is compared with is not there: nothing has failed."""


def peak_sizes(setup: Setup) -> tuple[int, int]:
    """The side of the matrices whose product, and the number of floats whose copy, is the device's peak."""
    return (128, 2**16) if setup.tiny else (8192, 2**28)


def tiny_preset(config: Fields) -> Fields:
    """A swapper config of a few channels, with one level, or two if it has pyramids; otherwise like the preset."""
    size, generator, discriminator = 8, config["generator"], config["discriminator"]
    pyramids = {generator["progressive"], generator["progressive_input"]} != {"none"}
    mults = (generator["ch_mult"][0], generator["ch_mult"][-1]) if pyramids else (1,)
    less = {"nf": 8, "ch_mult": mults, "num_res_blocks": 1, "attn_resolutions": (size >> len(mults) - 1,)}
    return {
        **config,
        "data": {**config["data"], "size": size},
        "generator": {**generator, **less},
        "discriminator": {**discriminator, "channel_base": 128, "channel_max": 16},
    }


def tiny_embedder(fields: Fields) -> Fields:
    return {**fields, "stage_sizes": (1,), "width": 4, "hidden": 16, "dim": 16}
