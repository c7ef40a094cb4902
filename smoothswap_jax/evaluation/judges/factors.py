"""The judge of the synthetic world: reads the factors of its images with `factor_reader.py`."""

import hashlib

import numpy as np

from smoothswap_jax.evaluation.cache import get, key_of, put
from smoothswap_jax.evaluation.judges import factor_reader
from smoothswap_jax.evaluation.judges.base import Judge, JudgedWorld, JudgeError, JudgeRequest, JudgeSpec
from smoothswap_jax.evaluation.judges.factor_reader import FactorReader

NAME = "factors"


def _load(request: JudgeRequest) -> Judge:
    if request.world is None:
        raise JudgeError("judge factors: reads the synthetic world only; wanted --protocol=synthetic-truth")
    reader = fitted_reader(request.world)
    facts = {
        "kind": NAME,
        "source": f"ridge regression on {reader.people} rendered people of seed {reader.seed}, spread {reader.spread}",
        "params sha256": hashlib.sha256(reader.matrix.tobytes()).hexdigest(),
        "licence": "Apache-2.0",
        "preprocessing": f"whole picture, {reader.size}x{reader.size}",
    }
    measure = lambda images, points: factor_reader.read(reader, images)
    return Judge(request.name or NAME, "factors", facts, measure, reader=reader)


SPEC = JudgeSpec(NAME, NAME, lambda name, path: path == NAME, _load, needs_world=True)


def fitted_reader(world: JudgedWorld) -> FactorReader:
    """A reader fitted to a world of another seed. It is fitted once and kept in the world's cache."""
    seed = world.seed + 1
    key = key_of(factor_reader.VERSION, str(world.size), str(world.spread), str(seed))
    (kept,) = get(world.cache, [key])
    if kept is None:
        reader = factor_reader.make_reader(
            world.size, world.spread, seed, progress=world.progress, judged_seed=world.seed
        )  # fmt: skip
        kept = np.frombuffer(factor_reader.to_bytes(reader), np.uint8)
        put(world.cache, [(key, kept)])
    return factor_reader.from_bytes(kept.tobytes())
