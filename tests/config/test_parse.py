"""Config dataclasses: they mirror the config files, and refuse what does not fit by name."""

import copy
import dataclasses
import json

import numpy as np
import pytest

from smoothswap_jax.config.errors import ConfigError
from smoothswap_jax.config.load import load_config
from smoothswap_jax.config.parse import parse, to_dict
from smoothswap_jax.config.renamed import RENAMED, with_current_names
from smoothswap_jax.config.schema import EmbedderConfig, SwapperConfig

VARIANTS = [
    *(f"embedder:{variant}" for variant in ("tiny32", "small64", "paper256")),
    *(f"swapper:{variant}" for variant in ("tiny32", "small64", "paper256", "ncsnpp256")),
]


def plain(name: str) -> dict:
    return load_config(name, [])


@pytest.mark.parametrize("name", VARIANTS)
def test_every_variant_parses_and_comes_back_the_same(name):
    config = plain(name)
    parsed = parse(config)
    assert isinstance(parsed, EmbedderConfig if name.startswith("embedder") else SwapperConfig)
    assert to_dict(parsed) == config
    assert parse(json.loads(json.dumps(config))) == parsed == parse(to_dict(parsed))


def test_fields_are_plain_values_and_frozen():
    config = parse(json.loads(json.dumps(plain("swapper:small64"))))
    assert config.generator["ch_mult"] == (1, 2, 4, 4) and config.data.weights == ()
    assert config.mesh.rules == ((".*", "fsdp"),) and config.embedder.checkpoint is None
    with pytest.raises(dataclasses.FrozenInstanceError):
        config.data.size = 3


def test_configs_from_before_a_field_had_its_name_are_the_same_configs():
    for name in ("embedder:tiny32", "swapper:tiny32"):
        old = plain(name)
        for before, now in RENAMED.items():
            if now in old:
                old[before] = old.pop(now)
        old.pop("self_pair_fraction", None)
        old.get("generator", {}).pop("injection", None)
        assert parse(old) == parse(plain(name))
        assert with_current_names(old) == with_current_names(with_current_names(old)) == plain(name)


@pytest.mark.parametrize("name", ["embedder:paper256", "swapper:paper256"])
def test_configs_from_before_identities_were_robust_have_all_of_it_off(name):
    old, now = plain(name), plain(name)
    assert not any(value for field, value in now["objective"]["transform"].items() if field != "blur_sigma")
    added = ("transform", "transform_samples", "adversarial_steps", "adversarial_radius", "feature_matching")
    for field in added:
        old["objective"].pop(field, None)
    old["embedder"].pop("also", None)
    assert old != now and with_current_names(old) == now and parse(old) == parse(now)
    first, second = (with_current_names(old)["objective"]["transform"] for _ in range(2))
    first["noise"] = 1.0
    assert second == now["objective"]["transform"]
    old["objective"]["transform"] = {**now["objective"]["transform"], "noise": 0.08}
    del old["objective"]["transform"]["backdrop"]
    assert with_current_names(old)["objective"]["transform"] == {**now["objective"]["transform"], "noise": 0.08}
    assert "backdrop" not in old["objective"]["transform"]


def test_whole_numbers_stand_for_floats_but_not_the_other_way():
    config = plain("swapper:tiny32")
    config["objective"]["change"] = 2
    assert type(parse(config).objective.change) is float
    config["objective"]["change"] = np.sqrt(np.float64(4))
    config["steps"] = np.int64(7)
    parsed = parse(config)
    assert (parsed.objective.change, parsed.steps) == (2.0, 7) and type(parsed.objective.change) is float
    config["batch"] = True
    with pytest.raises(ConfigError, match=r"config\.batch is True, wanted a whole number, 1 to 65536"):
        parse(config)
    config["batch"] = 16.0
    with pytest.raises(ConfigError, match=r"config\.batch is 16\.0, wanted a whole number, 1 to 65536"):
        parse(config)


def changed(name: str, **fields) -> dict:
    """A variant's config with other values, by dotted name with __ for the dots."""
    config = copy.deepcopy(plain(name))
    for field, value in fields.items():
        *groups, last = field.split("__")
        inside = config
        for group in groups:
            inside = inside[group]
        if value is ...:
            del inside[last]
        else:
            inside[last] = value
    return config


@pytest.mark.parametrize(
    "fields, said",
    [
        ({"batch": "many"}, "config.batch is 'many', wanted a whole number, 1 to 65536"),
        ({"batch": True}, "config.batch is True, wanted a whole number, 1 to 65536"),
        ({"batch": 0}, "config.batch is 0, wanted a whole number, 1 to 65536"),
        ({"debug_nans": 1}, "config.debug_nans is 1, wanted true or false"),
        ({"self_pair_fraction": 1.5}, "config.self_pair_fraction is 1.5, wanted a number, 0 to 1"),
        ({"augment__crop": 0.0}, "config.augment.crop is 0.0, wanted a number, 0.1 to 1"),
        ({"objective__r1_gamma": float("nan")}, "config.objective.r1_gamma is nan, wanted a number, 0 to 1e+06"),
        ({"data__dir": 3}, "config.data.dir is 3, wanted a string or None"),
        (
            {"data__weights": [1.0, "x"]},
            "config.data.weights is [1.0, 'x'], wanted a tuple of 0 to 1000 items, each a number, above 0 and",
        ),
        ({"mesh__rules": [["a", "b", "c"]]}, "wanted a tuple of 0 to 1000 items, each (a string, a string)"),
        ({"generator": 3}, "config.generator is 3, wanted a group of fields"),
        ({"data": "faces"}, "config.data is 'faces', wanted a group of fields"),
        ({"data": ...}, "config.data is missing, wanted a group of fields"),
        ({"data__size": ...}, "config.data.size is missing, wanted a whole number, 4 to 4096"),
        ({"optimizer": {"name": "adam"}}, "no field optimizer; did you mean generator_optimizer?"),
        ({"data__sizes": 3}, "no field data.sizes; did you mean data.size?"),
        ({"init__zzz": 3}, "no field init.zzz; init has discriminator, generator"),
        ({"stage": "judge"}, "config.stage is 'judge', wanted one of ['embedder', 'swapper']"),
    ],
)
def test_mistakes_name_field_found_and_wanted(fields, said):
    with pytest.raises(ConfigError) as raised:
        parse(changed("swapper:tiny32", **fields))
    assert said in str(raised.value) and "mistakes" not in str(raised.value)


def test_a_field_that_moved_is_found_where_it_is_now():
    with pytest.raises(ConfigError) as raised:
        parse(changed("swapper:tiny32", learning_rate=1.0))
    names = "generator_optimizer.learning_rate or discriminator_optimizer.learning_rate"
    assert str(raised.value) == f"no field learning_rate; did you mean {names}?"


def test_all_mistakes_are_named_on_one_line():
    with pytest.raises(ConfigError) as raised:
        parse(changed("embedder:tiny32", batch=0, objective__margin=-1.0, data__sise=3))
    text = str(raised.value)
    assert text.startswith("3 mistakes: (1) ") and "\n" not in text
    assert all(field in text for field in ("config.batch is 0", "config.objective.margin is -1.0", "data.sise"))
