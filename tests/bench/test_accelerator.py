"""The session that measures an accelerator, rehearsed on a CPU at tiny sizes; what it does with what fails; and that
the forms it compares compute the same. Speed is not tested."""

import importlib.util
import json
import math
import os
import subprocess
import sys
import time

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from smoothswap_jax.bench import phases
from smoothswap_jax.bench.accelerator import clock, forms, measure, plan, session, show, worker
from smoothswap_jax.bench.accelerator.measurement import Measurement
from smoothswap_jax.bench.accelerator.ratios import ratios
from smoothswap_jax.bench.setting import make_setting
from smoothswap_jax.models import convolution, layers, ncsnpp
from smoothswap_jax.runtime import sharding
from tests.bench import stand_in_worker
from tests.places import ROOT

CONFIGS = ROOT / "tests" / "golden" / "configs.json"
HAS_TORCH = importlib.util.find_spec("torch") is not None
MISSING = ("tensorflow", "tensorflow_datasets", "clu", "ml_collections", "array_record")
"""What machines with an accelerator may lack; nothing that is measured may need it."""


def rehearse(folder, *options: str, seconds: int) -> dict:
    """What launch/measure.sh records here, in an interpreter without MISSING."""
    missing = folder / "missing"
    missing.mkdir()
    for name in MISSING:
        (missing / f"{name}.py").write_text(f"raise ModuleNotFoundError('no {name} here', name={name!r})\n")
    environment = {**os.environ, "PYTHON": sys.executable, "PYTHONPATH": str(missing), "JAX_PLATFORMS": "cpu"}
    command = ["bash", str(ROOT / "launch" / "measure.sh"), "--out=found.json", f"--seconds={seconds}", *options]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=seconds + 60)
    assert done.returncode == 0, done.stderr[-3000:]
    assert "ratios" in done.stdout
    return json.loads((folder / "found.json").read_text())


def faults(record: dict) -> dict[str, str]:
    """What was not measured, but for PyTorch where there is none."""
    return {
        name: f"{one['status']}: {one.get('error')}"
        for name, one in record["measurements"].items()
        if one["status"] != "measured" and not (one["status"] == "not installed" and not HAS_TORCH)
    }


def test_a_rehearsal_measures_without_the_libraries_that_may_be_missing(tmp_path):
    only = ("device", "peaks", "paper256, batch 8: step with R1", "ncsnpp256, batch 32: attention")
    record = rehearse(tmp_path, "--only", *only, seconds=900)
    assert faults(record) == {}
    found = record["measurements"]
    assert found["device"]["platform"] == "cpu" and found["device"]["sizes"] == "tiny, a rehearsal"
    assert found["peaks"]["matmul bfloat16, FLOP/s"] > 0 and found["peaks"]["copy, bytes/s"] > 0
    step = found["paper256, batch 8: step with R1"]
    assert step["images"] == 1 and min(step[key] for key in ("ms", "TFLOP", "compile s")) > 0 < step["MB"]["peak"]
    assert set(record["ratios"]["paper256, batch 8"]["fraction of matmul peak"]) == {"step with R1"}
    (alone,) = (one for name, one in found.items() if "attention" in name)
    (times,) = (value for name, value in alone.items() if name.endswith("channels, ms"))
    assert times["forward, ours"] > 0 and times["with gradients, jax.nn, XLA"] > 0
    assert isinstance(times["forward, jax.nn, cuDNN"], str)  # why a CPU has none
    torch = found["torch: device"]
    assert torch["status"] == ("measured" if HAS_TORCH else "not installed")
    assert HAS_TORCH or torch["error"] == "torch is not installed"


@pytest.mark.slow
def test_a_rehearsal_of_everything(tmp_path):
    record = rehearse(tmp_path, "--each=1200", seconds=3600)
    assert faults(record) == {}
    own = record["ratios"]["paper256, batch 32"]
    assert set(own["time over the step's"]) == {
        *forms.REPLACED, *plan.FLAGS, "remat dots_saveable", "remat nothing_saveable"
    }  # fmt: skip
    assert own["R1's cost, over the step without"] is not None and "R1" in own["share of the step"]
    assert set(own.get("torch over jax", {})) == (
        {f"{what}, {how}" for what in ("step", "step with R1", "generator forward") for how in ("eager", "compiled")}
        if HAS_TORCH
        else set()
    )


