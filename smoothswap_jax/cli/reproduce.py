"""`smoothswap reproduce`: the claims of the paper, tried where the truth is known."""

import argparse

EXPERIMENTS = ("tuning", "smoothness", "ablation", "tradeoff", "remedies", "mechanism")
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
    reproduce.add_argument("--scale", default="laptop", metavar="NAME", help="laptop (default) or gpu")
    reproduce.add_argument("--out", required=True, metavar="DIR", help="a new folder, or one to go on with")
    reproduce.set_defaults(run=run)


def run(args: argparse.Namespace) -> None:
    from smoothswap_jax.reproduce.run import reproduce

    print(reproduce(args.experiment, args.scale, args.out))
