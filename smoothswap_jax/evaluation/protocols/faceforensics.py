"""The protocol `faceforensics`: the official pairs of FaceForensics++ (Roessler et al. 2019), frame by frame."""

import dataclasses
import json
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
from jaxtyping import Int

from smoothswap_jax.data.sources import person_digest
from smoothswap_jax.evaluation.galleries import Gallery, PhotoRef, gallery_of_photos
from smoothswap_jax.evaluation.pairs import Pairs
from smoothswap_jax.evaluation.protocols.base import SIZE, Protocol, ProtocolError, Request, check_data, data_folder
from smoothswap_jax.faces.video_survey import survey
from smoothswap_jax.faces.videos import VideoError, frame_numbers

FRAMES = 10
SPLITS = ("train", "val", "test")
OPTIONS = {"compression": "c23", "split": "all"}
ONE_PERSON = (("043", "343"), ("179", "183", "826"))
"""Sequences of different YouTube videos that show one man. There may be more."""


def _faceforensics(request: Request) -> Pairs:
    root, options = data_folder(request), {**OPTIONS, **request.options}
    place = f"original_sequences/youtube/{options['compression']}/videos"
    if not (root / place).is_dir():
        raise ProtocolError(f"{root}: found no {place}/; wanted FaceForensics++ as its script downloads it")
    official, listed = official_pairs(root, options["split"])
    person_of, about_people = _people(root)
    person = lambda number: person_of.get(number, f"youtube/{number}")
    numbers = {*person_of, *(number for name in official for number in name.split("_"))}
    known_people = {person(number) for number in numbers if person_digest(f"youtube/{number}") in request.trained_on}
    seen = lambda name: any(person(number) in known_people for number in name.split("_"))
    names = [name for name in official if not seen(name)]
    if not names:
        raise ProtocolError(f"{root}: the method was trained on people of all {len(official)} pairs; wanted others")
    gallery = _frames(request, root, place, names, person)
    facts = {**gallery.facts, **options, "pairs listed by": listed, "people": about_people}
    gallery = dataclasses.replace(gallery, facts=facts)
    labels, source, target = _frame_pairs(gallery, names, root)
    notes = [f"Pairs of split {options['split']!r}, listed by {listed}; {about_people}."]
    if lost := len(names) - len({label.split("/")[0] for label in labels}):
        notes.append(f"{lost} of {len(names)} pairs are left out: one of their videos cannot be read or shows no face.")
    if known := len(official) - len(names):
        notes.append(f"{known} of {len(official)} pairs are left out because the method was trained on their people.")
    return Pairs(gallery, labels, source, target, notes=tuple(notes))


def _frames(request: Request, root: Path, place: str, names: list[str], person: Callable[[str], str]) -> Gallery:
    """The aligned frames of all videos of the pairs; videos that cannot be read are in `left_out`."""
    sequences = sorted({number for name in names for number in name.split("_")})
    wanted, faults = [], {}
    for number in sequences:
        file = f"{place}/{number}.mp4"
        try:
            frames = frame_numbers(str(root / file), FRAMES)
            if incomplete := survey(str(root / file)).faults:
                faults[file] = "; ".join(incomplete)  # the frames that are there are used
        except VideoError as error:
            faults[file] = str(error).removeprefix(f"{root / file}: ")
            continue
        wanted += [PhotoRef(file, person(number), frame) for frame in frames]
    if not wanted:
        first = sequences[0]
        raise ProtocolError(f"{root}: no video can be used; the first, {first}: {faults[f'{place}/{first}.mp4']}")
    gallery = gallery_of_photos(root, wanted, request.size or SIZE, request.cache, request.progress)
    return dataclasses.replace(gallery, left_out={**faults, **gallery.left_out})


def _frame_pairs(
    gallery: Gallery, names: list[str], root: Path
) -> tuple[tuple[str, ...], Int[np.ndarray, "n"], Int[np.ndarray, "n"]]:
    """Labels <target>_<source>/<frame>, and the gallery's rows of sources and targets."""
    rows: dict[str, list[int]] = {}
    for row, file in enumerate(gallery.takes):
        rows.setdefault(Path(file).stem, []).append(row)
    triples = []
    for name in names:
        target, source = name.split("_")
        if target in rows and source in rows:
            frame = lambda row: gallery.names[row].rpartition("#")[2]
            triples += [(f"{name}/{frame(row)}", rows[source][0], row) for row in rows[target]]
    if not triples:
        raise ProtocolError(f"{root}: found no pair of videos whose faces are found")
    labels, source_rows, target_rows = zip(*triples, strict=True)
    return labels, np.array(source_rows), np.array(target_rows)


