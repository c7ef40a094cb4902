"""The page's server: what it swaps, how it tells of it, and how long it keeps it."""

import io
import re
import struct
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from smoothswap_jax.cli.main import MISTAKE, main
from smoothswap_jax.faces.animations import is_animation
from smoothswap_jax.faces.photos import load_photo, save_photo
from smoothswap_jax.faces.videos import read_frames
from smoothswap_jax.inference import first_look
from smoothswap_jax.inference.files import swap_files
from smoothswap_jax.provenance.credentials import read_credentials
from smoothswap_jax.provenance.marks import marks_in
from smoothswap_jax.runtime.files import sha256_of
from smoothswap_jax.web import intake, jobs
from smoothswap_jax.web.server import make_app
from tests.inference import painted_videos as videos
from tests.places import ROOT
from tests.web.conftest import Served


def test_a_photo_is_swapped_as_the_command_swaps_it(serve, faces, tmp_path):
    served = serve()
    told = served.swap(faces["source"], faces["both"], face=1)
    assert told["state"] == "done" and told["text"] == jobs.TOLD
    sources = [served.send(faces["source"])["id"] for _ in range(2)]
    wish = {"sources": sources, "target": served.send(faces["both"])["id"]}
    mean = served.until_over(served.ask("POST", "/jobs", wish).told["id"])
    assert mean["text"] == f"{jobs.TOLD}; the mean of 2 sources was taken, as photos of one person"
    answer = served.ask("GET", f"/files/{told['result']}?download")
    assert answer.headers["content-type"] == "image/png"
    assert answer.headers["content-disposition"] == 'attachment; filename="swapped.png"'
    (tmp_path / "got.png").write_bytes(answer.body)
    swap_files(videos.SWAPPER, faces["source"], faces["both"], tmp_path / "wanted.png", target_face=1)
    np.testing.assert_array_equal(load_photo(tmp_path / "got.png"), load_photo(tmp_path / "wanted.png"))
    assert served.ask("GET", f"/files/{told['preview']}").headers["content-type"] == "image/jpeg"


def test_what_is_sent_is_told_with_its_faces(serve, faces):
    served = serve()
    photo, film = served.send(faces["both"]), served.send(faces["film"])
    assert (photo["kind"], photo["width"], photo["height"]) == ("photo", 160, 96)
    assert [face["number"] for face in photo["faces"]] == [0, 1]
    with Image.open(io.BytesIO(served.ask("GET", f"/files/{photo['faces'][0]['picture']}").body)) as crop:
        assert crop.format == "JPEG"
    assert (film["kind"], film["frames"], len(film["faces"])) == ("video", videos.COUNT, 2)
    assert film["seconds"] == pytest.approx(videos.TIMES[-1] / 1000 + 0.04, abs=0.1)
    assert served.send(faces["none"])["faces"] == []


def test_a_video_is_swapped_with_progress_and_can_be_played_in_parts(serve, faces, tmp_path, monkeypatch):
    monkeypatch.setattr(first_look, "identities", lambda _, found: np.eye(128, dtype=np.float32)[: len(found)])
    served = serve()
    told = served.swap(faces["source"], faces["film"], face="all", strength=1)
    assert told["state"] == "done" and told["done"] == told["total"] == videos.COUNT
    whole = served.ask("GET", f"/files/{told['result']}")
    assert whole.headers["content-type"] == "video/mp4"
    (tmp_path / "got.mp4").write_bytes(whole.body)
    assert len(list(read_frames(str(tmp_path / "got.mp4")))) == videos.COUNT
    part = served.ask("GET", f"/files/{told['result']}", Range="bytes=100-199")
    assert part.status == 206 and part.body == whole.body[100:200]
    assert served.ask("GET", f"/files/{told['result']}", Range="bytes=" + ",".join(["0-9"] * 5000)).status == 416
    assert [path for path in served.folder.iterdir() if path.is_dir()] == []


def test_results_carry_credentials_or_have_them_beside(serve, faces, tmp_path, monkeypatch):
    pytest.importorskip("c2pa")
    monkeypatch.setattr(first_look, "identities", lambda _, found: np.eye(128, dtype=np.float32)[: len(found)])
    served = serve()
    told = served.swap(faces["source"], faces["both"])
    (tmp_path / "got.png").write_bytes(served.ask("GET", f"/files/{told['result']}").body)
    assert told["credentials"] == "" and read_credentials(tmp_path / "got.png").intact
    film = videos.film(tmp_path / "film.mkv", sound="pcm_s16le")  # which MP4 does not hold
    told = served.swap(faces["source"], film)
    assert "its credentials lie beside it, in swapped.mkv.c2pa: .mkv holds none" in told["text"]
    answer = served.ask("GET", f"/files/{told['credentials']}?download")
    assert 'filename="swapped.mkv.c2pa"' in answer.headers["content-disposition"]
    (tmp_path / "swapped.mkv").write_bytes(served.ask("GET", f"/files/{told['result']}").body)
    (tmp_path / "swapped.mkv.c2pa").write_bytes(answer.body)
    assert read_credentials(tmp_path / "swapped.mkv").intact
    assert served.ask("DELETE", f"/files/{told['result']}").status == 200
    assert served.ask("GET", f"/files/{told['credentials']}").status == 404
    assert not list(served.folder.glob("*.c2pa"))


