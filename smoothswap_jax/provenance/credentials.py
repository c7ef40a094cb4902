"""Content credentials (C2PA, c2pa.org): what a swap was made of and by, signed, in the file or beside it.

Nothing of the pictures is in them, no thumbnails and no names of files: what a swap was made of is told by SHA-256.
Containers that hold none (Matroska, WebM) have them in a file beside, of the same name with `SIDECAR` behind it.
"""

from __future__ import annotations

import functools
import io
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from PIL import Image

from smoothswap_jax.faces.kinds import iso_format
from smoothswap_jax.faces.packages import missing_package
from smoothswap_jax.provenance.keys import SigningKey, lacking

SOURCE_TYPE = "http://cv.iptc.org/newscodes/digitalsourcetype/compositeWithTrainedAlgorithmicMedia"
"""IPTC's word for a photo of which a trained network made a part."""
AGENT = "smoothswap-jax"
LABEL = "smoothswap-jax.swap"
"""Of our own assertion, which holds the hashes."""
SIDECAR = ".c2pa"
_MEDIA = {
    ".jpg": "image/jpeg", ".jpeg": "image/jpeg", ".png": "image/png", ".apng": "image/png", ".webp": "image/webp",
    ".tif": "image/tiff", ".tiff": "image/tiff", ".gif": "image/gif", ".avif": "image/avif", ".mp4": "video/mp4",
    ".m4v": "video/mp4", ".mov": "video/quicktime", ".mkv": "video/x-matroska", ".webm": "video/webm",
}  # fmt: skip
_BESIDE = ("video/x-matroska", "video/webm")
_BOX = b"jumb"
_SETTINGS: dict[str, Any] = {
    "builder": {"thumbnail": {"enabled": False}},
    # Nothing is fetched, whatever a file of others asks for.
    "verify": {"verify_after_sign": False, "remote_manifest_fetch": False, "ocsp_fetch": False},
}
LARGEST_SIDECAR = 64 << 20
"""Bytes of a file of credentials, which may be somebody else's."""


class CredentialsError(ValueError):
    """Credentials cannot be signed."""


class Model(NamedTuple):
    """The networks of a swapper: `params_digest` of its weights, and the step of its training."""

    generator: str
    embedder: str
    step: int


@dataclass(frozen=True)
class Facts:
    """What is said of a swap; files by their SHA-256. model: None of networks that are no trained ones of ours. before:
    what the target's own credentials say made it, "" of one without. They are not carried along, since names and
    thumbnails may be in them."""

    version: str
    model: Model | None
    target: str
    sources: tuple[str, ...]
    before: str = ""


def media_type(suffix: str) -> str:
    """The media type of what is written under a suffix."""
    return _MEDIA[suffix.lower()]


def sidecar_of(output: Path) -> Path | None:
    """Where the credentials of an output lie that holds none itself; None for those that do."""
    return output.with_name(output.name + SIDECAR) if media_type(output.suffix) in _BESIDE else None


def c2pa(user: str) -> Any:
    """The package, or ImportError that says who needs it and what to install."""
    try:
        import c2pa as package
    except (ImportError, OSError, RuntimeError) as error:  # its own library may be missing on a platform
        raise missing_package(user, "c2pa-python", "faces") from error
    return package


# --- writing --------------------------------------------------------------------------------------------------------


@functools.cache
def check_key(key: SigningKey) -> None:
    """Raises CredentialsError for a key that C2PA refuses, with what its certificate lacks. A key that it takes is
    tried once in a process, not for each photo of a folder."""
    tiny = io.BytesIO()
    Image.new("L", (1, 1)).save(tiny, "PNG")
    try:
        _sign(tiny, io.BytesIO(), "image/png", Facts("", None, "", ()), key)
    except CredentialsError as error:
        if lacks := lacking(key.chain):
            raise CredentialsError(
                f"{error}: its certificate lacks {', '.join(lacks)}; wanted one with these (docs/swapping.md has the "
                "command)"
            ) from error
        raise


def sign(file: Path, media: str, facts: Facts, key: SigningKey) -> bytes | None:
    """Puts credentials into a file; of containers that hold none, returns those that belong beside it.

    Raises CredentialsError where the file is none of its media type or the key is refused.
    """
    signed = file.with_name(f"{file.name}.signed")
    try:
        with open(file, "rb") as source, open(signed, "w+b") as to:
            made = _sign(source, to, media, facts, key)
        if media in _BESIDE:
            return made
        os.replace(signed, file)
        return None
    finally:
        signed.unlink(missing_ok=True)


