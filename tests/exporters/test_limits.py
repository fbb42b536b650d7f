"""The table of limits: a converter's own words in, the row that explains them out."""

import re

import pytest

from exporters.limits import LIMITS, known_limit
from exporters.registry import FORMATS

# What the converters of the recorded versions really say.
SAID = {
    "tflite-dynamic-loop": "error: 'tf.TensorListReserve' op requires element_shape to be static during TF Lite",
    "tflite-no-builtin": "error: 'tf.Erfc' op is neither a custom op nor a flex op\nerror: failed: 'tf.Erfc' op is "
    "neither a custom op nor a flex op\nerror: 'tf.Betainc' op is neither a custom op nor a flex op",
    "tfjs-unknown-op": "Unsupported Ops in the model before optimization\nBitcast, BitwiseAnd",
    "tfjs-loop": "tensor-list-loop: has a recurrent loop over a list of tensors",
    "tfjs-no-kernel": "Broken: Kernel 'Einsum' not registered for backend 'wasm'",
    "tfjs-int64": "int64 constant outside int32",
    "onnx-unknown-op": "TensorFlow operators were left over: Betainc, Erfc",
}
NAMES = {
    "tflite-no-builtin": ": tf.Betainc, tf.Erfc (",
    "tfjs-unknown-op": ": Bitcast, BitwiseAnd (",
    "tfjs-no-kernel": ": Einsum (",
    "onnx-unknown-op": ": Betainc, Erfc (",
}


def test_every_row_has_an_example_here():
    assert set(SAID) == {limit.id for limit in LIMITS}
    assert len({limit.id for limit in LIMITS}) == len(LIMITS)


@pytest.mark.parametrize("limit", LIMITS, ids=lambda limit: limit.id)
def test_the_converters_words_find_their_row_and_no_other_format_does(limit):
    found = known_limit(limit.format, f"Traceback ...\n{SAID[limit.id]}\nmore words")
    assert found.limit == limit.id
    assert limit.says in found.message
    assert found.next_step == limit.way_out
    assert all(known_limit(other, SAID[limit.id]) is None for other in FORMATS if other != limit.format)


@pytest.mark.parametrize("limit", [limit for limit in LIMITS if limit.id in NAMES], ids=lambda limit: limit.id)
def test_the_operators_are_named_once_each(limit):
    assert NAMES[limit.id] in known_limit(limit.format, SAID[limit.id]).message


@pytest.mark.parametrize("limit", LIMITS, ids=lambda limit: limit.id)
def test_every_row_cites_upstream_and_the_versions_it_was_seen_with(limit):
    assert re.fullmatch(r"[\w.-]+#\d+|tensorflow-onnx support_status\.md", limit.source)
    assert re.search(r"\d+\.\d+", limit.versions)
    assert limit.way_out.endswith(".")
    assert limit.format in FORMATS


@pytest.mark.parametrize("format_", FORMATS)
def test_an_unknown_failure_is_no_limit(format_):
    assert known_limit(format_, "ValueError: something nobody has seen") is None
