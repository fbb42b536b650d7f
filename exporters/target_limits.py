"""Lists the limits of the targets, each with its upstream source: the versioned table behind every `limited`.

In: a row's id, from code that found the limit itself, or the message of a converter's failure. Out: the `Limited` error
of the row; None for a message that no row explains, and then the artifact is `errored`. A row names the target, the
versions that showed the limit, and the upstream source. Remove a row once the upstream version fixes it.
"""

import re
from dataclasses import dataclass

from exporters.errors import Limited


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetLimit:
    """Describes one limit of one target.

    Attributes:
        id: stable identifier, which waivers name.
        format: the target; empty for a limit of every target that starts from a lowered graph.
        pattern: regular expression found in the message of a converter or a runtime; None where our own code finds it.
        runtimes: registry names of the runtimes whose messages the pattern explains; empty: the converter's.
        says: the limit in a sentence.
        way_out: what the user can do.
        versions: toolchain it was seen with.
        source: upstream thread, or the file that documents it where there is no thread.
    """

    id: str
    format: str = ""
    pattern: str | None = None
    runtimes: tuple[str, ...] = ()
    says: str
    way_out: str
    versions: str
    source: str


LIMITS = (
    TargetLimit(
        id="graphdef-2gib",
        says="a graph with its weights as constants ends at 2 GiB, which is all that one protocol buffer holds",
        way_out="SavedModel keeps weights outside of the graph and is not affected.",
        versions="tensorflow 2.21",
        source="tensorflow#62850",
    ),
    TargetLimit(
        id="lookup-table",
        says="the model looks values up in a table, which no target but SavedModel has, and the lookup does not belong "
        "to a layer whose preprocessing can be described",
        way_out="Use StringLookup, IntegerLookup or TextVectorization, or ship the SavedModel.",
        versions="tensorflow 2.21",
        source="tensorflow#8665",
    ),
    TargetLimit(
        id="string-op",
        says="no target but SavedModel has text, and what the model does before its last text operator has no exact "
        "description",
        way_out="Do that step before the model, or ship the SavedModel.",
        versions="tensorflow 2.21",
        source="tensorflow#42673",
    ),
    TargetLimit(
        id="text-output",
        says="the model gives text, and no target but SavedModel has any",
        way_out="Output the numbers and replace them by words after the model, or ship the SavedModel.",
        versions="tensorflow 2.21",
        source="tensorflow#59517",
    ),
    TargetLimit(
        id="fixed-batch",
        says="the model's own batch is fixed, so there is no variant with another",
        way_out="Use the format's other variant, or build the model with a free batch.",
        versions="keras 3.15",
        source="keras Input(batch_shape=...)",
    ),
    TargetLimit(
        id="openvino-text",
        format="saved_model",
        says="OpenVINO takes and gives no text without an extension",
        way_out="Leave openvino-saved-model out of policy.required: the tensorflow cell has text.",
        versions="openvino 2026.4",
        source="openvino#20540",
    ),
    TargetLimit(
        id="tflite-dynamic-loop",
        format="tflite",
        pattern=r"TensorListReserve|requires element_shape to be static|TensorList(Stack|SetItem|GetItem|FromTensor)",
        says="a loop that keeps its steps in a list of tensors converts to builtin operators only where every shape is "
        "static",
        way_out="Use the batch1 variant, or write the loop with keras.layers.RNN.",
        versions="tensorflow 2.21",
        source="tensorflow#62849",
    ),
    TargetLimit(
        id="tflite-length-of-text",
        format="tflite",
        says="the text itself decides how long this axis is, so there is no variant with every shape fixed",
        way_out="Give the layer an output_sequence_length, or use the other variants.",
        versions="keras 3.15",
        source="keras TextVectorization(output_sequence_length=None)",
    ),
    TargetLimit(
        id="tflite-no-builtin",
        format="tflite",
        pattern=r"(?:op is neither a custom op nor a flex op|Some ops are not supported by the native TFLite runtime)",
        says="the model needs an operator that TF Lite has no builtin for",
        way_out="Replace the operator in the model, or ship another format.",
        versions="tensorflow 2.21",
        source="LiteRT#6458",
    ),
    TargetLimit(
        id="tflite-flex-op",
        format="tflite",
        says="the file needs TensorFlow's own kernels (Flex), which no current LiteRT runtime has",
        way_out="Replace the operator in the model, or ship another format.",
        versions="tensorflow 2.21, ai-edge-litert 2.3",
        source="LiteRT#6458",
    ),
    TargetLimit(
        id="litert-reference-kernel",
        format="tflite",
        pattern=r"Didn't find op for builtin opcode '\w+' version",
        runtimes=("litert-reference",),
        says="LiteRT's reference kernels lack an operator of the model, which its optimised ones have",
        way_out="Leave litert-reference out of policy.required: the XNNPACK cell has the kernel.",
        versions="ai-edge-litert 2.3",
        source="tensorflow#43279",
    ),
    TargetLimit(
        id="tflite-custom-op",
        format="tflite",
        says="the file needs custom operators, which a runtime has only where the app registers them",
        way_out="Replace the operator in the model, or ship another format.",
        versions="tensorflow 2.21, ai-edge-litert 2.3",
        source="tensorflow#37844",
    ),
    TargetLimit(
        id="litert-gpu-dynamic-batch",
        format="tflite",
        says="LiteRT's GPU accelerator takes no graph in which a shape is computed from the batch or another open axis",
        way_out="Use the batch1 variant on the GPU, or static where more than the batch is dynamic.",
        versions="ai-edge-litert 2.3",
        source="tensorflow#38036",
    ),
    TargetLimit(
        id="litert-gpu-dynamic-tensor",
        format="tflite",
        says="LiteRT's GPU accelerator takes no graph with a tensor whose shape is computed while the model runs",
        way_out="Replace the layer that computes a shape, or leave this GPU row out of policy.required.",
        versions="ai-edge-litert 2.3",
        source="tensorflow#62867",
    ),
    TargetLimit(
        id="litertjs-dynamic-batch",
        format="tflite",
        says="LiteRT.js takes no input with a dynamic axis",
        way_out="Use the batch1 variant in browsers, or static where more than the batch is dynamic.",
        versions="@litertjs/core 2.5.3",
        source="LiteRT litert/js/packages/core/src/signature_runner.ts",
    ),
    TargetLimit(
        id="litertjs-type",
        format="tflite",
        says="a tensor of LiteRT.js holds float32, int32 or uint8 and nothing else",
        way_out="Cast at the model's edge to one of these types, or leave LiteRT.js out of policy.required.",
        versions="@litertjs/core 2.5.3",
        source="LiteRT litert/js/packages/core/src/datatypes.ts",
    ),
    TargetLimit(
        id="tfjs-unknown-op",
        format="tfjs",
        pattern=r"Unsupported Ops in the model",
        says="the model needs an operator that TF.js does not know",
        way_out="Replace the operator in the model, or ship another format.",
        versions="tensorflowjs 4.22",
        source="tfjs#8304",
    ),
    TargetLimit(
        id="tfjs-loop",
        format="tfjs",
        says="TF.js does not run a loop that keeps its steps in a list of tensors",
        way_out="Write the loop with keras.layers.RNN, which keeps its steps in one tensor.",
        versions="tensorflowjs 4.22",
        source="tfjs#7422",
    ),
    TargetLimit(
        id="tfjs-no-kernel",
        format="tfjs",
        pattern=r"Kernel '\w+' not registered for backend",
        runtimes=("tfjs-cpu", "tfjs-wasm", "tfjs-webgl", "tfjs-webgpu"),
        says="this TF.js backend has no kernel for an operator of the model",
        way_out="Use another backend, and leave this one out of policy.required.",
        versions="tensorflowjs 4.22",
        source="tfjs#7439",
    ),
    TargetLimit(
        id="tfjs-int64",
        format="tfjs",
        says="TF.js has no integers beyond 32 bits and would cut them",
        way_out="Use identifiers below 2**31 in the model and in the samples.",
        versions="tensorflowjs 4.22",
        source="tfjs#970",
    ),
    TargetLimit(
        id="tfjs-float64",
        format="tfjs",
        says="TF.js has no float64, and a number beyond float32 would become infinite",
        way_out="Scale the input so that it fits float32.",
        versions="tensorflowjs 4.22",
        source="tfjs#1110",
    ),
    TargetLimit(
        id="onnx-unknown-op",
        format="onnx",
        says="the model needs an operator that tf2onnx cannot translate",
        way_out="Replace the operator in the model, or ship another format.",
        versions="tf2onnx 1.17",
        source="tensorflow-onnx support_status.md",
    ),
    TargetLimit(
        id="onnx-loop",
        format="onnx",
        says="tf2onnx writes a loop with convolutions in it (ConvLSTM over a dynamic or long time axis) in a form that "
        "no runtime loads",
        way_out="Give the layer a static time axis of at most 256 steps: it is then written out step by step.",
        versions="tf2onnx 1.17",
        source="tensorflow-onnx#1760",
    ),
    TargetLimit(
        id="onnx-custom-domain",
        format="onnx",
        says="the model needs operators of a domain outside the ONNX standard, which runtimes do not know",
        way_out="Replace the operator in the model, or ship another format.",
        versions="tf2onnx 1.17",
        source="tensorflow-onnx#904",
    ),
    TargetLimit(
        id="ortweb-no-kernel",
        format="onnx",
        pattern=r"Could not find an implementation for \w+\(\d+\) node"
        r"|Provider type for \w+ node with name .* is not set|Unsupported input data type of \(unknown type\)",
        runtimes=("ort-web-wasm", "ort-web-webgpu"),
        says="this build of ONNX Runtime has no kernel for an operator in the model's type: its WebGPU builds lack "
        "most of float64 and text",
        way_out="Use float32, or leave this runtime out of policy.required: the wasm and native cells have the kernel.",
        versions="onnxruntime-web 1.30",
        source="onnxruntime#27371",
    ),
    TargetLimit(
        id="ortweb-type",
        format="onnx",
        pattern=r"unsupported data type: \d+",
        runtimes=("ort-web-wasm", "ort-web-webgpu"),
        says="a page has no tensor of this type (bfloat16, complex)",
        way_out="Give the model float32 inputs and outputs.",
        versions="onnxruntime-web 1.30",
        source="onnxruntime js/common/lib/tensor.ts",
    ),
    TargetLimit(
        id="ortweb-float16",
        format="onnx",
        pattern=r"requires f16 but the device does not support it",
        runtimes=("ort-web-webgpu",),
        says="this WebGPU adapter computes no float16: it lacks the feature shader-f16, as SwiftShader does",
        way_out="Verify on a card that has it, or leave this cell out of policy.required.",
        versions="onnxruntime-web 1.30",
        source="gpuweb#5290",
    ),
)

