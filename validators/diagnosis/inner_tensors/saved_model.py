"""Exposes inner tensors of a SavedModel: freezes and flattens its serving function, whose graph has them all."""

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from exporters.contract import Signature
from exporters.source.keras.graph_function import graph_function
from validators.diagnosis.inner_tensors.contract import CannotCut, spec

_KEY = "serving_default"
_NOTHING = {"Const", "Placeholder", "NoOp"}


def write(
    artifact: Path,
    destination: Path,
    signature: Signature,
    *,
    fed: Mapping[str, np.ndarray] | None,
    wanted: Sequence[str] | None,
) -> Signature:
    """Writes the copy; see `validators.diagnosis.inner_tensors.contract.Exposer`; a tensor is called `NODE:INDEX`."""
    import tensorflow as tf
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

    loaded = tf.saved_model.load(str(artifact))
    served = loaded.signatures[_KEY]
    frozen = convert_variables_to_constants_v2(served, lower_control_flow=False, aggressive_inlining=True)
    graph = frozen.graph
    artifact_outputs = dict(zip(sorted(served.structured_outputs), frozen.outputs, strict=True))
    native_of = {f"input {each.name}": _input(frozen, each.name).name for each in signature.inputs}
    native_of |= {f"output {name}": tensor.name for name, tensor in artifact_outputs.items()}
    inner = _computed(graph, {tensor.name for tensor in artifact_outputs.values()})
    names = inner if wanted is None else [native_of.get(name, name) for name in wanted]
    fetches = {f"inner_{k}": graph.get_tensor_by_name(name) for k, name in enumerate(names)}
    shown = tuple(spec(f"inner_{k}", name, native=f"inner_{k}") for k, name in enumerate(names))
    if fed is None:
        feeds = {spec.name: _input(frozen, spec.name) for spec in signature.inputs}
        inputs = signature.inputs
    else:
        name_of = {native_of.get(name, name): name for name in fed}
        used = _cut(graph, set(name_of), names)
        feeds = {f"x{k}": graph.get_tensor_by_name(name) for k, name in enumerate(used)}
        inputs = tuple(
            spec(f"x{k}", name_of[name], native=f"x{k}", example=fed[name_of[name]]) for k, name in enumerate(used)
        )
    if wanted is None:
        fetches |= artifact_outputs
    shutil.rmtree(destination)
    _save(frozen, feeds, fetches, destination)
    return Signature(inputs=inputs, outputs=(*(signature.outputs if wanted is None else ()), *shown))


def _input(frozen: Any, name: str) -> Any:
    (tensor,) = [each for each in frozen.inputs if each.op.name in {name, f"{_KEY}_{name}"}]
    return tensor


def _computed(graph: Any, artifact_outputs: set[str]) -> list[str]:
    """Lists the tensors that nodes compute, in order."""
    return [
        tensor.name
        for operation in graph.get_operations()
        if operation.type not in _NOTHING
        for tensor in operation.outputs
        if (tensor.dtype.is_floating or tensor.dtype.is_integer or tensor.dtype.is_bool)
        and tensor.name not in artifact_outputs
    ]


def _cut(graph: Any, fed: set[str], wanted: Sequence[str]) -> list[str]:
    """Returns the fed tensors that the wanted ones are computed from."""
    used: dict[str, None] = {}
    seen: set[str] = set()
    pending = list(wanted)
    while pending:
        name = pending.pop()
        operation = graph.get_tensor_by_name(name).op
        if name in fed and name not in wanted:
            used[name] = None
        elif operation.type == "Placeholder":
            message = f"{', '.join(wanted)} is computed from the input {operation.name} as well"
            raise CannotCut(message)
        elif name not in seen:
            seen.add(name)
            pending += [tensor.name for tensor in operation.inputs]
    return list(used)


def _save(frozen: Any, feeds: Mapping[str, Any], fetches: Mapping[str, Any], destination: Path) -> None:
    import tensorflow as tf

    names = list(feeds)
    pruned = frozen.prune(list(feeds.values()), dict(fetches))

    @graph_function
    def serve(**inputs: Any) -> Any:
        return pruned(*[inputs[name] for name in names])

    # A part is fed tensors of any batch; the shape in the graph may be narrower than the fed tensors.
    specs = {name: tf.TensorSpec(tensor.shape, tensor.dtype, name=name) for name, tensor in feeds.items()}
    module: Any = tf.Module()
    module.serve = serve
    # Gradients are not needed, and that of a swish captures a tensor that freezing has removed.
    options = tf.saved_model.SaveOptions(experimental_custom_gradients=False)
    tf.saved_model.save(
        module, str(destination), signatures={_KEY: serve.get_concrete_function(**specs)}, options=options
    )
