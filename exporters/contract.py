"""What crosses the border of the export layer: signatures, artifacts and findings.

In: nothing. Out: the frozen records that exporters fill, validators read and `release.json` stores. They hold
plain data only (strings, numbers, tuples), so pydantic turns each into JSON and back without help.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from exporters.errors import Broken

STATIC = "static"
"""Name of the variant in which every axis has a length."""
ArtifactStatus = Literal["exported", "limited", "errored"]
Precision = Literal["float32", "float16 weights", "int8 weights", "float16", "int8", "int16x8", "int4 weights"]
"""What an artifact stores and computes in.

`float32`: the model's own types, nothing is reduced. `... weights`: only the weights are stored so, and the arithmetic
stays in floating point. `int16x8`: activations of 16 bits, weights of 8.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class TensorSpec:
    """One input or output of a model.

    Attributes:
        name: canonical name, unique among the inputs or among the outputs (see `exporters.tensor_names`).
        dtype: NumPy's name of the element type, `string` for text, `bfloat16` where Keras says so.
        shape: axis lengths; None is a dynamic axis. The first axis is the batch.
        native: the artifact's own name for this tensor; empty in the source model's signature.
        path: where the tensor stands in the source model's input or output structure, e.g. `["a"][0]`.
    """

    name: str
    dtype: str
    shape: tuple[int | None, ...]
    native: str = ""
    path: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Signature:
    """The inputs and outputs of a model or an artifact, in the source model's order."""

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """Something that a check of an artifact, or a runtime that was to run it, brought to light.

    Attributes:
        code: short stable identifier, e.g. `flex-op`.
        blocking: True when the artifact cannot run in its runtime because of this.
        message: what was found, with the names of the ops.
        limit: the row of `exporters.target_limits` that explains it; empty where the exporter itself is at fault.
        way_out: what the user can do about it; empty where the limit's row says it.
    """

    code: str
    blocking: bool
    message: str
    limit: str = ""
    way_out: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class UsedCode:
    """A class or function of the user's own that the model was built with.

    Attributes:
        kind: what it is: the `model` itself, a `layer` of one, any other `object`, a `function`.
        name: what the model's file calls it, e.g. `L1` or `Custom>L1`.
        given: the module or file that the user named; empty where one of those brought it along.
        module: the Python module that defines it.
        digest: SHA-256 of that module's file; empty where it has none.
        layers: where the model uses it; empty for the model itself.
    """

    kind: str
    name: str
    given: str
    module: str
    digest: str
    layers: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class TrustedLambda:
    """A Lambda layer whose stored bytecode the user allowed to run.

    Attributes:
        layer: path of layer names down to it.
        position: where it stands in the model's configuration.
        names: what its code names, as far as it can be read without running it.
    """

    layer: str
    position: str
    names: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FileRecord:
    """One file of a release: path relative to the release directory, size in bytes, SHA-256 in hex."""

    path: str
    size: int
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class WeightDifference:
    """A constant of an artifact that stands where a source weight belongs, and is not it.

    Attributes:
        kind: `changed`; `swapped`: it is another weight of the same shape; `rounded`: stored in half precision, or
            rounded to it; `quantized`: stored as small integers.
        weight: the source weight, `conv2d/kernel`.
        layer: the layer that owns it.
        tensor: the artifact's own name for the constant.
        elements: how many differ.
        ulps: the largest distance in units in the last place of the source's type; None where the
            constant is of another type, or was computed with the weight.
        max_abs: the largest |stored - source|.
        into: what it was rounded or quantized to, or the weight that stands there instead; else empty.
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
    """What an artifact stores of the source's weights (`exporters.weights`).

    Attributes:
        weights: how many the source has.
        exact: how many are stored bit by bit, up to the format's layout.
        folded: how many are found in what was computed with a batch normalization.
        ulps: the largest distance of such a value from the same in float64, in units in the last place of its terms.
        unmatched: source weight -> why no constant was held against it; most often inference does not need it.
        computed: constants of floating type that stem from no single weight; not a fault.
        differences: what stands against the artifact.
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
    """One exported variant of the model, or the record of why there is none.

    Attributes:
        format: `saved_model`, `tflite`, `tfjs`, `onnx`.
        variant: `default`, `dynamic`, `batch1`, `static`.
        status: `exported`; `limited` (the target cannot express the model); `errored` (the exporter broke).
        precision: what it declares to store and compute in; the gate and the tolerances hold it to that.
        reason: one sentence for `limited` and `errored`, naming the limit or the error; else empty.
        limit: the row of `exporters.target_limits` for `limited`, what a waiver names; else empty.
        path: the file or folder, relative to the release directory; empty unless `exported`.
        digest: SHA-256 over the artifact (of the file, or of the sorted list of the folder's file digests).
        size: bytes of all files together.
        signature: canonical names with the artifact's native names; None unless `exported`.
        preprocessing: file in the artifact's folder that says how its inputs come about from the model's, where the
            artifact is the numeric core of a split model (see `exporters.preprocessing`); else empty.
        source: SHA-256 of the `.keras` file this came from.
        options: what the exporter was asked (opset, batch ...).
        toolchain: versions of the packages that made it.
        findings: what the check after the export found.
        weights: what it stores of the source's weights; None unless `exported`.
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
        """`format/variant`, the name of the artifact everywhere a person reads."""
        return f"{self.format}/{self.variant}"

    def exported_signature(self) -> Signature:
        """Returns the signature of an artifact that was exported.

        Raises:
            Broken: the record has none.
        """
        if self.signature is None:
            raise Broken(f"{self.key}: the manifest has no signature for it")
        return self.signature
