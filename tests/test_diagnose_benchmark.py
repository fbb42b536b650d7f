"""The parts of `benchmarks/diagnose.py` that need no TensorFlow: its bar and its page."""

import pytest

from benchmarks.diagnose import PLANTED, Scored, kept, page, summary


def scored(**changes):
    plain = {"model": "cnn", "layer": "conv1", "fault": "one weight +0.2", "cell": "onnx/default onnxruntime cpu"}
    return Scored(**plain | {"named": "conv1", "right": True, "seconds": 9.0, "shown": "4 confirmed"} | changes)


def test_there_are_twenty_faults_and_none_twice():
    assert len(set(PLANTED)) == len(PLANTED) >= 20


@pytest.mark.parametrize(
    ("other", "ok"), [({}, True), ({"right": False, "named": "norm1"}, False), ({"seconds": 121.0}, False)]
)
def test_the_bar_is_nine_of_ten_each_in_under_two_minutes(other, ok):
    assert kept([*[scored()] * 8, scored(**other)]) is ok


def test_the_page_tells_what_was_named_instead_and_what_it_was_made_with():
    run = {"date": "2026-01-02", "command": "python -m benchmarks.diagnose", "versions": {"keras": "3.99"}}
    wrong = scored(right=False, named="norm1")
    text = page([run], [scored(), wrong])
    assert summary([scored(), wrong]) in text
    assert "| **no:** `norm1`, 4 confirmed |" in text
    assert "keras 3.99" in text
