"""Malformed and malicious weight files: no code runs, nothing crashes, memory stays small, one error is raised.

All files are read in one process of their own. Its address space may not grow by more than 1 GiB (RLIMIT_AS), its
peak of resident memory (VmHWM of /proc, set back for each file) is reported, and an audit hook sees everything
that code could do: any import, process, socket or compilation, and any file opened but the one that is read.
"""

import json
import pickle
import subprocess
import sys
from pathlib import Path

import flax.serialization
import numpy as np
import pytest

from tests.places import ROOT
from tests.weights import hostile_containers, hostile_pickles, weight_files
from tests.weights.weight_files import pickled as p

pytestmark = pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="memory is measured in /proc")
GIB = 1 << 30
CUTS, FLIPS, SPLICES = 12, 24, 8


def honest_files() -> dict[str, bytes]:
    """One small file of each format that is read without a fault; damage is done to these."""
    values = np.arange(12, dtype="f").reshape(3, 4)
    tree = {"layer": {"weight": values, "bias": np.arange(3, dtype="f8")}, "step": 3}
    tensor = weight_files.rebuild_v2(weight_files.storage("FloatStorage", "k", 12), 0, (3, 2), (4, 2))
    legacy = weight_files.rebuild_v2(weight_files.storage("FloatStorage", "k", 12, view=None), 0, (3, 4), (4, 1))
    npy = weight_files.npy(shape="(3, 4)", data=values.tobytes())
    header = json.dumps({"w": {"dtype": "F32", "shape": [3, 4], "data_offsets": [0, 48]}})
    return {
        "torch zip": weight_files.zip_file(p.dict({"w": tensor}), {"k": values.tobytes()}),
        "torch legacy": weight_files.legacy_file(p.dict({"w": legacy}), {"k": values}),
        **{f"pickle {protocol}": pickle.dumps(tree, protocol) for protocol in (0, 1, 2, 4, 5)},
        "pickle of Python 2": weight_files.OLD_NUMPY_PICKLE,
        "npy": npy,
        "npz": weight_files.zip_of({"a.npy": npy, "b.npy": npy}),
        "npz, deflated": weight_files.zip_of({"a.npy": npy, "b.npy": npy}, 8),
        "safetensors": weight_files.safetensors(header, values.tobytes()),
        "msgpack": flax.serialization.msgpack_serialize(tree),
        "onnx": weight_files.onnx_model([weight_files.onnx_tensor("w", (3, 4), 1, values.tobytes())]),
    }


def damaged(data: bytes, rng: np.random.Generator) -> list[tuple[str, bytes]]:
    """Cut short, with flipped or replaced bytes, and with stretches doubled, left out or turned to zeros or ones."""
    found = [
        (f"cut to {cut}", data[:cut]) for cut in sorted({*rng.integers(0, len(data), CUTS).tolist(), len(data) - 1})
    ]
    for index in range(FLIPS):
        at, made = int(rng.integers(len(data))), bytearray(data)
        made[at] = int(rng.choice([0, 1, 0x7F, 0x80, 0xFF])) if index % 2 else made[at] ^ 1 << int(rng.integers(8))
        found.append((f"byte {at} is {made[at]:#x}", bytes(made)))
    for index in range(SPLICES):
        start = int(rng.integers(len(data)))
        end = min(len(data), start + int(rng.integers(1, 16)))
        middle = [data[start:end] * 2, b"", b"\xff" * (end - start), bytes(end - start)][index % 4]
        found.append((f"bytes {start} to {end}: {middle!r}", data[:start] + middle + data[end:]))
    return found


def hostile_files(command: str) -> list[tuple[str, bytes, str | None]]:
    """(name, contents, what the refusal must say or '' for any; None where reading is right, too)."""
    made = [
        *hostile_pickles.running_code(command),
        *hostile_pickles.admitted_functions_misused(),
        *hostile_pickles.objects_beside_tensors(),
        *hostile_pickles.taking_memory(),
        *hostile_pickles.broken(),
        *hostile_pickles.lying_tensors(),
        *hostile_pickles.lying_legacy_files(),
        *hostile_containers.lying_zips(),
        *hostile_containers.zip_bombs(),
        *hostile_containers.lying_npy_files(),
        *hostile_containers.lying_safetensors(),
        *hostile_containers.lying_msgpack(),
        *hostile_containers.lying_onnx(),
    ]
    return made


