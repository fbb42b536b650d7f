"""Builders of `.keras` archives by hand, sound ones and bad ones, with the standard library and h5py only.

`keras_file` writes a sound model; every builder in `ARCHIVES`, `TEXTS`, `CONFIGS` and `HDF5` writes one that is bad
in one way and says which words the refusal must hold.
"""

import base64
import io
import json
import marshal
import struct
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

METADATA = {"keras_version": "3.15.1", "date_saved": "2026-01-02@03:04:05"}


def layer(class_name: str, name: str, module: str | None = "keras.layers", registered: str | None = None, **config):
    """A layer's part of `config.json`, as Keras 3 writes it."""
    config = {"name": name, **config}
    return {"module": module, "class_name": class_name, "config": config, "registered_name": registered}


def input_layer(name: str = "image", shape=(None, 4), dtype: str = "float32"):
    return layer("InputLayer", name, batch_shape=list(shape), dtype=dtype)


def sequential(*layers, name: str = "net", **more):
    return {"module": "keras", "class_name": "Sequential", "config": {"name": name, "layers": list(layers)}, **more}


def functional(layers, inputs, outputs, name: str = "net", **more):
    config = {"name": name, "layers": layers, "input_layers": inputs, "output_layers": outputs}
    return {
        "module": "keras.src.models.functional",
        "class_name": "Functional",
        "config": config,
        "registered_name": "Functional",
        **more,
    }


def small_model():
    return sequential(input_layer(), layer("Dense", "score", units=3, activation="relu"))


def lambda_layer(function, name: str = "warp"):
    """A Lambda layer with the bytecode of a function, as Keras 3 writes it."""
    code = base64.b64encode(marshal.dumps(function.__code__)).decode()
    return layer(
        "Lambda",
        name,
        function={"class_name": "__lambda__", "config": {"code": code, "defaults": None, "closure": None}},
    )


def h5(write: Callable) -> bytes:
    """The bytes of an HDF5 file that `write(file)` fills."""
    import h5py

    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        write(file)
    return buffer.getvalue()


def small_weights(kernel=None) -> bytes:
    def write(file):
        group = file.create_group("layers/dense/vars")
        group.attrs["name"] = "score"
        group["0"] = np.ones((4, 3), np.float32) if kernel is None else kernel
        group["1"] = np.zeros(3, np.float32)
        optimizer = file.create_group("optimizer/vars")
        optimizer["0"] = np.int64(7)
        optimizer["1"] = np.full((4, 3), 0.5, np.float32)

    return h5(write)


def keras_file(path: Path, *, config=None, metadata=None, weights: bytes | None = None, extra=(), **options) -> Path:
    """Writes an archive; each part may be replaced, given as bytes, or left out with `b""`."""
    parts = [
        ("metadata.json", METADATA if metadata is None else metadata),
        ("config.json", small_model() if config is None else config),
        ("model.weights.h5", small_weights() if weights is None else weights),
        *extra,
    ]
    with zipfile.ZipFile(path, "w", **options) as archive, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the standard library warns of duplicate names
        for name, content in parts:
            data = content if isinstance(content, bytes) else json.dumps(content).encode()
            if data or name.startswith("assets/"):
                archive.writestr(name, data)
    return path


def _changed(path: Path, change: Callable[[bytearray], bytearray | bytes | None]) -> Path:
    """Writes a sound archive and edits its bytes, in place or by returning others."""
    data = bytearray(keras_file(path).read_bytes())
    changed = change(data)
    path.write_bytes(data if changed is None else changed)
    return path


def _patch(record: bytes, offset: int, value: int, size: str = "<H", index: int = -1):
    """An edit of one field in the archive's last (or `index`-th) record of a kind."""

    def change(data: bytearray) -> None:
        starts = [at for at in range(len(data)) if data[at : at + 4] == record]
        struct.pack_into(size, data, starts[index] + offset, value)

    return change


def _both(*changes):
    def change(data: bytearray) -> None:
        for one in changes:
            one(data)

    return change


_LOCAL, _CENTRAL, _END = b"PK\x03\x04", b"PK\x01\x02", b"PK\x05\x06"


def _link(path: Path) -> Path:
    info = zipfile.ZipInfo("assets/link")
    info.external_attr = 0o120777 << 16
    return _append(path, info, b"/etc/passwd")


def _append(path: Path, info: zipfile.ZipInfo, data: bytes) -> Path:
    keras_file(path)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(info, data)
    return path


