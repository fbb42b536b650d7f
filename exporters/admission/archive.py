"""The zip archive: is it exactly what Keras writes, before anything in it is believed?

In: the path of a `.keras` file. Out: an open `Archive` whose members are known to be named, sized and laid out
soundly. Two readers can see different things in a doctored zip (a prefix, a second directory, overlapping or repeated
members), so whatever Keras never writes is refused, not interpreted.

Keras' own writer and reader: keras/src/saving/saving_lib.py (`_save_model_to_fileobj`, `_load_model_from_fileobj`).
"""

import os
import stat
import struct
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO

from exporters.admission.recognise import recognise
from exporters.errors import BadInput

METADATA = "metadata.json"
CONFIG = "config.json"
WEIGHTS = "model.weights.h5"
ASSETS = "assets/"

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
_ENCRYPTED = 0x1 | 0x40 | 0x2000
_HAS_DESCRIPTOR = 0x8
_CHUNK = 1 << 20
_RESAVE = "Save the model again with Keras 3: model.save('model.keras')."


@dataclass(frozen=True, slots=True, kw_only=True)
class Archive:
    """An open archive that is laid out as Keras lays it out.

    Attributes:
        path: the file.
        stream: the file, open for reading.
        zip: the same, as the standard library sees it.
        members: name -> record, directories left out.
        offsets: name -> where the member's stored bytes begin in the file.
    """

    path: Path
    stream: IO[bytes]
    zip: zipfile.ZipFile
    members: Mapping[str, zipfile.ZipInfo]
    offsets: Mapping[str, int]

    def chunks(self, name: str) -> Iterator[bytes]:
        """The member's bytes, unpacked, at most 1 MiB at a time.

        Raises:
            BadInput: they are damaged; the last chunk proves the member's checksum.
        """
        try:
            with self.zip.open(self.members[name]) as member:
                while chunk := member.read(_CHUNK):
                    yield chunk
        except (zipfile.BadZipFile, zlib.error, EOFError) as error:
            raise BadInput(
                f"{self.path}: member {name} is damaged ({error})", next_step="Copy or download the file again."
            ) from error

    def verify(self) -> None:
        """Reads every member against its checksum; raises BadInput naming the first that is damaged."""
        for name in self.members:
            for _ in self.chunks(name):
                pass


@contextmanager
def opened(path: Path) -> Iterator[Archive]:
    """Opens a `.keras` file after checking everything about its container.

    Raises:
        BadInput: the file is missing, of another kind, truncated or doctored; the message names the member.
    """
    with _regular_file(path) as stream:
        _check_signature(path, stream)
        directory = _check_end(path, stream)
        try:
            archive = zipfile.ZipFile(stream)
        except (zipfile.BadZipFile, ValueError, struct.error, NotImplementedError) as error:
            raise BadInput(f"{path}: the zip directory is damaged ({error})", next_step=_RESAVE) from error
        with archive:
            infos = archive.infolist()
            _check_names(path, infos)
            for info in infos:
                _check_member(path, info)
            _check_expansion(path, infos)
            offsets = _check_layout(path, stream, infos, directory)
            members = {info.filename: info for info in infos if not info.is_dir()}
            _check_complete(path, members)
            yield Archive(path=path, stream=stream, zip=archive, members=members, offsets=offsets)


@contextmanager
def _regular_file(path: Path) -> Iterator[IO[bytes]]:
    try:
        mode = path.stat().st_mode
    except FileNotFoundError as error:
        raise BadInput(f"{path}: no such file", next_step=f"Look in {path.parent}: ls {path.parent}") from error
    except (OSError, ValueError) as error:
        raise BadInput(f"{path}: cannot be read ({error})") from error
    if stat.S_ISDIR(mode):
        raise BadInput(f"{path}: is a {_folder_kind(path)}; expected one `.keras` file", next_step=_RESAVE)
    if not stat.S_ISREG(mode):
        raise BadInput(f"{path}: is not a regular file; expected one `.keras` file")
    try:
        stream = path.open("rb")
    except OSError as error:
        raise BadInput(f"{path}: cannot be read ({error})", next_step=f"Check its permissions: ls -l {path}") from error
    with stream:
        yield stream


