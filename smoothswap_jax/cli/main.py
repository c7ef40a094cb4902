"""`smoothswap <verb>`: parse, then call one function. Libraries are imported by the verb that needs them."""

import argparse
import ast
import dataclasses
import json
import logging
import os
import shlex
import sys
import traceback
from pathlib import Path
from typing import Any

DESCRIPTION = "Smooth-Swap face swapping in JAX: train, swap, prepare, import, export, measure."

# What `smoothswap import` takes. The functions are in weights/kinds.py, which needs JAX: a test compares the lists.
KINDS = (
    *("resnet50", "vggface2-resnet50", "vggface2-senet50", "iresnet50", "iresnet100", "cosface-sphere20", "hopenet"),
    *("deep3d", "inception-fid", "lpips", "sface", "ncsnpp", "stylegan2-discriminator", "embedder", "generator"),
    "discriminator",
)


def main(argv: list[str] | None = None) -> int:
    """Runs one verb; returns the exit code. Mistakes of the user are one line on stderr, without a traceback."""
    parser = make_parser()
    args, rest = parser.parse_known_args(argv)
    if rest and args.verb != "train":
        parser.error(f"unrecognised arguments: {' '.join(rest)}")
    logging.basicConfig(level=logging.INFO if args.verbose else logging.WARNING, format="%(levelname)s %(message)s")
    logging.getLogger("smoothswap_jax").setLevel(logging.INFO)
    logging.getLogger("absl").setLevel(logging.ERROR)  # orbax tells each file it touches
    args.overrides = rest
    try:
        return args.run(args) or 0
    except (ValueError, OSError, ImportError, FloatingPointError) as error:
        if args.verbose:
            raise
        print(f"smoothswap {args.verb}: {' '.join(str(error).split())}", file=sys.stderr)
        code = MISTAKE
    except Exception:
        traceback.print_exc()
        code = CRASH
    if args.verb == "train" and _several(args):
        sys.stderr.flush()
        os._exit(code)  # JAX would wait minutes for the others, who wait for this one
    return code


MISTAKE, CRASH = 1, 70
"""Exit codes: what has to be mended first (2 of argparse is that too), and what a launcher may try again."""


def make_parser() -> argparse.ArgumentParser:
    """The command line. Sub-parsers set `run`."""
    parser = argparse.ArgumentParser(prog="smoothswap", description=DESCRIPTION, allow_abbrev=False)
    parser.add_argument("--verbose", action="store_true", help="log more, and show tracebacks")
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")

    train = verbs.add_parser(
        "train",
        help="train the embedder or the swapper, or resume a run",
        description="Train from a config file, or resume the run in WORKDIR.",
        epilog="Any field can be overridden: --config.steps=1000 --config.data.kind=folder --config.data.dir=DIR",
        allow_abbrev=False,
    )
    train.add_argument("--config", required=True, metavar="FILE[:VARIANT]", help="e.g. configs/embedder.py:tiny32")
    train.add_argument("--workdir", required=True, metavar="DIR", help="run directory; resumed if it has checkpoints")
    train.add_argument("--devices", type=int, metavar="N", help="use the first N devices (default: all)")
    train.add_argument(
        "--profile", type=_steps, metavar="START:COUNT", help="steps to write a trace of, WORKDIR/profile"
    )
    several = train.add_argument_group("several processes", "The same command in each; WORKDIR is seen by all.")
    several.add_argument("--distributed", action="store_true", help="find the others: TPU pod, Slurm, Kubernetes, MPI")
    several.add_argument("--coordinator", metavar="HOST:PORT", help="of process 0, where nothing is found")
    several.add_argument("--processes", type=int, metavar="N", help="how many there are")
    train.add_argument(
        "--stopped-code",
        type=int,
        default=0,
        metavar="N",
        help="exit code of a run that a signal stopped before its last step (default 0)",
    )
    several.add_argument("--process", type=int, metavar="I", help="which one this is, from 0")
    train.set_defaults(run=_train)

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
    swap.set_defaults(run=_swap)

    _add_prepare(verbs)

    import_ = verbs.add_parser(
        "import",
        help="turn a published weight file into a network's folder",
        description="Reads published weights, without running code they may hold, and writes "
        "DIR/params.safetensors and DIR/config.json.",
        epilog=f"Kinds: {', '.join(KINDS)}. For ncsnpp: --known image_size=256 dim=512 (a Flax checkpoint also "
        "attn_resolutions=16,); for vggface2 files with RGB input: channels=RGB; for networks of other depths than "
        "the kind's name says: stage_sizes=3,4,23,3; for our own embedder and generator: image_size=256.",
        allow_abbrev=False,
    )
    import_.add_argument("--kind", required=True, help="what the file holds, see below")
    import_.add_argument(
        "--weights",
        required=True,
        action="append",
        metavar="FILE",
        help="the downloaded file; for lpips in two files, once each: torchvision's, and lpips' weights/v0.1/*.pth",
    )
    import_.add_argument("--out", required=True, metavar="DIR", help="a new folder")
    import_.add_argument(
        "--known",
        nargs="+",
        action="extend",
        default=[],
        metavar="KEY=VALUE",
        help="what names and shapes of tensors do not tell",
    )
    import_.set_defaults(run=_import)

    _add_evaluate(verbs)

    export = verbs.add_parser(
        "export",
        help="write a trained swapper for others to run",
        description="Writes params.safetensors, config.json, swap.stablehlo, embed.stablehlo, MODEL_CARD.md and "
        "SHA256SUMS, and compares them with the checkpoint.",
        allow_abbrev=False,
    )
    export.add_argument("--checkpoint", required=True, metavar="DIR", help="run directory of a trained swapper")
    export.add_argument("--out", required=True, metavar="DIR", help="a new folder")
    export.add_argument("--step", type=int, metavar="N", help="which checkpoint (default: the newest)")
    export.add_argument("--with-discriminator", action="store_true", help="also its weights, to train on from")
    export.add_argument("--onnx", action="store_true", help="also swap.onnx and embed.onnx (needs the extra `onnx`)")
    export.add_argument("--evaluation", metavar="FILE", help="a JSON report to put beside the model card")
    export.set_defaults(run=_export)

    _add_bench(verbs)

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
    demo.set_defaults(run=_demo)
    return parser


