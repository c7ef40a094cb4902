"""The evaluation protocols: named, versioned, each a short definition of which swaps are judged.

A change of what a protocol does is a new version: a score means something only with the name and version beside it.
What is measured does not depend on the protocol but on the judges (`scores.py`), and is named in every report.
"""

import dataclasses
import itertools
import json
import os
import sqlite3
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Int

from smoothswap_jax.data import rendered, sampling
from smoothswap_jax.data.sampling import EVAL_SEED, different_people
from smoothswap_jax.evaluation.cache import key_of
from smoothswap_jax.evaluation.galleries import (
    Gallery,
    Picture,
    Progress,
    from_aligned_folder,
    from_arrays,
    from_pictures,
    from_prepared,
)
from smoothswap_jax.evaluation.pairs import Pairs, by_hash, names_by_content
from smoothswap_jax.faces import photos as photos_lib
from smoothswap_jax.faces.photos import PHOTO_SUFFIXES
from smoothswap_jax.faces.videos import VideoError, frame_numbers
from smoothswap_jax.synthetic import world as world_lib


@dataclass(frozen=True)
class Request:
    """What a protocol makes its pairs from.

    size: of the aligned faces, pixels; None: that of a set of aligned faces, else 256. world: the `data` fields of the
    synthetic world. trained_on: people who must not be judged, because the method was trained on them. compression,
    split: of FaceForensics++'s videos and pairs.
    """

    data: Path | None
    size: int | None
    cache: sqlite3.Connection
    world: Mapping[str, Any] | None = None
    trained_on: Collection[str] = ()
    compression: str = "c23"
    split: str = "all"
    progress: Progress | None = None


@dataclass(frozen=True)
class Protocol:
    """A protocol: its name and version, what it is in a sentence or two, and how its pairs are made."""

    name: str
    version: int
    about: str
    pairs: Callable[[Request], Pairs]

    @property
    def title(self) -> str:
        return f"{self.name}@{self.version}"


SIZE = 256  # of faces that are cut out of photos, where nobody says


class ProtocolError(ValueError):
    """No such protocol or version, or data it cannot use; the text says what was found and what is wanted."""


# --- synthetic-truth ----------------------------------------------------------------------------------------------

SYNTHETIC_PAIRS = 256
WORLD = {"held_out_people": 64, "photos": 8, "seed": 0, "spread": 1.0}


def _synthetic(request: Request) -> Pairs:
    from smoothswap_jax.synthetic import world as synthetic

    world = WORLD | {key: value for key, value in (request.world or {}).items() if key in WORLD}
    people, photos = world["held_out_people"], world["photos"]
    factors = rendered.synthetic_factors("test", people, photos, world["seed"], world["spread"])
    labels = np.repeat(np.arange(people), photos)
    source, target = drawn_pairs(labels, SYNTHETIC_PAIRS)
    if not len(source):
        raise ProtocolError(f"the synthetic world has {people} held-out people; wanted at least 2")
    pick = lambda rows: synthetic.Factors(*(f[rows] for f in factors))
    truth = synthetic.swap_truth(pick(source), pick(target))
    drawn = [pick(source), pick(target), truth]
    everyone = synthetic.Factors(*(jnp.concatenate(parts) for parts in zip(*drawn, strict=True)))
    size = request.size or SIZE
    images = photos_lib.to_uint8(world_lib.render_many(everyone, size))
    points = np.asarray(synthetic.landmarks(*everyone[:3], size=size)) - 0.5
    persons = [f"synthetic {labels[row]:03d}" for row in (*source, *target, *source)]
    facts = {"data": "the synthetic world", **{key: str(value) for key, value in world.items()}}
    rows, n = np.arange(len(source)), len(source)
    # What is rendered follows from these; its last bits depend on the processor.
    made_of = [*source, *target, *zip(source, target, strict=True)]
    contents = [key_of("synthetic world/1", json.dumps(world, sort_keys=True), str(np.array(one))) for one in made_of]
    gallery = from_arrays(images, [str(i) for i in range(3 * n)], persons, points, **facts)
    gallery = dataclasses.replace(gallery, content=lambda row: contents[row])
    pairs = names_by_content(gallery, rows, rows + n)
    names = tuple(f"{kind}/{pair}" for kind in ("source", "target", "truth") for pair in pairs)
    gallery = dataclasses.replace(gallery, names=names)
    notes = _fewer(n, SYNTHETIC_PAIRS)
    return Pairs(gallery, pairs, rows, rows + n, rows + 2 * n, known_points=True, notes=notes)


