"""The jobs of `corpus.py` that touch a model: run a stock converter, execute what it wrote.

In: a JSON request. Out: a JSON answer. Each runs in a process of its own, bounded by `exporters.jobs`.
"""

import subprocess
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from exporters.contract import Signature, TensorSpec
from validators.compare.outputs import compare
from validators.contract import Tolerance
from validators.release.evidence import read_evidence
from validators.runtimes.registry import runtime
from validators.samples.feeding import feed

RELATIVE = 1e-3
BATCH = 2


def convert(request: Mapping[str, Any]) -> str:
    """Runs one command of a stock tool.

    Args:
        request: `command` (words), `folder` (where it runs).

    Returns:
        Empty when it succeeded, else the last line that it said.
    """
    done = subprocess.run(
        request["command"],
        cwd=request["folder"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        check=False,
    )
    said = [line.strip() for line in done.stdout.decode(errors="replace").splitlines() if line.strip()]
    return "" if done.returncode == 0 else (said or [f"exit code {done.returncode}"])[-1][:300]


def names(request: Mapping[str, Any]) -> dict[str, list[str]]:
    """The names that the stock SavedModel gives its inputs and outputs; the other converters keep them.

    Args:
        request: `saved_model` (folder).
    """
    import tensorflow as tf

    serve = tf.saved_model.load(request["saved_model"]).signatures["serving_default"]
    return {"inputs": sorted(serve.structured_input_signature[1]), "outputs": sorted(serve.structured_outputs)}


def execute(request: Mapping[str, Any]) -> str:
    """Runs a stock artifact over the seeded set of batch 2 and holds it against the original.

    Args:
        request: `release` (of the same model, for its evidence), `artifact`, `runtime`, `device`, `options`,
            `inputs` and `outputs` (canonical name -> name in the artifact).

    Returns:
        Empty when every output agrees, else the first difference. What raises did not run.
    """
    evidence = read_evidence(Path(request["release"]))
    row = runtime(request["runtime"], request["device"])
    inputs, outputs = request["inputs"], request["outputs"]
    canonical = {theirs: name for name, theirs in outputs.items()}
    signature = Signature(
        inputs=_renamed(evidence.signature.inputs, inputs), outputs=_renamed(evidence.signature.outputs, outputs)
    )
    options = {**row.options, **request["options"]}
    seeded = [each for each in evidence.sets if each.origin == "seeded"]
    chosen = next((each for each in seeded if each.batch == BATCH), seeded[0])  # the model's own batch may be fixed
    samples = {inputs[name]: array for name, array in evidence.samples(chosen).items()}
    with row.module.load(Path(request["artifact"]), signature, row.device, options) as loaded:
        found = feed(loaded.infer, samples, chosen.batch).outputs
    reference = evidence.reference(chosen)
    diffs = compare(
        reference,
        {canonical.get(name, name): array for name, array in found.items()},
        sample_set=chosen.name,
        tolerances={name: _tolerance(array) for name, array in reference.items()},
    )
    return next((f"{diff.problem}: {diff.message}" for diff in diffs if not diff.passed), "")


def _renamed(specs: tuple[TensorSpec, ...], theirs: Mapping[str, str]) -> tuple[TensorSpec, ...]:
    return tuple(replace(spec, name=theirs[spec.name], native=theirs[spec.name]) for spec in specs)


def _tolerance(array: np.ndarray) -> Tolerance | None:
    """1e-3 of the largest value of the output, so that numbers near zero are not held to their own size."""
    if array.dtype.kind not in "fc":
        return None
    finite = np.abs(array[np.isfinite(array)])
    largest = float(finite.max()) if finite.size else 0.0
    return Tolerance(atol=RELATIVE * largest, rtol=RELATIVE, reason="what two runtimes may differ by at the most")