def official_pairs(root: Path, split: str = "all") -> tuple[list[str], str]:
    """The pairs <target>_<source> of FaceForensics++, and what lists them: both directions of splits/<split>.json or,
    for 'all' if none of the three lists exists, the names of the videos in manipulated_sequences/.

    Raises ProtocolError for another split, where a list is missing, and if there are no pairs.
    """
    _check_split(split)
    wanted = SPLITS if split == "all" else (split,)
    found = {
        one: path
        for one in SPLITS
        for path in (root / f"{one}.json", root / "splits" / f"{one}.json")
        if path.is_file()
    }
    if missing := [one for one in wanted if one not in found]:
        stems = {path.stem for path in root.glob("manipulated_sequences/*/*/videos/*_*.mp4")}
        videos = sorted(stem for stem in stems if all(part.isdigit() for part in stem.split("_")))
        if found or split != "all" or not videos:
            raise ProtocolError(
                f"{root}: found no splits/{missing[0]}.json; wanted the lists of FaceForensics++'s repository "
                "(dataset/splits), or --split=all and the videos of a method in manipulated_sequences/"
            )
        return videos, f"the {len(videos)} names of videos in manipulated_sequences"
    pairs: set[str] = set()
    for one in wanted:
        try:
            for a, b in json.loads(found[one].read_text(encoding="utf-8")):
                if not (a.isdigit() and b.isdigit()):
                    raise ValueError(f"{[a, b]}")
                pairs |= {f"{a}_{b}", f"{b}_{a}"}
        except (ValueError, TypeError, AttributeError, RecursionError) as error:
            raise ProtocolError(
                f'{found[one]}: found {error}; wanted a list of pairs such as ["071", "054"]'
            ) from error
    return sorted(pairs), ", ".join(f"{one}.json" for one in wanted)


def _people(root: Path) -> tuple[dict[str, str], str]:
    """The person of sequences that are not their own, and who counts as one: YouTube videos, and those of
    `ONE_PERSON` together, under the name of the first."""
    videos, about = _youtube_people(root)
    person_of = dict(videos)
    for same in ONE_PERSON:
        names = [videos.get(number, f"youtube/{number}") for number in same]
        person_of |= {number: names[0] for number in same}
        person_of |= {number: names[0] for number, name in videos.items() if name in names}
    groups = "; ".join(f"{', '.join(same[:-1])} and {same[-1]}" for same in ONE_PERSON)
    return person_of, f"{about}; {groups} show one man each"


def _youtube_people(root: Path) -> tuple[dict[str, str], str]:
    """The YouTube video of each sequence, by conversion_dict.json: several sequences can show one person."""
    path = next(
        (path for path in (root / "conversion_dict.json", root / "splits" / "conversion_dict.json") if path.is_file()),
        None,
    )
    if path is None:
        return (
            {},
            "each sequence counts as a person (no conversion_dict.json, by which 45 of 1000 are of only 22 videos)",
        )
    try:
        videos = {
            number: f"youtube/{name.rsplit(' ', 1)[0]}"
            for number, name in json.loads(path.read_text(encoding="utf-8")).items()
        }
    except (ValueError, AttributeError, RecursionError) as error:
        raise ProtocolError(f'{path}: found {error}; wanted names such as {{"000": "--b1Ua-kWJE 0"}}') from error
    return videos, "people are YouTube videos, by conversion_dict.json"


def _check(data: Path | None, options: Mapping[str, str]) -> None:
    check_data(data)
    _check_split(options["split"])


def _check_split(split: str) -> None:
    if split not in (*SPLITS, "all"):
        raise ProtocolError(f"--split={split}: wanted all, {', '.join(SPLITS)}")


FACEFORENSICS = Protocol(
    "faceforensics",
    3,
    f"The official pairs of FaceForensics++ (videos <target>_<source>), {FRAMES} evenly spaced frames of each target "
    "video, the source being the first such frame of its own video that shows a face.",
    _faceforensics,
    options=OPTIONS,
    check=_check,
)
