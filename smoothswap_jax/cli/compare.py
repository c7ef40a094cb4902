"""`smoothswap compare`: compare methods that were judged alike, pair by pair."""

import argparse


def add_parser(verbs) -> None:
    compare = verbs.add_parser(
        "compare",
        help="compare methods that were judged alike, pair by pair",
        description="Paired bootstrap between all methods of one or several evaluations: better, worse or cannot tell.",
        allow_abbrev=False,
    )
    compare.add_argument("folders", nargs="+", metavar="DIR", help="what `smoothswap evaluate --out` wrote")
    compare.add_argument("--out", metavar="DIR", help="also write report.html and report.json there")
    compare.add_argument("--baselines", action="store_true", help="compare the baselines too")
    compare.add_argument("--overwrite", action="store_true", help="replace a comparison that is in --out already")
    compare.set_defaults(run=run)


def run(args: argparse.Namespace) -> None:
    from smoothswap_jax.evaluation.compare import as_text, check_out, compare, write_comparison

    if args.out:
        check_out(args.out, args.overwrite)
    differences, facts = compare(args.folders, args.baselines)
    print(as_text(differences))
    if args.out:
        print(write_comparison(args.out, differences, facts))
