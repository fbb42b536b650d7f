"""Reads a TensorFlow checkpoint, `PREFIX.index` with `PREFIX.data-00000-of-00001`, without TensorFlow.

In: the prefix. Out: a `Weights`. The index is a sorted table of names, each with the type, shape and place of an array
in the data files; every place is compared with the files before anything is read. Format of the table: TensorFlow's
`core/lib/io/format.cc` (a footer, an index block, blocks of entries that share prefixes); fields of an entry:
`core/protobuf/tensor_bundle.proto`.
"""

import struct
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from exporters.errors import BadInput
from exporters.source.printable import printable
from exporters.source.readers.protobuf import fields, number, part, signed, varint
from exporters.source.readers.stored_model import Role, Stored, Wanted, Weights
from exporters.source.untrusted_files import regular_file

INDEX = ".index"
STATE = "checkpoint"
"""The file that names the newest checkpoint of its folder."""
MAX_INDEX = 64 << 20
"""Bytes of the index; a thousand layers take some 100 kB."""
MAX_TENSORS = 500_000
_MAGIC = struct.pack("<Q", 0xDB4775248B80FB57)
_FOOTER = 48
_TRAILER = 5  # compression and checksum behind every block
SUFFIX = "/.ATTRIBUTES/VARIABLE_VALUE"
_GRAPH = "_CHECKPOINTABLE_OBJECT_GRAPH"
_TEXT = 7
_DTYPES: Mapping[int, str] = {
    1: "<f4",
    2: "<f8",
    3: "<i4",
    4: "|u1",
    5: "<i2",
    6: "|i1",
    8: "<c8",
    9: "<i8",
    10: "|b1",
    14: "|V2",  # bfloat16
    17: "<u2",
    18: "<c16",
    19: "<f2",
    22: "<u4",
    23: "<u8",
}
"""TensorFlow's numbers of element types (types.proto) -> NumPy's."""
_SAVE = "Save it again with Keras: model.save_weights(...)."


@dataclass(frozen=True, slots=True)
class CheckpointWeights(Weights):
    """Reads the arrays of an object-based checkpoint (TensorFlow 2)."""

    prefix: Path

    @contextmanager
    def rows(self, wanted: Wanted = lambda _: True) -> Iterator[Iterator[Stored]]:
        yield _arrays(self.prefix, wanted)

    def keras_version(self) -> str:
        """Returns `2` where only Keras 2 gives objects such names; empty where both may have written them."""
        with self.rows() as rows:
            return "2" if any("layer_with_weights-" in row.path for row in rows) else ""

    def role(self, path: str) -> Role:
        steps = path.removesuffix(SUFFIX).split("/")
        if "optimizer" in steps[:2] or ".OPTIMIZER_SLOT" in steps:
            return "optimizer"
        if "keras_api" in steps or "metrics" in steps:
            return "metrics"
        if {"_random_generator", "seed_generator", "_seed_generators"} & set(steps):
            return "seed"
        return "other" if steps[-1] == "save_counter" or not path.endswith(SUFFIX) else "weight"

    def layer(self, path: str) -> str:
        return printable("/".join(path.removesuffix(SUFFIX).split("/")[:-1])) or "(the model itself)"


def files_of(prefix: Path) -> tuple[Path, ...]:
    """Returns the files of a checkpoint.

    Raises:
        BadInput: the index or a data file is missing.
    """
    shards = sorted(prefix.parent.glob(f"{_literal(prefix.name)}.data-?????-of-?????"))
    index = Path(f"{prefix}{INDEX}")
    if not index.exists() or not shards:
        missing = index.name if not index.exists() else f"{prefix.name}.data-00000-of-00001"
        raise BadInput(
            f"{prefix}: this TensorFlow checkpoint has no {missing}",
            next_step="A checkpoint is PREFIX.index and PREFIX.data-*: copy all of them.",
        )
    return (index, *shards)


def _literal(name: str) -> str:
    return "".join(f"[{char}]" if char in "*?[" else char for char in name)


def prefix_in(folder: Path) -> Path:
    """Returns the newest checkpoint of a folder, which its file `checkpoint` names.

    Raises:
        BadInput: it names none, or one outside the folder.
    """
    state = folder / STATE
    with regular_file(state) as stream:
        text = stream.read(1 << 20).decode("utf-8", "replace")
    for line in text.splitlines():
        key, colon, value = line.partition(":")
        if colon and key.strip() == "model_checkpoint_path":
            name = value.strip().strip('"')
            if not name or "\\" in name or Path(name).name != name or name in (".", ".."):
                raise BadInput(
                    f"{state}: names the checkpoint {name!r}; valid is the name of one in the same folder",
                    next_step="Give the checkpoint itself: the path of its .index file without .index.",
                )
            return folder / name
    raise BadInput(f"{state}: names no checkpoint (model_checkpoint_path)", next_step=_SAVE)


