"""A local server with the part of Google Cloud Storage's JSON protocol that TensorFlow and TensorStore use.

Objects lie in memory, all buckets exist, and nobody is asked who they are.
"""

import base64
import contextlib
import datetime
import hashlib
import http.server
import itertools
import json
import re
import ssl
import threading
import urllib.parse
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID


class Stored(NamedTuple):
    data: bytes
    generation: int


class Bucket:
    """What a server holds: `objects` by 'bucket/name', and the `requests` that it got."""

    def __init__(self, certificate: Path) -> None:
        self.certificate = certificate
        self.objects: dict[str, Stored] = {}
        self.requests: list[str] = []
        self.uploads: dict[str, str] = {}
        self.numbers = itertools.count(1)
        self.lock = threading.Lock()
        self.address = ""

    def environment(self) -> dict[str, str]:
        """Variables by which TensorFlow and TensorStore find the server."""
        return {
            "TENSORSTORE_GCS_HTTP_URL": self.address,
            "STORAGE_EMULATOR_HOST": self.address,
            "https_proxy": self.address,  # TensorFlow knows only the true address
            "no_proxy": "127.0.0.1",
            "CURL_CA_BUNDLE": str(self.certificate),
            "GOOGLE_AUTH_TOKEN_FOR_TESTING": "nobody",
            "NO_GCE_CHECK": "true",
        }

    def put(self, name: str, data: bytes) -> dict:
        self.objects[name] = Stored(data, next(self.numbers))
        return self.facts(name)

    def facts(self, name: str) -> dict:
        data, generation = self.objects[name]
        bucket, _, rest = name.partition("/")
        return {
            "kind": "storage#object",
            "bucket": bucket,
            "name": rest,
            "size": str(len(data)),
            "generation": str(generation),
            "metageneration": "1",
            "updated": "2026-01-01T00:00:00.000Z",
            "timeCreated": "2026-01-01T00:00:00.000Z",
            "md5Hash": base64.b64encode(hashlib.md5(data).digest()).decode(),
        }

    def listed(self, bucket: str, query: dict[str, str]) -> dict:
        prefix, delimiter = query.get("prefix", ""), query.get("delimiter", "")
        items, prefixes = [], set()
        for name in sorted(self.objects):
            rest = name.removeprefix(f"{bucket}/")
            if rest == name or not rest.startswith(prefix):
                continue
            head, found, _ = rest[len(prefix) :].partition(delimiter) if delimiter else (rest, "", "")
            if found:
                prefixes.add(prefix + head + delimiter)
            elif query.get("startOffset", "") <= rest < query.get("endOffset", "\U0010ffff"):
                items.append(self.facts(name))
        return {"kind": "storage#objects", "items": items, "prefixes": sorted(prefixes)}


