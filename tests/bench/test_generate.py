"""The bench of `Swapper.generate` on a random swapper."""

import pytest

from smoothswap_jax.bench.generate import bench_generate
from smoothswap_jax.inference.batching import in_steps
from smoothswap_jax.inference.swapper import Swapper
from smoothswap_jax.runtime import sharding
from tests.inference.random_swapper import make_swapper


def test_it_compares_speed_and_pixels():
    restored, mesh = make_swapper(), sharding.make_mesh(1)
    embed = in_steps(restored.networks.embed, restored.variables["embedder"], mesh)
    generate = in_steps(restored.networks.generate, restored.variables["generator"], mesh)
    result = bench_generate(Swapper(embed, generate, restored.size), 4)
    assert result["pixels are equal"] is True
    speeds = result["faces/s, one call"] / result["faces/s, 4 calls"]
    assert speeds == pytest.approx(result["one call is faster by"])
    assert 0 < result["CPU s, one call"] < result["CPU s, 4 calls"]

    seen = []  # a swap that depends on how many faces are swapped together
    other = Swapper(embed, lambda target, z: seen.append(1) or target * (0.5 + 0.1 * len(target)), restored.size)
    assert bench_generate(other, 4)["pixels are equal"] is False and seen
