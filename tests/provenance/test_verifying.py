"""`smoothswap verify`: what is told of files."""

import functools
import json
import random
import zlib

import numpy as np
import pytest
from PIL import Image, ImageFile

from smoothswap_jax.cli.main import main
from smoothswap_jax.faces.photos import save_photo
from smoothswap_jax.inference.files import swap_files
from smoothswap_jax.provenance import keys, verifying
from smoothswap_jax.provenance.credentials import Facts, sign
from smoothswap_jax.provenance.mark_reading import read_watermark
from smoothswap_jax.provenance.verifying import NotMedia, verify_file
from tests.inference import painted_videos as videos
from tests.inference.pixel_swappers import marked, toy
from tests.provenance.swaps import MODEL, WAYS, told

c2pa = pytest.importorskip("c2pa")
pytest.importorskip("av")
pytest.importorskip("cv2")
pytestmark = pytest.mark.usefixtures("known_people", "config")


def test_it_says_by_whom_and_from_what(folder, tmp_path, capsys):
    output = tmp_path / "photo.jpg"
    WAYS["photo.jpg"](folder, output, None)
    given = [f"--source={folder}/source1.png", f"--source={folder}/source2.png", f"--target={folder}/photo.png"]
    assert main(["verify", str(output), *given]) == 0
    said = capsys.readouterr().out
    for line in (
        f"{output}: intact\n",
        "credentials: in the file, intact, signed by a key that is trusted here (local key ",
        "made by: smoothswap-jax ",
        "compositeWithTrainedAlgorithmicMedia",
        f"model: generator {'a' * 64}, embedder {'b' * 64}, step 800",
        "target: SHA-256 ",
        "source 2: SHA-256 ",
        f"source {folder}/source2.png: made of it",
        f"target {folder}/photo.png: made of it",
        "metadata: EXIF Software, XMP DigitalSourceType say that the face is synthetic",
    ):
        assert line in said
    assert main(["verify", str(output), f"--target={folder}/source1.png"]) == 1
    assert f"target {folder}/source1.png: not made of it" in capsys.readouterr().out


def test_a_swap_of_a_swap_says_so(folder, tmp_path, capsys):
    first = {name: tmp_path / f"first.{name}" for name in ("photo.png", "dance.gif")}
    for name, path in first.items():
        WAYS[name](folder, path, None)
    broken = tmp_path / "broken.png"
    with Image.open(first["photo.png"]) as image:
        image.save(tmp_path / "other.png")
    data = bytearray(first["photo.png"].read_bytes())
    at = data.find(b"jumb") + 400
    data[at] ^= 1
    length = data.find(b"caBX") - 4
    size = int.from_bytes(data[length : length + 4])
    data[length + 8 + size : length + 12 + size] = zlib.crc32(data[length + 4 : length + 8 + size]).to_bytes(4)
    broken.write_bytes(data)
    for target, output, said in (
        (first["photo.png"], "again.jpg", "its target carried credentials of smoothswap-jax "),
        (broken, "of-broken.jpg", "altered since\n"),
        (tmp_path / "other.png", "of-other.jpg", None),
    ):
        notes = swap_files(told(toy()), folder / "source1.png", target, tmp_path / output)
        assert not any("left out" in note for note in notes)  # Software was only our own mark
        assert main(["verify", str(tmp_path / output)]) == 0
        told_of = capsys.readouterr().out
        assert said in told_of if said else "its target carried" not in told_of
    swap_files(told(videos.SWAPPER), folder / "bright.png", first["dance.gif"], tmp_path / "still.webp")
    assert main(["verify", "--json", str(tmp_path / "still.webp")]) == 0
    facts = json.loads(capsys.readouterr().out)["credentials"]["facts"]
    assert facts["before"].startswith("smoothswap-jax ")


