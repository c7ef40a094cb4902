"""The experiment about what covers faces: what it pastes, and what it makes of masks that are known."""

import numpy as np
import pytest

from smoothswap_jax.bench import occluders
from smoothswap_jax.bench.folder import photos_below
from smoothswap_jax.inference.swapper import Swapper

SIZE, PAIRS = 32, 6
PEOPLE = np.arange(PAIRS) // 2


def plain(level: int) -> np.ndarray:
    return np.full((PAIRS, SIZE, SIZE, 3), level, np.uint8) + np.arange(PAIRS, dtype=np.uint8)[:, None, None, None]


@pytest.mark.parametrize("kind", occluders.DRAW)
def test_occluders_lie_on_the_face_with_soft_edges(kind):
    targets, truths = plain(200), plain(90)
    before, truth = occluders.all_pasted(targets, truths, seed=3)[kind]
    again, _ = occluders.all_pasted(targets, truths, seed=3)[kind]
    other, _ = occluders.all_pasted(targets, truths, seed=4)[kind]
    np.testing.assert_array_equal(before.faces, again.faces)
    assert (before.cover != other.cover).any()
    assert before.cover.min() == 0 and before.cover.max() == 1 and ((before.cover > 0) & (before.cover < 1)).any()
    middle = before.cover[:, SIZE // 4 : -SIZE // 8, SIZE // 4 : -SIZE // 4]
    assert (middle.mean((1, 2)) > 0.02).all() and (middle.mean((1, 2)) < 0.9).all()
    np.testing.assert_array_equal(before.cover, truth.cover)
    for pasted, bare in ((before, targets), (truth, truths)):
        np.testing.assert_array_equal(pasted.faces[pasted.cover == 0], bare[pasted.cover == 0])
    whole = before.cover == 1
    np.testing.assert_array_equal(before.faces[whole], truth.faces[whole])


def test_columns_of_masks_that_are_known():
    targets, truths, swaps = plain(200), plain(90), plain(100)
    before, truth = occluders.all_pasted(targets, truths, seed=0)["sheet"]
    of = lambda weights: occluders.columns(weights, before, truth.faces, swaps, swaps, PEOPLE)
    number = lambda text: float(text.split()[0])
    inside, rest, to_nothing, to_target, better, overlap = map(number, of(np.ones_like(before.cover)))
    assert (inside, rest, to_nothing, better, overlap) == (1, 1, 1, 0, 0)
    ideal = list(map(number, of(1 - before.cover)))
    assert ideal[0] < 0.1 and ideal[1] == pytest.approx(1, abs=0.5)
    assert ideal[2] < 0.5 and ideal[3] < to_target and ideal[4:] == [1, 1]
    nothing_swapped = list(map(number, of(np.zeros_like(before.cover))))
    assert nothing_swapped[0] == 0 and nothing_swapped[3] == 1 and nothing_swapped[1] > 10


def test_the_table_has_each_cover_and_each_mask(monkeypatch):
    monkeypatch.setattr(occluders, "DRAW", {name: occluders.DRAW[name] for name in ("bar", "microphone")})
    towards_truth = Swapper(lambda faces: faces.mean((1, 2)), lambda targets, z: 0.2 * targets - 0.3, SIZE)
    targets, truths = plain(200), plain(90)
    found = occluders.on_rendered_people(towards_truth, towards_truth.embed(targets), targets, truths, PEOPLE, seed=0)
    masks = ["no mask", "by colour", "by mirror image", "by own rendering"]
    assert {kind: list(rows) for kind, rows in found.items()} == {
        "nothing": masks,
        "bar": [*masks, "itself"],
        "microphone": [*masks, "itself"],
    }
    assert found["nothing"]["by colour"] == found["nothing"]["no mask"]
    assert float(found["bar"]["itself"].split()[-1]) == 1


def test_photographs_are_looked_at_and_wanted(tmp_path):
    with pytest.raises(SystemExit, match=r"--photos=.*: found no photos; wanted a folder with some"):
        occluders.main([f"--photos={tmp_path}"])
    from PIL import Image

    for row, face in enumerate(plain(180)):
        Image.fromarray(face).resize((64, 64)).save(tmp_path / f"{row}.png")
    found = occluders.on_photographs(photos_below(tmp_path), SIZE, 0)
    assert found["faces"] == PAIRS and found["nothing before them, share"] == 0
    assert set(found["overlap"]) == set(occluders.DRAW) and found["overlap"]["bar"] > 0.3


def test_unrest_of_masks_that_are_known():
    kept = np.zeros((12, 4, 4))
    kept[6:] = 1  # all of it, once, for good
    assert occluders.unrest(kept) == (0, pytest.approx(np.sqrt(0.2)))
    kept = np.zeros((12, 4, 4))
    kept[3, 0, 0] = kept[6:8, 1, 1] = kept[8:11, 2, 2] = 1  # for one, two and three frames
    back, _ = occluders.unrest(kept)
    assert back == pytest.approx(1 / (10 * 16) + 1 / (9 * 16))
    still = np.random.default_rng(0).uniform(size=(1, 4, 4)).repeat(12, 0)
    assert occluders.unrest(still) == (0, 0)


def test_films_of_what_covers_faces_and_filters_over_time(monkeypatch):
    monkeypatch.setattr(occluders, "DRAW", {"bar": occluders.draw_bar})
    films = [np.stack([plain(200)[0]] * 40), np.stack([plain(90)[0]] * 40)]
    found = occluders.on_films(films, seed=0)
    assert list(found) == ["nothing", "bar"] and all(
        list(rows) == ["itself", *occluders.FILTERS] for rows in found.values()
    )
    numbers = {name: list(map(float, text.split())) for name, text in found["bar"].items()}
    assert numbers["itself"][2] == 1 and 0 < numbers["by colour"][2] < 1
    assert numbers["itself"][1] < 0.01 and numbers["median of 5 frames"][0] <= numbers["by colour"][0]
    assert all(float(text.split()[1]) == 0 for text in found["nothing"].values())
    covered = occluders._moving(films[0], "bar", np.random.default_rng(1))
    middles = [np.argwhere(one > 0.5).mean(0) for one in covered.cover]
    assert 0 < np.abs(np.diff(middles, axis=0)).max() < 2 and np.ptp(middles, axis=0).max() > 2
