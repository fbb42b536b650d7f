"""The jobs of the export layer, each run by `exporters.isolation` in a process of its own.

In: a JSON request. Out: a JSON answer; bytes go to the folder the request names.
"""

import shutil
from collections.abc import Iterable, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from exporters.contract import Finding, Signature, WeightsRecord
from exporters.errors import Limited
from exporters.keras_model import Loop, load
from exporters.limits import limited
from exporters.preprocessing.description import FILE, names_of
from exporters.registry import EXPORTERS, FORMS, RECURRENCES, STATIC_EXPORTERS, ExporterRow, Form

_LONGEST_UNROLL = 256  # steps; beyond it an unrolled graph takes minutes to convert, a loop stays a loop


def lower(request: Mapping[str, Any]) -> dict[str, Any]:
    """Traces the model into the lowered forms that the wanted exporters start from.

    Args:
        request: `model` (path), `destination` (folder for the graphs), `forms` (names, keys of `FORMS`),
            and what `exporters.keras_model.load` takes.

    Returns:
        `signature` of the source model; `forms`: name -> folder, or `{"limited": [message, limit, next step]}`.
    """
    from exporters.lowering.trace import trace

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


def export(request: Mapping[str, Any]) -> dict[str, Any]:
    """Runs one exporter and checks what it wrote for what its runtimes cannot run.

    Args:
        request: `artifact` (a row's key), `source` (path), `destination` (folder to create), `options`; if given,
            `weights`: the folder that `exporters.weights.source.note` wrote, to hold what is stored against.

    Returns:
        `signature` of the artifact; `findings`, none of them blocking: the rewrites that acted, and the check's;
        `weights`: what the artifact stores of the source's, None unless asked; `preprocessing`: the file of the
        artifact that says what has to run before it, empty where nothing has to.

    Raises:
        Limited: the target cannot express the model, by the exporter's or the check's word.
    """
    from exporters.lowering.notes import noting, rewritten

    row = next(row for row in (*EXPORTERS, *STATIC_EXPORTERS) if row.key == request["artifact"])
    module = import_module(row.module)
    source, destination = Path(request["source"]), Path(request["destination"])
    shutil.rmtree(destination, ignore_errors=True)  # of an attempt that was killed
    with noting() as acted:
        signature: Signature = module.export(source, destination, request["options"])
    described = names_of(source)
    for name in described:
        shutil.copyfile(source / name, destination / name)
    findings: tuple[Finding, ...] = (*rewritten(acted), *module.check(destination, signature))
    for finding in findings:
        if finding.blocking:
            if finding.limit:
                raise limited(finding.limit, finding.message)
            raise RuntimeError(f"{finding.code}: {finding.message}")
    given = request.get("weights")
    weights = _held_against(row, source, Path(given), module.constants(destination)) if given else None
    return {
        "signature": TypeAdapter(Signature).dump_python(signature, mode="json"),
        "weights": TypeAdapter(WeightsRecord | None).dump_python(weights, mode="json"),
        "findings": TypeAdapter(tuple[Finding, ...]).dump_python(findings, mode="json"),
        "preprocessing": FILE if described else "",
    }


def _held_against(row: ExporterRow, source: Path, weights: Path, stored: Mapping[str, Any]) -> WeightsRecord:
    """What an artifact stores of the original's weights."""
    from exporters.lowering.trace import Graph
    from exporters.weights.match import match
    from exporters.weights.source import read, with_constants

    original = read(weights)
    found = match(row.format, original, stored)
    if not found.differences or row.source == "model":
        return found
    # What the model's own code multiplies with is no weight; reading the graph again costs only those that differ.
    return match(row.format, with_constants(original, Graph.read(source).graph_def), stored)