def test_altered_files_and_files_without_are_told(folder, tmp_path, capsys):
    for name in ("photo.png", "film.mkv"):
        WAYS[name](folder, tmp_path / name, None)
    changed = bytearray((tmp_path / "photo.png").read_bytes())
    changed[-1000] ^= 1
    (tmp_path / "changed.png").write_bytes(changed)
    Image.open(tmp_path / "photo.png").save(tmp_path / "again.png")
    (tmp_path / "away.mkv").write_bytes((tmp_path / "film.mkv").read_bytes())
    for name, code, said in (
        ("changed.png", 1, "ALTERED: file and credentials do not fit each other (assertion.dataHash.mismatch"),
        ("again.png", 1, "again.png: no credentials, no mark\n  credentials: none"),
        ("away.mkv", 3, "away.mkv: made by smoothswap-jax; its credentials are gone\n  credentials: none"),
        ("film.mkv", 0, "credentials: beside the file, intact"),
        ("film.mkv", 0, "metadata: the container's comment says that the face is synthetic"),
    ):
        assert main(["verify", str(tmp_path / name)]) == code, name
        assert said in capsys.readouterr().out, name
    target = f"--target={folder}/photo.png"
    assert main(["verify", str(tmp_path / "changed.png"), target]) == 1
    assert "not known whether it was made of it" in capsys.readouterr().out


def test_the_watermark_is_told_beside_the_credentials_and_without(folder, tmp_path, capsys, monkeypatch):
    look = functools.partial(read_watermark, detect=marked((80, 70, 1.5)))
    monkeypatch.setattr(verifying, "read_watermark", look)
    output = tmp_path / "photo.png"
    WAYS["photo.png"](folder, output, None)
    Image.open(output).save(tmp_path / "stripped.jpg", quality=80)
    changed = bytearray(output.read_bytes())
    changed[-1000] ^= 1
    (tmp_path / "altered.png").write_bytes(changed)
    with Image.open(output) as image:
        darker = image.point(lambda level: round(0.9 * level))
        darker.save(tmp_path / "signed-again.png")
    other = MODEL._replace(generator="c" * 64)
    sign(tmp_path / "signed-again.png", "image/png", Facts("1", other, "0" * 64, ()), keys.signing_key())
    found = "watermark: found on 1 of 1 face, made by smoothswap-jax ("
    for name, code, said in (
        ("photo.png", 0, "of generator aaaaaaaa..., as the credentials say"),
        ("stripped.jpg", 3, "of generator aaaaaaaa...; the file has lost its credentials since"),
        ("signed-again.png", 0, "of generator aaaaaaaa..., NOT as the credentials say"),
    ):
        assert main(["verify", str(tmp_path / name)]) == code, name
        told = capsys.readouterr().out
        assert found in told and said in told, told
    assert main(["verify", "--json", str(tmp_path / "stripped.jpg"), str(folder / "photo.png")]) == 1
    told = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [one["state"] for one in told] == ["marked", "none"]
    first, second = (one["watermark"] for one in told)
    assert (first["looked"], first["marked"], first["code"]) == (1, 1, "aaaaaaaa") and first["chance"] < 1e-6
    assert (second["looked"], second["marked"], second["code"], second["fault"]) == (1, 0, "", "")
    assert main(["verify", str(tmp_path / "altered.png")]) == 1
    assert "watermark: not looked for (" in capsys.readouterr().out  # its pixels cannot be decoded
    assert main(["verify", str(folder / "photo.png")]) == 1
    assert "watermark: none found on 1 face (" in capsys.readouterr().out


def test_a_file_that_holds_credentials_does_not_look_beside_it(folder, tmp_path):
    for name in ("photo.jpg", "film.mkv"):
        WAYS[name](folder, tmp_path / name, None)
    (tmp_path / "film.mkv.c2pa").rename(tmp_path / "photo.jpg.c2pa")
    found = verify_file(tmp_path / "photo.jpg")
    assert found.state == verifying.INTACT and found.credentials and not found.credentials.beside


@pytest.mark.parametrize("cut", [10, 300, 2000])
@pytest.mark.parametrize("kind", ["png", "jpg", "webp", "tif"])
def test_a_cut_off_file_without_credentials_is_one_without(kind, cut, tmp_path):
    path = tmp_path / f"cut.{kind}"
    save_photo(path, np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8))
    path.write_bytes(path.read_bytes()[:-cut])
    assert verify_file(path).state == verifying.NONE


