"""Overrides of random fields with random values: each is refused in one line, at once, or trains.

To see every outcome: `python -m pytest tests/training/test_random_overrides.py -m slow -s`.
"""

import time
from collections import Counter

import numpy as np
import pytest

from smoothswap_jax.config.errors import ConfigError
from smoothswap_jax.config.load import load_config
from smoothswap_jax.config.parse import parse
from smoothswap_jax.training import loop
from smoothswap_jax.training.checks import check_run
from tests import tiny_runs

SECONDS = 5
"""Of all processors together, in which a mistake has to be told."""
WRONG = ("many", "1.5", "None", "{'a': 1}", "[]", "", "nan", "-1")
VALUES = {
    int: (-1, 0, 1, 2, 3, 4, 5, 7, 8, 12, 16, 64, 10**5, 10**9, 2**40, 10**30),
    float: (-1.0, 0.0, 1e-9, 0.1, 0.5, 1.0, 2.0, 1e3, 1e30, "inf", "-inf", "nan"),
    bool: ("true", "false", "maybe", 1),
    str: ("", "x", "group", "tf", "khosla", "sgd", "cosine", "small", "residual", "bfloat16", "-eval/auc", "a" * 500),
    tuple: (
        "()",
        "(1,)",
        "(1, 2)",
        "(1, 'a')",
        "(0,)",
        "(-1, 2)",
        "5",
        "(1,) * 99",
        "((1,),)",
        "(1.5, 2)",
        "(99999999,)",
    ),
}
HUGE = {"steps": 1, "data.people": 200, "data.photos": 16, "data.held_out_people": 200, "eval_images": 200}
"""What is trained for where more would be accepted: longer runs would only take longer."""


def random_override(stage: str, names: dict[str, object], rng: np.random.Generator) -> str:
    """`--config.field=value`; one name in five is wrong, and one value in four of a wrong type."""
    choose = lambda of: of[rng.integers(len(of))]
    name = choose(sorted(names))
    pool = VALUES.get(type(names[name]), VALUES[str])
    value = choose(WRONG) if rng.integers(4) == 0 else choose(pool)
    wrong = (name[:-1], f"{name}.x", f"{name}[0]", name.upper(), name.partition(".")[2] or "x", f"{name}s")
    if rng.integers(5) == 0:
        name = choose(wrong)
    return f"--config.{name}={value}" if rng.integers(20) else f"--{name}={value}"


def leaves(config: dict, group: str = "") -> dict[str, object]:
    found: dict[str, object] = {}
    for key, value in config.items():
        found |= leaves(value, f"{group}{key}.") if isinstance(value, dict) else {f"{group}{key}": value}
    return found


def base(stage: str, embedder) -> list[str]:
    """A run of a second on synthetic faces."""
    fields = {"data.kind": "synthetic", "data.dir": "", "data.people": 24, "data.photos": 3, "steps": 1}
    return tiny_runs.overrides(stage, "", embedder, **fields, eval_steps=0, checkpoint_steps=0, log_images_steps=0)


def started(stage: str, embedder, override: str):
    """The parsed config with the override, once it has passed all checks."""
    config = parse(load_config(f"{stage}:tiny32", [*base(stage, embedder), override]))
    check_run(config, 1)
    return config


def trained(stage: str, embedder, override: str, workdir) -> None:
    found = leaves(load_config(f"{stage}:tiny32", [*base(stage, embedder), override]))
    smaller = [f"--config.{name}={most}" for name, most in HUGE.items() if found[name] > most]
    loop.train(load_config(f"{stage}:tiny32", [*base(stage, embedder), override, *smaller]), workdir, devices=1)


def outcome(stage: str, embedder, override: str, workdir=None) -> str:
    """'refused' or 'trained'; fails where it is neither. Without `workdir` the checks are all."""
    start = time.process_time()
    try:
        started(stage, embedder, override)
    except (ValueError, OSError) as error:
        text = str(error)
        assert time.process_time() - start < SECONDS, override
        assert "\n" not in text and 20 < len(text) < 1500, (override, text)
        print(f"{stage} {override[:60]}: refused: {text[:160]}")
        return "refused"
    if workdir is None:
        return "passed"
    try:
        trained(stage, embedder, override, workdir)
    except ConfigError as error:  # a folder that is not there
        assert time.process_time() - start < SECONDS and "\n" not in str(error), (override, error)
        print(f"{stage} {override[:60]}: refused: {error}")
        return "refused"
    except FloatingPointError as error:  # it began to train, and stopped in one line
        print(f"{stage} {override[:60]}: not finite: {error}")
        return "not finite"
    print(f"{stage} {override[:60]}: trained in {time.process_time() - start:.1f} s")
    return "trained"


def overrides(count: int, seed: int) -> list[tuple[str, str]]:
    rng = np.random.default_rng(seed)
    names = {stage: leaves(load_config(f"{stage}:tiny32", [])) for stage in ("embedder", "swapper")}
    return [(stage, random_override(stage, names[stage], rng)) for stage in [*names] * (count // 2)]


def test_a_sample_is_refused_in_one_line_or_passes():
    found = Counter(outcome(stage, "runs/embedder", override) for stage, override in overrides(100, 1))
    assert found["refused"] > 30 and found["passed"] > 10


@pytest.mark.slow
def test_many_are_refused_at_once_or_train(embedder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # paths among the values
    chosen = overrides(200, 2)
    found = Counter(outcome(s, embedder, text, tmp_path / str(i)) for i, (s, text) in enumerate(chosen))
    print(found)
    assert sum(found.values()) == 200
