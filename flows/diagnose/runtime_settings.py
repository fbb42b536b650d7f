"""The settings of each runtime that a diagnosis changes one at a time."""

from collections.abc import Mapping

from validators.runtimes.registry import RuntimeRow

_LITERT = {
    "XNNPACK": {"kernels": "xnnpack"},
    "optimised kernels, no delegate": {"kernels": "optimised"},
    "reference kernels": {"kernels": "reference"},
    "four threads": {"threads": "4"},
}
_SWITCHES: Mapping[str, Mapping[str, Mapping[str, str]]] = {
    "litert-xnnpack": {name: options for name, options in _LITERT.items() if name != "XNNPACK"},
    "litert-reference": {name: options for name, options in _LITERT.items() if name != "reference kernels"},
    "onnxruntime": {
        "graph optimizer off": {"optimizer": "off"},
        "graph optimizer basic": {"optimizer": "basic"},
        "one thread": {"threads": "1"},
    },
    "tfjs-wasm": {"backend cpu": {"backend": "cpu"}},
    "tfjs-cpu": {"backend wasm": {"backend": "wasm"}},
    "tfjs-webgl": {"backend cpu": {"backend": "cpu"}},
    "tfjs-webgpu": {"backend cpu": {"backend": "cpu"}},
}


def switches_of(row: RuntimeRow) -> tuple[tuple[str, Mapping[str, str]], ...]:
    """Each setting's name and the options that change it; none where a runtime has nothing to switch."""
    return tuple(_SWITCHES.get(row.name, {}).items())
