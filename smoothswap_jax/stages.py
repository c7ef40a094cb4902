"""The two training stages as sets of functions that one loop (`train.py`) runs."""

import dataclasses
import functools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from smoothswap_jax import build, checkpoint, sharding, state, steps
from smoothswap_jax.compiling import ahead_of_time
from smoothswap_jax.data import faces as faces_lib
from smoothswap_jax.data import pipeline, sampling
from smoothswap_jax.data.augment import Augmentation
from smoothswap_jax.data.faces import Faces
from smoothswap_jax.data.reading import Reader
from smoothswap_jax.evaluation import metrics
from smoothswap_jax.evaluation.grids import swap_grid
from smoothswap_jax.trained import load_embedder, swap, swapper_networks

EVAL_BATCH = 32
EVAL_SEED = 2**31 - 1  # of the evaluation pairs: the same for every run on the same data
GRID = 6


class Stage(NamedTuple):
    """What the loop needs to know of a stage. Shapes of `abstract` carry their placement on the mesh; `data` counts the
    training examples and people."""

    init: Callable[[], Any]
    abstract: Any
    batches: Callable[[int], Iterator[pipeline.Batch]]
    step: Callable[[int, Any, pipeline.Batch], tuple[Any, steps.Metrics]]
    evaluate: Callable[[Any], dict[str, float]]
    picture: Callable[[Any], np.ndarray | None]
    data: dict[str, int]
    images_per_step: int
    headline: tuple[str, ...]


def make_stage(config: dict, mesh, workdir: Path) -> Stage:
    """The stage that `config["stage"]` names."""
    stages = {"embedder": embedder_stage, "swapper": swapper_stage}
    if config["stage"] not in stages:
        raise build.ConfigError(f"config.stage is {config['stage']!r}, wanted one of {sorted(stages)}")
    return stages[config["stage"]](config, mesh, workdir)


def make_batches(config: dict, faces: Faces, mesh) -> Callable[[int], Iterator[pipeline.Batch]]:
    """first_step -> endless batches, by the feed that `config.data.feed` names."""
    feeds = {"memory": pipeline.memory_batches, "tf": pipeline.tf_batches}
    feed = config["data"]["feed"]
    if feed not in feeds:
        raise build.ConfigError(f"config.data.feed is {feed!r}, wanted one of {sorted(feeds)}")
    sampler = pipeline.Sampler(config["seed"], config["batch"], config.get("photos", 0))
    return functools.partial(feeds[feed], faces, sampler, Augmentation(**config["augment"]), mesh)


def _accumulate(config: dict, mesh) -> int:
    """In how many parts a batch is computed; every device has rows of its own in each."""
    count = config["accumulate"]
    if count < 1 or config["batch"] % (count * mesh.size):
        raise build.ConfigError(
            f"config.accumulate is {count}; wanted a divisor of the {config['batch'] // mesh.size} rows of each of the "
            f"mesh's {mesh.size} devices"
        )
    return count


def _counts(faces: Faces) -> dict[str, int]:
    """By which a run knows its data again: which rows a step draws depends on them."""
    return {"examples": len(faces), "people": len(faces.people)}


# --- stage 1 -----------------------------------------------------------------------------------------------


