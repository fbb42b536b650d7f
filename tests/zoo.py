"""The hard zoo: models that break converters, each with what has to come of it in every format.

A row that says nothing of an artifact expects it proven: exported, and passed in every runtime that the default policy
demands. What a target cannot express is `limited` under the id of its row in `exporters.target_limits`, which names the
thread upstream. Models that another table needs as well are built there and proven once.

Not here: text and lookups (`tests/exporters/test_preprocessing*.py` and their models), and weights beyond 2 GB, which
`tests/contract/test_zoo.py` replaces by a smaller limit. A model trained under JAX is the same file: the backend is not
in it, and workers load under TensorFlow whatever the user's default is (`tests/exporters/test_jobs.py`).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from exporters.formats.registry import EXPORTERS

OWN = "tests.zoo_models:"
MORE = "tests.contract.more_models:"
CPU = {"policy": {"gpu": "off"}, "custom_objects": ["tests/zoo_objects.py"]}
"""Settings of the releases of `OWN` models: on the processor alone, so that the zoo takes minutes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One model of the zoo.

    Attributes:
        hard: what is hard about it.
        model: as `bench.Bench.build` takes it.
        limited: artifact or format -> id of the limit that keeps it from being made.
        failed: artifact or format -> reason of the cells that run it and tell it from the original.
        errored: artifact or format -> reason of the cells in which its runtime breaks.
        refused: what the original itself is refused for; then there is nothing else.
    """

    hard: str
    model: str
    limited: Mapping[str, str] = field(default_factory=dict)
    failed: Mapping[str, str] = field(default_factory=dict)
    errored: Mapping[str, str] = field(default_factory=dict)
    refused: str = ""

    @property
    def name(self) -> str:
        return self.model.rpartition(":")[2]

    @property
    def settings(self) -> Mapping[str, object] | None:
        return CPU if self.model.startswith(OWN) else None

    def expected(self, key: str) -> str:
        """`proven`, `limited: ID`, `failed: REASON` or `errored: REASON` of an artifact."""
        for word, table in (("limited", self.limited), ("failed", self.failed), ("errored", self.errored)):
            if found := table.get(key) or table.get(key.partition("/")[0]):
                return f"{word}: {found}"
        return "proven"


def _own(hard: str, name: str, **outcome: object) -> Case:
    return Case(hard=hard, model=f"{OWN}{name}", **outcome)  # type: ignore[arg-type]


ALL_BUT_SAVED_MODEL = {row.key: "nonfinite mismatch" for row in EXPORTERS if row.format != "saved_model"}

ZOO = (
    _own("asymmetric-stride Conv2D", "asymmetric_strides"),
    _own("strides beyond the kernel", "wide_strides"),
    Case(hard="grouped convolution", model="grouped_convolution"),
    Case(hard="exact GELU", model=f"{MORE}gelu"),
    Case(hard="MultiHeadAttention", model=f"{MORE}attention"),
    Case(hard="LSTM with static time", model="lstm_states"),
    Case(hard="LSTM with dynamic time", model=f"{MORE}long_recurrence"),
    _own("RNN with long static time", "long_static"),
    Case(hard="GRU, reset after", model="recurrent"),
    _own("GRU, reset before", "gru_reset_before"),
    _own("stacked BiLSTM", "stacked_bilstm"),
    _own("masked Embedding and LSTM, padded left", "left_padded"),
    _own("masked Embedding and BiLSTM, every step", "masked_both_ways"),
    _own("masked loops over dynamic time", "masked_loop"),
    _own("ConvLSTM2D", "conv_lstm"),
    _own("ConvLSTM2D over dynamic time", "long_conv_lstm", limited={"onnx": "onnx-loop"}),
    _own("four inputs of one shape", "four_inputs"),
    Case(hard="three outputs of one shape, list", model="list_outputs"),
    _own("three outputs of one shape, dict", "three_named_outputs"),
    Case(hard="dict inputs of mixed types", model="dict_inputs"),
    _own("a subclass with a list of models", "list_of_models"),
    _own("Normalization and random augmentation", "augmented"),
    _own("VAE sampling", "vae", refused="draws random numbers at inference"),
    _own("odd-size U-Net, bilinear and nearest", "unet"),
    _own("bicubic resize", "bicubic"),
    _own("Conv2DTranspose", "transposed"),
    _own("Conv3DTranspose", "transposed_volume", limited={"tfjs": "tfjs-unknown-op"}),
    _own("dilated depthwise", "dilated_depthwise"),
    _own("MobileNetV3", "mobilenet"),
    _own("top-k", "top_k"),
    # TF.js gathers what it has not selected, at -1.
    _own("non-maximum suppression", "best_boxes", errored={"tfjs": "python error"}),
    _own("fully convolutional, any height and width", "fully_convolutional"),
    _own("reshape over a dynamic batch", "reshaped"),
    _own("int64 ids beyond int32", "wide_ids", limited={"tfjs": "tfjs-int64"}),
    _own("mixed_float16", "half_precision"),
    _own("mixed_bfloat16", "brain_float"),
    _own("STFT", "spectrogram"),
    _own("NaN and infinity, softmax and argmax", "not_finite"),
    _own("NaN through softmax", "nan_in_softmax", failed=ALL_BUT_SAVED_MODEL),
)
