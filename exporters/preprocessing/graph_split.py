"""Splits a traced model at its last operator that needs text or tables.

In: a traced function whose graph has such operators, and the recorded calls of its preprocessing layers. Out: a
`GraphSplit`: the tensors that the numeric core starts from, and a description of how they are computed from the
model's inputs. Every operator that needs text belongs to the preprocessing, with all that it depends on; the rest is
the core.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from exporters.contract import Signature, TensorSpec
from exporters.preprocessing.call_recorder import LayerCall
from exporters.preprocessing.description import VERSION, Description, Feed, Preprocessing
from exporters.preprocessing.graph_ancestors import upstream
from exporters.preprocessing.layers import LayerOperators, write_layer
from exporters.preprocessing.operators import Inexpressible, write_operator
from exporters.preprocessing.step_builder import DescribedTensor, Writer
from exporters.preprocessing.steps import Cast
from exporters.target_limits import limited
from exporters.tensor_names import canonical

_INT32 = 2**31


@dataclass(frozen=True, slots=True, kw_only=True)
class Cut:
    """Names a tensor at which the graph is cut.

    Attributes:
        tensor: in the traced graph.
        spec: the core's input that replaces it, `native` still empty. It may be narrower than the tensor: int32 for
            numbers that fit, since several targets have no int64; the core widens it.
    """

    tensor: Any
    spec: TensorSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class GraphSplit:
    """Holds a model's split into preprocessing and numeric core.

    Attributes:
        cuts: the inputs of the core, including inputs of the model that it takes unchanged.
        preprocessing: the steps that compute them.
    """

    cuts: tuple[Cut, ...]
    preprocessing: Preprocessing


def find_split(
    graph: Any, outputs: Iterable[Any], calls: Sequence[LayerCall], signature: Signature
) -> GraphSplit | None:
    """Splits a traced graph; None when nothing in it needs text or tables.

    Args:
        graph: the traced graph.
        outputs: its output tensors.
        calls: as `exporters.preprocessing.call_recorder.recording` recorded them.
        signature: of the source model.

    Raises:
        Limited: the model cannot be split: an output is text, or a step has no exact description.
    """
    plan = _Plan(graph, list(outputs), calls, signature)
    return plan.split() if plan.needs_text else None


class _Plan:
    """Searches for the cut, over operators by name."""

    def __init__(self, graph: Any, outputs: list[Any], calls: Sequence[LayerCall], signature: Signature) -> None:
        self._inputs = {f"{spec.name}:0": spec for spec in signature.inputs}
        self._outputs = outputs
        self._operators = operators = graph.get_operations()
        self._call_of: dict[str, LayerCall] = {}
        for call in calls:
            self._call_of.update((operator.name, call) for operator in operators[call.begin : call.end])
        # Placeholders are left out: a text input by itself needs no preprocessing, only its use does.
        needed = [op for op in upstream(outputs) if op.type != "Placeholder" and self._needs_text(op)]
        self.needs_text = bool(needed)
        self._before = {op.name for op in upstream(tensor for op in needed for tensor in op.inputs)}
        self._before |= {op.name for op in needed}
        self._writer = Writer([spec.name for spec in signature.inputs])
        self._described: dict[str, DescribedTensor] = {}
        self._signature = signature
        self._needed_by = ""

    def split(self) -> GraphSplit:
        tensors = list(self._starts())
        for tensor in tensors:
            if tensor.dtype.name == "string":
                source = self._source(tensor)
                raise limited("text-output", source)
        passed = [tensor for tensor in tensors if tensor.name in self._inputs]
        others = [tensor for tensor in tensors if tensor.name not in self._inputs]
        passed.sort(key=lambda tensor: list(self._inputs).index(tensor.name))
        narrowed = [self._narrowed(tensor) for tensor in others]
        plain = [((), self._inputs[tensor.name].name) for tensor in passed]
        plain += [((), self._name(tensor)) for tensor in others]
        names = canonical(plain)
        feeds = [self._describe(tensor) for tensor in passed] + narrowed
        cuts = [
            Cut(tensor=tensor, spec=TensorSpec(name=name, dtype=fed.dtype, shape=fed.shape))
            for name, tensor, fed in zip(names, [*passed, *others], feeds, strict=True)
        ]
        description = Description(
            version=VERSION,
            inputs=self._signature.inputs,
            steps=tuple(self._writer.steps),
            feeds=tuple(Feed(name=name, tensor=fed.name) for name, fed in zip(names, feeds, strict=True)),
        )
        return GraphSplit(
            cuts=tuple(cuts), preprocessing=Preprocessing(description=description, files=self._writer.files)
        )

    def _needs_text(self, operator: Any) -> bool:
        call = self._call_of.get(operator.name)
        if call is not None and call.needs_text:
            return True
        tensors = (*operator.inputs, *operator.outputs)
        return operator.type.startswith("LookupTable") or any(t.dtype.name == "string" for t in tensors)

    def _starts(self) -> Iterator[Any]:
        """Yields the tensors that the core takes from before the cut, or from the model's inputs."""
        seen: set[str] = set()
        pending = list(reversed(self._outputs))
        while pending:
            tensor = pending.pop()
            if tensor.name in seen:
                continue
            seen.add(tensor.name)
            if tensor.op.name in self._before or tensor.name in self._inputs:
                yield tensor
            else:
                pending += reversed(tensor.op.inputs)

    def _describe(self, tensor: Any) -> DescribedTensor:
        """Returns the description's tensor for a tensor of the graph, after adding all the steps that make it."""
        if tensor.name in self._inputs:
            spec = self._inputs[tensor.name]
            return DescribedTensor(name=spec.name, dtype=spec.dtype, shape=tuple(tensor.shape))
        if tensor.name not in self._described:
            self._described[tensor.name] = self._write(tensor)
        return self._described[tensor.name]

    def _write(self, tensor: Any) -> DescribedTensor:
        call = self._call_of.get(tensor.op.name)
        if call is None:
            return self._write_operator(tensor.op, self._describe)
        if getattr(call.output, "name", None) != tensor.name:  # ragged, or not what the layer gave out
            raise limited("string-op", f"{call.title} gives {type(call.output).__name__}")
        layer_inputs = [value for value in call.inputs if hasattr(value, "dtype")]
        if unusual := [value for value in layer_inputs if not hasattr(value, "op")]:
            raise limited("string-op", f"{call.title} takes {type(unusual[0]).__name__}")
        outer, self._needed_by = self._needed_by, f", before {call.title}"
        inside = LayerOperators(
            operators=self._operators[call.begin : call.end],
            describe=partial(self._describe_inside, [t.name for t in layer_inputs]),
        )
        described = write_layer(call, [self._describe(value) for value in layer_inputs], self._writer, inside)
        self._needed_by = outer
        return described

    def _describe_inside(self, layer_inputs: Sequence[str], tensor: Any) -> DescribedTensor:
        """Returns the description's tensor for one inside a layer, from its operators back to the layer's inputs."""
        if tensor.name in layer_inputs:
            return self._describe(tensor)
        return self._write_operator(tensor.op, partial(self._describe_inside, layer_inputs))

    def _write_operator(self, operator: Any, describe: Callable[[Any], DescribedTensor]) -> DescribedTensor:
        try:
            return write_operator(operator, describe, self._writer)
        except Inexpressible as error:
            table = operator.type.startswith("LookupTable")
            what = f"operator {operator.type} ({operator.name}){self._needed_by}"
            raise limited("lookup-table" if table else "string-op", what) from error

    def _narrowed(self, tensor: Any) -> DescribedTensor:
        """Returns the tensor that the core is fed instead of this one: int32 where a layer's numbers fit."""
        described = self._describe(tensor)
        call = self._call_of.get(tensor.op.name)
        if call is None or described.dtype != "int64" or (getattr(call.layer, "num_bins", 0) or 0) >= _INT32:
            return described
        return self._writer.add(Cast, call.title, described, dtype="int32")

    def _name(self, tensor: Any) -> str:
        call = self._call_of.get(tensor.op.name)
        return str(call.layer.name if call else tensor.op.name.replace("/", "_"))

    def _source(self, tensor: Any) -> str:
        """Names the layer or operator that computes a tensor, skipping identities."""
        while tensor.op.type == "Identity" and tensor.op.name not in self._call_of:
            (tensor,) = tensor.op.inputs
        call = self._call_of.get(tensor.op.name)
        return call.title if call else f"operator {tensor.op.type} ({tensor.op.name})"
