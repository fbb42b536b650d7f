"""SavedModel: the inference function saved with its variables.

In: the admitted `.keras` file. Out: a SavedModel folder with one signature, `serving_default`, whose inputs and outputs
carry the canonical names.
"""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from exporters.contract import Finding, Signature
from exporters.keras_model import load, tensor_specs


def export(source: Path, destination: Path, options: Mapping[str, Any]) -> Signature:
    """Saves the model's inference function.

    Args:
        source: the `.keras` file.
        destination: folder to create.
        options: `custom_objects` and `trust_lambda`, as for `exporters.keras_model.load`.

    Raises:
        BadInput: Keras cannot load the model.
    """
    import keras
    import tensorflow as tf

    model = load(source, custom_objects=options["custom_objects"], trust_lambda=options["trust_lambda"])
    archive = keras.export.ExportArchive()
    archive.track(model.keras)  # its variables, and the lookup tables that its layers hold (keras#21078)

    @tf.function(autograph=False)  # type: ignore[untyped-decorator, unused-ignore]
    def serve(**inputs: Any) -> dict[str, Any]:
        return model.call(inputs)

    signature = serve.get_concrete_function(**tensor_specs(model.signature.inputs))
    archive._filter_and_track_resources()  # noqa: SLF001 - finds the tables
    tracked = archive._tf_trackable  # noqa: SLF001 - write_out() takes no function of keyword arguments
    tracked.serve = serve
    tf.saved_model.save(tracked, str(destination), signatures={"serving_default": signature})
    return Signature(
        inputs=tuple(replace(spec, native=spec.name) for spec in model.signature.inputs),
        outputs=tuple(replace(spec, native=spec.name) for spec in model.signature.outputs),
    )


def check(_artifact: Path, _signature: Signature) -> tuple[Finding, ...]:
    """TensorFlow runs whatever TensorFlow traced; there is nothing to look for before it is run."""
    return ()
