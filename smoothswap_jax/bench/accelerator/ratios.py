"""What follows from the measurements of a session: fractions of its measured peaks, and one form over another.

All are of one run on one machine, so they are what may be compared with other machines.
"""

from typing import Any

from smoothswap_jax.bench.accelerator import plan

Records = dict[str, dict[str, Any]]


def ratios(records: Records) -> dict[str, dict[str, Any]]:
    """By setting (preset and batch): fractions of the matmul peak, what R1 costs, and times over the step's own; of
    what was measured."""
    peak = _value(records, "peaks", "matmul bfloat16, FLOP/s")
    found: dict[str, dict[str, Any]] = {}
    settings = dict.fromkeys(
        (record["arguments"]["preset"], record["arguments"]["batch"])
        for record in records.values()
        if "batch" in record.get("arguments", {})
    )
    for preset, batch in settings:
        own = {
            "fraction of matmul peak": _fractions(records, preset, batch, peak),
            **_of_step(records, preset, batch),
            "time over the step's": _variants(records, preset, batch),
            "torch over jax": _torch(records, preset, batch),
        }
        found[f"{preset}, batch {batch}"] = {name: value for name, value in own.items() if value not in (None, {})}
    return {setting: own for setting, own in found.items() if own}


def _value(records: Records, name: str, key: str) -> float | None:
    return records.get(name, {}).get(key)


def _over(one: float | None, other: float | None) -> float | None:
    return one / other if one is not None and other else None


def _less(one: float | None, other: float | None) -> float | None:
    return one - other if one is not None and other is not None else None


def _known(values: dict[str, float | None]) -> dict[str, float]:
    return {name: value for name, value in values.items() if value is not None}


def _fractions(records: Records, preset: str, batch: int, peak: float | None) -> dict[str, float]:
    names = {
        "step": plan.step_name(preset, batch),
        "step with R1": plan.step_name(preset, batch, True),
        **{part: plan.phase_name(preset, batch, part) for part in plan.PHASES},
    }
    rates = {what: _over(_value(records, name, "TFLOP/s"), peak and peak / 1e12) for what, name in names.items()}
    whole, forward = (
        records.get(plan.phase_name(preset, batch, part), {})
        for part in ("generator, losses and backward", "generator forward")
    )
    operations, took = (_less(whole.get(key), forward.get(key)) for key in ("TFLOP", "ms"))
    rates["backward through losses and generator"] = _over(_over(operations, took and took / 1e3), peak and peak / 1e12)
    return _known(rates)


def _of_step(records: Records, preset: str, batch: int) -> dict[str, Any]:
    own = records.get(plan.step_name(preset, batch), {})
    plain, with_r1 = own.get("ms"), _value(records, plan.step_name(preset, batch, True), "ms")
    r1 = _less(with_r1, plain)
    mean = plain if plain is None or r1 is None else plain + r1 / own["R1 every"]
    parts = {part: _value(records, plan.phase_name(preset, batch, part), "ms") for part in plan.PHASES}
    parts["R1"] = _less(parts.pop("discriminator with R1"), parts["discriminator"])
    parts["backward through losses and generator"] = _less(
        parts.pop("generator, losses and backward"), parts["generator forward"]
    )
    return {
        "images/s": mean and 1e3 * own["images"] / mean,
        "R1's cost, over the step without": _over(r1, plain),
        "R1's share of the mean step": _over(_less(mean, plain), mean),
        "share of the step": _known({part: _over(value, plain) for part, value in parts.items()}),
    }


def _variants(records: Records, preset: str, batch: int) -> dict[str, float]:
    own = plan.step_name(preset, batch)
    prefix = plan.variant_name(preset, batch, "")
    return _known(
        {
            name.removeprefix(prefix): _over(record.get("ms"), _value(records, own, "ms"))
            for name, record in records.items()
            if name.startswith(prefix)
        }
    )


def _torch(records: Records, preset: str, batch: int) -> dict[str, float]:
    kinds = {"step": plan.step_name(preset, batch), "step with R1": plan.step_name(preset, batch, True)}
    kinds["generator forward"] = plan.phase_name(preset, batch, "generator forward")
    return _known(
        {
            f"{what}, {'compiled' if compiled else 'eager'}": _over(
                _value(records, plan.torch_name(preset, batch, compiled), f"{what}, ms"), _value(records, name, "ms")
            )
            for compiled in (False, True)
            for what, name in kinds.items()
        }
    )
