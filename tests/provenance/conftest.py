"""Who is who in painted videos, what is swapped, and a place for keys."""

import pytest

from smoothswap_jax.provenance import keys
from tests.inference.conftest import known_people
from tests.provenance.swaps import inputs

__all__ = ["known_people"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return inputs(tmp_path_factory.mktemp("inputs"))


@pytest.fixture
def config(tmp_path, monkeypatch):
    monkeypatch.setenv(keys.CONFIG, str(tmp_path / "config"))
    return tmp_path / "config"
