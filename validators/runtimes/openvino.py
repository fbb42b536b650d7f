"""Runs ONNX, TF Lite and SavedModel in OpenVINO, on its CPU plugin.

In: a folder with an artifact. Out: a runtime that computes in float32. OpenVINO reads all three formats itself, so a
SavedModel needs no TensorFlow here. Two of its readers keep the canonical names; the one for TF Lite keeps the names of
tensors, which the signature of the file maps (`_tflite_names`).
"""

import struct
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

from exporters.contract import Signature
from exporters.errors import Broken
from exporters.target_limits import limited
from validators.contract import Device, Placement, Tensors

_SIGNATURES, _SUBGRAPHS = 7, 2  # fields of a TF Lite model, by their position in its schema


class OpenVinoRuntime:
    """Runs a compiled model.

    Args:
        compiled: the model.
        inputs: canonical name -> input port.
        outputs: canonical name -> output port; the artifact's own name for an output that the signature lacks.
    """

    def __init__(self, compiled: Any, inputs: Mapping[str, Any], outputs: Mapping[str, Any]) -> None:
        self._compiled = compiled
        self._request = compiled.create_infer_request()
        self._inputs, self._outputs = inputs, outputs

    @property
    def placement(self) -> Placement:
        """Returns the place from the devices that the compiled model reports."""
        devices = self._compiled.get_property("EXECUTION_DEVICES")
        precision = self._compiled.get_property("INFERENCE_PRECISION_HINT")
        return Placement(
            device="cpu" if set(devices) == {"CPU"} else "gpu",
            runtime=f"openvino {metadata.version('openvino')}",
            adapter=", ".join(devices),
            threads=int(self._compiled.get_property("INFERENCE_NUM_THREADS")),
            details={"inference precision": precision.to_string()},
        )

    def infer(self, inputs: Tensors) -> dict[str, np.ndarray]:
        """Runs one batch of any size; the outputs are copies, since a request reuses its buffers."""
        self._request.infer({self._inputs[name]: np.ascontiguousarray(array) for name, array in inputs.items()})
        return {name: np.array(self._request.get_tensor(port).data) for name, port in self._outputs.items()}


@contextmanager
def load(artifact: Path, signature: Signature, device: Device, options: Mapping[str, str]) -> Iterator[OpenVinoRuntime]:
    """Compiles an artifact.

    Args:
        artifact: folder of the artifact.
        signature: canonical and native names, types.
        device: `cpu`.
        options: `file`: what of the folder is read, the folder itself without it; `threads`: how many, instead of as
            many as OpenVINO chooses.

    Raises:
        Limited: a tensor is text.
        Broken: OpenVINO's model has no tensor of a name that the signature has.
    """
    del device
    if text := [spec.name for spec in (*signature.inputs, *signature.outputs) if spec.dtype == "string"]:
        raise limited("openvino-text", ", ".join(text))
    import openvino

    core = openvino.Core()
    path = artifact / options.get("file", "")
    # On processors with bfloat16 units the plugin would choose bfloat16 by itself.
    settings: dict[str, Any] = {"INFERENCE_PRECISION_HINT": "f32"}
    if "threads" in options:
        settings["INFERENCE_NUM_THREADS"] = int(options["threads"])
    compiled = core.compile_model(core.read_model(str(path)), "CPU", settings)
    inputs, outputs = {s.name: s.native for s in signature.inputs}, {s.name: s.native for s in signature.outputs}
    if path.suffix == ".tflite":
        inputs, outputs = _tflite_names(path.read_bytes())
    ports = _ports(compiled.outputs, outputs)
    known = list(ports.values())
    ports |= {port.get_any_name(): port for port in compiled.outputs if port not in known}
    yield OpenVinoRuntime(compiled, _ports(compiled.inputs, inputs), ports)


def _ports(ports: list[Any], names: Mapping[str, str]) -> dict[str, Any]:
    """Finds the port of each canonical name.

    Args:
        ports: of the compiled model.
        names: canonical name -> name in the artifact.

    Raises:
        Broken: there is none.
    """
    found = {called: port for port in ports for called in port.get_names()}
    if absent := [f"{name} ({called})" for name, called in names.items() if called not in found]:
        raise Broken(f"OpenVINO's model has no tensor {', '.join(absent)}; it has {', '.join(sorted(found))}")
    return {name: found[called] for name, called in names.items()}


def _tflite_names(content: bytes) -> tuple[dict[str, str], dict[str, str]]:
    """Reads the signature of a TF Lite file, which OpenVINO ignores, without a package that knows the format.

    Returns:
        Canonical name -> name of the tensor, of the inputs and of the outputs.
    """
    model = _Table(content, struct.unpack_from("<I", content)[0])
    (definition,) = model.tables(_SIGNATURES)
    tensors = model.tables(_SUBGRAPHS)[definition.integer(4)].tables(0)

    def side(field: int) -> dict[str, str]:
        return {entry.text(0): tensors[entry.integer(1)].text(3) for entry in definition.tables(field)}

    return side(0), side(1)


class _Table:
    """Reads a table of a flatbuffer; fields are named by their position in the schema."""

    def __init__(self, content: bytes, at: int) -> None:
        self._content, self._at = content, at

    def _number(self, at: int, kind: str = "I") -> int:
        number: int = struct.unpack_from(f"<{kind}", self._content, at)[0]
        return number

    def _field(self, field: int) -> int | None:
        """Returns where a field is stored; None where it has its default."""
        layout = self._at - self._number(self._at, "i")
        entry = 4 + 2 * field
        offset = self._number(layout + entry, "H") if entry < self._number(layout, "H") else 0
        return self._at + offset if offset else None

    def integer(self, field: int) -> int:
        """Returns an unsigned field of four bytes, whose default is zero."""
        at = self._field(field)
        return 0 if at is None else self._number(at)

    def text(self, field: int) -> str:
        """Returns a string."""
        at = self._field(field)
        if at is None:
            return ""
        start = at + self._number(at)
        return self._content[start + 4 : start + 4 + self._number(start)].decode()

    def tables(self, field: int) -> list["_Table"]:
        """Returns a vector of tables."""
        at = self._field(field)
        if at is None:
            return []
        start = at + self._number(at)
        places = range(start + 4, start + 4 + 4 * self._number(start), 4)
        return [_Table(self._content, place + self._number(place)) for place in places]
