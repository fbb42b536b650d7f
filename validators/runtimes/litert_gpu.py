"""Runs TF Lite in LiteRT's CompiledModel with its WebGPU accelerator, natively, through Vulkan.

In: a folder with `model.tflite`. Out: a runtime. Tensors are bound by the names in the file's signature.

The CPU is allowed as a fallback. Without it LiteRT refuses a model for one operator that the accelerator lacks; with it
the placement can name that operator. `validators.runtimes.litert_log` finds adapter and operators in the native log, as
long as the model is loaded. Half precision, LiteRT's default, is switched off.
"""

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

from exporters.contract import Signature
from exporters.errors import Broken, Unavailable
from validators.contract import Device, Placement, Tensors
from validators.hardware import vulkan
from validators.hardware.graphics_cards import imitated
from validators.runtimes.litert import FILE, SIGNATURE_KEY
from validators.runtimes.litert_log import LogFacts, dynamic_shape, native_log, parse_log, raise_if_invalid

_NO_ADAPTER = "No adapters found"


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
        raise_if_invalid(log)
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
    with vulkan.best_driver(), native_log() as log:
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


def _read(buffer: Any) -> np.ndarray:
    """Copies an output into an array, as bytes like the inputs."""
    details = buffer.get_tensor_details()
    dtype = np.dtype(details["dtype"])
    size = math.prod(details["shape"]) * dtype.itemsize
    array: np.ndarray = buffer.read(size, np.uint8).view(dtype).reshape(details["shape"])
    return array
