"""Configs, data and processes for training runs of seconds."""

import hashlib
import os
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
from PIL import Image

from smoothswap_jax.config.load import load_config
from smoothswap_jax.runtime import metric_log
from tests.places import ROOT

SIZE = 16


def make_people(root: Path, people: int = 12, photos: int = 3) -> Path:
    """Smooth random pictures, alike within a person, as DIR/<person>/<photo>.png."""
    rng = np.random.default_rng(0)
    for person in range(people):
        folder = root / f"person{person}"
        folder.mkdir(parents=True)
        face = rng.integers(60, 196, (4, 4, 3))
        for photo in range(photos):
            small = Image.fromarray((face + rng.integers(-50, 50, (4, 4, 3))).astype(np.uint8))
            small.resize((SIZE, SIZE), Image.Resampling.BICUBIC).save(folder / f"{photo}.png")
    return root


def overrides(stage: str, people: Path, embedder: Path | None = None, **fields) -> list[str]:
    """Command-line overrides that make a config small enough for a test."""
    common = {
        "steps": 6,
        "batch": 8,
        "eval_images": 6,
        "log_steps": 1,
        "eval_steps": 2,
        "checkpoint_steps": 2,
        "data.kind": "folder",
        "data.dir": people,
        "data.size": SIZE,
        "data.held_out_people": 4,
        # tiny32 transforms what the embedder sees; the tests of that say so themselves.
        **{f"objective.transform.{name}": 0 for name in ("colour", "shift", "blur", "noise", "hole")},
    }
    own = {
        "embedder": {
            "embedder.stage_sizes": "(1, 1)",
            "embedder.width": 4,
            "embedder.hidden": 8,
            "embedder.dim": 8,
            "embedder.norm": "batch",
        },
        "swapper": {
            **({"embedder.checkpoint": embedder} if embedder else {}),
            "generator.nf": 8,
            "generator.ch_mult": "(1,)",
            "generator.attn_resolutions": "()",  # the middle block has attention anyway
            "discriminator.channel_base": 128,
            "discriminator.channel_max": 8,
            "log_images_steps": 3,
            "objective.r1_interval": 2,
        },
    }[stage]
    values = common | own | fields
    return [f"--config.{key}={value}" for key, value in values.items()]


def config(stage: str, people: Path, embedder: Path | None = None, **fields) -> dict:
    return load_config(str(ROOT / "configs" / f"{stage}.py:tiny32"), overrides(stage, people, embedder, **fields))


def seal_export(folder: Path) -> None:
    """SHA256SUMS of what is there now."""
    if not (folder / "SHA256SUMS").exists():
        return
    files = [path for path in sorted(folder.iterdir()) if path.name != "SHA256SUMS"]
    lines = [f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}\n" for path in files]
    (folder / "SHA256SUMS").write_text("".join(lines))


def rows(run: Path) -> list[dict]:
    """The lines of a run's metrics.jsonl."""
    return metric_log.read_metrics(run / metric_log.NAME)


KILL = """
import os, signal
import smoothswap_jax.{module} as module
original = module.{function}
def killed(*args):
    original(*args)
    if args[1] == {step}:
        os.kill(os.getpid(), signal.{signal})
module.{function} = killed
"""
"""Python that sends its process a signal when a function has been called with a step as its second argument."""
NO_TENSORBOARD = "import sys\nsys.modules['clu'] = None\n"
"""For processes whose summaries nobody reads: importing TensorFlow takes longer than training."""


QUICK_TO_NOTICE = """
import functools, jax
jax.distributed.initialize = functools.partial(jax.distributed.initialize, heartbeat_timeout_seconds=10)
"""


def run_processes(
    stage: str, workdir: Path, arguments: list[str], devices: list[int], preludes: dict[int, str] | None = None
) -> list[subprocess.CompletedProcess]:
    """`smoothswap train` in as many processes as `devices` has entries, with so many devices each; by gloo."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    started = []
    for number, count in enumerate(devices):
        command = ["train", f"--config={ROOT}/configs/{stage}.py:tiny32", f"--workdir={workdir}", *arguments]
        command += [f"--coordinator=127.0.0.1:{port}", f"--processes={len(devices)}", f"--process={number}"]
        prelude = QUICK_TO_NOTICE + (preludes or {}).get(number, "")
        code = f"{prelude}\nimport sys\nfrom smoothswap_jax.cli.main import main\nsys.exit(main({command!r}))"
        flags = os.environ["XLA_FLAGS"].replace("device_count=8", f"device_count={count}")
        started.append(
            subprocess.Popen(
                [sys.executable, "-c", code],
                cwd=ROOT,
                env={**os.environ, "XLA_FLAGS": flags},
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
        )
    ended = []
    for process in started:
        out, error = process.communicate(timeout=400)
        ended.append(subprocess.CompletedProcess(process.args, process.returncode, out, error))
    return ended


def run_train(stage: str, workdir: Path, arguments: list[str], prelude: str = "") -> subprocess.CompletedProcess:
    """`smoothswap train` in a process of its own; `prelude` is Python that runs first, to stage an accident."""
    config = f"--config={ROOT}/configs/{stage}.py:tiny32"
    command = ["train", config, f"--workdir={workdir}", "--devices=2", *arguments]
    code = f"{prelude}\nimport sys\nfrom smoothswap_jax.cli.main import main\nsys.exit(main({command!r}))"
    return subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=400,
        check=False,
    )


def newest_step(run: Path) -> int:
    """Of the checkpoints by name, whole or not; 0 where there is none."""
    return max((int(path.name) for path in run.glob("checkpoints/*") if path.name.isdigit()), default=0)
