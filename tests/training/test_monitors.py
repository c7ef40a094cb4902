"""Alarms ring when they should, once, and not otherwise."""

import subprocess
import sys
from types import SimpleNamespace

import jax.numpy as jnp
import numpy as np
import pytest

from smoothswap_jax.training import monitors


def test_arrays_that_are_not_finite_are_named():
    tree = {"a": {"b": jnp.array([1.0, jnp.nan]), "c": jnp.ones(2)}, "d": [jnp.array([jnp.inf]), jnp.array([1])]}
    assert monitors.nonfinite_paths(tree) == ["a/b", "d/0"]
    assert monitors.nonfinite_values({"x": 1.0, "y": float("nan"), "z": float("-inf")}).keys() == {"y", "z"}


@pytest.fixture
def said(caplog):
    caplog.set_level("WARNING")
    return lambda: [record.getMessage() for record in caplog.records]


def test_a_spike_is_told_once_and_the_usual_noise_is_not(said):
    alarms, noise = monitors.Alarms(), np.random.default_rng(0)
    for step in range(300):
        alarms.look(step, {"train/loss": 1.0 + 0.5 * noise.random(), "train/cosine_same": 0.1})
    assert said() == []
    for step in range(300, 310):
        alarms.look(step, {"train/loss": 40.0})
    (words,) = said()
    assert words.startswith("step 300: train/loss is 40, ") and "times its recent median" in words


def test_a_falling_loss_and_a_new_run_are_no_spikes(said):
    alarms = monitors.Alarms()
    for step in range(400):
        alarms.look(step, {"train/loss": 100.0 / (1 + step), "train/r1": 0.0})
    assert said() == []


def test_a_generator_that_copies_and_a_discriminator_that_has_won_are_told(said):
    alarms = monitors.Alarms()
    alarms.look(0, {"eval/cosine_to_target": 1.0})  # G(x, z) = x before training
    alarms.look(monitors.QUIET_STEPS - 1, {"eval/cosine_to_target": 1.0})
    alarms.look(500, {"eval/cosine_to_target": 0.5, "train/d_loss": 0.7})
    assert said() == []
    alarms.look(1000, {"eval/cosine_to_target": 0.99})
    alarms.look(1010, {"eval/cosine_to_target": 0.99, "train/d_loss": 1e-5})
    assert [words.split(":")[0] for words in said()] == ["step 1000", "step 1010"]
    assert "swaps equal their targets" in said()[0] and "raise r1_gamma" in said()[1]
    alarms.look(1010 + monitors.QUIET_STEPS, {"eval/cosine_to_target": 0.99})
    assert len(said()) == 3


def test_an_embedder_to_which_all_are_alike_is_told(said):
    alarms = monitors.Alarms()
    alarms.look(0, {"eval/cosine_other": 0.99, "eval/auc": 0.5}, last=True)  # before training all are
    alarms.look(400, {"eval/cosine_other": 0.99, "eval/auc": 0.5})
    alarms.look(500, {"eval/cosine_other": 0.3, "eval/auc": 0.9})
    alarms.look(0, {"eval/cosine_to_source": 0.1, "eval/cosine_to_target": 1.0})
    assert said() == []
    alarms.look(400, {"eval/cosine_other": 0.96, "eval/auc": 0.8}, last=True)
    monitors.Alarms().look(600, {"eval/cosine_other": 0.1, "eval/auc": 0.51})
    monitors.Alarms().look(0, {"eval/cosine_to_source": 0.99, "eval/cosine_to_target": 1.0})
    assert [words.split(" (")[0] for words in said()] == [
        "step 400: to the embedder all faces are alike",
        "step 600: to the embedder all faces are alike",
        "step 0: to the frozen embedder all faces are alike",
    ]


def test_waiting_for_input_is_measured_and_told_once(said, monkeypatch):
    moments = iter([0, 1, 91, 100, 100, 200, 200, 201, 300, 300, 400])
    monkeypatch.setattr(monitors, "time", SimpleNamespace(monotonic=lambda: float(next(moments))))
    meter = monitors.InputMeter()
    for share, count in ((0.9, 0), (1.0, 1), (0.99, 1)):  # the first batch always takes long
        with meter.waiting():
            pass
        assert meter.share() == share and len(said()) == count
    assert meter.share() == 0
    assert len(said()) == 1 and "waits for its input" in said()[0]


def test_the_watchdog_writes_the_stacks_of_a_step_that_hangs():
    code = """
import time
from smoothswap_jax.training import monitors
def a_step_that_hangs(): time.sleep(2.7)
def a_quick_step(): time.sleep(0.01)
with monitors.watchdog(1.0) as alive:
    for _ in range(3):
        alive(); a_quick_step()
    print("quick", flush=True)
    alive(); a_step_that_hangs()
with monitors.watchdog(0) as alive:
    alive(); a_quick_step()
time.sleep(1.3)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=True)
    assert "a_step_that_hangs" in done.stderr and "a_quick_step" not in done.stderr
    assert done.stderr.count("Timeout (0:00:01") == 2
