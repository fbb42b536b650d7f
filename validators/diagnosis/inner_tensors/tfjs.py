"""Exposes inner tensors of TF.js: its executor computes any node, so only the signature of `model.json` changes."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from exporters.contract import Signature
from exporters.formats.tfjs import FILE
from validators.diagnosis.inner_tensors.contract import CannotCut, spec
from validators.runtimes.tfjs import full_name

_NOTHING = {"Const", "Placeholder", "NoOp"}
_FLOW = {
    "Switch",
    "Merge",
    "Enter",
    "Exit",
    "NextIteration",
    "LoopCond",
    "While",
    "StatelessWhile",
    "If",
    "StatelessIf",
}


def write(
    artifact: Path,
    destination: Path,
    signature: Signature,
    *,
    fed: Mapping[str, np.ndarray] | None,
    wanted: Sequence[str] | None,
) -> Signature:
    """Writes the copy; see `validators.diagnosis.inner_tensors.contract.Exposer`; a tensor is called `NODE:INDEX`."""
    model = json.loads((artifact / FILE).read_text("utf-8"))
    nodes = {node["name"]: node for node in model["modelTopology"]["node"]}
    declared = model["signature"]
    artifact_outputs = {full_name(entry["name"]) for entry in declared["outputs"].values()}
    native_of = {
        f"{side} {key}": full_name(entry["name"])
        for side in ("input", "output")
        for key, entry in declared[f"{side}s"].items()
    }
    names = (
        [native_of.get(n, n) for n in wanted]
        if wanted is not None
        else [n for n in _computed(nodes) if n not in artifact_outputs]
    )
    inputs = signature.inputs
    if fed is not None:
        name_of = {native_of.get(name, name): name for name in fed}
        used = _cut(nodes, set(name_of), names)
        inputs = tuple(
            spec(f"x{k}", name_of[name], native=name, example=fed[name_of[name]]) for k, name in enumerate(used)
        )
        declared["inputs"] = {each.name: {"name": each.native} for each in inputs}
    shown = tuple(spec(f"inner_{k}", name, native=name) for k, name in enumerate(names))
    if wanted is not None:
        declared["outputs"] = {}
    declared["outputs"] |= {each.name: {"name": each.native} for each in shown}
    (destination / FILE).write_text(json.dumps(model), "utf-8")
    return Signature(inputs=inputs, outputs=(*(signature.outputs if wanted is None else ()), *shown))


def _computed(nodes: Mapping[str, Any]) -> list[str]:
    """Lists the tensors that nodes compute, in an order of computation; control flow of TensorFlow 1 is left out."""
    made: dict[str, None] = {}
    used = {full_name(name) for node in nodes.values() for name in node.get("input", ()) if not name.startswith("^")}
    for name in _ordered(nodes):
        if nodes[name]["op"] not in _NOTHING | _FLOW:
            made[f"{name}:0"] = None
            made |= dict.fromkeys(each for each in sorted(used) if each.rpartition(":")[0] == name)
    return list(made)


def _ordered(nodes: Mapping[str, Any]) -> list[str]:
    done: dict[str, None] = {}
    for start in nodes:
        pending = [start]
        while pending:
            name = pending[-1]
            missing = [each for each in _before(nodes[name]) if each in nodes and each not in done]
            if not missing or len(pending) > len(nodes):  # a loop of TensorFlow 1 has no order
                done[pending.pop()] = None
            else:
                pending += missing
    return list(done)


def _before(node: Mapping[str, Any]) -> list[str]:
    return [name.lstrip("^").partition(":")[0] for name in node.get("input", ())]


def _cut(nodes: Mapping[str, Any], fed: set[str], wanted: Sequence[str]) -> list[str]:
    """Returns the fed tensors that the wanted ones are computed from."""
    used: dict[str, None] = {}
    seen: set[str] = set()
    pending = list(wanted)
    while pending:
        tensor = pending.pop()
        node = nodes[tensor.rpartition(":")[0]]
        if tensor in fed and tensor not in wanted:
            used[tensor] = None
        elif node["op"] == "Placeholder":
            message = f"{', '.join(wanted)} is computed from the input {node['name']} as well"
            raise CannotCut(message)
        elif tensor not in seen:
            seen.add(tensor)
            pending += [full_name(name) for name in node.get("input", ()) if not name.startswith("^")]
    return list(used)
