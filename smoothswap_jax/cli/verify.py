"""`smoothswap verify`: what files say of their making, and whether that is so."""

import argparse
import sys
import traceback

MISTAKE, MARKED_ALONE = 2, 3


def add_parser(verbs) -> None:
    verify = verbs.add_parser(
        "verify",
        help="tell what files say of their making, and whether they were altered since",
        description="Reads content credentials (C2PA), marks in metadata and the watermark of faces. Ends with 0 where "
        "all files are intact and made of what was given; with 1 where one was altered, made of others, or tells "
        "nothing; with 3 where all else is well but one has a mark of ours and lost its credentials; with 2 after a "
        "mistake, as a file that cannot be read: the others are read all the same.",
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

    from smoothswap_jax.provenance.keys import trusted
    from smoothswap_jax.provenance.verifying import MARKED, verify_file

    codes: set[int] = set()
    try:
        trusted(args.trust)
        for given in (*args.source, *args.target):
            with open(given, "rb"):
                pass
    except (OSError, ValueError, ImportError) as error:  # a mistake that all files would have
        return _mistake(error, args.verbose)
    for file in args.files:
        try:
            found = verify_file(file, sources=args.source, targets=args.target, trust=args.trust)
        except ImportError as error:
            return _mistake(error, args.verbose)
        except (ValueError, OSError) as error:
            codes.add(_mistake(error, args.verbose))
            continue
        codes.add(0 if found.good else MARKED_ALONE if found.state == MARKED else 1)
        if args.json:
            print(json.dumps(found.as_json()))
        else:
            print("\n  ".join([f"{file}: {found.headline}", *found.words()]))
    return next(code for code in (MISTAKE, 1, MARKED_ALONE, 0) if code in codes)


def _mistake(error: Exception, verbose: bool) -> int:
    from smoothswap_jax.runtime.files import os_error_in_words

    said = os_error_in_words(error) if isinstance(error, OSError) else str(error)
    print(f"smoothswap verify: {' '.join(said.split())}", file=sys.stderr)
    if verbose:
        traceback.print_exception(error)
    return MISTAKE
