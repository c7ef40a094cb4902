"""Hostile graphs are inert: refused in words, or run within limits; nothing crashes, hangs or is written.

`pytest -m slow` imports some 260 of them; the default suite a few.
"""

import os
import resource
import time
from pathlib import Path

import numpy as np
import pytest

from smoothswap_jax.weights.graphs import folder as graph_folder
from smoothswap_jax.weights.graphs.folder import import_graph
from smoothswap_jax.weights.graphs.process import GraphError, GraphProcess
from smoothswap_jax.weights.readers.errors import WeightFileError
from smoothswap_jax.weights.readers.graph import checked_graph

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
pytest.importorskip("ai_edge_litert")
from tests.weights import graph_files

KNOWN = {"role": "identity", "crop": "whole"}
MEMORY, SECONDS = 2 << 30, 10.0
IMAGE = np.zeros((1, 3, graph_files.SIDE, graph_files.SIDE), np.float32)


@pytest.fixture
def limits(monkeypatch):
    """Less memory and time than a network of faces may take."""
    strict = lambda *args: GraphProcess(*args, memory=MEMORY, start_seconds=SECONDS, batch_seconds=SECONDS)
    monkeypatch.setattr(graph_folder, "GraphProcess", strict)


def hostile(damaged: int) -> list[tuple[str, str, bytes]]:
    """(kind, name, bytes): those that claim what is not so, `damaged` files of each kind, and greedy ones."""
    rng = np.random.default_rng(0)
    found = [("onnx", name, data) for name, data, _ in graph_files.lying_onnx()]
    found += [("tflite", name, data) for name, data, _ in graph_files.lying_tflite()]
    found += [("onnx", f"damaged: {n}", d) for n, d in graph_files.damaged(graph_files.honest_onnx(), rng, damaged)]
    found += [("tflite", f"damaged: {n}", d) for n, d in graph_files.damaged(graph_files.honest_tflite(), rng, damaged)]
    return found + [("onnx", name, data) for name, data in graph_files.greedy_onnx()]


def outcomes(cases: list[tuple[str, str, bytes]], place: Path) -> dict[str, int]:
    """How many were kept and refused. Fails for an error without words, a long wait, much memory, or a new file."""
    counts = {"kept": 0, "refused": 0}
    (place / "work").mkdir()
    os.chdir(place / "work")
    resident = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for index, (kind, name, data) in enumerate(cases):
        path, out = place / f"{index}.{kind}", place / "out" / str(index)
        path.write_bytes(data)
        start, word, text = time.monotonic(), "kept", ""
        try:
            import_graph(kind, path, out, KNOWN)
        except (WeightFileError, GraphError, ValueError) as error:
            word, text = "refused", str(error)
            assert not out.exists(), name
            assert 10 < len(text) < 2000 and "\n" not in text, (name, text)
            assert path.name in text or text.startswith(f"{kind}: "), (name, text)
        seconds = time.monotonic() - start
        print(f"{kind} {name}: {word} in {seconds:.2f} s: {text[:150]}")
        assert seconds < 3 * SECONDS, name
        counts[word] += 1
        assert sorted(place.iterdir()) == sorted({place / "work", path, *([place / "out"] * (place / "out").exists())})
        assert not list((place / "work").iterdir()), name
        path.unlink()
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - resident) / 1024
    assert grown < 200, f"{grown:.0f} MiB"
    return counts


@pytest.mark.slow
def test_two_hundred_hostile_graphs_are_inert(tmp_path, limits, monkeypatch):
    monkeypatch.chdir(tmp_path)
    cases = hostile(80)
    assert len(cases) >= 200
    counts = outcomes(cases, tmp_path)
    print(counts)
    assert counts["refused"] > 150


def test_some_hostile_graphs_are_inert(tmp_path, limits, monkeypatch):
    monkeypatch.chdir(tmp_path)
    outcomes(hostile(12)[::8], tmp_path)


def test_a_graph_without_end_is_ended():
    data = graph_files.endless_onnx()
    checked_graph(data, "onnx", "loop.onnx")
    start = time.monotonic()
    process = GraphProcess("onnx", data, "loop.onnx", ["numbers"], batch_seconds=1.0)
    with pytest.raises(GraphError, match=r"loop.onnx: did not end within 1 s"):
        process.run(IMAGE)
    assert time.monotonic() - start < 20 and process.started is None


def test_memory_is_limited():
    """To what was given, though the machine has more."""
    data = graph_files.filled(700 << 20)  # 2.9 GB
    with pytest.raises(GraphError, match=r"filled.onnx: (cannot be run|the process that ran it ended)"):
        GraphProcess("onnx", data, "filled.onnx", ["numbers"], memory=MEMORY).run(IMAGE)
    small = graph_files.filled(1 << 20)
    assert GraphProcess("onnx", small, "filled.onnx", ["numbers"], memory=MEMORY).run(IMAGE)[0].shape == (1, 4)


def test_a_process_that_was_ended_from_outside_is_not_said_to_lack_memory_alone():
    process = GraphProcess("onnx", graph_files.honest_onnx(), "face.onnx", ["numbers"])
    process.run(IMAGE)
    process.started[0].kill()
    with pytest.raises(GraphError, match=r"ended by signal 9: perhaps from outside, or for lack of memory; its memory"):
        process.run(IMAGE)
    process.run(IMAGE)
    process.started[0].terminate()
    with pytest.raises(GraphError, match=r"face.onnx: the process that ran it ended by signal 15; its memory is limit"):
        process.run(IMAGE)
    process.run(IMAGE)
    process._answer = lambda back: {}
    with pytest.raises(GraphError, match=r"face.onnx: the process that ran it gave an answer that means nothing"):
        process.run(IMAGE)


def test_the_process_opens_nothing(tmp_path):
    """What a runtime that was taken over could do: no file, no socket."""
    worker = Path(graph_folder.__file__).with_name("worker.py").read_text()
    tried = f"""
import socket
for act in (lambda: open({str(tmp_path / "written")!r}, "w"), lambda: open("/etc/passwd"), socket.socket):
    try:
        act()
    except OSError:
        continue
    raise SystemExit("it could")
print("nothing")
"""
    import subprocess
    import sys

    code = worker.partition('if __name__ == "__main__":')[0] + "_confine(4 << 30)\n" + tried
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stdout == "nothing\n", done.stderr
    assert not (tmp_path / "written").exists()
