"""Random access to tensorflow-datasets in ArrayRecord shards, such as `smoothswap prepare` writes."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from smoothswap_jax.data.dataset import Chain, DataError, Faces, Rows, ShardError, SizeError, check_split
from smoothswap_jax.runtime.user_folders import expanded

PROBES = 100
"""A shard is lost if more than one in twenty of so many records, spread over it, are unreadable."""
REMEDY = "put back what was prepared, and the same command resumes"


def from_prepared(data_dir: str, split: str, size: int | None) -> Faces:
    """A split of a data set that `smoothswap prepare` wrote, in a folder or a bucket (gs://).

    With `size` None the faces have the size they were prepared with. Opening costs O(people), reading a batch O(batch):
    the index holds people, not images.

    Raises DataError if `data_dir` is missing, is not finished, lacks the split, or holds faces of another size.
    """
    check_split(split)
    builder = _builder(data_dir)
    return from_builder(builder, split, size or builder.info.features["image"].shape[0])


def people_of(data_dir: str, split: str) -> list[str]:
    """The names of the people in a split of such a data set. Raises DataError as `from_prepared` does."""
    check_split(split)
    return list((_builder(data_dir).info.metadata or {}).get("people", {}).get(split, []))


def records_of(data_dir: str, split: str) -> Records:
    """The records of a split of such a data set, with all their features. Raises as `from_prepared` does."""
    check_split(split)
    builder = _builder(data_dir)
    if split not in builder.info.splits:
        raise DataError(_no_split(builder, split))
    return Records(builder.info.splits[split].file_instructions)


def _builder(data_dir: str):
    import tensorflow_datasets as tfds

    data_dir = data_dir if "://" in data_dir else str(expanded(data_dir))
    try:
        return tfds.builder_from_directory(data_dir)
    except Exception as error:
        raise DataError(
            f"data.dir {data_dir!r}: found no finished data set ({str(error).splitlines()[0]}); wanted a folder that "
            "`smoothswap prepare` wrote"
        ) from error


def _no_split(builder, split: str) -> str:
    people = {name: len(names) for name, names in ((builder.info.metadata or {}).get("people") or {}).items()}
    remedy = ""
    if split == "test" and people:
        remedy = (
            f", {sum(people.values())} people; wanted some held out: `smoothswap prepare` 4 people or more, with a "
            "--test-share above 0"
        )
    return f"{builder.data_path}: no split {split!r}; it has {sorted(builder.info.splits)}{remedy}"


def from_builder(builder, split: str, size: int) -> Faces:
    """A split of a prepared tfds builder with features `image` and `identity`, each person's examples consecutive.

    The people come from the builder's metadata ("people" and "faces": names and counts by split); without it every
    example is read once. Raises DataError if the split is missing, the images have another size, or the examples of an
    identity are not consecutive.
    """
    if split not in builder.info.splits:
        raise DataError(_no_split(builder, split))
    found = builder.info.features["image"].shape
    if None not in found and found[:2] != (size, size):
        raise SizeError(
            f"{builder.data_path}: found faces of {found[1]}x{found[0]} pixels, wanted {size}x{size} "
            f"(config.data.size); prepare them again with --size={size}"
        )
    records = Records(builder.info.splits[split].file_instructions)
    metadata = builder.info.metadata or {}
    if "people" in metadata:
        people, counts = metadata["people"][split], metadata["faces"][split]
    else:
        people, counts = _people_of_all_records(builder, records)
    starts = np.cumsum([0, *counts])
    if starts[-1] != len(records):
        raise DataError(
            f"{builder.data_path}: found {len(records)} records in the shards, wanted {starts[-1]} as in the metadata"
        )
    return Faces(size, starts, people, records.names(split), read=records.images)


class Records:
    """The records of ArrayRecord shards, by number. `instructions` are tfds's: file names and record counts.

    A shard is opened when one of its records is first read, and stays open. Raises ShardError for missing shards.
    """

    def __init__(self, instructions: Sequence):
        from array_record.python.array_record_data_source import ArrayRecordDataSource

        self.paths = [os.fspath(one.filename) for one in instructions]
        missing = [path for path in self.paths if "://" not in path and not Path(path).is_file()]
        if missing:
            raise ShardError(
                f"{missing[0]}: found no such shard ({len(missing)} of {len(self.paths)} are missing); {REMEDY}"
            )
        self.instructions = instructions
        self.data_source = ArrayRecordDataSource(instructions)
        # Its batched read starts a thread per shard: worth it for a bucket, three times slower on a disk.
        self.remote = "://" in self.paths[0]

    def __len__(self) -> int:
        return len(self.data_source)

    def examples(self, rows: Rows) -> list:
        """Parsed protocol buffers: {feature: values}. Raises ShardError if a shard is lost (see PROBES)."""
        from tensorflow_datasets.proto import tf_example_pb2

        numbers = [int(row) for row in rows]
        batched = self.remote and len(numbers) > 1
        data = self.data_source.__getitems__(numbers) if batched else [self._record(number) for number in numbers]
        return [tf_example_pb2.Example.FromString(one).features.feature for one in data]

    def _record(self, number: int) -> bytes:
        try:
            return _read(self.data_source, number)
        except Exception:
            return self._reopened(number)

    def _reopened(self, number: int) -> bytes:
        """Reads the record from its shard opened again, as the next run will find it: a truncated file is lost, though
        what precedes the cut stays readable while the file is open. Raises ShardError for a lost shard (see PROBES)."""
        from array_record.python.array_record_data_source import ArrayRecordDataSource

        ends = np.cumsum([one.take for one in self.instructions])
        shard = int(np.searchsorted(ends, number, side="right"))
        reopened = ArrayRecordDataSource([self.instructions[shard]])
        try:
            return _read(reopened, number - int(ends[shard]) + len(reopened))
        except Exception as error:
            probes = np.unique(np.linspace(0, len(reopened) - 1, PROBES, dtype=int)).tolist()
            bad = sum(not _readable(reopened, probe) for probe in probes)
            if bad <= min(len(probes) - 1, max(1, len(probes) // 20)):
                raise
            raise ShardError(
                f"{self.paths[shard]}: {bad} of {len(probes)} records tried cannot be read ({error}); {REMEDY}"
            ) from error

    def images(self, rows: Rows) -> list[bytes]:
        """The encoded images."""
        return [example["image"].bytes_list.value[0] for example in self.examples(rows)]

    def names(self, split: str) -> Sequence[str]:
        """The files that the faces come from, read on demand; record numbers if the data set does not name them."""

        def name(_: int, row: int) -> str:
            example = self.examples([row])[0]
            return os.fsdecode(example["file"].bytes_list.value[0]) if "file" in example else f"{split}/{row}"

        return Chain([len(self)], name)


def _read(data_source, number: int) -> bytes:
    """Raises ValueError for an empty record, which is what array_record returns beyond the end of a shard."""
    if data := data_source[number]:
        return data
    raise ValueError("found an empty record")


def _readable(data_source, number: int) -> bool:
    try:
        return bool(_read(data_source, number))
    except Exception:
        return False


def _people_of_all_records(builder, records: Records) -> tuple[list[str], list[int]]:
    identities = np.array([records.examples([row])[0]["identity"].int64_list.value[0] for row in range(len(records))])
    first = np.flatnonzero(np.r_[True, identities[1:] != identities[:-1]])
    if len(np.unique(identities)) != len(first):
        raise DataError(
            f"{builder.data_path}: found examples of one identity apart from each other; wanted them consecutive"
        )
    return [str(identities[row]) for row in first], np.diff(np.r_[first, len(identities)]).tolist()