def _add_prepare(verbs) -> None:
    prepare = verbs.add_parser(
        "prepare",
        help="turn photos or videos into a training set of aligned faces",
        description="Finds faces, aligns them as FFHQ was, and writes shards, manifest.json, rejected.csv and "
        "preview.html: look at it before training. The same command goes on with a run that was stopped.",
        epilog="Layouts: people DIR/<person>/<photo>; flat DIR/<photo>; the public sets as they unpack. Another Beam "
        'runner: --beam_options="--runner=DataflowRunner --project=..." (workers need this package, and the source '
        "under the same path).",
        allow_abbrev=False,
    )
    add = prepare.add_argument
    add("--source", required=True, metavar="DIR", help="photos or videos")
    add("--out", required=True, metavar="DIR", help="a new folder, or that of a run to go on with")
    add("--layout", default="auto", help="auto, people, flat, vggface2, ffhq, celeba, faceforensics (default auto)")
    add("--size", type=int, help="of the crops in pixels (default 256)")
    add("--detector", metavar="NAME", help="which finds the faces (default yunet; a wrong name lists all)")
    add(
        "--detector-model",
        metavar="FILE",
        help="weights for a detector that no package brings them for: face_landmarker.task",
    )
    add("--several", help="faces in one photo: largest, box (of the data set) or reject")
    add("--min-side", type=float, metavar="PX", help="least side of the face's square in the photo (default 64)")
    add("--max-yaw", type=float, metavar="DEG", help="leave out heads turned further (default 62)")
    add("--min-sharpness", type=float, metavar="DB", help="leave out blurred faces (default: see crops.py)")
    add("--keep-duplicates", dest="duplicates", action="store_false", default=None, help="do not look for them")
    add("--test-share", type=float, metavar="X", help="share of people held out (default 0.1)")
    add("--frames", type=int, metavar="N", help="frames of each video (default 10)")
    add("--encoding", help="jpeg (default) or png")
    add("--aligned", action="store_true", default=None, help="the photos are aligned crops already: only resize them")
    add("--workers", type=int, metavar="N", help="local processes (default: one a core)")
    add("--beam_options", default="", metavar="OPTIONS", help="Apache Beam's options, in one argument")
    prepare.set_defaults(run=_prepare)


