"""`model.weights.h5`: sizes, layout and finiteness of the weights, without loading them into a model.

In: an open `Archive`. Out: a `WeightFacts`, or BadInput naming the layer. Groups are followed through hard links only,
so nothing outside the archive is ever opened, and every declared size is held against what is stored before anything
is allocated. Keras 3 stores `layers/NAME/vars/N` (nested models below their layer),
`optimizer/vars/N` and the metrics under the attribute that holds them; a `vars` group carries its layer's true name.
"""

import io
import math
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any

import numpy as np

from exporters.admission.archive import BOMB_FLOOR, MAX_EXPANSION, WEIGHTS, Archive
from exporters.errors import BadInput

if TYPE_CHECKING:
    import h5py

MAX_OBJECTS = 500_000
MAX_DEPTH = 128
"""Groups inside groups; a model inside a model takes two or three."""
MAX_CHUNK = 64 << 20
"""Bytes of one compressed chunk, which must be unpacked whole to read any of it."""
_SLAB = 8 << 20
"""Bytes read at a time while looking for NaN."""
_FILTERS = {1: "gzip", 2: "shuffle", 3: "fletcher32", 32000: "lzf"}
_METRICS = ("metrics", "_metrics", "compile_metrics", "_compile_metrics")
_BFLOAT16_EXPONENT = 0x7F80
_RESAVE = "Save the model again with Keras 3: model.save('model.keras')."


@dataclass(frozen=True, slots=True, kw_only=True)
class WeightFacts:
    """Sizes of what the file stores; the fields are those of `ModelFacts`."""

    parameters: int
    parameter_bytes: int
    optimizer_bytes: int
    has_optimizer_state: bool


@dataclass(frozen=True, slots=True)
class _Stored:
    """One dataset: its path in the file, what it holds, the open dataset."""

    path: str
    elements: int
    size: int
    dataset: Any

    @property
    def role(self) -> str:
        """`optimizer`, `metrics`, `seed` for what inference does not use, else `weight`.

        A group below `layers` is named after a layer, whatever it is called.
        """
        steps = self.path.split("/")
        for parent, step in zip(["", *steps], steps, strict=False):
            if parent == "layers":
                continue
            if step == "optimizer":
                return "optimizer"
            if step in _METRICS or step.endswith("loss_tracker"):
                return "metrics"
            if step == "seed_generator":
                return "seed"
        return "weight"


def measure(archive: Archive) -> WeightFacts:
    """Adds up what the file stores.

    Raises:
        BadInput: no HDF5 file, a link or an external or virtual dataset in it, or sizes that cannot be true.
    """
    with _datasets(archive) as stored:
        rows = [(item.role, item.elements, item.size) for item in stored]
    weights = [row for row in rows if row[0] == "weight"]
    return WeightFacts(
        parameters=sum(elements for _, elements, _ in weights),
        parameter_bytes=sum(size for *_, size in weights),
        optimizer_bytes=sum(size for role, _, size in rows if role == "optimizer"),
        has_optimizer_state=any(role == "optimizer" for role, *_ in rows),
    )


def check_finite(archive: Archive) -> None:
    """Raises BadInput naming the first weight with a NaN or infinite value and how many it has."""
    with _datasets(archive) as stored:
        for item in stored:
            if item.role != "weight":
                continue
            try:
                bad = sum(_nonfinite(item.dataset[slab]) for slab in _slabs(item.dataset.shape, item.dataset.dtype))
            except OSError as error:
                raise BadInput(f"{archive.path}: weight {item.path} cannot be read ({error})") from error
            if bad:
                raise BadInput(
                    f"{archive.path}: weight {item.path} of layer {_layer(item.dataset)} holds {bad:,} NaN or infinite "
                    f"values among {item.elements:,}",
                    next_step="Training diverged: take an earlier checkpoint, or lower the learning rate and train again.",
                )


def _layer(dataset: "h5py.Dataset") -> str:
    """The path of the layer's own names, `encoder/dense`, from the names that Keras keeps beside the weights."""
    names: list[str] = []
    group, steps = dataset.file, dataset.name.strip("/").split("/")[:-1]
    for parent, step in zip(["", *steps], steps, strict=False):
        group = group[step]
        if parent in ("layers", "_layer_checkpoint_dependencies") or (parent == "" and step not in ("layers", "vars")):
            given = group["vars"].attrs.get("name") if "vars" in group else None
            names.append(given if isinstance(given, str) else step)
    return "/".join(names) or "(the model itself)"


@contextmanager
def _datasets(archive: Archive) -> Iterator[Iterator[_Stored]]:
    """Every dataset of the weights file, checked; the file is open while the context is."""
    import h5py

    with _plain_bytes(archive) as stream:
        try:
            file = h5py.File(stream, "r")
        except OSError as error:
            raise BadInput(
                f"{archive.path}: member {WEIGHTS} is no readable HDF5 file ({error})", next_step=_RESAVE
            ) from error
        with file:
            yield _walk(archive, file)


@contextmanager
def _plain_bytes(archive: Archive) -> Iterator[IO[bytes]]:
    """The weights as a seekable stream: a window on the archive where they are stored, else unpacked to scratch."""
    info = archive.members[WEIGHTS]
    if info.compress_type == zipfile.ZIP_STORED:
        yield io.BufferedReader(_Window(archive.stream, archive.offsets[WEIGHTS], info.file_size))
        return
    with tempfile.TemporaryFile() as scratch:  # its size is bounded: see archive.MAX_EXPANSION
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


