"""Lists the runtimes: one row for every runtime on every device that it runs on.

A new runtime is one module, a `validators.contract.Runtime`, and its rows here. The modules import heavy packages only
inside of functions, in a worker process, so that importing this one stays fast.
"""

from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Any

from exporters.formats.registry import formats_of
from validators.contract import Device, Gpu, Requirement
from validators.preloads import TENSORFLOW
from validators.runtimes import keras_original, litert, litert_gpu, litertjs, openvino, ort, ort_web, saved_model, tfjs
from validators.runtimes.row import RuntimeRow

ORIGINAL = "original"
"""The format of the cells that run the Keras model itself, which show the effect of only the hardware."""

_TFJS_COMPUTES = {"float64": "float32"}  # TF.js has no wider float: the converter narrows weights, the runtime inputs
_TFJS_NPM = ("@tensorflow/tfjs-core", "@tensorflow/tfjs-converter", "@tensorflow/tfjs-backend-cpu")
_LITERT: Mapping[str, Mapping[str, str]] = {
    "XNNPACK": {"kernels": "xnnpack"},
    "optimised kernels, no delegate": {"kernels": "optimised"},
    "reference kernels": {"kernels": "reference"},
    "four threads": {"threads": "4"},
}
_ORT: Mapping[str, Mapping[str, str]] = {
    "graph optimizer off": {"optimizer": "off"},
    "graph optimizer basic": {"optimizer": "basic"},
    "one thread": {"threads": "1"},
}
_TF32 = {"float32": "tf32"}
_WEB: Mapping[str, Any] = {"package": "websockets", "distribution": "websockets", "extra": "web"}

_ROWS = (
    RuntimeRow(
        name="tensorflow",
        format="saved_model",
        device="cpu",
        module=saved_model,
        fork_server=TENSORFLOW,
        package="tensorflow",
        distribution="tensorflow",
        extra="export",
        shown="TensorFlow, without Keras",
    ),
    RuntimeRow(
        name="litert-xnnpack",
        format="tflite",
        device="cpu",
        module=litert,
        options={"kernels": "xnnpack"},
        settings={name: options for name, options in _LITERT.items() if name != "XNNPACK"},
        package="ai_edge_litert",
        distribution="ai-edge-litert",
        extra="litert",
        shown="LiteRT, XNNPACK delegate",
    ),
    RuntimeRow(
        name="litert-reference",
        format="tflite",
        device="cpu",
        module=litert,
        options={"kernels": "reference"},
        settings={name: options for name, options in _LITERT.items() if name != "reference kernels"},
        adapter="reference kernels",
        package="ai_edge_litert",
        distribution="ai-edge-litert",
        extra="litert",
        shown="LiteRT, reference kernels",
    ),
    RuntimeRow(
        name="onnxruntime",
        format="onnx",
        device="cpu",
        module=ort,
        settings=_ORT,
        adapter="CPUExecutionProvider",
        package="onnxruntime",
        distribution="onnxruntime",
        extra="ort",
        shown="ONNX Runtime, CPU provider",
    ),
    RuntimeRow(
        name="tfjs-wasm",
        format="tfjs",
        device="cpu",
        module=tfjs,
        options={"backend": "wasm"},
        settings={"backend cpu": {"backend": "cpu"}},
        computes=_TFJS_COMPUTES,
        adapter="wasm",
        npm=(*_TFJS_NPM, "@tensorflow/tfjs-backend-wasm"),
        **_WEB,
        shown="TF.js `wasm` in Chromium",
    ),
    RuntimeRow(
        name="tfjs-cpu",
        format="tfjs",
        device="cpu",
        module=tfjs,
        options={"backend": "cpu"},
        settings={"backend wasm": {"backend": "wasm"}},
        computes=_TFJS_COMPUTES,
        adapter="cpu",
        npm=_TFJS_NPM,
        **_WEB,
        shown="TF.js `cpu` in Chromium",
    ),
    RuntimeRow(
        name="ort-web-wasm",
        format="onnx",
        device="cpu",
        module=ort_web,
        options={"provider": "wasm"},
        adapter="wasm",
        required=False,
        npm=("onnxruntime-web",),
        **_WEB,
        shown="ONNX Runtime Web `wasm` in Chromium",
    ),
    RuntimeRow(
        name="litertjs-wasm",
        format="tflite",
        device="cpu",
        module=litertjs,
        options={"accelerator": "wasm"},
        adapter="wasm",
        required=False,
        npm=("@litertjs/core",),
        **_WEB,
        shown="LiteRT.js `wasm` in Chromium",
    ),
    RuntimeRow(
        name="litert-webgpu",
        format="tflite",
        device="gpu",
        module=litert_gpu,
        adapter="WebGPU",
        required=False,
        accelerator="vulkan",
        package="ai_edge_litert",
        distribution="ai-edge-litert",
        extra="litert",
        shown="LiteRT, WebGPU accelerator",
    ),
    RuntimeRow(
        name="litertjs-webgpu",
        format="tflite",
        device="gpu",
        module=litertjs,
        options={"accelerator": "webgpu"},
        adapter="WebGPU",
        required=False,
        accelerator="browser",
        npm=("@litertjs/core",),
        **_WEB,
        shown="LiteRT.js `webgpu` in Chromium",
    ),
    RuntimeRow(
        name="tfjs-webgl",
        format="tfjs",
        device="gpu",
        module=tfjs,
        options={"backend": "webgl"},
        settings={"backend cpu": {"backend": "cpu"}},
        computes=_TFJS_COMPUTES,
        adapter="WebGL",
        required=False,
        accelerator="browser",
        npm=(*_TFJS_NPM, "@tensorflow/tfjs-backend-webgl"),
        **_WEB,
        shown="TF.js `webgl` in Chromium",
    ),
    RuntimeRow(
        name="tfjs-webgpu",
        format="tfjs",
        device="gpu",
        module=tfjs,
        options={"backend": "webgpu"},
        settings={"backend cpu": {"backend": "cpu"}},
        computes=_TFJS_COMPUTES,
        adapter="WebGPU",
        required=False,
        accelerator="browser",
        npm=(*_TFJS_NPM, "@tensorflow/tfjs-backend-webgpu"),
        **_WEB,
        shown="TF.js `webgpu` in Chromium",
    ),
    RuntimeRow(
        name="ort-web-webgpu",
        format="onnx",
        device="gpu",
        module=ort_web,
        options={"provider": "webgpu"},
        adapter="WebGPU",
        required=False,
        accelerator="browser",
        npm=("onnxruntime-web",),
        **_WEB,
        shown="ONNX Runtime Web `webgpu` in Chromium",
    ),
    RuntimeRow(
        name="keras",
        format=ORIGINAL,
        device="gpu",
        module=keras_original,
        adapter="CUDA",
        required=False,
        accelerator="cuda",
        fork_server=None,
        package="tensorflow",
        distribution="tensorflow",
        extra="export",
        shown="Keras on CUDA",
    ),
    RuntimeRow(
        name="tensorflow",
        format="saved_model",
        device="gpu",
        module=saved_model,
        adapter="CUDA",
        required=False,
        accelerator="cuda",
        fork_server=None,
        package="tensorflow",
        distribution="tensorflow",
        extra="export",
        shown="TensorFlow on CUDA, without Keras",
    ),
    RuntimeRow(
        name="onnxruntime",
        format="onnx",
        device="gpu",
        module=ort,
        settings=_ORT,
        adapter="CUDAExecutionProvider",
        required=False,
        accelerator="cuda",
        fork_server=None,
        package="onnxruntime",
        distribution="onnxruntime-gpu",
        extra="ort-cuda",
        shown="ONNX Runtime, CUDA provider",
    ),
)


