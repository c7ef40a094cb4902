"""`smoothswap compare`: prints the differences, and writes a report only where one is asked for."""

import pytest

from smoothswap_jax.cli.main import main
from smoothswap_jax.evaluation import compare


@pytest.mark.parametrize("out", [None, "folder"])
def test_options_reach_the_comparison(out, monkeypatch, capsys):
    calls = []

    def compared(folders, baselines):
        calls.append((folders, baselines))
        return "differences", "facts"

    monkeypatch.setattr(compare, "compare", compared)
    monkeypatch.setattr(compare, "as_text", lambda differences: f"text of {differences}")
    monkeypatch.setattr(compare, "write_comparison", lambda *given: f"wrote {given}")
    assert main(["compare", "a", "b", "--baselines", *([f"--out={out}"] if out else [])]) == 0
    assert calls == [(["a", "b"], True)]
    lines = capsys.readouterr().out.splitlines()
    assert lines == ["text of differences", *(["wrote ('folder', 'differences', 'facts')"] if out else [])]