# --- the session --------------------------------------------------------------------------------------------------


def run(monkeypatch, out, functions: list[str], seconds: float = 60.0, each: float = 30.0) -> dict:
    monkeypatch.setattr(session, "work", stand_in_worker.work)
    measurements = [
        Measurement(f"{i} {function}", "torch" if function == "absent" else "jax", function)
        for i, function in enumerate(functions)
    ]
    session.run_session(measurements, out, seconds, each, {}, {}, report=lambda line: None)
    return json.loads(out.read_text())["measurements"]


def test_whatever_fails_is_recorded_and_the_rest_goes_on(monkeypatch, tmp_path):
    found = run(
        monkeypatch, tmp_path / "a.json", ["fine", "raise", "memory", "die", "fine", "absent", "absent", "fine"]
    )
    assert [one["status"] for one in found.values()] == [
        "measured", "failed", "out of memory", "failed", "measured", "not installed", "not installed", "measured",
    ]  # fmt: skip
    assert found["1 raise"]["error"] == "ValueError: found 1, wanted 2"
    assert found["3 die"]["error"] == "the process ended with 9"
    assert found["6 absent"]["error"] == "torch is not installed"
    processes = [found[name]["process"] for name in ("0 fine", "4 fine", "7 fine")]
    assert len(set(processes)) == 3
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"]


def test_what_hangs_is_ended_and_the_time_is_kept(monkeypatch, tmp_path):
    begun = time.monotonic()
    found = run(monkeypatch, tmp_path / "a.json", ["hang", "fine"], seconds=120, each=15)
    assert [one["status"] for one in found.values()] == ["out of time", "measured"]
    assert found["0 hang"]["error"] == "not done after 15 s"
    found = run(monkeypatch, tmp_path / "a.json", ["hang", "fine", "fine"], seconds=session.MARGIN + 1)
    assert [one["status"] for one in found.values()] == ["out of time", "skipped", "skipped"]
    assert found["2 fine"]["error"] == "the time was over"
    assert time.monotonic() - begun < 150


def test_the_record_is_whole_after_each_measurement(monkeypatch, tmp_path):
    monkeypatch.setattr(session, "work", stand_in_worker.work)
    seen = []
    look = lambda line: seen.append(json.loads((tmp_path / "a.json").read_text())["measurements"])
    two = [Measurement(name, "jax", "fine") for name in ("a", "b")]
    session.run_session(two, tmp_path / "a.json", 60, 30, {}, {}, look)
    assert [[one["status"] for one in record.values()] for record in seen] == [
        ["measured", "skipped"],
        ["measured", "measured"],
    ]


def test_names_are_unique_and_the_choice_is_by_them(capsys, tmp_path):
    everything = plan.measurements([32, 8])
    assert len({one.name for one in everything}) == len(everything)
    measure.main(["--list", "--out=x.json", "--only", "torch"])
    named = capsys.readouterr().out.splitlines()
    assert named == [one.name for one in plan.measurements([32, 8, 64]) if one.library == "torch"]
    with pytest.raises(SystemExit):
        measure.main(["--out=x.json", "--only", "tourch"])
    assert "--only=tourch: no name has it; --list prints them" in capsys.readouterr().err


def test_every_name_of_the_plan_is_a_function():
    planned = {(one.library, one.function) for one in plan.measurements([32])}
    assert planned == {*worker.PLACES}
    for library, function in planned:
        if library == "jax" or HAS_TORCH:
            assert callable(worker._find(library, function))


def test_xla_knows_the_flags():
    lowered = jax.jit(lambda x: 2 * x).lower(jnp.ones(4))
    for options in plan.FLAGS.values():
        lowered.compile(compiler_options=options)


