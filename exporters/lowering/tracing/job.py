"""Traces a model into the lowered forms that the wanted exporters start from, as an isolated job."""

import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from exporters.contract import Signature
from exporters.errors import Limited, LimitReached
from exporters.lowering.tracing.forms import FORMS, RECURRENCES, Form
from exporters.source.keras.loading import load
from exporters.source.keras.model import Loop
from exporters.source.model_source import ModelSource
from exporters.target_limits import limited

_LONGEST_UNROLL = 256  # steps; beyond it an unrolled graph takes minutes to convert, a loop stays a loop


@dataclass(frozen=True, slots=True, kw_only=True)
class LowerRequest:
    """Names a model to trace and the forms.

    Attributes:
        model: the admitted model.
        destination: folder for the graphs.
        forms: names of the forms that the wanted exporters start from, keys of `FORMS`.
    """

    model: ModelSource
    destination: Path
    forms: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class LoweredForm:
    """Locates one lowered form of the model, or names the limit that prevents it.

    Attributes:
        folder: the graph's folder, see `exporters.lowering.graph`; None where a limit prevents it.
        limited: the limit; None where the form was traced.
    """

    folder: Path | None = None
    limited: LimitReached | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Lowered:
    """Lists the lowered forms of a model.

    Attributes:
        signature: of the source model.
        forms: by name.
    """

    signature: Signature
    forms: Mapping[str, LoweredForm]


def lower(request: LowerRequest) -> Lowered:
    """Traces the model into the lowered forms that the wanted exporters start from.

    Raises:
        BadInput: Keras cannot load the model.
    """
    from exporters.lowering.tracing.trace import trace

    model = load(request.model)
    shutil.rmtree(request.destination, ignore_errors=True)  # of an attempt that was killed
    loops = model.loops()
    traced: dict[tuple[int | None, int, int], LoweredForm] = {}
    forms: dict[str, LoweredForm] = {}
    # Unrolling switches the layers of the loaded model for good, so the forms that unroll more come later.
    for name in sorted(request.forms, key=lambda name: RECURRENCES.index(FORMS[name].recurrence)):
        form = FORMS[name]
        unroll = _to_unroll(loops, form)
        over_tensors = _over_tensors(loops, form, unroll)
        # Without recurrent layers, all forms of one batch are one graph.
        same = (form.batch, len(unroll), len(over_tensors))
        folder = request.destination / name
        try:
            if same not in traced:
                _refuse_fixed_batch(form, model.signature)
                trace(model, batch=form.batch, unroll=unroll, over_tensors=over_tensors).save(folder)
                traced[same] = LoweredForm(folder=folder)
            forms[name] = traced[same]
        except Limited as error:
            forms[name] = LoweredForm(limited=LimitReached.of(error))
    return Lowered(signature=model.signature, forms=forms)


def _to_unroll(loops: Iterable[Loop], form: Form) -> list[Loop]:
    """Returns the recurrent layers that a form unrolls: those whose time axis is static and short enough."""
    if form.recurrence == "loop":
        return []
    return [
        loop
        for loop in loops
        if (form.recurrence == "unrolled" or not loop.known) and (loop.steps or _LONGEST_UNROLL + 1) <= _LONGEST_UNROLL
    ]


def _over_tensors(loops: Iterable[Loop], form: Form, unroll: Sequence[Loop]) -> list[Loop]:
    """Returns the recurrent layers that stay a loop for which the form's targets have no operator."""
    if form.recurrence == "loop":
        return []
    return [loop for loop in loops if loop not in unroll and (form.recurrence == "unrolled" or not loop.known)]


def _refuse_fixed_batch(form: Form, signature: Signature) -> None:
    fixed = sorted({spec.shape[0] for spec in signature.inputs if spec.shape and spec.shape[0] is not None})
    if form.batch is not None and fixed and fixed != [form.batch]:
        raise limited("fixed-batch", f"it is {', '.join(map(str, fixed))}")
