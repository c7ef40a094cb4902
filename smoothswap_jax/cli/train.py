"""`smoothswap train`: train a network from a config file, or resume a run."""

import argparse
import sys
from pathlib import Path

from smoothswap_jax.runtime.stopping import Stopped

NEXT = {
    "embedder": "train --config=swapper:VARIANT --workdir=DIR --config.embedder.checkpoint={run}",
    "swapper": "swap --checkpoint={run} --source=PHOTO --target=PHOTO --output=PHOTO",
}
"""What a run of each stage is for."""


def add_parser(verbs) -> None:
    train = verbs.add_parser(
        "train",
        help="train the embedder or the swapper, or resume a run",
        description="Train from a config file, or resume the run in WORKDIR.",
        epilog="Any field can be overridden: --config.steps=1000 --config.data.kind=folder --config.data.dir=DIR",
        allow_abbrev=False,
    )
    train.add_argument(
        "--config",
        required=True,
        metavar="FILE[:VARIANT]",
        help="a shipped config, e.g. embedder:tiny32, or the path of a config file",
    )
    train.add_argument("--workdir", required=True, metavar="DIR", help="run directory; resumed if it has checkpoints")
    train.add_argument("--devices", type=int, metavar="N", help="use the first N devices (default: all)")
    train.add_argument(
        "--profile", type=_profiled_steps, metavar="START:COUNT", help="write a trace of these steps to WORKDIR/profile"
    )
    train.add_argument(
        "--stopped-code",
        type=int,
        default=0,
        metavar="N",
        help="exit code of a run that a signal stopped, and that saved, before its last step (default 0)",
    )
    several = train.add_argument_group("several processes", "Run the same command in each, with the same WORKDIR.")
    several.add_argument("--distributed", action="store_true", help="find the others: TPU pod, Slurm, Kubernetes, MPI")
    several.add_argument("--coordinator", metavar="HOST:PORT", help="of process 0, where --distributed finds none")
    several.add_argument("--processes", type=int, metavar="N", help="how many there are")
    several.add_argument("--process", type=int, metavar="I", help="which one this is, from 0")
    train.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    from smoothswap_jax.config.load import load_config
    from smoothswap_jax.config.parse import parse

    config = load_config(args.config, args.overrides)
    parse(config)  # mistakes are told before seconds of imports
    if with_others(args):
        from smoothswap_jax.runtime.sharding import start_processes

        start_processes(args.coordinator, args.processes, args.process)
    from smoothswap_jax.runtime.paths import to_path
    from smoothswap_jax.runtime.sharding import is_main
    from smoothswap_jax.training.loop import train

    try:
        evaluation = train(config, args.workdir, args.devices, args.profile)
    except Stopped as stop:
        print(f"smoothswap train: {stop}", file=sys.stderr)
        return 0 if stop.step >= stop.steps else args.stopped_code
    if is_main():
        print(summary(config["stage"], to_path(args.workdir), evaluation))
    return 0


def summary(stage: str, workdir: Path, evaluation: dict[str, float]) -> str:
    """Of a run that is done, on a line: how good it is, where its results lie, and what can be done with them."""
    from smoothswap_jax.runtime.checkpoint import steps_of

    values = ", ".join(f"{name.removeprefix('eval/')} {value:.3g}" for name, value in evaluation.items())
    step = max(steps_of(workdir), default=0)
    pictures = f", pictures in {workdir}/images" if (workdir / "images").is_dir() else ""
    return (
        f"{workdir}: {stage} at step {step}{': ' if values else ''}{values}; checkpoint {workdir}/checkpoints/{step}"
        f"{pictures}; next: smoothswap {NEXT[stage].format(run=workdir)}"
    )


def with_others(args: argparse.Namespace) -> bool:
    """Whether this process is one of several that train together."""
    given = (args.coordinator, args.processes, args.process)
    return args.distributed or any(value is not None for value in given)


def _profiled_steps(text: str) -> tuple[int, int]:
    """'100:5' as (100, 5)."""
    start, colon, count = text.partition(":")
    if not (colon and start.isdigit() and count.isdigit() and int(count)):
        raise argparse.ArgumentTypeError(f"found {text!r}; wanted START:COUNT, two whole numbers")
    return int(start), int(count)
