"""The two readings of a file: what it declares, and whether its weights are sound.

In: a path. Out: a `ModelFacts`, or BadInput.
"""

from pathlib import Path
from typing import Any

from exporters.admission import signature, strict_json, weights
from exporters.admission.archive import CONFIG, METADATA, Archive, opened
from exporters.admission.config import survey
from exporters.admission.facts import ModelFacts
from exporters.errors import BadInput
from exporters.store import sha256_file


def examine(path: Path) -> ModelFacts:
    """Reads what a `.keras` file declares, after proving that the archive is well formed and undamaged.

    Raises:
        BadInput: the file is no `.keras` archive, is damaged or doctored; names the member.
    """
    with opened(path) as archive:
        metadata = _object(archive, METADATA)
        config = _object(archive, CONFIG)
        version = metadata.get("keras_version")
        if not isinstance(version, str) or not version:
            raise BadInput(
                f"{path}: {METADATA} does not say which Keras wrote the file (keras_version is {version!r})",
                next_step="Save the model again with Keras 3: model.save('model.keras').",
            )
        asked = survey(config)
        archive.verify()
        stored = weights.measure(archive)
        saved = metadata.get("date_saved")
        return ModelFacts(
            name=path.name,
            digest=sha256_file(path),
            size=path.stat().st_size,
            keras_version=version,
            date_saved=saved if isinstance(saved, str) else "",
            class_name=config["class_name"],
            inputs=signature.inputs(config),
            output_names=signature.output_names(config),
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
        )


def check_weights(path: Path) -> None:
    """Reads every weight of the model, optimizer and metrics left out.

    Raises:
        BadInput: a weight is NaN or infinite, or cannot be read; names the layer.
    """
    with opened(path) as archive:
        weights.check_finite(archive)


def _object(archive: Archive, name: str) -> dict[str, Any]:
    where = f"{archive.path}: {name}"
    strict_json.check_size(where, archive.members[name].file_size)
    return strict_json.parse_object(where, b"".join(archive.chunks(name)))
