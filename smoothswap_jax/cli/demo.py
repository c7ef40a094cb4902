"""`smoothswap demo`: train and measure a small swapper end to end."""

import argparse


def add_parser(verbs) -> None:
    demo = verbs.add_parser("demo", help="train and measure a small swapper end to end", allow_abbrev=False)
    demo.add_argument("--out", default="runs/demo", metavar="DIR", help="default runs/demo")
    demo.add_argument("--photos", metavar="DIR", help="DIR/<person>/<photo> instead of synthetic faces")
    demo.add_argument(
        "--paired-views",
        action="store_true",
        help="photos of one file name show one pose, expression and light: measure against the source's own photo",
    )
    demo.add_argument("--seed", type=int, default=0)
    demo.add_argument("--effort", type=float, default=1.0, help="factor on the number of training steps (default 1)")
    demo.set_defaults(run=run)


def run(args: argparse.Namespace) -> None:
    from smoothswap_jax.demo import demo

    print(demo(args.out, photos=args.photos, seed=args.seed, effort=args.effort, paired_views=args.paired_views))
