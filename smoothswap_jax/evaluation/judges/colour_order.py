"""Whether a judge of identity is fed the colours in the right order: how it tells given people apart in both."""

import dataclasses
import sqlite3
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from smoothswap_jax.evaluation.cache import open_cache
from smoothswap_jax.evaluation.galleries import Gallery, PhotoRef, gallery_of_photos, recordings_of
from smoothswap_jax.evaluation.judges.base import Judge, JudgeError
from smoothswap_jax.evaluation.judges.graphs import graph_judge
from smoothswap_jax.evaluation.judges.networks import network_judge
from smoothswap_jax.faces.listing import photos_in
from smoothswap_jax.metrics import verification
from smoothswap_jax.runtime import sharding
from smoothswap_jax.weights.graphs.folder import GraphNetwork
from smoothswap_jax.weights.preprocessing import CHANNELS
from smoothswap_jax.weights.registry import specs
from smoothswap_jax.weights.spec import Network

SIZE = 256
"""Of the aligned faces, pixels: as evaluations of photos have them."""
BETTER = 1.1
"""How much further apart the other order must set people and strangers, in their spread, to be called better: orders
that were both trained on, or hardly matter, differ by less."""


def gallery_of_people(folder: str | Path, cache: sqlite3.Connection | None = None) -> Gallery:
    """The aligned faces of photos DIR/<person>/<photo>, hidden folders apart. Raises JudgeError for fewer than two
    people with a face, or no two photos of one."""
    folder = Path(folder)
    if not folder.is_dir():
        raise JudgeError(f"{folder}: found no such folder; wanted photos <person>/<photo>")
    people = [path for path in sorted(folder.iterdir()) if path.is_dir() and not path.name.startswith(".")]
    wanted = [PhotoRef(f"{one.name}/{path.name}", one.name) for one in people for path in photos_in(one).photos]
    gallery = gallery_of_photos(folder, wanted, SIZE, open_cache(":memory:") if cache is None else cache)
    counts = [gallery.people.count(person) for person in dict.fromkeys(gallery.people)]
    if len(counts) < 2 or max(counts) < 2:
        raise JudgeError(
            f"{folder}: found faces of {len(counts)} people, at most {max(counts, default=0)} photos of one; wanted "
            "two people or more, <person>/<photo>, and two photos of one"
        )
    return gallery


def colour_orders(network: Network | GraphNetwork, gallery: Gallery) -> dict[str, dict[str, float]]:
    """By order of colours: the mean cosines of one person's photos and of two people's, the ROC AUC, and how many
    standard deviations lie between the means. Raises JudgeError for a network that is no judge of identity."""
    role = network.use.role if isinstance(network, GraphNetwork) else _role(network)
    if role != "identity":
        raise JudgeError(f"--check is for judges of identity, found one of {role or 'nothing'}")
    rows = np.arange(len(gallery))
    images, people = gallery.read(rows), np.array(gallery.people)
    recordings = np.array(recordings_of(gallery, rows))
    found = {}
    for channels in CHANNELS:
        features = _fed(network, channels).measure(images, gallery.points)  # type: ignore[misc]
        same, strangers = verification.pair_cosines(features, people, recordings)
        spread = np.sqrt((same.var() + strangers.var()) / 2) or np.finfo(float).tiny
        found[channels] = {
            "same": float(same.mean()),
            "strangers": float(strangers.mean()),
            "ROC AUC": verification.roc_auc(same, strangers),
            "apart": float((same.mean() - strangers.mean()) / spread),
        }
    return found


def order_report(found: Mapping[str, Mapping[str, float]], channels: str) -> list[str]:
    """What `colour_orders` found, a line an order, and a warning where the order that is not `channels` is better, or
    where both tell all apart and neither sets them further apart."""
    lines = [
        f"{order}: cosine {of['same']:.3f} of one person's photos, {of['strangers']:.3f} of strangers', ROC AUC "
        f"{of['ROC AUC']:.4f}, {of['apart']:.2f} standard deviations apart"
        for order, of in found.items()
    ]
    other = next(order for order in found if order != channels)
    if _further(found[other], found[channels]):
        lines.append(
            f"warning: {other} tells these people apart better than {channels}, which was asked for: import again with "
            f"--known channels={other} unless its authors say otherwise"
        )
    elif min(of["ROC AUC"] for of in found.values()) == 1 and not _further(found[channels], found[other]):
        lines.append(
            f"cannot tell which order is right: both tell all of these people apart, {channels} (which was asked for) "
            f"about as far as {other}; wanted more people or harder photos, or the word of its authors"
        )
    return lines


def _further(one: Mapping[str, float], other: Mapping[str, float]) -> bool:
    return one["apart"] > BETTER * max(other["apart"], 0)


def _role(network: Network) -> str:
    return specs()[network.kind].role if network.kind in specs() else ""


def _fed(network: Network | GraphNetwork, channels: str) -> Judge:
    """The network as a judge that is fed one order of colours."""
    mesh = sharding.make_mesh(1)
    if isinstance(network, GraphNetwork):
        how = dataclasses.replace(network.use.preprocessing, channels=channels)
        use = dataclasses.replace(network.use, preprocessing=how)
        return graph_judge(channels, dataclasses.replace(network, use=use), mesh)
    how = dataclasses.replace(network.preprocessing, channels=channels)
    return network_judge(channels, dataclasses.replace(network, preprocessing=how), {}, mesh)
