"""Generates the JSON Schemas of `release.json`, attestations and `preprocessing.json` from the records.

`python -m validators.release.json_schema > docs/release.schema.json` publishes the first, `python -m
validators.release.json_schema attestation > docs/attestation.schema.json` and the same with `preprocessing` the others.
Tests compare the published files with the records.
"""

import inspect
import json
import re
import sys
from collections.abc import Mapping
from typing import Any, Literal, get_args

from exporters import contract as exporters_contract
from exporters.jobs import job
from exporters.preprocessing import description, steps
from validators import contract as validators_contract
from validators.release import attestations, manifest

File = Literal["release", "attestation", "preprocessing"]

_ATTRIBUTES = "\n\nAttributes:\n"
_ATTRIBUTE = re.compile(r"^    (?=\S)(?P<names>[a-z_0-9, ]+): (?P<text>.+(?:\n {8,}.+)*)", re.MULTILINE)


def schema(file: File = "release") -> dict[str, Any]:
    """Builds the schema (draft 2020-12) that every such file of this schema version fulfils.

    Every key is required and no other is allowed: a record states every value, and no default fills one in.
    """
    if file == "release":
        record: type = manifest.Manifest
        generated = manifest.adapter().json_schema(mode="serialization")
        title = f"paritygate release.json, schema version {manifest.SCHEMA_VERSION}"
    elif file == "preprocessing":
        record = description.Description
        generated = description.ADAPTER.json_schema(mode="serialization")
        title = f"paritygate {description.FILE}, version {description.VERSION}"
    else:
        record = object  # one of several records, each described below
        generated = attestations.adapter().json_schema(mode="serialization")
        title = f"paritygate attestation, schema version {attestations.SCHEMA_VERSION}"
        generated.pop("discriminator", None)  # OpenAPI's; each record's own `kind` says the same
    records = {name: _described(_record(name), body) for name, body in generated.pop("$defs").items()}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **_described(record, generated),
        "title": title,
        "$defs": dict(sorted(records.items())),
    }


def text(file: File = "release") -> str:
    """Returns the schema as it is published, with a newline at the end."""
    return json.dumps(schema(file), indent=1, ensure_ascii=False) + "\n"


def _record(name: str) -> type:
    owners = (exporters_contract, validators_contract, job, manifest, attestations, description, steps)
    record: type = next(getattr(owner, name) for owner in owners if hasattr(owner, name))
    return record


def _described(record: type, body: Mapping[str, Any]) -> dict[str, Any]:
    """Adds the sentences of a record's docstring to its schema, as the descriptions of the record and its keys."""
    if "properties" not in body:
        return dict(body)
    summary = inspect.cleandoc(record.__doc__ or "").partition(_ATTRIBUTES)[0]
    described = {
        name: " ".join(match["text"].split())
        for owner in reversed(record.__mro__)
        for match in _ATTRIBUTE.finditer(inspect.cleandoc(owner.__doc__ or "").partition(_ATTRIBUTES)[2])
        for name in match["names"].split(", ")
    }
    properties = {
        # Defaults are for Python; the file has every key. A title would only repeat the key.
        name: {key: value for key, value in field.items() if key not in {"default", "title"}}
        | ({"description": described[name]} if name in described else {})
        for name, field in body["properties"].items()
    }
    return {
        **body,
        "description": " ".join(summary.split()),
        "properties": properties,
        "required": list(properties),
    }


if __name__ == "__main__":
    sys.stdout.write(text(next((file for file in get_args(File) if sys.argv[1:] == [file]), "release")))
