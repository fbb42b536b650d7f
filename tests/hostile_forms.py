"""Builders of the other stored forms by hand, sound ones and bad ones: HDF5 models, weights, checkpoints, SavedModels.

As `hostile`, with the standard library, NumPy and h5py only.
"""

import json
import struct
from collections.abc import Callable, Mapping
from pathlib import Path

import hostile
import numpy as np

MAGIC = 0xDB4775248B80FB57


def older(class_name: str, name: str, **config):
    """A layer's part of a configuration as it was before modules were written."""
    return {"class_name": class_name, "config": {"name": name, **config}}


def older_model(*layers):
    first = older("InputLayer", "image", batch_input_shape=[None, 4], dtype="float32")
    return {"class_name": "Sequential", "config": {"name": "net", "layers": [first, *layers]}}


def small_older_model():
    return older_model(older("Dense", "score", units=3, activation="relu"))


def named_weights(group, kernel=None):
    group.attrs["layer_names"] = [b"image", b"score"]
    group.create_group("image").attrs["weight_names"] = np.array([], "S1")
    score = group.create_group("score")
    score.attrs["weight_names"] = [b"score/kernel:0", b"score/bias:0"]
    score["score/kernel:0"] = np.ones((4, 3), np.float32) if kernel is None else kernel
    score["score/bias:0"] = np.zeros(3, np.float32)


def h5_model(  # noqa: PLR0913 - one parameter for every part
    path: Path, *, config=None, version="2.4.0", kernel=None, change: Callable | None = None, training=None
) -> Path:
    """Writes a whole model in HDF5; `change(file)` spoils it."""

    def write(file):
        text = small_older_model() if config is None else config
        file.attrs["model_config"] = text if isinstance(text, bytes) else json.dumps(text).encode()
        if version:
            file.attrs["keras_version"] = version.encode()
        file.attrs["backend"] = b"tensorflow"
        if training:
            file.attrs["training_config"] = json.dumps(training).encode()
        named_weights(file.create_group("model_weights"), kernel)
        file["optimizer_weights/Adam/m:0"] = np.zeros((4, 3), np.float32)
        if change:
            change(file)

    path.write_bytes(hostile.h5(write))
    return path


def _linked(file):
    import h5py

    del file["model_weights/score"]
    file["model_weights/score"] = h5py.ExternalLink("/etc/passwd", "/x")


def _group_linked(file):
    import h5py

    del file["model_weights"]
    file["model_weights"] = h5py.ExternalLink("/etc/passwd", "/x")


def _without_weights(file):
    del file["model_weights"]


def _giant(file):
    file.create_dataset("model_weights/more", (1 << 20, 1 << 20), "f4")


def _numbers(file):
    file.attrs["model_config"] = np.arange(5)


def _text(content: bytes) -> Callable[[Path], Path]:
    return lambda path: h5_model(path, config=content)


def _asks(*layers) -> Callable[[Path], Path]:
    return lambda path: h5_model(path, config=older_model(*layers))


H5: dict[str, tuple[Callable[[Path], Path], str]] = {
    "an external link": (lambda p: h5_model(p, change=_linked), "model_weights/score is a link to .*/etc/passwd"),
    "weights in another file": (lambda p: h5_model(p, change=_group_linked), "model_weights is a link to .*/etc/pa"),
    "no weights": (lambda p: h5_model(p, change=_without_weights), "has no group model_weights; it holds optimizer"),
    "a giant shape": (lambda p: h5_model(p, change=_giant), r"model_weights/more declares shape \(1048576, 1048576\)"),
    "a number for a configuration": (
        lambda p: h5_model(p, change=_numbers),
        "attribute model_config holds int64 of shape",
    ),
    "no version": (lambda p: h5_model(p, version=""), "does not say which Keras wrote it"),
    "deep JSON": (_text(b'{"class_name": "A", "config": ' + b"[" * 200_000), "model_config is nested more than 128"),
    "a key twice": (_text(b'{"class_name": "A", "class_name": "B"}'), "model_config has the key 'class_name' twice"),
    "a large text": (
        _text(b'{"class_name": "' + b"x" * (65 << 20)),
        r"holds 68,\d+,\d+ bytes in addition to its arrays; at most",
    ),
    "no model": (_text(b'{"a": 1}'), "model_config describes no model"),
    "bytecode": (
        _asks(older("Lambda", "warp", function=["4w==", None, None], function_type="lambda")),
        r"bytecode .* layer warp \(config\.layers\[1\]\.config\.function\)",
    ),
    "a custom class": (_asks(older("Odd", "dist")), r"layer Odd at layer dist \(config\.layers\[1\]\)"),
    "a registered class": (_asks(older("Mine>Dense", "d")), "layer Mine>Dense at layer d"),
    "a file to read": (_asks(older("StringLookup", "s", vocabulary="/etc/passwd")), "from the file '/etc/passwd'"),
    "an operation": (_asks(older("TFOpLambda", "op", function="io.read_file")), r"calls tf\.io\.read_file"),
    "a false tuple": (
        _asks(older("Dense", "d", x={"class_name": "__tuple__", "module": "os", "config": {}})),
        "__tuple__",
    ),
}
"""Kind of HDF5 model -> (its builder, a pattern the message must match)."""


