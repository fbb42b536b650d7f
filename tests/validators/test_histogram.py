"""How errors are counted by size."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis.extra.numpy import arrays

from validators.compare.error_histogram import histogram


def test_each_error_is_counted_in_its_half_decade():
    reference = np.zeros(6)
    found = histogram(reference, np.array([0, 1.5, 2e-3, 4e-3, -4e-3, 0]))
    assert (found.equal, found.nonfinite, found.first) == (2, 0, -6)
    assert found.counts == (1, 2, 0, 0, 0, 0, 1)  # from 1e-3, from 3.2e-3, ..., from 1


def test_equal_tensors_have_no_bins():
    found = histogram(np.float32([1, np.nan, np.inf]), np.float32([1, np.nan, np.inf]))
    assert (found.equal, found.nonfinite, found.counts) == (3, 0, ())


def test_nan_and_infinity_that_differ_are_counted_apart():
    found = histogram(np.float32([1, np.nan, np.inf, 0]), np.float32([np.nan, 1, -np.inf, 0]))
    assert (found.equal, found.nonfinite, found.counts) == (1, 3, ())


@pytest.mark.parametrize(("error", "first"), [(1e-300, -40), (5e-324, -40), (1e300, 40)])
def test_what_is_too_small_or_too_large_to_tell_apart_is_counted_at_the_end(error, first):
    found = histogram(np.zeros(1), np.array([error]))
    assert (found.first, found.counts) == (first, (1,))


def test_integers_and_booleans_have_distances_and_text_has_none():
    assert histogram(np.int64([2**62]), np.int64([2**62 + 1])).equal in {0, 1}  # float64 cannot tell them apart
    assert histogram(np.uint8([0]), np.uint8([255])).first == 4
    assert histogram(np.array([True]), np.array([False])).counts == (1,)
    assert histogram(np.array(["a"], dtype=object), np.array(["b"], dtype=object)) is None
    assert histogram(np.complex64([1j]), np.complex64([0])).counts == (1,)


@given(arrays(np.float32, 20), arrays(np.float32, 20))
def test_every_element_is_counted_once_and_no_bin_at_an_end_is_empty(a, b):
    found = histogram(a, b)
    assert found.equal + found.nonfinite + sum(found.counts) == 20
    assert found.counts == () or (found.counts[0] and found.counts[-1])
