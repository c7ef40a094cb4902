"""What a compiler says of the parts of the swapper's step, in each form: memory, operations, bytes read and written.

    python -m smoothswap_jax.bench.compiled_forms --out=FILE [--topology=v5e:2x2] [--variant=paper256] [--batch=8]
        [--part "generator forward" ...] [--form "" "FIR as depthwise convolutions" ...]

needs no such device (`pip install "jax[tpu]"` or `"jax[cuda12]"`), only time: a TPU's compiler takes minutes for a part
and hours for the whole step (`smoothswap bench --what=memory`). FILE, JSON, is written anew after each part, and the
same command goes on after the last one that is there. Parts are those of `smoothswap bench --what=steps`, and forms
those of `bench.accelerator.forms`; '' is the networks' own, and fused attention is XLA's where no GPU is attached. All
networks are in bfloat16.
"""

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax

from smoothswap_jax.bench import phases
from smoothswap_jax.bench.accelerator import forms
from smoothswap_jax.bench.setting import Setting, make_setting
from smoothswap_jax.bench.table import table
from smoothswap_jax.bench.topologies import topology_devices
from smoothswap_jax.config.load import load_config
from smoothswap_jax.runtime import compilation, sharding
from smoothswap_jax.runtime.files import check_new_file, write_atomically
from smoothswap_jax.runtime.json_files import read_json_object
from smoothswap_jax.runtime.paths import on_disk

OWN = "own"
DTYPE = "bfloat16"


def compile_forms(setting: Setting, out: Path, facts: dict[str, Any], only: list[str], names: list[str]) -> dict:
    """Numbers of each device by part and form; "the own one" for a form that changes nothing in a part.

    Args:
      setting: of the step, on devices to compile for. out: what is there is kept. facts: of the setting; they come
        first in the file.
      only: parts; none are all. names: forms; '' is the networks' own.

    Raises ValueError for a part that the step does not have, and for an `out` of other facts.
    """
    program = setting.program
    found = phases.parts(program, program.abstract(), setting.frozen, setting.batch, setting.z)
    if unknown := set(only) - set(found):
        raise ValueError(f"--part: found {sorted(unknown)[0]!r}; wanted of {', '.join(found)}")
    result = _kept(out, facts) if out.exists() else {**facts, "parts": {}}
    for part in only or found:
        done = result["parts"].setdefault(part, {})
        missing = [name for name in names if (name or OWN) not in done]
        if not missing:
            continue
        own = _lowered(*found[part], "")
        for name in missing:
            lowered = _lowered(*found[part], name) if name else own
            changes = not name or lowered.as_text() != own.as_text()
            done[name or OWN] = _compiled(lowered) if changes else "the own one"
            write_atomically(out, json.dumps(result, indent=1).encode())
    return result


def _kept(out: Path, facts: dict[str, Any]) -> dict[str, Any]:
    result = read_json_object(out)
    if {name: result.get(name) for name in facts} != facts:
        raise ValueError(f"--out={out}: found numbers of another setting there; wanted {json.dumps(facts)}")
    parts = result.get("parts")
    for part, done in parts.items() if isinstance(parts, dict) else [("parts", parts)]:
        if not isinstance(done, dict) or not all(isinstance(found, dict | str) for found in done.values()):
            raise ValueError(f"--out={out}: {part}: found {json.dumps(done)[:100]}; wanted numbers by form")
    return result


def _lowered(function: Callable[..., Any], arguments: tuple, form: str) -> Any:
    jax.clear_caches()  # of what was traced in another form
    with forms.form_of_step(form):
        return jax.jit(lambda *given: function(*given)).lower(*arguments)


def _compiled(lowered: Any) -> dict[str, Any]:
    start = time.perf_counter()
    try:
        with compilation.programs_kept_in(None):  # one that is found takes no time
            program = lowered.compile()
    except jax.errors.JaxRuntimeError as error:  # a form that a compiler does not take is a result
        return {"failed": str(error)[:300]}
    seconds, counted, memory = time.perf_counter() - start, compilation.cost(program), compilation.memory(program)
    return {
        "compile s": seconds,
        "peak GB": memory.get("peak", 0) / 1e9,
        "TFLOP": counted["operations"] / 1e12,
        "GB read and written": counted["bytes"] / 1e9,
    }


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0], allow_abbrev=False)
    parser.add_argument("--out", required=True)
    parser.add_argument("--topology", help="as of smoothswap bench --what=memory; this machine's devices if left out")
    parser.add_argument("--variant", default="paper256", help="of the swapper's presets")
    parser.add_argument("--embedder", help="of the embedder's presets; the swapper's name if left out")
    parser.add_argument("--batch", type=int, default=8, help="of all devices together")
    parser.add_argument("--part", nargs="+", default=[], help="all if left out")
    parser.add_argument("--form", nargs="+", default=["", *forms.REPLACED])
    args = parser.parse_args(arguments)
    if unknown := set(args.form) - {"", *forms.REPLACED}:
        parser.error(f"--form: found {sorted(unknown)[0]!r}; wanted of '', {', '.join(forms.REPLACED)}")
    if args.batch < 1:
        parser.error(f"--batch={args.batch}: wanted 1 or more")
    try:
        out = on_disk(args.out, "what a compiler says")
        check_new_file(out, overwrite=True)
        mesh = sharding.make_mesh(None, 1, topology_devices(args.topology) if args.topology else ())
        config = load_config(f"swapper:{args.variant}", [])
        embedder = load_config(f"embedder:{args.embedder or args.variant}", [])["embedder"]
        setting = make_setting(config, embedder, args.batch, DTYPE, mesh)
        devices = f"{mesh.size} of {args.topology or mesh.devices.flat[0].device_kind}"
        facts = {"devices": devices, "variant": args.variant, "batch": args.batch, "jax": jax.__version__}
        print(table(compile_forms(setting, out, facts, args.part, args.form)))
    except (ValueError, OSError, ImportError) as error:
        parser.error(str(error))


if __name__ == "__main__":
    main()
