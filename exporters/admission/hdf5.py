"""The HDF5 file in the archive: every dataset, found and checked without leaving the file.

In: an open `Archive`. Out: `Stored` rows. Only hard links are followed, each object once, so nothing outside the
archive is ever opened; every declared size is held against what is stored before anything is allocated. h5py's
low-level interface is used because the friendly one takes 0.4 ms per dataset, and models have thousands.
"""

import io
import math
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO, Any

from exporters.admission.archive import WEIGHTS, Archive
from exporters.admission.printable import printable
from exporters.admission.zip_records import BOMB_FLOOR, MAX_EXPANSION
from exporters.errors import BadInput

MAX_OBJECTS = 500_000
MAX_DEPTH = 128
"""Groups inside groups; a model inside a model takes two or three."""
MAX_CHUNK = 64 << 20
"""Bytes of one compressed chunk, which must be unpacked whole to read any of it."""
_FILTERS = {1: "gzip", 2: "shuffle", 3: "fletcher32", 32000: "lzf"}
_NUMBERS = "fiubcV"
"""NumPy kinds of plain numbers; V: bfloat16, which Keras stores as opaque pairs of bytes."""
_RESAVE = "Save the model again with Keras 3: model.save('model.keras')."


@dataclass(frozen=True, slots=True)
class Stored:
    """One dataset.

    Attributes:
        path: where it stands, e.g. `layers/dense/vars/0`.
        shape: its axis lengths.
        dtype: NumPy's element type.
        dataset: the open `h5py.Dataset`'s low-level identifier.
    """

    path: str
    shape: tuple[int, ...]
    dtype: Any
    dataset: Any

    @property
    def elements(self) -> int:
        return math.prod(self.shape)

    @property
    def size(self) -> int:
        return self.elements * int(self.dtype.itemsize)


@contextmanager
def datasets(archive: Archive, wanted: Callable[[str], bool] = lambda _: True) -> Iterator[Iterator[Stored]]:
    """Every dataset of the weights file, checked; the file is open while the context is.

    Args:
        archive: the open archive.
        wanted: whether to look at the group or dataset of this path at all.

    Raises:
        BadInput: no HDF5 file, a link, an external or virtual dataset, or a size that cannot be true.
    """
    import h5py

    with _plain_bytes(archive) as stream:
        with reading(archive, "the file itself"):
            file = h5py.File(stream, "r")
        with file:
            yield _walk(archive, file, wanted)


@contextmanager
def reading(archive: Archive, path: str) -> Iterator[None]:
    """Turns what h5py raises over damaged structures into BadInput naming the group or dataset."""
    try:
        yield
    except (KeyError, OSError, OverflowError, RuntimeError, TypeError, ValueError) as error:
        raise _refused(archive, path, f"cannot be read ({error})") from error


@contextmanager
def _plain_bytes(archive: Archive) -> Iterator[IO[bytes]]:
    """The weights as a seekable stream: a window on the archive where they are stored, else unpacked to scratch."""
    info = archive.members[WEIGHTS]
    if info.compress_type == zipfile.ZIP_STORED:
        yield io.BufferedReader(_Window(archive.stream, archive.offsets[WEIGHTS], info.file_size))
        return
    with tempfile.TemporaryFile() as scratch:  # bounded by MAX_EXPANSION times the archive
        for chunk in archive.chunks(WEIGHTS):
            scratch.write(chunk)
        scratch.seek(0)
        yield scratch


class _Window(io.RawIOBase):
    """A read-only part of an open file, as a file of its own."""

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


def _walk(archive: Archive, file: Any, wanted: Callable[[str], bool]) -> Iterator[Stored]:
    import h5py

    with reading(archive, "the root group"):
        seen = {h5py.h5o.get_info(file.id).addr}
        pending = [(h5py.h5o.open(file.id, b"/"), "")]
    total = 0
    while pending:
        group, prefix = pending.pop()
        with reading(archive, prefix or "the root group"):
            names = list(group)
        for name in names:
            path = f"{prefix}{name.decode('utf-8', 'backslashreplace')}"
            if not wanted(path):
                continue
            item, address = _follow(archive, group, name, path)
            if address in seen:
                raise _refused(archive, path, "is linked twice")
            seen.add(address)
            if len(seen) > MAX_OBJECTS or path.count("/") > MAX_DEPTH:
                raise _refused(archive, path, f"is beyond {MAX_OBJECTS:,} objects or {MAX_DEPTH} levels of groups")
            if isinstance(item, h5py.h5g.GroupID):
                pending.append((item, f"{path}/"))
                continue
            stored = _checked(archive, path, item)
            total += stored.size
            _check_expansion(archive, "all weights together", total, archive.members[WEIGHTS].file_size)
            yield stored


def _follow(archive: Archive, group: Any, name: bytes, path: str) -> tuple[Any, int]:
    """Opens what a hard link names, and says where in the file it is."""
    import h5py

    with reading(archive, path):
        link = group.links.get_info(name)
        if link.type != h5py.h5l.TYPE_HARD:
            target = group.links.get_val(name)
            raise _refused(archive, path, f"is a link to {target!r}; valid are groups and datasets of this file")
        item = h5py.h5o.open(group, name)
    if not isinstance(item, h5py.h5g.GroupID | h5py.h5d.DatasetID):
        raise _refused(archive, path, f"is a {type(item).__name__}; valid are groups and datasets")
    return item, link.u


def _checked(archive: Archive, path: str, dataset: Any) -> Stored:
    """Holds what a dataset declares against what is stored of it."""
    import h5py

    with reading(archive, path):
        shape, dtype = dataset.shape, dataset.dtype
        properties = dataset.get_create_plist()
        stored, layout = dataset.get_storage_size(), properties.get_layout()
    if properties.get_external_count():
        raise _refused(archive, path, f"keeps its values in another file, {properties.get_external(0)[0]!r}")
    if layout == h5py.h5d.VIRTUAL:
        raise _refused(archive, path, "is virtual: its values are in other files")
    if shape is None or dtype.kind not in _NUMBERS or dtype.names:
        raise _refused(archive, path, f"holds {dtype}; valid are plain numbers")
    declared = math.prod(shape) * dtype.itemsize
    if layout == h5py.h5d.CHUNKED:
        _check_chunks(archive, path, properties, dtype.itemsize)
    elif declared > stored:
        raise _refused(archive, path, f"declares shape {shape} ({declared:,} bytes) and stores {stored:,} bytes")
    _check_expansion(archive, path, declared, stored)
    return Stored(path, shape, dtype, dataset)


def _check_chunks(archive: Archive, path: str, properties: Any, itemsize: int) -> None:
    for index in range(properties.get_nfilters()):
        if (number := properties.get_filter(index)[0]) not in _FILTERS:
            valid = ", ".join(_FILTERS.values())
            raise _refused(archive, path, f"is packed with HDF5 filter {number}; valid are {valid}")
    if math.prod(properties.get_chunk()) * itemsize > MAX_CHUNK:
        raise _refused(archive, path, f"has chunks of more than {MAX_CHUNK:,} bytes")


def _check_expansion(archive: Archive, what: str, declared: int, stored: int) -> None:
    if declared > BOMB_FLOOR and declared > MAX_EXPANSION * stored:
        raise _refused(
            archive,
            what,
            f"declares {declared:,} bytes, more than {MAX_EXPANSION} times the {stored:,} that are stored",
        )


def _refused(archive: Archive, path: str, problem: str) -> BadInput:
    return BadInput(f"{archive.path}: in {WEIGHTS}, {printable(path)} {problem}", next_step=_RESAVE)
