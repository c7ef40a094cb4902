"""The shipped variants: their values, and what is said of each."""

import json

import pytest

from smoothswap_jax.config.load import find_config, load_config
from smoothswap_jax.config.parse import parse
from tests.places import ROOT

FROZEN = json.loads((ROOT / "tests" / "golden" / "configs.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", FROZEN)
def test_every_value_is_the_frozen_one(name):
    """A change of a default changes what a command trains: it belongs into the golden file too, on purpose."""
    assert json.loads(json.dumps(load_config(name, []))) == FROZEN[name]


@pytest.mark.parametrize("stage", ["embedder", "swapper"])
def test_the_docstring_has_the_command_of_every_variant(stage):
    path, _ = find_config(stage)
    text = path.read_text(encoding="utf-8").split('"""')[1]
    for variant in [name.partition(":")[2] for name in FROZEN if name.startswith(stage)]:
        assert f"\n{variant}: " in text and f"smoothswap train --config={stage}:{variant} " in text


@pytest.mark.parametrize("name", FROZEN)
def test_every_variant_builds_its_networks(name):
    from smoothswap_jax.training import networks, optimizers

    config = parse(load_config(name, []))
    if name.startswith("embedder"):
        networks.make_embedder(config.embedder)
        optimizers.make_optimizer(config.optimizer, config.steps)
    else:
        networks.make_generator(config.generator)
        networks.make_discriminator(config.discriminator, config.data.size)
        optimizers.make_optimizer(config.generator_optimizer, config.steps)


def test_a_variant_cannot_invent_a_field():
    from smoothswap_jax.config.common import common_fields, with_variant

    def typo(c):
        c.debug_nan = True

    with pytest.raises(AttributeError, match="debug_nans"):
        with_variant(common_fields(), {"typo": typo}, "typo")