def _add_bench(verbs) -> None:
    bench = verbs.add_parser(
        "bench",
        help="measure speed on this machine",
        description="data: stages of preparation, the training reader beside bare JPEG decoding, and an index of 3.3M "
        "images. steps: the swapper's training step, its operations, memory and phases. memory: what the step needs of "
        "a device, by the compiler, also for devices that are not here. scaling: 1 to 8 virtual devices, 1 and 2 "
        "processes. Prints a table, and all of it as one line of JSON.",
        allow_abbrev=False,
    )
    bench.add_argument("--what", required=True, choices=("data", "steps", "memory", "scaling"))
    bench.add_argument("--config", default="configs/swapper.py:tiny32", metavar="FILE[:VARIANT]", help="of the swapper")
    bench.add_argument(
        "--embedder", default="configs/embedder.py:tiny32", metavar="FILE[:VARIANT]", help="of the embedder"
    )
    bench.add_argument("--batch", type=int, nargs="+", metavar="N", help="global batch sizes (default: the config's)")
    bench.add_argument("--dtype", nargs="+", help="of convolutions: float32 (default), bfloat16")
    bench.add_argument(
        "--fsdp", type=int, nargs="+", metavar="N", help="steps, memory: devices that share the state (default 1)"
    )
    bench.add_argument(
        "--remat",
        nargs="+",
        metavar="POLICY",
        help="memory: off, nothing_saveable, dots_saveable, as generator.remat (default: the config's)",
    )
    bench.add_argument("--devices", type=int, metavar="N", help="steps, memory: the first N devices (default: all)")
    bench.add_argument("--virtual", type=int, metavar="N", help="steps, memory: N devices that are this CPU")
    bench.add_argument(
        "--topology", metavar="NAME", help="memory: of devices that are not here, e.g. v5e:8x8, h200:8x8 (8 hosts)"
    )
    bench.add_argument("--source", metavar="DIR", help="photos to prepare, as for prepare (default: rendered faces)")
    bench.add_argument("--data", metavar="DIR", help="prepared set to read (default: rendered faces)")
    bench.add_argument("--detector", default="yunet", help="as for prepare (default yunet)")
    bench.add_argument("--detector-model", metavar="FILE", help="as for prepare")
    bench.add_argument("--seconds", type=float, default=4.0, help="of each measurement in each round (default 4)")
    bench.set_defaults(run=_bench)


def _add_evaluate(verbs) -> None:
    evaluate = verbs.add_parser(
        "evaluate",
        help="score swaps by a named protocol",
        description="Judges swaps, of a checkpoint or of any other method, beside the baselines, and writes "
        "report.html, report.json, scores.csv and pairs.csv. The same command goes on with a run that was stopped.",
        epilog="Protocols: synthetic-truth, london-truth, paired-views, ffhq, held-out, faceforensics, smoothness (of "
        "embedders), each also as NAME@VERSION. Judges: sface, dlib, mediapipe=FILE.task, factors (of "
        "synthetic-truth), a folder of `smoothswap import`, or the run directory of an embedder; NAME=... names them. "
        "See docs/evaluation.md.",
        allow_abbrev=False,
    )
    add = evaluate.add_argument
    add("--protocol", required=True, metavar="NAME[@VERSION]")
    add("--out", required=True, metavar="DIR", help="a new folder, or that of a run to go on with")
    add("--data", metavar="DIR", help="the protocol's photos or videos, or a set that `smoothswap prepare` wrote")
    add("--checkpoint", action="append", default=[], metavar="[NAME=]DIR", help="a trained swapper, or an export")
    add("--swaps", action="append", default=[], metavar="[NAME=]DIR", help="a method's swaps, named as in pairs.csv")
    add("--judge", action="append", default=[], metavar="[NAME=]WHICH", help="may be given several times")
    add("--pairs-only", action="store_true", help="only write pairs.csv, for others to make swaps of")
    add("--aligned", action="store_true", help="--swaps are FFHQ-aligned crops, not whole pictures")
    add("--size", type=int, help="of the aligned faces (default: the checkpoint's, else 256)")
    add("--identity", default="aligned", help="convention: aligned (default), reliableswap, reface, casia")
    add("--pose", default="geodesic", help="convention for Hopenet: geodesic (default), reliableswap, reface, casia")
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
    evaluate.set_defaults(run=_evaluate)

    compare = verbs.add_parser(
        "compare",
        help="compare methods that were judged alike, pair by pair",
        description="Paired bootstrap between all methods of one or several evaluations: better, worse or cannot tell.",
        allow_abbrev=False,
    )
    compare.add_argument("folders", nargs="+", metavar="DIR", help="what `smoothswap evaluate --out` wrote")
    compare.add_argument("--out", metavar="DIR", help="also write report.html and report.json there")
    compare.add_argument("--baselines", action="store_true", help="compare the baselines too")
    compare.set_defaults(run=_compare)


