"""Config files: where they are found, what overrides do, and what is said of mistakes."""

import shutil
import subprocess
import sys

import pytest

from smoothswap_jax.config.errors import ConfigError
from smoothswap_jax.config.load import load_config, shipped_configs
from tests.places import ROOT

OWN = """
from smoothswap_jax.config.common import common_fields

def get_config(variant="plain"):
    config = common_fields()
    config.name = variant
    return config
"""


def test_overrides_reach_nested_fields_with_their_types():
    config = load_config(
        "swapper:small64", ["--config.objective.change=2", "--config.batch", "4", "--config.generator.ch_mult=(1,2)"]
    )
    assert (config["batch"], config["generator"]["ch_mult"], config["generator"]["nf"]) == (4, (1, 2), 16)
    assert type(config["objective"]["change"]) is float and config["objective"]["change"] == 2


def test_the_last_override_of_a_field_counts_also_of_a_tuple():
    twice = ["--config.generator.ch_mult=(1,)", "--config.batch=3", "--config.generator.ch_mult=(2, 4)"]
    config = load_config("swapper:small64", [*twice, "--config.batch=5"])
    assert (config["generator"]["ch_mult"], config["batch"]) == ((2, 4), 5)


def test_steps_take_along_what_depends_on_them():
    embedder = load_config("embedder:tiny32", ["--config.steps=400"])
    assert embedder["optimizer"]["warmup_steps"] == 20
    swapper = [load_config(f"swapper:{v}", ["--config.steps=400"])["objective"] for v in ("tiny32", "paper256")]
    assert [objective["identity_warmup_steps"] for objective in swapper] == [10, 0]


def test_a_name_means_the_shipped_file_and_a_path_any_file(tmp_path, monkeypatch):
    assert sorted(shipped_configs()) == ["embedder", "swapper"]
    assert load_config("swapper:tiny32", []) == load_config(f"{ROOT}/configs/swapper.py:tiny32", [])
    assert load_config("swapper", []) == load_config("swapper:tiny32", [])
    (tmp_path / "mine.py").write_text(OWN)
    monkeypatch.chdir(tmp_path)
    assert load_config("mine.py", [])["name"] == "plain"
    assert load_config(f"{tmp_path}/mine.py:other", [])["name"] == "other"
    assert load_config("mine.py", ["--config.mesh.fsdp=2"])["mesh"]["fsdp"] == 2


def test_data_fields_that_are_emptied_or_read_are_no_mistake():
    load_config("swapper:tiny32", ["--config.data.dir=", "--config.data.weights=()", "--config.seed=1"])
    load_config(
        "swapper:tiny32", ["--config.data.kind=folder", "--config.data.dir=d", "--config.data.held_out_people=3"]
    )


@pytest.mark.parametrize(
    "name, overrides, said",
    [
        ("swaper:tiny32", [], "found no file swaper; wanted the path of a config file, or one of embedder:tiny32, "),
        ("configs/none.py", [], "configs/none.py: found no file configs/none.py in /"),
        ("configs/none.py", [], "which are found from any folder"),
        ("elsewhere/configs/swapper.py:small64", [], "did you mean swapper:small64?"),
        ("swaper:tiny32", [], "did you mean swapper:tiny32?"),
        ("swaper", [], "did you mean swapper"),
        (
            "swapper:tiny32",
            ["--config.data.dir=faces"],
            "swapper:tiny32: config.data.dir is 'faces', which config.data.kind=synthetic does not read; wanted "
            "config.data.kind=prepared or folder or tfds, or no config.data.dir",
        ),
        ("swapper:tiny32", ["--config.data.weights=(1.0,)"], "wanted config.data.kind=prepared, or no config.data.we"),
        (
            "embedder:paper256",
            ["--config.data.photos", "3", "--config.data.name=x"],
            "(2) config.data.photos is 3, which config.data.kind=prepared does not read; wanted "
            "config.data.kind=synthetic, or no config.data.photos",
        ),
        ("swapper:huge", [], "variant is 'huge', wanted one of tiny32, small64, paper256, ncsnpp256"),
        (f"{ROOT}/README.md", [], "README.md: not a Python file"),
        ("swapper", ["--config.optimizer.name=adam"], "no field optimizer; did you mean generator_optimizer?"),
        ("swapper", ["--config.optimizer.b1=1", "--config.optimizer.b2=1"], "swapper: no field optimizer; did you"),
        ("embedder", ["--config.optimiser.name=adam"], "no field optimiser; did you mean optimizer?"),
        ("swapper", ["--config.self_pairs_fraction=1"], "did you mean self_pair_fraction?"),
        ("swapper", ["--config.generator.width=3"], "no field generator.width; generator has attn_resolutions, ch_m"),
        ("swapper", ["--config.batch.x=3"], "no field batch.x; batch has no fields"),
        ("swapper", ["--noconfig.debug_nan"], "no field debug_nan; did you mean debug_nans?"),
        ("swapper", ["--config.accumulate=4"], "no field accumulate; it is now grad_accum_steps"),
        ("embedder", ["--config.keep=4", "--config.photos=2"], "(1) no field keep; it is now max_to_keep (2) no field"),
        ("swapper", ["--config.batch=many"], "swapper: config.batch is 'many', wanted a whole number"),
        ("swapper", ["--config.objective.change=x"], "config.objective.change is 'x', wanted a number"),
        ("swapper", ["--config.debug_nans=maybe"], "config.debug_nans is 'maybe', wanted true or false"),
        ("swapper", ["--config.generator.ch_mult=(1,"], "config.generator.ch_mult is '(1,', wanted a tuple"),
        ("swapper", ["--config.generator=3"], "config.generator is '3', wanted a group of fields"),
        ("swapper", ["--config.batch"], "--config.batch"),
        ("swapper", ["--confg.batch=3"], "confg"),
        ("swapper", ["stray"], "unrecognised arguments: stray"),
        ("swapper", ["--steps=4"], "unrecognised argument --steps=4; did you mean --config.steps=4?"),
        (
            "swapper",
            ["--generator.nf", "4"],
            "argument --generator.nf; did you mean --config.generator.nf?",
        ),
        ("swapper", ["--config.generator.ch_mult[0]=5"], "wanted the whole, --config.generator.ch_mult='(1, 2, 2)'"),
        (
            "swapper",
            ["--config.seed[0]=5"],
            "config.seed[0]: no single item can be set; wanted the whole, ",
        ),
    ],
)
def test_mistakes_are_one_line_that_names_them(name, overrides, said):
    with pytest.raises(ConfigError) as raised:
        load_config(name, overrides)
    assert said in str(raised.value) and "\n" not in str(raised.value)


