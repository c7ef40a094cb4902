"""`smoothswap import`: turn a published weight file into a network's folder."""

import argparse
import ast
from typing import Any


def add_parser(verbs) -> None:
    import_ = verbs.add_parser(
        "import",
        help="turn a published weight file into a network's folder",
        description="Reads published weights, without running code they may hold, and writes "
        "DIR/params.safetensors and DIR/config.json.",
        epilog=_epilog,
        allow_abbrev=False,
    )
    import_.add_argument("--kind", required=True, help="what the file holds, see below")
    import_.add_argument(
        "--weights",
        action="append",
        metavar="FILE",
        help="the downloaded file; for lpips in two files, once each: torchvision's, and lpips' weights/v0.1/*.pth; "
        "for sface by default the file that comes with the extra 'faces'",
    )
    import_.add_argument("--out", required=True, metavar="DIR", help="a new folder")
    import_.add_argument(
        "--known",
        nargs="+",
        action="extend",
        default=[],
        metavar="KEY=VALUE",
        help="what the names and shapes of the tensors leave open",
    )
    import_.add_argument("--overwrite", action="store_true", help="replace a network that is in --out already")
    import_.set_defaults(run=run)


def _epilog() -> str:
    from smoothswap_jax.weights.registry import kinds

    return (
        f"Kinds: {', '.join(kinds())}. For ncsnpp: --known image_size=256 dim=512 (a Flax checkpoint also "
        "attn_resolutions=16,); for vggface2 files with RGB input: channels=RGB; for networks of other depths than "
        "the kind's name says: stage_sizes=3,4,23,3; for our own embedder and generator: image_size=256. "
        "For any kind whose file holds several that fit: group=NAME prefix=TEXT."
    )


def run(args: argparse.Namespace) -> None:
    known = dict(_key_value(text) for text in args.known)
    from smoothswap_jax.faces.packages import sface_weights
    from smoothswap_jax.weights.network_folder import import_file

    if not args.weights and args.kind != "sface":
        raise ValueError(f"--weights is missing, wanted the file of {args.kind}: only that of sface comes in a package")
    files = args.weights or [str(sface_weights("smoothswap import --kind=sface"))]
    network = import_file(args.kind, files, args.out, known, args.overwrite)
    print(f"{args.out}: {type(network.module).__name__}")
    for note in network.notes:
        print(note)
    if network.fresh:
        print(f"fresh, not from the file: {', '.join(network.fresh)}")


def _key_value(text: str) -> tuple[str, Any]:
    """'image_size=256' as ('image_size', 256); a value that is not a Python literal stays a string."""
    name, equals, value = text.partition("=")
    if not equals or not name.isidentifier():
        raise ValueError(f"--known {text}: wanted KEY=VALUE")
    try:
        return name, ast.literal_eval(value)
    except (ValueError, SyntaxError):
        return name, value
