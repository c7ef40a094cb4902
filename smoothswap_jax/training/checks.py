"""What is wrong with a config although each field by itself is within its bounds (config/schema.py).

Everything here is found before data are read and before anything is compiled, and all of it is said at once.
Networks that cannot be built, whoever asks, are found by network_checks.py; here are runs that could not learn.
"""

import re
from collections.abc import Iterable
from dataclasses import asdict

from smoothswap_jax.config.errors import Fields, raise_mistakes, shown
from smoothswap_jax.config.schema import EmbedderConfig, OptimizerConfig, SwapperConfig
from smoothswap_jax.data.pipeline import FEEDS
from smoothswap_jax.data.rendered import too_many
from smoothswap_jax.data.sources import KINDS, missing_dir
from smoothswap_jax.models.ncsnpp import NCSNpp
from smoothswap_jax.models.stylegan2 import Discriminator
from smoothswap_jax.runtime.sharding import PLACES
from smoothswap_jax.training.losses import FORMS
from smoothswap_jax.training.network_checks import network_mistakes
from smoothswap_jax.training.networks import field_mistakes
from smoothswap_jax.training.objectives import OBJECTIVES
from smoothswap_jax.training.optimizers import OPTIMIZERS, SCHEDULES
from smoothswap_jax.training.stage import METRICS, self_pairs
from smoothswap_jax.training.transforms import Transform

Config = EmbedderConfig | SwapperConfig


def check_run(config: Config, devices: int) -> None:
    """Raises ConfigError that names all fields with which the run cannot be built or cannot learn.

    devices: how many it is to run on.
    """
    unknown = _unknown_names(config)
    # The rest reads the names that are checked here.
    more = [] if unknown else [*network_mistakes(config), *_data(config), *_batch(config, devices), *_run(config)]
    raise_mistakes([*unknown, *more])


# --- names ----------------------------------------------------------------------------------------------------------
def _unknown_names(config: Config) -> list[str]:
    asked: list[tuple[str, str, Iterable[str]]] = [
        ("data.kind", config.data.kind, KINDS),
        ("data.feed", config.data.feed, FEEDS),
    ]
    networks: dict[str, Fields] = {}
    if isinstance(config, EmbedderConfig):
        networks["embedder"] = config.embedder
        asked += [
            ("objective.kind", config.objective.kind, OBJECTIVES),
            ("objective.form", config.objective.form, FORMS),
        ]
    else:
        networks |= {"generator": config.generator, "discriminator": config.discriminator}
    for name, optimizer in _optimizers(config).items():
        asked += [(f"{name}.name", optimizer.name, OPTIMIZERS), (f"{name}.schedule", optimizer.schedule, SCHEDULES)]
    asked += [("mesh.rules", place, PLACES) for _, place in config.mesh.rules]
    found = [
        f"config.{field} is {shown(name)}, wanted one of {tuple(known)}"
        for field, name, known in asked
        if name not in known
    ]
    found += [mistake for part, fields in networks.items() for mistake in field_mistakes(part, fields)]
    found += [
        f"config.mesh.rules: {shown(path)} is not a regular expression"
        for path, _ in config.mesh.rules
        if not _is_regex(path)
    ]
    metrics = METRICS[config.stage]
    if config.keep_best and config.keep_best.removeprefix("-") not in metrics:
        found.append(
            f"config.keep_best is {shown(config.keep_best)}, wanted one of {metrics}, with a minus where lower is "
            "better, or '' for none"
        )
    return found


def _optimizers(config: Config) -> dict[str, OptimizerConfig]:
    if isinstance(config, EmbedderConfig):
        return {"optimizer": config.optimizer}
    return {name: getattr(config, name) for name in ("generator_optimizer", "discriminator_optimizer")}


def _is_regex(text: str) -> bool:
    try:
        re.compile(text)
    except (re.error, RecursionError, OverflowError):
        return False
    return True


# --- data -----------------------------------------------------------------------------------------------------------
def _data(config: Config) -> list[str]:
    data, found = config.data, []
    if words := missing_dir(data):
        found.append(words)
    if data.kind == "prepared" and data.dir and data.weights and len(data.weights) != len(data.dir.split(",")):
        found.append(
            f"config.data.weights has {len(data.weights)} and config.data.dir {len(data.dir.split(','))} sets, wanted "
            "as many"
        )
    if data.kind in ("synthetic", "folder") and data.held_out_people < 2:
        found.append(
            f"config.data.held_out_people is {data.held_out_people}, wanted at least 2: evaluation compares people"
        )
    if data.kind != "synthetic":
        return found
    if data.people % data.look_alikes:
        found.append(
            f"config.data.people is {data.people}, wanted a multiple of config.data.look_alikes {data.look_alikes}"
        )
    if words := too_many(max(data.people, data.held_out_people), data.photos, data.size):
        found.append(f"config.data.people, held_out_people, photos and size: {words}")
    if isinstance(config, EmbedderConfig):
        found += _synthetic_photos(config)
    elif data.people < 2:
        found.append(f"config.data.people is {data.people}, wanted at least 2 to swap between")
    return found


