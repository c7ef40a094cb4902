"""The layout of the package, enforced: imports run downhill, and a library stays in the rooms that own it.

Files are parsed, never imported, so a violation is found on a machine that lacks the library. When a test
here fails, move the code to the room it belongs to; give a new file of the package its place in `ROOMS`.
"""

import ast
import subprocess
import sys
from dataclasses import dataclass
from pathlib import PurePosixPath

import pytest

from tests.places import ROOT

PACKAGE = "smoothswap_jax"

# Ground floor first: a room imports only from rooms named before it, or from itself. A room is a folder or a file of
# the package; there are no exceptions.
ROOMS = (
    "config",
    "models",
    "runtime",
    "metrics",
    "synthetic",
    "faces",
    "provenance",
    "weights",
    "data",
    "prepare",
    "training",
    "inference",
    "web",
    "evaluation",
    "bench",
    "demo",
    "reproduce",
    "cli",
    "__main__",
)
# Within a room that has many parts the same holds, by the second part of the name.
FLOORS = {
    "evaluation": (
        "cache",
        "progress",
        "settings",
        "galleries",
        "pairs",
        "judges",
        "search",
        "methods",
        "features",
        "measures",
        "checks",
        "report",
        "protocols",
        "results",
        "evaluate",
        "compare",
    ),
}
# Rooms that may use less than what lies below them.
NOTHING: set[str] = set()
ONLY = {
    "config": NOTHING,
    "models": NOTHING,
    "runtime": {"config"},
    "metrics": NOTHING,
    "synthetic": NOTHING,
    "faces": NOTHING,
    "provenance": {"runtime", "faces"},
    "weights": {"models", "runtime"},
    "__init__": NOTHING,
}

# It names the package's public functions for the type checker, and imports them when they are first used.
PUBLIC_API = PurePosixPath(PACKAGE, "__init__.py")

# Functions of arrays: no config, path, device, storage or data library is seen in these places.
PURE = tuple(
    f"{PACKAGE}/{place}" for place in ("models", "metrics", "synthetic", "faces/grid.py", "training/losses.py")
)
# What reads and builds the arrays that people are made of.
ASSETS = (f"{PACKAGE}/synthetic/heads.py", f"{PACKAGE}/synthetic/make_heads.py")
IMPURE_NAMES = (
    *("ml_collections", "absl", "clu", "etils", "orbax", "tensorflow", "tensorflow_datasets"),
    *("pathlib", "os", "io", "shutil", "tempfile", "glob", "argparse"),
    *("jax.devices", "jax.local_devices", "jax.device_count", "jax.local_device_count", "jax.device_put"),
    *("jax.process_index", "jax.process_count", "jax.distributed"),
)
MESH_NAMES = (
    *("jax.sharding", "jax.make_mesh", "jax.set_mesh", "jax.shard_map", "jax.NamedSharding", "jax.P"),
    *("jax.experimental.mesh_utils", "jax.experimental.shard_map", "jax.experimental.pjit"),
)
# (names, files and folders that may use them)
OWNED = (
    (("orbax",), (f"{PACKAGE}/runtime/checkpoint.py",)),
    (("tensorflow", "tensorflow_datasets"), (f"{PACKAGE}/data", f"{PACKAGE}/prepare", f"{PACKAGE}/bench")),
    (MESH_NAMES, (f"{PACKAGE}/runtime", f"{PACKAGE}/data")),
    (
        ("av",),
        tuple(
            f"{PACKAGE}/faces/{name}.py"
            for name in ("videos", "video_container", "movie", "film", "video_encoding", "video_writing")
        ),
    ),
    (("c2pa",), (f"{PACKAGE}/provenance/credentials.py",)),
    (("cryptography",), (f"{PACKAGE}/provenance/keys.py",)),
    (("flax.training",), ()),  # superseded by optax and orbax
)
# TensorFlow takes two seconds and may be absent: only these import it before a function of theirs is called.
EAGER_TENSORFLOW = (f"{PACKAGE}/data/builders.py", f"{PACKAGE}/prepare/builder.py")


