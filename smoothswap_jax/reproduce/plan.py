"""What an experiment trains, and what it is to decide, as plain values: all is fixed before the first run."""

import copy
import dataclasses
import hashlib
import importlib.metadata
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from flax.traverse_util import flatten_dict

from smoothswap_jax.config.load import load_config
from smoothswap_jax.config.parse import as_stored, parse
from smoothswap_jax.config.renamed import with_current_names
from smoothswap_jax.inference.load import load_swapper
from smoothswap_jax.reproduce.claims import RULE, Claim, Prediction
from smoothswap_jax.runtime.files import write_atomically
from smoothswap_jax.runtime.json_files import read_json, read_json_object
from smoothswap_jax.weights.variables import params_digest

FILE, BEFORE = "plan.json", "begun_before.json"
Stage = Literal["embedder", "swapper"]
Methods = Mapping[str, Mapping[str, str]]
"""Of swappers that exist, by name: what `described` says."""


def described(folder: str) -> dict[str, str]:
    """A swapper that exists: its folder, as a user gave it, and what its generator is. Raises as `load_swapper`."""
    return {"folder": folder, "generator sha256": params_digest(load_swapper(folder).variables["generator"])}


@dataclass(frozen=True)
class Run:
    """One training of an arm.

    name: its folder. fields: of its config that differ from the variant's. against: the name of the run whose embedder
    a swapper is trained against.
    """

    name: str
    arm: str
    stage: Stage
    variant: str
    seed: int
    fields: Mapping[str, Any]
    against: str = ""

    def config(self, runs: Path) -> dict[str, Any]:
        """The training config; runs: the folder of all of them."""
        fields = {**self.fields, "seed": self.seed}
        if self.against:
            fields["embedder.checkpoint"] = runs / self.against
        overrides = [f"--config.{name}={value}" for name, value in fields.items()]
        return load_config(f"{self.stage}:{self.variant}", overrides)


@dataclass(frozen=True)
class Plan:
    """An experiment at one scale. runs: in the order of training. claims, predictions: what is to be decided by `RULE`.
    pairs: of people, on which swappers are judged. methods: swappers that exist, as `described`."""

    experiment: str
    scale: str
    about: str
    runs: Sequence[Run]
    claims: Sequence[Claim]
    pairs: int = 0
    predictions: Sequence[Prediction] = ()
    methods: Methods = field(default_factory=dict)

    def of(self, stage: Stage) -> list[Run]:
        return [run for run in self.runs if run.stage == stage]

    @property
    def text(self) -> str:
        """All of it, the whole config of each run, the package's version and the rule, as JSON."""
        fields = copy.deepcopy(dataclasses.asdict(self))
        for run, shown in zip(self.runs, fields["runs"], strict=True):
            shown["config"] = run.config(Path("runs"))
        for method in fields["methods"].values():
            method.pop("folder")  # the generator says what it is, wherever it lies
        version = importlib.metadata.version("smoothswap-jax")
        return json.dumps({**fields, "smoothswap-jax": version, "rule": RULE}, indent=1) + "\n"

    @property
    def digest(self) -> str:
        """SHA-256 of `text`."""
        return hashlib.sha256(self.text.encode()).hexdigest()


def check_kept(plan: Plan, folder: Path) -> bool:
    """Whether `folder` holds this plan. Raises ValueError, naming what differs, where it holds another one."""
    file = folder / FILE
    if not file.is_file():
        return False
    if file.read_bytes() == plan.text.encode():
        return True
    was, now = (
        flatten_dict(_by_name(one), keep_empty_nodes=True, sep="/") for one in (read_json(file), json.loads(plan.text))
    )
    changed = [key for key in {**was, **now} if was.get(key) != now.get(key)]
    found = "; ".join(f"{key} was {was.get(key)!r} and is {now.get(key)!r}" for key in changed[:3])
    raise ValueError(
        f"{file}: is another plan: {found}; wanted a new --out, since what is trained and decided must not change "
        "after the first training"
    )


def keep(plan: Plan, folder: Path, begun: Mapping[str, int]) -> None:
    """Writes the plan into `folder`, with the step of each run that was begun before."""
    folder.mkdir(parents=True, exist_ok=True)
    write_atomically(folder / BEFORE, json.dumps(begun).encode())
    write_atomically(folder / FILE, plan.text.encode())


def begun_before(folder: Path) -> dict[str, int]:
    """The runs that were begun before the plan in `folder` was written, and their steps then."""
    return read_json(folder / BEFORE)


def _by_name(value: Any) -> Any:
    """Lists as mappings, by the name of each element or its place."""
    if isinstance(value, list):
        names = [
            one.get("name", one.get("text", str(i))) if isinstance(one, dict) else str(i) for i, one in enumerate(value)
        ]
        return {str(name): _by_name(one) for name, one in zip(names, value, strict=True)}
    return {key: _by_name(one) for key, one in value.items()} if isinstance(value, dict) else value


def check_same(run: Run, runs: Path) -> None:
    """Raises ValueError where the run of this name in `runs` is of another config, as of another scale or version."""
    file = runs / run.name / "config.json"
    if not file.is_file():
        return
    was, now = (
        flatten_dict(config, keep_empty_nodes=True, sep="/")
        for config in (with_current_names(read_json_object(file)), as_stored(parse(run.config(runs))))
    )
    changed = [key for key in sorted({*was, *now}) if was.get(key) != now.get(key) and key != "embedder/checkpoint"]
    if changed:
        found = "; ".join(f"{key.replace('/', '.')} is {was.get(key)!r}" for key in changed[:3])
        wanted = ", ".join(repr(now.get(key)) for key in changed[:3])
        raise ValueError(f"{file}: {found}; wanted {wanted}, or a new --out")