def _sign(source: Any, to: Any, media: str, facts: Facts, key: SigningKey) -> bytes:
    package = c2pa("signing content credentials")
    try:
        info = package.C2paSignerInfo(
            alg=getattr(package.C2paSigningAlg, key.algorithm.upper()),
            sign_cert=key.chain,
            private_key=key.key,
            ta_url=None,
        )
        context = package.Context(package.Settings.from_dict(_SETTINGS))
        with package.Signer.from_info(info) as signer, package.Builder(_manifest(facts), context=context) as builder:
            if media in _BESIDE:
                builder.set_no_embed()
            return builder.sign(signer, media, source, to)
    except package.C2paError as error:
        raise CredentialsError(f"content credentials cannot be signed ({error})") from error


def _manifest(facts: Facts) -> dict[str, Any]:
    agent = {"name": AGENT, "version": facts.version}
    target = _ingredient("target", "parentOf", facts.target)
    several = len(facts.sources) > 1
    sources = [
        _ingredient(f"source {number}" if several else "source", "componentOf", digest)
        for number, digest in enumerate(facts.sources, 1)
    ]
    placed = [{"action": "c2pa.placed", "parameters": {"ingredientIds": [one["label"] for one in sources]}}]
    edited = {
        "action": "c2pa.edited",
        "when": f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}",
        "softwareAgent": agent,
        "digitalSourceType": SOURCE_TYPE,
        "description": "the faces of the target were given the identity of the sources by a neural network",
    }
    opened = {"action": "c2pa.opened", "parameters": {"ingredientIds": [target["label"]]}}
    said: dict[str, Any] = {"target": facts.target, "sources": list(facts.sources)}
    if facts.model:
        said |= {"model": facts.model._asdict()}
    if facts.before:
        said |= {"target_was_made_by": facts.before}
    return {
        "claim_generator_info": [agent],
        "title": "swapped faces",
        "ingredients": [target, *sources],
        "assertions": [
            {"label": "c2pa.actions.v2", "data": {"actions": [opened, *(placed if sources else []), edited]}},
            {"label": LABEL, "data": said},
        ],
    }


def _ingredient(title: str, relationship: str, digest: str) -> dict[str, str]:
    return {"title": title, "relationship": relationship, "instance_id": f"sha256:{digest}", "label": title}


# --- reading --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Credentials:
    """What a file's credentials say, and whether that is so.

    intact: they fit the file, and nothing in them was changed. trusted: the key is one of those that were given.
    faults: what is wrong, in C2PA's codes. facts: what our assertion says, None in credentials of others.
    """

    intact: bool
    trusted: bool
    signer: str
    generator: str
    when: str = ""
    actions: tuple[str, ...] = ()
    source_types: tuple[str, ...] = ()
    facts: Facts | None = None
    faults: tuple[str, ...] = ()
    beside: bool = False


def media_of(path: Path) -> str:
    """The media type by a file's first bytes; "" for what is none that has credentials."""
    with open(path, "rb") as file:
        head = file.read(256)
    if head[:4] == b"RIFF":
        return {b"WEBP": "image/webp", b"AVI ": "video/avi"}.get(head[8:12], "")
    if head[4:8] == b"ftyp":
        still = {"AVIF": "image/avif", "HEIC": "image/heic"}.get(iso_format(head))
        return still or ("video/quicktime" if head[8:12] == b"qt  " else "video/mp4")
    starts = {
        b"\xff\xd8\xff": "image/jpeg", b"\x89PNG\r\n\x1a\n": "image/png", b"GIF8": "image/gif",
        b"II*\0": "image/tiff", b"MM\0*": "image/tiff", b"\x1aE\xdf\xa3": "video/x-matroska",
    }  # fmt: skip
    return next((media for start, media in starts.items() if head.startswith(start)), "")


