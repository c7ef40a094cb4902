"""The experiments behind the documents run, and what the documents quote is what they print."""

import importlib.util
import json

import jax
import numpy as np
import pytest

from smoothswap_jax.bench import compiled_forms, fir_forms, plan, torch_step, weight_gradients
from tests.places import ROOT

HAS_TORCH = importlib.util.find_spec("torch") is not None
MEAN = {"paper256": 1.761, "ncsnpp256": 2.372}
"""TFLOP a pair, as docs/scaling.md says."""


@pytest.mark.parametrize(
    "main", [plan.main, fir_forms.main, weight_gradients.main, torch_step.main, compiled_forms.main]
)
def test_help_says_what_is_compared(main, capsys):
    with pytest.raises(SystemExit) as stopped:
        main(["--help"])
    assert stopped.value.code == 0 and "usage:" in capsys.readouterr().out


@pytest.mark.parametrize("variant", MEAN)
def test_the_rows_of_the_plan_are_those_of_the_document(variant):
    text = (ROOT / "docs" / "scaling.md").read_text("utf-8").replace("`", "")
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line[:1] == "|"]
    first = next(i for i, row in enumerate(cells) if row[0] == variant and row[1] == "v5e-64")
    for written, slice_ in zip(cells[first:], plan.SLICES, strict=False):
        row = plan.plan_row(variant, MEAN[variant], *slice_).split(" | ")
        assert written[1].startswith(row[1])
        for a, b in zip(written[2:10], row[2:10], strict=True):  # dollars are rounded
            assert float(a.replace(",", "")) == pytest.approx(float(b.replace(",", "")), rel=0.02), (row, written)


def test_the_forms_of_resampling_are_the_same_and_all_are_printed(monkeypatch, capsys):
    monkeypatch.setattr(fir_forms, "SHAPES_ON_CPU", ((2, 8, 3, 4),))
    monkeypatch.setattr(fir_forms, "timed", lambda calls, seconds: dict.fromkeys(calls, seconds))
    fir_forms.main(["--seconds=0.25"])
    first, *lines = capsys.readouterr().out.splitlines()
    assert first == "2 x 8 px, 3 to 4, float32, with gradients"
    assert [line.split() for line in lines] == [[*name.split(), "250.00", "ms"] for name in fir_forms.PROGRAMS]


def test_forms_of_resampling_that_differ_are_found(monkeypatch):
    monkeypatch.setitem(fir_forms.FORMS["down"], "depthwise", lambda x, w: fir_forms.layers.naive_downsample_2d(x))
    x = np.random.default_rng(0).standard_normal((1, 8, 8, 2)).astype(np.float32)
    with pytest.raises(AssertionError, match="down"):
        fir_forms.check_same(x, np.ones((3, 3, 2, 2), np.float32))


def test_the_forms_of_the_weight_gradient_are_the_same():
    x, g = weight_gradients.draw(0, 2, 6, 6, 3), weight_gradients.draw(1, 2, 6, 6, 4)
    wanted = weight_gradients.by_xla(x, g)
    for name, form in weight_gradients.FORMS.items():
        np.testing.assert_allclose(form(x, g), wanted, atol=1e-4, err_msg=name)


def test_a_compiler_is_asked_once_of_each_form_that_differs(tmp_path, capsys, monkeypatch):
    out, form = tmp_path / "forms.json", "1x1 as convolutions"
    part, other = "embed the source", "generator's optimiser and average"
    of = ["--variant=tiny32", "--batch=8", f"--out={out}"]
    compiled_forms.main([*of, "--part", part, other, "--form", "", form])
    told = json.loads(out.read_text())
    assert told["devices"].startswith("8 of") and told["parts"][other][form] == "the own one"
    own, changed = told["parts"][part]["own"], told["parts"][part][form]
    assert own["TFLOP"] > 0 and own["peak GB"] > 0 and own["GB read and written"] != changed["GB read and written"]

    monkeypatch.setattr(compiled_forms, "_compiled", lambda lowered: pytest.fail("compiled again"))
    compiled_forms.main([*of, "--part", part, "--form", "", form])
    assert json.loads(out.read_text()) == told
    for wrong, words in {
        ("--part", "generator"): "wanted of embed the source",
        ("--form", "fast"): "found 'fast'",
        ("--batch=16",): "found numbers of another setting",
        ("--batch=0",): "--batch=0: wanted 1 or more",
        ("--variant=nose",): "wanted one of",
        ("--topology=nose",): "wanted a TPU slice",
        (f"--out={tmp_path}",): "is a folder",
        (f"--out={out}/forms.json",): "is a file",
        ("--out=gs://bucket/forms.json",): "cannot lie in a bucket",
    }.items():
        with pytest.raises(SystemExit):
            compiled_forms.main([*of, *wrong])
        assert words in capsys.readouterr().err
    for parts in (None, [], {part: 1}, {part: {"own": None}}):
        out.write_text(json.dumps(told | {"parts": parts}))
        with pytest.raises(SystemExit):
            compiled_forms.main([*of, "--part", part])
        assert "wanted numbers by form" in capsys.readouterr().err


@pytest.mark.skipif(HAS_TORCH, reason="PyTorch is installed")
@pytest.mark.parametrize("main", [weight_gradients.main, torch_step.main])
def test_without_pytorch_they_say_so_in_one_sentence(main):
    with pytest.raises(SystemExit, match=r"^\w+ compares with PyTorch, which is not installed; setup.py says how"):
        main([])


@pytest.mark.parametrize("stride, padding", [(1, 1), (2, 0)])
def test_convolutions_in_pytorch_are_those_in_jax(stride, padding):
    pytest.importorskip("torch")
    from smoothswap_jax.bench import torch_convolutions

    x, w = weight_gradients.draw(0, 2, 7, 7, 3), weight_gradients.draw(1, 3, 3, 3, 4)
    conv = lambda x, w: weight_gradients.convolution(
        x, w, (stride, stride), [(padding, padding)] * 2, dimension_numbers=weight_gradients.LAYOUT
    )
    y, vjp_fn = jax.vjp(conv, x, w)
    g = weight_gradients.draw(2, *y.shape)
    calls = torch_convolutions.derivatives(x, w, g, stride, padding)
    dx, dw = vjp_fn(g)
    np.testing.assert_allclose(calls["forward"]().numpy().transpose(0, 2, 3, 1), y, atol=1e-4)
    np.testing.assert_allclose(calls["input gradient"]()[0].numpy().transpose(0, 2, 3, 1), dx, atol=1e-4)
    np.testing.assert_allclose(calls["weight gradient"]()[1].numpy().transpose(2, 3, 1, 0), dw, atol=1e-4)
