"""Jobs for the tests of `exporters.preprocessing`: what needs TensorFlow."""

import random
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from unittest import mock

from exporters.source.model_source import ModelSource

_SEED = (0x0123456789ABCDEF, 77)
_BUCKETS = 2**62
_CROSS_SEED = 0xDECAFCAFFE


def differences(request: Mapping[str, Any]) -> list[str]:
    """Job: the texts over which a rule of the interpreter and TensorFlow's operator differ.

    Args:
        request: `rule`.
    """
    import numpy as np
    import tensorflow as tf

    from exporters.preprocessing.interpreter import _OPERATIONS
    from exporters.preprocessing.steps import PUNCTUATION, Cross, Hash, Lower, Split, Strip

    texts = _texts()
    given = np.empty(len(texts), object)
    given[:] = texts
    base = {"layer": "", "inputs": ("x",), "output": "y", "dtype": "string", "shape": (None,)}
    column, numbers = tf.constant(texts)[:, None], np.arange(len(texts)) * 7919 - 10**6
    steps = {
        "lower": Lower(**base),
        "strip": Strip(**base, characters=PUNCTUATION),
        "whitespace": Split(**base, by="whitespace"),
        "character": Split(**base, by="character"),
        "farmhash64": Hash(**base, rule="farmhash64", bins=_BUCKETS),
        "siphash24": Hash(**base, rule="siphash24", bins=_BUCKETS, key=_SEED),
        "cross": Cross(**base, bins=_BUCKETS, seed=_CROSS_SEED),
    }
    crossed = tf.sparse.cross_hashed([column, tf.constant(numbers)[:, None], column[::-1]], _BUCKETS)
    regex = r'[!"#$%&()\*\+,-\./:;<=>?@\[\\\]^_`{|}~\']'  # as Keras writes it
    expected = {
        "lower": lambda: tf.strings.lower(texts),
        "strip": lambda: tf.strings.regex_replace(texts, regex, ""),
        "whitespace": lambda: tf.strings.split(texts),
        "character": lambda: tf.strings.unicode_split(texts, "UTF-8"),
        "farmhash64": lambda: tf.strings.to_hash_bucket_fast(texts, _BUCKETS),
        "siphash24": lambda: tf.strings.to_hash_bucket_strong(texts, _BUCKETS, key=list(_SEED)),
        "cross": lambda: tf.sparse.to_dense(crossed)[:, 0],
    }
    rule = request["rule"]
    wanted = expected[rule]()
    wanted = wanted.to_list() if isinstance(wanted, tf.RaggedTensor) else wanted.numpy().tolist()
    taken = [given, numbers, given[::-1]] if rule == "cross" else [given]
    made = _OPERATIONS[type(steps[rule])](steps[rule], taken)
    got = [row.tolist() for row in made] if isinstance(made, list) else made.tolist()
    return [repr(text) for text, one, other in zip(texts, wanted, got, strict=True) if one != other]


def _texts() -> list[bytes]:
    """Hard texts, and random bytes: of every length around the hashes' blocks, and sequences that are nearly UTF-8."""
    from exporters.preprocessing.trial_inputs import HARD

    draw = random.Random(7)  # noqa: S311 - texts, no secrets
    texts = [text.encode() for text in HARD]
    lengths = [*range(140), 191, 192, 193, 255, 256, 257, 1000, 4096]
    texts += [bytes(draw.randrange(256) for _ in range(length)) for length in lengths]
    leads = b"\x00\x20\x41\x80\xbf\xc0\xc2\xe0\xe2\xed\xef\xf0\xf4\xf5\xff"
    texts += [bytes(draw.choice(leads) for _ in range(draw.randrange(1, 9))) for _ in range(2000)]
    return texts


def lowered_with_a_fault(request: Mapping[str, Any]) -> str:
    """Job: what the lowering says when one step of the interpreter is wrong; empty when nothing.

    Args:
        request: `model` (path), `fault` (a step; empty for none).
    """
    from exporters.lowering.tracing.trace import trace
    from exporters.preprocessing import interpreter
    from exporters.preprocessing.steps import Lower, Pad, Split, Strip
    from exporters.source.keras.loading import load

    right = dict(interpreter._OPERATIONS)
    each = interpreter._each
    wrong = {
        "lower": {Lower: lambda _, taken: each(taken[0], lambda text: text.decode().lower().encode())},
        "split": {
            Split: lambda _, taken: [interpreter._texts([t.encode() for t in x.decode().split()]) for x in taken[0]]
        },
        "strip": {Strip: lambda step, taken: right[Strip](_with(step, characters=step.characters[:-1]), taken)},
        "pad": {Pad: lambda step, taken: right[Pad](_with(step, value=1), taken)},
        "": {},
    }[request["fault"]]
    wrong = {kind: (lambda step, taken, do=do: do(step, taken)) for kind, do in wrong.items()}
    with mock.patch.object(interpreter, "_OPERATIONS", {**right, **wrong}):
        try:
            trace(load(ModelSource(path=Path(request["model"]))))
        except RuntimeError as error:
            return str(error)
    return ""


def _with(step: Any, **changes: Any) -> Any:
    from dataclasses import replace

    return replace(step, **changes)


def lowered_without_unknown_words(_request: Mapping[str, Any]) -> str:
    """Job: the rule for unknown words of a model that takes none."""
    import keras
    from keras import layers

    from exporters.lowering.tracing.trace import trace
    from exporters.source.keras.loading import load

    text = keras.Input((1,), dtype="string", name="text")
    known = layers.StringLookup(vocabulary=["a", "b"], num_oov_indices=0, output_mode="one_hot", name="known")(text)
    with TemporaryDirectory() as scratch:
        path = Path(scratch) / "m.keras"
        keras.Model(text, layers.Dense(2, name="y")(known)).save(path)
        graph = trace(load(ModelSource(path=path)))
    return str(graph.preprocessing.description.steps[0].unknown.rule)


def known(_request: Mapping[str, Any]) -> dict[str, list[Any]]:
    """Job: what samples are drawn from, where numbers are looked up as text and layers have masks."""
    import keras
    import tensorflow as tf
    from keras import layers

    from exporters.preprocessing.vocabularies import entries_of
    from exporters.source.keras.keras3 import Keras3Model, _signature

    class AsText(layers.Layer):  # type: ignore[misc]  # Keras is untyped
        def call(self, numbers: Any) -> Any:
            return tf.strings.as_string(numbers)

        def compute_output_spec(self, numbers: Any) -> Any:
            return keras.KerasTensor(numbers.shape, "string")

    dtypes = {"number": "int64", "nothing": "int32", "word": "string", "hashed": "string"}
    inputs = {name: keras.Input((1,), dtype=dtype, name=name) for name, dtype in dtypes.items()}
    parts = [
        layers.StringLookup(vocabulary=["12", "7", "none"])(AsText()(inputs["number"])),
        layers.StringLookup(vocabulary=["none"])(AsText()(inputs["nothing"])),
        layers.StringLookup(vocabulary=["cat"], mask_token="[PAD]")(inputs["word"]),  # noqa: S106 - no password
        layers.Hashing(5, mask_value="[GAP]")(inputs["hashed"]),
    ]
    graph = keras.Model(inputs, layers.Concatenate(name="y")(parts))
    found = entries_of(Keras3Model(graph=graph, structure=graph.input, signature=_signature(graph)))
    return {name: list(entries) for name, entries in found.items()}
