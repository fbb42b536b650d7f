"""Checks that a zip archive is exactly what Keras writes, before anything in it is trusted.

In: the path of a `.keras` file. Out: an open `Archive` whose members have checked names, sizes and places.
`zip_records` reads the container's records, the standard library the rest.

Keras' own writer and reader: keras/src/saving/saving_lib.py (`_save_model_to_fileobj`, `_load_model_from_fileobj`).
"""

import io
import stat
import struct
import tempfile
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Any

from exporters.errors import BadInput
from exporters.source.readers.hdf5 import Hdf5
from exporters.source.readers.zip_records import (
    BOMB_FLOOR,
    MAX_EXPANSION,
    RESAVE,
    check_end,
    check_layout,
    check_signature,
)
from exporters.source.untrusted_files import regular_file

METADATA = "metadata.json"
CONFIG = "config.json"
WEIGHTS = "model.weights.h5"
ASSETS = "assets/"

_ENCRYPTED = 0x1 | 0x40 | 0x2000
_CHUNK = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Archive:
    """Reads an open archive with Keras' layout.

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
        """Yields the member's bytes, unpacked, at most 1 MiB at a time.

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

    @property
    def weights(self) -> Hdf5:
        """Returns the weights file inside."""
        where = f"{self.path}: in {WEIGHTS},"
        return Hdf5(where=where, size=self.members[WEIGHTS].file_size, stream=self._plain_weights)

    @contextmanager
    def _plain_weights(self) -> Iterator[IO[bytes]]:
        """Opens the weights as a part of the archive where they are uncompressed, else unpacked to a temporary file."""
        info = self.members[WEIGHTS]
        if info.compress_type == zipfile.ZIP_STORED:
            yield io.BufferedReader(_Window(self.stream, self.offsets[WEIGHTS], info.file_size))
            return
        with tempfile.TemporaryFile() as scratch:  # bounded by MAX_EXPANSION times the archive
            for chunk in self.chunks(WEIGHTS):
                scratch.write(chunk)
            scratch.seek(0)
            yield scratch

    def verify(self) -> None:
        """Reads every member against its checksum; raises BadInput naming the first that is damaged."""
        for name in self.members:
            for _ in self.chunks(name):
                pass


class _Window(io.RawIOBase):
    """Shows a part of an open file as a read-only file."""

    def __init__(self, stream: IO[bytes], start: int, size: int) -> None:
        super().__init__()
        self._stream, self._start, self._size, self._at = stream, start, size, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        self._at = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        return self._at

    def readinto(self, buffer: Any, /) -> int:
        length = max(min(len(buffer), self._size - self._at), 0)
        self._stream.seek(self._start + self._at)
        data = self._stream.read(length)
        buffer[: len(data)] = data
        self._at += len(data)
        return len(data)


@contextmanager
def opened(path: Path) -> Iterator[Archive]:
    """Opens a `.keras` file after checking everything about its container.

    Raises:
        BadInput: the file is missing, of another kind, truncated or doctored; the message names the member.
    """
    with regular_file(path) as stream:
        check_signature(path, stream)
        directory = check_end(path, stream)
        try:
            archive = zipfile.ZipFile(stream)
        except (zipfile.BadZipFile, ValueError, struct.error, NotImplementedError) as error:
            raise BadInput(f"{path}: the zip directory is damaged ({error})", next_step=RESAVE) from error
        with archive:
            infos = archive.infolist()
            _check_names(path, infos)
            for info in infos:
                _check_member(path, info)
            _check_expansion(path, infos)
            offsets = check_layout(path, stream, infos, directory)
            members = {info.filename: info for info in infos if not info.is_dir()}
            _check_complete(path, members)
            yield Archive(path=path, stream=stream, zip=archive, members=members, offsets=offsets)


def _check_names(path: Path, infos: list[zipfile.ZipInfo]) -> None:
    counts = Counter(info.filename for info in infos)
    for name, count in counts.items():
        if count > 1:
            raise BadInput(f"{path}: member {name!r} occurs {count} times", next_step=RESAVE)
    for info in infos:
        _check_name(path, info)
    files = {info.filename for info in infos if not info.is_dir()}
    for name in files:
        if clash := next((str(p) for p in PurePosixPath(name).parents if str(p) in files), None):
            raise BadInput(f"{path}: member {clash!r} is both a file and the folder of {name!r}", next_step=RESAVE)


def _check_name(path: Path, info: zipfile.ZipInfo) -> None:
    """Allows only Keras' own members, and none that would leave the folder it is unpacked into (zip slip)."""
    name = info.orig_filename  # as stored: the standard library cuts `filename` at a NUL
    steps = name.removesuffix("/").split("/")
    if name.startswith("/") or "\\" in name or "\0" in name or name[1:2] == ":" or {"", ".", ".."} & set(steps):
        raise BadInput(f"{path}: member {name!r} has an unsafe name that may lead out of the archive", next_step=RESAVE)
    if name not in (METADATA, CONFIG, WEIGHTS) and not name.startswith(ASSETS):
        raise BadInput(
            f"{path}: member {name!r} does not belong in a `.keras` archive; "
            f"valid are {METADATA}, {CONFIG}, {WEIGHTS} and {ASSETS}...",
            next_step=RESAVE,
        )


def _check_member(path: Path, info: zipfile.ZipInfo) -> None:
    name = info.filename
    kind = stat.S_IFMT(info.external_attr >> 16)
    if kind not in (0, stat.S_IFREG, stat.S_IFDIR) or (kind == stat.S_IFDIR and not info.is_dir()):
        what = "a symbolic link" if kind == stat.S_IFLNK else "no regular file"
        raise BadInput(f"{path}: member {name!r} is {what}", next_step=RESAVE)
    if info.flag_bits & _ENCRYPTED:
        raise BadInput(
            f"{path}: member {name!r} is encrypted", next_step="Unpack it with its password and zip it again."
        )
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise BadInput(
            f"{path}: member {name!r} is packed with zip method {info.compress_type}; valid are stored and deflated",
            next_step=RESAVE,
        )
    if info.compress_type == zipfile.ZIP_STORED and info.file_size != info.compress_size:
        raise BadInput(
            f"{path}: member {name!r} is stored in {info.compress_size:,} bytes and declares {info.file_size:,}",
            next_step=RESAVE,
        )
    if info.is_dir() and info.file_size:
        raise BadInput(f"{path}: folder {name!r} has content", next_step=RESAVE)


def _check_expansion(path: Path, infos: list[zipfile.ZipInfo]) -> None:
    """Refuses decompression bombs, one member or spread over many."""
    # The sum counts too: many members below the floor would unpack to as much as one above it.
    rows = [(f"member {info.filename!r}", info.file_size, info.compress_size) for info in infos]
    rows.append(("the archive", sum(row[1] for row in rows), sum(row[2] for row in rows)))
    for what, size, stored in rows:
        if size > BOMB_FLOOR and size > MAX_EXPANSION * stored:
            raise BadInput(
                f"{path}: {what} unpacks {stored:,} bytes into {size:,}, more than {MAX_EXPANSION} times (a zip bomb)",
                next_step=RESAVE,
            )


def _check_complete(path: Path, members: Mapping[str, zipfile.ZipInfo]) -> None:
    purposes = {METADATA: "which Keras wrote it", CONFIG: "the architecture", WEIGHTS: "the weights"}
    for name, purpose in purposes.items():
        if name not in members:
            raise BadInput(
                f"{path}: has no {name} ({purpose}); it holds {', '.join(sorted(members)) or 'nothing'}",
                next_step=RESAVE,
            )