def _synthetic_photos(config: EmbedderConfig) -> list[str]:
    data, found = config.data, []
    people = config.batch // config.images_per_identity
    if people > data.people:
        found.append(
            f"config.data.people is {data.people}, wanted at least the {people} different people of a batch "
            f"(config.batch {config.batch} over config.images_per_identity {config.images_per_identity})"
        )
    if data.photos < 2:
        found.append(
            f"config.data.photos is {data.photos}, wanted at least 2: an embedder learns from pairs of a person"
        )
    elif config.eval_images <= data.photos:
        found.append(
            f"config.eval_images is {config.eval_images}, wanted more than the config.data.photos {data.photos} of one "
            "person: evaluation compares people"
        )
    return found


# --- what one step takes --------------------------------------------------------------------------------------------
def _batch(config: Config, devices: int) -> list[str]:
    batch, parts, found = config.batch, config.grad_accum_steps, []
    if devices % config.mesh.fsdp:
        found.append(f"config.mesh.fsdp is {config.mesh.fsdp}, wanted a divisor of the {devices} devices")
    if batch % devices:
        found.append(f"config.batch is {batch}, wanted a multiple of the {devices} devices")
    elif batch % (parts * devices):
        found.append(
            f"config.grad_accum_steps is {parts}, wanted a divisor of the {batch // devices} rows of each of {devices} "
            f"devices (config.batch {batch})"
        )
    elif isinstance(config, SwapperConfig):
        found += _rows_of_discriminator(config, batch // parts)
    return found + (_people(config) if isinstance(config, EmbedderConfig) else _pairs(config))


def _rows_of_discriminator(config: SwapperConfig, rows: int) -> list[str]:
    group = config.discriminator.get("mbstd_group", Discriminator.mbstd_group) or rows
    if rows % min(rows, group) == 0:
        return []
    parts = f" over config.grad_accum_steps {config.grad_accum_steps}" if config.grad_accum_steps > 1 else ""
    wanted = f"a multiple of config.discriminator.mbstd_group, {group}"
    return [f"config.batch is {config.batch}{parts}, wanted {wanted}, or a smaller group"]


def _people(config: EmbedderConfig) -> list[str]:
    batch, each = config.batch, config.images_per_identity
    if batch % each or batch // each < 2:
        return [
            f"config.batch is {batch} and config.images_per_identity {each}, wanted a batch of at least 2 people with "
            "so many images each"
        ]
    if each < 2 and not OBJECTIVES[config.objective.kind].needs_classes:
        return [f"config.images_per_identity is {each}, wanted at least 2: {config.objective.kind} learns from pairs"]
    return []


def _pairs(config: SwapperConfig) -> list[str]:
    own = self_pairs(config)
    if own < config.batch:
        return []
    return [
        f"config.self_pair_fraction is {config.self_pair_fraction}, which makes all {config.batch} pairs of "
        "config.batch one face twice; wanted fewer"
    ]


# --- the run --------------------------------------------------------------------------------------------------------
def _run(config: Config) -> list[str]:
    steps = config.steps
    warmups = {f"{name}.warmup_steps": optimizer.warmup_steps for name, optimizer in _optimizers(config).items()}
    found = []
    if isinstance(config, SwapperConfig):
        how = config.objective
        if how.transform_samples > 1 and not Transform(**asdict(how.transform)).on:
            found.append(
                f"config.objective.transform_samples is {how.transform_samples}, wanted 1: all strengths of "
                "config.objective.transform are 0, and all samples of a swap would be the same"
            )
        warmups["objective.identity_warmup_steps"] = how.identity_warmup_steps
        if not how.identity and not how.change and not how.adversarial:
            found.append("config.objective has identity, change and adversarial 0, wanted one above: nothing to learn")
        resolutions = config.generator.get("attn_resolutions", NCSNpp.attn_resolutions)
        levels = len(config.generator.get("ch_mult", NCSNpp.ch_mult))
        met = [config.data.size // 2**level for level in range(levels)]
        if missed := [resolution for resolution in resolutions if resolution not in met]:
            found.append(
                f"config.generator.attn_resolutions has {', '.join(map(str, missed))}, wanted some of {met}, the sizes "
                "that config.data.size and config.generator.ch_mult make; () for none"
            )
    return found + [
        f"config.{name} is {count}, wanted at most config.steps, {steps}"
        for name, count in warmups.items()
        if count > max(steps, 1)
    ]
