"""Where faces come from: what a config must name."""

import dataclasses

import pytest

from smoothswap_jax.config.errors import ConfigError
from smoothswap_jax.config.load import load_config
from smoothswap_jax.config.parse import parse
from smoothswap_jax.data.sources import KINDS, load_faces, missing_dir


@pytest.mark.parametrize("kind, content", [("folder", "DIR/<person>/<photo> of"), ("prepared", "that `smoothswap")])
def test_a_kind_that_needs_a_folder_asks_for_it(kind, content):
    data = dataclasses.replace(parse(load_config("swapper:tiny32", [])).data, kind=kind, dir=None)
    with pytest.raises(ConfigError, match=rf"config\.data\.dir is not set, wanted a folder {content}.*kind '{kind}'$"):
        load_faces(data, "train")
    assert missing_dir(dataclasses.replace(data, dir="album")) == ""


def test_the_other_kinds_need_none():
    data = parse(load_config("swapper:tiny32", [])).data
    for kind in set(KINDS) - {"folder", "prepared"}:
        assert missing_dir(dataclasses.replace(data, kind=kind, dir=None)) == ""
