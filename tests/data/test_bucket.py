"""Shards in a bucket, read through a local server that implements the part of Google's protocol that reading needs."""

import hashlib
import http.server
import json
import os
import subprocess
import sys
import threading
import urllib.parse

import numpy as np
import pytest

from smoothswap_jax.bench.data import write_shard
from smoothswap_jax.prepare.crops import encoded
from tests.places import ROOT

CODE = """
import hashlib, json, sys
from tensorflow_datasets.core.utils.shard_utils import FileInstruction
from smoothswap_jax.data.records import Records
records = Records([FileInstruction(sys.argv[1], 0, 9, 9)])
assert len(records) == 9 and records.remote
print(json.dumps([hashlib.sha256(image).hexdigest() for image in records.images([7, 0, 8, 0])]))
"""


@pytest.fixture
def bucket(tmp_path):
    """(folder that the bucket holds, the server's address, its log)."""
    log: list[str] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            name = urllib.parse.unquote(self.path.split("/o/")[1].split("?")[0])
            data = (tmp_path / name).read_bytes()
            first, last = self.headers["Range"].removeprefix("bytes=").split("-")
            start = int(first) if first else max(0, len(data) - int(last))
            part = data[start : int(last) + 1 if first and last else None]
            log.append(f"{name} {self.headers['Range']}")
            self.send_response(206)
            self.send_header("Content-Length", str(len(part)))
            self.send_header("Content-Range", f"bytes {start}-{start + len(part) - 1}/{len(data)}")
            self.end_headers()
            self.wfile.write(part)

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield tmp_path, f"http://127.0.0.1:{server.server_port}", log
    server.shutdown()


def test_records_of_a_bucket_are_read_by_their_places(bucket):
    folder, address, log = bucket
    images = [encoded(np.full((16, 16, 3), 20 * i, np.uint8), "png") for i in range(9)]
    write_shard(folder / "shard", images)
    done = subprocess.run(
        [sys.executable, "-c", CODE, "gs://faces/shard"],
        cwd=ROOT,
        env={**os.environ, "CLOUD_STORAGE_EMULATOR_ENDPOINT": address},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == [hashlib.sha256(images[i]).hexdigest() for i in (7, 0, 8, 0)]
    assert log and all(line.startswith("shard bytes=") for line in log)
