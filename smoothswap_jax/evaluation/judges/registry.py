"""The judges that an evaluation can be asked for, and which of them it must refuse.

On the command line a judge is NAME, NAME=PATH or PATH: `heads` is part of this package, `sface` and `dlib` come with
packages, `mediapipe` needs its face_landmarker.task, and a path is a folder that `smoothswap import` wrote or the run
directory of an embedder. To add one, write its file with a `JudgeSpec` and list it in `SPECS`.
"""

import dataclasses
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from smoothswap_jax.evaluation.judges import dlib, graphs, heads, mediapipe, networks, own_embedder, sface
from smoothswap_jax.evaluation.judges.base import Judge, JudgeError, JudgeRequest, JudgeSpec
from smoothswap_jax.evaluation.judges.conventions import IDENTITY, POSE
from smoothswap_jax.runtime import folders
from smoothswap_jax.runtime.paths import on_disk

SPECS = (sface.SPEC, dlib.SPEC, mediapipe.SPEC, heads.SPEC, own_embedder.SPEC, graphs.SPEC, networks.SPEC)
JUDGES: dict[str, JudgeSpec] = {spec.name: spec for spec in SPECS}
"""Judges by name; where several recognise a text, the first is meant."""


def find_judge(text: str) -> JudgeSpec:
    """The judge that `text` of the command line means. Raises JudgeError where there is none."""
    for spec in JUDGES.values():
        if spec.recognises(*named(text)):
            return spec
    path = on_disk(named(text)[1], "a judge, but for the run directory of an embedder,")
    if path.is_dir():
        raise JudgeError(f"judge {folders.mistake(path, folders.EMBEDDER, folders.NETWORK, folders.GRAPH)}")
    raise JudgeError(f"judge {text!r}: found no such judge; wanted {judges_to_have()}")


def judges_to_have() -> str:
    """How each judge is written on the command line, in words."""
    *usages, last = dict.fromkeys(spec.usage for spec in JUDGES.values())
    return f"{', '.join(usages)}, or {last}"


def load_judge(text: str, mesh, identity: str = "aligned", pose: str = "geodesic") -> Judge:
    """The judge that `text` of the command line means, running on the devices of `mesh`.

    identity, pose: names of `conventions.py`. Raises JudgeError, and ImportError where a package is missing.
    """
    how = _convention(IDENTITY, identity, "identity"), _convention(POSE, pose, "pose")
    return find_judge(text).load(JudgeRequest(*named(text), mesh, *how))


def check_wanted(texts: Sequence[str], identity: str, pose: str) -> None:
    """Raises JudgeError, before anything is loaded, for what no judge or convention of `load_judge` is."""
    _convention(IDENTITY, identity, "identity")
    _convention(POSE, pose, "pose")
    for text in texts:
        find_judge(text)


def named(spec: str) -> tuple[str, str]:
    """'NAME=PATH' in its two parts; the name is '' where there is none, or where the = is part of the path."""
    name, equals, path = spec.partition("=")
    return (name, path) if equals and "/" not in name else ("", spec)


def check_judges(judges: Sequence[Judge]) -> None:
    """Raises JudgeError for names that are equal or have characters that reports use otherwise."""
    names = [judge.name for judge in judges]
    for name in names:
        if names.count(name) > 1 or ":" in name or "=" in name:
            raise JudgeError(f"judge {name!r}: wanted different names without ':' and '='; give NAME=...")


def _convention(known: Mapping[str, Any], name: str, what: str) -> Any:
    if name not in known:
        raise JudgeError(f"{what} convention: found {name!r}; wanted one of {', '.join(known)}")
    return known[name]


def refuse_self_judges(
    judges: Sequence[Judge], trained_with: Mapping[str, str], declared: Sequence[str], allow: bool
) -> list[Judge]:
    """The judges, with those that trained a method marked in their name and `self_judged`.

    trained_with: digests of networks that are known to have trained a method, and what each is. declared: names, kinds,
    files or digests of judges that trained the methods of others. Raises JudgeError for such judges unless `allow`, and
    for a declared one that is not among the judges, since a mistyped name would guard against nothing.
    """
    selves: dict[str, str] = {}
    for judge in judges:
        for digest in _known_as(judge) & trained_with.keys():
            selves[judge.name] = trained_with[digest]
    for name in declared:
        meant = [judge for judge in judges if name.casefold() in _known_as(judge)]
        if not meant:
            known = "; ".join(f"{judge.name} ({judge.facts.get('kind', judge.role)})" for judge in judges) or "none"
            raise JudgeError(
                f"--trained-with={name}: found no such judge, but {known}; wanted the name, kind, file or SHA-256 of a "
                "judge of this evaluation that trained the swaps, or no --trained-with if none did"
            )
        for judge in meant:
            selves[judge.name] = f"declared by --trained-with={name}"
    if selves and not allow:
        found = "; ".join(f"{name} is {what}" for name, what in selves.items())
        raise JudgeError(
            f"{found}: a method scores well with the network it was trained against, whether it swaps or not; judge "
            "with another, or give --allow-self-judge"
        )
    mark = lambda judge: dataclasses.replace(judge, name=f"{judge.name} (SELF-JUDGED)", self_judged=selves[judge.name])
    return [mark(judge) if judge.name in selves else judge for judge in judges]


def _known_as(judge: Judge) -> set[str]:
    """Everything that can identify a judge: name, kind, files with and without suffix, and digests, in lower case."""
    files = [judge.facts.get("source", "").partition(", step ")[0], *judge.facts.get("model", "").split(", ")]
    digests = re.findall(r"\b[0-9a-fA-F]{64}\b", " ".join(judge.facts.values()))
    stems = [Path(file).stem for file in files]
    exact = [value for key in ("params sha256", "file sha256", "sha256") if (value := judge.facts.get(key))]
    words = [judge.name, judge.facts.get("kind", ""), *files, *stems, *digests, *exact]
    return {word.casefold() for word in words if word}