def _train(args) -> int:
    from smoothswap_jax.config.load import load_config

    config = load_config(args.config, args.overrides)
    if _several(args):
        from smoothswap_jax.runtime.sharding import start_processes

        start_processes(args.coordinator, args.processes, args.process)
    from smoothswap_jax.training.loop import train

    train(config, args.workdir, args.devices, args.profile)
    saved = [int(path.name) for path in (Path(args.workdir) / "checkpoints").iterdir() if path.name.isdigit()]
    return 0 if max(saved, default=0) >= config["steps"] else args.stopped_code


def _several(args) -> bool:
    """Whether this process is told to train with others."""
    given = (args.coordinator, args.processes, args.process)
    return args.distributed or any(value is not None for value in given)


def _steps(text: str) -> tuple[int, int]:
    start, colon, count = text.partition(":")
    if not (colon and start.isdigit() and count.isdigit() and int(count)):
        raise argparse.ArgumentTypeError(f"found {text!r}; wanted START:COUNT, two whole numbers")
    return int(start), int(count)


def _swap(args) -> None:
    from smoothswap_jax.inference.swapper import Swapper, swap_files

    swapper = Swapper.load(args.checkpoint)
    which = lambda text: int(text) if text.isdigit() else text
    swap_files(
        swapper,
        args.source,
        args.target,
        args.output,
        source_face=which(args.source_face),
        target_face=which(args.target_face),
        paste=args.paste,
    )
    print(args.output)


def _prepare(args) -> None:
    from smoothswap_jax.prepare.crops import PrepareSettings
    from smoothswap_jax.prepare.run import prepare
    from smoothswap_jax.runtime.metric_log import files_progress

    names = [field.name for field in dataclasses.fields(PrepareSettings)]
    settings = PrepareSettings(**{name: getattr(args, name) for name in names if getattr(args, name) is not None})
    summary = prepare(
        args.source,
        args.out,
        settings,
        layout=args.layout,
        several=args.several,
        workers=args.workers,
        beam_options=shlex.split(args.beam_options),
        progress=files_progress("prepare"),
    )
    kept = ", ".join(f"{name} {summary.kept[name]} faces of {summary.people[name]} people" for name in summary.kept)
    gates = "".join(f", {gate} {count}" for gate, count in summary.gates.items())
    print(f"{summary.pictures} pictures: {kept}; {summary.rejected} left out{gates}")
    print(f"look at {args.out}/preview.html before training")


def _import(args) -> None:
    known = dict(_known(text) for text in args.known)
    from smoothswap_jax.weights.network_folder import import_file

    network = import_file(args.kind, args.weights, args.out, known)
    print(f"{args.out}: {type(network.module).__name__}")
    if network.fresh:
        print(f"fresh, not from the file: {', '.join(network.fresh)}")


def _export(args) -> None:
    from smoothswap_jax.inference.export.export_folder import export_swapper

    checks = export_swapper(
        args.checkpoint,
        args.out,
        step=args.step,
        with_discriminator=args.with_discriminator,
        onnx=args.onnx,
        evaluation=args.evaluation,
    )
    for name, difference in checks.items():
        print(f"{args.out}/{name}: differs from the checkpoint by {difference:.1e}")


def _evaluate(args) -> None:
    from smoothswap_jax.evaluation.evaluate import evaluate, write_pairs
    from smoothswap_jax.evaluation.settings import EvaluationSettings
    from smoothswap_jax.runtime.metric_log import files_progress

    settings = EvaluationSettings(
        protocol=args.protocol,
        out=Path(args.out),
        data=Path(args.data) if args.data else None,
        checkpoints=_named(args.checkpoint, "--checkpoint"),
        swaps=_named(args.swaps, "--swaps"),
        judges=args.judge,
        identity=args.identity,
        pose=args.pose,
        size=args.size,
        aligned=args.aligned,
        options={"compression": args.compression, "split": args.split},
        trained_with=args.trained_with,
        allow_self_judge=args.allow_self_judge,
        devices=args.devices,
    )
    run = write_pairs if args.pairs_only else evaluate
    print(run(settings, lambda name: files_progress(f"evaluate: {name}")))


