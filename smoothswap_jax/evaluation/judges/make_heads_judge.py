"""Fits the judge of heads, `heads.npz`, to rendered people.

    python -m smoothswap_jax.evaluation.judges.make_heads_judge heads.npz

Every picture shows another head, with the whole range of expression, pose and light. Its skin is another person's and
its hair a third's: a network that saw whole people would read shape from colours, with which it goes among people, and
a swap that recolours its target would be taken for one that moves shape. The network sees pictures shifted, blurred,
recoloured, noisy and mirrored, because swaps are softer than renderings.
"""

import argparse
import functools
import itertools
import logging
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, Int, UInt8

from smoothswap_jax.data.rendered import render_kept, synthetic_factors
from smoothswap_jax.evaluation.judges import head_reader
from smoothswap_jax.evaluation.judges.head_reader import GROUPS, SIDE, HeadReader, Shape, explained, parameters, predict
from smoothswap_jax.faces.photos import to_float
from smoothswap_jax.models.judges.heads import HeadNetwork
from smoothswap_jax.runtime import sharding
from smoothswap_jax.runtime.files import check_place, write_atomically
from smoothswap_jax.synthetic import heads, world
from smoothswap_jax.training.transforms import Transform, gaussian_blur, transform, transform_keys

log = logging.getLogger(__name__)
SEED = 20_000
"""No training and no protocol draws people from this seed or the next few."""
PART = 8192  # people that are rendered together, each part of a seed of its own
COMPONENTS = 32
SEEN = Transform(colour=0.15, shift=0.02, scale=0.03, blur=1.0, blur_sigma=1.4, noise=0.08)
SOFT_BLUR, SOFT_NOISE = 1.4, 0.03  # standard deviations in pixels of SIDE, and of pictures in [-1, 1]

Images = UInt8[np.ndarray, "n s s 3"]


# --- what is read ---------------------------------------------------------------------------------------------


def face_points() -> Int[np.ndarray, "v"]:
    """The vertices whose distances make the shape: face and skull as seen from the front, from the chin up.

    Ears are left out: hair hides them in half of the photos, and they have as many vertices as the rest of the face.
    """
    model = heads.load_heads()
    skin = np.unique(model.triangles[model.parts == heads.SKIN])
    mask = lambda name: model.masks[skin, heads.MASK_NAMES.index(name)] > 0.5
    height, depth, facing = model.mean[skin, 1], model.mean[skin, 2], model.normals[skin, 2]
    return skin[~mask("mouth") & ~mask("ears") & (height > -1.15) & (depth > -1.0) & (facing > -0.2)]


def shape_components(identity: Float[Array, "n i"], count: int) -> tuple[Shape, tuple[str, ...]]:
    """The first principal components of people's neutral heads, and their names.

    Heads are linear in the coefficients of shape, so the components of their points are found from the covariance of
    coefficients. A component is named by the coefficient it is correlated with most, which it grows with.
    """
    names = heads.SHAPE_NAMES
    coefficients = np.asarray(identity, np.float64)[:, : len(names)]
    points = face_points()
    moved = heads.load_heads().shape[:, points].reshape(len(names), -1).astype(np.float64)
    moved = moved * 100.0 / np.sqrt(len(points))  # mm, as part of a root mean square
    middle = coefficients.mean(0)
    spread = np.linalg.cholesky(np.cov(coefficients.T) + 1e-12 * np.eye(len(names)))
    variances, directions = np.linalg.eigh(spread.T @ moved @ moved.T @ spread)
    variances, directions = variances[::-1][:count], directions[:, ::-1][:, :count]
    matrix = moved @ moved.T @ spread @ directions / np.sqrt(variances)
    correlations = np.corrcoef((coefficients - middle) @ matrix, coefficients, rowvar=False)[:count, count:]
    most = np.abs(correlations).argmax(1)
    matrix = matrix * np.sign(correlations[np.arange(count), most])
    return Shape(middle, matrix), tuple(f"{i + 1}: {names[which]}" for i, which in enumerate(most))


