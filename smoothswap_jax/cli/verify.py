"""`smoothswap verify`: what files say of their making, and whether that is so."""

import argparse
import sys

MISTAKE = 2


def add_parser(verbs) -> None:
    verify = verbs.add_parser(
        "verify",
        help="tell what files say of their making, and whether they were altered since",
        description="Reads content credentials (C2PA), marks in metadata and the watermark of faces. Ends with 0 where "
        "all files are intact and made of what was given, with 1 where one was altered or has no credentials, with 2 "
        "after a mistake.",
        allow_abbrev=False,
    )
    verify.add_argument("files", nargs="+", metavar="FILE", help="photos, videos and pictures that move")
    verify.add_argument(
        "--source", action="append", default=[], metavar="FILE", help="ask whether it is a source of them"
    )
    verify.add_argument("--target", action="append", default=[], metavar="FILE", help="ask whether it is their target")
    verify.add_argument(
        "--trust",
        action="append",
        default=[],
        metavar="PEM",
        help="certificates of others whose keys are trusted, beside this machine's own",
    )
    verify.add_argument("--json", action="store_true", help="one line of JSON a file")
    verify.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    import json

    from smoothswap_jax.provenance.verifying import verify_file
    from smoothswap_jax.runtime.files import os_error_in_words

    good = True
    for file in args.files:
        try:
            found = verify_file(file, sources=args.source, targets=args.target, trust=args.trust)
        except (ValueError, OSError, ImportError) as error:
            if args.verbose:
                raise
            said = os_error_in_words(error) if isinstance(error, OSError) else str(error)
            print(f"smoothswap verify: {' '.join(said.split())}", file=sys.stderr)
            return MISTAKE
        good &= found.good
        if args.json:
            print(json.dumps(found.as_json()))
        else:
            print("\n  ".join([f"{file}: {found.state}", *found.words()]))
    return 0 if good else 1
