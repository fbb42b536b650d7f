"""Reads and writes `preprocessing.json`: what has to be done to the model's inputs before the numeric core takes them.

In: steps, and the files that they name. Out: one JSON file with a version, and next to it vocabularies and weights as
JSON lists; and back. The files ship inside the artifact, so they are hashed and verified like its other bytes. A file
that is read is not trusted: another version, an unknown step or key, or a name outside the folder is refused by name.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from pydantic import TypeAdapter, ValidationError

from exporters.contract import TensorSpec
from exporters.errors import BadInput
from exporters.preprocessing.steps import AnyStep, Lookup, Scale

FILE: Literal["preprocessing.json"] = "preprocessing.json"
VERSION: Literal["1"] = "1"
Entries = Sequence[str] | Sequence[int] | Sequence[float]
_STEP_FILE = re.compile(r"(vocabulary|weights)\.[A-Za-z0-9_]+\.json")
_RESTORE = "Take the artifact's folder as `paritygate release` wrote it, or make the release again."


@dataclass(frozen=True, slots=True, kw_only=True)
class Feed:
    """Names one input of the core and the tensor that feeds it.

    Attributes:
        name: of the input.
        tensor: the tensor that it is fed: an input of the model or the output of a step.
    """

    name: str
    tensor: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Description:
    """Lists the steps that turn the inputs of the model into the inputs of its numeric core.

    Attributes:
        version: of this record's shape and of the meaning of its steps.
        inputs: of the model: what a user of the artifact provides.
        steps: in an order in which every tensor is made before it is used.
        feeds: the inputs of the core.
    """

    __pydantic_config__ = {"extra": "forbid", "strict": True, "allow_inf_nan": False}  # noqa: RUF012 - pydantic's form

    version: Literal["1"]
    inputs: tuple[TensorSpec, ...]
    steps: tuple[AnyStep, ...]
    feeds: tuple[Feed, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Preprocessing:
    """Holds a description and the files that its steps name.

    Attributes:
        description: the steps.
        files: vocabularies and weights by file name.
    """

    description: Description
    files: Mapping[str, Entries] = field(default_factory=dict)

    def write(self, folder: Path) -> None:
        """Writes the description and its files into a folder that exists; equal records give equal bytes."""
        raw = ADAPTER.dump_json(self.description, indent=1)
        (folder / FILE).write_bytes(raw + b"\n")
        for name, entries in self.files.items():
            (folder / name).write_text(json.dumps(list(entries), ensure_ascii=False, indent=0) + "\n", "utf-8")


ADAPTER = TypeAdapter(Description)
_LISTS: Mapping[str, TypeAdapter[list[str] | list[int] | list[float]]] = {
    "vocabulary": TypeAdapter[list[str] | list[int] | list[float]](list[str] | list[int]),
    "weights": TypeAdapter(list[float]),
}


def names_of(folder: Path) -> tuple[str, ...]:
    """Lists the files in a folder that make up a preprocessing; none where it holds no description."""
    if not (folder / FILE).is_file():
        return ()
    return (FILE, *sorted(path.name for path in folder.iterdir() if _STEP_FILE.fullmatch(path.name)))


def read(folder: Path) -> Preprocessing:
    """Reads what `Preprocessing.write` wrote.

    Raises:
        BadInput: a file is missing, is of another version, or holds what it may not; the message names the field.
    """
    path = folder / FILE
    raw = _bytes(path)
    try:
        version = json.loads(raw).get("version")
    except (ValueError, AttributeError, RecursionError) as error:
        raise BadInput(f"{path}: not a JSON object ({error})", next_step=_RESTORE) from error
    if version != VERSION:
        message = f"{path}: version: got {version!r}, valid is {VERSION!r}"
        raise BadInput(message, next_step="Verify with the paritygate that made the release.")
    description: Description = _validated(path, ADAPTER, raw)
    _check_order(path, description)
    named = [step.vocabulary for step in description.steps if isinstance(step, Lookup)]
    named += [step.weights for step in description.steps if isinstance(step, Scale)]
    return Preprocessing(description=description, files={name: _entries(folder, name) for name in dict.fromkeys(named)})


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise BadInput(f"{path}: cannot be read ({error.strerror})", next_step=_RESTORE) from error


def _validated(path: Path, shape: TypeAdapter[Any], raw: bytes) -> Any:
    try:
        return shape.validate_json(raw, strict=True)
    except ValidationError as error:
        fault = error.errors(include_url=False)[0]
        where = "".join(f"[{at}]" if isinstance(at, int) else f".{at}" for at in fault["loc"]).lstrip(".")
        raise BadInput(f"{path}: {where or 'content'}: {fault['msg']}", next_step=_RESTORE) from error


def _entries(folder: Path, name: str) -> Entries:
    match = _STEP_FILE.fullmatch(name)
    if match is None:
        raise BadInput(f"{folder / FILE}: {name!r} is no file of a preprocessing, valid is vocabulary.NAME.json")
    entries: Entries = _validated(folder / name, _LISTS[match[1]], _bytes(folder / name))
    return entries


def _check_order(path: Path, description: Description) -> None:
    """Checks that every tensor is made once, before it is used; raises BadInput naming the step."""
    known = {spec.name for spec in description.inputs}
    for index, step in enumerate(description.steps):
        if missing := sorted(set(step.inputs) - known):
            raise BadInput(f"{path}: steps[{index}].inputs: {', '.join(missing)}: nothing makes it", next_step=_RESTORE)
        if step.output in known:
            raise BadInput(f"{path}: steps[{index}].output: {step.output!r} is made twice", next_step=_RESTORE)
        known.add(step.output)
    for index, fed in enumerate(description.feeds):
        if fed.tensor not in known:
            raise BadInput(f"{path}: feeds[{index}].tensor: {fed.tensor!r}: nothing makes it", next_step=_RESTORE)