def mirrored(factors: world.Factors) -> world.Factors:
    """Identity, expression and pose of the mirror images; the other factors are left as they are."""
    sided = np.array([-1.0 if name.startswith("asymmetry") else 1.0 for name in world.FIELDS["identity"]], np.float32)
    names = world.FIELDS["expression"]
    other = {"Left": "Right", "Right": "Left"}
    opposite = [re.sub("(Left|Right)$", lambda side: other[side[0]], name) for name in names]
    turned = np.array([-1.0 if name == "gaze_x" else 1.0 for name in names], np.float32)
    return factors._replace(
        identity=factors.identity * sided,
        expression=factors.expression[:, np.array([names.index(name) for name in opposite])] * turned,
        pose=factors.pose * np.array([-1.0, 1.0, -1.0], np.float32),  # yaw, pitch, roll
    )


# --- the fit --------------------------------------------------------------------------------------------------


def mixed_people(factors: world.Factors) -> world.Factors:
    """Everyone with the head of one person, skin, brows and eyes of a second, and photo, hair and clothes of a third.

    The people of `factors` are independent, one row each.
    """
    first = len(heads.SHAPE_NAMES)
    heads_of, skins_of = (jnp.roll(factors.identity, by, axis=0) for by in (2, 1))
    return factors._replace(identity=jnp.concatenate([heads_of[:, :first], skins_of[:, first:]], axis=1))