def test_all_mistakes_are_named():
    unknown = ["--config.optimizer.name=adam", "--config.learning_rate=1", "--config.batch=3"]
    with pytest.raises(ConfigError) as raised:
        load_config("swapper", unknown)
    assert "2 mistakes: (1) no field optimizer; did you mean generator_optimizer? (2) no field" in str(raised.value)
    with pytest.raises(ConfigError, match=r"2 mistakes: \(1\) config\.batch is 'x'.* \(2\) config\.steps is '1\.5'"):
        load_config("swapper", ["--config.batch=x", "--config.seed=3", "--config.steps=1.5"])


def test_a_config_file_may_define_dataclasses(tmp_path):
    own = "from __future__ import annotations\nfrom dataclasses import dataclass\n"
    own += "@dataclass\nclass Own:\n    x: int = 3\n"
    (tmp_path / "mine.py").write_text(own + OWN)
    assert load_config(f"{tmp_path}/mine.py", [])["name"] == "plain"


@pytest.mark.parametrize(
    "text, said",
    [
        ("def get_config():\n    return 3", "get_config() returned int, wanted a ConfigDict"),
        ("def get_config():\n    return {}[3]", "KeyError: 3"),
        ("get_config = ", "SyntaxError"),
        ("x = 3", "get_config"),
    ],
)
def test_a_config_file_that_fails_is_named(text, said, tmp_path):
    (tmp_path / "mine.py").write_text(text)
    with pytest.raises(ConfigError) as raised:
        load_config(f"{tmp_path}/mine.py", [])
    assert f"{tmp_path}/mine.py: " in str(raised.value) and said in str(raised.value)


def test_an_installed_package_has_the_configs(tmp_path):
    """Built as setup.py says, and run from an empty folder with nothing else of the repository in sight."""
    pytest.importorskip("setuptools")
    source, built, empty = tmp_path / "source", tmp_path / "built", tmp_path / "empty"
    source.mkdir()
    empty.mkdir()
    for name in ("smoothswap_jax", "configs"):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("setup.py", "README.md"):
        shutil.copy(ROOT / name, source / name)
    build = [sys.executable, "setup.py", "-q", "build_py", "--build-lib", str(built)]
    subprocess.run(build, cwd=source, check=True, capture_output=True, timeout=120)
    shutil.rmtree(source)
    command = ["train", "--config=swapper:tiny32", f"--workdir={empty / 'run'}", "--config.optimizer.name=adam"]
    code = (
        f"import sys; sys.path.insert(0, {str(built)!r}); from smoothswap_jax.cli.main import main; main({command!r})"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=empty, capture_output=True, text=True, timeout=120)
    assert done.stderr == ("smoothswap train: swapper:tiny32: no field optimizer; did you mean generator_optimizer?\n")
