"""Traces a model into the lowered forms that the wanted exporters start from, as a job of its own process."""

import shutil
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from exporters.contract import Signature
from exporters.errors import Limited
from exporters.lowering.tracing.forms import FORMS, RECURRENCES, Form
from exporters.source.keras.loading import load
from exporters.source.keras.model import Loop
from exporters.target_limits import limited

_LONGEST_UNROLL = 256  # steps; beyond it an unrolled graph takes minutes to convert, a loop stays a loop


def lower(request: Mapping[str, Any]) -> dict[str, Any]:
    """Traces the model into the lowered forms that the wanted exporters start from.

    Args:
        request: `model` (path), `destination` (folder for the graphs), `forms` (names, keys of `FORMS`),
            and what `exporters.source.keras.model.load` takes.

    Returns:
        `signature` of the source model; `forms`: name -> folder, or `{"limited": [message, limit, next step]}`.
    """
    from exporters.lowering.tracing.trace import trace

    model = load(
        Path(request["model"]),
        architecture=request.get("architecture", ""),
        custom_objects=request["custom_objects"],
        trust_lambda=request["trust_lambda"],
        input_shapes=request.get("input_shapes"),
    )
    shutil.rmtree(request["destination"], ignore_errors=True)  # of an attempt that was killed
    loops = model.loops()
    made: dict[tuple[int | None, int, int], str] = {}
    answer: dict[str, Any] = {}
    # Unrolling switches the layers of the loaded model for good, so the forms that unroll more come later.
    for name in sorted(request["forms"], key=lambda name: RECURRENCES.index(FORMS[name].recurrence)):
        form = FORMS[name]
        unroll = _to_unroll(loops, form)
        over_tensors = _over_tensors(loops, form, unroll)
        # Without recurrent layers, all forms of one batch are one graph.
        same = (form.batch, len(unroll), len(over_tensors))
        folder = Path(request["destination"]) / name
        try:
            if same not in made:
                _refuse_fixed_batch(form, model.signature)
                trace(model, batch=form.batch, unroll=unroll, over_tensors=over_tensors).save(folder)
                made[same] = str(folder)
            answer[name] = made[same]
        except Limited as error:
            answer[name] = {"limited": [error.message, error.limit, error.next_step]}
    return {"signature": TypeAdapter(Signature).dump_python(model.signature, mode="json"), "forms": answer}


def _to_unroll(loops: Iterable[Loop], form: Form) -> list[Loop]:
    """The recurrent layers that a form writes out: those with a static time axis that is short enough."""
    if form.recurrence == "loop":
        return []
    return [
        loop
        for loop in loops
        if (form.recurrence == "unrolled" or not loop.known) and (loop.steps or _LONGEST_UNROLL + 1) <= _LONGEST_UNROLL
    ]


def _over_tensors(loops: Iterable[Loop], form: Form, unroll: Sequence[Loop]) -> list[Loop]:
    """The recurrent layers that stay a loop which the form's targets have no operator for."""
    if form.recurrence == "loop":
        return []
    return [loop for loop in loops if loop not in unroll and (form.recurrence == "unrolled" or not loop.known)]


def _refuse_fixed_batch(form: Form, signature: Signature) -> None:
    fixed = sorted({spec.shape[0] for spec in signature.inputs if spec.shape and spec.shape[0] is not None})
    if form.batch is not None and fixed and fixed != [form.batch]:
        raise limited("fixed-batch", f"it is {', '.join(map(str, fixed))}")
