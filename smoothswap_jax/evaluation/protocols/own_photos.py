"""The protocols `london-truth` and `paired-views`: the truth is the source person's own photo of the target's view."""

import itertools
from collections.abc import Collection
from pathlib import Path

import numpy as np

from smoothswap_jax.data.sources import person_digest
from smoothswap_jax.evaluation.galleries import PhotoRef, gallery_of_photos
from smoothswap_jax.evaluation.pairs import Pairs, by_hash
from smoothswap_jax.evaluation.protocols.base import SIZE, Protocol, ProtocolError, Request, check_data, data_folder
from smoothswap_jax.faces.listing import passed_over, photos_in

COUNT = 500
LONDON_SOURCE = "neutral_front"
LONDON_VIEWS = ("neutral_left_3quarter", "neutral_right_3quarter", "smiling_front", "smiling_left_3quarter",
                "smiling_right_3quarter")  # fmt: skip


def _london(request: Request) -> Pairs:
    return _own_photos(request, f"{LONDON_SOURCE}.jpg", [f"{view}.jpg" for view in LONDON_VIEWS])


def _own_photos(request: Request, source_view: str | None = None, views: Collection[str] | None = None) -> Pairs:
    """Pairs whose truth is the source person's own photo of the target's file name, `<person>/<view>`.

    source_view: the photo that gives the identity; None: the person's first with another name than the target.
    """
    root = data_folder(request)
    listed = {folder.name: photos_in(folder) for folder in sorted(root.iterdir()) if folder.is_dir()}
    photos = {person: _views(found.photos, source_view, views) for person, found in listed.items()}
    people = [person for person, found in photos.items() if source_view is None or source_view in found]
    if not people:
        raise ProtocolError(f"{root}: found no person with a {source_view or 'photo'}; wanted <person>/<view>.jpg")
    judged = [person for person in people if person_digest(person) not in request.trained_on]
    said = passed_over([path for person in people for path in listed[person].others], root)
    notes = (*_left_out_people(people, judged, root), *([f"{said}."] if said else []))
    wanted = [PhotoRef(f"{person}/{view}", person) for person in judged for view in photos[person]]
    gallery = gallery_of_photos(root, wanted, request.size or SIZE, request.cache, request.progress)
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
    chosen = [names[i] for i in by_hash(names, COUNT)]
    source, target, truth = np.array([triples[name] for name in chosen]).T
    return Pairs(gallery, tuple(chosen), source, target, truth, notes=notes)


def _views(photos: list[Path], source_view: str | None, views: Collection[str] | None) -> list[str]:
    names = [path.name for path in photos]
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


LONDON_TRUTH = Protocol(
    "london-truth",
    1,
    f"Face Research Lab London Set: person A's {LONDON_SOURCE} into person B's photo of another pose or expression, up "
    f"to {COUNT} pairs chosen by hash. The truth is A's own photo of that pose and expression, taken before the same "
    "backdrop. Profiles are left out.",
    _london,
    check=check_data,
)
PAIRED_VIEWS = Protocol(
    "paired-views",
    1,
    "For sets in which a file name stands for a pose, an expression and a light, <person>/<view>: the truth is the "
    f"source person's own photo of the target's file name. Up to {COUNT} pairs chosen by hash.",
    _own_photos,
    check=check_data,
)
