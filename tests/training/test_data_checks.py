"""What a config asks of its data: found before anything is compiled, with the field, what was found and wanted."""

import dataclasses

import numpy as np
import pytest

from smoothswap_jax.config.errors import ConfigError
from smoothswap_jax.config.load import load_config
from smoothswap_jax.config.parse import parse
from smoothswap_jax.data.dataset import DataError, Faces
from smoothswap_jax.data.sources import from_folder
from smoothswap_jax.training.data_checks import check_embedder_data, check_swapper_data
from smoothswap_jax.training.swapper_stage import eval_pairs
from tests import tiny_runs


def faces(*photos: int) -> Faces:
    """As many people as there are numbers, with so many photos each."""
    return Faces(16, np.cumsum([0, *photos]), [str(i) for i in range(len(photos))], [])


@pytest.fixture
def config():
    overrides = ["--config.data.kind=folder", "--config.data.dir=album", "--config.batch=8", "--config.eval_images=6"]
    return parse(load_config("embedder:tiny32", overrides))


def test_enough_is_not_remarked_on(config, caplog):
    check_embedder_data(config, faces(2, 2, 3, 9), faces(2, 1))
    assert not caplog.text


def test_a_batch_of_more_people_than_there_are_names_field_found_and_wanted(config):
    with pytest.raises(ConfigError) as raised:
        check_embedder_data(config, faces(2, 2, 2), faces(2, 1))
    said = str(raised.value)
    assert said.startswith(
        "config.batch is 8 and config.images_per_identity 2, 4 people in a batch, and config.data.kind"
    )
    assert "kind=folder config.data.dir=album has 3 people to train on" in said and "(6 for all of them)" in said
    mixed = dataclasses.replace(faces(2, 2, 2, 2, 2), sets=(4, 1), weights=(1.0, 1.0))
    with pytest.raises(ConfigError, match="the data has 1 identities, wanted at least the 2 of a batch"):
        check_embedder_data(config, mixed, faces(2, 1))


@pytest.mark.parametrize("test", [faces(1, 1, 1, 1), faces(9), faces(6, 3)])
def test_verification_that_cannot_be_measured_is_refused(config, test):
    with pytest.raises(
        ConfigError, match=r"config.eval_images is 6, .*; verification wants at least 2 people, and 2 ph"
    ):
        check_embedder_data(config, faces(2, 2, 2, 2), test)


def test_one_person_is_nobody_to_swap_with(config):
    swapper = parse(load_config("swapper:tiny32", []))
    check_swapper_data(swapper, faces(1, 1))
    with pytest.raises(ConfigError, match=r"kind=synthetic has 1 people to train on; wanted at least 2, to swap"):
        check_swapper_data(swapper, faces(9))


def test_single_photos_are_warned_of(config, caplog):
    check_embedder_data(config, faces(1, 1, 1, 1), faces(2, 1))
    assert "nobody of the 4 people to train on has two photos" in caplog.text


def test_folders_with_too_few_people_for_those_held_out(people):
    with pytest.raises(
        DataError, match=r"config.data.held_out_people is 12, and .* has 12 people .* wanted from 2 to 11"
    ):
        from_folder(people, "train", tiny_runs.SIZE, 12)
    data = parse(tiny_runs.config("swapper", people, **{"data.held_out_people": 1})).data
    with pytest.raises(
        DataError, match=r"config.data.kind=folder config.data.dir=.*: found 1 people held out; wanted at"
    ):
        eval_pairs(data, 4)