def _arrays(prefix: Path, wanted: Wanted) -> Iterator[Stored]:
    index, *shards = files_of(prefix)
    sizes = {}
    for path in shards:
        with regular_file(path) as stream:
            sizes[path] = stream.seek(0, 2)
    try:
        table = _table(_read(index))
        count = number(table.pop("", memoryview(b"")), 1)
        for name, entry in table.items():
            if wanted(name) and (row := _array(prefix, name, entry, count, sizes)) is not None:
                yield row
    except ValueError as error:
        raise BadInput(f"{index}: is not a valid checkpoint: {error}", next_step=_SAVE) from error
    if _GRAPH not in table:
        raise BadInput(
            f"{index}: this checkpoint names variables, not objects, as TensorFlow 1 wrote them",
            next_step="Restore it with the code that wrote it and save it again: model.save_weights(...).",
        )


def _read(index: Path) -> memoryview:
    with regular_file(index) as stream:
        data = stream.read(MAX_INDEX + 1)
    if len(data) > MAX_INDEX:
        raise BadInput(f"{index}: has more than {MAX_INDEX:,} bytes; at most so many are read")
    return memoryview(data)


def _array(prefix: Path, name: str, entry: memoryview, shards: int, sizes: Mapping[Path, int]) -> Stored | None:
    """Returns one array; None for text, which no weight is."""
    shape = [signed(number(dimension, 1)) for message in part(entry, 2) for dimension in part(message, 2)]
    if any(found == 7 for found, _ in fields(entry)):  # noqa: PLR2004 - BundleEntryProto.slices
        raise ValueError(f"{printable(name)} is partitioned; valid are whole variables")
    file = prefix.with_name(f"{prefix.name}.data-{number(entry, 3):05d}-of-{shards:05d}")
    offset, size, kind = number(entry, 4), number(entry, 5), number(entry, 1)
    if file not in sizes:
        raise ValueError(f"{printable(name)} lies in {file.name}, which does not exist")
    if offset + size > sizes[file]:
        raise ValueError(f"{printable(name)} ends at byte {offset + size:,} of {file.name}, which has {sizes[file]:,}")
    if kind == _TEXT:
        return None
    import numpy as np

    if kind not in _DTYPES or any(axis < 0 for axis in shape):
        raise ValueError(f"{printable(name)} has type {kind} and shape {shape}; valid are plain numbers")
    dtype = np.dtype(_DTYPES[kind])
    row = Stored(name, tuple(shape), dtype, partial(_values, file, offset, tuple(shape), dtype))
    if row.size != size:
        raise ValueError(f"{printable(name)} declares shape {shape} ({row.size:,} bytes) and stores {size:,} bytes")
    return row


def _values(file: Path, offset: int, shape: tuple[int, ...], dtype: Any, index: Any) -> Any:
    import numpy as np

    if 0 in shape:
        return np.zeros(shape, dtype)[index]
    return np.memmap(file, dtype, "r", offset, shape)[index]


def _table(data: memoryview) -> dict[str, memoryview]:
    """Returns names and entries of the whole index."""
    if len(data) < _FOOTER or bytes(data[-8:]) != _MAGIC:
        raise ValueError("it is truncated, or no TensorFlow checkpoint")
    footer = data[-_FOOTER:]
    at = varint(footer, varint(footer, 0)[1])[1]  # past the place of the block of metadata
    found: dict[str, memoryview] = {}
    for blocks, (_, handle) in enumerate(_entries(_block(data, footer[at:]))):
        for key, value in _entries(_block(data, handle)):
            found[key.decode("utf-8", "backslashreplace")] = value
        if max(len(found), blocks) > MAX_TENSORS:
            raise ValueError(f"it holds more than {MAX_TENSORS:,} names")
    return found


def _block(data: memoryview, handle: memoryview) -> memoryview:
    start, at = varint(handle, 0)
    length, _ = varint(handle, at)
    if start + length + _TRAILER > len(data):
        raise ValueError(f"a block ends at byte {start + length:,} of {len(data):,}")
    if data[start + length] != 0:
        raise ValueError("its blocks are compressed, which TensorFlow does not do")
    return data[start : start + length]


def _entries(block: memoryview) -> Iterator[tuple[bytes, memoryview]]:
    """Yields keys and values of a block; each key is stored as what differs from the key before it."""
    if len(block) < 4:  # noqa: PLR2004 - the number of restarts
        raise ValueError("a block has no end")
    restarts = int.from_bytes(block[-4:], "little")
    end = len(block) - 4 - 4 * restarts
    if end < 0:
        raise ValueError("a block has no end")
    at, key = 0, b""
    while at < end:
        shared, at = varint(block, at)
        fresh, at = varint(block, at)
        length, at = varint(block, at)
        if shared > len(key) or at + fresh + length > end:
            raise ValueError("an entry leads out of its block")
        # Prefix compression: an entry stores only the end of its key, after the part it shares with the key before.
        key = key[:shared] + bytes(block[at : at + fresh])
        yield key, block[at + fresh : at + fresh + length]
        at += fresh + length
