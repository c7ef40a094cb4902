"""The bench of what a trail costs returns what it promises, and leaves the user's own keys alone."""

import os

import pytest

from smoothswap_jax.bench.provenance import costs
from smoothswap_jax.provenance.keys import CONFIG

pytest.importorskip("c2pa")
pytest.importorskip("av")


def test_costs_of_small_outputs(tmp_path, monkeypatch):
    monkeypatch.setenv(CONFIG, str(tmp_path / "own"))
    found = costs(2, (64, 48), (64, 48), frames=5)
    assert list(found) == [".jpg", ".png", ".mp4"]
    for one in found.values():
        assert one["verified as"] == "intact" and 3000 < one["added, bytes"] < 8000
        assert min(value for name, value in one.items() if name.endswith("ms")) > 0
    assert os.environ[CONFIG] == str(tmp_path / "own") and not (tmp_path / "own").exists()
