"""`smoothswap swap`: swap faces in a photo, a video, a picture that moves, or a folder of them."""

import argparse
import sys
from pathlib import Path
from typing import Any

from smoothswap_jax.runtime.folders import PACKAGED, PHOTOGRAPHS, training_config

ENCODERS = ("libx264", "libx265", "libsvtav1", "libvpx-vp9", "ffv1", "prores_ks")
"""Those of `faces.video_encoding`, which a test compares."""
TILES = "search large photos in tiles, too, for faces of less than a hundredth of their longer side (slow)"
MIN_SCORE = "pass over faces that the detector is less sure of, 0 to 1 (default 0: none)"


def add_parser(verbs) -> None:
    swap = verbs.add_parser("swap", help="swap faces in photos, videos and pictures that move", allow_abbrev=False)
    swap.add_argument(
        "--checkpoint",
        default=PHOTOGRAPHS,
        metavar="DIR",
        help="run directory of a trained swapper, or an export (default: photographs, which comes with the package)",
    )
    swap.add_argument(
        "--source",
        default=[],
        action="append",
        metavar="PHOTO",
        help="whose identity to take: one photo, or --source several times, photos of one person, whose mean is taken; "
        "with --interpolate two",
    )
    swap.add_argument(
        "--target",
        required=True,
        metavar="FILE",
        help="the photo, video or picture that moves to change, or a folder of them",
    )
    swap.add_argument(
        "--output",
        required=True,
        metavar="FILE",
        help="where to write: .png, .jpg, .webp or .tif; of a video .mp4, .mov, .mkv or .webm; of a GIF or "
        "another picture that moves also .gif, .webp or .apng; of a folder another one",
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
    swap.add_argument(
        "--map",
        action="append",
        default=[],
        metavar="SOURCE=PERSON",
        help="instead of --source, several times: the identity of one photo for the person in another",
    )
    swap.add_argument("--min-score", type=float, default=0.0, metavar="X", help=MIN_SCORE)
    swap.add_argument("--tiles", action="store_true", help=TILES)
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
    swap.add_argument(
        "--color",
        choices=("keep", "match", "free"),
        default="keep",
        help="keep the tones of grey and sepia targets (default), match also skin and light to the target's face, or "
        "give grey targets a face in colour",
    )
    swap.add_argument(
        "--occluders",
        choices=("swap", "keep"),
        default="swap",
        help="swap what covers a face with it (default), or keep what is told from skin by its colour",
    )
    swap.add_argument(
        "--max-megapixels",
        type=float,
        default=500,
        metavar="N",
        help="refuse larger photos and pictures that move (default 500; a swap takes some 10 MB a megapixel)",
    )
    video = swap.add_argument_group("videos")
    video.add_argument("--start", type=_seconds, metavar="S", help="cut off what is before, in seconds")
    video.add_argument("--end", type=_seconds, metavar="S", help="cut off what is after")
    video.add_argument("--preview", type=_seconds, metavar="S", help="only so many seconds from --start on: 10 or 10s")
    video.add_argument("--encoder", metavar="NAME", help=f"{', '.join(ENCODERS)} (default: as the target)")
    video.add_argument(
        "--quality", type=int, metavar="N", help="constant rate factor, lower is better (default 16 or 18)"
    )
    video.add_argument("--pixel-format", metavar="NAME", help="as FFmpeg names them (default: the target's)")
    swap.add_argument("--overwrite", action="store_true", help="replace a file that is there already")
    add_provenance(swap)
    swap.set_defaults(run=run, goes_on=False)


def add_provenance(verb: argparse.ArgumentParser) -> None:
    """Options of the trail that outputs carry."""
    trail = verb.add_argument_group("an honest trail")
    trail.add_argument(
        "--no-provenance",
        metavar="REASON",
        help="write outputs without content credentials and marks, and the reason into a log on this machine",
    )
    trail.add_argument(
        "--signing-chain", metavar="PEM", help="your own certificates to sign with, that of the key first"
    )
    trail.add_argument("--signing-key", metavar="PEM", help="the key of the first (default: one made at first use)")


def provenance_of(args: argparse.Namespace) -> Any:
    """Of the options of `add_provenance`, checked; imports what signing needs."""
    from smoothswap_jax.provenance.outputs import Provenance

    provenance = Provenance(args.signing_chain, args.signing_key, args.no_provenance)
    provenance.check()
    return provenance


def check_min_score(score: float) -> None:
    """Raises ValueError for what no detector gives."""
    if not 0 <= score <= 1:
        raise ValueError(f"--min-score: found {score:g}; wanted 0 to 1")


def _seconds(text: str) -> float:
    """Seconds, with or without an s behind them, or as [hours:]minutes:seconds."""
    total = 0.0
    for part in text.removesuffix("s").split(":"):
        total = total * 60 + float(part)
    return total


def run(args: argparse.Namespace) -> int:
    if not 0 < args.max_megapixels <= 10_000:
        raise ValueError(f"--max-megapixels: found {args.max_megapixels:g}; wanted more than 0, at most 10,000")
    from smoothswap_jax.faces.kinds import ANIMATION, is_video, kind_of
    from smoothswap_jax.faces.video_encoding import CONTAINERS
    from smoothswap_jax.inference.albums import check_folders
    from smoothswap_jax.inference.animations import check_animation, wants_animation
    from smoothswap_jax.inference.choice import check_which
    from smoothswap_jax.inference.files import by_face, check_files, photos_of
    from smoothswap_jax.inference.interpolation import check_strip
    from smoothswap_jax.inference.occlusion import keep_occluders
    from smoothswap_jax.inference.swapper import Swapper, check_how

    # Before seconds of loading.
    source = _sources(args)
    faces = {"source_face": _which(args.source_face), "target_face": _which(args.target_face)}
    moving = args.interpolate is None and wants_animation(args.target, args.output)
    video = args.interpolate is None and is_video(args.target) and not moving
    video &= kind_of(args.target) != ANIMATION or Path(args.output).suffix.lower() in CONTAINERS
    folder = Path(args.target).is_dir() and args.interpolate is None
    args.goes_on = video or folder
    _check_suffix(args)
    check_min_score(args.min_score)
    check_how(args.paste, args.color, args.strength)
    for role in ("source", "target"):
        check_which(faces[f"{role}_face"], role)
    wishes, max_pixels = by_face(source, faces["target_face"]), int(args.max_megapixels * 1e6)
    if not video and not folder:
        _check_no_video_options(args)
    if args.interpolate is not None:
        check_strip(args.source, args.target, args.output, args.interpolate, args.overwrite, max_pixels)
        if args.strength != 1:
            raise ValueError(f"--strength: found {args.strength:g} with --interpolate; wanted one of them")
    elif folder:
        check_folders(Path(args.target), Path(args.output))
    elif video:
        from smoothswap_jax.inference.video import check_video

        check_video(wishes, args.target, args.output, args.overwrite, _span(args), max_pixels)
    elif moving:
        check_animation(wishes, args.target, args.output, args.overwrite, max_pixels)
    else:
        check_files(photos_of(wishes), args.target, args.output, args.overwrite, max_pixels)
    provenance = provenance_of(args)
    swapper = Swapper.load(
        args.checkpoint,
        max_pixels=max_pixels,
        min_score=args.min_score,
        tiles=args.tiles,
        mask=keep_occluders if args.occluders == "keep" else None,
        provenance=provenance,
    )
    if words := _meant_for_rendered_faces(args.checkpoint):
        print(words, file=sys.stderr)
    how: dict[str, Any] = {"paste": args.paste, "color": args.color, "overwrite": args.overwrite, **faces}
    if folder:
        return _swap_folder(swapper, source, args, {**how, "strength": args.strength})
    if video or moving:
        notes = _swap_video(swapper, source, args, {**how, "strength": args.strength}, moving)
    elif args.interpolate is None:
        from smoothswap_jax.inference.files import swap_files

        notes = swap_files(swapper, source, args.target, args.output, strength=args.strength, **how)
    else:
        from smoothswap_jax.inference.interpolation import interpolate_files

        notes = interpolate_files(swapper, args.source, args.target, args.output, args.interpolate, **how)
    for note in notes:
        print(f"smoothswap swap: {args.output}: {note}", file=sys.stderr)
    print(args.output)
    return 0


def _sources(args: argparse.Namespace) -> Any:
    """Of --source a list, of --map a list for each person."""
    if not args.map:
        if not args.source:
            raise ValueError("--source: found none; wanted a photo, or --map SOURCE=PERSON")
        return args.source
    if args.source or args.interpolate is not None:
        raise ValueError("--map: found it with --source or --interpolate; wanted one of them")
    wishes: dict[str, list[str]] = {}
    for text in args.map:
        # Names of files may have an = themselves.
        cuts = [at for at, letter in enumerate(text) if letter == "="]
        whole = [at for at in cuts if Path(text[:at]).is_file() and Path(text[at + 1 :]).is_file()]
        if not whole:
            raise ValueError(f"--map: found {text!r}; wanted SOURCE=PERSON, two photos that are there")
        wishes.setdefault(text[whole[0] + 1 :], []).append(text[: whole[0]])
    return wishes


def _check_suffix(args: argparse.Namespace) -> None:
    """Raises ValueError for an output with a suffix that does not suit any target, or not the one that is there."""
    from smoothswap_jax.faces.animation_writing import FORMS
    from smoothswap_jax.faces.animations import is_animation
    from smoothswap_jax.faces.photos import is_writable
    from smoothswap_jax.faces.video_encoding import CONTAINERS

    output = Path(args.output)
    if is_writable(output):
        return
    if not Path(args.target).exists():
        raise ValueError(f"{args.target}: found no such file; wanted a photo, a video or a folder of them")
    suffix = output.suffix.lower()
    if args.interpolate is None and is_animation(args.target) and suffix not in (*FORMS, *CONTAINERS):
        wanted = ", ".join(dict.fromkeys((*FORMS, *CONTAINERS)))
        raise ValueError(f"{output}: found suffix {suffix!r} for a picture that moves; wanted one of {wanted}")


def _video_options(args: argparse.Namespace) -> dict[str, Any]:
    """Those that are given and only videos have."""
    names = ("start", "end", "preview", "encoder", "quality", "pixel_format")
    return {f"--{name.replace('_', '-')}": value for name in names if (value := getattr(args, name)) is not None}


def _check_no_video_options(args: argparse.Namespace) -> None:
    for option, value in _video_options(args).items():
        raise ValueError(f"{option}: found {value} and {args.target}, which is no video; wanted one")


def _span(args: argparse.Namespace) -> Any:
    """The options of a video."""
    from smoothswap_jax.inference.first_look import VideoOptions

    start, end = args.start or 0.0, args.end
    if args.preview is not None:
        if end is not None:
            raise ValueError(f"--preview: found {args.preview:g} s with --end={end:g}; wanted one of them")
        end = start + args.preview
    return VideoOptions(start, end, args.encoder or "", args.quality, args.pixel_format or "")


def _swap_video(
    swapper: Any, source: Any, args: argparse.Namespace, how: dict[str, Any], moving: bool
) -> tuple[str, ...]:
    """moving: into a picture that moves."""
    from smoothswap_jax.inference.animations import swap_animation
    from smoothswap_jax.inference.video import swap_video

    how |= {"progress": _frames_progress(args.target)}
    if moving:
        report = swap_animation(swapper, source, args.target, args.output, **how)
    else:
        report = swap_video(swapper, source, args.target, args.output, options=_span(args), **how)
    times = ", ".join(f"{stage} {spent:.1f} s" for stage, spent in report.seconds.items())
    print(
        f"smoothswap swap: {report.frames} frames, {report.swapped} with new faces ({times})",
        file=sys.stderr,
    )
    return report.notes


def _frames_progress(target: Any) -> Any:
    """Shows lines of frames, for each look at a video."""
    from smoothswap_jax.runtime.metric_log import files_progress

    name = Path(target).name
    shown = {stage: files_progress(f"{name}: {stage}", "frames") for stage in ("looking", "swapping")}
    return lambda stage, done, total: shown[stage](done, total)


def _swap_folder(swapper: Any, source: Any, args: argparse.Namespace, how: dict[str, Any]) -> int:
    """A line for each photo and video, and a summary; 1 where some could not be swapped."""
    from smoothswap_jax.faces.listing import passed_over
    from smoothswap_jax.inference.albums import album_in, swap_folder

    say = lambda words: print(f"smoothswap swap: {words}", file=sys.stderr)
    counts = dict.fromkeys(("swapped", "there already", "left out"), 0)
    how |= {"options": _span(args), "progress": _frames_progress}
    album = album_in(Path(args.target))
    if (options := _video_options(args)) and (album.photos or album.moving):
        say(f"{', '.join(options)}: for videos; photos and pictures that move are swapped without")
    for one in swap_folder(swapper, source, args.target, args.output, **how):
        counts["left out" if one.fault else "there already" if one.there else "swapped"] += 1
        if one.fault:
            say(one.fault)
        elif one.there:
            say(f"{one.output}: is there already (--overwrite replaces it)")
        else:
            print(one.output, flush=True)
        for note in one.notes:
            say(f"{one.output}: {note}")
    if words := passed_over(album.others, Path(args.target), "photos or videos"):
        say(words)
    say(f"{args.output}: {', '.join(f'{count} {what}' for what, count in counts.items())}")
    return 1 if counts["left out"] else 0


def _meant_for_rendered_faces(checkpoint: str) -> str:
    """What to know of a network that saw only synthetic faces; '' of others."""
    data = {} if checkpoint in PACKAGED else training_config(checkpoint).get("data")  # those speak for themselves
    if not isinstance(data, dict) or data.get("kind") != "synthetic":
        return ""
    return (
        f"smoothswap swap: {checkpoint} was trained on rendered faces of {data.get('size')} pixels "
        "(config.data.kind=synthetic), not on photographs: it changes colours at best; for photographs train on some"
    )


def _which(text: str) -> int | str:
    """An index as a number; a word or a path as it is."""
    return int(text) if text.isdecimal() else text
