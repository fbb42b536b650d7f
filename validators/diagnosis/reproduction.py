"""Writes the reproduction folder: it shows a difference without paritygate, ready to attach to an upstream issue.

In: a `ReproductionCase`. Out:

    README.md        what was found, how to run it, versions
    reproduce.py     a few lines that use only the stock libraries (`reproduce.js` for TF.js)
    layer.keras      only the suspected layer, where Keras can save it
    artifact/        the layer's part of the artifact, or a new export of the layer, or the whole artifact
    inputs/          what the artifact is fed, .npy
    expected.npy     what the original computes, in the artifact's layout
    diagnosis.json   the diagnosis with all its figures
"""

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

FORMATS = frozenset({"saved_model", "tflite", "tfjs", "onnx"})
"""Formats that a reproduction has a script for; a diagnosis of any other writes no folder."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReproductionCase:
    """Holds the files and facts that show the difference.

    Attributes:
        format, runtime: of the cell.
        artifact: folder of the artifact that is run.
        what: a description of that artifact.
        inputs: its inputs, by the names of its signature.
        output: the output that is compared, by its name in the file.
        expected: what the original computes, in the artifact's layout.
        layer: `.keras` file of only the suspected layer; None where there is none.
        title: the finding, in a sentence.
        versions: of the packages that took part.
    """

    format: str
    runtime: str
    artifact: Path
    what: str
    inputs: Mapping[str, np.ndarray]
    output: str
    expected: np.ndarray
    layer: Path | None = None
    title: str = ""
    versions: Mapping[str, str] = field(default_factory=dict)


_LITERT = """from ai_edge_litert.interpreter import Interpreter, OpResolverType

kernels = OpResolverType.{kernels}
interpreter = Interpreter("artifact/model.tflite", num_threads=1, experimental_op_resolver_type=kernels)
actual = interpreter.get_signature_runner("serving_default")(**inputs)[{output!r}]"""
_ORT = """import onnxruntime

session = onnxruntime.InferenceSession("artifact/model.onnx", providers=["{provider}"])
(actual,) = session.run([{output!r}], inputs)"""
_TENSORFLOW = """import tensorflow as tf

serve = tf.saved_model.load("artifact").signatures["serving_default"]
actual = serve(**{{name: tf.constant(array) for name, array in inputs.items()}})[{output!r}].numpy()"""
_SCRIPT = """# {title}

import numpy as np
{imports}
inputs = {{name: np.load(f"inputs/{{name}}.npy") for name in {names}}}
expected = np.load("expected.npy")
{run}

print("largest |expected|  ", np.abs(expected).max())
print("largest difference  ", np.abs(actual.astype("float64") - expected).max())
"""
_NODE = """// {title}
// Needs Node and, in node_modules or NODE_PATH: {packages}
const fs = require('fs');
const path = require('path');
const vm = require('vm');

// The bundles are browser scripts; what they want of Node, they look for among the globals.
const backend = require.resolve('@tensorflow/tfjs-{package}/dist/tf-{package}.min.js');
const node = {{ perf_hooks: require('perf_hooks'), os: require('os'), __dirname: path.dirname(backend) }};
Object.assign(global, {{ require, fs, path, ...node }});
for (const name of {bundles}) {{
  vm.runInThisContext(fs.readFileSync(require.resolve(`@tensorflow/tfjs-${{name}}/dist/tf-${{name}}.min.js`), 'utf8'));
}}
const load = (file) => new Uint8Array(fs.readFileSync(file)).buffer;
const description = JSON.parse(fs.readFileSync('artifact/model.json', 'utf8'));
const paths = description.weightsManifest.flatMap((group) => group.paths);
const shards = paths.map((name) => fs.readFileSync(`artifact/${{name}}`));
const handler = {{ load: async () => ({{
  ...description,
  weightSpecs: description.weightsManifest.flatMap((group) => group.weights),
  weightData: new Uint8Array(Buffer.concat(shards)).buffer,
}}) }};

