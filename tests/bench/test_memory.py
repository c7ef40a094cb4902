"""The compiler's report is read correctly, and what cannot be compiled or measured is reported."""

import sys

import pytest

from smoothswap_jax.bench import memory, scaling, topologies
from smoothswap_jax.bench.setting import Setting, make_setting
from smoothswap_jax.bench.topologies import DataSheet
from smoothswap_jax.cli.main import main
from smoothswap_jax.runtime import sharding
from tests import tiny_runs

PROGRAM = """
  %all-gather.1 = f32[8,16]{1,0} all-gather(%p), dimensions={0}
  %ag = (bf16[4,16]{1,0:T(8,128)(2,1)}, bf16[32,16]{1,0:T(8,128)(2,1)}) all-gather-start(%q), dimensions={0}
  %agd = bf16[32,16]{1,0} all-gather-done(%ag)
  ROOT %ar = (f32[10]{0}, f32[2,3]{1,0}) all-reduce(%a, %b), to_apply=%add
  %ars = f32[5]{0} all-reduce-start(%c), to_apply=%add
  %cp = f32[] collective-permute(%d), source_target_pairs={{0,1}}
  %cps = (f32[8,2]{1,0}, f32[8,2]{1,0}, u32[], u32[]) collective-permute-start(%d), source_target_pairs={{0,1}}
  %rs = ((f32[64]{0}), f32[64]{0}, u32[]) all-to-all-start(%d), dimensions={0}
  %fusion = f32[100]{0} fusion(%all-gather.1), calls=%x
"""


@pytest.fixture(scope="module")
def configs(tmp_path_factory):
    people = tmp_path_factory.mktemp("people")
    wide = {"generator.nf": 16, "generator.ch_mult": "(1, 2)"}  # small arrays stay whole
    return tiny_runs.config("swapper", people, people, **wide), tiny_runs.config("embedder", people)["embedder"]


@pytest.mark.parametrize(
    "given, said",
    [
        (["--what=steps", "--topology=v5e:8x8"], "--topology is not for --what=steps"),
        (["--what=scaling", "--fsdp=2"], "--fsdp is not for --what=scaling"),
        (["--what=steps", "--fsdp", "1", "8"], "--fsdp has 2 values; wanted one with --what=steps"),
        (["--what=memory", "--virtual=8", "--topology=v5e:8x8"], "--virtual and --topology: wanted one of them"),
    ],
)
def test_options_that_would_be_ignored_are_refused(given, said, capsys):
    assert main(["bench", *given]) == 1
    assert said in capsys.readouterr().err


def test_exchanged_bytes_are_those_of_the_results():
    assert memory.exchanged(PROGRAM) == {
        "all-gather": 8 * 16 * 4 + 32 * 16 * 2,
        "all-reduce": (10 + 6 + 5) * 4,
        "collective-permute": 4 + 8 * 2 * 4,
        "all-to-all": 64 * 4,
    }


def test_seconds_by_the_data_sheet_by_hand(configs):
    found = {
        "TFLOP of all devices": 8.0,
        "GB read and written": 3.0,
        "MB": {"peak": 5000.0},
        "MB exchanged": {"all-gather": 40, "all-reduce": 5, "reduce-scatter": 1.25},
    }
    sheet = DataSheet(operations=2e12, capacity=6e9, memory=6e9, links=20e6)
    setting = make_setting(*configs, 8, "bfloat16", sharding.make_mesh(4, 4))
    assert memory.compare_with_data_sheet(found, sheet, setting) == {
        "s by the data sheet": {"operations": 1.0, "memory": 0.5, "exchange": (40 + 2 * 5 + 4 * 1.25) / 20}
    }
    found |= {
        "GB read and written": 0.0,
        "MB": {"peak": 6500.0},
    }  # XLA:GPU reports no bytes, and compiles what does not fit
    setting = make_setting(*configs, 8, "float32", sharding.make_mesh(4, 4))
    found = memory.compare_with_data_sheet(found, sheet, setting)
    assert found["does not fit"] == "6.5 of 6 GB" and set(found["s by the data sheet"]) == {"exchange"}


