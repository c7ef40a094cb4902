"""The tensorflow-datasets builder of prepared faces: two Beam passes, over work units and over shards.

A tfds generator would pass every image through Beam's shuffle, which holds them in memory on a single machine, and
would start over after a kill. Here the images stay in files: the first pass crops the files of each unit, the second
copies crops into shards in their final order, and whatever is finished is not done again. The order is determined in
between, from the rows that describe the crops.
"""

from __future__ import annotations

import functools
import hashlib
import io
import os
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tensorflow_datasets as tfds
from etils import epath
from tensorflow_datasets.core import example_serializer

from smoothswap_jax.prepare import work_units
from smoothswap_jax.prepare.crop_table import CropTable, Split, gather_crops, splits_of
from smoothswap_jax.prepare.crops import PrepareSettings

RECORDS_PER_SHARD = 4096
"""About 150 MB at 256 px."""

_DESCRIPTION = """\
Faces aligned like FFHQ. The faces of a person are consecutive, and nobody is in two splits. `person` and `file` are
names in the source folder, `identity` numbers the people over all splits, `frame` is the number of the video frame
(-1: a photo). `quad` holds the crop's corners and `points` the eyes, nose and mouth corners, in pixels of the photo;
`yaw` is in degrees."""


def features(size: int, encoding: str) -> tfds.features.FeaturesDict:
    """The features of a record."""
    pair = lambda n: tfds.features.Tensor(shape=(n, 2), dtype=np.float32)
    return tfds.features.FeaturesDict(
        {
            "image": tfds.features.Image(shape=(size, size, 3), encoding_format=encoding),
            "identity": tfds.features.Scalar(np.int64),
            "person": tfds.features.Text(),
            "file": tfds.features.Text(),
            "frame": tfds.features.Scalar(np.int64),
            "quad": pair(4),
            "points": pair(5),
            "score": tfds.features.Scalar(np.float32),
            "yaw": tfds.features.Scalar(np.float32),
            "sharpness": tfds.features.Scalar(np.float32),
        }
    )


@dataclass(frozen=True)
class Job:
    """What the builder works on: `source` holds the photos, `out` gets the shards, `work` holds finished units."""

    source: str
    out: epath.Path
    work: epath.Path
    settings: PrepareSettings
    unit_count: int


class AlignedFaces(tfds.core.dataset_builder.FileReaderBuilder):
    """Built by `run.prepare`; read with `tfds.builder_from_directory(OUT)`."""

    VERSION = tfds.core.Version("1.0.0")

    def __init__(self, job: Job, data_dir: str):
        self.job = job
        super().__init__(data_dir=data_dir, file_format="array_record")

    def _info(self) -> tfds.core.DatasetInfo:
        return tfds.core.DatasetInfo(
            builder=self,
            description=_DESCRIPTION,
            features=features(self.job.settings.size, self.job.settings.encoding),
            disable_shuffling=True,
            metadata=tfds.core.MetadataDict(),
        )

    def _download_and_prepare(self, dl_manager, download_config=None) -> None:
        del dl_manager
        job = self.job
        run_on_all = functools.partial(run_beam, download_config.beam_runner, download_config.beam_options)
        todo = sorted(set(range(job.unit_count)) - work_units.finished_units(job.work))
        crop_unit = functools.partial(
            work_units.process_unit, source=job.source, work=os.fspath(job.work), settings=job.settings
        )
        run_on_all(crop_unit, todo)
        self.table = gather_crops(job.work, job.unit_count, job.settings.duplicates, job.settings.test_share)
        self.splits = splits_of(self.table)
        if not self.splits or self.splits[0].name != "train":
            left = (
                ", ".join(f"{gate} {count}" for gate, count in sorted(self.table.rejected_by_gate().items()))
                or "none rejected"
            )
            raise ValueError(f"{job.source}: none of {self.table.pictures} pictures is left to train on ({left})")
        self.shards = [shard for split in self.splits for shard in _shards(self, split)]
        missing = [shard for shard in self.shards if not (job.out / shard.name).exists()]
        run_on_all(functools.partial(write_shard, job=job), missing)
        self.info.set_splits(tfds.core.splits.SplitDict([self._split_info(split) for split in self.splits]))
        self.info.metadata["people"] = {split.name: split.people for split in self.splits}
        self.info.metadata["faces"] = {split.name: split.counts for split in self.splits}

    def _split_info(self, split: Split) -> tfds.core.SplitInfo:
        shards = [shard for shard in self.shards if shard.split == split.name]
        return tfds.core.SplitInfo(
            name=split.name,
            shard_lengths=[len(shard.rows) for shard in shards],
            num_bytes=sum((self.job.out / shard.name).stat().length for shard in shards),
            filename_template=self._get_filename_template(split.name),
        )


