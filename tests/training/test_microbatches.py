"""Batches in parts."""

import jax.numpy as jnp
import numpy as np

from smoothswap_jax.training.microbatches import merge_microbatches, split_microbatches


def test_parts_have_rows_of_each_device_and_come_together_again():
    rows = jnp.arange(12).reshape(12, 1)
    parts = split_microbatches(rows, 3)
    assert parts[:, :, 0].tolist() == [[0, 3, 6, 9], [1, 4, 7, 10], [2, 5, 8, 11]]
    np.testing.assert_array_equal(merge_microbatches(parts), rows)
