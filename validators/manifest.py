"""`release.json`: the manifest of a release, written once and never edited.

In: what the stages of a release produced. Out: one JSON file whose shape `docs/release.schema.json` publishes
(`validators.schema` generates that from the records below). Whether the files of a release are still the ones its
manifest names is `validators.integrity`'s question.
"""

import functools
import json
import typing
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Literal

from exporters.contract import Artifact, FileRecord, Signature
from exporters.errors import BadInput, Broken
from validators.contract import Cell, Requirement, Verdict

if typing.TYPE_CHECKING:
    from pydantic import TypeAdapter, ValidationError

SCHEMA_VERSION: Literal["1"] = "1"
MANIFEST = "release.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelRecord:
    """The source model.

    Attributes:
        name: the file's name.
        digest: SHA-256 of the file.
        size: bytes of the file.
        keras_version: what wrote it.
        layers: number of layers, nested ones included.
        parameters: number of weights that inference uses.
        signature: canonical inputs and outputs.
        trusted: what the user allowed explicitly: custom-object modules, Lambdas; empty when nothing.
    """

    name: str
    digest: str
    size: int
    keras_version: str
    layers: int
    parameters: int
    signature: Signature
    trusted: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class SampleSet:
    """Rows of input that every cell is fed.

    Attributes:
        name: folder name under `evidence/samples` and `evidence/reference`.
        rows: how many rows.
        batch: rows per call (an artifact with a fixed batch is fed in its own).
        origin: `user` or `seeded`.
        seed: of the generator; None for the user's own.
        dynamic: length chosen for each dynamic axis that is not the batch, `INPUT[AXIS]` -> length.
    """

    name: str
    rows: int
    batch: int
    origin: Literal["user", "seeded"]
    seed: int | None = None
    dynamic: Mapping[str, int] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyRecord:
    """The policy that was in force, as far as it decides.

    Attributes:
        required: the cells that had to be proven.
        formats: the formats that were exported.
        atol, rtol: the tolerance set by hand, None for the default.
        sample_seconds: a cell begins no further sample set that would take its inference beyond so many seconds.
    """

    required: tuple[Requirement, ...]
    formats: tuple[str, ...]
    atol: float | None
    rtol: float | None
    sample_seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """Everything a release claims.

    Attributes:
        schema_version: version of this record's shape.
        paritygate: version of paritygate that wrote it.
        created: UTC time, ISO 8601.
        platform: operating system, machine and Python, for a reader.
        toolchain: versions of the packages that took part.
        model: the source model.
        policy: what was required.
        samples: the sample sets in `evidence/`.
        artifacts: one record for every variant, exported or not.
        cells: one record for every (variant, runtime, device).
        verdict: the gate's decision with its reasons.
        seconds: wall time of each stage.
        files: every file of the release but this one and those under `attestations/`.
    """

    # Read by pydantic and inherited by every record inside: unknown keys, NaN and numbers written as text are refused.
    __pydantic_config__ = {  # noqa: RUF012 - pydantic's name and form for it; nothing changes it
        "extra": "forbid",
        "strict": True,
        "allow_inf_nan": False,
    }

    schema_version: Literal["1"]
    paritygate: str
    created: str
    platform: str
    toolchain: Mapping[str, str]
    model: ModelRecord
    policy: PolicyRecord
    samples: tuple[SampleSet, ...]
    artifacts: tuple[Artifact, ...]
    cells: tuple[Cell, ...]
    verdict: Verdict
    seconds: Mapping[str, float]
    files: tuple[FileRecord, ...]


def dump(manifest: Manifest) -> bytes:
    """The manifest as JSON: sorted keys, indented by one, UTF-8, a newline at the end; equal records give equal bytes.

    Raises:
        Broken: a field holds what its type does not allow (NaN, infinity, a NumPy scalar), named with its path.
    """
    try:
        tree = adapter().dump_python(manifest, mode="json", warnings=False)
        raw = json.dumps(tree, indent=1, sort_keys=True, ensure_ascii=False).encode() + b"\n"
        _parse(raw)
    except ValueError as error:
        msg = f"{MANIFEST} cannot be written: {error}"
        raise Broken(msg) from error
    return raw


