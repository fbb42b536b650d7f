"""Runs TF Lite in LiteRT's CompiledModel with its WebGPU accelerator, natively, through Vulkan.

In: a folder with `model.tflite`. Out: a runtime. Tensors are bound by the names in the file's signature.

The CPU is allowed as a fallback. Without it LiteRT refuses a model for one operator that the accelerator lacks; with it
the placement can name that operator. LiteRT writes the selected adapter and the operators on the CPU only to its native
log, so the log is read as long as the model is loaded. Half precision, its default, is switched off.
"""

import math
import os
import re
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import IO, Any

import numpy as np

from exporters.contract import Signature
from exporters.errors import Broken, Limited, Unavailable
from exporters.target_limits import limited
from validators.contract import Device, Placement, Tensors
from validators.hardware import vulkan
from validators.hardware.graphics_cards import imitated
from validators.runtimes.litert import FILE, SIGNATURE_KEY

UNNAMED = "not named by LiteRT"
"""Fallbacks that LiteRT's log counts without a name: an operator that it does name cut each of them off the GPU."""

_SELECTED = re.compile(r"Selected adapter: (.+?), arch=.*?, backend=(.+?), adapterType=(.+)")
_NO_ADAPTER = "No adapters found"
_DYNAMIC = "static-sized tensors with a graph that has dynamic-sized tensors"
_REFUSED = "Following operations are not supported by GPU delegate:"
_SPLIT = re.compile(
    r"(?:No|(\d+)) operations will run on the GPU, and (?:all|the remaining) (\d+) operations will run on"
)
_OPERATOR = re.compile(r"([A-Z][A-Z0-9_]*): ")
_INVALID = re.compile(r"\] ((?:Validation|Internal|Out of memory|Unknown) error: .*)")
_STDERR = 2
_MARK = "paritygate has read so far: "
_FORWARD = f'tee "$0" | LC_ALL=C grep --text --line-buffered --invert-match "^{_MARK}"'
_POLL = 0.0002  # seconds between two looks for a line that is on its way


@dataclass(frozen=True, slots=True, kw_only=True)
class LogFacts:
    """Records the facts about a model in a section of LiteRT's log.

    Attributes:
        adapter: the adapter's name; empty when none was selected.
        backend: the API under WebGPU.
        kind: the adapter type that it reports.
        accelerated: how many operators went to the GPU, in graphs of which some stayed on the CPU; None where the log
            mentions no such graph.
        fallbacks: operators that stayed on the CPU -> how many; see `UNNAMED`.
    """

    adapter: str = ""
    backend: str = ""
    kind: str = ""
    accelerated: int | None = None
    fallbacks: Mapping[str, int] = field(default_factory=dict)


def parse_log(log: str) -> LogFacts:
    """Parses LiteRT's log of compiling or running a model.

    The operators that stay on the CPU are listed between the line that announces them and the one that counts them.
    """
    selected = _SELECTED.search(log)
    accelerated: int | None = None
    fallbacks: dict[str, int] = {}
    named: list[str] = []
    listing = False
    for line in log.splitlines():
        if _REFUSED in line:
            named, listing = [], True
        elif split := _SPLIT.search(line):
            accelerated = (accelerated or 0) + int(split[1] or 0)
            rest = int(split[2]) - len(named)
            for operator in (*named, *[UNNAMED] * rest):
                fallbacks[operator] = fallbacks.get(operator, 0) + 1
            named, listing = [], False
        elif listing and (operator_line := _OPERATOR.match(line)):
            named.append(operator_line[1])
    name, backend, kind = selected.groups() if selected else ("", "", "")
    return LogFacts(adapter=name, backend=backend, kind=kind, accelerated=accelerated, fallbacks=fallbacks)


def dynamic_shape(log: str, signature: Signature) -> Limited | None:
    """Returns the error for a graph that the accelerator refused because of a shape; None where shapes are no reason.

    Args:
        log: LiteRT's log.
        signature: of the artifact; shows whether a dynamic axis of its inputs is the reason.
    """
    if _DYNAMIC not in log:
        return None
    dynamic = [spec.name for spec in signature.inputs if None in spec.shape]
    return limited("litert-gpu-dynamic-batch", ", ".join(dynamic)) if dynamic else limited("litert-gpu-dynamic-tensor")


