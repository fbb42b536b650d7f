"""Parses JSON without ambiguity: bounded size and depth, no repeated keys, errors with line and column.

In: the bytes of a JSON member. Out: its object. The bounds are checked by scanning the bytes before any parser sees
them, so a text of 200,000 brackets costs milliseconds and no stack.
"""

import json
import re
from typing import Any

from exporters.errors import BadInput

MAX_BYTES = 64 << 20
"""Bytes of one JSON member: a configuration with constants of millions of numbers still fits."""
MAX_DEPTH = 128
"""Nested brackets. A model inside a model takes three; Python's own parser gives up near 1,000."""
MAX_VALUES = 2_000_000
"""Brackets and commas together, which bounds the parsed objects to some 200 MB."""

# A whole string (so that brackets inside do not count; also one that never ends), an opening bracket, a closing one, or
# what lies between.
_TOKEN = re.compile(rb'"(?:[^"\\]++|\\(?:.|\Z))*+(?:"|\Z)|([\[{])|([\]}])|([^"\[\]{}]++)', re.DOTALL)
_OPENING, _CLOSING, _BETWEEN = 1, 2, 3


def parse_object(where: str, data: bytes) -> dict[str, Any]:
    """Parses the text of one JSON object.

    Args:
        where: the file and member, for messages.
        data: the member's bytes.

    Raises:
        BadInput: not UTF-8, too large, too deep, a repeated key, broken JSON, or not an object.
    """
    check_bounds(where, data)
    try:
        value = json.loads(data.decode("utf-8"), object_pairs_hook=lambda pairs: _unique(where, pairs))
    except json.JSONDecodeError as error:
        raise BadInput(
            f"{where} is broken JSON: {error.msg} at line {error.lineno}, column {error.colno}",
            next_step="Copy or download the file again, or save the model again.",
        ) from error
    except ValueError as error:  # not UTF-8, or a number of more than 4,300 digits
        raise BadInput(f"{where} is broken JSON: {error}") from error
    if not isinstance(value, dict):
        raise BadInput(f"{where} holds a JSON {type(value).__name__}; expected an object")
    return value


def check_bounds(where: str, data: bytes) -> None:
    """Raises BadInput when the text is too large, too deep or holds too many values to be parsed safely."""
    check_size(where, len(data))
    depth = values = 0
    for token in _TOKEN.finditer(data):
        if token.lastindex == _OPENING:
            depth += 1
            values += 1
            if depth > MAX_DEPTH:
                raise BadInput(f"{where} is nested more than {MAX_DEPTH} levels deep (at byte {token.start():,})")
        elif token.lastindex == _CLOSING:
            depth -= 1
        elif token.lastindex == _BETWEEN:
            values += token[_BETWEEN].count(b",")
        if values > MAX_VALUES:
            raise BadInput(f"{where} holds more than {MAX_VALUES:,} values")


def check_size(where: str, size: int) -> None:
    """Raises BadInput for a text of more than `MAX_BYTES` bytes."""
    if size > MAX_BYTES:
        raise BadInput(f"{where} has {size:,} bytes; at most {MAX_BYTES:,} are read")


def _unique(where: str, pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) < len(pairs):
        seen: set[str] = set()
        for key, _ in pairs:
            if key in seen:
                raise BadInput(f"{where} has the key {key!r} twice in one object, so readers may disagree about it")
            seen.add(key)
    return value