def load(release_dir: Path) -> Manifest:
    """Reads `release.json` of a release directory.

    The file is not trusted: every key must be there once and known, every value of its type, and whatever becomes
    part of a file name must stay below the release directory.

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
        return _parse(raw)
    except ValueError as error:
        msg = f"{path}: {error}"
        raise BadInput(msg, next_step="nobody edits this file: take the one that `paritygate release` wrote") from error


@functools.cache
def adapter() -> "TypeAdapter[Manifest]":
    """Pydantic's view of the records: validates, dumps and describes them."""
    from pydantic import TypeAdapter

    return TypeAdapter(Manifest)


def unsafe_names(manifest: Manifest) -> Iterator[str]:
    """Yields `field: what is wrong` for every path or name of the manifest that could lead out of the release."""
    signatures = [("model.signature", manifest.model.signature)]
    signatures += [(f"artifacts[{i}].signature", a.signature) for i, a in enumerate(manifest.artifacts) if a.signature]
    names = [(f"samples[{i}].name", sample.name) for i, sample in enumerate(manifest.samples)]
    for field, signature in signatures:
        names += [(f"{field}.inputs[{i}].name", tensor.name) for i, tensor in enumerate(signature.inputs)]
        names += [(f"{field}.outputs[{i}].name", tensor.name) for i, tensor in enumerate(signature.outputs)]
    for field, name in names:
        if "/" in name or not _stays_below(name):
            yield f"{field}: {name!r} cannot name a file: a plain name without slashes is valid"
    paths = [(f"files[{i}].path", record.path) for i, record in enumerate(manifest.files)]
    paths += [(f"artifacts[{i}].path", artifact.path) for i, artifact in enumerate(manifest.artifacts) if artifact.path]
    paths += [(f"cells[{i}].log", cell.log) for i, cell in enumerate(manifest.cells) if cell.log]
    for field, path in paths:
        if not _stays_below(path):
            yield f"{field}: {path!r} leaves the release directory: a relative path with forward slashes is valid"


def _stays_below(path: str) -> bool:
    pure = PurePosixPath(path)
    plain = str(pure) == path and not {"\\", "\0"} & set(path)
    return plain and not pure.is_absolute() and ".." not in pure.parts and path != "."


def _parse(raw: bytes) -> Manifest:
    """Raises: ValueError, its message starting with the path of the field at fault."""
    from pydantic import ValidationError

    try:
        tree = json.loads(raw.decode(), object_pairs_hook=_unique_keys)
    except RecursionError as error:
        msg = "the JSON is nested too deeply to be a manifest"
        raise ValueError(msg) from error
    version = tree.get("schema_version") if isinstance(tree, dict) else None
    if version != SCHEMA_VERSION:
        msg = f"schema_version: got {version!r}, this paritygate reads {SCHEMA_VERSION!r}"
        raise ValueError(msg)
    try:
        manifest = adapter().validate_json(raw)
    except ValidationError as error:
        raise ValueError(_first_fault(error)) from error
    faults = (*_left_out(adapter().dump_python(manifest, mode="json"), tree), *unsafe_names(manifest))
    if faults:
        raise ValueError(faults[0])
    return manifest


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    keys: dict[str, Any] = {}
    for key, value in pairs:
        if key in keys:
            msg = f"the key {key!r} occurs twice in one object"
            raise ValueError(msg)
        keys[key] = value
    return keys


def _first_fault(error: "ValidationError") -> str:
    fault, *others = error.errors(include_url=False)
    path = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in fault["loc"]).removeprefix(".")
    got = repr(fault["input"])
    said = {
        "missing": "is missing",
        "unexpected_keyword_argument": f"is not a key of schema version {SCHEMA_VERSION}",
    }.get(fault["type"], f"{fault['msg']}, got {got if len(got) <= 80 else got[:77] + '...'}")  # noqa: PLR2004 - a line
    return f"{path}: {said}" + (f" (and {len(others)} more)" if others else "")


def _left_out(expected: Any, given: Any, path: str = "") -> Iterator[str]:
    """Yields the keys that pydantic filled with a default: what a release claims, it says."""
    if isinstance(expected, dict):
        for key, value in expected.items():
            where = f"{path}.{key}".removeprefix(".")
            yield from _left_out(value, given[key], where) if key in given else [f"{where}: is missing"]
    elif isinstance(expected, list):
        for index, (value, other) in enumerate(zip(expected, given, strict=True)):
            yield from _left_out(value, other, f"{path}[{index}]")
