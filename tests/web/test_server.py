"""The page's server: what it swaps, what it refuses, and what it keeps to itself."""

import io
import os
import re
import socket
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
from smoothswap_jax.web import intake
from smoothswap_jax.web.server import make_app
from tests.inference import painted_videos as videos
from tests.places import ROOT
from tests.web.conftest import Served


def test_a_photo_is_swapped_as_the_command_swaps_it(serve, faces, tmp_path):
    served = serve()
    told = served.swap(faces["source"], faces["both"], face=1)
    assert told["state"] == "done" and told["text"] == ""
    sources = [served.send(faces["source"])["id"] for _ in range(2)]
    wish = {"sources": sources, "target": served.send(faces["both"])["id"]}
    mean = served.until_over(served.ask("POST", "/jobs", wish).told["id"])
    assert mean["text"] == "the mean of 2 sources was taken, as photos of one person"  # without the command's options
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


def test_mistakes_are_told_in_words_without_paths(serve, faces, tmp_path):
    served = serve(sources=2)
    source, none, both = (served.send(faces[name])["id"] for name in ("source", "none", "both"))
    told = served.ask("POST", "/jobs", {"sources": [source], "target": none}).told
    failed = served.until_over(told["id"])
    assert failed["state"] == "failed" and failed["text"].startswith("the target: found no face")
    assert str(served.folder) not in failed["text"] and none not in failed["text"]
    for wish, said in (
        ({"sources": [], "target": both}, "sources: found []; wanted 1 to 2 photos"),
        ({"sources": [source] * 3, "target": both}, "wanted 1 to 2 photos"),
        ({"sources": [source], "target": 3}, "other things than names"),
        ({"sources": [source], "target": both, "face": 2}, "face: found 2; wanted largest, left, all, or 0 to 1"),
        ({"sources": [source], "target": both, "face": "/etc/passwd"}, "face: found '/etc/passwd'; wanted"),
        ({"sources": [source], "target": both, "face": True}, "face: found True"),
        ({"sources": [source], "target": both, "strength": 2}, "strength: found 2; wanted 0 to 1"),
        ({"sources": [source], "target": both, "strength": None}, "strength: found None"),
        ([source], "found a request that is a list"),
        (b"{", "found a request that is no JSON"),
        (b" " * 20_000, "more than 10000 bytes"),
    ):
        answer = served.ask("POST", "/jobs", wish)
        assert answer.status in (400, 413) and said in answer.told["error"]
    for wish in ({"sources": ["nobody"], "target": both}, {"sources": [source], "target": "../../etc/passwd"}):
        assert served.ask("POST", "/jobs", wish).status == 404
    assert served.ask("GET", "/jobs/nobody").status == 404


@pytest.mark.parametrize(
    "content, status, said",
    [
        (b"", 400, "found an empty file"),
        (b"<svg xmlns='http://www.w3.org/2000/svg' onload='alert(1)'/>", 415, "found neither a photo nor a video"),
        (b"<!doctype html><script>alert(1)</script>", 415, "neither a photo nor a video"),
        (b"#EXTM3U\nhttp://169.254.169.254/latest\n", 415, "neither a photo nor a video"),
        (b"\x89PNG\r\n\x1a\n" + b"\0" * 50, 415, "the photo: "),
        (b"\x1aE\xdf\xa3" + b"\0" * 500, 415, "the video: found no video that can be opened"),
        (b"x" * 300_000, 413, "found a file of more than 0.2 MB"),
    ],
)
def test_files_that_are_not_taken(serve, content, status, said):
    served = serve(megabytes=0.2)
    answer = served.ask("POST", "/files", content)
    assert answer.status == status and said in answer.told["error"]
    assert list(served.folder.iterdir()) == []


def test_limits_of_pixels_seconds_and_the_folder(serve, faces, tmp_path):
    small = serve(megapixels=0.01)
    for suffix in ("png", "gif", "webp", "apng"):
        pictures = [Image.fromarray(one) for one in videos.frames(2 if suffix != "png" else 1)]
        pictures[0].save(tmp_path / f"a.{suffix}", save_all=True, append_images=pictures[1:])
        answer = small.ask("POST", "/files", (tmp_path / f"a.{suffix}").read_bytes())
        said = "found 160x96 pixels; wanted at most 10,000 in all, a higher limit or a smaller copy"
        assert answer.status == 413 and answer.told["error"].endswith(said)
    short = serve(seconds=1).ask("POST", "/files", faces["film"].read_bytes())
    assert short.status == 413 and re.search(r"found a video of [12] s; wanted at most 1", short.told["error"])
    full = serve(gigabytes=1e-7)
    full.send(faces["both"])
    assert full.ask("POST", "/files", faces["both"].read_bytes()).status == 507


