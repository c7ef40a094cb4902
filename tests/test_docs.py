"""README.md and docs/*.md, held against the package: commands parse, files and links exist, Python blocks run.

Nothing that a document shows is executed but the imports of its Python blocks and the examples of docs/contributing.md.
"""

import argparse
import ast
import contextlib
import functools
import importlib
import importlib.util
import io
import re
import shlex
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from smoothswap_jax.cli.main import TAKE_OVERRIDES, make_parser
from smoothswap_jax.config.load import load_config
from tests.places import ROOT
from tests.test_imports import ROOMS

DOCUMENTS = ["README.md", *sorted(path.relative_to(ROOT).as_posix() for path in (ROOT / "docs").glob("*.md"))]
EXAMPLES = "docs/contributing.md"

FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
INLINE = re.compile(r"(?<!`)`([^`]+)`(?!`)")
LINK = re.compile(r"\]\(([^)\s]+)\)")
SOURCE = re.compile(r"[\w./*-]*[\w*]\.(?:py|sh|sbatch|yaml|jinja|toml)\b|(?<![\w/])docs/[\w./-]+")
FOLDERS = ("smoothswap_jax", "tests", "configs", "launch")
FOLDER = re.compile(rf"(?:{'|'.join(FOLDERS)})/[\w/.-]*|(?:{'|'.join(ROOMS)})/(?:\w+/)*")
LAUNCHED = {"multi_gpu.sh": "train", "slurm.sbatch": "train", "demo.sh": "demo"}
"""The verb whose options a launch script takes."""


# --- what a document holds --------------------------------------------------------------------------------------


def blocks(text: str, language: str) -> list[str]:
    """The fenced blocks of a language."""
    return [code for found, code in FENCE.findall(text) if found == language]


def inline_code(text: str) -> list[str]:
    """Code between single backticks; it may be wrapped, but ends in the paragraph that it begins in."""
    paragraphs = FENCE.sub("\n\n", text).split("\n\n")
    return [" ".join(code.split()) for paragraph in paragraphs for code in INLINE.findall(paragraph)]


def shell_commands(block: str) -> list[list[str]]:
    """The commands of a bash block as words, without comments and without variables that are set before them."""
    commands = []
    for line in block.replace("\\\n", " ").splitlines():
        words = shlex.shlex(line, posix=True, punctuation_chars="|&;<>")
        words.whitespace_split = True
        command: list[str] = []
        for word in [*words, ";"]:
            if set(word) <= set("|&;"):
                commands.append(command)
                command = []
            elif command or not re.fullmatch(r"[A-Z]+=.*", word):
                command.append(word)
    return [command for command in commands if command]


# --- commands ---------------------------------------------------------------------------------------------------