class LiteRtGpuRuntime:
    """Runs a compiled model; see `validators.contract.LoadedArtifact`.

    Args:
        compile_model: compiles the file.
        read_log: returns the native log since its last call.
        precision: the setting that the file is compiled with.

    Raises:
        Broken: LiteRT named no adapter.
    """

    def __init__(self, compile_model: Callable[[], Any], read_log: Callable[[], str], precision: Any) -> None:
        self._compile_model = compile_model
        self._read_log = read_log
        self._precision = precision
        self._adapter = LogFacts()
        self._fallbacks: dict[str, int] = {}
        self._fully = True
        self._ran_on_gpu = True
        self._compile()
        if not self._adapter.adapter:
            raise Broken("LiteRT named no GPU adapter in its log, so nothing proves where the model runs")
        self._inputs: dict[str, Any] = self._model.get_input_tensor_details(SIGNATURE_KEY)
        self._outputs = tuple(self._model.get_output_tensor_details(SIGNATURE_KEY))
        self._shapes = self._file_shapes()

    @property
    def placement(self) -> Placement:
        """Sums up LiteRT's reports after each compilation and each run; the worst one counts.

        The device is a GPU only when an operator of the model went to it in every run.
        """
        adapter, on_gpu = self._adapter, self._ran_on_gpu and self._on_gpu
        return Placement(
            device="gpu" if on_gpu else "cpu",
            runtime=f"ai-edge-litert {metadata.version('ai-edge-litert')}",
            adapter=f"WebGPU ({adapter.adapter})" if on_gpu else f"CPU: WebGPU ({adapter.adapter}) took no operator",
            software=imitated(kind=adapter.kind, name=adapter.adapter),
            fallbacks=dict(self._fallbacks),
            details={
                "enforce_f32": "true" if self._precision.enforce_f32 else "false",
                "fully accelerated": "yes" if self._fully else "no",
                "backend": adapter.backend,
                "adapter type": adapter.kind,
            },
        )

    def infer(self, inputs: Tensors) -> dict[str, np.ndarray]:
        """Runs one call; for other shapes than those of the last call, the file is compiled again.

        Raises:
            Broken: the file's signature has other inputs, or declares one with another type; or WebGPU reports an
                error.
        """
        self._check(inputs)
        self._fit({name: array.shape for name, array in inputs.items()})
        feeds = {name: self._model.create_input_buffer_by_name(SIGNATURE_KEY, name) for name in inputs}
        for name, array in inputs.items():
            # As bytes: the Python binding lists fewer types than LiteRT has (no int64, no float64).
            feeds[name].write(np.ascontiguousarray(array).reshape(-1).view(np.uint8))
        results = {name: self._model.create_output_buffer_by_name(SIGNATURE_KEY, name) for name in self._outputs}
        self._ran = True
        self._model.run_by_name(SIGNATURE_KEY, feeds, results)
        self._update_from_log()
        self._ran_on_gpu = self._ran_on_gpu and self._on_gpu
        return {name: _read(result) for name, result in results.items()}

    def _check(self, inputs: Tensors) -> None:
        """Checks names and types, because inputs are written as bytes, which LiteRT does not check."""
        expected = {name: details["dtype"] for name, details in self._inputs.items()}
        received = {name: array.dtype.name for name, array in inputs.items()}
        if received != expected:
            raise Broken(f"the file's signature has the inputs {expected}, it was fed {received}")

    def _fit(self, shapes: dict[str, tuple[int, ...]]) -> None:
        """Resizes the model's inputs to these shapes.

        A model that ran is compiled again first: resized after a run, LiteRT 2.3 fails or computes other numbers where
        operators stayed on the CPU. We observed this; upstream has no thread about it yet.
        """
        if shapes == self._shapes:
            return
        if self._ran:
            self._model.close()
            self._compile()
            self._shapes = self._file_shapes()
        for name, shape in shapes.items():
            if shape != self._shapes[name]:
                self._model.resize_input_tensor_by_name(SIGNATURE_KEY, name, shape)
        self._shapes = shapes

    def _file_shapes(self) -> dict[str, tuple[int, ...]]:
        """Returns the input shapes in the file."""
        return {name: tuple(details["shape"]) for name, details in self._inputs.items()}

    def _compile(self) -> None:
        self._model = self._compile_model()
        self._accelerated = 0
        self._ran = False
        self._update_from_log()

    def _update_from_log(self) -> None:
        """Reads LiteRT's log since the last call and updates the facts about the compiled model."""
        log = self._read_log()
        _raise_if_invalid(log)
        summary = parse_log(log)
        if summary.adapter and not imitated(kind=self._adapter.kind, name=self._adapter.adapter):
            self._adapter = summary
        if summary.accelerated is not None:
            self._accelerated = summary.accelerated
        for operator, count in summary.fallbacks.items():
            self._fallbacks[operator] = max(count, self._fallbacks.get(operator, 0))
        fully = self._model.is_fully_accelerated()
        self._fully = self._fully and fully
        self._on_gpu = fully or self._accelerated > 0

    def close(self) -> None:
        self._model.close()


