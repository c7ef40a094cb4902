"""Both feeds give the same batches, whatever the host count and the starting step."""

import dataclasses
import io
import itertools

import numpy as np
import pytest
from PIL import Image

from smoothswap_jax.data import dataset, pipeline, sampling, sources
from smoothswap_jax.data import rendered as rendered_lib
from smoothswap_jax.data.augment import Augmentation
from smoothswap_jax.data.dataset import DataError
from smoothswap_jax.data.pipeline import IdentitySampler, PairSampler
from smoothswap_jax.data.reader import in_memory
from smoothswap_jax.faces import photos as photos_lib
from smoothswap_jax.runtime import sharding

SIZE = 16
HOW = Augmentation(flip=True, crop=0.8, colour=0.2)
SAMPLERS = [
    PairSampler(seed=3, batch=8, self_pairs=1),
    PairSampler(seed=3, batch=8, self_pairs=1, own=True),
    IdentitySampler(seed=3, batch=8, images_per_identity=2),
]


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """A folder of 10 people with 3 to 5 smooth random pictures each."""
    root, rng = tmp_path_factory.mktemp("people"), np.random.default_rng(0)
    for person in range(10):
        (root / f"p{person}").mkdir()
        for photo in range(3 + person % 3):
            small = Image.fromarray(rng.integers(0, 256, (4, 4, 3)).astype(np.uint8))
            small.resize((SIZE, SIZE), Image.Resampling.BICUBIC).save(root / f"p{person}" / f"{photo}.png")
    return root


@pytest.fixture(scope="module")
def faces(photos):
    return sources.from_folder(photos, "train", SIZE, held_out_people=3)


def first(batches, count=3):
    with_close = list(itertools.islice(batches, count))
    batches.close()
    return with_close


@pytest.mark.parametrize("sampler", SAMPLERS, ids=["pairs", "own", "identities"])
def test_memory_and_tf_feeds_agree(faces, sampler):
    mesh = sharding.make_mesh(4)
    ours = first(pipeline.memory_batches(faces, sampler, HOW, mesh, 5))
    theirs = first(pipeline.tf_batches(faces, sampler, HOW, mesh, 5))
    for a, b in zip(ours, theirs, strict=True):
        assert a.keys() == b.keys()
        for key in a:
            assert a[key].sharding.is_equivalent_to(b[key].sharding, a[key].ndim)
            np.testing.assert_array_equal(a[key], b[key])


@pytest.mark.parametrize("sampler", SAMPLERS, ids=["pairs", "own", "identities"])
@pytest.mark.parametrize("hosts", [2, 4])
def test_hosts_read_shares_of_the_same_batch(faces, sampler, hosts):
    whole = first(pipeline.host_batches(faces, sampler, 2, np.arange(8)), 2)
    shares = [first(pipeline.host_batches(faces, sampler, 2, rows), 2) for rows in np.split(np.arange(8), hosts)]
    for step in range(2):
        for key in whole[step]:
            np.testing.assert_array_equal(np.concatenate([s[step][key] for s in shares]), whole[step][key])


@pytest.mark.parametrize("feed", [pipeline.memory_batches, pipeline.tf_batches])
def test_a_later_start_continues_the_same_stream(faces, feed):
    mesh, sampler = sharding.make_mesh(1), SAMPLERS[0]
    from_start = first(feed(faces, sampler, HOW, mesh, 0), 4)
    resumed = first(feed(faces, sampler, HOW, mesh, 3), 1)
    for key in resumed[0]:
        np.testing.assert_array_equal(from_start[3][key], resumed[0][key])
    assert not np.array_equal(from_start[2]["target"], from_start[3]["target"])


def test_pairs_hold_the_sampled_faces_and_self_pairs_are_identical(faces):
    sampler, still = PairSampler(seed=0, batch=8, self_pairs=1), Augmentation(flip=False)
    (batch,) = first(pipeline.memory_batches(faces, sampler, still, sharding.make_mesh(1), 0), 1)
    rows = np.concatenate(list(sampler.rows(0, faces.index).values()))
    wanted = photos_lib.to_float(in_memory(faces)[0].images[rows])
    np.testing.assert_allclose(np.concatenate([batch["source"], batch["target"]]), wanted, atol=1e-6)
    (flipped,) = first(pipeline.memory_batches(faces, sampler, HOW, sharding.make_mesh(1), 0), 1)
    np.testing.assert_array_equal(flipped["source"][0], flipped["target"][0])


