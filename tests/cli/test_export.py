"""`smoothswap export`: from the command line to export_swapper; the export itself is tested in tests/inference."""

from smoothswap_jax.cli.main import main
from smoothswap_jax.inference.export import export_folder


def test_options_reach_the_export(monkeypatch, capsys):
    calls = []

    def export(*places, **how):
        calls.append((places, how))
        return {"swap.stablehlo": 1.5e-7}

    monkeypatch.setattr(export_folder, "export_swapper", export)
    options = ["--step=4", "--with-discriminator", "--evaluation=report.json", "--dtype=float16", "--about=a.md"]
    assert main(["export", "--checkpoint=c", "--out=o", *options]) == 0
    ((places, how),) = calls
    assert places == ("c", "o")
    assert how == {
        "step": 4,
        "dtype": "float16",
        "with_discriminator": True,
        "onnx": False,
        "evaluation": "report.json",
        "about": "a.md",
        "overwrite": False,
    }
    assert capsys.readouterr().out == "o/swap.stablehlo: differs from the checkpoint by 1.5e-07\n"
