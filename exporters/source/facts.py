"""Defines what admission finds out about a model file: plain records, which pydantic reads and writes as JSON.

In: filled by `exporters.source.admission.examination`. Out: read by `admit`, by `paritygate inspect` and by the
release.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from exporters.contract import TensorSpec
from exporters.source.keras_version import Generation

CodeKind = Literal["model", "layer", "object", "function"]
Form = Literal["archive", "h5", "saved_model", "weights"]
"""How a model is stored: a `.keras` archive, a whole model in HDF5, a SavedModel folder that Keras made, or weights
whose architecture comes from elsewhere."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CodeNeed:
    """Names a class or function that is not part of Keras; without its code the model cannot be built.

    Attributes:
        kind: the `model` itself, a `layer` of one, any other `object`, or a `function`.
        name: name of the class or function.
        module: the module that the file names for the code; empty when it names none (a notebook, say).
        registered_name: the name it was registered under, e.g. `Custom>L1`; empty when there is none.
        layer: the layer it is or belongs to; empty at the top.
        position: where it stands in `config.json`, e.g. `config.layers[3]`.
    """

    kind: CodeKind
    name: str
    module: str
    registered_name: str
    layer: str
    position: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LambdaNeed:
    """Locates Python bytecode in the file, which runs unchecked when the model is built or called.

    Attributes:
        layer: the layer that holds it.
        position: where it stands in `config.json`.
        hint: readable names found in the bytecode, which is never executed or unmarshalled here.
    """

    layer: str
    position: str
    hint: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """Reports a fault that no option allows: a file reference, a foreign runtime in a layer, false claims to be Keras'.

    Attributes:
        layer: the layer it is in; empty at the top.
        position: where it stands in `config.json`.
        message: what it is, in a sentence.
        next_step: how to save the model without it.
    """

    layer: str
    position: str
    message: str
    next_step: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFacts:
    """Facts that a stored model declares, read without Keras.

    Attributes:
        name: the file's name.
        digest: SHA-256 of the file, in hex; of a folder, see `exporters.files.hashing.digest_tree`.
        size: bytes of all its files.
        keras_version: version of the Keras that wrote it.
        date_saved: when, as Keras wrote it; empty when it did not.
        class_name: `Functional`, `Sequential` or the name of the subclass.
        inputs: canonical inputs; None when they are known only once the model is built.
        output_names: canonical names of the outputs; None as above.
        layers: class name -> number of layers, nested models and their layers included.
        layer_count: number of all layers.
        parameters: elements of all weights that inference uses.
        parameter_bytes: their size as stored.
        optimizer_bytes: size of the optimizer's state as stored.
        has_optimizer_state: whether training can go on from this file.
        custom: code that the user must provide; repeated uses of one class are listed one by one.
        lambdas: bytecode that the user must trust.
        compile_only_custom: custom losses, metrics and optimizers, which inference does not need.
        refused: what no option allows.
        shape_missing: whether the user must give the shape of the input.
        form: how the model is stored.
        generation: of the Keras that reads it; None where none does, or where only the builder's model shows it.
        backend: Keras' backend when the file was written; empty when the file does not state it.
        builder: the user's function that builds the model; empty when the files describe it.
    """

    name: str
    digest: str
    size: int
    keras_version: str
    date_saved: str
    class_name: str
    inputs: tuple[TensorSpec, ...] | None
    output_names: tuple[str, ...] | None
    layers: Mapping[str, int]
    layer_count: int
    parameters: int
    parameter_bytes: int
    optimizer_bytes: int
    has_optimizer_state: bool
    custom: tuple[CodeNeed, ...] = ()
    lambdas: tuple[LambdaNeed, ...] = ()
    compile_only_custom: tuple[CodeNeed, ...] = ()
    refused: tuple[Refusal, ...] = ()
    shape_missing: bool = False
    form: Form = "archive"
    generation: Generation | None = 3
    backend: str = ""
    builder: str = ""
