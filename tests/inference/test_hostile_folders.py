"""Exports and run directories that somebody else wrote: whatever is in them, loading them costs little and says in one
line what is wrong."""

import json
import shutil
from pathlib import Path

import pytest

from smoothswap_jax.cli.main import main
from smoothswap_jax.config.errors import ConfigError
from smoothswap_jax.inference.export.export_folder import export_swapper, load_export
from smoothswap_jax.inference.load import load_swapper
from smoothswap_jax.runtime import checksums
from smoothswap_jax.runtime.checkpoint import CheckpointError
from smoothswap_jax.weights.exported import ExportError
from tests import mutations
from tests.tiny_runs import seal_export

EXPORT = ["config.json", "config.json", "params.safetensors", "swap.stablehlo", "SHA256SUMS"]
RUN = [
    *("checkpoints/6/meta/metadata", "checkpoints/6/_CHECKPOINT_METADATA", "checkpoints/6/state/**/*"),
    *("checksums/6.json", "embedder/checkpoints/*/meta/metadata", "embedder/checkpoints/*/state/**/*"),
]


@pytest.fixture(scope="module")
def exported(swapper, tmp_path_factory):
    out = tmp_path_factory.mktemp("hostile") / "exported"
    export_swapper(swapper, out)
    return out


def seal_run(folder: Path) -> None:
    """The checksums of what is there now, of the run and of its embedder."""
    for run in (folder, folder / "embedder"):
        for step in (run / "checkpoints").iterdir():
            record = run / "checksums" / f"{step.name}.json"
            if run != folder or not record.exists() or json_is_sound(record):
                checksums.seal(step, record)


def json_is_sound(record: Path) -> bool:
    try:
        return all(len(facts["sha256"]) == 64 for facts in json.loads(record.read_bytes()).values())
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return False


def test_a_sample_of_mutated_exports(exported, tmp_path):
    found = mutations.outcomes(exported, tmp_path, EXPORT, 16, 1, seal_export, load_swapper)
    assert sum(count for (_, word), count in found.items() if word == "refused") > 8


def test_a_sample_of_mutated_runs(swapper, tmp_path):
    found = mutations.outcomes(swapper, tmp_path, RUN, 10, 2, seal_run, load_swapper)
    assert sum(count for (_, word), count in found.items() if word == "refused") > 3


@pytest.mark.slow
def test_many_mutated_exports(exported, tmp_path):
    print(mutations.outcomes(exported, tmp_path, EXPORT, 160, 3, seal_export, load_swapper))


@pytest.mark.slow
def test_many_mutated_runs(swapper, tmp_path):
    print(mutations.outcomes(swapper, tmp_path, RUN, 160, 4, seal_run, load_swapper))


def changed(exported: Path, out: Path, change) -> Path:
    """A copy of the export whose config.json is what `change` makes of it, with sound checksums."""
    shutil.copytree(exported, out)
    config = json.loads((out / "config.json").read_text())
    made = change(config)
    (out / "config.json").write_text(made if isinstance(made, str) else json.dumps(config))
    seal_export(out)
    return out


def setting(path: str, value):
    def change(config):
        *groups, last = path.split(".")
        inside = config
        for group in groups:
            inside = inside[group]
        inside[last] = value

    return change