def embedder_stage(config: dict, mesh, workdir: Path) -> Stage:
    """Trains the identity embedder; evaluates verification on people that training never sees."""
    del workdir
    train_faces, test_faces = (build.faces(config["data"], split) for split in faces_lib.SPLITS)
    network = build.embedder(config["embedder"])
    objective = steps.EmbedderObjective(**config["objective"])
    optimizer = build.optimizer(config["optimizer"], config["steps"])
    classes = len(train_faces.people) if objective.needs_classes else 0
    key = jax.random.key(config["seed"])
    init = functools.partial(state.init_embedder_state, key, network, optimizer, config["data"]["size"], classes)

    def apply(variables, images):
        z, updated = network.apply(variables, images, train=True, mutable=["batch_stats"])
        return z, updated.get("batch_stats", variables["batch_stats"])

    shapes = jax.eval_shape(init)
    places = sharding.placement(shapes, mesh, config["mesh"]["rules"])
    sharding.log_placement(shapes, places)
    accumulate = _accumulate(config, mesh)
    step = functools.partial(
        steps.embedder_step, apply=apply, objective=objective, optimizer=optimizer, accumulate=accumulate
    )
    program = jax.jit(step, donate_argnums=0, out_shardings=(places, sharding.replicated(mesh)))
    compiled = ahead_of_time("embedder step", program)
    embed = make_embed(network, mesh)
    count = min(config["eval_images"], len(test_faces))
    chosen = np.arange(count)

    def evaluate(current):
        z = embed(
            {"params": current.params["embedder"], "batch_stats": current.batch_stats},
            _pixels(test_faces, chosen),
        )
        return {f"eval/{name}": value for name, value in verification(z, test_faces.labels[chosen]).items()}

    return Stage(
        init=sharding.jit_init(init, places),
        abstract=sharding.abstract_like(shapes, places),
        batches=make_batches(config, train_faces, mesh),
        step=lambda _, current, batch: compiled(current, batch),
        evaluate=evaluate,
        picture=lambda _: None,
        data=_counts(train_faces),
        images_per_step=config["batch"],
        headline=("train/loss", "train/cosine_same", "train/cosine_other"),
    )


def make_embed(network, mesh) -> Callable[[Any, np.ndarray], np.ndarray]:
    """(variables, images [n h w 3] in [-1, 1]) -> embeddings [n d] in inference mode, any n, in compiled chunks."""
    apply = jax.jit(lambda variables, images: network.apply(variables, images, train=False))
    return lambda variables, images: in_chunks(functools.partial(apply, variables), mesh)(images)