def test_previews_of_what_came_out_are_told_as_swaps_too(serve, faces, tmp_path, monkeypatch):
    pytest.importorskip("c2pa")
    monkeypatch.setattr(first_look, "identities", lambda _, found: np.eye(128, dtype=np.float32)[: len(found)])
    served = serve()
    pictures = [Image.fromarray(one) for one in videos.frames(3)]
    pictures[0].save(tmp_path / "moves.gif", save_all=True, append_images=pictures[1:], duration=200, loop=0)
    shown = tmp_path / "shown.jpg"
    for target in (faces["both"], tmp_path / "moves.gif", faces["film"]):
        told = served.swap(faces["source"], target)
        shown.write_bytes(served.ask("GET", f"/files/{told['preview']}").body)
        assert marks_in(shown) == ("EXIF Software", "XMP DigitalSourceType"), target
        found = read_credentials(shown)
        assert found is not None and found.intact and found.facts is not None
        assert found.facts.target == sha256_of(str(target))
        assert not list(served.folder.glob(".*"))
    for sent in (served.send(faces["both"])["preview"], served.send(faces["both"])["faces"][0]["picture"]):
        shown.write_bytes(served.ask("GET", f"/files/{sent}").body)
        assert not marks_in(shown) and read_credentials(shown) is None


def test_of_a_picture_that_moves_all_is_swapped_and_the_first_is_a_source(serve, faces, tmp_path, monkeypatch):
    monkeypatch.setattr(first_look, "identities", lambda _, found: np.eye(128, dtype=np.float32)[: len(found)])
    served = serve()
    pictures = [Image.fromarray(one) for one in videos.frames(6)]
    pictures[0].save(tmp_path / "moves.gif", save_all=True, append_images=pictures[1:], duration=200, loop=0)
    told = served.send(tmp_path / "moves.gif")
    assert (told["kind"], told["frames"], told["seconds"], len(told["faces"])) == ("animation", 6, 1.2, 2)
    told = served.swap(faces["source"], tmp_path / "moves.gif", face="all")
    assert told["state"] == "done" and told["total"] == 6
    answer = served.ask("GET", f"/files/{told['result']}?download")
    assert answer.headers["content-type"] == "image/gif"
    assert answer.headers["content-disposition"] == 'attachment; filename="swapped.gif"'
    (tmp_path / "got.gif").write_bytes(answer.body)
    found = list(read_frames(str(tmp_path / "got.gif")))
    assert [round(1000 * float(one.time)) for one in found] == [200 * k for k in range(6)]
    assert served.swap(tmp_path / "moves.gif", faces["both"])["state"] == "done"
    monkeypatch.setattr(intake, "MOST_IN_MEMORY", 160 * 96 * 5)
    answer = served.ask("POST", "/files", (tmp_path / "moves.gif").read_bytes())
    assert answer.status == 413 and "found 6 frames of 160x96 pixels; wanted at most" in answer.told["error"]
    monkeypatch.undo()
    answer = serve(seconds=0.9).ask("POST", "/files", (tmp_path / "moves.gif").read_bytes())
    assert answer.status == 413 and "found a video of 1 s; wanted at most 0.9" in answer.told["error"]


@pytest.mark.parametrize("suffix", ["gif", "webp"])
def test_a_file_that_could_move_and_holds_one_picture_is_a_photo_and_stays_what_it_was(
    serve, faces, tmp_path, monkeypatch, suffix
):
    monkeypatch.setattr(first_look, "identities", lambda _, found: np.eye(128, dtype=np.float32)[: len(found)])
    served = serve(seconds=0.05)
    still = tmp_path / f"still.{suffix}"
    Image.fromarray(videos.frames(1)[0]).save(still, lossless=True)
    if suffix == "webp":
        still.write_bytes(as_only_frame(still.read_bytes(), videos.WIDTH, videos.HEIGHT))
    assert is_animation(str(still))
    sent = served.send(still)
    assert sent["kind"] == "photo" and not {"frames", "seconds"} & set(sent)
    magenta, cyan = (served.swap(faces["source"], still, face=face) for face in (0, 1))
    assert magenta["state"] == cyan["state"] == "done"
    answers = [served.ask("GET", f"/files/{told['result']}") for told in (magenta, cyan)]
    assert {answer.headers["content-type"] for answer in answers} == {f"image/{suffix}"}
    assert answers[0].body != answers[1].body


