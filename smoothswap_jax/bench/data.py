"""`smoothswap bench --what=data`: how fast photos become crops, and crops become batches.

Machines are shared and noisy, so what is compared takes turns, and medians over the rounds are reported.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from statistics import median

import jax
import numpy as np
from PIL import Image

from smoothswap_jax.data import pipeline, rendered
from smoothswap_jax.data import records as prepared
from smoothswap_jax.data.augment import Augmentation
from smoothswap_jax.data.dataset import Faces
from smoothswap_jax.data.pipeline import IdentitySampler, PairSampler, Sampler
from smoothswap_jax.faces.align import align_face, ffhq_quad
from smoothswap_jax.faces.detection.base import Face
from smoothswap_jax.faces.detection.registry import make_detector, make_sure_detector
from smoothswap_jax.faces.photos import Photo, load_photo
from smoothswap_jax.prepare.crops import encoded
from smoothswap_jax.prepare.duplicates import perceptual_hash
from smoothswap_jax.prepare.layouts import list_source
from smoothswap_jax.prepare.sharpness import sharpness
from smoothswap_jax.runtime import sharding

SIZE, BATCH, ROUNDS = 256, 64, 5
IDENTITIES, IMAGES, SHARD = 9000, 3_300_000, 3300
"""Of VGGFace2, and the images of one shard."""


def bench_data(source: str | None, data: str | None, detector: str, model: str | None, seconds: float) -> dict:
    """All measurements as nested plain values; rates are in images/s.

    Args:
      source: photos to measure preparation on. None: rendered faces, on which a detector may be faster.
      data: a prepared data set to measure reading on. None: rendered faces with grain.
      detector, model: as `smoothswap prepare` takes them.
      seconds: for each measurement in each round.
    """
    with tempfile.TemporaryDirectory() as folder:
        result: dict = {
            "hardware": f"{os.cpu_count()} CPU cores, {jax.device_count()} x {jax.devices()[0].device_kind}"
        }
        result["prepare"] = prepare_stages(source or _rendered_photos(Path(folder) / "photos"), detector, model)
        faces = prepared.from_prepared(data, "train", None) if data else _rendered_faces(Path(folder))
        result["reader"] = reader_rates(faces, seconds)
        result["index"] = index_rates(Path(folder) / "index", _encoded(faces, SHARD), seconds)
    return result


# --- preparation ---------------------------------------------------------------------------------------------


def prepare_stages(source: str | Path, detector: str, model: str | None, count: int = 40) -> dict:
    """Images/s of each stage of preparation and of all together, on one core, over up to `count` evenly spaced photos.

    "detect" is the search for the largest face, as `smoothswap prepare` does it. "whole search" is that for all faces,
    which swaps and evaluations need and which is no part of the sum; it takes turns with the other. Where no face is
    found, the top left square of the photo is cut out. Raises ValueError if `source` has no photos.
    """
    import cv2

    cv2.setNumThreads(1)
    detect, quick = make_detector(detector, model), make_sure_detector(detector, model)
    largest = lambda faces: faces[0] if faces else None

    def search(photo: Photo) -> list[Face]:
        face = quick(photo, largest) if quick else None
        return [face] if face else detect(photo)

    files = [entry.file for entry in list_source(source).entries() if not hasattr(entry, "gate") and not entry.video]
    if not files:
        raise ValueError(f"{source}: found no photos, wanted some to measure preparation on")
    files = [files[i] for i in np.linspace(0, len(files) - 1, min(count, len(files))).astype(int)]
    search(load_photo(f"{source}/{files[0]}"))  # loads the model
    spent = dict.fromkeys(("decode", "detect", "align", "gates", "encode", "whole search"), 0.0)
    found, pixels, length = 0, 0, 0

    def timed(stage: str, function: Callable, *arguments):
        start = time.process_time()  # of this core: others may wait beside it
        result = function(*arguments)
        spent[stage] += time.process_time() - start
        return result

    for file in files:
        photo = timed("decode", load_photo, f"{source}/{file}")
        faces = timed("detect", search, photo)
        timed("whole search", detect, photo)
        found += bool(faces)
        pixels += photo.shape[0] * photo.shape[1]
        side = min(photo.shape[:2]) - 1
        quad = ffhq_quad(faces[0].points) if faces else np.array([[0, 0], [0, side], [side, side], [side, 0.0]])
        crop = timed("align", align_face, photo, quad, SIZE)
        timed("gates", lambda crop: (sharpness(crop), perceptual_hash(crop)), crop)
        length += len(timed("encode", encoded, crop, "jpeg"))
    rates = {stage: len(files) / time_ for stage, time_ in spent.items()}
    together = sum(spent.values()) - spent["whole search"]
    return {
        **rates,
        "all on one core": len(files) / together,
        "hours of a core for VGGFace2": IMAGES * together / len(files) / 3600,
        "photos": len(files),
        "with a face": found,
        "megapixels a photo": pixels / len(files) / 1e6,
        "bytes a crop": length / len(files),
        "detector": detector,
    }


def _rendered_photos(folder: Path, count: int = 40) -> Path:
    folder.mkdir(parents=True)
    factors = rendered.synthetic_factors("train", count, 1, 0)
    for i, image in enumerate(_grainy(rendered.render_many(factors, 512))):
        Image.fromarray(image).save(folder / f"{i:03d}.jpg", quality=92)
    return folder


def _grainy(images: np.ndarray) -> np.ndarray:
    """[-1, 1] to uint8, with noise of 3 grey levels: without grain, a rendered face has a smaller JPEG than a photo."""
    noise = np.random.default_rng(0).normal(0, 3, (1, *images.shape[1:]))
    return np.clip(np.rint((images + 1) * 127.5 + noise), 0, 255).astype(np.uint8)


# --- reading -------------------------------------------------------------------------------------------------


def reader_rates(faces: Faces, seconds: float) -> dict:
    """Images/s on all cores: of JPEG decoding alone, of the training reader, and of the feed with augmentation."""
    files = [data for start in range(0, min(len(faces), 512), 64) for data in faces.read(_rows(start, len(faces)))]
    sampler, mesh = PairSampler(0, BATCH // 2, BATCH // 16), sharding.make_mesh(1)
    ways: dict[str, Callable[[], Iterator]] = {
        "bare decode": lambda: bare_decode(files),
        "reader": lambda: pipeline.host_batches(faces, sampler, 0, np.arange(sampler.batch)),
        "feed": lambda: pipeline.tf_batches(faces, sampler, Augmentation(), mesh, 0),
    }
    rates: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(ROUNDS):
        for name, way in ways.items():
            rates[name].append(rate(way(), seconds))
    middle = {name: median(values) for name, values in rates.items()}
    return {
        **middle,
        "reader / bare decode": median(a / b for a, b in zip(rates["reader"], rates["bare decode"], strict=True)),
        "bytes an image": sum(map(len, files)) / len(files),
        "size": faces.size,
    }


def _rows(start: int, count: int) -> range:
    return range(start, min(start + 64, count))


def bare_decode(files: Sequence[bytes]) -> Iterator:
    """Endless batches of JPEG files that TensorFlow decodes from memory on all cores and drops."""
    import tensorflow as tf

    def decode(data):
        return tf.io.decode_jpeg(data, channels=3, dct_method="INTEGER_ACCURATE")[0, 0, 0]

    data = tf.data.Dataset.from_tensor_slices(list(files)).repeat()
    data = data.map(decode, num_parallel_calls=os.cpu_count(), deterministic=True)
    return data.batch(BATCH).prefetch(2).as_numpy_iterator()


def rate(batches: Iterator, seconds: float) -> float:
    """Images/s, after two batches to warm up."""
    for _ in range(2):
        next(batches)
    start, count = time.perf_counter(), 0
    while time.perf_counter() - start < seconds:
        batch = next(batches)
        jax.block_until_ready(batch)
        count += BATCH
    return count / (time.perf_counter() - start)


def _encoded(faces: Faces, count: int) -> list[bytes]:
    return [faces.read([i % len(faces)])[0] for i in range(count)]


def _rendered_faces(folder: Path, count: int = 256) -> Faces:
    """A data set of one shard, read as a prepared one is."""
    factors = rendered.synthetic_factors("train", count // 4, 4, 0)
    images = [encoded(image, "jpeg") for image in _grainy(rendered.render_many(factors, SIZE))]
    (folder / "small").mkdir()
    write_shard(folder / "small" / "shard", images)
    return linked_index(folder / "small" / "shard", folder / "small", count, 1, count // 4)


# --- the index -----------------------------------------------------------------------------------------------


def index_rates(folder: Path, images: list[bytes], seconds: float) -> dict:
    """The reader on an index of VGGFace2's size, 1000 hard links to one shard, and on that shard alone.

    Each is measured in a process of its own, for its peak memory.
    """
    folder.mkdir()
    write_shard(folder / "shard", images)
    found = {}
    for name, shards, people in (("small", 1, 9), ("large", IMAGES // SHARD, IDENTITIES)):
        task = json.dumps([str(folder), shards, people, seconds])
        code = f"from smoothswap_jax.bench.data import measure_index; measure_index(*{task})"
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        found[name] = json.loads(done.stdout.splitlines()[-1])
    ratio = found["large"]["images/s"] / found["small"]["images/s"]
    return {**found, "large / small": ratio}


def measure_index(folder: str, shards: int, people: int, seconds: float) -> None:
    """Prints the time to the first batch, the rate and the peak memory of reading an index, as JSON."""
    start = time.perf_counter()
    faces = linked_index(Path(folder) / "shard", Path(folder) / f"links{shards}", SHARD, shards, people)
    built = time.perf_counter()
    sampler: Sampler = IdentitySampler(0, BATCH, 2) if people >= BATCH // 2 else PairSampler(0, BATCH // 2, BATCH // 16)
    batches = pipeline.host_batches(faces, sampler, 0, np.arange(sampler.batch))
    next(batches)
    first = time.perf_counter()
    opening = rate(batches, seconds)  # opens the shards, about 3 ms each
    speed = rate(batches, seconds)
    # getrusage's peak would include the parent's memory, of which the process was a copy before exec.
    (peak,) = re.findall(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    print(
        json.dumps(
            {
                "images": len(faces),
                "people": people,
                "links made in s": built - start,
                "first batch in s": first - built,
                "images/s at first": opening,
                "images/s": speed,
                "peak GiB": int(peak) / 2**20,
            }
        )
    )


def linked_index(shard: Path, folder: Path, records: int, shards: int, people: int) -> Faces:
    """A data set of `shards` hard links to one shard of `records` images, divided evenly among `people`."""
    from tensorflow_datasets.core.utils.shard_utils import FileInstruction

    folder.mkdir(exist_ok=True)
    instructions = []
    for i in range(shards):
        link = folder / f"{i:05d}"
        if not link.exists():
            os.link(shard, link)
        instructions.append(FileInstruction(str(link), 0, records, records))
    source = prepared.Records(instructions)
    starts = np.linspace(0, len(source), people + 1).astype(np.int64)
    return Faces(SIZE, starts, [str(i) for i in range(people)], source.names("train"), read=source.images)


def write_shard(path: Path, images: Sequence[bytes]) -> None:
    """An ArrayRecord shard of encoded images, as `smoothswap prepare` writes them."""
    from array_record.python.array_record_module import ArrayRecordWriter
    from tensorflow_datasets.proto import tf_example_pb2

    writer = ArrayRecordWriter(str(path), "group_size:1")
    for image in images:
        example = tf_example_pb2.Example()
        example.features.feature["image"].bytes_list.value.append(image)
        writer.write(example.SerializeToString())
    writer.close()