def test_a_place_elsewhere_is_not_looked_at_and_not_carried_along(folder, tmp_path):
    place = b'dcterms:provenance="https://example.com/manifest.c2pa"'
    xmp = (
        b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
        b'<rdf:Description rdf:about="" xmlns:dcterms="http://purl.org/dc/terms/" %b/></rdf:RDF></x:xmpmeta>' % place
    )
    with Image.open(folder / "photo.png") as image:
        image.save(tmp_path / "cloud.jpg", xmp=xmp)
    assert verify_file(tmp_path / "cloud.jpg").state == verifying.NONE
    swap_files(told(toy()), folder / "source1.png", tmp_path / "cloud.jpg", tmp_path / "swap.jpg")
    assert verify_file(tmp_path / "swap.jpg").state == verifying.INTACT
    assert place not in (tmp_path / "swap.jpg").read_bytes()


@pytest.mark.parametrize("own", [True, False])
def test_certificates_that_are_none_are_a_mistake_and_no_fault_of_the_files(own, folder, tmp_path, config, capsys):
    chain = config / keys.FOLDER / keys.CHAIN_FILE if own else tmp_path / "theirs.pem"
    chain.parent.mkdir(parents=True, exist_ok=True)
    chain.write_text("garbage")
    assert main(["verify", str(folder / "photo.png"), *([] if own else [f"--trust={chain}"])]) == 2
    said = capsys.readouterr()
    assert said.err.startswith(f"smoothswap verify: {chain}: found no certificates") and not said.out


def test_mistakes_end_with_2(tmp_path, capsys):
    save_photo(tmp_path / "a.png", np.zeros((8, 8, 3), np.uint8))
    for arguments in (["none.png"], [str(tmp_path)], [str(tmp_path / "a.png"), "--source=none.png"], ["--json"]):
        try:
            code = main(["verify", *arguments])
        except SystemExit as error:
            code = error.code
        assert code == 2
        assert capsys.readouterr().err


def test_what_is_no_photo_or_video_is_named_and_the_others_are_read(folder, tmp_path, capsys):
    for name, data in (("words.txt", b"no picture"), ("empty", b""), ("empty.mp4", b""), ("words.mp4", b"no film")):
        (tmp_path / name).write_bytes(data)
        assert main(["verify", str(tmp_path / name)]) == 2, name
        out, err = capsys.readouterr()
        assert not out and "not a photo or video" in err and err.count(str(tmp_path / name)) == 1, err
    WAYS["photo.png"](folder, tmp_path / "a.png", None)
    (tmp_path / "cut.png").write_bytes((tmp_path / "a.png").read_bytes()[:4000])
    files = [str(tmp_path / name) for name in ("a.png", "none.png", "", "words.txt", "cut.png", "a.png")]
    assert main(["verify", *files]) == 2
    out, err = capsys.readouterr()
    assert [line.split(":")[0] for line in out.splitlines() if not line.startswith(" ")] == [
        files[place] for place in (0, 4, 5)
    ]
    assert len(err.splitlines()) == 3 and all(files[place] in err for place in (1, 2, 3))
    assert out.count("cut.png") == 1  # also where it says why no watermark was looked for


def test_a_key_of_others_is_unknown_until_it_is_trusted(folder, tmp_path, config, capsys):
    WAYS["photo.png"](folder, tmp_path / "a.png", None)
    config.rename(tmp_path / "theirs")
    assert main(["verify", str(tmp_path / "a.png")]) == 0
    assert "signed by a key that is UNKNOWN here" in capsys.readouterr().out
    assert not config.exists()
    assert main(["verify", str(tmp_path / "a.png"), f"--trust={tmp_path}/theirs/signing/chain.pem"]) == 0
    assert "signed by a key that is trusted here" in capsys.readouterr().out


def test_json_says_the_same(folder, tmp_path, capsys):
    WAYS["way.webp"](folder, tmp_path / "a.webp", None)
    save_photo(tmp_path / "b.png", np.zeros((8, 8, 3), np.uint8))
    assert main(["verify", "--json", str(tmp_path / "a.webp"), str(tmp_path / "b.png")]) == 1
    first, second = map(json.loads, capsys.readouterr().out.splitlines())
    assert first["state"] == "intact" and first["credentials"]["facts"]["model"] == MODEL._asdict()
    assert first["marks"] == ["EXIF Software", "XMP DigitalSourceType"]
    assert (second["state"], second["credentials"], second["marks"]) == ("none", None, [])


