"""Lanes in memory: each layout is read and written as numpy would."""

import numpy as np

from likeness.ops.jit import njit
from likeness.ops.lanes import finite, halves_added
from likeness.ops.lanes_memory import (
    load,
    load_both,
    load_eights,
    load_flags,
    load_fours,
    load_listed,
    load_threes,
    store,
    store_eights,
    store_fours,
    store_strided,
    store_threes,
)

NUMBERS = np.arange(200, dtype=np.float32)


@njit
def threes(x, y):
    a, b, c = load_threes(x, 5)
    store_threes(y, 2, c, a, b)


@njit
def fours(x, y):
    a, b, c, d = load_fours(x, 7)
    store_fours(y, 3, d, c, b, a)


@njit
def eights(x, y):
    a, b, c, d, e, f, g, h = load_eights(x, 1, 9)
    store_eights(y, 4, 11, h, b, c, d, e, f, g, a)


@njit
def listed(x, lists, y):
    a, b, c = load_listed(x, lists, 1, 2)
    store_threes(y, 0, a, b, c)


@njit
def others(x, truths, y):
    store_strided(y, 1, 5, load(x, 3))
    store(y, 50, load_flags(truths, 2))
    store(y, 60, halves_added(load_both(x, 10)))


@njit
def sound(x):
    return finite(load(x, 0), load(x, 8))


def empty():
    return np.full(200, -1, np.float32)


def test_threes_and_fours_come_apart_and_together():
    y = empty()
    threes(NUMBERS, y)
    np.testing.assert_array_equal(y[2:26].reshape(8, 3), NUMBERS[5:29].reshape(8, 3)[:, [2, 0, 1]])
    assert (np.delete(y, np.s_[2:26]) == -1).all()
    y = empty()
    fours(NUMBERS, y)
    np.testing.assert_array_equal(y[3:35].reshape(8, 4), NUMBERS[7:39].reshape(8, 4)[:, ::-1])
    assert (np.delete(y, np.s_[3:35]) == -1).all()


def test_rows_of_eight_become_lanes_and_rows_again():
    y = empty()
    eights(NUMBERS, y)
    rows = np.stack([NUMBERS[1 + 9 * i : 9 + 9 * i] for i in range(8)])[:, [7, 1, 2, 3, 4, 5, 6, 0]]
    np.testing.assert_array_equal(np.stack([y[4 + 11 * i : 12 + 11 * i] for i in range(8)]), rows)


def test_listed_rows_are_found():
    lists, y = np.array([9, 3, 9, 0, 9, 7, 9, 7, 9, 1, 9, 2, 9, 65, 9, 4]), empty()
    listed(NUMBERS, lists, y)
    np.testing.assert_array_equal(y[:24].reshape(8, 3), NUMBERS[:198].reshape(-1, 3)[lists[1::2]])


def test_single_steps_flags_and_halves():
    truths, y = np.array([0, 1, 1, 0, 0, 1, 0, 1, 1, 0, 1], bool), empty()
    others(NUMBERS, truths, y)
    np.testing.assert_array_equal(y[1:41:5], NUMBERS[3:11])
    np.testing.assert_array_equal(y[50:58], truths[2:10])
    np.testing.assert_array_equal(y[60:68], NUMBERS[10:18] + NUMBERS[18:26])


def test_one_bad_number_of_sixteen_is_found():
    assert sound(NUMBERS) == 1
    for place, bad in ((0, np.nan), (7, np.inf), (9, -np.inf), (15, np.nan)):
        numbers = NUMBERS.copy()
        numbers[place] = bad
        assert sound(numbers) == 0
