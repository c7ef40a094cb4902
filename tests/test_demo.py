"""The demo end to end, with a handful of steps: slow for its compilations."""

import json

import pytest

from smoothswap_jax import demo as demo_lib
from smoothswap_jax.prepare.run import Summary


@pytest.mark.slow
def test_the_demo_trains_measures_and_reports(tmp_path):
    page = demo_lib.demo(tmp_path, effort=0.002)
    report = json.loads((tmp_path / "report.json").read_text())
    means = {method["name"]: method["means"] for method in report["methods"]}
    assert means["true swap"]["error to the true swap"] == 0
    assert means["copy source"]["judge: cosine to source"] == pytest.approx(1)
    copied = means["copy target"]["error to the true swap"]
    assert means["swap"]["error to the true swap"] == pytest.approx(copied, rel=0.1)  # nothing learnt in 9 steps
    assert any("hardly changes its targets" in sentence for sentence in report["verdicts"])
    assert page.read_text().count("data:image/png;base64,") == 2


def test_too_few_people_are_refused(tmp_path, monkeypatch):
    summary = Summary(pictures=5, kept={"train": 4, "test": 1}, people={"train": 4, "test": 1}, gates={})
    monkeypatch.setattr(demo_lib, "prepare", lambda *_, **__: summary)
    with pytest.raises(ValueError, match="4 people with a usable face to train on and 1 held out"):
        demo_lib.demo(tmp_path, photos=tmp_path / "photos")
