"""Computes the reference as a job: the original model in Keras, float32 on the CPU, over every sample set.

In: an admitted model and, if there are any, the user's samples. Out: `evidence/` in the release directory: the samples
that every cell is fed, and the original's outputs; and additional rows for the noise floor.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from exporters.contract import Signature, UsedCode
from exporters.lowering.rewrites.mixed_precision import rounds_to
from exporters.preprocessing.vocabularies import entries_of
from exporters.source.keras.loading import load
from exporters.source.keras.model import SourceModel
from exporters.source.model_source import ModelSource
from exporters.weights.source_weights import write_weights
from validators.compare.task_metric import ACCURACY, accuracy, fitting, function_named, scored
from validators.contract import ComparisonBasis, SampleSet, Task, Tensors
from validators.reference.extra_rows import draw_extra_rows
from validators.reference.output_variation import output_variation
from validators.reference.usable_sets import Answers, Infer, SampleSources, UnusableSamples, batch_of, usable_answers
from validators.release.evidence import reference_folder, write_evidence, write_labels
from validators.samples import check_samples, read_samples
from validators.samples.input_domains import ranges_of
from validators.samples.tensor_files import write_tensors


@dataclass(frozen=True, slots=True, kw_only=True)
class ReferenceRequest:
    """Names a model and the samples to run it over.

    Attributes:
        model: the admitted model.
        release: directory that receives `evidence/`.
        samples: the user's samples; None for none.
        batches: sizes of the seeded sets' calls.
        metric: the user's function over labels; None for accuracy.
        extra_rows: folder that receives additional rows, for the noise floor.
        weights: folder that receives the original's weights, for the exports' check.
    """

    model: ModelSource
    release: Path
    samples: Path | None
    batches: tuple[int, ...]
    metric: str | None
    extra_rows: Path
    weights: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """Records facts about the original and its samples, for the manifest.

    Attributes:
        signature: of the source model.
        sets: the sample sets in the evidence.
        grounds: the facts that the comparisons depend on; the noise is not measured yet.
        code: the parts of the user's code that the model was built with.
    """

    signature: Signature
    sets: tuple[SampleSet, ...]
    grounds: ComparisonBasis
    code: tuple[UsedCode, ...]


def compute_reference(request: ReferenceRequest) -> Reference:
    """Computes the reference outputs and writes the evidence.

    Raises:
        BadInput: the samples do not fit the model, Keras cannot load it, or the original answers no samples.
    """
    model = load(request.model)
    inputs = model.signature.inputs
    user = check_samples(read_samples(request.samples), inputs) if request.samples else None
    halves = rounds_to(model)
    sources = SampleSources(
        inputs=inputs,
        user=user,
        batches=request.batches,
        known=entries_of(model),
        ranges=ranges_of(model),
        # An overflow of half precision is one that a copy in float32 need not share.
        beyond=""
        if not halves
        else f"it computes in {', '.join(sorted(set(halves.values())))}, which overflows sooner",
    )
    answers = usable_answers(inference(model), sources)
    write_evidence(
        request.release, signature=model.signature, sets=answers.sets, samples=answers.samples, rounds_to=halves
    )
    write_weights(model, request.weights)
    for name, tensors in answers.outputs.items():
        write_tensors(reference_folder(request.release, name), tensors)
    for kind, rows in draw_extra_rows(answers, inputs, user, parameters=model.parameter_bytes() // 4).items():
        write_tensors(request.extra_rows / kind, rows)
    grounds = ComparisonBasis(
        domains={name: known.domain for name, known in answers.ranges.items()},
        dropped=answers.dropped,
        batch=batch_of(answers, inputs),
        coverage=output_variation(answers.sets, answers.outputs),
        task=None
        if user is None or user.labels is None
        else _task(request.release, answers, user.labels, request.metric),
    )
    return Reference(signature=model.signature, sets=answers.sets, grounds=grounds, code=model.code)


def _task(release: Path, answers: Answers, labels: np.ndarray, metric: str | None) -> Task | None:
    """Measures the task metric of the original; None where accuracy fits no output, or more than one."""
    user = next(each for each in answers.sets if each.name == "user")
    labels, outputs = labels[answers.chosen], answers.outputs[user.name]
    output = "" if metric else fitting(labels, outputs)
    if not metric and not output:
        return None
    value = scored(metric, function_named(metric), labels, outputs) if metric else accuracy(labels, outputs[output])
    write_labels(release, labels)
    # Only the file's name: the record is public, and the same file may be in another folder the next time.
    return Task(metric=Path(metric).name if metric else ACCURACY, output=output, original=value, rows=user.rows)


def inference(model: SourceModel) -> Infer:
    """Returns one call of the original in Keras; it raises `UnusableSamples` where the original fails.

    A model that loops over time is a graph, as in `predict`: called eagerly, each step of each row takes milliseconds.
    """
    import tensorflow as tf

    call = tf.function(model.call, autograph=False, reduce_retracing=True) if model.loops() else model.call
    dtypes = {spec.name: spec.dtype for spec in model.signature.inputs}

    def infer(batch: Tensors) -> dict[str, np.ndarray]:
        try:
            outputs = call({name: tf.constant(array, dtypes[name]) for name, array in batch.items()})
        except (tf.errors.OpError, ValueError) as error:
            raise UnusableSamples(f"fails: {' '.join(str(error).split())[:300]}") from error
        return {name: np.asarray(tensor) for name, tensor in outputs.items()}

    return infer
