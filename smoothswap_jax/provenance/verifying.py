"""What a file says of its making, and whether that is so: credentials, marks and watermark, in words."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from smoothswap_jax.faces.kinds import UNKNOWN, is_video, kind_of
from smoothswap_jax.faces.photos import PathLike
from smoothswap_jax.provenance.credentials import AGENT, SOURCE_TYPE, Credentials, read_credentials
from smoothswap_jax.provenance.keys import trusted
from smoothswap_jax.provenance.mark_reading import Watermark, read_watermark
from smoothswap_jax.provenance.marks import BY_ANYBODY, marks_in
from smoothswap_jax.runtime.files import sha256_of

INTACT, ALTERED, MARKED, NONE = "intact", "altered", "marked", "none"
HEADLINES = {
    INTACT: "intact",
    ALTERED: "altered",
    MARKED: "made by smoothswap-jax; its credentials are gone",
    NONE: "no credentials, no mark",
}


class NotMedia(ValueError):
    """A file is neither a photo nor a video, nor a picture that moves."""


@dataclass(frozen=True)
class Verified:
    """What was found in a file.

    marks: where metadata say that it is a swap. watermark: what its faces say. asked: for each file that was given as
    a source or target, whether the swap was made of it; None where the credentials do not say or are not intact.
    """

    file: str
    credentials: Credentials | None
    marks: tuple[str, ...]
    watermark: Watermark
    asked: tuple[tuple[str, str, bool | None], ...] = ()
    """(role, file, answer)"""

    @property
    def state(self) -> str:
        if self.credentials is None:
            return MARKED if self.watermark.marked or set(self.marks) - {BY_ANYBODY} else NONE
        return INTACT if self.credentials.intact else ALTERED

    @property
    def headline(self) -> str:
        return HEADLINES[self.state]

    @property
    def good(self) -> bool:
        """Whether it is intact, and was made of all files that were given."""
        return self.state == INTACT and all(answer for _, _, answer in self.asked)

    def as_json(self) -> dict[str, Any]:
        asked = [{"role": role, "file": file, "among": answer} for role, file, answer in self.asked]
        told = asdict(self.credentials) if self.credentials else None
        if told and self.credentials and self.credentials.facts and self.credentials.facts.model:
            told["facts"]["model"] = self.credentials.facts.model._asdict()
        return {
            "file": self.file, "state": self.state, "credentials": told, "marks": list(self.marks),
            "watermark": asdict(self.watermark), "asked": asked,
        }  # fmt: skip

    def words(self) -> Iterator[str]:
        """A line for each thing that was found."""
        yield from _of_credentials(self.credentials)
        for role, file, answer in self.asked:
            said = {True: "made of it", False: "not made of it", None: "not known whether it was made of it"}[answer]
            yield f"{role} {file}: {said}"
        says = "says" if len(self.marks) == 1 else "say"
        where = ", ".join(self.marks)
        yield f"metadata: {where} {says} that the face is synthetic" if self.marks else "metadata: no mark"
        yield _of_watermark(self.watermark, self.credentials)


def verify_file(
    file: PathLike,
    *,
    sources: Sequence[PathLike] = (),
    targets: Sequence[PathLike] = (),
    trust: Sequence[PathLike] = (),
) -> Verified:
    """Reads what a file says of its making; a hostile file is one without, or with faults.

    Args:
      sources, targets: files of which it may have been made. trust: certificates in PEM of others who are trusted.

    Raises OSError for files that are not there or cannot be read, NotMedia for what has no pictures and no credentials,
    KeyFault for certificates that are none, ImportError where c2pa-python is missing.
    """
    found = read_credentials(Path(file), trusted(trust))
    facts = found.facts if found and found.intact else None
    asked: list[tuple[str, str, bool | None]] = []
    for role, given in (("source", sources), ("target", targets)):
        for one in given:
            digest = sha256_of(os.fspath(one))
            among = None if facts is None else digest in (facts.sources if role == "source" else (facts.target,))
            asked.append((role, os.fspath(one), among))
    name, kind = os.fspath(file), kind_of(file)
    if kind == UNKNOWN and not is_video(name) and found is None:
        raise _no_media(name)
    watermark = read_watermark(Path(file))
    if kind == UNKNOWN and watermark.fault and found is None:
        raise _no_media(name)
    return Verified(name, found, marks_in(Path(file)), watermark, tuple(asked))


def _no_media(name: str) -> NotMedia:
    size = os.path.getsize(name)
    held = f"{size:,} bytes that are not a photo or video" if size else "an empty file, not a photo or video"
    return NotMedia(f"{name}: found {held}; wanted a photo, a video or a picture that moves")


def _of_watermark(found: Watermark, credentials: Credentials | None) -> str:
    """The last line, which compares with the credentials where they are intact."""
    if found.fault:
        return f"watermark: not looked for ({found.fault})"
    if not found.looked:
        return "watermark: not looked for, as no face was found"
    if not found.marked:
        return f"watermark: none found on {_faces(found.looked)} (none there, or too small or too much altered)"
    sure = f"{found.error:.1%} of its chips read otherwise, by chance in fewer than one of {1 / found.chance:.0e} files"
    said = f"watermark: found on {found.marked} of {_faces(found.looked)}, made by smoothswap-jax ({sure}), {{}}"
    model = f"of generator {found.code}..." if int(found.code, 16) else "of a generator that is not told"
    if credentials is None:
        return said.format(f"{model}; the file has lost its credentials since")
    if not credentials.intact:
        return said.format(f"{model}; the credentials are not of this file as it is")
    told = credentials.facts.model.generator if credentials.facts and credentials.facts.model else ""
    agrees = told.startswith(found.code) if told else not int(found.code, 16)
    return said.format(f"{model}, {'as' if agrees else 'NOT as'} the credentials say")


def _faces(count: int) -> str:
    return f"{count} face{'s' * (count != 1)}"


def _of_credentials(found: Credentials | None) -> Iterator[str]:
    if found is None:
        yield "credentials: none; they are lost where a file is saved again, or there were none"
        return
    where = "beside the file" if found.beside else "in the file"
    if not found.intact:
        yield f"credentials: {where}, ALTERED: file and credentials do not fit each other ({', '.join(found.faults)})"
        return
    who = "a key that is trusted here" if found.trusted else "a key that is UNKNOWN here, so anybody may have"
    yield f"credentials: {where}, intact, signed by {who} ({found.signer})"
    yield f"made by: {found.generator or 'not said'}{f', {found.when}' if found.when else ''}"
    if SOURCE_TYPE in found.source_types:
        yield "made how: a trained network changed a part of it (compositeWithTrainedAlgorithmicMedia)"
    facts = found.facts
    if facts is None:
        yield f"made of: not told; these are no credentials of {AGENT} (actions: {', '.join(found.actions) or 'none'})"
        return
    model = facts.model
    if model:
        yield f"model: generator {model.generator}, embedder {model.embedder}, step {model.step}"
    yield f"target: SHA-256 {facts.target}"
    if facts.before:
        yield f"its target carried credentials of {facts.before}"
    for number, digest in enumerate(facts.sources, 1):
        yield f"source{f' {number}' if len(facts.sources) > 1 else ''}: SHA-256 {digest}"
