"""Reading the golden numbers in tests/golden, and comparing a module with them."""

import re
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax.traverse_util import flatten_dict

from smoothswap_jax.weights.variables import stored_tensors, to_variables
from tests.models.helpers import quick_jit

FOLDER = Path(__file__).with_name("golden")


def nhwc(array: np.ndarray) -> np.ndarray:
    """Torch's NCHW as NHWC; arrays without four axes as they are."""
    return array.transpose(0, 2, 3, 1) if array.ndim == 4 else array


def relative_error(ours: Any, reference: np.ndarray) -> float:
    """Largest difference over the reference's largest magnitude."""
    ours = np.asarray(ours)
    assert ours.shape == reference.shape, f"found {ours.shape}, wanted {reference.shape}"
    return float(np.abs(ours - reference).max() / np.abs(reference).max())


class Golden:
    """One file. `golden[key]` is the stored array, `golden.image(key)` is it in NHWC."""

    def __init__(self, name: str):
        with np.load(FOLDER / f"{name}.npz") as data:
            self.arrays = dict(data)

    def __getitem__(self, key: str) -> np.ndarray:
        return self.arrays[key]

    def image(self, key: str) -> np.ndarray:
        return nhwc(self.arrays[key])

    def group(self, prefix: str) -> dict[str, np.ndarray]:
        """All arrays under `prefix`, without it."""
        return {k[len(prefix) :]: v for k, v in self.arrays.items() if k.startswith(prefix)}

    def inputs(self) -> list[np.ndarray]:
        """The arguments in NHWC, in the order of the stored call."""
        return [nhwc(v) for k, v in self.group("in/").items() if k != "proj"]


def value_and_grads(module, variables, inputs, proj, train=None) -> dict[str, Any]:
    """Output, updated collections, and gradients of sum(output * proj) by parameters and inputs, jitted."""
    kwargs = {} if train is None else {"train": train}

    @quick_jit
    def run(variables, inputs, proj):
        def loss(params, inputs):
            out, changed = module.apply(
                {**variables, "params": params}, *inputs, **kwargs,
                mutable=["batch_stats", "intermediates"], capture_intermediates=True,
            )  # fmt: skip
            return jnp.sum(out * proj), (out, changed)

        grads, (out, changed) = jax.grad(loss, argnums=(0, 1), has_aux=True)(variables.get("params", {}), inputs)
        return {"out": out, "params": grads[0], "inputs": grads[1], **changed}

    with jax.default_matmul_precision("highest"):
        return run(variables, list(inputs), proj)


def gradient_errors(golden, kind, module, inputs, grads, prefix="") -> dict[str, float]:
    """Error of each parameter gradient stored as `grad/<name>` or `gradnorm/<name>`, by the checkpoint's
    names.

    All of the file's must be among ours. A tensor's error is relative to its own magnitude. Two exceptions
    are held against the largest gradient: what is zero in the file, and the bias of attention's keys (NIN_1),
    which is zero but for rounding because softmax ignores a constant.
    """
    sources, _ = stored_tensors(kind, module, *inputs)
    full, norms = golden.group(prefix + "grad/"), golden.group(prefix + "gradnorm/")
    full, norms = ({n.removeprefix("net."): v for n, v in names.items()} for names in (full, norms))
    ours = flatten_dict({"params": grads})
    largest = max(float(np.abs(v).max()) for v in (full or norms).values())
    errors = {}
    for path, source in sources.items():
        if path[0] != "params" or source.name not in full | norms:
            continue
        found: Any = np.asarray(ours[path], np.float64)
        if source.name in full:
            wanted = source.convert(full[source.name])
            assert found.shape == wanted.shape, source.name
        else:
            found, wanted = np.linalg.norm(found.ravel()), norms[source.name]
        scale = 0 if re.search(r"NIN_1[./]b$", source.name) else np.abs(wanted).max()
        errors[source.name] = float(np.abs(found - wanted).max() / (scale or largest))
    assert set(errors) == set(full | norms)
    return errors


def check_module(golden, kind, module, tolerance, inputs=None, train=None, state=None) -> dict[str, Any]:
    """Fill `module` from the file's weights and compare output and gradients. Returns what was computed.

    tolerance: {'out', 'inputs', 'params'}, relative errors.
    """
    inputs = golden.inputs() if inputs is None else inputs
    state = golden.group("sd/") if state is None else state
    variables = to_variables(kind, state, module, *inputs)
    got = value_and_grads(module, variables, inputs, golden.image("in/proj"), train)
    worst = {"out": relative_error(got["out"], golden.image("out/y"))}
    names = [k for k in golden.group("in/") if k != "proj"]
    grads_in = [relative_error(g, golden.image(f"grad_in/{n}")) for n, g in zip(names, got["inputs"], strict=True)]
    worst["inputs"] = max(grads_in)
    worst["params"] = max(gradient_errors(golden, kind, module, inputs, got["params"]).values())
    print({k: f"{v:.1e}" for k, v in worst.items()})
    for key, limit in tolerance.items():
        assert worst[key] <= limit, f"{key}: relative error {worst[key]:.2e}, at most {limit:.0e} allowed"
    return got
