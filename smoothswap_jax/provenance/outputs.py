"""The one place where swaps get their names: signed and marked before, or not without a reason that is kept.

Whoever writes a swap asks `begin_trail` before the work, marks the faces with `Trail.code`, puts `Trail.metadata` into
what is written, and hands it to `publish`, or to `publish_whole` where it lies under another name already.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from smoothswap_jax.faces.metadata import Metadata
from smoothswap_jax.faces.photos import PathLike, write_whole
from smoothswap_jax.provenance.credentials import (
    Facts,
    Model,
    c2pa,
    check_key,
    made_before,
    media_type,
    sidecar_of,
    sign,
)
from smoothswap_jax.provenance.keys import SigningKey, config_folder, signing_key
from smoothswap_jax.provenance.marks import MADE_BY, marked
from smoothswap_jax.provenance.watermark import BITS, opencv
from smoothswap_jax.runtime.files import check_new_file, sha256_of, write_atomically

log = logging.getLogger(__name__)

LOG = "unmarked.jsonl"
"""In `config_folder()`: a line of JSON for each output without credentials, with time, output and reason."""


@dataclass(frozen=True)
class Provenance:
    """How swaps are told as such.

    chain, key: files in PEM to sign with in place of the user's own key. off: why outputs have no credentials and no
    marks; None: they have. Raises ValueError for a reason that says nothing.
    """

    chain: PathLike | None = None
    key: PathLike | None = None
    off: str | None = None

    def __post_init__(self) -> None:
        if self.off is None:
            return
        if not self.off.strip():
            raise ValueError("--no-provenance: found an empty reason; wanted why outputs are not told as synthetic")
        log.warning(
            "outputs are not told as synthetic (%s); each is written down in %s", self.off, config_folder() / LOG
        )

    def check(self) -> SigningKey | None:
        """The key to sign with, None where nothing is signed. Raises ImportError where a package is missing, KeyFault
        and CredentialsError for a key that cannot be used."""
        if self.off is not None:
            return None
        try:
            c2pa("signing content credentials, which swaps carry,")
            opencv()
            key = signing_key(self.chain, self.key)
        except ImportError as error:
            raise ImportError(f"{error}; or say why swaps go without: --no-provenance=REASON") from error
        check_key(key)
        return key


@dataclass(frozen=True)
class Trail:
    """What one output gets. key: None where it gets nothing, for which `reason` is why."""

    facts: Facts
    key: SigningKey | None
    reason: str = ""

    @property
    def words(self) -> str:
        """For the comment of a container; "" where nothing is to be said."""
        return MADE_BY if self.key else ""

    @property
    def code(self) -> int | None:
        """For the watermark of faces; None where they get none."""
        return code_of(self.facts.model) if self.key else None

    def metadata(self, of_target: Metadata | None = None) -> Metadata:
        """The metadata that are kept of the target, with the marks."""
        kept = of_target or Metadata()
        return marked(kept) if self.key else kept

    def seal(self, file: Path, output: Path) -> tuple[str, ...]:
        """Signs a file that is about to become `output`; returns what the user should know, in words."""
        beside = sidecar_of(output)
        if self.key is None:
            _write_down(output, self.reason)
            if beside:
                beside.unlink(missing_ok=True)  # of a file that was there before
            return ()
        made = sign(file, media_type(output.suffix), self.facts, self.key)
        if beside is None or made is None:
            return ()
        write_atomically(beside, made)
        return (f"its credentials lie beside it, in {beside.name}: {output.suffix} holds none",)


def code_of(model: Model | None) -> int:
    """The watermark's bits: the first of the generator's digest, 0 of networks that are no trained ones of ours."""
    return int(model.generator[: BITS // 4], 16) if model else 0


def begin_trail(
    provenance: Provenance,
    model: Model | None,
    target: PathLike,
    sources: Sequence[PathLike],
    output: PathLike,
    overwrite: bool,
) -> Trail:
    """What the swap of a target is to carry; before the work. Raises what `Provenance.check` does, and OSError where a
    file lies in the place of credentials beside the output, unless it may be overwritten."""
    key = provenance.check()
    if beside := sidecar_of(Path(output)):
        check_new_file(beside, overwrite or (not Path(output).exists() and _is_credentials(beside)))
    digests = (sha256_of(os.fspath(one)) for one in sources)
    before = made_before(Path(target)) if key else ""
    facts = Facts(version("smoothswap-jax"), model, sha256_of(os.fspath(target)), tuple(digests), before)
    return Trail(facts, key, provenance.off or "")


def publish(output: Path, what: str, write: Callable[[Path], object], trail: Trail) -> tuple[str, ...]:
    """Has an output written under a temporary name, signs it, and gives it its name; notes as `Trail.seal`.

    Raises PhotoError, which says `what` could not be written.
    """
    notes: list[str] = []

    def sealed(part: Path) -> None:
        write(part)
        notes.extend(trail.seal(part, output))

    write_whole(output, what, sealed)
    return tuple(notes)


def publish_whole(whole: Path, output: Path, trail: Trail, overwrite: bool) -> tuple[str, ...]:
    """`publish` of a file that lies under another name in a folder of the same disk."""
    check_new_file(output, overwrite)
    notes = trail.seal(whole, output)
    os.replace(whole, output)
    return notes


def _is_credentials(file: Path) -> bool:
    """Whether a file begins as credentials do, as one that was left of a stopped call."""
    try:
        with open(file, "rb") as opened:
            return opened.read(8)[4:] == b"jumb"
    except OSError:
        return False


def _write_down(output: Path, reason: str) -> None:
    """A line of the log, before the output has its name."""
    folder = config_folder()
    folder.mkdir(parents=True, exist_ok=True)
    line = {"time": f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}", "output": os.path.abspath(output), "reason": reason}
    opened = os.open(folder / LOG, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    with os.fdopen(opened, "ab", buffering=0) as file:
        file.write(json.dumps(line).encode() + b"\n")