@dataclass(frozen=True)
class Use:
    """A dotted name that a file imports, or reaches as an attribute of a module."""

    name: str
    line: int
    imported: bool
    lazy: bool  # inside a function, or for the type checker only


class _Uses(ast.NodeVisitor):
    def __init__(self, path: PurePosixPath) -> None:
        self.folder = path.parts[:-1]
        self.found: list[Use] = []
        self.depth = 0

    def _add(self, name: str, node: ast.stmt | ast.expr, imported: bool = True) -> None:
        self.found.append(Use(name, node.lineno, imported, self.depth > 0))

    def visit_Import(self, node: ast.Import) -> None:
        for alias in node.names:
            self._add(alias.name, node)

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        above = self.folder[: len(self.folder) + 1 - node.level] if node.level else ()
        base = ".".join((*above, *filter(None, [node.module])))
        for alias in node.names:
            self._add(f"{base}.{alias.name}", node)

    def visit_Call(self, node: ast.Call) -> None:
        called = _dotted(node.func)
        if called.split(".")[-1] in ("import_module", "__import__") and node.args:
            name = node.args[0]
            if isinstance(name, ast.Constant) and isinstance(name.value, str):
                self._add(name.value, node)
        self.generic_visit(node)

    def visit_Attribute(self, node: ast.Attribute) -> None:
        if name := _dotted(node):
            self._add(name, node, imported=False)
        self.generic_visit(node)

    def _deeper(self, node: ast.AST) -> None:
        self.depth += 1
        self.generic_visit(node)
        self.depth -= 1

    visit_FunctionDef = visit_AsyncFunctionDef = visit_Lambda = _deeper

    def visit_If(self, node: ast.If) -> None:
        if _dotted(node.test).split(".")[-1] == "TYPE_CHECKING":
            self._deeper(node)
        else:
            self.generic_visit(node)