def _walk(archive: Archive, file: "h5py.File") -> Iterator[_Stored]:
    """Follows hard links from the root, each object once, and checks each dataset before it is given out."""
    import h5py

    seen = {h5py.h5o.get_info(file.id).addr}
    total = 0
    pending = [(file, "")]
    while pending:
        group, prefix = pending.pop()
        for name in group:
            path = f"{prefix}{name}"
            item = _follow(archive, group, name, path)
            address = h5py.h5o.get_info(item.id).addr
            if address in seen:
                raise _refused(archive, path, "is linked twice")
            seen.add(address)
            if len(seen) > MAX_OBJECTS or path.count("/") > MAX_DEPTH:
                raise _refused(archive, path, f"is one of more than {MAX_OBJECTS:,} objects or {MAX_DEPTH} levels")
            if isinstance(item, h5py.Group):
                pending.append((item, f"{path}/"))
                continue
            total += _check_dataset(archive, path, item)
            _check_size(archive, "all weights together", total, archive.members[WEIGHTS].file_size)
            yield _Stored(path, math.prod(item.shape), item.nbytes, item)


def _follow(archive: Archive, group: "h5py.Group", name: str, path: str) -> Any:
    import h5py

    link = group.get(name, getlink=True)
    if isinstance(link, h5py.ExternalLink):
        raise _refused(archive, path, f"is a link to another file, {link.filename!r}")
    if isinstance(link, h5py.SoftLink):
        raise _refused(archive, path, f"is a soft link to {link.path!r}")
    try:
        item = group[name]
    except (KeyError, OSError, ValueError, RuntimeError) as error:
        raise _refused(archive, path, f"cannot be read ({error})") from error
    if not isinstance(item, h5py.Group | h5py.Dataset):
        raise _refused(archive, path, f"is a {type(item).__name__}; valid are groups and datasets")
    return item


def _check_dataset(archive: Archive, path: str, dataset: "h5py.Dataset") -> int:
    """Returns the declared bytes after holding them against the stored ones."""
    if dataset.external:
        raise _refused(archive, path, f"keeps its values in another file, {dataset.external[0][0]!r}")
    if dataset.is_virtual:
        raise _refused(archive, path, "is virtual: its values are in other files")
    if dataset.shape is None or dataset.dtype.kind not in "fiubcV" or dataset.dtype.names:
        raise _refused(archive, path, f"holds {dataset.dtype}; valid are plain numbers")
    properties = dataset.id.get_create_plist()
    for index in range(properties.get_nfilters()):
        if (number := properties.get_filter(index)[0]) not in _FILTERS:
            raise _refused(
                archive, path, f"is packed with HDF5 filter {number}; valid are {', '.join(_FILTERS.values())}"
            )
    if dataset.chunks and math.prod(dataset.chunks) * dataset.dtype.itemsize > MAX_CHUNK:
        raise _refused(archive, path, f"has chunks of more than {MAX_CHUNK:,} bytes")
    declared, stored = math.prod(dataset.shape) * dataset.dtype.itemsize, dataset.id.get_storage_size()
    if not dataset.chunks and declared > stored:
        raise _refused(
            archive, path, f"declares shape {dataset.shape} ({declared:,} bytes) and stores {stored:,} bytes"
        )
    _check_size(archive, path, declared, stored)
    return declared


def _check_size(archive: Archive, what: str, declared: int, stored: int) -> None:
    if declared > BOMB_FLOOR and declared > MAX_EXPANSION * stored:
        raise _refused(
            archive,
            what,
            f"declares {declared:,} bytes, more than {MAX_EXPANSION} times the {stored:,} that are stored",
        )


def _refused(archive: Archive, path: str, problem: str) -> BadInput:
    return BadInput(f"{archive.path}: in {WEIGHTS}, {path} {problem}", next_step=_RESAVE)


def _slabs(shape: tuple[int, ...], dtype: np.dtype[Any]) -> Iterator[tuple[Any, ...]]:
    """Index expressions that cover an array in parts of about `_SLAB` bytes."""
    axis = 0
    while axis < len(shape) and math.prod(shape[axis + 1 :]) * dtype.itemsize > _SLAB:
        axis += 1
    if axis == len(shape):
        yield ()
        return
    step = max(1, _SLAB // max(1, math.prod(shape[axis + 1 :]) * dtype.itemsize))
    for outer in np.ndindex(*shape[:axis]):
        for start in range(0, shape[axis], step):
            yield (*outer, slice(start, start + step))


def _nonfinite(values: Any) -> int:
    """How many values are NaN or infinite; Keras stores bfloat16 as opaque pairs of bytes."""
    array = np.asarray(values)
    if array.dtype.kind in "fc":
        return int(array.size - np.count_nonzero(np.isfinite(array)))
    if array.dtype.kind == "V" and array.dtype.itemsize == 2:  # noqa: PLR2004 - two bytes: bfloat16
        bits = np.ascontiguousarray(array).view(np.uint16)
        return int(np.count_nonzero((bits & _BFLOAT16_EXPONENT) == _BFLOAT16_EXPONENT))
    return 0
