"""docs/report_schema.md as data, to hold reports against it."""

import re
from typing import Any

from tests.places import ROOT

SCHEMA_DOC = ROOT / "docs" / "report_schema.md"


def documented_keys(part: int) -> dict[str, set[str]]:
    """Key -> types, as a table of the schema's page has them: part 0 is the report's own, 1 what evaluate adds."""
    text = SCHEMA_DOC.read_text("utf-8").split("\n## ")[part]
    rows = re.findall(r"^\| `(\S+)` \| ([a-z, ]+) \|", text, re.MULTILINE)
    assert len({key for key, _ in rows}) == len(rows) > 20
    return {key: set(types.split(", ")) for key, types in rows}


def keys_of(value: Any, key: str, known: set[str]) -> list[tuple[str, str]]:
    """Every (key, type) in a JSON value; a name that the schema leaves to the writer becomes `*`."""
    if isinstance(value, dict) and value.keys() == {"value", "low", "high"}:
        return [(key, "interval")]
    if isinstance(value, dict):
        free = any(name.startswith(f"{key}.*") for name in known)
        parts = [(f"{key}.{'*' if free else name}".lstrip("."), part) for name, part in value.items()]
        return [pair for name, part in parts for pair in keys_of(part, name, known)]
    if isinstance(value, list):
        return [pair for part in value for pair in keys_of(part, f"{key}[]", known)]
    return [(key, {str: "text", bool: "boolean", type(None): "null"}.get(type(value), "number"))]
