"""The job of the reference: the original model in Keras, fp32 on CPU, over every sample set.

In: an admitted `.keras` file and, if given, the user's samples. Out: `evidence/` in the release directory: the
samples every cell will be fed, and what the original computes from them.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import TypeAdapter

from exporters.contract import Signature
from exporters.keras_model import SourceModel, load
from validators.contract import Tensors
from validators.evidence import reference_folder, write_evidence
from validators.feeding import feed
from validators.manifest import SampleSet
from validators.samples import check_samples, generate, plan, read_samples
from validators.tensorfiles import write_tensors


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
    inputs = model.signature.inputs
    user = check_samples(read_samples(Path(request["samples"])), inputs) if request["samples"] else None
    sets = plan(inputs, user=user, seeded=request["batches"])
    samples = {s.name: generate(s, inputs, user=user) for s in sets}
    write_evidence(release, signature=model.signature, sets=sets, samples=samples)
    for sample_set in sets:
        outputs = feed(lambda batch: _infer(model, batch), samples[sample_set.name], sample_set.batch)
        write_tensors(reference_folder(release, sample_set.name), outputs)
    return {
        "signature": TypeAdapter(Signature).dump_python(model.signature, mode="json"),
        "sets": TypeAdapter(tuple[SampleSet, ...]).dump_python(sets, mode="json"),
    }


def _infer(model: SourceModel, batch: Tensors) -> dict[str, np.ndarray]:
    import tensorflow as tf

    outputs = model.call({name: tf.constant(array) for name, array in batch.items()})
    return {name: np.asarray(tensor) for name, tensor in outputs.items()}