READER = """
import json, resource, sys, time
# The libraries whose files are read are not needed, nor is JAX.
sys.modules.update(dict.fromkeys(("torch", "safetensors", "onnx", "msgpack", "flax", "jax")))
from smoothswap_jax.weights.readers.checkpoint import read_checkpoint
from smoothswap_jax.weights.readers.errors import WeightFileError

folder, honest, count, room = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
for index in range(honest):  # what Python loads late (encodings) is loaded now
    read_checkpoint(f"{folder}/honest{index}")

seen, allowed = [], ""
def audit(event, arguments):
    if event == "open" and arguments[0] == allowed:
        return
    acts = ("open", "import", "exec", "compile", "os.", "subprocess.", "socket.", "ctypes.", "pickle.", "code.")
    if event.startswith(acts):
        seen.append(f"{event} {arguments!r:.200}")

def status(field):
    line = next(line for line in open("/proc/self/status") if line.startswith(field + ":"))
    return int(line.split()[1]) * 1024

limit = status("VmSize") + room
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
sys.addaudithook(audit)
for index in range(count):
    allowed, result = f"{folder}/{index}", ["read", ""]
    with open("/proc/self/clear_refs", "w") as refs:
        refs.write("5")  # the peak starts anew
    before = status("VmRSS")
    seen.clear()
    start = time.monotonic()
    try:
        read_checkpoint(allowed)
    except WeightFileError as error:
        result = ["refused", str(error)]
    except BaseException as error:
        result = ["other", f"{type(error).__name__}: {error}"[:300]]
    took, acts = time.monotonic() - start, list(seen)
    peak = status("VmHWM")
    sys.stdout.write(json.dumps([*result, took, peak, peak - before, acts]) + chr(10))
    sys.stdout.flush()
"""


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory):
    """For every file (name, wanted, outcome, message, seconds, peak, growth, acts), and the canary's path."""
    folder = tmp_path_factory.mktemp("hostile")
    canary = folder / "canary"
    honest = honest_files()
    rng = np.random.default_rng(7)
    cases = hostile_files(f"touch {canary}")
    cases += [(f"{name}, {what}", made, None) for name, data in honest.items() for what, made in damaged(data, rng)]
    for index, data in enumerate(honest.values()):
        (folder / f"honest{index}").write_bytes(data)
    for index, (_, data, _) in enumerate(cases):
        (folder / str(index)).write_bytes(data)
    done = subprocess.run(
        [sys.executable, "-c", READER, str(folder), str(len(honest)), str(len(cases)), str(GIB)],
        cwd=ROOT, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    names = [(name, wanted) for name, _, wanted in cases]
    crashed = f"ended with {done.returncode} at {names[len(lines)] if len(lines) < len(names) else 'the end'}"
    assert done.returncode == 0 and len(lines) == len(cases), f"{crashed}\n{done.stderr[-2000:]}"
    for index in range(len(cases)):
        (folder / str(index)).unlink()
    return [(*name, *line) for name, line in zip(names, lines, strict=True)], canary


def test_there_are_enough_of_them(outcomes):
    results, _ = outcomes
    by_hand = sum(wanted is not None for _, wanted, *_ in results)
    print(f"{len(results)} hostile files, {by_hand} of them made by hand to be refused")
    assert by_hand >= 200 and len(results) >= 600
    assert len({name for name, *_ in results}) > 0.95 * len(results)


def test_no_code_runs(outcomes):
    results, canary = outcomes
    assert not canary.exists()
    assert [(name, acts) for name, *_, acts in results if acts] == []


def test_each_gets_one_clear_error(outcomes):
    results, _ = outcomes
    assert [result for result in results if result[2] == "other"] == []
    unclear = [
        (name, message)
        for name, _, outcome, message, *_ in results
        if outcome == "refused"
        and (not ("found " in message and "; wanted " in message) or len(message) > 900 or not message.isprintable())
    ]
    assert unclear == []
    # These two are the last line of defence: a file that gets there was not understood.
    last = [
        (name, message)
        for name, _, _, message, *_ in results
        if "damage of an unknown kind" in message or "fit into memory" in message
    ]
    assert last == []


def test_each_is_refused_for_its_own_fault(outcomes):
    results, _ = outcomes
    wrong = [
        (name, wanted, outcome, message)
        for name, wanted, outcome, message, *_ in results
        if wanted is not None and (outcome != "refused" or wanted not in message)
    ]
    assert wrong == [], chr(10).join(map(repr, wrong))


def test_damage_is_noticed_more_often_than_not(outcomes):
    """Flipped bits of an element are not an error in formats without checksums; most else is."""
    results, _ = outcomes
    damage = [outcome for _, wanted, outcome, *_ in results if wanted is None]
    assert damage.count("refused") > 0.5 * len(damage)
    assert "read" in damage


def test_memory_and_time_are_bounded(outcomes):
    results, _ = outcomes
    largest, slowest = max(results, key=lambda result: result[6]), max(results, key=lambda result: result[4])
    peak = max(result[5] for result in results)
    print(f"peak memory of the process {peak / 2**20:.0f} MiB, most for {largest[0]!r}: {largest[6] / 2**20:.0f} MiB")
    print(f"slowest {slowest[0]!r}: {slowest[4]:.1f} s")
    assert peak < GIB, peak
    assert slowest[4] < 30, slowest


def test_the_pickles_would_run_code_elsewhere(tmp_path):
    """The control: Python's own unpickler falls for them."""
    fallen = 0
    for name, (body, _) in hostile_pickles.code_routes(f"touch {tmp_path / 'canary'}").items():
        (tmp_path / "w").write_bytes(p.whole(body))
        code = f"import pickle; pickle.load(open({str(tmp_path / 'w')!r}, 'rb'))"
        if "os.system" in name or "posix" in name or "eval" in name or "exec" in name or "subprocess" in name:
            subprocess.run([sys.executable, "-c", code], capture_output=True, timeout=60, check=False)
            fallen += (tmp_path / "canary").exists()
            (tmp_path / "canary").unlink(missing_ok=True)
    assert fallen >= 7