_ROWS = {limit.id: limit for limit in LIMITS}
_OPERATORS = re.compile(
    r"'(tf\.\w+)' op is neither|(?:before|after) optimization\s+(.*)|Kernel '(\w+)' not registered"
    r"|implementation for (\w+)\(|Provider type for (\w+) node|builtin opcode '(\w+)'"
)


def limited(limit: str, detail: str = "") -> Limited:
    """Builds the error for a limit that our own code found; the caller raises it.

    Args:
        limit: identifier of a row in `LIMITS`.
        detail: what hit the limit here: names, sizes, places.
    """
    row = _ROWS[limit]
    hit = f": {detail}" if detail else ""
    return Limited(f"{row.says}{hit} ({row.source})", limit=row.id, next_step=row.way_out)


def known_limit(target: str, message: str, runtime: str = "") -> Limited | None:
    """Builds the error for a converter's or runtime's message, naming the operators in it; None if no row matches.

    Args:
        target: the format that was being made or run.
        message: the whole error message.
        runtime: registry name of the runtime that raised it; empty for the format's converter.
    """
    for limit in LIMITS:
        applies = limit.format == target and runtime in (limit.runtimes or ("",))
        if applies and limit.pattern and re.search(limit.pattern, message):
            named = sorted({part for match in _OPERATORS.findall(message) for part in match if part})
            return limited(limit.id, ", ".join(named))
    return None
