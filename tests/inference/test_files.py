"""Folders of photos."""

import numpy as np
import pytest
from PIL import Image

from smoothswap_jax.cli.main import main
from smoothswap_jax.faces.photos import PhotoError, load_photo, save_photo
from smoothswap_jax.inference import swapper
from smoothswap_jax.inference.albums import swap_folder
from smoothswap_jax.inference.choice import NoFaceError
from smoothswap_jax.inference.files import swap_files
from smoothswap_jax.provenance import outputs
from tests.inference.pixel_swappers import grain, marked, toy


@pytest.fixture
def folder(tmp_path):
    """Two photos, one in a format that is only read, one that is damaged, and one that is none."""
    made = tmp_path / "in"
    made.mkdir()
    save_photo(tmp_path / "who.png", grain(seed=9))
    for seed, name in enumerate(("a.png", "b.jpg")):
        save_photo(made / name, grain(seed=seed))
    Image.fromarray(grain(seed=2)).save(made / "c.bmp")
    (made / "d.png").write_bytes(b"no photo")
    (made / "notes.txt").write_text("no photo either")
    return made


def test_a_bad_photo_does_not_end_a_folder_and_what_is_there_stays(folder, tmp_path):
    out, who = tmp_path / "new" / "out", tmp_path / "who.png"
    found = {one.target.name: one for one in swap_folder(toy(), who, folder, out)}
    assert list(found) == ["a.png", "b.jpg", "c.bmp", "d.png"]
    assert "d.png" in found["d.png"].fault and not any(found[name].fault for name in ("a.png", "b.jpg", "c.bmp"))
    assert sorted(path.name for path in out.iterdir()) == ["a.png", "b.jpg", "c.bmp.png"]
    swap_files(toy(), who, folder / "a.png", tmp_path / "single.png")
    np.testing.assert_array_equal(load_photo(out / "a.png"), load_photo(tmp_path / "single.png"))
    (out / "a.png").write_text("mine")
    (out / "b.jpg").unlink()
    again = {one.target.name: one for one in swap_folder(toy(), who, folder, out)}
    assert again["a.png"].there and (out / "a.png").read_text() == "mine"
    assert not again["b.jpg"].there and (out / "b.jpg").is_file()
    assert not any(one.there for one in swap_folder(toy(), who, folder, out, overwrite=True))
    assert load_photo(out / "a.png").shape == (160, 260, 3)


def test_each_face_gets_the_source_that_is_meant_for_it(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(outputs.Trail, "code", None)  # which moves grey levels
    for name, grey in (("bright", 255), ("dark", 0)):
        save_photo(tmp_path / f"{name}.png", np.full((160, 260, 3), grey, np.uint8))
    swapper = toy(lambda source, target: source, (60, 70, 1.0), (200, 70, 0.9))
    wishes = {"left": [tmp_path / "dark.png"] * 2, 1: tmp_path / "bright.png"}
    notes = swap_files(swapper, wishes, folder / "a.png", tmp_path / "o.png", paste="pixels")
    photo = load_photo(tmp_path / "o.png")
    assert photo[60:80, 50:70].max() < 5 and photo[60:80, 190:210].min() > 250
    assert len(notes) == 1 and "the mean of 2 sources" in notes[0]
    for wishes, said in (
        ({"left": tmp_path / "dark.png", 0: tmp_path / "bright.png"}, "a.png: found one face for left and 0"),
        ({}, "sources by face: found none"),
    ):
        with pytest.raises(ValueError, match=said):
            swap_files(swapper, wishes, folder / "a.png", tmp_path / "p.png")
    with pytest.raises(ValueError, match="target face: found 'left' and sources by face"):
        swap_files(swapper, {0: tmp_path / "dark.png"}, folder / "a.png", tmp_path / "p.png", target_face="left")


def test_a_person_who_is_not_in_a_photo_is_said_and_the_others_are_swapped(folder, tmp_path, monkeypatch):
    def chosen(photo, which, name, role, *, every=None, **_):
        if which == absent:
            raise NoFaceError(f"{name}: found no face like that of {absent}")
        return list(every)[:1] if every else marked((80, 70, 1.5))(photo)

    monkeypatch.setattr(swapper, "choose_faces", chosen)
    who, absent = tmp_path / "who.png", tmp_path / "absent.png"
    save_photo(absent, grain())
    notes = swap_files(toy(), {absent: who, "largest": who}, folder / "a.png", tmp_path / "o.png")
    assert any(f"found no face like that of {absent}; the photo keeps its own" in note for note in notes)
    with pytest.raises(NoFaceError, match=r"a.png: found no face like that of .*absent.png"):
        swap_files(toy(), {absent: who}, folder / "a.png", tmp_path / "p.png")


def test_folders_that_cannot_be_are_refused(folder, tmp_path):
    who, empty = tmp_path / "who.png", tmp_path / "empty"
    empty.mkdir()
    for target, out, said in (
        (folder, folder, "found the folder of the photos; wanted another one"),
        (folder, who, "who.png: found a file; wanted a folder"),
        (folder, tmp_path / "out.png", "out.png: found suffix '.png'; wanted a folder"),
        (empty, tmp_path / "out", "empty: found no photo and no video in it"),
    ):
        with pytest.raises(PhotoError, match=said):
            list(swap_folder(toy(), who, target, out))
    assert not (tmp_path / "out").exists()
    assert all(one.fault for one in swap_folder(toy(), who, folder, tmp_path / "out", target_face=7))
    assert not (tmp_path / "out").exists()  # nothing was written


def test_the_command_says_a_line_a_photo_and_a_summary(folder, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(swapper.Swapper, "load", lambda *_, **__: toy())
    args = ["swap", f"--source={tmp_path}/who.png", f"--target={folder}", f"--output={tmp_path}/out", "--checkpoint=c"]
    assert main(args) == 1
    said = capsys.readouterr()
    assert said.out.splitlines() == [f"{tmp_path}/out/{name}" for name in ("a.png", "b.jpg", "c.bmp.png")]
    assert f"smoothswap swap: {folder}/d.png" in said.err
    assert said.err.endswith(f"{tmp_path}/out: 3 swapped, 0 there already, 1 left out\n")
    (folder / "d.png").unlink()
    assert main(args) == 0
    assert capsys.readouterr().err.endswith("0 swapped, 3 there already, 0 left out\n")
