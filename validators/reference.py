"""The job of the reference: the original model in Keras, fp32 on CPU, over every sample set.

In: an admitted `.keras` file and, if given, the user's samples. Out: `evidence/` in the release directory: the
samples every cell will be fed, and what the original computes from them.
"""

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import TypeAdapter

from exporters.contract import Signature
from exporters.errors import BadInput
from exporters.keras_model import SourceModel, load
from validators.contract import Tensors
from validators.evidence import reference_folder, write_evidence
from validators.feeding import feed
from validators.manifest import SampleSet
from validators.samples import UserSamples, check_samples, generate, plan, read_samples
from validators.tensorfiles import write_tensors

_STRETCHES = (1, 8, 64, 512)
"""What lengths of dynamic axes are multiplied with until the original gives something finite: 16 steps to 8192."""

_Evidence = tuple[tuple[SampleSet, ...], dict[str, dict[str, np.ndarray]], dict[str, dict[str, np.ndarray]]]


def run(request: Mapping[str, Any]) -> dict[str, Any]:
    """Computes the reference outputs.

    Args:
        request: `model` (path), `release` (directory to receive `evidence/`), `samples` (path or None), `batches`
            (sizes of the seeded sets), `custom_objects`, `trust_lambda`.

    Returns:
        `signature` of the source model, and `sets`.

    Raises:
        BadInput: the samples do not fit the model, or Keras cannot load it.
    """
    model = load(Path(request["model"]), custom_objects=request["custom_objects"], trust_lambda=request["trust_lambda"])
    release = Path(request["release"])
    given = request["samples"]
    user = check_samples(read_samples(Path(given)), model.signature.inputs) if given else None
    sets, samples, outputs = _sound(model, user, request["batches"])
    write_evidence(release, signature=model.signature, sets=sets, samples=samples)
    for name, tensors in outputs.items():
        write_tensors(reference_folder(release, name), tensors)
    return {
        "signature": TypeAdapter(Signature).dump_python(model.signature, mode="json"),
        "sets": TypeAdapter(tuple[SampleSet, ...]).dump_python(sets, mode="json"),
    }


def _sound(model: SourceModel, user: UserSamples | None, batches: Sequence[int]) -> _Evidence:
    """Sets, samples and outputs that can serve as evidence: every output has something finite in every set.

    A model that halves a dynamic axis six times has nothing left of sixteen steps, so longer ones are tried. NaN equals
    NaN in a comparison: an original that gives nothing else would prove every artifact.

    Raises:
        BadInput: the original fails, or gives only NaN or infinity, at every length.
    """
    import tensorflow as tf

    inputs = model.signature.inputs
    stretches = _STRETCHES if any(None in spec.shape[1:] for spec in inputs) else _STRETCHES[:1]
    fault = ""
    for stretch in stretches:
        sets = plan(inputs, user=user, seeded=batches, stretch=stretch)
        samples = {s.name: generate(s, inputs, user=user) for s in sets}
        try:
            outputs = {s.name: feed(partial(_infer, model), samples[s.name], s.batch) for s in sets}
        except (tf.errors.InvalidArgumentError, ValueError) as error:
            fault = f"fails: {' '.join(str(error).split())[:300]}"
            continue
        fault = next(filter(None, (_nothing_finite(name, tensors) for name, tensors in outputs.items())), "")
        if not fault:
            return sets, samples, outputs
    raise BadInput(
        f"the original itself {fault}", next_step="Bring samples of the model's own domain: --samples held_out.npz"
    )


def _nothing_finite(sample_set: str, tensors: Tensors) -> str:
    """The first output that is nothing but NaN and infinity."""
    for name, array in tensors.items():
        if array.dtype.kind in "fc" and not np.isfinite(array).any():
            return f"gives only NaN or infinity for output `{name}` over sample set `{sample_set}`"
    return ""


def _infer(model: SourceModel, batch: Tensors) -> dict[str, np.ndarray]:
    import tensorflow as tf

    outputs = model.call({name: tf.constant(array) for name, array in batch.items()})
    return {name: np.asarray(tensor) for name, tensor in outputs.items()}