def test_calls_are_queued_and_all_are_waited_for():
    done = []
    times = clock.seconds_of({"slow": lambda: time.sleep(0.02), "fast": lambda: None}, done.append, 0.2)
    assert times["slow"] > 0.02 > times["fast"]
    assert len(done) == 2 * (2 + clock.ROUNDS)


# --- what follows from it -----------------------------------------------------------------------------------------


def test_ratios_by_hand():
    setting = {"preset": "paper256", "batch": 8}
    step = lambda ms, tflop: {
        "status": "measured", "arguments": setting, "ms": ms, "TFLOP": tflop, "TFLOP/s": 1e3 * tflop / ms,
        "images": 8, "R1 every": 16,
    }  # fmt: skip
    name = "paper256, batch 8: "
    records = {
        "peaks": {"status": "measured", "arguments": {}, "matmul bfloat16, FLOP/s": 800e12},
        f"{name}step": step(40.0, 16.0),
        f"{name}step with R1": step(56.0, 18.0),
        f"{name}generator forward": step(10.0, 4.0),
        f"{name}generator, losses and backward": step(30.0, 12.0),
        f"{name}discriminator": step(12.0, 3.0),
        f"{name}step, no CUDA graphs": step(50.0, 16.0),
        f"{name}step, NHWC forced": {"status": "failed", "arguments": setting, "error": "x"},
        "torch compiled: paper256, batch 8": {"status": "measured", "arguments": setting, "step, ms": 60.0},
        "ncsnpp256, batch 8: step": {"status": "out of memory", "arguments": {"preset": "ncsnpp256", "batch": 8}},
        "paper256, batch 64: step": {"status": "skipped"},
    }
    found = ratios(records)
    assert list(found) == ["paper256, batch 8"]
    own = found["paper256, batch 8"]
    assert own["fraction of matmul peak"] == pytest.approx(
        {
            "step": 0.5,
            "step with R1": 18 / 0.056 / 800,
            "generator forward": 0.5,
            "generator, losses and backward": 0.5,
            "discriminator": 0.3125,
            "backward through losses and generator": 0.5,
        }
    )
    assert own["images/s"] == pytest.approx(8 / 0.041)
    assert own["R1's cost, over the step without"] == pytest.approx(0.4)
    assert own["R1's share of the mean step"] == pytest.approx(1 / 41)
    assert own["share of the step"] == pytest.approx(
        {"generator forward": 0.25, "discriminator": 0.3, "backward through losses and generator": 0.5}
    )
    assert own["time over the step's"] == pytest.approx({"no CUDA graphs": 1.25})
    assert own["torch over jax"] == pytest.approx({"step, compiled": 1.5})
    assert ratios({}) == {}


def test_a_record_is_shown_ratios_first(tmp_path, capsys):
    record = {
        "format": session.FORMAT, "begun": "2026-12-01", "seconds": 540, "took s": 12.5,
        "ratios": {"paper256, batch 8": {"torch over jax": {"step, eager": 2.0}}},
        "measurements": {
            "peaks": {"status": "measured", "arguments": {}, "copy, bytes/s": 4.3e12},
            "paper256, batch 8: step": {"status": "out of memory", "error": "RESOURCE_EXHAUSTED: 7\nmore"},
        },
    }  # fmt: skip
    file = tmp_path / "a.json"
    file.write_text(json.dumps(record))
    show.main([str(file)])
    text = capsys.readouterr().out
    assert (
        text.index("torch over jax") < text.index("copy, bytes/s") < text.index("out of memory: RESOURCE_EXHAUSTED: 7")
    )
    assert "12.5 of 540 s" in text and "more" not in text
    file.write_text(json.dumps({**record, "format": 99}))
    with pytest.raises(SystemExit):
        show.main([str(file)])
    assert f"a.json: format is 99; wanted {session.FORMAT}" in capsys.readouterr().err


# --- forms --------------------------------------------------------------------------------------------------------


def draw(seed: int, *shape: int) -> jax.Array:
    return jnp.asarray(np.random.default_rng(seed).standard_normal(shape, np.float32))


