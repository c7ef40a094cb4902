"""The demo end to end, with a handful of steps: slow for its compilations."""

import json

import numpy as np
import pytest

from smoothswap_jax import demo as demo_lib
from smoothswap_jax import stages
from smoothswap_jax.data.faces import DataError, Faces
from smoothswap_jax.data.preparation.run import Summary


@pytest.mark.slow
def test_the_demo_trains_measures_and_reports(tmp_path):
    page = demo_lib.demo(tmp_path, effort=0.002)
    report = json.loads((tmp_path / "report.json").read_text())
    (table,) = report["tables"]
    rows = {row["method"]: row for row in table["rows"]}
    assert rows["true swap"]["error to the true swap"]["value"] == 0
    assert rows["copy target"]["error / copy target"]["value"] == 1
    assert rows["copy source"]["cosine to source"]["value"] == pytest.approx(1)
    assert rows["swap"]["error / copy target"]["value"] == pytest.approx(1, abs=0.1)  # nothing learnt in 9 steps
    assert page.read_text().count("data:image/png;base64,") == 2


def test_too_few_people_are_refused(tmp_path, monkeypatch):
    summary = Summary(pictures=5, kept={"train": 4, "test": 1}, people={"train": 4, "test": 1}, gates={})
    monkeypatch.setattr(demo_lib, "prepare", lambda *_, **__: summary)
    with pytest.raises(ValueError, match="4 people with a usable face to train on and 1 held out"):
        demo_lib.demo(tmp_path, photos=tmp_path / "photos")


def named_faces(views):
    """Four people with the same views, each picture filled with its own number."""
    files = [f"p{person}/{view}" for person in range(4) for view in views]
    images = np.arange(len(files), dtype=np.uint8)[:, None, None, None] * np.ones((1, 4, 4, 3), np.uint8)
    return Faces(4, np.arange(5) * len(views), [f"p{i}" for i in range(4)], files, images=images)


def test_paired_views_take_the_sources_own_photo_of_the_targets_view():
    faces = named_faces(("front", "left", "right"))
    pairs = stages.paired_view_pairs(faces, 8)
    number = lambda images: np.rint((images[:, 0, 0, 0] + 1) * 127.5).astype(int)
    source, target, truth = number(pairs.source), number(pairs.target), number(pairs.truth)
    assert len(source) > 0
    np.testing.assert_array_equal(truth // 3, source // 3)
    np.testing.assert_array_equal(truth % 3, target % 3)
    assert np.all(source // 3 != target // 3) and np.all(source % 3 != target % 3)


def test_paired_views_need_common_names():
    faces = named_faces(("front",))
    with pytest.raises(DataError, match="no held-out source has a photo"):
        stages.paired_view_pairs(faces, 8)