def _named(name: str) -> Callable[[Path], Path]:
    return lambda path: keras_file(path, extra=[(name, b"x")])


def _overlapping(path: Path) -> Path:
    """Two directory entries for one stored member: more comes out than went in."""

    def change(data: bytearray) -> None:
        entries = [at for at in range(len(data)) if data[at : at + 4] == _CENTRAL]
        struct.pack_into("<L", data, entries[1] + 42, 0)

    return _changed(path, change)


def _hidden(path: Path) -> Path:
    """Bytes between the last member and the directory, as a second archive would leave them."""
    data = keras_file(path).read_bytes()
    end = len(data) - 22
    start = struct.unpack_from("<L", data, end + 16)[0]
    moved = bytearray(data[:start] + b"hidden" + data[start:])
    struct.pack_into("<L", moved, len(moved) - 22 + 16, start + 6)
    path.write_bytes(moved)
    return path


def _damaged(path: Path) -> Path:
    data = bytearray(keras_file(path).read_bytes())
    at = data.index(b"\x89HDF") + 1500
    data[at] ^= 1
    path.write_bytes(data)
    return path


def _text(content: bytes) -> Callable[[Path], Path]:
    def build(path: Path) -> Path:
        path.write_bytes(content)
        return path

    return build


def _other_zip(path: Path) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", b"\x80\x02.")
    return path


