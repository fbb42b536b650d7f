"""The job of the reference: the original model in Keras, fp32 on CPU, over every sample set.

In: an admitted model and, if given, the user's samples. Out: `evidence/` in the release directory: the
samples every cell will be fed, and what the original computes from them; and further rows for the oracle.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import TypeAdapter

from exporters.contract import Signature, UsedCode
from exporters.lowering.rewrites.mixed_precision import rounds_to
from exporters.preprocessing.vocabularies import entries_of
from exporters.source.keras.loading import load
from exporters.source.keras.model import SourceModel
from exporters.weights.source_weights import note
from validators.compare.task_metric import ACCURACY, accuracy, fitting, function_named, scored
from validators.contract import Grounds, SampleSet, Task, Tensors
from validators.reference.extra_rows import further_rows
from validators.reference.output_variation import coverage
from validators.reference.usable_sets import Answers, Infer, Unsound, Wanted, batch_of, sound
from validators.release.evidence import reference_folder, write_evidence, write_labels
from validators.samples import check_samples, read_samples
from validators.samples.input_domains import ranges_of
from validators.samples.tensor_files import write_tensors


def run(request: Mapping[str, Any]) -> dict[str, Any]:
    """Computes the reference outputs.

    Args:
        request: `model` (path), `release` (directory to receive `evidence/`), `samples` (path or None), `batches`
            (sizes of the seeded sets), `metric` (the user's function, empty for accuracy), `more` (folder to receive
            further rows), `weights` (folder to note the original's weights in), `custom_objects`, `trust_lambda`; if
            given, `architecture` and `input_shapes`.

    Returns:
        `signature` of the source model, `sets`, `grounds` (all but the noise), and `code`: what of the user's own code
        the model was built with.

    Raises:
        BadInput: the samples do not fit the model, Keras cannot load it, or the original answers no samples.
    """
    model = load(
        Path(request["model"]),
        architecture=request.get("architecture", ""),
        custom_objects=request["custom_objects"],
        trust_lambda=request["trust_lambda"],
        input_shapes=request.get("input_shapes"),
    )
    release = Path(request["release"])
    given = request["samples"]
    inputs = model.signature.inputs
    user = check_samples(read_samples(Path(given)), inputs) if given else None
    halves = rounds_to(model)
    wanted = Wanted(
        inputs=inputs,
        user=user,
        batches=request["batches"],
        known=entries_of(model),
        ranges=ranges_of(model),
        # An overflow of half precision is one that a copy in float32 need not share.
        beyond=""
        if not halves
        else f"it computes in {', '.join(sorted(set(halves.values())))}, which overflows sooner",
    )
    answers = sound(inference(model), wanted)
    write_evidence(release, signature=model.signature, sets=answers.sets, samples=answers.samples, rounds_to=halves)
    note(model, Path(request["weights"]))
    for name, tensors in answers.outputs.items():
        write_tensors(reference_folder(release, name), tensors)
    for kind, rows in further_rows(answers, inputs, user, parameters=model.parameter_bytes() // 4).items():
        write_tensors(Path(request["more"]) / kind, rows)
    grounds = Grounds(
        domains={name: known.domain for name, known in answers.ranges.items()},
        dropped=answers.dropped,
        batch=batch_of(answers, inputs),
        coverage=coverage(answers.sets, answers.outputs),
        task=None if user is None or user.labels is None else _task(release, answers, user.labels, request["metric"]),
    )
    return {
        "signature": TypeAdapter(Signature).dump_python(model.signature, mode="json"),
        "sets": TypeAdapter(tuple[SampleSet, ...]).dump_python(answers.sets, mode="json"),
        "grounds": TypeAdapter(Grounds).dump_python(grounds, mode="json"),
        "code": TypeAdapter(tuple[UsedCode, ...]).dump_python(model.code, mode="json"),
    }


def _task(release: Path, answers: Answers, labels: np.ndarray, metric: str) -> Task | None:
    """What the user's labels measure of the original; None where accuracy fits no output, or more than one."""
    user = next(each for each in answers.sets if each.name == "user")
    labels, outputs = labels[answers.chosen], answers.outputs[user.name]
    output = "" if metric else fitting(labels, outputs)
    if not metric and not output:
        return None
    value = scored(metric, function_named(metric), labels, outputs) if metric else accuracy(labels, outputs[output])
    write_labels(release, labels)
    # A file by its own name: the record is public, and the same file may lie elsewhere the next time.
    return Task(metric=Path(metric).name or ACCURACY, output=output, original=value, rows=user.rows)


def inference(model: SourceModel) -> Infer:
    """The original as Keras calls it; it raises `Unsound` where it fails.

    A model that loops over time is a graph, as in `predict`: called eagerly, each step of each row takes milliseconds.
    """
    import tensorflow as tf

    call = tf.function(model.call, autograph=False, reduce_retracing=True) if model.loops() else model.call
    dtypes = {spec.name: spec.dtype for spec in model.signature.inputs}

    def infer(batch: Tensors) -> dict[str, np.ndarray]:
        try:
            outputs = call({name: tf.constant(array, dtypes[name]) for name, array in batch.items()})
        except (tf.errors.OpError, ValueError) as error:
            raise Unsound(f"fails: {' '.join(str(error).split())[:300]}") from error
        return {name: np.asarray(tensor) for name, tensor in outputs.items()}

    return infer
