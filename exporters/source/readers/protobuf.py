"""Reads protocol buffers without their library: the fields of a message whose declared lengths are true.

In: bytes. Out: (number, value) pairs, where a value is an integer or a view of bytes. Nothing is copied, and a
declared length allocates nothing. Encoding: https://protobuf.dev/programming-guides/encoding/
"""

from collections.abc import Iterator

Value = int | memoryview
MAX_FIELDS = 20_000
"""Fields that are read of one message; a caller that reads a list reads only its beginning."""
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_LONGEST_VARINT = 10
_SIGN, _WRAP = 1 << 63, 1 << 64


def fields(message: memoryview) -> Iterator[tuple[int, Value]]:
    """Yields the fields of one message, in its order.

    Raises:
        ValueError: it ends early, or is no protocol buffer.
    """
    at = count = 0
    while at < len(message):
        count += 1
        if count > MAX_FIELDS:
            raise ValueError(f"a message has more than {MAX_FIELDS:,} fields")
        key, at = varint(message, at)
        number, kind = key >> 3, key & 7
        if number == 0:
            raise ValueError("a field has the number 0")
        if kind == _VARINT:
            value, at = varint(message, at)
            yield number, value
            continue
        if kind == _BYTES:
            length, at = varint(message, at)
        elif kind in (_FIXED32, _FIXED64):
            length = 4 if kind == _FIXED32 else 8
        else:
            raise ValueError(f"field {number} has the unknown wire type {kind}")
        if length > len(message) - at:
            raise ValueError(f"field {number} declares {length:,} bytes and {len(message) - at:,} are left")
        part = message[at : at + length]
        at += length
        yield number, part if kind == _BYTES else int.from_bytes(part, "little")


def varint(data: memoryview, at: int) -> tuple[int, int]:
    """Returns a number and the position of the byte after it.

    Raises:
        ValueError: the bytes end before the number does, or it is longer than ten bytes.
    """
    value = 0
    for index in range(_LONGEST_VARINT):
        if at + index >= len(data):
            raise ValueError("a number ends early")
        byte = data[at + index]
        value |= (byte & 0x7F) << (7 * index)
        if byte < 0x80:  # noqa: PLR2004 - the last byte of a number
            return value, at + index + 1
    raise ValueError(f"a number takes more than {_LONGEST_VARINT} bytes")


def signed(value: int) -> int:
    """Returns the signed value of a 64-bit varint (two's complement)."""
    return value - _WRAP if value >= _SIGN else value


def part(message: memoryview, number: int) -> Iterator[memoryview]:
    """Yields the values of one field that holds bytes, text or messages."""
    for found, value in fields(message):
        if found == number and isinstance(value, memoryview):
            yield value


def number(message: memoryview, wanted: int, default: int = 0) -> int:
    """Returns the last value of one field that holds a number."""
    values = [value for found, value in fields(message) if found == wanted and isinstance(value, int)]
    return values[-1] if values else default
