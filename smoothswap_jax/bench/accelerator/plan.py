"""What is measured, in the order of its worth: the time may end after any of it."""

from typing import Any

from smoothswap_jax.bench.accelerator.measurement import Measurement

PRESETS = ("paper256", "ncsnpp256")
PHASES = (
    "generator forward",
    "generator, losses and backward",
    "discriminator",
    "discriminator with R1",
    "generator's optimiser and average",
    "embed the source",
)
"""Of `phases.parts`."""
FLAGS: dict[str, dict[str, Any]] = {
    "no CUDA graphs": {"xla_gpu_enable_command_buffer": ""},
    "NHWC forced": {"xla_gpu_force_conv_nhwc": True},
    "NCHW forced": {"xla_gpu_force_conv_nchw": True},
    "no Triton products": {"xla_gpu_enable_triton_gemm": False},
    "no autotuning": {"xla_gpu_autotune_level": 0},
    "latency hiding": {"xla_gpu_enable_latency_hiding_scheduler": True},
    "exhaustive tiling": {"xla_gpu_exhaustive_tiling_search": True},
}
"""XLA's options by what they do; other backends take and ignore them."""


def measurements(batches: list[int]) -> list[Measurement]:
    """batches: pairs a step; the first is measured in full, the others as whole steps."""
    main, *others = batches
    paper, ncsnpp = PRESETS
    return [
        Measurement("device", "jax", "describe"),
        Measurement("peaks", "jax", "peaks"),
        _step(paper, main, False),
        *(_phase(paper, main, part) for part in PHASES),
        _step(paper, main, True),
        Measurement("torch: device", "torch", "describe"),
        Measurement("torch: peaks", "torch", "peaks"),
        _torch(paper, main, False),
        _torch(paper, main, True),
        *_steps(ncsnpp, main),
        *(_alone(function, paper, main) for function in ("fir", "pointwise", "weight")),
        *(_alone("attention", preset, main) for preset in PRESETS),
        *(step for batch in others for step in _steps(paper, batch)),
        *(_variant(paper, main, name, form=name) for name in ("1x1 as convolutions", "FIR as depthwise convolutions")),
        _variant(paper, main, "no CUDA graphs", options=FLAGS["no CUDA graphs"]),
        _variant(paper, main, "JAX's derivatives", form="JAX's derivatives"),
        *(_variant(paper, main, f"remat {policy}", remat=policy) for policy in ("dots_saveable", "nothing_saveable")),
        _variant(paper, main, "fused attention", form="fused attention"),
        *(_variant(paper, main, name, options=options) for name, options in FLAGS.items() if name != "no CUDA graphs"),
        _variant(paper, main, "weight gradients as products", form="weight gradients as products"),
        _torch(ncsnpp, main, False),
        _torch(ncsnpp, main, True),
        *(_phase(ncsnpp, main, part) for part in PHASES),
        *(step for batch in others for step in _steps(ncsnpp, batch)),
        *(_torch(paper, batch, compiled) for batch in others for compiled in (False, True)),
    ]


def step_name(preset: str, batch: int, with_r1: bool = False) -> str:
    return f"{preset}, batch {batch}: step{' with R1' if with_r1 else ''}"


def variant_name(preset: str, batch: int, what: str) -> str:
    return f"{preset}, batch {batch}: step, {what}"


def phase_name(preset: str, batch: int, part: str) -> str:
    return f"{preset}, batch {batch}: {part}"


def torch_name(preset: str, batch: int, compiled: bool) -> str:
    return f"torch {'compiled' if compiled else 'eager'}: {preset}, batch {batch}"


def _step(preset: str, batch: int, with_r1: bool) -> Measurement:
    arguments = {"preset": preset, "batch": batch, "with_r1": with_r1}
    return Measurement(step_name(preset, batch, with_r1), "jax", "step", arguments)


def _steps(preset: str, batch: int) -> list[Measurement]:
    return [_step(preset, batch, with_r1) for with_r1 in (False, True)]


def _variant(preset: str, batch: int, what: str, **how: Any) -> Measurement:
    return Measurement(variant_name(preset, batch, what), "jax", "step", {"preset": preset, "batch": batch, **how})


def _phase(preset: str, batch: int, part: str) -> Measurement:
    return Measurement(
        phase_name(preset, batch, part), "jax", "phase", {"preset": preset, "batch": batch, "part": part}
    )


def _torch(preset: str, batch: int, compiled: bool) -> Measurement:
    return Measurement(
        torch_name(preset, batch, compiled), "torch", "steps", {"preset": preset, "batch": batch, "compiled": compiled}
    )


ALONE = {"fir": "FIR", "pointwise": "1x1", "weight": "weight gradients", "attention": "attention"}


def _alone(function: str, preset: str, batch: int) -> Measurement:
    name = f"{preset}, batch {batch}: {ALONE[function]} alone"
    return Measurement(name, "jax", function, {"preset": preset, "batch": batch})
