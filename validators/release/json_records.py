"""Writes records as JSON files and reads them strictly: every key is there, once, and has the right type.

In: frozen dataclasses, or the bytes of an untrusted file. Out: the bytes, or the record. Every key must be there once
and known, every value of its type; NaN and numbers written as text are refused (the record's `__pydantic_config__`).
"""

import json
import typing
from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from typing import Any, TypeVar

if typing.TYPE_CHECKING:
    from pydantic import TypeAdapter, ValidationError

_T = TypeVar("_T")
STRICT = {"extra": "forbid", "strict": True, "allow_inf_nan": False}
"""`__pydantic_config__` of a record and of those inside: refuses unknown keys, NaN and numbers written as text."""
Upgrade = Callable[[dict[str, Any]], dict[str, Any]]
"""Turns the JSON object of an older schema version into the current one."""
_LONGEST = 80  # characters of a wrong value in a message: a line


def encoded(record: _T, adapter: "TypeAdapter[_T]", *, version: str) -> bytes:
    """Returns the record as JSON: sorted keys, indent 1, UTF-8, a newline at the end; equal records give equal bytes.

    Raises:
        ValueError: a field holds what its type does not allow (NaN, infinity, a NumPy scalar), named with its path.
    """
    tree = adapter.dump_python(record, mode="json", warnings=False)
    raw = json.dumps(tree, indent=1, sort_keys=True, ensure_ascii=False).encode() + b"\n"
    # Serialization accepts wrong values (NaN, NumPy scalars), so the bytes are read back with the strict rules.
    decoded(raw, adapter, version=version)
    return raw


def decoded(
    raw: bytes, adapter: "TypeAdapter[_T]", *, version: str, upgrades: Mapping[str, Upgrade] = MappingProxyType({})
) -> _T:
    """Returns the record in a file's bytes.

    Args:
        raw: the file.
        adapter: of the record, which has a field `schema_version`.
        version: the current schema version.
        upgrades: older version -> the function that turns its JSON object into the current version, in place.

    Raises:
        ValueError: the message starts with the path of the field at fault.
    """
    from pydantic import ValidationError

    try:
        tree = json.loads(raw.decode(), object_pairs_hook=_unique_keys)
    except RecursionError as error:
        msg = "the JSON is nested too deeply to be a record of ours"
        raise ValueError(msg) from error
    got = tree.get("schema_version") if isinstance(tree, dict) else None
    if isinstance(got, str) and got in upgrades:
        tree = upgrades[got](tree)
        raw = json.dumps(tree).encode()
    elif got != version:
        known = " and ".join(repr(each) for each in (*sorted(upgrades), version))
        msg = f"schema_version: got {got!r}, this paritygate reads {known}"
        raise ValueError(msg)
    try:
        record = adapter.validate_json(raw)
    except ValidationError as error:
        raise ValueError(_first_fault(error, str(got))) from error
    for fault in _left_out(adapter.dump_python(record, mode="json"), tree):
        raise ValueError(fault)
    return record


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    keys: dict[str, Any] = {}
    for key, value in pairs:
        if key in keys:
            msg = f"the key {key!r} occurs twice in one object"
            raise ValueError(msg)
        keys[key] = value
    return keys


def _first_fault(error: "ValidationError", version: str) -> str:
    fault, *others = error.errors(include_url=False)
    path = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in fault["loc"]).removeprefix(".")
    got = repr(fault["input"])
    fault_text = {
        "missing": "is missing",
        "unexpected_keyword_argument": f"is not a key of schema version {version}",
    }.get(fault["type"], f"{fault['msg']}, got {got if len(got) <= _LONGEST else got[: _LONGEST - 3] + '...'}")
    return ": ".join(filter(None, (path, fault_text))) + (f" (and {len(others)} more)" if others else "")


def _left_out(expected: Any, received: Any, path: str = "") -> Iterator[str]:
    """Yields the keys that pydantic filled with a default: a record must state every value itself."""
    if isinstance(expected, dict):
        for key, value in expected.items():
            where = f"{path}.{key}".removeprefix(".")
            yield from _left_out(value, received[key], where) if key in received else [f"{where}: is missing"]
    elif isinstance(expected, list):
        for index, (value, item) in enumerate(zip(expected, received, strict=True)):
            yield from _left_out(value, item, f"{path}[{index}]")
