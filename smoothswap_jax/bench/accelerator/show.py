"""`python -m smoothswap_jax.bench.accelerator.show FILE`: the record of a session as a table, ratios first."""

import argparse
from collections import Counter
from typing import Any

from smoothswap_jax.bench.accelerator.session import FORMAT
from smoothswap_jax.bench.table import table
from smoothswap_jax.runtime.json_files import read_json_object

LEFT_OUT = ("library", "arguments", "status", "error", "traceback")


def shown(record: dict[str, Any]) -> str:
    """Ratios, then what was measured, then what was not and why."""
    done = {name: one for name, one in record["measurements"].items() if one["status"] == "measured"}
    missing = {
        name: f"{one['status']}: {one.get('error', '').splitlines()[0] if one.get('error') else ''}"
        for name, one in record["measurements"].items()
        if one["status"] != "measured"
    }
    counts = Counter(one["status"] for one in record["measurements"].values())
    heading = {
        "begun": record["begun"],
        "took": f"{record['took s']} of {record['seconds']} s",
        **counts,
    }
    facts = {name: {key: value for key, value in one.items() if key not in LEFT_OUT} for name, one in done.items()}
    parts = {"session": heading, "ratios": record["ratios"], "measured": facts, "not measured": missing}
    return "\n\n".join(table({title: part}) for title, part in parts.items() if part)


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m smoothswap_jax.bench.accelerator.show", allow_abbrev=False)
    parser.add_argument("file", metavar="FILE", help="what python -m smoothswap_jax.bench.accelerator.measure wrote")
    file = parser.parse_args(arguments).file
    record = read_json_object(file)
    if record.get("format") != FORMAT:
        parser.error(f"{file}: format is {record.get('format')!r}; wanted {FORMAT}")
    print(shown(record))


if __name__ == "__main__":
    main()
