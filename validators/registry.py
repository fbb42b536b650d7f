"""The table of runtimes: one row for every runtime on every device it is run on.

A new runtime is one module with `load` in `validators/runtimes/`, and its rows here. Modules are named by dotted path
and imported on first use, in a worker process.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from validators.contract import Device, Requirement


@dataclass(frozen=True, slots=True, kw_only=True)
class RuntimeRow:
    """One runtime on one device.

    Attributes:
        name: the runtime's name everywhere.
        format: the artifacts it runs.
        device: where it is asked to run.
        module: module with `load`, a `validators.contract.Load`.
        options: settings for `load` that tell this row from its siblings.
        computes: types the runtime lacks -> the type it computes in instead, whose tolerance then holds. The runtime
            gives the declared type back, so only the tolerance changes.
        adapter: what the placement's adapter must begin with; empty where any will do.
        required: whether the default policy demands this row.
        host: the preloaded process its cells fork from, a name in `validators.hosts`; empty for a fresh interpreter
            (a process that touches CUDA must not be a fork).
        browser: whether the cell needs the shared Chromium.
        package: import name of the package that brings the runtime.
        distribution: the same package's name on the index, whose version is recorded.
        extra: paritygate's extra that installs it.
        shown: how the matrix in the README names it.
    """

    name: str
    format: str
    device: Device
    module: str
    options: Mapping[str, str] = field(default_factory=dict)
    computes: Mapping[str, str] = field(default_factory=dict)
    adapter: str = ""
    required: bool = True
    host: str = "runtimes"
    browser: bool = False
    package: str
    distribution: str
    extra: str
    shown: str

    @property
    def requirement(self) -> Requirement:
        """What a policy writes to demand this row."""
        return Requirement(format=self.format, runtime=self.name, device=self.device)


_TFJS_COMPUTES = {"float64": "float32"}  # TF.js has no wider float: the converter narrows weights, the runtime inputs

RUNTIMES = (
    RuntimeRow(
        name="tensorflow",
        format="saved_model",
        device="cpu",
        module="validators.runtimes.saved_model",
        host="tensorflow",
        package="tensorflow",
        distribution="tensorflow",
        extra="export",
        shown="TensorFlow, without Keras",
    ),
    RuntimeRow(
        name="litert-xnnpack",
        format="tflite",
        device="cpu",
        module="validators.runtimes.litert",
        options={"kernels": "xnnpack"},
        package="ai_edge_litert",
        distribution="ai-edge-litert",
        extra="litert",
        shown="LiteRT, XNNPACK delegate",
    ),
    RuntimeRow(
        name="litert-reference",
        format="tflite",
        device="cpu",
        module="validators.runtimes.litert",
        options={"kernels": "reference"},
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
        module="validators.runtimes.ort",
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
        module="validators.runtimes.tfjs",
        options={"backend": "wasm"},
        computes=_TFJS_COMPUTES,
        adapter="wasm",
        browser=True,
        package="websockets",
        distribution="websockets",
        extra="web",
        shown="TF.js `wasm` in Chromium",
    ),
    RuntimeRow(
        name="tfjs-cpu",
        format="tfjs",
        device="cpu",
        module="validators.runtimes.tfjs",
        options={"backend": "cpu"},
        computes=_TFJS_COMPUTES,
        adapter="cpu",
        browser=True,
        package="websockets",
        distribution="websockets",
        extra="web",
        shown="TF.js `cpu` in Chromium",
    ),
)


def runtime(name: str, device: Device) -> RuntimeRow:
    """The row with this name and device.

    Raises:
        KeyError: there is none.
    """
    for row in RUNTIMES:
        if (row.name, row.device) == (name, device):
            return row
    msg = f"no runtime {name} on {device}"
    raise KeyError(msg)


def default_requirements(formats: tuple[str, ...]) -> tuple[Requirement, ...]:
    """The required rows of the named formats, in the table's order."""
    return tuple(row.requirement for row in RUNTIMES if row.required and row.format in formats)
