"""No swap gets its name without credentials and marks, whichever way it is written."""

import ast
import dataclasses
import hashlib
import json
import logging
import shutil
import stat

import numpy as np
import pytest
from PIL import Image, ImageSequence

from smoothswap_jax.faces.kinds import VIDEO, kind_of
from smoothswap_jax.faces.original import read_original
from smoothswap_jax.faces.photos import PhotoError
from smoothswap_jax.faces.videos import read_frames
from smoothswap_jax.provenance import keys, outputs
from smoothswap_jax.provenance.credentials import SOURCE_TYPE, CredentialsError, read_credentials
from smoothswap_jax.provenance.marks import marks_in
from smoothswap_jax.provenance.outputs import LOG, Provenance
from tests.places import ROOT
from tests.provenance.swaps import MODEL, SOURCES, WAYS, told
from tests.provenance.test_keys import given

pytest.importorskip("c2pa")
pytest.importorskip("av")
pytest.importorskip("cv2")
pytestmark = pytest.mark.usefixtures("known_people", "config")


def digest(path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def pictures(path) -> list[np.ndarray]:
    if kind_of(path) == VIDEO:
        return [one.picture for one in read_frames(str(path))]
    if path.suffix in (".png", ".tif", ".jpg"):
        return [read_original(path).values]
    return [np.asarray(frame.convert("RGBA")) for frame in ImageSequence.Iterator(Image.open(path))]


@pytest.mark.parametrize("name", WAYS)
def test_every_way_of_writing_signs_and_marks_and_changes_no_pixel(name, folder, tmp_path, monkeypatch):
    monkeypatch.setattr(outputs.Trail, "code", None)  # the watermark changes pixels: test_watermark.py
    output, bare = tmp_path / name, tmp_path / f"bare-{name}"
    notes = WAYS[name](folder, output, None)
    found = read_credentials(output, keys.trusted())
    assert found is not None and found.intact and found.trusted and not found.faults
    assert found.actions == ("c2pa.opened", "c2pa.placed", "c2pa.edited") and found.source_types == (SOURCE_TYPE,)
    assert found.generator.startswith("smoothswap-jax ") and found.signer.startswith("local key ")
    facts = found.facts
    assert facts is not None and facts.model == MODEL and len(facts.sources) == SOURCES[name]
    known = {digest(path): path.name for path in (*folder.iterdir(), *(folder / "album").iterdir()) if path.is_file()}
    assert facts.target in known and {*facts.sources} <= {*known} - {facts.target}
    wanted = {"mkv": 1, "webm": 1, "mp4": 1, "mov": 1}.get(output.suffix[1:], 2)
    assert len(marks_in(output)) == wanted, marks_in(output)
    beside = output.with_name(f"{name}.c2pa")
    assert found.beside == beside.exists() == (output.suffix in (".mkv", ".webm"))
    assert any(beside.name in note for note in notes) == found.beside
    left = {path.name for path in tmp_path.iterdir()} - {"config", f"{output.stem}.folder"}
    assert left == {name, *([beside.name] if found.beside else [])}
    WAYS[name](folder, bare, Provenance(off="compares pixels"))
    assert read_credentials(bare) is None and not marks_in(bare)
    assert not bare.with_name(f"{bare.name}.c2pa").exists()
    for one, other in zip(pictures(output), pictures(bare), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("name", WAYS)
def test_what_cannot_be_signed_gets_no_name(name, folder, tmp_path, monkeypatch):
    def refuse(*_):
        raise CredentialsError("no")

    monkeypatch.setattr(outputs, "sign", refuse)
    if name == "album.png":
        with pytest.raises(AssertionError):  # a fault of one photo does not end a folder
            WAYS[name](folder, tmp_path / name, None)
        assert not list(tmp_path.glob("album.folder/*"))
        return
    with pytest.raises((CredentialsError, PhotoError), match="no"):
        WAYS[name](folder, tmp_path / name, None)
    assert {path.name for path in tmp_path.iterdir()} <= {"config", f".{name}.swapping"}


WRITES = {
    "save_photo", "save_original", "write_original", "write_whole", "write_atomically", "write_bytes", "write_text",
    "os.replace", "os.rename", "rename", "shutil.move", "shutil.copy", "shutil.copyfile", "save", "open", "os.open",
    "put_together", "publish", "publish_whole",
}  # fmt: skip
KNOWN = {
    ("inference/files.py", "write_original"),  # by `publish`
    ("inference/files.py", "publish"),
    ("inference/animations.py", "write_bytes"),  # by `publish`
    ("inference/animations.py", "publish"),
    ("inference/interpolation.py", "write_bytes"),  # by `publish`
    ("inference/interpolation.py", "publish"),
    ("inference/video.py", "put_together"),  # for `publish_whole`
    ("inference/video.py", "publish_whole"),
    ("inference/video.py", "write_atomically"),  # the plan of a job
    ("inference/first_look.py", "os.replace"),  # what was found, for a job that goes on
    ("web/intake.py", "open"),  # what came in
    ("web/intake.py", "save"),  # previews and crops of what came in
    ("web/intake.py", "write_bytes"),
    ("web/jobs.py", "write_bytes"),  # by `publish`
    ("web/jobs.py", "publish"),
    ("web/server.py", "open"),  # what comes in
}


def test_nothing_else_writes_files():
    """A new one belongs through `publish`, or into the list, with what it is."""
    found = set()
    for room in ("inference", "web"):
        for path in (ROOT / "smoothswap_jax" / room).rglob("*.py"):
            place = path.relative_to(ROOT / "smoothswap_jax").as_posix()
            if place.startswith("inference/export/"):
                continue
            for node in ast.walk(ast.parse(path.read_text("utf-8"))):
                if isinstance(node, ast.Call):
                    name = ast.unparse(node.func)
                    found |= {(place, one) for one in WRITES if name == one or name.endswith(f".{one}")}
    assert found == KNOWN


def test_what_the_photo_said_is_kept_beside_the_marks(folder, tmp_path):
    WAYS["turned.jpg"](folder, tmp_path / "a.jpg", None)
    before, after = read_original(folder / "turned-6.jpg").metadata, read_original(tmp_path / "a.jpg").metadata
    tags = [dict(Image.Exif()) for _ in range(2)]
    for one, held in zip((before, after), tags, strict=True):
        exif = Image.Exif()
        exif.load(one.exif)
        held.update({tag: exif.get_ifd(tag) or value for tag, value in exif.items()})
    software = tags[1].pop(305)
    assert software.startswith("made by smoothswap-jax, synthetic face")
    assert software.endswith(str(tags[0].pop(305, "face")))
    assert tags[0] == tags[1] and len(tags[0]) > 2
    assert before.xmp.removesuffix(b"</rdf:RDF></x:xmpmeta>") in after.xmp and after.dpi == before.dpi
    WAYS["photo.jpg"](folder, tmp_path / "b.jpg", None)
    twice = tmp_path / "twice"
    twice.mkdir()
    for path in folder.iterdir():
        if path.is_file():
            shutil.copy(path, twice)
    shutil.copy(tmp_path / "a.jpg", twice / "turned-6.jpg")
    WAYS["turned.jpg"](twice, tmp_path / "c.jpg", None)
    again = read_original(tmp_path / "c.jpg").metadata
    assert again.xmp == after.xmp and again.exif == after.exif


@pytest.mark.parametrize("name", ["photo.png", "photo.jpg", "photo.webp", "photo.tif", "deep.tif"])
def test_of_a_swap_that_is_swapped_the_old_credentials_are_not_kept(name, folder, tmp_path):
    for path in folder.iterdir():
        if path.is_file():
            shutil.copy(path, tmp_path)
    for place in ("first", "again"):
        (tmp_path / place).mkdir()
    first = tmp_path / "first" / name
    WAYS[name](folder, first, None)
    shutil.copy(first, tmp_path / "photo.png")  # told by its content
    WAYS["photo.png"](tmp_path, tmp_path / "again" / f"again{first.suffix}", None)
    data = (tmp_path / "again" / f"again{first.suffix}").read_bytes()
    found = read_credentials(tmp_path / "again" / f"again{first.suffix}")
    assert found.intact and found.facts.target == digest(first)
    assert data.count(found.facts.target.encode()) == 2  # of the assertion and of the ingredient
    assert digest(folder / "photo.png").encode() not in data and digest(folder / "16-bit.tif").encode() not in data


def test_a_changed_file_is_told(folder, tmp_path):
    for name in ("photo.png", "photo.jpg", "film.mp4", "film.mkv"):
        output = tmp_path / name
        WAYS[name](folder, output, None)
        data = bytearray(output.read_bytes())
        data[len(data) * 3 // 4] ^= 1
        output.write_bytes(data)
        found = read_credentials(output, keys.trusted())
        assert found is not None and not found.intact and any("mismatch" in fault for fault in found.faults), name


def test_nothing_of_the_inputs_is_in_the_file_but_their_hashes(folder, tmp_path):
    WAYS["photo.png"](folder, tmp_path / "a.png", None)
    data = (tmp_path / "a.png").read_bytes()
    for word in (b"source1.png", b"photo.png", str(folder).encode(), b"thumbnail"):
        assert word not in data
    assert digest(folder / "source1.png").encode() in data
    WAYS["photo.png"](folder, tmp_path / "bare.png", Provenance(off="compares sizes"))
    assert len(data) - (tmp_path / "bare.png").stat().st_size < 8000


def test_a_given_key_signs(folder, tmp_path):
    keys.signing_key()
    own = tmp_path / "config" / keys.FOLDER
    moved = shutil.move(own, tmp_path / "moved")
    chain, key = (f"{moved}/{name}" for name in (keys.CHAIN_FILE, keys.KEY_FILE))
    WAYS["photo.png"](folder, tmp_path / "a.png", Provenance(chain, key))
    assert not own.exists()
    anchor = (tmp_path / "moved" / keys.CHAIN_FILE).read_bytes()
    unknown, known = (read_credentials(tmp_path / "a.png", trust) for trust in ([], [anchor]))
    assert unknown.intact and not unknown.trusted and known.trusted
    with pytest.raises(CredentialsError, match="cannot be signed"):  # it has no use that C2PA takes
        WAYS["photo.png"](folder, tmp_path / "b.png", Provenance(*given(tmp_path / "given")))
    assert not (tmp_path / "b.png").exists()


def test_without_is_said_once_and_every_output_written_down(folder, tmp_path, config, caplog):
    how = Provenance(off="the film is a test")
    assert [record.levelno for record in caplog.records] == [logging.WARNING]
    assert "not told as synthetic (the film is a test)" in caplog.text and str(config / LOG) in caplog.text
    for name in ("photo.png", "film.mkv"):
        WAYS[name](folder, tmp_path / name, how)
    assert len(caplog.records) == 1
    lines = [json.loads(line) for line in (config / LOG).read_text().splitlines()]
    assert [(line["output"], line["reason"]) for line in lines] == [
        (str(tmp_path / name), "the film is a test") for name in ("photo.png", "film.mkv")
    ]
    assert all(len(line["time"]) == 20 for line in lines) and stat.S_IMODE((config / LOG).stat().st_mode) == 0o600
    for empty in ("", "  "):
        with pytest.raises(ValueError, match="--no-provenance: found an empty reason"):
            Provenance(off=empty)


def test_without_the_package_swaps_are_refused_before_the_work(folder, tmp_path, monkeypatch):
    def missing(user):
        raise ImportError(f"{user} needs c2pa-python, which is not installed")

    monkeypatch.setattr(outputs, "c2pa", missing)
    with pytest.raises(ImportError, match=r"needs c2pa-python.*; or say why swaps go without: --no-provenance=REASON"):
        WAYS["film.mp4"](folder, tmp_path / "a.mp4", None)
    assert not list(tmp_path.iterdir())


def test_credentials_beside_a_file_replace_no_other_file(folder, tmp_path):
    beside = tmp_path / "film.mkv.c2pa"
    beside.write_text("mine")
    with pytest.raises(FileExistsError, match=r"film.mkv.c2pa: exists already"):
        WAYS["film.mkv"](folder, tmp_path / "film.mkv", None)
    beside.unlink()
    WAYS["film.mkv"](folder, tmp_path / "film.mkv", None)
    (tmp_path / "film.mkv").unlink()
    WAYS["film.mkv"](folder, tmp_path / "film.mkv", None)  # they are of no use without the file
    assert read_credentials(tmp_path / "film.mkv").intact


def test_a_swapper_keeps_how_it_tells(tmp_path):
    from tests.inference.pixel_swappers import toy

    how = Provenance(off="a test")
    assert dataclasses.replace(told(toy(), how), min_score=0.5).provenance is how
