"""Defines `release.json`, the manifest of a release, which is written once and never edited.

In: the results of the stages of a release. Out: one JSON file whose shape `docs/release.schema.json` publishes
(`validators.release.json_schema` generates that from the records below). `validators.release.integrity` checks that the
files of a release are still those that its manifest names.
"""

import functools
import hashlib
import typing
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Literal

from exporters.contract import Artifact, FileRecord, Signature, TrustedLambda, UsedCode
from exporters.errors import BadInput, Broken
from exporters.jobs.job import Attempt
from validators.contract import (
    BaselineRecord,
    Cell,
    ComparisonBasis,
    PolicyRecord,
    SampleSet,
    Verdict,
)
from validators.release.json_records import STRICT, decoded, encoded
from validators.release.upgrades import upgrade_release_3

if typing.TYPE_CHECKING:
    from pydantic import TypeAdapter

SCHEMA_VERSION: Literal["4"] = "4"
MANIFEST = "release.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelRecord:
    """Records the source model.

    Attributes:
        name: the file's name.
        digest: SHA-256 of the file.
        size: bytes of the file.
        keras_version: the version of Keras that wrote it.
        layers: number of layers, nested ones included.
        parameters: number of weights that inference uses.
        signature: canonical inputs and outputs.
        trusted: the code that the user allowed explicitly: custom-object modules, Lambdas; empty when none.
        custom_objects: the parts of the user's code that the model was built with.
        lambdas: the Lambda layers whose bytecode ran.
    """

    name: str
    digest: str
    size: int
    keras_version: str
    layers: int
    parameters: int
    signature: Signature
    trusted: tuple[str, ...] = ()
    custom_objects: tuple[UsedCode, ...] = ()
    lambdas: tuple[TrustedLambda, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """Records everything that a release states.

    Attributes:
        schema_version: version of this record's shape.
        paritygate: version of paritygate that wrote it.
        created: UTC time, ISO 8601.
        platform: operating system, machine and Python, for a reader.
        processor: the processor's name; latencies compare only with the same one.
        toolchain: versions of the packages that took part.
        model: the source model.
        asked: SHA-256 over the settings and the files they name; equal for two releases with the same settings. Empty
            where code came as a module, whose content is not known.
        policy: the policy that was in force.
        samples: the sample sets in `evidence/`.
        grounds: further facts that the comparisons depend on.
        artifacts: one record for every variant, exported or not.
        cells: one record for every (variant, runtime, device).
        baseline: the release that this one was compared with; None where none was named.
        verdict: the gate's decision with its reasons.
        seconds: wall time of each stage.
        retried: the attempts that infrastructure ended (no time or memory left, a dead process or browser) and that
            were followed by another; a verdict is never repeated.
        resumed: the stages whose results come from an earlier run, which was killed; they were found by the digest of
            everything that they depend on.
        files: every file of the release except this one and those under `attestations/`.
    """

    # Read by pydantic and inherited by every record inside: unknown keys, NaN and numbers written as text are refused.
    __pydantic_config__ = STRICT

    schema_version: Literal["4"]
    paritygate: str
    created: str
    platform: str
    processor: str
    toolchain: Mapping[str, str]
    model: ModelRecord
    asked: str
    policy: PolicyRecord
    samples: tuple[SampleSet, ...]
    grounds: ComparisonBasis
    artifacts: tuple[Artifact, ...]
    cells: tuple[Cell, ...]
    baseline: BaselineRecord | None
    verdict: Verdict
    seconds: Mapping[str, float]
    retried: tuple[Attempt, ...]
    resumed: tuple[str, ...]
    files: tuple[FileRecord, ...]


def dump(manifest: Manifest) -> bytes:
    """Returns the manifest as JSON: sorted keys, indent 1, UTF-8, a newline at the end; equal records, equal bytes.

    Raises:
        Broken: a field holds what its type does not allow (NaN, infinity, a NumPy scalar), named with its path.
    """
    try:
        raw = encoded(manifest, adapter(), version=SCHEMA_VERSION)
        _refuse_unsafe_names(manifest)
    except ValueError as error:
        msg = f"{MANIFEST} cannot be written: {error}"
        raise Broken(msg) from error
    return raw


def load(release_dir: Path) -> Manifest:
    """Reads `release.json` of a release directory; see `load_with_digest`."""
    return load_with_digest(release_dir)[0]


def load_with_digest(release_dir: Path) -> tuple[Manifest, str]:
    """Reads `release.json` of a release directory once, so that digest and record come from the same bytes.

    The file is not trusted: every key must be there once and known, every value of its type, and every name that
    becomes a path must stay below the release directory.

    Returns:
        (the manifest, SHA-256 of the file).

    Raises:
        BadInput: there is no manifest, or a field of it is at fault; the message starts with the field's path.
    """
    path = release_dir / MANIFEST
    try:
        raw = path.read_bytes()
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError) as error:
        msg = f"{release_dir} is not a release directory: it holds no file {MANIFEST}"
        raise BadInput(msg, next_step="`paritygate release MODEL -o DIR` writes one") from error
    try:
        return _parse(raw), hashlib.sha256(raw).hexdigest()
    except ValueError as error:
        msg = f"{path}: {error}"
        raise BadInput(msg, next_step="do not edit this file: take the one that `paritygate release` wrote") from error


