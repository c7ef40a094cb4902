"""The kinds of networks that can be imported, and the files of `networks/` that define them.

To add one, write its file with a tuple `SPECS` and list it in `FAMILIES`. JAX is imported by `specs`, not by `kinds`,
which the command line's help needs.
"""

import functools
import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from smoothswap_jax.weights.spec import NameMap, NetworkSpec

FAMILIES: dict[str, tuple[str, ...]] = {
    "torchvision_resnet": ("resnet50",),
    "vggface2": ("vggface2-resnet50", "vggface2-senet50"),
    "iresnet": ("iresnet50", "iresnet100"),
    "sphere20": ("cosface-sphere20",),
    "hopenet": ("hopenet",),
    "deep3d": ("deep3d",),
    "inception_fid": ("inception-fid",),
    "lpips": ("lpips",),
    "sface": ("sface",),
    "ncsnpp": ("ncsnpp",),
    "stylegan2": ("stylegan2-discriminator",),
    "own": ("embedder", "generator", "discriminator"),
}
"""Files of `networks/` by name, and the kinds that each defines."""
GRAPH_KINDS = ("onnx", "tflite")
"""Kinds that are kept as graphs and run by their runtimes (`graphs/`)."""
GRAPH_PRESETS = ("arcface112", "adaface", "faceplugin", "faceplugin-pose", "mobilefacenet", "3ddfa_v2", "6drepnet")
"""Names of `graphs.use.PRESETS`."""


def kinds() -> tuple[str, ...]:
    """All kinds but graphs, without importing JAX."""
    return tuple(kind for family in FAMILIES.values() for kind in family)


@functools.cache
def specs() -> "dict[str, NetworkSpec]":
    """The specs by kind, in the order of `kinds`. Raises ValueError where a file defines other kinds than listed, or
    another file's."""
    found: dict[str, NetworkSpec] = {}
    for family, listed in FAMILIES.items():
        defined = {spec.kind: spec for spec in importlib.import_module(f"{__package__}.networks.{family}").SPECS}
        if tuple(defined) != listed:
            raise ValueError(f"weights/networks/{family}.py: SPECS defines {tuple(defined)}, FAMILIES lists {listed}")
        if taken := found.keys() & defined:
            raise ValueError(f"weights/networks/{family}.py: another file has the kinds {sorted(taken)}")
        found |= defined
    return found


def find_spec(kind: str) -> "NetworkSpec":
    """Raises ValueError for an unknown kind; the message lists the known ones."""
    if kind not in specs():
        graphs = "; graphs are read by `import_graph`" if kind in GRAPH_KINDS else ""
        raise ValueError(f"kind is {kind!r}, wanted one of {', '.join(specs())}{graphs}")
    return specs()[kind]


def name_maps() -> "dict[str, NameMap]":
    """The name maps of all kinds, by name."""
    return {names.name: names for spec in specs().values() for names in spec.name_maps}
