"""Programs are compiled once and tell their memory."""

import logging
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from smoothswap_jax.cli.main import main
from smoothswap_jax.config.parse import parse
from smoothswap_jax.runtime import compilation, sharding
from smoothswap_jax.training import loop
from smoothswap_jax.training import loop as train_lib
from tests import tiny_runs


def test_a_function_is_compiled_at_its_first_call_and_its_memory_is_logged(caplog):
    traced = []

    def double(x):
        traced.append(1)
        return 2 * x

    call = compilation.ahead_of_time("double", jax.jit(double))
    with caplog.at_level(logging.INFO):
        np.testing.assert_array_equal(call(jnp.arange(3.0)), [0, 2, 4])
        np.testing.assert_array_equal(call(jnp.ones(3)), [2, 2, 2])
    assert len(traced) == 1
    begins, message = (record.getMessage() for record in caplog.records if record.name.startswith("smoothswap"))
    assert begins == "double: compiling"
    assert re.fullmatch(
        r"double: compiled in \d+\.\d s; a device holds 0\.00 GB of arguments and .* while it runs", message
    )
    with jax.disable_jit():
        call(jnp.ones(3))
    assert len(traced) == 2  # op by op, so that a NaN can be found


def test_memory_counts_arguments_and_what_the_program_needs_beside_them():
    program = jax.jit(lambda x: jnp.sort(x @ x.T).sum()).lower(jnp.ones((256, 128))).compile()
    found = compilation.memory(program)
    assert found["arguments"] == 256 * 128 * 4 and found["temporary"] >= 256 * 256 * 4
    assert found["peak"] == found["arguments"] + found["outputs"] + found["temporary"]


def test_fsdp_over_eight_devices_holds_an_eighth_of_the_state(tmp_path, monkeypatch):
    """By the compiler's account, on the embedder with Adam: parameters and two moments."""
    monkeypatch.setattr(sharding, "SMALL", 64)
    people, held = tiny_runs.make_people(tmp_path / "people"), {}
    fields = {"embedder.width": 32, "embedder.hidden": 128, "embedder.dim": 64, "optimizer.name": "adam"}
    for fsdp in (1, 8):
        config = tiny_runs.config("embedder", people, **fields)
        config["mesh"]["fsdp"] = fsdp
        mesh = sharding.make_mesh(8, fsdp)
        abstract = loop.make_stage(parse(config), mesh, tmp_path).abstract
        identity = jax.jit(lambda state: jax.tree.map(lambda x: x + 1, state), donate_argnums=0)
        held[fsdp] = compilation.memory(identity.lower(abstract).compile())["arguments"]
    assert held[1] > 7 * held[8]


def test_a_trace_of_some_steps_is_written(tmp_path):
    people = tiny_runs.make_people(tmp_path / "people")
    config = tiny_runs.config("embedder", people, steps=4)
    train_lib.train(config, tmp_path / "run", devices=1, profile=(2, 1))
    assert list((tmp_path / "run" / "profile").rglob("*.xplane.pb"))
    with pytest.raises(SystemExit):
        main(["train", "--config=x", "--workdir=y", "--profile=3"])
