"""TF Lite in LiteRT's CompiledModel with its WebGPU accelerator, natively, through Vulkan.

In: a folder with `model.tflite`. Out: a runtime. Tensors are bound by the names in the file's signature.

The CPU is allowed as a fallback: without it LiteRT refuses a model for one operator that the accelerator lacks, and
with it the placement can name that operator. Which adapter was selected and what stayed on the CPU, LiteRT only writes
to its native log, so that is read as long as the model is loaded. Half precision, its default, is switched off.
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
"""The fallbacks that are counted in the log, and whose operator it does not name: each was cut off by one it does."""

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
class Told:
    """What a stretch of LiteRT's log says of a model.

    Attributes:
        adapter: the adapter's name; empty when none was selected.
        backend: the API under WebGPU.
        kind: what sort of adapter it calls itself.
        accelerated: how many operators went to the GPU, in graphs of which some stayed on the CPU; None where the log
            speaks of no such graph.
        fallbacks: operators that stayed on the CPU -> how many; see `UNNAMED`.
    """

    adapter: str = ""
    backend: str = ""
    kind: str = ""
    accelerated: int | None = None
    fallbacks: Mapping[str, int] = field(default_factory=dict)


def told_by(log: str) -> Told:
    """Reads what LiteRT logged while it compiled or ran a model.

    The operators that stay on the CPU stand between the line that says so and the one that counts them.
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
    return Told(adapter=name, backend=backend, kind=kind, accelerated=accelerated, fallbacks=fallbacks)


def dynamic_shape(log: str, signature: Signature) -> Limited | None:
    """The error for a graph that the accelerator refused because of a shape; None where it complained of no shape.

    Args:
        log: what LiteRT said.
        signature: of the artifact; tells whether an open axis of its inputs is the reason.
    """
    if _DYNAMIC not in log:
        return None
    dynamic = [spec.name for spec in signature.inputs if None in spec.shape]
    return limited("litert-gpu-dynamic-batch", ", ".join(dynamic)) if dynamic else limited("litert-gpu-dynamic-tensor")


