"""Writes `keras2_classes.txt`, the list of what belongs to Keras 2, from the installed tf_keras and TensorFlow.

In: the installed packages. Out: the list on stdout; run it by hand when they move and read the difference:

    python -m exporters.source.admission.list_keras2_classes > exporters/source/admission/keras2_classes.txt

What is listed: the classes that describe models, under each public name; the functions that tf_keras finds by their
bare names; the saveable classes below `tf_keras.src`, each under its own module, which is what tf_keras imports; and
the TensorFlow functions that a `TFOpLambda` layer may call: only mathematics on tensors. Anything that reads or writes
files, runs code, draws random numbers or keeps state is left out.
"""

import importlib
import sys
from collections.abc import Iterator
from types import FunctionType
from typing import Any

from exporters.source.admission.allow_list import REFUSED

CLASS_MODULES = (
    "keras",
    "keras.constraints",
    "keras.initializers",
    "keras.layers",
    "keras.layers.experimental",
    "keras.layers.experimental.preprocessing",
    "keras.losses",
    "keras.metrics",
    "keras.mixed_precision",
    "keras.models",
    "keras.optimizers",
    "keras.optimizers.experimental",
    "keras.optimizers.legacy",
    "keras.optimizers.schedules",
    "keras.regularizers",
)
"""Public modules whose classes describe models."""
FUNCTION_MODULES = ("activations", "constraints", "initializers", "losses", "metrics", "regularizers")
"""Modules whose functions a configuration names (tf_keras.src.saving.serialization_lib.BUILTIN_MODULES)."""
INTERNAL_PACKAGES = ("engine", "layers", "initializers", "regularizers", "constraints", "mixed_precision")
"""Packages below `tf_keras.src` whose layers, initializers and policies older writers name by module."""
TENSOR_MODULES = ("__operators__", "bitwise", "linalg", "math", "math.special", "nn", "signal", "strings")
"""Modules of TensorFlow that hold nothing but functions of tensors."""
TENSOR_FUNCTIONS = (  # noqa: SIM905 - two hundred words are read more easily than as many strings
    "abs acos acosh add add_n argmax argmin argsort asin asinh atan atan2 atanh batch_to_space boolean_mask "
    "broadcast_dynamic_shape broadcast_static_shape broadcast_to cast clip_by_norm clip_by_value complex concat "
    "convert_to_tensor cos cosh cumsum divide edit_distance einsum ensure_shape equal exp expand_dims eye fill "
    "fingerprint floor gather gather_nd greater greater_equal histogram_fixed_width identity identity_n is_tensor "
    "less less_equal linspace logical_and logical_not logical_or matmul maximum meshgrid minimum multiply negative "
    "no_op norm not_equal one_hot ones ones_like pad parallel_stack pow range rank realdiv reduce_all reduce_any "
    "reduce_logsumexp reduce_max reduce_mean reduce_min reduce_prod reduce_sum repeat reshape reverse "
    "reverse_sequence roll round saturate_cast scalar_mul scatter_nd searchsorted sequence_mask shape shape_n sigmoid "
    "sign sin sinh size slice sort space_to_batch space_to_batch_nd split sqrt square squeeze stack stop_gradient "
    "strided_slice subtract tan tanh tensor_scatter_nd_add tensor_scatter_nd_max tensor_scatter_nd_min "
    "tensor_scatter_nd_sub tensor_scatter_nd_update tensordot tile transpose truncatediv truncatemod unique "
    "unique_with_counts unravel_index unstack where zeros zeros_like "
    "dtypes.cast dtypes.complex dtypes.saturate_cast "
    "image.adjust_brightness image.adjust_contrast image.adjust_gamma image.adjust_hue image.adjust_saturation "
    "image.central_crop image.crop_and_resize image.crop_to_bounding_box image.extract_patches image.flip_left_right "
    "image.flip_up_down image.grayscale_to_rgb image.hsv_to_rgb image.image_gradients "
    "image.non_max_suppression image.pad_to_bounding_box image.per_image_standardization image.psnr image.resize "
    "image.resize_with_crop_or_pad image.resize_with_pad image.rgb_to_grayscale image.rgb_to_hsv image.rgb_to_yiq "
    "image.rgb_to_yuv image.rot90 image.sobel_edges image.ssim image.total_variation image.transpose "
    "image.yiq_to_rgb image.yuv_to_rgb"
).split()
"""Functions of tensors in modules that hold other things too."""
_LEFT_OUT = ("random", "dropout", "fractional", "uniform_candidate", "sampler", "nce_loss", "sampled_", "rnn")
"""Parts of names: what draws random numbers or takes a cell."""
_V1 = "compat.v1."


