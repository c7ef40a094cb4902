"""Reading data sets of tensorflow-datasets at random: what `smoothswap prepare` wrote, and any other of ArrayRecord."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from smoothswap_jax.data.dataset import Chain, DataError, Faces, Rows, ShardError, SizeError, check_split

PROBES = 100
"""Records, spread over a shard, by which is judged whether it is lost: where more than one in twenty are unreadable."""
REMEDY = "put back what was prepared, and the same command goes on"


def from_prepared(folder: str, split: str, size: int | None) -> Faces:
    """A split of the folder (also of a bucket, gs://) that `smoothswap prepare` wrote; `size` None takes its own.

    Opening costs O(people), reading a batch O(batch): the index holds people, not images.

    Raises DataError for a folder that is none, is not finished, lacks the split, or holds faces of another size.
    """
    check_split(split)
    builder = _builder(folder)
    return from_builder(builder, split, size or builder.info.features["image"].shape[0])


def people_of(folder: str, split: str) -> list[str]:
    """The names of the people of a split of such a folder. Raises DataError as `from_prepared` does."""
    check_split(split)
    return list((_builder(folder).info.metadata or {}).get("people", {}).get(split, []))


def records_of(folder: str, split: str) -> Records:
    """The records of a split of such a folder, with all that `prepare` kept. Raises as `from_prepared` does."""
    check_split(split)
    builder = _builder(folder)
    if split not in builder.info.splits:
        raise DataError(f"{builder.data_path}: no split {split!r}; it has {sorted(builder.info.splits)}")
    return Records(builder.info.splits[split].file_instructions)


def _builder(folder: str):
    import tensorflow_datasets as tfds

    folder = folder if "://" in folder else str(Path(folder).expanduser())
    try:
        return tfds.builder_from_directory(folder)
    except Exception as error:
        raise DataError(
            f"data.dir {folder!r}: found no finished data set ({str(error).splitlines()[0]}); wanted a folder that "
            "`smoothswap prepare` wrote"
        ) from error


def from_builder(builder, split: str, size: int) -> Faces:
    """A split of a prepared tfds builder with features `image` and `identity`, people side by side.

    The people come from the builder's metadata ("people" and "faces": names and counts by split); without them every
    example is looked at once. Raises DataError for a missing split, another image size, or scattered identities.
    """
    if split not in builder.info.splits:
        raise DataError(f"{builder.data_path}: no split {split!r}; it has {sorted(builder.info.splits)}")
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
        people, counts = _people_by_looking(builder, records)
    starts = np.cumsum([0, *counts])
    if starts[-1] != len(records):
        raise DataError(f"{builder.data_path}: metadata tells of {starts[-1]} faces, the shards hold {len(records)}")
    return Faces(size, starts, people, records.names(split), read=records.images)


class Records:
    """The records of ArrayRecord shards, by number. `instructions` are tfds's: file names and numbers of records.

    A shard is opened when a record of it is first read, and stays open. Raises ShardError for missing shards.
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
        self.source = ArrayRecordDataSource(instructions)
        # Its own way of reading many starts a thread a shard: worth it for a bucket, three times slower on a disk.
        self.remote = "://" in self.paths[0]

    def __len__(self) -> int:
        return len(self.source)

    def examples(self, rows: Rows) -> list:
        """Parsed protocol buffers: {feature: values}. Raises ShardError where a shard is lost, by PROBES."""
        from tensorflow_datasets.proto import tf_example_pb2

        numbers = [int(row) for row in rows]
        together = self.remote and len(numbers) > 1
        data = self.source.__getitems__(numbers) if together else [self._record(number) for number in numbers]
        return [tf_example_pb2.Example.FromString(one).features.feature for one in data]

    def _record(self, number: int) -> bytes:
        try:
            return _read(self.source, number)
        except Exception:
            return self._afresh(number)

    def _afresh(self, number: int) -> bytes:
        """The record from its shard opened again, as the next start will find it: a file that was cut is lost, though
        what lies before the cut can be read as long as it is open. Raises ShardError for a lost shard, by PROBES."""
        from array_record.python.array_record_data_source import ArrayRecordDataSource

        ends = np.cumsum([one.take for one in self.instructions])
        shard = int(np.searchsorted(ends, number, side="right"))
        source = ArrayRecordDataSource([self.instructions[shard]])
        try:
            return _read(source, number - int(ends[shard]) + len(source))
        except Exception as error:
            probes = np.unique(np.linspace(0, len(source) - 1, PROBES, dtype=int)).tolist()
            bad = sum(not _readable(source, probe) for probe in probes)
            if bad <= min(len(probes) - 1, max(1, len(probes) // 20)):
                raise
            raise ShardError(
                f"{self.paths[shard]}: {bad} of {len(probes)} records tried cannot be read ({error}); {REMEDY}"
            ) from error

    def images(self, rows: Rows) -> list[bytes]:
        """The encoded images."""
        return [example["image"].bytes_list.value[0] for example in self.examples(rows)]

    def names(self, split: str) -> Sequence[str]:
        """The files that the faces are from, read when asked for; numbers where the data set does not say."""

        def name(_: int, row: int) -> str:
            example = self.examples([row])[0]
            return os.fsdecode(example["file"].bytes_list.value[0]) if "file" in example else f"{split}/{row}"

        return Chain([len(self)], name)


def _read(source, number: int) -> bytes:
    """Raises ValueError for an empty record: array_record gives these for what lies beyond the end of a shard."""
    if data := source[number]:
        return data
    raise ValueError("found an empty record")


def _readable(source, number: int) -> bool:
    try:
        return bool(_read(source, number))
    except Exception:
        return False


def _people_by_looking(builder, records: Records) -> tuple[list[str], list[int]]:
    identities = np.array([records.examples([row])[0]["identity"].int64_list.value[0] for row in range(len(records))])
    first = np.flatnonzero(np.r_[True, identities[1:] != identities[:-1]])
    if len(np.unique(identities)) != len(first):
        raise DataError(f"{builder.data_path}: examples of one identity must stand side by side")
    return [str(identities[row]) for row in first], np.diff(np.r_[first, len(identities)]).tolist()
