"""What embedders hold, and where their gradients point: `smoothswap bench --what=embedding`.

On people of the synthetic world whom no training sees. What an embedding does not hold, a swapper cannot learn from it;
what its gradient does not point to, a swapper does not learn from it.
"""

import functools
import itertools
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, UInt8

from smoothswap_jax.bench.probe_targets import Values, as_columns, probe_targets
from smoothswap_jax.config.errors import ConfigError
from smoothswap_jax.config.parse import parse
from smoothswap_jax.config.schema import EmbedderConfig
from smoothswap_jax.data.rendered import render_kept, synthetic_factors
from smoothswap_jax.faces.photos import to_float
from smoothswap_jax.metrics.per_pair import unit_rows
from smoothswap_jax.metrics.probes import probe_r2
from smoothswap_jax.metrics.verification import pair_cosines, roc_auc, tar_at_far
from smoothswap_jax.models.injection import identity_vector
from smoothswap_jax.runtime import sharding
from smoothswap_jax.synthetic import world
from smoothswap_jax.synthetic.heads import SHAPE_NAMES
from smoothswap_jax.synthetic.world import Factors
from smoothswap_jax.training.frozen_embedder import load_embedder
from smoothswap_jax.training.gradient_agreement import agreement, cosine_gradient, local_lipschitz
from smoothswap_jax.training.networks import make_embedder
from smoothswap_jax.training.transforms import Transform, transform, transform_keys

SEED = 18_000
"""Of the people of this bench; runs that train on the world of this seed are refused."""
PHOTOS = 4  # of each person, for verification
COLOURINGS = 5
"""Groups of people that share all that is not shape with one of them."""
LEAST = 80
"""People of whom all measures can be taken."""
FAR = 0.01
SIGMAS = (0.0, 1.0, 2.0)
"""Standard deviations of the low-pass before gradient and true change are compared, pixels at 32 pixels."""
DRAWS = 8
"""Of a run's transformations, over which its gradient is averaged."""
STEPS = (0.25, 0.5, 0.75, 1.0)
"""Shares of the way from the target's identity to the source's."""
SHAPE = len(SHAPE_NAMES)
"""The columns of an identity before this one are its shape, the others its colours and marks."""

Images = UInt8[np.ndarray, "n s s 3"]
Embed = Callable[[Float[Array, "b s s 3"]], Any]


class Embedder(NamedTuple):
    """embed: pure, images in [-1, 1] -> identity z, each by itself. transform: under which it was trained."""

    embed: Embed
    transform: Transform


class Moves(NamedTuple):
    """The first m targets, with a share of the way to the source's identity, an array [m s s 3] for each of STEPS."""

    shape: list[Images]
    colours: list[Images]
    both: list[Images]


class Material(NamedTuple):
    """Photos of people whom no training sees, and what is known of them."""

    strangers: tuple[Images, Int[np.ndarray, "n"]]  # PHOTOS of each person, with the person's number
    alike: list[tuple[Images, Int[np.ndarray, "k"]]]  # the same for each of COLOURINGS
    fit: int  # so many of the photos of `probed` are for the fit
    probed: Images
    targets: dict[str, Values]  # of the photos of `probed`
    identities: Float[np.ndarray, "n i"]
    attributes: Float[np.ndarray, "m a"]  # of the photos of `strangers`
    pairs: tuple[Images, Images, Images]  # source, target, true swap
    moves: Moves


def bench_embedding(runs: Sequence[str], people: int) -> dict[str, Any]:
    """Measures the embedders of run directories of stage 1, each at its newest checkpoint.

    people: whose photos are read by probes, which twice as many are fitted to; a quarter as many are verified, and as
    many pairs are swapped. The photos have the size and spread of each run's own config, and are kept in its
    `data.rendered_cache`.

    Raises CheckpointError for what is no such run, ConfigError for one that trains on the people of this bench, and
    ValueError for fewer than LEAST people.
    """
    if people < LEAST:
        raise ValueError(f"--people: wanted at least {LEAST} with --what=embedding, found {people}")
    loaded = {run: _load(run) for run in runs}
    made = functools.cache(functools.partial(make_material, people))
    results: dict[str, dict[str, Any]] = {}
    implied: dict[str, float] = {}
    for run, (config, step, embedder) in loaded.items():
        data = config.data
        material = made(data.size, data.spread, data.rendered_cache)
        trained = {"step": step, "pixels": data.size, "spread": data.spread}
        results[run] = {**trained, **measures(embedder, material)}
        implied = implied or implied_by_identity(material)
    return {"people": people, "seed": SEED, "attributes implied by identity": implied, "runs": results}


