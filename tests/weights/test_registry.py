"""The registry of networks: complete, consistent, and cheap where only the kinds are wanted."""

import subprocess
import sys
from pathlib import Path

import pytest

from smoothswap_jax.weights import networks, registry
from smoothswap_jax.weights.networks import lpips, sface
from tests.places import ROOT

HELPERS = {"__init__", "ncsnpp_shapes"}


def test_every_file_is_listed():
    files = {path.stem for path in Path(networks.__file__).parent.glob("*.py")}
    assert files - HELPERS == set(registry.FAMILIES)
    assert tuple(registry.specs()) == registry.kinds()


def test_a_file_that_defines_other_kinds_is_named(monkeypatch):
    monkeypatch.setitem(registry.FAMILIES, "sface", ("sface", "sface2"))
    with pytest.raises(ValueError, match=r"networks/sface.py: SPECS defines \('sface',\), FAMILIES lists"):
        registry.specs.__wrapped__()


def test_a_kind_that_two_files_define_is_named(monkeypatch):
    monkeypatch.setattr(registry, "FAMILIES", {"sface": ("sface",), "lpips": ("sface",)})
    monkeypatch.setattr(lpips, "SPECS", sface.SPECS)
    with pytest.raises(ValueError, match=r"networks/lpips.py: another file has the kinds \['sface'\]"):
        registry.specs.__wrapped__()


def test_no_two_name_maps_share_a_name():
    """But for several kinds that have the same one."""
    for spec in registry.specs().values():
        for names in spec.name_maps:
            assert registry.name_maps()[names.name] == names


def test_judges_have_a_licence():
    for kind, spec in registry.specs().items():
        assert bool(spec.licence) == bool(spec.role), kind


def test_the_kinds_need_no_heavy_library():
    code = (
        "import sys\nfrom smoothswap_jax.weights import registry\n"
        "print(len(registry.kinds()), sorted({'jax', 'flax', 'numpy'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.stdout == f"{len(registry.kinds())} []\n", done.stderr
