"""How frames look: turns, shapes, colours, high dynamic range, fields."""

from pathlib import Path

import numpy as np
import pytest

from smoothswap_jax.faces.videos import VideoError, frames_at, read_frames
from tests.faces.make_videos import turned, write_video
from tests.faces.video_checks import FRAMES, TURNS

av = pytest.importorskip("av")


@pytest.mark.parametrize("matrix", TURNS)
def test_frames_are_upright_as_the_container_says(video, tmp_path, matrix):
    path = turned(video, tmp_path / "turned.mp4", matrix)
    ((_, picture),) = frames_at(str(path), [20])
    np.testing.assert_allclose(picture, TURNS[matrix](FRAMES[20]).astype(float), atol=10)


@pytest.mark.parametrize("degrees", [90, 180, 270])
def test_the_turn_is_pyavs(video, tmp_path, degrees):
    matrix = {90: (0, 1, -1, 0), 180: (-1, 0, 0, -1), 270: (0, -1, 1, 0)}[degrees]
    with av.open(str(turned(video, tmp_path / "turned.mp4", matrix))) as container:
        assert next(container.decode(video=0)).rotation % 360 == -degrees % 360


def test_pixels_that_are_not_square_are_made_so(tmp_path):
    write_video(tmp_path / "dv.mp4", FRAMES[:2], aspect=(16, 15))
    ((_, picture),) = frames_at(str(tmp_path / "dv.mp4"), [0])
    assert picture.shape == (48, 68, 3)


def patches(seed: int = 0, top: int = 255) -> np.ndarray:
    """Flat fields of random colours, 8x8 pixels each."""
    fields = np.random.default_rng(seed).integers(0, top + 1, (6, 8, 3))
    return np.kron(fields, np.ones((8, 8, 1), int)).astype(np.uint8)


def through(path: Path, picture: np.ndarray, pixels: str, tags=None) -> np.ndarray:
    """A picture after it was written losslessly and read."""
    write_video(path, [picture] * 2, container="matroska", codec="ffv1", pixels=pixels, tags=tags)
    return next(frames_at(str(path), [1]))[1].astype(int)


@pytest.mark.parametrize("pixels", ["yuv444p", "yuv444p10le", "yuv420p", "yuv420p10le"])
@pytest.mark.parametrize(
    "tags", [None, (1, 1, 1, 1), (1, 2, 13, 1), (5, 1, 6, 5), (6, 2, 6, 6), (7, 1, 7, 7), (4, 1, 1, 1), (9, 1, 14, 1)]
)
def test_colours_are_those_of_the_tags(tmp_path, tags, pixels):
    """Matrix and range, 8 and 10 bits; with half the chroma in the middle of the fields only."""
    found, picture = through(tmp_path / "a.mkv", patches(), pixels, tags), patches().astype(int)
    middle = np.s_[3::8, 3::8] if "420" in pixels else np.s_[:]
    atol = 13 if "420" in pixels else 2
    np.testing.assert_allclose(found[middle], picture[middle], atol=atol)
    if pixels == "yuv444p10le":
        assert np.abs(found - picture).mean() < 0.3  # rounded, not cut


def test_untagged_colours_are_told_by_the_size(tmp_path):
    """As players do: written by BT.709 without saying so."""
    for size, close in (((576, 720), False), ((720, 1280), True)):
        field = np.full((*size, 3), (200, 60, 30), np.uint8)
        write_video(tmp_path / "a.mkv", [field], container="matroska", codec="ffv1", matrix=1)
        ((_, picture),) = frames_at(str(tmp_path / "a.mkv"), [0])
        assert (np.abs(picture[9, 9].astype(int) - field[0, 0]).max() <= 2) == close


def light(picture: np.ndarray) -> np.ndarray:
    """Linear light of sRGB (IEC 61966-2-1)."""
    code = picture / 255
    return np.where(code <= 0.04045, code / 12.92, ((code + 0.055) / 1.055) ** 2.4)


# Linear sRGB -> BT.2020 and P3-D65, from the primaries' chromaticities.
def to_primaries(red, green, blue) -> np.ndarray:
    def rgb_to_xyz(*corners):
        white = np.array([0.3127 / 0.3290, 1, (1 - 0.3127 - 0.3290) / 0.3290])
        xyz = np.array([[x / y, 1, (1 - x - y) / y] for x, y in corners]).T
        return xyz * np.linalg.solve(xyz, white)

    srgb = rgb_to_xyz((0.64, 0.33), (0.30, 0.60), (0.15, 0.06))
    return np.linalg.solve(rgb_to_xyz(red, green, blue), srgb)


