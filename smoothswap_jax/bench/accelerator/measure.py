"""All we want to know of an accelerator, in minutes, as one JSON file.

    python -m smoothswap_jax.bench.accelerator.measure --out=FILE

`launch/measure.sh` starts it in a clone without installing anything. It needs JAX, Flax, Optax and Orbax, and PyTorch
for what is compared with it; neither TensorFlow nor, with --configs, ml_collections.
"""

import argparse
from pathlib import Path

from smoothswap_jax.bench.accelerator.measurement import Fields, Measurement
from smoothswap_jax.bench.accelerator.plan import PRESETS, measurements
from smoothswap_jax.bench.accelerator.session import run_session
from smoothswap_jax.bench.accelerator.show import shown
from smoothswap_jax.runtime.files import check_new_file
from smoothswap_jax.runtime.json_files import read_json_object

EMBEDDER = "paper256"


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m smoothswap_jax.bench.accelerator.measure",
        description="Measures peaks of the device, the training step of paper256 and ncsnpp256 by phases, the same in "
        "PyTorch, and forms of their operations. On a CPU everything is tiny: a rehearsal.",
        allow_abbrev=False,
    )
    parser.add_argument("--out", required=True, metavar="FILE", help="the JSON file to write; replaced if it exists")
    parser.add_argument("--seconds", type=float, default=540.0, help="of everything together (default 540)")
    parser.add_argument("--each", type=float, default=240.0, help="most seconds of one measurement (default 240)")
    parser.add_argument(
        "--batch", type=int, nargs="+", default=[32, 8, 64], metavar="N",
        help="pairs a step; the first is measured in full (default 32 8 64)",
    )  # fmt: skip
    parser.add_argument(
        "--only", nargs="+", default=[], metavar="TEXT", help="measure only what has one of these in its name"
    )
    parser.add_argument(
        "--configs", metavar="FILE",
        help="fields of the shipped configs as JSON, in place of reading configs/, which needs ml_collections",
    )  # fmt: skip
    parser.add_argument("--list", action="store_true", help="print the names of what is measured, and end")
    args = parser.parse_args(arguments)
    chosen = [one for one in measurements(args.batch) if _chosen(one, args.only)]
    if not chosen:
        parser.error(f"--only={' '.join(args.only)}: no name has it; --list prints them")
    if args.list:
        print("\n".join(one.name for one in chosen))
        return
    out = Path(args.out)
    check_new_file(out, overwrite=True)
    presets, embedder = read_presets(args.configs)
    record = run_session(chosen, out, args.seconds, args.each, presets, embedder, lambda line: print(line, flush=True))
    print(f"\n{shown(record)}\n\n{out}")


def _chosen(one: Measurement, only: list[str]) -> bool:
    return not only or any(text in one.name for text in only)


def read_presets(file: str | None) -> tuple[dict[str, Fields], Fields]:
    """Fields of the swapper's presets by variant, and the `embedder` fields of the embedder's.

    file: JSON of all configs' fields by FILE:VARIANT; None: from the shipped configs.
    """
    if file is None:
        from smoothswap_jax.config.load import load_config

        read = lambda name: load_config(name, [])
    else:
        read = read_json_object(file).__getitem__
    return {name: read(f"swapper:{name}") for name in PRESETS}, read(f"embedder:{EMBEDDER}")["embedder"]


if __name__ == "__main__":
    main()