(async () => {{
  await tf.setBackend('{backend}');
  const model = await tf.loadGraphModel(handler);
  const inputs = {{}};
  for (const {{ name, dtype, shape, file }} of {feeds}) {{
    const data = new {{ float32: Float32Array, int32: Int32Array, bool: Uint8Array }}[dtype](load(file));
    inputs[name] = tf.tensor(data, shape, dtype);
  }}
  const actual = await (await model.executeAsync(inputs, {output})).data();
  const expected = new Float32Array(load('expected.f32'));
  let largest = 0;
  let difference = 0;
  expected.forEach((value, i) => {{
    largest = Math.max(largest, Math.abs(value));
    difference = Math.max(difference, Math.abs(value - actual[i]));
  }});
  console.log('largest |expected|  ', largest);
  console.log('largest difference  ', difference);
}})();
"""


def write(case: ReproductionCase, folder: Path, *, diagnosis: bytes) -> None:
    """Writes the folder, which must not exist yet; see the module."""
    folder.mkdir(parents=True)
    shutil.copytree(case.artifact, folder / "artifact")
    (folder / "inputs").mkdir()
    for name, array in case.inputs.items():
        np.save(folder / "inputs" / f"{name}.npy", np.ascontiguousarray(array), allow_pickle=False)
    np.save(folder / "expected.npy", np.ascontiguousarray(case.expected), allow_pickle=False)
    if case.layer:
        shutil.copyfile(case.layer, folder / "layer.keras")
    script = _node(case, folder) if case.format == "tfjs" else _python(case, folder)
    (folder / "diagnosis.json").write_bytes(diagnosis)
    (folder / "versions.json").write_text(json.dumps(dict(case.versions), indent=1) + "\n", "utf-8")
    (folder / "README.md").write_text(_readme(case, script), "utf-8")


def _python(case: ReproductionCase, folder: Path) -> str:
    if case.format == "tflite":
        kernels = "BUILTIN_REF" if case.runtime == "litert-reference" else "BUILTIN"
        run = _LITERT.format(kernels=kernels, output=case.output)
    elif case.format == "onnx":
        run = _ORT.format(provider="CPUExecutionProvider", output=case.output)
    else:
        run = _TENSORFLOW.format(output=case.output)
    imports, _, run = run.partition("\n\n")
    names = sorted(case.inputs)
    script = _SCRIPT.format(title=_line(case.title), imports=f"{imports}\n", names=names, run=run)
    (folder / "reproduce.py").write_text(script, "utf-8")
    return "python reproduce.py"


def _node(case: ReproductionCase, folder: Path) -> str:
    backend = "wasm" if case.runtime == "tfjs-wasm" else "cpu"
    bundles = ["core", "converter", f"backend-{backend}"]
    declared = json.loads((case.artifact / "model.json").read_text("utf-8"))["signature"]
    feeds = []
    for name, array in case.inputs.items():
        narrow = {"i": "int32", "u": "int32", "b": "bool"}.get(array.dtype.kind, "float32")
        file = f"inputs/{name}.{narrow}"
        (folder / file).write_bytes(np.ascontiguousarray(array.astype(narrow)).tobytes())
        feeds.append(
            {"name": declared["inputs"][name]["name"], "dtype": narrow, "shape": list(array.shape), "file": file}
        )
    (folder / "expected.f32").write_bytes(np.ascontiguousarray(case.expected.astype("float32")).tobytes())
    script = _NODE.format(
        title=_line(case.title),
        packages=", ".join(f"@tensorflow/tfjs-{name}" for name in bundles),
        bundles=json.dumps(bundles),
        backend=backend,
        package=bundles[-1],
        feeds=json.dumps(feeds),
        output=json.dumps(declared["outputs"][case.output]["name"]),
    )
    (folder / "reproduce.js").write_text(script, "utf-8")
    return "node reproduce.js"


_SCRIPTED = {"tensorflow", "litert-xnnpack", "litert-reference", "onnxruntime", "tfjs-cpu", "tfjs-wasm"}


def _line(text: str) -> str:
    """Returns text for a comment of one line: the names of layers come from the model and may hold line breaks."""
    return " ".join(text.split())


def _readme(case: ReproductionCase, script: str) -> str:
    lines = [
        f"# {_line(case.title)}",
        "",
        f"`artifact/` is {case.what}. From this folder:",
        "",
        f"    {script}",
        "",
    ]
    if case.runtime not in _SCRIPTED:
        text = (
            f"The cell ran in `{case.runtime}`, for which there is no script; this one runs the same artifact in "
            "another runtime on the processor. If it shows no difference there, the fault is in that runtime."
        )
        lines += [text, ""]
    if case.layer:
        lines += ["`layer.keras` holds only the layer: `keras.saving.load_model` opens it.", ""]
    lines += ["Versions:", "", *(f"* {name} {version}" for name, version in sorted(case.versions.items())), ""]
    return "\n".join(lines)