BT2020 = to_primaries((0.708, 0.292), (0.170, 0.797), (0.131, 0.046))
P3 = to_primaries((0.680, 0.320), (0.265, 0.690), (0.150, 0.060))


def pq(nits: np.ndarray) -> np.ndarray:
    """SMPTE ST 2084, of BT.2020."""
    power = (np.maximum(nits, 0) / 10000) ** 0.1593017578125
    return ((0.8359375 + 18.8515625 * power) / (1 + 18.6875 * power)) ** 78.84375


def hlg(nits: np.ndarray) -> np.ndarray:
    """ITU-R BT.2100, for a display of 1000 cd/m2."""
    display = np.maximum(nits, 0) / 1000
    scene = display * np.maximum(display @ (0.2627, 0.6780, 0.0593), 1e-9)[..., None] ** (1 / 1.2 - 1)
    logarithm = 0.17883277 * np.log(np.maximum(12 * scene - 0.28466892, 1e-9)) + 0.55991073
    return np.where(scene <= 1 / 12, np.sqrt(3 * scene), logarithm)


@pytest.mark.parametrize("transfer, curve", [(16, pq), (18, hlg)])
def test_hdr_keeps_the_tones_of_a_face_and_compresses_lights(tmp_path, transfer, curve):
    picture = patches(top=140)  # up to what tone mapping leaves alone; 140 is 27% of white, a face in plain light
    code = np.rint(curve(light(picture) @ BT2020.T * 203) * 65535).astype(np.uint16)
    found = through(tmp_path / "a.mkv", code, "yuv444p10le", (9, 1, transfer, 9))
    np.testing.assert_allclose(found, picture, atol=3)  # ten bits in the dark
    greys = np.linspace(0, 1000, 64)[None, :, None].repeat(16, 0).repeat(3, 2)
    found = through(
        tmp_path / "b.mkv", np.rint(curve(greys) * 65535).astype(np.uint16), "yuv444p10le", (9, 1, transfer, 9)
    )
    assert (np.diff(found[8, :, 1]) >= 0).all() and found[8, -1, 1] >= 254  # no light is clipped below 1000 cd/m2
    assert np.ptp(found, axis=2).max() <= 1  # grey stays grey


@pytest.mark.parametrize("tags, primaries", [((9, 1, 14, 9), BT2020), ((1, 1, 13, 12), P3)])
def test_wide_gamuts_become_srgb(tmp_path, tags, primaries):
    picture = patches()
    linear = light(picture) @ primaries.T
    coded = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * np.maximum(linear, 0) ** (1 / 2.4) - 0.055)
    found = through(tmp_path / "a.mkv", np.rint(coded * 65535).astype(np.uint16), "yuv444p10le", tags)
    np.testing.assert_allclose(found, picture, atol=5)  # ten bits in the dark
    assert np.abs(found - picture).mean() < 0.5


@pytest.mark.parametrize("tags, found", [((1, 1, 9, 1), "a logarithmic curve"), ((8, 1, 1, 1), "matrix 8")])
def test_colours_without_a_conversion_are_refused(tmp_path, tags, found):
    write_video(tmp_path / "a.mkv", [patches()], container="matroska", codec="ffv1", tags=tags, matrix=1)
    with pytest.raises(VideoError, match=rf"a\.mkv: found colours .*{found}.*; wanted"):
        list(read_frames(str(tmp_path / "a.mkv")))


def test_interlaced_frames_are_made_whole(tmp_path):
    def bar(moment: float) -> np.ndarray:
        picture = np.full((64, 96, 3), 200, np.uint8)
        picture[:, int(8 + 6 * moment) : int(18 + 6 * moment)] = 20
        return picture

    frames = [np.where(np.arange(64)[:, None, None] % 2, bar(k + 0.5), bar(k)).astype(np.uint8) for k in range(12)]
    path = tmp_path / "camera.mkv"
    write_video(path, frames, container="matroska", codec="libx264", codec_options={"x264-params": "tff=1"})
    found = list(read_frames(str(path)))
    assert [round(25 * frame.time) for frame in found] == list(range(12))
    combs = lambda picture: np.abs(np.diff(picture[..., 1].astype(int), axis=0)).mean()
    assert combs(frames[5]) > 10 and max(combs(frame.picture) for frame in found) < 1
    write_video(path, [patches()] * 4, codec="libx264", tags=(1, 1, 1, 1), codec_options={"x264-params": "tff=1:qp=1"})
    middle = np.s_[3::8, 3::8]  # the tags outlive the filter
    for frame in list(read_frames(str(path)))[1:]:  # the first has none before it, and is less sharp
        np.testing.assert_allclose(frame.picture[middle].astype(int), patches()[middle], atol=16)
