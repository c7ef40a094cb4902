"""Results of a bench as text."""


def table(result: dict, indent: int = 0) -> str:
    """Nested measurements as indented lines, numbers to four digits."""
    lines = []
    for name, value in result.items():
        if isinstance(value, dict):
            lines += ["  " * indent + name, table(value, indent + 1)]
        else:
            text = f"{value:,.4g}" if isinstance(value, float) else str(value)
            lines.append("  " * indent + f"{name:<24} {text}")
    return "\n".join(lines)