def as_only_frame(webp: bytes, width: int, height: int) -> bytes:
    """A still WebP as the one frame, of 100 ms, of a WebP that moves (RFC 9649)."""
    size = (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    chunk = lambda name, data: name + struct.pack("<I", len(data)) + data
    frame = bytes(6) + size + (100).to_bytes(3, "little") + b"\0" + webp[12:]
    body = b"WEBP" + chunk(b"VP8X", b"\2\0\0\0" + size) + chunk(b"ANIM", bytes(6)) + chunk(b"ANMF", frame)
    return chunk(b"RIFF", body)


def test_damaged_pictures_that_move_are_refused_in_words(serve):
    served = serve()
    pictures, data = [Image.fromarray(one) for one in videos.frames(3)], io.BytesIO()
    pictures[0].save(data, "PNG", save_all=True, append_images=pictures[1:])
    cut = data.getvalue()[: data.getvalue().index(b"IDAT") + 100]
    data = io.BytesIO()
    pictures[0].save(data, "AVIF", save_all=True, append_images=pictures[1:])
    ticks = data.getvalue().index(b"mdhd") + 4
    ticks += 4 + (16 if data.getvalue()[ticks] else 8)
    without_ticks = data.getvalue()[:ticks] + bytes(4) + data.getvalue()[ticks + 4 :]
    for body in (cut, without_ticks):
        answer = served.ask("POST", "/files", body)
        assert answer.status == 415 and answer.told["error"].startswith("the picture: found")


def test_a_job_keeps_what_it_needs(serve, faces, monkeypatch):
    """The face of a video's first frame is a file of its own, by which the person is told."""
    served = serve(minutes=60)
    served.waits.clear()
    source, film = (served.send(faces[name]) for name in ("source", "film"))
    job = served.ask("POST", "/jobs", {"sources": [source["id"]], "target": film["id"], "face": 0}).told["id"]
    later = time.monotonic() + 7200
    monkeypatch.setattr("smoothswap_jax.web.jobs.time.monotonic", lambda: later)
    served.workshop.sweep()
    for name in (source["id"], film["id"], film["preview"], film["faces"][0]["picture"]):
        assert served.ask("GET", f"/files/{name}").status == 200
    served.ask("DELETE", f"/jobs/{job}")


def test_answers_allow_browsers_nothing_else(serve):
    served = serve()
    for path in ("/", "/page.js", "/page.css", "/files/none"):
        headers = served.ask("GET", path).headers
        assert headers["x-content-type-options"] == "nosniff" and headers["cache-control"] == "no-store"
        assert (
            "default-src 'none'" in headers["content-security-policy"]
            and "unsafe" not in headers["content-security-policy"]
        )
    page = served.ask("GET", "/").body.decode()
    assert "<script src=" in page and not re.search(r"https?://|style=|onclick", page)


def test_a_queue_is_limited_and_a_job_cancelled_wherever_it_is(serve, faces):
    served = serve(waiting=1)
    served.waits.clear()
    source, film, both = (served.send(faces[name])["id"] for name in ("source", "film", "both"))
    begin = lambda target: served.ask("POST", "/jobs", {"sources": [source], "target": target, "face": "all"})
    running = begin(film).told["id"]
    while served.ask("GET", f"/jobs/{running}").told["state"] != "running":
        time.sleep(0.05)
    waiting = begin(both).told["id"]
    refused = begin(both)
    assert refused.status == 503 and refused.told["error"] == "found 1 jobs waiting; wanted fewer: try again in a while"
    assert served.ask("DELETE", f"/jobs/{waiting}").told["state"] == "cancelled"
    served.ask("DELETE", f"/jobs/{running}")
    served.waits.set()
    assert served.until_over(running)["state"] == "cancelled"
    assert served.until_over(begin(both).told["id"])["state"] == "done"
    assert not any(path.is_dir() for path in served.folder.iterdir())


def blocks_of_the_documents() -> tuple[list[list[str]], str]:
    """The cells of the table of routes, and the Python of the example, of docs/swapping.md, "A page"."""
    text = (ROOT / "docs" / "swapping.md").read_text("utf-8")
    section = re.search(r"^## A page\n(.*?)^## ", text, re.M | re.S)[1]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in section.splitlines() if line[:1] == "|"]
    (example,) = re.findall(r"```python\n(.*?)```", section, re.S)
    return rows[2:], example