def verbs(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    (action,) = [action for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
    return dict(action.choices)


def command_faults(command: list[str], whole: bool) -> list[str]:
    """Faults of one command. whole: it could be run as it stands; else it may lack what is required."""
    if command[0] == "smoothswap":
        return smoothswap_faults(command[1:], whole)
    if command[:2] == ["python", "-m"]:
        return module_faults(command[2], command[3:])
    script = next((word.removeprefix("launch/") for word in command if word.startswith("launch/")), None)
    if script is None:
        return []
    if not (ROOT / "launch" / script).is_file():
        return [f"launch/{script}: no such file"]
    options = command[command.index(f"launch/{script}") + 1 :]
    if script == "tpu_pod.sh" and options[:1] == ["run"]:
        return smoothswap_faults(["train", *options[1:]], whole)
    return smoothswap_faults([LAUNCHED[script], *options], whole) if script in LAUNCHED else []


def smoothswap_faults(words: list[str], whole: bool) -> list[str]:
    said = io.StringIO()
    parser = make_parser()
    try:
        with contextlib.redirect_stderr(said):
            if not whole:
                words = _as_mentioned(parser, words)
            args, rest = parser.parse_known_args(words)
    except SystemExit:
        return [said.getvalue().strip().splitlines()[-1]]
    if args.verb not in TAKE_OVERRIDES and rest:
        return [f"smoothswap {args.verb}: unrecognised arguments: {' '.join(rest)}"]
    return [f"smoothswap {args.verb}: {fault}" for fault in value_faults(args, rest)]


def _as_mentioned(parser: argparse.ArgumentParser, words: list[str]) -> list[str]:
    """Makes no option required; words without a last option whose value is left out, and without --help."""
    options = [option for verb in verbs(parser).values() for option in verb._actions]
    for option in options:
        option.required = False
    own = verbs(parser).get(words[0])
    valued = {name for option in own._actions if option.nargs != 0 for name in option.option_strings} if own else set()
    words = [word for word in words if word != "--help"]
    return words[:-1] if words[-1] in valued else words


def value_faults(args: argparse.Namespace, overrides: list[str]) -> Iterator[str]:
    """Values that only the verb's own code would refuse: configs with their fields, kinds, protocols, detectors."""
    runs = getattr(args, "what", None) == "embedding"
    embedders = [] if runs else getattr(args, "embedder", None) or []
    for config, changes in ((getattr(args, "config", None), overrides), *((embedder, []) for embedder in embedders)):
        try:
            if config and not {"WORKDIR", "DIR", "..."} & {config}:
                load_config(config, changes)
        except ValueError as error:
            yield str(error)
    for option, known in KNOWN.items():
        value = getattr(args, option, None)
        if value is not None and value.partition("@")[0] not in (names := known()):
            yield f"--{option}={value}: wanted one of {', '.join(names)}"


def _protocols() -> tuple[str, ...]:
    return tuple(importlib.import_module("smoothswap_jax.evaluation.protocols.registry").PROTOCOLS)


def _detectors() -> tuple[str, ...]:
    return tuple(importlib.import_module("smoothswap_jax.faces.detection.registry").DETECTORS)


def _kinds() -> tuple[str, ...]:
    registry = importlib.import_module("smoothswap_jax.weights.registry")
    return (*registry.kinds(), *registry.GRAPH_KINDS)


KNOWN = {"protocol": _protocols, "detector": _detectors, "kind": _kinds}
"""Options whose values are the names in a registry, which is imported when it is needed."""


def module_faults(module: str, arguments: list[str]) -> list[str]:
    """`python -m module arguments`: the file is there, and its text names the options."""
    if module.partition(".")[0] not in ("smoothswap_jax", "tests"):
        return [] if importlib.util.find_spec(module) else [f"python -m {module}: no such module"]
    path = ROOT / f"{module.replace('.', '/')}.py"
    if not path.is_file():
        return [f"python -m {module}: no such module"]
    source = path.read_text("utf-8")
    options = [word.partition("=")[0] for word in arguments if word.startswith("--")]
    return [f"python -m {module}: has no {option}" for option in options if f'"{option}"' not in source]


def _names(verb: argparse.ArgumentParser) -> set[str]:
    return {name for option in verb._actions for name in option.option_strings}


def option_faults(code: str) -> list[str]:
    """Options that are named without their verb: one verb must have all of them, or a config the field."""
    faults, options = [], []
    for word in shlex.split(code):
        if match := re.match(r"--config\.([\w.]+)", word):
            faults += [] if match[1] in config_fields() else [f"--config.{match[1]}: no shipped config has this field"]
        elif word.startswith("--"):
            options.append(word.partition("=")[0])
    known = [_names(verb) for verb in verbs(make_parser()).values()]
    if not any(set(options) <= names for names in known):
        faults.append(f"{' '.join(options)}: no verb has these options")
    return faults


@functools.cache
def config_fields() -> set[str]:
    def names(fields: dict, group: str = "") -> Iterator[str]:
        for key, value in fields.items():
            yield group + key
            if isinstance(value, dict):
                yield from names(value, f"{group}{key}.")

    return {name for config in ("embedder", "swapper") for name in names(load_config(config, []))}


def all_command_faults(text: str) -> Iterator[str]:
    for block in blocks(text, "bash"):
        for command in shell_commands(block):
            yield from command_faults(command, whole=True)
    for code in inline_code(text):
        if code.startswith("--"):
            yield from option_faults(code)
        elif code.startswith(("smoothswap ", "python -m ", "bash launch/")) and "<" not in code:
            if code.startswith("smoothswap ") and not re.match(r"smoothswap \w+ ", code):
                verb = code.split()[1]
                yield from [] if verb in verbs(make_parser()) else [f"smoothswap {verb}: no such verb"]
            else:
                yield from command_faults(shlex.split(code), whole=False)


# --- files and links --------------------------------------------------------------------------------------------


def file_faults(text: str) -> Iterator[str]:
    """Files and folders of the repository that code names."""
    for code in [*inline_code(text), *blocks(text, "bash"), *blocks(text, "python")]:
        whole = FOLDER.fullmatch(code)
        for name in dict.fromkeys([*SOURCE.findall(code), *([whole[0]] if whole else [])]):
            if not exists(name):
                yield f"{name}: no such file"


def exists(name: str) -> bool:
    """Whether a path is one of the repository or the package; a bare file name may be anywhere in them."""
    if "/" not in name:
        return (ROOT / name).is_file() or any(any((ROOT / folder).rglob(name)) for folder in FOLDERS)
    return any(any(base.glob(name)) for base in (ROOT, ROOT / "smoothswap_jax"))


def link_faults(text: str, folder: Path) -> Iterator[str]:
    for target in LINK.findall(FENCE.sub("", text)):
        if re.match(r"\w+:", target):
            continue
        name, _, anchor = target.partition("#")
        path = folder / name if name else None
        if path is not None and not path.exists():
            yield f"({target}): no such file"
        elif anchor and anchor not in anchors(path.read_text("utf-8") if path else text):
            yield f"({target}): no such heading"


def anchors(text: str) -> set[str]:
    """The anchors that GitHub gives to the headings."""
    headings = re.findall(r"^#+ (.+)$", FENCE.sub("", text), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


# --- Python -----------------------------------------------------------------------------------------------------


def python_faults(text: str) -> Iterator[str]:
    """Python blocks that do not compile, and imports in them that fail."""
    for block in blocks(text, "python"):
        try:
            tree = ast.parse(block)
        except SyntaxError as error:
            yield f"{block.splitlines()[0]} ...: {error}"
            continue
        for node in ast.walk(tree):
            if isinstance(node, ast.Import | ast.ImportFrom):
                try:
                    exec(ast.unparse(node), {})
                except ImportError as error:
                    yield f"{ast.unparse(node)}: {error}"


# --- diffs ------------------------------------------------------------------------------------------------------


def diff_faults(text: str) -> Iterator[str]:
    """Lines that a diff leaves or takes away and that its file does not have, in this order."""
    for block in blocks(text, "diff"):
        header, *lines = block.splitlines()
        path = ROOT / header.removeprefix("--- ")
        if not path.is_file():
            yield f"{header}: no such file"
            continue
        left = iter(path.read_text("utf-8").splitlines())
        for line in (line for line in lines if not line.startswith("+")):
            if line[1:] not in left:  # consumes the file up to the line
                yield f"{header}: has no line {line[1:].strip()!r} after those before it"
                break


CHECKS: dict[str, Callable[[str, Path], Iterator[str]]] = {
    "commands": lambda text, folder: all_command_faults(text),
    "files": lambda text, folder: file_faults(text),
    "links": link_faults,
    "python": lambda text, folder: python_faults(text),
    "diffs": lambda text, folder: diff_faults(text),
}


@pytest.mark.parametrize("check", CHECKS)
@pytest.mark.parametrize("document", DOCUMENTS)
def test_a_document_is_true(document: str, check: str) -> None:
    path = ROOT / document
    faults = list(CHECKS[check](path.read_text("utf-8"), path.parent))
    assert not faults, "\n".join(["", *faults])


@pytest.mark.parametrize("block", blocks((ROOT / EXAMPLES).read_text("utf-8"), "python"))
def test_an_example_of_adding_one_thing_runs(block: str) -> None:
    """Every spec in it is made, so its fields are the ones that the package has."""
    exec(block, {"__name__": "example"})


def test_documents_are_linked() -> None:
    """From the README every document can be reached in one step."""
    linked = {target.partition("#")[0] for target in LINK.findall((ROOT / "README.md").read_text("utf-8"))}
    assert {document for document in DOCUMENTS if document != "README.md"} <= linked | {"docs/report_schema.md"}


# --- the checker itself -----------------------------------------------------------------------------------------

OPTIMIZERS = "--- smoothswap_jax/training/optimizers.py"
TRAIN = "smoothswap train --config=swapper:tiny32 --workdir=runs/s"
RIGHT = f"""
# A title: of `code`, and more

Text with `smoothswap train`, `smoothswap evaluate --protocol=ffhq@2 --judge=sface`, `smoothswap <verb>`,
`smoothswap import --help`, `smoothswap swap --checkpoint`, wrapped `smoothswap
bench --what=steps --batch 8 16`, `--devices=N`, `--config.mesh.fsdp=8`, `--what=memory --topology=v5e:8x8`,
`python -m smoothswap_jax.bench.generate --faces=32`, `python -m pytest tests/models -rP`, `/a/b.png`,
`faces/align.py`, `configs/*.py`, `registry.py`, `evaluation/protocols/`, `DIR/<person>/<photo>.jpg` and
[a link](docs/design.md#decisions), [another](#a-title-of-code-and-more), [the web](https://example.org/a.md).

```bash
A=1 {TRAIN} \\
    --config.batch=8 --config.generator.ch_mult='(1, 2)'   # a comment's quote
bash launch/tpu_pod.sh create && bash launch/tpu_pod.sh run --config=swapper:tiny32 --workdir=/shared/s
A=1 envsubst < launch/kubernetes.yaml | kubectl apply -f -
```

```python
from smoothswap_jax import Swapper
import numpy as np
```

```diff
--- smoothswap_jax/training/optimizers.py
     "adam": lambda config: optax.scale_by_adam(b1=config.b1, b2=config.b2),
+    "none": lambda config: optax.identity(),
-    "sgd": lambda config: optax.trace(decay=config.b1),
```
"""
WRONG = [
    ("commands", f"```bash\n{TRAIN.replace('train', 'trian')}\n```", "invalid choice: 'trian'"),
    ("commands", "```bash\nsmoothswap train --config=swapper:tiny32\n```", "required: --workdir"),
    ("commands", f"```bash\n{TRAIN} \\\n  --config.bacth=8\n```", "bacth"),
    ("commands", f"```bash\n{TRAIN} --config.batch=many\n```", "config.batch"),
    ("commands", f"```bash\n{TRAIN} --verbosely\n```", "verbosely"),
    ("commands", f"```bash\ntrue && {TRAIN.replace('tiny32', 'tiny33')}\n```", "tiny33"),
    ("commands", "```bash\nsmoothswap swap --checkpoint=a --source=b --target=c --out=d\n```", "--out"),
    ("commands", "```bash\nsmoothswap import --kind=iresnet99 --weights=a --out=b\n```", "--kind=iresnet99: wanted"),
    ("commands", "```bash\nsmoothswap prepare --source=a --out=b --detector=yumet\n```", "--detector=yumet: wanted"),
    ("commands", "see `smoothswap evaluate --protocol=ffhq3`", "--protocol=ffhq3: wanted"),
    ("commands", "see `smoothswap\ncompare DIR --bselines`", "unrecognised arguments: --bselines"),
    ("commands", "see `smoothswap bench --what=speed`", "invalid choice: 'speed'"),
    ("commands", "see `smoothswap bench --what=steps --config=swapper:tiny33`", "tiny33"),
    ("commands", "see `smoothswap trains`", "smoothswap trains: no such verb"),
    ("commands", "with `--devises=N`", "--devises: no verb"),
    ("commands", "with `--what=memory --judge=sface`", "--what --judge: no verb"),
    ("commands", "with `--config.meshes.fsdp=8`", "--config.meshes.fsdp: no shipped config"),
    ("commands", "by `python -m smoothswap_jax.bench.plans`", "smoothswap_jax.bench.plans: no such module"),
    ("commands", "by `python -m tests.bench.nothing`", "tests.bench.nothing: no such module"),
    ("commands", "by `python -m pytests`", "pytests: no such module"),
    ("commands", "by `python -m smoothswap_jax.bench.generate --facse=32`", "has no --facse"),
    ("commands", "```bash\nbash launch/demos.sh\n```", "launch/demos.sh: no such file"),
    ("commands", "```bash\nbash launch/demo.sh --foto=DIR\n```", "unrecognised arguments: --foto=DIR"),
    ("commands", "```bash\nsbatch --nodes=8 launch/slurm.sbatch --config=swapper:paper256\n```", "required: --workdir"),
    ("commands", "```bash\nbash launch/tpu_pod.sh run --workdir=a\n```", "required: --config"),
    ("files", "in `smoothswap_jax/models/convolutions.py`", "smoothswap_jax/models/convolutions.py: no such file"),
    ("files", "in `faces/aligns.py`, a file", "faces/aligns.py: no such file"),
    ("files", "in `registrar.py`", "registrar.py: no such file"),
    ("files", "in `config/*.jinja`", "config/*.jinja: no such file"),
    ("files", "in `evaluation/protocol/`", "evaluation/protocol/: no such file"),
    ("files", "in `docs/nothing.md`", "docs/nothing.md: no such file"),
    ("files", "```bash\npython -m pytest tests/test_steps.py\n```", "tests/test_steps.py: no such file"),
    ("links", "[a](docs/nothing.md)", "(docs/nothing.md): no such file"),
    ("links", "![a](docs/nothing.png)", "(docs/nothing.png): no such file"),
    ("links", "[a](docs/design.md#indecision)", "(docs/design.md#indecision): no such heading"),
    ("links", "[a](#b)", "(#b): no such heading"),
    ("python", "```python\nimport (\n```", "import ( ...: "),
    ("python", "```python\nfrom smoothswap_jax import Swaper\n```", "cannot import name 'Swaper'"),
    ("diffs", "```diff\n--- smoothswap_jax/train.py\n x\n```", "--- smoothswap_jax/train.py: no such file"),
    (
        "diffs",
        f"```diff\n{OPTIMIZERS}\n-    elif config.name == 'sdg':\n```",
        "has no line \"elif config.name == 'sdg':\"",
    ),
    (
        "diffs",
        f"```diff\n{OPTIMIZERS}\n     rate = make_schedule(config, steps)\n     import optax\n```",
        "after those",
    ),
    ("python", "```python\ndef f():\n    import smoothswap_jax.synthetics\n```", "No module named"),
]


@pytest.mark.parametrize("check", CHECKS)
def test_the_checker_passes_what_is_right(check: str) -> None:
    assert list(CHECKS[check](RIGHT, ROOT)) == []


@pytest.mark.parametrize(("check", "text", "wanted"), WRONG)
def test_the_checker_names_what_is_wrong(check: str, text: str, wanted: str) -> None:
    """In one place, and by the one check that is meant for it."""
    (fault,) = CHECKS[check](f"Words.\n\n{text}\n", ROOT)
    assert wanted in fault
