"""What tensorflowjs imports and never calls is a stand-in to it alone."""

import sys

import pytest

pytestmark = pytest.mark.slow


def after_the_import(_request: dict) -> dict:
    """Job: what of the stand-ins is left when tensorflowjs is imported."""
    from exporters.formats.tfjs_stubs import conversion_module

    before = set(sys.modules)
    module = conversion_module()
    left = sorted(name for name in set(sys.modules) - before if name.partition(".")[0] in {"jax", "tensorflow_hub"})
    import tf_keras

    return {"left": left, "real": hasattr(tf_keras, "layers"), "same": conversion_module() is module}


def test_the_stand_ins_are_gone_once_it_is_imported(bench):
    assert bench.call("tests.exporters.test_tfjs_stubs:after_the_import", {}) == {
        "left": [],
        "real": True,
        "same": True,
    }
