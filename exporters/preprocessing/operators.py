"""Describes operators between preprocessing layers as steps.

In: an operator of the traced graph that comes before the last one that needs text. Out: one step for each of the few
operators that move numbers and text without computing; no step describes any other.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from exporters.preprocessing.literal_patterns import texts_matched
from exporters.preprocessing.step_builder import DescribedTensor, Writer
from exporters.preprocessing.steps import Cast, Concatenate, ExpandDims, Lower, Replace, Reshape, Slice, Squeeze


class Inexpressible(Exception):
    """Reports an operator that no step describes."""


def write_operator(operator: Any, describe: Callable[[Any], DescribedTensor], writer: Writer) -> DescribedTensor:
    """Adds the step of one operator.

    Args:
        operator: a `tf.Operation` with one output.
        describe: returns the description's tensor for one of the operator's inputs.
        writer: receives the step.

    Raises:
        Inexpressible: no step describes the operator.
    """
    if operator.type in {"Identity", "StopGradient", "PreventGradient"}:
        return describe(operator.inputs[0])
    write = _OPERATORS.get(operator.type)
    if write is None:
        raise Inexpressible
    return write(operator, describe, writer)


def _title(operator: Any) -> str:
    return f"{operator.name} ({operator.type})"


def _about(operator: Any) -> dict[str, Any]:
    tensor = operator.outputs[0]
    if tensor.shape.rank is None:
        raise Inexpressible
    return {"dtype": tensor.dtype.name, "shape": tuple(tensor.shape)}


def _constant(tensor: Any) -> Any:
    """Returns the value of an operand that is a parameter, such as an axis; raises Inexpressible if not constant."""
    import tensorflow as tf

    value = tf.get_static_value(tensor)
    if value is None:
        raise Inexpressible
    return value


def _cast(operator: Any, describe: Callable[[Any], DescribedTensor], writer: Writer) -> DescribedTensor:
    if operator.outputs[0].dtype.name not in {"int32", "int64", "float32", "float64"}:
        raise Inexpressible
    return writer.add(Cast, _title(operator), describe(operator.inputs[0]), **_about(operator))


def _lower(operator: Any, describe: Callable[[Any], DescribedTensor], writer: Writer) -> DescribedTensor:
    if operator.get_attr("encoding"):  # lower-cases all Unicode, by the tables of the installed ICU
        raise Inexpressible
    return writer.add(Lower, _title(operator), describe(operator.inputs[0]))


def _replace(operator: Any, describe: Callable[[Any], DescribedTensor], writer: Writer) -> DescribedTensor:
    pattern, put = (operator.get_attr(name).decode() for name in ("pattern", "rewrite"))
    find = texts_matched(pattern)
    if find is None or "\\" in put or not operator.get_attr("replace_global"):
        raise Inexpressible
    return writer.add(Replace, _title(operator), describe(operator.inputs[0]), find=find, put=put)


def _reshape(operator: Any, describe: Callable[[Any], DescribedTensor], writer: Writer) -> DescribedTensor:
    target = tuple(int(length) for length in _constant(operator.inputs[1]))
    tensor = describe(operator.inputs[0])
    return writer.add(Reshape, _title(operator), tensor, target=target, **_about(operator))


def _squeeze(operator: Any, describe: Callable[[Any], DescribedTensor], writer: Writer) -> DescribedTensor:
    axes = tuple(operator.get_attr("squeeze_dims"))
    if not axes:  # all that happen to be of length one
        raise Inexpressible
    return writer.add(Squeeze, _title(operator), describe(operator.inputs[0]), axes=axes, **_about(operator))


def _expand_dims(operator: Any, describe: Callable[[Any], DescribedTensor], writer: Writer) -> DescribedTensor:
    axis = int(_constant(operator.inputs[1]))
    return writer.add(ExpandDims, _title(operator), describe(operator.inputs[0]), axis=axis, **_about(operator))


def _concatenate(operator: Any, describe: Callable[[Any], DescribedTensor], writer: Writer) -> DescribedTensor:
    *parts, last = operator.inputs
    axis = int(_constant(last))
    tensors: Sequence[DescribedTensor] = [describe(part) for part in parts]
    return writer.add(Concatenate, _title(operator), *tensors, axis=axis, **_about(operator))


def _strided_slice(operator: Any, describe: Callable[[Any], DescribedTensor], writer: Writer) -> DescribedTensor:
    if operator.get_attr("ellipsis_mask") or operator.get_attr("new_axis_mask"):
        raise Inexpressible
    begins, ends, strides = (_constant(tensor).tolist() for tensor in list(operator.inputs)[1:])
    free_begin, free_end = operator.get_attr("begin_mask"), operator.get_attr("end_mask")
    dropped = tuple(axis for axis in range(len(begins)) if operator.get_attr("shrink_axis_mask") >> axis & 1)
    ranges = [
        (
            None if free_begin >> axis & 1 and axis not in dropped else begin,
            _after(begin) if axis in dropped else None if free_end >> axis & 1 else end,
            1 if axis in dropped else stride,
        )
        for axis, (begin, end, stride) in enumerate(zip(begins, ends, strides, strict=True))
    ]
    tensor = describe(operator.inputs[0])
    return writer.add(Slice, _title(operator), tensor, ranges=tuple(ranges), dropped=dropped, **_about(operator))


def _after(index: int) -> int | None:
    """Returns where the slice of one element ends; None for the last one, which has nothing behind it."""
    return None if index == -1 else index + 1


_OPERATORS: Mapping[str, Callable[[Any, Callable[[Any], DescribedTensor], Writer], DescribedTensor]] = {
    "Cast": _cast,
    "StringLower": _lower,
    "StaticRegexReplace": _replace,
    "Reshape": _reshape,
    "Squeeze": _squeeze,
    "ExpandDims": _expand_dims,
    "ConcatV2": _concatenate,
    "StridedSlice": _strided_slice,
}
