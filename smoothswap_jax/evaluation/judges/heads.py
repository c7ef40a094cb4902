"""The judge of heads: shape, expression and pose by the head model of this package, read with `head_reader.py`."""

from pathlib import Path

from smoothswap_jax.evaluation.judges import head_reader
from smoothswap_jax.evaluation.judges.base import Judge, JudgeRequest, JudgeSpec
from smoothswap_jax.runtime.files import sha256_of
from smoothswap_jax.weights.variables import params_digest

NAME = "heads"


def _load(request: JudgeRequest) -> Judge:
    reader = head_reader.load_reader()
    read = head_reader.make_read(reader, request.mesh)
    facts = {
        "kind": NAME,
        "source": f"fitted to {reader.about}",
        "file sha256": sha256_of(head_reader.FILE),
        "params sha256": params_digest(reader.variables),
        "licence": "Apache-2.0",
        "preprocessing": f"whole picture, {head_reader.SIDE}x{head_reader.SIDE}",
        "recipe": "1",
    }
    parts = head_reader.kept_names(reader)
    return Judge(request.name or NAME, "heads", facts, lambda images, points: read(images), parts=parts)


SPEC = JudgeSpec(NAME, NAME, lambda name, path: path == NAME and not Path(path).exists(), _load)
