"""Reads a model twice: once for what it declares, once to check that its weights are finite.

In: a path. Out: a `ModelFacts`, or BadInput.
"""

from pathlib import Path

from exporters.source.admission import declared_signature, weight_check
from exporters.source.admission.config import ConfigFacts, survey
from exporters.source.facts import ModelFacts
from exporters.source.readers.detection import opened
from exporters.source.readers.stored_model import StoredModel


def examine(path: Path, architecture: str | None = None) -> ModelFacts:
    """Reads what a model declares, after proving that its files are well formed and undamaged.

    Args:
        path: see `exporters.source.readers.detection.opened`.
        architecture: see there.

    Raises:
        BadInput: it is no model, damaged or doctored; names the member, attribute or array.
    """
    with opened(path, architecture) as source:
        asked = _asked(source)
        source.verify()
        stored = weight_check.measure(source.weights)
        digest, size = source.digest()
        reader = source.generation or 3
        config = source.config
        return ModelFacts(
            name=path.name,
            digest=digest,
            size=size,
            keras_version=source.keras_version,
            date_saved=source.date_saved,
            class_name=config["class_name"] if config else source.builder,
            inputs=declared_signature.inputs(config, generation=reader) if config else None,
            output_names=declared_signature.output_names(config) if config else None,
            layers=dict(sorted(asked.layers.items())),
            layer_count=asked.layers.total(),
            parameters=stored.parameters,
            parameter_bytes=stored.parameter_bytes,
            optimizer_bytes=stored.optimizer_bytes,
            has_optimizer_state=stored.has_optimizer_state,
            custom=tuple(asked.custom),
            lambdas=tuple(asked.lambdas),
            compile_only_custom=tuple(asked.compile_only),
            refused=tuple(asked.refused),
            shape_missing=config is not None and declared_signature.shape_missing(config, generation=reader),
            form=source.form,
            generation=source.generation,
            backend=source.backend,
            builder=source.builder,
        )


def _asked(source: StoredModel) -> ConfigFacts:
    """Surveys the configuration; a builder is the user's own code and needs no survey."""
    if source.config is None:
        return ConfigFacts()
    return survey(source.config, generation=source.generation or 3, where=source.where, training=source.training)


def check_weights(path: Path, architecture: str | None = None) -> None:
    """Reads every weight of the model, optimizer and metrics left out.

    Raises:
        BadInput: a weight is NaN or infinite, or cannot be read; names the layer.
    """
    with opened(path, architecture) as source:
        weight_check.check_finite(str(path), source.weights)
