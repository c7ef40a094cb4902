"""`smoothswap faces`: which faces a photo has, by number."""

import argparse
from pathlib import Path

from smoothswap_jax.cli.swap import MIN_SCORE, TILES, check_min_score


def add_parser(verbs) -> None:
    faces = verbs.add_parser(
        "faces",
        help="list the faces of a photo",
        description="Lists the faces of a photo, the largest first: the numbers that `smoothswap swap` takes, boxes in "
        "pixels, the detector's scores, and how far each is turned.",
        allow_abbrev=False,
    )
    faces.add_argument("photo", metavar="PHOTO", help="to look at")
    faces.add_argument(
        "--out",
        metavar="SHEET",
        help="also write a picture (.png, .jpg, .webp, .tif): the photo with its faces marked, and each face",
    )
    faces.add_argument("--min-score", type=float, default=0.0, metavar="X", help=MIN_SCORE)
    faces.add_argument("--tiles", action="store_true", help=TILES)
    faces.add_argument("--overwrite", action="store_true", help="replace a file that is there already")
    faces.set_defaults(run=run)


def run(args: argparse.Namespace) -> None:
    check_min_score(args.min_score)
    from smoothswap_jax.faces.detection.base import face_yaw
    from smoothswap_jax.faces.detection.registry import find_faces, find_small_faces
    from smoothswap_jax.faces.photos import check_output, load_photo, save_photo
    from smoothswap_jax.faces.sheet import face_sheet
    from smoothswap_jax.inference.choice import choose_faces
    from smoothswap_jax.inference.files import check_no_input
    from smoothswap_jax.runtime.files import check_new_file

    if args.out:
        check_output(args.out)
        check_no_input([args.photo], args.out)
        check_new_file(Path(args.out), args.overwrite)
    photo = load_photo(args.photo)
    faces = choose_faces(
        photo,
        "all",
        args.photo,
        "target",
        detect=find_small_faces if args.tiles else find_faces,
        min_score=args.min_score,
    )
    print(" number       left        top      width     height  score    yaw")
    for number, face in enumerate(faces):
        left, top, right, bottom = face.box
        sides = f"{left:10.0f} {top:10.0f} {right - left:10.0f} {bottom - top:10.0f}"
        print(f"{number:7d} {sides}  {face.score:5.2f} {face_yaw(face.points):6.0f}")
    if args.out:
        save_photo(args.out, face_sheet(photo, faces))
        print(args.out)
