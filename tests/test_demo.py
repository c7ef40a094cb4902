"""The demo end to end, with a handful of steps: slow for its compilations."""

import json
from types import SimpleNamespace

import numpy as np
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


@pytest.mark.parametrize(
    "kept, people, said",
    [
        (
            {"train": 3},
            {"train": 3},
            "found 3 people with a usable face, in 7 photos of which 4 were left out, no face 4",
        ),
        (
            {"train": 2, "test": 2},
            {"train": 2, "test": 2},
            "two usable photos of 0 of 2 people to train on and of 0 of 2",
        ),
    ],
)
def test_too_few_people_and_photos_are_refused_with_what_is_needed(kept, people, said, tmp_path, monkeypatch):
    summary = Summary(sum(kept.values()) + 4, kept, people, gates={"no face": 4})
    monkeypatch.setattr(demo_lib, "prepare", lambda *_, **__: summary)
    monkeypatch.setattr(demo_lib, "from_prepared", lambda *_: SimpleNamespace(starts=np.arange(3)))
    (tmp_path / "photos").mkdir()
    with pytest.raises(ValueError, match="wants at least 4 people, 2 to train on and 2 held out") as raised:
        demo_lib.demo(tmp_path / "out", photos=tmp_path / "photos")
    assert said in str(raised.value)


@pytest.mark.parametrize("effort", [0, -1, float("nan"), float("inf")])
def test_an_effort_that_is_none_is_refused_before_anything_is_made(effort, tmp_path):
    with pytest.raises(ValueError, match=r"--effort is .*; wanted a number above 0"):
        demo_lib.demo(tmp_path / "out", effort=effort)
    assert not (tmp_path / "out").exists()


def test_places_are_looked_at_before_the_work(tmp_path):
    (tmp_path / "thesis.tex").touch()
    with pytest.raises(ValueError, match=r"holds other files \(thesis.tex\); wanted a new folder"):
        demo_lib.demo(tmp_path)
    with pytest.raises(ValueError, match="nowhere: found no such folder; wanted DIR/<person>/<photo>"):
        demo_lib.demo(tmp_path / "out", photos=tmp_path / "nowhere")
    with pytest.raises(NotADirectoryError, match=r"thesis.tex is a file"):
        demo_lib.demo(tmp_path / "thesis.tex" / "out")
