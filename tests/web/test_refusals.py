"""What the page's server refuses: mistakes, files, too much, and whoever is not the page."""

import os
import re
import socket

import pytest
from PIL import Image

from tests.inference import painted_videos as videos


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
        served.wait_for_files(1)
    served.wait_for_files(0)


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