def read_credentials(path: Path, anchors: Sequence[bytes] = ()) -> Credentials | None:
    """The credentials in a file, or in the one beside it where it holds none; None where there are none.

    anchors: certificates in PEM of those who are trusted. What cannot be read of credentials is a fault, not an error.
    """
    package = c2pa("reading content credentials")
    settings = dict(_SETTINGS)
    if held := b"\n".join(anchors).decode("ascii", "replace"):
        settings["trust"] = {"trust_anchors": held}
    context = package.Context(package.Settings.from_dict(settings))
    media, beside = media_of(path), path.with_name(path.name + SIDECAR)
    if media and media not in _BESIDE and (found := _read(package, context, path, media, None)):
        return found
    return _read(package, context, path, media, _sidecar(beside)) if beside.is_file() else None


def _read(package: Any, context: Any, path: Path, media: str, manifest: bytes | None) -> Credentials | None:
    try:
        with open(path, "rb") as file, package.Reader(media, file, manifest, context) as reader:
            told = json.loads(reader.json())
            state = reader.get_validation_state()
    except package.C2paError.ManifestNotFound:
        return None
    except (package.C2paError, ValueError, RecursionError) as error:
        if manifest is None and not _holds_manifest(path):
            return None  # the file is damaged, or names a place elsewhere, which is not asked
        return Credentials(False, False, "", "", faults=(_short(error),), beside=manifest is not None)
    return _credentials(told, str(state), manifest is not None)


def _holds_manifest(path: Path) -> bool:
    """Whether the name of the boxes that hold credentials is anywhere in a file."""
    last = b""
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            if _BOX in last + block:
                return True
            last = block[1 - len(_BOX) :]
    return False


def made_before(path: Path) -> str:
    """What made a file, by its own credentials, and whether they fit it; "" of one without."""
    found = read_credentials(path)
    if found is None:
        return ""
    return f"{found.generator or 'a program that is not told'}{'' if found.intact else ', altered since'}"


def _sidecar(file: Path) -> bytes:
    with open(file, "rb") as opened:
        return opened.read(LARGEST_SIDECAR)


def _credentials(told: Any, state: str, beside: bool) -> Credentials:
    """Of the library's report, of which a hostile file decides much."""
    found = _dict(_dict(_dict(told).get("manifests")).get(_dict(told).get("active_manifest")))
    assertions = {str(_dict(one).get("label")): _dict(_dict(one).get("data")) for one in _list(found.get("assertions"))}
    actions = [
        _dict(one)
        for label, data in assertions.items()
        if label.startswith("c2pa.actions")
        for one in _list(data.get("actions"))
    ]
    generator = next((_dict(one) for one in _list(found.get("claim_generator_info"))), {})
    signature = _dict(found.get("signature_info"))
    codes = [str(_dict(one).get("code")) for one in _list(_dict(told).get("validation_status"))]
    return Credentials(
        state in ("Valid", "Trusted"),
        state == "Trusted",
        ", ".join(_line(signature.get(key)) for key in ("common_name", "issuer") if signature.get(key)),
        " ".join(_line(generator.get(key)) for key in ("name", "version") if generator.get(key)),
        next((_line(one["when"]) for one in actions if one.get("when")), ""),
        tuple(_line(one.get("action")) for one in actions),
        tuple(_line(one["digitalSourceType"]) for one in actions if one.get("digitalSourceType")),
        _facts(assertions.get(LABEL), generator),
        tuple(dict.fromkeys(_line(code) for code in codes if code != "signingCredential.untrusted")),
        beside,
    )


def _facts(said: Any, generator: Mapping[str, Any]) -> Facts | None:
    if not said:
        return None
    model = _dict(said.get("model"))
    step = model.get("step")
    known = Model(_line(model.get("generator")), _line(model.get("embedder")), step if isinstance(step, int) else 0)
    return Facts(
        _line(generator.get("version")),
        known if model else None,
        _line(said.get("target")),
        tuple(_line(one) for one in _list(said.get("sources"))),
        _line(said.get("target_was_made_by", "")),
    )


def _dict(value: Any) -> dict[Any, Any]:
    return value if isinstance(value, dict) else {}


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _line(value: Any) -> str:
    """Words of a file of others, for a terminal: at most 200 letters of one line."""
    return "".join(letter if letter.isprintable() else "?" for letter in str(value)[:200])


def _short(error: Exception) -> str:
    return _line(" ".join(str(error).split()) or type(error).__name__)
