"""`smoothswap demo`: from the command line to demo.demo."""

from smoothswap_jax import demo
from smoothswap_jax.cli.main import main


def test_options_reach_the_demo(monkeypatch, capsys):
    calls = []

    def run(out, **how):
        calls.append((out, how))
        return f"{out}/report.html"

    monkeypatch.setattr(demo, "demo", run)
    assert main(["demo"]) == 0
    assert main(["demo", "--out=o", "--photos=p", "--seed=3", "--effort=0.5", "--paired-views"]) == 0
    assert calls == [
        ("runs/demo", {"photos": None, "seed": 0, "effort": 1.0, "paired_views": False}),
        ("o", {"photos": "p", "seed": 3, "effort": 0.5, "paired_views": True}),
    ]
    assert capsys.readouterr().out == "runs/demo/report.html\no/report.html\n"