def _folder_kind(path: Path) -> str:
    if (path / "saved_model.pb").is_file():
        return "SavedModel folder"
    return "folder with an unpacked `.keras` archive" if (path / CONFIG).is_file() else "folder"


def _check_signature(path: Path, stream: IO[bytes]) -> None:
    size = os.fstat(stream.fileno()).st_size
    if size == 0:
        raise BadInput(f"{path}: is empty (0 bytes)", next_step="Copy or download the file again.")
    if size > MAX_FILE:
        raise BadInput(f"{path}: has {size:,} bytes; at most {MAX_FILE:,} are read")
    head = stream.read(512)
    if head.startswith(_LOCAL_SIGNATURE):
        return
    if head.startswith(_END_SIGNATURE):
        raise BadInput(f"{path}: is a zip archive with nothing in it", next_step=_RESAVE)
    if zipfile.is_zipfile(stream):
        raise BadInput(f"{path}: has other bytes before its zip archive; a `.keras` file has none", next_step=_RESAVE)
    noun, next_step = recognise(head)
    raise BadInput(f"{path}: is {noun}; expected a `.keras` archive", next_step=next_step)


def _check_end(path: Path, stream: IO[bytes]) -> int:
    """The end record: it must be the file's last bytes and account for all before it. Returns the directory's start."""
    size = os.fstat(stream.fileno()).st_size
    record = _read_at(stream, max(size - _END.size, 0), _END.size)
    if not record.startswith(_END_SIGNATURE) or record[-2:] != b"\0\0":
        near_end = _read_at(stream, max(size - _END.size - 0xFFFF, 0), _END.size + 0xFFFF)
        if _END_SIGNATURE in near_end:
            raise BadInput(
                f"{path}: has other bytes after its zip archive; a `.keras` file has none", next_step=_RESAVE
            )
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
            next_step=_RESAVE,
        )
    return int(start)


def _zip64_end(path: Path, stream: IO[bytes], end: int) -> tuple[int, int, int]:
    """Length, start and end of the directory of an archive beyond 4 GiB."""
    try:
        signature, _, where, _ = _ZIP64_LOCATOR.unpack(_read_at(stream, end - _ZIP64_LOCATOR.size, _ZIP64_LOCATOR.size))
        record, *_, length, start = _ZIP64_END.unpack(_read_at(stream, where, _ZIP64_END.size))
    except (struct.error, OSError, ValueError) as error:
        raise BadInput(f"{path}: the zip64 end record is damaged", next_step=_RESAVE) from error
    if signature != b"PK\x06\x07" or record != b"PK\x06\x06" or where + _ZIP64_END.size + _ZIP64_LOCATOR.size != end:
        raise BadInput(f"{path}: the zip64 end record is damaged", next_step=_RESAVE)
    return length, start, where


def _read_at(stream: IO[bytes], offset: int, length: int) -> bytes:
    stream.seek(offset)
    return stream.read(length)


def _check_names(path: Path, infos: list[zipfile.ZipInfo]) -> None:
    counts = Counter(info.filename for info in infos)
    for name, count in counts.items():
        if count > 1:
            raise BadInput(f"{path}: member {name!r} occurs {count} times", next_step=_RESAVE)
    for info in infos:
        _check_name(path, info)
    files = {info.filename for info in infos if not info.is_dir()}
    for name in files:
        if clash := next((str(p) for p in PurePosixPath(name).parents if str(p) in files), None):
            raise BadInput(f"{path}: member {clash!r} is both a file and the folder of {name!r}", next_step=_RESAVE)


def _check_name(path: Path, info: zipfile.ZipInfo) -> None:
    """Only Keras' own members, and none that would leave the folder it is unpacked into (zip slip)."""
    name = info.orig_filename  # as stored: the standard library cuts `filename` at a NUL
    steps = name.removesuffix("/").split("/")
    if name.startswith("/") or "\\" in name or "\0" in name or name[1:2] == ":" or {"", ".", ".."} & set(steps):
        raise BadInput(
            f"{path}: member {name!r} has an unsafe name that may lead out of the archive", next_step=_RESAVE
        )
    if name not in (METADATA, CONFIG, WEIGHTS) and not name.startswith(ASSETS):
        raise BadInput(
            f"{path}: member {name!r} does not belong into a `.keras` archive; "
            f"valid are {METADATA}, {CONFIG}, {WEIGHTS} and {ASSETS}...",
            next_step=_RESAVE,
        )