def _openvino(format_: str, file: str, title: str) -> RuntimeRow:
    return RuntimeRow(
        name=f"openvino-{format_.replace('_', '-')}",
        format=format_,
        device="cpu",
        module=openvino,
        options={"file": file},
        settings={"one thread": {"threads": "1"}},
        computes={"float64": "float32"},  # the CPU plugin has no wider float
        adapter="CPU",
        required=False,
        on_request=True,
        package="openvino",
        distribution="openvino",
        extra="openvino",
        shown=f"OpenVINO, {title} reader",
    )


def _with_tf32(row: RuntimeRow) -> RuntimeRow:
    return replace(
        row,
        name=f"{row.name}-tf32",
        options={**row.options, "tf32": "on"},
        computes={**row.computes, **_TF32},
        tf32=True,
        settings={},
        shown=f"{row.shown}, TF32",
    )


_OPENVINO = (
    _openvino("saved_model", "", "TensorFlow"),
    _openvino("tflite", "model.tflite", "TF Lite"),
    _openvino("onnx", "model.onnx", "ONNX"),
)

RUNTIMES = (*_ROWS, *_OPENVINO, *(_with_tf32(row) for row in _ROWS if row.accelerator == "cuda"))


def runtime(name: str, device: Device) -> RuntimeRow:
    """Returns the row with this name and device.

    Raises:
        KeyError: there is none.
    """
    for row in RUNTIMES:
        if (row.name, row.device) == (name, device):
            return row
    msg = f"no runtime {name} on {device}"
    raise KeyError(msg)


def default_requirements(formats: tuple[str, ...]) -> tuple[Requirement, ...]:
    """Returns the required rows of the named formats, in the table's order."""
    return tuple(row.requirement for row in RUNTIMES if row.required and row.format in formats_of(formats))


def planned(
    formats: tuple[str, ...], *, gpu: Gpu = "any", tf32: bool = False, asked: Collection[Requirement] = ()
) -> tuple[RuntimeRow, ...]:
    """Returns the rows that a release of these formats runs, in the table's order.

    Args:
        formats: the exported formats; with `ORIGINAL` also the original model itself.
        gpu: `off` leaves out every GPU row.
        tf32: whether the rows that allow TF32 run too.
        asked: the cells that the policy or the user names; a row that runs on request must be among them.
    """
    named = {requirement.of_format for requirement in asked}  # one of a single variant names its runtime too
    return tuple(
        row
        for row in RUNTIMES
        if row.format in formats_of(formats)
        and (gpu != "off" or row.device == "cpu")
        and (tf32 or not row.tf32)
        and (not row.on_request or row.requirement in named)
    )
