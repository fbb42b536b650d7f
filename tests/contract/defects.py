"""Where a runtime itself is wrong about a model of these tests: upstream's defects, as they were seen.

A cell that is not in the table passes. One that is, and passes all the same, tells that the defect is mended: its line
goes away.
"""

BATCH = {"litertjs-wasm": "litertjs-dynamic-batch", "litertjs-webgpu": "litertjs-dynamic-batch"}
"""Why these runtimes take no `tflite/dynamic`."""

GPU = ("litert-webgpu", "litertjs-webgpu")

DEFECTS = {
    # ARG_MAX on LiteRT's WebGPU accelerator answers indices that do not exist.
    **{("dict_outputs", key, name): ("failed", "tolerance exceeded") for key in ("dynamic", "batch1") for name in GPU},
    # A grouped convolution binds an empty buffer there; native LiteRT only logs it and answers wrong numbers.
    **{
        ("grouped_convolution", key, name): ("errored", "python error") for key in ("dynamic", "batch1") for name in GPU
    },
    # It takes no shape that is computed: a recurrent model's.
    **{("recurrent", "batch1", name): ("limited", "litert-gpu-dynamic-tensor") for name in GPU},
    ("recurrent", "dynamic", "litert-webgpu"): ("limited", "litert-gpu-dynamic-batch"),
    # LiteRT.js takes no dynamic axis at all.
    **{("dynamic_sequence", "batch1", name): ("limited", reason) for name, reason in BATCH.items()},
    # OpenVINO 2026.4 has no rule for TensorFlow's Bitcast, and takes no ONNX Loop whose body has further outputs.
    ("dict_outputs", "default", "openvino-saved-model"): ("errored", "python error"),
    ("recurrent", "default", "openvino-onnx"): ("errored", "python error"),
}


def expected(model, cell):
    """Status and reason of a cell on a machine without an NVIDIA card."""
    if cell.variant == "dynamic" and cell.runtime in BATCH:
        return "limited", BATCH[cell.runtime]
    return DEFECTS.get((model, cell.variant, cell.runtime), ("passed", ""))
