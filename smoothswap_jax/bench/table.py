"""Results of a bench as text."""


def table(result: dict, indent: int = 0) -> str:
    """Nested measurements as indented lines, numbers to four digits."""
    lines = []
    for name, value in result.items():
        if isinstance(value, dict):
            lines += ["  " * indent + name, table(value, indent + 1)]
        else:
            lines.append(f"{'  ' * indent + name:<28} {_text(value)}")
    return "\n".join(lines)


def side_by_side(results: dict[str, dict]) -> dict:
    """Measurements of the same names as one nested dict, with those of the first, second, ... as one line of text; "-"
    where one has none."""
    names = dict.fromkeys(name for result in results.values() for name in result)
    found: dict = {}
    for name in names:
        values = [result.get(name) for result in results.values()]
        if any(isinstance(value, dict) for value in values):
            found[name] = side_by_side({run: value or {} for run, value in zip(results, values, strict=True)})
        else:
            found[name] = " ".join(f"{_text(value):<9}" for value in values).rstrip()
    return found


def _text(value: object) -> str:
    return "-" if value is None else f"{value:,.4g}" if isinstance(value, float) else str(value)
