"""All protocols. A new one is a file beside this one and an entry here."""

from collections.abc import Mapping
from pathlib import Path

from smoothswap_jax.evaluation.protocols.base import Protocol, ProtocolError
from smoothswap_jax.evaluation.protocols.faceforensics import FACEFORENSICS
from smoothswap_jax.evaluation.protocols.own_photos import LONDON_TRUTH, PAIRED_VIEWS
from smoothswap_jax.evaluation.protocols.random_pairs import FFHQ, HELD_OUT
from smoothswap_jax.evaluation.protocols.smoothness import SMOOTHNESS
from smoothswap_jax.evaluation.protocols.synthetic_truth import SYNTHETIC_TRUTH

SPECS = (SYNTHETIC_TRUTH, LONDON_TRUTH, PAIRED_VIEWS, FFHQ, HELD_OUT, FACEFORENSICS, SMOOTHNESS)
PROTOCOLS = {protocol.name: protocol for protocol in SPECS}


def find_protocol(title: str) -> Protocol:
    """The protocol 'name' or 'name@version'. Raises ProtocolError, which lists the known ones."""
    name, at, version = title.partition("@")
    if name not in PROTOCOLS:
        known = ", ".join(protocol.title for protocol in PROTOCOLS.values())
        raise ProtocolError(f"protocol {title!r}: wanted one of {known}")
    found = PROTOCOLS[name]
    if at and version != str(found.version):
        raise ProtocolError(f"protocol {title!r}: this package has version {found.version} of {name} only")
    return found


def check_options(protocol: Protocol, options: Mapping[str, str], data: Path | None) -> None:
    """Raises ProtocolError for options that are another protocol's, unless they have that one's default value, and for
    what the protocol itself refuses before anything is loaded."""
    for option, value in options.items():
        takers = {other.name: other.options[option] for other in PROTOCOLS.values() if option in other.options}
        if option not in protocol.options and value not in takers.values():
            found = ", ".join(takers) or "no protocol"
            raise ProtocolError(f"--{option}={value}: is an option of {found}; found protocol {protocol.name}")
    if protocol.check:
        protocol.check(data, {**protocol.options, **options})
