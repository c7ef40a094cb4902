"""The gates, one by one, with a detector that sees what the test wants."""

import re
import sys

import numpy as np
import pytest
from PIL import Image

from smoothswap_jax.faces import photos
from smoothswap_jax.faces.detection.base import Face
from smoothswap_jax.faces.photos import save_photo
from smoothswap_jax.prepare.crops import Crop, PrepareSettings, crops_of
from smoothswap_jax.prepare.entries import GATES, MediaFile, split_by_hash, told_apart
from tests.faces.drawn_points import POINTS
from tests.faces.make_videos import cut, frames_of, write_video

PHOTO = np.random.default_rng(0).integers(0, 256, (300, 300, 3), np.uint8)
PROFILE = np.array([[50.0, 50], [54, 50], [72, 62], [52, 72], [55, 72]])


def face(points=POINTS, shift=(0, 0), box=(30, 35, 70, 85)) -> Face:
    move = np.array(shift, float)
    return Face(np.array(box) + np.tile(move, 2), points + move, 0.9)


def result(tmp_path, faces, item=None, photo=PHOTO, **settings):
    save_photo(tmp_path / "a.png", photo)
    item = item or MediaFile("a.png", "ann")
    wanted = PrepareSettings(**{"size": 32, "min_side": 40, "min_sharpness": -120} | settings)
    (found,) = crops_of(str(tmp_path), item, wanted, lambda _: faces)
    return found


def gate(found) -> str:
    assert not isinstance(found, Crop)
    assert found.rejected.gate in GATES and found.rejected.file == "a.png"
    return found.rejected.gate


def test_a_good_face_passes_with_its_geometry(tmp_path):
    found = result(tmp_path, [face(shift=(60, 70))])
    assert isinstance(found, Crop) and found.image.shape == (32, 32, 3) and found.frame == -1
    np.testing.assert_allclose(found.quad[0], (70, 82.2))
    assert found.yaw == pytest.approx(0) and found.score == 0.9


@pytest.mark.parametrize(
    "faces, settings, wanted",
    [
        ([], {}, "no face"),
        ([face(), face(shift=(150, 150))], {"several": "reject"}, "several faces"),
        ([face()], {"min_side": 81}, "too small"),  # the square of these points is 80 pixels wide
        ([face(PROFILE)], {}, "extreme pose"),
        ([face()], {"min_sharpness": 100}, "too blurred"),
        ([face()], {"min_score": 0.95}, "doubtful"),
    ],
)
def test_each_gate_says_its_name(tmp_path, faces, settings, wanted):
    assert gate(result(tmp_path, faces, **settings)) == wanted
    open_gate = {"several": "largest", "min_side": 1, "max_yaw": 90, "min_sharpness": -120}
    if faces:
        assert isinstance(result(tmp_path, faces, **open_gate), Crop)


@pytest.mark.parametrize(
    "found, limit, digits, wanted",
    [
        (-16.004, -16.0, 1, ("-16.004", "-16")),
        (-18.23, -16.0, 1, ("-18.2", "-16")),
        (63.9996, 64.0, 0, ("63.9996", "64")),
        (40.2, 64.0, 0, ("40", "64")),
        (62.3, 62.0, 0, ("62.3", "62")),
        (0.8999, 0.9, 2, ("0.8999", "0.9")),
        (16.1, 16.04, 0, ("16.1", "16.04")),
        (-120.0, -16.0, 1, ("-120.0", "-16")),
    ],
)
def test_a_reason_has_as_many_digits_as_tell_the_numbers_apart(found, limit, digits, wanted):
    assert told_apart(found, limit, digits) == wanted


def test_reasons_tell_the_number_from_its_limit(tmp_path):
    limits = {"min_side": 80.001, "max_yaw": 63.0, "min_score": 0.9001}
    reasons = [
        result(tmp_path, [face(points)], **{name: limits[name]}).rejected.reason
        for points, name in ((POINTS, "min_side"), (PROFILE, "max_yaw"), (POINTS, "min_score"))
    ]
    assert reasons[0] == "the face's square is 80 pixels wide, wanted at least 80.001"
    assert reasons[1].endswith("degrees, wanted at most 63")
    assert reasons[2] == "the detector's score is 0.90, wanted at least 0.9001"


def test_the_box_chooses_among_faces_and_refuses_others(tmp_path):
    faces = [face(), face(shift=(150, 100))]
    item = lambda *box: MediaFile("a.png", "ann", box=box)
    assert result(tmp_path, faces, item(180, 130, 230, 190), several="box").points[0, 0] > 150
    assert result(tmp_path, faces, item(180, 130, 230, 190), several="largest").points[0, 0] < 150
    assert result(tmp_path, faces, MediaFile("a.png", "ann"), several="box").points[0, 0] < 150  # no box: the largest
    assert gate(result(tmp_path, faces, item(260, 0, 290, 20), several="box")) == "no face"


