"""Work in processes gives what work here gives, in order, and tells when a process was ended."""

import os
import signal
from functools import partial

import pytest

from smoothswap_jax.runtime import workers


@pytest.fixture(autouse=True)
def two_cores(monkeypatch):
    monkeypatch.setattr(workers, "_cores", lambda: 2)


def place_and_product(number, factor):
    return os.getpid(), number * factor


def refuse_odd(number):
    if number % 2:
        raise KeyError(f"found {number}; wanted an even number")
    return number


def end(process, number):
    if os.getpid() != process:
        os.kill(os.getpid(), signal.SIGKILL)
    return number


def test_many_items_are_worked_on_elsewhere_in_their_order():
    found = list(workers.each(place_and_product, range(20), [3] * 20))
    assert [product for _, product in found] == [3 * number for number in range(20)]
    assert os.getpid() not in {place for place, _ in found}
    again = {place for place, _ in workers.each(place_and_product, range(20), range(20))}
    assert again & {place for place, _ in found}, "processes are kept for the next call"


def test_few_items_and_a_single_core_stay_here(monkeypatch):
    few = workers.LEAST - 1
    assert {place for place, _ in workers.each(place_and_product, range(few), range(few))} == {os.getpid()}
    monkeypatch.setattr(workers, "_cores", lambda: 1)
    assert {place for place, _ in workers.each(place_and_product, range(20), range(20))} == {os.getpid()}


@pytest.mark.parametrize("count", [2, 20])
def test_errors_are_those_of_the_work(count):
    with pytest.raises(KeyError, match="found 1; wanted an even number"):
        list(workers.each(refuse_odd, range(count)))
    assert list(workers.each(refuse_odd, range(0, 40, 2))) == list(range(0, 40, 2))


def test_a_process_that_was_ended_is_told_and_others_come_in_its_place():
    with pytest.raises(ChildProcessError, match="was ended from outside"):
        list(workers.each(partial(end, os.getpid()), range(20)))
    assert list(workers.each(refuse_odd, range(0, 40, 2))) == list(range(0, 40, 2))


def test_columns_of_other_lengths_are_refused():
    with pytest.raises(ValueError, match="argument"):
        list(workers.each(place_and_product, range(20), range(19)))
