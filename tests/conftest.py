"""The whole suite sees 8 virtual CPU devices; all of this must be set before JAX or TensorFlow starts."""

import atexit
import os
import shutil
import signal
import tempfile
from pathlib import Path

import pytest

# Half the compile time, which is most of the suite; numbers differ by rounding only.
FLAGS = "--xla_force_host_platform_device_count=8 --xla_backend_optimization_level=0"
# Eight devices on two busy cores may wait for each other longer than the default, after which XLA aborts the process.
FLAGS += " --xla_cpu_collective_call_terminate_timeout_seconds=600"
os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {FLAGS}"
os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
# Compiled programs are kept from run to run, and shared with the processes that tests start.
os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(Path(tempfile.gettempdir()) / "smoothswap-tests-xla"))
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")

# A shell starts what runs in the background with Ctrl-C ignored, and its children inherit that; some tests send it.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# What swaps are signed with is the tests' own.
os.environ["SMOOTHSWAP_CONFIG"] = tempfile.mkdtemp(prefix="smoothswap-tests-config-")
atexit.register(shutil.rmtree, os.environ["SMOOTHSWAP_CONFIG"], ignore_errors=True)


# Files go to the workers in the order in which they are collected: the longest first, so that none is left at the end.
LONGEST = (
    # First of all: exceptions of C++ get slow in a process with many compiled programs.
    "data/test_records",
    *(f"training/test_{name}" for name in ("processes", "resume", "meshes", "loop", "steps")),
    *("inference/test_export", "synthetic/test_world", "models/", "runtime/", "weights/"),
)


def pytest_collection_modifyitems(items):
    def place(item):
        name = item.nodeid.removeprefix("tests/")
        return next((i for i, start in enumerate(LONGEST) if name.startswith(start)), len(LONGEST))

    items.sort(key=place)


@pytest.fixture(scope="session")
def people(tmp_path_factory):
    """Faces as DIR/<person>/<photo>, to train tiny runs on; not to be changed."""
    from tests import tiny_runs

    return tiny_runs.make_people(tmp_path_factory.mktemp("data") / "people")


@pytest.fixture(scope="session")
def embedder(people, tmp_path_factory):
    """A trained run of stage 1, on two devices; not to be changed."""
    from smoothswap_jax.training import loop
    from tests import tiny_runs

    run = tmp_path_factory.mktemp("runs") / "embedder"
    loop.train(tiny_runs.config("embedder", people), run, devices=2)
    return run


@pytest.fixture(scope="session")
def swapper(people, embedder, tmp_path_factory):
    """A trained run of stage 2, on two devices; not to be changed."""
    from smoothswap_jax.training import loop
    from tests import tiny_runs

    run = tmp_path_factory.mktemp("runs") / "swapper"
    loop.train(tiny_runs.config("swapper", people, embedder), run, devices=2)
    return run
