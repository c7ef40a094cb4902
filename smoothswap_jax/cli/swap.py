"""`smoothswap swap`: swap a face in a photo."""

import argparse
import sys


def add_parser(verbs) -> None:
    swap = verbs.add_parser("swap", help="swap a face in a photo", allow_abbrev=False)
    swap.add_argument(
        "--checkpoint", required=True, metavar="DIR", help="run directory of a trained swapper, or an export"
    )
    swap.add_argument("--source", required=True, metavar="PHOTO", help="whose identity to take")
    swap.add_argument("--target", required=True, metavar="PHOTO", help="the photo to change")
    swap.add_argument("--output", required=True, metavar="PHOTO", help="where to write: .png, .jpg or .webp")
    swap.add_argument("--source-face", default="largest", metavar="WHICH", help="largest, or an index by size from 0")
    swap.add_argument(
        "--target-face", default="largest", metavar="WHICH", help="largest, all, or an index by size from 0"
    )
    swap.add_argument(
        "--paste",
        choices=("change", "pixels"),
        default="change",
        help="add the network's change to the photo (default), or replace the face's pixels",
    )
    swap.set_defaults(run=run)


def run(args: argparse.Namespace) -> None:
    from smoothswap_jax.inference.swapper import Swapper, swap_files

    swapper = Swapper.load(args.checkpoint)
    swap_files(
        swapper,
        args.source,
        args.target,
        args.output,
        source_face=_which(args.source_face),
        target_face=_which(args.target_face),
        paste=args.paste,
    )
    _say_what_is_first_of_several(args.source, args.target)
    print(args.output)


def _say_what_is_first_of_several(*photos: str) -> None:
    from smoothswap_jax.faces.kinds import ANIMATION, kind_of

    for photo in photos:
        if kind_of(photo) == ANIMATION:
            print(f"smoothswap swap: {photo}: found several pictures in it; only the first was used", file=sys.stderr)


def _which(text: str) -> int | str:
    """An index as a number, a word ('largest', 'all') as it is."""
    return int(text) if text.isdigit() else text