def test_augmentation_flips_half_crops_and_jitters():
    image = np.linspace(-0.6, 0.6, 32 * 32 * 3, dtype=np.float32).reshape(1, 32, 32, 3)
    u = np.full((1, 7), 0.5, np.float32)
    augment = lambda u, **how: np.asarray(pipeline.augment(image, u, Augmentation(**how)))
    np.testing.assert_array_equal(augment(u, flip=True), image)
    np.testing.assert_array_equal(augment(u * 0, flip=True), image[:, :, ::-1])
    # The whole image when u[1] = 1; the central 80% when it is 0 and the corner is in the middle.
    whole, middle = u.copy(), u.copy()
    whole[0, 1], middle[0, 1] = 1, 0
    np.testing.assert_allclose(augment(whole, flip=False, crop=0.8), image, atol=1e-5)
    corner = augment(middle, flip=False, crop=0.8)[0, 0, 0]
    np.testing.assert_allclose(corner, image[0, 3, 3], atol=0.03)
    bright = u.copy()
    bright[0, 4] = 1
    np.testing.assert_allclose(augment(bright, flip=False, colour=0.1) + 1, (image + 1) * 1.1, rtol=1e-5)


def test_batches_that_do_not_divide_are_refused(faces):
    with pytest.raises(ValueError, match="batch size 6 is not a multiple of the mesh's 4 devices"):
        next(pipeline.memory_batches(faces, PairSampler(0, 6, 1), HOW, sharding.make_mesh(4), 0))
    with pytest.raises(ValueError, match="batch size 6 is not a multiple of the mesh's 4 devices"):
        next(pipeline.tf_batches(faces, PairSampler(0, 6, 1), HOW, sharding.make_mesh(4), 0))


RUBBISH = b"\x89PNG\r\n\x1a\nrubbish"


def damaged(faces, undecodable=(), unreadable=()):
    """The same faces with some files damaged, and some that raise."""

    def read(rows):
        if set(unreadable) & {int(row) for row in rows}:
            raise OSError("checksum of the record is wrong")
        return [RUBBISH if row in undecodable else data for row, data in zip(rows, faces.read(rows), strict=True)]

    return dataclasses.replace(faces, read=read)


@pytest.mark.parametrize("sampler", SAMPLERS, ids=["pairs", "own", "identities"])
def test_unreadable_examples_are_replaced_the_same_way_by_every_feed_and_host_count(faces, sampler, caplog):
    alone = int(faces.starts[2])  # an identity with no photo left: the next one stands in
    broken = damaged(faces, undecodable={1, *range(alone, int(faces.starts[3]))}, unreadable={0, 12})
    still, mesh = Augmentation(flip=False), sharding.make_mesh(1)
    ours = first(pipeline.memory_batches(broken, sampler, still, mesh, 0), 6)
    for message in ("p1/1.png: not a readable image", "p1/0.png: checksum of the record is wrong"):
        assert message in caplog.text
    caplog.clear()
    theirs = first(pipeline.tf_batches(broken, sampler, still, mesh, 0), 6)
    assert "examples were unreadable and were replaced by others" in caplog.text
    shares = [
        first(pipeline.host_batches(broken, sampler, 0, rows), 6) for rows in np.split(np.arange(sampler.batch), 2)
    ]
    good = in_memory(faces)[0].images
    pixels = {image.tobytes(): row for row, image in enumerate(good)}
    for step in range(6):
        for key in ours[step]:
            np.testing.assert_array_equal(ours[step][key], theirs[step][key])
        for part, rows in sampler.rows(step, faces.index).items():
            images = np.concatenate([share[step][part] for share in shares])
            np.testing.assert_allclose(photos_lib.to_float(images), ours[step][part], atol=1e-6)
            for row, image in zip(rows, images, strict=True):
                shown = pixels[image.tobytes()]
                assert shown not in {0, 1, 12, *range(alone, int(faces.starts[3]))}
                owner = lambda row: sampling.labels_of(np.array([row]), faces.starts)[0]
                assert owner(shown) == (owner(row) if owner(row) != 2 else 3)
                assert shown == row or row in {0, 1, 12} or owner(row) == 2
        if isinstance(sampler, IdentitySampler):
            np.testing.assert_array_equal(np.concatenate([s[step]["label"] for s in shares]), ours[step]["label"])


@pytest.mark.parametrize("feed", [pipeline.memory_batches, pipeline.tf_batches])
def test_a_data_set_without_readable_examples_is_refused(faces, feed):
    broken = damaged(faces, undecodable=set(range(len(faces))))
    with pytest.raises(DataError, match=r"100 examples in a row are unreadable.*p\d/\d.png: not a readable image"):
        next(feed(broken, SAMPLERS[0], HOW, sharding.make_mesh(1), 0))


@pytest.mark.parametrize("feed", [pipeline.memory_batches, pipeline.tf_batches])
def test_files_of_another_size_are_refused(photos, feed):
    refused = pytest.raises(DataError, match=r"p\d/\d.png: found 16x16 pixels, wanted 8x8.*--aligned --size=8")
    with refused:  # the first is looked at when the folder is listed
        sources.from_folder(photos, "train", 8, 3)
    small = dataclasses.replace(sources.from_folder(photos, "train", 16, 3), size=8)
    with refused:
        next(feed(small, SAMPLERS[0], HOW, sharding.make_mesh(1), 0))