ARCHIVES: dict[str, tuple[Callable[[Path], Path], str]] = {
    "empty file": (_text(b""), "is empty"),
    "weights alone": (_text(small_weights()), "holds weights and no architecture"),
    "a pickle": (_text(b"\x80\x04\x95\x05\x00"), "is a Python pickle"),
    "gzip": (_text(b"\x1f\x8b\x08\x00"), "is a gzip archive"),
    "a SavedModel's protobuf": (_text(b"\x08\x01\x12\xff\x02\n"), "saved_model.pb"),
    "a Git LFS pointer": (_text(b"version https://git-lfs.github.com/spec/v1\noid"), "Git LFS pointer"),
    "JSON text": (_text(b'{"class_name": "Sequential"}'), "is JSON text"),
    "text": (_text("ein Text, gr\xf6\xdfer".encode()), "is a text file"),
    "random bytes": (_text(bytes(range(200, 256))), "is no zip archive"),
    "an empty zip": (lambda path: zipfile.ZipFile(path, "w").close() or path, "nothing in it"),
    "a PyTorch archive": (_other_zip, "'archive/data.pkl' does not belong"),
    "truncated": (lambda path: _changed(path, lambda data: data[: len(data) // 2]), "truncated"),
    "a prefix": (lambda path: _changed(path, lambda data: b"#!/bin/sh\n" + data), "before its zip archive"),
    "a second archive in front": (lambda path: _changed(path, lambda data: data + data), "does not stand where"),
    "bytes after the end": (lambda path: _changed(path, lambda data: data + b"more"), "after its zip archive"),
    "a comment": (lambda path: _changed(path, lambda data: data[:-2] + b"\x02\x00hi"), "after its zip archive"),
    "hidden bytes": (_hidden, "belong to none"),
    "overlapping members": (_overlapping, "'metadata.json' overlaps|'config.json' overlaps"),
    "a huge directory": (lambda path: _changed(path, _patch(_END, 12, 5 << 20, "<L")), "directory has 5,242,880"),
    "one part of several": (lambda path: _changed(path, _patch(_END, 4, 1)), "split zip"),
    "a false zip64 record": (lambda path: _changed(path, _patch(_END, 16, 0xFFFFFFFF, "<L")), "zip64 end record"),
    "an encrypted member": (
        lambda path: _changed(path, _both(_patch(_CENTRAL, 8, 1), _patch(_LOCAL, 6, 1))),
        "'model.weights.h5' is encrypted",
    ),
    "an odd packing": (lambda path: keras_file(path, compression=zipfile.ZIP_LZMA), "packed with zip method 14"),
    "a lying size": (lambda path: _changed(path, _patch(_CENTRAL, 24, 1 << 20, "<L")), "declares 1,048,576"),
    "a symbolic link": (_link, "'assets/link' is a symbolic link"),
    "an absolute name": (_named("/etc/cron.d/x"), "'/etc/cron.d/x' has an unsafe name"),
    "a way up": (_named("assets/../../x"), "'assets/../../x' has an unsafe name"),
    "a backslash": (_named("assets\\..\\x"), "has an unsafe name"),
    "a drive": (_named("C:x"), "'C:x' has an unsafe name"),
    "a duplicate": (_named("config.json"), "'config.json' occurs 2 times"),
    "a stray member": (_named("setup.py"), "'setup.py' does not belong"),
    "a file that is also a folder": (
        lambda path: keras_file(path, extra=[("assets/a", b"x"), ("assets/a/b", b"x")]),
        "'assets/a' is both",
    ),
    "a bomb": (
        lambda path: keras_file(path, extra=[("assets/zeros", bytes(20 << 20))], compression=zipfile.ZIP_DEFLATED),
        "'assets/zeros' unpacks",
    ),
    "a bomb in many parts": (
        lambda path: keras_file(
            path, extra=[(f"assets/{n}", bytes(6 << 20)) for n in range(4)], compression=zipfile.ZIP_DEFLATED
        ),
        "the archive unpacks",
    ),
    "a damaged member": (_damaged, "member model.weights.h5 is damaged"),
    "no configuration": (lambda path: keras_file(path, config=b""), "has no config.json"),
    "no weights": (lambda path: keras_file(path, weights=b""), "has no model.weights.h5"),
    "no metadata": (lambda path: keras_file(path, metadata=b""), "has no metadata.json"),
}
"""Kind of file -> (its builder, a pattern the message must match)."""

TEXTS: dict[str, tuple[bytes, str]] = {
    "broken JSON": (b'{"class_name":\n  "Sequential",,}', "config.json is broken JSON: .* at line 2, column 16"),
    "not UTF-8": (b'{"class_name": "\xff"}', "config.json is broken JSON: 'utf-8'"),
    "a list": (b"[]", "config.json holds a JSON list"),
    "a key twice": (b'{"class_name": "A", "config": {"x": 1, "x": 2}}', "the key 'x' twice"),
    "200,000 brackets": (b'{"class_name": "A", "config": ' + b"[" * 200_000 + b"]" * 200_000 + b"}", "128 levels deep"),
    "200,000 objects": (b'{"a":' * 200_000 + b"1" + b"}" * 200_000, "128 levels deep"),
    "an endless string": (b'{"class_name": "' + b"\\" * 3_000_001, "is broken JSON"),
    "millions of values": (b"[" + b"1," * 2_100_000 + b"1]", "more than 2,000,000 values"),
    "a huge number": (b'{"class_name": ' + b"9" * 5000 + b"}", "is broken JSON"),
    "no model": (b'{"class_name": "Sequential"}', "describes no model"),
}
"""Kind of `config.json` -> (its bytes, a pattern the message must match)."""

CONFIGS: dict[str, tuple[dict, str, str]] = {
    "bytecode": (
        sequential(input_layer(), lambda_layer(lambda x: x.mean().sqrt())),
        r"bytecode .* layer warp \(config\.layers\[1\]\.config\.function\) \(its code names mean, sqrt",
        "--trust-lambda",
    ),
    "bytecode as an activation": (
        sequential(
            input_layer(),
            layer("Dense", "d", activation={"class_name": "__lambda__", "config": {"value": ["4w==", None, None]}}),
        ),
        r"bytecode .* layer d \(config\.layers\[1\]\.config\.activation\)",
        "--trust-lambda",
    ),
    "bytecode in the old style": (
        sequential(input_layer(), layer("Lambda", "warp", function=["4w==", None, None], function_type="lambda")),
        "bytecode .* layer warp",
        "--trust-lambda",
    ),
    "a custom class": (
        sequential(input_layer(), layer("L1", "dist", module="my.layers", registered="MyLayers>L1")),
        r"layer L1 from my\.layers, registered as MyLayers>L1 at layer dist",
        r"--custom-objects .*my\.layers",
    ),
    "a custom class without a module": (
        sequential(input_layer(), layer("Attention2", "attend", module=None, registered="Attention2")),
        "layer Attention2 at layer attend",
        "does not say where",
    ),
    "a Keras class under another registration": (
        sequential(input_layer(), layer("Dense", "d", registered="Evil>Dense")),
        "layer Dense .* registered as Evil>Dense",
        "--custom-objects",
    ),
    "a nested custom class": (
        sequential(input_layer(), sequential(layer("Odd", "inner", module=None), name="outer")),
        r"layer Odd at layer outer/inner \(config\.layers\[1\]\.config\.layers\[0\]\)",
        "--custom-objects",
    ),
    "a custom class inside a wrapper": (
        sequential(input_layer(), layer("TimeDistributed", "td", layer=layer("Odd", "inner", module="pkg"))),
        r"object Odd from pkg at layer td \(config\.layers\[1\]\.config\.layer\)",
        "--custom-objects",
    ),
    "a custom function": (
        sequential(
            input_layer(),
            layer(
                "Lambda", "z", function={"module": "builtins", "class_name": "function", "config": "Custom>sampling"}
            ),
        ),
        "function Custom>sampling at layer z",
        "--custom-objects",
    ),
    "a custom activation by name": (
        sequential(input_layer(), layer("Dense", "d", activation="wiggle")),
        "function wiggle at layer d",
        "--custom-objects",
    ),
    "a custom model": (
        {"module": None, "class_name": "Net", "config": {}, "registered_name": "Net"},
        r"own: model Net\n",
        "--custom-objects",
    ),
    "a builtin of Python": (
        sequential(
            input_layer(),
            layer("Lambda", "z", function={"module": "builtins", "class_name": "function", "config": "eval"}),
        ),
        "function eval at layer z",
        "--custom-objects",
    ),
    "a loader of Keras": (
        sequential(
            input_layer(),
            layer("Lambda", "z", function={"module": "keras.utils", "class_name": "function", "config": "get_file"}),
        ),
        r"function 'get_file' claims to be Keras' own \(module keras\.utils\)",
        "own",
    ),
    "a spoofed layer": (
        sequential(input_layer(), layer("Backdoor", "b")),
        r"layer b .*'Backdoor' claims to be Keras' own \(module keras\.layers\)",
        "own",
    ),
    "a spoofed private class": (
        sequential(input_layer(), layer("Backdoor", "b", module="keras.src.saving.saving_lib")),
        "'Backdoor' claims to be Keras' own",
        "own",
    ),
    "a SavedModel layer": (
        sequential(input_layer(), layer("TFSMLayer", "sm", filepath="elsewhere/sm")),
        "layer sm .* TFSMLayer runs a SavedModel from another folder",
        "Rebuild",
    ),
    "a pickled PyTorch module": (
        sequential(input_layer(), layer("TorchModuleWrapper", "torch", module="keras.layers")),
        "layer torch .* TorchModuleWrapper unpickles",
        "Rebuild",
    ),
    "a vocabulary by path": (
        sequential(input_layer(), layer("StringLookup", "words", vocabulary="/etc/passwd")),
        "layer words .* StringLookup reads its vocabulary from the file '/etc/passwd'",
        "the words themselves",
    ),
    "IDF weights by path": (
        sequential(input_layer(), layer("TextVectorization", "tv", vocabulary=["a"], idf_weights="w.npy")),
        "layer tv .* reads its idf_weights from the file 'w.npy'",
        "the words themselves",
    ),
    "a name that steers the terminal": (
        sequential(input_layer(), layer("Odd", "\x1b[2Jx", module="pkg")),
        r"layer Odd from pkg at layer \\x1b\[2Jx",
        "--custom-objects",
    ),
}
"""Kind of configuration -> (it, a pattern for the message, a pattern for the next step)."""


def _virtual(file):
    import h5py

    layout = h5py.VirtualLayout((4,), "f4")
    layout[:] = h5py.VirtualSource("/etc/passwd", "x", (4,))
    file.create_virtual_dataset("layers/dense/vars/0", layout)


def _external_link(file):
    import h5py

    file["layers/dense"] = h5py.ExternalLink("/etc/passwd", "/x")


def _soft_link(file):
    import h5py

    file["layers/dense"] = h5py.SoftLink("/optimizer")


def _cycle(file):
    file.create_group("layers/a")
    file["layers/a/again"] = file["layers"]


def _aliased(file):
    file["layers/dense/vars/0"] = np.ones(4, np.float32)
    file["layers/other"] = file["layers/dense"]


def _external(file):
    file.create_dataset("layers/dense/vars/0", (4,), "f4", external=[("/etc/passwd", 0, 16)])


def _giant(file):
    file.create_dataset("layers/dense/vars/0", (1 << 20, 1 << 20), "f4")


def _giant_chunks(file):
    file.create_dataset("layers/dense/vars/0", (1 << 20, 1 << 10), "f4", chunks=(1 << 10, 1 << 10), compression="gzip")


def _one_giant_chunk(file):
    file.create_dataset("layers/dense/vars/0", (1 << 13, 1 << 12), "f4", chunks=(1 << 13, 1 << 12), compression="gzip")


def _many_small(file):
    for number in range(5):
        file.create_dataset(f"layers/d{number}/vars/0", (1 << 20,), "f4", chunks=(1 << 18,), compression="gzip")


def _unwritten(file):
    file.create_dataset("layers/dense/vars/0", (4,), "f4")


def _text_values(file):
    file["layers/dense/vars/0"] = ["a", "b"]


def _named_type(file):
    file["layers/dense"] = np.dtype("f4")


HDF5: dict[str, tuple[Callable, str]] = {
    "an external link": (_external_link, "layers/dense is a link to .*/etc/passwd"),
    "a soft link": (_soft_link, "layers/dense is a link to .*/optimizer"),
    "a cycle": (_cycle, "layers/a/again is linked twice"),
    "an alias": (_aliased, "is linked twice"),
    "an external dataset": (_external, "layers/dense/vars/0 keeps its values in another file.*/etc/passwd"),
    "a virtual dataset": (_virtual, "layers/dense/vars/0 is virtual"),
    "a giant shape": (_giant, r"layers/dense/vars/0 declares shape \(1048576, 1048576\)"),
    "a giant compressed shape": (_giant_chunks, "layers/dense/vars/0 declares 4,294,967,296 bytes"),
    "a giant chunk": (_one_giant_chunk, "chunks of more than"),
    "many that add up": (_many_small, "all weights together declares"),
    "values never written": (_unwritten, r"declares shape \(4,\) \(16 bytes\) and stores 0 bytes"),
    "text instead of numbers": (_text_values, "valid are plain numbers"),
    "a named type": (_named_type, "layers/dense is a TypeID|is a Type"),
}
"""Kind of weights file -> (what writes it, a pattern the message must match)."""


def operation(function, class_name: str = "TFOpLambda"):
    """A layer of Keras 2 that calls a function of TensorFlow by its name."""
    return layer(class_name, "op", module="keras.src.layers.core.tf_op_layer", registered=class_name, function=function)


def _typespec():
    spec = {"class_name": "__typespec__", "spec_name": "Popen", "module": "subprocess", "registered_name": None}
    return layer("InputLayer", "x", type_spec={**spec, "config": [["id"]]})


def _renamed_function():
    function = {"module": "keras.activations", "class_name": "function", "config": "relu", "registered_name": "system"}
    return layer("Dense", "d", activation=function)


# Asked for by files of Keras 2 alone: what the archive asks for, and words of the refusal.
KERAS_2: dict[str, tuple[dict, str]] = {
    name: (sequential(input_layer(), bad), words)
    for name, bad, words in [
        ("a file to read", operation("io.read_file"), r"layer op .*calls tf\.io\.read_file"),
        ("a file to write", operation("io.write_file"), r"calls tf\.io\.write_file"),
        ("a raw operation", operation("raw_ops.WriteFile"), r"calls tf\.raw_ops\.WriteFile"),
        ("a Python function", operation("compat.v1.py_func"), r"calls tf\.compat\.v1\.py_func"),
        ("a loader by operation", operation("keras.models.load_model"), r"calls tf\.keras\.models\.load_model"),
        ("an operation that is no name", operation({"class_name": "function", "config": "abs"}), "TFOpLambda calls"),
        ("a slice that is none", operation("io.read_file", "SlicingOpLambda"), "SlicingOpLambda calls"),
        ("a node of a graph", operation(None, "TensorFlowOpLayer"), "raw TensorFlow operation"),
        ("a method by name", operation(None, "InstanceMethod"), "calls a method of a tensor by its name"),
        ("feature columns", layer("DenseFeatures", "f"), "DenseFeatures computes feature columns"),
        ("a type specification", _typespec(), "makes Keras 2 import the module"),
        (
            "another module of tf_keras",
            layer("Dense", "d", module="keras.src.testing_infra"),
            "claims to be Keras' own",
        ),
        ("a name of tf_keras", layer("Backdoor", "d", module="tf_keras.layers"), "claims to be Keras' own"),
        ("a class of Keras 3", layer("Functional", "d", module="keras.src.models.functional"), "claims to be Keras'"),
        ("a vocabulary by path", layer("StringLookup", "s", vocabulary="/etc/passwd"), "from the file '/etc/passwd'"),
        ("another name", _renamed_function(), "function system .*at layer d"),
        (
            "bytecode",
            layer("Lambda", "l", function=["4w==", None, None], function_type="lambda"),
            "bytecode .* layer l",
        ),
        (
            "bytecode for a shape",
            layer(
                "Lambda", "l", function="f", function_type="function", output_shape="4w==", output_shape_type="lambda"
            ),
            "function f at layer l|bytecode .* layer l",
        ),
    ]
}