def _load(run: str) -> tuple[EmbedderConfig, int, Embedder]:
    found = load_embedder(run)
    config = parse(found.meta["config"])
    assert isinstance(config, EmbedderConfig)
    if config.data.kind == "synthetic" and config.data.seed == SEED:
        raise ConfigError(f"{run}: config.data.seed is {SEED}, that of the people of this bench; wanted another run")
    network = make_embedder(found.fields)
    how = Transform(**asdict(config.objective.transform))
    return config, found.step, Embedder(lambda images: network.apply(found.variables, images, train=False), how)


# --- photos ---------------------------------------------------------------------------------------------------


def make_material(people: int, size: int, spread: float, cache: str = "") -> Material:
    """Renders everything that embedders are measured on. people: as of `bench_embedding`. cache: of `render_kept`."""
    few, group = people // 4, people // (4 * COLOURINGS)
    render = functools.partial(render_kept, size=size, cache=cache)
    # Train and test are only names of two crowds here.
    probed = synthetic_factors("train", 3 * people, 1, SEED, spread)
    strangers = synthetic_factors("test", few, PHOTOS, SEED, spread)
    photos = render(strangers)
    labels = np.repeat(np.arange(few), PHOTOS)
    target, target_images = _rows(strangers, slice(None, None, PHOTOS)), photos[::PHOTOS]
    source = _rows(target, np.roll(np.arange(few), -1))
    keys = jax.random.split(jax.random.key(SEED), COLOURINGS)
    alike = [
        world.sample_photos(key, np.repeat(identity, PHOTOS, axis=0), spread)
        for key, identity in zip(
            keys, np.split(world.look_alikes(target.identity[: group * COLOURINGS], group), COLOURINGS), strict=True
        )
    ]
    some_sources, some_targets = (_rows(one, slice(people // 8)) for one in (source, target))
    moved = lambda columns: [render(on_the_way(some_sources, some_targets, share, columns)) for share in STEPS]
    return Material(
        strangers=(photos, labels),
        alike=[(render(some), labels[: group * PHOTOS]) for some in alike],
        fit=2 * people,
        probed=render(probed),
        targets=probe_targets(probed),
        identities=np.asarray(probed.identity),
        pairs=(np.roll(target_images, -1, axis=0), target_images, render(world.swap_truth(source, target))),
        attributes=np.concatenate(strangers[1:], axis=1),
        moves=Moves(*(moved(columns) for columns in (slice(0, SHAPE), slice(SHAPE, None), slice(None)))),
    )


def _rows(factors: Factors, rows: slice | Int[np.ndarray, "k"]) -> Factors:
    return jax.tree.map(lambda values: values[rows], factors)


def on_the_way(source: Factors, target: Factors, share: float, columns: slice) -> Factors:
    """The targets, some columns of whose identity are a share of the way to the source's: 0 none of it, 1 all."""
    way = share * (source.identity - target.identity)[:, columns]
    return target._replace(identity=target.identity.at[:, columns].add(way))


# --- measures -------------------------------------------------------------------------------------------------


def measures(embedder: Embedder, material: Material) -> dict[str, Any]:
    """Verification, R2 of probes, agreement of the gradient, and which moves the cosine sees; each as below."""
    mesh = sharding.make_mesh()
    compiled = sharding.in_chunks(jax.jit(embedder.embed), mesh)
    z_of = lambda images: identity_vector(compiled(to_float(images)), np)
    return {
        "verification": verification([(z_of(material.strangers[0]), material.strangers[1])]),
        "verification, same colours": verification([(z_of(images), labels) for images, labels in material.alike]),
        "probes": probes(unit_rows("embeddings", z_of(material.probed)), material.targets, material.fit),
        "gradient": gradient(embedder, material.pairs, material.moves, mesh),
        "moves": moves(z_of, material.pairs, material.moves),
        "smoothness": smoothness(embedder.embed, material.pairs, material.moves, mesh),
        "linear": linear(unit_rows("embeddings", z_of(material.probed)), z_of(material.strangers[0]), material),
    }


def verification(groups: Sequence[tuple[Float[np.ndarray, "n d"], Int[np.ndarray, "n"]]]) -> dict[str, float]:
    """ROC AUC, true accept rate and mean cosines, of pairs within each group of embeddings and their people."""
    genuine, impostor = (np.concatenate(side) for side in zip(*(pair_cosines(*group) for group in groups), strict=True))
    return {
        "roc auc": roc_auc(genuine, impostor),
        f"tar at far {FAR:.0%}": tar_at_far(genuine, impostor, FAR),
        "cosine, same person": float(genuine.mean()),
        "cosine, strangers": float(impostor.mean()),
    }


def probes(embeddings: Float[np.ndarray, "n d"], targets: dict[str, Values], fit: int) -> dict[str, dict[str, float]]:
    """R2 of each target read from the embeddings of the rows from `fit` on, by probes fitted to those before; the mean
    of each group, and for components of shape also by their variance, the share of all of it."""
    columns = as_columns(targets)
    r2 = iter(probe_r2(embeddings[:fit], columns[:fit], embeddings[fit:], columns[fit:]).tolist())
    found: dict[str, dict[str, float]] = {}
    for group, values in targets.items():
        each = {name: next(r2) for name in values}
        found[group] = {"mean": float(np.mean(list(each.values()))), **each}
    shape = "shape components"
    weights = [column.var() for column in targets[shape].values()]
    by_variance = float(np.average([found[shape][name] for name in targets[shape]], weights=weights))
    found[shape] = {"mean": found[shape]["mean"], "mean by variance": by_variance, **found[shape]}
    return found


def implied_by_identity(material: Material) -> dict[str, float]:
    """R2 of attributes read from the true identities: women's hair is longer, so not all of it is a photo's."""
    identities = material.identities / np.maximum(material.identities.std(0), 1e-6)
    return probes(identities, material.targets, material.fit)["attributes"]


def gradient(
    embedder: Embedder, pairs: tuple[Images, Images, Images], moved: Moves, mesh: Any
) -> dict[str, dict[str, dict[str, float]]]:
    """Mean correlation over pairs of the gradient of the cosine to the source, at the target, with the way to the true
    swap, and to what the target would be if only shape or only colours changed; of the plain gradient, and of its mean
    over the embedder's transformations if it has some."""
    source, target, truth = (to_float(images) for images in pairs)
    wanted = {"true swap": truth, "shape only": to_float(moved.shape[-1]), "colours only": to_float(moved.colours[-1])}
    kinds = {"plain": (Transform(), 1)} | (
        {"transformed": (embedder.transform, DRAWS)} if embedder.transform.on else {}
    )
    found: dict[str, dict[str, dict[str, float]]] = {}
    for kind, (how, draws) in kinds.items():
        slope = mean_gradient(embedder.embed, how, draws, source, target, mesh)
        found[kind] = {
            name: _agreements(slope[: len(image)], image - target[: len(image)]) for name, image in wanted.items()
        }
    return found


def _agreements(slope: Float[np.ndarray, "n s s 3"], change: Float[np.ndarray, "n s s 3"]) -> dict[str, float]:
    """By the low-pass, in pixels at 32 pixels. Pairs that do not differ have none."""
    scale = change.shape[1] / 32
    each = {
        f"low-pass {sigma:g} px": np.asarray(agreement(jnp.asarray(slope), jnp.asarray(change), sigma * scale))
        for sigma in SIGMAS
    }
    error = np.nanstd(each["low-pass 0 px"]) / len(change) ** 0.5
    return {name: float(np.nanmean(values)) for name, values in each.items()} | {"standard error": float(error)}


def mean_gradient(
    embed: Embed,
    how: Transform,
    draws: int,
    source: Float[np.ndarray, "n s s 3"],
    target: Float[np.ndarray, "n s s 3"],
    mesh: Any,
) -> Float[np.ndarray, "n s s 3"]:
    """The gradient of the cosine to the sources at the targets, under so many draws of the transformations."""

    @jax.jit
    def once(draw: Array, source: Array, target: Array) -> Array:
        keys = transform_keys(SEED, draw, (len(target),))
        return cosine_gradient(lambda seen: embed(transform(seen, keys, how)), target, embed(source))

    total = np.zeros_like(target)
    for draw in range(draws):
        total += sharding.in_chunks(functools.partial(once, np.int32(draw)), mesh)(source, target)
    return total / draws


def moves(
    z_of: Callable[[Images], Float[np.ndarray, "n d"]], pairs: tuple[Images, Images, Images], moved: Moves
) -> dict[str, Any]:
    """Mean cosine to the source of targets whose shape, or colours, or both have gone a share of the way to it, and
    which share of the rise to the true swap either gives by itself."""
    few = len(moved.shape[-1])
    unit = lambda images: unit_rows("embeddings", z_of(images[:few]))
    source, target, truth = (unit(images) for images in pairs)
    mean = lambda z: float(np.mean(np.sum(z * source, axis=1)))
    found: dict[str, Any] = {"target": mean(target), "true swap": mean(truth)}
    rise = found["true swap"] - found["target"]
    for name, parts in (("shape", moved.shape), ("colours", moved.colours)):
        found[name] = {f"{share:g} of the way": mean(unit(part)) for share, part in zip(STEPS, parts, strict=True)}
        found[name]["share of the rise"] = (mean(unit(parts[-1])) - found["target"]) / rise if rise else 0.0
    return found


def smoothness(embed: Embed, pairs: tuple[Images, Images, Images], moved: Moves, mesh: Any) -> dict[str, float]:
    """How the gradient of the cosine to the source changes on the way of the target's identity to the source's: its
    mean correlation between neighbours of 0, STEPS, and the mean factor between their lengths; and the local Lipschitz
    constant of the targets, mean and standard deviation.

    The way is one of images: at a fixed image, all identities along a great circle from its own have gradients of one
    direction.
    """
    source, target, _ = (to_float(images) for images in pairs)
    few = len(moved.both[-1])
    slope = sharding.in_chunks(jax.jit(lambda image, source: cosine_gradient(embed, image, embed(source))), mesh)
    slopes = [slope(image, source[:few]) for image in (target[:few], *map(to_float, moved.both))]
    lengths = np.array([np.linalg.norm(one.reshape(few, -1), axis=1) for one in slopes])
    turns = [np.asarray(agreement(jnp.asarray(a), jnp.asarray(b))) for a, b in itertools.pairwise(slopes)]
    factors = np.exp(np.abs(np.diff(np.log(np.maximum(lengths, 1e-12)), axis=0)))
    constant = sharding.in_chunks(jax.jit(lambda images: local_lipschitz(embed, images, jax.random.key(SEED))), mesh)
    constants = constant(target)
    return {
        "gradients of neighbours, correlation": float(np.nanmean(turns)),
        "gradients of neighbours, factor of lengths": float(np.mean(factors)),
        "Lipschitz constant": float(np.mean(constants)),
        "Lipschitz constant, standard deviation": float(np.std(constants)),
    }


def linear(
    probed: Float[np.ndarray, "n d"], strangers: Float[np.ndarray, "m d"], material: Material
) -> dict[str, float]:
    """The share of the variance of embeddings that a linear map from the known factors gives: from identities, between
    people; and from attributes, of the deviations of a person's photos from their mean, within people."""
    fit, scaled = material.fit, lambda values: values / np.maximum(values.std(0), 1e-6)
    rows = unit_rows("embeddings", strangers).reshape(-1, PHOTOS, strangers.shape[1])
    factors = scaled(material.attributes).reshape(len(rows), PHOTOS, -1)
    half = len(rows) // 2 * PHOTOS
    of, moved = ((part - part.mean(1, keepdims=True)).reshape(-1, part.shape[2]) for part in (factors, rows))
    people = scaled(material.identities)
    return {
        "between people": _explained(people[:fit], probed[:fit], people[fit:], probed[fit:]),
        "within people": _explained(of[:half], moved[:half], of[half:], moved[half:]),
    }


def _explained(
    fit: Float[np.ndarray, "n k"],
    fit_values: Float[np.ndarray, "n d"],
    test: Float[np.ndarray, "m k"],
    test_values: Float[np.ndarray, "m d"],
) -> float:
    """The mean of `probe_r2` over values, by their variance. Values that do not vary, of an embedder that has
    collapsed, count nothing."""
    varied = np.ptp(test_values, axis=0) > 0
    if not varied.any():
        return 0.0
    r2 = probe_r2(fit, fit_values[:, varied], test, test_values[:, varied])
    return float(np.average(r2, weights=test_values[:, varied].var(0)))