def number(value: int) -> bytes:
    """A varint."""
    out = b""
    while value > 0x7F:
        out += bytes([value & 0x7F | 0x80])
        value >>= 7
    return out + bytes([value])


def field(at: int, value: int | bytes) -> bytes:
    """A field of a protocol buffer."""
    if isinstance(value, int):
        return number(at << 3) + number(value)
    return number(at << 3 | 2) + number(len(value)) + value


def _block(entries: Mapping[bytes, bytes]) -> bytes:
    body = b"".join(
        number(0) + number(len(key)) + number(len(value)) + key + value for key, value in sorted(entries.items())
    )
    return body + struct.pack("<LL", 0, 1)


def table(entries: Mapping[bytes, bytes]) -> bytes:
    """A checkpoint's index of one block."""
    data = _block(entries)
    index = _block({b"~": number(0) + number(len(data))})
    meta = _block({})
    places = [len(data) + 5, len(data) + 5 + len(meta) + 5]
    footer = b"".join(map(number, (places[0], len(meta), places[1], len(index))))
    blocks = b"".join(block + bytes(5) for block in (data, meta, index))
    return blocks + footer.ljust(40, b"\0") + struct.pack("<Q", MAGIC)


def entry(array: np.ndarray, offset: int, *, kind: int = 1, size: int | None = None, shape=None) -> bytes:
    dimensions = b"".join(field(2, field(1, axis)) for axis in (array.shape if shape is None else shape))
    return field(1, kind) + field(2, dimensions) + field(4, offset) + field(5, array.nbytes if size is None else size)


HEADER = field(1, 1)
GRAPH = b"_CHECKPOINTABLE_OBJECT_GRAPH"
_VALUE = "/.ATTRIBUTES/VARIABLE_VALUE"


def checkpoint(prefix: Path, *, kernel=None, index: Callable[[dict[bytes, bytes]], object] | None = None) -> Path:
    """Writes a checkpoint of a Dense layer; `index(entries)` spoils its table."""
    prefix.parent.mkdir(parents=True, exist_ok=True)
    kernel = np.ones((4, 3), np.float32) if kernel is None else kernel
    rows = {
        "layer_with_weights-0/kernel": kernel,
        "layer_with_weights-0/bias": np.zeros(3, np.float32),
        "layer_with_weights-0/kernel/.OPTIMIZER_SLOT/optimizer/m": np.zeros((4, 3), np.float32),
        "save_counter": np.int64(1),
    }
    entries, data = {b"": HEADER, GRAPH: field(1, 7)}, b""
    for name, array in rows.items():
        kind = 9 if array.dtype == np.int64 else 1
        entries[f"{name}{_VALUE}".encode()] = entry(array, len(data), kind=kind)
        data += array.tobytes()
    if index:
        index(entries)
    Path(f"{prefix}.index").write_bytes(table(entries))
    Path(f"{prefix}.data-00000-of-00001").write_bytes(data)
    return prefix


_KERNEL = f"layer_with_weights-0/kernel{_VALUE}".encode()
_ONES = np.ones((4, 3), np.float32)


def _with(name: bytes, value: bytes | None) -> Callable[[Path], Path]:
    def spoil(entries):
        entries.pop(name, None)
        if value is not None:
            entries[name] = value

    return lambda prefix: checkpoint(prefix, index=spoil)


def _index(change: Callable[[bytes], bytes]) -> Callable[[Path], Path]:
    def build(prefix: Path) -> Path:
        file = Path(f"{checkpoint(prefix)}.index")
        file.write_bytes(change(file.read_bytes()))
        return prefix

    return build


def _lost(suffix: str) -> Callable[[Path], Path]:
    def build(prefix: Path) -> Path:
        Path(f"{checkpoint(prefix)}{suffix}").unlink()
        return prefix

    return build


def _cut(prefix: Path) -> Path:
    file = Path(f"{checkpoint(prefix)}.data-00000-of-00001")
    file.write_bytes(file.read_bytes()[:-1])
    return prefix