def _named(given: list[str], option: str) -> dict[str, Path]:
    """['a=DIR', 'DIR/b'] as {'a': DIR, 'b': DIR/b}: without a name, the folder's."""
    named: dict[str, Path] = {}
    for text in given:
        name, equals, path = text.partition("=")
        given_name = bool(equals) and "/" not in name  # else the sign belongs to the path
        folder = Path(path if given_name else text)
        name = name if given_name else folder.resolve().name
        if name in named:
            raise ValueError(f"{option}: found {name!r} twice; wanted NAME=DIR to tell them apart")
        named[name] = folder
    return named


def _compare(args) -> None:
    from smoothswap_jax.evaluation.compare import as_text, compare, write_comparison

    differences, facts = compare(args.folders, args.baselines)
    print(as_text(differences))
    if args.out:
        print(write_comparison(args.out, differences, facts))


def _known(text: str) -> tuple[str, Any]:
    """'image_size=256' as ('image_size', 256); what is no Python literal is a word."""
    name, equals, value = text.partition("=")
    if not equals or not name.isidentifier():
        raise ValueError(f"--known {text}: wanted KEY=VALUE")
    try:
        return name, ast.literal_eval(value)
    except (ValueError, SyntaxError):
        return name, value


def _bench(args) -> None:
    from smoothswap_jax.bench.table import table

    if args.what == "data":
        from smoothswap_jax.bench.data import bench_data

        result = bench_data(args.source, args.data, args.detector, args.detector_model, args.seconds)
    else:
        result = _bench_programs(args)
    print(table(result))
    print(json.dumps(result))


def _bench_programs(args) -> dict:
    import jax

    from smoothswap_jax.config.load import load_config

    _refuse_ignored(args)
    if args.topology or args.virtual:
        jax.config.update("jax_platforms", "cpu")
    if args.virtual:
        jax.config.update("jax_num_cpu_devices", args.virtual)
    config, embedder = load_config(args.config, []), load_config(args.embedder, [])["embedder"]
    batches, dtypes, fsdps = args.batch or [config["batch"]], args.dtype or ["float32"], args.fsdp or [1]
    if args.what == "steps":
        from smoothswap_jax.bench.steps import bench_steps

        return bench_steps(config, embedder, batches, dtypes, fsdps[0], args.devices, args.seconds)
    if args.what == "scaling":
        from smoothswap_jax.bench.scaling import bench_scaling

        return bench_scaling(config, embedder, batches[0], dtypes[0], args.seconds)
    from smoothswap_jax.bench.memory import bench_memory

    return bench_memory(config, embedder, batches, dtypes, fsdps, args.remat or [""], args.devices, args.topology)


def _refuse_ignored(args) -> None:
    """Raises ValueError for options, or second values of them, that the bench would not look at."""
    known = {
        "steps": ("batch", "dtype", "fsdp", "devices", "virtual"),
        "memory": ("batch", "dtype", "fsdp", "devices", "virtual", "remat", "topology"),
        "scaling": ("batch", "dtype"),
    }[args.what]
    one = {"steps": ("fsdp",), "memory": (), "scaling": ("batch", "dtype")}[args.what]
    for name in ("batch", "dtype", "fsdp", "devices", "virtual", "remat", "topology"):
        value = getattr(args, name)
        if value is not None and name not in known:
            raise ValueError(f"--{name} is not for --what={args.what}, which takes --{', --'.join(known)}")
        if name in one and value is not None and len(value) > 1:
            raise ValueError(f"--{name} has {len(value)} values; wanted one with --what={args.what}")
    if args.topology and args.virtual:
        raise ValueError("--virtual and --topology: wanted one of them")


def _demo(args) -> None:
    from smoothswap_jax.demo import demo

    print(demo(args.out, photos=args.photos, seed=args.seed, effort=args.effort, paired_views=args.paired_views))
