"""The tensorflow-datasets builder of synthetic faces, and reading of any tfds dataset of faces."""

from typing import ClassVar

import numpy as np
import tensorflow_datasets as tfds

from smoothswap_jax.data import dataset, rendered
from smoothswap_jax.data.dataset import Faces
from smoothswap_jax.data.records import from_builder
from smoothswap_jax.synthetic import world

_DESCRIPTION = """\
Faces of computer-made people, with identity labels and all factors (identity, expression, pose, camera, light, style,
background), so that the exact face swap of any pair can be rendered. No person is in two splits, and the photos of a
person are consecutive."""


class SyntheticFacesConfig(tfds.core.BuilderConfig):
    """size in pixels; number of people in (train, test); number of photos of each person; seed of the factors."""

    def __init__(self, size: int, people: tuple[int, int] = (2000, 100), photos: int = 4, seed: int = 0, **kwargs):
        super().__init__(name=kwargs.pop("name", f"{size}px"), **kwargs)
        self.size, self.people, self.photos, self.seed = size, people, photos, seed


class SyntheticFaces(tfds.core.GeneratorBasedBuilder):
    """`tfds.builder("synthetic_faces/64px", file_format="array_record")` after importing this module."""

    VERSION = tfds.core.Version("3.0.0")
    BUILDER_CONFIGS: ClassVar = [SyntheticFacesConfig(size) for size in (32, 64, 128, 256)]

    def _info(self) -> tfds.core.DatasetInfo:
        size = self.builder_config.size
        vector = lambda n: tfds.features.Tensor(shape=(n,), dtype=np.float32)
        features = {
            "image": tfds.features.Image(shape=(size, size, 3), encoding_format="png"),
            "identity": tfds.features.Scalar(np.int64),
            "factors": {name: vector(len(fields)) for name, fields in world.FIELDS.items()},
        }
        # Shuffling on disk would separate the photos of a person; the pipeline shuffles anyway.
        return tfds.core.DatasetInfo(
            builder=self,
            description=_DESCRIPTION,
            features=tfds.features.FeaturesDict(features),
            disable_shuffling=True,
            metadata=tfds.core.MetadataDict(**self._people()),
        )

    def _people(self) -> dict:
        """Names of the people of each split and their numbers of photos; the reader uses them as its index."""
        first, people, counts = 0, {}, {}
        for split, count in zip(dataset.SPLITS, self.builder_config.people, strict=True):
            # Labels are consecutive over the splits, so a test person never has the name of a training person.
            people[split] = [str(first + i) for i in range(count)]
            counts[split] = [self.builder_config.photos] * count
            first += count
        return {"people": people, "faces": counts}

    def _split_generators(self, dl_manager):
        del dl_manager
        return {split: self._generate_examples(split) for split in dataset.SPLITS}

    def _generate_examples(self, split: str):
        config = self.builder_config
        people = config.people[dataset.SPLITS.index(split)]
        factors = rendered.synthetic_factors(split, people, config.photos, config.seed)
        images = rendered.render_bytes(factors, config.size)
        first = 0 if split == "train" else config.people[0]
        names = world.Factors._fields
        for i, image in enumerate(images):
            one = {name: np.asarray(values[i], np.float32) for name, values in zip(names, factors, strict=True)}
            yield i, {"image": image, "identity": first + i // config.photos, "factors": one}


def load(name: str, data_dir: str | None) -> tfds.core.DatasetBuilder:
    """A prepared builder with random access (array_record); the dataset is built if it does not exist yet.

    Args:
      name: `dataset/config`, ours or any that tensorflow-datasets knows.
      data_dir: the folder of datasets; the library's default (~/tensorflow_datasets) if None.
    """
    builder = tfds.builder(name, data_dir=data_dir, file_format="array_record")
    builder.download_and_prepare()
    return builder


def from_tfds(name: str, data_dir: str | None, split: str, size: int) -> Faces:
    """A tfds dataset with features `image` and `identity`, in which examples of one identity are consecutive.

    Raises DataError if the split is missing, or the examples of an identity are not consecutive.
    """
    dataset.check_split(split)
    return from_builder(load(name, data_dir), split, size)
