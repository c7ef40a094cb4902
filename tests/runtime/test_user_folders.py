"""Caches and settings have a place even where the system knows no home folder, or the user is told what to say."""

import json

import pytest
from PIL import Image

from smoothswap_jax.cli.main import main
from smoothswap_jax.cli.verify import MISTAKE
from smoothswap_jax.data import rendered
from smoothswap_jax.data.sources import from_folder
from smoothswap_jax.provenance import keys
from smoothswap_jax.runtime.user_folders import NoHome, expanded, user_folder
from tests.places import ROOT


def test_the_environment_says_where_else_the_home_folder(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("BASE", raising=False)
    assert user_folder("BASE", ".usual", "OTHER") == tmp_path / ".usual" / "smoothswap-jax"
    monkeypatch.setenv("BASE", str(tmp_path / "base"))
    assert user_folder("BASE", ".usual", "OTHER") == tmp_path / "base" / "smoothswap-jax"
    assert expanded("~/a") == tmp_path / "a"
    with pytest.raises(NoHome, match="~nobody-of-that-name/a: found no home folder of this user; wanted the path in"):
        expanded("~nobody-of-that-name/a")


def test_without_a_home_folder_it_is_said_what_to_give(no_home, monkeypatch, tmp_path, capsys):
    pytest.importorskip("c2pa")
    for name in (keys.CONFIG, "XDG_CONFIG_HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png")
    assert main(["verify", str(tmp_path / "a.png")]) == MISTAKE
    said = capsys.readouterr().err.strip().splitlines()[-1]
    assert said == (
        "smoothswap verify: ~/.config/smoothswap-jax: found no home folder of this user; "
        "wanted the environment variable SMOOTHSWAP_CONFIG=FOLDER"
    )
    monkeypatch.setenv(keys.CONFIG, str(tmp_path / "config"))
    assert main(["verify", "--json", str(tmp_path / "a.png")]) == 1
    assert json.loads(capsys.readouterr().out)["state"] == "none"


def test_without_a_home_folder_faces_are_rendered_and_folders_wanted_in_full(no_home, caplog, monkeypatch):
    monkeypatch.setattr(rendered, "render_bytes", lambda factors, size: (factors, size))
    factors = rendered.synthetic_factors("test", 1, 1, 0, 0.5)
    assert rendered.render_kept(factors, 16, "~/.cache/rendered") == (factors, 16)
    assert "rendered faces are not kept for the next time: ~/.cache/rendered: found no home folder" in caplog.text
    with pytest.raises(NoHome, match="~/faces: found no home folder of this user; wanted the path in full"):
        from_folder("~/faces", "train", 16, 2)


def test_home_folders_are_asked_for_in_one_place():
    for path in sorted((ROOT / "smoothswap_jax").rglob("*.py")):
        text = path.read_text("utf-8")
        if path.name != "user_folders.py":
            assert "expanduser" not in text and "Path.home" not in text, path
