"""Feeds samples to the core of a split model through its preprocessing, as its users have to do.

In: one call of a runtime, and the artifact's folder. Out: a call that takes the inputs of the model. The evidence is
that of the whole model, so every cell proves both halves together, on a machine without TensorFlow too.
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np

from exporters.contract import Signature
from exporters.errors import BadInput
from exporters.preprocessing.description import FILE, read
from exporters.preprocessing.interpreter import Interpreter
from validators.contract import Tensors
from validators.samples.tensor_files import RESTORE

Infer = Callable[[Tensors], dict[str, np.ndarray]]


def preprocessed(infer: Infer, artifact: Path, name: str, signature: Signature) -> Infer:
    """Returns a call from the model's inputs to the artifact's outputs.

    Args:
        infer: one call of the runtime.
        artifact: the artifact's folder.
        name: the file in it that describes the preprocessing; empty where the artifact takes the model's own inputs.
        signature: of the artifact.

    Raises:
        BadInput: the description is missing, of another version, damaged, or of another core; or the file is there and
            the artifact's record does not name it.
    """
    if not name:
        if (artifact / FILE).exists():
            raise BadInput(f"{artifact / FILE}: the artifact's record does not name it", next_step=RESTORE)
        return infer
    preprocessing = read(artifact)
    produced = sorted(fed.name for fed in preprocessing.description.feeds)
    wanted = sorted(spec.name for spec in signature.inputs)
    if produced != wanted:
        message = f"{artifact / FILE}: feeds: it makes {', '.join(produced)}, the core takes {', '.join(wanted)}"
        raise BadInput(message, next_step=RESTORE)
    interpreter = Interpreter(preprocessing)
    return lambda inputs: infer(interpreter.run(inputs))