@functools.cache
def adapter() -> "TypeAdapter[Manifest]":
    """Returns Pydantic's adapter of the records, which validates, dumps and describes them."""
    from pydantic import TypeAdapter

    return TypeAdapter(Manifest)


def unsafe_names(manifest: Manifest) -> Iterator[str]:
    """Yields `field: what is wrong` for every path or name of the manifest that could lead out of the release."""
    signatures = [("model.signature", manifest.model.signature)]
    signatures += [(f"artifacts[{i}].signature", a.signature) for i, a in enumerate(manifest.artifacts) if a.signature]
    names = [(f"samples[{i}].name", sample.name) for i, sample in enumerate(manifest.samples)]
    for where, signature in signatures:
        names += [(f"{where}.inputs[{i}].name", tensor.name) for i, tensor in enumerate(signature.inputs)]
        names += [(f"{where}.outputs[{i}].name", tensor.name) for i, tensor in enumerate(signature.outputs)]
    for where, name in names:
        if "/" in name or not _stays_below(name):
            yield f"{where}: {name!r} cannot name a file: a plain name without slashes is valid"
    paths = [(f"files[{i}].path", record.path) for i, record in enumerate(manifest.files)]
    paths += [(f"artifacts[{i}].path", artifact.path) for i, artifact in enumerate(manifest.artifacts) if artifact.path]
    paths += [(f"cells[{i}].log", cell.log) for i, cell in enumerate(manifest.cells) if cell.log]
    for where, path in paths:
        if not _stays_below(path):
            yield f"{where}: {path!r} leaves the release directory: a relative path with forward slashes is valid"


def _stays_below(path: str) -> bool:
    pure = PurePosixPath(path)
    # Normalized by PurePosixPath: `a//b`, `./a` and `a/` are second names of one file, and are refused.
    plain = str(pure) == path and not {"\\", "\0"} & set(path)
    return plain and not pure.is_absolute() and ".." not in pure.parts and path != "."


def _parse(raw: bytes) -> Manifest:
    """Parses a manifest. Raises: ValueError, its message starting with the path of the field at fault."""
    manifest = decoded(raw, adapter(), version=SCHEMA_VERSION, upgrades={"3": upgrade_release_3})
    _refuse_unsafe_names(manifest)
    return manifest


def _refuse_unsafe_names(manifest: Manifest) -> None:
    for fault in unsafe_names(manifest):
        raise ValueError(fault)