@pytest.mark.parametrize("form, options", [("JPEG", {"quality": 80}), ("WEBP", {"lossless": True}), ("PNG", {})])
def test_files_decode_alike_in_both_feeds(faces, form, options):
    def stored(rows):
        files = []
        for data in faces.read(rows):
            file = io.BytesIO()
            Image.open(io.BytesIO(data)).save(file, form, **options)
            files.append(file.getvalue())
        return files

    other = dataclasses.replace(faces, read=stored)
    ours = first(pipeline.memory_batches(other, SAMPLERS[0], HOW, sharding.make_mesh(1), 0))
    theirs = first(pipeline.tf_batches(other, SAMPLERS[0], HOW, sharding.make_mesh(1), 0))
    np.testing.assert_array_equal(ours[0]["source"], theirs[0]["source"])


def test_a_mixture_reads_each_set_and_keeps_its_people_apart(faces, photos):
    held_out = sources.from_folder(photos, "test", SIZE, held_out_people=3)
    mixed = dataset.mixture([faces, held_out], (1.0, 3.0))
    assert len(mixed) == len(faces) + len(held_out) and len(mixed.people) == 10
    rows = [len(faces), 0, len(mixed) - 1, len(faces) - 1]
    last = [*held_out.read([len(held_out) - 1]), *faces.read([len(faces) - 1])]
    assert mixed.read(rows) == [*held_out.read([0]), *faces.read([0]), *last]
    assert mixed.files[len(faces)] == held_out.files[0] and list(mixed.people[-3:]) == list(held_out.people)
    sampler = PairSampler(seed=0, batch=8, self_pairs=1)
    ours = first(pipeline.memory_batches(mixed, sampler, HOW, sharding.make_mesh(2), 0))
    theirs = first(pipeline.tf_batches(mixed, sampler, HOW, sharding.make_mesh(2), 0))
    for a, b in zip(ours, theirs, strict=True):
        np.testing.assert_array_equal(a["target"], b["target"])
    with pytest.raises(DataError, match=r"data.weights \(1.0,\): wanted a positive number for each of 2"):
        dataset.mixture([faces, held_out], (1.0,))


def test_people_never_straddle_splits_and_keep_their_split_when_data_is_added(photos, tmp_path):
    splits = {s: set(sources.from_folder(photos, s, SIZE, 3).people) for s in ("train", "test")}
    assert len(splits["test"]) == 3 and not splits["train"] & splits["test"]
    assert splits["train"] | splits["test"] == {f"p{i}" for i in range(10)}
    for person in photos.iterdir():
        (tmp_path / person.name).symlink_to(person)
    extra = tmp_path / "newcomer"
    extra.mkdir()
    Image.new("RGB", (SIZE, SIZE)).save(extra / "a.png")
    moved = splits["test"] - set(sources.from_folder(tmp_path, "test", SIZE, 3).people)
    assert len(moved) <= 1


@pytest.mark.parametrize(
    "folder, held_out, message",
    [("missing", 1, "no such folder"), ("", 10, "left for the split 'train'"), ("", 0, "left for the split 'test'")],
)
def test_unusable_folders_are_refused(photos, folder, held_out, message):
    split = "test" if held_out == 0 else "train"
    with pytest.raises(DataError, match=message):
        sources.from_folder(photos / folder, split, SIZE, held_out)


def test_tfds_builder_gives_the_rendered_faces_with_labels_and_factors(tmp_path, monkeypatch):
    from smoothswap_jax.data import builders

    config = builders.SyntheticFacesConfig(16, people=(5, 2), photos=2, name="tiny")
    monkeypatch.setattr(builders.SyntheticFaces, "BUILDER_CONFIGS", [config])
    monkeypatch.setattr(builders.SyntheticFaces, "builder_configs", {"tiny": config}, raising=False)
    read = {s: builders.from_tfds("synthetic_faces/tiny", str(tmp_path), s, 16) for s in ("train", "test")}
    for split, people in (("train", 5), ("test", 2)):
        rendered = rendered_lib.from_synthetic(split, 16, people, 2, 0)
        np.testing.assert_array_equal(in_memory(read[split])[0].images, rendered.images)
        np.testing.assert_array_equal(read[split].labels, rendered.labels)
    assert not set(read["train"].people) & set(read["test"].people)
    with pytest.raises(DataError, match="split 'val'"):
        builders.from_tfds("synthetic_faces/tiny", str(tmp_path), "val", 16)
    source = builders.load("synthetic_faces/tiny", str(tmp_path)).as_data_source(split="test")
    factors = rendered_lib.synthetic_factors("test", 2, 2, 0)
    np.testing.assert_array_equal(source[3]["factors"]["identity"], factors.identity[3])
    np.testing.assert_array_equal(source[3]["factors"]["pose"], factors.pose[3])
