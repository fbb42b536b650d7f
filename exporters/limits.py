"""What targets cannot express, each with its upstream source: the versioned table behind every `limited`.

In: a row's id, from code that found the limit itself, or the message a converter failed with. Out: the `Limited` error
that the row writes; for a message that no row explains None, and then the exporter is `errored`. A row names the
target, the versions it was seen with, and where upstream says so; a version that mends it takes the row away.
"""

import re
from dataclasses import dataclass

from exporters.errors import Limited


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """One limit of one target.

    Attributes:
        id: stable identifier, what a waiver names.
        format: the target; empty for a limit of every target that starts from a lowered graph.
        pattern: regular expression found in the message of a converter or a runtime; None where our own code finds it.
        says: the limit in a sentence.
        way_out: what the user can do.
        versions: toolchain it was seen with.
        source: upstream thread.
    """

    id: str
    format: str = ""
    pattern: str | None = None
    says: str
    way_out: str
    versions: str
    source: str


LIMITS = (
    Limit(
        id="graphdef-2gib",
        says="a graph with its weights as constants ends at 2 GiB, which is all that one protocol buffer holds",
        way_out="SavedModel keeps weights beside the graph and is not affected.",
        versions="tensorflow 2.21",
        source="tensorflow#62850",
    ),
    Limit(
        id="lookup-table",
        says="the model looks words up in a table, which a graph of constants cannot hold",
        way_out="SavedModel keeps tables; for other targets, look up before the model and export the rest.",
        versions="tensorflow 2.21",
        source="tensorflow#8665",
    ),
    Limit(
        id="fixed-batch",
        says="the model's own batch is fixed, so there is no variant with another",
        way_out="Use the format's other variant, or build the model with a free batch.",
        versions="keras 3.15",
        source="keras Input(batch_shape=...)",
    ),
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
        id="tflite-flex-op",
        format="tflite",
        says="the file needs TensorFlow's own kernels (Flex), which no current LiteRT runtime has",
        way_out="Replace the operator in the model, or ship another format.",
        versions="tensorflow 2.21, ai-edge-litert 2.3",
        source="LiteRT#6458",
    ),
    Limit(
        id="tflite-custom-op",
        format="tflite",
        says="the file needs custom operators, which a runtime has only where the app registers them",
        way_out="Replace the operator in the model, or ship another format.",
        versions="tensorflow 2.21, ai-edge-litert 2.3",
        source="tensorflow#37844",
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
        says="TF.js has no integers beyond 32 bits and would cut them",
        way_out="Use identifiers below 2**31 in the model and in the samples.",
        versions="tensorflowjs 4.22",
        source="tfjs#970",
    ),
    Limit(
        id="tfjs-float64",
        format="tfjs",
        says="TF.js has no float64, and a number beyond float32 would become infinite",
        way_out="Scale the input so that it fits float32.",
        versions="tensorflowjs 4.22",
        source="tfjs#1110",
    ),
    Limit(
        id="onnx-unknown-op",
        format="onnx",
        says="the model needs an operator that tf2onnx cannot translate",
        way_out="Replace the operator in the model, or ship another format.",
        versions="tf2onnx 1.17",
        source="tensorflow-onnx support_status.md",
    ),
    Limit(
        id="onnx-custom-domain",
        format="onnx",
        says="the model needs operators of a domain outside the ONNX standard, which runtimes do not know",
        way_out="Replace the operator in the model, or ship another format.",
        versions="tf2onnx 1.17",
        source="tensorflow-onnx#904",
    ),
)

_ROWS = {limit.id: limit for limit in LIMITS}
_OPERATORS = re.compile(r"'(tf\.\w+)' op is neither|(?:before|after) optimization\s+(.*)|Kernel '(\w+)' not registered")


def limited(limit: str, detail: str = "") -> Limited:
    """The error for a limit that our own code found; the caller raises it.

    Args:
        limit: identifier of a row in `LIMITS`.
        detail: what hit the limit here: names, sizes, places.
    """
    row = _ROWS[limit]
    hit = f": {detail}" if detail else ""
    return Limited(f"{row.says}{hit} ({row.source})", limit=row.id, next_step=row.way_out)


def known_limit(target: str, message: str) -> Limited | None:
    """The error for a converter's or runtime's message, naming the operators it complained of; None: no row matches.

    Args:
        target: the format that was being made or run.
        message: the whole error message.
    """
    for limit in LIMITS:
        if limit.format == target and limit.pattern and re.search(limit.pattern, message):
            named = sorted({part for match in _OPERATORS.findall(message) for part in match if part})
            return limited(limit.id, ", ".join(named))
    return None