def rendered_people(split: str, people: int, seed: int, cache: str) -> Iterator[tuple[Images, world.Factors]]:
    """Pictures of `people` mixed people, one each, and their factors, in parts of at most PART."""
    for part in range(-(-people // PART)):
        count = min(PART, people - part * PART)
        factors = mixed_people(synthetic_factors(split, count, 1, seed + part))
        images = render_kept(factors, SIDE, cache)
        log.info("%s people rendered: %d of %d", split, part * PART + count, people)
        yield images, factors


def fitted(
    images: Images,
    wanted: Float[np.ndarray, "2 n t"],
    groups: Sequence[int],
    steps: int,
    batch: int,
    rate: float,
    seed: int,
) -> dict[str, Any]:
    """Variables of the network after `steps` of Adam; the loss is the mean squared error.

    Every group of parameters counts alike: otherwise the many units of expression that hardly move, which are noise to
    the network, drown what can be read.

    wanted: standardised parameters of the pictures and of their mirror images, each of which is seen half the time.
    groups: how many parameters belong to each group.
    """
    _, count, targets = wanted.shape
    variables = jax.jit(HeadNetwork(targets).init)(jax.random.key(seed), jnp.zeros((1, SIDE, SIDE, 3)))
    optimizer = optax.adam(optax.warmup_cosine_decay_schedule(0.0, rate, min(500, steps // 10), steps))

    def loss_of(variables, images, wanted, keys):
        wrong = jnp.square(predict(variables, transform(to_float(images), keys, SEEN)) - wanted)
        return jnp.stack([part.mean() for part in jnp.split(wrong, np.cumsum(groups)[:-1], axis=1)]).mean()

    @functools.partial(jax.jit, donate_argnums=(0, 1))
    def step(variables, state, images, wanted, number):
        keys = transform_keys(seed, number, (batch,))
        loss, slope = jax.value_and_grad(loss_of)(variables, images, wanted, keys)
        change, state = optimizer.update(slope, state)
        return optax.apply_updates(variables, change), state, loss

    state, losses = optimizer.init(variables), []
    rng = np.random.default_rng(seed)
    orders = (rng.permutation(count)[: count // batch * batch].reshape(-1, batch) for _ in itertools.count())
    for number, rows in enumerate(itertools.islice(itertools.chain.from_iterable(orders), steps)):
        flipped = rng.integers(2, size=batch)
        seen = np.where(flipped[:, None, None, None], images[rows, :, ::-1], images[rows])
        variables, state, loss = step(variables, state, seen, wanted[flipped, rows], number)
        losses.append(loss)
        if (number + 1) % 250 == 0 or number + 1 == steps:
            log.info("step %d of %d: loss %.4f", number + 1, steps, np.mean(losses))
            losses = []
    return variables


@functools.partial(jax.jit, static_argnames=("blur",))
def softened(images: Float[Array, "n s s 3"], seed: int, blur: float, noise: float) -> Float[Array, "n s s 3"]:
    """Pictures blurred by a Gaussian of `blur` pixels and with independent noise."""
    return gaussian_blur(images, blur) + noise * jax.random.normal(jax.random.key(seed), images.shape)


def make_reader(people: int, held_out: int, steps: int, batch: int, rate: float, seed: int, cache: str) -> HeadReader:
    """Renders people, fits the network, and measures on `held_out` others how well it reads."""
    parts = list(rendered_people("train", people, seed, cache))
    images = np.concatenate([images for images, _ in parts])
    shape, shape_names = shape_components(jnp.concatenate([f.identity for _, f in parts]), COMPONENTS)
    names = dict(zip(GROUPS, (shape_names, world.FIELDS["expression"], world.FIELDS["pose"]), strict=True))
    both_sides = [[parameters(shape, change(f)) for _, f in parts] for change in (lambda f: f, mirrored)]
    wanted = np.stack([np.concatenate(side) for side in both_sides])
    mean, deviation = wanted.mean((0, 1)), np.maximum(wanted.std((0, 1)), 1e-6)  # some units never move
    standardised = ((wanted - mean) / deviation).astype(np.float32)
    variables = fitted(images, standardised, [len(some) for some in names.values()], steps, batch, rate, seed)
    stored = jax.tree.map(lambda leaf: np.asarray(leaf).astype(np.float16).astype(np.float32), variables)

    (others, factors), *_ = rendered_people("test", held_out, seed, cache)
    known = (parameters(shape, factors) - mean) / deviation
    read = sharding.in_chunks(functools.partial(jax.jit(predict), stored), sharding.make_mesh(1))
    sharp = to_float(others)
    soft = np.concatenate([softened(sharp[i : i + 256], i, SOFT_BLUR, SOFT_NOISE) for i in range(0, len(sharp), 256)])
    r2, r2_soft = (explained(read(seen), known) for seen in (sharp, soft))
    about = f"{len(images)} rendered heads of seed {seed}, {steps} steps of {batch}; R2 of {len(others)} others"
    return HeadReader(stored, shape, names, mean, deviation, r2, r2_soft, about)


def table(reader: HeadReader) -> str:
    """R2 of every parameter in sharp and soft pictures, as lines of text; * marks what is not read."""
    rows = zip(
        itertools.chain(*reader.names.values()), reader.r2, reader.r2_soft, head_reader.kept(reader), strict=True
    )
    return "\n".join(f"{name:32} {sharp:6.2f} {soft:6.2f} {'' if good else '*'}" for name, sharp, soft, good in rows)


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--people", type=int, default=2 * PART)
    parser.add_argument("--held-out", type=int, default=3072, help=f"at most {PART}")
    parser.add_argument("--steps", type=int, default=4000)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--rate", type=float, default=1e-3)
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--cache", default="", help="a folder that keeps the rendered pictures for the next time")
    options = vars(parser.parse_args(argv))
    out = options.pop("out")
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    check_place(out)
    reader = make_reader(**options)
    write_atomically(out, head_reader.to_bytes(reader))
    print(table(reader))
    for group, names in head_reader.kept_names(reader).items():
        print(f"{group}: {len(names)} of {len(reader.names[group])} are read")
    print(f"{out}: {out.stat().st_size / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
