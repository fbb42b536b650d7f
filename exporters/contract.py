"""Defines the records that leave the export layer: signatures, artifacts and findings.

In: nothing. Out: the frozen records that exporters fill, validators read and `release.json` stores. They hold
plain data only (strings, numbers, tuples), so pydantic needs no converter to write them as JSON and read them back.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from exporters.errors import Broken

STATIC = "static"
"""Name of the variant in which every axis has a length."""
ArtifactStatus = Literal["exported", "limited", "errored"]
Precision = Literal["float32", "float16 weights", "int8 weights", "float16", "int8", "int16x8", "int4 weights"]
"""The types in which an artifact stores its weights and computes.

`float32`: the model's own types, nothing is reduced. `... weights`: only the stored weights have this type, and the
arithmetic stays in floating point. `int16x8`: activations of 16 bits, weights of 8.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class TensorSpec:
    """Describes one input or output of a model.

    Attributes:
        name: canonical name, unique among the inputs or among the outputs (see `exporters.tensor_names`).
        dtype: NumPy's name of the element type; `string` for text, `bfloat16` as Keras names it.
        shape: axis lengths; None is a dynamic axis. The first axis is the batch.
        native: the artifact's own name for this tensor; empty in the source model's signature.
        path: position of the tensor in the source model's input or output structure, e.g. `["a"][0]`.
    """

    name: str
    dtype: str
    shape: tuple[int | None, ...]
    native: str = ""
    path: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Signature:
    """Lists the inputs and outputs of a model or an artifact, in the source model's order."""

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """Reports a fault that a check of an artifact found, or a runtime that was to run it.

    Attributes:
        code: short stable identifier, e.g. `flex-op`.
        blocking: True when the artifact cannot run in its runtime because of this.
        message: the fault, with the names of the operators.
        limit: the row of `exporters.target_limits` that explains it; empty where the exporter itself is at fault.
        way_out: the next step for the user; empty where the limit's row names it.
    """

    code: str
    blocking: bool
    message: str
    limit: str = ""
    way_out: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class UsedCode:
    """Records a class or function of the user with which the model was built.

    Attributes:
        kind: the `model` itself, a `layer` of it, any other `object`, or a `function`.
        name: its name in the model's file, e.g. `L1` or `Custom>L1`.
        given: the module or file that the user named; empty where such a module imported it.
        module: the Python module that defines it.
        digest: SHA-256 of that module's file; empty where it has none.
        layers: the layers that use it; empty for the model itself.
    """

    kind: str
    name: str
    given: str
    module: str
    digest: str
    layers: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class TrustedLambda:
    """Records a Lambda layer whose stored bytecode the user allowed to run.

    Attributes:
        layer: path of layer names that leads to it.
        position: its path in the model's configuration.
        names: the names that its code uses, as far as they can be read without running it.
    """

    layer: str
    position: str
    names: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FileRecord:
    """Records one file of a release: path relative to the release directory, size in bytes, SHA-256 in hex."""

    path: str
    size: int
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class WeightDifference:
    """Records a constant of an artifact that differs from the source weight that belongs in its position.

    Attributes:
        kind: `changed`; `swapped`: it is another weight of the same shape; `rounded`: stored in half precision, or
            rounded to it; `quantized`: stored as small integers.
        weight: the source weight, `conv2d/kernel`.
        layer: the layer that owns it.
        tensor: the artifact's own name for the constant.
        elements: number of elements that differ.
        ulps: the largest distance in units in the last place of the source's type; None where the
            constant is of another type, or was computed with the weight.
        max_abs: the largest |stored - source|.
        into: the type it was rounded or quantized to, or the weight that is in its position; else empty.
    """

    kind: Literal["changed", "swapped", "rounded", "quantized"]
    weight: str
    layer: str
    tensor: str
    elements: int
    ulps: int | None
    max_abs: float
    into: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class WeightsRecord:
    """Records how an artifact stores the source's weights, as `exporters.weights` compared them.

    Attributes:
        weights: number of weights of the source.
        exact: number of weights that are stored bit by bit, up to the format's layout.
        folded: number of weights that are part of a constant computed with a batch normalization.
        ulps: the largest distance of such a constant from its value computed in float64, in units in the last place
            of its terms.
        unmatched: source weight -> why it was compared with no constant; most often inference does not need it.
        computed: number of constants of floating type that were computed from several weights or none; not a fault.
        differences: the constants that differ from the source.
    """

    weights: int
    exact: int
    folded: int
    ulps: float
    unmatched: Mapping[str, str]
    computed: int
    differences: tuple[WeightDifference, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Artifact:
    """Records one exported variant of the model, or why there is none.

    Attributes:
        format: `saved_model`, `tflite`, `tfjs`, `onnx`.
        variant: `default`, `dynamic`, `batch1`, `static`.
        status: `exported`; `limited` (the target cannot express the model); `errored` (the exporter broke).
        precision: the types in which it declares to store and compute; the gate and the tolerances check it by these.
        reason: one sentence for `limited` and `errored`, naming the limit or the error; else empty.
        limit: for `limited`, the row of `exporters.target_limits`, which a waiver names; else empty.
        path: the file or folder, relative to the release directory; empty unless `exported`.
        digest: SHA-256 over the artifact (of the file, or of the sorted list of the folder's file digests).
        size: bytes of all files together.
        signature: canonical names with the artifact's native names; None unless `exported`.
        preprocessing: file in the artifact's folder that describes the steps from the model's inputs to the artifact's,
            where it is the numeric core of a split model (see `exporters.preprocessing`); else empty.
        source: SHA-256 of the model's file from which it was exported.
        options: options of the exporter (opset ...).
        toolchain: package -> version, of the packages that wrote it.
        findings: the rewrites that were applied, and the findings of the check after the export.
        weights: comparison of its weights with the source's; None unless `exported`.
        seconds: wall time of the export.
    """

    format: str
    variant: str
    status: ArtifactStatus
    precision: Precision = "float32"
    reason: str = ""
    limit: str = ""
    path: str = ""
    digest: str = ""
    size: int = 0
    signature: Signature | None = None
    preprocessing: Literal["", "preprocessing.json"] = ""
    source: str = ""
    options: Mapping[str, str | int | bool] = field(default_factory=dict)
    toolchain: Mapping[str, str] = field(default_factory=dict)
    findings: tuple[Finding, ...] = ()
    weights: WeightsRecord | None = None
    seconds: float = 0.0

    @property
    def key(self) -> str:
        """Returns `format/variant`, the name of the artifact in reports and messages."""
        return f"{self.format}/{self.variant}"

    def exported_signature(self) -> Signature:
        """Returns the signature of an artifact that was exported.

        Raises:
            Broken: the record has none.
        """
        if self.signature is None:
            raise Broken(f"{self.key}: the manifest has no signature for it")
        return self.signature