@pytest.mark.parametrize(
    "up, down, pad", [(1, 1, (2, 1)), (2, 1, (2, 1)), (1, 2, (1, 1)), (2, 1, (3, 2)), (1, 1, (-1, 2))]
)
def test_fir_as_a_depthwise_convolution_is_the_same(up, down, pad):
    x, taps = draw(0, 2, 6, 8, 3), (1.0, 3.0, 2.0, 1.0)
    ours = layers.upfirdn2d(x, taps, up, down, pad)
    np.testing.assert_allclose(forms.as_depthwise(x, taps, up, down, pad), ours, atol=1e-4)


@pytest.mark.parametrize("stride", [1, 2])
def test_convolutions_in_other_forms_are_the_same(stride):
    x, w = draw(0, 2, 7, 7, 3), draw(1, 1, 1, 3, 4)
    ours = convolution._pointwise(x, w, (stride, stride), {})
    np.testing.assert_allclose(forms.as_convolution(x, w, (stride, stride), {}), ours, atol=1e-5)
    window = convolution.Window((3, 3), (stride, stride), ((1, 1), (1, 1)))
    g = draw(2, 2, -(-7 // stride), -(-7 // stride), 4)
    ours = convolution._weight_gradient(x, g, window)
    np.testing.assert_allclose(forms.as_product(x, g, window), ours, atol=1e-4)


def test_fused_attention_is_the_same():
    q, k, v = (draw(seed, 2, 9, 8) for seed in range(3))
    np.testing.assert_allclose(forms.fused(q, k, v), ncsnpp.attend(q, k, v), atol=1e-5)


@pytest.mark.parametrize("name", forms.REPLACED)
def test_a_form_of_the_step_is_one_while_it_is_traced(name):
    module, function, other = forms.REPLACED[name]
    own = getattr(module, function)
    with forms.form_of_step(name):
        assert getattr(module, function) is other
    assert getattr(module, function) is own is not other


@pytest.fixture(scope="module", params=plan.PRESETS)
def tiny(request):
    presets, embedder = measure.read_presets(str(CONFIGS))
    setup = worker.make_setup(True, presets, embedder)
    return setup.presets[request.param], setup.embedder


def test_random_states_are_those_of_the_program(tiny):
    program = (setting := make_setting(*tiny, 2, "float32", sharding.make_mesh(1))).program
    state = setting.random_state()
    assert jax.tree.map(lambda x: (x.shape, x.dtype), state) == jax.tree.map(
        lambda x: (x.shape, x.dtype), program.shapes
    )
    frozen, images, z = setting.random_inputs()
    assert {*plan.PHASES} == {*phases.parts(program, state, frozen, images, z)}
    swap = program.networks.generate(state.generator, images["target"], z)
    logits = program.networks.discriminate(state.discriminator, images["target"], z)
    assert np.isfinite(swap).all() and 0.5 < np.std(swap) < 10 and 0.01 < np.abs(logits).max() < 100


def test_networks_in_pytorch_have_as_many_parameters(tiny):
    torch = pytest.importorskip("torch")
    from smoothswap_jax.bench.torch_networks import Generator, TorchStep

    setting = make_setting(*tiny, 2, "float32", sharding.make_mesh(1))
    step = TorchStep(*tiny, 2, dtype=torch.bfloat16, channels_last=True)
    count = lambda arrays: sum(math.prod(x.shape) for x in arrays)
    shapes = setting.program.shapes
    ours = {"generator": shapes.generator, "discriminator": shapes.discriminator, "embedder": setting.frozen["params"]}
    for part, tree in ours.items():
        assert count(jax.tree.leaves(tree)) == count(getattr(step, part).parameters()), part
    before = [x.clone() for x in step.average.parameters()]
    step(with_r1=False)
    step()
    assert all(torch.isfinite(x).all() for x in step.generator.parameters())
    assert any((x != y).any() for x, y in zip(before, step.average.parameters(), strict=True))
    with pytest.raises(ValueError, match="progressive=residual: not in PyTorch"):
        Generator(8, 8, 8, (1,), 1, (), progressive="residual")
