"""`smoothswap prepare`: turn photos or videos into a training set of aligned faces."""

import argparse
import dataclasses
import shlex


def add_parser(verbs) -> None:
    prepare = verbs.add_parser(
        "prepare",
        help="turn photos or videos into a training set of aligned faces",
        description="Finds faces, aligns them as FFHQ was, and writes shards, manifest.json, rejected.csv and "
        "preview.html: look at it before training. The same command goes on with a run that was stopped.",
        epilog=_epilog,
        allow_abbrev=False,
    )
    add = prepare.add_argument
    add("--source", required=True, metavar="DIR", help="photos or videos")
    add("--out", required=True, metavar="DIR", help="a new folder, or that of a run to go on with")
    add(
        "--layout",
        default="auto",
        metavar="NAME",
        help="how the photos lie, see below (default auto)",
    )
    add("--size", type=int, help="of the crops in pixels (default 256)")
    add("--detector", metavar="NAME", help="which finds the faces, see below (default yunet)")
    add("--detector-model", metavar="FILE", help="weights that no package brings: mediapipe's face_landmarker.task")
    add("--several", help="faces in one photo: largest, box (of the data set) or reject")
    add("--min-side", type=float, metavar="PX", help="least side of the face's square in the photo (default 64)")
    add("--max-yaw", type=float, metavar="DEG", help="leave out heads turned further (default 62)")
    add("--min-sharpness", type=float, metavar="DB", help="leave out blurred faces (default -16)")
    add(
        "--min-score",
        type=float,
        metavar="X",
        help="leave out faces with a lower score of the detector (default 0: none)",
    )
    add("--keep-duplicates", dest="duplicates", action="store_false", default=None, help="do not look for them")
    add(
        "--test-share",
        type=float,
        metavar="X",
        help="share of people held out (default 0.1), at least 2 people; 0: nobody",
    )
    add("--frames", type=int, metavar="N", help="frames of each video (default 10)")
    add("--max-megapixels", type=float, metavar="N", help="leave out larger photos (default 250)")
    add("--encoding", help="jpeg (default) or png")
    add("--aligned", action="store_true", default=None, help="the photos are aligned crops already: only resize them")
    add("--workers", type=int, metavar="N", help="local processes (default: one a core)")
    add("--beam_options", default="", metavar="OPTIONS", help="Apache Beam's options, in one argument")
    prepare.set_defaults(run=run)


def _epilog() -> str:
    from smoothswap_jax.faces.detection.registry import DETECTORS
    from smoothswap_jax.prepare.layouts import LAYOUTS

    return (
        f"Layouts: {', '.join(LAYOUTS)}; people is DIR/<person>/<photo>, flat DIR/<photo>, the others are public "
        f"sets as they unpack. Detectors: {', '.join(DETECTORS)}. Another Beam runner: "
        '--beam_options="--runner=DataflowRunner --project=..." (workers need this package, and the source under the '
        "same path)."
    )


def run(args: argparse.Namespace) -> None:
    from smoothswap_jax.prepare.crop_table import FEWEST
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
    in_part = f"; {summary.used_in_part} videos used in part" if summary.used_in_part else ""
    print(f"{summary.pictures} pictures: {kept}; {summary.rejected} left out{gates}{in_part}")
    held_out = summary.people.get("test", 0)
    if settings.test_share and held_out < FEWEST:
        print(
            f"{held_out or 'nobody'} of {sum(summary.people.values())} people with a usable face is held out; training "
            f"wants {2 * FEWEST} people or more, {FEWEST} of them to test on: add people, and prepare them to a new "
            "folder"
        )
    if summary.turned:
        print(f"{summary.turned} kept faces lie on their side or upside down in their photos; their crops are upright")
    print(f"look at {args.out}/preview.html before training")