def _dotted(node: ast.expr) -> str:
    """`a.b.c` of an attribute chain, or the empty text for anything else."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute) and (base := _dotted(node.value)):
        return f"{base}.{node.attr}"
    return ""


def _is(name: str, prefixes: tuple[str, ...]) -> bool:
    return any(name == prefix or name.startswith(prefix + ".") for prefix in prefixes)


def _within(path: PurePosixPath, places: tuple[str, ...]) -> bool:
    return any(path.is_relative_to(place) for place in places)


def violations(path: PurePosixPath, source: str) -> list[str]:
    """What `source`, standing at `path` of the repository, uses against the layout; one line each."""
    visitor = _Uses(path)
    visitor.visit(ast.parse(source))
    found = [(use, fault) for use in visitor.found for fault in [*_uphill(path, use), *_misplaced(path, use)]]
    return [f"{path}:{use.line}: {use.name}: {fault}" for use, fault in found]


def _uphill(path: PurePosixPath, use: Use) -> list[str]:
    if not use.imported or not _is(use.name, (PACKAGE,)):
        return []
    if path.parts[0] == "configs":
        shared = _is(use.name, (f"{PACKAGE}.config.common",))
        return [] if shared else ["a config file imports nothing of the package but config/common.py"]
    own, target = _room_of_file(path), _room(use.name)
    if path == PUBLIC_API and use.lazy:
        return [] if target in ROOMS else [f"no known room: {[target]}"]
    if target == "__init__":
        return ["import a room, not the whole package"]
    if unknown := {own, target} - {*ROOMS, "__init__"}:
        return [f"no known room: {sorted(unknown)}; give it a place in ROOMS"]
    if own == target:
        return _upstairs(path, use, own)
    if own in ONLY:
        return [] if target in ONLY[own] else [f"{own} may not import {target}"]
    return [] if ROOMS.index(target) < ROOMS.index(own) else [f"uphill: {target} is above {own}"]


def _upstairs(path: PurePosixPath, use: Use, room: str) -> list[str]:
    """Imports within a room that has floors."""
    floors = FLOORS.get(room)
    own, target = path.with_suffix("").parts[2:3], tuple(use.name.split(".")[2:3])
    if floors is None or own == target or not target:
        return []
    if unknown := {*own, *target} - set(floors):
        return [f"no known part of {room}: {sorted(unknown)}; give it a place in FLOORS"]
    if floors.index(*target) < floors.index(*own):
        return []
    return [f"uphill: {room}.{target[0]} is above {room}.{own[0]}"]


def _room(module: str) -> str:
    """The room of a dotted name: its first part below the package."""
    return [*module.split("."), "__init__"][1]


def _room_of_file(path: PurePosixPath) -> str:
    # Any __init__.py runs whenever a file beside it is imported, so it counts as the lowest room.
    return "__init__" if path.name == "__init__.py" else _room(".".join(path.with_suffix("").parts))


def _misplaced(path: PurePosixPath, use: Use) -> list[str]:
    faults = []
    if path.parts[0] != PACKAGE:
        return faults
    if _within(path, PURE) and not _within(path, ASSETS) and _is(use.name, IMPURE_NAMES):
        faults.append("networks, losses, metrics, rendering and grids see arrays only")
    for names, owners in OWNED:
        if _is(use.name, names) and not _within(path, owners):
            faults.append(f"belongs into {' or '.join(owners) or 'no file'}")
    eager = use.imported and not use.lazy and _is(use.name, ("tensorflow", "tensorflow_datasets"))
    if eager and not _within(path, EAGER_TENSORFLOW):
        faults.append("import it inside the function that needs it")
    return faults


def _files() -> list[PurePosixPath]:
    found = [*ROOT.glob(f"{PACKAGE}/**/*.py"), *ROOT.glob("configs/**/*.py")]
    return sorted(PurePosixPath(path.relative_to(ROOT).as_posix()) for path in found)


def _graph() -> dict[str, set[str]]:
    """Which module of the package imports which, lazily too."""
    modules = {
        ".".join(path.with_suffix("").parts).removesuffix(".__init__"): path
        for path in _files()
        if path.parts[0] == PACKAGE and path != PUBLIC_API
    }
    graph: dict[str, set[str]] = {}
    for name, path in modules.items():
        visitor = _Uses(path)
        visitor.visit(ast.parse((ROOT / path).read_text("utf-8")))
        used = {use.name for use in visitor.found if use.imported}
        graph[name] = {owner for use in used for owner in (use, use.rpartition(".")[0]) if owner in modules} - {name}
    return graph


def circles(graph: dict[str, set[str]]) -> list[list[str]]:
    """Groups of modules that reach each other: what is left when modules that import nothing left are taken away, and
    those that nothing left imports."""
    left = {name: set(used) for name, used in graph.items()}
    while True:
        imported = set().union(*left.values()) if left else set()
        gone = {name for name, used in left.items() if not used & left.keys() or name not in imported}
        if not gone:
            return [sorted(left)] if left else []
        left = {name: used - gone for name, used in left.items() if name not in gone}


# --- the package ------------------------------------------------------------------------------------------


def test_imports_run_downhill() -> None:
    files = _files()
    assert len(files) > 10
    faults = [fault for path in files for fault in violations(path, (ROOT / path).read_text("utf-8"))]
    assert not faults, "\n" + "\n".join(faults)


def test_files_import_each_other_in_no_circle() -> None:
    assert circles(_graph()) == []


def test_every_file_has_a_room() -> None:
    rooms = {_room_of_file(path) for path in _files() if path.parts[0] == PACKAGE}
    assert rooms - {*ROOMS, "__init__"} == set()


def test_config_rooms_but_for_common_start_without_libraries() -> None:
    modules = [f"{PACKAGE}.config.{path.stem}" for path in (ROOT / PACKAGE / "config").glob("*.py")]
    cheap = [module for module in modules if not module.endswith((".common", ".__init__"))]
    assert len(cheap) >= 4
    code = f"import sys, {', '.join(cheap)}; print(sorted({{'absl', 'ml_collections', 'jax'}} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "[]"


def test_the_command_line_starts_without_the_heavy_libraries() -> None:
    code = (
        f"import sys, {PACKAGE}.cli.main; "
        "heavy = {'jax', 'flax', 'optax', 'orbax', 'tensorflow', 'tensorflow_datasets', 'matplotlib'}; "
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "[]"


def test_a_swap_by_the_default_needs_jax_and_no_library_on_top_of_it() -> None:
    """They would take half of the time of all imports. Of SciPy, JAX takes scipy.linalg, for programs of exports."""
    code = (
        f"import sys, numpy as np; from {PACKAGE}.cli import main; main._set_up_logging(False); "
        f"from {PACKAGE}.faces import video_encoding; from {PACKAGE}.inference import albums, interpolation; "
        f"from {PACKAGE}.inference.files import swap_files; from {PACKAGE}.inference.swapper import Swapper; "
        f"from {PACKAGE}.provenance.outputs import Provenance; Provenance().check(); swapper = Swapper.load(); "
        "face = np.zeros((1, swapper.size, swapper.size, 3), np.uint8); swapper.generate(face, swapper.embed(face)); "
        "heavy = {'flax', 'optax', 'orbax', 'clu', 'ml_collections', 'tensorflow', 'tensorflow_datasets', "
        "'pandas', 'matplotlib', 'scipy.ndimage', 'scipy.optimize', 'scipy.spatial'}; "
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "[]"


# --- the checker itself -----------------------------------------------------------------------------------

# Paths inside the package, or configs/.
WRONG = [
    ("models/layers.py", "from smoothswap_jax.training.losses import r1", "models may not import training"),
    ("metrics/fid.py", "from smoothswap_jax import models", "metrics may not import models"),
    ("weights/torch.py", "import smoothswap_jax.training.train_state", "weights may not import training"),
    ("training/swapper_step.py", "import smoothswap_jax.inference.swapper", "uphill: inference is above training"),
    ("training/swapper_step.py", "def f():\n    from smoothswap_jax import demo", "uphill"),
    ("data/pipeline.py", "from ..evaluation.report import Table", "uphill: evaluation is above data"),
    ("data/pipeline.py", "from .. import inference", "uphill: inference is above data"),
    ("training/loop.py", "import importlib\nimportlib.import_module('smoothswap_jax.cli.main')", "uphill"),
    ("training/loop.py", "if TYPE_CHECKING:\n    from smoothswap_jax.inference.swapper import Swapper", "uphill"),
    ("metrics/per_pair.py", "from smoothswap_jax.evaluation import report", "may not import"),
    ("metrics/per_pair.py", "from smoothswap_jax.training import losses", "metrics may not import training"),
    ("faces/grid.py", "from smoothswap_jax.evaluation import report", "may not import evaluation"),
    (
        "training/stage.py",
        "from smoothswap_jax.evaluation.report import Report",
        "uphill: evaluation is above training",
    ),
    ("evaluation/pairs.py", "from smoothswap_jax.evaluation.methods import Method", "uphill: evaluation.methods"),
    ("evaluation/judges/base.py", "from smoothswap_jax.evaluation import features", "uphill: evaluation.features"),
    ("evaluation/helpers.py", "from smoothswap_jax.evaluation import pairs", "no known part of evaluation"),
    ("__init__.py", "from smoothswap_jax.inference.swapper import Swapper", "may not import inference"),
    ("__init__.py", "import smoothswap_jax.config", "may not import config"),
    ("__init__.py", "if TYPE_CHECKING:\n    from smoothswap_jax.helpers import f", "no known room: ['helpers']"),
    ("data/__init__.py", "from smoothswap_jax.data import pipeline", "may not import data"),
    ("data/__init__.py", "if TYPE_CHECKING:\n    from smoothswap_jax.data import pipeline", "may not import data"),
    ("training/loop.py", "from smoothswap_jax import helpers", "no known room: ['helpers']"),
    ("helpers.py", "from smoothswap_jax import runtime", "no known room: ['helpers']"),
    ("training/loop.py", "import smoothswap_jax", "not the whole package"),
    ("configs/swapper.py", "from smoothswap_jax.models import ncsnpp", "imports nothing of the package"),
    ("configs/swapper.py", "from smoothswap_jax.config.load import load_config", "imports nothing of the package"),
    ("models/ncsnpp.py", "import ml_collections", "arrays only"),
    ("training/losses.py", "from absl import logging", "arrays only"),
    ("metrics/per_pair.py", "from pathlib import Path", "arrays only"),
    ("models/ncsnpp.py", "import jax\nn = jax.device_count()", "arrays only"),
    ("training/loop.py", "import orbax.checkpoint as ocp", "belongs into smoothswap_jax/runtime/checkpoint.py"),
    ("training/loop.py", "def f():\n    import tensorflow as tf", "belongs into smoothswap_jax/data or"),
    ("data/dataset.py", "import tensorflow as tf", "inside the function"),
    ("data/dataset.py", "from tensorflow_datasets import core", "inside the function"),
    ("training/swapper_step.py", "from jax.sharding import Mesh", "belongs into smoothswap_jax/runtime"),
    ("training/swapper_step.py", "from jax import sharding", "belongs into smoothswap_jax/runtime"),
    ("training/swapper_step.py", "import jax\ndef f(m: jax.sharding.Mesh): ...", "belongs into"),
    ("bench/steps.py", "import jax\nmesh = jax.make_mesh((2,), ('data',))", "belongs into"),
    ("training/train_state.py", "from flax.training import train_state", "belongs into no file"),
]
RIGHT = [
    ("models/ncsnpp.py", "import jax\nfrom smoothswap_jax.models.layers import swish"),
    ("weights/torch.py", "from pathlib import Path\nfrom smoothswap_jax.models import embedder"),
    ("training/swapper_step.py", "from smoothswap_jax.training import losses\nfrom . import train_state"),
    ("data/builders.py", "import tensorflow as tf\nimport tensorflow_datasets as tfds"),
    ("data/dataset.py", "def f():\n    import tensorflow_datasets as tfds"),
    (
        "data/pipeline.py",
        "import jax\nfrom ..runtime import sharding\ndef f(m: jax.sharding.Mesh): ...",
    ),
    ("runtime/checkpoint.py", "import orbax.checkpoint as ocp\nfrom jax.sharding import Mesh"),
    ("evaluation/judges/base.py", "from smoothswap_jax.weights import torch_names"),
    ("evaluation/results.py", "from smoothswap_jax.evaluation.measures.base import Measure"),
    ("evaluation/measures/pose.py", "from smoothswap_jax.evaluation.measures import base"),
    (
        "evaluation/report/document.py",
        "from smoothswap_jax.metrics.bootstrap import Interval\nfrom pathlib import Path",
    ),
    (
        "training/stage.py",
        "from smoothswap_jax.metrics import per_pair\nfrom smoothswap_jax.faces.grid import swap_grid",
    ),
    ("cli/main.py", "def f():\n    from smoothswap_jax import bench, demo, training"),
    ("training/swapper_step.py", "def f(x):\n    return x.sharding, jax.tree.map(f, x)"),
    ("configs/swapper.py", "import ml_collections\nfrom smoothswap_jax.config.common import common_fields"),
    ("__init__.py", "if TYPE_CHECKING:\n    from smoothswap_jax.inference.swapper import Swapper"),
    ("__init__.py", "def __getattr__(name):\n    import smoothswap_jax.training.loop"),
]


@pytest.mark.parametrize(("path", "source", "fault"), WRONG)
def test_the_checker_finds(path: str, source: str, fault: str) -> None:
    found = violations(_place(path), source)
    assert any(fault in line for line in found), found


def test_circles_are_found() -> None:
    assert circles({"a": {"b"}, "b": {"c"}, "c": {"b"}, "d": {"c"}, "e": set()}) == [["b", "c"]]
    assert circles({"a": {"b"}, "b": {"c"}, "c": set()}) == []


@pytest.mark.parametrize(("path", "source"), RIGHT)
def test_the_checker_allows(path: str, source: str) -> None:
    assert violations(_place(path), source) == []


def _place(path: str) -> PurePosixPath:
    return PurePosixPath(path) if path.startswith("configs/") else PurePosixPath(PACKAGE) / path
