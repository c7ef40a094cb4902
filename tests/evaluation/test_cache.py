"""The cache gives back what was put in, whole or not at all, and never one thing for another."""

import numpy as np
import pytest

from smoothswap_jax.evaluation.cache import get, key_of, open_cache, put


@pytest.mark.parametrize(
    "value",
    [
        np.arange(6, dtype=np.uint8).reshape(2, 3),
        np.array([1.5, np.nan, np.inf], np.float32),
        np.array("no face found"),
        np.zeros((0, 4), np.float64),
        np.asfortranarray(np.arange(12.0).reshape(3, 4)),
    ],
)
def test_arrays_come_back_as_they_were(tmp_path, value):
    put(open_cache(tmp_path / "cache"), [("key", value)])
    found, missing = get(open_cache(tmp_path / "cache"), ["key", "other"])  # another connection: it is on the disk
    np.testing.assert_array_equal(found, value)
    assert found.dtype == value.dtype and found.shape == value.shape and missing is None


def test_answers_are_in_the_order_of_the_keys_and_the_last_put_counts(tmp_path):
    cache = open_cache(tmp_path / "cache")
    put(cache, ((str(i), np.array(i)) for i in range(5)))
    put(cache, [("3", np.array(33))])
    assert [int(value) for value in get(cache, ["4", "0", "3", "4"])] == [4, 0, 33, 4]
    assert get(cache, []) == []


def test_what_fails_half_way_leaves_nothing(tmp_path):
    cache = open_cache(tmp_path / "cache")

    def items():
        yield "a", np.array(1)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        put(cache, items())
    assert get(cache, ["a"]) == get(open_cache(tmp_path / "cache"), ["a"]) == [None]
    put(cache, [("a", np.array(2))])
    assert get(open_cache(tmp_path / "cache"), ["a"]) == [2]


def test_objects_are_not_kept(tmp_path):
    with pytest.raises(ValueError, match=r"[Oo]bject arrays cannot be saved"):
        put(open_cache(tmp_path / "cache"), [("a", np.array([{}, []], object))])


def test_a_file_that_is_no_cache_is_refused_by_name(tmp_path):
    (tmp_path / "cache.sqlite").write_bytes(b"something else entirely" * 100)
    with pytest.raises(ValueError, match=r"cache\.sqlite: found no cache of an evaluation"):
        open_cache(tmp_path / "cache.sqlite")
    assert (tmp_path / "cache.sqlite").read_bytes().startswith(b"something else")


def test_no_two_lists_of_parts_have_one_key():
    a = np.arange(6, dtype=np.int32)
    lists = [
        (), ("",), ("", ""), ("ab", "c"), ("a", "bc"), ("abc",), (b"abc",), ("a", b"bc"),
        (a,), (a.reshape(2, 3),), (a.reshape(3, 2),), (a.astype(np.int64),), (a.view(np.float32),), (a[:3], a[3:]),
        (a.tobytes(),), (a + 1,), (a, ""), ("", a), (a[::-1],),
    ]  # fmt: skip
    assert len({key_of(*parts) for parts in lists}) == len(lists)


def test_a_key_is_that_of_the_values_not_of_their_place_in_memory():
    a = np.arange(12.0).reshape(3, 4)
    assert key_of("x", a) == key_of("x", np.asfortranarray(a)) == key_of("x", np.repeat(a, 2, axis=1)[:, ::2])