CHECKPOINTS: dict[str, tuple[Callable[[Path], Path], str]] = {
    "truncated": (_index(lambda data: data[:-3]), "is truncated, or no TensorFlow checkpoint"),
    "empty": (_index(lambda _: b""), "is truncated, or no TensorFlow checkpoint"),
    "garbage": (_index(lambda data: b"\xff" * (len(data) - 48) + data[-48:]), "compressed|leads out|takes more|no end"),
    "a false footer": (_index(lambda data: data[:-48] + b"\xff" * 40 + data[-8:]), "takes more than 10 bytes|ends at"),
    "a cut data file": (_cut, r"ends at byte 116 of m\.data-00000-of-00001, which has 115"),
    "no data file": (_lost(".data-00000-of-00001"), r"has no m\.data-00000-of-00001"),
    "a giant shape": (_with(_KERNEL, entry(_ONES, 0, shape=(1 << 30, 1 << 30))), "kernel.* declares shape"),
    "a negative axis": (_with(_KERNEL, entry(_ONES, 0, shape=((1 << 64) - 1, 12))), "kernel.* has type 1 and shape"),
    "a place behind the end": (_with(_KERNEL, entry(_ONES, 1 << 40)), "kernel.* ends at byte 1,099,511,627,824"),
    "an odd type": (_with(_KERNEL, entry(_ONES, 0, kind=20)), "kernel.* has type 20"),
    "another shard": (_with(_KERNEL, entry(_ONES, 0) + field(3, 7)), "lies in m.data-00007-of-00001, which does not"),
    "partitioned": (_with(_KERNEL, entry(_ONES, 0) + field(7, b"")), "is partitioned"),
    "a broken entry": (_with(_KERNEL, field(2, b"abc")[:-1]), "declares 3 bytes and 2 are left"),
    "variables by name": (_with(GRAPH, None), "as TensorFlow 1 wrote them"),
}
"""Kind of checkpoint -> (its builder from a prefix, a pattern the message must match)."""

METADATA = {
    "class_name": "Sequential",
    "keras_version": "2.8.0",
    "backend": "tensorflow",
    "model_config": small_older_model(),
}


def keras_metadata(metadata, identifier: bytes = b"_tf_keras_sequential", path: bytes = b"root") -> bytes:
    """The bytes of `keras_metadata.pb`."""
    text = metadata if isinstance(metadata, bytes) else json.dumps(metadata).encode()
    return field(1, field(2, 0) + field(3, path) + field(4, identifier) + field(5, text))


def older_graph(metadata, identifier: bytes = b"_tf_keras_sequential") -> bytes:
    """The bytes of a `saved_model.pb` that keeps the metadata in its objects."""
    own = field(1, identifier) + field(3, json.dumps(metadata).encode())
    return field(1, 1) + field(2, field(7, field(1, field(4, own))))


def saved_model(path: Path, *, metadata: bytes | None = None, graph: bytes = b"", kernel=None) -> Path:
    """Writes a SavedModel folder of Keras, its graph left out."""
    path.mkdir(parents=True)
    (path / "saved_model.pb").write_bytes(graph)
    data = keras_metadata(METADATA) if metadata is None else metadata
    if data:
        (path / "keras_metadata.pb").write_bytes(data)
    checkpoint(path / "variables" / "variables", kernel=kernel)
    return path


def _metadata(metadata, **more) -> Callable[[Path], Path]:
    return lambda path: saved_model(path, metadata=keras_metadata(metadata, **more))


def _bytes(data: bytes) -> Callable[[Path], Path]:
    return lambda path: saved_model(path, metadata=data)


def _with_link(path: Path) -> Path:
    (saved_model(path) / "assets").symlink_to("/etc")
    return path


def _with_linked_weights(path: Path) -> Path:
    data = saved_model(path) / "variables" / "variables.data-00000-of-00001"
    data.unlink()
    data.symlink_to("/etc/passwd")
    return path


def _with_pipe(path: Path) -> Path:
    import os

    os.mkfifo(saved_model(path) / "pipe")
    return path


def _without_variables(path: Path) -> Path:
    (saved_model(path) / "variables" / "variables.index").unlink()
    return path


SAVED_MODELS: dict[str, tuple[Callable[[Path], Path], str]] = {
    "garbage": (_bytes(b"\x07\xff\xfe" * 50), "keras_metadata.pb: is damaged"),
    "a length beyond the end": (_bytes(number(1 << 3 | 2) + number(1 << 62)), "declares 4,611,686,018,427,387,904"),
    "millions of fields": (_bytes(field(1, field(9, 1) * 2_000_000)), "more than 20,000 fields"),
    "an endless number": (_bytes(b"\xff" * 100), "a number takes more than 10 bytes"),
    "deep JSON": (_metadata(b'{"config": ' + b"[" * 200_000), "metadata of the model is nested more than 128"),
    "a subclass": (_metadata({"class_name": "Net", "keras_version": "2.8.0"}), "does not say how the model Net is"),
    "another's object": (_metadata(METADATA, identifier=b"_generic_user_object"), "holds no Keras model"),
    "no model at the root": (_metadata(METADATA, path=b"root.layer-0"), "holds no Keras model"),
    "nothing of Keras": (_bytes(b""), "holds no Keras model"),
    "a linked folder": (_with_link, "assets: is a symbolic link"),
    "linked weights": (_with_linked_weights, "variables.data-00000-of-00001: is a symbolic link"),
    "a pipe": (_with_pipe, "pipe: is not a regular file"),
    "no variables": (_without_variables, "has no variables/variables.index"),
    "bytecode": (
        _metadata(METADATA | {"model_config": older_model(older("Lambda", "warp", function=["4w==", None, None]))}),
        "bytecode .* layer warp",
    ),
    "a custom layer": (
        _metadata(METADATA | {"model_config": older_model(older("Odd", "dist"))}),
        "layer Odd at layer dist",
    ),
}
"""Kind of SavedModel folder -> (its builder, a pattern the message must match)."""