def test_credentials_of_others_are_told_as_such_and_cannot_write_on_the_terminal(tmp_path, capsys):
    save_photo(tmp_path / "a.png", np.zeros((80, 80, 3), np.uint8))
    key = keys.signing_key()
    info = c2pa.C2paSignerInfo(alg=c2pa.C2paSigningAlg.ES256, sign_cert=key.chain, private_key=key.key, ta_url=None)
    actions = [{"action": "c2pa.created", "digitalSourceType": "http://example.org/\x1b[31mred\nline"}]
    told = {
        "claim_generator_info": [{"name": "a\x1b]0;camera\n", "version": "1"}],
        "assertions": [{"label": "c2pa.actions.v2", "data": {"actions": actions}}],
    }
    with c2pa.Signer.from_info(info) as signer, c2pa.Builder(told) as builder:
        builder.sign_file(str(tmp_path / "a.png"), str(tmp_path / "b.png"), signer)
    assert main(["verify", str(tmp_path / "b.png")]) == 0
    said = capsys.readouterr().out
    assert "made of: not told; these are no credentials of smoothswap-jax (actions: c2pa.created)" in said
    assert "\x1b" not in said and "made by: a?]0;camera? 1" in said


def test_hostile_files_are_told_without_a_crash(folder, tmp_path):
    """Fifty files of which bytes are changed, cut out, repeated or put in, some of them in the credentials."""
    draw, states = random.Random(0), []
    for name in ("photo.jpg", "photo.png", "photo.webp", "photo.tif", "dance.gif", "film.mp4", "film.mkv"):
        WAYS[name](folder, tmp_path / name, None)
    names = [path.name for path in tmp_path.iterdir() if path.is_file()]
    for number in range(50):
        name = names[number % len(names)]
        data = bytearray((tmp_path / name).read_bytes())
        place = max(data.find(b"jumb"), 0) if number % 2 else 0
        for _ in range(draw.choice((1, 5, 40))):
            at = min(place + draw.randrange(6000), len(data) - 1)
            change = draw.randrange(4)
            if change == 0:
                data[at] = draw.randrange(256)
            elif change == 1:
                del data[at : at + draw.choice((1, 8, 400))]
            elif change == 2:
                data[at:at] = data[at : at + draw.randrange(200)]
            else:
                data[at:at] = draw.choice((b"\xff\xff\xff\xff", b"\0\0\0\0", b"jumb", bytes(draw.randrange(64))))
        suffix = ".mkv" if name.endswith(".c2pa") else ""
        (tmp_path / "hostile").mkdir(exist_ok=True)
        hostile = tmp_path / "hostile" / f"{number}{suffix}"
        if suffix:
            hostile.write_bytes((tmp_path / "film.mkv").read_bytes())
            hostile.with_name(f"{hostile.name}.c2pa").write_bytes(data)
        else:
            hostile.write_bytes(data)
        try:
            found = verify_file(hostile)
        except NotMedia:
            states.append("no media")
            continue
        assert json.dumps(found.as_json()) and all(line.isprintable() for line in found.words())
        states.append(found.state)
    assert states.count("altered") > 15 and states.count("intact") < 10


@pytest.mark.parametrize("name", ["photo.png", "photo.jpg", "photo.tif", "way.webp", "dance.gif", "dance.apng"])
def test_no_picture_is_decoded_as_it_may_claim_to_be_huge(name, folder, tmp_path, monkeypatch):
    WAYS[name](folder, tmp_path / name, None)
    for kind in (Image.Image, ImageFile.ImageFile):
        monkeypatch.setattr(kind, "load", None)
    found = verify_file(tmp_path / name)
    assert found.state == "intact" and len(found.marks) == 2


def test_facts_come_back_as_they_were_signed(tmp_path):
    save_photo(tmp_path / "a.png", np.zeros((8, 8, 3), np.uint8))
    facts = Facts("9.9", None, "c" * 64, ("d" * 64, "e" * 64, "f" * 64))
    sign(tmp_path / "a.png", "image/png", facts, keys.signing_key())
    found = verify_file(tmp_path / "a.png")
    assert found.credentials is not None and found.credentials.facts == facts and not found.marks