def verification(z: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    """How well embeddings tell people apart: ROC AUC over all pairs, rank-1, mean cosines."""
    similarity = z @ z.T
    first, second = np.triu_indices(len(z), 1)
    same = labels[first] == labels[second]
    genuine, impostor = similarity[first, second][same], similarity[first, second][~same]
    return {
        "auc": metrics.roc_auc(genuine, impostor),
        "rank1": metrics.rank1(z, labels),
        "cosine_same": float(genuine.mean()),
        "cosine_other": float(impostor.mean()),
    }


def in_chunks(function: Callable, mesh) -> Callable[..., np.ndarray]:
    """Makes a compiled function of image batches take host arrays of any length: about EVAL_BATCH rows at a time over
    the mesh, the last chunk padded."""
    size = mesh.size * -(-EVAL_BATCH // mesh.size)

    def run(*arrays: np.ndarray) -> np.ndarray:
        count = len(arrays[0])
        results = []
        for start in range(0, count, size):
            rows = np.minimum(np.arange(start, start + size), count - 1)
            results.append(sharding.to_host(function(*(sharding.put_rows(x[rows], mesh) for x in arrays))))
        return np.concatenate(results)[:count]

    return run


def _pixels(faces: Faces, rows: np.ndarray) -> np.ndarray:
    """Float images of some examples."""
    if faces.images is not None:
        return faces_lib.to_float(faces.images[rows])
    reader = Reader(faces)
    return faces_lib.to_float(np.stack([reader.decoded(int(row))[0] for row in rows]))


# --- stage 2 -----------------------------------------------------------------------------------------------


class EvalPairs(NamedTuple):
    """Pairs of different held-out people: images [n h w 3] in [-1, 1]; `truth` is the exact swap where it is known."""

    source: np.ndarray
    target: np.ndarray
    truth: np.ndarray | None
    people: np.ndarray  # [n, 2]: identity of source and target


def swapper_stage(config: dict, mesh, workdir: Path) -> Stage:
    """Trains generator and discriminator against the frozen embedder of `config.embedder.checkpoint`."""
    embedder_config, embedder_variables = frozen_embedder(config, workdir)
    size = config["data"]["size"]
    networks, modules = swapper_networks(config, embedder_config)
    rules = config["mesh"]["rules"]
    frozen = sharding.put(embedder_variables, sharding.placement(embedder_variables, mesh, rules))
    generator_optimizer = build.optimizer(config["generator_optimizer"], config["steps"])
    discriminator_optimizer = build.optimizer(config["discriminator_optimizer"], config["steps"])
    objective = steps.SwapperObjective(**config["objective"])
    key, dim = jax.random.key(config["seed"]), embedder_config["dim"]
    init = lambda: state.init_swapper_state(key, *modules, generator_optimizer, discriminator_optimizer, size, dim)
    shapes = jax.eval_shape(init)
    places = sharding.placement(shapes, mesh, rules)
    sharding.log_placement(shapes, places)
    step = functools.partial(
        steps.swapper_step,
        networks=networks,
        objective=objective,
        generator_optimizer=generator_optimizer,
        discriminator_optimizer=discriminator_optimizer,
        accumulate=_accumulate(config, mesh),
    )
    out = (places, sharding.replicated(mesh))
    program = lambda with_r1: jax.jit(functools.partial(step, with_r1=with_r1), donate_argnums=0, out_shardings=out)
    compiled = {
        True: ahead_of_time("swapper step with R1", program(True)),
        False: ahead_of_time("swapper step", program(False)),
    }
    pairs, train_faces = eval_pairs(config), build.faces(config["data"], "train")
    evaluate, picture = _swapper_evaluation(networks, frozen, pairs, mesh)
    return Stage(
        init=lambda: _with_imported(sharding.jit_init(init, places)(), config["init"], modules, size, dim, places),
        abstract=sharding.abstract_like(shapes, places),
        batches=make_batches(config, train_faces, mesh),
        step=lambda index, current, batch: compiled[index % objective.r1_interval == 0](current, frozen, batch),
        evaluate=lambda current: evaluate(current.generator_ema),
        picture=lambda current: picture(current.generator_ema),
        data=_counts(train_faces),
        images_per_step=config["batch"],
        headline=("train/identity_loss", "train/change_loss", "train/g_adversarial", "train/d_loss"),
    )


def _with_imported(current: state.SwapperState, folders: dict, modules: tuple, size: int, dim: int, places):
    """The fresh state with the published weights that `config.init` names in place of its own."""
    image = jax.ShapeDtypeStruct((1, size, size, 3), np.float32)
    inputs = {"generator": (image, jax.ShapeDtypeStruct((1, dim), np.float32)), "discriminator": (image,)}
    for (part, shapes), module in zip(inputs.items(), modules, strict=True):
        if folders[part]:
            params = sharding.put(build.imported_params(folders[part], module, *shapes), getattr(places, part))
            own = lambda params=params: jax.tree.map(jnp.copy, params)  # donated later: no two may share memory
            current = dataclasses.replace(current, **{part: own()})
            if part == "generator":
                current = dataclasses.replace(current, generator_ema=own())
    return current


def frozen_embedder(config: dict, workdir: Path) -> tuple[dict, Any]:
    """(config fields, variables) of the embedder. A copy goes into the run directory, which so stands alone."""
    copy = workdir / "embedder"
    if sharding.agreed(np.bool_(any(path.name.isdigit() for path in (copy / checkpoint.FOLDER).glob("*")))):
        return load_embedder(copy)
    given = config["embedder"]["checkpoint"]
    if not given:
        raise build.ConfigError("config.embedder.checkpoint is not set, wanted the run directory of an embedder")
    parts, meta, step = checkpoint.load_parts(given, ("params", "batch_stats"))
    parts = {"params": {"embedder": parts["params"]["embedder"]}, "batch_stats": parts["batch_stats"]}
    manager = checkpoint.open_manager(copy)
    checkpoint.save(manager, step, parts, meta)
    checkpoint.close(manager)
    sharding.wait_for_all("embedder is copied")
    return load_embedder(copy)


def eval_pairs(config: dict) -> EvalPairs:
    """A fixed set of held-out pairs of different people."""
    data, count = config["data"], config["eval_images"]
    if data["kind"] == "synthetic":
        return synthetic_pairs(data, count)
    faces = build.faces(data, "test")
    if len(faces.people) < 2:
        raise faces_lib.DataError(f"evaluation wants 2 held-out people, found {len(faces.people)}")
    source, target = different_people(faces.labels, count)
    people = np.stack([faces.labels[source], faces.labels[target]], axis=1)
    return EvalPairs(_pixels(faces, source), _pixels(faces, target), None, people)


def synthetic_pairs(data: dict, count: int) -> EvalPairs:
    """Held-out synthetic pairs with the exact swap."""
    from smoothswap_jax.data import synthetic

    factors = faces_lib.synthetic_factors("test", data["held_out_people"], data["photos"], data["seed"], data["spread"])
    labels = np.repeat(np.arange(data["held_out_people"]), data["photos"])
    source, target = different_people(labels, count)
    pick = lambda rows: synthetic.Factors(*(f[rows] for f in factors))
    draw = lambda chosen: faces_lib.render_many(chosen, data["size"])
    truth = synthetic.swap_truth(pick(source), pick(target))
    people = np.stack([labels[source], labels[target]], axis=1)
    return EvalPairs(draw(pick(source)), draw(pick(target)), draw(truth), people)


def different_people(labels: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """`count` source and target rows of different identities, the same for every run on the same data."""
    n = len(labels)
    position = np.arange(4 * count)
    source = sampling.epoch_order(EVAL_SEED, sampling.SOURCE, position, n)
    target = sampling.epoch_order(EVAL_SEED, sampling.TARGET, position, n)
    keep = np.flatnonzero(labels[source] != labels[target])[:count]
    return source[keep], target[keep]


def _swapper_evaluation(networks: steps.SwapperNetworks, frozen, pairs: EvalPairs, mesh):
    """evaluate(generator params) -> metrics and picture(generator params) -> grid, on fixed held-out pairs."""

    compiled, embed = jax.jit(functools.partial(swap, networks)), jax.jit(networks.embed)
    run = lambda params, *images: in_chunks(
        functools.partial(compiled, {"generator": params, "embedder": frozen}), mesh
    )(*images)
    z = in_chunks(functools.partial(embed, frozen), mesh)
    z_source, z_target = z(pairs.source), z(pairs.target)

    def evaluate(params) -> dict[str, float]:
        swapped = run(params, pairs.source, pairs.target)
        z_swap = z(swapped)
        values = {
            "eval/cosine_to_source": float(metrics.cosine(z_swap, z_source).mean()),
            "eval/cosine_to_target": float(metrics.cosine(z_swap, z_target).mean()),
            "eval/change": float(metrics.mse(swapped, pairs.target).mean()),
        }
        if pairs.truth is not None:
            error, copied = metrics.mse(swapped, pairs.truth), metrics.mse(pairs.target, pairs.truth)
            values["eval/mse_to_truth"] = float(error.mean())
            values["eval/mse_over_copy_target"] = float(error.mean() / copied.mean())
        return values

    def picture(params) -> np.ndarray:
        source, target = pairs.source[:GRID], pairs.target[:GRID]
        rows, columns = np.divmod(np.arange(len(source) * len(target)), len(target))
        swaps = run(params, source[rows], target[columns])
        shape = (len(source), len(target), *swaps.shape[1:])
        return swap_grid(source, target, swaps.reshape(shape), scale=max(1, 128 // source.shape[1]))

    return evaluate, picture
