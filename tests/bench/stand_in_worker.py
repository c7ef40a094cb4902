"""A worker of a session that measures nothing, and fails in all the ways in which one can. Without heavy imports, as
each is a new process."""

import os
import time

from smoothswap_jax.bench.accelerator.worker import failure


def work(connection, library, presets, embedder):
    os.setsid()
    while True:
        try:
            one = connection.recv()
        except EOFError:
            return
        if one.function == "die":
            os._exit(9)
        if one.function == "hang":
            time.sleep(600)
        found = {"status": "measured", "ms": 2.0, "process": os.getpid()}
        if one.function == "memory":
            found = failure(RuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 7 bytes"))
        if one.function == "raise":
            found = failure(ValueError("found 1, wanted 2"))
        if one.function == "absent":
            found = {"status": "not installed", "error": f"{library} is not installed"}
        connection.send(found)