def test_every_route_is_in_the_documents_and_the_other_way_round(tmp_path):
    rows, _ = blocks_of_the_documents()
    told = [(method.strip("`"), path) for method, paths, *_ in rows for path in re.findall(r"`(.*?)`", paths)]
    app = make_app(videos.SWAPPER, tmp_path, []).app
    assert sorted(told) == sorted((method, one.path) for one in app.routes for method in one.methods - {"HEAD"})


def test_what_the_documents_say_is_told_is_told(serve, faces):
    served, (rows, _) = serve(), blocks_of_the_documents()
    cells = {(method.strip("`"), paths.strip("`")): (takes, returns) for method, paths, takes, returns, _ in rows}
    words = lambda cell: set(re.findall(r"`(\w+)`", cell))
    photo, film = served.send(faces["both"]), served.send(faces["film"])
    kinds = {"photo", "video", "animation"}
    assert words(cells["POST", "/files"][1]) - kinds == {*photo, *film, *photo["faces"][0]}
    job = served.swap(faces["source"], faces["both"], face="left", strength=0.5)
    states = {"waiting", "running", "failed", "cancelled"}
    assert words(cells["POST", "/jobs"][1]) - states == set(job)
    assert words(cells["POST", "/jobs"][0]) >= {"sources", "target", "face", "strength", "largest", "left", "all"}


def test_the_example_of_the_documents_works(serve, faces, tmp_path, monkeypatch):
    served = serve()
    monkeypatch.chdir(tmp_path)
    for name, path in (("a.jpg", faces["source"]), ("b.jpg", faces["both"])):
        save_photo(name, load_photo(path))
    _, example = blocks_of_the_documents()
    assert "127.0.0.1:7860" in example
    exec(example.replace("7860", str(served.port)), {"__name__": "example"})
    swap_files(videos.SWAPPER, "a.jpg", "b.jpg", "wanted.jpg", target_face="all")
    np.testing.assert_array_equal(load_photo("c.jpg"), load_photo("wanted.jpg"))


def test_all_errors_are_told_in_words_as_json(serve, monkeypatch):
    served = serve()
    for method, path, status, said in (
        ("GET", "/nothing", 404, "found no /nothing here; wanted one of the page's own addresses"),
        ("PUT", "/files", 405, "found PUT /files; wanted POST"),
        ("POST", "/jobs/x", 405, "found POST /jobs/x; wanted"),
        ("GET", "/jobs/x", 404, "found no such job"),
    ):
        answer = served.ask(method, path)
        assert answer.status == status and answer.told["error"].startswith(said), answer.body
    assert served.ask("PUT", "/files").headers["allow"] == "POST"
    monkeypatch.setattr("smoothswap_jax.web.server.take_in", lambda *_: 1 / 0)
    answer = served.ask("POST", "/files", b"x")
    assert answer.status == 500 and answer.told["error"] == "something went wrong here; the server's log says what"
    assert list(served.folder.iterdir()) == []


def test_two_users_have_their_own_results(serve, faces):
    served = serve()
    source = served.send(faces["source"])["id"]
    targets = [served.send(faces["both"])["id"] for _ in range(2)]
    jobs = [
        served.ask("POST", "/jobs", {"sources": [source], "target": target, "face": face}).told["id"]
        for face, target in enumerate(targets)
    ]
    results = [served.ask("GET", f"/files/{served.until_over(job)['result']}").body for job in jobs]
    assert len({*targets, *jobs, source}) == 5 and min(map(len, targets)) >= 22
    assert results[0] != results[1]


def test_what_nobody_uses_is_deleted(serve, faces):
    served = serve(minutes=0.01)
    told = served.swap(faces["source"], faces["both"])
    assert len(list(served.folder.iterdir())) > 5
    served.wait_for_files(0)
    assert served.ask("GET", f"/files/{told['result']}").status == 404
    time.sleep(2)  # asking keeps a job
    assert served.ask("GET", f"/jobs/{told['id']}").status == 404


def test_a_user_can_delete_a_file_at_once(serve, faces):
    served = serve()
    sent = served.send(faces["both"])
    assert served.ask("DELETE", f"/files/{sent['id']}").status == 200
    assert list(served.folder.iterdir()) == []
    assert served.ask("DELETE", f"/files/{sent['id']}").status == 404


def test_the_folder_is_gone_when_the_server_is(serve, faces):
    served: Served = serve()
    served.send(faces["both"])
    served.workshop.close()
    served.workshop.store.close()
    assert not served.folder.exists()


def test_the_command_checks_its_options(capsys, tmp_path: Path):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").write_text("mine")
    for given, said in (
        (["--port=70000"], "--port: found 70000; wanted 0 to 65535"),
        (["--seconds=0"], "--seconds: found 0; wanted more than 0"),
        ([f"--folder={tmp_path}/full"], "exists already"),
    ):
        assert main(["serve", *given]) == MISTAKE
        assert said in capsys.readouterr().err
