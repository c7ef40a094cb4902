"""`smoothswap evaluate`: score swaps by a named protocol."""

import argparse
from pathlib import Path


def add_parser(verbs) -> None:
    evaluate = verbs.add_parser(
        "evaluate",
        help="score swaps by a named protocol",
        description="Judges swaps, of a checkpoint or of any other method, beside the baselines, and writes "
        "report.html, report.json, scores.csv and pairs.csv. The same command goes on with a run that was stopped.",
        epilog=_epilog,
        allow_abbrev=False,
    )
    add = evaluate.add_argument
    add("--protocol", required=True, metavar="NAME[@VERSION]")
    add("--out", required=True, metavar="DIR", help="a new folder, or that of a run to go on with")
    add("--data", metavar="DIR", help="the protocol's photos or videos, or a set that `smoothswap prepare` wrote")
    add(
        "--checkpoint",
        action="append",
        default=[],
        metavar="[NAME=]DIR",
        help="a trained swapper, an export, or `default`: the swapper that comes with the package",
    )
    add("--swaps", action="append", default=[], metavar="[NAME=]DIR", help="a method's swaps, named as in pairs.csv")
    add("--judge", action="append", default=[], metavar="[NAME=]WHICH", help="may be given several times")
    add("--pairs-only", action="store_true", help="only write pairs.csv, for others to make swaps of")
    add("--aligned", action="store_true", help="--swaps are FFHQ-aligned crops, not whole pictures")
    add("--size", type=int, help="of the aligned faces (default: the largest of the checkpoints', else 256)")
    add("--identity", default="aligned", help="convention: aligned (default), reliableswap, reface, casia")
    add("--pose", default="geodesic", help="convention for Hopenet: geodesic (default), reliableswap, reface, casia")
    add("--pairs", default="500", metavar="N", help="of synthetic-truth: how many, for a quick look (default 500)")
    add("--compression", default="c23", help="of FaceForensics++ (default c23)")
    add("--split", default="all", help="of FaceForensics++'s pairs: all (default), train, val, test")
    add(
        "--trained-with",
        action="append",
        default=[],
        metavar="JUDGE",
        help="a judge, by name, kind, file or SHA-256, that trained the --swaps",
    )
    add("--allow-self-judge", action="store_true", help="judge with the network that trained a method; marked so")
    add("--devices", type=int, metavar="N", help="use the first N devices (default: all)")
    add("--overwrite", action="store_true", help="replace the report of another evaluation in --out")
    evaluate.set_defaults(run=run)


def _epilog() -> str:
    from smoothswap_jax.evaluation.protocols.registry import PROTOCOLS

    return (
        f"Protocols: {', '.join(PROTOCOLS)}, each also as NAME@VERSION. Judges: heads, sface, dlib, "
        "mediapipe=FILE.task, a folder of `smoothswap import`, or the run directory of an embedder; NAME=... "
        "names them. See docs/evaluation.md."
    )


def run(args: argparse.Namespace) -> None:
    from smoothswap_jax.evaluation.evaluate import evaluate, write_pairs
    from smoothswap_jax.evaluation.settings import EvaluationSettings
    from smoothswap_jax.inference.load import swapper_folder
    from smoothswap_jax.runtime.metric_log import files_progress
    from smoothswap_jax.runtime.paths import on_disk

    settings = EvaluationSettings(
        protocol=args.protocol,
        out=on_disk(args.out, "an evaluation"),
        data=Path(args.data) if args.data else None,
        checkpoints={name: swapper_folder(path) for name, path in named(args.checkpoint, "--checkpoint").items()},
        swaps={name: Path(path) for name, path in named(args.swaps, "--swaps").items()},
        judges=args.judge,
        identity=args.identity,
        pose=args.pose,
        size=args.size,
        aligned=args.aligned,
        options={"compression": args.compression, "split": args.split, "pairs": args.pairs},
        trained_with=args.trained_with,
        allow_self_judge=args.allow_self_judge,
        devices=args.devices,
        overwrite=args.overwrite,
    )
    judge = write_pairs if args.pairs_only else evaluate
    print(judge(settings, lambda name: files_progress(f"evaluate: {name}")))


def named(given: list[str], option: str) -> dict[str, str]:
    """['a=DIR', 'DIR/b'] as {'a': DIR, 'b': DIR/b}: without a name, the folder's."""
    named: dict[str, str] = {}
    for text in given:
        name, equals, path = text.partition("=")
        given_name = bool(equals) and "/" not in name  # else the sign belongs to the path
        folder = path if given_name else text
        name = name if given_name else Path(folder).resolve().name
        if name in named:
            raise ValueError(f"{option}: found {name!r} twice; wanted NAME=DIR to tell them apart")
        named[name] = folder
    return named
