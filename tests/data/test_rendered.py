"""Rendered swaps: the exact swap of each pair that was drawn."""

import numpy as np
import pytest

from smoothswap_jax.data import rendered
from smoothswap_jax.data.dataset import DataError
from smoothswap_jax.synthetic import population, world
from smoothswap_jax.synthetic.heads import SHAPE_NAMES

FIELDS = {"held_out_people": 3, "photos": 2, "seed": 5, "spread": 0.7}
SIZE = 16
SHAPE = len(SHAPE_NAMES)


def test_the_truth_has_the_sources_identity_and_everything_else_of_the_target():
    asked = []

    def draw(labels):
        asked.append(labels.tolist())
        return np.array([0, 5]), np.array([3, 1])

    swaps = rendered.swaps_with_truth(FIELDS, SIZE, draw)
    assert asked == [[0, 0, 1, 1, 2, 2]]
    assert swaps.rows.tolist() == [[0, 3], [5, 1]] and swaps.people.tolist() == [[0, 1], [2, 0]]
    everyone = rendered.synthetic_factors("test", 3, 2, 5, 0.7)
    source, target, truth = swaps.factors
    for name, values in zip(world.Factors._fields, everyone, strict=True):
        np.testing.assert_array_equal(getattr(source, name), values[swaps.rows[:, 0]])
        np.testing.assert_array_equal(getattr(target, name), values[swaps.rows[:, 1]])
        np.testing.assert_array_equal(getattr(truth, name), getattr(source if name == "identity" else target, name))
    for factors, images in zip(swaps.factors, swaps.images, strict=True):
        assert images.shape == (2, SIZE, SIZE, 3) and np.abs(images).max() <= 1
        np.testing.assert_array_equal(images, rendered.render_many(factors, SIZE))


def test_rendered_faces_are_kept_for_the_next_time(tmp_path, monkeypatch, caplog):
    calls = []

    def render(*factors, size):
        calls.append(size)
        return np.broadcast_to(np.sign(np.asarray(factors[2])[:, :1, None, None]), (len(factors[2]), size, size, 3))

    monkeypatch.setattr(world, "render", render)
    kept = lambda seed, size: rendered.from_synthetic("test", size, 3, 2, seed, 0.7, tmp_path / "cache").images
    first = kept(5, 8)
    assert set(np.unique(first)) == {0, 255}
    np.testing.assert_array_equal(kept(5, 8), first)
    # Other people, another size and other code of the world are another set.
    assert np.any(kept(6, 8) != first) and kept(5, 16).shape == (6, 16, 16, 3)
    monkeypatch.setattr(rendered, "_renderer", lambda: "another")
    kept(5, 8)
    assert calls == [8, 8, 16, 8] and len(list((tmp_path / "cache").iterdir())) == 4
    # One that is cut is made anew.
    for path in (tmp_path / "cache").iterdir():
        path.write_bytes(path.read_bytes()[:200])
    np.testing.assert_array_equal(kept(5, 8), first)
    assert calls == [8, 8, 16, 8, 8] and "is not used" in caplog.text
    assert rendered.from_synthetic("test", 8, 3, 2, 5, 0.7).images is not None and len(calls) == 6


def test_a_cache_that_cannot_be_written_costs_only_a_warning(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(world, "render", lambda *factors, size: np.zeros((len(factors[0]), size, size, 3)))
    (tmp_path / "file").write_text("")
    faces = rendered.from_synthetic("test", SIZE, 2, 2, 5, 0.7, tmp_path / "file")
    assert len(faces) == 4 and "not kept for the next time" in caplog.text


def test_any_number_of_faces_is_rendered_in_chunks_of_one_size():
    factors = rendered.synthetic_factors("train", 5, 1, 3)
    sizes = []

    def apply(some):
        sizes.append(len(some.identity))
        return some.identity

    np.testing.assert_array_equal(rendered.in_chunks(apply, factors, chunk=2), factors.identity)
    assert sizes == [2, 2, 2]


def test_look_alikes_differ_in_shape_alone_and_are_drawn_together():
    usual, alike = (rendered.synthetic_factors("train", 6, 2, 5, look_alikes=count).identity for count in (1, 3))
    np.testing.assert_array_equal(alike[:, :SHAPE], usual[:, :SHAPE])
    np.testing.assert_array_equal(alike[:, SHAPE:], np.repeat(usual[[0, 6], SHAPE:], 6, axis=0))
    assert tuple(population.IDENTITY_FIELDS)[SHAPE:] == tuple(population.MARK_FIELDS)
    assert rendered.from_synthetic("train", 8, 6, 1, 5, look_alikes=3).index.together == 3


def test_one_person_cannot_be_swapped():
    nobody = lambda labels: (np.zeros(0, int), np.zeros(0, int))
    with pytest.raises(DataError, match="the synthetic world has 1 held-out people; wanted at least 2"):
        rendered.swaps_with_truth({**FIELDS, "held_out_people": 1}, SIZE, nobody)


def test_the_world_of_a_run_is_read_from_its_data_fields():
    assert rendered.world_fields({}) == rendered.WORLD
    assert rendered.world_fields({**FIELDS, "kind": "synthetic", "people": 90}) == FIELDS