def test_unknown_topologies_and_missing_compilers_are_refused(monkeypatch):
    def unknown(*_):
        raise RuntimeError("no such slice")

    for variable in ("TPU_SKIP_MDS_QUERY", "ALLOW_MULTIPLE_LIBTPU_LOAD"):
        monkeypatch.setenv(variable, "1")
    monkeypatch.setitem(sys.modules, "libtpu", object())
    monkeypatch.setattr(topologies.topologies, "get_topology_desc", unknown)
    with pytest.raises(ValueError, match=r"--topology=v5e:9: no such slice; wanted a TPU slice as v5e:8x8"):
        topologies.topology_devices("v5e:9")
    with pytest.raises(ValueError, match=r"--topology=v9:1: wanted a TPU slice as v5e:8x8, or GPUs as h200:8x8; of"):
        topologies.topology_devices("v9:1")
    monkeypatch.setitem(sys.modules, "libtpu", None)
    with pytest.raises(ImportError, match=r'wanted pip install "jax\[tpu\]"'):
        topologies.topology_devices("v5e:8x8")


def test_a_program_that_does_not_fit_is_reported_and_the_sweep_goes_on(configs, monkeypatch):
    import jax

    text = "RESOURCE_EXHAUSTED: Ran out of memory.\nUsed 40.06G of 15.75G hbm.\nmore"

    class Lowered:
        def compile(self):
            raise jax.errors.JaxRuntimeError(text)

    monkeypatch.setattr(Setting, "lowered", lambda self, with_r1: Lowered())
    found = memory.bench_memory(*configs, [8], ["float32"], [1, 8], [""])
    assert [one["does not fit"] for one in list(found.values())[1:]] == ["Used 40.06G of 15.75G hbm."] * 2
    text = "INTERNAL: something else"
    with pytest.raises(jax.errors.JaxRuntimeError, match="something else"):
        memory.bench_memory(*configs, [8], ["float32"], [1], [""])
    with pytest.raises(ValueError, match="fsdp is 3"):  # before anything is compiled
        memory.bench_memory(*configs, [8], ["float32"], [1, 3], [""])


@pytest.mark.slow
def test_splitting_the_state_over_8_devices_is_seen_by_the_compiler(configs):
    found = memory.bench_memory(*configs, [8], ["float32"], [1, 8], [""])
    whole, split = found["batch 8, float32, fsdp 1"], found["batch 8, float32, fsdp 8"]
    assert split["MB of state"] < 0.5 * whole["MB of state"]
    assert split["MB"]["arguments"] < 0.5 * whole["MB"]["arguments"]
    assert "all-gather" in split["MB exchanged"] and "all-gather" not in whole["MB exchanged"]
    assert whole["MB"]["arguments"] == pytest.approx(whole["MB of state"], rel=0.2)  # plus the images


@pytest.mark.slow
def test_scaling_measures_devices_and_processes(configs, monkeypatch):
    monkeypatch.setattr(scaling, "SETTINGS", ((1, 1, 1), (2, 2, 4)))
    found = scaling.bench_scaling(*configs, 8, "float32", 0.1)
    alone, two = found["1 process x 1, fsdp 1"], found["2 processes x 2, fsdp 4"]
    assert set(alone["seconds"]) == set(two["seconds"]) == {"step", *scaling.ALONE}
    assert set(alone["over one device's"].values()) == {1} and min(two["over one device's"].values()) > 0
    assert alone["MB exchanged"] == 0 < two["MB exchanged"] and two["MB of state"] < alone["MB of state"]


def test_what_cannot_be_split_is_refused_and_a_failing_process_is_reported(configs):
    with pytest.raises(ValueError, match="--batch=12; wanted a multiple of the 8 devices"):
        scaling.bench_scaling(*configs, 12, "float32", 0.1)
    with pytest.raises(
        RuntimeError, match=r"a process of 1 x 3 devices ended with 1: .*not a multiple of the mesh's 3"
    ):
        scaling._run(1, 3, 1, scaling.json.dumps([*configs, 8, "float32", 0.1]), "")
