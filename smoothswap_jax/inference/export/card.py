"""The model card of an exported swapper."""

from collections.abc import Mapping
from typing import Any

from flax.traverse_util import flatten_dict

from smoothswap_jax.training.imported_embedder import identity_network, is_imported
from smoothswap_jax.weights.registry import specs

INTENDED = """\
Research on face swapping and its detection, and edits of images of people who agreed to them. Label results as
synthetic."""
MISUSE = """\
Images or videos that show a person where they were not, without their consent: to deceive, to harass, for sexual
content, to pass identity checks, to sway opinion. It is a crime in many countries. The network itself marks nothing:
`smoothswap swap` signs and marks the files that it writes, which whoever wants to can undo, and what the programs here
return is bare. Your label is what says that a swap is not a photo."""

LIMITS = """\
Faces must be aligned as in FFHQ. Whether hair, glasses and hands in front of the face change depends on the training
data. Identities unlike those in it are rendered less well; measure before you rely on it."""
LIMITS_OF_RENDERED = "\nThe swapper was trained on synthetic people only: for photographs, train one on photographs."
LICENCE = """\
The code that made this is Apache-2.0. The terms of the weights depend on the training data; their owner has to state
them."""
LICENCE_OF_RENDERED = "\nThe swapper's training images are renderings; their heads are made of MakeHuman's (CC0 1.0)."


def _embedding(embedder: Mapping[str, Any]) -> str:
    if not is_imported(embedder):
        return f"{embedder['dim']} numbers of unit norm"
    spec = specs()[identity_network(embedder).kind]
    return f"{spec.kind}, an imported network, of unit norm; its weights are in this export, under: {spec.licence}"


def model_card(
    config: Mapping[str, Any], evaluation: Mapping[str, float], checks: Mapping[str, float], about: str = ""
) -> str:
    """MODEL_CARD.md from the export's `config.json`, the run's last evaluation, the export's own comparisons, and
    `about`, its owner's words in Markdown."""
    training, data = config["training"], config["training"]["data"]
    rendered = data["kind"] == "synthetic"
    rows = [
        ("Task", "face swapping: the identity of a source face, everything else of a target face"),
        ("Method", "Smooth-Swap (Kim et al., CVPR 2022), trained with smoothswap-jax " + config["version"]),
        ("Images", f"{config['size']} x {config['size']} px, RGB in [-1, 1], FFHQ alignment"),
        ("Identity embedding", _embedding(config["embedder"])),
        ("Parameters", ", ".join(f"{name} {count:,}" for name, count in config["parameters"].items())),
        ("Weights", f"{config['dtype']}, computed with in float32"),
        ("Training", f"{config['step']:,} steps of {training['batch']} pairs, seed {training['seed']}"),
        ("Data", _data(data)),
    ]
    parts = [
        "# Model card",
        _table(("", ""), rows),
        *(["## From its owner", about] if about else []),
        "## Losses",
        _table(("weight", ""), flatten_dict(training["objective"], sep=".").items()),
        "## Evaluation",
        _evaluation(evaluation),
        "## This export",
        "Largest differences from the checkpoint, on noise images, measured when it was written:",
        _table(("file", "difference"), ((name, f"{value:.1e}") for name, value in checks.items())),
        "## Intended use",
        INTENDED,
        "## Misuse",
        MISUSE,
        "## Limits",
        LIMITS + LIMITS_OF_RENDERED * rendered,
        "## Licence",
        LICENCE + LICENCE_OF_RENDERED * rendered,
        "The whole training configuration is in `config.json`.",
    ]
    return "\n\n".join(parts) + "\n"


def _data(data: Mapping[str, Any]) -> str:
    if data["kind"] == "synthetic":
        return f"synthetic faces: {data['people']:,} people, {data['photos']} images each, world seed {data['seed']}"
    place = data["name"] if data["kind"] == "tfds" else data["dir"]
    held_out = f"{data['held_out_people']} people held out" if data["kind"] == "folder" else "its test split held out"
    return f"{data['kind']} `{place}`, {held_out}"


def _evaluation(evaluation: Mapping[str, float]) -> str:
    if not evaluation:
        return "The training run logged none."
    rows = ((name.removeprefix("eval/"), f"{value:.4f}") for name, value in sorted(evaluation.items()))
    note = "The training run's last evaluation, on held-out people, by the embedder that trained the swapper:"
    return f"{note}\n\n{_table(('measure', 'value'), rows)}"


def _table(head: tuple[str, str], rows) -> str:
    lines = [f"| {head[0]} | {head[1]} |", "|---|---|", *(f"| {name} | {value} |" for name, value in rows)]
    return "\n".join(lines)