@contextmanager
def load(
    artifact: Path, signature: Signature, device: Device, options: Mapping[str, str]
) -> Iterator[LiteRtGpuRuntime]:
    """Compiles a flatbuffer for the GPU.

    Args:
        artifact: folder with `model.tflite`.
        signature: says whether a shape is dynamic; the file's signature has the canonical names.
        device: not used: the accelerator has one device, and the placement says whether it took any operator.
        options: not used.

    Raises:
        Unavailable: no Vulkan loader, no driver, or none that WebGPU can use.
        Limited: the accelerator cannot take a shape that is computed while the model runs.
        Broken: LiteRT cannot compile the model (its message is kept).
    """
    del device, options
    with vulkan.best_driver(), _native_log() as log:
        from ai_edge_litert.compiled_model import CompiledModel, CpuOptions, GpuOptions, HardwareAccelerator, Options

        precision = GpuOptions(enforce_f32=True)
        settings = Options(
            hardware_accelerators=HardwareAccelerator.GPU | HardwareAccelerator.CPU,
            gpu_options=precision,
            cpu_options=CpuOptions(num_threads=1),
        )

        def compile_model() -> Any:
            try:
                return CompiledModel.from_file(str(artifact / FILE), options=settings)
            except RuntimeError as error:
                raise _explained(error, log.read_new(), signature) from error

        runtime = LiteRtGpuRuntime(compile_model, log.read_new, precision)
        try:
            yield runtime
        finally:
            runtime.close()


def _explained(error: Exception, log: str, signature: Signature) -> Exception:
    """Returns the error for a cell whose model LiteRT refused to compile."""
    if _NO_ADAPTER in log:
        why = "LiteRT's WebGPU finds no adapter that it can use among this machine's Vulkan drivers"
        return Unavailable(why, next_step=vulkan.WAY)
    if refused := dynamic_shape(log, signature):
        return refused
    native = [line for line in log.splitlines() if line.startswith(("E0", "ERROR"))]
    return Broken(f"LiteRT's WebGPU accelerator cannot compile the model: {'; '.join([str(error), *native[-5:]])}")


def _raise_if_invalid(log: str) -> None:
    """Raises Broken for a WebGPU error: no call returns it, and LiteRT continues with the old buffers."""
    found = _INVALID.search(log)
    if found:
        raise Broken(f"WebGPU reports, and LiteRT only logs: {found[1]}")


class _Log:
    """Reads the text that native code writes to stderr.

    Args:
        copy: the file that receives a copy of the text.
        forwarder: the process that writes the copy.
    """

    def __init__(self, copy: IO[bytes], forwarder: "subprocess.Popen[bytes]") -> None:
        self._copy = copy
        self._forwarder = forwarder
        self._rest = b""
        self._marks = 0

    def read_new(self) -> str:
        """Returns the text that was written since the last call.

        A marker line is written after it: when the marker has arrived, everything before it has arrived too.

        Raises:
            Broken: the process that forwards the log is gone.
        """
        self._marks += 1
        mark = f"{_MARK}{self._marks}\n".encode()
        os.write(_STDERR, mark)
        while mark not in self._rest:
            if self._forwarder.poll() is not None:
                raise Broken("the process that forwards LiteRT's log ended, so nothing proves where the model runs")
            time.sleep(_POLL)
            self._rest += self._copy.read()
        text, _, self._rest = self._rest.partition(mark)
        return text.decode(errors="replace")


@contextmanager
def _native_log() -> Iterator[_Log]:
    """Copies stderr, so that the text of native code can be read.

    Separate processes pass the lines on to stderr. So the lines are not lost when the native code crashes, and they do
    not wait for this process, which is busy in that code.
    """
    kept = os.dup(_STDERR)
    with tempfile.TemporaryFile(buffering=0) as copy:
        command = ["sh", "-c", _FORWARD, f"/dev/fd/{copy.fileno()}"]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=kept, pass_fds=[copy.fileno()]) as forwarder:
            os.dup2(forwarder.stdin.fileno(), _STDERR)  # type: ignore[union-attr]  # a pipe was asked for
            try:
                yield _Log(copy, forwarder)
            finally:
                os.dup2(kept, _STDERR)
                os.close(kept)


def _read(buffer: Any) -> np.ndarray:
    """Copies an output into an array, as bytes like the inputs."""
    details = buffer.get_tensor_details()
    dtype = np.dtype(details["dtype"])
    size = math.prod(details["shape"]) * dtype.itemsize
    array: np.ndarray = buffer.read(size, np.uint8).view(dtype).reshape(details["shape"])
    return array
