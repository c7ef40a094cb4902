"""`smoothswap serve`: a page on this machine that swaps faces."""

import argparse
import sys
from pathlib import Path

from smoothswap_jax.cli.swap import add_provenance, provenance_of
from smoothswap_jax.runtime.folders import PHOTOGRAPHS
from smoothswap_jax.web.limits import Limits


def add_parser(verbs) -> None:
    limits = Limits()
    serve = verbs.add_parser("serve", help="a page on this machine that swaps faces", allow_abbrev=False)
    serve.add_argument(
        "--checkpoint",
        default=PHOTOGRAPHS,
        metavar="DIR",
        help="run directory of a trained swapper, or an export (default: photographs, which comes with the package)",
    )
    serve.add_argument(
        "--host", default="127.0.0.1", help="address to listen at (default 127.0.0.1: only this machine)"
    )
    serve.add_argument("--port", type=int, default=7860, metavar="N", help="default 7860; 0 takes a free one")
    serve.add_argument(
        "--name",
        action="append",
        default=[],
        metavar="HOST[:PORT]",
        help="further names by which browsers call it, as behind a proxy or with another --host",
    )
    serve.add_argument("--folder", metavar="DIR", help="a new folder for its files (default: a temporary one)")
    for option, about in (
        ("megabytes", "of one file"),
        ("megapixels", "of one photo"),
        ("seconds", "of one video"),
        ("waiting", "jobs in the queue"),
        ("minutes", "after which files that nobody uses are deleted"),
        ("gigabytes", "of all files together"),
    ):
        most = about if option == "minutes" else f"the most {about}"
        serve.add_argument(f"--{option}", type=float, metavar="N", help=f"{most} (default {getattr(limits, option):g})")
    add_provenance(serve)
    serve.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    if not 0 <= args.port <= 65535:
        raise ValueError(f"--port: found {args.port}; wanted 0 to 65535")
    given = {
        name: getattr(args, name) for name in ("megabytes", "megapixels", "seconds", "waiting", "minutes", "gigabytes")
    }
    for name, value in given.items():
        if value is not None and not value > 0:
            raise ValueError(f"--{name}: found {value:g}; wanted more than 0")
    from smoothswap_jax.inference.swapper import Swapper
    from smoothswap_jax.runtime.files import check_new_folder
    from smoothswap_jax.web.listening import serve

    limits = Limits(**{name: value for name, value in given.items() if value is not None})
    if args.folder:
        check_new_folder(Path(args.folder))
    provenance = provenance_of(args)
    swapper = Swapper.load(args.checkpoint, max_pixels=round(limits.megapixels * 1e6), provenance=provenance)
    say = lambda address: print(f"smoothswap serve: {address} (Ctrl-C ends it)", file=sys.stderr, flush=True)
    serve(swapper, args.host, args.port, args.name, args.folder, limits, say)
    return 0
