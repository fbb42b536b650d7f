"""Builds the model in float64: the same layers and weights, computed with 29 more bits.

In: a loaded model. Out: a `SourceModel` whose every number is float64, and whose outputs are exact in terms of
float32: its distance from the model itself is the effect of rounding. Every type and every dtype policy of the
configuration is rewritten, the model is built from it again, and each variable gets the values of its namesake. Runs
inside a worker process only, and sets Keras' default float for good there.
"""

import sys
from dataclasses import replace
from typing import Any

from exporters.contract import Signature
from exporters.source.keras.model import SourceModel, cause

_NARROW = ("float32", "float16", "bfloat16", "mixed_float16", "mixed_bfloat16")
_WIDE = "float64"
_TYPE_KEYS = ("dtype", "output_dtype", "compute_dtype", "variable_dtype", "layer_dtype")
_VOLUME = 5  # axes of a batch of volumes
_POLICIES = ("DTypePolicy", "Policy", "PolicyV1")


class NoDouble(Exception):
    """Reports that the model cannot be computed in float64; the message names the reason."""


def in_float64(model: SourceModel) -> SourceModel:
    """Builds a copy of the model that computes in float64, under the same canonical names.

    Raises:
        NoDouble: a layer cannot be built from its configuration in float64, or has other variables then.
    """
    try:
        graph = model.rebuilt(_widened)
    except (ValueError, TypeError, KeyError, AttributeError, NotImplementedError, IndexError) as error:
        raise NoDouble(f"the model cannot be built in float64: {cause(error)[:300]}") from error
    _give_weights(model, graph)
    _group_without_xla()
    structure = graph.input
    signature = Signature(
        inputs=tuple(replace(spec, dtype=_wide(spec.dtype)) for spec in model.signature.inputs),
        outputs=tuple(replace(spec, dtype=_wide(spec.dtype)) for spec in model.signature.outputs),
    )
    return replace(model, graph=graph, structure=structure, signature=signature)


def _group_without_xla() -> None:
    """Makes TensorFlow's own kernels compute grouped convolutions, for good in this process.

    Keras 2 and 3 have XLA compile them on the CPU, which computes every pair of channels: in float64, one 7 x 7
    convolution of 96 groups takes 2.0 s for a row of 56 x 56, where TensorFlow's own kernel takes 0.13 s (TensorFlow
    2.21); ConvNeXtTiny took over half an hour. Volumes stay with XLA: TensorFlow has no grouped kernel for them.
    """
    import keras
    import tensorflow as tf
    from keras.src.backend.tensorflow import nn

    compiled = nn.conv

    def conv(  # noqa: PLR0913, PLR0917 - Keras' own arguments
        inputs: Any,
        kernel: Any,
        strides: Any = 1,
        padding: Any = "valid",
        data_format: Any = None,
        dilation_rate: Any = 1,
    ) -> Any:
        last = (data_format or keras.config.image_data_format()) == "channels_last"
        if not last or len(inputs.shape) == _VOLUME or inputs.shape[-1] == kernel.shape[-2]:
            return compiled(inputs, kernel, strides, padding, data_format, dilation_rate)
        return tf.nn.convolution(inputs, kernel, strides, padding.upper(), dilations=dilation_rate)

    nn.conv = conv
    if (legacy := sys.modules.get("tf_keras")) is not None:
        for layer in (legacy.layers.Conv1D, legacy.layers.Conv2D):
            layer._jit_compiled_convolution_op = layer.convolution_op  # noqa: SLF001 - compiled whatever is asked


def _wide(dtype: str) -> str:
    return _WIDE if dtype in _NARROW else dtype


def _widened(node: Any, key: str = "") -> Any:
    """Returns a copy of a configuration in which every floating type and every policy is float64."""
    if isinstance(node, dict):
        if str(node.get("class_name", "")).startswith("Quantized"):
            raise NoDouble(f"its weights are quantized ({node['class_name']}), so float64 has nothing to add")
        if node.get("class_name") in _POLICIES:
            return {**node, "config": {**node["config"], "name": _WIDE}}
        return {name: _widened(value, name) for name, value in node.items()}
    if isinstance(node, list | tuple):
        return type(node)(_widened(item) for item in node)
    return _WIDE if key in _TYPE_KEYS and node in _NARROW else node


def _give_weights(model: SourceModel, graph: Any) -> None:
    import tensorflow as tf

    own, doubled = model.variables_of(model.graph), model.variables_of(graph)
    for (name, source), (_, target) in zip(own, doubled, strict=False):
        if source.shape != target.shape:
            raise NoDouble(f"variable {name} has shape {source.shape} in float32 and {target.shape} in float64")
        target.assign(tf.cast(source, target.dtype))
    if len(own) != len(doubled):
        raise NoDouble(f"the model has {len(own)} variables in float32 and {len(doubled)} in float64")
    for layer, twin in zip(_layers(model.graph), _layers(graph), strict=True):
        if hasattr(layer, "lookup_table"):
            raise NoDouble(f"layer {layer.name} looks words up in a table")
        # Normalization derives constants from its variables; without this they keep the initial values.
        if hasattr(twin, "finalize_state"):
            twin.finalize_state()


def _layers(graph: Any) -> list[Any]:
    return list(graph._flatten_layers())  # noqa: SLF001 - wrapped ones as well
