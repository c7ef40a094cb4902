"""`smoothswap reproduce`: the claims of the paper, tried where the truth is known."""

import argparse

from smoothswap_jax.cli.evaluate import named

EXPERIMENTS = ("tuning", "smoothness", "ablation", "tradeoff", "remedies", "matching", "mechanism", "comparison")
"""Of `reproduce.experiments`, whose import takes seconds."""


def add_parser(verbs) -> None:
    reproduce = verbs.add_parser(
        "reproduce",
        help="try the paper's claims where the truth is known",
        description="Trains all that an experiment compares, judges it, and decides each claim by a rule that is "
        "fixed before the first training. The same command goes on with what was stopped.",
        epilog=f"Experiments: {', '.join(EXPERIMENTS)}. See docs/reproducing.md.",
        allow_abbrev=False,
    )
    reproduce.add_argument("--experiment", required=True, metavar="NAME", help="see below")
    reproduce.add_argument(
        "--scale", default="laptop", metavar="NAME", help="laptop (default), short, long, single or gpu"
    )
    reproduce.add_argument("--out", required=True, metavar="DIR", help="a new folder, or one to go on with")
    reproduce.add_argument(
        "--checkpoint",
        action="append",
        default=[],
        metavar="[NAME=]DIR",
        help="of comparison: a trained swapper or an export, beside the default; may be given several times",
    )
    reproduce.set_defaults(run=run)


def run(args: argparse.Namespace) -> None:
    from smoothswap_jax.reproduce.run import reproduce

    print(reproduce(args.experiment, args.scale, args.out, named(args.checkpoint, "--checkpoint")))