def _check_member(path: Path, info: zipfile.ZipInfo) -> None:
    name = info.filename
    kind = stat.S_IFMT(info.external_attr >> 16)
    if kind not in (0, stat.S_IFREG, stat.S_IFDIR) or (kind == stat.S_IFDIR and not info.is_dir()):
        what = "a symbolic link" if kind == stat.S_IFLNK else "no regular file"
        raise BadInput(f"{path}: member {name!r} is {what}", next_step=_RESAVE)
    if info.flag_bits & _ENCRYPTED:
        raise BadInput(
            f"{path}: member {name!r} is encrypted", next_step="Unpack it with its password and zip it again."
        )
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise BadInput(
            f"{path}: member {name!r} is packed with zip method {info.compress_type}; valid are stored and deflated",
            next_step=_RESAVE,
        )
    if info.compress_type == zipfile.ZIP_STORED and info.file_size != info.compress_size:
        raise BadInput(
            f"{path}: member {name!r} is stored in {info.compress_size:,} bytes and declares {info.file_size:,}",
            next_step=_RESAVE,
        )
    if info.is_dir() and info.file_size:
        raise BadInput(f"{path}: folder {name!r} has content of its own", next_step=_RESAVE)


def _check_expansion(path: Path, infos: list[zipfile.ZipInfo]) -> None:
    """Refuses decompression bombs, one member or spread over many."""
    rows = [(f"member {info.filename!r}", info.file_size, info.compress_size) for info in infos]
    rows.append(("the archive", sum(row[1] for row in rows), sum(row[2] for row in rows)))
    for what, size, stored in rows:
        if size > BOMB_FLOOR and size > MAX_EXPANSION * stored:
            raise BadInput(
                f"{path}: {what} unpacks {stored:,} bytes into {size:,}, more than {MAX_EXPANSION} times (a zip bomb)",
                next_step=_RESAVE,
            )


def _check_layout(path: Path, stream: IO[bytes], infos: list[zipfile.ZipInfo], directory: int) -> dict[str, int]:
    """Members stand one after the other, from the first byte to the directory. Returns where their data begins."""
    offsets = {}
    earliest = latest = 0  # where the next header may stand: a member's sizes may be repeated behind its data
    for info in sorted(infos, key=lambda info: info.header_offset):
        header = _read_at(stream, info.header_offset, _LOCAL.size)
        if len(header) < _LOCAL.size or not header.startswith(_LOCAL_SIGNATURE):
            raise BadInput(
                f"{path}: member {info.filename!r} has no header where the directory says", next_step=_RESAVE
            )
        if not earliest <= info.header_offset <= latest:
            raise BadInput(f"{path}: member {info.filename!r} overlaps another or hides bytes", next_step=_RESAVE)
        *_, name_length, extra_length = _LOCAL.unpack(header)
        offsets[info.filename] = info.header_offset + _LOCAL.size + name_length + extra_length
        earliest = offsets[info.filename] + info.compress_size
        latest = earliest + (_LARGEST_DESCRIPTOR if info.flag_bits & _HAS_DESCRIPTOR else 0)
    if not earliest <= directory <= latest:
        raise BadInput(f"{path}: bytes between the last member and the zip directory belong to none", next_step=_RESAVE)
    return offsets


def _check_complete(path: Path, members: Mapping[str, zipfile.ZipInfo]) -> None:
    purposes = {METADATA: "which Keras wrote it", CONFIG: "the architecture", WEIGHTS: "the weights"}
    for name, purpose in purposes.items():
        if name not in members:
            raise BadInput(
                f"{path}: has no {name} ({purpose}); it holds {', '.join(sorted(members)) or 'nothing'}",
                next_step=_RESAVE,
            )
