"""Which faces are meant."""

import numpy as np
import pytest

from smoothswap_jax.cli.main import MISTAKE, main
from smoothswap_jax.faces.detection import registry
from smoothswap_jax.faces.detection.base import Face
from smoothswap_jax.faces.photos import load_photo, save_photo
from smoothswap_jax.inference.choice import NoFaceError, choose_faces
from smoothswap_jax.inference.likeness import ALIKE, identities
from tests.inference.pixel_swappers import grain, marked
from tests.places import SHARED

FACES = SHARED / "faces"
CENTRES = (120, 60, 1.5), (60, 60, 1.0), (200, 60, 1.0)
"""The largest is in the middle."""
DETECT = marked(*CENTRES)


def chosen(which, role="target", **how) -> list[int]:
    """By their places from the left."""
    seen = sorted(face.box[0] for face in DETECT(grain()))
    found = choose_faces(grain(), which, "photo.png", role, detect=DETECT, **how)
    return [seen.index(face.box[0]) for face in found]


def test_words_and_numbers():
    assert chosen("largest") == [1] and chosen("left") == [0] and sorted(chosen("all")) == [0, 1, 2]
    assert chosen(0) == [1] and {*chosen(1), *chosen(2)} == {0, 2}
    for which, said in ((3, "target face: found 3; wanted 0 to 2"), (-1, "found -1; wanted 'largest', 'left', 'all'")):
        with pytest.raises(ValueError, match=said):
            chosen(which)
    for which in ("big", "no.jpg", True, 1.5):
        with pytest.raises(ValueError, match=r"source face: found .*wanted 'largest', 'left', an index from 0"):
            chosen(which, "source")
    with pytest.raises(ValueError, match="source face: found 'all'"):
        chosen("all", "source")


def test_that_the_largest_of_several_was_taken_is_told(caplog):
    with caplog.at_level("INFO", logger="smoothswap_jax"):
        chosen("largest")
        assert caplog.messages == ["photo.png: found 3 faces, took the largest (`smoothswap faces` lists them)"]
        caplog.clear()
        chosen("all")
        choose_faces(grain(), "largest", "one.png", "target", detect=marked((120, 60, 1.5)))
        assert not caplog.messages


def test_a_reference_chooses_who_is_most_like_it(tmp_path):
    save_photo(tmp_path / "ref.png", grain())
    asked = []

    def identify(alike):
        def vectors(photo, faces):
            asked.append(len(faces))
            angles = np.arccos(alike) if len(faces) == 3 else np.zeros(1)
            return np.stack([np.cos(angles), np.sin(angles)], axis=1)

        return vectors

    like = identify([0.1, ALIKE, 0.9])
    assert chosen(tmp_path / "ref.png", identify=like) == chosen(2)
    assert chosen(tmp_path / "ref.png", identify=like) == chosen(2)
    assert asked == [3, 1, 3]  # the reference is looked at once
    with pytest.raises(NoFaceError, match=r"photo.png: found no face like that of .*ref.png: the nearest of 3 .* 0.30"):
        chosen(tmp_path / "ref.png", identify=identify([0.1, 0.3, 0.2]))


def test_faces_of_which_the_detector_is_unsure_are_passed_over():
    seen = zip(DETECT(grain()), (0.5, 0.9, 0.7), strict=True)
    faces = [Face(face.box, face.points, score) for face, score in seen]
    found = choose_faces(grain(), "all", "p", "target", detect=lambda _: faces, min_score=0.6)
    assert [face.score for face in found] == [0.9, 0.7]
    with pytest.raises(NoFaceError, match=r"p: the surest face has a score of 0.90; wanted 0.95 or more"):
        choose_faces(grain(), "largest", "p", "target", detect=lambda _: faces, min_score=0.95)
    with pytest.raises(NoFaceError, match="p: found no face, upright or turned"):
        choose_faces(grain(), "largest", "p", "target", detect=lambda _: [], min_score=0.5)


def test_the_command_lists_faces_and_writes_a_sheet(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(registry, "find_faces", DETECT)
    save_photo(tmp_path / "p.png", grain())
    assert main(["faces", f"{tmp_path}/p.png", f"--out={tmp_path}/sheet.png"]) == 0
    said = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in said[1:4]] == ["0", "1", "2"] and said[4] == f"{tmp_path}/sheet.png"
    assert said[1].split()[1:] == ["98", "42", "45", "66", "0.90", "0"]
    sheet = load_photo(tmp_path / "sheet.png")
    assert sheet.shape[0] > 160 + 160 and sheet.shape[1] > 3 * 160
    assert np.any(np.all(sheet == (255, 210, 0), axis=2))
    assert main(["faces", f"{tmp_path}/p.png", f"--out={tmp_path}/sheet.png"]) == MISTAKE
    assert "exists already" in capsys.readouterr().err
    assert main(["faces", f"{tmp_path}/p.png", "--min-score=0.95"]) == MISTAKE
    assert "p.png: the surest face has a score of 0.90; wanted 0.95" in capsys.readouterr().err


@pytest.mark.skipif(not FACES.is_dir(), reason=f"needs photographs in {FACES}")
def test_sface_tells_people_apart():
    front, smile, other = (
        load_photo(FACES / "london" / name)
        for name in ("001/neutral_front.jpg", "001/smiling_front.jpg", "002/neutral_front.jpg")
    )
    (person,), both = registry.find_faces(front), np.concatenate([other, smile], axis=1)
    faces = sorted(registry.find_faces(both), key=lambda face: face.box[0])
    stranger, same = identities(both, faces) @ identities(front, [person])[0]
    assert same > 0.8 and stranger < ALIKE - 0.1
