"""Checks the bytes of a zip container: its signature, its end record, and the places of its members.

In: an open file. Out: where the directory and every member's data begin, or BadInput. Two readers can see different
things in a manipulated zip (a prefix, a second directory, overlapping members), so whatever Keras never writes is
refused, not interpreted. Records: PKWARE's APPNOTE.TXT, sections 4.3.7, 4.3.14 to 4.3.16.
"""

import os
import struct
import zipfile
from pathlib import Path
from typing import IO

from exporters.errors import BadInput
from exporters.source.readers.not_a_zip import recognise

MAX_FILE = 64 << 30
"""Bytes of a whole file. The largest models that fit a conversion's memory are far below."""
MAX_DIRECTORY = 4 << 20
"""Bytes of the zip's directory: about 40,000 members, where a model with many vocabularies has some hundreds."""
BOMB_FLOOR = 16 << 20
MAX_EXPANSION = 100
"""What unpacks to more than BOMB_FLOOR bytes may be at most MAX_EXPANSION times what is stored. Keras stores its
members uncompressed; its own reader has the same factor (`_ZIP_MEMBER_MAX_EXPANSION`) with a floor of 256 MiB."""

_END = struct.Struct("<4s4H2LH")
_END_SIGNATURE = b"PK\x05\x06"
_LOCAL = struct.Struct("<4s5H3L2H")
_LOCAL_SIGNATURE = b"PK\x03\x04"
_ZIP64_LOCATOR = struct.Struct("<4sLQL")
_ZIP64_END = struct.Struct("<4sQ2H2L4Q")
_LARGEST_DESCRIPTOR = 24
_HAS_DESCRIPTOR = 0x8
RESAVE = "Save the model again with Keras 3: model.save('model.keras')."


def check_signature(path: Path, stream: IO[bytes]) -> None:
    """Checks that the file begins with a zip member; raises BadInput naming what it is instead."""
    size = os.fstat(stream.fileno()).st_size
    if size == 0:
        raise BadInput(f"{path}: is empty (0 bytes)", next_step="Copy or download the file again.")
    if size > MAX_FILE:
        raise BadInput(f"{path}: has {size:,} bytes; at most {MAX_FILE:,} are read")
    head = stream.read(512)
    if head.startswith(_LOCAL_SIGNATURE):
        return
    if head.startswith(_END_SIGNATURE):
        raise BadInput(f"{path}: is a zip archive with nothing in it", next_step=RESAVE)
    if zipfile.is_zipfile(stream):
        raise BadInput(f"{path}: has other bytes before its zip archive; a `.keras` file has none", next_step=RESAVE)
    noun, next_step = recognise(head)
    raise BadInput(f"{path}: is {noun}; expected a `.keras` or HDF5 file or a SavedModel folder", next_step=next_step)


def check_end(path: Path, stream: IO[bytes]) -> int:
    """Checks that the end record is last and accounts for all bytes before it. Returns the directory's start."""
    size = os.fstat(stream.fileno()).st_size
    record = _read_at(stream, max(size - _END.size, 0), _END.size)
    if not record.startswith(_END_SIGNATURE) or record[-2:] != b"\0\0":
        near_end = _read_at(stream, max(size - _END.size - 0xFFFF, 0), _END.size + 0xFFFF)
        if _END_SIGNATURE in near_end:
            raise BadInput(f"{path}: has other bytes after its zip archive; a `.keras` file has none", next_step=RESAVE)
        raise BadInput(
            f"{path}: is a truncated zip archive (its directory, which stands at the end, is missing)",
            next_step="Copy or download the file again.",
        )
    _, disk, first_disk, _, count, length, start, _ = _END.unpack(record)
    end = size - _END.size
    if disk or first_disk:
        raise BadInput(f"{path}: is one part of a split zip archive", next_step="Join the parts first.")
    if count == 0xFFFF or 0xFFFFFFFF in (length, start):  # noqa: PLR2004 - zip64: the true values are elsewhere
        length, start, end = _zip64_end(path, stream, end)
    if length > MAX_DIRECTORY:
        raise BadInput(f"{path}: the zip directory has {length:,} bytes; at most {MAX_DIRECTORY:,} are read")
    if start + length != end:
        raise BadInput(
            f"{path}: the zip directory does not stand where the archive says (bytes were put before or between)",
            next_step=RESAVE,
        )
    return int(start)


def _zip64_end(path: Path, stream: IO[bytes], end: int) -> tuple[int, int, int]:
    """Returns length, start and end of the directory of an archive beyond 4 GiB."""
    try:
        signature, _, where, _ = _ZIP64_LOCATOR.unpack(_read_at(stream, end - _ZIP64_LOCATOR.size, _ZIP64_LOCATOR.size))
        record, *_, length, start = _ZIP64_END.unpack(_read_at(stream, where, _ZIP64_END.size))
    except (struct.error, OSError, ValueError) as error:
        raise BadInput(f"{path}: the zip64 end record is damaged", next_step=RESAVE) from error
    if signature != b"PK\x06\x07" or record != b"PK\x06\x06" or where + _ZIP64_END.size + _ZIP64_LOCATOR.size != end:
        raise BadInput(f"{path}: the zip64 end record is damaged", next_step=RESAVE)
    return length, start, where


def _read_at(stream: IO[bytes], offset: int, length: int) -> bytes:
    stream.seek(offset)
    return stream.read(length)


def check_layout(path: Path, stream: IO[bytes], infos: list[zipfile.ZipInfo], directory: int) -> dict[str, int]:
    """Checks that members follow one another from the first byte to the directory. Returns where their data begins."""
    offsets = {}
    earliest = latest = 0  # where the next header may stand: a member's sizes may be repeated behind its data
    for info in sorted(infos, key=lambda info: info.header_offset):
        header = _read_at(stream, info.header_offset, _LOCAL.size)
        if len(header) < _LOCAL.size or not header.startswith(_LOCAL_SIGNATURE):
            raise BadInput(f"{path}: member {info.filename!r} has no header where the directory says", next_step=RESAVE)
        if not earliest <= info.header_offset <= latest:
            raise BadInput(f"{path}: member {info.filename!r} overlaps another or hides bytes", next_step=RESAVE)
        *_, name_length, extra_length = _LOCAL.unpack(header)
        offsets[info.filename] = info.header_offset + _LOCAL.size + name_length + extra_length
        earliest = offsets[info.filename] + info.compress_size
        latest = earliest + (_LARGEST_DESCRIPTOR if info.flag_bits & _HAS_DESCRIPTOR else 0)
    if not earliest <= directory <= latest:
        raise BadInput(f"{path}: bytes between the last member and the zip directory belong to none", next_step=RESAVE)
    return offsets
