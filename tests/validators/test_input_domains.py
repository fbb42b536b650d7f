"""What layers tell of the values they expect; played by objects of the same names, without Keras."""

import numpy as np
import pytest

from exporters.contract import TensorSpec
from validators.samples import input_domains
from validators.samples.input_domains import _range_of_layer
from validators.samples.value_ranges import OTHER_RANGES, between, guessing_otherwise


def layer(kind, **attributes):
    return type(kind, (), {"name": "first", **attributes})()


def test_a_table_wants_whole_numbers_below_its_rows():
    told = _range_of_layer(layer("Embedding", input_dim=1000))
    assert (told.low, told.high, told.whole) == (0, 999, True)
    assert "1000 rows" in told.why


def test_a_layer_that_is_made_for_nothing_in_particular_tells_nothing():
    assert _range_of_layer(layer("Dense")) is None


def test_a_layer_that_cannot_be_traced_alone_tells_nothing_and_the_log_says_so(monkeypatch, caplog):
    def fails(*_):
        raise RuntimeError("not alone")

    monkeypatch.setattr(input_domains, "rows_looked_up", fails)
    use = input_domains._Use(layer=layer("Own"), graph=None, start=None, outputs=())
    assert list(input_domains._ranges_of_use(use, TensorSpec(name="x", dtype="int32", shape=(None, 4)))) == []
    assert "the tables of layer first are not known: RuntimeError: not alone" in caplog.text


@pytest.mark.parametrize(
    ("scale", "offset", "ends"),
    [(1 / 255, 0.0, (0, 255)), (1 / 127.5, -1.0, (0, 255)), (2.0, 0.0, (0, 0.5)), (-1.0, 0.0, (-1, 0))],
)
def test_what_is_rescaled_lands_between_zero_or_minus_one_and_one(scale, offset, ends):
    told = _range_of_layer(layer("Rescaling", scale=scale, offset=offset))
    assert (told.low, told.high) == pytest.approx(ends, abs=1e-9)


def test_a_normalization_remembers_each_feature():
    told = _range_of_layer(layer("Normalization", mean=np.array([[0.0, 100.0]]), variance=np.array([[1.0, 25.0]])))
    assert told.low.tolist() == [-3.0, 85.0]
    assert told.high.tolist() == [3.0, 115.0]


def test_a_normalization_that_was_shown_nothing_tells_nothing():
    assert _range_of_layer(layer("Normalization", mean=None, variance=None)) is None
    assert _range_of_layer(layer("Normalization", mean=np.zeros(2), variance=np.zeros(2))) is None


def test_only_what_was_guessed_is_guessed_otherwise():
    ranges = {"told": between(0, 9, why="told"), "guessed": between(-1, 1, why="", guessed=True)}
    other = guessing_otherwise(ranges, OTHER_RANGES[1])
    assert other["told"] is ranges["told"]
    assert (other["guessed"].low, other["guessed"].high) == (0, 255)
