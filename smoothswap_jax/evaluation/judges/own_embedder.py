"""An embedder that this package trained, as a judge of identity."""

from smoothswap_jax.evaluation.judges.base import Judge, JudgeRequest, JudgeSpec
from smoothswap_jax.evaluation.judges.networks import network_judge
from smoothswap_jax.runtime import checkpoint
from smoothswap_jax.runtime.paths import resolved, to_path
from smoothswap_jax.training.frozen_embedder import load_embedder
from smoothswap_jax.training.networks import make_embedder
from smoothswap_jax.weights.preprocessing import ffhq
from smoothswap_jax.weights.spec import Network


def _load(request: JudgeRequest) -> Judge:
    run = to_path(request.path)
    found = load_embedder(run)
    config = found.meta["config"]
    size = config["data"]["size"]
    network = Network("embedder", make_embedder(found.fields), found.variables, ffhq(size), ((1, size, size, 3),))
    source = {"file": f"{resolved(run).name}, step {found.step}, seed {config['seed']}"}
    name = request.name or resolved(run).name
    return network_judge(name, network, source, request.mesh, request.identity, request.pose)


SPEC = JudgeSpec(
    "own embedder",
    "the run directory of an embedder",
    lambda name, path: (to_path(path) / checkpoint.FOLDER).is_dir(),
    _load,
)