def handler_of(bucket: Bucket) -> type[http.server.BaseHTTPRequestHandler]:
    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def answer(self, code: int, body: bytes | dict = b"", **headers: str) -> None:
            body = json.dumps(body).encode() if isinstance(body, dict) else body
            self.send_response(code)
            for name, value in headers.items():
                self.send_header(name.replace("_", "-"), value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def sent(self) -> bytes:
            """The body of a request. TensorFlow sends its own in chunks, with the length of the whole beside."""
            if self.headers.get("Transfer-Encoding") != "chunked":
                return self.rfile.read(int(self.headers.get("Content-Length") or 0))
            parts = []
            while size := int(self.rfile.readline(), 16):
                parts.append(self.rfile.read(size))
                self.rfile.readline()
            self.rfile.readline()
            return b"".join(parts)

        def handle_one(self) -> None:
            body = self.sent()
            path, _, query_text = self.path.partition("?")
            query = dict(urllib.parse.parse_qsl(query_text))
            with bucket.lock:
                bucket.requests.append(f"{self.command} {self.path}")
                self.respond(path, query, body)

        def respond(self, path: str, query: dict[str, str], body: bytes) -> None:
            if self.command == "PUT":  # the bytes of a resumable upload
                self.answer(200, bucket.put(bucket.uploads.pop(query["upload_id"]), body))
                return
            path = re.sub("^(/upload|/download)?(/storage/v1)?", "", path)
            if found := re.fullmatch("/b/([^/]+)", path):
                self.answer(200, {"kind": "storage#bucket", "name": found[1], "location": "HERE"})
            elif path.endswith("/storageLayout"):
                self.answer(200, {"hierarchicalNamespace": {"enabled": False}})
            elif found := re.fullmatch("/b/([^/]+)/o", path):
                self.of_bucket(found[1], query, body)
            elif found := re.fullmatch("/b/([^/]+)/o/([^/]+)/rewriteTo/b/([^/]+)/o/([^/]+)", path):
                first, second = (f"{found[i]}/{urllib.parse.unquote(found[i + 1])}" for i in (1, 3))
                if first in bucket.objects:
                    facts = bucket.put(second, bucket.objects[first].data)
                    self.answer(200, {"kind": "storage#rewriteResponse", "done": True, "resource": facts})
                else:
                    self.answer(404)
            elif found := re.fullmatch("(?:/b)?/([^/]+)(?:/o)?/(.+)", path):
                self.of_object(f"{found[1]}/{urllib.parse.unquote(found[2])}", query)
            else:
                self.answer(400)

        def of_bucket(self, name: str, query: dict[str, str], body: bytes) -> None:
            if self.command == "GET":
                self.answer(200, bucket.listed(name, query))
                return
            place = f"{name}/{query['name']}"
            there = bucket.objects.get(place, Stored(b"", 0)).generation
            if query.get("ifGenerationMatch", str(there)) != str(there):
                self.answer(412)
            elif query["uploadType"] == "resumable":
                number = str(next(bucket.numbers))
                bucket.uploads[number] = place
                self.answer(200, Location=f"{bucket.address}{self.path}&upload_id={number}")
            else:
                self.answer(200, bucket.put(place, body))

        def of_object(self, name: str, query: dict[str, str]) -> None:
            if name not in bucket.objects:
                self.answer(404)
            elif self.command == "DELETE":
                del bucket.objects[name]
                self.answer(204)
            elif query.get("alt") != "media" and ("fields" in query or "alt" in query):
                self.answer(200, bucket.facts(name))
            else:
                self.send_data(*bucket.objects[name])

        def send_data(self, data: bytes, generation: int) -> None:
            headers = {"x_goog_generation": str(generation)}
            wanted = re.fullmatch(r"bytes=(\d*)-(\d*)", self.headers.get("Range") or "")
            if wanted is None:
                self.answer(200, data, **headers)
                return
            first = int(wanted[1]) if wanted[1] else max(0, len(data) - int(wanted[2]))
            last = min(int(wanted[2]), len(data) - 1) if wanted[1] and wanted[2] else len(data) - 1
            if first >= len(data):
                self.answer(416)
                return
            where = f"bytes {first}-{last}/{len(data)}"
            self.answer(206, data[first : last + 1], Content_Range=where, **headers)

        do_GET = do_POST = do_PUT = do_DELETE = handle_one

        def do_CONNECT(self) -> None:
            """Google itself, to a client that takes this server for its way there."""
            self.send_response(200)
            self.end_headers()
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(bucket.certificate)
            self.connection = context.wrap_socket(self.connection, server_side=True)
            self.rfile, self.wfile = self.connection.makefile("rb"), self.connection.makefile("wb", buffering=0)
            self.close_connection = False

        def log_message(self, *_: object) -> None:
            pass

    return Handler


def make_certificate(file: Path) -> None:
    """A key and a certificate, signed by itself, for Google's names."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "fake bucket")])
    names = [x509.DNSName(host) for host in ("www.googleapis.com", "storage.googleapis.com")]
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    encoding = serialization.Encoding.PEM
    secret = key.private_bytes(encoding, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    file.write_bytes(secret + certificate.public_bytes(encoding))


@contextlib.contextmanager
def fake_bucket(certificate: Path) -> Iterator[Bucket]:
    """A server that runs while the block does. certificate: a file for it to make."""
    make_certificate(certificate)
    bucket = Bucket(certificate)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler_of(bucket))
    bucket.address = f"http://127.0.0.1:{server.server_port}"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield bucket
    finally:
        server.shutdown()
