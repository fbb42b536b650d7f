"""Lists the exporters: one row for every variant of every format.

A new format is one module, an `exporters.formats.contract.Exporter`, and its rows here. The modules import heavy
packages on first use, in a worker process, so that this one stays light.
"""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field

from exporters.contract import STATIC, Precision, TensorSpec
from exporters.formats import onnx, saved_model, tfjs, tflite
from exporters.formats.contract import Exporter, Options


@dataclass(frozen=True, slots=True, kw_only=True)
class ExporterRow:
    """Describes one variant of one format.

    Attributes:
        format: the format's name everywhere.
        variant: the variant's name within the format.
        exporter: module of the format, see `exporters.formats.contract`.
        source: `model` for the model itself, or the name of a lowered form, a key of `FORMS`.
        file: the file inside the artifact's folder that a runtime loads; None when it loads the folder.
        options: defaults of the exporter's options; the user's section overrides them.
        section: section of `release.toml` that overrides `options`; None where the format has no options.
        precision: the element types that its artifacts store and compute in.
        toolchain: distribution packages whose versions are recorded with the artifact.
    """

    format: str
    variant: str
    exporter: Exporter
    source: str
    file: str | None = None
    options: Options = field(default_factory=dict)
    section: str | None = None
    precision: Precision = "float32"
    toolchain: tuple[str, ...]

    @property
    def key(self) -> str:
        """Returns `format/variant`."""
        return f"{self.format}/{self.variant}"


EXPORTERS = (
    ExporterRow(
        format="saved_model",
        variant="default",
        exporter=saved_model,
        source="model",
        toolchain=("tensorflow", "keras"),
    ),
    ExporterRow(
        format="tflite",
        variant="dynamic",
        exporter=tflite,
        source="unrolled",
        file="model.tflite",
        toolchain=("tensorflow", "keras"),
    ),
    ExporterRow(
        format="tflite",
        variant="batch1",
        exporter=tflite,
        source="batch1",
        file="model.tflite",
        toolchain=("tensorflow", "keras"),
    ),
    ExporterRow(
        format="tfjs",
        variant="default",
        exporter=tfjs,
        source="unrolled",
        file="model.json",
        toolchain=("tensorflow", "keras", "tensorflowjs"),
    ),
    ExporterRow(
        format="onnx",
        variant="default",
        exporter=onnx,
        source="known",
        file="model.onnx",
        options={"opset": 18},
        section="onnx",
        toolchain=("tensorflow", "keras", "tf2onnx", "onnx"),
    ),
)

STATIC_EXPORTERS = (
    ExporterRow(
        format="tflite",
        variant=STATIC,
        exporter=tflite,
        source="unrolled",
        file="model.tflite",
        toolchain=("tensorflow", "keras"),
    ),
)
"""Rows for models with a dynamic axis other than the batch: every axis gets the length that it has in the samples.

LiteRT.js and LiteRT's GPU accelerator take no dynamic shape at all.
"""

FORMATS: tuple[str, ...] = tuple(dict.fromkeys(row.format for row in EXPORTERS))
VARIANTS: tuple[str, ...] = tuple(row.key for row in (*EXPORTERS, *STATIC_EXPORTERS))
"""`format/variant` of every row."""


def selects(selectors: Collection[str], key: str) -> bool:
    """Tells whether the selectors select an artifact.

    Args:
        selectors: `tflite` for the format's default variants, which reduce no precision; `tflite/batch1` for one.
        key: `format/variant` of the artifact.
    """
    if key in selectors:
        return True
    reduced = any(row.key == key and row.precision != "float32" for row in (*EXPORTERS, *STATIC_EXPORTERS))
    return key.partition("/")[0] in selectors and not reduced


def formats_of(selectors: Iterable[str]) -> tuple[str, ...]:
    """Returns the formats that selectors name, each once: `("tflite/batch1", "onnx")` names `tflite` and `onnx`."""
    return tuple(dict.fromkeys(selector.partition("/")[0] for selector in selectors))


def rows_of(formats: tuple[str, ...], inputs: Sequence[TensorSpec] = ()) -> tuple[ExporterRow, ...]:
    """Returns the rows of the named formats and variants, in the table's order.

    Args:
        formats: `tflite` for a format's default variants, `tflite/batch1` for one.
        inputs: of the model; where one of them has a dynamic axis other than the batch, the static rows are added.
            A static row that is named is returned for every model.
    """
    open_axes = any(None in spec.shape[1:] for spec in inputs)
    static = (row for row in STATIC_EXPORTERS if open_axes or row.key in formats)
    return tuple(row for row in (*EXPORTERS, *static) if selects(formats, row.key))


def row_of(key: str) -> ExporterRow:
    """Returns the row of an artifact, named `format/variant`; also that of a static variant.

    Raises:
        KeyError: there is no such row.
    """
    return {row.key: row for row in (*EXPORTERS, *STATIC_EXPORTERS)}[key]