def _symbols() -> dict[str, Any]:
    from tensorflow.python.util import tf_export

    return dict(tf_export._NAME_TO_SYMBOL_MAPPING)  # noqa: SLF001 - where tf_keras looks a name up


def _public(symbols: dict[str, Any]) -> Iterator[tuple[str, str, str]]:
    for full, value in symbols.items():
        module, _, name = full.rpartition(".")
        if module in CLASS_MODULES and isinstance(value, type) and hasattr(value, "from_config"):
            yield "class", module, name
    yield "class", "keras.utils", "FeatureSpace"
    for short in FUNCTION_MODULES:
        own = vars(importlib.import_module(f"tf_keras.{short}"))
        for name, value in own.items():
            loader = name in {"deserialize", "get", "serialize"} or name.startswith("_")
            if isinstance(value, FunctionType) and not loader:
                yield "function", f"keras.{short}", name


def _advanced_activations() -> Iterator[tuple[str, str, str]]:
    """Yields layers that `activation="LeakyReLU"` finds as well."""
    from tf_keras.src.layers import activation

    for name, value in vars(activation).items():
        if isinstance(value, type):
            yield "function", "keras.activations", name


def _numbered() -> Iterator[tuple[str, str, str]]:
    """Yields `BatchNormalizationV1` and the like: names of TensorFlow 1 under which tf_keras still finds layers."""
    from tf_keras.src.layers import serialization

    serialization.populate_deserializable_objects()
    for name, value in serialization.LOCAL.ALL_OBJECTS.items():
        if isinstance(value, type) and name.endswith(("V1", "V2")):
            yield "class", "keras.layers", name


def _below(base: type) -> Iterator[type]:
    children: list[type] = base.__subclasses__()
    for child in children:
        yield child
        yield from _below(child)


def _internal() -> Iterator[tuple[str, str, str]]:
    import tf_keras
    from tf_keras.src.utils import feature_space

    bases = (
        tf_keras.layers.Layer,
        tf_keras.initializers.Initializer,
        tf_keras.regularizers.Regularizer,
        tf_keras.constraints.Constraint,
        tf_keras.mixed_precision.Policy,
    )
    for base in bases:
        for child in (base, *_below(base)):
            package = child.__module__.removeprefix("tf_keras.src.").partition(".")[0]
            if child.__module__.startswith("tf_keras.src.") and package in INTERNAL_PACKAGES:
                yield "class", child.__module__.removeprefix("tf_"), child.__name__
    for name in ("Cross", "Feature", "FeatureSpace"):
        yield "class", feature_space.__name__.removeprefix("tf_"), name


def _operations(symbols: dict[str, Any]) -> Iterator[tuple[str, str, str]]:
    for full, value in symbols.items():
        plain = full.removeprefix(_V1)
        listed = plain in TENSOR_FUNCTIONS or plain.rpartition(".")[0] in TENSOR_MODULES
        if listed and callable(value) and not isinstance(value, type) and not any(w in plain for w in _LEFT_OUT):
            yield "operation", "tensorflow", full


def rows() -> list[str]:
    """Returns the lines of the list: `class|function|operation MODULE NAME`, sorted."""
    import tf_keras  # noqa: F401 - its names are registered when it is imported

    symbols = _symbols()
    found = {*_public(symbols), *_advanced_activations(), *_numbered(), *_internal(), *_operations(symbols)}
    return [" ".join(row) for row in sorted(found) if row[2] not in REFUSED]


def main() -> None:
    """Prints the list with its header."""
    import tensorflow as tf
    import tf_keras

    sys.stdout.write(f"# tf_keras {tf_keras.__version__}, TensorFlow {tf.__version__}, by ")
    sys.stdout.write("exporters/source/admission/list_keras2_classes.py: KIND MODULE NAME\n")
    sys.stdout.writelines(f"{row}\n" for row in rows())


if __name__ == "__main__":
    main()
