"""Whether the data have what a config asks of them, before networks are compiled."""

import logging

import numpy as np

from smoothswap_jax.config.errors import ConfigError
from smoothswap_jax.config.schema import DataConfig, EmbedderConfig, SwapperConfig
from smoothswap_jax.data import sampling
from smoothswap_jax.data.dataset import Faces

log = logging.getLogger(__name__)


def check_embedder_data(config: EmbedderConfig, train: Faces, test: Faces) -> None:
    """Raises ConfigError where a batch has more people than the data, or where verification of held-out people cannot
    be measured; warns where nobody to train on has two photos."""
    _check_batch(config, train)
    if np.diff(train.starts).max(initial=0) < 2:
        log.warning(
            "%s: nobody of the %d people to train on has two photos: the embedder learns only to see through its own "
            "augmentation; wanted several photos of each",
            in_words(config.data),
            len(train.people),
        )
    count = min(config.eval_images, len(test))
    people, photos = np.unique(test.labels[:count], return_counts=True)
    if len(people) < 2 or photos.max(initial=0) < 2:
        most = photos.max(initial=0)
        raise ConfigError(
            f"config.eval_images is {config.eval_images}, and of {in_words(config.data)} the first {count} held-out "
            f"faces show {len(people)} people, with at most {most} photos of one; verification wants at least 2 "
            "people, and 2 photos of one of them"
        )


def check_swapper_data(config: SwapperConfig, train: Faces) -> None:
    """Raises ConfigError where there are not two people to swap between."""
    if len(train.people) < 2:
        raise ConfigError(
            f"{in_words(config.data)} has {len(train.people)} people to train on; wanted at least 2, to swap between"
        )


def _check_batch(config: EmbedderConfig, train: Faces) -> None:
    wanted = config.batch // config.images_per_identity
    try:
        sampling.identity_indices(config.seed, np.int64(0), wanted, config.images_per_identity, train.index)
    except ValueError as error:
        most = f"{config.images_per_identity * len(train.people)} for all of them"
        raise ConfigError(
            f"config.batch is {config.batch} and config.images_per_identity {config.images_per_identity}, {wanted} "
            f"people in a batch, and {in_words(config.data)} has {len(train.people)} people to train on: {error}; "
            f"wanted a smaller config.batch ({most}), or more people"
        ) from error


def in_words(data: DataConfig) -> str:
    """The data that a config means."""
    where = f" config.data.dir={data.dir}" if data.dir else ""
    return f"config.data.kind={data.kind}{where}"
