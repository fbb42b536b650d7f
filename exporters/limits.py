"""What targets cannot express, each with its upstream source: the versioned table behind every `limited`.

In: the message a converter failed with. Out: the row that explains it, or None, and then the exporter is `errored`.
A row names the target, the versions it was seen with, and where upstream says so; a version that mends it takes the row
away.
"""

import re
from dataclasses import dataclass

from exporters.errors import Limited


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """One limit of one target.

    Attributes:
        id: stable identifier, what a waiver names.
        format: the target.
        pattern: regular expression found in the converter's message.
        says: the limit in a sentence.
        way_out: what the user can do.
        versions: toolchain it was seen with.
        source: upstream thread.
    """

    id: str
    format: str
    pattern: str
    says: str
    way_out: str
    versions: str
    source: str


LIMITS = (
    Limit(
        id="tflite-dynamic-loop",
        format="tflite",
        pattern=r"TensorListReserve|requires element_shape to be static|TensorList(Stack|SetItem|GetItem|FromTensor)",
        says="a recurrent loop over a dynamic batch does not convert to builtin operators",
        way_out="Use the batch1 variant: with a fixed batch the loop converts.",
        versions="tensorflow 2.21",
        source="tensorflow#62849",
    ),
    Limit(
        id="tflite-no-builtin",
        format="tflite",
        pattern=r"(?:op is neither a custom op nor a flex op|Some ops are not supported by the native TFLite runtime)",
        says="the model needs an operator that TF Lite has no builtin for",
        way_out="Replace the operator in the model, or ship another format.",
        versions="tensorflow 2.21",
        source="LiteRT#6458",
    ),
    Limit(
        id="tfjs-unknown-op",
        format="tfjs",
        pattern=r"Unsupported Ops in the model",
        says="the model needs an operator that TF.js does not know",
        way_out="Replace the operator in the model, or ship another format.",
        versions="tensorflowjs 4.22",
        source="tfjs#8304",
    ),
    Limit(
        id="tfjs-loop",
        format="tfjs",
        pattern=r"has a recurrent loop over a list of tensors",
        says="TF.js does not run the loop of a recurrent layer whose time axis is dynamic or longer than 256 steps",
        way_out="Give the model a static time axis: it is then written out step by step.",
        versions="tensorflowjs 4.22",
        source="tfjs#7422",
    ),
    Limit(
        id="tfjs-no-kernel",
        format="tfjs",
        pattern=r"Kernel '\w+' not registered for backend",
        says="this TF.js backend has no kernel for an operator of the model",
        way_out="Use another backend, and leave this one out of policy.required.",
        versions="tensorflowjs 4.22",
        source="tfjs#7439",
    ),
    Limit(
        id="tfjs-int64",
        format="tfjs",
        pattern=r"int64 constant outside int32",
        says="the model holds integers beyond 32 bits; TF.js has no wider ones and would cut them",
        way_out="Use identifiers below 2**31.",
        versions="tensorflowjs 4.22",
        source="tfjs#8304",
    ),
    Limit(
        id="onnx-unknown-op",
        format="onnx",
        pattern=r"TensorFlow operators were left over",
        says="the model needs an operator that tf2onnx cannot translate",
        way_out="Replace the operator in the model, or ship another format.",
        versions="tf2onnx 1.17",
        source="tensorflow-onnx support_status.md",
    ),
)

_OPERATORS = re.compile(
    r"'(tf\.\w+)' op is neither|(?:before|after) optimization\s+(.*)|left over: (.*)"
    r"|Kernel '(\w+)' not registered"
)


def known_limit(target: str, message: str) -> Limited | None:
    """The `Limited` error for a converter's message, naming the operators it complained of; None when no row matches.

    Args:
        target: the format that was being made.
        message: the converter's whole error message.
    """
    for limit in LIMITS:
        if limit.format == target and re.search(limit.pattern, message):
            named = sorted({part for match in _OPERATORS.findall(message) for part in match if part})
            operators = f": {', '.join(named)}" if named else ""
            return Limited(f"{limit.says}{operators} ({limit.source})", limit=limit.id, next_step=limit.way_out)
    return None