def test_large_photos_are_read_reduced_up_to_a_limit(tmp_path, monkeypatch):
    searched = []
    save_photo(tmp_path / "a.png", PHOTO)

    def found(**settings):
        wanted = PrepareSettings(**{"size": 32, "min_side": 40, "min_sharpness": -120} | settings)
        detect = lambda photo: searched.append(photo.shape) or [face()]
        (one,) = crops_of(str(tmp_path), MediaFile("a.png", "ann"), wanted, detect)
        return one

    assert isinstance(found(), Crop)
    monkeypatch.setattr(photos, "MAX_PIXELS", 300 * 300 - 1)
    assert isinstance(found(), Crop) and searched == [(300, 300, 3), (150, 150, 3)]
    refused = found(max_megapixels=0.08)
    assert gate(refused) == "unreadable"
    assert "found 300x300 pixels; wanted at most 80,000" in refused.rejected.reason
    with pytest.raises(ValueError, match="max_megapixels: found 0; wanted more than 0"):
        PrepareSettings(max_megapixels=0)


def test_a_phones_photo_without_its_package_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    (tmp_path / "a.png").write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(99))
    (found,) = crops_of(str(tmp_path), MediaFile("a.png", "ann"), PrepareSettings(), None)
    assert gate(found) == "unreadable" and "smoothswap-jax[heic]" in found.rejected.reason


def test_unreadable_and_not_square(tmp_path):
    (tmp_path / "a.png").write_bytes(b"rubbish")
    (found,) = crops_of(str(tmp_path), MediaFile("a.png", "ann"), PrepareSettings(), None)
    assert gate(found) == "unreadable" and str(tmp_path) not in found.rejected.reason and found.image is None
    item = MediaFile("a.png", "ann", aligned=True)
    assert gate(result(tmp_path, [], item, PHOTO[:200])) == "misplaced"
    crop = result(tmp_path, [], item)
    wanted = Image.fromarray(PHOTO).resize((32, 32), Image.Resampling.LANCZOS)
    np.testing.assert_array_equal(crop.image, np.asarray(wanted))


def test_a_cut_video_gives_what_is_there_and_a_row_that_says_so(tmp_path):
    pytest.importorskip("av")
    write_video(tmp_path / "whole.mp4", frames_of(20, 304, 304), codec="libx264", options={"movflags": "faststart"})
    cut(tmp_path / "whole.mp4", tmp_path / "a.mp4")
    settings = PrepareSettings(size=32, min_side=40, min_sharpness=-120, frames=6)
    found = list(crops_of(str(tmp_path), MediaFile("a.mp4", "ann", video=True), settings, lambda _: [face()]))
    crops = [one for one in found if isinstance(one, Crop)]
    (other,) = (one.rejected for one in found if not isinstance(one, Crop))
    assert (other.file, other.gate) == ("a.mp4", "incomplete") and other.gate in GATES
    held = int(re.fullmatch(r"ended at frame (\d+) of 20", other.reason)[1])
    assert [crop.frame for crop in crops] == [k * held // 6 for k in range(6)] and 10 < held < 20


def test_degenerate_points_are_no_face(tmp_path):
    assert gate(result(tmp_path, [face(np.full((5, 2), 50.0))])) == "no face"
    assert gate(result(tmp_path, [face(shift=(2000, 2000))])) == "no face"


@pytest.mark.parametrize(
    "field, value",
    [("size", 15), ("several", "all"), ("encoding", "gif"), ("test_share", 1.0), ("frames", 0), ("min_score", 1.5)],
)
def test_invalid_settings_are_named(field, value):
    with pytest.raises(ValueError, match=f"{field}: found {value!r}; wanted"):
        PrepareSettings(**{field: value})


def test_the_hash_holds_out_about_the_share_and_more_of_a_larger_one():
    names = [f"person {i}" for i in range(5000)]
    small, large = ({name for name in names if split_by_hash(name, share) == "test"} for share in (0.1, 0.3))
    assert len(small) == pytest.approx(500, abs=70) and len(large) == pytest.approx(1500, abs=100)
    assert small < large
    assert {split_by_hash(name, 0.0) for name in names} == {"train"}


def test_a_quick_search_is_asked_first_where_one_face_is_wanted(tmp_path):
    save_photo(tmp_path / "a.png", PHOTO)
    large, other = face(), face(shift=(150, 100))
    searched: list[str] = []

    def crop(box=None, several="largest", seen=(large, other), min_score=0.0):
        searched.clear()
        settings = PrepareSettings(32, min_side=40, min_sharpness=-120, several=several, min_score=min_score)
        whole = lambda _: searched.append("whole") or [large, other]
        quick = lambda _, choose: searched.append("quick") or choose(list(seen))
        (found,) = crops_of(str(tmp_path), MediaFile("a.png", "ann", box=box), settings, whole, quick)
        return found

    assert crop().points[0, 0] < 150 and searched == ["quick"]
    assert crop((180, 130, 230, 190), "box").points[0, 0] > 150 and searched == ["quick"]
    assert crop((180, 130, 230, 190), "box", [large]).points[0, 0] > 150 and searched == ["quick", "whole"]
    unsure = large._replace(score=0.8)
    assert crop(seen=[unsure], min_score=0.85).points[0, 0] < 150 and searched == ["quick", "whole"]
    assert crop(seen=[]).points[0, 0] < 150 and searched == ["quick", "whole"]
    assert gate(crop(several="reject")) == "several faces" and searched == ["whole"]
