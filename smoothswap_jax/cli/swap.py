"""`smoothswap swap`: swap a face in a photo."""

import argparse
import sys
from pathlib import Path
from typing import Any

MIN_SCORE = "pass over faces that the detector is less sure of, 0 to 1 (default 0: none)"


def add_parser(verbs) -> None:
    swap = verbs.add_parser("swap", help="swap a face in a photo", allow_abbrev=False)
    swap.add_argument(
        "--checkpoint",
        default="default",
        metavar="DIR",
        help="run directory of a trained swapper, or an export (default: the swapper that comes with the package)",
    )
    swap.add_argument(
        "--source",
        required=True,
        action="append",
        metavar="PHOTO",
        help="whose identity to take: one photo, or --source several times, photos of one person, whose mean is taken; "
        "with --interpolate two",
    )
    swap.add_argument("--target", required=True, metavar="PHOTO", help="the photo to change, or a folder of photos")
    swap.add_argument(
        "--output",
        required=True,
        metavar="PHOTO",
        help="where to write: .png, .jpg, .webp or .tif; of a folder another folder",
    )
    swap.add_argument(
        "--interpolate",
        type=int,
        metavar="N",
        help="N identities on the way from the first --source to the second: a strip of faces, or with an --output in "
        ".gif, .webp or .mp4 an animation of the whole photo",
    )
    which = "largest (default), left, an index by size from 0 (see `smoothswap faces`), or another photo of the person"
    swap.add_argument("--source-face", default="largest", metavar="WHICH", help=which)
    swap.add_argument("--target-face", default="largest", metavar="WHICH", help=f"all, or as of the source: {which}")
    swap.add_argument("--min-score", type=float, default=0.0, metavar="X", help=MIN_SCORE)
    swap.add_argument(
        "--paste",
        choices=("change", "pixels"),
        default="change",
        help="add the network's change to the photo (default), or replace the face's pixels",
    )
    swap.add_argument(
        "--strength",
        type=float,
        default=1.0,
        metavar="X",
        help="how far each face goes from its own identity, 0, to the source's, 1 (default)",
    )
    swap.add_argument("--color", action="store_true", help="give a grey or sepia target a face in colour")
    swap.add_argument(
        "--max-megapixels",
        type=float,
        default=500,
        metavar="N",
        help="refuse larger photos (default 500; a swap takes some 10 MB a megapixel)",
    )
    swap.add_argument("--overwrite", action="store_true", help="replace a file that is there already")
    swap.set_defaults(run=run)


def check_min_score(score: float) -> None:
    """Raises ValueError for what no detector gives."""
    if not 0 <= score <= 1:
        raise ValueError(f"--min-score: found {score:g}; wanted 0 to 1")


def run(args: argparse.Namespace) -> int:
    if not 0 < args.max_megapixels <= 10_000:
        raise ValueError(f"--max-megapixels: found {args.max_megapixels:g}; wanted more than 0, at most 10,000")
    faces = {"source_face": _which(args.source_face), "target_face": _which(args.target_face)}
    from smoothswap_jax.inference.choice import check_which
    from smoothswap_jax.inference.files import check_files, check_folders, swap_files
    from smoothswap_jax.inference.interpolation import check_strip, interpolate_files
    from smoothswap_jax.inference.swapper import Swapper, check_strength

    # Before seconds of loading.
    folder = Path(args.target).is_dir() and args.interpolate is None
    check_min_score(args.min_score)
    check_strength(args.strength)
    for role in ("source", "target"):
        check_which(faces[f"{role}_face"], role)
    if args.interpolate is not None:
        check_strip(args.source, args.target, args.output, args.interpolate, args.overwrite)
        if args.strength != 1:
            raise ValueError(f"--strength: found {args.strength:g} with --interpolate; wanted one of them")
    elif folder:
        check_folders(Path(args.target), Path(args.output))
    else:
        check_files(args.source, args.target, args.output, args.overwrite)
    swapper = Swapper.load(args.checkpoint, max_pixels=int(args.max_megapixels * 1e6), min_score=args.min_score)
    if words := _meant_for_rendered_faces(args.checkpoint):
        print(words, file=sys.stderr)
    how: dict[str, Any] = {"paste": args.paste, "color": args.color, "overwrite": args.overwrite, **faces}
    if folder:
        return _swap_folder(swapper, args, {**how, "strength": args.strength})
    if args.interpolate is None:
        notes = swap_files(swapper, args.source, args.target, args.output, strength=args.strength, **how)
    else:
        notes = interpolate_files(swapper, args.source, args.target, args.output, args.interpolate, **how)
    for note in notes:
        print(f"smoothswap swap: {args.output}: {note}", file=sys.stderr)
    print(args.output)
    return 0


def _swap_folder(swapper: Any, args: argparse.Namespace, how: dict[str, Any]) -> int:
    """A line for each photo, and a summary; 1 where some could not be swapped."""
    from smoothswap_jax.inference.files import swap_folder

    say = lambda words: print(f"smoothswap swap: {words}", file=sys.stderr)
    counts = dict.fromkeys(("swapped", "there already", "left out"), 0)
    for one in swap_folder(swapper, args.source, args.target, args.output, **how):
        counts["left out" if one.fault else "there already" if one.there else "swapped"] += 1
        if one.fault:
            say(one.fault if str(one.target) in one.fault else f"{one.target}: {one.fault}")
        elif one.there:
            say(f"{one.output}: is there already (--overwrite replaces it)")
        else:
            print(one.output, flush=True)
        for note in one.notes:
            say(f"{one.output}: {note}")
    say(f"{args.output}: {', '.join(f'{count} {what}' for what, count in counts.items())}")
    return 1 if counts["left out"] else 0


def _meant_for_rendered_faces(checkpoint: str) -> str:
    """What to know of a network that saw only synthetic faces; '' of others."""
    from smoothswap_jax.runtime.folders import training_config

    data = {} if checkpoint == "default" else training_config(checkpoint).get("data")  # which speaks for itself
    if not isinstance(data, dict) or data.get("kind") != "synthetic":
        return ""
    return (
        f"smoothswap swap: {checkpoint} was trained on rendered faces of {data.get('size')} pixels "
        "(config.data.kind=synthetic), not on photographs: it changes colours at best; for photographs train on some"
    )


def _which(text: str) -> int | str:
    """An index as a number; a word or a path as it is."""
    return int(text) if text.isdecimal() else text
