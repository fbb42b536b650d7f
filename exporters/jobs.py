"""The jobs of the export layer, each run by `exporters.isolation` in a process of its own.

In: a JSON request. Out: a JSON answer; bytes go to the folder the request names.
"""

from collections.abc import Iterable, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from exporters.contract import Finding, Signature
from exporters.errors import Limited
from exporters.limits import limited
from exporters.registry import EXPORTERS, FORMS, RECURRENCES, Form

_LONGEST_UNROLL = 256  # steps; beyond it an unrolled graph takes minutes to convert, a loop stays a loop


def lower(request: Mapping[str, Any]) -> dict[str, Any]:
    """Traces the model into the lowered forms that the wanted exporters start from.

    Args:
        request: `model` (path), `destination` (folder for the graphs), `forms` (names, keys of `FORMS`),
            `custom_objects`, `trust_lambda`.

    Returns:
        `signature` of the source model; `forms`: name -> folder, or `{"limited": [message, limit, next step]}`.
    """
    from exporters.keras_model import load
    from exporters.lowering.trace import recurrent_layers, trace

    model = load(Path(request["model"]), custom_objects=request["custom_objects"], trust_lambda=request["trust_lambda"])
    layers = recurrent_layers(model)
    made: dict[tuple[int | None, int], str] = {}
    answer: dict[str, Any] = {}
    # Unrolling switches the layers of the loaded model for good, so the forms that unroll more come later.
    for name in sorted(request["forms"], key=lambda name: RECURRENCES.index(FORMS[name].recurrence)):
        form = FORMS[name]
        unroll = _to_unroll(layers, form)
        same = (form.batch, len(unroll))  # without recurrent layers, all forms of one batch are one graph
        folder = Path(request["destination"]) / name
        try:
            if same not in made:
                _refuse_fixed_batch(form, model.signature)
                trace(model, batch=form.batch, unroll=unroll).save(folder)
                made[same] = str(folder)
            answer[name] = made[same]
        except Limited as error:
            answer[name] = {"limited": [error.message, error.limit, error.next_step]}
    return {"signature": TypeAdapter(Signature).dump_python(model.signature, mode="json"), "forms": answer}


def _to_unroll(layers: Iterable[Any], form: Form) -> list[Any]:
    """The recurrent layers that a form writes out: those with a static time axis that is short enough."""
    import keras

    known = (keras.layers.LSTM, keras.layers.GRU, keras.layers.SimpleRNN)
    if form.recurrence == "loop":
        return []
    return [
        layer
        for layer in layers
        if (form.recurrence == "unrolled" or not isinstance(layer, known))
        and (_time_steps(layer) or _LONGEST_UNROLL + 1) <= _LONGEST_UNROLL
    ]


def _time_steps(layer: Any) -> int | None:
    """Length of the time axis a recurrent layer was built for; None when it is dynamic or the layer does not say."""
    shapes = getattr(layer, "_build_shapes_dict", None) or {}
    sequence = shapes.get("sequences_shape") or shapes.get("input_shape")
    return sequence[1] if sequence else None


def _refuse_fixed_batch(form: Form, signature: Signature) -> None:
    fixed = sorted({spec.shape[0] for spec in signature.inputs if spec.shape and spec.shape[0] is not None})
    if form.batch is not None and fixed and fixed != [form.batch]:
        raise limited("fixed-batch", f"it is {', '.join(map(str, fixed))}")


def export(request: Mapping[str, Any]) -> dict[str, Any]:
    """Runs one exporter and checks what it wrote for what its runtimes cannot run.

    Args:
        request: `artifact` (a row's key), `source` (path), `destination` (folder to create), `options`.

    Returns:
        `signature` of the artifact and `findings`, none of them blocking.

    Raises:
        Limited: the target cannot express the model, by the exporter's or the check's word.
    """
    row = next(row for row in EXPORTERS if row.key == request["artifact"])
    module = import_module(row.module)
    destination = Path(request["destination"])
    signature: Signature = module.export(Path(request["source"]), destination, request["options"])
    findings: tuple[Finding, ...] = module.check(destination, signature)
    for finding in findings:
        if finding.blocking:
            if finding.limit:
                raise limited(finding.limit, finding.message)
            raise RuntimeError(f"{finding.code}: {finding.message}")
    return {
        "signature": TypeAdapter(Signature).dump_python(signature, mode="json"),
        "findings": TypeAdapter(tuple[Finding, ...]).dump_python(findings, mode="json"),
    }
