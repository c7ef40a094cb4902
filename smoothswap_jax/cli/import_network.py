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
        "for sface by default the file that comes with the extra 'faces'; for preset=3ddfa_v2 the graph, and the file "
        "with mean and std of its numbers",
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
    import_.add_argument(
        "--check",
        metavar="DIR",
        help="photos DIR/<person>/<photo> of two people or more: shows in which order of colours a network of identity "
        "tells them apart better",
    )
    import_.add_argument("--overwrite", action="store_true", help="replace a network that is in --out already")
    import_.set_defaults(run=run)


def _epilog() -> str:
    from smoothswap_jax.weights.registry import GRAPH_KINDS, GRAPH_PRESETS, kinds

    return (
        f"Kinds: {', '.join((*kinds(), *GRAPH_KINDS))}. For ncsnpp: --known image_size=256 dim=512 (a Flax checkpoint "
        "also attn_resolutions=16,); for vggface2 files with RGB input: channels=RGB; for networks of other depths "
        "than the kind's name says: stage_sizes=3,4,23,3; for our own embedder and generator: image_size=256. "
        "For any kind whose file holds several that fit: group=NAME prefix=TEXT. "
        f"{' and '.join(GRAPH_KINDS)} keep the graph as it is: preset=NAME ({', '.join(GRAPH_PRESETS)}), or "
        "role=identity crop=arcface; and what is otherwise: size, channels, low, high, mean, std, interpolation, "
        "outputs, flip, licence, and for role=coefficients shape, expression, pose, statistics (docs/weights.md)."
    )


def run(args: argparse.Namespace) -> None:
    known = dict(_key_value(text) for text in args.known)
    from smoothswap_jax.weights.registry import GRAPH_KINDS

    if not args.weights and args.kind != "sface":
        raise ValueError(f"--weights is missing, wanted the file of {args.kind}: only that of sface comes in a package")
    gallery = None
    if args.check:
        from smoothswap_jax.evaluation.judges.colour_order import colour_orders, gallery_of_people, order_report

        _check_role(args.kind, known)
        gallery = gallery_of_people(args.check)  # before minutes of reading
    network = (_import_graph if args.kind in GRAPH_KINDS else _import_arrays)(args, known)
    if gallery is not None:
        how = getattr(network, "use", network).preprocessing
        print("\n".join(order_report(colour_orders(network, gallery), how.channels)))


def _check_role(kind: str, known: dict[str, Any]) -> None:
    """Raises ValueError for --check of what is known to be no judge of identity."""
    from smoothswap_jax.weights.graphs.use import PRESETS
    from smoothswap_jax.weights.registry import GRAPH_KINDS, specs

    if kind in GRAPH_KINDS:
        preset = PRESETS.get(known.get("preset", ""))
        role = known.get("role") or (preset.role if preset else None)
    else:
        role = specs()[kind].role if kind in specs() else None
    if role not in ("identity", None):  # what is not known the import itself will refuse
        raise ValueError(
            f"--check: found {kind} of role {role}; wanted a judge of identity, of which it shows in which order of "
            "colours it tells people apart. Nothing was imported: leave --check out"
        )


def _import_graph(args: argparse.Namespace, known: dict[str, Any]) -> Any:
    from smoothswap_jax.weights.graphs.folder import import_graph
    from smoothswap_jax.weights.inspect import printable

    network = import_graph(args.kind, args.weights, args.out, known, args.overwrite)
    use, outputs = network.use, ", ".join(map(printable, network.use.outputs))
    print(f"{args.out}: {args.kind} graph, {network.features} numbers of {outputs}: {use.role}")
    print(f"licence: {use.licence}")
    return network


def _import_arrays(args: argparse.Namespace, known: dict[str, Any]) -> Any:
    from smoothswap_jax.faces.packages import sface_weights
    from smoothswap_jax.weights.network_folder import import_file

    files = args.weights or [str(sface_weights("smoothswap import --kind=sface"))]
    network = import_file(args.kind, files, args.out, known, args.overwrite)
    print(f"{args.out}: {type(network.module).__name__}")
    for note in network.notes:
        print(note)
    if network.fresh:
        print(f"fresh, not from the file: {', '.join(network.fresh)}")
    return network


def _key_value(text: str) -> tuple[str, Any]:
    """'image_size=256' as ('image_size', 256); a value that is not a Python literal stays a string."""
    name, equals, value = text.partition("=")
    if not equals or not name.isidentifier():
        raise ValueError(f"--known {text}: wanted KEY=VALUE")
    try:
        return name, ast.literal_eval(value)
    except (ValueError, SyntaxError):
        return name, value