class LiteRtGpuRuntime:
    """A compiled model; see `validators.contract.LoadedArtifact`.

    Args:
        compiled: compiles the file.
        heard: what native code logged since this was asked last.
        precision: the setting that it compiles with.

    Raises:
        Broken: LiteRT named no adapter.
    """

    def __init__(self, compiled: Callable[[], Any], heard: Callable[[], str], precision: Any) -> None:
        self._compiled = compiled
        self._heard = heard
        self._precision = precision
        self._adapter = Told()
        self._fallbacks: dict[str, int] = {}
        self._fully = True
        self._ran_on_gpu = True
        self._compile()
        if not self._adapter.adapter:
            raise Broken("LiteRT named no GPU adapter in its log, so nothing proves where the model runs")
        self._inputs: dict[str, Any] = self._model.get_input_tensor_details(SIGNATURE_KEY)
        self._outputs = tuple(self._model.get_output_tensor_details(SIGNATURE_KEY))
        self._shapes = self._own_shapes()

    @property
    def placement(self) -> Placement:
        """By what LiteRT says after each compiling and each run, the worst of it.

        A GPU only when an operator of the model went to it, every time that it ran.
        """
        told, on_gpu = self._adapter, self._ran_on_gpu and self._on_gpu
        return Placement(
            device="gpu" if on_gpu else "cpu",
            runtime=f"ai-edge-litert {metadata.version('ai-edge-litert')}",
            adapter=f"WebGPU ({told.adapter})" if on_gpu else f"CPU: WebGPU ({told.adapter}) took no operator",
            software=imitated(kind=told.kind, name=told.adapter),
            fallbacks=dict(self._fallbacks),
            details={
                "enforce_f32": "true" if self._precision.enforce_f32 else "false",
                "fully accelerated": "yes" if self._fully else "no",
                "backend": told.backend,
                "adapter type": told.kind,
            },
        )

    def infer(self, inputs: Tensors) -> dict[str, np.ndarray]:
        """One call; for other shapes than those of the call before, the file is compiled again.

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
        self._look()
        self._ran_on_gpu = self._ran_on_gpu and self._on_gpu
        return {name: _read(result) for name, result in results.items()}

    def _check(self, inputs: Tensors) -> None:
        """Sees to it that bytes are what the file takes them for."""
        expected = {name: details["dtype"] for name, details in self._inputs.items()}
        given = {name: array.dtype.name for name, array in inputs.items()}
        if given != expected:
            raise Broken(f"the file's signature has the inputs {expected}, it was fed {given}")

    def _fit(self, shapes: dict[str, tuple[int, ...]]) -> None:
        """Makes the model one for these shapes.

        Never a model that ran: resized then, LiteRT 2.3 fails or computes other numbers where operators stayed on the
        CPU. Seen by running it; upstream has no thread about it yet.
        """
        if shapes == self._shapes:
            return
        if self._ran:
            self._model.close()
            self._compile()
            self._shapes = self._own_shapes()
        for name, shape in shapes.items():
            if shape != self._shapes[name]:
                self._model.resize_input_tensor_by_name(SIGNATURE_KEY, name, shape)
        self._shapes = shapes

    def _own_shapes(self) -> dict[str, tuple[int, ...]]:
        """Those of the file."""
        return {name: tuple(details["shape"]) for name, details in self._inputs.items()}

    def _compile(self) -> None:
        self._model = self._compiled()
        self._accelerated = 0
        self._ran = False
        self._look()

    def _look(self) -> None:
        """Takes in what LiteRT says of the model as it is compiled now."""
        log = self._heard()
        _raise_if_invalid(log)
        told = told_by(log)
        if told.adapter and not imitated(kind=self._adapter.kind, name=self._adapter.adapter):
            self._adapter = told
        if told.accelerated is not None:
            self._accelerated = told.accelerated
        for operator, count in told.fallbacks.items():
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
        signature: says whether a shape is dynamic; the file's own signature has the canonical names.
        device: not used: the accelerator has one device, and the placement tells whether it took anything.
        options: not used.

    Raises:
        Unavailable: no Vulkan loader, no driver, or none that WebGPU can use.
        Limited: the accelerator cannot take a shape that is computed while the model runs.
        Broken: LiteRT cannot compile the model (its own words are kept).
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

        def compiled() -> Any:
            try:
                return CompiledModel.from_file(str(artifact / FILE), options=settings)
            except RuntimeError as error:
                raise _explained(error, log.fresh(), signature) from error

        runtime = LiteRtGpuRuntime(compiled, log.fresh, precision)
        try:
            yield runtime
        finally:
            runtime.close()


def _explained(error: Exception, log: str, signature: Signature) -> Exception:
    """The error that a refusal to compile means for a cell."""
    if _NO_ADAPTER in log:
        why = "LiteRT's WebGPU finds no adapter that it can use among this machine's Vulkan drivers"
        return Unavailable(why, next_step=vulkan.WAY)
    if refused := dynamic_shape(log, signature):
        return refused
    native = [line for line in log.splitlines() if line.startswith(("E0", "ERROR"))]
    return Broken(f"LiteRT's WebGPU accelerator cannot compile the model: {'; '.join([str(error), *native[-5:]])}")


def _raise_if_invalid(log: str) -> None:
    """WebGPU tells its errors beside the calls that cause them, and LiteRT goes on with what lay in its buffers."""
    found = _INVALID.search(log)
    if found:
        raise Broken(f"WebGPU reports, and LiteRT only logs: {found[1]}")


class _Log:
    """What native code writes to stderr.

    Args:
        copy: where it arrives.
        forwarder: the process that brings it there.
    """

    def __init__(self, copy: IO[bytes], forwarder: "subprocess.Popen[bytes]") -> None:
        self._copy = copy
        self._forwarder = forwarder
        self._rest = b""
        self._marks = 0

    def fresh(self) -> str:
        """What was written since this was asked last.

        A line of our own is sent after it: when that has arrived, so has all before it.

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
    """Lets what native code writes to stderr be read.

    The lines go on to stderr through processes of their own, so they are not lost when the native code crashes, and do
    not wait for this process, which is busy in that very code.
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
    """An output as an array of its own, by bytes as above."""
    details = buffer.get_tensor_details()
    dtype = np.dtype(details["dtype"])
    size = math.prod(details["shape"]) * dtype.itemsize
    array: np.ndarray = buffer.read(size, np.uint8).view(dtype).reshape(details["shape"])
    return array