@pytest.mark.parametrize(
    "change, said",
    [
        (setting("training.data.size", 10**5), "config.data.size is 100000, wanted a whole number, 4 to 4096"),
        (setting("training.data.size", 4096), "attention in the middle would be over 4096 x 4096 pixels"),
        (
            setting("training.generator.nf", 10**9),
            "config.generator.nf is 1000000000, wanted a whole number, 1 to 1024",
        ),
        (setting("training.generator.nf", -4), "config.generator.nf is -4, wanted"),
        (setting("training.generator.nf", "16"), "config.generator.nf is '16', wanted"),
        (
            lambda config: [part["generator"].update(nf=16) for part in (config, config["training"])],
            "down0_block0/conv0/bias' has shape [8], and config.json wants [16]",
        ),
        (setting("training.generator.num_res_blocks", 10**7), "config.generator.num_res_blocks is 10000000, wanted"),
        (setting("training.generator.num_res_blocks", 32), "describes a network of more layers than the "),
        (setting("training.generator.fir_kernel", [1] * 10_000), "config.generator.fir_kernel is [1, 1, 1"),
        (setting("embedder.hidden", 10**9), "config.embedder.hidden is 1000000000, wanted a whole number, 1 to 65536"),
        (setting("embedder.stage_sizes", [64] * 8), "describes a network of more layers than the "),
        (setting("embedder", None), "config.embedder is None, wanted a group of fields"),
        (setting("training", []), "config is [], wanted a group of fields"),
        (setting("size", float("nan")), "size is nan, and training says 16"),
        (setting("generator.nf", 4), "generator is {'nf': 4"),
        (setting("step", "many"), "step is 'many', wanted a whole number"),
        (setting("embedder_sha256", [1] * 10_000), "embedder_sha256 is [1, 1, 1"),
        (setting("also_sha256", [1] * 10_000), "also_sha256 is [1, 1, 1"),
        (lambda config: "[" * 100_000 + "]" * 100_000, "more than 64 deep"),
        (lambda config: json.dumps(config).replace('"step": 6', '"step": ' + "6" * 5000), "not a JSON file"),
    ],
)
def test_a_hostile_config_is_refused_by_field(exported, tmp_path, change, said):
    with pytest.raises((ExportError, ConfigError)) as raised:
        load_export(changed(exported, tmp_path / "out", change))
    assert said in str(raised.value) and "config.json" in str(raised.value) and len(str(raised.value)) < 600


def test_every_file_that_is_listed_is_checked(exported, tmp_path):
    for name in ("swap.stablehlo", "MODEL_CARD.md"):
        out = tmp_path / name
        shutil.copytree(exported, out)
        data = bytearray((out / name).read_bytes())
        data[-20] ^= 1
        (out / name).write_bytes(data)
        with pytest.raises(ExportError, match=f"{name}: its SHA-256 is not the one in SHA256SUMS"):
            load_export(out)
        (out / name).unlink()
        with pytest.raises(ExportError, match=f"lacks {name}, which SHA256SUMS lists"):
            load_export(out)


@pytest.mark.parametrize("name", ["../config.json", "/dev/zero", "a/b", "x\0y", ".", ""])
def test_checksums_are_of_files_in_the_folder(exported, tmp_path, name):
    shutil.copytree(exported, tmp_path / "out")
    with (tmp_path / "out" / "SHA256SUMS").open("a") as file:
        file.write(f"{'0' * 64}  {name}\n")
    with pytest.raises(ExportError, match=r"SHA256SUMS: lists .* wanted names of files in this folder"):
        load_export(tmp_path / "out")


def test_a_run_whose_config_is_not_its_arrays_is_refused(swapper, tmp_path, capsys):
    shutil.copytree(swapper, tmp_path / "run")
    meta = tmp_path / "run" / "checkpoints" / "6" / "meta" / "metadata"
    config = json.loads(meta.read_text())
    config["config"]["generator"]["nf"] = 16
    meta.write_text(json.dumps(config))
    seal_run(tmp_path / "run")
    with pytest.raises(CheckpointError, match=r"generator_ema/.* its config wants numbers of shape"):
        load_swapper(tmp_path / "run")
    config["config"]["generator"]["nf"] = "many"
    meta.write_text(json.dumps(config))
    seal_run(tmp_path / "run")
    arguments = [f"--checkpoint={tmp_path / 'run'}", f"--out={tmp_path / 'out'}"]
    assert main(["export", *arguments]) == 1
    error = capsys.readouterr().err
    assert (
        "metadata: config.generator.nf is 'many', wanted a whole number, 1 to 1024" in error and error.count("\n") == 1
    )


def test_a_run_with_the_embedder_of_another_is_refused(swapper, tmp_path):
    shutil.copytree(swapper, tmp_path / "run")
    meta = tmp_path / "run" / "checkpoints" / "6" / "meta" / "metadata"
    saved = json.loads(meta.read_text())
    saved["embedder"]["sha256"] = "0" * 64  # as if the copy beside it were another's
    meta.write_text(json.dumps(saved))
    seal_run(tmp_path / "run")
    with pytest.raises(CheckpointError, match="run/embedder: found another embedder than the run was trained against"):
        load_swapper(tmp_path / "run")