def drawn_pairs(labels: Int[np.ndarray, "n"], count: int, once: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """Up to `count` rows of sources and targets of different people, no pair twice; `once`: nobody in two pairs.

    A pair that is judged twice tells nothing new, and would make the intervals too narrow.
    """
    if once:
        order = sampling.epoch_order(EVAL_SEED, sampling.SOURCE, np.arange(len(labels)), len(labels))
        _, first = np.unique(labels[order], return_index=True)  # a random picture of each person ...
        drawn = order[np.sort(first)]  # ... in random order
        rows = drawn[: 2 * min(count, len(drawn) // 2)].reshape(-1, 2)
    else:
        drawn = np.stack(different_people(labels, 4 * count), axis=1)
        rows = np.array(list(dict.fromkeys(map(tuple, drawn.tolist())))[:count], np.int64).reshape(-1, 2)
    return rows[:, 0], rows[:, 1]


def _fewer(found: int, wanted: int) -> tuple[str, ...]:
    return () if found == wanted else (f"The data give {found} pairs; the protocol asks for {wanted}.",)


# --- london-truth -------------------------------------------------------------------------------------------------

OWN_PHOTO_PAIRS = 500
LONDON_SOURCE = "neutral_front"
LONDON_VIEWS = ("neutral_left_3quarter", "neutral_right_3quarter", "smiling_front", "smiling_left_3quarter",
                "smiling_right_3quarter")  # fmt: skip


def _london(request: Request) -> Pairs:
    return _own_photos(request, f"{LONDON_SOURCE}.jpg", [f"{view}.jpg" for view in LONDON_VIEWS])


def _own_photos(request: Request, source_view: str | None = None, views: Collection[str] | None = None) -> Pairs:
    """Pairs whose truth is the source person's own photo of the target's file name, `<person>/<view>`.

    source_view: the photo that gives the identity; None: the person's first that has not the target's name.
    """
    root = _folder(request)
    photos = {folder.name: _photos(folder, source_view, views) for folder in sorted(root.iterdir()) if folder.is_dir()}
    people = [person for person, found in photos.items() if source_view is None or source_view in found]
    if not people:
        raise ProtocolError(f"{root}: found no person with a {source_view or 'photo'}; wanted <person>/<view>.jpg")
    judged = [person for person in people if person not in request.trained_on]
    notes = _left_out_people(people, judged, root)
    wanted = [Picture(f"{person}/{view}", person) for person in judged for view in photos[person]]
    gallery = from_pictures(root, wanted, request.size or SIZE, request.cache, request.progress)
    row = {name: i for i, name in enumerate(gallery.names)}
    found: dict[str, list[str]] = {person: [] for person in judged}
    for name in gallery.names:
        found[name.partition("/")[0]].append(name.partition("/")[2])
    triples = {}
    for a, b in itertools.permutations(judged, 2):
        for view in found[b]:
            own = source_view or next((other for other in found[a] if other != view), "")
            if own != view and own in found[a] and view in found[a]:
                name = f"{a}-{Path(own).stem}--{b}-{Path(view).stem}"
                triples[name] = (row[f"{a}/{own}"], row[f"{b}/{view}"], row[f"{a}/{view}"])
    if not triples:
        raise ProtocolError(f"{root}: found no source with a photo of a target's file name")
    names = list(triples)
    chosen = [names[i] for i in by_hash(names, OWN_PHOTO_PAIRS)]
    source, target, truth = np.array([triples[name] for name in chosen]).T
    return Pairs(gallery, tuple(chosen), source, target, truth, notes=notes)


def _photos(folder: Path, source_view: str | None, views: Collection[str] | None) -> list[str]:
    names = sorted(path.name for path in folder.iterdir() if path.suffix.lower() in PHOTO_SUFFIXES)
    return names if views is None else [name for name in names if name == source_view or name in views]


def _left_out_people(people: list[str], judged: list[str], root: Path) -> tuple[str, ...]:
    if len(judged) < 2:
        raise ProtocolError(
            f"{root}: the method was trained on all but {len(judged)} of {len(people)} people; wanted 2 it never saw"
        )
    if len(judged) == len(people):
        return ()
    return (
        f"{len(people) - len(judged)} of {len(people)} people are left out because the method was trained on people of "
        f"these names; all pairs are of the other {len(judged)}.",
    )


# --- held-out and ffhq --------------------------------------------------------------------------------------------


def _random_pairs(count: int, request: Request, once: bool = False) -> Pairs:
    gallery = _aligned(request)
    judged = np.array([i for i, person in enumerate(gallery.people) if person not in request.trained_on], np.int64)
    people, labels = np.unique(np.array(gallery.people)[judged], return_inverse=True)
    if len(people) < 2:
        raise ProtocolError(f"{request.data}: found {len(people)} people to judge; wanted at least 2")
    source, target = drawn_pairs(labels, count, once)
    source, target = judged[source], judged[target]
    # Copies of one photo under two names would be judged twice.
    row_of: dict[str, int] = {}
    for row, name in enumerate(names_by_content(gallery, source, target)):
        row_of.setdefault(name, row)
    rows = list(row_of.values())
    return Pairs(gallery, tuple(row_of), source[rows], target[rows], notes=_fewer(len(rows), count))


def _aligned(request: Request) -> Gallery:
    """The test split of a prepared set, or a folder of aligned faces."""
    root = _folder(request)
    if (root / "manifest.json").is_file():
        return from_prepared(root, "test", request.size)
    return from_aligned_folder(root, request.size)


# --- faceforensics ------------------------------------------------------------------------------------------------

FRAMES = 10


def _faceforensics(request: Request) -> Pairs:
    root = _folder(request)
    place = f"original_sequences/youtube/{request.compression}/videos"
    if not (root / place).is_dir():
        raise ProtocolError(f"{root}: found no {place}/; wanted FaceForensics++ as its script downloads it")
    official, listed = official_pairs(root, request.split)
    person_of, told = _youtube_people(root)
    person = lambda number: person_of.get(number, f"youtube/{number}")
    numbers = {*person_of, *(number for name in official for number in name.split("_"))}
    known_people = {person(number) for number in numbers if f"youtube/{number}" in request.trained_on}
    seen = lambda name: any(person(number) in known_people for number in name.split("_"))
    names = [name for name in official if not seen(name)]
    if not names:
        raise ProtocolError(f"{root}: the method was trained on people of all {len(official)} pairs; wanted others")
    sequences = sorted({number for name in names for number in name.split("_")})
    wanted, faults = [], {}
    for number in sequences:
        file = f"{place}/{number}.mp4"
        try:
            frames = frame_numbers(str(root / file), FRAMES)
        except VideoError as error:
            faults[file] = str(error).removeprefix(f"{root / file}: ")
            continue
        wanted += [Picture(file, person(number), frame) for frame in frames]
    if not wanted:
        raise ProtocolError(
            f"{root}: no video can be used; the first, {sequences[0]}: {faults[f'{place}/{sequences[0]}.mp4']}"
        )
    gallery = from_pictures(root, wanted, request.size or SIZE, request.cache, request.progress)
    facts = {**gallery.facts, "compression": request.compression, "split": request.split, "pairs listed by": listed,
             "people": told}  # fmt: skip
    gallery = dataclasses.replace(gallery, facts=facts, left_out={**faults, **gallery.left_out})
    rows: dict[str, list[int]] = {}
    for row, file in enumerate(gallery.takes):
        rows.setdefault(Path(file).stem, []).append(row)
    triples = []
    for name in names:
        target, source = name.split("_")
        if target in rows and source in rows:
            triples += [
                (f"{name}/{gallery.names[row].rpartition('#')[2]}", rows[source][0], row) for row in rows[target]
            ]
    if not triples:
        raise ProtocolError(f"{root}: found no pair of videos whose faces are found")
    labels, source_rows, target_rows = zip(*triples, strict=True)
    lost = len(names) - len({label.split("/")[0] for label in labels})
    notes = [
        f"Pairs of split {request.split!r}, listed by {listed}; {told}.",
        *(
            [f"{lost} of {len(names)} pairs are left out: one of their videos cannot be read or shows no face."]
            * (lost > 0)
        ),
    ]
    if known := len(official) - len(names):
        notes.append(f"{known} of {len(official)} pairs are left out because the method was trained on their people.")
    return Pairs(gallery, labels, np.array(source_rows), np.array(target_rows), notes=tuple(notes))


SPLITS = ("train", "val", "test")


def official_pairs(root: Path, split: str = "all") -> tuple[list[str], str]:
    """The pairs <target>_<source> of FaceForensics++, and what lists them: both directions of splits/<split>.json or,
    for 'all' where none of the three lists is there, the names of the videos in manipulated_sequences/.

    Raises ProtocolError for another split, where a list is missing, and where there is nothing.
    """
    if split not in (*SPLITS, "all"):
        raise ProtocolError(f"--split={split}: wanted all, {', '.join(SPLITS)}")
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
        except (ValueError, TypeError, AttributeError) as error:
            raise ProtocolError(
                f'{found[one]}: found {error}; wanted a list of pairs such as ["071", "054"]'
            ) from error
    return sorted(pairs), ", ".join(f"{one}.json" for one in wanted)


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
    except (ValueError, AttributeError) as error:
        raise ProtocolError(f'{path}: found {error}; wanted names such as {{"000": "--b1Ua-kWJE 0"}}') from error
    return videos, "people are YouTube videos, by conversion_dict.json"


def _folder(request: Request) -> Path:
    if request.data is None:
        raise ProtocolError("--data is missing; wanted the folder of the protocol's photos or videos")
    if not request.data.is_dir():
        raise ProtocolError(f"--data={os.fspath(request.data)}: found no such folder")
    return request.data


# --- by name ------------------------------------------------------------------------------------------------------

PROTOCOLS = {
    protocol.name: protocol
    for protocol in (
        Protocol(
            "synthetic-truth", 2,
            f"{SYNTHETIC_PAIRS} pairs of people of the synthetic 3-D world that no training sees. The exact swap is "
            "rendered, so errors are measured against it.",
            _synthetic,
        ),
        Protocol(
            "london-truth", 1,
            f"Face Research Lab London Set: person A's {LONDON_SOURCE} into person B's photo of another pose or "
            f"expression, up to {OWN_PHOTO_PAIRS} pairs chosen by hash. The truth is A's own photo of that pose and "
            "expression, taken before the same backdrop. Profiles are left out.",
            _london,
        ),
        Protocol(
            "paired-views", 1,
            "For sets in which a file name stands for a pose, an expression and a light, <person>/<view>: the truth is "
            f"the source person's own photo of the target's file name. Up to {OWN_PHOTO_PAIRS} pairs chosen by hash.",
            _own_photos,
        ),
        Protocol(
            "ffhq", 2,
            "1000 sources into 1000 targets of the test split (of FFHQ: ids 63000-69999); nobody is in two pairs.",
            lambda request: _random_pairs(1000, request, once=True),
        ),
        Protocol(
            "held-out", 2,
            "256 random pairs of different people of a prepared set's test split.",
            lambda request: _random_pairs(256, request),
        ),
        Protocol(
            "faceforensics", 2,
            f"The official pairs of FaceForensics++ (videos <target>_<source>), {FRAMES} evenly spaced frames of each "
            "target video, the source being the first such frame of its own video that shows a face.",
            _faceforensics,
        ),
    )
}  # fmt: skip


def find_protocol(title: str) -> Protocol:
    """The protocol 'name' or 'name@version'. Raises ProtocolError, which lists what there is."""
    name, at, version = title.partition("@")
    if name not in PROTOCOLS:
        known = ", ".join(p.title for p in PROTOCOLS.values())
        raise ProtocolError(f"protocol {title!r}: wanted one of {known}, or smoothness of embedders")
    found = PROTOCOLS[name]
    if at and version != str(found.version):
        raise ProtocolError(f"protocol {title!r}: this package has version {found.version} of {name} only")
    return found
