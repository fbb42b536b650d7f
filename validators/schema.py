"""The JSON Schema of `release.json`, generated from the records of `validators.manifest`.

`python -m validators.schema > docs/release.schema.json` publishes it; a test keeps the two in step.
"""

import inspect
import json
import re
import sys
from collections.abc import Mapping
from typing import Any

from exporters import contract as exporters_contract
from validators import contract as validators_contract
from validators import manifest
from validators.manifest import SCHEMA_VERSION, Manifest, adapter

_ATTRIBUTE = re.compile(r"^    (?=\S)(?P<names>[a-z_0-9, ]+): (?P<text>.+(?:\n {8,}.+)*)", re.MULTILINE)


def schema() -> dict[str, Any]:
    """The schema (draft 2020-12) that every `release.json` of this schema version fulfils.

    Every key is required and no other is allowed: a release says what it claims, and nothing is left to a default.
    """
    generated = adapter().json_schema(mode="serialization")
    records = {name: _described(_record(name), body) for name, body in generated.pop("$defs").items()}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **_described(Manifest, generated),
        "title": f"paritygate release.json, schema version {SCHEMA_VERSION}",
        "$defs": dict(sorted(records.items())),
    }


def text() -> str:
    """The schema as it is published, with a newline at the end."""
    return json.dumps(schema(), indent=1, ensure_ascii=False) + "\n"


def _record(name: str) -> type:
    owners = (exporters_contract, validators_contract, manifest)
    record: type = next(getattr(owner, name) for owner in owners if hasattr(owner, name))
    return record


def _described(record: type, body: Mapping[str, Any]) -> dict[str, Any]:
    """A record's schema with the sentences of its docstring where a reader looks for them."""
    docstring = inspect.cleandoc(record.__doc__ or "")
    summary, _, attributes = docstring.partition("\n\nAttributes:\n")
    described = {
        name: " ".join(match["text"].split())
        for match in _ATTRIBUTE.finditer(attributes)
        for name in match["names"].split(", ")
    }
    properties = {
        # A default is what Python fills in; in the file every key stands. A title would only repeat the key.
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
    sys.stdout.write(text())