def run_beam(runner: str, options, function: Callable, elements: Sequence) -> None:
    """Runs `function` on every element as a Beam pipeline; raises RuntimeError with the worker's error text."""
    import apache_beam as beam

    if not elements:
        return
    with beam.Pipeline(runner=runner, options=options) as pipeline:
        _ = pipeline | beam.Create(elements) | beam.Reshuffle() | beam.Map(function)


@dataclass(frozen=True)
class Shard:
    """A file of the data set, with consecutive crops."""

    name: str
    split: str
    rows: tuple[tuple[int, int, int], ...]
    """(unit, row in the unit, label) of each record."""


def _shards(builder: AlignedFaces, split: Split) -> list[Shard]:
    table: CropTable = builder.table
    template = builder._get_filename_template(split.name)
    labels = np.repeat(split.first_label + np.arange(len(split.people)), split.counts)
    count = -(-len(split.rows) // RECORDS_PER_SHARD)
    shards = []
    for index in range(count):
        part = slice(index * RECORDS_PER_SHARD, (index + 1) * RECORDS_PER_SHARD)
        rows = split.rows[part]
        keys = zip(table.unit[rows].tolist(), table.row[rows].tolist(), labels[part].tolist(), strict=True)
        name = template.sharded_filepath(shard_index=index, num_shards=count).name
        shards.append(Shard(name, split.name, tuple(keys)))
    return shards


def write_shard(shard: Shard, job: Job) -> None:
    """Writes a shard under a temporary name, then renames it or, for a bucket, uploads it."""
    from array_record.python.array_record_module import ArrayRecordWriter
    from tensorflow_datasets.proto import tf_example_pb2

    remote = "://" in os.fspath(job.out)
    temporary = Path(tempfile.gettempdir() if remote else os.fspath(job.work)) / f"{shard.name}.{os.getpid()}.part"
    specs = features(job.settings.size, job.settings.encoding)
    serializer = example_serializer.ExampleSerializer(specs.get_serialized_info())
    try:
        writer = ArrayRecordWriter(str(temporary), "group_size:1")
        for example in _examples(shard, job.work):
            record = serializer.serialize_example(specs.encode_example(example))
            # The order in which tfds serializes the features varies; the file's bytes must not.
            writer.write(tf_example_pb2.Example.FromString(record).SerializeToString(deterministic=True))
        writer.close()
        if remote:
            epath.Path(temporary).copy(job.out / shard.name, overwrite=True)
        else:
            os.replace(temporary, job.out / shard.name)
    finally:
        temporary.unlink(missing_ok=True)


def _examples(shard: Shard, work: epath.Path):
    """The records of a shard. Consecutive rows mostly come from one unit, which is then read only once."""
    start = 0
    while start < len(shard.rows):
        unit = shard.rows[start][0]
        end = start
        while end < len(shard.rows) and shard.rows[end][0] == unit:
            end += 1
        rows = work_units.unit_rows(work, unit)
        chosen = [(rows[place], label) for _, place, label in shard.rows[start:end]]
        images = work_units.unit_images(work, unit, [row["at"] for row, _ in chosen])
        for (row, label), image in zip(chosen, images, strict=True):
            yield {
                "image": io.BytesIO(image),
                "identity": label,
                "person": os.fsencode(row["identity"]),
                "file": os.fsencode(row["file"]),
                **{name: row[name] for name in ("frame", "score", "yaw", "sharpness")},
                **{name: np.asarray(row[name], np.float32) for name in ("quad", "points")},
            }
        start = end


def sha256(path: epath.Path) -> str:
    """Hex digest of a file."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while part := file.read(2**20):
            digest.update(part)
    return digest.hexdigest()
