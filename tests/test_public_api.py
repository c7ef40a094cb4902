"""What `from smoothswap_jax import ...` gives, and that it costs nothing until it is used."""

import ast
import subprocess
import sys

import pytest

import smoothswap_jax
from tests.places import ROOT
from tests.test_imports import ROOMS

TABLE = smoothswap_jax._WHERE
SOURCE = (ROOT / "smoothswap_jax" / "__init__.py").read_text("utf-8")


def python(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.parametrize("name", smoothswap_jax.__all__)
def test_every_public_name_is_there(name):
    module, attribute = TABLE[name]
    found = getattr(smoothswap_jax, name)
    assert callable(found) and found.__doc__
    assert found.__name__ == attribute and found.__module__ == f"smoothswap_jax.{module}"
    assert name in dir(smoothswap_jax)


def test_importing_the_package_imports_nothing_else():
    code = (
        "import sys; before = set(sys.modules); import smoothswap_jax; dir(smoothswap_jax); smoothswap_jax.__all__; "
        "found = {name.partition('.')[0] for name in set(sys.modules) - before}; "
        "print(sorted(found - set(sys.stdlib_module_names)), "
        "sorted(name for name in sys.modules if name.startswith('smoothswap_jax.')))"
    )
    assert python(code) == "['smoothswap_jax'] []"


def test_a_public_name_is_the_same_after_its_room_was_imported():
    """An imported room becomes an attribute of the package and would hide a public name."""
    assert not {*ROOMS} & {*smoothswap_jax.__all__}
    code = (
        "import smoothswap_jax.prepare.run, smoothswap_jax.training.loop as loop; "
        "from smoothswap_jax import prepare_faces, train; "
        "print(train is loop.train, prepare_faces is smoothswap_jax.prepare.run.prepare)"
    )
    assert python(code) == "True True"


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="module 'smoothswap_jax' has no attribute 'Swaper'"):
        _ = smoothswap_jax.Swaper
    with pytest.raises(ImportError, match="cannot import name 'swaper'"):
        from smoothswap_jax import swaper  # noqa: F401


def test_type_checkers_see_the_same_names_in_the_same_modules():
    (guarded,) = [node for node in ast.parse(SOURCE).body if isinstance(node, ast.If)]
    seen = {
        alias.asname or alias.name: (node.module.removeprefix("smoothswap_jax."), alias.name)
        for node in guarded.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert seen == TABLE
    assert sorted(TABLE) == sorted(smoothswap_jax.__all__)