def test_a_body_without_a_length_is_counted(serve):
    """In chunks, of which the header says nothing."""
    served = serve(megabytes=0.05)
    with socket.create_connection(("127.0.0.1", served.port)) as line:
        line.sendall(
            f"POST /files HTTP/1.1\r\nHost: 127.0.0.1:{served.port}\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
        )
        try:
            for _ in range(40):
                line.sendall(b"2000\r\n" + b"x" * 0x2000 + b"\r\n")
        except OSError:
            pass  # it no longer listens
        assert b" 413 " in line.recv(200)
    assert list(served.folder.iterdir()) == []


def test_a_line_that_breaks_leaves_nothing(serve):
    served = serve()
    with socket.create_connection(("127.0.0.1", served.port)) as line:
        line.sendall(
            f"POST /files HTTP/1.1\r\nHost: 127.0.0.1:{served.port}\r\nContent-Length: 999\r\n\r\nabc".encode()
        )
        time.sleep(0.3)
    time.sleep(0.5)
    assert list(served.folder.iterdir()) == []


@pytest.mark.parametrize(
    "path",
    ["/files/../../../../etc/passwd", "/files/..%2f..%2fetc%2fpasswd", "/files/%2e%2e/kept0", "//etc/passwd", "/files/",
     "/page.html", "/server.py", "/static/../server.py", "/files/page.js", "/files/%00", "/file=/etc/passwd"],
)  # fmt: skip
def test_nothing_but_the_page_and_what_was_sent_is_served(serve, path):
    assert serve().ask("GET", path).status in (400, 404, 405)


def test_a_link_in_the_folder_is_not_followed(serve, faces):
    served = serve()
    os.symlink("/etc/passwd", served.folder / "link")
    assert served.ask("GET", "/files/link").status == 404


@pytest.mark.parametrize("name", ["evil.example", "127.0.0.1", "127.0.0.1:1", "localhost.evil.example", ""])
def test_another_host_is_refused_before_anything_is_done(serve, name):
    served = serve()
    for method, path in (("GET", "/"), ("POST", "/files"), ("GET", "/jobs/x")):
        assert served.ask(method, path, b"x" if method == "POST" else None, Host=name).status in (400, 421)


@pytest.mark.parametrize("origin", ["http://evil.example", "null", "https://evil.example:7860", "http://127.0.0.1:1"])
def test_another_page_is_refused(serve, faces, origin):
    served = serve()
    assert served.ask("POST", "/files", faces["both"].read_bytes(), Origin=origin).status == 403
    assert list(served.folder.iterdir()) == []
    own = served.ask("POST", "/files", faces["both"].read_bytes(), Origin=f"http://127.0.0.1:{served.port}")
    assert own.status == 200


def test_a_proxy_may_call_it_by_a_name_that_is_given(serve, faces):
    served = serve()
    served.own.hosts |= {"studio.local"}
    for host in ("studio.local", f"127.0.0.1:{served.port}"):  # kept by the proxy, or not
        answer = served.ask("POST", "/files", faces["both"].read_bytes(), Host=host, Origin="https://studio.local")
        assert answer.status == 200


def test_requests_that_are_no_requests(serve, faces):
    served = serve()
    told = served.swap(faces["source"], faces["both"])
    source = served.send(faces["source"])["id"]
    for method, path, body, headers, status in (
        ("POST", "/jobs", {"sources": [source], "target": told["result"]}, {}, 400),
        ("POST", "/jobs", {"sources": [told["result"]], "target": source}, {}, 400),
        ("POST", "/jobs", {"sources": [source], "target": told["preview"]}, {}, 400),
        ("POST", "/jobs", b"[" * 9000, {}, 400),
        ("GET", "/", None, {"Origin": "http://["}, 403),
        ("OPTIONS", "/files", None, {}, 405),
    ):
        answer = served.ask(method, path, body, **headers)
        assert answer.status == status, (path, body)
        assert answer.headers["x-content-type-options"] == "nosniff"


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
    for _ in range(100):
        if not list(served.folder.iterdir()):
            break
        time.sleep(0.1)
    assert list(served.folder.iterdir()) == []
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
